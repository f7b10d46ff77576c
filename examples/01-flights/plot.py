#!/usr/bin/env python3
"""Draws flights.svg from the results of example 01, with the standard library only.

Usage: python3 plot.py [FOLDER]      (with hourly.jsonl and daily.csv; by default the folder `expected` beside this file)
"""

import csv
import json
import sys
from collections import Counter
from datetime import date, datetime, timedelta
from pathlib import Path
from zoneinfo import ZoneInfo

HERE = Path(__file__).resolve().parent
NEW_YORK = ZoneInfo("America/New_York")
AIRPORTS = {"EWR": "Newark", "JFK": "Kennedy", "LGA": "LaGuardia"}
FIRST_HOUR, LAST_HOUR = 5, 23
DAYS = [date(2013, 1, 1) + timedelta(days=i) for i in range(31)]

# Mean delay up to so many minutes, and its colour: early is blue, late runs from sand to dark red.
STEPS = [(-2, "#5b9bd5"), (2, "#a9cfe8"), (6, "#ece5cf"), (12, "#f8cf8d"), (20, "#f3a15b"), (35, "#e26a42"),
         (60, "#bd3535"), (None, "#7d1738")]
CELL_W, CELL_H = 13, 13
PANEL_W = (LAST_HOUR - FIRST_HOUR + 1) * CELL_W
LEFT, TOP, GAP = 62, 92, 26
BARS_W = 150
WIDTH = LEFT + 3 * (PANEL_W + GAP) + BARS_W + 34
HEIGHT = TOP + len(DAYS) * CELL_H + 76

STYLE = """
  text { font: 12px system-ui, -apple-system, "Segoe UI", Helvetica, Arial, sans-serif; fill: #1f2328; }
  .title { font-size: 17px; font-weight: 600; }
  .head { font-weight: 600; }
  .quiet { fill: #59636e; font-size: 11px; }
  .page { fill: #ffffff; stroke: #d1d9e0; }
  .empty { fill: #f0f2f5; }
  .bar { fill: #8c6bb1; }
  @media (prefers-color-scheme: dark) {
    text { fill: #e6edf3; }
    .quiet { fill: #9198a1; }
    .page { fill: #0d1117; stroke: #3d444d; }
    .empty { fill: #1a2028; }
    .bar { fill: #a98fd0; }
  }
"""


def instant(text):
    return datetime.fromisoformat(text.replace("Z", "+00:00")).astimezone(NEW_YORK)


def colour(minutes):
    return next(colour for limit, colour in STEPS if limit is None or minutes <= limit)


def mark(fill):
    """A dot that can be seen on this colour."""
    return "#ffffff" if fill in (STEPS[-1][1], STEPS[-2][1]) else "#1f2328"


def read(folder):
    """The last result of each window: the correction, where there is one."""
    hourly, corrected = {}, set()
    with open(folder / "hourly.jsonl") as file:
        for line in file:
            row = json.loads(line)
            start = instant(row["window_start"])
            cell = (row["origin"], start.date(), start.hour)
            if cell in hourly:
                corrected.add(cell)
            hourly[cell] = row
    daily = {}
    with open(folder / "daily.csv", newline="") as file:
        for row in csv.DictReader(file):
            daily[instant(row["window_start"]).date(), row["carrier"]] = row
    cancelled = Counter()
    for (day, _), row in daily.items():
        cancelled[day] += int(row["flights"]) - int(row["departed"])
    return hourly, corrected, cancelled


