#!/usr/bin/env python3
"""Computes what the topology `rows` has to give, without Wasmill, from the definitions.

* A union has the rows of its inputs as they are; their places begin with their sources' names.
* A split gives a row to every port whose condition holds, and to the main output where none does. A null satisfies no
  comparison and is in no list.
* Deduplicate and top take rows by (t, place), per key, in which nulls are equal. A row is late when t < W(r).
* Deduplicate drops a row less than the horizon after one of its key that was kept.
* Top: the greater value is first, or the less; of equal values the earlier (t, place); nulls are last either way. With a
  window there are the first n of each key and window, best first, with t = W = end - 1 us, at (operator, key, end, number).
  Without one, a row that comes among the first changes them: the one that leaves is deleted, those behind move back,
  the last one first, so that no two have one rank at any moment, and then the row is inserted. All that has the row's t.
* A lookup gives a row for each row of the table, in its order. A null equals nothing; `left` keeps a row without a match.

Places: what comes of a row is at the row's place followed by a number, which counts what comes of that row.

Usage: python3 expected_rows.py
"""

import csv

from expected import HERE, US, comparable, every, instant_of, optional, write_json
from expected_windows import MINUTE, keyed, readings

COLUMNS = {
    "at": instant_of,
    "text": optional(str),
    "number": optional(int),
    "value": optional(float),
    "flag": optional(lambda text: {"true": True, "false": False}[text]),
}


# --- split -----------------------------------------------------------------------------------------------------------------


def compared(column, holds):
    return lambda row: row[column] is not None and holds(row[column])


def split(rows, ports):
    """The rows of each port by name; the main output's name is the empty one."""
    found = {"": []} | {name: [] for name in ports}
    for row in rows:
        names = [name for name, condition in ports.items() if condition(row["columns"])]
        for name in names or [""]:
            found[name].append(row)
    return found


def is_late(row):
    return row["t"] < row["w"]


# --- deduplicate -------------------------------------------------------------------------------------------------------------


def child(row, number, columns):
    return {"t": row["t"], "w": row["t"], "place": row["place"] + (number,), "columns": columns}


def deduplicate(rows, key, horizon):
    groups, late = keyed(rows, key, is_late)
    kept = []
    for members in groups.values():
        until = None
        for row in members:
            if until is None or row["t"] >= until:
                kept.append(child(row, 0, row["columns"]))
                until = row["t"] + horizon
    return kept, late


# --- top -------------------------------------------------------------------------------------------------------------------


def ranked(rows, by, descending):
    """Best first."""
    with_value = [row for row in rows if row["columns"][by] is not None]
    without = [row for row in rows if row["columns"][by] is None]
    in_order = lambda row: (row["t"], row["place"])  # noqa: E731
    with_value.sort(key=in_order)
    with_value.sort(key=lambda row: -row["columns"][by] if descending else row["columns"][by])
    return with_value + sorted(without, key=in_order)


def windowed_top(node, rows, key, n, by, descending, windows_of, has_rank):
    groups, late = keyed(rows, key, is_late)
    results = []
    for values, members in groups.items():
        windows = {}
        for row in members:
            for bounds in windows_of(row["t"]):
                windows.setdefault(bounds, []).append(row)
        for (start, end), held in windows.items():
            for number, row in enumerate(ranked(held, by, descending)[:n]):
                columns = {"window_start": start, "window_end": end} | row["columns"]
                place = (node, tuple(map(comparable, values)), end, number)
                columns |= {"rank": number + 1} if has_rank else {}
                results.append({"t": end - US, "w": end - US, "place": place, "columns": columns})
    return results, late


