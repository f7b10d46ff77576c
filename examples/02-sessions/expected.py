#!/usr/bin/env python3
"""Computes what example 02 has to give, without Wasmill: from the definitions, row by row.

Definitions:

* W(r), the watermark of a row, is the greatest event time before it in its partition, less the delay. A partition that
  has given no row has the lowest watermark there is.
* Flights of one aircraft are in one session while each is less than the gap after the one before it. A session reaches
  from its first flight to the gap after its last: [first, last + gap).
* A flight at time t is late for its session when t + allowed < W(r), whatever else the session holds. It goes to the
  port `late` and joins no flights.
* A session has one result, at t = e - 1 us and W = e + allowed - 1 us, for its end e.
* A tumbling window [s, e) has a result of its rows with W(r) < e, at t = W = e - 1 us. Where it took in more, it has one
  correction, of all its rows, at t = e - 1 us and W = e + allowed - 1 us. Late is a row with e + allowed <= W(r).
* A sink in event-time order writes by (max(t, W), t, place). The place of a source's row is its position, that of a
  window's result (operator, key, end).

Usage: python3 expected.py [FOLDER]      (by default the folder `expected` beside this file)
"""

import csv
import json
import sys
from collections import Counter
from datetime import datetime, timedelta, timezone
from pathlib import Path
from zoneinfo import ZoneInfo

HERE = Path(__file__).resolve().parent
MICROSECOND = timedelta(microseconds=1)
DAY = timedelta(days=1)
DELAY = timedelta(hours=2)
MAX_AHEAD = timedelta(days=2)
GAP = timedelta(hours=8)
ALLOWED = timedelta(hours=1)
NIGHT_ENDS = timedelta(hours=13)
NEW_YORK = ZoneInfo("America/New_York")
BEGINNING = datetime.min.replace(tzinfo=timezone.utc)


# --- input -------------------------------------------------------------------------------------------------------------


def rows():
    """The rows with their hidden columns: t, w and place."""
    greatest = None
    with open(HERE / "input/flights-2013-01.csv", newline="") as file:
        reader = csv.DictReader(file)
        for record in reader:
            time = datetime.fromisoformat(record["scheduled"].replace("Z", "+00:00"))
            if greatest is not None and time > greatest + MAX_AHEAD:
                raise SystemExit(f"line {reader.line_num} is an invalid record, and no sink takes it")
            yield {
                "t": time,
                "w": BEGINNING if greatest is None else greatest - DELAY,
                "place": reader.line_num,
                "columns": {
                    "scheduled": time,
                    "carrier": record["carrier"],
                    "flight": int(record["flight"]),
                    "tailnum": record["tailnum"] or None,
                    "origin": record["origin"],
                    "dest": record["dest"],
                    "dep_delay": int(record["dep_delay"]) if record["dep_delay"] else None,
                    "distance": int(record["distance"]),
                    "line": reader.line_num,
                },
            }
            greatest = time if greatest is None else max(greatest, time)


# --- sessions ----------------------------------------------------------------------------------------------------------


def sessions(flights):
    """The results, and the flights that were late."""
    aircraft, late = {}, []
    for row in flights:
        if row["t"] + ALLOWED < row["w"]:
            late.append(row)
        else:
            aircraft.setdefault(row["columns"]["tailnum"], []).append(row)
    results = []
    for tailnum, members in aircraft.items():
        members.sort(key=lambda row: (row["t"], row["place"]))
        day = members[:1]
        for row in members[1:]:
            if row["t"] - day[-1]["t"] >= GAP:
                results.append(session(tailnum, day))
                day = []
            day.append(row)
        results.append(session(tailnum, day))
    return results, late


def session(tailnum, day):
    end = day[-1]["t"] + GAP
    flights = [row["columns"] for row in day]
    return {
        "t": end - MICROSECOND,
        "w": end + ALLOWED - MICROSECOND,
        "place": (tailnum, end),
        "columns": {
            "tailnum": tailnum,
            "window_start": day[0]["t"],
            "window_end": end,
            "flights": len(flights),
            "from": flights[0]["origin"],
            "to": flights[-1]["dest"],
            "miles": sum(flight["distance"] for flight in flights),
            "worst_delay": max(flight["dep_delay"] for flight in flights),
        },
    }


