//! The port of the `transform` world: batches in, batches out, no memory.

use std::sync::Arc;

use crate::batch::Batch;
use crate::fault::Fault;
use crate::schema::Schema;
use crate::time::Micros;

/// An input as planned.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct InputDescription {
    /// The stream's name.
    pub name: Arc<str>,
    /// Its whole schema.
    pub schema: Schema,
    /// Whether it carries updates and deletes.
    pub changelog: bool,
}

/// What an operator needs of an input.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Requirement {
    /// Places of columns in the input's schema, in the order in which the guest gets them.
    pub columns: Vec<usize>,
    /// Whether it reads event times.
    pub event_times: bool,
    /// Whether the input may be a changelog.
    pub changelog: bool,
}

/// An output as described.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct OutputDescription {
    /// The port's name; port 0 is the main output whatever its name.
    pub name: Arc<str>,
    /// Its schema.
    pub schema: Schema,
    /// Whether it carries updates and deletes.
    pub changelog: bool,
}

/// What a transform says of itself when the topology is checked.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct TransformDescription {
    /// One per input.
    pub inputs: Vec<Requirement>,
    /// The ports; the first is the main output.
    pub outputs: Vec<OutputDescription>,
    /// Set: a column of the main output becomes the event time.
    pub retime: Option<Retime>,
}

/// A new event time, at most `lag` before the input row's own.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Retime {
    /// The column's place in the main output's schema.
    pub column: usize,
    /// The bound. The output's watermark is the input's less this.
    pub lag: Micros,
}

/// A row that the operator calls invalid.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Reject {
    /// The logical row of the input batch.
    pub row: u32,
    /// Why.
    pub message: String,
}

/// What one call gave.
#[derive(Clone, Debug, Default)]
pub struct Transformed {
    /// Batches with the port they are for. Visible columns stand in the order of the port's schema.
    pub outputs: Vec<(usize, Batch)>,
    /// Rows without a result.
    pub rejects: Vec<Reject>,
}

/// One subtask's instance of a transform.
pub trait Transform {
    /// Processes a batch of an input. The result does not depend on how rows are cut into calls.
    ///
    /// # Errors
    /// The call as a whole failed; nothing of it takes effect. The next call runs in a new instance.
    fn process(&mut self, input: usize, batch: &Batch) -> Result<Transformed, Fault>;
}
