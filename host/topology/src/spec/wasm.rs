//! `[[operator]]` with a `plugin`: a `transform`, or a `keyed` where the plugin is one.

use wasmill_core::plan::{OnFault, RowOrder};
use wasmill_core::plugin::Isolation;

use super::late::{self, LateSpec};
use super::node::{Head, Kind, Node};
use super::{Plugin, key, operator, plugin};
use crate::place::Word;
use crate::reader::Reader;

/// A Wasm operator as written.
pub(crate) struct Wasm {
    /// `None` where the table was not sound.
    pub(crate) plugin: Option<Plugin>,
    /// The key columns; `None` where the file names none.
    pub(crate) key: Option<KeySpec>,
    /// `order`, with its place; `None` where the file does not say.
    pub(crate) order: Option<(RowOrder, Word)>,
    pub(crate) late: Option<LateSpec>,
    pub(crate) on_fault: OnFault,
    pub(crate) isolation: Isolation,
}

/// The key columns and the place of `key`.
pub(crate) struct KeySpec {
    pub(crate) columns: Vec<Word>,
    pub(crate) place: crate::place::Place,
}

/// Reads the rest of a Wasm operator.
pub(super) fn read(head: Head, reader: &Reader<'_>) -> Node {
    let inputs = operator::inputs(reader);
    let plugin = plugin::read(reader);
    let key = reader
        .entry("key")
        .map(|entry| entry.place.clone())
        .map(|place| KeySpec {
            columns: key::read(reader, "key"),
            place,
        });
    let choices = [("event-time", RowOrder::EventTime), ("arrival", RowOrder::Arrival)];
    let order = reader.choice("order", &choices).zip(reader.word("order"));
    let late = late::read(reader);
    let on_fault = on_fault(reader);
    let isolation = isolation(reader);
    let dead_letter = reader.word("dead-letter");
    for key in ["window", "aggregate", "allowed-lateness"] {
        reader.pointless(key, "only a window has it", "leave it out, or use `type = \"window\"`");
    }
    not_built(reader);
    reader.finish();
    let kind = Kind::Wasm(Box::new(Wasm {
        plugin,
        key,
        order,
        late,
        on_fault,
        isolation,
    }));
    head.finish(reader, inputs, kind, dead_letter)
}

/// `on-fault`.
pub(super) fn on_fault(reader: &Reader<'_>) -> OnFault {
    let choices = [
        ("fail", OnFault::Fail),
        ("dead-letter", OnFault::DeadLetter),
        ("skip", OnFault::Skip),
    ];
    reader.choice("on-fault", &choices).unwrap_or(OnFault::Fail)
}

/// `isolation`.
pub(super) fn isolation(reader: &Reader<'_>) -> Isolation {
    let choices = [("instance", Isolation::Instance), ("call", Isolation::Call)];
    reader.choice("isolation", &choices).unwrap_or_default()
}

/// Keys of an operator that has no plugin.
pub(super) fn without_plugin(reader: &Reader<'_>) {
    reader.pointless("isolation", "it belongs to a plugin", "leave it out");
    not_built(reader);
}

/// Keys of every operator that are not built.
pub(super) fn not_built(reader: &Reader<'_>) {
    reader.not_built(
        "grants",
        "leave the key out; plugins have no access to anything outside",
    );
    reader.not_built(
        "probation",
        "leave the key out; operators are not swapped while the stream runs",
    );
}
