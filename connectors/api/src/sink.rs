//! Sinks: encoded rows go in, in order, and become durable; with checkpoints, epoch by epoch.
//!
//! The driver encodes, orders and batches; it calls a sink with one chunk after the other and waits for each. A sink
//! that is slow thereby holds back its sources.
//!
//! # The order of calls
//!
//! Without checkpoints a writer is opened, takes `write` and `flush` in any order, and ends with `finish`.
//!
//! With checkpoints, each generation goes like this, for each sink:
//!
//! ```text
//! committer(context)                     one a sink, whatever the number of writers
//!   recover(recovery)                    once, before all else: what is left of earlier generations is mended
//!   commit(e) for e in recovery.pending  in order
//! open(context) for each writer
//!   write* flush*                        rows of epoch e
//!   prepare(e)                           on each writer, after its last row of e
//!                                        (rows of e + 1 may be written from here on)
//!   the manifest of e is written         or is not: then nothing of e and what follows may ever be visible
//!   commit(e)                            with what all writers prepared; epochs in order, a bounded number behind
//! finish()                               on each writer, after the last commit
//! ```
//!
//! Any of it may be cut off at any point, without a further call: writers and committer are dropped, or the process is
//! gone. What survives is what `prepare` made durable and the manifest names, and what `commit` did. A process that was
//! taken for dead may go on meanwhile, up to a `commit` of an epoch that has a manifest: it then does what its successor
//! does too. It never commits an epoch that its successor has not in its [`Recovery`]. With at least once a sink
//! need not stand that: the rows of one that goes on may be doubled or torn. So within a process a call that was begun
//! has ended before the next generation recovers the sink.

use std::fmt;
use std::sync::Arc;

use async_trait::async_trait;
use bytes::Bytes;
use serde::Serialize;
use serde::de::DeserializeOwned;

use wasmill_core::delivery::Delivery;
use wasmill_core::fault::Fault;
use wasmill_core::id::{Epoch, Generation};

use crate::config::{ConfigProblem, Folder};
use crate::spool::Spool;

/// A kind of sink: its name in topologies, its configuration, and how it is opened.
pub trait SinkConnector: Send + Sync + 'static {
    /// The name in `connector = "..."`.
    const NAME: &'static str;
    /// The connector's own keys of the sink's table; unknown keys are refused.
    type Config: Serialize + DeserializeOwned + Send + 'static;

    /// Says what the sink will be, from its configuration alone. It may look at local files, at nothing else.
    ///
    /// # Errors
    /// Everything that is wrong with the configuration.
    fn describe(config: &Self::Config, folder: &Folder) -> Result<SinkDescription, Vec<ConfigProblem>>;

    /// Opens one writer.
    ///
    /// # Errors
    /// The system behind it refuses, or cannot be reached.
    fn open(config: Self::Config, context: SinkContext) -> Result<Box<dyn Sink>, Fault>;

    /// Makes the sink's committer. Called only with checkpoints, once a generation, before the writers are opened. It
    /// changes nothing yet. A sink that is given rows at least once and has nothing to mend takes [`NoCommits`].
    ///
    /// # Errors
    /// The system behind it refuses, or cannot be reached.
    fn committer(config: Self::Config, context: CommitterContext) -> Result<Box<dyn Committer>, Fault>;
}

/// What a sink will be.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct SinkDescription {
    /// How many writers it takes.
    pub writers: Writers,
    /// What it writes to, for a reader of a summary: a path, an address. Two sinks may not write to the same.
    pub target: String,
    /// The best that it can give, with checkpoints. It can also give less.
    pub delivery: Delivery,
    /// What stands in the way of a [fresh start](Start::Fresh), and of nothing else: an output that is there and must not
    /// be replaced.
    pub at_fresh_start: Vec<ConfigProblem>,
}

/// How many writers a sink takes.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Writers {
    /// One for the whole job.
    One,
    /// One per worker.
    PerWorker,
}

/// What a sink's writer is given when it is opened.
#[derive(Clone)]
pub struct SinkContext {
    /// The topology's folder.
    pub folder: Folder,
    /// This writer's number, from 0.
    pub writer: u32,
    /// The number of writers. It may differ from that of the generation before.
    pub writers: u32,
    /// What each file or stream begins with, before its first row: a CSV header, or nothing.
    pub prologue: Bytes,
    /// What it is to give: not more than [`SinkDescription::delivery`]. Without checkpoints always at least once.
    pub delivery: Delivery,
    /// Whether anything was written before.
    pub start: Start,
    /// The generation that it belongs to: part of the name of what no other generation may touch.
    pub generation: Generation,
    /// The epoch of the first row. After `prepare(e)` rows are those of the epoch after `e`.
    pub epoch: Epoch,
    /// Where rows are put aside; `None` without checkpoints.
    pub spool: Option<Arc<dyn Spool>>,
}

impl SinkContext {
    /// What the only writer of a sink is given in a job without checkpoints.
    pub fn without_checkpoints(folder: Folder, prologue: Bytes) -> Self {
        Self {
            folder,
            writer: 0,
            writers: 1,
            prologue,
            delivery: Delivery::AtLeastOnce,
            start: Start::Fresh,
            generation: Generation(1),
            epoch: Epoch(0),
            spool: None,
        }
    }
}

