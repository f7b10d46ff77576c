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
                    elsewhere(&word.text)
                        .map_or_else(|| did_you_mean(&word.text, "the types are", TYPES), str::to_owned),
                );
            }
            unknown(head, &reader)
        }
    }
}

/// What does here what other systems have an operator of this name for.
fn elsewhere(name: &str) -> Option<&'static str> {
    let name = name.to_lowercase().replace(['_', ' '], "-");
    Some(match name.as_str() {
        "filter" | "where" | "route" | "branch" | "switch" => {
            "`type = \"split\"` sends rows to ports by conditions on columns, and a plugin filters by whatever it likes: \
             leave `type` out and name a `plugin` of the world `transform`"
        }
        "map" | "flat-map" | "flatmap" | "transform" | "select" | "project" | "explode" | "udf" | "script" => {
            "a plugin does that row by row: leave `type` out and name a `plugin` of the world `transform`"
        }
        "process" | "keyed" | "stateful" | "pattern" | "cep" => {
            "a plugin with state and timers by key does that: leave `type` out, name a `plugin` of the world `keyed`, and \
             say its `key`"
        }
        "aggregate" | "group-by" | "groupby" | "reduce" | "fold" | "count" | "sum" => {
            "a window does that: `type = \"window\"`, with `key`, `window = { type = \"tumbling\", size = \"1h\" }` and \
             `aggregate = { n = \"count()\" }`"
        }
        "tumbling" | "sliding" | "hopping" | "session" | "cumulative" | "global" => {
            "that is a type of window: `type = \"window\"`, `window = { type = \"tumbling\", size = \"1h\" }`"
        }
        "merge" | "concat" => "`type = \"union\"` does that",
        "distinct" | "dedup" | "unique" => "`type = \"deduplicate\"` does that, for a `horizon`",
        "limit" | "top-n" | "rank" => "`type = \"top\"` gives the first `n` rows `by` a column",
        "enrich" => "`type = \"lookup\"` adds the columns of a table, and `type = \"join\"` those of a stream",
        "sort" | "order-by" => "a sink sorts its rows with `order = \"event-time\"`",
        _ => return None,
    })
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
