#!/usr/bin/env python3
"""Computes what the topology `keyed` has to give, without Wasmill, from the definitions.

* Rows of both inputs and timers of a key are one sequence: by t, timers before rows, rows by place. A row is late when
  t < W(r). At the end of input each timer that is set fires once.
* The plugin `limits` counts rows and remembers the last note that was not null; it keeps the limit that the other input
  gave last, which may be null. It tells of each row, and sets a timer to `minutes` after each reading in place of the one
  before. The timer tells what is known, and adds 100 to the count.
* Count and note go back to nothing half an hour after the key's last row, of either input: a row or timer at that moment
  or later does not see them, nor what a timer did to them. Notes and rooms may be null; a null room is a key.

Places: what is told of a row is at the row's place, followed by 0; what a timer tells is at (operator, key, time).

Usage: python3 expected_keyed.py
"""

from expected import comparable, instant_of, optional, write_json
from expected_contents import letters
from expected_windows import MINUTE, keyed, readings

COLUMNS = {"at": instant_of, "note": optional(str), "value": optional(int), "room": optional(str)}
LIMITS = {"at": instant_of, "room": optional(str), "limit": optional(int)}
FORGOTTEN = 30 * MINUTE


def held(node, rows, later):
    """What is told, and the late rows."""
    groups, late = keyed(rows, ["room"], lambda row: row["t"] < row["w"])
    told = []
    for (room,), members in groups.items():
        limit, count, note, last, timer = None, 0, None, None, None
        for row in [*members, None]:
            while timer is not None and (row is None or timer <= row["t"]):
                if timer >= last + FORGOTTEN:
                    count, note = 0, None
                columns = {"room": room, "event": "later", "rows": count, "limit": limit, "over": None, "note": note}
                told.append({"t": timer, "w": timer, "place": (node, (comparable(room),), timer, 0), "columns": columns})
                count, timer = count + 100, None
            if row is None:
                break
            if last is None or row["t"] >= last + FORGOTTEN:
                count, note = 0, None
            last, count, given, over = row["t"], count + 1, row["columns"], None
            is_reading = "value" in given
            if is_reading:
                note = note if given["note"] is None else given["note"]
                over = None if given["value"] is None or limit is None else given["value"] > limit
                timer = row["t"] + later
            else:
                limit = given["limit"]
            event = "reading" if is_reading else "limit"
            columns = {"room": room, "event": event, "rows": count, "limit": limit, "over": over, "note": note}
            told.append({"t": row["t"], "w": row["t"], "place": row["place"] + (0,), "columns": columns})
    return told, late


def main():
    rows = readings("keyed", "readings", COLUMNS, 8 * MINUTE, pattern="readings-*.csv")
    rows += readings("keyed", "limits", LIMITS, 5 * MINUTE, pattern="limits-*.csv")
    told, late = held("held", rows, 40 * MINUTE)
    write_json("keyed", "held.jsonl", told)
    soon, late_soon = held("soon", rows, 10 * MINUTE)
    write_json("keyed", "soon.jsonl", soon)
    write_json("keyed", "letters.jsonl", [*letters("held", "late", late), *letters("soon", "late", late_soon)])


if __name__ == "__main__":
    main()
