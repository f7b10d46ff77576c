//! The exit codes of `wasmill`, as `wasmill --help` lists them.

use std::process::ExitCode;

/// How a command ended.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Exit {
    /// It did what was asked.
    Ok,
    /// It failed while it ran.
    Failed,
    /// The topology has errors.
    Invalid,
    /// It was stopped by a signal; what sinks had been given is written.
    Stopped,
}

impl From<Exit> for ExitCode {
    fn from(exit: Exit) -> Self {
        Self::from(match exit {
            Exit::Ok => 0,
            Exit::Failed => 1,
            // 2 is clap's, for a wrong command line.
            Exit::Invalid => 3,
            Exit::Stopped => 130,
        })
    }
}
