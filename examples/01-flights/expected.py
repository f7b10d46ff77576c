#!/usr/bin/env python3
"""Computes what example 01 has to give, without Wasmill: from the definitions, row by row, in one pass.

Definitions:

* W(r), the watermark of a row, is the greatest event time before it in its partition, less the delay. A partition that
  has given no row has the lowest watermark there is.
* A row more than max-ahead after the greatest event time before it is invalid, and moves nothing.
* A row is late for a window [s, e) when e + allowed <= W(r). Then it goes to the port `late`, or is dropped.
* A window has a result of its rows with W(r) < e, at t = W = e - 1 us. Where it took in more, it has one correction, of
  all its rows, at t = e - 1 us and W = e + allowed - 1 us.
* A sink in event-time order writes by (max(t, W), t, place). The place of a source's row is its position, that of a
  window's result (operator, key, end).

Every result is exact: averages and deviations are calculated in integers and rounded once.

Usage: python3 expected.py [FOLDER]      (by default the folder `expected` beside this file)
"""

import csv
import json
import math
import sys
from collections import Counter
from datetime import datetime, timedelta, timezone
from fractions import Fraction
from pathlib import Path
from zoneinfo import ZoneInfo

HERE = Path(__file__).resolve().parent
MICROSECOND = timedelta(microseconds=1)
HOUR = timedelta(hours=1)
DELAY = timedelta(hours=2)
MAX_AHEAD = timedelta(days=2)
THRESHOLD = 15
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
                raise SystemExit(f"line {reader.line_num} is an invalid record, and this program writes no dead letters")
            delay = int(record["dep_delay"]) if record["dep_delay"] else None
            yield {
                "t": time,
                "w": BEGINNING if greatest is None else greatest - DELAY,
                "place": reader.line_num,
                "columns": {
                    "scheduled": time,
                    "carrier": record["carrier"],
                    "flight": int(record["flight"]),
                    "origin": record["origin"],
                    "dest": record["dest"],
                    "dep_delay": delay,
                    "distance": int(record["distance"]),
                    "line": reader.line_num,
                    "class": delay_class(delay),
                },
            }
            greatest = time if greatest is None else max(greatest, time)


def delay_class(delay):
    if delay is None:
        return "cancelled"
    if delay < 0:
        return "early"
    return "on-time" if delay < THRESHOLD else "delayed"


# --- windows -----------------------------------------------------------------------------------------------------------


def hour_of(time):
    start = time.replace(minute=0, second=0, microsecond=0)
    return start, start + HOUR


def day_of(time):
    midnight = time.astimezone(NEW_YORK).replace(hour=0, minute=0, second=0, microsecond=0, tzinfo=None)
    bounds = (midnight, midnight + timedelta(days=1))
    return tuple(bound.replace(tzinfo=NEW_YORK).astimezone(timezone.utc) for bound in bounds)


def windows(all_rows, key, window_of, allowed, aggregate):
    """The results of a window in the order of their places within equal times, and the rows that were late."""
    groups, late = {}, []
    for row in all_rows:
        start, end = window_of(row["t"])
        if end + allowed <= row["w"]:
            late.append(row)
        else:
            groups.setdefault((end, row["columns"][key], start), []).append(row)
    results = []
    for (end, value, start), members in groups.items():
        def result(chosen, w):
            columns = {key: value, "window_start": start, "window_end": end}
            columns |= aggregate([row["columns"] for row in sorted(chosen, key=lambda row: (row["t"], row["place"]))])
            return {"t": end - MICROSECOND, "w": w, "place": (value, end), "columns": columns}

        on_time = [row for row in members if row["w"] < end]
        if on_time:
            results.append(result(on_time, end - MICROSECOND))
        if len(on_time) < len(members):
            results.append(result(members, end + allowed - MICROSECOND))
    return results, late


def hourly(members):
    delays = present(members, "dep_delay")
    beyond = [delay - THRESHOLD for delay in delays if delay > THRESHOLD]
    classes = sorted(Counter(row["class"] for row in members).items(), key=lambda item: (-item[1], item[0]))
    return {
        "flights": len(members),
        "departed": len(delays),
        "mean_delay": average(delays),
        "worst_delay": max(delays, default=None),
        "severity": float(Fraction(sum(beyond), len(beyond))) if beyond else 0.0,
        "classes": [{"value": value, "count": count} for value, count in classes[:4]],
    }


def daily(members):
    delays = present(members, "dep_delay")
    return {
        "flights": len(members),
        "departed": len(delays),
        "mean_delay": average(delays),
        "deviation": deviation(delays),
        "best_delay": min(delays, default=None),
        "worst_delay": max(delays, default=None),
        "last_delay": delays[-1] if delays else None,
        "first_to": members[0]["dest"],
        "miles": sum(row["distance"] for row in members),
    }


# --- aggregates --------------------------------------------------------------------------------------------------------


def present(members, column):
    return [row[column] for row in members if row[column] is not None]


def average(values):
    # The quotient of two fractions' parts is rounded once.
    return float(Fraction(sum(values), len(values))) if values else None


def deviation(values):
    """The sample standard deviation, rounded once."""
    n = len(values)
    if n < 2:
        return None
    return root(Fraction(n * sum(x * x for x in values) - sum(values) ** 2, n * (n - 1)))


def root(square):
    """The float nearest to the square root of a fraction."""
    if square == 0:
        return 0.0
    # An integer root of at least 64 bits, and below it one bit that says whether anything was cut off.
    shift = max(0, 130 - square.numerator.bit_length() + square.denominator.bit_length())
    shift += shift % 2
    scaled = (square.numerator << shift) // square.denominator
    whole = math.isqrt(scaled)
    exact = whole * whole * square.denominator == square.numerator << shift
    return float(Fraction(whole * 2 + (not exact), 1 << (shift // 2 + 1)))


# --- output ------------------------------------------------------------------------------------------------------------


def in_event_time_order(all_rows):
    return sorted(all_rows, key=lambda row: (max(row["t"], row["w"]), row["t"], row["place"]))


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
        for row in in_event_time_order(all_rows):
            columns = {name: written(value) for name, value in row["columns"].items()}
            file.write(json.dumps(columns, separators=(",", ":"), ensure_ascii=False) + "\n")


def write_csv(path, all_rows):
    with open(path, "w", newline="") as file:
        writer = csv.writer(file, lineterminator="\n")
        for i, row in enumerate(in_event_time_order(all_rows)):
            if i == 0:
                writer.writerow(row["columns"])
            writer.writerow("" if value is None else written(value) for value in row["columns"].values())


def main():
    folder = Path(sys.argv[1]) if len(sys.argv) > 1 else HERE / "expected"
    folder.mkdir(parents=True, exist_ok=True)
    all_rows = list(rows())
    by_hour, late = windows(all_rows, "origin", hour_of, HOUR, hourly)
    by_day, _ = windows(all_rows, "carrier", day_of, timedelta(days=1), daily)
    write_json(folder / "hourly.jsonl", by_hour)
    write_csv(folder / "daily.csv", by_day)
    write_json(folder / "late.jsonl", late)
    write_json(folder / "rejected.jsonl", [])


if __name__ == "__main__":
    main()
