//! What came of a test, for people and programs.

use std::fmt::{self, Write as _};
use std::ops::Range;
use std::path::PathBuf;

use crate::diff::{self, Line};

/// Lines of a failure that are shown to people at most.
const LINES_MAX: usize = 60;

/// What came of a test.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Outcome {
    /// What is wrong; empty for a test that passed.
    pub failures: Vec<Failure>,
    /// How many variations were run beside the test as it is written.
    pub variations: usize,
    /// With what points of restoring were drawn, where there are too many to try all.
    pub seed: Option<u64>,
    /// The file that was written, because its test is to bless what came.
    pub blessed: Option<PathBuf>,
}

impl Outcome {
    /// Whether nothing is wrong.
    pub fn passed(&self) -> bool {
        self.failures.is_empty()
    }
}

/// Something that is wrong.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Failure {
    /// Where it was expected, in bytes of the test file.
    pub span: Range<usize>,
    /// The step, from 1.
    pub step: Option<usize>,
    /// What is wrong.
    pub message: String,
    /// What came beside what was expected.
    pub lines: Vec<Line>,
    /// What to do.
    pub help: Option<String>,
}

impl Failure {
    pub(crate) fn new(span: &Range<usize>, message: impl Into<String>) -> Self {
        Self {
            span: span.clone(),
            step: None,
            message: message.into(),
            lines: Vec::new(),
            help: None,
        }
    }

    pub(crate) fn at_step(mut self, step: usize) -> Self {
        self.step = Some(step + 1);
        self
    }

    pub(crate) fn lines(mut self, lines: Vec<Line>) -> Self {
        self.lines = lines;
        self
    }

    pub(crate) fn help(mut self, help: impl Into<String>) -> Self {
        self.help = Some(help.into());
        self
    }
}

/// The message, the lines with a few around each difference, and the help.
impl fmt::Display for Failure {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let mut text = self.message.clone();
        let lines = diff::shortened(&self.lines);
        for line in lines.iter().take(LINES_MAX) {
            match line {
                Some(line) => write!(text, "\n    {line}")?,
                None => text.push_str("\n    ..."),
            }
        }
        if lines.len() > LINES_MAX {
            write!(text, "\n    ... and {} more lines", lines.len() - LINES_MAX)?;
        }
        if let Some(help) = &self.help {
            write!(text, "\n  help: {help}")?;
        }
        f.write_str(&text)
    }
}
