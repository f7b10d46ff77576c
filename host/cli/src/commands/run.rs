//! `wasmill run`: runs a checked topology, shows how it goes, and says at the end what came of it.

use std::io::{self, IsTerminal, Write};
use std::sync::Arc;
use std::sync::atomic::Ordering;
use std::sync::mpsc::{RecvTimeoutError, channel};
use std::thread;
use std::time::Duration;

use indicatif::{HumanCount, ProgressBar, ProgressDrawTarget, ProgressStyle};
use serde_json::json;

use wasmill_core::clock::Clock;
use wasmill_core::plan::Plan;
use wasmill_core::time::Timestamp;
use wasmill_runtime::metrics::Metrics;
use wasmill_runtime::{Environment, Failure, Settings, Stop};

use crate::args::Format;
use crate::exit::Exit;

/// How often the progress line is drawn on a terminal, and written elsewhere.
const DRAW_EVERY: Duration = Duration::from_millis(200);
const WRITE_EVERY: Duration = Duration::from_secs(10);

/// Runs a plan to the end of its input.
pub(crate) fn execute(plan: Plan, environment: Environment, format: Format) -> Exit {
    let metrics = Metrics::of(&plan);
    let name = plan.name.clone();
    let clock = Arc::clone(&environment.clock);
    let started = clock.now();
    let settings = Settings {
        metrics: Arc::clone(&metrics),
        stop: Stop::new(),
        stop_on_signals: true,
    };
    let outcome = {
        let _progress = Progress::start(Arc::clone(&metrics), Arc::clone(&clock), format);
        wasmill_runtime::run(plan, environment, &settings)
    };
    if matches!(&outcome, Err(Failure::Fault(fault)) if wasmill_connector_stdout::is_closed(fault)) {
        // Who read standard output has seen enough, as `head` does. That is no failure, and nothing to talk about.
        return Exit::Ok;
    }
    let elapsed = Elapsed {
        micros: clock.now().0.saturating_sub(started.0),
    };
    let written = match format {
        Format::Human => summarise(&mut io::stderr().lock(), &name, &metrics, elapsed, &outcome),
        Format::Json => write_json(&mut io::stderr().lock(), &name, &metrics, elapsed, &outcome),
    };
    match (outcome, written) {
        (Ok(()), Ok(())) => Exit::Ok,
        (Err(Failure::Stopped), _) => Exit::Stopped,
        (Err(Failure::Fault(_)), _) | (Ok(()), Err(_)) => Exit::Failed,
    }
}

#[derive(Clone, Copy)]
struct Elapsed {
    micros: i64,
}

impl Elapsed {
    fn seconds(self) -> f64 {
        self.micros as f64 / 1e6
    }

    fn rate(self, rows: u64) -> f64 {
        rows as f64 / self.seconds().max(1e-6)
    }
}

/// What was read and written so far, over all nodes.
struct Totals {
    read: u64,
    written: u64,
    watermark: Option<Timestamp>,
}

impl Totals {
    fn of(metrics: &Metrics) -> Self {
        let load = |counter: &std::sync::atomic::AtomicU64| counter.load(Ordering::Relaxed);
        Self {
            read: metrics.sources.values().map(|source| load(&source.rows)).sum(),
            written: metrics.sinks.values().map(|sink| load(&sink.rows)).sum(),
            watermark: metrics.sources.values().filter_map(|source| source.watermark()).min(),
        }
    }

    fn line(&self, elapsed: Elapsed) -> String {
        let watermark = self
            .watermark
            .map_or_else(String::new, |watermark| format!(" · watermark {watermark}"));
        format!(
            "{} read · {} written · {}/s{watermark}",
            HumanCount(self.read),
            HumanCount(self.written),
            HumanCount(elapsed.rate(self.read) as u64)
        )
    }
}

/// Shows the totals while it lives: a line that is drawn again on a terminal, a line now and then elsewhere.
struct Progress {
    stop: Option<std::sync::mpsc::Sender<()>>,
    thread: Option<thread::JoinHandle<()>>,
}

