//! Formats: how bytes become rows, and rows bytes.
//!
//! Framing (where do records end?) is sequential and cheap and stands in the reader; decoding is the work and happens
//! on any worker, block by block, of only the columns that something reads.

use bytes::Bytes;
use serde::Serialize;
use serde::de::DeserializeOwned;

use wasmill_core::batch::Batch;
use wasmill_core::column::Column;
use wasmill_core::fault::Fault;
use wasmill_core::plan::SourceColumn;
use wasmill_core::schema::{Field, Schema};
use wasmill_core::transform::Reject;

use crate::config::ConfigProblem;

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
