//! `[[operator]]` with `type = "window"`.

use wasmill_core::plan::{Early, EarlyWhen, LateResults, Lateness, OnFault};
use wasmill_core::plugin::Isolation;
use wasmill_core::time::Micros;
use wasmill_core::window::{Trigger, TriggerWhen, Windows};

use super::late::{self, LateSpec};
use super::node::{Head, Kind, Node};
use super::windows::{self, When};
use super::{Aggregate, Function, Plugin, aggregate, key, operator, plugin, wasm};
use crate::codes;
use crate::document::Item;
use crate::place::Word;
use crate::reader::Reader;

/// A window as written.
pub(crate) struct Window {
    pub(crate) key: Vec<Word>,
    /// `None` where it was not sound.
    pub(crate) windows: Option<Windows>,
    pub(crate) allowed_lateness: Micros,
    pub(crate) lateness: Lateness,
    pub(crate) late_results: LateResults,
    pub(crate) late: Option<LateSpec>,
    pub(crate) early: Option<Early>,
    pub(crate) pane: bool,
    pub(crate) computes: Computes,
    pub(crate) on_fault: OnFault,
    pub(crate) isolation: Isolation,
}

/// What a window computes.
pub(crate) enum Computes {
    Aggregates(Vec<Aggregate>),
    /// A plugin that gets the rows; `None` where its table was not sound.
    Content(Option<Box<Plugin>>),
}

/// The types of windows that an operator with `type = "window"` may have.
const TYPES: [&str; 6] = ["tumbling", "sliding", "cumulative", "session", "count", "global"];

/// Reads the rest of a window.
pub(super) fn read(head: Head, reader: &Reader<'_>) -> Node {
    let inputs = operator::inputs(reader);
    let key = key::read(reader, "key");
    if reader.get("window").is_none() {
        reader.missing(
            "window",
            "say which windows, as in `window = { type = \"tumbling\", size = \"1h\" }`",
        );
    }
    let windows = windows::read(reader, &TYPES);
    if !matches!(windows, Some(Windows::Global { .. }) | None) {
        reader.pointless(
            "trigger",
            "a window of this type gives its result when it is complete",
            "leave it out; results before that come with `early = { every = \"10s\" }`",
        );
    } else if windows.is_none() {
        reader.get("trigger");
    }
    let allowed_lateness = reader.duration("allowed-lateness").unwrap_or_default();
    let lateness = [
        ("deterministic", Lateness::Deterministic),
        ("best-effort", Lateness::BestEffort),
    ];
    let lateness = reader.choice("lateness", &lateness).unwrap_or_default();
    let late_results = [("final", LateResults::Final), ("immediate", LateResults::Immediate)];
    let late_results = reader.choice("late-results", &late_results).unwrap_or_default();
    let late = late::read(reader);
    let early = early(reader);
    let pane = reader.boolean("pane").unwrap_or(false);
    let computes = computes(reader);
    let on_fault = wasm::on_fault(reader);
    let has_plugin = match &computes {
        Computes::Content(_) => true,
        Computes::Aggregates(aggregates) => aggregates
            .iter()
            .any(|aggregate| matches!(aggregate.function, Function::Plugin(_))),
    };
    let isolation = if has_plugin {
        wasm::isolation(reader)
    } else {
        reader.pointless(
            "isolation",
            "it belongs to a plugin, and this window has none",
            "leave it out",
        );
        Isolation::default()
    };
    let dead_letter = reader.word("dead-letter");
    wasm::not_built(reader);
    reader.pointless(
        "order",
        "what a window gives does not depend on the order of its rows",
        "leave it out",
    );
    if let Some(windows) = &windows {
        fits(reader, windows);
    }
    reader.finish();
    let kind = Kind::Window(Box::new(Window {
        key,
        windows,
        allowed_lateness,
        lateness,
        late_results,
        late,
        early,
        pane,
        computes,
        on_fault,
        isolation,
    }));
    head.finish(reader, inputs, kind, dead_letter)
}

fn computes(reader: &Reader<'_>) -> Computes {
    if reader.entry("plugin").is_some() {
        if let Some(entry) = reader.entry("aggregate") {
            reader.problems.error(
                codes::POINTLESS_KEY,
                format!("{} has both `plugin` and `aggregate`", reader.name()),
                &entry.place,
                "a plugin beside the window gets all its rows; for a plugin that aggregates write `aggregate = { x = { \
                 plugin = \"plugins/x.wasm\" } }` and leave `plugin` out",
            );
        }
        return Computes::Content(plugin::read(reader).map(Box::new));
    }
    for key in ["config", "limits", "digest"] {
        reader.pointless(
            key,
            "it belongs to a plugin",
            "write it beside the plugin: `aggregate = { x = { plugin = \"plugins/x.wasm\", config = {} } }`",
        );
    }
    Computes::Aggregates(aggregate::read(reader))
}

/// `early = { every = "10s", mode = "retracting" }`.
fn early(operator: &Reader<'_>) -> Option<Early> {
    let table = operator.table("early")?;
    let reader = Reader::new(table, format!("`early` of {}", operator.name()), operator.problems);
    let when = windows::count_or_every(&reader, "every").map(|when| match when {
        When::Count(rows) => EarlyWhen::Count(rows),
        When::Every(every) => EarlyWhen::Every(every),
    });
    let modes = [("accumulating", false), ("retracting", true)];
    let retracting = reader.choice("mode", &modes).unwrap_or(false);
    reader.finish();
    Some(Early {
        when: when?,
        retracting,
    })
}

/// Refuses keys that windows of this type cannot have.
fn fits(reader: &Reader<'_>, windows: &Windows) {
    let refuse = |key: &'static str, why: &str, help: &str| {
        if let Some(Item { place, .. }) = reader.get(key) {
            reader.problems.error(
                codes::WINDOW,
                format!("`{key}` does not fit the windows of {}: {why}", reader.name()),
                place,
                help,
            );
        }
    };
    match windows {
        Windows::Aligned(_) => {}
        Windows::Session { .. } => refuse(
            "late-results",
            "a session has one result, when no row can prolong it any more",
            "leave it out; rows in the allowed lateness are in that result",
        ),
        Windows::Count { .. } => {
            let why = "rows are counted in event-time order, so a row is late or counted";
            for key in ["allowed-lateness", "lateness", "late-results"] {
                refuse(
                    key,
                    why,
                    "leave it out; raise the `delay` of the source's watermark for rows that are late",
                );
            }
            refuse(
                "early",
                "it gives a result each `every` rows",
                "leave it out; choose a smaller `size` or `every`",
            );
        }
        Windows::Global { trigger } => {
            for key in ["allowed-lateness", "lateness", "late-results"] {
                refuse(key, "a global window has no end that a row could miss", "leave it out");
            }
            refuse(
                "early",
                "its results come by its `trigger`",
                "write `trigger = { every = \"10s\" }`",
            );
            if !matches!(
                trigger,
                Some(Trigger {
                    when: TriggerWhen::Count(_),
                    ..
                })
            ) {
                refuse("late", "no row is late for it", "leave it out");
            }
        }
    }
}
