//! The whole way without a format: decoded bids, a plugin that filters and converts, the keyed exchange, a tumbling
//! window, a sink. Beside it a loop that does all of it in one place, and where one is given, the prototype of the
//! engine, whose figures the design stands on.
//!
//! The prototype does less: its sink sums the columns and encodes nothing, its source decides no lateness and knows no
//! places, nothing is counted, and its memory is not bounded by instance.

use std::collections::VecDeque;
use std::path::Path;
use std::process::Command;
use std::thread;

use foldhash::fast::FixedState;
use hashbrown::HashMap;

use crate::Run;
use crate::bids::{self, JITTER, ROWS};
use crate::boundary;
use crate::failure::Failure;
use crate::job::Job;
use crate::report::Budget;
use crate::timing::{Cost, Measured, Sample, compare, median_of};

const NAME: &str = "engine";
const WINDOW: i64 = 10_000_000;
/// Runs of the prototype that one sample is the median of.
const RUNS_PER_SAMPLE: usize = 3;
const SAMPLES: usize = 5;

/// Runs the bench.
pub(crate) fn run(run: &mut Run<'_>) -> Result<(), Failure> {
    let workers = [1, 2].map(|workers| (workers, format!("plugin, exchange, window, {workers} workers")));
    if !workers.iter().any(|(_, line)| run.wants(NAME, line)) {
        return Ok(());
    }
    run.report.bench(
        NAME,
        "10^7 decoded bids, 10^5 keys, without a format; natively one fused loop a thread",
    );
    let prototype = run.options.prototype.clone();
    for (workers, line) in workers {
        if !run.wants(NAME, &line) {
            continue;
        }
        let job = job(workers)?;
        assert_eq!(job.run(), fused(workers), "both ways give as many results");
        let measured = compare(
            run.plan(),
            Cost::Process,
            ROWS,
            || _ = job.run(),
            || _ = std::hint::black_box(fused(workers)),
        );
        let budget = if prototype.is_none() {
            Budget::WallRatio(2.0)
        } else {
            Budget::None
        };
        run.report.add(&line, &measured, budget);
        if let Some(prototype) = &prototype {
            let line = format!("the same beside the prototype, {workers} workers");
            run.report.add(
                &line,
                &beside_prototype(prototype, workers, &job)?,
                Budget::WallRatio(2.0),
            );
        }
    }
    Ok(())
}

fn job(workers: usize) -> Result<Job, Failure> {
    let plugin = boundary::plugin()?;
    let topology = format!(
        r#"
[[source]]
id = "bids"
connector = "bench-bids"
event-time = "date_time"
watermark = {{ strategy = "bounded-out-of-orderness", delay = "2s" }}

[[operator]]
id = "convert"
plugin = "{}"
input = "bids"
config = {{ shape = "convert" }}

[[operator]]
id = "totals"
type = "window"
input = "convert.converted"
key = ["auction"]
window = {{ type = "tumbling", size = "10s" }}
aggregate = {{ bids = "count()", top = "max(euros)" }}

[[sink]]
id = "out"
connector = "null"
input = "totals"
format = "json"
"#,
        plugin.display()
    );
    bids::partitions();
    Job::new(&topology, Path::new("/"), workers, boundary::host()?)
}

/// Wall times only: the prototype is another process. Both run in turns.
fn beside_prototype(prototype: &Path, workers: usize, job: &Job) -> Result<Measured, Failure> {
    let (mut ours, mut theirs) = (Vec::new(), Vec::new());
    for _ in 0..SAMPLES {
        let walls = (0..RUNS_PER_SAMPLE).map(|_| crate::timing::wall(|| _ = job.run()).as_secs_f64());
        ours.push(median_of(walls.collect()));
        theirs.push(prototype_seconds(prototype, workers)?);
    }
    let sample = |seconds: Vec<f64>| {
        let nanos = median_of(seconds) * 1e9 / ROWS as f64;
        Sample {
            cost: nanos * workers as f64,
            wall: nanos,
        }
    };
    Ok(Measured {
        wasmill: sample(ours),
        native: sample(theirs),
    })
}

