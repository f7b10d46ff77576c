//! A store on disk: an ordered map of what was written last in memory, over a file of `redb`, a B+ tree of pages.
//!
//! Writes are collected in memory, where an entry that is removed has a mark in its place, and go to the file in the
//! order of keys when they have come to their share of the memory; so a page that many of them touch is written once.
//! Until then there is nothing on disk. Reads and scans see both as one. The other share of the memory is redb's cache
//! of pages.
//!
//! A scan passes over the entries that are marked as removed. Where entries are taken from the front again and again, as
//! from a queue, there would soon be more to pass than to find; so when scans have passed a certain number, those that
//! are marked are removed in the file at the next write.
//!
//! The file is scratch. Nothing waits for it to reach the disk: commits are not durable, and what would sync the file
//! does nothing. Why redb: `docs/adr/0009-state.md`.

mod file;
#[cfg(test)]
mod tests;

use std::cell::Cell;
use std::cmp::Ordering;
use std::fmt;
use std::fs;
use std::io;
use std::ops::{Bound, ControlFlow};
use std::path::{Path, PathBuf};

use redb::{
    AccessGuard, Database, Durability, Range, ReadOnlyTable, ReadableDatabase, StorageBackend, TableDefinition,
};
use wasmill_core::fault::{Domain, Fault};

use super::memory::Memory;
use super::{Bounds, Direction, Visit};
use file::Unsynced;

/// The one table of the file.
const TABLE: TableDefinition<'static, &[u8], &[u8]> = TableDefinition::new("state");
/// The file in the store's folder.
const FILE: &str = "entries.redb";
/// Writes in memory take up to this share of the store's memory, in sixteenths.
const WRITES_SHARE: u64 = 5;
/// The cache of pages takes this share, in sixteenths. It is the smaller one, since writes that are collected save pages
/// both read and written. What is resident was measured to be twice what both count, so less than half of the memory
/// is counted.
const CACHE_SHARE: u64 = 2;
/// A removal of so many entries or fewer is marked entry by entry among the writes. More are removed in the file at
/// once.
const MARKED_MAX: usize = 1_024;

/// Scans may pass this many marks before what is marked is removed in the file.
const PASSED_MAX: usize = 1_024;
/// So many marked keys are listed, to be found again without a look at all writes.
const LISTED_MAX: usize = 4_096;

/// What an entry of the writes begins with: the entry was removed, or its value follows.
const REMOVED: u8 = 0;
const WRITTEN: u8 = 1;

/// The entries: what was written, over what the file has.
pub(super) struct Disk {
    folder: PathBuf,
    writes: Memory,
    writes_max_bytes: u64,
    database: Database,
    stored: Stored,
    /// A value with its mark.
    marked: Vec<u8>,
    /// Keys that were marked as removed since the last flush; not all of them where there are too many.
    listed: Vec<Box<[u8]>>,
    /// How many marks scans have passed since marked entries were last removed in the file.
    passed: Cell<usize>,
}

/// The entries of the file, to read and to change.
type Entries = ReadOnlyTable<&'static [u8], &'static [u8]>;
type Table<'t> = redb::Table<'t, &'static [u8], &'static [u8]>;

/// What the file has.
enum Stored {
    /// Nothing was written to it.
    Nothing,
    /// The entries as of the last flush.
    Entries(Entries),
    /// A flush failed: what the store has is not known any more.
    Failed(Fault),
}

impl Stored {
    #[inline]
    fn entries(&self) -> Result<Option<&Entries>, Fault> {
        match self {
            Self::Nothing => Ok(None),
            Self::Entries(entries) => Ok(Some(entries)),
            Self::Failed(fault) => Err(fault.clone()),
        }
    }
}

impl fmt::Debug for Disk {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Disk")
            .field("folder", &self.folder)
            .finish_non_exhaustive()
    }
}

impl Disk {
    /// A store in a folder, which is emptied first.
    pub(super) fn open(folder: &Path, memory_bytes: u64) -> Result<Self, Fault> {
        let file = empty(folder)
            .and_then(|()| Unsynced::create(&folder.join(FILE)))
            .map_err(|error| io_fault(folder, &error))?;
        Self::over(file, folder, memory_bytes)
    }

    fn over(file: impl StorageBackend, folder: &Path, memory_bytes: u64) -> Result<Self, Fault> {
        let database = Database::builder()
            .set_cache_size(usize::try_from(memory_bytes / 16 * CACHE_SHARE).unwrap_or(usize::MAX))
            .create_with_backend(file)
            .map_err(|error| fault(folder, error))?;
        Ok(Self {
            folder: folder.to_owned(),
            writes: Memory::default(),
            writes_max_bytes: memory_bytes / 16 * WRITES_SHARE,
            database,
            stored: Stored::Nothing,
            marked: Vec::new(),
            listed: Vec::new(),
            passed: Cell::new(0),
        })
    }