# --- windows -----------------------------------------------------------------------------------------------------------


def fleet_day(time):
    """Days from 13:00 UTC to 13:00 UTC."""
    midnight = (time - NIGHT_ENDS).replace(hour=0, minute=0, second=0, microsecond=0)
    return midnight + NIGHT_ENDS, midnight + NIGHT_ENDS + DAY


def new_york_day(time):
    midnight = time.astimezone(NEW_YORK).replace(hour=0, minute=0, second=0, microsecond=0, tzinfo=None)
    bounds = (midnight, midnight + DAY)
    return tuple(bound.replace(tzinfo=NEW_YORK).astimezone(timezone.utc) for bound in bounds)


def windows(all_rows, key, window_of, allowed, aggregate):
    """The results of windows. No row may be late for its window."""
    groups = {}
    for row in all_rows:
        start, end = window_of(row["t"])
        assert row["w"] < end + allowed, row
        groups.setdefault((end, start, tuple(row["columns"][name] for name in key)), []).append(row)
    results = []
    for (end, start, values), members in groups.items():
        def result(chosen, w):
            columns = dict(zip(key, values)) | {"window_start": start, "window_end": end}
            columns |= aggregate([row["columns"] for row in chosen])
            return {"t": end - MICROSECOND, "w": w, "place": (values, end), "columns": columns}

        on_time = [row for row in members if row["w"] < end]
        if on_time:
            results.append(result(on_time, end - MICROSECOND))
        if len(on_time) < len(members):
            results.append(result(members, end + allowed - MICROSECOND))
    return results


def fleet(members):
    return {
        "aircraft": len(members),
        "flights": sum(day["flights"] for day in members),
        "most_flights": max(day["flights"] for day in members),
        "miles": sum(day["miles"] for day in members),
        "worst_delay": max(day["worst_delay"] for day in members),
    }


def cancellations(members):
    carriers = sorted(Counter(row["carrier"] for row in members).items(), key=lambda item: (-item[1], item[0]))
    return {
        "cancelled": len(members),
        "named": sum(row["tailnum"] is not None for row in members),
        "carriers": [{"value": value, "count": count} for value, count in carriers[:3]],
    }


# --- output ------------------------------------------------------------------------------------------------------------


def in_event_time_order(all_rows):
    return sorted(all_rows, key=lambda row: (max(row["t"], row["w"]), row["t"], row["place"]))


def instant(time):
    """RFC 3339 in UTC with as many digits as needed."""
    fraction = f".{time.microsecond:06}".rstrip("0") if time.microsecond else ""
    return f"{time:%Y-%m-%dT%H:%M:%S}{fraction}Z"


def write_json(path, all_rows):
    with open(path, "w", newline="") as file:
        for row in in_event_time_order(all_rows):
            columns = {
                name: instant(value) if isinstance(value, datetime) else value for name, value in row["columns"].items()
            }
            file.write(json.dumps(columns, separators=(",", ":"), ensure_ascii=False) + "\n")


def main():
    folder = Path(sys.argv[1]) if len(sys.argv) > 1 else HERE / "expected"
    folder.mkdir(parents=True, exist_ok=True)
    all_rows = list(rows())
    cancelled = [row for row in all_rows if row["columns"]["dep_delay"] is None]
    unnamed = [row for row in all_rows if row["columns"]["tailnum"] is None]
    flown = [row for row in all_rows if None not in (row["columns"]["dep_delay"], row["columns"]["tailnum"])]
    days, late = sessions(flown)
    write_json(folder / "busy.jsonl", [day for day in days if day["columns"]["flights"] >= 2])
    write_json(folder / "fleet.jsonl", windows(days, ["from"], fleet_day, ALLOWED, fleet))
    write_json(folder / "cancellations.jsonl", windows(cancelled, [], new_york_day, timedelta(0), cancellations))
    write_json(folder / "late.jsonl", late)
    write_json(folder / "unnamed.jsonl", unnamed)


if __name__ == "__main__":
    main()
