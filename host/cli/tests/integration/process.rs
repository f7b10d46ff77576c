//! Starts `wasmill`, waits for what it prints, and for its end.

use std::fs;
use std::io::{BufRead, BufReader};
use std::path::Path;
use std::process::{Child, ChildStdout, Command, ExitStatus, Stdio};
use std::sync::mpsc::{Receiver, RecvTimeoutError, channel};
use std::thread;
use std::time::Duration;

use rustix::process::{Pid, Signal, kill_process};

/// After this a test that waits has failed.
const LIMIT: Duration = Duration::from_mins(2);
/// Between two looks at a process that is to come to rest.
const LOOK: Duration = Duration::from_millis(250);

/// A run of the binary, to be started.
pub(crate) struct Run(Command);

impl Run {
    /// `wasmill run TOPOLOGY`, with a summary in JSON on standard error.
    pub(crate) fn of(topology: &Path) -> Self {
        Self(wasmill())
            .argument("run")
            .argument("--format")
            .argument("json")
            .argument(topology)
    }

    fn argument(mut self, argument: impl AsRef<std::ffi::OsStr>) -> Self {
        self.0.arg(argument);
        self
    }

    pub(crate) fn workers(self, workers: usize) -> Self {
        self.argument("--workers").argument(workers.to_string())
    }

    /// Overrides a key of the topology, as in `WASMILL__ENGINE__BATCH_ROWS`.
    pub(crate) fn with(mut self, variable: &str, value: impl std::fmt::Display) -> Self {
        self.0.env(variable, value.to_string());
        self
    }

    pub(crate) fn start(mut self) -> Running {
        let mut child = self.0.spawn().unwrap();
        let stderr = child.stderr.take().unwrap();
        let (send, said) = channel();
        thread::spawn(move || {
            let mut text = String::new();
            // What is no text ends the reading; the test sees what came before.
            for line in BufReader::new(stderr).lines().map_while(Result::ok) {
                // Shown where the test fails.
                println!("{line}");
                text.push_str(&line);
                text.push('\n');
            }
            let _ = send.send(text);
        });
        Running {
            stdout: child.stdout.take(),
            child,
            said,
        }
    }

    /// Runs it to its end. Its standard output is of no interest.
    pub(crate) fn finish(self) -> Finished {
        let mut running = self.start();
        running.lines();
        running.finish()
    }
}

/// The binary that Cargo built for these tests.
#[expect(
    clippy::disallowed_methods,
    reason = "Cargo says in the environment where the binary is"
)]
fn wasmill() -> Command {
    let path = std::env::var_os("CARGO_BIN_EXE_wasmill").expect("Cargo sets it for integration tests");
    let mut command = Command::new(path);
    command
        .stdin(Stdio::null())
        .stdout(Stdio::piped())
        .stderr(Stdio::piped());
    command
}

/// A run that has been started. It is killed when the test ends before it.
pub(crate) struct Running {
    child: Child,
    stdout: Option<ChildStdout>,
    said: Receiver<String>,
}

impl Running {
    /// The lines that it prints, as they come.
    pub(crate) fn lines(&mut self) -> Lines {
        let stdout = self.stdout();
        let (send, lines) = channel();
        thread::spawn(move || {
            // Where nobody listens the lines are read all the same: who prints must not be held up.
            for line in BufReader::new(stdout).lines().map_while(Result::ok) {
                send.send(line).unwrap_or_default();
            }
        });
        Lines(lines)
    }

    /// Its standard output, to be read as slowly as the test wants.
    pub(crate) fn stdout(&mut self) -> ChildStdout {
        self.stdout.take().expect("standard output is read once")
    }

    pub(crate) fn signal(&self, signal: Signal) {
        kill_process(Pid::from_child(&self.child), signal).unwrap();
    }

    /// The most memory that it has had resident, in MiB. `None` when it has ended.
    pub(crate) fn peak_mib(&self) -> Option<u64> {
        let status = fs::read_to_string(format!("/proc/{}/status", self.child.id())).unwrap();
        let peak = status.lines().find_map(|line| line.strip_prefix("VmHWM:"))?;
        Some(peak.trim().trim_end_matches(" kB").parse::<u64>().unwrap() / 1024)
    }

    /// Waits until it ends. The most memory that it has had resident, in MiB.
    pub(crate) fn peak_until_the_end(&self) -> u64 {
        let (_keep, never) = channel::<()>();
        let mut peak_mib = 0;
        for _ in 0..LIMIT.as_millis() / LOOK.as_millis() {
            match self.peak_mib() {
                Some(mib) => peak_mib = mib,
                None => return peak_mib,
            }
            assert_eq!(never.recv_timeout(LOOK), Err(RecvTimeoutError::Timeout));
        }
        panic!("it does not end");
    }

    /// Waits until it uses no processor: all its threads wait for something.
    pub(crate) fn come_to_rest(&self) {
        let (_keep, never) = channel::<()>();
        let mut before = None;
        for _ in 0..LIMIT.as_millis() / LOOK.as_millis() {
            let now = self.processor_ticks();
            if now > 0 && before == Some(now) {
                return;
            }
            before = Some(now);
            assert_eq!(never.recv_timeout(LOOK), Err(RecvTimeoutError::Timeout));
        }
        panic!("it does not come to rest");
    }

    fn processor_ticks(&self) -> u64 {
        let stat = fs::read_to_string(format!("/proc/{}/stat", self.child.id())).unwrap();
        let (_, after_name) = stat.rsplit_once(')').unwrap();
        let field = |index: usize| {
            after_name
                .split_whitespace()
                .nth(index)
                .unwrap()
                .parse::<u64>()
                .unwrap()
        };
        // utime and stime, by `man 5 proc`; the state stands first.
        field(11) + field(12)
    }

    /// Waits for its end.
    pub(crate) fn finish(mut self) -> Finished {
        // Standard error is closed at the end.
        let stderr = self.said.recv_timeout(LIMIT).expect("it does not end");
        Finished {
            status: self.child.wait().unwrap(),
            stderr,
        }
    }
}

impl Drop for Running {
    fn drop(&mut self) {
        // It has ended already where the test went well.
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

/// Lines as they come.
pub(crate) struct Lines(Receiver<String>);

impl Lines {
    /// The next line.
    pub(crate) fn next(&self) -> String {
        self.0.recv_timeout(LIMIT).expect("no line comes")
    }

    /// Waits for these lines, which may come in any order.
    pub(crate) fn expect(&self, lines: &[&str]) {
        let mut found: Vec<String> = lines.iter().map(|_| self.next()).collect();
        found.sort();
        let mut expected = lines.to_vec();
        expected.sort_unstable();
        assert_eq!(found, expected);
    }
}

/// A run that has ended.
pub(crate) struct Finished {
    status: ExitStatus,
    pub(crate) stderr: String,
}

impl Finished {
    #[track_caller]
    pub(crate) fn expect_code(self, code: i32) -> Self {
        assert_eq!(self.status.code(), Some(code), "{}", self.stderr);
        self
    }

    /// The summary: the last line.
    pub(crate) fn summary(&self) -> serde_json::Value {
        let last = self.stderr.lines().last().unwrap_or_default();
        serde_json::from_str(last).unwrap_or_else(|error| panic!("{error} in {}", self.stderr))
    }
}