    #[inline]
    pub(super) fn get<T>(&self, key: &[u8], read: impl FnOnce(&[u8]) -> T) -> Result<Option<T>, Fault> {
        if let Some(marked) = self.writes.get(key) {
            return Ok(written(marked).map(read));
        }
        let Some(stored) = self.stored.entries()? else {
            return Ok(None);
        };
        let found = stored.get(key).map_err(|error| self.fault(error))?;
        Ok(found.map(|value| read(value.value())))
    }

    pub(super) fn put(&mut self, key: &[u8], value: &[u8]) -> Result<(), Fault> {
        self.marked.clear();
        self.marked.push(WRITTEN);
        self.marked.extend_from_slice(value);
        self.writes.put(key, &self.marked);
        self.settle()
    }

    pub(super) fn remove(&mut self, key: &[u8]) -> Result<(), Fault> {
        if self.stored.entries()?.is_none() {
            self.writes.remove(key);
            return Ok(());
        }
        self.mark(key);
        self.settle()
    }

    fn mark(&mut self, key: &[u8]) {
        self.writes.put(key, &[REMOVED]);
        if self.listed.len() <= LISTED_MAX {
            self.listed.push(key.into());
        }
    }

    pub(super) fn remove_range(&mut self, bounds: Bounds<'_>) -> Result<(), Fault> {
        self.writes.remove_range(bounds);
        let Some(stored) = self.stored.entries()? else {
            return Ok(());
        };
        let range = stored.range::<&[u8]>(bounds).map_err(|error| self.fault(error))?;
        for (seen, entry) in range.enumerate() {
            if seen == MARKED_MAX {
                return self.cut(bounds);
            }
            let (key, _) = entry.map_err(|error| self.fault(error))?;
            self.mark(key.value());
        }
        self.settle()
    }

    /// Removes a range in the file.
    fn cut(&mut self, bounds: Bounds<'_>) -> Result<(), Fault> {
        // The marks that were made so far mark nothing any more.
        self.writes.remove_range(bounds);
        let folder = self.folder.clone();
        self.write(|_, table| {
            if bounds == (Bound::Unbounded, Bound::Unbounded) {
                return table.retain(|_, _| false).map_err(|error| fault(&folder, error));
            }
            let removed = table.retain_in::<&[u8], _>(bounds, |_, _| false);
            removed.map_err(|error| fault(&folder, error))
        })
    }

    pub(super) fn scan(&self, bounds: Bounds<'_>, direction: Direction, visit: Visit<'_>) -> Result<(), Fault> {
        let Some(stored) = self.stored.entries()? else {
            return self
                .writes
                .scan(bounds, direction, &mut |key, marked| match written(marked) {
                    Some(value) => visit(key, value),
                    None => Ok(ControlFlow::Continue(())),
                });
        };
        let range = stored.range::<&[u8]>(bounds).map_err(|error| self.fault(error))?;
        let mut stored = Cursor::new(range, direction, &self.folder)?;
        let mut flow = ControlFlow::Continue(());
        let mut passed = self.passed.get();
        self.writes.scan(bounds, direction, &mut |key, marked| {
            while flow.is_continue()
                && let Some(order) = stored.order(key)
                && order != Ordering::Greater
            {
                if order == Ordering::Less {
                    flow = stored.show(visit)?;
                }
                stored.advance()?;
            }
            match written(marked) {
                Some(value) if flow.is_continue() => flow = visit(key, value)?,
                Some(_) => {}
                None => passed += 1,
            }
            Ok(flow)
        })?;
        self.passed.set(passed);
        while flow.is_continue() && stored.head.is_some() {
            flow = stored.show(visit)?;
            stored.advance()?;
        }
        Ok(())
    }

    /// What the writes take in memory, and the file on disk.
    pub(super) fn size_bytes(&self) -> u64 {
        let on_disk = match self.stored {
            Stored::Nothing => 0,
            _ => fs::metadata(self.folder.join(FILE)).map_or(0, |file| file.len()),
        };
        self.writes.size_bytes() + on_disk
    }

    /// Writes to the file what is too much in memory, or in the way of scans.
    #[inline]
    fn settle(&mut self) -> Result<(), Fault> {
        if self.writes.size_bytes() > self.writes_max_bytes {
            return self.flush();
        }
        if self.passed.get() <= PASSED_MAX {
            return Ok(());
        }
        if self.listed.len() > LISTED_MAX {
            return self.flush();
        }
        self.remove_listed()
    }

    #[cold]
    fn remove_listed(&mut self) -> Result<(), Fault> {
        let folder = self.folder.clone();
        let mut listed = std::mem::take(&mut self.listed);
        listed.sort_unstable();
        // One that was written again is a write like any other.
        listed.retain(|key| self.writes.get(key) == Some(&[REMOVED]));
        self.write(|_, table| {
            for key in &listed {
                table.remove(&**key).map_err(|error| fault(&folder, error))?;
            }
            Ok(())
        })?;
        for key in &listed {
            self.writes.remove(key);
        }
        self.passed.set(0);
        Ok(())
    }

