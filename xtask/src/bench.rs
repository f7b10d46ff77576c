//! The benches: builds the host and the benches with the release profile, and runs what is asked for.

use crate::{Failure, Repository};

/// Runs the benches whose name holds `filter`, each line for about so many seconds. What else they take follows as it is.
pub(crate) fn run(repository: &Repository, filter: &str, seconds: f64, rest: &[String]) -> Result<(), Failure> {
    let release = [
        "build",
        "--release",
        "--package",
        "wasmill-cli",
        "--package",
        "wasmill-benches",
    ];
    repository.cargo(release).run()?;
    let seconds = seconds.to_string();
    let run = [
        "run",
        "--quiet",
        "--release",
        "--package",
        "wasmill-benches",
        "--",
        filter,
        "--seconds",
        &seconds,
    ];
    repository.cargo(run).with(rest).run()
}
