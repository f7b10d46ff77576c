//! `[[operator]]`: which type it is.

use super::input::Reference;
use super::node::{Head, Kind, Node};
use super::{input, transform, window};
use crate::codes;
use crate::document::Table;
use crate::problems::{Problems, did_you_mean};
use crate::reader::{Reader, not_built};

/// The types, and for those that are not built what to do instead.
const TYPES: [(&str, Option<&str>); 8] = [
    ("wasm", None),
    ("window", None),
    (
        "join",
        Some("join the data before it comes in, or write each side to a sink of its own"),
    ),
    (
        "union",
        Some("a sink may read several streams of one schema: `input = [\"a\", \"b\"]`"),
    ),
    ("deduplicate", Some("drop repeated records before they come in")),
    (
        "lookup",
        Some("put the table into the `config` of a plugin with `type = \"wasm\"`"),
    ),
    ("top", Some("use a window with the aggregate `top_k(column, k)`")),
    (
        "split",
        Some("use a plugin with several ports, and read them as `id.port`"),
    ),
];

/// Reads an operator.
pub(super) fn read(table: &Table, problems: &Problems) -> Node {
    let head = Head::read(table, "operator", problems);
    let reader = Reader::new(table, head.name.clone(), problems);
    reader.get("id");
    let word = reader.word("type");
    let has_plugin = table.entry("plugin").is_some();
    let name = match &word {
        Some(word) => word.text.as_str(),
        None if reader.get("type").is_some() => "",
        None if has_plugin => "wasm",
        None => {
            let help = if table.entry("window").is_some() || table.entry("aggregate").is_some() {
                "this looks like `type = \"window\"`"
            } else {
                "write `type = \"window\"`, or name a `plugin`"
            };
            reader.missing("type", help);
            ""
        }
    };
    match name {
        "wasm" => transform::read(head, &reader),
        "window" => window::read(head, &reader),
        _ => {
            if let Some(word) = &word {
                match TYPES.iter().find(|(known, _)| *known == word.text) {
                    Some((_, instead)) => {
                        let what = format!("an operator of type \"{}\"", word.text);
                        problems.push(not_built(&what, &word.place, instead.unwrap_or_default()));
                    }
                    None => problems.error(
                        codes::INVALID_VALUE,
                        format!("there is no operator type \"{}\"", word.text),
                        &word.place,
                        did_you_mean(&word.text, "the types are", TYPES.iter().map(|(name, _)| *name)),
                    ),
                }
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
