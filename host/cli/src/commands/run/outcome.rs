//! What came of a run: for people, and as JSON.

use std::io::{self, Write};
use std::sync::atomic::{AtomicU64, Ordering};

use indicatif::HumanCount;
use serde_json::{Map, Value, json};

use wasmill_core::time::Timestamp;
use wasmill_runtime::Failure;
use wasmill_runtime::metrics::{InvalidCounts, Metrics, Partitions, SourceMetrics, Standing};

use super::{Elapsed, Totals};

/// Partitions of a source that are shown one by one: the slowest.
const PARTITIONS_SHOWN_MAX: usize = 10;

fn load(counter: &AtomicU64) -> u64 {
    counter.load(Ordering::Relaxed)
}

fn state(outcome: &Result<(), Failure>) -> &'static str {
    match outcome {
        Ok(()) => "finished",
        Err(Failure::Stopped) => "stopped",
        Err(Failure::Fault(_)) => "failed",
    }
}

/// Writes what came of a run, for people.
pub(super) fn summarise(
    out: &mut dyn Write,
    name: &str,
    metrics: &Metrics,
    elapsed: Elapsed,
    outcome: &Result<(), Failure>,
) -> io::Result<()> {
    let count = |counter: &AtomicU64| HumanCount(load(counter)).to_string();
    let some = |label: &str, counter: &AtomicU64| also(label, load(counter));
    let read = Totals::of(metrics).read;
    writeln!(
        out,
        "{name}: {} after {:.2} s, {} records/s",
        state(outcome),
        elapsed.seconds(),
        HumanCount(elapsed.rate(read) as u64)
    )?;
    for (id, source) in &metrics.sources {
        writeln!(
            out,
            "  {id:<20} {:>12} read{}",
            count(&source.rows),
            invalid(source.invalid.counts())
        )?;
        summarise_partitions(out, source)?;
    }
    for (id, operator) in &metrics.operators {
        let late = match &operator.late_sides {
            Some([left, right]) => [some("late on the left", left), some("late on the right", right)].concat(),
            None => some("late", &operator.late),
        };
        let more = [
            late,
            some("late but in time for a correction", &operator.corrected),
            some("outside all windows", &operator.unassigned),
            some("rejected", &operator.rejected),
        ];
        writeln!(
            out,
            "  {id:<20} {:>12} in, {} out{}",
            count(&operator.rows_in),
            count(&operator.rows_out),
            more.concat()
        )?;
    }
    for (id, sink) in &metrics.sinks {
        writeln!(
            out,
            "  {id:<20} {:>12} written{}",
            count(&sink.rows),
            some("rejected", &sink.rejected)
        )?;
    }
    let held = held(metrics, outcome);
    if !held.is_empty() {
        writeln!(
            out,
            "  the run {} before the end of its input: what was open at {} gave no result",
            state(outcome),
            held.join(", ")
        )?;
    }
    if let Err(failure @ Failure::Fault(_)) = outcome {
        writeln!(out, "error: {failure}")?;
    }
    Ok(())
}

/// The operators that had taken rows and may have held some of them back, where the input did not come to its end.
fn held<'a>(metrics: &'a Metrics, outcome: &Result<(), Failure>) -> Vec<&'a str> {
    if outcome.is_ok() {
        return Vec::new();
    }
    let operators = metrics.operators.iter();
    operators
        .filter(|(_, operator)| operator.holds_rows && load(&operator.rows_in) > 0)
        .map(|(id, _)| id.as_str())
        .collect()
}

fn also(label: &str, count: u64) -> String {
    match count {
        0 => String::new(),
        _ => format!(", {} {label}", HumanCount(count)),
    }
}

fn invalid(counts: InvalidCounts) -> String {
    let InvalidCounts {
        undecodable,
        without_event_time,
        too_far_ahead,
    } = counts;
    [
        also("undecodable", undecodable),
        also("without event time", without_event_time),
        also("too far ahead", too_far_ahead),
    ]
    .concat()
}