impl fmt::Debug for SinkContext {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("SinkContext")
            .field("writer", &self.writer)
            .field("writers", &self.writers)
            .field("delivery", &self.delivery)
            .field("start", &self.start)
            .field("generation", &self.generation)
            .field("epoch", &self.epoch)
            .finish_non_exhaustive()
    }
}

/// Whether anything was written before a writer is opened.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Start {
    /// Nothing: this is the first generation of its lineage. What becomes of an output that is there (`if-exists`) is
    /// decided only here.
    Fresh,
    /// An earlier generation has begun, and the committer has mended and committed what was completed. This is what the
    /// writers prepared for the epoch that the job goes on after, in the order of their numbers; as many as there were
    /// then. Empty if no epoch was completed: nothing that an earlier generation wrote is to stay.
    Resumed(Vec<Prepared>),
}

/// What a sink's committer is given when it is made.
#[derive(Clone)]
pub struct CommitterContext {
    /// The topology's folder.
    pub folder: Folder,
    /// What the sink is to give.
    pub delivery: Delivery,
    /// The generation that it belongs to.
    pub generation: Generation,
    /// Where the writers put rows aside.
    pub spool: Arc<dyn Spool>,
}

impl fmt::Debug for CommitterContext {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("CommitterContext")
            .field("delivery", &self.delivery)
            .field("generation", &self.generation)
            .finish_non_exhaustive()
    }
}

/// An open writer. Calls come one after the other; after an error no other call is made.
#[async_trait]
pub trait Sink: Send {
    /// Takes whole encoded rows. When it returns, they are handed on, but need not be durable.
    async fn write(&mut self, chunk: Chunk) -> Result<(), Fault>;

    /// Makes what was written visible, as far as the sink can before its end, and as far as its delivery allows: with
    /// exactly once, nothing. Called each second, whether rows come or not.
    async fn flush(&mut self) -> Result<(), Fault>;

    /// All rows of the epoch were written: makes them durable, in the target (at least once) or aside, where nobody sees
    /// them yet (exactly once). What it returns is everything that committing them takes, and that a later generation must
    /// know; it goes into the manifest, so it holds no rows. Called for each epoch, in order, also for one without rows.
    /// Never without checkpoints.
    async fn prepare(&mut self, epoch: Epoch) -> Result<Prepared, Fault>;

    /// The end of the writer. Without checkpoints: the input has ended; makes everything visible and durable. With
    /// checkpoints it comes after the last epoch was committed, and rows that are not prepared are given up where they
    /// are not visible anyway. No call follows.
    async fn finish(&mut self) -> Result<(), Fault>;
}

/// What makes a sink's epochs visible, for all its writers at once. Calls come one after the other, beside those of the
/// writers; after an error no other call is made.
#[async_trait]
pub trait Committer: Send {
    /// Mends what earlier generations left: removes what belongs to no completed epoch, and sees to it that a process
    /// that was taken for dead can add nothing but what is in `recovery`. Called first, once. This generation may itself
    /// be taken for dead meanwhile: what a later one wrote must stay, so nothing is removed that may be of a later one.
    async fn recover(&mut self, recovery: &Recovery) -> Result<(), Fault>;

    /// The epoch has a manifest: makes its rows visible and durable, with all that was committed before. Idempotent: what
    /// was done, in part or in full, by this or another process, is not done twice. With at least once there is nothing
    /// left to do.
    async fn commit(&mut self, epoch: &PreparedEpoch) -> Result<(), Fault>;
}

/// What one writer prepared for one epoch: opaque but to its connector, which reads also what its earlier versions wrote.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Prepared(pub Bytes);

/// What all writers prepared for an epoch.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct PreparedEpoch {
    /// The epoch.
    pub epoch: Epoch,
    /// By the number of the writer; as many as there were then.
    pub prepared: Vec<Prepared>,
}

/// Where a generation takes up a sink.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Recovery {
    /// The epoch that the job goes on after: the newest one that is complete. `None` if there is none.
    pub last: Option<PreparedEpoch>,
    /// Complete epochs whose commit is not confirmed, in order: each may be committed, half committed or not at all. If
    /// there are any, `last` is the last of them. The spool still holds what belongs to them.
    pub pending: Vec<PreparedEpoch>,
    /// `last` is an epoch of another lineage, and this one has no complete epoch of its own yet: it goes back in history.
    /// The target may hold rows of later epochs than `last`; where they can be told, they are to go.
    pub rewound: bool,
}

/// The committer of a sink that has nothing to mend and nothing to commit: its rows are where they belong when `prepare`
/// returns, and more than once after a failure.
#[derive(Clone, Copy, Debug, Default)]
pub struct NoCommits;

#[async_trait]
impl Committer for NoCommits {
    async fn recover(&mut self, _recovery: &Recovery) -> Result<(), Fault> {
        Ok(())
    }

    async fn commit(&mut self, _epoch: &PreparedEpoch) -> Result<(), Fault> {
        Ok(())
    }
}

/// Whole encoded rows.
#[derive(Clone, Debug)]
pub struct Chunk {
    /// The rows' bytes, one row after the other.
    pub bytes: Bytes,
    /// Where each row ends in `bytes`.
    pub ends: Vec<u32>,
}
