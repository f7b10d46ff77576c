#!/usr/bin/env python3
"""Computes what the topology `windows` has to give, without Wasmill, from the definitions.

Beside those of expected.py:

* Cumulative windows begin together each `size` and end one `step` after another: [s, s + step), ..., [s, s + size). In a
  time zone bounds are readings of its clock, and a bound is the first moment at which the clock shows that or later. Of
  windows that a change of the clock makes equal, one counts.
* Rows of a key that are less than the gap apart are a session, [first, last + gap). A row is late when t + allowed < W(r).
  There is one result, with t = end - 1 us and W = end + allowed - 1 us.
* For count windows a row is late when t < W(r). The others of a key, by (t, place), are numbered; a window begins each
  `every` rows and has `size`. It reaches from its first row to a microsecond after its last. Its result is made of its
  last row: t = W = that row's t, and the place is that of the row's first child.
* A global window without a trigger has all rows of a key, and none is late. With a count n it has a result after each n-th
  row, as count windows do; all rows so far are in it, or with `purge` those since the last result.
* `pane` is 0 for the first result of a key's window, and counts up with each further one.

Places: a source's row is at (source, partition, position). The result of an aligned window, a session and a global window
that waits for the end is at (operator, key, end). Keys are compared column by column, nulls first. Compared as tuples these
are in the order of their encoded bytes, since names and texts are encoded so that they end themselves.

Usage: python3 expected_windows.py
"""

from collections import Counter
from datetime import datetime, timedelta, timezone
from functools import cache
from zoneinfo import ZoneInfo

from expected import (
    HERE, US, comparable, count, csv_records, deviation, everything, extreme, instant_of, mean, nth, optional, seconds,
    stamped, top, total, window, write_json,
)  # fmt: skip

MINUTE = seconds(60)
HOUR = seconds(3600)
DELAY = 20 * MINUTE
COLUMNS = {
    "at": instant_of,
    "room": optional(str),
    "floor": int,
    "value": optional(float),
    "note": str,
}


def readings(topology, source, columns, delay, event_time="at", pattern="*.csv"):
    """The rows of a source of CSV files, each file a partition."""
    rows = []
    for path in sorted((HERE / topology / "input").glob(pattern)):
        records = csv_records(path.read_text(), columns)
        rows += stamped(source, f"input/{path.name}", records, event_time, delay)[0]
    return rows


# --- windows in a time zone ----------------------------------------------------------------------------------------------


@cache
def moment(zone, reading):
    """The first moment at which a clock shows `reading` or later. Zones change their clocks at whole minutes."""
    guess = reading.replace(tzinfo=timezone.utc) - 14 * HOUR
    # A reading is at most 14 hours from UTC either way; within a day of it clocks are changed once.
    while (guess + HOUR).astimezone(zone).replace(tzinfo=None) < reading:
        guess += HOUR
    while guess.astimezone(zone).replace(tzinfo=None) < reading:
        guess += MINUTE
    return guess


