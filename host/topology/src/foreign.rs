//! Keys that belong to a connector or a format: its own type reads them, and its problems come back with a place.
//!
//! serde stops at the first problem of a table. To find the others, what it stumbled over is taken out, or replaced by
//! something that it accepts, and it is asked again.

use std::fmt::Write as _;

use serde_json::{Map, Value as Json};

use wasmill_connector_api::config::{ConfigProblem, Step};
use wasmill_core::diagnostic::Diagnostic;

use crate::codes;
use crate::document::{Item, Table};
use crate::place::{At, Place};
use crate::problems::{Problems, did_you_mean, suggest};
use crate::reader::unknown_key;

/// How often a connector is asked at most: more problems than this of one table are not told at once.
const ROUNDS_MAX: usize = 64;

/// A table whose keys are another's.
pub(crate) struct Foreign<'a> {
    pub(crate) table: &'a Table,
    /// How diagnostics call it: "source `flights`".
    pub(crate) name: &'a str,
    /// The code of its own refusals.
    pub(crate) code: &'static str,
    /// Keys of the same table that are ours: what an unknown key may have been meant to be.
    pub(crate) ours: &'a [&'static str],
    /// Other values that its problems may speak of, by the first step of the way.
    pub(crate) beside: &'a [(&'static str, &'a Item)],
    /// Whether only the shape counts: what it is asked about besides is not known, so its own refusals mean nothing.
    pub(crate) shape_only: bool,
    pub(crate) problems: &'a Problems,
}

impl Foreign<'_> {
    /// The configuration, and what `ask` makes of it; `None` after a problem.
    pub(crate) fn ask<T>(&self, mut ask: impl FnMut(&Json) -> Result<T, Vec<ConfigProblem>>) -> Option<(Json, T)> {
        let json = self.table.to_json(self.problems)?;
        let first = match ask(&json) {
            Ok(found) => return Some((json, found)),
            Err(found) => found,
        };
        let mut rounds = Rounds {
            foreign: self,
            json,
            neutral: Vec::new(),
            unknown: Vec::new(),
        };
        let mut found = first;
        for _ in 0..ROUNDS_MAX {
            if !rounds.learn(&found, &mut ask) {
                break;
            }
            match ask(&rounds.json) {
                Ok(_) => break,
                Err(next) => found = next,
            }
        }
        None
    }

    fn place(&self, path: &[Step]) -> &Place {
        if let Some(Step::Key(first)) = path.first() {
            let beside = self.beside.iter().find(|(name, _)| name == first);
            if let Some((_, item)) = beside {
                return item.locate(&path[1..]);
            }
        }
        self.table.locate(path)
    }
}

/// The repeated questions about one table.
struct Rounds<'a> {
    foreign: &'a Foreign<'a>,
    json: Json,
    /// What was reported and taken out or replaced: a problem there is an echo.
    neutral: Vec<Vec<Step>>,
    /// The unknown keys: one that was meant to be another is why that one is missing.
    unknown: Vec<String>,
}

impl Rounds<'_> {
    /// Reports the problems and makes the table fit for the next question. False where there is no use in it.
    fn learn<T>(
        &mut self,
        found: &[ConfigProblem],
        ask: &mut impl FnMut(&Json) -> Result<T, Vec<ConfigProblem>>,
    ) -> bool {
        // Several at once are the connector's own: serde has read the whole table.
        let [problem] = found else {
            for problem in found {
                self.report(problem);
            }
            return false;
        };
        match Kind::of(&problem.message) {
            Kind::Unknown { key, known } => {
                let mut path = problem.path.clone();
                if path.last() != Some(&Step::Key(key.to_owned())) {
                    path.push(Step::Key(key.to_owned()));
                }
                let name = self.table_name(&path);
                let mut all: Vec<&str> = known;
                if path.len() == 1 {
                    all.extend(self.foreign.ours);
                }
                let place = self.foreign.table.locate_key(&path);
                self.foreign.problems.push(unknown_key(key, place, &name, all));
                self.unknown.push(key.to_owned());
                remove(&mut self.json, &path)
            }
            Kind::Missing { key } => {
                let mut path = problem.path.clone();
                path.push(Step::Key(key.to_owned()));
                let misspelt = self.unknown.iter().any(|unknown| suggest(unknown, [key]).is_some());
                if !self.is_neutral(&path) && !misspelt {
                    self.foreign.problems.push(
                        Diagnostic::error(codes::MISSING_KEY, format!("{} has no `{key}`", self.table_name(&path)))
                            .at(self.foreign.place(&problem.path), format!("`{key}` is missing here")),
                    );
                }
                self.neutral.push(path.clone());
                self.fill(&path, ask)
            }
            Kind::Other => {
                self.report(problem);
                // The nearest key: an element taken out of an array would move the others.
                let key = problem.path.iter().rposition(|step| matches!(step, Step::Key(_)));
                let Some(key) = key else { return false };
                let path = problem.path[..=key].to_vec();
                let known = self.neutral.contains(&path);
                self.neutral.push(path.clone());
                !known && remove(&mut self.json, &path)
            }
        }
    }

    /// Puts something that is accepted where a key is missing.
    fn fill<T>(&mut self, path: &[Step], ask: &mut impl FnMut(&Json) -> Result<T, Vec<ConfigProblem>>) -> bool {
        let candidates = [
            Json::Null,
            Json::from(""),
            Json::from(1),
            Json::from("1s"),
            Json::from(true),
            Json::Array(Vec::new()),
            Json::Object(Map::new()),
        ];
        for candidate in candidates {
            insert(&mut self.json, path, candidate);
            match ask(&self.json) {
                Ok(_) => return false,
                Err(found) if found.iter().any(|problem| problem.path.starts_with(path)) => {}
                Err(_) => return true,
            }
        }
        false
    }

    fn is_neutral(&self, path: &[Step]) -> bool {
        self.neutral
            .iter()
            .any(|neutral| path.starts_with(neutral) || (neutral.starts_with(path) && !path.is_empty()))
    }

    fn report(&self, problem: &ConfigProblem) {
        // With something of ours in it, what is said about the table as a whole may be an echo too.
        if self.is_neutral(&problem.path) || (problem.path.is_empty() && !self.neutral.is_empty()) {
            return;
        }
        let place = self.foreign.place(&problem.path);
        let key = way(&problem.path);
        let serde = |text: &str| text.strip_prefix("invalid type: ").map(str::to_owned);
        let diagnostic = if let Some(detail) = serde(&problem.message) {
            let (found, expected) = detail.split_once(", expected ").unwrap_or((&detail, "something else"));
            Diagnostic::error(codes::WRONG_TYPE, format!("`{key}` must be {}", readable(expected)))
                .at(place, format!("this is {}", found_kind(found)))
        } else if let Some(detail) = problem.message.strip_prefix("invalid value: ") {
            let (found, expected) = detail.split_once(", expected ").unwrap_or((detail, "something else"));
            Diagnostic::error(codes::INVALID_VALUE, format!("`{key}` must be {}", readable(expected)))
                .at(place, format!("this is {found}"))
        } else if let Some((word, known)) = quoted(&problem.message, "unknown variant `") {
            Diagnostic::error(codes::INVALID_VALUE, format!("`{key}` cannot be \"{word}\""))
                .at(place, "")
                .help(did_you_mean(word, "the choices are", known))
        } else if self.foreign.shape_only {
            return;
        } else {
            let message = match key.as_str() {
                "" => format!("{}: {}", self.foreign.name, problem.message),
                _ => problem.message.clone(),
            };
            Diagnostic::error(self.foreign.code, message).at(place, "")
        };
        self.foreign.problems.push(match &problem.help {
            Some(help) => diagnostic.help(help.clone()),
            None => diagnostic,
        });
    }

    /// How diagnostics call the table that holds the last step.
    fn table_name(&self, path: &[Step]) -> String {
        match path {
            [] | [_] => self.foreign.name.to_owned(),
            [way_to @ .., _] => format!("`{}` of {}", way(way_to), self.foreign.name),
        }
    }
}

