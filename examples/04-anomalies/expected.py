#!/usr/bin/env python3
"""Computes what example 04 has to give, without Wasmill: second by second, from the definitions here and the
specifications of the plugins in README.md.

Definitions:

* The metrics stand in the order of their event times, and a log line is never more than the watermark's delay, a second,
  behind the latest before it: no row is late anywhere.
* A sliding or tumbling window [s, e) with rows has a result at t = W = e - 1 us.
* The join is of rows of equal time. What it gives has that time, and so has what the verdict adds to it.
* A row of a keyed operator that comes from a row has its time, one that comes from a timer has the timer's.
* A sink in event-time order writes by (max(t, W), t, place). Ties, and what decides them:
  - outliers: the metrics of one second. Their places are those of the source's row, then the number of the child, which is
    the metric's number in METRICS.
  - rates: the windows of one end. Their places are (operator, key, end): by host, service, severity.
  - verdicts: none, a host has one a second, and there is one host.
  - alerts: none. Timers fall on whole seconds, rows a microsecond before.
* `array_agg` is by (event time, place) too: the metrics of a second as above, the services of a second as for rates.

Floats are IEEE doubles, and each operation is done in the order in which the README says it.

Usage: python3 expected.py [FOLDER]      (by default the folder `expected` beside this file)
"""

import csv
import json
import math
import sys
from collections import Counter
from datetime import datetime, timedelta, timezone
from pathlib import Path

HERE = Path(__file__).resolve().parent
EPOCH = datetime(1970, 1, 1, tzinfo=timezone.utc)
SECOND = timedelta(seconds=1)

HOST = "build-1"
# In the order of the plugin `unpivot`; beside each its floor.
METRICS = {
    "cpu_user": 10.0,
    "cpu_system": 5.0,
    "cpu_iowait": 5.0,
    "load1": 1.0,
    "mem_used_mb": 200.0,
    "disk_read_kb": 10_000.0,
    "disk_write_kb": 50_000.0,
    "net_rx_kb": 2_000.0,
    "net_tx_kb": 2_000.0,
    "ctx_switches": 3_000.0,
    "forks": 50.0,
    "procs_running": 3.0,
    "tcp_conns": 20.0,
}
WINDOW = 120
MINIMUM = 30
THRESHOLD = 6.0

SEVERITIES = {level: "error" for level in ("PANIC", "FATAL", "CRITICAL", "ERROR")}
SEVERITIES |= {level: "warning" for level in ("WARN", "WARNING")}
RATE_SECONDS = 10

ERRORS = 20
OUTLIERS = 3
AGREEING_OUTLIERS = 2

RAISE_AFTER = 3 * SECOND
CLEAR_AFTER = 30 * SECOND


# --- input -------------------------------------------------------------------------------------------------------------


def time_of(text):
    return datetime.fromisoformat(text.replace("Z", "+00:00"))


def in_time(rows, delay):
    greatest = rows[0]["ts"]
    for row in rows:
        assert greatest - delay <= row["ts"], "a row behind its watermark may be late"
        greatest = max(greatest, row["ts"])
    return rows


def metrics():
    with open(HERE / "input/host-metrics.csv", newline="") as file:
        records = csv.DictReader(file)
        samples = [{"ts": time_of(r["ts"])} | {name: float(r[name]) for name in METRICS} for r in records]
    return in_time(samples, 0 * SECOND)


def logs():
    with open(HERE / "input/service-logs.jsonl") as file:
        records = map(json.loads, file)
        lines = [{"ts": time_of(r["ts"]), "service": r["service"], "level": r["level"]} for r in records]
    return in_time(lines, SECOND)


def second_of(time):
    """The beginning of the second that a time falls into."""
    return EPOCH + (time - EPOCH) // SECOND * SECOND


# --- robust-score ------------------------------------------------------------------------------------------------------


def scores(samples):
    """A score for each value, sample by sample and in the order of METRICS, with the time of its sample."""
    past = {name: [] for name in METRICS}
    found = []
    for sample in samples:
        for name, floor in METRICS.items():
            value = sample[name]
            columns = {"host": HOST, "metric": name, "value": value} | score(past[name], value, floor)
            columns["outlier"] = name if columns["score"] is not None and abs(columns["score"]) > THRESHOLD else None
            found.append({"t": sample["ts"], "columns": columns})
            past[name] = [*past[name], value][-WINDOW:]
    return found


def score(past, value, floor):
    if len(past) < MINIMUM:
        return {"median": None, "scale": None, "score": None}
    middle = median(past)
    spread = 1.4826 * median([abs(x - middle) for x in past])
    scale = spread if spread > floor else floor
    return {"median": middle, "scale": scale, "score": (value - middle) / scale}


def median(values):
    ordered = sorted(values)
    half = len(ordered) // 2
    return ordered[half] if len(ordered) % 2 else (ordered[half - 1] + ordered[half]) / 2.0


def rounded(value):
    """To two decimals, halves up."""
    return math.floor(value * 100.0 + 0.5) / 100.0


# --- windows -----------------------------------------------------------------------------------------------------------


def rates(lines):
    """Lines by (end of window, service, severity)."""
    counts = Counter()
    for line in lines:
        severity = SEVERITIES.get(line["level"], "info")
        for i in range(1, RATE_SECONDS + 1):
            counts[second_of(line["ts"]) + i * SECOND, line["service"], severity] += 1
    return counts


