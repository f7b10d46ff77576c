//! Starting up: the time and the memory of `wasmill run`, from its start to its end, with compiled plugins in the
//! cache. It runs first: until a child has its own program, the kernel counts this process's memory as its.

use std::fs;
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};

use crate::Run;
use crate::failure::Failure;
use crate::timing::{median_of, wall};

const NAME: &str = "start";
const RUNS: usize = 11;

/// Runs the bench.
pub(crate) fn run(run: &mut Run<'_>) -> Result<(), Failure> {
    let lines = [
        ("one record", Some(2), 0.1, "start to first record 0.1 s"),
        ("example 01", None, 0.3, "whole run 0.3 s"),
    ];
    if !lines.iter().any(|line| run.wants(NAME, line.0)) {
        return Ok(());
    }
    let wasmill = wasmill(run)?;
    run.report.title(
        NAME,
        "`wasmill run` of the topology of example 01, after the first compile",
    );
    for (line, input_lines, seconds_max, about) in lines {
        if !run.wants(NAME, line) {
            continue;
        }
        let folder = tempfile::tempdir()?;
        let topology = example(folder.path(), input_lines)?;
        let mut peaks = Vec::new();
        let mut seconds = Vec::new();
        for first in std::iter::once(true).chain([false; RUNS]) {
            let mut peak = Err(Failure::new("it did not run"));
            let took = wall(|| peak = execute(&wasmill, &topology));
            let peak = peak?;
            if !first {
                seconds.push(took.as_secs_f64());
                peaks.push(peak);
            }
        }
        let (seconds, mebibytes) = (median_of(seconds), median_of(peaks) / 1024.0);
        let verdict = |held: bool| if held { "held" } else { "MISSED" };
        run.report.note(&format!(
            "{line:<14} {seconds:>7.3} s ({about}: {}) {mebibytes:>7.1} MiB resident at most (100 MB: {})",
            verdict(seconds <= seconds_max),
            verdict(mebibytes * 1.048_576 <= 100.0),
        ));
    }
    Ok(())
}

/// The binary: beside this one, unless another is given.
fn wasmill(run: &Run<'_>) -> Result<PathBuf, Failure> {
    let path = match &run.options.wasmill {
        Some(path) => path.clone(),
        None => std::env::current_exe()?.with_file_name("wasmill"),
    };
    if path.is_file() {
        Ok(path)
    } else {
        Err(Failure::new(format!(
            "{} is missing: `cargo build --release -p wasmill-cli` makes it",
            path.display()
        )))
    }
}

/// A copy of the example in which every path is absolute but those of the output.
fn example(folder: &Path, input_lines: Option<usize>) -> Result<PathBuf, Failure> {
    let repository = Path::new(env!("CARGO_MANIFEST_DIR")).join("..");
    let example = repository.join("examples/01-flights");
    let input = fs::read_to_string(example.join("input/flights-2013-01.csv"))?;
    let lines = input.split_inclusive('\n').take(input_lines.unwrap_or(usize::MAX));
    fs::create_dir(folder.join("input"))?;
    fs::write(folder.join("input/flights-2013-01.csv"), lines.collect::<String>())?;
    let settings = wasmill_plugin_build::Settings::discover()?;
    for plugin in ["delay-class", "delay-score"] {
        let built = wasmill_plugin_build::build(&repository.join("plugins").join(plugin), &settings, &mut |_| {})?;
        built.copy_to(&folder.join(format!("{plugin}.wasm")))?;
    }
    let topology = fs::read_to_string(example.join("topology.toml"))?;
    let path = folder.join("topology.toml");
    fs::write(&path, topology.replace("../../target/plugins/", ""))?;
    Ok(path)
}

/// Runs the topology to its end, and gives the greatest resident memory, in KiB.
fn execute(wasmill: &Path, topology: &Path) -> Result<f64, Failure> {
    let child = Command::new(wasmill)
        .arg("run")
        .arg(topology)
        .stdout(Stdio::null())
        .stderr(Stdio::null())
        .spawn()?;
    let (status, peak) = wait(child.id().cast_signed())?;
    if status == 0 {
        Ok(peak)
    } else {
        Err(Failure::new(format!("`wasmill run` ended with status {status}")))
    }
}

/// Waits for a child, for its status and its greatest resident memory in KiB.
#[expect(unsafe_code, reason = "the standard library waits without the child's usage")]
fn wait(child: i32) -> Result<(i32, f64), Failure> {
    let mut status = 0;
    // SAFETY: all fields of the structure are integers, for which zeros are valid.
    let mut usage: libc::rusage = unsafe { std::mem::zeroed() };
    // SAFETY: both pointers are to live values of the types that the call writes.
    let waited = unsafe { libc::wait4(child, &raw mut status, 0, &raw mut usage) };
    if waited == child {
        Ok((status, usage.ru_maxrss as f64))
    } else {
        Err(std::io::Error::last_os_error().into())
    }
}
