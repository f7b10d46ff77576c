//! Sinks in the dataflow: tasks that take batches and may work on after their input has ended.

use wasmill_core::batch::Batch;
use wasmill_core::fault::Fault;
use wasmill_core::operator::Emit;
use wasmill_core::time::Timestamp;

use crate::credit::Ticket;

/// One worker's part of a sink.
pub trait SinkTask {
    /// Whether it takes more input now. While it does not, what comes is left on the way, and holds back the producers.
    /// Only [`Self::poll`] may turn it to true again.
    fn takes_input(&self) -> bool;

    /// Takes a batch of an input. Its bytes count as on the way until the ticket is dropped.
    ///
    /// # Errors
    /// The fault ends the generation.
    fn batch(&mut self, input: usize, batch: Batch, ticket: Option<Ticket>) -> Result<(), Fault>;

    /// The merged watermark of all inputs rose; [`Timestamp::MAX`]: the input has ended.
    ///
    /// # Errors
    /// The fault ends the generation.
    fn watermark(&mut self, to: Timestamp) -> Result<(), Fault>;

    /// Goes on with its work. Called after the others, and when its waker was used. What the sink cannot write it may
    /// give to its ports, as dead letters.
    ///
    /// # Errors
    /// The fault ends the generation.
    fn poll(&mut self, out: &mut dyn Emit) -> Result<SinkState, Fault>;
}

/// Whether a sink is done.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum SinkState {
    /// It has work under way, or waits for input: its waker says when to ask again.
    Open {
        /// Of what it has been given, nothing that it may still emit has a W below this.
        earliest: Timestamp,
    },
    /// The input has ended and all is written.
    Finished,
}
