//! The import `log`: lines are kept until the call is over, also where it fails, and then go to `tracing`.
//!
//! A guest can log faster than anyone can read. A call keeps [`LINES_PER_CALL_MAX`] lines, a subtask passes on
//! [`LINES_PER_SECOND_MAX`] a second (by the ticker's clock), and how many were left out is said with the next that
//! passes.

use tracing::{debug, error, info, trace, warn};
use wasmill_core::id::NodeId;

use crate::bindings::wasmill::operator::log::{Host, Level};

/// Lines that a call keeps.
const LINES_PER_CALL_MAX: usize = 256;
/// Bytes of text that a call keeps.
const BYTES_PER_CALL_MAX: usize = 256 << 10;
/// Lines that a subtask passes on in a second.
const LINES_PER_SECOND_MAX: u32 = 100;

/// A line that a guest wrote.
#[derive(Debug)]
pub(crate) struct Line {
    level: Level,
    message: String,
    fields: Vec<(String, String)>,
}

/// What the call that runs has logged.
#[derive(Debug, Default)]
pub(crate) struct CallLog {
    lines: Vec<Line>,
    bytes: usize,
    left_out: u64,
}

impl Host for CallLog {
    fn write(&mut self, level: Level, message: String, fields: Vec<(String, String)>) -> wasmtime::Result<()> {
        let bytes = message.len() + fields.iter().map(|(k, v)| k.len() + v.len()).sum::<usize>();
        if self.lines.len() < LINES_PER_CALL_MAX && self.bytes + bytes <= BYTES_PER_CALL_MAX {
            self.bytes += bytes;
            self.lines.push(Line { level, message, fields });
        } else {
            self.left_out += 1;
        }
        Ok(())
    }
}

impl CallLog {
    /// Drops what the call has logged.
    pub(crate) fn forget(&mut self) {
        *self = Self::default();
    }

    /// What the guest called an error last: a language's panic message, where the call trapped.
    pub(crate) fn last_error(&self) -> Option<&str> {
        let error = self.lines.iter().rfind(|line| matches!(line.level, Level::Error));
        error.map(|line| line.message.as_str())
    }
}

/// Passes a subtask's lines on.
#[derive(Debug)]
pub(crate) struct LineLimiter {
    node: NodeId,
    ticks_per_second: u64,
    second_began: u64,
    passed: u32,
    left_out: u64,
}

impl LineLimiter {
    /// For the lines of one subtask.
    pub(crate) fn new(node: NodeId, ticks_per_second: u64) -> Self {
        Self {
            node,
            ticks_per_second,
            second_began: 0,
            passed: 0,
            left_out: 0,
        }
    }

    /// Passes on what a call has logged; `now` is the ticker's count.
    pub(crate) fn flush(&mut self, log: &mut CallLog, now: u64) {
        if log.lines.is_empty() && log.left_out == 0 {
            return;
        }
        self.left_out += std::mem::take(&mut log.left_out);
        log.bytes = 0;
        for line in log.lines.drain(..) {
            self.pass(&line, now);
        }
    }

    /// Passes on how the guest failed on a row.
    pub(crate) fn fault(&mut self, message: &str, fields: Vec<(String, String)>, now: u64) {
        let line = Line {
            level: Level::Error,
            message: format!("a row is at fault: {message}"),
            fields,
        };
        self.pass(&line, now);
    }

    fn pass(&mut self, line: &Line, now: u64) {
        if now - self.second_began >= self.ticks_per_second {
            self.second_began = now;
            self.passed = 0;
        }
        if self.passed >= LINES_PER_SECOND_MAX {
            self.left_out += 1;
            return;
        }
        self.passed += 1;
        self.write(line);
    }

    fn write(&mut self, line: &Line) {
        use std::fmt::Write as _;
        let operator = self.node.as_str();
        let left_out = std::mem::take(&mut self.left_out);
        if left_out > 0 {
            warn!(target: "wasmill::plugin", operator, "{left_out} lines of the plugin were left out");
        }
        let Line { level, message, fields } = line;
        let mut text = message.clone();
        for (key, value) in fields {
            write!(text, " {key}={value:?}").expect("a string takes any text");
        }
        match level {
            Level::Trace => trace!(target: "wasmill::plugin", operator, "{text}"),
            Level::Debug => debug!(target: "wasmill::plugin", operator, "{text}"),
            Level::Info => info!(target: "wasmill::plugin", operator, "{text}"),
            Level::Warn => warn!(target: "wasmill::plugin", operator, "{text}"),
            Level::Error => error!(target: "wasmill::plugin", operator, "{text}"),
        }
    }
}

/// A subtask that ends says what it left out.
impl Drop for LineLimiter {
    fn drop(&mut self) {
        let (operator, left_out) = (self.node.as_str(), self.left_out);
        if left_out > 0 {
            warn!(target: "wasmill::plugin", operator, "{left_out} lines of the plugin were left out");
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn write(log: &mut CallLog, level: Level, message: &str) {
        log.write(level, message.to_owned(), Vec::new()).unwrap();
    }

    #[test]
    fn a_call_keeps_a_bounded_number_of_lines_and_counts_the_rest() {
        let mut log = CallLog::default();
        for _ in 0..LINES_PER_CALL_MAX + 5 {
            write(&mut log, Level::Info, "x");
        }
        assert_eq!((log.lines.len(), log.left_out), (LINES_PER_CALL_MAX, 5));
        let mut log = CallLog::default();
        write(&mut log, Level::Info, &"x".repeat(BYTES_PER_CALL_MAX + 1));
        assert_eq!((log.lines.len(), log.left_out), (0, 1));
    }

    #[test]
    fn a_subtask_passes_on_a_bounded_number_of_lines_a_second() {
        let mut limiter = LineLimiter::new(NodeId::new("n"), 50);
        let mut log = CallLog::default();
        for (now, left_out) in [(1000, 156), (1049, 412), (1050, 156)] {
            for _ in 0..256 {
                write(&mut log, Level::Info, "x");
            }
            limiter.flush(&mut log, now);
            assert_eq!(limiter.left_out, left_out, "at {now}");
            assert!(log.lines.is_empty());
        }
    }

    #[test]
    fn the_last_error_explains_a_trap() {
        let mut log = CallLog::default();
        write(&mut log, Level::Error, "first");
        write(&mut log, Level::Error, "panicked");
        write(&mut log, Level::Info, "after");
        assert_eq!(log.last_error(), Some("panicked"));
    }
}
