//! `watermark`: how a partition's watermark follows from its rows.

use wasmill_core::plan::WatermarkSpec;
use wasmill_core::time::Micros;

use super::source::TimeSpec;
use crate::codes;
use crate::document::Value;
use crate::reader::{Reader, not_built};

/// No partition runs further ahead of the slowest than this, where the file does not say.
const ALIGN_DEFAULT: Micros = Micros(3_600 * Micros::SECOND.0);

/// What is not said: rows in order, no bound ahead, alignment of an hour.
pub(super) fn default() -> WatermarkSpec {
    WatermarkSpec {
        delay: Micros::ZERO,
        max_ahead: None,
        align: Some(ALIGN_DEFAULT),
        idle_after: None,
    }
}

#[derive(Clone, Copy, PartialEq)]
enum Strategy {
    Bounded,
    Monotonic,
    Column,
    Clock,
}

/// Reads `watermark`.
pub(super) fn read(source: &Reader<'_>, time: TimeSpec) -> WatermarkSpec {
    let mut spec = default();
    let Some(table) = source.table("watermark") else {
        if time == TimeSpec::Event && source.get("watermark").is_none() {
            source.missing(
                "watermark",
                "say how far rows may be out of order: `watermark = { strategy = \"bounded-out-of-orderness\", delay = \
                 \"10s\" }`, or `{ strategy = \"monotonic\" }` where they never are",
            );
        }
        return spec;
    };
    let reader = Reader::new(table, format!("`watermark` of {}", source.name()), source.problems);
    let by_event_time = time == TimeSpec::Event;
    if by_event_time {
        spec.delay = strategy(&reader);
        spec.max_ahead =
            reader.duration_above_zero("max-ahead", "every row would be invalid; leave the key out instead");
    } else {
        for key in ["strategy", "delay", "max-ahead", "column"] {
            reader.pointless(
                key,
                "only event time can be out of order; the clock is not",
                "leave it out, or name an `event-time` column",
            );
        }
    }
    spec.align = align(&reader);
    spec.idle_after = reader.duration_above_zero(
        "idle-after",
        "leave the key out instead: a partition is then never idle",
    );
    reader.finish();
    spec
}

/// The strategy's delay.
fn strategy(reader: &Reader<'_>) -> Micros {
    let choices = [
        ("bounded-out-of-orderness", Strategy::Bounded),
        ("monotonic", Strategy::Monotonic),
        ("column", Strategy::Column),
        ("processing-time", Strategy::Clock),
        ("ingestion-time", Strategy::Clock),
    ];
    let chosen = reader.choice("strategy", &choices);
    let has_delay = reader.get("delay").is_some();
    let delay = reader.duration("delay");
    if reader.get("strategy").is_none() {
        if has_delay {
            reader.missing(
                "strategy",
                "with a `delay` it is `strategy = \"bounded-out-of-orderness\"`",
            );
        } else {
            reader.missing(
                "strategy",
                "the strategies are `bounded-out-of-orderness` (with a `delay`) and `monotonic`",
            );
        }
    }
    let other = "use `bounded-out-of-orderness` with a `delay`, or `monotonic`";
    match chosen {
        Some(Strategy::Bounded) if !has_delay => {
            reader.missing("delay", "say how far rows may be out of order, as in `delay = \"10s\"`");
        }
        Some(Strategy::Monotonic) => reader.pointless(
            "delay",
            "`monotonic` has no delay",
            "use `strategy = \"bounded-out-of-orderness\"`, or leave the delay out",
        ),
        Some(unbuilt @ (Strategy::Column | Strategy::Clock)) => {
            let item = reader.get("strategy").expect("it was chosen");
            let what = match (&item.value, unbuilt) {
                (Value::String(text), _) => format!("the watermark strategy \"{}\"", text.written),
                _ => "this watermark strategy".to_owned(),
            };
            let help = match unbuilt {
                Strategy::Clock => "leave `event-time` out: the source then goes by ingestion time, or set `time`",
                _ => other,
            };
            reader.problems.push(not_built(&what, &item.place, help));
            reader.get("column");
            return delay.unwrap_or_default();
        }
        _ => {}
    }
    reader.not_built("column", other);
    delay.unwrap_or_default()
}

/// `align`: a duration, or "off".
fn align(reader: &Reader<'_>) -> Option<Micros> {
    let Some(item) = reader.get("align") else {
        return Some(ALIGN_DEFAULT);
    };
    let Value::String(text) = &item.value else {
        reader.wrong_type("align", item, "a duration such as \"1h\", or \"off\"");
        return None;
    };
    if text.value == "off" {
        return None;
    }
    match text.value.parse() {
        Ok(Micros::ZERO) => {
            reader.invalid(
                item,
                "`align` is zero",
                "no partition could ever be ahead of another; use \"off\" for no bound",
            );
            None
        }
        Ok(align) => Some(align),
        Err(error) => {
            let help = match text.value.as_str() {
                "none" | "no" | "never" | "false" => "write \"off\"".to_owned(),
                _ => wasmill_core::time::DurationError::to_string(&error),
            };
            reader.problems.error(
                codes::INVALID_VALUE,
                format!("`align` is neither a duration nor \"off\": \"{}\"", text.written),
                &item.place,
                help,
            );
            None
        }
    }
}
