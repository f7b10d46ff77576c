//! What the engine runs between sources and sinks: a state machine over batches, watermarks and a clock it is told of.

use crate::batch::Batch;
use crate::fault::Fault;
use crate::id::KeyGroup;
use crate::time::Timestamp;

/// One subtask of an operator. It does no I/O but for its state, and knows no clock: its outputs are a function of what
/// it was given.
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

    /// When [`Self::clock`] is to be called, in processing time; `None`: not at all. Asked again after every call.
    fn wake_at(&self) -> Option<Timestamp>;

    /// Processing time has come to `now`, at or after what [`Self::wake_at`] asked for. After [`Step::More`] the same
    /// call is made again.
    ///
    /// # Errors
    /// The fault ends the job's generation.
    fn clock(&mut self, now: Timestamp, out: &mut dyn Emit) -> Result<Step, Fault>;

    /// Hands out the whole state. Called between other calls, never while one of them has more to give. An operator that
    /// takes what another has handed out, or a part of it by key groups, goes on as that one would.
    ///
    /// # Errors
    /// The state cannot be read, or `out` cannot take it.
    fn save(&mut self, out: &mut dyn Save) -> Result<(), Fault>;

    /// From here on the operator notes what changes in its state, where it can. Called once, after the last
    /// [`Self::load`] and before any other call, of an operator whose changes are asked for.
    fn track(&mut self) {}

    /// Hands out what [`Self::save`] would hand out otherwise than at the last call, or than at [`Self::track`]. An
    /// operator that does not note its changes hands out the whole state each time. Called as [`Self::save`] is.
    ///
    /// # Errors
    /// As of [`Self::save`].
    fn changes(&mut self, out: &mut dyn SaveChanges) -> Result<Extent, Fault> {
        self.save(&mut Whole(out))?;
        Ok(Extent::Whole)
    }

    /// Takes an entry that [`Self::save`] handed out, before any other call.
    ///
    /// # Errors
    /// The entry is none of this operator's, or the state cannot be written.
    fn load(&mut self, group: KeyGroup, key: &[u8], value: &[u8]) -> Result<(), Fault>;
}

/// Takes an operator's state. State that belongs to no key is in the group 0.
pub trait Save {
    /// Takes an entry. No two entries have one group and key.
    ///
    /// # Errors
    /// It cannot be kept.
    fn entry(&mut self, group: KeyGroup, key: &[u8], value: &[u8]) -> Result<(), Fault>;
}

/// Takes what of an operator's state is to be written at the end of an epoch.
pub trait SaveChanges {
    /// Takes an entry that is there.
    ///
    /// # Errors
    /// It cannot be kept.
    fn put(&mut self, group: KeyGroup, key: &[u8], value: &[u8]) -> Result<(), Fault>;

    /// An entry is not there any more. It need not have been there at the last call.
    ///
    /// # Errors
    /// It cannot be kept.
    fn remove(&mut self, group: KeyGroup, key: &[u8]) -> Result<(), Fault>;
}

/// What the entries are that an operator has handed out.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Extent {
    /// The whole state: entries from before count no more.
    Whole,
    /// What has changed.
    Changes,
}

/// Hands on a whole state.
struct Whole<'a>(&'a mut dyn SaveChanges);

impl Save for Whole<'_> {
    fn entry(&mut self, group: KeyGroup, key: &[u8], value: &[u8]) -> Result<(), Fault> {
        self.0.put(group, key, value)
    }
}

/// State in memory: for tests and for the harness.
impl Save for Vec<(KeyGroup, Vec<u8>, Vec<u8>)> {
    fn entry(&mut self, group: KeyGroup, key: &[u8], value: &[u8]) -> Result<(), Fault> {
        self.push((group, key.to_vec(), value.to_vec()));
        Ok(())
    }
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