def panel(out, x, airport, hourly, corrected):
    out.append(f'<text class="head" x="{x}" y="{TOP - 24}">{AIRPORTS[airport]}</text>')
    for hour in range(6, 24, 3):
        out.append(f'<text class="quiet" text-anchor="middle" x="{x + (hour - FIRST_HOUR) * CELL_W}" y="{TOP - 7}">{hour}</text>')
    height = len(DAYS) * CELL_H
    out.append(f'<rect class="empty" x="{x}" y="{TOP}" width="{PANEL_W}" height="{height}"/>')
    cells, marks = {}, {}
    for i, day in enumerate(DAYS):
        for hour in range(FIRST_HOUR, LAST_HOUR + 1):
            cell = (airport, day, hour)
            row = hourly.get(cell)
            if row is None or row["mean_delay"] is None:
                continue
            at_x, at_y = x + (hour - FIRST_HOUR) * CELL_W, TOP + i * CELL_H
            fill = colour(row["mean_delay"])
            cells.setdefault(fill, []).append(f"M{at_x} {at_y}h{CELL_W - 1}v{CELL_H - 1}h-{CELL_W - 1}z")
            if cell in corrected:
                marks.setdefault(mark(fill), []).append(f"M{at_x + 4} {at_y + 6}a2 2 0 1 1 4 0a2 2 0 1 1 -4 0z")
    for fill, shapes in [*sorted(cells.items()), *sorted(marks.items())]:
        out.append(f'<path fill="{fill}" d="{"".join(shapes)}"/>')


def bars(out, x, cancelled):
    out.append(f'<text class="head" x="{x}" y="{TOP - 24}">Cancelled</text>')
    out.append(f'<text class="quiet" x="{x}" y="{TOP - 7}">flights a day, all carriers</text>')
    most = max(cancelled.values())
    for i, day in enumerate(DAYS):
        count = cancelled[day]
        y = TOP + i * CELL_H
        width = round(count / most * (BARS_W - 28), 1)
        if count:
            out.append(f'<rect class="bar" x="{x}" y="{y}" width="{width}" height="{CELL_H - 1}"/>')
        out.append(f'<text class="quiet" x="{x + width + 5}" y="{y + 10}">{count or ""}</text>')


def legend(out, y):
    x = LEFT
    out.append(f'<text class="quiet" x="{x}" y="{y + 10}">mean delay, minutes</text>')
    x += 128
    for i, (limit, fill) in enumerate(STEPS):
        out.append(f'<rect x="{x}" y="{y}" width="40" height="12" fill="{fill}"/>')
        if limit is not None:
            label = f"{limit}".replace("-", "\u2212")
            out.append(f'<text class="quiet" text-anchor="middle" x="{x + 40}" y="{y + 26}">{label}</text>')
        x += 40
    x += 24
    out.append(f'<rect x="{x}" y="{y}" width="12" height="12" fill="#f8cf8d"/>')
    out.append(f'<circle fill="#1f2328" cx="{x + 6}" cy="{y + 6}" r="2"/>')
    out.append(f'<text class="quiet" x="{x + 19}" y="{y + 10}">result corrected once, after departures that were reported late</text>')


def main():
    folder = Path(sys.argv[1]) if len(sys.argv) > 1 else HERE / "expected"
    hourly, corrected, cancelled = read(folder)
    out = [
        f'<svg xmlns="http://www.w3.org/2000/svg" viewBox="0 0 {WIDTH} {HEIGHT}" width="{WIDTH}" height="{HEIGHT}" role="img">',
        "<title>Delays of departures from New York in January 2013, by airport, day and hour</title>",
        f"<style>{STYLE}</style>",
        f'<rect class="page" x="0.5" y="0.5" width="{WIDTH - 1}" height="{HEIGHT - 1}" rx="8"/>',
        f'<text class="title" x="{LEFT}" y="36">Departures from New York, January 2013: mean delay by hour of the day</text>',
    ]
    for i, day in enumerate(DAYS):
        weight = ' style="font-weight:600"' if day.weekday() >= 5 else ""
        out.append(f'<text class="quiet" text-anchor="end"{weight} x="{LEFT - 8}" y="{TOP + i * CELL_H + 10}">{day:%a} {day.day}</text>')
    for i, airport in enumerate(AIRPORTS):
        panel(out, LEFT + i * (PANEL_W + GAP), airport, hourly, corrected)
    bars(out, LEFT + 3 * (PANEL_W + GAP), cancelled)
    legend(out, TOP + len(DAYS) * CELL_H + 30)
    out.append("</svg>")
    (HERE / "flights.svg").write_text("\n".join(out) + "\n")


if __name__ == "__main__":
    main()
