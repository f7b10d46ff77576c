//! A plan: a topology that was checked. What the topology could have wrong, a plan cannot.

use std::num::NonZeroUsize;
use std::path::PathBuf;
use std::sync::Arc;

use crate::aggregate::{AggregateDescription, Builtin};
use crate::id::{NodeId, NodeIndex, StreamIndex};
use crate::plugin::{Limits, PluginRef};
use crate::schema::{DataType, Field, Schema};
use crate::time::Micros;
use crate::transform::TransformDescription;
use crate::window::{Late, WindowSpec};

/// A topology that was checked.
#[derive(Clone, Debug)]
pub struct Plan {
    /// The topology's name.
    pub name: String,
    /// The folder of the topology file, absolute: relative paths start here.
    pub folder: PathBuf,
    /// Sources, operators and sinks; each stands after the producers of its inputs.
    pub nodes: Vec<Node>,
    /// The edges, by the port that feeds them.
    pub streams: Vec<Stream>,
    /// Settings of the engine.
    pub engine: EngineSettings,
    /// Why the output may differ between runs; empty for a reproducible topology.
    pub irreproducible: Vec<Irreproducible>,
}

impl Plan {
    /// A node.
    pub fn node(&self, index: NodeIndex) -> &Node {
        &self.nodes[index.0 as usize]
    }

    /// A stream.
    pub fn stream(&self, index: StreamIndex) -> &Stream {
        &self.streams[index.0 as usize]
    }
}

/// One reason why a topology is not reproducible.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Irreproducible {
    /// The part.
    pub node: NodeId,
    /// Why, and what would make it reproducible.
    pub reason: String,
}

/// Settings of the engine, each with its default.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct EngineSettings {
    /// Worker threads. `None`: one per core.
    pub workers: Option<NonZeroUsize>,
    /// Rows of a batch at most. Default 4096.
    pub batch_rows: NonZeroUsize,
    /// How long a record may wait for others of its batch. Default 1 ms.
    pub batch_delay: Micros,
    /// Bytes that a worker's source may have on the way. Default 16 MiB.
    pub source_credit_bytes: u64,
    /// A source tells its watermark at most once in so many batches. Default 64.
    pub watermark_every: NonZeroUsize,
    /// Fixed slices of the key space. Default 256.
    pub key_groups: u16,
}

impl Default for EngineSettings {
    fn default() -> Self {
        let some = |n| NonZeroUsize::new(n).expect("a default is not zero");
        Self {
            workers: None,
            batch_rows: some(4096),
            batch_delay: Micros::from_millis(1),
            source_credit_bytes: 16 << 20,
            watermark_every: some(64),
            key_groups: crate::key::KEY_GROUPS_DEFAULT,
        }
    }
}

/// A stream: what a port gives, to any number of consumers.
#[derive(Clone, Debug)]
pub struct Stream {
    /// `id`, or `id.port`.
    pub name: Arc<str>,
    /// Who feeds it.
    pub producer: NodeIndex,
    /// Its whole schema.
    pub schema: Schema,
    /// Which columns something downstream reads; the others are absent from batches.
    pub live: Vec<bool>,
    /// Whether something downstream needs the rows' places.
    pub order: bool,
}

/// A source, an operator or a sink.
#[derive(Clone, Debug)]
pub struct Node {
    /// Its id in the topology.
    pub id: NodeId,
    /// The streams it reads.
    pub inputs: Vec<StreamIndex>,
    /// The streams it feeds, by port number.
    pub outputs: Vec<StreamIndex>,
    /// The stream of its dead letters ([`dead_letter_schema`]), where the topology names a sink for them.
    pub dead_letters: Option<StreamIndex>,
    /// What it is.
    pub kind: NodeKind,
}

/// What a node is.
#[derive(Clone, Debug)]
pub enum NodeKind {
    /// Reads records from outside.
    Source(Box<SourceNode>),
    /// A Wasm `transform`.
    Transform(Box<TransformNode>),
    /// A window.
    Window(Box<WindowNode>),
    /// Writes records to the outside.
    Sink(Box<SinkNode>),
}

