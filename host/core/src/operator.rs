//! What the engine runs between sources and sinks: a state machine over batches and watermarks.

use crate::batch::Batch;
use crate::fault::Fault;
use crate::time::Timestamp;

/// One subtask of an operator. It does no I/O and knows no clock: its outputs are a function of what it was given.
pub trait Operator {
    /// Takes a batch on an input.
    ///
    /// # Errors
    /// The fault ends the job's generation.
    fn batch(&mut self, input: usize, batch: Batch, out: &mut dyn Emit) -> Result<(), Fault>;

    /// The merged watermark of all inputs rose to `to`: no row with an event time below `to` comes any more, but for
    /// late ones. [`Timestamp::MAX`]: the input has ended. After [`Step::More`] the same call is made again, when
    /// others had their turn.
    ///
    /// # Errors
    /// The fault ends the job's generation.
    fn watermark(&mut self, to: Timestamp, out: &mut dyn Emit) -> Result<Step, Fault>;
}

/// Whether an operator has more to give at the same watermark.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Step {
    /// All was emitted.
    Done,
    /// One slice was emitted; there is more.
    More,
}

/// Where an operator's outputs go.
pub trait Emit {
    /// Sends a batch to a port. An empty batch is not sent.
    fn emit(&mut self, port: usize, batch: Batch);
}

/// A sink for tests and oracles: it keeps what was emitted.
impl Emit for Vec<(usize, Batch)> {
    fn emit(&mut self, port: usize, batch: Batch) {
        if !batch.is_empty() {
            self.push((port, batch));
        }
    }
}
