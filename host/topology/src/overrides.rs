//! Overrides: `WASMILL__ENGINE__WORKERS=4`, `WASMILL__SOURCE__FLIGHTS__PATH=other.csv`.
//!
//! Two underscores part the steps; letters are of any case, and `_` stands for `-`. A value is read as TOML where the
//! key does not hold a string already; what is no TOML is a string.

use std::rc::Rc;

use wasmill_core::diagnostic::Diagnostic;

use crate::codes;
use crate::document::{Entry, Item, Table, Text, Value, parse_value};
use crate::place::{At, Place};
use crate::problems::{Problems, did_you_mean};

/// What the names of overrides begin with.
pub const PREFIX: &str = "WASMILL__";

/// The tables of a topology that are named by an id.
const LISTS: [&str; 3] = ["source", "operator", "sink"];

/// Writes the overrides into the document. Variables without the prefix are none.
pub(crate) fn apply(root: &mut Table, overrides: &[(String, String)], problems: &Problems) {
    let mut overrides: Vec<_> = overrides
        .iter()
        .filter_map(|(variable, value)| Some((variable, variable.strip_prefix(PREFIX)?, value)))
        .collect();
    overrides.sort();
    for (variable, steps, value) in overrides {
        let steps: Vec<String> = steps.split("__").map(plain).collect();
        if steps.iter().any(String::is_empty) {
            report(
                problems,
                variable,
                "it has an empty part",
                "write WASMILL__SECTION__KEY, or WASMILL__SOURCE__ID__KEY".to_owned(),
            );
            continue;
        }
        let steps: Vec<&str> = steps.iter().map(String::as_str).collect();
        let found = match steps.as_slice() {
            [list, id, keys @ ..] if LISTS.contains(list) && !keys.is_empty() => node(root, list, id)
                .map(|table| (table, keys))
                .map_err(|help| (format!("no {list} has this id"), help)),
            [list, ..] if LISTS.contains(list) => Err((
                format!("it does not name a key of a {list}"),
                format!("write {PREFIX}{}__ID__KEY", list.to_uppercase()),
            )),
            keys => Ok((&mut *root, keys)),
        };
        match found {
            Ok((table, keys)) => set(table, keys, &Rc::from(variable.as_str()), value, problems),
            Err((reason, help)) => report(problems, variable, &reason, help),
        }
    }
}

fn report(problems: &Problems, variable: &str, reason: &str, help: String) {
    problems.push(
        Diagnostic::error(
            codes::OVERRIDE,
            format!("the environment variable {variable} overrides nothing: {reason}"),
        )
        .help(help),
    );
}

/// How a step is compared: in small letters, with `-`.
fn plain(text: &str) -> String {
    text.to_lowercase().replace('_', "-")
}

/// The table of a list that has this id, or help in finding it.
fn node<'t>(root: &'t mut Table, list: &str, id: &str) -> Result<&'t mut Table, String> {
    let id_of = |item: &Item| match &item.value {
        Value::Table(table) => match &table.entry("id")?.item.value {
            Value::String(text) => Some(text.value.clone()),
            _ => None,
        },
        _ => None,
    };
    let items = root.entries.iter_mut().find(|entry| entry.key == list);
    let items = match items.map(|entry| &mut entry.item.value) {
        Some(Value::Array(items)) => items.as_mut_slice(),
        _ => &mut [],
    };
    let ids: Vec<String> = items.iter().filter_map(id_of).collect();
    let item = items
        .iter_mut()
        .find(|item| id_of(item).is_some_and(|found| plain(&found) == id));
    match item.map(|item| &mut item.value) {
        Some(Value::Table(table)) => Ok(table),
        _ => Err(did_you_mean(id, "the ids are", ids.iter().map(String::as_str))),
    }
}

fn set(table: &mut Table, keys: &[&str], variable: &Rc<str>, value: &str, problems: &Problems) {
    let (key, deeper) = keys.split_first().expect("an override names a key");
    let at = table.entries.iter().position(|entry| plain(&entry.key) == *key);
    let span = at.map_or_else(|| table.place.clone(), |at| table.entries[at].item.place.clone());
    let place = Place {
        span: span.span,
        variable: Some(Rc::clone(variable)),
    };
    let at = at.unwrap_or_else(|| {
        table.entries.push(Entry {
            key: (*key).to_owned(),
            place: place.clone(),
            item: Item {
                value: Value::Table(Table {
                    place: place.clone(),
                    entries: Vec::new(),
                }),
                place: place.clone(),
            },
        });
        table.entries.len() - 1
    });
    let entry = &mut table.entries[at];
    if deeper.is_empty() {
        let keeps_string = matches!(entry.item.value, Value::String(_));
        let parsed = parse_value(value, &place).filter(|item| !keeps_string || matches!(item.value, Value::String(_)));
        entry.item = parsed.unwrap_or_else(|| Item {
            value: Value::String(Text::plain(value)),
            place,
        });
        return;
    }
    match &mut entry.item.value {
        Value::Table(inner) => set(inner, deeper, variable, value, problems),
        _ => problems.push(
            Diagnostic::error(
                codes::OVERRIDE,
                format!(
                    "the environment variable {variable} overrides nothing: `{}` is not a table",
                    entry.key
                ),
            )
            .at(&entry.item.place, format!("this is {}", entry.item.kind()))
            .help("leave out what follows it in the variable's name"),
        ),
    }
}
