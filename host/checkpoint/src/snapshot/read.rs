//! Reads a snapshot file. Nothing is given out whose checksum was not right.

use std::fmt;
use std::ops::Range;
use std::sync::Arc;

use bytes::Bytes;
use wasmill_core::id::{KeyGroup, NodeId};
use xxhash_rust::xxh3::{Xxh3, xxh3_64};

use super::format::{self, BLOCK_HEAD_BYTES, FOOTER_BYTES, Footer, HEAD_BYTES, MAGIC, Section, VERSION};
use crate::manifest::{LayerKind, StateFile};
use crate::store::Store;
use crate::{Damage, Error};

/// How much is read ahead. Sections stand in the order in which they are restored, so one read serves many of them.
const WINDOW_BYTES: u64 = 256 << 10;

/// A snapshot file whose index was read and checked.
#[derive(Debug)]
pub struct Reader {
    store: Arc<dyn Store>,
    path: String,
    sections: Vec<Section>,
    sections_end: u64,
    window: Bytes,
    window_at: u64,
}

/// An entry of one section.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Change {
    /// The key.
    pub key: Bytes,
    /// The value; `None`: the key was removed.
    pub value: Option<Bytes>,
}

/// A place in a section.
pub struct Cursor {
    section: usize,
    at: u64,
    entries: u64,
    blocks: Xxh3,
    block: Bytes,
    in_block: usize,
    last: Option<Bytes>,
}

impl fmt::Debug for Cursor {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let mut cursor = f.debug_struct("Cursor");
        cursor.field("at", &self.at).field("entries", &self.entries);
        cursor.finish_non_exhaustive()
    }
}

impl Reader {
    /// Opens the file that a manifest names; its path is relative to `folder`.
    ///
    /// # Errors
    /// It is missing, or not the one that the manifest names, or of a later version.
    pub async fn open(store: &Arc<dyn Store>, folder: &str, file: &StateFile) -> Result<Self, Error> {
        let path = format!("{folder}/{}", file.path);
        let damage = |what: String| Damage::of(path.clone(), what);
        if file.length < HEAD_BYTES + FOOTER_BYTES {
            return Err(damage(format!("{} bytes are no snapshot file", file.length)).into());
        }
        // One byte more than there should be: so a longer file shows.
        let tail_at = file.length.saturating_sub(WINDOW_BYTES);
        let tail = store.get_range(&path, tail_at..file.length + 1).await?;
        let found = tail_at + tail.len() as u64;
        if found != file.length {
            let found = store.length(&path).await?;
            return Err(damage(format!("it has {found} bytes instead of {}", file.length)).into());
        }
        let footer_at = file.length - FOOTER_BYTES;
        let Some((footer, version)) = Footer::read(&tail[tail.len() - FOOTER_BYTES as usize..]) else {
            return Err(damage("its last bytes are not those of a snapshot file".to_owned())
                .at(footer_at)
                .into());
        };
        if version > VERSION {
            return Err(Error::Version {
                path,
                found: version.into(),
                known: VERSION.into(),
            });
        }
        if footer.index_checksum != file.checksum.0
            || footer.index_offset.checked_add(footer.index_length) != Some(footer_at)
        {
            return Err(damage("it is not the file that the manifest names".to_owned())
                .at(footer_at)
                .into());
        }
        let index = if footer.index_offset >= tail_at {
            let from = (footer.index_offset - tail_at) as usize;
            tail.slice(from..from + footer.index_length as usize)
        } else {
            store.get_range(&path, footer.index_offset..footer_at).await?
        };
        if xxh3_64(&index) != footer.index_checksum {
            return Err(damage("its index does not have its checksum".to_owned())
                .at(footer.index_offset)
                .into());
        }
        let sections = format::read_index(&path, &index, footer.index_offset)?;
        let mut reader = Self {
            store: store.clone(),
            path,
            sections,
            sections_end: footer.index_offset,
            window: tail,
            window_at: tail_at,
        };
        let head = reader.read(0..HEAD_BYTES).await?;
        if head[..6] != *MAGIC || head[6..] != version.to_le_bytes() {
            return Err(
                Damage::of(reader.path, "its first bytes are not those of a snapshot file")
                    .at(0)
                    .into(),
            );
        }
        Ok(reader)
    }

    /// Its sections: operator, key group, kind and number of entries.
    pub fn sections(&self) -> impl Iterator<Item = (&NodeId, KeyGroup, LayerKind, u64)> {
        self.sections
            .iter()
            .map(|section| (&section.operator, section.group, section.kind, section.entries))
    }