def running_top(rows, key, n, by, descending, has_rank):
    """A changelog: rows with a first column `kind`."""
    groups, late = keyed(rows, key, is_late)
    changes = []
    for members in groups.values():
        first = []
        for number, row in enumerate(members, start=1):
            before, first = first, ranked(members[:number], by, descending)[:n]
            if row not in first:
                continue
            told = []
            left = [one for one in before if one not in first]
            told += [("delete", one, before.index(one) + 1) for one in left]
            if has_rank:
                for one in reversed(first[first.index(row) + 1 :]):
                    told.append(("update-before", one, before.index(one) + 1))
                    told.append(("update-after", one, first.index(one) + 1))
            told.append(("insert", row, first.index(row) + 1))
            for index, (kind, one, rank) in enumerate(told):
                columns = {"kind": kind} | one["columns"] | ({"rank": rank} if has_rank else {})
                changes.append(child(row, index, columns))
    return changes, late


# --- lookup ----------------------------------------------------------------------------------------------------------------


def table():
    with open(HERE / "rows/input/table.csv", newline="") as file:
        for row in csv.DictReader(file):
            yield int(row["code"]) if row["code"] else None, row["name"] or None, float(row["rate"]) if row["rate"] else None


def lookup(rows, prefix, keeps_all):
    found = []
    for row in rows:
        code = row["columns"]["number"]
        matches = [entry for entry in table() if code is not None and entry[0] == code]
        if not matches and keeps_all:
            matches = [(None, None, None)]
        for number, (_, name, rate) in enumerate(matches):
            columns = row["columns"] | {f"{prefix}name": name, f"{prefix}rate": rate}
            found.append(row | {"place": row["place"] + (number,), "columns": columns})
    return found


# --- the topology ----------------------------------------------------------------------------------------------------------


def main():
    both = readings("rows", "first", COLUMNS, 10 * MINUTE, pattern="first-*.csv")
    both += readings("rows", "second", COLUMNS, 5 * MINUTE, pattern="second-*.csv")
    write = lambda name, results: write_json("rows", f"{name}.jsonl", results)  # noqa: E731
    write("both", both)
    three = instant_of("2024-06-01T03:00:00Z")
    ports = {
        "equal": compared("text", lambda text: text == "ab"),
        "unequal": compared("number", lambda number: number != 3),
        "less": compared("value", lambda value: value < -1.5),
        "at-most": compared("number", lambda number: number <= 2),
        "greater": compared("at", lambda at: at > three),
        "at-least": compared("value", lambda value: value >= 2),
        "among": compared("text", lambda text: text in ("b", "Zürich", "nowhere")),
        "true": compared("flag", lambda flag: flag),
        "null": lambda row: row["text"] is None,
        "not-null": lambda row: row["flag"] is not None,
        "containing": compared("text", lambda text: "b" in text),
        "beginning": compared("text", lambda text: text.startswith("a")),
    }
    for port, rows in split(both, ports).items():
        write(f"parts-{port}" if port else "parts", rows)
    some = split(
        both,
        {"high": compared("value", lambda value: value > 1), "small": compared("number", lambda number: number in (1, 2))},
    )
    write("some", some[""])

    once, late = deduplicate(both, ["text"], 25 * MINUTE)
    write("once", once)
    write("once-late", late)
    write("once-each", deduplicate(some[""], ["number", "flag"], 60 * MINUTE)[0])

    best, late = windowed_top("best", both, ["text"], 2, "value", True, every(60 * MINUTE, 60 * MINUTE), True)
    write("best", best)
    write("best-late", late)
    write("least", windowed_top("least", both, [], 3, "number", False, every(30 * MINUTE, 60 * MINUTE), False)[0])
    leaders, late = running_top(both, ["text"], 3, "value", True, True)
    write("leaders", leaders)
    write("leaders-late", late)
    write("trailers", running_top(some["small"], [], 4, "value", False, False)[0])
    leading = split(leaders, {"first": lambda row: row["rank"] == 1})
    write("leading", leading[""])
    write("leading-first", leading["first"])

    write("named", lookup(both, "t_", keeps_all=True))
    write("known", lookup(once, "", keeps_all=False))


if __name__ == "__main__":
    main()
