#!/usr/bin/env python3
"""Computes what the topologies in this folder have to give, without Wasmill, from the definitions.

The definitions are those of examples/01-flights/expected.py; here also for several partitions, sliding windows, invalid
records and keys with nulls. A row is late for each window [s, e) with e + allowed <= W(r), and late when it is so for all
its windows. A record that cannot be used stands where its partition's watermark was just before it.

Usage: python3 expected.py        (needs the program zstd)
"""

import csv
import gzip
import io
import json
import math
import subprocess
from collections import Counter
from datetime import datetime, timedelta, timezone
from fractions import Fraction
from pathlib import Path
from zoneinfo import ZoneInfo

HERE = Path(__file__).resolve().parent
EPOCH = datetime(1970, 1, 1, tzinfo=timezone.utc)
BEGINNING = datetime.min.replace(tzinfo=timezone.utc)
US = timedelta(microseconds=1)


def seconds(number):
    return timedelta(seconds=number)


# --- sources -----------------------------------------------------------------------------------------------------------


def instant_of(text):
    time = datetime.fromisoformat(text.replace("Z", "+00:00"))
    if time.tzinfo is None:
        raise ValueError(text)
    return time.astimezone(timezone.utc)


def stamped(source, partition, records, event_time, delay, max_ahead=None):
    """Rows with hidden columns, and dead letters. `records` gives (position, line, text, columns or None)."""
    rows, letters, greatest = [], [], None
    for position, line, text, columns in records:
        w = BEGINNING if greatest is None else greatest - delay
        place = (source, partition, position)
        kind = "undecodable" if columns is None else None
        time = None if columns is None else columns[event_time]
        if kind is None and (time is None or max_ahead and greatest and time > greatest + max_ahead):
            kind = "invalid"
        if kind:
            letter = {"node": source, "kind": kind, "source": source, "partition": partition, "line": line, "record": text}
            letters.append({"t": w, "w": w, "place": place, "columns": letter})
            continue
        rows.append({"t": time, "w": w, "place": place, "columns": columns})
        greatest = time if greatest is None else max(greatest, time)
    return rows, letters


def csv_records(text, columns):
    """Records of a CSV file with a header, with the text and first line of each. `columns`: name -> conversion."""
    position, line, header = 0, 1, None
    for raw in raw_records(text):
        fields = next(csv.reader([raw], strict=True))
        first = line
        position_here, position = position, position + len(raw.encode())
        line += raw.count("\n")
        if header is None:
            header = fields
            continue
        record = raw.removesuffix("\n")
        try:
            if len(fields) != len(header):
                raise ValueError(raw)
            named = dict(zip(header, fields))
            row = {name: convert(named[name]) for name, convert in columns.items()}
        except ValueError:
            row = None
        yield position_here, first, record, row


def raw_records(text):
    start, quoted = 0, False
    for at, letter in enumerate(text):
        if letter == '"':
            quoted = not quoted
        if letter == "\n" and not quoted:
            yield text[start : at + 1]
            start = at + 1


def optional(convert):
    return lambda text: None if text == "" else convert(text)


# --- windows -----------------------------------------------------------------------------------------------------------