/// The partitions of a source that has several, the slowest first.
fn summarise_partitions(out: &mut dyn Write, source: &SourceMetrics) -> io::Result<()> {
    let Partitions { slowest, count, .. } = source.partitions(PARTITIONS_SHOWN_MAX);
    if count < 2 {
        return Ok(());
    }
    for standing in &slowest {
        let watermark = standing
            .watermark
            .map_or_else(String::new, |watermark| format!(", watermark {watermark}"));
        let behind = standing
            .behind
            .filter(|behind| behind.0 > 0)
            .map_or_else(String::new, |behind| format!(", {behind} behind"));
        writeln!(
            out,
            "    {:<18} {:>12} read{}, {}{watermark}{behind}",
            standing.name.to_string(),
            HumanCount(standing.rows).to_string(),
            invalid(standing.invalid),
            standing.state.name()
        )?;
    }
    let others = count - slowest.len();
    if others > 0 {
        writeln!(out, "    and {} partitions ahead of these", HumanCount(others as u64))?;
    }
    Ok(())
}

/// Writes what came of a run, for programs.
pub(super) fn write_json(
    out: &mut dyn Write,
    name: &str,
    metrics: &Metrics,
    elapsed: Elapsed,
    outcome: &Result<(), Failure>,
) -> io::Result<()> {
    let fault = match outcome {
        Err(Failure::Fault(fault)) => Some(fault.to_string()),
        Ok(()) | Err(Failure::Stopped) => None,
    };
    let sources: Map<_, _> = metrics
        .sources
        .iter()
        .map(|(id, source)| (id.to_string(), source_json(source)))
        .collect();
    let operators: Map<_, _> = metrics
        .operators
        .iter()
        .map(|(id, operator)| {
            let mut counts = json!({
                "rows-in": load(&operator.rows_in),
                "rows-out": load(&operator.rows_out),
                "late": load(&operator.late),
                "corrected": load(&operator.corrected),
                "unassigned": load(&operator.unassigned),
                "rejected": load(&operator.rejected),
                "skipped": load(&operator.skipped),
            });
            if let Some([left, right]) = &operator.late_sides {
                counts["late-left"] = json!(load(left));
                counts["late-right"] = json!(load(right));
            }
            (id.to_string(), counts)
        })
        .collect();
    let sinks: Map<_, _> = metrics
        .sinks
        .iter()
        .map(|(id, sink)| {
            let counts =
                json!({ "rows": load(&sink.rows), "bytes": load(&sink.bytes), "rejected": load(&sink.rejected) });
            (id.to_string(), counts)
        })
        .collect();
    let summary = json!({
        "topology": name,
        "state": state(outcome),
        "error": fault,
        "seconds": elapsed.seconds(),
        "sources": sources,
        "operators": operators,
        "open": held(metrics, outcome),
        "sinks": sinks,
    });
    writeln!(out, "{summary}")
}

fn source_json(source: &SourceMetrics) -> Value {
    let counts = source.invalid.counts();
    let Partitions {
        slowest,
        count,
        idle,
        finished,
    } = source.partitions(PARTITIONS_SHOWN_MAX);
    json!({
        "rows": load(&source.rows),
        "bytes": load(&source.read_bytes),
        "invalid": counts.total(),
        "invalid-by-reason": invalid_json(counts),
        "partitions": {
            "count": count,
            "idle": idle,
            "finished": finished,
            "slowest": slowest.iter().map(partition_json).collect::<Vec<_>>(),
        },
    })
}

fn invalid_json(counts: InvalidCounts) -> Value {
    let InvalidCounts {
        undecodable,
        without_event_time,
        too_far_ahead,
    } = counts;
    json!({ "undecodable": undecodable, "without-event-time": without_event_time, "too-far-ahead": too_far_ahead })
}

fn partition_json(standing: &Standing) -> Value {
    let Standing {
        name,
        state,
        watermark,
        behind,
        rows,
        invalid,
    } = standing;
    json!({
        "name": name.as_str(),
        "state": state.name(),
        "watermark": watermark.as_ref().map(Timestamp::to_string),
        "behind-us": behind.map(|behind| behind.0),
        "rows": rows,
        "invalid": invalid.total(),
        "invalid-by-reason": invalid_json(*invalid),
    })
}
