//! Who takes what nodes remember, at the end of each epoch.

use wasmill_core::fault::Fault;
use wasmill_core::id::Epoch;
use wasmill_core::operator::Operator;

/// Takes one node's snapshots.
pub trait Snapshots {
    /// The node has done all that belongs to the epoch, and nothing else yet: its state is what the epoch left behind.
    /// Called once an epoch, in their order.
    ///
    /// # Errors
    /// The state cannot be read. The fault ends the generation.
    fn take(&mut self, epoch: Epoch, operator: &mut dyn Operator) -> Result<(), Fault>;

    /// The node has ended in this epoch: from then on it remembers nothing.
    fn ended(&mut self, epoch: Epoch);
}

/// For jobs that keep nothing.
#[derive(Clone, Copy, Debug)]
pub struct NoSnapshots;

impl Snapshots for NoSnapshots {
    fn take(&mut self, _: Epoch, _: &mut dyn Operator) -> Result<(), Fault> {
        Ok(())
    }

    fn ended(&mut self, _: Epoch) {}
}
