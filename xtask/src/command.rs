//! Runs programs, and says it in one line when one is missing.

use std::{
    ffi::OsStr,
    io::{self, BufRead, BufReader},
    path::Path,
    process::{Child, Command, Stdio},
};

use crate::Failure;

/// A program with its arguments. It has no standard input.
pub(crate) struct Program {
    command: Command,
}

impl Program {
    pub(crate) fn new(name: impl AsRef<OsStr>) -> Self {
        let mut command = Command::new(name);
        command.stdin(Stdio::null());
        Self { command }
    }

    pub(crate) fn within(mut self, folder: &Path) -> Self {
        self.command.current_dir(folder);
        self
    }

    pub(crate) fn with<S: AsRef<OsStr>>(mut self, arguments: impl IntoIterator<Item = S>) -> Self {
        self.command.args(arguments);
        self
    }

    pub(crate) fn variable(mut self, name: &str, value: &str) -> Self {
        self.command.env(name, value);
        self
    }

    /// Runs it with our output. Whether it succeeded.
    pub(crate) fn succeeds(mut self) -> Result<bool, Failure> {
        match self.command.status() {
            Ok(status) => Ok(status.success()),
            Err(error) => Err(self.cannot_run(&error)),
        }
    }

    /// Runs it with our output.
    pub(crate) fn run(self) -> Result<(), Failure> {
        let line = self.line();
        if self.succeeds()? {
            Ok(())
        } else {
            Err(Failure::new(format!("`{line}` failed, for the reason above")))
        }
    }

    /// What it prints, errors aside.
    pub(crate) fn output(mut self) -> Result<String, Failure> {
        let output = match self.command.output() {
            Ok(output) => output,
            Err(error) => return Err(self.cannot_run(&error)),
        };
        if output.status.success() {
            return Ok(String::from_utf8_lossy(&output.stdout).into_owned());
        }
        let said = String::from_utf8_lossy(&output.stderr);
        let reason = said
            .lines()
            .rfind(|line| !line.trim().is_empty())
            .unwrap_or("without a word")
            .trim();
        Err(Failure::new(format!("`{}` failed: {reason}", self.line())))
    }

    /// Whether it is there and answers.
    pub(crate) fn answers(mut self) -> bool {
        self.command
            .stdout(Stdio::null())
            .stderr(Stdio::null())
            .status()
            .is_ok_and(|status| status.success())
    }

    /// Runs it and hands on each line that it prints, errors aside, as it comes. Whether it succeeded.
    pub(crate) fn lines(mut self, mut take: impl FnMut(&str)) -> Result<bool, Failure> {
        let mut child: Child = match self.command.stdout(Stdio::piped()).spawn() {
            Ok(child) => child,
            Err(error) => return Err(self.cannot_run(&error)),
        };
        let mut printed = BufReader::new(child.stdout.take().expect("it was piped"));
        let mut line = Vec::new();
        loop {
            line.clear();
            match printed.read_until(b'\n', &mut line) {
                Ok(0) => break,
                Ok(_) => take(String::from_utf8_lossy(&line).trim_end_matches('\n')),
                Err(error) => return Err(self.cannot_run(&error)),
            }
        }
        child
            .wait()
            .map(|status| status.success())
            .map_err(|error| self.cannot_run(&error))
    }

    fn line(&self) -> String {
        let words = std::iter::once(self.command.get_program()).chain(self.command.get_args());
        words.map(OsStr::to_string_lossy).collect::<Vec<_>>().join(" ")
    }

    fn cannot_run(&self, error: &io::Error) -> Failure {
        let name = self.command.get_program().to_string_lossy();
        if error.kind() == io::ErrorKind::NotFound {
            return Failure::new(format!("`{name}` is not installed, or not in the PATH: install it"));
        }
        Failure::new(format!("`{}` cannot be run: {error}", self.line()))
    }
}
