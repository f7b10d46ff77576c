//! A plan: a topology that was checked. What the topology could have wrong, a plan cannot.

mod settings;
mod signature;
mod store;

use std::collections::BTreeSet;
use std::num::NonZeroUsize;
use std::path::PathBuf;
use std::sync::Arc;

use crate::aggregate::{AggregateDescription, Builtin};
use crate::column::Scalar;
use crate::content::ContentDescription;
use crate::delivery::Delivery;
use crate::id::{NodeId, NodeIndex, StreamIndex};
use crate::keyed::KeyedDescription;
use crate::plugin::{Isolation, Limits, PluginRef};
use crate::schema::{DataType, Field, Schema};
use crate::time::Micros;
use crate::transform::TransformDescription;
use crate::window::{Late, WindowSpec, Windows};

pub use settings::{
    CheckpointSettings, ControlSettings, EngineSettings, RestartSettings, STOP_TIMEOUT_DEFAULT, StateBackend,
    StateSettings,
};
pub use store::{StoreAddress, StoreAddressError};

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
    /// Where operators keep their state.
    pub state: StateSettings,
    /// Where and how often checkpoints are written. `None`: the job keeps nothing.
    pub checkpoint: Option<CheckpointSettings>,
    /// What follows a failure; only with checkpoints.
    pub restart: RestartSettings,
    /// Where the job can be asked and told things. `None`: the topology does not say.
    pub control: Option<ControlSettings>,
    /// How long a stop may take.
    pub stop_timeout: Micros,
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

    /// The nodes that rows of a node reach. Dead letters do not count.
    pub fn downstream(&self, from: NodeIndex) -> BTreeSet<NodeIndex> {
        let mut streams: BTreeSet<u32> = self.node(from).outputs.iter().map(|stream| stream.0).collect();
        let mut reached = BTreeSet::new();
        // Nodes stand after the producers of their inputs.
        for (index, node) in self.nodes.iter().enumerate() {
            if node.inputs.iter().any(|input| streams.contains(&input.0)) {
                reached.insert(NodeIndex(index as u32));
                streams.extend(node.outputs.iter().map(|stream| stream.0));
            }
        }
        reached
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
    /// Whether rows may take earlier ones back.
    pub changelog: bool,
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
    /// Earlier ids: kept state under one of them is this node's.
    pub renamed_from: Vec<NodeId>,
    /// How long an instance of its plugin lives, where it has one.
    pub isolation: Isolation,
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
    /// A Wasm `keyed`.
    Keyed(Box<KeyedNode>),
    /// A window with aggregates.
    Window(Box<WindowNode>),
    /// A window with a Wasm `window`.
    Content(Box<ContentNode>),
    /// A join of two streams.
    Join(Box<JoinNode>),
    /// A join with a table that is loaded as a whole.
    Lookup(Box<LookupNode>),
    /// Several streams as one.
    Union,
    /// Drops repeated rows.
    Deduplicate(Box<DeduplicateNode>),
    /// The first rows by a column.
    Top(Box<TopNode>),
    /// Sends rows to ports by conditions.
    Split(Box<SplitNode>),
    /// Writes records to the outside.
    Sink(Box<SinkNode>),
}

/// Which subtask of a node takes a row.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Spread<'a> {
    /// The one where the row is.
    Local,
    /// One subtask takes all rows.
    One,
    /// The one that owns the key group of these columns, by place in the input's schema.
    Key(&'a [usize]),
}

impl NodeKind {
    /// Which subtask takes a row of an input. A sink's rows are the runtime's matter.
    pub fn spread(&self, input: usize) -> Spread<'_> {
        let key = match self {
            Self::Source(_) | Self::Transform(_) | Self::Lookup(_) | Self::Union | Self::Split(_) | Self::Sink(_) => {
                return Spread::Local;
            }
            Self::Keyed(node) => &node.key[input],
            Self::Window(node) => &node.frame.key,
            Self::Content(node) => &node.frame.key,
            Self::Join(node) => &node.key[input],
            Self::Deduplicate(node) => &node.key,
            Self::Top(node) => &node.key,
        };
        if key.is_empty() { Spread::One } else { Spread::Key(key) }
    }
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
    /// What it follows.
    pub strategy: WatermarkStrategy,
    /// A row more than this after the greatest event time so far is invalid.
    pub max_ahead: Option<Micros>,
    /// No partition runs further ahead of the slowest than this. Default one hour... of event time; `None` is off.
    pub align: Option<Micros>,
    /// A partition in which a poll found nothing for so long no longer holds the watermark back. `None`: never.
    pub idle_after: Option<Micros>,
}

/// What a partition's watermark follows. Whatever it is, the watermark never falls.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum WatermarkStrategy {
    /// The greatest event time so far, less the delay. Zero for `monotonic`.
    BoundedOutOfOrderness {
        /// How far rows may be out of order.
        delay: Micros,
    },
    /// The greatest value so far of a timestamp column of the data, by its place. A row's value counts after the row; a
    /// null says nothing.
    Column(usize),
    /// The clock when a record is read, less the delay; it goes on while no record comes.
    Clock {
        /// How far event times may be behind the clock.
        delay: Micros,
    },
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

