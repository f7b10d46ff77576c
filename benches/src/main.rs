//! Wasmill beside native Rust that does the same, in one run: `cargo xtask bench`.
//!
//! Each bench measures Wasmill's way and a native one in turns and prints what a record costs in both, and the ratio.
//! Machines differ and are noisy, ratios far less. `docs/performance.md` has the figures and says how to read them.

mod bids;
mod boundary;
mod events;
mod exchange;
mod failure;
mod formats;
mod job;
mod joins;
mod keyed;
mod null;
mod pipelines;
mod prototype;
mod random;
mod report;
mod start;
mod state;
mod timing;
mod windows;
mod write;

use std::io::stdout;
use std::path::PathBuf;
use std::process::ExitCode;
use std::time::Duration;

use clap::Parser;

use failure::Failure;
use report::Report;
use timing::{Plan, Ways};

/// Much is allocated and freed by different threads.
#[global_allocator]
static ALLOCATOR: mimalloc::MiMalloc = mimalloc::MiMalloc;

#[derive(Parser)]
#[command(about = "Wasmill beside native Rust that does the same, in one run")]
struct Options {
    /// Only benches and lines whose name holds this.
    #[arg(default_value = "")]
    filter: String,
    /// How long to measure each line.
    #[arg(long, default_value_t = 1.0)]
    seconds: f64,
    /// One way alone, for a profiler.
    #[arg(long, value_enum, default_value = "both")]
    only: Ways,
    /// The `wasmill` binary to start. Default: the one beside this binary.
    #[arg(long)]
    wasmill: Option<PathBuf>,
    /// A prototype of the engine that the bench `engine` is compared with.
    #[arg(long)]
    prototype: Option<PathBuf>,
}

/// What every bench is given.
struct Run<'a> {
    options: &'a Options,
    report: Report<'a>,
}

impl Run<'_> {
    /// Whether a line of a bench is asked for.
    fn wants(&self, bench: &str, line: &str) -> bool {
        format!("{bench} {line}").contains(&self.options.filter)
    }

    fn plan(&self) -> Plan {
        Plan {
            budget: Duration::from_secs_f64(self.options.seconds),
            ways: self.options.only,
        }
    }
}

type Bench = fn(&mut Run<'_>) -> Result<(), Failure>;

/// All benches, in the order in which they run.
const BENCHES: &[Bench] = &[
    start::run,
    boundary::run,
    formats::decode,
    formats::encode,
    exchange::run,
    windows::run,
    keyed::run,
    joins::run,
    state::run,
    pipelines::run,
    prototype::run,
];

fn main() -> ExitCode {
    let options = Options::parse();
    let mut out = stdout();
    let mut run = Run {
        options: &options,
        report: Report::new(&mut out),
    };
    for bench in BENCHES {
        if let Err(failure) = bench(&mut run) {
            run.report.note(&format!("failed: {failure}"));
            return ExitCode::FAILURE;
        }
    }
    ExitCode::SUCCESS
}
