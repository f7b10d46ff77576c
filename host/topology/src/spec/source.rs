//! `[[source]]`.

use wasmill_core::plan::OnInvalid;

use super::node::{Head, Kind, Node};
use super::watermark::WatermarkSpec;
use super::{ColumnSpec, FormatSpec, column, format, watermark};
use crate::codes;
use crate::document::{Item, Table, Value};
use crate::place::Word;
use crate::problems::{Problems, suggest};
use crate::reader::Reader;

/// A source as written.
pub(crate) struct Source {
    pub(crate) connector: Word,
    /// The connector's own keys.
    pub(crate) own: Table,
    /// Our keys of the same table.
    pub(crate) ours: Vec<&'static str>,
    pub(crate) format: Option<FormatSpec>,
    pub(crate) schema: Option<Vec<ColumnSpec>>,
    /// `schema` as it stands in the file, and whether every column of it could be read.
    pub(crate) schema_item: Option<Item>,
    pub(crate) schema_whole: bool,
    pub(crate) metadata: Vec<MetadataSpec>,
    pub(crate) time: TimeSpec,
    pub(crate) event_time: Option<Word>,
    pub(crate) watermark: WatermarkSpec,
    pub(crate) on_invalid: Option<OnInvalid>,
    pub(crate) validate_all: bool,
}

/// A metadata column as written.
pub(crate) struct MetadataSpec {
    /// The connector's name for it.
    pub(crate) key: Word,
    /// The column's name.
    pub(crate) name: Word,
}

/// What a row's event time is.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum TimeSpec {
    Event,
    Ingestion,
    Processing,
}

/// Reads a source.
pub(super) fn read(table: &Table, problems: &Problems) -> Node {
    let head = Head::read(table, "source", problems);
    let reader = Reader::new(table, head.name.clone(), problems);
    Head::known_to(&reader);
    let connector = connector(&reader);
    let format = format::read(&reader);
    let errors = problems.errors();
    let schema = column::read(&reader);
    let schema_whole = problems.errors() == errors;
    let metadata = metadata(&reader);
    let event_time = reader.word("event-time");
    let time = time(&reader);
    let watermark = watermark::read(&reader, time);
    let on_invalid = reader.choice(
        "on-invalid",
        &[
            ("fail", OnInvalid::Fail),
            ("dead-letter", OnInvalid::DeadLetter),
            ("skip", OnInvalid::Skip),
        ],
    );
    let validate_all = reader.choice("validate", &[("read", false), ("all", true)]) == Some(true);
    let dead_letter = reader.word("dead-letter");
    reader.not_built(
        "deduplicate",
        "leave the key out; the source hands on every record that it reads",
    );
    reader.pointless(
        "input",
        "a source reads from outside",
        "name what it reads with the connector's keys, such as `path`",
    );
    reader.pointless(
        "lateness",
        "lateness belongs to the window that judges it",
        "set it on the operator with `type = \"window\"`",
    );
    let kind = Kind::Source(Box::new(Source {
        connector: connector.unwrap_or_else(|| Word {
            text: String::new(),
            place: table.place.clone(),
        }),
        own: reader.rest(),
        ours: reader.known(),
        format,
        schema,
        schema_item: reader.get("schema").cloned(),
        schema_whole,
        metadata,
        time,
        event_time,
        watermark,
        on_invalid,
        validate_all,
    }));
    let mut node = head.finish(&reader, Vec::new(), kind, dead_letter);
    node.has_input = false;
    node
}

