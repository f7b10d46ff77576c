#!/usr/bin/env python3
"""Makes the input of the topologies `windows`, `joins`, `rows`, `contents` and `keyed`: small partitions with rows out of order,
rows that are late, equal times, nulls, and keys of text and numbers. The same files on each run.

Usage: python3 inputs.py
"""

import csv
import random
from datetime import datetime, timedelta, timezone
from pathlib import Path

HERE = Path(__file__).resolve().parent
MINUTE = timedelta(minutes=1)
TEXTS = ["a", "ab", "b", "ä", "Zürich", "", "b c", "😀"]


def instant(text):
    return datetime.fromisoformat(text).replace(tzinfo=timezone.utc)


def times(draw, begin, minutes, rows, jitter, late, latest):
    """Whole minutes that rise, with up to `jitter` minutes of disorder; some rows are up to `latest` minutes behind."""
    for i in range(rows):
        behind = draw.randint(0, jitter) if draw.random() > late else draw.randint(jitter, latest)
        yield begin + (i * minutes // rows - behind) * MINUTE


def write(path, header, rows):
    path = HERE / path
    path.parent.mkdir(parents=True, exist_ok=True)
    with open(path, "w", newline="") as file:
        writer = csv.writer(file, lineterminator="\n")
        writer.writerow(header)
        for row in rows:
            writer.writerow("" if value is None else written(value) for value in row)


def written(value):
    return f"{value:%Y-%m-%dT%H:%M:%SZ}" if isinstance(value, datetime) else value


def maybe(draw, share, value):
    return None if draw.random() < share else value


def windows():
    """Two nights in which New York and Havana change their clocks, in three partitions."""
    for number, seed in enumerate([11, 12, 13], start=1):
        draw = random.Random(seed)
        rows = []
        for begin in ["2024-03-09T22:00", "2024-11-02T22:00"]:
            for time in times(draw, instant(begin), 18 * 60, 110, 15, 0.12, 400):
                room = maybe(draw, 0.08, draw.choice(["hall", "attic", "küche"]))
                rows.append((time, room, draw.randint(1, 3), maybe(draw, 0.1, draw.randint(-900, 900) / 4), draw.choice("xyz")))
        if number == 2:
            # Three sessions of half an hour's gap that two later rows make one.
            begin = instant("2024-11-03T18:00")
            rows += [(begin + m * MINUTE, "bridge", 9, float(m), "x") for m in [0, 50, 100, 25, 75, 100, 0]]
        write(f"windows/input/p{number}.csv", ["at", "room", "floor", "value", "note"], rows)


def joins():
    for side, seeds in [("left", [21, 22]), ("right", [23, 24])]:
        for number, seed in enumerate(seeds, start=1):
            draw = random.Random(seed)
            rows = []
            for time in times(draw, instant("2024-05-01T00:00"), 8 * 60, 45, 6, 0.1, 50):
                shop = maybe(draw, 0.08, draw.choice(["a", "b"]))
                rows.append((time, shop, maybe(draw, 0.08, draw.randint(1, 2)), len(rows) + 100 * number))
            write(f"joins/input/{side}-{number}.csv", ["at", "shop", "sku", "number"], rows)


def rows():
    for name, seed in [("first-1", 31), ("first-2", 32), ("second-1", 33)]:
        draw = random.Random(seed)
        found = []
        for time in times(draw, instant("2024-06-01T00:00"), 6 * 60, 80, 8, 0.1, 60):
            text = maybe(draw, 0.1, draw.choice(TEXTS[:5]))
            flag = maybe(draw, 0.2, draw.choice(["true", "false"]))
            value = maybe(draw, 0.12, draw.randint(-8, 8) / 2)
            found.append((time, text, maybe(draw, 0.1, draw.randint(1, 5)), value, flag))
        write(f"rows/input/{name}.csv", ["at", "text", "number", "value", "flag"], found)
    # The key 2 has three rows, 3 has none, one key is null.
    table = [(1, "one", 1.5), (2, "two", None), (None, "none", 0.25), (2, "deux", 2.5), (4, None, 4.0), (5, "five", 5.0), (2, "zwei", 2.25)]
    write("rows/input/table.csv", ["code", "name", "rate"], table)


def contents():
    for number, seed in enumerate([41, 42, 43], start=1):
        draw = random.Random(seed)
        found = []
        for time in times(draw, instant("1969-12-31T20:00"), 8 * 60, 70, 6, 0.12, 90):
            room = maybe(draw, 0.08, draw.choice(["hall", "attic"]))
            value = maybe(draw, 0.1, draw.randint(-3, 40))
            found.append((time, room, draw.randint(1, 2), value, maybe(draw, 0.2, draw.choice(TEXTS))))
        write(f"contents/input/p{number}.csv", ["at", "room", "floor", "value", "note"], found)


def keyed():
    for name, seed, rows in [("readings-1", 51, 60), ("readings-2", 52, 60), ("limits-1", 53, 14), ("limits-2", 54, 9)]:
        draw = random.Random(seed)
        found = []
        for time in times(draw, instant("1969-12-31T18:00"), 10 * 60, rows, 6, 0.1, 80):
            room = maybe(draw, 0.15, draw.choice(TEXTS))
            if name.startswith("limits"):
                found.append((time, room, maybe(draw, 0.2, draw.randint(0, 30))))
            else:
                found.append((time, maybe(draw, 0.25, draw.choice(TEXTS)), maybe(draw, 0.2, draw.randint(-9, 40)), room))
        header = ["at", "room", "limit"] if name.startswith("limits") else ["at", "note", "value", "room"]
        write(f"keyed/input/{name}.csv", header, found)


if __name__ == "__main__":
    windows()
    joins()
    rows()
    contents()
    keyed()
