//! What tests came to: a line each, then what is wrong, then a summary; or a JSON value each.

use std::fmt::Write as _;
use std::io::{self, Write as _};

use serde_json::{Value, json};
use wasmill_harness::{Failure, Line, Outcome, Suite, Test};

use crate::args::Format;

/// How many tests came to what.
#[derive(Clone, Copy, Debug, Default)]
pub(crate) struct Totals {
    pub(crate) passed: usize,
    pub(crate) failed: usize,
    pub(crate) filtered: usize,
    /// Files that could not be run.
    pub(crate) broken: usize,
    pub(crate) blessed: usize,
}

impl Totals {
    pub(crate) fn count(&mut self, outcome: &Outcome) {
        if outcome.passed() {
            self.passed += 1;
        } else {
            self.failed += 1;
        }
        self.blessed += usize::from(outcome.blessed.is_some());
    }
}

/// Writes to standard output.
pub(crate) struct Report {
    format: Format,
    /// What is wrong with tests, to be told at the end.
    failures: Vec<String>,
}

impl Report {
    pub(crate) fn new(format: Format) -> Self {
        Self {
            format,
            failures: Vec::new(),
        }
    }

    /// A problem of a file, as it is to be shown.
    pub(crate) fn broken(&mut self, shown: &str) -> io::Result<()> {
        match self.format {
            Format::Human => writeln!(io::stderr().lock(), "{shown}"),
            Format::Json => writeln!(io::stdout().lock(), "{shown}"),
        }
    }

    pub(crate) fn test(&mut self, suite: &Suite, test: &Test, outcome: &Outcome) -> io::Result<()> {
        let mut out = io::stdout().lock();
        if self.format == Format::Json {
            return writeln!(out, "{}", as_json(suite, test, outcome));
        }
        let mut result = if outcome.passed() {
            format!("ok ({} variations)", outcome.variations)
        } else {
            "FAILED".to_owned()
        };
        if let (true, Some(seed)) = (outcome.passed(), outcome.seed) {
            result = format!("ok ({} variations, seed {seed})", outcome.variations);
        }
        if let Some(file) = &outcome.blessed {
            let name = file.file_name().unwrap_or_default().to_string_lossy();
            let _ = write!(result, ", wrote {name}");
        }
        writeln!(out, "test {}: {} ... {result}", suite.file.display(), test.name)?;
        for failure in &outcome.failures {
            let (line, column) = place(&suite.text, failure.span.start);
            let file = suite.file.display();
            let text = format!("{file}:{line}:{column}: {}\n  {failure}\n", test.name);
            self.failures.push(text);
        }
        Ok(())
    }

    pub(crate) fn finish(&self, totals: &Totals, files: usize) -> io::Result<()> {
        let Totals {
            passed,
            failed,
            filtered,
            broken,
            blessed,
        } = *totals;
        let mut out = io::stdout().lock();
        if self.format == Format::Json {
            let summary = json!({
                "kind": "summary",
                "files": files,
                "passed": passed,
                "failed": failed,
                "filtered-out": filtered,
                "broken-files": broken,
                "blessed": blessed,
            });
            return writeln!(out, "{summary}");
        }
        if !self.failures.is_empty() {
            writeln!(out, "\nfailures:\n")?;
            for failure in &self.failures {
                writeln!(out, "{failure}")?;
            }
        }
        let result = if failed + broken == 0 { "ok" } else { "FAILED" };
        let mut line = format!("test result: {result}. {passed} passed; {failed} failed; {filtered} filtered out");
        if broken > 0 {
            let files = if broken == 1 { "file" } else { "files" };
            let _ = write!(line, "; {broken} {files} with errors");
        }
        if self.failures.is_empty() {
            line.insert(0, '\n');
        }
        writeln!(out, "{line}")
    }
}

fn as_json(suite: &Suite, test: &Test, outcome: &Outcome) -> Value {
    let failures: Vec<Value> = outcome
        .failures
        .iter()
        .map(|failure| failure_as_json(suite, failure))
        .collect();
    let (line, column) = place(&suite.text, test.span.start);
    json!({
        "kind": "test",
        "file": suite.file.to_string_lossy(),
        "name": test.name,
        "line": line,
        "column": column,
        "passed": outcome.passed(),
        "variations": outcome.variations,
        "seed": outcome.seed,
        "blessed": outcome.blessed,
        "failures": failures,
    })
}

fn failure_as_json(suite: &Suite, failure: &Failure) -> Value {
    let (line, column) = place(&suite.text, failure.span.start);
    let lines: Vec<Value> = failure
        .lines
        .iter()
        .map(|line| match line {
            Line::Same(text) => json!({ "same": text }),
            Line::Missing(text) => json!({ "missing": text }),
            Line::Unexpected(text) => json!({ "unexpected": text }),
        })
        .collect();
    json!({
        "message": failure.message,
        "step": failure.step,
        "line": line,
        "column": column,
        "lines": lines,
        "help": failure.help,
    })
}

/// The line and the column in characters of a byte, from 1.
fn place(text: &str, at: usize) -> (usize, usize) {
    let before = &text[..at.min(text.len())];
    let line = before.matches('\n').count() + 1;
    let column = before.chars().rev().take_while(|&c| c != '\n').count() + 1;
    (line, column)
}
