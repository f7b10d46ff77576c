//! Sources: partitions that are read in blocks.
//!
//! A source finds partitions; a partition is read from a position on. The driver decides which partition is read next
//! (the one whose watermark is lowest), how far, and when; the reader hands over undecoded blocks, which workers decode.

use std::sync::Arc;

use async_trait::async_trait;
use bytes::Bytes;
use serde::Serialize;
use serde::de::DeserializeOwned;

use wasmill_core::column::{Column, Scalar};
use wasmill_core::fault::Fault;
use wasmill_core::id::PartitionName;
use wasmill_core::schema::{DataType, Schema};
use wasmill_core::time::Micros;

use crate::config::{ConfigProblem, Folder};

/// A kind of source: its name in topologies, its configuration, and how it is opened.
pub trait SourceConnector: Send + Sync + 'static {
    /// The name in `connector = "..."`.
    const NAME: &'static str;
    /// The connector's own keys of the source's table; unknown keys are refused.
    type Config: Serialize + DeserializeOwned + Send + 'static;

    /// Says what the source will be, from its configuration alone. It may look at local files, at nothing else.
    ///
    /// # Errors
    /// Everything that is wrong with the configuration.
    fn describe(config: &Self::Config, folder: &Folder) -> Result<SourceDescription, Vec<ConfigProblem>>;

    /// Opens the source.
    ///
    /// # Errors
    /// The system behind it refuses, or cannot be reached.
    fn open(config: Self::Config, context: SourceContext) -> Result<Box<dyn Source>, Fault>;
}

/// What a source is given when it is opened.
#[derive(Clone, Debug)]
pub struct SourceContext {
    /// The topology's folder.
    pub folder: Folder,
    /// The metadata columns that are asked for, by key, in order. Those that the driver knows by itself (`line`,
    /// `position`, `partition`) are not among them.
    pub metadata: Vec<String>,
    /// For a source of columns: which of its columns something reads.
    pub live: Vec<bool>,
    /// Rows that one payload of columns should have at most.
    pub batch_rows: usize,
}

/// What a source will be.
#[derive(Clone, Debug)]
pub struct SourceDescription {
    /// What it yields.
    pub yields: Yields,
    /// Metadata columns that it can give beside those of the driver.
    pub metadata: &'static [Metadata],
    /// Whether it ends by itself.
    pub bounded: bool,
    /// Whether all that it ever reads is one partition.
    pub one_partition: bool,
    /// How often to look for partitions that appear later, while discovery is not complete.
    pub discover_every: Micros,
    /// Whether it can be read again from a position.
    pub replay: Replay,
    /// Why two runs may read different records or partitions, where that is so.
    pub irreproducible: Option<String>,
    /// What it reads, as far as it is there now, in the words of
    /// [`SinkDescription::target`](crate::sink::SinkDescription::target): a sink of the same connector that writes to
    /// one of these is refused.
    pub reads: Vec<String>,
}

/// What a source yields.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Yields {
    /// Bytes, which need a format.
    Bytes,
    /// Columns with this schema; a format or another schema is refused.
    Columns(Schema),
}

/// A metadata column that a connector offers.
#[derive(Clone, Copy, Debug)]
pub struct Metadata {
    /// Its key in `metadata = [...]`.
    pub key: &'static str,
    /// Its type.
    pub data_type: DataType,
    /// Whether it may be null.
    pub nullable: bool,
    /// One line on what it is.
    pub about: &'static str,
}

/// Whether records can be read again.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Replay {
    /// From any position that is still kept.
    Replayable,
    /// Until they are acknowledged.
    Acknowledged,
    /// Never.
    Lossy,
}

/// An open source.
#[async_trait]
pub trait Source: Send {
    /// Partitions that were not reported before. The driver calls once at the start, then each `discover-every` while
    /// the source is not complete.
    async fn discover(&mut self) -> Result<Discovery, Fault>;

