//! The rows of a step: as tables in the test file, or from a file of CSV or JSON lines.

use std::path::Path;

use bytes::Bytes;

use wasmill_connector_api::format::{Block, DecodeSpec, Decoded, Prologue};
use wasmill_connector_api::registry::Registry;
use wasmill_core::column::{Column, ColumnBuilder, Scalar, Value as Cell};
use wasmill_core::plan::{MetadataColumn, SourceColumn, TimestampFormat};
use wasmill_core::schema::{DataType, Schema};
use wasmill_topology::codes;
use wasmill_topology::reading::{Entry, Item, Problems, Table, Value, Word, list};

use crate::subject::unknown_column;
use crate::value;

/// The columns of rows that a test gives.
pub(crate) struct Given<'a> {
    /// How diagnostics call what they are for: "source `flights`".
    pub(crate) name: String,
    pub(crate) schema: &'a Schema,
    /// The columns of the data, which stand first in the schema.
    pub(crate) columns: &'a [SourceColumn],
    /// Which columns must have values.
    pub(crate) needed: Vec<bool>,
    /// The columns behind them, which tell where a record was.
    pub(crate) metadata: &'a [MetadataColumn],
    /// The format of the source, where it has one.
    pub(crate) format: Option<(&'a str, &'a serde_json::Value)>,
}

/// Values by column; `None` for columns that nobody needs.
pub(crate) type Columns = Vec<Option<Column>>;

/// Where files are, and what decodes them.
pub(crate) struct Files<'a> {
    pub(crate) folder: &'a Path,
    pub(crate) registry: &'a Registry,
}

impl Given<'_> {
    /// Reads `rows`. `None` after a problem.
    pub(crate) fn read(&self, item: &Item, files: &Files<'_>, problems: &Problems) -> Option<(usize, Columns)> {
        match &item.value {
            Value::Array(items) => self.tables(items, problems),
            Value::String(text) => {
                let word = Word {
                    text: text.value.clone(),
                    place: item.place.clone(),
                };
                self.file(&word, files, problems)
            }
            _ => {
                wrong_rows(item, problems);
                None
            }
        }
    }

    fn tables(&self, items: &[Item], problems: &Problems) -> Option<(usize, Columns)> {
        let errors = problems.errors();
        let fields = self.schema.fields();
        let mut builders: Vec<ColumnBuilder> = fields
            .iter()
            .map(|field| ColumnBuilder::new(field.data_type, items.len()))
            .collect();
        for item in items {
            let Value::Table(row) = &item.value else {
                wrong_rows(item, problems);
                continue;
            };
            for entry in &row.entries {
                if self.schema.index_of(&entry.key).is_none() {
                    unknown_column(problems, &word(entry), &self.name, self.schema);
                }
            }
            self.report_missing(row, item, problems);
            for (column, builder) in builders.iter_mut().enumerate() {
                let value = self.value(row, column, problems);
                builder.push(value.unwrap_or(Scalar::Null).as_value());
            }
        }
        let columns = builders.into_iter().zip(&self.needed);
        let columns = columns.map(|(builder, needed)| needed.then(|| builder.finish()));
        let columns = columns.collect();
        (problems.errors() == errors).then_some((items.len(), columns))
    }

    /// Reports columns that must have a value. One that is misspelt is reported as such.
    fn report_missing(&self, row: &Table, item: &Item, problems: &Problems) {
        let columns = self.schema.fields().iter().zip(&self.needed);
        let missing = columns.filter(|(field, needed)| **needed && !field.nullable && row.entry(&field.name).is_none());
        let missing: Vec<&str> = missing.map(|(field, _)| &*field.name).collect();
        let misspelt = row
            .entries
            .iter()
            .any(|entry| self.schema.index_of(&entry.key).is_none());
        if !missing.is_empty() && !misspelt {
            problems.error(
                codes::TEST_ROW,
                format!("a row of {} has no {}", self.name, list(&missing)),
                &item.place,
                "only what is nullable may be left out",
            );
        }
    }

    fn value(&self, row: &Table, column: usize, problems: &Problems) -> Option<Scalar> {
        let field = &self.schema.fields()[column];
        let timestamp = self.columns.get(column).and_then(|column| column.timestamp.as_ref());
        typed(row.entry(&field.name)?, field.data_type, timestamp, problems)
    }

    fn file(&self, path: &Word, files: &Files<'_>, problems: &Problems) -> Option<(usize, Columns)> {
        let refuse = |message: String, help: &str| problems.error(codes::TEST_FILE, message, &path.place, help);
        let full = files.folder.join(&path.text);
        let ending = full.extension().unwrap_or_default().to_string_lossy().to_lowercase();
        let name = match ending.as_str() {
            "csv" => "csv",
            "json" | "jsonl" | "ndjson" => "json",
            _ => {
                let help = "rows are in a .csv or a .jsonl file, or stand here as tables: `rows = [{ id = 1 }]`";
                refuse(format!("{} is no file of rows", path.text), help);
                return None;
            }
        };
        let bytes = match std::fs::read(&full) {
            Ok(bytes) => bytes,
            Err(error) => {
                let help = "its path starts at the folder of the test file";
                refuse(format!("the file {} cannot be read: {error}", path.text), help);
                return None;
            }
        };
        let default = serde_json::json!({});
        let config = match self.format {
            Some((format, config)) if format == name => config,
            _ => &default,
        };
        let mut needed = self.needed[..self.columns.len()].to_vec();
        needed.resize(self.columns.len(), false);
        match decode(name, config, self.columns, &needed, bytes, files.registry) {
            Ok(Read { decoded, header_lines }) => {
                let mut columns = decoded.columns.clone();
                let needed = self.metadata.iter().zip(&self.needed[self.columns.len()..]);
                for (column, needed) in needed {
                    columns.push(needed.then(|| metadata(column, &path.text, &decoded, header_lines)));
                }
                Some((decoded.rows, columns))
            }
            Err(reason) => {
                refuse(
                    format!("the rows of {} cannot be read: {reason}", path.text),
                    "correct the file, or the schema",
                );
                None
            }
        }
    }
}

