//! Secrets: `${env:NAME}` and `${file:path}` in strings. What they stand for goes into the plan and nowhere else.

use std::path::Path;

use wasmill_core::diagnostic::Diagnostic;

use crate::codes;
use crate::document::{Item, Table, Text, Value};
use crate::place::{At, Place};
use crate::problems::Problems;

/// The longest file that a reference may name, in bytes.
const SECRET_BYTES_MAX: u64 = 64 << 10;

/// Where references are looked up.
pub(crate) struct Lookup<'a> {
    pub(crate) environment: &'a dyn Fn(&str) -> Option<String>,
    pub(crate) folder: &'a Path,
    /// The text of the topology, in which references are shown.
    pub(crate) source: &'a str,
}

/// Replaces the references in all strings of a table.
pub(crate) fn substitute(table: &mut Table, lookup: &Lookup<'_>, problems: &Problems) {
    for entry in &mut table.entries {
        substitute_item(&mut entry.item, lookup, problems);
    }
}

fn substitute_item(item: &mut Item, lookup: &Lookup<'_>, problems: &Problems) {
    match &mut item.value {
        Value::Array(items) => {
            for item in items {
                substitute_item(item, lookup, problems);
            }
        }
        Value::Table(table) => substitute(table, lookup, problems),
        Value::String(text) if text.written.contains("${") => {
            text.value = resolve(text, &item.place, lookup, problems);
        }
        _ => {}
    }
}

fn resolve(text: &Text, place: &Place, lookup: &Lookup<'_>, problems: &Problems) -> String {
    let mut value = String::new();
    let mut rest = text.written.as_str();
    while let Some(at) = rest.find("${") {
        let (before, reference) = rest.split_at(at);
        if let Some(before) = before.strip_suffix('$') {
            value.push_str(before);
            value.push_str("${");
            rest = &reference[2..];
            continue;
        }
        value.push_str(before);
        let Some(end) = reference.find('}') else {
            problems.push(
                Diagnostic::error(codes::SUBSTITUTION, "a reference has no closing brace")
                    .at(&narrow(reference, place, lookup.source), "it begins here")
                    .help("write `${env:NAME}` or `${file:path}`; a plain `${` is written `$${`"),
            );
            return value;
        };
        let (reference, after) = reference.split_at(end + 1);
        match find(&reference[2..end], lookup) {
            Ok(found) => {
                problems.secret(&found, reference);
                value.push_str(&found);
            }
            Err((message, help)) => problems.push(
                Diagnostic::error(codes::SUBSTITUTION, message)
                    .at(&narrow(reference, place, lookup.source), "this stands for nothing")
                    .help(help),
            ),
        }
        rest = after;
    }
    value + rest
}

fn find(reference: &str, lookup: &Lookup<'_>) -> Result<String, (String, String)> {
    match reference.split_once(':') {
        Some(("env", name)) => (lookup.environment)(name).ok_or_else(|| {
            (
                format!("the environment variable `{name}` is not set"),
                format!("set it before the start, as in `{name}=... wasmill run ...`"),
            )
        }),
        Some(("file", path)) => {
            let path = lookup.folder.join(path);
            read(&path).map_err(|reason| {
                (
                    format!("the file {} cannot be read: {reason}", path.display()),
                    "relative paths start at the folder of the topology file".to_owned(),
                )
            })
        }
        _ => Err((
            format!("`${{{reference}}}` is not a reference"),
            "write `${env:NAME}` or `${file:path}`; a plain `${` is written `$${`".to_owned(),
        )),
    }
}

/// A file's text without the line end that editors add.
fn read(path: &Path) -> Result<String, String> {
    let size = std::fs::metadata(path).map_err(|error| error.to_string())?.len();
    if size > SECRET_BYTES_MAX {
        return Err(format!("it has {size} bytes, a secret at most {SECRET_BYTES_MAX}"));
    }
    let text = std::fs::read_to_string(path).map_err(|error| error.to_string())?;
    let text = text.strip_suffix('\n').unwrap_or(&text);
    Ok(text.strip_suffix('\r').unwrap_or(text).to_owned())
}

/// The place of a part of a string, where it stands in the file as it is.
pub(crate) fn narrow(part: &str, place: &Place, source: &str) -> Place {
    let whole = source.get(place.span.clone()).unwrap_or_default();
    match whole.find(part) {
        Some(at) if place.variable.is_none() => {
            let start = place.span.start + at;
            Place::of(start..start + part.len())
        }
        _ => place.clone(),
    }
}