    /// Opens a partition: at its beginning, or where a checkpoint says.
    ///
    /// With `from`, reading gives exactly the records whose position is [`Resume::position`] or above, each under the
    /// position that it had before. A partition of a checkpoint may be opened although [`discover`](Self::discover) has
    /// not reported it: what held it may have another name by now. It is not reported afterwards.
    ///
    /// # Errors
    /// The partition cannot be read, or what is there is not what was read before: the fault says what can be done. A
    /// reader may give this fault at its first read instead.
    async fn open(
        &mut self,
        partition: &PartitionName,
        from: Option<&Resume>,
    ) -> Result<Box<dyn PartitionReader>, Fault>;
}

/// Where the reading of a partition goes on. A checkpoint holds it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Resume {
    /// Where the next record begins, as the positions of payloads count; of whole records and of rows: one more than
    /// that of the last one before. Nothing need begin there (yet).
    pub position: u64,
    /// What [`PartitionReader::note`] said after the payload with the byte or the record before `position`, or after any
    /// later one of the same stream of bytes. Empty if nothing was read.
    pub note: Bytes,
}

/// What [`Source::discover`] found.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Discovery {
    /// New partitions, by name.
    pub partitions: Vec<PartitionName>,
    /// No partition will ever be added.
    pub complete: bool,
}

/// One partition, being read.
#[async_trait]
pub trait PartitionReader: Send {
    /// The next payload, of about `bytes_max` bytes at most. Cancel-safe: a call that is dropped has taken nothing.
    async fn read(&mut self, bytes_max: usize) -> Result<Read, Fault>;

    /// What opening the partition again takes beside a position: the connector's own, such as a path and an inode. It
    /// belongs to the last payload that was handed over, and changes with nothing else: not with a boundary, nor when a
    /// call to [`read`](Self::read) is dropped. Within a stream of bytes (up to its boundary) a later note holds for
    /// earlier positions too. Before the first payload: the note that the partition was opened with, or nothing. Asked
    /// for after each payload, so it should be cheap.
    fn note(&self) -> Bytes;

    /// A checkpoint has become durable that goes on from `position` (as [`Resume::position`]): no record before it will
    /// be asked for again. A source of [`Replay::Acknowledged`] acknowledges them; others may do nothing. Calls come in
    /// ascending order, between calls of [`read`](Self::read).
    async fn acknowledge(&mut self, position: u64) -> Result<(), Fault>;
}

/// What a read gave.
#[derive(Debug)]
pub enum Read {
    /// Data, in the partition's order.
    Data(Payload),
    /// Nothing at present; there may be more later. The driver asks again after the poll interval.
    Nothing,
    /// The stream of bytes begins anew (the next file of a sequence): what is not yet framed ends here, another prologue
    /// follows, lines are counted from 1.
    Boundary,
    /// The partition has ended.
    End,
}

/// Data of one partition.
#[derive(Clone, Debug)]
pub enum Payload {
    /// The next stretch of a stream of bytes, wherever it was cut; the format finds the records.
    Stream {
        /// The bytes, from where the stretch before ended.
        bytes: Bytes,
        /// The position of the first byte. Within a stream, positions count bytes; over the whole partition they ascend.
        position: u64,
        /// The metadata of [`SourceContext::metadata`], the same for every record of the stretch.
        metadata: Arc<[Scalar]>,
    },
    /// Whole records, each a message of its own.
    Records(Records),
    /// Rows that need no decoding.
    Columns(Columns),
}

/// Whole records.
#[derive(Clone, Debug)]
pub struct Records {
    /// The records' bytes, one after the other.
    pub bytes: Bytes,
    /// Where each record ends in `bytes`.
    pub ends: Vec<u32>,
    /// Each record's position in the partition; ascending.
    pub positions: Vec<u64>,
    /// The metadata columns of [`SourceContext::metadata`], a value per record.
    pub metadata: Vec<Column>,
}

/// Rows that need no decoding.
#[derive(Clone, Debug)]
pub struct Columns {
    /// The columns of the source's schema; `None` where nobody reads it.
    pub columns: Vec<Option<Column>>,
    /// Each row's position in the partition; ascending.
    pub positions: Vec<u64>,
    /// The metadata columns of [`SourceContext::metadata`], a value per row.
    pub metadata: Vec<Column>,
}
