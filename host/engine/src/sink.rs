//! Sinks in the dataflow: tasks that take batches and may work on after their input has ended.

use std::sync::Arc;

use wasmill_core::batch::Batch;
use wasmill_core::fault::Fault;
use wasmill_core::id::Epoch;
use wasmill_core::operator::Emit;
use wasmill_core::time::Timestamp;

use crate::credit::{Account, Ticket};
use crate::intake::{Arrived, Goal, Intake};
use crate::operator::Sender;
use crate::ports::Ports;
use crate::stamp::Stamp;

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

    /// All rows of the epoch have been given, and the watermark told that the epoch ends with: has what is due by it been
    /// handed on? Called until it says so, after each [`Self::poll`]; the sink is given nothing meanwhile. What it still
    /// holds back for its order then is its state.
    ///
    /// # Errors
    /// The fault ends the generation.
    fn end_epoch(&mut self, epoch: Epoch) -> Result<bool, Fault>;

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

/// A sink's state between activations.
pub(crate) struct Node {
    pub(crate) task: Box<dyn SinkTask>,
    /// For dead letters.
    pub(crate) account: Arc<Account>,
    /// What has come, and where the inputs stand.
    pub(crate) intake: Intake,
    /// The job's number of this generation's first epoch.
    pub(crate) first_epoch: Epoch,
    /// The watermark that the task was told last.
    pub(crate) told: Timestamp,
    /// Whether all rows of its epoch have come, and not all that is due was handed on.
    pub(crate) is_leaving: bool,
}

impl Node {
    /// Whether it may take input.
    pub(crate) fn takes_input(&self) -> bool {
        !self.is_leaving && self.task.takes_input()
    }

    pub(crate) fn take(&mut self, arrived: Arrived) -> Result<(), Fault> {
        self.task.batch(arrived.input, arrived.batch, arrived.ticket)
    }

    /// Tells the task how far the watermark has come, and lets it work.
    pub(crate) fn go_on(&mut self, ports: &mut Ports) -> Result<(), Fault> {
        loop {
            let goal = self.intake.goal();
            let reached = match goal {
                Goal::Watermark(reached) | Goal::Leave(reached) => reached,
                Goal::End(_) => Timestamp::MAX,
            };
            if reached > self.told {
                self.told = reached;
                self.task.watermark(reached)?;
            }
            match self.task.poll(&mut Sender::of_state(ports, &self.account))? {
                SinkState::Finished => {
                    ports.close();
                    return Ok(());
                }
                SinkState::Open { earliest } => ports.advance(Stamp {
                    epoch: self.intake.epoch(),
                    watermark: earliest.min(self.told).0,
                }),
            }
            if !matches!(goal, Goal::Leave(_)) {
                return Ok(());
            }
            let epoch = Epoch(self.first_epoch.0 + self.intake.epoch());
            self.is_leaving = !self.task.end_epoch(epoch)?;
            if self.is_leaving {
                return Ok(());
            }
            // What it holds back for its order may still become dead letters, with the W that it has.
            ports.leave_epoch(Timestamp(ports.at().watermark));
            self.intake.leave();
            while let Some(arrived) = self.intake.next_waiting() {
                self.take(arrived)?;
            }
        }
    }
}
