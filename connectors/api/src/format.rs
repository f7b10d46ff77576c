//! Formats: how bytes become rows, and rows bytes.
//!
//! Framing (where do records end?) is sequential and cheap and stands in the reader; decoding is the work and happens
//! on any worker, block by block, of only the columns that something reads.

pub mod csv;
pub mod json;
pub mod raw;
pub mod text;

pub mod base64;
mod lines;
mod number;
mod slots;
mod timestamps;

use bytes::Bytes;
use serde::Serialize;
use serde::de::DeserializeOwned;

use wasmill_core::batch::Batch;
use wasmill_core::column::Column;
use wasmill_core::fault::{Domain, Fault};
use wasmill_core::plan::{SourceColumn, TimestampFormat};
use wasmill_core::schema::{DataType, Field, Schema};
use wasmill_core::transform::Reject;

use crate::config::{ConfigProblem, Step};

/// A format: its name in topologies, its configuration, and its parts.
pub trait Format: Send + Sync + 'static {
    /// The name in `format = "..."`.
    const NAME: &'static str;
    /// The format's own keys; unknown keys are refused.
    type Config: Serialize + DeserializeOwned + Send + 'static;

    /// The columns that a source of this format has. `declared` is the topology's schema, `None` where it has none.
    ///
    /// # Errors
    /// Everything that is wrong with the configuration or the declared columns, whose paths begin with `schema`.
    fn source_columns(
        config: &Self::Config,
        declared: Option<&[SourceColumn]>,
    ) -> Result<Vec<SourceColumn>, Vec<ConfigProblem>>;

    /// Checks that rows of this schema can be written.
    ///
    /// # Errors
    /// Everything that stands in the way.
    fn check_sink(config: &Self::Config, columns: &[Field]) -> Result<(), Vec<ConfigProblem>>;

    /// Finds where records end in a partition that is a stream of bytes.
    fn framer(config: &Self::Config) -> Box<dyn Framer>;

    /// Decodes blocks.
    ///
    /// # Errors
    /// The columns do not fit the format.
    fn decoder(config: &Self::Config, spec: &DecodeSpec) -> Result<Box<dyn Decoder>, Fault>;

    /// Encodes rows.
    ///
    /// # Errors
    /// The columns do not fit the format.
    fn encoder(config: &Self::Config, spec: &EncodeSpec) -> Result<Box<dyn Encoder>, Fault>;
}

/// What is to be decoded.
#[derive(Clone, Debug)]
pub struct DecodeSpec {
    /// The columns of the source.
    pub columns: Vec<SourceColumn>,
    /// Which of them something reads. Others are not decoded and not checked, but for the record's structure.
    pub live: Vec<bool>,
    /// Check columns that nobody reads too.
    pub validate_all: bool,
}

/// What is to be encoded.
#[derive(Clone, Debug)]
pub struct EncodeSpec {
    /// The input's schema.
    pub schema: Schema,
    /// The columns to write, by place in the schema.
    pub columns: Vec<usize>,
}

/// Finds where records end. One per partition, fed from the partition's start on.
pub trait Framer: Send {
    /// The length of what stands before the first record (a byte order mark, a CSV header), once `bytes`, the
    /// partition's first, hold all of it. Asked until it answers.
    fn prologue(&mut self, bytes: &[u8], end_of_partition: bool) -> Prologue;

    /// How many of `bytes` are whole records. `bytes` begin where a record begins; the rest comes again, with more
    /// behind it. At the end of the partition the answer is all of them.
    fn whole_records(&mut self, bytes: &[u8], end_of_partition: bool) -> usize;
}

/// What stands before the first record.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Prologue {
    /// So many bytes.
    Ends(usize),
    /// More bytes are needed to say.
    Unknown,
}

/// Undecoded whole records of one partition.
#[derive(Clone, Debug)]
pub struct Block {
    /// What stands before the partition's first record.
    pub prologue: Bytes,
    /// The records.
    pub bytes: Bytes,
    /// Where each record ends in `bytes`, for records that are messages of their own; `None` for a stream of bytes.
    pub ends: Option<Vec<u32>>,
}

/// Decodes blocks. One per source and worker; nothing of a block is remembered.
pub trait Decoder: Send {
    /// Decodes a block. Records that cannot be decoded are no error, they are [`Decoded::invalid`].
    ///
    /// # Errors
    /// The block as a whole makes no sense: a column is missing in a CSV header.
    fn decode(&mut self, block: &Block) -> Result<Decoded, Fault>;
}

/// Rows of a block.
#[derive(Clone, Debug, Default)]
pub struct Decoded {
    /// The number of valid rows.
    pub rows: usize,
    /// The source's columns, each with a value per valid row; `None` where nobody reads it.
    pub columns: Vec<Option<Column>>,
    /// Where each valid row's record begins in the block.
    pub starts: Vec<u32>,
    /// The line of each valid row's record within the block, from 0.
    pub lines: Vec<u32>,
    /// The number of lines in the block.
    pub line_count: u32,
    /// Records that could not be decoded.
    pub invalid: Vec<InvalidRecord>,
}

