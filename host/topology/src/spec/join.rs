//! `[[operator]]` with `type = "join"`.

use wasmill_core::plan::{JoinBound, JoinKind};
use wasmill_core::time::Micros;

use super::late::{self, LateSpec};
use super::node::{Head, Kind, Node};
use super::{input, wasm, windows};
use crate::codes;
use crate::document::{Entry, Item, Value};
use crate::place::{At as _, Word};
use crate::problems::list;
use crate::reader::Reader;

/// A join as written. The node's inputs are the left side, then the right.
pub(crate) struct Join {
    /// Pairs of columns that must be equal: the left side's, the right side's.
    pub(crate) on: Vec<(Word, Word)>,
    pub(crate) kind: JoinKind,
    /// `None` where it was not sound.
    pub(crate) bound: Option<JoinBound>,
    pub(crate) late: Option<LateSpec>,
    pub(crate) prefix: Prefix,
}

/// What stands before the names of each side's columns.
#[derive(Default)]
pub(crate) struct Prefix {
    pub(crate) left: String,
    pub(crate) right: String,
}

/// The keys of which a join has one: which rows are near enough in time.
const BOUNDS: [&str; 3] = ["within", "as-of", "window"];

/// The types of windows that a join may have.
const WINDOWS: [&str; 4] = ["tumbling", "sliding", "cumulative", "session"];

/// Reads the rest of a join.
pub(super) fn read(head: Head, reader: &Reader<'_>) -> Node {
    let inputs = sides(reader);
    let on = pairs(reader, "on", "left", "right");
    let choices = [
        ("inner", JoinKind::Inner),
        ("left", JoinKind::Left),
        ("right", JoinKind::Right),
        ("full", JoinKind::Full),
        ("semi", JoinKind::Semi),
        ("anti", JoinKind::Anti),
    ];
    let kind = reader.choice("kind", &choices).unwrap_or(JoinKind::Inner);
    let bound = bound(reader);
    if let (Some(JoinBound::AsOf { .. }), JoinKind::Right | JoinKind::Full, Some(item)) =
        (&bound, kind, reader.get("kind"))
    {
        reader.problems.error(
            codes::JOIN,
            "a join with the version that is valid at a time has no rows without a left one",
            &item.place,
            "use `inner`, `left`, `semi` or `anti`, or a `window` or `within` in place of `as-of`",
        );
    }
    let late = late::read(reader);
    let prefix = prefix(reader);
    if matches!(kind, JoinKind::Semi | JoinKind::Anti) && !prefix.right.is_empty() {
        reader.invalid(
            reader.get("prefix").expect("it was read"),
            "`prefix.right` does nothing here",
            "semi and anti joins give the left side's columns only; leave it out",
        );
    }
    let dead_letter = reader.word("dead-letter");
    for key in ["input", "key"] {
        let (why, help) = if key == "input" {
            (
                "a join reads `left` and `right`",
                "write `left = \"a\"` and `right = \"b\"`",
            )
        } else {
            (
                "a join's key is `on`",
                "write `on = { left_column = \"right_column\" }`",
            )
        };
        reader.pointless(key, why, help);
    }
    for key in ["aggregate", "allowed-lateness", "order", "on-fault"] {
        reader.pointless(key, "a join has none", "leave it out");
    }
    wasm::without_plugin(reader);
    reader.finish();
    let kind = Kind::Join(Box::new(Join {
        on,
        kind,
        bound,
        late,
        prefix,
    }));
    head.finish(reader, inputs, kind, dead_letter)
}

fn sides(reader: &Reader<'_>) -> Vec<super::Reference> {
    let mut inputs = Vec::new();
    for key in ["left", "right"] {
        match reader.get(key) {
            None => reader.missing(
                key,
                format!("name the stream on this side, as in `{key} = \"flights\"`"),
            ),
            Some(
                item @ Item {
                    value: Value::Array(_), ..
                },
            ) => reader.invalid(
                item,
                format!("`{key}` is a list"),
                "a side is one stream; put several into one with `type = \"union\"`",
            ),
            Some(_) => inputs.extend(input::read(reader, key)),
        }
    }
    inputs
}

