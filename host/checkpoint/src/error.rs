//! What can go wrong with checkpoints, by what a caller can do.

use std::fmt;

use wasmill_core::fault::{Domain, Fault};
use wasmill_core::id::Lineage;

use crate::store::StoreError;

/// Why a step of the protocol was not done.
#[derive(Debug, thiserror::Error)]
pub enum Error {
    /// The store did not do what it was asked.
    #[error(transparent)]
    Store(#[from] StoreError),
    /// A file is not what it was when it was written.
    #[error(transparent)]
    Damaged(#[from] Damage),
    /// Another process has taken the lineage over: stop, and commit nothing.
    #[error("lineage {lineage} was taken over: link {number} of its chain is by {by}")]
    Fenced {
        /// The lineage.
        lineage: Lineage,
        /// The link that somebody else has written.
        number: u64,
        /// Who has.
        by: String,
    },
    /// Whether a link was written is not known, so nothing may come after it: take the lineage over again.
    #[error("whether link {number} of lineage {lineage} was written is not known")]
    Unsure {
        /// The lineage.
        lineage: Lineage,
        /// The link's number.
        number: u64,
    },
    /// A file was written by a later version of Wasmill.
    #[error("`{path}` is of version {found}, and this Wasmill reads up to version {known}")]
    Version {
        /// The file.
        path: String,
        /// Its version.
        found: u32,
        /// The last version that is known.
        known: u32,
    },
    /// What was asked for is not there.
    #[error("{0}")]
    Absent(String),
}

impl From<Error> for Fault {
    fn from(error: Error) -> Self {
        match error {
            Error::Store(error) => error.into(),
            Error::Damaged(_) | Error::Fenced { .. } => Self::fatal(Domain::External, error.to_string()),
            Error::Unsure { .. } => Self::transient(error.to_string()),
            Error::Version { .. } | Error::Absent(_) => Self::fatal(Domain::User, error.to_string()),
        }
    }
}

/// Where a file is damaged, and how it shows.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Damage {
    /// The file's path in the store.
    pub path: String,
    /// Which part of a snapshot file: its operator and key group.
    pub section: Option<String>,
    /// The byte at which it shows.
    pub offset: Option<u64>,
    /// What is wrong: a lowercase fragment.
    pub what: String,
}

impl Damage {
    /// Damage of a file as a whole.
    pub fn of(path: impl Into<String>, what: impl Into<String>) -> Self {
        Self {
            path: path.into(),
            section: None,
            offset: None,
            what: what.into(),
        }
    }

    /// The same, at a byte.
    #[must_use]
    pub fn at(mut self, offset: u64) -> Self {
        self.offset = Some(offset);
        self
    }

    /// The same, in a section.
    #[must_use]
    pub fn within(mut self, section: impl Into<String>) -> Self {
        self.section = Some(section.into());
        self
    }
}

impl fmt::Display for Damage {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "`{}` is damaged", self.path)?;
        if let Some(section) = &self.section {
            write!(f, " in {section}")?;
        }
        if let Some(offset) = self.offset {
            write!(f, " at byte {offset}")?;
        }
        write!(f, ": {}", self.what)
    }
}

impl std::error::Error for Damage {}