/// A Wasm `keyed`. Where late rows go to a port, it is the one after the described ones.
#[derive(Clone, Debug)]
pub struct KeyedNode {
    /// The plugin.
    pub plugin: PluginRef,
    /// Its configuration: canonical JSON.
    pub config: String,
    /// What it said of itself.
    pub description: KeyedDescription,
    /// The key columns, of the same types in each input: by input, by place in its schema.
    pub key: Vec<Vec<usize>>,
    /// In which order a key's rows are handed on.
    pub order: RowOrder,
    /// What becomes of rows that come too late for that order.
    pub late: Late,
    /// What becomes of a batch in which it faulted.
    pub on_fault: OnFault,
    /// Its bounds.
    pub limits: Limits,
}

/// In which order an operator takes rows.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum RowOrder {
    /// By (event time, place), when no earlier row can come.
    EventTime,
    /// As they arrive.
    Arrival,
}

/// What windows of both kinds have.
#[derive(Clone, Debug, PartialEq)]
pub struct WindowFrame {
    /// The key columns, by place in the input's schema; empty for a window that is not keyed.
    pub key: Vec<usize>,
    /// The windows.
    pub windows: Windows,
    /// How late a row may come and still correct its window's result.
    pub allowed_lateness: Micros,
    /// What becomes of rows that are later.
    pub late: Late,
    /// By which watermark a row is judged.
    pub lateness: Lateness,
    /// When rows that came in the allowed lateness show.
    pub late_results: LateResults,
    /// Results before a window is complete.
    pub early: Option<Early>,
    /// Whether results carry their number, in a column `pane` after the others.
    pub pane: bool,
}

impl WindowFrame {
    /// Windows with every option at its default.
    pub fn new(key: Vec<usize>, windows: Windows) -> Self {
        Self {
            key,
            windows,
            allowed_lateness: Micros::ZERO,
            late: Late::Drop,
            lateness: Lateness::default(),
            late_results: LateResults::default(),
            early: None,
            pane: false,
        }
    }
}

/// By which watermark a row is judged late.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Lateness {
    /// W(r), its own: the same on every run.
    #[default]
    Deterministic,
    /// The merged watermark when it arrives.
    BestEffort,
}

/// When rows that came in the allowed lateness show.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum LateResults {
    /// In one correction, when the allowed lateness is over.
    #[default]
    Final,
    /// In a correction at once.
    Immediate,
}

/// Results before a window is complete.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Early {
    /// When.
    pub when: EarlyWhen,
    /// Whether a later result takes the one before back: the output is a changelog then.
    pub retracting: bool,
}

/// When an early result comes.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum EarlyWhen {
    /// So long after the window's first row since its last result, in processing time.
    Every(Micros),
    /// After so many rows of the key since its window's last result.
    Count(u64),
}

/// A window with aggregates. Its port 0 gives the results: the key columns, `window_start`, `window_end`, the
/// aggregates, and `pane` where asked for. Port 1, `late`, gives the late rows with the input's schema.
#[derive(Clone, Debug)]
pub struct WindowNode {
    /// Key, windows, lateness.
    pub frame: WindowFrame,
    /// The aggregates, in output order.
    pub aggregates: Vec<AggregateNode>,
    /// What becomes of a batch in which a Wasm aggregate faulted.
    pub on_fault: OnFault,
}

/// A window with a Wasm `window`. Its ports are the described ones, with the key columns, `window_start`, `window_end`
/// (and `pane`) before the described columns; then `late`.
#[derive(Clone, Debug)]
pub struct ContentNode {
    /// Key, windows, lateness.
    pub frame: WindowFrame,
    /// The plugin.
    pub plugin: PluginRef,
    /// Its configuration: canonical JSON.
    pub config: String,
    /// What it said of itself.
    pub description: ContentDescription,
    /// What becomes of a batch in which it faulted.
    pub on_fault: OnFault,
    /// Its bounds.
    pub limits: Limits,
}

/// A join. Input 0 is the left side, input 1 the right. Port 0 gives the pairs; where late rows go to ports, port 1 gives
/// the left side's and port 2 the right side's.
#[derive(Clone, Debug, PartialEq)]
pub struct JoinNode {
    /// The columns that must be equal, pair by pair, by place: those of the left side, those of the right. A null equals
    /// nothing.
    pub key: [Vec<usize>; 2],
    /// Which rows come out.
    pub kind: JoinKind,
    /// Which rows are near enough in time.
    pub bound: JoinBound,
    /// What becomes of late rows.
    pub late: Late,
    /// The output's columns; a window join has `window_start` and `window_end` before them.
    pub columns: Vec<JoinColumn>,
}

impl JoinNode {
    /// How far the output's watermark stays behind the input's: rows without a pair are known as such only when none can
    /// come any more, and keep their own event time.
    pub fn lag(&self) -> Micros {
        let JoinBound::Within { before, after } = self.bound else {
            return Micros::ZERO;
        };
        match self.kind {
            JoinKind::Inner => Micros::ZERO,
            JoinKind::Left | JoinKind::Semi | JoinKind::Anti => after,
            JoinKind::Right => before,
            JoinKind::Full => Micros(before.0.max(after.0)),
        }
    }
}

