//! Links of a lineage's chain: who may write it, and what exists in it.
//!
//! Links are numbered without gaps and made with "create if absent", so of all that want to write the next one, one
//! does. Each names the checksum of the one before it: a link that somebody wrote late, where an old one had been removed,
//! is none of the chain.

use bytes::Bytes;
use serde::{Deserialize, Serialize};
use wasmill_core::id::{Epoch, Generation, Lineage};

use crate::envelope::{self, Checksum};
use crate::{Error, Manifest};

/// One link.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case", deny_unknown_fields)]
pub struct Link {
    /// Its number, from 0.
    pub number: u64,
    /// The checksum of the link before it; none in the first.
    pub previous: Option<Checksum>,
    /// Who wrote it: a name that no other process has, such as machine, process and start. By it a writer knows a link
    /// of its own again, when it was not told whether it was written.
    pub writer: String,
    /// What it says.
    pub body: Body,
}

/// What a link says.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Body {
    /// The lineage begins, in generation 1. Always link 0, and only there.
    Opened {
        /// What it begins with.
        origin: Origin,
        /// The epoch that it goes on from, where it does not begin with nothing. Its files are this lineage's own.
        #[serde(default, skip_serializing_if = "Option::is_none")]
        manifest: Option<Box<Manifest>>,
    },
    /// A generation begins. Those before it write no more.
    Takeover {
        /// Its number.
        generation: Generation,
    },
    /// An epoch is complete. It exists by this link.
    Manifest(Box<Manifest>),
    /// All commits up to an epoch are confirmed. Written where no manifest comes that would show it: after the last one.
    Settled {
        /// The epoch.
        epoch: Epoch,
    },
    /// The lineage takes no more links, because another one goes on.
    Closed {
        /// The lineage that is opened next.
        by: Lineage,
        /// What that one begins with: whoever finds it not opened opens it so.
        origin: Origin,
    },
}

/// What a lineage begins with.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Origin {
    /// Nothing.
    Fresh,
    /// The state after an epoch of another lineage.
    Checkpoint {
        /// That lineage.
        lineage: Lineage,
        /// The epoch.
        epoch: Epoch,
    },
    /// A savepoint.
    Savepoint {
        /// Where it was, for those who read this.
        path: String,
    },
}

impl Link {
    /// The link as it stands in the store, and its checksum.
    pub fn seal(&self) -> (Bytes, Checksum) {
        envelope::seal(envelope::LINK, self)
    }

    /// Reads a link that stands at `path`.
    ///
    /// # Errors
    /// It is damaged, or of a later version.
    pub fn open(path: &str, bytes: &[u8]) -> Result<(Self, Checksum), Error> {
        envelope::open(envelope::LINK, path, bytes)
    }

    /// The epoch that a generation can go on from by this link.
    pub fn manifest(&self) -> Option<&Manifest> {
        match &self.body {
            Body::Manifest(manifest) => Some(manifest),
            Body::Opened { manifest, .. } => manifest.as_deref(),
            _ => None,
        }
    }
}