    #[cold]
    fn flush(&mut self) -> Result<(), Fault> {
        let folder = self.folder.clone();
        self.write(|writes, table| {
            writes.scan(
                (Bound::Unbounded, Bound::Unbounded),
                Direction::Forwards,
                &mut |key, marked| {
                    let done = match written(marked) {
                        Some(value) => table.insert(key, value).map(drop),
                        None => table.remove(key).map(drop),
                    };
                    done.map_err(|error| fault(&folder, error))?;
                    Ok(ControlFlow::Continue(()))
                },
            )
        })?;
        self.writes = Memory::default();
        self.listed.clear();
        self.passed.set(0);
        Ok(())
    }

    /// Changes the file, and reads it as it is then.
    fn write(&mut self, change: impl FnOnce(&Memory, &mut Table<'_>) -> Result<(), Fault>) -> Result<(), Fault> {
        // A reader would keep the pages that are replaced.
        self.stored = Stored::Nothing;
        match self.commit(change) {
            Ok(entries) => {
                self.stored = Stored::Entries(entries);
                Ok(())
            }
            Err(fault) => {
                self.stored = Stored::Failed(fault.clone());
                Err(fault)
            }
        }
    }

    fn commit(&self, change: impl FnOnce(&Memory, &mut Table<'_>) -> Result<(), Fault>) -> Result<Entries, Fault> {
        let mut transaction = self.database.begin_write().map_err(|error| self.fault(error))?;
        transaction
            .set_durability(Durability::None)
            .map_err(|error| self.fault(error))?;
        let mut table = transaction.open_table(TABLE).map_err(|error| self.fault(error))?;
        change(&self.writes, &mut table)?;
        drop(table);
        transaction.commit().map_err(|error| self.fault(error))?;
        let reader = self.database.begin_read().map_err(|error| self.fault(error))?;
        reader.open_table(TABLE).map_err(|error| self.fault(error))
    }

    fn fault(&self, error: impl Into<redb::Error>) -> Fault {
        fault(&self.folder, error)
    }
}

impl Drop for Disk {
    /// What cannot be removed is removed when the folder is used again.
    fn drop(&mut self) {
        drop(fs::remove_dir_all(&self.folder));
    }
}

/// The value of an entry of the writes; `None` where it was removed.
#[inline]
fn written(marked: &[u8]) -> Option<&[u8]> {
    match marked.split_first() {
        Some((&WRITTEN, value)) => Some(value),
        _ => None,
    }
}

/// Goes through the file's entries.
struct Cursor<'f> {
    range: Range<'static, &'static [u8], &'static [u8]>,
    direction: Direction,
    folder: &'f Path,
    head: Option<(Guard, Guard)>,
}

type Guard = AccessGuard<'static, &'static [u8]>;

impl<'f> Cursor<'f> {
    fn new(
        range: Range<'static, &'static [u8], &'static [u8]>,
        direction: Direction,
        folder: &'f Path,
    ) -> Result<Self, Fault> {
        let mut cursor = Self {
            range,
            direction,
            folder,
            head: None,
        };
        cursor.advance()?;
        Ok(cursor)
    }

    fn advance(&mut self) -> Result<(), Fault> {
        let next = match self.direction {
            Direction::Forwards => self.range.next(),
            Direction::Backwards => self.range.next_back(),
        };
        self.head = next.transpose().map_err(|error| fault(self.folder, error))?;
        Ok(())
    }

    /// Whether the entry comes before or after a key in the direction of the scan; `None` where there is no entry.
    fn order(&self, key: &[u8]) -> Option<Ordering> {
        let (head, _) = self.head.as_ref()?;
        let order = head.value().cmp(key);
        Some(match self.direction {
            Direction::Forwards => order,
            Direction::Backwards => order.reverse(),
        })
    }

    fn show(&self, visit: Visit<'_>) -> Result<ControlFlow<()>, Fault> {
        match &self.head {
            Some((key, value)) => visit(key.value(), value.value()),
            None => Ok(ControlFlow::Continue(())),
        }
    }
}

fn empty(folder: &Path) -> io::Result<()> {
    match fs::remove_dir_all(folder) {
        Err(error) if error.kind() != io::ErrorKind::NotFound => return Err(error),
        _ => {}
    }
    fs::create_dir_all(folder)
}

fn fault(folder: &Path, error: impl Into<redb::Error>) -> Fault {
    match error.into() {
        redb::Error::Io(error) => io_fault(folder, &error),
        error => Fault::fatal(
            Domain::External,
            format!("the working state in {} cannot be used: {error}", folder.display()),
        ),
    }
}

fn io_fault(folder: &Path, error: &io::Error) -> Fault {
    let folder = folder.display();
    if matches!(error.kind(), io::ErrorKind::StorageFull | io::ErrorKind::QuotaExceeded) {
        return Fault::transient(format!(
            "the disk of the working state in {folder} is full: {error}; make room there, or set `path` in [state] to a folder on a larger disk"
        ));
    }
    Fault::fatal(
        Domain::External,
        format!("the working state in {folder} cannot be used: {error}"),
    )
}
