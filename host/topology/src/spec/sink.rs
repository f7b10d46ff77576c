//! `[[sink]]`.

use wasmill_core::plan::SinkOrder;

use super::delivery::{self, DeliverySpec};
use super::node::{Head, Kind, Node};
use super::{FormatSpec, format, input, source};
use crate::document::Table;
use crate::place::Word;
use crate::problems::Problems;
use crate::reader::{Reader, not_built};

/// A sink as written.
pub(crate) struct Sink {
    pub(crate) connector: Word,
    /// The connector's own keys.
    pub(crate) own: Table,
    /// Our keys of the same table.
    pub(crate) ours: Vec<&'static str>,
    pub(crate) format: Option<FormatSpec>,
    /// The columns to write; `None`: all.
    pub(crate) columns: Option<Vec<Word>>,
    pub(crate) order: SinkOrder,
    /// Whether a changelog's kinds are written, and where that is said.
    pub(crate) changelog: Option<Word>,
    /// `delivery`; `None`: that of the root.
    pub(crate) delivery: Option<DeliverySpec>,
}

/// Reads a sink.
pub(super) fn read(table: &Table, problems: &Problems) -> Node {
    let head = Head::read(table, "sink", problems);
    let reader = Reader::new(table, head.name.clone(), problems);
    Head::known_to(&reader);
    let inputs = input::read(&reader, "input");
    let connector = source::connector(&reader);
    let format = format::read(&reader);
    if format.is_none() && reader.get("format").is_none() {
        reader.missing("format", "say how rows are written, as in `format = \"json\"`");
    }
    let columns = reader.words("columns");
    if let (Some([]), Some(item)) = (columns.as_deref(), reader.get("columns")) {
        let help = "list the columns to write, or leave the key out to write all";
        reader.invalid(item, "`columns` is empty", help);
    }
    let order = reader.choice(
        "order",
        &[("arrival", SinkOrder::Arrival), ("event-time", SinkOrder::EventTime)],
    );
    let changelog = mode(&reader);
    let dead_letter = reader.word("dead-letter");
    let delivery = delivery::read(&reader);
    for key in ["schema", "event-time", "watermark", "metadata", "on-invalid"] {
        reader.pointless(key, "only a source has it", "leave it out");
    }
    let kind = Kind::Sink(Box::new(Sink {
        connector: connector.unwrap_or_else(|| Word {
            text: String::new(),
            place: table.place.clone(),
        }),
        own: reader.rest(),
        ours: reader.known(),
        format,
        columns,
        order: order.unwrap_or(SinkOrder::Arrival),
        changelog,
        delivery,
    }));
    head.finish(&reader, inputs, kind, dead_letter)
}

/// `mode`: the place of `"changelog"`, where that is chosen.
fn mode(reader: &Reader<'_>) -> Option<Word> {
    let choices = [
        ("insert", Mode::Insert),
        ("changelog", Mode::Changelog),
        ("upsert", Mode::Upsert),
    ];
    let (mode, word) = reader.choice("mode", &choices).zip(reader.word("mode"))?;
    match mode {
        Mode::Insert => None,
        Mode::Changelog => Some(word),
        Mode::Upsert => {
            reader.problems.push(not_built(
                "`mode = \"upsert\"`",
                &word.place,
                "write `mode = \"changelog\"`: each row has a column `kind` that says what it does",
            ));
            None
        }
    }
}

#[derive(Clone, Copy)]
enum Mode {
    Insert,
    Changelog,
    Upsert,
}
