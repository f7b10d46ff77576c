//! `schema`: the columns of a source's data.

use jiff::fmt::strtime;

use wasmill_core::plan::{SourceColumn, TimestampFormat, TimestampUnit};
use wasmill_core::schema::{DataType, Field};

use super::source::time_zone;
use crate::codes;
use crate::document::{Item, Table, Value};
use crate::place::Place;
use crate::problems::did_you_mean;
use crate::reader::Reader;

/// A column of a schema and where its parts stand.
pub(crate) struct ColumnSpec {
    pub(crate) column: SourceColumn,
    pub(crate) name_place: Place,
}

/// Reads `schema`. `None` where the file has none; `Some(None)` where it cannot be read.
pub(super) fn read(reader: &Reader<'_>) -> Option<Vec<ColumnSpec>> {
    let item = reader.get("schema")?;
    let Value::Array(items) = &item.value else {
        reader.wrong_type(
            "schema",
            item,
            "a list of columns, as in [{ name = \"origin\", type = \"utf8\" }]",
        );
        return Some(Vec::new());
    };
    if items.is_empty() {
        reader.invalid(
            item,
            "`schema` has no columns",
            "list the columns, or leave the key out",
        );
    }
    let mut columns: Vec<ColumnSpec> = Vec::new();
    for (index, item) in items.iter().enumerate() {
        let Some(column) = one(reader, index, item) else {
            continue;
        };
        if let Some(earlier) = columns.iter().find(|c| c.column.field.name == column.column.field.name) {
            reader.problems.push(duplicate(
                &column.column.field.name,
                &column.name_place,
                &earlier.name_place,
            ));
            continue;
        }
        columns.push(column);
    }
    Some(columns)
}

/// Two columns of one name.
pub(crate) fn duplicate(name: &str, here: &Place, earlier: &Place) -> wasmill_core::diagnostic::Diagnostic {
    use crate::place::At as _;
    wasmill_core::diagnostic::Diagnostic::error(codes::DUPLICATE_COLUMN, format!("two columns are named `{name}`"))
        .at(here, "the name is taken")
        .at(earlier, "by this column")
        .help("give one of them another name")
}

fn one(source: &Reader<'_>, index: usize, item: &Item) -> Option<ColumnSpec> {
    let Value::Table(table) = &item.value else {
        source.wrong_type(
            &format!("schema[{index}]"),
            item,
            "a table such as { name = \"origin\", type = \"utf8\" }",
        );
        return None;
    };
    let reader = Reader::new(table, called(table, index), source.problems);
    let name = reader.word("name");
    if name.is_none() && table.entry("name").is_none() {
        reader.missing("name", "every column needs a name");
    }
    let data_type = data_type(&reader);
    let nullable = reader.boolean("nullable").unwrap_or(false);
    let path = path(&reader);
    let timestamp = timestamp(&reader, data_type);
    reader.finish();
    let name = name?;
    Some(ColumnSpec {
        column: SourceColumn {
            path: path.unwrap_or_else(|| vec![name.text.clone()]),
            field: Field {
                name: name.text.into(),
                data_type: data_type?,
                nullable,
            },
            timestamp,
        },
        name_place: name.place,
    })
}

fn called(table: &Table, index: usize) -> String {
    match table.entry("name").map(|entry| &entry.item.value) {
        Some(Value::String(name)) => format!("column `{}`", name.written),
        _ => format!("column {}", index + 1),
    }
}

fn data_type(reader: &Reader<'_>) -> Option<DataType> {
    const OTHER_NAMES: [(&[&str], DataType); 6] = [
        (&["string", "text", "str", "varchar", "char"], DataType::Utf8),
        (
            &["int", "integer", "int32", "int16", "long", "bigint", "i64"],
            DataType::Int64,
        ),
        (
            &["float", "double", "float32", "real", "f64", "number", "decimal"],
            DataType::Float64,
        ),
        (&["bool"], DataType::Boolean),
        (&["bytes", "blob"], DataType::Binary),
        (&["datetime", "date", "time", "timestamptz"], DataType::Timestamp),
    ];
    let names = || DataType::ALL.iter().map(|data_type| data_type.name());
    let Some(word) = reader.word("type") else {
        if reader.get("type").is_none() {
            let names: Vec<_> = names().collect();
            reader.missing("type", format!("the types are {}", crate::problems::list(&names)));
        }
        return None;
    };
    let found = DataType::from_name(&word.text);
    if found.is_none() {
        let plain = word.text.to_lowercase();
        let meant = OTHER_NAMES.iter().find(|(others, _)| others.contains(&plain.as_str()));
        let help = match meant {
            Some((_, meant)) => format!("here it is called `{meant}`"),
            None => did_you_mean(&word.text, "the types are", names()),
        };
        reader.problems.error(
            codes::INVALID_VALUE,
            format!("there is no type `{}`", word.text),
            &word.place,
            help,
        );
    }
    found
}

