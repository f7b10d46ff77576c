//! An ordered map of bytes to bytes, in memory or on disk.
//!
//! Both backends hold the same entries in the same order, that of their keys as bytes, whatever was written when. The
//! disk backend bounds memory, not results. A store is scratch: nothing of it is meant to survive the process, and what
//! is on disk is removed with it. Everything that can fail does so because of the disk; a store in memory never fails.

mod disk;
mod memory;

use std::ops::{Bound, ControlFlow};
use std::path::Path;
use std::sync::Arc;

use wasmill_core::fault::{Domain, Fault};

use crate::changes::Changes;
use crate::stores::Scratch;
use disk::Disk;
use memory::Memory;

/// The key and the value of an entry have at most so many bytes together: 1 GiB. Both backends keep a copy or two of what
/// is written, and none counts an entry's bytes in more than 32 bits.
pub const ENTRY_BYTES_MAX: u64 = 1 << 30;

/// One subtask's entries.
///
/// ```
/// use std::ops::ControlFlow;
/// use wasmill_state::{Direction, Span, Store};
///
/// # fn main() -> Result<(), wasmill_core::fault::Fault> {
/// let mut store = Store::memory();
/// store.put(b"a 2", b"two")?;
/// store.put(b"a 1", b"one")?;
/// store.put(b"b", b"other")?;
/// assert_eq!(store.get(b"a 1", |value| value.len())?, Some(3));
///
/// let mut seen = Vec::new();
/// store.scan(Span::Prefix(b"a "), Direction::Backwards, |key, value| {
///     seen.push((key.to_vec(), value.to_vec()));
///     Ok(ControlFlow::Continue(()))
/// })?;
/// assert_eq!(seen[0], (b"a 2".to_vec(), b"two".to_vec()));
///
/// store.remove_range(Span::Prefix(b"a "))?;
/// assert_eq!(store.first(Span::All, Direction::Forwards)?, Some((b"b".to_vec(), b"other".to_vec())));
/// # Ok(())
/// # }
/// ```
#[derive(Debug)]
pub struct Store {
    backend: Backend,
    resident_bytes: Option<u64>,
    /// The keys that changed since they were asked for last, where somebody asks.
    changes: Option<Changes>,
    written_bytes: u64,
    /// Dropped last.
    #[expect(dead_code, reason = "it is held, not read: the folder stays this job's")]
    scratch: Option<Arc<Scratch>>,
}

#[derive(Debug)]
enum Backend {
    Memory(Memory),
    Disk(Box<Disk>),
}

/// Which keys.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Span<'a> {
    /// All.
    All,
    /// Those that begin with these bytes, these bytes themselves too.
    Prefix(&'a [u8]),
    /// Those between two bounds, in the order of bytes. Bounds that cross each other hold nothing.
    Between(Bound<&'a [u8]>, Bound<&'a [u8]>),
}

/// A key and its value, copied.
pub type Entry = (Vec<u8>, Vec<u8>);

/// From where a scan goes.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Direction {
    /// From the least key on.
    Forwards,
    /// From the greatest key on.
    Backwards,
}

impl Store {
    /// A store that holds everything in memory.
    pub fn memory() -> Self {
        Self {
            backend: Backend::Memory(Memory::default()),
            resident_bytes: None,
            changes: None,
            written_bytes: 0,
            scratch: None,
        }
    }

    /// A store in `folder`, which is emptied first and removed when the store is dropped. About `memory_bytes` are held
    /// in memory: what was written last, and what is read most.
    ///
    /// # Errors
    /// The folder cannot be made or written.
    pub fn disk(folder: &Path, memory_bytes: u64) -> Result<Self, Fault> {
        Ok(Self {
            backend: Backend::Disk(Box::new(Disk::open(folder, memory_bytes)?)),
            resident_bytes: Some(memory_bytes),
            changes: None,
            written_bytes: 0,
            scratch: None,
        })
    }

    /// The same store, in a folder that it keeps.
    pub(crate) fn within(self, scratch: Arc<Scratch>) -> Self {
        Self {
            scratch: Some(scratch),
            ..self
        }
    }

    /// How many bytes the store's owner may keep in memory over it, as value tables do: as many as the store itself has.
    /// `None`: as many as there are.
    pub fn resident_bytes(&self) -> Option<u64> {
        self.resident_bytes
    }

    /// From here on the store notes which of its keys change, for [`Self::take_changes`].
    pub fn track(&mut self) {
        self.changes = Some(Changes::default());
    }

