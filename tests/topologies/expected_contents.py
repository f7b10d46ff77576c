#!/usr/bin/env python3
"""Computes what the topology `contents` has to give, without Wasmill, from the definitions.

* The plugin `median` gives of a window the number of rows, the middle value (the lower of two), the notes by (t, place),
  and which result of the window it is. Windows are those of expected.py and expected_windows.py.
* A keyed plugin takes the rows of a key by (t, place), and its timers at their times, a timer before rows of its time. At
  the end of input each timer that is set fires once. A row is late when t < W(r).
* The plugin `gaps` counts rows and sums up values (null is 0), tells of each row, and sets a timer to `seconds` after it in
  place of the one before. The timer tells the gap and forgets. A row with a value below zero is refused; at a row with the
  value `trap-at` the plugin traps. Such rows do nothing else.
* A dead letter has its row's t, W and place.

Places: what is told of a row is at the row's place, followed by 0; what a timer tells is at (operator, key, time).

Usage: python3 expected_contents.py
"""

from expected import comparable, every, instant_of, optional, seconds, window, write_json
from expected_windows import HOUR, MINUTE, counted, each, keyed, last_of, numbered, readings, sessions, whole

COLUMNS = {
    "at": instant_of,
    "room": optional(str),
    "floor": int,
    "value": optional(int),
    "note": optional(str),
}
DELAY = 8 * MINUTE


# --- median ------------------------------------------------------------------------------------------------------------------


def median(separator=" "):
    def middle(rows):
        values = sorted(row["value"] for row in rows if row["value"] is not None)
        return values[(len(values) - 1) // 2] if values else None

    return {
        "rows": len,
        "median": middle,
        "notes": lambda rows: separator.join(row["note"] for row in rows if row["note"] is not None),
    }


def fired(results):
    """Adds which result of its window each is: the last column."""
    for row in numbered(results):
        row["columns"]["firing"] = row["columns"].pop("pane")
    return results


def with_pane(results):
    """Puts `pane` behind the bounds of the window."""
    for row in results:
        items = list(row["columns"].items())
        at = [name for name, _ in items].index("window_end") + 1
        row["columns"] = dict(items[:at] + [("pane", row["columns"]["firing"])] + items[at:])
    return results


def first_firing(results):
    for row in results:
        row["columns"]["firing"] = 0
    return results


# --- gaps --------------------------------------------------------------------------------------------------------------------


def gaps(node, rows, key, quiet, trap_at=None):
    """What is told, the late rows, those that were refused, and those at which it trapped."""
    groups, late = keyed(rows, key, lambda row: row["t"] < row["w"])
    told, refused, trapped = [], [], []
    for values, members in groups.items():
        of_key = dict(zip(key, values))
        seen, total, timer = 0, 0, None

        def tell(event, time, place):
            columns = of_key | {"event": event, "rows": seen, "total": total}
            told.append({"t": time, "w": time, "place": place, "columns": columns})

        for row in [*members, None]:
            if timer is not None and (row is None or timer <= row["t"]):
                tell("gap", timer, (node, tuple(map(comparable, values)), timer, 0))
                seen, total, timer = 0, 0, None
            if row is None:
                break
            value = row["columns"]["value"] or 0
            if value == trap_at:
                trapped.append(row)
            elif value < 0:
                refused.append(row)
            else:
                seen, total, timer = seen + 1, total + value, row["t"] + quiet
                tell("first" if seen == 1 else "next", row["t"], row["place"] + (0,))
    return told, late, refused, trapped


def letters(node, kind, rows):
    for row in rows:
        source, partition, *_ = row["place"]
        columns = {"node": node, "kind": kind, "event_time": row["t"], "source": source, "partition": partition}
        yield row | {"columns": columns}


# --- the topology --------------------------------------------------------------------------------------------------------------


def main():
    rows = readings("contents", "readings", COLUMNS, DELAY)
    write = lambda name, results: write_json("contents", f"{name}.jsonl", results)  # noqa: E731
    hours, late_hours = window("hours", rows, ["room"], every(HOUR, HOUR), 30 * MINUTE, median())
    write("hours", with_pane(fired(hours)))
    sliding = window("sliding", rows, [], every(30 * MINUTE, 45 * MINUTE), seconds(0), median("|"))[0]
    write("sliding", fired(sliding))
    stays, late = sessions("stays", rows, ["floor", "room"], 15 * MINUTE, 10 * MINUTE, median(""))
    write("stays", first_firing(stays))
    write("stays-late", late)
    write("fives", first_firing(counted(rows, ["floor"], last_of(5, 3), median())[0]))
    write("all", first_firing(whole("all", rows, ["room"], median())))
    write("twenties", first_firing(counted(rows, [], each(20, purge=True), median())[0]))

    told, late_gaps, refused, _ = gaps("gaps", rows, ["room", "floor"], 15 * MINUTE)
    dead = [*letters("hours", "late", late_hours), *letters("gaps", "late", late_gaps), *letters("gaps", "rejected", refused)]
    write("gaps", told)
    told, _, refused, trapped = gaps("trapping", rows, ["room"], 10 * MINUTE, 13)
    dead += [*letters("trapping", "rejected", refused), *letters("trapping", "trap", trapped)]
    write("trapping", told)
    told, late, refused, trapped = gaps("skipping", rows, [], 5 * MINUTE, 7)
    dead += letters("skipping", "rejected", refused)
    write("skipping", told)
    write("skipping-late", late)
    write("letters", dead)


if __name__ == "__main__":
    main()
