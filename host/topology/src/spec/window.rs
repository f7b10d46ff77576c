//! `[[operator]]` with `type = "window"`.

use wasmill_core::plan::OnFault;
use wasmill_core::time::Micros;
use wasmill_core::window::{Alignment, Late, WindowSpec};

use super::node::{Head, Kind, Node};
use super::source::time_zone;
use super::{Aggregate, aggregate, operator, transform};
use crate::codes;
use crate::place::{At as _, Word};
use crate::problems::did_you_mean;
use crate::reader::{Reader, not_built};

/// The most panes of a window: the greatest lengths that divide both its size and its distance.
const PANES_MAX: u64 = 100_000;

/// A window as written.
pub(crate) struct Window {
    pub(crate) key: Vec<Word>,
    /// `None` where it was not sound.
    pub(crate) window: Option<WindowSpec>,
    pub(crate) allowed_lateness: Micros,
    /// `None` where the file does not say.
    pub(crate) late: Option<(Late, Word)>,
    pub(crate) aggregates: Vec<Aggregate>,
    pub(crate) on_fault: OnFault,
}

/// Reads the rest of a window.
pub(super) fn read(head: Head, reader: &Reader<'_>) -> Node {
    let inputs = operator::inputs(reader);
    let key = key(reader);
    let window = window(reader);
    let allowed_lateness = reader.duration("allowed-lateness").unwrap_or_default();
    let late = late(reader);
    let aggregates = aggregate::read(reader);
    let on_fault = transform::on_fault(reader);
    let dead_letter = reader.word("dead-letter");
    built_in_part(reader);
    reader.finish();
    let kind = Kind::Window(Box::new(Window {
        key,
        window,
        allowed_lateness,
        late,
        aggregates,
        on_fault,
    }));
    head.finish(reader, inputs, kind, dead_letter)
}

/// Keys that are built for some of their values, or not at all.
fn built_in_part(reader: &Reader<'_>) {
    let only = |key: &'static str, choices: [&'static str; 2]| {
        let choices = [(choices[0], true), (choices[1], false)];
        if let (Some(false), Some(item)) = (reader.choice(key, &choices), reader.get(key)) {
            let help = format!("write `{key} = \"{}\"`, or leave the key out", choices[0].0);
            reader.problems.push(not_built(
                &format!("`{key} = \"{}\"`", choices[1].0),
                &item.place,
                &help,
            ));
        }
    };
    only("lateness", ["deterministic", "best-effort"]);
    only("late-results", ["final", "immediate"]);
    reader.not_built(
        "early",
        "leave the key out; a window gives one result when it is complete",
    );
    reader.not_built(
        "trigger",
        "leave the key out; a window gives one result when it is complete",
    );
    reader.not_built(
        "pane",
        "leave the key out; a window gives one result, and one correction where late rows were admitted",
    );
    reader.not_built(
        "plugin",
        "aggregate incrementally: `aggregate = { x = { plugin = \"plugins/x.wasm\" } }`",
    );
    for key in ["config", "limits", "digest"] {
        reader.pointless(
            key,
            "it belongs to a plugin",
            "write it beside the plugin: `aggregate = { x = { plugin = \"plugins/x.wasm\", config = {} } }`",
        );
    }
    transform::not_built(reader);
}

fn key(reader: &Reader<'_>) -> Vec<Word> {
    if reader.get("key").is_none() {
        return Vec::new();
    }
    let words = reader.words("key").unwrap_or_default();
    for (i, word) in words.iter().enumerate() {
        if words[..i].iter().any(|earlier| earlier.text == word.text) {
            reader.problems.error(
                codes::DUPLICATE_COLUMN,
                format!("the key names `{}` twice", word.text),
                &word.place,
                "name it once",
            );
        }
    }
    words
}

fn late(reader: &Reader<'_>) -> Option<(Late, Word)> {
    let choices = [
        ("drop", Late::Drop),
        ("port", Late::Port),
        ("dead-letter", Late::DeadLetter),
    ];
    Some((reader.choice("late", &choices)?, reader.word("late")?))
}

fn window(operator: &Reader<'_>) -> Option<WindowSpec> {
    const UNBUILT: [&str; 4] = ["session", "count", "cumulative", "global"];
    if operator.get("window").is_none() {
        operator.missing(
            "window",
            "say which windows, as in `window = { type = \"tumbling\", size = \"1h\" }`",
        );
        return None;
    }
    let errors_before = operator.problems.errors();
    let reader = Reader::new(
        operator.table("window")?,
        format!("`window` of {}", operator.name()),
        operator.problems,
    );
    let Some(word) = reader.word("type") else {
        if reader.get("type").is_none() {
            reader.missing("type", "the types are `tumbling` and `sliding`");
        }
        return None;
    };
    if UNBUILT.contains(&word.text.as_str()) {
        let what = format!("a {} window", word.text);
        let help = "use `tumbling` (with a `size`) or `sliding` (with a `size` and `every`)";
        operator.problems.push(not_built(&what, &word.place, help));
        return None;
    }
    if word.text != "tumbling" && word.text != "sliding" {
        let known = ["tumbling", "sliding"].into_iter().chain(UNBUILT);
        operator.problems.error(
            codes::INVALID_VALUE,
            format!("there is no window type \"{}\"", word.text),
            &word.place,
            did_you_mean(&word.text, "the types are", known),
        );
        return None;
    }
    let size = required(&reader, "size", "say how long a window is, as in `size = \"1h\"`");
    let every = if word.text == "sliding" {
        required(
            &reader,
            "every",
            "say how far apart windows begin, as in `every = \"5m\"`",
        )
    } else {
        reader.pointless(
            "every",
            "tumbling windows stand side by side",
            "leave it out, or use `type = \"sliding\"`",
        );
        size
    };
    for key in ["gap", "step"] {
        reader.pointless(key, "windows of another type have it", "leave it out");
    }
    let offset = reader.duration("offset").unwrap_or_default();
    if let (Some(step), Some(item)) = (every, reader.get("offset"))
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
        time_zone: time_zone(&reader).map(Into::into),
    };
    reader.finish();
    let (size, every) = (size?, every?);
    if word.text == "sliding" {
        check_sliding(&reader, size, every);
    }
    (operator.problems.errors() == errors_before).then(|| {
        if word.text == "tumbling" {
            WindowSpec::Tumbling { size, alignment }
        } else {
            WindowSpec::Sliding { size, every, alignment }
        }
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

fn gcd(a: u64, b: u64) -> u64 {
    if b == 0 { a } else { gcd(b, a % b) }
}