/// What a message of serde says.
enum Kind<'m> {
    Unknown { key: &'m str, known: Vec<&'m str> },
    Missing { key: &'m str },
    Other,
}

impl<'m> Kind<'m> {
    fn of(message: &'m str) -> Self {
        if let Some((key, known)) = quoted(message, "unknown field `") {
            return Self::Unknown { key, known };
        }
        if let Some((key, _)) = quoted(message, "missing field `") {
            return Self::Missing { key };
        }
        Self::Other
    }
}

/// The first word in backquotes after `prefix`, and the further ones.
fn quoted<'m>(message: &'m str, prefix: &str) -> Option<(&'m str, Vec<&'m str>)> {
    let (word, rest) = message.strip_prefix(prefix)?.split_once('`')?;
    Some((word, rest.split('`').skip(1).step_by(2).collect()))
}

/// "integer `5`" as "an integer": the file shows the value.
fn found_kind(found: &str) -> String {
    let (kind, value) = found.split_once(' ').unwrap_or((found, ""));
    match kind {
        "string" => "a string".to_owned(),
        "integer" => "an integer".to_owned(),
        "floating" => "a float".to_owned(),
        "boolean" => "a boolean".to_owned(),
        "map" => "a table".to_owned(),
        "sequence" => "a list".to_owned(),
        _ => format!("{kind} {value}").trim().to_owned(),
    }
}

/// What serde expects, in words for people who do not know Rust.
fn readable(expected: &str) -> &str {
    match expected {
        "i8" | "i16" | "i32" | "i64" | "u8" | "u16" | "u32" | "u64" | "usize" => "a whole number",
        "f32" | "f64" => "a number",
        "a boolean" => "true or false",
        "a sequence" => "a list",
        "a map" => "a table",
        _ if expected.starts_with("struct ") || expected.starts_with("a map") => "a table",
        _ if expected.starts_with("a nonzero ") => "a whole number above 0",
        _ => expected,
    }
}

/// `watermark.delay`, `schema[2].type`.
pub(crate) fn way(path: &[Step]) -> String {
    let mut text = String::new();
    for step in path {
        match step {
            Step::Key(key) => {
                if !text.is_empty() {
                    text.push('.');
                }
                text.push_str(key);
            }
            Step::Index(index) => {
                let _ = write!(text, "[{index}]");
            }
        }
    }
    text
}

fn parent<'j>(json: &'j mut Json, path: &'j [Step]) -> Option<(&'j mut Map<String, Json>, &'j str)> {
    let (Step::Key(last), way) = path.split_last()? else {
        return None;
    };
    let mut at = json;
    for step in way {
        at = match step {
            Step::Key(key) => at.get_mut(key)?,
            Step::Index(index) => at.get_mut(index)?,
        };
    }
    Some((at.as_object_mut()?, last))
}

fn remove(json: &mut Json, path: &[Step]) -> bool {
    parent(json, path).is_some_and(|(map, key)| map.remove(key).is_some())
}

fn insert(json: &mut Json, path: &[Step], value: Json) {
    if let Some((map, key)) = parent(json, path) {
        map.insert(key.to_owned(), value);
    }
}