def cumulative(size, step, offset=timedelta(), zone=timezone.utc):
    def windows(time):
        found = set()
        # Readings around the time: whichever windows hold it begin within a day of the clock's reading.
        shown = time.astimezone(zone).replace(tzinfo=None)
        origin = datetime(1970, 1, 1) + offset
        last = (shown - origin) // size
        for number in range(last - 2, last + 3):
            begin = origin + number * size
            for steps in range(1, size // step + 1):
                bounds = moment(zone, begin), moment(zone, begin + steps * step)
                if bounds[0] <= time < bounds[1]:
                    found.add(bounds)
        return sorted(found)

    return windows


def numbered(results):
    """Adds `pane` to the results of `window`, where those of one window are in sequence."""
    seen = Counter()
    for row in results:
        one = row["place"], row["columns"]["window_start"]
        row["columns"]["pane"] = seen[one]
        seen[one] += 1
    return results


# --- windows of keys -------------------------------------------------------------------------------------------------------


def keyed(rows, key, is_late):
    """The rows of each key by (t, place), and the late ones."""
    groups, late = {}, []
    for row in rows:
        if is_late(row):
            late.append(row)
        else:
            groups.setdefault(tuple(row["columns"][name] for name in key), []).append(row)
    for members in groups.values():
        members.sort(key=lambda row: (row["t"], row["place"]))
    return groups, late


def result(key, values, bounds, members, aggregates, pane, **hidden):
    columns = dict(zip(key, values)) | {"window_start": bounds[0], "window_end": bounds[1]}
    columns |= {name: f([row["columns"] for row in members]) for name, f in aggregates.items()}
    if pane is not None:
        columns["pane"] = pane
    return hidden | {"columns": columns}


def sessions(node, rows, key, gap, allowed, aggregates, pane=None):
    groups, late = keyed(rows, key, lambda row: row["t"] + allowed < row["w"])
    results = []
    for values, members in groups.items():
        found = []
        for row in members:
            if not found or row["t"] - found[-1][-1]["t"] >= gap:
                found.append([])
            found[-1].append(row)
        for members in found:
            end = members[-1]["t"] + gap
            place = (node, tuple(map(comparable, values)), end)
            hidden = {"t": end - US, "w": end + allowed - US, "place": place}
            results.append(result(key, values, (members[0]["t"], end), members, aggregates, pane, **hidden))
    return results, late


def counted(rows, key, chosen, aggregates, has_pane=False):
    """`chosen`: number of a row of its key, from 1 -> which rows it makes a result of, as (from, to, pane), or None."""
    groups, late = keyed(rows, key, lambda row: row["t"] < row["w"])
    results = []
    for values, members in groups.items():
        for number, last in enumerate(members, start=1):
            if picked := chosen(number):
                held = members[picked[0] : picked[1]]
                hidden = {"t": last["t"], "w": last["t"], "place": last["place"] + (0,)}
                pane = picked[2] if has_pane else None
                results.append(result(key, values, (held[0]["t"], last["t"] + US), held, aggregates, pane, **hidden))
    return results, late


def last_of(size, every):
    return lambda n: (n - size, n, 0) if n >= size and (n - size) % every == 0 else None


def each(n, purge):
    return lambda number: (number - n if purge else 0, number, number // n - 1) if number % n == 0 else None


def whole(node, rows, key, aggregates, pane=None):
    groups, _ = keyed(rows, key, lambda row: False)
    results = []
    for values, members in groups.items():
        end = members[-1]["t"] + US
        hidden = {"t": end - US, "w": end - US, "place": (node, tuple(map(comparable, values)), end)}
        results.append(result(key, values, (members[0]["t"], end), members, aggregates, pane, **hidden))
    return results


# --- the topology ----------------------------------------------------------------------------------------------------------


def main():
    rows = readings("windows", "readings", COLUMNS, DELAY)
    write = lambda name, results: write_json("windows", f"{name}.jsonl", results)  # noqa: E731
    six_hours = cumulative(6 * HOUR, HOUR, zone=ZoneInfo("America/New_York"))
    so_far, late = window(
        "so-far", rows, ["floor"], six_hours, HOUR,
        {
            "rows": count(), "values": count("value"), "total": total("value"), "first": nth(0, "note"),
            "last": nth(-1, "value"),
        },
    )  # fmt: skip
    write("so-far", numbered(so_far))
    write("so-far-late", late)
    days = cumulative(24 * HOUR, 3 * HOUR, HOUR, ZoneInfo("America/Havana"))
    havana, _ = window(
        "havana", rows, [], days, seconds(0),
        {"rows": count(), "mean": mean("value"), "least": extreme(min, "room"), "common": top("note", 2)},
    )  # fmt: skip
    write("havana", havana)

    half_hours, late = sessions(
        "half-hours", rows, ["room", "floor"], 30 * MINUTE, HOUR,
        {
            "rows": count(), "mean": mean("value"), "deviation": deviation("value"), "first": nth(0, "value"),
            "last": nth(-1, "note"), "notes": everything("note"),
        },
        pane=0,
    )  # fmt: skip
    write("half-hours", half_hours)
    write("half-hours-late", late)
    together, late = sessions(
        "together", rows, [], 12 * MINUTE, seconds(0),
        {"rows": count(), "rooms": everything("room"), "greatest": extreme(max, "value")},
    )  # fmt: skip
    write("together", together)
    write("together-late", late)

    fours, late = counted(
        rows, ["room"], last_of(4, 4),
        {
            "rows": count(), "total": total("value"), "floors": whole_total("floor"), "first": nth(0, "note"),
            "notes": everything("note"),
        },
        has_pane=True,
    )  # fmt: skip
    write("fours", fours)
    write("fours-late", late)
    aggregates = {"rows": count(), "mean": mean("value"), "last": nth(-1, "value"), "notes": everything("note")}
    write("fives", counted(rows, ["floor"], last_of(5, 2), aggregates)[0])
    write("pairs", counted(rows, [], last_of(2, 7), {"notes": everything("note"), "greatest": extreme(max, "at")})[0])

    aggregates = {
        "rows": count(), "total": total("value"), "first": nth(0, "value"), "last": nth(-1, "note"), "common": top("note", 3),
    }  # fmt: skip
    write("all", whole("all", rows, ["room"], aggregates, pane=0))
    aggregates = {
        "rows": count(), "deviation": deviation("value"), "least": extreme(min, "value"), "latest": extreme(max, "at"),
    }  # fmt: skip
    write("everything", whole("everything", rows, [], aggregates))
    aggregates = {"rows": count(), "total": total("value"), "last": nth(-1, "note")}
    write("tenths", counted(rows, ["room"], each(10, purge=False), aggregates, has_pane=True)[0])
    aggregates = {"rows": count(), "first": nth(0, "room"), "notes": everything("note")}
    purged, late = counted(rows, [], each(16, purge=True), aggregates)
    write("purged", purged)
    write("purged-late", late)


def whole_total(column):
    return lambda rows: sum(row[column] for row in rows)


if __name__ == "__main__":
    main()
