//! Reads a table key by key. What is not asked for in the end is an unknown key.

use std::cell::RefCell;
use std::num::NonZeroUsize;

use wasmill_connector_api::config::ByteSize;
use wasmill_core::diagnostic::Diagnostic;
use wasmill_core::time::Micros;

use crate::codes;
use crate::document::{Entry, Item, Table, Text, Value};
use crate::place::{At, Place, Word};
use crate::problems::{Problems, did_you_mean, suggest};

/// What a length of time may be.
const NOT_NEGATIVE: &str = "a duration is \"0s\" or longer: a whole number and a unit, as in \"10s\"";

/// A table being read.
pub struct Reader<'d> {
    table: &'d Table,
    /// How diagnostics call the table: "source `flights`".
    name: String,
    /// Where its problems go.
    pub problems: &'d Problems,
    known: RefCell<Vec<&'static str>>,
    hidden: RefCell<Vec<&'static str>>,
}

impl<'d> Reader<'d> {
    /// Begins to read a table. `name` is how diagnostics call it.
    pub fn new(table: &'d Table, name: impl Into<String>, problems: &'d Problems) -> Self {
        Self {
            table,
            name: name.into(),
            problems,
            known: RefCell::default(),
            hidden: RefCell::default(),
        }
    }

    /// How diagnostics call the table.
    pub fn name(&self) -> &str {
        &self.name
    }

