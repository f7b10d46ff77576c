//! Runs programs: with their output, or within a time limit.

use std::{
    ffi::OsStr,
    io,
    os::unix::process::CommandExt,
    process::{Command, ExitStatus, Stdio},
    sync::mpsc,
    thread,
    time::Duration,
};

use rustix::process::{Pid, Signal, kill_process_group};

use crate::Error;

/// The program and its arguments, for messages.
fn line(command: &Command) -> String {
    let words = std::iter::once(command.get_program()).chain(command.get_args());
    words.map(OsStr::to_string_lossy).collect::<Vec<_>>().join(" ")
}

pub(crate) fn cannot_run(command: &Command, error: &io::Error) -> Error {
    Error::Program {
        program: line(command),
        reason: format!("cannot be run: {error}"),
    }
}

/// What a program printed. `None` when there is no such program.
pub(crate) fn output(command: &mut Command) -> Result<Option<String>, Error> {
    let output = match command.stdin(Stdio::null()).output() {
        Ok(output) => output,
        Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(None),
        Err(error) => return Err(cannot_run(command, &error)),
    };
    if output.status.success() {
        return Ok(Some(String::from_utf8_lossy(&output.stdout).into_owned()));
    }
    let said = String::from_utf8_lossy(&output.stderr);
    let last = said
        .lines()
        .rev()
        .find(|line| !line.trim().is_empty())
        .unwrap_or("it said nothing")
        .trim();
    Err(Error::Program {
        program: line(command),
        reason: format!("{}: {last}", output.status),
    })
}

/// How a program with a limit ended.
#[derive(Debug)]
pub(crate) enum Ended {
    /// By itself.
    Exited(ExitStatus),
    /// It was killed, with all that it had started.
    TimedOut,
    /// There is no such program.
    Absent,
}

/// Runs a program, and kills it and its children when it takes longer than the limit. Its output is dropped.
pub(crate) fn within(limit: Duration, command: &mut Command) -> Result<Ended, Error> {
    let quiet = command.stdin(Stdio::null()).stdout(Stdio::null()).stderr(Stdio::null());
    let mut child = match quiet.process_group(0).spawn() {
        Ok(child) => child,
        Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(Ended::Absent),
        Err(error) => return Err(cannot_run(command, &error)),
    };
    let group = Pid::from_child(&child);
    let (sender, ended) = mpsc::sync_channel(1);
    let waiter = thread::spawn(move || sender.send(child.wait()));
    let outcome = ended.recv_timeout(limit);
    if outcome.is_err() {
        // The group is gone when it ended just now: then there is nothing to kill.
        let _ = kill_process_group(group, Signal::KILL);
    }
    // The receiver lives until here, so the send does not fail; a killed child ends at once.
    let _ = waiter.join();
    match outcome {
        Ok(Ok(status)) => Ok(Ended::Exited(status)),
        Ok(Err(error)) => Err(cannot_run(command, &error)),
        Err(_) => Ok(Ended::TimedOut),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_program_that_hangs_is_killed_with_its_children() {
        let folder = tempfile::tempdir().unwrap();
        let pid = folder.path().join("pid");
        let script = format!("sleep 600 & echo $! > {}; wait", pid.display());
        let limit = Duration::from_secs(1);
        assert!(matches!(
            within(limit, Command::new("sh").args(["-c", &script])),
            Ok(Ended::TimedOut)
        ));
        let child: u32 = std::fs::read_to_string(pid).unwrap().trim().parse().unwrap();
        // An orphan may wait for a parent to notice its end: a zombie is dead too.
        let runs = || {
            let stat = std::fs::read_to_string(format!("/proc/{child}/stat")).unwrap_or_default();
            stat.rsplit_once(") ")
                .is_some_and(|(_, state)| !state.starts_with(['Z', 'X']))
        };
        while runs() {
            thread::yield_now();
        }
    }

    #[test]
    fn a_program_that_ends_in_time_gives_its_status() {
        let limit = Duration::from_mins(1);
        let Ok(Ended::Exited(status)) = within(limit, Command::new("sh").args(["-c", "exit 3"])) else {
            panic!("it ends by itself");
        };
        assert_eq!(status.code(), Some(3));
    }

    #[test]
    fn a_program_that_is_not_there_is_no_error() {
        let limit = Duration::from_mins(1);
        assert!(matches!(
            within(limit, &mut Command::new("no-such-program-anywhere")),
            Ok(Ended::Absent)
        ));
        assert_eq!(output(&mut Command::new("no-such-program-anywhere")).unwrap(), None);
    }

    #[test]
    fn a_program_that_fails_says_its_last_line() {
        let mut command = Command::new("sh");
        let error = output(command.args(["-c", "echo one >&2; echo two >&2; exit 1"])).unwrap_err();
        assert!(error.to_string().ends_with("exit status: 1: two"), "{error}");
    }
}
