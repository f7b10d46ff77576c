#!/usr/bin/env python3
"""Computes what the topology `joins` has to give, without Wasmill, from the definitions: each left row beside each right.

* A row r is late when t < W(r), and takes no part. Keys are equal where all their columns are; a null equals nothing.
* Window join: the partners are those in the same window; a row alone is alone in each of its windows. Sessions are those
  of the rows of both sides with a key, in which nulls are together, as in a group. t = W = end - 1 us.
* Interval join: left.t - before <= right.t <= left.t + after. A pair has the greater t of both, a row alone its own.
* As-of join: the last right row, by (t, place), with right.t <= left.t, if it is no older than `within`. t is the left
  row's.
* `inner` gives pairs; `left`, `right` and `full` also rows of a side, or both, that are alone, with nulls for the other
  side but for the columns that must be equal; `semi` the left rows that have a partner, once each (and window), `anti`
  those that have none.

Places: a pair stands at the left row's place followed by the right row's, any other row at its own; in a window join
the bounds follow. No W is above its row's t here, so the file's order is (t, place).

Usage: python3 expected_joins.py
"""

from expected import US, count, every, everything, instant_of, nth, optional, seconds, window, write_json
from expected_windows import HOUR, MINUTE, counted, cumulative, last_of, readings

COLUMNS = {"at": instant_of, "shop": optional(str), "sku": optional(int), "number": int}
KEY = ["shop", "sku"]
DELAY = 8 * MINUTE


def joined(left, right, on, prefixes):
    """The columns of a pair, or of a row that is alone."""
    columns = {}
    for name in COLUMNS:
        value = left["columns"][name] if left else right["columns"][name] if name in on else None
        columns[prefixes[0] + name] = value
    for name in COLUMNS:
        if name not in on:
            columns[prefixes[1] + name] = right["columns"][name] if right else None
    return columns


def choose(kind, lefts, rights, matches, on, prefixes):
    """Yields (left, right, columns) of all that comes out, of these rows. `matches`: whether two are partners."""
    met = set()
    for left in lefts:
        partners = [right for right in rights if matches(left, right)]
        met.update(id(right) for right in partners)
        if kind in ("semi", "anti"):
            if bool(partners) == (kind == "semi"):
                yield left, None, left["columns"]
            continue
        for right in partners:
            yield left, right, joined(left, right, on, prefixes)
        if not partners and kind in ("left", "full"):
            yield left, None, joined(left, None, on, prefixes)
    if kind in ("right", "full"):
        for right in rights:
            if id(right) not in met:
                yield None, right, joined(None, right, on, prefixes)


def equal(on):
    def matches(left, right):
        return all(left["columns"][c] is not None and left["columns"][c] == right["columns"][c] for c in on)

    return matches


def place_of(left, right):
    return (left["place"] if left else ()) + (right["place"] if right else ())


# --- windows ---------------------------------------------------------------------------------------------------------------


def aligned(windows_of):
    def bounds(rows, on):
        return [(row, bounds) for row in rows for bounds in windows_of(row["t"])]

    return bounds


def session(gap):
    def bounds(rows, on):
        groups = {}
        for row in sorted(rows, key=lambda row: row["t"]):
            sessions = groups.setdefault(tuple(row["columns"][name] for name in on), [])
            if not sessions or row["t"] - sessions[-1][-1]["t"] >= gap:
                sessions.append([])
            sessions[-1].append(row)
        every_one = [members for sessions in groups.values() for members in sessions]
        return [(row, (members[0]["t"], members[-1]["t"] + gap)) for members in every_one for row in members]

    return bounds