/// What reads or writes, and how it is configured.
#[derive(Clone, Debug, PartialEq)]
pub struct ConnectorRef {
    /// The connector's name.
    pub name: String,
    /// Its configuration; the registry makes the connector's own type of it.
    pub config: serde_json::Value,
}

/// How bytes become rows, or rows bytes.
#[derive(Clone, Debug, PartialEq)]
pub struct FormatRef {
    /// The format's name.
    pub name: String,
    /// Its configuration; the registry makes the format's own type of it.
    pub config: serde_json::Value,
}

/// A source.
#[derive(Clone, Debug)]
pub struct SourceNode {
    /// The connector.
    pub connector: ConnectorRef,
    /// The format; `None` for a connector that yields columns.
    pub format: Option<FormatRef>,
    /// The columns of the data. The stream's schema is these, then the metadata columns.
    pub columns: Vec<SourceColumn>,
    /// Connector metadata as further columns.
    pub metadata: Vec<MetadataColumn>,
    /// What a row's event time is.
    pub time: SourceTime,
    /// How the watermark follows from the rows.
    pub watermark: WatermarkSpec,
    /// What becomes of a record that cannot be decoded or has no valid event time.
    pub on_invalid: OnInvalid,
    /// Whether columns that nobody reads are checked too.
    pub validate_all: bool,
}

/// A column of a source's data.
#[derive(Clone, Debug, PartialEq, Eq, serde::Serialize, serde::Deserialize)]
pub struct SourceColumn {
    /// Name, type and nullability.
    pub field: Field,
    /// Where it stands in a nested record: the names on the way to it. One name for a flat record.
    pub path: Vec<String>,
    /// How a timestamp is written; `None` for other types.
    pub timestamp: Option<TimestampFormat>,
}

/// How a timestamp is written.
#[derive(Clone, Debug, Default, PartialEq, Eq, serde::Serialize, serde::Deserialize)]
pub enum TimestampFormat {
    /// RFC 3339, as in `2013-01-01T10:15:00Z`.
    #[default]
    Rfc3339,
    /// A strftime pattern; local time in the zone unless the pattern holds an offset.
    Pattern {
        /// As for strftime.
        pattern: String,
        /// An IANA time zone; `None` is UTC.
        time_zone: Option<String>,
    },
    /// A whole number of units since 1970-01-01T00:00:00Z.
    Unit(TimestampUnit),
}

/// The unit of a numeric timestamp.
#[derive(Clone, Copy, Debug, PartialEq, Eq, serde::Serialize, serde::Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum TimestampUnit {
    /// Seconds.
    S,
    /// Milliseconds.
    Ms,
    /// Microseconds.
    Us,
    /// Nanoseconds, cut to microseconds.
    Ns,
}

/// A metadata column.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct MetadataColumn {
    /// The connector's name for it: `file`, `line`, `offset`.
    pub key: String,
    /// The column.
    pub field: Field,
}

/// What a row's event time is.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum SourceTime {
    /// A timestamp column, by its place in the stream's schema.
    Event(usize),
    /// When the record was read. It is fixed then.
    Ingestion,
    /// When the record is processed; treated as ingestion time that does not survive a restart.
    Processing,
}

/// How a partition's watermark follows from its rows.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct WatermarkSpec {
    /// The greatest event time so far, less this. Zero for `monotonic`.
    pub delay: Micros,
    /// A row more than this after the greatest event time so far is invalid.
    pub max_ahead: Option<Micros>,
    /// No partition runs further ahead of the slowest than this. Default one hour... of event time; `None` is off.
    pub align: Option<Micros>,
    /// A partition in which a poll found nothing for so long no longer holds the watermark back. `None`: never.
    pub idle_after: Option<Micros>,
}

