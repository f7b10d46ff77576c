//! What can go wrong with generated records.

use wasmill_core::fault::{Domain, Fault};
use wasmill_core::id::PartitionName;

/// A failure of the generator: somebody asks for what there is not.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum Error {
    /// No such partition was reported.
    #[error("no partition {0} was reported")]
    UnknownPartition(PartitionName),
    /// The numbers are shared out among another number of partitions than when the checkpoint was taken: set it as it was,
    /// or begin anew.
    #[error(
        "the checkpoint is one of {before} partitions, and `partitions` is {now}: set it back, or start with --fresh"
    )]
    PartitionsChanged {
        /// The number then.
        before: String,
        /// The number at present.
        now: u16,
    },
    /// The configuration was not checked.
    #[error("a checked configuration: {0}")]
    Unchecked(String),
}

impl From<Error> for Fault {
    fn from(error: Error) -> Self {
        let domain = match error {
            Error::PartitionsChanged { .. } => Domain::User,
            Error::UnknownPartition(_) | Error::Unchecked(_) => Domain::Internal,
        };
        Self::fatal(domain, error.to_string())
    }
}
