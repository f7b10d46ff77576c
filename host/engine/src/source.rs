//! Sources in the dataflow: tasks that give batches while they have credit.

use std::sync::Arc;

use wasmill_core::batch::Batch;
use wasmill_core::fault::Fault;
use wasmill_core::time::Timestamp;

use crate::credit::Account;
use crate::ports::Ports;
use crate::stamp::Stamp;

/// One worker's part of a source.
pub trait SourceTask {
    /// Gives what it has, a few batches at most, and says how to go on.
    ///
    /// # Errors
    /// The fault ends the generation.
    fn poll(&mut self, out: &mut SourceOutput<'_>) -> Result<SourceState, Fault>;
}

/// How a source goes on.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum SourceState {
    /// It has nothing, or no credit: its waker says when to ask again.
    Parked,
    /// It has more: others get a turn first.
    Ready,
    /// Nothing comes any more.
    Ended,
}

/// Where a source's batches go.
pub struct SourceOutput<'a> {
    pub(crate) ports: &'a mut Ports,
    pub(crate) account: &'a Arc<Account>,
}

impl SourceOutput<'_> {
    /// Whether the source may send. It is woken when a spent credit returns.
    pub fn has_credit(&self) -> bool {
        self.account.has_credit()
    }

    /// Sends a batch. No row's W may be below the watermark that was promised last.
    pub fn emit(&mut self, port: usize, batch: Batch) {
        let ticket = self.account.ticket(batch.size_bytes());
        self.ports.send(port, batch, Some(ticket));
    }

    /// How many epochs of this generation were left before the one that batches are sent in.
    pub fn epoch(&self) -> u64 {
        self.ports.at().epoch
    }

    /// Leaves the epoch: what was sent so far belongs to it, what is sent from here on to the next. `cut`: the source's
    /// watermark where it was cut, the same on every worker.
    pub fn next_epoch(&mut self, cut: Timestamp) {
        self.ports.leave_epoch(cut);
    }

    /// Promises that no row with a W below `to` comes any more from this worker. Costs progress messages: not after
    /// every batch.
    pub fn promise(&mut self, to: Timestamp) {
        let at = self.ports.at();
        if to.0 > at.watermark {
            self.ports.advance(Stamp { watermark: to.0, ..at });
        }
    }
}
