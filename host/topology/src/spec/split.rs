//! `[[operator]]` with `type = "split"`.

use super::node::{Head, Kind, Node};
use super::{operator, wasm};
use crate::codes;
use crate::document::{Entry, Item, Value};
use crate::place::Word;
use crate::problems::did_you_mean;
use crate::reader::Reader;

/// A split as written.
pub(crate) struct Split {
    pub(crate) ports: Vec<PortSpec>,
}

/// One port and its condition.
pub(crate) struct PortSpec {
    pub(crate) name: Word,
    pub(crate) column: Word,
    pub(crate) op: Op,
    /// Where the operator stands.
    pub(crate) op_place: crate::place::Place,
    /// `value`, where the operator takes one.
    pub(crate) value: Option<Item>,
}

/// What a condition asks.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Op {
    Equal,
    NotEqual,
    Less,
    LessOrEqual,
    Greater,
    GreaterOrEqual,
    In,
    IsNull,
    IsNotNull,
    Contains,
    StartsWith,
}

const OPS: [(&str, Op); 11] = [
    ("==", Op::Equal),
    ("!=", Op::NotEqual),
    ("<", Op::Less),
    ("<=", Op::LessOrEqual),
    (">", Op::Greater),
    (">=", Op::GreaterOrEqual),
    ("in", Op::In),
    ("is-null", Op::IsNull),
    ("is-not-null", Op::IsNotNull),
    ("contains", Op::Contains),
    ("starts-with", Op::StartsWith),
];

/// Names of ports that have a meaning of their own.
const RESERVED: [&str; 3] = ["out", "late", "dead-letter"];

/// Reads the rest of a split.
pub(super) fn read(head: Head, reader: &Reader<'_>) -> Node {
    let inputs = operator::inputs(reader);
    let ports = ports(reader);
    for key in [
        "key",
        "window",
        "aggregate",
        "late",
        "allowed-lateness",
        "order",
        "on-fault",
        "dead-letter",
    ] {
        reader.pointless(key, "a split has none", "leave it out");
    }
    wasm::without_plugin(reader);
    reader.finish();
    head.finish(reader, inputs, Kind::Split(Box::new(Split { ports })), None)
}

fn ports(reader: &Reader<'_>) -> Vec<PortSpec> {
    let help = "name ports and their conditions, as in `ports = { errors = { column = \"level\", op = \"==\", value = \
                \"ERROR\" } }`";
    let Some(item) = reader.get("ports") else {
        reader.missing("ports", help);
        return Vec::new();
    };
    let Some(table) = reader.table("ports") else {
        return Vec::new();
    };
    if table.entries.is_empty() {
        reader.invalid(item, "`ports` is empty", help);
    }
    table.entries.iter().filter_map(|entry| port(reader, entry)).collect()
}

fn port(split: &Reader<'_>, entry: &Entry) -> Option<PortSpec> {
    let name = Word {
        text: entry.key.clone(),
        place: entry.place.clone(),
    };
    let plain = name
        .text
        .chars()
        .all(|c| c.is_ascii_alphanumeric() || c == '-' || c == '_');
    if name.text.is_empty() || !plain || RESERVED.contains(&name.text.as_str()) {
        split.problems.error(
            codes::INVALID_VALUE,
            format!("\"{}\" cannot be the name of a port", name.text),
            &name.place,
            "use letters, digits, `-` and `_`; `out`, `late` and `dead-letter` have meanings of their own",
        );
        return None;
    }
    let Value::Table(table) = &entry.item.value else {
        split.wrong_type(
            &format!("ports.{}", entry.key),
            &entry.item,
            "a condition such as { column = \"level\", op = \"==\", value = \"ERROR\" }",
        );
        return None;
    };
    let reader = Reader::new(
        table,
        format!("port `{}` of {}", name.text, split.name()),
        split.problems,
    );
    if reader.get("column").is_none() {
        reader.missing("column", "name the column that is looked at");
    }
    let column = reader.word("column");
    let op = op(&reader);
    let value = match op {
        Some((Op::IsNull | Op::IsNotNull, _)) => {
            reader.pointless("value", "the condition takes no value", "leave it out");
            None
        }
        Some(_) => {
            if reader.get("value").is_none() {
                reader.missing("value", "say what the column is compared with, as in `value = 100`");
            }
            reader.get("value").cloned()
        }
        None => {
            reader.get("value");
            None
        }
    };
    reader.finish();
    let (op, op_place) = op?;
    Some(PortSpec {
        name,
        column: column?,
        op,
        op_place,
        value,
    })
}

fn op(reader: &Reader<'_>) -> Option<(Op, crate::place::Place)> {
    let Some(word) = reader.word("op") else {
        if reader.get("op").is_none() {
            reader.missing("op", "say how it is compared, as in `op = \"==\"`");
        }
        return None;
    };
    let found = OPS.iter().find(|(name, _)| *name == word.text);
    if found.is_none() {
        let help = match word.text.as_str() {
            "=" | "eq" => "write `op = \"==\"`".to_owned(),
            "<>" | "ne" => "write `op = \"!=\"`".to_owned(),
            _ => did_you_mean(&word.text, "there are", OPS.iter().map(|(name, _)| *name)),
        };
        let message = format!("there is no comparison \"{}\"", word.text);
        reader.problems.error(codes::INVALID_VALUE, message, &word.place, help);
    }
    found.map(|(_, op)| (*op, word.place))
}
