//! The rules of the repository that no compiler and no lint knows, as a function from files to problems.
//!
//! | rule | why |
//! |---|---|
//! | crates depend on each other in the directions of `ARCHITECTURE.md` | see there |
//! | each dependency has a line in `docs/adr/0005-dependencies.md` | it is compiled and trusted by everyone |
//! | timely, wasmtime and a few more are each named by one crate | what is behind them can be replaced |
//! | a file opens with `//!` | the reader learns first what it is responsible for |
//! | nothing sleeps | a sleep is too short on a busy machine and too long on any other |
//! | `foo.rs` beside `foo/`, never `foo/mod.rs` | names of files say what is in them |
//! | at most 800 lines, tests aside | a longer file has several purposes |
//! | no `pub use x::*`, no `#[ignore]` | a surface is a list; a test runs or is deleted |
//! | no paths of one machine, no notes of unfinished work | both mean nothing to others |
//! | links between documents lead somewhere | |
//! | the reference has the options of the code | what a page promises is what the code does |

mod directions;
mod layout;
mod links;
mod reference;
mod source;
mod words;

use std::fmt;

pub(crate) use reference::stale;

/// A file of the repository.
#[derive(Clone, Debug)]
pub(crate) struct File {
    /// From the root, with `/`.
    pub(crate) path: String,
    /// Empty where it is no text.
    pub(crate) text: String,
}

/// A rule that is not kept.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Problem {
    path: String,
    /// From 1.
    line: Option<usize>,
    message: String,
}

impl Problem {
    fn of(file: &File, message: impl Into<String>) -> Self {
        Self {
            path: file.path.clone(),
            line: None,
            message: message.into(),
        }
    }

    fn at(file: &File, line: usize, message: impl Into<String>) -> Self {
        Self {
            line: Some(line),
            ..Self::of(file, message)
        }
    }
}

impl fmt::Display for Problem {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}", self.path)?;
        if let Some(line) = self.line {
            write!(f, ":{line}")?;
        }
        write!(f, ": {}", self.message)
    }
}

impl File {
    fn is(&self, extension: &str) -> bool {
        self.path.rsplit_once('.').is_some_and(|(_, found)| found == extension)
    }

    /// Whether it is a fixture or a template: text that is read by a program, with rules of its own.
    fn is_material(&self) -> bool {
        let folders = ["/ui/", "/fixtures/", "/golden/", "/template/", "/input/", "/expected/"];
        folders.iter().any(|folder| self.path.contains(folder))
    }
}

/// All problems, by file.
pub(crate) fn check(files: &[File]) -> Vec<Problem> {
    let mut problems = Vec::new();
    for file in files {
        if file.is("rs") && !file.is_material() {
            source::check(file, &mut problems);
        }
        words::check(file, &mut problems);
    }
    layout::check(files, &mut problems);
    links::check(files, &mut problems);
    reference::check(files, &mut problems);
    directions::check(files, &mut problems);
    problems.sort_by(|a, b| (&a.path, a.line).cmp(&(&b.path, b.line)));
    problems
}

#[cfg(test)]
mod testing {
    use super::{File, Problem};

    /// A file with a path and a text.
    pub(super) fn file(path: &str, text: &str) -> File {
        File {
            path: path.to_owned(),
            text: text.to_owned(),
        }
    }

    /// Problems as lines.
    pub(super) fn lines(problems: &[Problem]) -> Vec<String> {
        problems.iter().map(ToString::to_string).collect()
    }
}
