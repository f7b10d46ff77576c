//! Everything that can be checked, cheap things first. The last line is the tests' summary: `N passed, N failed`.
//!
//! Passed and failed are the tests of all runs, as the runners counted them. A step that fails in another way, such as
//! one that does not compile, counts as one that failed, so that the summary never says less than the exit code.

mod tally;

use crate::{Failure, Repository, licences, plugins, stopwatch::Stopwatch};
use tally::Tally;

/// How a step went.
enum Outcome {
    /// A check without tests.
    Fine,
    /// Why it failed; empty where its own output says it.
    Failed(String),
    /// What stands in its way, and the mend.
    Skipped(String),
    /// Tests ran; whether their runner was content.
    Tested(Tally, bool),
}

type Step = (&'static str, fn(&Repository) -> Result<Outcome, Failure>);

const STEPS: [Step; 9] = [
    ("tidy", tidy),
    ("format", format),
    ("dependencies", licences::check_as_step),
    ("lints", lints),
    ("lints of the plugins", lints_of_plugins),
    ("documentation", documentation),
    ("plugins", plugins),
    ("tests of the plugins", tests_of_plugins),
    ("tests", tests),
];

/// Runs all steps. Whether all is well.
pub(crate) fn run(repository: &Repository, fail_fast: bool) -> bool {
    let mut total = Tally::default();
    let mut remarks = Vec::new();
    for (name, step) in STEPS {
        println!("\n=== {name}");
        let watch = Stopwatch::start();
        let outcome = step(repository).unwrap_or_else(|failure| Outcome::Failed(failure.to_string()));
        let said = match outcome {
            Outcome::Fine => "fine".to_owned(),
            Outcome::Skipped(reason) => {
                remarks.push(format!("skipped {name}: {reason}"));
                format!("skipped: {reason}")
            }
            Outcome::Failed(reason) => {
                total.failed += 1;
                remarks.push(format!(
                    "failed {name}: {}",
                    if reason.is_empty() { "see above" } else { &reason }
                ));
                format!("failed {reason}")
            }
            Outcome::Tested(mut tally, content) => {
                if !content && tally.failed == 0 {
                    tally.failed = 1;
                }
                if tally.failed > 0 {
                    remarks.push(format!("failed {name}: see above"));
                }
                total += tally;
                tally.to_string()
            }
        };
        println!("=== {name}: {} ({watch})", said.trim_end());
        if fail_fast && total.failed > 0 {
            break;
        }
    }
    println!();
    for remark in remarks {
        println!("{remark}");
    }
    println!("{total}");
    total.failed == 0
}

fn fine(succeeded: bool) -> Outcome {
    if succeeded {
        Outcome::Fine
    } else {
        Outcome::Failed(String::new())
    }
}

fn tidy(repository: &Repository) -> Result<Outcome, Failure> {
    let problems = crate::tidy::check(&repository.files()?);
    for problem in &problems {
        println!("{problem}");
    }
    Ok(fine(problems.is_empty()))
}

fn format(repository: &Repository) -> Result<Outcome, Failure> {
    if !repository.cargo(["fmt", "--version"]).answers() {
        return Ok(Outcome::Skipped(
            "rustfmt is not installed: `rustup component add rustfmt`".to_owned(),
        ));
    }
    let host = repository.cargo(["fmt", "--all", "--check"]).succeeds()?;
    let plugins = repository
        .cargo(["fmt", "--all", "--check", "--manifest-path", "plugins/Cargo.toml"])
        .succeeds()?;
    if host && plugins {
        return Ok(Outcome::Fine);
    }
    Ok(Outcome::Failed(
        "`cargo fmt --all` mends it, here and in plugins/".to_owned(),
    ))
}

fn clippy<const N: usize>(repository: &Repository, of: [&str; N]) -> Result<Outcome, Failure> {
    if !repository.cargo(["clippy", "--version"]).answers() {
        return Ok(Outcome::Skipped(
            "clippy is not installed: `rustup component add clippy`".to_owned(),
        ));
    }
    let program = repository
        .cargo(["clippy", "--locked", "--workspace", "--all-targets"])
        .with(of);
    program.with(["--", "--deny", "warnings"]).succeeds().map(fine)
}

fn lints(repository: &Repository) -> Result<Outcome, Failure> {
    clippy(repository, [])
}

fn lints_of_plugins(repository: &Repository) -> Result<Outcome, Failure> {
    clippy(repository, ["--manifest-path", "plugins/Cargo.toml"])
}

fn documentation(repository: &Repository) -> Result<Outcome, Failure> {
    let program = repository.cargo(["doc", "--locked", "--workspace", "--no-deps"]);
    program.variable("RUSTDOCFLAGS", "--deny warnings").succeeds().map(fine)
}

fn plugins(repository: &Repository) -> Result<Outcome, Failure> {
    plugins::build_all(repository).map(|()| Outcome::Fine)
}

fn tests_of_plugins(repository: &Repository) -> Result<Outcome, Failure> {
    cargo_test(repository, ["--manifest-path", "plugins/Cargo.toml"])
}

fn tests(repository: &Repository) -> Result<Outcome, Failure> {
    cargo_test(repository, [])
}

/// All tests, also after one that fails; dots instead of their names.
fn cargo_test<const N: usize>(repository: &Repository, of: [&str; N]) -> Result<Outcome, Failure> {
    let program = repository
        .cargo(["test", "--locked", "--workspace", "--no-fail-fast"])
        .with(of);
    let mut tally = Tally::default();
    let content = program.with(["--", "--quiet"]).lines(|line| {
        println!("{line}");
        tally.read(line);
    })?;
    Ok(Outcome::Tested(tally, content))
}

impl From<licences::Verdict> for Outcome {
    fn from(verdict: licences::Verdict) -> Self {
        match verdict {
            licences::Verdict::Fine => Self::Fine,
            licences::Verdict::Failed => Self::Failed(String::new()),
            licences::Verdict::OnlyLicences(reason) => Self::Skipped(reason),
        }
    }
}
