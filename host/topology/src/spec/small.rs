//! `[[operator]]` with `type = "union"`, `"deduplicate"` or `"top"`.

use std::num::NonZeroUsize;

use wasmill_core::time::Micros;
use wasmill_core::window::{WindowSpec, Windows};

use super::late::{self, LateSpec};
use super::node::{Head, Kind, Node};
use super::{key, operator, wasm, windows};
use crate::place::Word;
use crate::reader::Reader;

/// A deduplication as written.
pub(crate) struct Deduplicate {
    pub(crate) key: Vec<Word>,
    /// `None` where it was not sound.
    pub(crate) horizon: Option<Micros>,
    pub(crate) late: Option<LateSpec>,
}

/// A top as written.
pub(crate) struct Top {
    pub(crate) key: Vec<Word>,
    /// `None` where it was not sound.
    pub(crate) n: Option<NonZeroUsize>,
    pub(crate) by: Option<Word>,
    pub(crate) descending: bool,
    pub(crate) window: Option<WindowSpec>,
    pub(crate) rank: bool,
    pub(crate) late: Option<LateSpec>,
}

/// The most rows of a top.
const TOP_MAX: usize = 100_000;

/// Keys that none of these operators has.
fn others(reader: &Reader<'_>, what: &str, keys: &[&'static str]) {
    for key in keys {
        reader.pointless(key, &format!("{what} has none"), "leave it out");
    }
    wasm::without_plugin(reader);
    reader.finish();
}

/// Reads the rest of a union.
pub(super) fn union(head: Head, reader: &Reader<'_>) -> Node {
    let inputs = operator::inputs(reader);
    let keys = [
        "key",
        "window",
        "aggregate",
        "late",
        "allowed-lateness",
        "order",
        "on-fault",
        "dead-letter",
    ];
    others(reader, "a union", &keys);
    head.finish(reader, inputs, Kind::Union, None)
}

/// Reads the rest of a deduplication.
pub(super) fn deduplicate(head: Head, reader: &Reader<'_>) -> Node {
    let inputs = operator::inputs(reader);
    let key = key::read(reader, "key");
    if key.is_empty() && reader.get("key").is_none() {
        reader.missing(
            "key",
            "name the columns by which rows are the same, as in `key = [\"id\"]`",
        );
    }
    let horizon = if reader.get("horizon").is_none() {
        reader.missing(
            "horizon",
            "say how long a row drops those like it, as in `horizon = \"1h\"`: what was seen before that is forgotten",
        );
        None
    } else {
        reader.duration_above_zero("horizon", "no row would be dropped")
    };
    let late = late::read(reader);
    let dead_letter = reader.word("dead-letter");
    others(
        reader,
        "a deduplication",
        &["window", "aggregate", "allowed-lateness", "order", "on-fault"],
    );
    let kind = Kind::Deduplicate(Box::new(Deduplicate { key, horizon, late }));
    head.finish(reader, inputs, kind, dead_letter)
}

/// Reads the rest of a top.
pub(super) fn top(head: Head, reader: &Reader<'_>) -> Node {
    let inputs = operator::inputs(reader);
    let key = key::read(reader, "key");
    if reader.get("n").is_none() {
        reader.missing("n", "say how many rows, as in `n = 10`");
    }
    let n = reader.positive("n", TOP_MAX);
    if reader.get("by").is_none() {
        reader.missing("by", "name the column that decides, as in `by = \"score\"`");
    }
    let by = reader.word("by");
    let descending = reader.boolean("descending").unwrap_or(true);
    let window = match windows::read(reader, &["tumbling", "sliding", "cumulative"]) {
        Some(Windows::Aligned(spec)) => Some(spec),
        _ => None,
    };
    reader.get("window");
    let rank = reader.boolean("rank").unwrap_or(false);
    let late = late::read(reader);
    let dead_letter = reader.word("dead-letter");
    others(reader, "a top", &["aggregate", "allowed-lateness", "order", "on-fault"]);
    let kind = Kind::Top(Box::new(Top {
        key,
        n,
        by,
        descending,
        window,
        rank,
        late,
    }));
    head.finish(reader, inputs, kind, dead_letter)
}
