//! Undecoded data of a partition on its way to a worker, and the rows that come of it.

use std::sync::Arc;

use wasmill_connector_api::format::{Block, Decoded, Decoder, InvalidRecord};
use wasmill_connector_api::source::{Columns, Records};
use wasmill_core::column::{Column, Scalar};
use wasmill_core::fault::{Domain, Fault};
use wasmill_core::time::Timestamp;

/// A piece of a partition, in the order of `sequence`.
#[derive(Debug)]
pub(crate) struct Piece {
    pub(crate) sequence: u64,
    /// When it was read.
    pub(crate) read_at: Timestamp,
    pub(crate) data: Data,
}

/// What was read.
#[derive(Debug)]
pub(crate) enum Data {
    /// Bytes for the format.
    Bytes {
        block: Block,
        places: Places,
        /// The line of the first record where it is known; else lines go on from the piece before.
        first_line: Option<u64>,
        metadata: Metadata,
    },
    /// Rows already.
    Rows(Columns),
}

/// Where a block's records stand in the partition.
#[derive(Debug)]
pub(crate) enum Places {
    /// In a stream of bytes, from this position on.
    Stream(u64),
    /// Each at its own.
    Each(Vec<u64>),
}

/// The connector's metadata of a piece.
#[derive(Clone, Debug)]
pub(crate) enum Metadata {
    /// The same for every record.
    Constant(Arc<[Scalar]>),
    /// A value per record.
    Each(Vec<Column>),
}

/// The rows of a piece, not yet stamped.
#[derive(Debug)]
pub(crate) struct Rows {
    pub(crate) read_at: Timestamp,
    pub(crate) rows: usize,
    pub(crate) columns: Vec<Option<Column>>,
    pub(crate) positions: Vec<u64>,
    pub(crate) metadata: Metadata,
    /// For pieces that have lines: the line of each row within the piece, from 0.
    pub(crate) lines: Vec<u32>,
    pub(crate) line_count: u32,
    pub(crate) first_line: Option<u64>,
    pub(crate) invalid: Vec<InvalidRecord>,
    pub(crate) original: Option<Original>,
}

/// The bytes that rows were decoded from.
#[derive(Debug)]
pub(crate) struct Original {
    pub(crate) block: Block,
    /// Where each valid row's record begins in the block.
    pub(crate) starts: Vec<u32>,
    pub(crate) places: Places,
}

impl Original {
    /// The record that begins at `start`, without its line end.
    pub(crate) fn record(&self, start: u32, following: Option<u32>) -> &[u8] {
        let end = match &self.block.ends {
            Some(ends) => ends[ends.partition_point(|&end| end <= start)],
            None => following.unwrap_or(self.block.bytes.len() as u32),
        };
        let record = &self.block.bytes[start as usize..end as usize];
        match &self.block.ends {
            Some(_) => record,
            None => record
                .strip_suffix(b"\n")
                .map_or(record, |line| line.strip_suffix(b"\r").unwrap_or(line)),
        }
    }

    /// The position in the partition of the record that begins at `start`.
    pub(crate) fn position(&self, start: u32) -> u64 {
        match (&self.places, &self.block.ends) {
            (Places::Stream(first), _) => first + u64::from(start),
            (Places::Each(positions), Some(ends)) => positions[ends.partition_point(|&end| end <= start)],
            (Places::Each(_), None) => unreachable!("records have ends"),
        }
    }
}

impl Data {
    /// Whole records of a stream of bytes.
    pub(crate) fn from_stretch(stretch: super::framing::Stretch) -> Self {
        Self::Bytes {
            block: Block {
                prologue: stretch.prologue,
                bytes: stretch.bytes,
                ends: None,
            },
            places: Places::Stream(stretch.position),
            first_line: stretch.first_line,
            metadata: Metadata::Constant(stretch.metadata),
        }
    }

    /// The bytes that it holds, about.
    pub(crate) fn size_bytes(&self) -> u64 {
        match self {
            Self::Bytes { block, .. } => block.bytes.len() as u64,
            Self::Rows(Columns { columns, .. }) => {
                columns.iter().flatten().map(|column| column.size_bytes() as u64).sum()
            }
        }
    }

    /// Records that are messages.
    pub(crate) fn from_records(records: Records) -> Self {
        Self::Bytes {
            block: Block {
                prologue: bytes::Bytes::new(),
                bytes: records.bytes,
                ends: Some(records.ends),
            },
            places: Places::Each(records.positions),
            first_line: None,
            metadata: Metadata::Each(records.metadata),
        }
    }
}

/// Decodes a piece.
pub(crate) fn decode(piece: Piece, decoder: Option<&mut Box<dyn Decoder>>) -> Result<Rows, Fault> {
    let read_at = piece.read_at;
    match piece.data {
        Data::Rows(Columns {
            columns,
            positions,
            metadata,
        }) => Ok(Rows {
            read_at,
            rows: positions.len(),
            columns,
            positions,
            metadata: Metadata::Each(metadata),
            lines: Vec::new(),
            line_count: 0,
            first_line: None,
            invalid: Vec::new(),
            original: None,
        }),
        Data::Bytes {
            block,
            places,
            first_line,
            metadata,
        } => {
            let decoder = decoder.ok_or_else(|| {
                Fault::fatal(
                    Domain::Internal,
                    "the source yields bytes, but its plan names no format",
                )
            })?;
            let Decoded {
                rows,
                columns,
                starts,
                lines,
                line_count,
                invalid,
            } = decoder.decode(&block)?;
            let original = Original { block, starts, places };
            let positions = original.starts.iter().map(|&start| original.position(start)).collect();
            let metadata = match metadata {
                Metadata::Each(columns) if rows < columns.first().map_or(rows, Column::len) => {
                    // Invalid records have metadata, but no row.
                    let ends = original.block.ends.as_deref().unwrap_or(&[]);
                    let valid: Vec<u32> = original
                        .starts
                        .iter()
                        .map(|start| ends.partition_point(|end| end <= start) as u32)
                        .collect();
                    Metadata::Each(columns.iter().map(|column| column.gather(&valid)).collect())
                }
                other => other,
            };
            Ok(Rows {
                read_at,
                rows,
                columns,
                positions,
                metadata,
                lines,
                line_count,
                first_line,
                invalid,
                original: Some(original),
            })
        }
    }
}
