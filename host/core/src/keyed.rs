//! The port of the `keyed` world: rows and due timers of each key as one sequence, with the key's state.
//!
//! One call carries many keys. Rows, keys, timers and states are columns; the events of key k are a stretch of
//! [`Events`]. Nothing of a call takes effect before the caller applies what it returned.

use std::sync::Arc;

use crate::batch::Batch;
use crate::column::{Column, Scalar};
use crate::fault::Fault;
use crate::schema::Schema;
use crate::time::Micros;
use crate::transform::{OutputDescription, Reject, Requirement};

/// Which clock.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum TimeDomain {
    /// Event time: the watermark.
    Event,
    /// Processing time: not the same on every run.
    Processing,
}

/// How long a key's rows in a table are kept after the key's last row.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Ttl {
    /// The time since the key's last row, greater than zero.
    pub after: Micros,
    /// By which clock.
    pub domain: TimeDomain,
}

/// How a table's rows are reached.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum TableKind {
    /// One row a key, given with each call.
    Value,
    /// One row a key, read when the guest asks for it.
    ValueOnDemand,
    /// A list: rows in the order in which they were appended.
    List,
    /// A map: rows sorted by the leading [`TableDescription::sort_key`] columns, which are unique within a key.
    Map,
}

/// A state table as described.
#[derive(Clone, Debug, PartialEq)]
pub struct TableDescription {
    /// Its name, unique within the operator.
    pub name: Arc<str>,
    /// How its rows are reached.
    pub kind: TableKind,
    /// The number of leading columns that are a map's sort key; 0 for other kinds.
    pub sort_key: usize,
    /// Its columns.
    pub schema: Schema,
    /// What a new key has, a value a column, for the value kinds; empty for lists and maps.
    pub initial: Vec<Scalar>,
    /// When a key's rows go.
    pub ttl: Option<Ttl>,
    /// The version of the columns and their meaning.
    pub version: u32,
    /// The older versions that the plugin can migrate from.
    pub migrates_from: Vec<u32>,
}

/// A named kind of timer. A timer is known by (key, kind, tag).
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct TimerKind {
    /// Its name, unique within the operator.
    pub name: Arc<str>,
    /// By which clock it is due.
    pub domain: TimeDomain,
}

/// What a keyed operator says of itself when the topology is checked.
#[derive(Clone, Debug, PartialEq)]
pub struct KeyedDescription {
    /// One per input.
    pub inputs: Vec<Requirement>,
    /// The ports; the first is the main output.
    pub outputs: Vec<OutputDescription>,
    /// Its state.
    pub tables: Vec<TableDescription>,
    /// Its timers.
    pub timers: Vec<TimerKind>,
}

/// The number in [`Events::source`] of a due timer.
pub const TIMER_SOURCE: u8 = 255;

/// The events of each key, in order.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Events {
    /// Keys + 1 numbers: the events of key k are `offsets[k]..offsets[k + 1]`.
    pub offsets: Vec<u32>,
    /// For each event the number of its input, or [`TIMER_SOURCE`].
    pub source: Vec<u8>,
    /// For each event its logical row in that input's batch, or its number among the due timers.
    pub index: Vec<u32>,
}

/// Due timers, a value each in every column.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct DueTimers {
    /// The place of the timer's kind in [`KeyedDescription::timers`].
    pub kind: Vec<u32>,
    /// The guest's own number.
    pub tag: Vec<i64>,
    /// When it was due, in microseconds.
    pub time: Vec<i64>,
}

/// One call.
#[derive(Clone, Debug)]
pub struct KeyedCall {
    /// The key columns; a row a key, distinct.
    pub keys: Vec<Column>,
    /// A batch per input; every logical row is in [`Self::events`].
    pub inputs: Vec<Batch>,
    /// The due timers.
    pub timers: DueTimers,
    /// The events of each key.
    pub events: Events,
    /// Per key: event-time timers that the guest sets at or before it, it fires itself within the call.
    pub until: Vec<i64>,
    /// Processing time, in microseconds.
    pub processing_time: i64,
    /// No more rows will come.
    pub end_of_input: bool,
    /// The columns of the [`TableKind::Value`] tables, in the order of the description; a row a key.
    pub states: Vec<Vec<Column>>,
    /// It is not made again with fewer events where it fails.
    pub is_last_try: bool,
}

/// Where output rows come from: it gives each its event time, watermark and place.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Origins {
    /// Numbers of events of the call.
    Events(Vec<u32>),
    /// Timers that the guest set and fired within the call.
    Fired {
        /// Rows of the call's keys.
        key: Vec<u32>,
        /// The timers' times.
        time: Vec<i64>,
    },
}

/// Where a column of an output comes from.
#[derive(Clone, Debug, PartialEq)]
pub enum KeyedColumn {
    /// A column of the input whose rows the origins are, by its place in that input's schema.
    Input(usize),
    /// A key column.
    Key(usize),
    /// A value per output row.
    Computed(Column),
    /// Nobody downstream reads it.
    Absent,
}

/// Rows for one port.
#[derive(Clone, Debug, PartialEq)]
pub struct KeyedOutput {
    /// The port.
    pub port: usize,
    /// Where each row comes from.
    pub origins: Origins,
    /// What each row does, a byte of [`crate::kind::Kind`] each; empty: all are inserts.
    pub kinds: Vec<u8>,
    /// In the order of the port's schema.
    pub columns: Vec<KeyedColumn>,
}

/// Which keys of a call.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum KeysOf {
    /// All, in their order.
    All,
    /// These, each at most once.
    Some(Vec<u32>),
}