    /// Shows each key that was put or removed since the last call, or since [`Self::track`], with its value where it is
    /// there. A key that came and went in between is shown as removed. In no order.
    ///
    /// # Errors
    /// The disk cannot be read, or what `visit` returned; then the changes are shown again.
    ///
    /// # Panics
    /// The store does not track its changes.
    pub fn take_changes(
        &mut self,
        mut visit: impl FnMut(&[u8], Option<&[u8]>) -> Result<(), Fault>,
    ) -> Result<(), Fault> {
        let mut changes = self.changes.take().expect("the store tracks its changes");
        let shown = changes.keys().try_for_each(|key| {
            let there = self.get(key, |value| visit(key, Some(value)))?;
            there.unwrap_or_else(|| visit(key, None))
        });
        if shown.is_ok() {
            changes.clear();
        }
        self.changes = Some(changes);
        shown
    }

    /// What `read` makes of the value at `key`; `None` where there is none.
    ///
    /// # Errors
    /// The disk cannot be read.
    #[inline]
    pub fn get<T>(&self, key: &[u8], read: impl FnOnce(&[u8]) -> T) -> Result<Option<T>, Fault> {
        match &self.backend {
            Backend::Memory(memory) => Ok(memory.get(key).map(read)),
            Backend::Disk(disk) => disk.get(key, read),
        }
    }

    /// Sets the value at `key`, whether there was one or not.
    ///
    /// # Errors
    /// The disk cannot be written, or key and value together have more than [`ENTRY_BYTES_MAX`].
    #[inline]
    pub fn put(&mut self, key: &[u8], value: &[u8]) -> Result<(), Fault> {
        if let Some(changes) = &mut self.changes {
            changes.note(key);
        }
        let bytes = key.len() as u64 + value.len() as u64;
        if bytes > ENTRY_BYTES_MAX {
            return Err(too_large(bytes));
        }
        self.written_bytes += bytes;
        match &mut self.backend {
            Backend::Memory(memory) => {
                memory.put(key, value);
                Ok(())
            }
            Backend::Disk(disk) => disk.put(key, value),
        }
    }

    /// Removes the entry at `key`, where there is one.
    ///
    /// # Errors
    /// The disk cannot be written.
    pub fn remove(&mut self, key: &[u8]) -> Result<(), Fault> {
        if let Some(changes) = &mut self.changes {
            changes.note(key);
        }
        match &mut self.backend {
            Backend::Memory(memory) => {
                memory.remove(key);
                Ok(())
            }
            Backend::Disk(disk) => disk.remove(key),
        }
    }

    /// Removes every entry of a span.
    ///
    /// # Errors
    /// The disk cannot be read or written.
    pub fn remove_range(&mut self, span: Span<'_>) -> Result<(), Fault> {
        let mut scratch = Vec::new();
        let Some(bounds) = span.bounds(&mut scratch) else {
            return Ok(());
        };
        if let Some(changes) = &mut self.changes {
            let mut note = |key: &[u8], _: &[u8]| {
                changes.note(key);
                Ok(ControlFlow::Continue(()))
            };
            match &self.backend {
                Backend::Memory(memory) => memory.scan(bounds, Direction::Forwards, &mut note),
                Backend::Disk(disk) => disk.scan(bounds, Direction::Forwards, &mut note),
            }?;
        }
        match &mut self.backend {
            Backend::Memory(memory) => {
                memory.remove_range(bounds);
                Ok(())
            }
            Backend::Disk(disk) => disk.remove_range(bounds),
        }
    }

    /// Shows the entries of a span, one after the other, until there are no more or `visit` breaks off.
    ///
    /// # Errors
    /// The disk cannot be read, or what `visit` returned.
    pub fn scan(
        &self,
        span: Span<'_>,
        direction: Direction,
        mut visit: impl FnMut(&[u8], &[u8]) -> Result<ControlFlow<()>, Fault>,
    ) -> Result<(), Fault> {
        let mut scratch = Vec::new();
        let Some(bounds) = span.bounds(&mut scratch) else {
            return Ok(());
        };
        match &self.backend {
            Backend::Memory(memory) => memory.scan(bounds, direction, &mut visit),
            Backend::Disk(disk) => disk.scan(bounds, direction, &mut visit),
        }
    }

    /// Puts the first entries of a span into `page`, which is emptied first: at most `entries_max`, and no more than one
    /// above `bytes_max`. Whether there are more of them.
    ///
    /// # Errors
    /// The disk cannot be read.
    pub fn page(
        &self,
        span: Span<'_>,
        direction: Direction,
        entries_max: usize,
        bytes_max: usize,
        page: &mut Page,
    ) -> Result<bool, Fault> {
        page.clear();
        let mut more = false;
        self.scan(span, direction, |key, value| {
            if page.len() == entries_max || page.bytes.len() > bytes_max {
                more = true;
                return Ok(ControlFlow::Break(()));
            }
            page.push(key, value);
            Ok(ControlFlow::Continue(()))
        })?;
        Ok(more)
    }

