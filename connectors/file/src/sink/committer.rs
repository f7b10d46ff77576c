//! Makes epochs visible: puts spooled bytes at their place in the file, or gives staged parts their names; and mends what
//! earlier generations left.

use std::collections::BTreeSet;
use std::fs::{self, File, OpenOptions};
use std::io::ErrorKind;
use std::path::{Path, PathBuf};
use std::sync::Arc;

use async_trait::async_trait;
use bytes::Bytes;

use wasmill_connector_api::sink::{Committer, PreparedEpoch, Recovery};
use wasmill_connector_api::spool::{Spool, Spooled};
use wasmill_core::fault::Fault;
use wasmill_core::id::Generation;

use crate::client::{create_folder, sync_folder, write_at};
use crate::config::IfExists;
use crate::error::Error;

use super::parts::{self, PartNumber};
use super::prepared::{Staged, StagedParts, epoch_end, staged_parts};

/// Commits the epochs of one file.
pub(super) struct FileCommitter {
    pub(super) path: PathBuf,
    pub(super) spool: Arc<dyn Spool>,
}

#[async_trait]
impl Committer for FileCommitter {
    async fn recover(&mut self, recovery: &Recovery) -> Result<(), Fault> {
        let Some(last) = &recovery.last else { return Ok(()) };
        let last = epoch_end(last, &self.path)?;
        let end = last.end();
        let behind = if last.direct || recovery.rewound {
            Behind::Cut
        } else {
            Behind::Refuse
        };
        // What was committed for certain must be there; what comes behind it is written again.
        let certain = match recovery.pending.first() {
            Some(first) => epoch_end(first, &self.path)?.offset,
            None => end,
        };
        let path = self.path.clone();
        blocking(move || mend(&path, certain, end, behind)).await
    }

    async fn commit(&mut self, epoch: &PreparedEpoch) -> Result<(), Fault> {
        let end = epoch_end(epoch, &self.path)?;
        let path = self.path.clone();
        let mut file = blocking(move || open(&path, end.offset)).await?;
        if let Some(spooled) = &end.spooled {
            file = self.copy(spooled, file, end.offset).await?;
        }
        let path = self.path.clone();
        blocking(move || {
            file.sync_all().map_err(Error::io("sync", &path))?;
            sync_folder(&path)
        })
        .await
    }
}

impl FileCommitter {
    /// Puts an epoch's bytes where they belong. Whoever does it again does the same.
    async fn copy(&self, spooled: &Spooled, mut file: File, mut at: u64) -> Result<File, Fault> {
        let mut reader = self.spool.read(spooled).await?;
        while let Some(bytes) = reader.read().await? {
            let (path, len) = (self.path.clone(), bytes.len() as u64);
            file = blocking(move || put(file, &bytes, at, &path)).await?;
            at += len;
        }
        Ok(file)
    }
}

fn put(file: File, bytes: &Bytes, at: u64, path: &Path) -> Result<File, Error> {
    write_at(&file, bytes, at).map_err(Error::io("write", path))?;
    Ok(file)
}

/// Opens the file to write an epoch that begins at `offset`.
fn open(path: &Path, offset: u64) -> Result<File, Error> {
    if let Some(folder) = path.parent() {
        create_folder(folder)?;
    }
    let mut options = OpenOptions::new();
    let file = options.write(true).create(true).truncate(false).open(path);
    let file = file.map_err(Error::io("open", path))?;
    check_length(path, &file, offset)?;
    Ok(file)
}

/// What becomes of bytes behind the end of the last epoch.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Behind {
    /// They are rows that are written again.
    Cut,
    /// Only commits have written to the file. So they are of somebody else, or of a later generation, and this one was
    /// taken for dead.
    Refuse,
}

/// Sees to it that the file ends with the last epoch. Before `certain` nothing may be missing.
fn mend(path: &Path, certain: u64, end: u64, behind: Behind) -> Result<(), Error> {
    let file = match OpenOptions::new().write(true).open(path) {
        Err(error) if error.kind() == ErrorKind::NotFound && certain == 0 => return Ok(()),
        Err(error) if error.kind() == ErrorKind::NotFound => {
            return Err(Error::OutputShorter {
                path: path.to_owned(),
                from: certain,
                to: 0,
            });
        }
        file => file.map_err(Error::io("open", path))?,
    };
    let len = check_length(path, &file, certain)?;
    if len > end {
        if behind == Behind::Refuse {
            return Err(Error::OutputLonger {
                path: path.to_owned(),
                end,
                len,
            });
        }
        file.set_len(end).map_err(Error::io("cut", path))?;
        file.sync_all().map_err(Error::io("sync", path))?;
    }
    Ok(())
}

