//! The stores of a job, as its topology wants them: in memory, or in folders of their own under one that is locked.

use std::fs::{self, File, TryLockError};
use std::io;
use std::os::unix::fs::MetadataExt;
use std::path::{Path, PathBuf};
use std::sync::Arc;

use wasmill_core::fault::{Domain, Fault};
use wasmill_core::id::{NodeId, WorkerIndex};
use wasmill_core::plan::{StateBackend, StateSettings};

use crate::store::Store;

/// The folder in the one that the topology names.
const FOLDER: &str = "wasmill-state";
/// The file in it that a running job holds.
const LOCK: &str = "lock";
/// A store on disk has at least this much memory, however many share what the topology grants: less makes every write a
/// write to the disk.
const STORE_MEMORY_MIN_BYTES: u64 = 1 << 20;

/// Opens stores.
#[derive(Debug)]
pub struct Stores {
    place: Place,
}

#[derive(Debug)]
enum Place {
    Memory,
    Disk(Arc<Scratch>),
}

/// The folder of a running job. Each store on disk keeps it, so that no other job takes it while one is open.
#[derive(Debug)]
pub(crate) struct Scratch {
    folder: PathBuf,
    /// Of each store with its owner's residents.
    memory_bytes: u64,
    /// Held for as long as the folder is used.
    _lock: File,
}

impl Stores {
    /// The stores of a job that opens `count` of them at most. Working state on disk is in the folder `wasmill-state` of
    /// the settings' path, or of `default_folder`. What an earlier job has left there is removed, and so is the folder
    /// in the end.
    ///
    /// # Errors
    /// The folder cannot be made, or another job works in it.
    pub fn new(settings: &StateSettings, default_folder: &Path, count: usize) -> Result<Self, Fault> {
        let place = match settings.backend {
            StateBackend::Memory => Place::Memory,
            StateBackend::Disk => {
                let parent = settings.path.as_deref().unwrap_or(default_folder);
                let share = settings.memory_bytes / count.max(1) as u64;
                Place::Disk(Arc::new(Scratch::new(
                    &parent.join(FOLDER),
                    share.max(STORE_MEMORY_MIN_BYTES),
                )?))
            }
        };
        Ok(Self { place })
    }

    /// All stores in memory.
    pub fn memory() -> Self {
        Self { place: Place::Memory }
    }

    /// The store of a subtask, empty. Of its share of the memory the store has one half, and what its owner keeps in
    /// memory over it ([`Store::resident_bytes`]) the other.
    ///
    /// # Errors
    /// Its folder cannot be made or written.
    pub fn open(&self, node: &NodeId, worker: WorkerIndex) -> Result<Store, Fault> {
        match &self.place {
            Place::Memory => Ok(Store::memory()),
            Place::Disk(scratch) => {
                let folder = scratch.folder.join(format!("{node}-{}", worker.0));
                let store = Store::disk(&folder, scratch.memory_bytes / 2).map_err(|fault| fault.at(node))?;
                Ok(store.within(Arc::clone(scratch)))
            }
        }
    }
}

impl Scratch {
    fn new(folder: &Path, memory_bytes: u64) -> Result<Self, Fault> {
        let failed = |error: &io::Error| {
            let message = format!(
                "the folder of working state {} cannot be used: {error}",
                folder.display()
            );
            Fault::fatal(Domain::External, message)
        };
        let lock = loop {
            fs::create_dir_all(folder).map_err(|error| failed(&error))?;
            let lock = File::create(folder.join(LOCK)).map_err(|error| failed(&error))?;
            match lock.try_lock() {
                Ok(()) => {}
                Err(TryLockError::WouldBlock) => {
                    let message = format!(
                        "another job keeps its working state in {}; give this one a `path` of its own in [state]",
                        folder.display()
                    );
                    return Err(Fault::fatal(Domain::User, message));
                }
                Err(TryLockError::Error(error)) => return Err(failed(&error)),
            }
            // A job that ended meanwhile has removed the file that is locked: then there may be another one.
            let locked = lock.metadata().map_err(|error| failed(&error))?.ino();
            if fs::metadata(folder.join(LOCK)).is_ok_and(|found| found.ino() == locked) {
                break lock;
            }
        };
        for entry in fs::read_dir(folder).map_err(|error| failed(&error))? {
            let entry = entry.map_err(|error| failed(&error))?;
            if entry.file_type().map_err(|error| failed(&error))?.is_dir() {
                fs::remove_dir_all(entry.path()).map_err(|error| failed(&error))?;
            }
        }
        Ok(Self {
            folder: folder.to_owned(),
            memory_bytes,
            _lock: lock,
        })
    }
}

impl Drop for Scratch {
    /// What cannot be removed is removed by the next job that works here.
    fn drop(&mut self) {
        drop(fs::remove_file(self.folder.join(LOCK)));
        drop(fs::remove_dir(&self.folder));
    }
}
