//! `watermark`: how a partition's watermark follows from its rows.

use wasmill_core::time::Micros;

use super::source::TimeSpec;
use crate::codes;
use crate::document::Value;
use crate::place::Word;
use crate::reader::Reader;

/// No partition runs further ahead of the slowest than this, where the file does not say.
const ALIGN_DEFAULT: Micros = Micros(3_600 * Micros::SECOND.0);

/// What is named wherever a strategy is asked for.
const STRATEGIES: &str = "the strategies are `bounded-out-of-orderness` (with a `delay`), `monotonic`, `column` (with a \
                          `column`) and `processing-time` (with a `delay`)";

/// `watermark` as written.
#[derive(Clone)]
pub(crate) struct WatermarkSpec {
    pub(crate) strategy: StrategySpec,
    pub(crate) max_ahead: Option<Micros>,
    pub(crate) align: Option<Micros>,
    pub(crate) idle_after: Option<Micros>,
}

/// What the watermark follows.
#[derive(Clone)]
pub(crate) enum StrategySpec {
    /// The greatest event time so far.
    Bounded { delay: Micros },
    /// The greatest value so far of this column.
    Column(Word),
    /// The clock.
    Clock { delay: Micros },
}

/// What is not said: by event time rows in order, otherwise the clock; no bound ahead, alignment of an hour.
pub(super) fn default(time: TimeSpec) -> WatermarkSpec {
    let by_event_time = time == TimeSpec::Event;
    let delay = Micros::ZERO;
    WatermarkSpec {
        strategy: if by_event_time {
            StrategySpec::Bounded { delay }
        } else {
            StrategySpec::Clock { delay }
        },
        max_ahead: None,
        align: by_event_time.then_some(ALIGN_DEFAULT),
        idle_after: None,
    }
}

#[derive(Clone, Copy, PartialEq)]
enum Strategy {
    Bounded,
    Monotonic,
    Column,
    Processing,
    Ingestion,
}

const CHOICES: [(&str, Strategy); 5] = [
    ("bounded-out-of-orderness", Strategy::Bounded),
    ("monotonic", Strategy::Monotonic),
    ("column", Strategy::Column),
    ("processing-time", Strategy::Processing),
    ("ingestion-time", Strategy::Ingestion),
];

/// Reads `watermark`.
pub(super) fn read(source: &Reader<'_>, time: TimeSpec) -> WatermarkSpec {
    let mut spec = default(time);
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
    if time == TimeSpec::Event {
        spec.strategy = strategy(&reader);
        spec.max_ahead =
            reader.duration_above_zero("max-ahead", "every row would be invalid; leave the key out instead");
    } else {
        by_clock(&reader, time);
    }
    if let StrategySpec::Clock { .. } = spec.strategy {
        spec.align = None;
        for key in ["align", "idle-after"] {
            reader.pointless(
                key,
                "the watermark follows the clock, which is the same for all partitions and goes on while they are quiet",
                "leave it out",
            );
        }
    } else {
        spec.align = align(&reader);
        spec.idle_after = reader.duration_above_zero(
            "idle-after",
            "leave the key out instead: a partition is then never idle",
        );
    }
    reader.finish();
    spec
}

/// The keys of a source that goes by the clock: its strategy is known.
fn by_clock(reader: &Reader<'_>, time: TimeSpec) {
    let own = if time == TimeSpec::Processing {
        Strategy::Processing
    } else {
        Strategy::Ingestion
    };
    if reader.get("strategy").is_some() && reader.choice("strategy", &CHOICES).is_some_and(|chosen| chosen != own) {
        let (name, _) = CHOICES
            .iter()
            .find(|(_, strategy)| *strategy == own)
            .expect("it is one of them");
        reader.pointless(
            "strategy",
            &format!("the source's time is the clock's, and so its watermark's strategy is `{name}`"),
            "leave it out, set `time`, or name an `event-time` column",
        );
    }
    for key in ["delay", "max-ahead", "column"] {
        reader.pointless(
            key,
            "only event time can be out of order; the clock is not",
            "leave it out, or name an `event-time` column",
        );
    }
}

/// The strategy of a source with event times.
fn strategy(reader: &Reader<'_>) -> StrategySpec {
    let chosen = reader.choice("strategy", &CHOICES);
    let has_delay = reader.get("delay").is_some();
    let delay = reader.duration("delay");
    if reader.get("strategy").is_none() {
        let help = match reader.get("column") {
            _ if has_delay => "with a `delay` it is `strategy = \"bounded-out-of-orderness\"`",
            Some(_) => "with a `column` it is `strategy = \"column\"`",
            None => STRATEGIES,
        };
        reader.missing("strategy", help);
    }
    let column = if chosen == Some(Strategy::Column) || reader.get("strategy").is_none() {
        reader.word("column")
    } else {
        reader.pointless(
            "column",
            "this strategy reads no column",
            "leave it out, or use `strategy = \"column\"`",
        );
        None
    };
    match chosen {
        Some(Strategy::Bounded) if !has_delay => {
            reader.missing("delay", "say how far rows may be out of order, as in `delay = \"10s\"`");
        }
        Some(Strategy::Monotonic) => reader.pointless(
            "delay",
            "`monotonic` has no delay",
            "use `strategy = \"bounded-out-of-orderness\"`, or leave the delay out",
        ),
        Some(Strategy::Column) => {
            reader.pointless(
                "delay",
                "the watermark is the column's greatest value",
                "leave it out, or use `strategy = \"bounded-out-of-orderness\"`",
            );
            if reader.get("column").is_none() {
                reader.missing("column", "name the timestamp column that holds watermarks");
            }
        }
        Some(Strategy::Processing | Strategy::Ingestion) => {
            if !has_delay {
                reader.missing(
                    "delay",
                    "say how far event times may be behind the clock, as in `delay = \"10s\"`",
                );
            }
            return StrategySpec::Clock {
                delay: delay.unwrap_or_default(),
            };
        }
        _ => {}
    }
    match column {
        Some(column) if chosen == Some(Strategy::Column) => StrategySpec::Column(column),
        _ => StrategySpec::Bounded {
            delay: delay.unwrap_or_default(),
        },
    }
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