fn check_length(path: &Path, file: &File, least: u64) -> Result<u64, Error> {
    let len = file.metadata().map_err(Error::io("look at", path))?.len();
    if len < least {
        return Err(Error::OutputShorter {
            path: path.to_owned(),
            from: least,
            to: len,
        });
    }
    Ok(len)
}

/// Commits the epochs of parts.
pub(super) struct PartsCommitter {
    pub(super) folder: PathBuf,
    pub(super) generation: Generation,
    pub(super) if_exists: IfExists,
}

#[async_trait]
impl Committer for PartsCommitter {
    async fn recover(&mut self, recovery: &Recovery) -> Result<(), Fault> {
        let mut kept = BTreeSet::new();
        for epoch in &recovery.pending {
            let parts = staged_parts(&epoch.prepared, &self.folder)?;
            kept.extend(
                parts
                    .into_iter()
                    .flat_map(|writer| writer.parts)
                    .map(|part| part.staged),
            );
        }
        let last = match &recovery.last {
            Some(last) => staged_parts(&last.prepared, &self.folder)?,
            None => Vec::new(),
        };
        let (generation, rewound) = (self.generation, recovery.rewound);
        let appending = self.if_exists == IfExists::Append;
        let goes = move |name: &str, number: &PartNumber| {
            if number.temporary {
                // Those of a later generation are not this one's business.
                return !kept.contains(name) && (rewound || number.generation < Some(generation));
            }
            rewound && is_later(number, &last, appending)
        };
        let folder = self.folder.clone();
        blocking(move || remove(&folder, goes)).await
    }

    async fn commit(&mut self, epoch: &PreparedEpoch) -> Result<(), Fault> {
        let parts = staged_parts(&epoch.prepared, &self.folder)?;
        let parts: Vec<Staged> = parts.into_iter().flat_map(|writer| writer.parts).collect();
        let folder = self.folder.clone();
        blocking(move || give_names(&folder, &parts)).await
    }
}

/// Whether a part was written after the epoch in which the writers prepared `last`. Of writers that there were not then, it
/// may also be of somebody else, who is appended to.
fn is_later(number: &PartNumber, last: &[StagedParts], appending: bool) -> bool {
    match last.get(number.writer as usize) {
        Some(before) => number.part >= before.next,
        None => !appending && last.iter().all(|before| number.part >= before.next),
    }
}

/// Removes parts.
fn remove(folder: &Path, goes: impl Fn(&str, &PartNumber) -> bool) -> Result<(), Error> {
    for (name, number) in parts::numbers(folder)? {
        if goes(&name, &number) {
            let path = folder.join(name);
            match fs::remove_file(&path) {
                Err(error) if error.kind() == ErrorKind::NotFound => {}
                removed => removed.map_err(Error::io("remove", &path))?,
            }
        }
    }
    Ok(())
}

/// A staged part that is not there has its name already, and may have been taken away since.
fn give_names(folder: &Path, parts: &[Staged]) -> Result<(), Error> {
    for Staged { staged, name } in parts {
        let path = folder.join(name);
        match fs::rename(folder.join(staged), &path) {
            Err(error) if error.kind() == ErrorKind::NotFound => {
                if path.symlink_metadata().is_err() {
                    tracing::warn!(path = %path.display(), "a part is gone that was written before; it counts as taken away by its reader");
                }
            }
            renamed => renamed.map_err(Error::io("rename to", &path))?,
        }
    }
    if parts.is_empty() {
        return Ok(());
    }
    sync_folder(&folder.join("."))
}

/// Lets a blocking thread work.
async fn blocking<T: Send + 'static>(job: impl FnOnce() -> Result<T, Error> + Send + 'static) -> Result<T, Fault> {
    let done = tokio::task::spawn_blocking(job).await.map_err(|_| Error::Panicked)?;
    Ok(done?)
}
