//! Sinks: encoded rows go in, in order, and become durable.
//!
//! The driver encodes, orders and batches; it calls a sink with one chunk after the other and waits for each. A sink
//! that is slow thereby holds back its sources.

use async_trait::async_trait;
use bytes::Bytes;
use serde::Serialize;
use serde::de::DeserializeOwned;

use wasmill_core::fault::Fault;

use crate::config::{ConfigProblem, Folder};

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
}

/// What a sink will be.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct SinkDescription {
    /// How many writers it takes.
    pub writers: Writers,
    /// What it writes to, for a reader of a summary: a path, an address. Two sinks may not write to the same.
    pub target: String,
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
#[derive(Clone, Debug)]
pub struct SinkContext {
    /// The topology's folder.
    pub folder: Folder,
    /// This writer's number, from 0.
    pub writer: u32,
    /// The number of writers.
    pub writers: u32,
    /// What each file or stream begins with, before its first row: a CSV header, or nothing.
    pub prologue: Bytes,
}

/// An open writer. Calls come one after the other; after an error no other call is made.
#[async_trait]
pub trait Sink: Send {
    /// Takes whole encoded rows. When it returns, they are handed on, but need not be durable.
    async fn write(&mut self, chunk: Chunk) -> Result<(), Fault>;

    /// Makes what was written visible, as far as the sink can before its end. Called each second, whether rows come or
    /// not.
    async fn flush(&mut self) -> Result<(), Fault>;

    /// The input has ended: makes everything visible and durable. No call follows.
    async fn finish(&mut self) -> Result<(), Fault>;
}

/// Whole encoded rows.
#[derive(Clone, Debug)]
pub struct Chunk {
    /// The rows' bytes, one row after the other.
    pub bytes: Bytes,
    /// Where each row ends in `bytes`.
    pub ends: Vec<u32>,
}
