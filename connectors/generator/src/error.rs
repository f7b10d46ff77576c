//! What can go wrong with generated records.

use wasmill_core::fault::{Domain, Fault};
use wasmill_core::id::PartitionName;

/// A failure of the generator: somebody asks for what there is not.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum Error {
    /// No such partition was reported.
    #[error("no partition {0} was reported")]
    UnknownPartition(PartitionName),
    /// The configuration was not checked.
    #[error("a checked configuration: {0}")]
    Unchecked(String),
}

impl From<Error> for Fault {
    fn from(error: Error) -> Self {
        Self::fatal(Domain::Internal, error.to_string())
    }
}
