//! The port of the `window` world: the whole content of windows that fired.

use crate::batch::Batch;
use crate::column::Column;
use crate::fault::Fault;
use crate::transform::{OutputDescription, Reject, Requirement};

/// What a window operator says of itself when the topology is checked. The ports' schemas are what it computes; the key
/// columns and the window's bounds stand before them.
#[derive(Clone, Debug, PartialEq)]
pub struct ContentDescription {
    /// What it needs of its input.
    pub input: Requirement,
    /// The ports; the first is the main output.
    pub outputs: Vec<OutputDescription>,
}

/// Firings of one call, an entry each in every column. A window larger than a call comes in parts.
#[derive(Clone, Debug)]
pub struct Firings {
    /// The key columns.
    pub keys: Vec<Column>,
    /// Where the windows begin, in microseconds.
    pub starts: Vec<i64>,
    /// Where they end: the first microsecond after them.
    pub ends: Vec<i64>,
    /// The number of the window's result, from 0.
    pub panes: Vec<u32>,
    /// Firings + 1 numbers: the rows of firing w are `offsets[w]..offsets[w + 1]` of the batch, by (event time, place).
    pub offsets: Vec<u32>,
    /// Whether the firing's rows are its first.
    pub first: Vec<bool>,
    /// Whether they are its last.
    pub last: Vec<bool>,
    /// What the call with the part before returned; empty for a first part.
    pub carry: Vec<Vec<u8>>,
}

/// Where a column of an output comes from.
#[derive(Clone, Debug, PartialEq)]
pub enum ContentColumn {
    /// A column of the input, by its place in the input's schema, at [`ContentOutput::rows`].
    Input(usize),
    /// A value per output row.
    Computed(Column),
    /// Nobody downstream reads it.
    Absent,
}

/// Rows for one port.
#[derive(Clone, Debug, PartialEq)]
pub struct ContentOutput {
    /// The port.
    pub port: usize,
    /// The firing of each row, ascending or not.
    pub firing: Vec<u32>,
    /// The logical row of the batch that each row comes from, where the guest says so.
    pub rows: Option<Vec<u32>>,
    /// In the order of the described schema.
    pub columns: Vec<ContentColumn>,
}

/// What a call gave. The component has checked all numbers, lengths and types.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct ContentOutputs {
    /// Rows for the ports, in the order in which the guest made them.
    pub outputs: Vec<ContentOutput>,
    /// For each firing what the call with the next part gets.
    pub carry: Vec<Vec<u8>>,
    /// Rows that are invalid, by logical row of the batch.
    pub rejects: Vec<Reject>,
}

/// One subtask's instance of a window operator.
pub trait Content {
    /// Handles some firings with their rows.
    ///
    /// # Errors
    /// The call as a whole failed; nothing of it takes effect. The next call runs in a new instance.
    fn process(&mut self, firings: &Firings, batch: &Batch) -> Result<ContentOutputs, Fault>;
}