/// What becomes of an invalid record.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum OnInvalid {
    /// The job stops with file, line, column and reason.
    Fail,
    /// It becomes a dead letter.
    DeadLetter,
    /// It is counted and skipped.
    Skip,
}

/// What becomes of a batch in which an operator faulted.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum OnFault {
    /// The job's generation ends.
    Fail,
    /// The rows at fault become dead letters.
    DeadLetter,
    /// The rows at fault are counted and skipped.
    Skip,
}

/// A Wasm `transform`.
#[derive(Clone, Debug)]
pub struct TransformNode {
    /// The plugin.
    pub plugin: PluginRef,
    /// Its configuration: canonical JSON.
    pub config: String,
    /// What it said of itself.
    pub description: TransformDescription,
    /// What becomes of a batch in which it faulted.
    pub on_fault: OnFault,
    /// Its bounds.
    pub limits: Limits,
}

/// A window. Its port 0 gives the results: the key columns, `window_start`, `window_end`, the aggregates. Port 1,
/// `late`, gives the late rows with the input's schema.
#[derive(Clone, Debug)]
pub struct WindowNode {
    /// The key columns, by place in the input's schema; empty for a window that is not keyed.
    pub key: Vec<usize>,
    /// The windows.
    pub window: WindowSpec,
    /// How late a row may come and still correct its window's result.
    pub allowed_lateness: Micros,
    /// What becomes of rows that are later.
    pub late: Late,
    /// The aggregates, in output order.
    pub aggregates: Vec<AggregateNode>,
    /// What becomes of a batch in which a Wasm aggregate faulted.
    pub on_fault: OnFault,
}

/// The port of late rows.
pub const LATE_PORT: usize = 1;

/// One aggregate of a window.
#[derive(Clone, Debug)]
pub struct AggregateNode {
    /// Its columns in the output. A built-in one has one, a Wasm aggregate as many as it gives.
    pub outputs: Vec<Field>,
    /// What computes it.
    pub function: AggregateFunction,
}

/// What computes an aggregate.
#[derive(Clone, Debug)]
pub enum AggregateFunction {
    /// One of ours.
    Builtin(Builtin),
    /// A Wasm `aggregate`.
    Plugin(Box<AggregatePlugin>),
}

/// A Wasm `aggregate` in a window.
#[derive(Clone, Debug)]
pub struct AggregatePlugin {
    /// The plugin.
    pub plugin: PluginRef,
    /// Its configuration: canonical JSON.
    pub config: String,
    /// What it said of itself. Its requirement's columns are places in [`Self::input`].
    pub description: AggregateDescription,
    /// The columns of the window's input that it sees, by place; all of them where the topology names none.
    pub input: Vec<usize>,
    /// Its bounds.
    pub limits: Limits,
}

/// A sink.
#[derive(Clone, Debug)]
pub struct SinkNode {
    /// The connector.
    pub connector: ConnectorRef,
    /// The format.
    pub format: FormatRef,
    /// The columns that are written, by place in the input's schema.
    pub columns: Vec<usize>,
    /// In which order rows are written.
    pub order: SinkOrder,
}

/// In which order a sink writes.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum SinkOrder {
    /// As rows arrive.
    Arrival,
    /// By (max(t, w), t, place): the same bytes on every run of a reproducible topology.
    EventTime,
}

/// The schema of every dead letter.
pub fn dead_letter_schema() -> Schema {
    use DataType::{Binary, Int64, Timestamp, Utf8};
    Schema::new(vec![
        Field::required("node", Utf8),
        Field::required("kind", Utf8),
        Field::required("error", Utf8),
        Field::nullable("event_time", Timestamp),
        Field::nullable("source", Utf8),
        Field::nullable("partition", Utf8),
        Field::nullable("position", Int64),
        Field::nullable("line", Int64),
        Field::required("epoch", Int64),
        Field::nullable("plugin", Utf8),
        Field::nullable("record", Utf8),
        Field::nullable("bytes", Binary),
    ])
    .expect("the names differ")
}