/// `path`: names parted by dots, or a list of names that may hold dots.
fn path(reader: &Reader<'_>) -> Option<Vec<String>> {
    let item = reader.get("path")?;
    let steps: Vec<String> = match &item.value {
        Value::Array(_) => reader.words("path")?.into_iter().map(|word| word.text).collect(),
        Value::String(text) => text.value.split('.').map(str::to_owned).collect(),
        _ => {
            reader.wrong_type("path", item, "names parted by dots, or a list of names");
            return None;
        }
    };
    if steps.is_empty() || steps.iter().any(|step| step.trim().is_empty()) {
        reader.invalid(
            item,
            "`path` has an empty step",
            "write the names on the way, as in \"bid.auction\"; names with dots stand in a list, as in [\"a.b\", \"c\"]",
        );
        return None;
    }
    Some(steps)
}

/// `format`, `time-zone` and `unit`.
fn timestamp(reader: &Reader<'_>, data_type: Option<DataType>) -> Option<TimestampFormat> {
    if data_type != Some(DataType::Timestamp) {
        if data_type.is_some() {
            for key in ["format", "time-zone", "unit"] {
                reader.pointless(
                    key,
                    "this column is no timestamp",
                    "leave it out, or use `type = \"timestamp\"`",
                );
            }
        } else {
            // What it should be is not known, so neither is whether these belong here.
            for key in ["format", "time-zone", "unit"] {
                reader.get(key);
            }
        }
        return None;
    }
    let units = [
        ("s", TimestampUnit::S),
        ("ms", TimestampUnit::Ms),
        ("us", TimestampUnit::Us),
        ("ns", TimestampUnit::Ns),
    ];
    let format = reader.word("format");
    let has_format = reader.get("format").is_some();
    let unit = reader.choice("unit", &units);
    if has_format && reader.get("unit").is_some() {
        reader.pointless(
            "unit",
            "a timestamp is either text with a `format` or a number with a `unit`",
            "leave one of the two out",
        );
    }
    let zone = time_zone(reader);
    if !has_format {
        reader.pointless(
            "time-zone",
            "RFC 3339 and numbers say by themselves which moment they mean",
            "leave it out, or add a `format`, as in `format = \"%d.%m.%Y %H:%M\"`",
        );
    }
    if let Some(unit) = unit {
        return Some(TimestampFormat::Unit(unit));
    }
    let Some(pattern) = format else {
        return Some(TimestampFormat::Rfc3339);
    };
    if let Err((message, help)) = check_pattern(&pattern.text) {
        reader.problems.error(codes::PATTERN, message, &pattern.place, help);
    }
    Some(TimestampFormat::Pattern {
        pattern: pattern.text,
        time_zone: zone,
    })
}

/// Whether what the pattern writes can be read back to a moment.
fn check_pattern(pattern: &str) -> Result<(), (String, String)> {
    let help = || "use strftime's letters, as in \"%Y-%m-%d %H:%M:%S\"".to_owned();
    if !pattern.contains('%') {
        return Err((format!("\"{pattern}\" is not a strftime pattern"), help()));
    }
    let example = jiff::civil::date(2013, 1, 31).at(13, 45, 56, 789_123_000);
    let example = example
        .to_zoned(jiff::tz::TimeZone::UTC)
        .expect("the moment exists in UTC");
    let broken = |error: jiff::Error| (format!("the pattern \"{pattern}\" cannot be used: {error}"), help());
    let written = strtime::format(pattern, &example).map_err(broken)?;
    let read = strtime::BrokenDownTime::parse(pattern, &written).map_err(broken)?;
    if read.to_timestamp().is_err() && read.to_datetime().is_err() {
        return Err((
            format!("the pattern \"{pattern}\" leaves the day open"),
            "a timestamp needs a year, a month and a day, as in \"%Y-%m-%d %H:%M:%S\"".to_owned(),
        ));
    }
    Ok(())
}
