//! The project's own tasks: `cargo xtask demo`, `test`, `tidy`, `reference`, `plugins` and `bench`.
//!
//! What a task needs and does not find is said in one line, with the mend.
#![expect(
    clippy::print_stdout,
    clippy::print_stderr,
    reason = "a task talks to the person who started it"
)]

mod bench;
mod command;
mod demo;
mod failure;
mod host;
mod licences;
mod plugins;
mod repository;
mod stopwatch;
mod test;
mod tidy;

use std::process::ExitCode;

use clap::{Parser, Subcommand};

use failure::Failure;
use repository::Repository;

#[derive(Parser)]
#[command(name = "cargo xtask", about = "The project's own tasks")]
struct Cli {
    #[command(subcommand)]
    task: Task,
}

#[derive(Subcommand)]
enum Task {
    /// Build everything and run example 01.
    Demo,
    /// Check and test everything. The last line says how many tests passed and failed.
    Test {
        /// Stop after the first step that fails.
        #[arg(long)]
        fail_fast: bool,
    },
    /// Check the rules of the repository that no compiler knows.
    Tidy,
    /// Write the options of connectors and formats into the pages of the reference.
    Reference,
    /// Build the shipped plugins into target/plugins.
    Plugins,
    /// Measure Wasmill beside native code that does the same.
    Bench {
        /// Only benches and lines whose name holds this.
        #[arg(default_value = "")]
        filter: String,
        /// How long to measure each line.
        #[arg(long, default_value_t = 1.0)]
        seconds: f64,
        /// What else the benches take, after `--`.
        #[arg(last = true)]
        rest: Vec<String>,
    },
}

fn main() -> ExitCode {
    let task = Cli::parse().task;
    let done = Repository::find().and_then(|repository| match task {
        Task::Demo => demo::run(&repository).map(|()| true),
        Task::Test { fail_fast } => Ok(test::run(&repository, fail_fast)),
        Task::Tidy => tidy(&repository),
        Task::Reference => reference(&repository).map(|()| true),
        Task::Plugins => plugins::build_all(&repository).map(|()| true),
        Task::Bench { filter, seconds, rest } => bench::run(&repository, &filter, seconds, &rest).map(|()| true),
    });
    match done {
        Ok(true) => ExitCode::SUCCESS,
        Ok(false) => ExitCode::FAILURE,
        Err(failure) => {
            eprintln!("xtask: {failure}");
            ExitCode::FAILURE
        }
    }
}

fn tidy(repository: &Repository) -> Result<bool, Failure> {
    let problems = tidy::check(&repository.files()?);
    for problem in &problems {
        println!("{problem}");
    }
    println!("tidy: {} problems", problems.len());
    Ok(problems.is_empty())
}

fn reference(repository: &Repository) -> Result<(), Failure> {
    for page in tidy::stale(&repository.files()?).map_err(Failure::new)? {
        let path = repository.path(&page.path);
        std::fs::write(&path, &page.text).map_err(Failure::io("write", &path))?;
        println!("{}", page.path);
    }
    Ok(())
}
