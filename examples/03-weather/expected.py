#!/usr/bin/env python3
"""Computes what example 03 has to give, without Wasmill: from the definitions, by looking each row's partners up.

Definitions:

* The temporal join gives for each left row the right row of its key with the greatest right.t <= left.t, and
  left.t - right.t <= within. Where there is none, a left join gives nulls. The output has the left row's time.
* The semi join gives each left row once that has a right row of its key with
  left.t - before <= right.t <= left.t + after; the anti join gives those that have none. Both have the left row's time.
* A sink in event-time order writes by (max(t, W), t, place). An output's W is never above its t here, and its place begins
  with the left row's, which is its position in its file.
* A row is late for a join when t < W(r). Both files stand in the order of their event times, so no row is.

Usage: python3 expected.py [FOLDER]      (by default the folder `expected` beside this file)
"""

import csv
import json
import sys
from bisect import bisect_left, bisect_right
from datetime import datetime, timedelta
from pathlib import Path

HERE = Path(__file__).resolve().parent
HOUR = timedelta(hours=1)
HALF_AN_HOUR = timedelta(minutes=30)
STORM = 40.0


# --- input -------------------------------------------------------------------------------------------------------------


def rows(name, event_time, columns):
    """The rows of a file, in its order, as columns by name. `columns`: name -> conversion of a field that is not empty."""
    found = []
    with open(HERE / "input" / name, newline="") as file:
        for record in csv.DictReader(file):
            row = {column: convert(record[column]) if record[column] else None for column, convert in columns.items()}
            assert not found or found[-1][event_time] <= row[event_time], "a row that is out of order may be late"
            found.append(row)
    return found


def time_of(text):
    return datetime.fromisoformat(text.replace("Z", "+00:00"))


# --- joins -------------------------------------------------------------------------------------------------------------


class Side:
    """The rows of one side by airport, each airport's in the order of their times."""

    def __init__(self, all_rows, event_time):
        self.by_origin = {}
        for row in all_rows:
            times, members = self.by_origin.setdefault(row["origin"], ([], []))
            times.append(row[event_time])
            members.append(row)

    def last(self, origin, time):
        """The last row at or before a time."""
        times, members = self.by_origin.get(origin, ([], []))
        place = bisect_right(times, time)
        # Two observations of an airport at one time would have to be told apart by their places.
        assert place < 2 or times[place - 1] != times[place - 2]
        return members[place - 1] if place else None

    def has(self, origin, first, last):
        times, _ = self.by_origin.get(origin, ([], []))
        return bisect_left(times, first) < bisect_right(times, last)


def departures(flights, weather):
    observations = Side(weather, "observed")
    for flight in flights:
        found = observations.last(flight["origin"], flight["reported"])
        if found and flight["reported"] - found["observed"] > HOUR:
            found = None
        yield flight | {f"weather_{name}": found and found[name] for name in weather[0] if name != "origin"}


def in_storm(flights, storms):
    side = Side(storms, "observed")
    return (row for row in flights if side.has(row["origin"], row["reported"] - HOUR, row["reported"] + HOUR))


def without_departure(flights, storms):
    side = Side(flights, "reported")
    for row in storms:
        if not side.has(row["origin"], row["observed"] - HALF_AN_HOUR, row["observed"] + HALF_AN_HOUR):
            yield row


# --- output ------------------------------------------------------------------------------------------------------------


def instant(time):
    """RFC 3339 in UTC with as many digits as needed."""
    fraction = f".{time.microsecond:06}".rstrip("0") if time.microsecond else ""
    return f"{time:%Y-%m-%dT%H:%M:%S}{fraction}Z"


def written(value):
    if isinstance(value, float):
        # Within these bounds Python's shortest digits are written without an exponent, as anyone else's are.
        assert value == 0 or 1e-4 <= abs(value) < 1e16, value
    return instant(value) if isinstance(value, datetime) else value


def write_json(path, all_rows):
    with open(path, "w", newline="") as file:
        for row in all_rows:
            columns = {name: written(value) for name, value in row.items()}
            file.write(json.dumps(columns, separators=(",", ":"), ensure_ascii=False) + "\n")


def write_csv(path, all_rows):
    with open(path, "w", newline="") as file:
        writer = csv.writer(file, lineterminator="\n")
        for i, row in enumerate(all_rows):
            if i == 0:
                writer.writerow(row)
            writer.writerow("" if value is None else written(value) for value in row.values())


def main():
    folder = Path(sys.argv[1]) if len(sys.argv) > 1 else HERE / "expected"
    folder.mkdir(parents=True, exist_ok=True)
    columns = {"reported": time_of, "carrier": str, "flight": int, "origin": str, "dest": str, "dep_delay": int}
    flights = rows("flights-2013-01.csv", "reported", columns)
    columns = {"observed": time_of, "origin": str, "temp": float, "wind_gust": float, "precip": float, "visib": float}
    weather = rows("weather-2013-01.csv", "observed", columns)
    storms = [row for row in weather if row["wind_gust"] is not None and row["wind_gust"] >= STORM]
    write_csv(folder / "departures.csv", departures(flights, weather))
    write_json(folder / "in-storm.jsonl", in_storm(flights, storms))
    write_json(folder / "without-departure.jsonl", without_departure(flights, storms))


if __name__ == "__main__":
    main()
