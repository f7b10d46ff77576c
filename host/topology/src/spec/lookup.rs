//! `[[operator]]` with `type = "lookup"`.

use wasmill_core::time::Micros;

use super::node::{Head, Kind, Node};
use super::source::{self, Source};
use super::{join, operator, wasm};
use crate::codes;
use crate::place::{Place, Word};
use crate::reader::Reader;

/// A lookup as written.
pub(crate) struct Lookup {
    /// Pairs of columns that must be equal: the input's, the table's.
    pub(crate) on: Vec<(Word, Word)>,
    pub(crate) keeps_unmatched: bool,
    /// What is loaded: a source's keys without those of time; `None` where it was not sound.
    pub(crate) table: Option<(Source, Place)>,
    pub(crate) refresh: Option<Micros>,
    /// What stands before the names of the table's columns.
    pub(crate) prefix: String,
}

/// Reads the rest of a lookup.
pub(super) fn read(head: Head, reader: &Reader<'_>) -> Node {
    let inputs = operator::inputs(reader);
    let on = join::pairs(reader, "on", "input", "table");
    let choices = [("inner", false), ("left", true)];
    let keeps_unmatched = reader.choice("kind", &choices).unwrap_or(false);
    let table = table(reader);
    let refresh = reader.duration_above_zero("refresh", "leave the key out: the table is then loaded once");
    let prefix = reader
        .text("prefix")
        .map_or_else(String::new, |text| text.value.clone());
    reader.not_built("cache", "leave the key out; the whole table is held in memory");
    let dead_letter = reader.word("dead-letter");
    for key in [
        "key",
        "window",
        "aggregate",
        "late",
        "allowed-lateness",
        "order",
        "on-fault",
    ] {
        reader.pointless(key, "a lookup has none", "leave it out");
    }
    wasm::without_plugin(reader);
    reader.finish();
    let kind = Kind::Lookup(Box::new(Lookup {
        on,
        keeps_unmatched,
        table,
        refresh,
        prefix,
    }));
    head.finish(reader, inputs, kind, dead_letter)
}

fn table(operator: &Reader<'_>) -> Option<(Source, Place)> {
    let Some(item) = operator.get("table") else {
        operator.missing(
            "table",
            "say what is loaded, with the keys of a source: `table = { connector = \"file\", path = \"airports.csv\", \
             format = \"csv\", schema = [...] }`",
        );
        return None;
    };
    let table = operator.table("table")?;
    let errors = operator.problems.errors();
    let reader = Reader::new(table, format!("`table` of {}", operator.name()), operator.problems);
    for key in [
        "event-time",
        "time",
        "watermark",
        "dead-letter",
        "id",
        "follow",
        "on-invalid",
    ] {
        if let Some(entry) = table.entry(key) {
            operator.problems.error(
                codes::POINTLESS_KEY,
                format!("`{key}` does nothing in {}", reader.name()),
                &entry.place,
                "a table is loaded as a whole, and has no time of its own; leave it out",
            );
        }
    }
    let source = source::of_table(&reader);
    (operator.problems.errors() == errors).then(|| (source, item.place.clone()))
}
