//! `window = { type = ... }`: which windows.

use wasmill_core::time::Micros;
use wasmill_core::window::{Alignment, Trigger, TriggerWhen, WindowSpec, Windows};

use super::source::time_zone;
use crate::codes;
use crate::place::At as _;
use crate::problems::did_you_mean;
use crate::reader::Reader;

/// The most panes of a window: the greatest lengths that divide both its size and its distance.
const PANES_MAX: u64 = 100_000;

/// The most rows of a count window.
const COUNT_MAX: u64 = 1 << 32;

/// The types of windows, and the keys that each has.
const TYPES: [(&str, &[&str]); 6] = [
    ("tumbling", &["size", "offset", "time-zone"]),
    ("sliding", &["size", "every", "offset", "time-zone"]),
    ("cumulative", &["size", "step", "offset", "time-zone"]),
    ("session", &["gap"]),
    ("count", &["size", "every"]),
    ("global", &[]),
];

/// Every key that some type has.
const KEYS: [&str; 6] = ["size", "every", "step", "gap", "offset", "time-zone"];

/// Reads `window`, of one of the types `among`; `None` where it is absent or not sound.
pub(super) fn read(operator: &Reader<'_>, among: &[&'static str]) -> Option<Windows> {
    let errors_before = operator.problems.errors();
    let reader = Reader::new(
        operator.table("window")?,
        format!("`window` of {}", operator.name()),
        operator.problems,
    );
    let Some(word) = reader.word("type") else {
        if reader.get("type").is_none() {
            reader.missing("type", format!("the types are {}", crate::problems::list(among)));
        }
        return None;
    };
    let Some((name, own)) = TYPES.iter().find(|(name, _)| *name == word.text) else {
        operator.problems.error(
            codes::INVALID_VALUE,
            format!("there is no window type \"{}\"", word.text),
            &word.place,
            did_you_mean(&word.text, "the types are", among.iter().copied()),
        );
        return None;
    };
    if !among.contains(name) {
        operator.problems.error(
            codes::INVALID_VALUE,
            format!("{} cannot have {name} windows", operator.name()),
            &word.place,
            format!("the types here are {}", crate::problems::list(among)),
        );
        return None;
    }
    for key in KEYS.iter().filter(|key| !own.contains(key)) {
        let (why, help) = match (*name, *key) {
            ("tumbling", "every") => (
                "tumbling windows stand side by side".to_owned(),
                "leave it out, or use `type = \"sliding\"`".to_owned(),
            ),
            ("session", "size") => (
                "a session is as long as rows keep coming".to_owned(),
                "leave it out; `gap` says which pause ends a session".to_owned(),
            ),
            _ => (format!("{name} windows have no `{key}`"), "leave it out".to_owned()),
        };
        reader.pointless(key, &why, &help);
    }
    let windows = match *name {
        "session" => session(&reader),
        "count" => count(&reader),
        "global" => Some(Windows::Global {
            trigger: trigger(operator),
        }),
        _ => aligned(&reader, name).map(Windows::Aligned),
    };
    reader.finish();
    windows.filter(|_| operator.problems.errors() == errors_before)
}

fn session(reader: &Reader<'_>) -> Option<Windows> {
    if reader.get("gap").is_none() {
        reader.missing("gap", "say which pause ends a session, as in `gap = \"30m\"`");
        return None;
    }
    let gap = reader.duration_above_zero("gap", "every row would be a session of its own")?;
    Some(Windows::Session { gap })
}

fn count(reader: &Reader<'_>) -> Option<Windows> {
    if reader.get("size").is_none() {
        reader.missing("size", "say how many rows a window has, as in `size = 100`");
        return None;
    }
    let size = reader.count("size", 1..=COUNT_MAX)?;
    let every = match reader.get("every") {
        None => size,
        Some(_) => reader.count("every", 1..=COUNT_MAX)?,
    };
    Some(Windows::Count { size, every })
}

/// `trigger` of a global window.
fn trigger(operator: &Reader<'_>) -> Option<Trigger> {
    let table = operator.table("trigger")?;
    let reader = Reader::new(table, format!("`trigger` of {}", operator.name()), operator.problems);
    let when = count_or_every(&reader, "count").map(|when| match when {
        When::Count(rows) => TriggerWhen::Count(rows),
        When::Every(every) => TriggerWhen::Every(every),
    });
    let purge = reader.boolean("purge").unwrap_or(false);
    reader.finish();
    Some(Trigger { when: when?, purge })
}

