//! `[[operator]]` with a `plugin`.

use wasmill_core::plan::OnFault;

use super::node::{Head, Kind, Node};
use super::{Plugin, operator, plugin};
use crate::reader::Reader;

/// A Wasm operator as written.
pub(crate) struct Transform {
    /// `None` where the table was not sound.
    pub(crate) plugin: Option<Plugin>,
    pub(crate) on_fault: OnFault,
}

/// Reads the rest of a Wasm operator.
pub(super) fn read(head: Head, reader: &Reader<'_>) -> Node {
    let inputs = operator::inputs(reader);
    let plugin = plugin::read(reader);
    let on_fault = on_fault(reader);
    let dead_letter = reader.word("dead-letter");
    for key in ["window", "aggregate", "allowed-lateness", "late"] {
        reader.pointless(key, "only a window has it", "leave it out, or use `type = \"window\"`");
    }
    not_built(reader);
    reader.not_built("key", "plugins of the `transform` world see no keys; leave it out");
    reader.finish();
    head.finish(
        reader,
        inputs,
        Kind::Transform(Box::new(Transform { plugin, on_fault })),
        dead_letter,
    )
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

/// Keys of every operator that are not built.
pub(super) fn not_built(reader: &Reader<'_>) {
    reader.not_built(
        "order",
        "leave the key out; what depends on order is computed in event-time order",
    );
    reader.not_built(
        "isolation",
        "leave the key out; an operator has one instance per worker",
    );
    reader.not_built(
        "grants",
        "leave the key out; plugins have no access to anything outside",
    );
    reader.not_built(
        "renamed-from",
        "leave the key out; there is no kept state that an older id could name",
    );
    reader.not_built(
        "probation",
        "leave the key out; operators are not swapped while the stream runs",
    );
}