/// Which rows of a join come out.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum JoinKind {
    /// Pairs.
    Inner,
    /// Pairs, and left rows without one.
    Left,
    /// Pairs, and right rows without one.
    Right,
    /// Pairs, and rows of both sides without one.
    Full,
    /// Left rows with a pair, once each.
    Semi,
    /// Left rows without a pair.
    Anti,
}

/// Which rows of a join are near enough in time.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum JoinBound {
    /// Those in the same window.
    Window(Windows),
    /// `left.t - before <= right.t <= left.t + after`.
    Within {
        /// How much earlier the right row may be.
        before: Micros,
        /// How much later.
        after: Micros,
    },
    /// The last right row with `right.t <= left.t`, and `left.t - right.t <= within` where that is given.
    AsOf {
        /// How old the right row may be.
        within: Option<Micros>,
    },
}

/// A column of a join's output.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum JoinColumn {
    /// A column of the left side, by place; null where there is no left row.
    Left(usize),
    /// A column of the right side, by place; null where there is no right row.
    Right(usize),
    /// The pair of this number in [`JoinNode::key`]: the left side's value, or the right's where there is no left row.
    On(usize),
}

/// A join with a table that is loaded as a whole before the job begins.
#[derive(Clone, Debug)]
pub struct LookupNode {
    /// The columns that must be equal, by place: in the input's schema, in the table's. A null equals nothing.
    pub on: Vec<(usize, usize)>,
    /// Whether rows without a match come out, with nulls.
    pub keeps_unmatched: bool,
    /// The table: a bounded source.
    pub table: SourceNode,
    /// The table's columns: those of its data, then its metadata.
    pub schema: Schema,
    /// How often it is loaded again; `None`: never.
    pub refresh: Option<Micros>,
    /// The output's columns after the input's: places in the table's schema.
    pub columns: Vec<usize>,
}

/// Drops repeated rows: of each key the first row is kept, and rows less than the horizon after one that was kept are
/// not. Port 1, `late`, gives late rows.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct DeduplicateNode {
    /// The key columns, by place.
    pub key: Vec<usize>,
    /// How long a kept row drops others.
    pub horizon: Micros,
    /// What becomes of late rows.
    pub late: Late,
}

/// The first rows by a column. Without a window its output is a changelog. Port 1, `late`, gives late rows.
#[derive(Clone, Debug, PartialEq)]
pub struct TopNode {
    /// The key columns, by place; empty for the first rows of all.
    pub key: Vec<usize>,
    /// How many rows of each key.
    pub n: NonZeroUsize,
    /// The column that decides, by place.
    pub by: usize,
    /// Whether the greatest come first. Nulls come last either way, and equal values by (event time, place).
    pub descending: bool,
    /// Windows: their `window_start` and `window_end` stand before the input's columns.
    pub window: Option<WindowSpec>,
    /// Whether a column `rank` (int64, from 1) stands after the input's columns.
    pub rank: bool,
    /// What becomes of late rows.
    pub late: Late,
}

/// Sends rows to ports by conditions: to every port whose condition holds, and to the main output where none does.
#[derive(Clone, Debug, PartialEq)]
pub struct SplitNode {
    /// The conditions of ports 1, 2, ...
    pub ports: Vec<Condition>,
}

/// A condition on one column.
#[derive(Clone, Debug, PartialEq)]
pub struct Condition {
    /// The column, by place.
    pub column: usize,
    /// What must hold. A null satisfies none but [`Test::IsNull`].
    pub test: Test,
}

/// What must hold of a value.
#[derive(Clone, Debug, PartialEq)]
pub enum Test {
    /// It compares so with a value of the column's type.
    Compare(Comparison, Scalar),
    /// It is one of these.
    In(Vec<Scalar>),
    /// It is null.
    IsNull,
    /// It is not null.
    IsNotNull,
    /// The text contains this.
    Contains(String),
    /// The text begins with this.
    StartsWith(String),
}

/// How two values compare.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Comparison {
    /// Equal.
    Equal,
    /// Not equal.
    NotEqual,
    /// Less.
    Less,
    /// Less or equal.
    LessOrEqual,
    /// Greater.
    Greater,
    /// Greater or equal.
    GreaterOrEqual,
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
    /// Whether what rows do is written too, in a first column `kind`. Otherwise the input is append-only.
    pub changelog: bool,
    /// What it is to give: not more than its connector can. Without checkpoints always at least once.
    pub delivery: Delivery,
}

/// In which order a sink writes.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum SinkOrder {
    /// As rows arrive.
    Arrival,
    /// By (max(t, w), t, place): the same bytes on every run of a reproducible topology.
    EventTime,
}

/// The column that a sink of a changelog writes first: what each row does, in the words of [`crate::kind::Kind::name`].
pub const KIND_COLUMN: &str = "kind";

/// The field of [`KIND_COLUMN`].
pub fn kind_field() -> Field {
    Field::required(KIND_COLUMN, DataType::Utf8)
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
