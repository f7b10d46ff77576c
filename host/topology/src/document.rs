//! A topology as a document: TOML values with the places at which they stand. The only file that names `toml`.

use std::ops::Range;

use serde_json::{Map, Value as Json};
use toml::de::{DeTable, DeValue};

use wasmill_connector_api::config::Step;
use wasmill_core::diagnostic::Diagnostic;

use crate::codes;
use crate::place::Place;
use crate::problems::Problems;

/// A value and its place.
#[derive(Clone, Debug)]
pub struct Item {
    /// The value.
    pub value: Value,
    /// Where it stands.
    pub place: Place,
}

/// A value.
#[derive(Clone, Debug)]
pub enum Value {
    /// `true` or `false`.
    Boolean(bool),
    /// A whole number.
    Integer(i64),
    /// A number with a fraction, `nan` or `inf`.
    Float(f64),
    /// A text.
    String(Text),
    /// A date, a time of day or both, as TOML writes it.
    Datetime(String),
    /// A list.
    Array(Vec<Item>),
    /// A table.
    Table(Table),
}

/// A string.
#[derive(Clone, Debug)]
pub struct Text {
    /// What it means, after substitution.
    pub value: String,
    /// What diagnostics may show of it: the string before substitution.
    pub written: String,
}

/// A table. Entries stand in the order of the file.
#[derive(Clone, Debug, Default)]
pub struct Table {
    /// Its header, the braces of an inline table, or the first key that mentions it.
    pub place: Place,
    /// What it holds.
    pub entries: Vec<Entry>,
}

/// A key and its value.
#[derive(Clone, Debug)]
pub struct Entry {
    /// The key.
    pub key: String,
    /// Where the key stands.
    pub place: Place,
    /// The value.
    pub item: Item,
}

impl Text {
    /// A text that holds no secret.
    pub fn plain(text: impl Into<String>) -> Self {
        let value = text.into();
        Self {
            written: value.clone(),
            value,
        }
    }
}

impl Item {
    /// The kind of value, with its article.
    pub fn kind(&self) -> &'static str {
        match self.value {
            Value::Boolean(_) => "a boolean",
            Value::Integer(_) => "an integer",
            Value::Float(_) => "a float",
            Value::String(_) => "a string",
            Value::Datetime(_) => "a date",
            Value::Array(_) => "an array",
            Value::Table(_) => "a table",
        }
    }

    /// The place of the value at the end of the way, or of the last thing on it that exists.
    pub fn locate(&self, path: &[Step]) -> &Place {
        let mut item = self;
        for step in path {
            let next = match (step, &item.value) {
                (Step::Key(key), Value::Table(table)) => table.entry(key).map(|entry| &entry.item),
                (Step::Index(index), Value::Array(items)) => items.get(*index),
                _ => None,
            };
            match next {
                Some(next) => item = next,
                None => break,
            }
        }
        &item.place
    }

    /// The value as JSON; `None`, and a problem, where JSON cannot say it.
    pub fn to_json(&self, problems: &Problems) -> Option<Json> {
        Some(match &self.value {
            Value::Boolean(value) => Json::Bool(*value),
            Value::Integer(value) => Json::from(*value),
            Value::Float(value) => {
                let number = serde_json::Number::from_f64(*value);
                if number.is_none() {
                    problems.error(
                        codes::INVALID_VALUE,
                        format!("{value} cannot be passed on"),
                        &self.place,
                        "configurations are handed on as JSON, which has neither nan nor inf",
                    );
                }
                Json::Number(number?)
            }
            Value::String(text) => Json::String(text.value.clone()),
            Value::Datetime(text) => Json::String(text.clone()),
            Value::Array(items) => items.iter().map(|item| item.to_json(problems)).collect::<Option<_>>()?,
            Value::Table(table) => table.to_json(problems)?,
        })
    }
}

impl Table {
    /// The entry with this key.
    pub fn entry(&self, key: &str) -> Option<&Entry> {
        self.entries.iter().find(|entry| entry.key == key)
    }

    /// The table as JSON with sorted keys.
    pub fn to_json(&self, problems: &Problems) -> Option<Json> {
        let mut entries: Vec<_> = self.entries.iter().collect();
        entries.sort_by(|a, b| a.key.cmp(&b.key));
        let mut map = Map::new();
        let mut whole = true;
        for entry in entries {
            match entry.item.to_json(problems) {
                Some(value) => drop(map.insert(entry.key.clone(), value)),
                None => whole = false,
            }
        }
        whole.then_some(Json::Object(map))
    }

    /// The place of the value at the end of the way, or of the last thing on it that exists.
    pub fn locate(&self, path: &[Step]) -> &Place {
        let Some(Step::Key(key)) = path.first() else {
            return &self.place;
        };
        let Some(entry) = self.entry(key) else {
            return &self.place;
        };
        entry.item.locate(&path[1..])
    }