    /// The table's own place.
    pub fn place(&self) -> &'d Place {
        &self.table.place
    }

    /// The value of a key that is known from here on.
    pub fn get(&self, key: &'static str) -> Option<&'d Item> {
        self.entry(key).map(|entry| &entry.item)
    }

    /// The entry of a key that is known from here on.
    pub fn entry(&self, key: &'static str) -> Option<&'d Entry> {
        let mut known = self.known.borrow_mut();
        if !known.contains(&key) {
            known.push(key);
        }
        self.table.entry(key)
    }

    /// Reports a key that must be there.
    pub fn missing(&self, key: &str, help: impl Into<String>) {
        // A misspelt key is reported as such; that it is also absent is no news.
        let others = self.table.entries.iter().map(|entry| entry.key.as_str());
        let known = self.known.borrow();
        let unknown = others.filter(|other| !known.iter().any(|known| known == other));
        if unknown.into_iter().any(|other| suggest(other, [key]).is_some()) {
            return;
        }
        self.problems.push(
            Diagnostic::error(codes::MISSING_KEY, format!("{} has no `{key}`", self.name))
                .at(&self.table.place, format!("`{key}` is missing here"))
                .help(help),
        );
    }

    /// Reports a value of the wrong type.
    pub fn wrong_type(&self, key: &str, item: &Item, expected: &str) {
        self.problems.push(
            Diagnostic::error(codes::WRONG_TYPE, format!("`{key}` must be {expected}"))
                .at(&item.place, format!("this is {}", item.kind())),
        );
    }

    /// Reports a value that cannot be used.
    pub fn invalid(&self, item: &Item, message: impl Into<String>, help: impl Into<String>) {
        self.problems.error(codes::INVALID_VALUE, message, &item.place, help);
    }

    /// A string.
    pub fn text(&self, key: &'static str) -> Option<&'d Text> {
        let item = self.get(key)?;
        if let Value::String(text) = &item.value {
            return Some(text);
        }
        self.wrong_type(key, item, "a string");
        None
    }

    /// A string with its place. An empty one is refused.
    pub fn word(&self, key: &'static str) -> Option<Word> {
        let text = self.text(key)?;
        self.word_of(key, self.get(key)?, text)
    }

    /// A string of a list with its place.
    fn word_of(&self, key: &str, item: &Item, text: &Text) -> Option<Word> {
        if text.value.trim().is_empty() {
            self.invalid(
                item,
                format!("`{key}` is empty"),
                "give it a text, or leave the key out",
            );
            return None;
        }
        Some(Word {
            text: text.value.clone(),
            place: item.place.clone(),
        })
    }

    /// A list of strings.
    pub fn words(&self, key: &'static str) -> Option<Vec<Word>> {
        let item = self.get(key)?;
        let Value::Array(items) = &item.value else {
            self.wrong_type(key, item, "a list of strings");
            return None;
        };
        let words = items.iter().map(|item| {
            if let Value::String(text) = &item.value {
                return self.word_of(key, item, text);
            }
            self.wrong_type(key, item, "a list of strings");
            None
        });
        words.collect::<Vec<_>>().into_iter().collect()
    }

    /// True or false.
    pub fn boolean(&self, key: &'static str) -> Option<bool> {
        let item = self.get(key)?;
        if let Value::Boolean(value) = item.value {
            return Some(value);
        }
        self.wrong_type(key, item, "true or false");
        None
    }

    /// A table.
    pub fn table(&self, key: &'static str) -> Option<&'d Table> {
        let item = self.get(key)?;
        if let Value::Table(table) = &item.value {
            return Some(table);
        }
        self.wrong_type(key, item, "a table");
        None
    }

    /// A length of time.
    pub fn duration(&self, key: &'static str) -> Option<Micros> {
        let item = self.get(key)?;
        let Value::String(text) = &item.value else {
            match item.value {
                Value::Integer(..0) => self.invalid(item, format!("`{key}` is negative"), NOT_NEGATIVE),
                _ => self.wrong_type(key, item, "a duration in quotes, such as \"10s\""),
            }
            return None;
        };
        if text.value.trim_start().starts_with('-') {
            let message = format!("`{key}` is negative: \"{}\"", text.written);
            self.invalid(item, message, NOT_NEGATIVE);
            return None;
        }
        match text.value.parse() {
            Ok(duration) => Some(duration),
            Err(error) => {
                let message = format!("`{key}` is not a duration: \"{}\"", text.written);
                self.invalid(item, message, error.to_string());
                None
            }
        }
    }

    /// A length of time that is not zero.
    pub fn duration_above_zero(&self, key: &'static str, help: &str) -> Option<Micros> {
        let duration = self.duration(key)?;
        if duration == Micros::ZERO {
            self.invalid(self.get(key)?, format!("`{key}` is zero"), help);
            return None;
        }
        Some(duration)
    }

    /// A number of bytes within bounds.
    pub fn size(&self, key: &'static str, bounds: std::ops::RangeInclusive<u64>) -> Option<u64> {
        let item = self.get(key)?;
        let Value::String(text) = &item.value else {
            self.wrong_type(key, item, "a size in quotes, such as \"64MiB\"");
            return None;
        };
        match text.value.parse::<ByteSize>() {
            Ok(ByteSize(bytes)) if bounds.contains(&bytes) => Some(bytes),
            Ok(_) => {
                let (from, to) = (ByteSize(*bounds.start()), ByteSize(*bounds.end()));
                let message = format!("`{key}` is out of range: \"{}\"", text.written);
                self.invalid(item, message, format!("it is at least {from} and at most {to}"));
                None
            }
            Err(_) if text.value.trim_start().starts_with('-') => {
                let (from, to) = (ByteSize(*bounds.start()), ByteSize(*bounds.end()));
                let message = format!("`{key}` is negative: \"{}\"", text.written);
                self.invalid(item, message, format!("it is at least {from} and at most {to}"));
                None
            }
            Err(error) => {
                let message = format!("`{key}` is not a size: \"{}\"", text.written);
                let without_unit = !text.value.is_empty() && text.value.bytes().all(|byte| byte.is_ascii_digit());
                let help = if without_unit {
                    format!(
                        "write the unit, one of B, KiB, MiB and GiB, as in \"{}MiB\"",
                        text.value
                    )
                } else {
                    error
                };
                self.invalid(item, message, help);
                None
            }
        }
    }

    /// A whole number within bounds.
    pub fn count(&self, key: &'static str, bounds: std::ops::RangeInclusive<u64>) -> Option<u64> {
        let item = self.get(key)?;
        let Value::Integer(number) = item.value else {
            self.wrong_type(key, item, "a whole number");
            return None;
        };
        let count = u64::try_from(number).ok().filter(|count| bounds.contains(count));
        if count.is_none() {
            let help = format!("it is at least {} and at most {}", bounds.start(), bounds.end());
            self.invalid(item, format!("`{key}` is out of range: {number}"), help);
        }
        count
    }

    /// A whole number that is not zero.
    pub fn positive(&self, key: &'static str, max: usize) -> Option<NonZeroUsize> {
        NonZeroUsize::new(self.count(key, 1..=max as u64)? as usize)
    }

    /// One of a few words.
    pub fn choice<T: Copy>(&self, key: &'static str, choices: &[(&'static str, T)]) -> Option<T> {
        let word = self.word(key)?;
        let found = choices.iter().find(|(name, _)| *name == word.text);
        if found.is_none() {
            let help = did_you_mean(&word.text, "the choices are", choices.iter().map(|(name, _)| *name));
            let message = format!("`{key}` cannot be \"{}\"", self.text(key)?.written);
            self.problems.error(codes::INVALID_VALUE, message, &word.place, help);
        }
        found.map(|(_, value)| *value)
    }

    /// Refuses a key that is designed but not built.
    pub(crate) fn not_built(&self, key: &'static str, instead: &str) {
        self.hidden.borrow_mut().push(key);
        if let Some(entry) = self.table.entry(key) {
            self.problems
                .push(not_built(&format!("`{key}`"), &entry.place, instead));
        }
    }

    /// Refuses a key that would do nothing here.
    pub(crate) fn pointless(&self, key: &'static str, why: &str, help: &str) {
        self.hidden.borrow_mut().push(key);
        if let Some(entry) = self.table.entry(key) {
            self.problems.push(
                Diagnostic::error(codes::POINTLESS_KEY, format!("`{key}` does nothing here"))
                    .at(&entry.place, why)
                    .help(help),
            );
        }
    }

    /// The entries that were not asked for, as a table: another one's keys.
    pub fn rest(&self) -> Table {
        let (known, hidden) = (self.known.borrow(), self.hidden.borrow());
        let asked = |entry: &&Entry| !known.iter().chain(&*hidden).any(|key| *key == entry.key);
        Table {
            place: self.table.place.clone(),
            entries: self.table.entries.iter().filter(asked).cloned().collect(),
        }
    }

    /// The keys that were asked for.
    pub(crate) fn known(&self) -> Vec<&'static str> {
        self.known.borrow().clone()
    }

    /// Reports the keys that were not asked for.
    pub fn finish(&self) {
        let known = self.known.borrow();
        for entry in self.rest().entries {
            self.problems
                .push(unknown_key(&entry.key, &entry.place, &self.name, known.iter().copied()));
        }
    }
}

/// The one diagnostic for what is designed but not built.
pub(crate) fn not_built(what: &str, place: &Place, instead: &str) -> Diagnostic {
    Diagnostic::error(codes::NOT_BUILT, format!("{what} is not built yet"))
        .at(place, "this version cannot do it")
        .help(instead)
}

/// A key that the table does not know.
pub(crate) fn unknown_key<'a>(
    key: &str,
    place: &Place,
    table: &str,
    known: impl IntoIterator<Item = &'a str>,
) -> Diagnostic {
    let help = did_you_mean(key, "the keys here are", known);
    Diagnostic::error(codes::UNKNOWN_KEY, format!("{table} has no key `{key}`"))
        .at(place, "not a key of this table")
        .help(help)
}
