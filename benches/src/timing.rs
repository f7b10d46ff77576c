//! The one place that reads clocks: measures two ways of one task in turns, A B A B, so that what disturbs the machine
//! disturbs both.
//!
//! What a way costs is the processor time that it took, of one thread or of all, since other work on the machine does
//! not add to it; wall time is kept beside it. The ratio is that of the medians.

use std::time::{Duration, Instant};

use rustix::time::{ClockId, clock_gettime};

/// Samples of each way at least, whatever time there is.
const SAMPLES_MIN: usize = 5;
/// A sample takes at least this long: short tasks are repeated in it.
const SAMPLE_MIN: Duration = Duration::from_millis(10);

/// What is counted as a way's cost.
#[derive(Clone, Copy, Debug)]
pub(crate) enum Cost {
    /// The processor time of this thread.
    Thread,
    /// The processor time of all threads.
    Process,
}

impl Cost {
    fn now(self) -> Duration {
        let clock = match self {
            Self::Thread => ClockId::ThreadCPUTime,
            Self::Process => ClockId::ProcessCPUTime,
        };
        let now = clock_gettime(clock);
        Duration::new(now.tv_sec.cast_unsigned(), now.tv_nsec as u32)
    }
}

/// The medians of both ways, in nanoseconds a record.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Measured {
    pub(crate) wasmill: Sample,
    pub(crate) native: Sample,
}

impl Measured {
    /// How many times the native way's cost Wasmill takes.
    pub(crate) fn ratio(&self) -> f64 {
        self.wasmill.cost / self.native.cost
    }

    /// The same of wall time.
    pub(crate) fn wall_ratio(&self) -> f64 {
        self.wasmill.wall / self.native.wall
    }
}

/// Nanoseconds a record.
#[derive(Clone, Copy, Debug, Default)]
pub(crate) struct Sample {
    /// Of processor time.
    pub(crate) cost: f64,
    /// On the clock.
    pub(crate) wall: f64,
}

/// Which ways are run: one alone for a profiler.
#[derive(Clone, Copy, Debug, PartialEq, Eq, clap::ValueEnum)]
pub(crate) enum Ways {
    /// Both, in turns.
    Both,
    /// Wasmill's only.
    Wasmill,
    /// The native one only.
    Native,
}

/// How long to measure, and what.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Plan {
    pub(crate) budget: Duration,
    pub(crate) ways: Ways,
}

/// Measures both ways in turns for about the plan's time. Each is run once before, unmeasured. A run handles `records`.
pub(crate) fn compare(
    plan: Plan,
    cost: Cost,
    records: usize,
    mut wasmill: impl FnMut(),
    mut native: impl FnMut(),
) -> Measured {
    let repeat_wasmill = if plan.ways == Ways::Native {
        0
    } else {
        repeats(&mut wasmill)
    };
    let repeat_native = if plan.ways == Ways::Wasmill {
        0
    } else {
        repeats(&mut native)
    };
    let start = now();
    let (mut ours, mut theirs) = (Vec::new(), Vec::new());
    while ours.len() < SAMPLES_MIN || start.elapsed() < plan.budget {
        ours.push(sample(cost, records, repeat_wasmill, &mut wasmill));
        theirs.push(sample(cost, records, repeat_native, &mut native));
    }
    Measured {
        wasmill: median(&ours),
        native: median(&theirs),
    }
}

/// How long one run takes on the clock.
pub(crate) fn wall(run: impl FnOnce()) -> Duration {
    let start = now();
    run();
    start.elapsed()
}

#[expect(
    clippy::disallowed_methods,
    reason = "benches measure time; this is the one place that does"
)]
fn now() -> Instant {
    Instant::now()
}

fn repeats(run: &mut impl FnMut()) -> usize {
    run();
    let one = wall(&mut *run).max(Duration::from_nanos(1));
    SAMPLE_MIN.div_duration_f64(one).ceil() as usize
}

fn sample(cost: Cost, records: usize, repeats: usize, run: &mut impl FnMut()) -> Sample {
    let (start, cost_before) = (now(), cost.now());
    for _ in 0..repeats {
        run();
    }
    let per_record = |spent: Duration| spent.as_secs_f64() * 1e9 / (records * repeats) as f64;
    Sample {
        cost: per_record(cost.now().saturating_sub(cost_before)),
        wall: per_record(start.elapsed()),
    }
}

fn median(samples: &[Sample]) -> Sample {
    Sample {
        cost: median_of(samples.iter().map(|sample| sample.cost).collect()),
        wall: median_of(samples.iter().map(|sample| sample.wall).collect()),
    }
}

/// The median of some values.
pub(crate) fn median_of(mut values: Vec<f64>) -> f64 {
    values.sort_by(f64::total_cmp);
    values[values.len() / 2]
}