    /// The place of the key at the end of the way; where there is none, that of the table that should hold it.
    pub fn locate_key(&self, path: &[Step]) -> &Place {
        let Some((Step::Key(last), way)) = path.split_last() else {
            return self.locate(path);
        };
        let mut table = self;
        for step in way {
            let next = match step {
                Step::Key(key) => table.entry(key).map(|entry| &entry.item),
                Step::Index(_) => None,
            };
            match next.map(|item| &item.value) {
                Some(Value::Table(inner)) => table = inner,
                _ => return self.locate(path),
            }
        }
        table
            .entry(last)
            .map_or_else(|| self.locate(path), |entry| &entry.place)
    }
}

/// Reads a document. On a syntax error there is none: what it would say about the rest would be guesses.
pub fn parse(text: &str, problems: &Problems) -> Option<Table> {
    let (root, errors) = DeTable::parse_recoverable(text);
    if errors.is_empty() {
        return Some(table(root.get_ref(), Place::of(0..0), problems));
    }
    let mut last_line = None;
    let mut errors: Vec<_> = errors.iter().map(|e| (e.span().unwrap_or(0..0), e.message())).collect();
    errors.sort_by_key(|(span, _)| span.start);
    for (span, message) in errors {
        let line = text[..floor(text, span.start)].matches('\n').count();
        // What follows on the same line is an echo of the first.
        if last_line != Some(line) {
            last_line = Some(line);
            problems.push(syntax(text, &span, message));
        }
    }
    None
}

fn syntax(text: &str, span: &Range<usize>, message: &str) -> Diagnostic {
    let (what, expected) = match message.split_once(", expected ") {
        Some((what, expected)) => (what, format!("expected {expected}")),
        None => (message, String::new()),
    };
    let start = floor(text, span.start);
    let end = floor(text, span.end).max(start);
    // The parser takes a bare word for a misspelt `true` or `false`, or says it outright.
    let bare_word = what == "invalid boolean" || what.contains("must be quoted");
    if bare_word && start < end {
        return Diagnostic::error(codes::SYNTAX, "this is not TOML: a text without quotes")
            .label(start..end, "a text stands in quotes, and truth is `true` or `false`");
    }
    Diagnostic::error(codes::SYNTAX, format!("this is not TOML: {what}")).label(start..end, expected)
}

/// The nearest boundary of a character at or before `at`.
fn floor(text: &str, at: usize) -> usize {
    let mut at = at.min(text.len());
    while !text.is_char_boundary(at) {
        at -= 1;
    }
    at
}

/// Reads one TOML value, as an override gives it; `None` where the text is none.
pub(crate) fn parse_value(text: &str, place: &Place) -> Option<Item> {
    let value = DeValue::parse(text).ok()?;
    let problems = Problems::default();
    let mut item = item(value.get_ref(), place.clone(), &problems);
    if problems.any() {
        return None;
    }
    replace_places(&mut item, place);
    Some(item)
}

fn replace_places(item: &mut Item, place: &Place) {
    item.place = place.clone();
    match &mut item.value {
        Value::Array(items) => items.iter_mut().for_each(|item| replace_places(item, place)),
        Value::Table(table) => {
            table.place = place.clone();
            for entry in &mut table.entries {
                entry.place = place.clone();
                replace_places(&mut entry.item, place);
            }
        }
        _ => {}
    }
}

fn item(value: &DeValue<'_>, place: Place, problems: &Problems) -> Item {
    let value = match value {
        DeValue::Boolean(value) => Value::Boolean(*value),
        DeValue::String(text) => Value::String(Text::plain(text.as_ref())),
        DeValue::Datetime(value) => Value::Datetime(value.to_string()),
        DeValue::Integer(number) => {
            let read = i64::from_str_radix(number.as_str(), number.radix());
            if read.is_err() {
                problems.error(
                    codes::INVALID_VALUE,
                    format!("the integer {number} is too large"),
                    &place,
                    "an integer has 64 bits: at most 9223372036854775807",
                );
            }
            Value::Integer(read.unwrap_or(1))
        }
        // The parser has checked the number; what it takes for one but we do not is no number to anyone else.
        DeValue::Float(number) => Value::Float(number.as_str().parse().unwrap_or(f64::NAN)),
        DeValue::Array(items) => Value::Array(
            items
                .iter()
                .map(|inner| item(inner.get_ref(), Place::of(inner.span()), problems))
                .collect(),
        ),
        DeValue::Table(inner) => Value::Table(table(inner, place.clone(), problems)),
    };
    Item { value, place }
}

fn table(entries: &DeTable<'_>, place: Place, problems: &Problems) -> Table {
    let mut entries: Vec<Entry> = entries
        .iter()
        .map(|(key, value)| Entry {
            key: key.get_ref().to_string(),
            place: Place::of(key.span()),
            item: item(value.get_ref(), Place::of(value.span()), problems),
        })
        .collect();
    entries.sort_by_key(|entry| entry.place.span.start);
    Table { place, entries }
}
