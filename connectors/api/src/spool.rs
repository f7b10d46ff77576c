//! The spool: where a sink puts encoded rows aside, durably, until their epoch is complete.
//!
//! It is part of the checkpoint store. A file of it exists from [`SpoolWriter::finish`] on and never changes; it is kept
//! until the commit of its epoch was confirmed, and removed by the runtime. What no manifest names is removed too.

use async_trait::async_trait;
use bytes::Bytes;
use serde::{Deserialize, Serialize};

use wasmill_core::fault::Fault;
use wasmill_core::id::Epoch;

/// One sink's files aside.
#[async_trait]
pub trait Spool: Send + Sync {
    /// Begins a file. A writer of a sink makes at most one at a time. Another generation's file of the same epoch and
    /// writer is another file.
    async fn create(&self, epoch: Epoch, writer: u32) -> Result<Box<dyn SpoolWriter>, Fault>;

    /// Opens a file from its beginning. The content was compared with length and checksum before the first piece is
    /// given.
    ///
    /// # Errors
    /// The file is not there or cannot be read, or its content is not what `spooled` says.
    async fn read(&self, spooled: &Spooled) -> Result<Box<dyn SpoolReader>, Fault>;
}

/// A file of the spool that is being written. Dropped before its end it leaves nothing that counts.
#[async_trait]
pub trait SpoolWriter: Send {
    /// Adds bytes.
    async fn write(&mut self, bytes: Bytes) -> Result<(), Fault>;

    /// Ends the file and makes it durable.
    async fn finish(self: Box<Self>) -> Result<Spooled, Fault>;
}

/// A file of the spool that is being read.
#[async_trait]
pub trait SpoolReader: Send {
    /// The next piece, of a length that suits the store; `None` at the end. No piece is empty.
    async fn read(&mut self) -> Result<Option<Bytes>, Fault>;
}

/// A whole file of the spool, as a sink remembers it in what it [prepared](crate::sink::Prepared).
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case", deny_unknown_fields)]
pub struct Spooled {
    /// Its name within the spool.
    pub name: String,
    /// Its length.
    pub bytes: u64,
    /// XXH3-64 with seed 0 over its content.
    pub checksum: u64,
}
