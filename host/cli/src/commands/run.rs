//! `wasmill run`: runs a checked topology, shows how it goes, and says at the end what came of it.

mod outcome;

use std::io::{self, IsTerminal};
use std::sync::Arc;
use std::sync::atomic::Ordering;
use std::sync::mpsc::{RecvTimeoutError, channel};
use std::thread;
use std::time::Duration;

use indicatif::{HumanCount, ProgressBar, ProgressDrawTarget, ProgressStyle};

use wasmill_core::clock::Clock;
use wasmill_core::plan::Plan;
use wasmill_core::time::Timestamp;
use wasmill_runtime::metrics::{Metrics, PartitionState, Standing};
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
        Format::Human => outcome::summarise(&mut io::stderr().lock(), &name, &metrics, elapsed, &outcome),
        Format::Json => outcome::write_json(&mut io::stderr().lock(), &name, &metrics, elapsed, &outcome),
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
    /// The partition that holds the watermark back, where there are several.
    slowest: Option<Standing>,
    idle: usize,
}

impl Totals {
    fn of(metrics: &Metrics) -> Self {
        let load = |counter: &std::sync::atomic::AtomicU64| counter.load(Ordering::Relaxed);
        let partitions: Vec<_> = metrics.sources.values().map(|source| source.partitions(1)).collect();
        let count: usize = partitions.iter().map(|source| source.count).sum();
        let idle = partitions.iter().map(|source| source.idle).sum();
        let holds_back = |standing: &Standing| {
            matches!(standing.state, PartitionState::Reading | PartitionState::Quiet) && standing.watermark.is_some()
        };
        let slowest = partitions
            .into_iter()
            .flat_map(|source| source.slowest)
            .filter(|standing| count > 1 && holds_back(standing))
            .min_by_key(|standing| standing.watermark);
        Self {
            slowest,
            idle,
            read: metrics.sources.values().map(|source| load(&source.rows)).sum(),
            written: metrics.sinks.values().map(|sink| load(&sink.rows)).sum(),
            watermark: metrics.sources.values().filter_map(|source| source.watermark()).min(),
        }
    }

    fn line(&self, elapsed: Elapsed) -> String {
        let watermark = self.watermark.map_or_else(String::new, |watermark| {
            format!(" · watermark {watermark}{}", self.held_by())
        });
        let idle = match self.idle {
            0 => String::new(),
            idle => format!(" · {} idle", HumanCount(idle as u64)),
        };
        format!(
            "{} read · {} written · {}/s{watermark}{idle}",
            HumanCount(self.read),
            HumanCount(self.written),
            HumanCount(elapsed.rate(self.read) as u64)
        )
    }

    /// Who holds the watermark back, and how far it is behind.
    fn held_by(&self) -> String {
        let Some(Standing { name, behind, .. }) = &self.slowest else {
            return String::new();
        };
        match behind {
            Some(behind) if behind.0 > 0 => format!(" ({name}, {behind} behind)"),
            _ => format!(" ({name})"),
        }
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