    /// The beginning of a section; `None` where the file has none of this operator and key group.
    pub fn cursor(&self, operator: &NodeId, group: KeyGroup) -> Option<Cursor> {
        let found = self
            .sections
            .binary_search_by(|section| (&section.operator, section.group).cmp(&(operator, group)));
        found.ok().map(|section| self.cursor_of(section))
    }

    /// The next entry of a section, or `None` at its end.
    ///
    /// # Errors
    /// The section is damaged, or the store's.
    pub async fn next(&mut self, cursor: &mut Cursor) -> Result<Option<Change>, Error> {
        if cursor.in_block == cursor.block.len() && !self.next_block(cursor).await? {
            return Ok(None);
        }
        let section = &self.sections[cursor.section];
        // The block's checksum was right: what is wrong in it was written so.
        let wrong = |what| Damage::of(self.path.clone(), what).within(section.name()).at(cursor.at);
        let bytes = &cursor.block;
        let mut at = cursor.in_block;
        let lengths = format::read_length(bytes, &mut at).zip(format::read_length(bytes, &mut at));
        let (key_length, value_length) = lengths.ok_or_else(|| wrong("an entry has no length"))?;
        let key_end = at + key_length as usize;
        let end = key_end + value_length.saturating_sub(1) as usize;
        if end > bytes.len() {
            return Err(wrong("an entry is longer than its block").into());
        }
        let key = bytes.slice(at..key_end);
        if cursor.last.as_ref().is_some_and(|last| *last >= key) {
            return Err(wrong("its keys do not ascend").into());
        }
        let value = (value_length > 0).then(|| bytes.slice(key_end..end));
        cursor.in_block = end;
        cursor.entries += 1;
        cursor.last = Some(key.clone());
        Ok(Some(Change { key, value }))
    }

    /// Reads all sections to their ends.
    ///
    /// # Errors
    /// The first damage, or the store's.
    pub async fn verify(&mut self) -> Result<(), Error> {
        for section in 0..self.sections.len() {
            let mut cursor = self.cursor_of(section);
            while self.next(&mut cursor).await?.is_some() {}
        }
        Ok(())
    }

    fn cursor_of(&self, section: usize) -> Cursor {
        Cursor {
            section,
            at: self.sections[section].offset,
            entries: 0,
            blocks: Xxh3::new(),
            block: Bytes::new(),
            in_block: 0,
            last: None,
        }
    }

    async fn next_block(&mut self, cursor: &mut Cursor) -> Result<bool, Error> {
        let section = self.sections[cursor.section].clone();
        let end = section.offset + section.length;
        let damage = |what: &str, at| Damage::of(self.path.clone(), what).within(section.name()).at(at);
        if cursor.at == end {
            if cursor.entries != section.entries || cursor.blocks.digest() != section.checksum {
                return Err(damage("its blocks are not those that the index names", section.offset).into());
            }
            return Ok(false);
        }
        let head_end = cursor.at + BLOCK_HEAD_BYTES;
        if head_end > end {
            return Err(damage("a block begins where the section ends", cursor.at).into());
        }
        let head = self.read(cursor.at..head_end).await?;
        let (length, checksum) = head.split_first_chunk::<4>().expect("the head was read in full");
        let block_end = head_end + u64::from(u32::from_le_bytes(*length));
        if block_end > end || block_end == head_end {
            let what = "a block's length goes beyond the section";
            return Err(Damage::of(self.path.clone(), what)
                .within(section.name())
                .at(cursor.at)
                .into());
        }
        let block = self.read(head_end..block_end).await?;
        if xxh3_64(&block).to_le_bytes() != *checksum {
            let what = "a block does not have its checksum";
            return Err(Damage::of(self.path.clone(), what)
                .within(section.name())
                .at(cursor.at)
                .into());
        }
        cursor.blocks.update(checksum);
        cursor.block = block;
        cursor.in_block = 0;
        cursor.at = block_end;
        Ok(true)
    }

    /// Exactly these bytes of the file.
    async fn read(&mut self, range: Range<u64>) -> Result<Bytes, Error> {
        let window_end = self.window_at + self.window.len() as u64;
        if range.start < self.window_at || range.end > window_end {
            let ahead = (range.start + WINDOW_BYTES).min(self.sections_end).max(range.end);
            self.window = self.store.get_range(&self.path, range.start..ahead).await?;
            self.window_at = range.start;
        }
        let from = (range.start - self.window_at) as usize;
        let to = (range.end - self.window_at) as usize;
        if to > self.window.len() {
            let at = self.window_at + self.window.len() as u64;
            return Err(Damage::of(self.path.clone(), "it ends too early").at(at).into());
        }
        Ok(self.window.slice(from..to))
    }
}