/// A record that could not be decoded.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct InvalidRecord {
    /// How many valid rows of the block stand before it.
    pub rows_before: u32,
    /// Where it begins in the block.
    pub start: u32,
    /// Where it ends, without its line end.
    pub end: u32,
    /// Its line within the block, from 0.
    pub line: u32,
    /// The byte within the line at which the reason stands, from 1, where there is one.
    pub byte_column: Option<u32>,
    /// The column of the schema that could not be read, where it is one.
    pub column: Option<String>,
    /// Why.
    pub reason: String,
}

/// Encodes rows. One per sink and worker.
pub trait Encoder: Send {
    /// What a file or stream begins with before its first row.
    fn prologue(&self) -> Bytes;

    /// Appends the batch's rows, and where each ends. Rows that the format cannot express are rejected: nothing is
    /// appended for them.
    fn encode(&mut self, batch: &Batch, out: &mut Encoded) -> Vec<Reject>;
}

/// Encoded rows.
#[derive(Clone, Debug, Default)]
pub struct Encoded {
    /// The rows, one after the other.
    pub bytes: Vec<u8>,
    /// Where each ends.
    pub ends: Vec<u32>,
}

/// The columns that a topology declared, for a format that cannot know them by itself.
fn declared_columns<'a>(
    format: &str,
    declared: Option<&'a [SourceColumn]>,
) -> Result<&'a [SourceColumn], Vec<ConfigProblem>> {
    let Some(columns) = declared.filter(|columns| !columns.is_empty()) else {
        let problem = ConfigProblem::at("schema", format!("a source of {format} needs a schema"));
        return Err(vec![problem.help(
            "schema = [{ name = \"id\", type = \"int64\" }, { name = \"note\", type = \"utf8\", nullable = true }]",
        )]);
    };
    let problems: Vec<ConfigProblem> = columns
        .iter()
        .enumerate()
        .filter_map(|(index, column)| {
            let format = column.timestamp.as_ref().unwrap_or(&TimestampFormat::Rfc3339);
            let problem = timestamps::TimestampReader::new(format).err()?;
            Some(at_column(index, Some(problem.key), problem.message))
        })
        .collect();
    if problems.is_empty() {
        Ok(columns)
    } else {
        Err(problems)
    }
}

/// A problem of a declared column.
fn at_column(index: usize, key: Option<&str>, message: String) -> ConfigProblem {
    let mut path = vec![Step::Key("schema".to_owned()), Step::Index(index)];
    path.extend(key.map(|key| Step::Key(key.to_owned())));
    ConfigProblem {
        path,
        message,
        help: None,
    }
}

/// The one column of a format that gives the record as a whole: the format's own, or the one that the topology
/// declared in its place, under any name.
fn whole_record_column(
    format: &str,
    name: &str,
    data_type: DataType,
    declared: Option<&[SourceColumn]>,
) -> Result<Vec<SourceColumn>, Vec<ConfigProblem>> {
    match declared {
        None => Ok(vec![SourceColumn {
            field: Field::required(name, data_type),
            path: vec![name.to_owned()],
            timestamp: None,
        }]),
        Some([column]) if column.field.data_type == data_type => Ok(vec![column.clone()]),
        Some([column]) => Err(vec![at_column(
            0,
            Some("type"),
            format!("the column of {format} is {data_type}, not {}", column.field.data_type),
        )]),
        Some(columns) => Err(vec![ConfigProblem::at(
            "schema",
            format!("{format} gives one column of type {data_type}, not {}", columns.len()),
        )]),
    }
}

/// A plan holds only columns that were checked.
#[expect(clippy::needless_pass_by_value, reason = "it stands behind map_err")]
fn format_fault(problem: timestamps::FormatProblem) -> Fault {
    Fault::fatal(Domain::Internal, format!("a checked column: {}", problem.message))
}

/// Appends each row that `write` can write.
fn encode_rows(
    rows: usize,
    out: &mut Encoded,
    mut write: impl FnMut(usize, &mut Vec<u8>) -> Result<(), String>,
) -> Vec<Reject> {
    let mut rejects = Vec::new();
    out.ends.reserve(rows);
    for row in 0..rows {
        let start = out.bytes.len();
        match write(row, &mut out.bytes) {
            Ok(()) => out
                .ends
                .push(u32::try_from(out.bytes.len()).expect("encoded batches hold less than 4 GiB")),
            Err(message) => {
                out.bytes.truncate(start);
                rejects.push(Reject {
                    row: row as u32,
                    message,
                });
            }
        }
    }
    rejects
}

#[cfg(test)]
mod tests;