fn decode(
    name: &str,
    config: &serde_json::Value,
    columns: &[SourceColumn],
    live: &[bool],
    bytes: Vec<u8>,
    registry: &Registry,
) -> Result<Read, String> {
    let format = registry
        .find_format(name)
        .ok_or_else(|| format!("there is no format \"{name}\""))?;
    let spec = DecodeSpec {
        columns: columns.to_vec(),
        live: live.to_vec(),
        validate_all: false,
    };
    let fault = |fault: wasmill_core::fault::Fault| fault.to_string();
    let mut decoder = format.decoder(config, &spec).map_err(fault)?;
    let mut framer = format.framer(config).map_err(fault)?;
    let Prologue::Ends(prologue) = framer.prologue(&bytes, true) else {
        return Err("it ends before its first record".to_owned());
    };
    let whole = Bytes::from(bytes);
    let records = whole.slice(prologue..);
    let end = framer.whole_records(&records, true);
    let block = Block {
        prologue: whole.slice(..prologue),
        bytes: records.slice(..end),
        ends: None,
    };
    let decoded = decoder.decode(&block).map_err(fault)?;
    let header_lines = whole[..prologue].split(|&byte| byte == b'\n').count() - 1;
    if let Some(invalid) = decoded.invalid.first() {
        let line = header_lines + invalid.line as usize + 1;
        return Err(format!("line {line}: {}", invalid.reason));
    }
    Ok(Read { decoded, header_lines })
}

/// What a file holds.
struct Read {
    decoded: Decoded,
    /// Lines before the first record.
    header_lines: usize,
}

/// A metadata column of a file's rows: the line, where the record begins, or the file's name.
fn metadata(column: &MetadataColumn, file: &str, decoded: &Decoded, header_lines: usize) -> Column {
    let mut builder = ColumnBuilder::new(column.field.data_type, decoded.rows);
    for row in 0..decoded.rows {
        builder.push(match (column.field.data_type, column.key.as_str()) {
            (DataType::Int64, "line") => Cell::Int64(header_lines as i64 + i64::from(decoded.lines[row]) + 1),
            (DataType::Int64, _) => Cell::Int64(i64::from(decoded.starts[row])),
            (DataType::Utf8, _) => Cell::Utf8(file),
            _ => Cell::Null,
        });
    }
    builder.finish()
}

/// A value by the type of its column, or a problem.
pub(crate) fn typed(
    entry: &Entry,
    data_type: DataType,
    timestamp: Option<&TimestampFormat>,
    problems: &Problems,
) -> Option<Scalar> {
    match value::read(&entry.item, data_type, timestamp) {
        Ok(value) => Some(value),
        Err(expected) => {
            problems.error(
                codes::TEST_ROW,
                format!("`{}` must be {expected}", entry.key),
                &entry.item.place,
                format!("the column is {data_type}"),
            );
            None
        }
    }
}

fn word(entry: &Entry) -> Word {
    Word {
        text: entry.key.clone(),
        place: entry.place.clone(),
    }
}

pub(crate) fn wrong_rows(item: &Item, problems: &Problems) {
    problems.error(
        codes::WRONG_TYPE,
        "`rows` must be a list of rows, or a file of them",
        &item.place,
        "write `rows = [{ id = 1 }]` or `rows = \"rows.csv\"`; of several inputs `rows.NAME = [...]`",
    );
}