def window_join(kind, left, right, on, bounds_of, prefixes=("", "r_")):
    sides = {id(row): 0 for row in left} | {id(row): 1 for row in right}
    windows = {}
    for row, bounds in bounds_of(left + right, on):
        windows.setdefault(bounds, ([], []))[sides[id(row)]].append(row)
    for (start, end), (lefts, rights) in windows.items():
        for one, other, columns in choose(kind, lefts, rights, equal(on), on, prefixes):
            columns = {"window_start": start, "window_end": end} | columns
            yield {"t": end - US, "w": end - US, "place": place_of(one, other) + (start, end), "columns": columns}


# --- bounds of time ----------------------------------------------------------------------------------------------------------


def within(kind, left, right, on, before, after, prefixes=("", "r_")):
    same = equal(on)
    matches = lambda l, r: same(l, r) and l["t"] - before <= r["t"] <= l["t"] + after  # noqa: E731, E741
    for one, other, columns in choose(kind, left, right, matches, on, prefixes):
        time = max(row["t"] for row in (one, other) if row)
        yield {"t": time, "w": time, "place": place_of(one, other), "columns": columns}


def as_of(kind, left, right, on, age, prefixes=("", "r_")):
    same = equal(on)
    for row in left:
        versions = [other for other in right if same(row, other) and other["t"] <= row["t"]]
        version = max(versions, key=lambda other: (other["t"], other["place"]), default=None)
        valid = [version] if version and (age is None or row["t"] - version["t"] <= age) else []
        for one, other, columns in choose(kind, [row], valid, lambda *_: True, on, prefixes):
            yield {"t": row["t"], "w": row["t"], "place": place_of(one, other), "columns": columns}


# --- the topology ----------------------------------------------------------------------------------------------------------


def main():
    sides, late = [], []
    for side in ["left", "right"]:
        rows = readings("joins", side, COLUMNS, DELAY, pattern=f"{side}-*.csv")
        sides.append([row for row in rows if row["t"] >= row["w"]])
        late.append([row for row in rows if row["t"] < row["w"]])
    write = lambda name, results: write_json("joins", f"{name}.jsonl", list(results))  # noqa: E731
    windows = {
        "tumbling": aligned(every(20 * MINUTE, 20 * MINUTE)),
        "sliding": aligned(every(20 * MINUTE, 30 * MINUTE, 5 * MINUTE)),
        "session": session(12 * MINUTE),
    }
    for name, bounds in windows.items():
        for kind in ["inner", "left", "full"]:
            write(f"{name}-{kind}", window_join(kind, *sides, KEY, bounds))
    write("tumbling-right", window_join("right", *sides, KEY, windows["tumbling"], ("l_", "r_")))
    write("tumbling-semi", window_join("semi", *sides, KEY, windows["tumbling"]))
    write("sliding-anti", window_join("anti", *sides, KEY, windows["sliding"]))
    write("cumulative-inner", window_join("inner", *sides, ["sku"], aligned(cumulative(HOUR, 20 * MINUTE))))
    found = {}
    for kind in ["inner", "left", "right", "full", "semi", "anti"]:
        found[kind] = list(within(kind, *sides, ["sku"], 10 * MINUTE, 4 * MINUTE, ("l_", "r_")))
        write(f"within-{kind}", found[kind])
    aggregates = {
        "rows": count(), "pairs": count("r_number"), "lefts": everything("l_number"), "last": nth(-1, "r_number"),
    }  # fmt: skip
    write("tens", window("tens", found["full"], ["l_sku"], every(10 * MINUTE, 10 * MINUTE), seconds(0), aggregates)[0])
    aggregates = {"lefts": everything("l_number"), "rights": everything("r_number")}
    write("threes", counted(found["left"], [], last_of(3, 3), aggregates)[0])
    for name, age in [("as-of", None), ("fresh", 10 * MINUTE)]:
        for kind in ["inner", "left", "semi", "anti"]:
            write(f"{name}-{kind}", as_of(kind, *sides, KEY, age))
    for name in ["tumbling-inner", "within-inner", "as-of-inner"]:
        write(f"{name}-late-left", late[0])
        write(f"{name}-late-right", late[1])


if __name__ == "__main__":
    main()