impl Progress {
    fn start(metrics: Arc<Metrics>, clock: Arc<dyn Clock>, format: Format) -> Self {
        let (stop, stopped) = channel::<()>();
        let terminal = io::stderr().is_terminal() && format == Format::Human;
        let started = clock.now();
        let draw = move || {
            let bar = if terminal {
                let style = ProgressStyle::with_template("{spinner} {msg}")
                    .unwrap_or_else(|_| ProgressStyle::default_spinner());
                ProgressBar::with_draw_target(None, ProgressDrawTarget::stderr()).with_style(style)
            } else {
                ProgressBar::hidden()
            };
            let every = if terminal { DRAW_EVERY } else { WRITE_EVERY };
            while stopped.recv_timeout(every) == Err(RecvTimeoutError::Timeout) {
                let elapsed = Elapsed {
                    micros: clock.now().0.saturating_sub(started.0),
                };
                let line = Totals::of(&metrics).line(elapsed);
                if terminal {
                    bar.set_message(line);
                    bar.tick();
                } else if format == Format::Human {
                    tracing::info!("{line}");
                }
            }
            bar.finish_and_clear();
        };
        // Without its thread the job runs all the same, only in silence.
        let thread = thread::Builder::new()
            .name("wasmill-progress".to_owned())
            .spawn(draw)
            .ok();
        Self {
            stop: Some(stop),
            thread,
        }
    }
}

impl Drop for Progress {
    fn drop(&mut self) {
        self.stop = None;
        if let Some(thread) = self.thread.take()
            && thread.join().is_err()
        {
            tracing::warn!("the progress line failed");
        }
    }
}

fn summarise(
    out: &mut dyn Write,
    name: &str,
    metrics: &Metrics,
    elapsed: Elapsed,
    outcome: &Result<(), Failure>,
) -> io::Result<()> {
    let count = |counter: &std::sync::atomic::AtomicU64| HumanCount(counter.load(Ordering::Relaxed)).to_string();
    let some = |label: &str, counter: &std::sync::atomic::AtomicU64| match counter.load(Ordering::Relaxed) {
        0 => String::new(),
        _ => format!(", {} {label}", count(counter)),
    };
    let state = match outcome {
        Ok(()) => "finished",
        Err(Failure::Stopped) => "stopped",
        Err(Failure::Fault(_)) => "failed",
    };
    let read = Totals::of(metrics).read;
    writeln!(
        out,
        "{name}: {state} after {:.2} s, {} records/s",
        elapsed.seconds(),
        HumanCount(elapsed.rate(read) as u64)
    )?;
    for (id, source) in &metrics.sources {
        writeln!(
            out,
            "  {id:<20} {:>12} read{}",
            count(&source.rows),
            some("invalid", &source.invalid)
        )?;
    }
    for (id, operator) in &metrics.operators {
        let (late, rejected) = (some("late", &operator.late), some("rejected", &operator.rejected));
        writeln!(
            out,
            "  {id:<20} {:>12} in, {} out{late}{rejected}",
            count(&operator.rows_in),
            count(&operator.rows_out)
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
    if let Err(failure @ Failure::Fault(_)) = outcome {
        writeln!(out, "error: {failure}")?;
    }
    Ok(())
}

fn write_json(
    out: &mut dyn Write,
    name: &str,
    metrics: &Metrics,
    elapsed: Elapsed,
    outcome: &Result<(), Failure>,
) -> io::Result<()> {
    let load = |counter: &std::sync::atomic::AtomicU64| counter.load(Ordering::Relaxed);
    let (state, fault) = match outcome {
        Ok(()) => ("finished", None),
        Err(Failure::Stopped) => ("stopped", None),
        Err(Failure::Fault(fault)) => ("failed", Some(fault.to_string())),
    };
    let sources: serde_json::Map<_, _> = metrics
        .sources
        .iter()
        .map(|(id, source)| {
            let counts = json!({ "rows": load(&source.rows), "bytes": load(&source.read_bytes), "invalid": load(&source.invalid) });
            (id.to_string(), counts)
        })
        .collect();
    let operators: serde_json::Map<_, _> = metrics
        .operators
        .iter()
        .map(|(id, operator)| {
            let counts = json!({
                "rows-in": load(&operator.rows_in),
                "rows-out": load(&operator.rows_out),
                "late": load(&operator.late),
                "rejected": load(&operator.rejected),
            });
            (id.to_string(), counts)
        })
        .collect();
    let sinks: serde_json::Map<_, _> = metrics
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
        "state": state,
        "error": fault,
        "seconds": elapsed.seconds(),
        "sources": sources,
        "operators": operators,
        "sinks": sinks,
    });
    writeln!(out, "{summary}")
}