/// New values of some columns of a table of a value kind.
#[derive(Clone, Debug, PartialEq)]
pub struct Update {
    /// The table.
    pub table: usize,
    /// For which keys.
    pub keys: KeysOf,
    /// Columns by place in the table's schema, a row for each of the keys.
    pub columns: Vec<(usize, Column)>,
}

/// Keys of a table that go back to the initial row, or lose all rows.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Clear {
    /// The table.
    pub table: usize,
    /// Which keys.
    pub keys: KeysOf,
}

/// A timer that is set, replaced or cancelled.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct TimerChange {
    /// A row of the call's keys.
    pub key: u32,
    /// The place of the timer's kind in [`KeyedDescription::timers`].
    pub kind: u32,
    /// The guest's own number.
    pub tag: i64,
    /// When it is due, in microseconds; `None`: it is cancelled.
    pub time: Option<i64>,
}

/// What a call gave. The component has checked all numbers, lengths and types.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct KeyedOutputs {
    /// Rows for the ports, in the order in which the guest made them.
    pub outputs: Vec<KeyedOutput>,
    /// New values, applied in this order, before the clears.
    pub updates: Vec<Update>,
    /// Keys without state from here on.
    pub clears: Vec<Clear>,
    /// Timers that are set or cancelled, applied in this order. None is an event-time timer at or before `until`.
    pub timers: Vec<TimerChange>,
    /// Rows that are invalid; `row` is the number of an event.
    pub rejects: Vec<Reject>,
}

/// One subtask's instance of a keyed operator.
pub trait Keyed {
    /// Handles the events of some keys. What the guest reads and writes by the `state` interface goes to the
    /// [`StateAccess`] that the instance was made with, which is told to [`StateAccess::begin`] first.
    ///
    /// # Errors
    /// The call as a whole failed; nothing of it takes effect. The next call runs in a new instance.
    fn process(&mut self, call: &KeyedCall) -> Result<KeyedOutputs, Fault>;
}

/// One end of a range of a map's rows: values of the sort key's leading columns.
#[derive(Clone, Debug, PartialEq)]
pub enum Bound {
    /// As far as it goes.
    Unbounded,
    /// Up to these values, with them.
    Included(Vec<Scalar>),
    /// Up to these values, without them.
    Excluded(Vec<Scalar>),
}

/// A range of a map's rows.
#[derive(Clone, Debug, PartialEq)]
pub struct MapRange {
    /// Where it begins.
    pub lower: Bound,
    /// Where it ends.
    pub upper: Bound,
    /// From the end to the beginning.
    pub descending: bool,
    /// So many rows at most.
    pub limit: u32,
}

/// A stretch of a list's or a map's rows.
#[derive(Clone, Debug)]
pub struct Page {
    /// The table's columns.
    pub columns: Vec<Column>,
    /// Whether rows were left out because of the limit.
    pub more: bool,
}

/// Rows of a map, looked up.
#[derive(Clone, Debug)]
pub struct Lookup {
    /// Whether there is a row, for each that was asked for.
    pub found: Vec<bool>,
    /// The table's columns; nulls or empty values where nothing was found.
    pub columns: Vec<Column>,
}

/// What a guest reaches of its state while a call runs: the host's side of the `state` interface. `key` is a row of the
/// call's keys, `table` a place in the description. Reads see the call's own writes. The component has checked tables,
/// kinds, keys and types.
pub trait StateAccess {
    /// Drops what was written since the last call took effect.
    fn begin(&mut self);

    /// Columns of an on-demand table, a row for each key.
    ///
    /// # Errors
    /// The state cannot be read.
    fn get(&mut self, table: usize, keys: &[u32], columns: &[usize]) -> Result<Vec<Column>, Fault>;

    /// Sets columns of an on-demand table.
    ///
    /// # Errors
    /// The state cannot be written.
    fn put(&mut self, table: usize, keys: &[u32], columns: &[(usize, Column)]) -> Result<(), Fault>;

    /// The rows of a map at whole sort keys: for key `keys[i]` the row at row i of `at`.
    ///
    /// # Errors
    /// The state cannot be read.
    fn map_get(&mut self, table: usize, keys: &[u32], at: &[Column]) -> Result<Lookup, Fault>;

    /// Sets whole rows of a map.
    ///
    /// # Errors
    /// The state cannot be written.
    fn map_put(&mut self, table: usize, keys: &[u32], rows: &[Column]) -> Result<(), Fault>;

    /// Removes rows of a map at whole sort keys.
    ///
    /// # Errors
    /// The state cannot be written.
    fn map_remove(&mut self, table: usize, keys: &[u32], at: &[Column]) -> Result<(), Fault>;

    /// Appends rows to lists.
    ///
    /// # Errors
    /// The state cannot be written.
    fn append(&mut self, table: usize, keys: &[u32], rows: &[Column]) -> Result<(), Fault>;

    /// A range of a key's map.
    ///
    /// # Errors
    /// The state cannot be read.
    fn scan(&mut self, table: usize, key: u32, range: &MapRange) -> Result<Page, Fault>;

    /// A stretch of a key's list.
    ///
    /// # Errors
    /// The state cannot be read.
    fn scan_list(&mut self, table: usize, key: u32, skip: u64, limit: u32) -> Result<Page, Fault>;

    /// Removes a range of a key's map; how many rows that were.
    ///
    /// # Errors
    /// The state cannot be written.
    fn remove_range(&mut self, table: usize, key: u32, range: &MapRange) -> Result<u64, Fault>;

    /// Removes the first rows of a key's list.
    ///
    /// # Errors
    /// The state cannot be written.
    fn truncate(&mut self, table: usize, key: u32, first: u64) -> Result<(), Fault>;
}