fn prototype_seconds(prototype: &Path, workers: usize) -> Result<f64, Failure> {
    let folder = prototype.parent().unwrap_or(Path::new("."));
    let output = Command::new(prototype)
        .current_dir(folder)
        .args(["--nohop", "--rows", &ROWS.to_string(), "--w", &workers.to_string()])
        .args(["--reps", &RUNS_PER_SAMPLE.to_string()])
        .output()?;
    let text = String::from_utf8_lossy(&output.stdout);
    let seconds = text.split("median ").nth(1).and_then(|rest| rest.split('s').next());
    seconds.and_then(|seconds| seconds.parse().ok()).ok_or_else(|| {
        Failure::new(format!(
            "the prototype said no time: {text}{}",
            String::from_utf8_lossy(&output.stderr)
        ))
    })
}

/// Filter, conversion, key id, count and maximum in one loop; each thread takes the keys that are its own. Gives the
/// number of results.
fn fused(threads: usize) -> u64 {
    let partitions = bids::partitions();
    thread::scope(|scope| {
        let threads: Vec<_> = (0..threads)
            .map(|me| {
                scope.spawn(move || {
                    let mut state = Fused::default();
                    let mut greatest = [i64::MIN; 2];
                    for row in 0..partitions[0].times.len() {
                        for (partition, greatest) in partitions.iter().zip(&mut greatest) {
                            let (auction, time) = (partition.auctions[row], partition.times[row]);
                            *greatest = (*greatest).max(time);
                            if auction % 123 < 60 && owner(auction, threads) == me {
                                state.add(auction, 0.908 * partition.prices[row] as f64, time);
                            }
                        }
                        if row & 8191 == 8191 {
                            state.fire(greatest[0].min(greatest[1]) - JITTER);
                        }
                    }
                    state.fire(i64::MAX);
                    state.results
                })
            })
            .collect();
        threads
            .into_iter()
            .map(|thread| thread.join().expect("nothing panics"))
            .sum()
    })
}

#[inline]
fn owner(key: i64, threads: usize) -> usize {
    let product = u128::from(key.cast_unsigned() ^ 0x9e37_79b9_7f4a_7c15) * 0xd6e8_feb8_6659_fd93;
    let hash = product as u64 ^ (product >> 64) as u64;
    ((u128::from(hash) * threads as u128) >> 64) as usize
}

#[derive(Default)]
struct Fused {
    ids: HashMap<i64, u32, FixedState>,
    keys: Vec<i64>,
    sorted: Vec<u32>,
    /// Count and maximum by key id, by window.
    open: VecDeque<(i64, Vec<(u32, f64)>)>,
    results: u64,
    sum: f64,
}

impl Fused {
    #[inline]
    fn add(&mut self, auction: i64, euros: f64, time: i64) {
        let id = *self.ids.entry(auction).or_insert_with(|| {
            self.keys.push(auction);
            self.keys.len() as u32 - 1
        });
        let window = time.div_euclid(WINDOW);
        let mut place = self.open.len();
        while place > 0 && self.open[place - 1].0 >= window {
            place -= 1;
        }
        if self.open.get(place).is_none_or(|open| open.0 != window) {
            self.open.insert(place, (window, Vec::new()));
        }
        let cells = &mut self.open[place].1;
        if cells.len() <= id as usize {
            cells.resize(self.keys.len() * 2, (0, f64::MIN));
        }
        let cell = &mut cells[id as usize];
        *cell = (cell.0 + 1, cell.1.max(euros));
    }

    fn fire(&mut self, watermark: i64) {
        while let Some((_, cells)) = self.open.pop_front_if(|open| (open.0 + 1) * WINDOW <= watermark) {
            if self.sorted.len() < self.keys.len() {
                self.sorted.extend(self.sorted.len() as u32..self.keys.len() as u32);
                self.sorted.sort_by_key(|&id| self.keys[id as usize]);
            }
            for &id in &self.sorted {
                if let Some(&(count, top)) = cells.get(id as usize)
                    && count > 0
                {
                    self.results += 1;
                    self.sum += f64::from(count) + top;
                }
            }
        }
        std::hint::black_box(self.sum);
    }
}
