//! `[checkpoint]`: where checkpoints are written, how often, and how many are kept.

use std::num::NonZeroUsize;

use wasmill_core::secret::Secret;
use wasmill_core::time::Micros;

use crate::document::{Entry, Text, Value};
use crate::place::Place;
use crate::reader::Reader;

/// Checkpoints that are kept at most: each of them keeps files and a place in lists.
const RETAIN_MAX: usize = 1_000_000;
/// Epochs that may wait for their commit at most: their output is in the store twice.
const UNCOMMITTED_MAX: usize = 1_024;

/// `[checkpoint]` as written. What is `None` has its default.
pub(crate) struct Checkpoint {
    /// The store's address with its place; `None` where it was not sound.
    pub(crate) store: Option<(Text, Place)>,
    /// What the store's client is given, and where the table stands.
    pub(crate) options: Vec<(String, Secret)>,
    pub(crate) options_place: Option<Place>,
    pub(crate) interval: Option<Micros>,
    pub(crate) timeout: Option<Micros>,
    pub(crate) retain: Option<NonZeroUsize>,
    pub(crate) retain_for: Option<Micros>,
    pub(crate) max_uncommitted: Option<NonZeroUsize>,
}

/// Reads `[checkpoint]`; `None` where the file has none.
pub(super) fn read(root: &Reader<'_>) -> Option<Checkpoint> {
    let table = root.table("checkpoint")?;
    let reader = Reader::new(table, "[checkpoint]", root.problems);
    let store = reader.word("store").zip(reader.text("store"));
    if store.is_none() && reader.get("store").is_none() {
        reader.missing(
            "store",
            "say where checkpoints are kept, as in `store = \"file:state\"`, a folder beside the topology file",
        );
    }
    let interval = reader.duration_above_zero(
        "interval",
        "checkpoints one after the other without a pause leave no time for rows; the default is \"10s\", and to keep \
         nothing leave [checkpoint] out",
    );
    let timeout = reader.duration_above_zero(
        "timeout",
        "no checkpoint is complete in no time; the default is \"10m\"",
    );
    let retain = reader.positive("retain", RETAIN_MAX);
    let retain_for = reader.duration("retain-for");
    let max_uncommitted = reader.positive("max-uncommitted", UNCOMMITTED_MAX);
    let options = options(&reader);
    reader.finish();
    Some(Checkpoint {
        store: store.map(|(word, text)| (text.clone(), word.place)),
        options,
        options_place: reader.entry("options").map(|entry| entry.place.clone()),
        interval,
        timeout,
        retain,
        retain_for,
        max_uncommitted,
    })
}

/// `options`: names that are the client's, and a text, a whole number or a truth each.
fn options(reader: &Reader<'_>) -> Vec<(String, Secret)> {
    let Some(table) = reader.table("options") else {
        return Vec::new();
    };
    let option = |entry: &Entry| {
        let text = match &entry.item.value {
            Value::String(text) => text.value.clone(),
            Value::Boolean(value) => value.to_string(),
            Value::Integer(number) => number.to_string(),
            _ => {
                let key = format!("options.{}", entry.key);
                reader.wrong_type(&key, &entry.item, "a string, a whole number, true or false");
                return None;
            }
        };
        Some((entry.key.clone(), Secret::new(text)))
    };
    table.entries.iter().filter_map(option).collect()
}
