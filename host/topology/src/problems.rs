//! The problems found so far, and the help in finding the word that was meant.

use std::cell::RefCell;
use std::fmt::Write as _;

use wasmill_core::diagnostic::{Diagnostic, Severity};

use crate::place::{At, Place};

/// Collects every problem of a topology. What a secret stands for never leaves it.
#[derive(Debug, Default)]
pub struct Problems {
    found: RefCell<Vec<Diagnostic>>,
    secrets: RefCell<Vec<Secret>>,
}

#[derive(Debug)]
struct Secret {
    value: String,
    reference: String,
}

impl Problems {
    /// Records a problem.
    pub fn push(&self, mut diagnostic: Diagnostic) {
        self.redact(&mut diagnostic.message);
        for label in &mut diagnostic.labels {
            self.redact(&mut label.text);
        }
        if let Some(help) = &mut diagnostic.help {
            self.redact(help);
        }
        let mut found = self.found.borrow_mut();
        if !found.contains(&diagnostic) {
            found.push(diagnostic);
        }
    }

    /// Records an error with one place and a help.
    pub fn error(&self, code: &'static str, message: impl Into<String>, place: &Place, help: impl Into<String>) {
        self.push(Diagnostic::error(code, message).at(place, "").help(help));
    }

    /// Whether there is an error.
    pub fn any(&self) -> bool {
        self.errors() > 0
    }

    /// The number of errors so far. Who wants to know whether a part is sound compares before and after.
    pub fn errors(&self) -> usize {
        let found = self.found.borrow();
        found.iter().filter(|d| d.severity == Severity::Error).count()
    }

    /// Remembers what a reference to a secret stood for, so that no diagnostic shows it.
    pub(crate) fn secret(&self, value: &str, reference: &str) {
        if !value.is_empty() {
            let secret = |value: String| Secret {
                value,
                reference: reference.to_owned(),
            };
            let mut secrets = self.secrets.borrow_mut();
            // Messages quote values as Rust or JSON does.
            let debug = format!("{value:?}");
            let escaped = debug[1..debug.len() - 1].to_owned();
            if escaped != value {
                secrets.push(secret(escaped));
            }
            let json = serde_json::Value::from(value).to_string();
            let escaped = json[1..json.len() - 1].to_owned();
            if escaped != value {
                secrets.push(secret(escaped));
            }
            secrets.push(secret(value.to_owned()));
            // Longer ones first: a secret may hold another.
            secrets.sort_by_key(|secret| std::cmp::Reverse(secret.value.len()));
        }
    }

    fn redact(&self, text: &mut String) {
        for secret in self.secrets.borrow().iter() {
            if text.contains(&secret.value) {
                *text = hide(text, secret);
            }
        }
    }

    /// Errors and warnings, in the order of the file.
    pub fn into_sorted(self) -> Vec<Diagnostic> {
        let mut found = self.found.into_inner();
        found.sort_by(|a, b| {
            let key = |d: &Diagnostic| d.labels.first().map(|label| (label.span.start, label.span.end));
            (key(a), a.code).cmp(&(key(b), b.code))
        });
        found
    }
}

/// The text with the secret's reference wherever its value stood. A value of a few letters is hidden only where it
/// stands alone: it would be found in every other word.
fn hide(text: &str, secret: &Secret) -> String {
    const SHORT: usize = 4;
    let inside_word = |c: Option<char>| c.is_some_and(char::is_alphanumeric);
    let mut hidden = String::new();
    let mut rest = text;
    let mut before = None;
    while let Some(at) = rest.find(&secret.value) {
        let (head, tail) = rest.split_at(at);
        let (value, tail) = tail.split_at(secret.value.len());
        hidden.push_str(head);
        let before_value = head.chars().next_back().or(before);
        if value.len() < SHORT && (inside_word(before_value) || inside_word(tail.chars().next())) {
            hidden.push_str(value);
        } else {
            hidden.push_str(&secret.reference);
        }
        before = value.chars().next_back();
        rest = tail;
    }
    hidden + rest
}

/// The candidate that was probably meant.
pub(crate) fn suggest<'a>(word: &str, candidates: impl IntoIterator<Item = &'a str>) -> Option<&'a str> {
    let plain = |text: &str| text.to_lowercase().replace(['_', ' '], "-");
    let word = plain(word);
    candidates
        .into_iter()
        .map(|candidate| (strsim::damerau_levenshtein(&word, &plain(candidate)), candidate))
        .filter(|(distance, candidate)| *distance <= candidate.chars().count().max(word.chars().count()) / 3)
        .min_by_key(|(distance, _)| *distance)
        .map(|(_, candidate)| candidate)
}

/// "did you mean `a`? There are `a`, `b` and `c`": the suggestion, if one is near, and what there is.
pub fn did_you_mean<'a>(word: &str, there_are: &str, candidates: impl IntoIterator<Item = &'a str>) -> String {
    let mut seen: Vec<&str> = Vec::new();
    for candidate in candidates {
        if !seen.contains(&candidate) {
            seen.push(candidate);
        }
    }
    match (suggest(word, seen.iter().copied()), seen.as_slice()) {
        (_, []) => "there is none".to_owned(),
        (Some(only), [_]) => format!("did you mean `{only}`?"),
        (None, [only]) => format!("there is only `{only}`"),
        (Some(meant), all) => format!("did you mean `{meant}`? {} {}", capital(there_are), list(all)),
        (None, all) => format!("{there_are} {}", list(all)),
    }
}

fn capital(text: &str) -> String {
    let mut letters = text.chars();
    letters
        .next()
        .map_or_else(String::new, |first| first.to_uppercase().chain(letters).collect())
}

/// "`a`, `b` and `c`"; of many, the first ones.
pub fn list<T: AsRef<str>>(words: &[T]) -> String {
    const SHOWN: usize = 24;
    let mut text = String::new();
    for (i, word) in words.iter().take(SHOWN).enumerate() {
        let joint = match i {
            0 => "",
            _ if i + 1 == words.len() => " and ",
            _ => ", ",
        };
        let _ = write!(text, "{joint}`{}`", word.as_ref());
    }
    if words.len() > SHOWN {
        let _ = write!(text, " and {} more", words.len() - SHOWN);
    }
    text
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_near_word_is_suggested_and_a_far_one_is_not() {
        let words = ["workers", "batch-rows", "batch-delay"];
        assert_eq!(suggest("workrs", words), Some("workers"));
        assert_eq!(suggest("BATCH_ROWS", words), Some("batch-rows"));
        assert_eq!(suggest("colour", words), None);
    }

    #[test]
    fn a_secret_is_shown_as_its_reference_however_it_is_quoted() {
        let problems = Problems::default();
        problems.secret("pa\"ss", "${env:PASSWORD}");
        problems.push(Diagnostic::error("T0001", "string \"pa\\\"ss\" or pa\"ss").help("pa\"ss"));
        let shown = problems.into_sorted();
        assert_eq!(shown[0].message, "string \"${env:PASSWORD}\" or ${env:PASSWORD}");
        assert_eq!(shown[0].help.as_deref(), Some("${env:PASSWORD}"));
    }
}