/// Either of two keys.
pub(super) enum When {
    /// `count`.
    Count(u64),
    /// `every`.
    Every(Micros),
}

/// `count = 100`, or `every = "10s"`.
pub(super) fn count_or_every(reader: &Reader<'_>, example: &str) -> Option<When> {
    let (count, every) = (reader.get("count"), reader.get("every"));
    match (count, every) {
        (Some(_), Some(item)) => {
            reader.invalid(
                item,
                "`count` and `every` stand side by side",
                "choose one: after so many rows, or after so much time",
            );
            None
        }
        (Some(_), None) => reader.count("count", 1..=COUNT_MAX).map(When::Count),
        (None, Some(_)) => reader
            .duration_above_zero("every", "say how long to wait, as in `every = \"10s\"`")
            .map(When::Every),
        (None, None) => {
            let help = "write `count = 100` for a result after each 100 rows, or `every = \"10s\"` by the clock";
            reader.missing(if example == "count" { "count" } else { "every" }, help);
            None
        }
    }
}

fn aligned(reader: &Reader<'_>, name: &str) -> Option<WindowSpec> {
    let size = required(reader, "size", "say how long a window is, as in `size = \"1h\"`");
    let step = match name {
        "sliding" => required(
            reader,
            "every",
            "say how far apart windows begin, as in `every = \"5m\"`",
        ),
        "cumulative" => required(
            reader,
            "step",
            "say by how much each window is longer than the one before, as in `step = \"1h\"`",
        ),
        _ => size,
    };
    let offset = reader.duration("offset").unwrap_or_default();
    let begins_each = if name == "cumulative" { size } else { step };
    if let (Some(step), Some(item)) = (begins_each, reader.get("offset"))
        && offset >= step
    {
        reader.problems.error(
            codes::WINDOW,
            format!("the offset of {offset} is not shorter than the {step} between two windows"),
            &item.place,
            format!("write \"{}\": the windows are the same", Micros(offset.0 % step.0)),
        );
    }
    let alignment = Alignment {
        offset,
        time_zone: time_zone(reader).map(Into::into),
    };
    let (size, step) = (size?, step?);
    Some(match name {
        "sliding" => {
            check_sliding(reader, size, step);
            WindowSpec::Sliding {
                size,
                every: step,
                alignment,
            }
        }
        "cumulative" => {
            check_cumulative(reader, size, step);
            WindowSpec::Cumulative { size, step, alignment }
        }
        _ => WindowSpec::Tumbling { size, alignment },
    })
}

fn required(reader: &Reader<'_>, key: &'static str, help: &str) -> Option<Micros> {
    if reader.get(key).is_none() {
        reader.missing(key, help);
        return None;
    }
    reader.duration_above_zero(
        key,
        "a window has a length, and begins at some distance from the one before",
    )
}

fn check_sliding(reader: &Reader<'_>, size: Micros, every: Micros) {
    let Some(item) = reader.get("every") else { return };
    let panes = size.0 / gcd(size.0, every.0);
    if panes > PANES_MAX {
        reader.problems.error(
            codes::WINDOW,
            format!("a window of {size} every {every} is made of {panes} parts"),
            &item.place,
            format!("let `size` be a multiple of `every`, at most {PANES_MAX} times as long"),
        );
    } else if every > size {
        reader.problems.push(
            wasmill_core::diagnostic::Diagnostic::warning(
                codes::GAPS,
                format!("between two windows there are {} without any", Micros(every.0 - size.0)),
            )
            .at(
                &item.place,
                format!("windows are {size} long, and one begins each {every}"),
            )
            .help("rows there are dropped; let `every` be at most `size` if that is not meant"),
        );
    }
}

fn check_cumulative(reader: &Reader<'_>, size: Micros, step: Micros) {
    let Some(item) = reader.get("step") else { return };
    let panes = size.0 / step.0;
    if !size.0.is_multiple_of(step.0) {
        reader.problems.error(
            codes::WINDOW,
            format!("steps of {step} do not end at {size}"),
            &item.place,
            "let `size` be a multiple of `step`",
        );
    } else if panes > PANES_MAX {
        reader.problems.error(
            codes::WINDOW,
            format!("a window of {size} by {step} is made of {panes} parts"),
            &item.place,
            format!("let `size` be at most {PANES_MAX} times as long as `step`"),
        );
    }
}

fn gcd(a: u64, b: u64) -> u64 {
    if b == 0 { a } else { gcd(b, a % b) }
}
