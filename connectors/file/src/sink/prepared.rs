//! What a checkpoint remembers of an output, as the manifest holds it: JSON, of which later versions may add kinds.

use std::path::Path;

use serde::{Deserialize, Serialize};

use wasmill_connector_api::sink::{Prepared, PreparedEpoch};
use wasmill_connector_api::spool::Spooled;

use crate::error::Error;

/// What one writer prepared.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub(super) enum What {
    /// Of one file.
    File(FileEnd),
    /// Of parts.
    Parts(StagedParts),
}

/// A stretch of a file.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case", deny_unknown_fields)]
pub(super) struct FileEnd {
    /// Where the epoch begins in the file; if nothing is spooled, where it ends.
    pub(super) offset: u64,
    /// The epoch's bytes, as they will stand in the file.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub(super) spooled: Option<Spooled>,
    /// The rows were written to the file itself, so that it may hold more by now.
    #[serde(default, skip_serializing_if = "std::ops::Not::not")]
    pub(super) direct: bool,
}

impl FileEnd {
    /// Where the file ends with the epoch.
    pub(super) fn end(&self) -> u64 {
        self.offset + self.spooled.as_ref().map_or(0, |spooled| spooled.bytes)
    }
}

/// The parts of an epoch.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case", deny_unknown_fields)]
pub(super) struct StagedParts {
    /// The number of the next part.
    pub(super) next: u64,
    /// Parts that wait for the commit.
    pub(super) parts: Vec<Staged>,
}

/// A part that is durable and has not its name yet.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case", deny_unknown_fields)]
pub(super) struct Staged {
    /// What it is called in the folder.
    pub(super) staged: String,
    /// What it will be called.
    pub(super) name: String,
}

impl What {
    pub(super) fn prepared(&self) -> Prepared {
        Prepared(serde_json::to_vec(self).expect("it is plain data").into())
    }

    fn read(prepared: &Prepared, path: &Path) -> Result<Self, Error> {
        serde_json::from_slice(&prepared.0).map_err(|source| Error::Note {
            path: path.to_owned(),
            source,
        })
    }
}

/// What the one writer of a file prepared.
///
/// # Errors
/// It is not that of a file.
pub(super) fn file_end(prepared: &[Prepared], path: &Path) -> Result<FileEnd, Error> {
    let mut all = prepared.iter().map(|prepared| What::read(prepared, path));
    match (all.next().transpose()?, all.next()) {
        (Some(What::File(end)), None) => Ok(end),
        _ => Err(Error::OtherOutput { path: path.to_owned() }),
    }
}

/// What the writers of parts prepared.
///
/// # Errors
/// It is not that of parts.
pub(super) fn staged_parts(prepared: &[Prepared], path: &Path) -> Result<Vec<StagedParts>, Error> {
    let parts = prepared.iter().map(|prepared| match What::read(prepared, path)? {
        What::Parts(parts) => Ok(parts),
        What::File(_) => Err(Error::OtherOutput { path: path.to_owned() }),
    });
    parts.collect()
}

/// [`file_end`] of an epoch.
pub(super) fn epoch_end(epoch: &PreparedEpoch, path: &Path) -> Result<FileEnd, Error> {
    file_end(&epoch.prepared, path)
}