/// The keys of a source in a table that is loaded as a whole.
pub(super) fn of_table(reader: &Reader<'_>) -> Source {
    let connector = connector(reader);
    let format = format::read(reader);
    let errors = reader.problems.errors();
    let schema = column::read(reader);
    let schema_whole = reader.problems.errors() == errors;
    let metadata = metadata(reader);
    let validate_all = reader.choice("validate", &[("read", false), ("all", true)]) == Some(true);
    for key in [
        "event-time",
        "time",
        "watermark",
        "dead-letter",
        "id",
        "follow",
        "on-invalid",
    ] {
        // Refused by who reads the table.
        reader.get(key);
    }
    Source {
        connector: connector.unwrap_or_else(|| Word {
            text: String::new(),
            place: reader.place().clone(),
        }),
        own: reader.rest(),
        ours: reader.known(),
        format,
        schema,
        schema_item: reader.get("schema").cloned(),
        schema_whole,
        metadata,
        time: TimeSpec::Ingestion,
        event_time: None,
        watermark: watermark::default(TimeSpec::Ingestion),
        on_invalid: Some(OnInvalid::Fail),
        validate_all,
    }
}

/// `connector`, which must be there.
pub(super) fn connector(reader: &Reader<'_>) -> Option<Word> {
    let word = reader.word("connector");
    if word.is_none() && reader.get("connector").is_none() {
        reader.missing("connector", "say what is read or written, as in `connector = \"file\"`");
    }
    word
}

/// `metadata`: a list of the connector's names, or a table from them to names of columns.
fn metadata(reader: &Reader<'_>) -> Vec<MetadataSpec> {
    let Some(item) = reader.get("metadata") else {
        return Vec::new();
    };
    match &item.value {
        Value::Array(_) => {
            let words = reader.words("metadata").unwrap_or_default();
            words
                .into_iter()
                .map(|word| MetadataSpec {
                    key: word.clone(),
                    name: word,
                })
                .collect()
        }
        Value::Table(table) => {
            let named = table.entries.iter().filter_map(|entry| match &entry.item.value {
                Value::String(name) if !name.value.trim().is_empty() => Some(MetadataSpec {
                    key: Word {
                        text: entry.key.clone(),
                        place: entry.place.clone(),
                    },
                    name: Word {
                        text: name.value.clone(),
                        place: entry.item.place.clone(),
                    },
                }),
                _ => {
                    reader.wrong_type(&format!("metadata.{}", entry.key), &entry.item, "the name of a column");
                    None
                }
            });
            named.collect()
        }
        _ => {
            reader.wrong_type(
                "metadata",
                item,
                "a list such as [\"file\", \"line\"], or a table such as { file = \"name\" }",
            );
            Vec::new()
        }
    }
}

fn time(reader: &Reader<'_>) -> TimeSpec {
    let chosen = reader.choice(
        "time",
        &[
            ("event", TimeSpec::Event),
            ("ingestion", TimeSpec::Ingestion),
            ("processing", TimeSpec::Processing),
        ],
    );
    let has_column = reader.get("event-time").is_some();
    match chosen {
        Some(TimeSpec::Event) if !has_column => {
            reader.missing("event-time", "name the timestamp column that holds the event time");
            // What the watermark would have to be is known all the same.
            TimeSpec::Event
        }
        Some(other @ (TimeSpec::Ingestion | TimeSpec::Processing)) if has_column => {
            reader.pointless(
                "event-time",
                "the source goes by the clock, because `time` says so",
                "leave `time` out, or the column",
            );
            other
        }
        Some(time) => time,
        None if has_column => TimeSpec::Event,
        None => TimeSpec::Ingestion,
    }
}

/// `time-zone`: a name of the time zone database.
pub(super) fn time_zone(reader: &Reader<'_>) -> Option<String> {
    let word = reader.word("time-zone")?;
    // Not the machine's own: all machines agree.
    let zones = jiff::tz::TimeZoneDatabase::bundled();
    if zones.get(&word.text).is_ok() {
        return Some(word.text);
    }
    let names: Vec<String> = zones.available().map(|name| name.to_string()).collect();
    let help = match suggest(&word.text, names.iter().map(String::as_str)) {
        Some(meant) => format!("did you mean \"{meant}\"?"),
        None => "use a name of the IANA time zone database, such as \"Europe/Berlin\"; UTC is the default".to_owned(),
    };
    let message = format!("there is no time zone \"{}\"", word.text);
    reader.problems.error(codes::TIME_ZONE, message, &word.place, help);
    None
}