def evidence(scored, counts):
    """What metrics and logs say of each second that has metrics."""
    seconds, bursts = {}, {}
    for row in scored:
        seconds.setdefault(second_of(row["t"]), []).append(row["columns"])
    # By service, in the order of bytes.
    for (end, service, severity), lines in sorted(counts.items()):
        if severity == "error":
            bursts.setdefault(end - SECOND, []).append((service, lines))
    for start, found in seconds.items():
        burst = bursts.get(start, [])
        outlying = [columns["outlier"] for columns in found if columns["outlier"] is not None]
        yield {
            "host": HOST,
            "window_start": start,
            "window_end": start + SECOND,
            "scored": sum(columns["score"] is not None for columns in found),
            "outliers": len(outlying),
            "outlying": outlying,
            "errors": sum(lines for _, lines in burst),
            "services": [service for service, _ in burst],
        }


# --- verdict -----------------------------------------------------------------------------------------------------------


def verdict(row):
    agreed = row["errors"] >= 1 and row["outliers"] >= AGREEING_OUTLIERS
    by_errors = row["errors"] >= ERRORS or agreed
    by_metrics = row["outliers"] >= OUTLIERS or agreed
    return row | {"anomalous": by_errors or by_metrics, "cause": cause(by_errors, by_metrics)}


def cause(by_errors, by_metrics):
    if by_errors and by_metrics:
        return "errors and metrics"
    return "errors" if by_errors else "metrics" if by_metrics else None


# --- alert -------------------------------------------------------------------------------------------------------------


class Alert:
    """The plugin `alert` for one host."""

    def __init__(self):
        self.rows = []
        self.timers = {}
        self.reset()

    def reset(self):
        self.phase = "quiet"
        self.begin = self.end = None
        self.by_errors = self.by_metrics = False
        self.peak_errors, self.services = 0, []
        self.peak_outliers, self.outlying = 0, []

    def advance(self, until):
        """Fires the timers that are due, and those that they set."""
        while due := sorted((time, name) for name, time in self.timers.items() if time <= until):
            self.fire(*due[0])

    def finish(self):
        """The end of input: each timer fires once, and what it sets is discarded."""
        for time, name in sorted((time, name) for name, time in self.timers.items()):
            self.fire(time, name)
        self.timers.clear()

    def fire(self, time, name):
        del self.timers[name]
        if name == "raise":
            self.phase = "open"
            self.timers["clear"] = self.end + CLEAR_AFTER
            self.emit("raised", time)
        else:
            self.emit("cleared", time)
            self.reset()

    def row(self, row):
        if not row["anomalous"]:
            if self.phase == "pending":
                self.timers.clear()
                self.reset()
            return
        if self.phase == "quiet":
            self.phase = "pending"
            self.begin = row["window_start"]
            self.timers["raise"] = self.begin + RAISE_AFTER
        before = self.by_errors, self.by_metrics
        self.end = row["window_end"]
        self.by_errors |= "errors" in row["cause"]
        self.by_metrics |= "metrics" in row["cause"]
        if row["errors"] > self.peak_errors:
            self.peak_errors, self.services = row["errors"], row["services"]
        if row["outliers"] > self.peak_outliers:
            self.peak_outliers, self.outlying = row["outliers"], row["outlying"]
        if self.phase == "open":
            self.timers["clear"] = self.end + CLEAR_AFTER
            if before != (self.by_errors, self.by_metrics):
                self.emit("changed", row["window_end"])

    def emit(self, event, at):
        self.rows.append(
            {
                "host": HOST,
                "event": event,
                "at": at,
                "begin": self.begin,
                "end": self.end if event == "cleared" else None,
                "cause": cause(self.by_errors, self.by_metrics),
                "peak_errors": self.peak_errors,
                "services": self.services,
                "peak_outliers": self.peak_outliers,
                "outlying": self.outlying,
            }
        )


def alerts(verdicts):
    alert = Alert()
    for row in verdicts:
        # The row stands a microsecond before its second's end.
        alert.advance(row["window_end"] - timedelta(microseconds=1))
        alert.row(row)
    alert.finish()
    return alert.rows


# --- output ------------------------------------------------------------------------------------------------------------


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
        for row in all_rows:
            columns = {name: written(value) for name, value in row.items()}
            file.write(json.dumps(columns, separators=(",", ":"), ensure_ascii=False) + "\n")


def main():
    folder = Path(sys.argv[1]) if len(sys.argv) > 1 else HERE / "expected"
    folder.mkdir(parents=True, exist_ok=True)
    scored = scores(metrics())
    counts = rates(logs())
    verdicts = [verdict(row) for row in evidence(scored, counts)]
    outliers = [row["columns"] for row in scored if row["columns"]["outlier"] is not None]
    rate_rows = [
        {
            "host": HOST,
            "service": service,
            "severity": severity,
            "window_start": end - RATE_SECONDS * SECOND,
            "window_end": end,
            "lines": lines,
        }
        for (end, service, severity), lines in sorted(counts.items())
    ]
    write_json(folder / "outliers.jsonl", (row | {"score": rounded(row["score"])} for row in outliers))
    write_json(folder / "rates.jsonl", rate_rows)
    write_json(folder / "verdicts.jsonl", verdicts)
    write_json(folder / "alerts.jsonl", alerts(verdicts))


if __name__ == "__main__":
    main()