/// A table of pairs of columns.
pub(super) fn pairs(reader: &Reader<'_>, key: &'static str, left: &str, right: &str) -> Vec<(Word, Word)> {
    let help = format!("name the columns that must be equal, as in `{key} = {{ {left}_column = \"{right}_column\" }}`");
    let Some(item) = reader.get(key) else {
        reader.missing(key, help);
        return Vec::new();
    };
    let Some(table) = reader.table(key) else {
        return Vec::new();
    };
    if table.entries.is_empty() {
        reader.invalid(item, format!("`{key}` is empty"), help);
    }
    let pair = |entry: &Entry| match &entry.item.value {
        Value::String(text) if !text.value.trim().is_empty() => Some((
            Word {
                text: entry.key.clone(),
                place: entry.place.clone(),
            },
            Word {
                text: text.value.clone(),
                place: entry.item.place.clone(),
            },
        )),
        _ => {
            reader.wrong_type(&format!("{key}.{}", entry.key), &entry.item, "the name of a column");
            None
        }
    };
    table.entries.iter().filter_map(pair).collect()
}

fn bound(reader: &Reader<'_>) -> Option<JoinBound> {
    let given: Vec<&str> = BOUNDS.into_iter().filter(|key| reader.get(key).is_some()).collect();
    match given[..] {
        [] => {
            reader.problems.push(
                wasmill_core::diagnostic::Diagnostic::error(
                    codes::JOIN,
                    format!("{} has no bound in time", reader.name()),
                )
                .at(reader.place(), "rows of either side would have to be kept for ever")
                .help(
                    "write `within = { before = \"1h\", after = \"0s\" }` for rows that are near each other, `as-of = {}` for \
                     the right row that is valid at the left row's time, or `window = { type = \"tumbling\", size = \"1h\" }`",
                ),
            );
            None
        }
        ["within"] => within(reader),
        ["as-of"] => {
            let table = reader.table("as-of")?;
            let inner = Reader::new(table, format!("`as-of` of {}", reader.name()), reader.problems);
            let errors = reader.problems.errors();
            let within = inner.duration("within");
            inner.finish();
            (reader.problems.errors() == errors).then_some(JoinBound::AsOf { within })
        }
        ["window"] => windows::read(reader, &WINDOWS).map(JoinBound::Window),
        _ => {
            let mut diagnostic = wasmill_core::diagnostic::Diagnostic::error(
                codes::JOIN,
                format!("{} has several bounds in time: {}", reader.name(), list(&given)),
            );
            for key in BOUNDS {
                if let Some(item) = reader.get(key) {
                    diagnostic = diagnostic.at(&item.place, "");
                }
            }
            reader.problems.push(diagnostic.help("choose one"));
            None
        }
    }
}

fn within(reader: &Reader<'_>) -> Option<JoinBound> {
    let table = reader.table("within")?;
    let errors = reader.problems.errors();
    let inner = Reader::new(table, format!("`within` of {}", reader.name()), reader.problems);
    if inner.get("before").is_none() && inner.get("after").is_none() {
        inner.missing(
            "before",
            "say how much earlier or later than the left row the right row may be: `within = { before = \"1h\", after = \
             \"0s\" }`",
        );
    }
    let before = inner.duration("before").unwrap_or(Micros::ZERO);
    let after = inner.duration("after").unwrap_or(Micros::ZERO);
    inner.finish();
    (reader.problems.errors() == errors).then_some(JoinBound::Within { before, after })
}

fn prefix(reader: &Reader<'_>) -> Prefix {
    let mut prefix = Prefix::default();
    let Some(table) = reader.table("prefix") else {
        return prefix;
    };
    let inner = Reader::new(table, format!("`prefix` of {}", reader.name()), reader.problems);
    for (key, side) in [("left", &mut prefix.left), ("right", &mut prefix.right)] {
        if let Some(text) = inner.text(key) {
            side.clone_from(&text.value);
        }
    }
    inner.finish();
    prefix
}
