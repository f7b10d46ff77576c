//! `input`: what a node reads.

use crate::codes;
use crate::document::{Item, Value};
use crate::place::Place;
use crate::reader::Reader;

/// `id`, or `id.port`.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Reference {
    /// The node's id.
    pub(crate) node: String,
    /// The port; `None` is the main output.
    pub(crate) port: Option<String>,
    /// Where it stands.
    pub(crate) place: Place,
}

/// Reads a key that holds an input, or a list of them.
pub(super) fn read(reader: &Reader<'_>, key: &'static str) -> Vec<Reference> {
    let Some(item) = reader.get(key) else {
        return Vec::new();
    };
    match &item.value {
        Value::Array(items) if items.is_empty() => {
            reader.invalid(
                item,
                format!("`{key}` is empty"),
                "name what is read, as in `input = \"flights\"`",
            );
            Vec::new()
        }
        Value::Array(items) => {
            let mut found: Vec<Reference> = Vec::new();
            for reference in items.iter().filter_map(|item| one(reader, key, item)) {
                if found
                    .iter()
                    .any(|f| (&f.node, &f.port) == (&reference.node, &reference.port))
                {
                    reader.problems.error(
                        codes::INPUT_COUNT,
                        format!("{} reads the same input twice", reader.name()),
                        &reference.place,
                        "name it once",
                    );
                }
                found.push(reference);
            }
            found
        }
        _ => one(reader, key, item).into_iter().collect(),
    }
}

fn one(reader: &Reader<'_>, key: &str, item: &Item) -> Option<Reference> {
    let Value::String(text) = &item.value else {
        reader.wrong_type(key, item, "the id of a node, \"id.port\", or a list of them");
        return None;
    };
    let (node, port) = match text.value.split_once('.') {
        Some((node, port)) => (node, Some(port)),
        None => (text.value.as_str(), None),
    };
    if node.trim().is_empty() || port.is_some_and(|port| port.trim().is_empty()) {
        reader.invalid(
            item,
            format!("\"{}\" is no input", text.written),
            "write the id of a source or an operator, or \"id.port\"",
        );
        return None;
    }
    Some(Reference {
        node: node.to_owned(),
        port: port.map(str::to_owned),
        place: item.place.clone(),
    })
}
