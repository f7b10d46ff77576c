//! Snapshot files: operators' entries of one epoch, in sections by operator and key group.
//!
//! FORMAT.md has the bytes. A [`Writer`] makes a file and does no I/O; a [`Collector`] sorts what operators hand out; a
//! [`Reader`] checks what it reads before it gives it; a [`Restore`] merges the layers of key groups.

mod collect;
mod format;
mod read;
mod restore;
mod write;

use bytes::Bytes;
use wasmill_core::id::{KeyGroup, NodeId};

pub use collect::{Collector, Handed, Output};
pub use format::VERSION;
pub use read::{Change, Cursor, Reader};
pub use restore::Restore;
pub use write::Writer;

/// An entry of an operator's state.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Entry {
    /// Whose.
    pub operator: NodeId,
    /// The key group.
    pub group: KeyGroup,
    /// The key.
    pub key: Bytes,
    /// The value.
    pub value: Bytes,
}