def every(step, size, offset=timedelta()):
    """The windows that a time lies in."""

    def windows(time):
        since = (time - EPOCH - offset) // step
        last = EPOCH + offset + since * step
        starts = [last - i * step for i in range(-(-size // step))]
        return [(start, start + size) for start in reversed(starts) if start <= time < start + size]

    return windows


def days(zone):
    def windows(time):
        midnight = time.astimezone(zone).replace(hour=0, minute=0, second=0, microsecond=0, tzinfo=None)
        bounds = (midnight, midnight + timedelta(days=1))
        return [tuple(bound.replace(tzinfo=zone).astimezone(timezone.utc) for bound in bounds)]

    return windows


def comparable(value):
    """Nulls first."""
    return (0, 0) if value is None else (1, value.encode() if isinstance(value, str) else value)


def window(node, all_rows, key, windows_of, allowed, aggregates):
    """Results and late rows."""
    groups, late = {}, []
    for row in all_rows:
        key_of_row = tuple(row["columns"][name] for name in key)
        admitted = [(start, end) for start, end in windows_of(row["t"]) if row["w"] < end + allowed]
        if not admitted:
            late.append(row)
        for bounds in admitted:
            groups.setdefault((bounds, key_of_row), []).append(row)
    results = []
    for ((start, end), values), members in groups.items():
        members.sort(key=lambda row: (row["t"], row["place"]))
        on_time = [row for row in members if row["w"] < end]
        for chosen, w, wanted in [
            (on_time, end - US, bool(on_time)),
            (members, end + allowed - US, len(on_time) < len(members)),
        ]:
            if wanted:
                columns = dict(zip(key, values)) | {"window_start": start, "window_end": end}
                columns |= {name: f([row["columns"] for row in chosen]) for name, f in aggregates.items()}
                place = (node, tuple(map(comparable, values)), end)
                results.append({"t": end - US, "w": w, "place": place, "columns": columns})
    return results, late


# --- aggregates: each a function of the rows in the order of (event time, place) ------------------------------------------


def present(rows, column):
    return [row[column] for row in rows if row[column] is not None]


def count(column=None):
    return lambda rows: len(rows if column is None else present(rows, column))


def exact(column):
    """The exact sum, as a fraction."""
    return lambda rows: sum(map(Fraction, present(rows, column)), Fraction())


def total(column):
    return lambda rows: float(exact(column)(rows)) if present(rows, column) else None


def mean(column):
    return lambda rows: float(exact(column)(rows) / len(present(rows, column))) if present(rows, column) else None


def extreme(choose, column):
    def value(rows):
        values = present(rows, column)
        return choose(values, key=comparable) if values else None

    return value


def nth(index, column):
    return lambda rows: values[index] if (values := present(rows, column)) else None


def everything(column):
    return lambda rows: present(rows, column)


def top(column, k):
    def value(rows):
        counts = sorted(Counter(present(rows, column)).items(), key=lambda item: (-item[1], comparable(item[0])))
        return [{"value": value, "count": count} for value, count in counts[:k]]

    return value


def deviation(column):
    def value(rows):
        values = [Fraction(value) for value in present(rows, column)]
        n = len(values)
        return root((n * sum(x * x for x in values) - sum(values) ** 2) / (n * (n - 1))) if n > 1 else None

    return value


def root(square):
    """The float nearest to the square root of a fraction."""
    if square == 0:
        return 0.0
    shift = max(0, 130 - square.numerator.bit_length() + square.denominator.bit_length())
    shift += shift % 2
    whole = math.isqrt((square.numerator << shift) // square.denominator)
    is_exact = whole * whole * square.denominator == square.numerator << shift
    return float(Fraction(whole * 2 + (not is_exact), 1 << (shift // 2 + 1)))


# --- sinks -------------------------------------------------------------------------------------------------------------


def in_event_time_order(rows):
    return sorted(rows, key=lambda row: (max(row["t"], row["w"]), row["t"], row["place"]))


def plain(value):
    if isinstance(value, datetime):
        fraction = f".{value.microsecond:06}".rstrip("0") if value.microsecond else ""
        return f"{value:%Y-%m-%dT%H:%M:%S}{fraction}Z"
    if isinstance(value, float):
        assert value == 0 or 1e-4 <= abs(value) < 1e16, value
    return value


def write_json(topology, name, rows, columns=None):
    with open(output(topology, name), "w", newline="") as file:
        for row in in_event_time_order(rows):
            values = {name: plain(row["columns"][name]) for name in columns or row["columns"]}
            file.write(json.dumps(values, separators=(",", ":"), ensure_ascii=False) + "\n")


def write_csv(topology, name, rows, columns=None, delimiter=",", null=""):
    with open(output(topology, name), "w", newline="") as file:
        writer = csv.writer(file, lineterminator="\n", delimiter=delimiter)
        names = columns or list(rows[0]["columns"])
        writer.writerow(names)
        for row in in_event_time_order(rows):
            values = (row["columns"][name] for name in names)
            writer.writerow(null if value is None else plain(value) for value in values)


def output(topology, name):
    folder = HERE / topology / "expected"
    folder.mkdir(exist_ok=True)
    return folder / name


# --- the topologies ------------------------------------------------------------------------------------------------------


def partitions():
    columns = {"observed": instant_of, "origin": str} | dict.fromkeys(["temp", "wind_gust", "precip"], optional(float))
    rows = []
    for path in sorted((HERE / "partitions/input").iterdir()):
        raw = path.read_bytes()
        if path.suffix == ".gz":
            raw = gzip.decompress(raw)
        if path.suffix == ".zst":
            raw = subprocess.run(["zstd", "-dcq", path], check=True, capture_output=True).stdout
        name = f"input/{path.name}"
        records = (
            (position, line, text, row | {"source_file": name, "line": line})
            for position, line, text, row in csv_records(raw.decode(), columns)
        )
        rows += stamped("weather", name, records, "observed", seconds(3600))[0]
    by_airport, late = window(
        "by-airport", rows, ["origin"], every(seconds(3600), seconds(3 * 3600), seconds(1800)), seconds(3600),
        {
            "observations": count(), "gusts": count("wind_gust"), "rain": total("precip"), "mean_temp": mean("temp"),
            "deviation": deviation("temp"), "coldest": extreme(min, "temp"), "strongest": extreme(max, "wind_gust"),
            "first_temp": nth(0, "temp"), "last_gust": nth(-1, "wind_gust"), "gust_list": everything("wind_gust"),
        },
    )
    everywhere, _ = window(
        "everywhere", rows, [], days(ZoneInfo("America/New_York")), timedelta(days=1),
        {"observations": count(), "rain": total("precip"), "mean_temp": mean("temp"), "last_origin": nth(-1, "origin")},
    )
    write_json("partitions", "rows.jsonl", rows)
    write_json("partitions", "airports.jsonl", by_airport)
    write_csv("partitions", "late.csv", late, ["source_file", "line", "observed", "wind_gust"], ";", "NA")
    write_csv("partitions", "days.csv", everywhere)


def late():
    records, position = [], 0
    for path in sorted((HERE / "late/input").iterdir()):
        for line in path.read_text().splitlines():
            record = json.loads(line)
            reading = record.get("reading") or {}
            value = reading.get("value")
            columns = {
                "at": EPOCH + timedelta(milliseconds=record["at"]), "sensor": record.get("sensor"),
                "value": None if value is None else float(value), "ok": reading.get("ok"),
            }
            records.append((position, None, line, columns))
            position += 1
    rows, _ = stamped("readings", "", records, "at", seconds(5))
    sliding, dead = window(
        "sliding", rows, ["sensor", "ok"], every(seconds(4), seconds(10)), seconds(3),
        {
            "rows": count(), "total": total("value"), "mean": mean("value"), "least": extreme(min, "value"),
            "values": everything("value"), "common": top("value", 2),
        },
    )
    strict, strict_late = window(
        "strict", rows, [], every(seconds(6), seconds(6)), seconds(0),
        {"rows": count(), "first": nth(0, "value"), "last": nth(-1, "value"), "sensor": extreme(max, "sensor")},
    )
    letters = [row | {"columns": {"node": "sliding", "kind": "late", "event_time": row["t"]}} for row in dead]
    write_json("late", "windows.jsonl", sliding)
    write_json("late", "strict.jsonl", strict)
    write_json("late", "strict-late.jsonl", strict_late)
    write_json("late", "letters.jsonl", letters)


def bad_records():
    columns = {"at": optional(instant_of), "id": int, "price": optional(float), "note": optional(str)}
    text = (HERE / "bad-records/input/orders.csv").read_text()
    records = (
        (position, line, text, row and row | {"line": line}) for position, line, text, row in csv_records(text, columns)
    )
    rows, letters = stamped("orders", "input/orders.csv", records, "at", seconds(60), timedelta(days=1))
    hourly, _ = window(
        "hourly", rows, [], every(seconds(3600), seconds(3600)), seconds(0), {"orders": count(), "income": total("price")}
    )
    write_json("bad-records", "good.jsonl", rows)
    write_csv("bad-records", "income.csv", hourly)
    write_json("bad-records", "rejected.jsonl", letters)


def incident():
    records = []
    for line in (HERE / "incident/input/logs.jsonl").read_text().splitlines():
        record = json.loads(line)
        columns = {"ts": instant_of(record["ts"]), "service": record["service"], "message": record["message"]}
        records.append((len(records), None, line, columns | {name: record["log"][name] for name in ["level", "logger"]}))
    rows, _ = stamped("logs", "", records, "ts", seconds(0))
    counts, _ = window(
        "counts", rows, ["service", "level"], every(seconds(1), seconds(5)), seconds(0),
        {"lines": count(), "loggers": top("logger", 3), "first": nth(0, "message")},
    )
    half = timedelta(milliseconds=500)
    totals, _ = window(
        "total", rows, [], every(half, half), seconds(0),
        {"lines": count(), "named": count("logger"), "last": nth(-1, "ts"), "least": extreme(min, "service")},
    )
    write_json("incident", "counts.jsonl", counts)
    write_csv("incident", "total.csv", totals)


if __name__ == "__main__":
    partitions()
    late()
    bad_records()
    incident()
