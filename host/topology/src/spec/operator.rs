//! `[[operator]]`: which type it is.

use super::input::Reference;
use super::node::{Head, Kind, Node};
use super::{input, join, lookup, small, split, wasm, window};
use crate::codes;
use crate::document::Table;
use crate::problems::{Problems, did_you_mean};
use crate::reader::Reader;

/// The types.
const TYPES: [&str; 8] = [
    "wasm",
    "window",
    "join",
    "union",
    "deduplicate",
    "lookup",
    "top",
    "split",
];

/// Reads an operator.
pub(super) fn read(table: &Table, problems: &Problems) -> Node {
    let head = Head::read(table, "operator", problems);
    let reader = Reader::new(table, head.name.clone(), problems);
    Head::known_to(&reader);
    let word = reader.word("type");
    let has_plugin = table.entry("plugin").is_some();
    let name = match &word {
        Some(word) => word.text.as_str(),
        None if reader.get("type").is_some() => "",
        None if has_plugin => "wasm",
        None => {
            let has = |keys: &[&str]| keys.iter().any(|key| table.entry(key).is_some());
            let help = if has(&["left", "right"]) {
                "this looks like `type = \"join\"`"
            } else if has(&["window", "aggregate"]) {
                "this looks like `type = \"window\"`"
            } else {
                "write `type = \"window\"`, or name a `plugin`"
            };
            reader.missing("type", help);
            ""
        }
    };
    match name {
        "wasm" => wasm::read(head, &reader),
        "window" => window::read(head, &reader),
        "join" => join::read(head, &reader),
        "lookup" => lookup::read(head, &reader),
        "union" => small::union(head, &reader),
        "deduplicate" => small::deduplicate(head, &reader),
        "top" => small::top(head, &reader),
        "split" => split::read(head, &reader),
        _ => {
            if let Some(word) = &word {
                problems.error(
                    codes::INVALID_VALUE,
                    format!("there is no operator type \"{}\"", word.text),
                    &word.place,
                    did_you_mean(&word.text, "the types are", TYPES),
                );
            }
            unknown(head, &reader)
        }
    }
}

/// An operator that cannot be had. What it would read is read all the same, so that nobody says that nobody reads it.
fn unknown(head: Head, reader: &Reader<'_>) -> Node {
    let inputs: Vec<Reference> = ["input", "left", "right"]
        .into_iter()
        .flat_map(|key| input::read(reader, key))
        .collect();
    let dead_letter = reader.word("dead-letter");
    let mut node = head.finish(reader, inputs, Kind::Unknown, dead_letter);
    node.sound = false;
    node
}

/// `input`, which must be there.
pub(super) fn inputs(reader: &Reader<'_>) -> Vec<Reference> {
    if reader.entry("input").is_none() {
        reader.missing(
            "input",
            "name what it reads, as in `input = \"flights\"`, or \"hourly.late\" for a port",
        );
    }
    input::read(reader, "input")
}