    /// The first entry of a span.
    ///
    /// # Errors
    /// The disk cannot be read.
    pub fn first(&self, span: Span<'_>, direction: Direction) -> Result<Option<Entry>, Fault> {
        let mut found = None;
        self.scan(span, direction, |key, value| {
            found = Some((key.to_vec(), value.to_vec()));
            Ok(ControlFlow::Break(()))
        })?;
        Ok(found)
    }

    /// Whether there is no entry.
    ///
    /// # Errors
    /// The disk cannot be read.
    pub fn is_empty(&self) -> Result<bool, Fault> {
        Ok(self.first(Span::All, Direction::Forwards)?.is_none())
    }

    /// How many bytes of keys and values were put so far, whatever became of them.
    pub fn written_bytes(&self) -> u64 {
        self.written_bytes
    }

    /// About how many bytes the store takes, in memory and on disk together.
    pub fn size_bytes(&self) -> u64 {
        match &self.backend {
            Backend::Memory(memory) => memory.size_bytes(),
            Backend::Disk(disk) => disk.size_bytes(),
        }
    }
}

#[cold]
fn too_large(bytes: u64) -> Fault {
    let message = format!(
        "an entry of state has {bytes} bytes, and {ENTRY_BYTES_MAX} are the most that one may have: keep less in one window or one value"
    );
    Fault::fatal(Domain::User, message)
}

/// Bounds that do not cross each other.
type Bounds<'a> = (Bound<&'a [u8]>, Bound<&'a [u8]>);

/// What a scan shows entries to.
type Visit<'v> = &'v mut dyn FnMut(&[u8], &[u8]) -> Result<ControlFlow<()>, Fault>;

impl<'a> Span<'a> {
    /// The bounds of the span, `None` where nothing can be between them. `scratch` holds a bound where it has to be
    /// made.
    fn bounds<'s>(self, scratch: &'s mut Vec<u8>) -> Option<Bounds<'s>>
    where
        'a: 's,
    {
        match self {
            Self::All => Some((Bound::Unbounded, Bound::Unbounded)),
            Self::Prefix(prefix) => {
                scratch.extend_from_slice(prefix);
                let end = if increment(scratch) {
                    Bound::Excluded(&scratch[..])
                } else {
                    Bound::Unbounded
                };
                Some((Bound::Included(prefix), end))
            }
            Self::Between(from, to) => {
                let crossed = match (from, to) {
                    (Bound::Unbounded, _) | (_, Bound::Unbounded) => false,
                    (Bound::Included(from), Bound::Included(to)) => from > to,
                    (Bound::Included(from) | Bound::Excluded(from), Bound::Included(to) | Bound::Excluded(to)) => {
                        from >= to
                    }
                };
                (!crossed).then_some((from, to))
            }
        }
    }
}

/// Makes of a prefix the least bytes that are greater than everything that begins with it. Whether there are any.
fn increment(prefix: &mut Vec<u8>) -> bool {
    while let Some(last) = prefix.pop() {
        if last < u8::MAX {
            prefix.push(last + 1);
            return true;
        }
    }
    false
}

/// Some entries of a store, copied.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Page {
    bytes: Vec<u8>,
    /// Where each key and each value ends.
    ends: Vec<(usize, usize)>,
}

impl Page {
    /// The number of entries.
    pub fn len(&self) -> usize {
        self.ends.len()
    }

    /// Whether there is none.
    pub fn is_empty(&self) -> bool {
        self.ends.is_empty()
    }

    /// The key and the value of an entry.
    ///
    /// # Panics
    /// There are not so many.
    pub fn entry(&self, index: usize) -> (&[u8], &[u8]) {
        let start = if index == 0 { 0 } else { self.ends[index - 1].1 };
        let (key_end, end) = self.ends[index];
        (&self.bytes[start..key_end], &self.bytes[key_end..end])
    }

    /// The entries in the order in which the scan met them.
    pub fn iter(&self) -> impl Iterator<Item = (&[u8], &[u8])> {
        (0..self.len()).map(|index| self.entry(index))
    }

    fn clear(&mut self) {
        self.bytes.clear();
        self.ends.clear();
    }

    fn push(&mut self, key: &[u8], value: &[u8]) {
        self.bytes.extend_from_slice(key);
        let key_end = self.bytes.len();
        self.bytes.extend_from_slice(value);
        self.ends.push((key_end, self.bytes.len()));
    }
}
