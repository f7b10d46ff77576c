//! Makes the bytes of a snapshot file.

use std::sync::Arc;

use bytes::Bytes;
use wasmill_core::id::{KeyGroup, NodeId};
use xxhash_rust::xxh3::{Xxh3, xxh3_64};

use super::format::{self, BLOCK_BYTES, Footer, Section};
use crate::envelope::Checksum;
use crate::manifest::{FileSummary, LayerKind, SectionSummary, StateFile};

/// Makes a file from sections and entries in ascending order. [`Writer::take`] gives the bytes that are ready, so that
/// no more than a block must be kept.
pub struct Writer {
    path: Arc<str>,
    ready: Vec<u8>,
    /// Bytes that were taken.
    taken: u64,
    sections: Vec<Section>,
    open: Option<Open>,
}

struct Open {
    section: Section,
    block: Vec<u8>,
    blocks: Xxh3,
    last_key: Option<Vec<u8>>,
}

impl Writer {
    /// A file that will stand at `path`, relative to its lineage's folder.
    pub fn new(path: impl Into<Arc<str>>) -> Self {
        Self {
            path: path.into(),
            ready: format::head().to_vec(),
            taken: 0,
            sections: Vec::new(),
            open: None,
        }
    }

    /// Begins a section. Sections come by operator, then by key group.
    ///
    /// # Panics
    /// The section does not come after the one before.
    pub fn section(&mut self, operator: &NodeId, group: KeyGroup, kind: LayerKind) {
        self.close();
        if let Some(last) = self.sections.last() {
            assert!(
                (&last.operator, last.group) < (operator, group),
                "sections ascend by operator and key group"
            );
        }
        self.open = Some(Open {
            section: Section {
                operator: operator.clone(),
                group,
                kind,
                offset: self.written(),
                length: 0,
                entries: 0,
                checksum: 0,
            },
            block: Vec::new(),
            blocks: Xxh3::new(),
            last_key: None,
        });
    }

    /// Adds an entry to the section, or the removal of one.
    ///
    /// # Panics
    /// There is no section, or its last key is not before this one.
    pub fn entry(&mut self, key: &[u8], value: Option<&[u8]>) {
        let open = self.open.as_mut().expect("a section was begun");
        let last_key = open.last_key.get_or_insert_default();
        assert!(open.section.entries == 0 || &last_key[..] < key, "keys ascend");
        last_key.clear();
        last_key.extend_from_slice(key);
        open.section.entries += 1;
        format::write_length(key.len() as u64, &mut open.block);
        format::write_length(value.map_or(0, |value| value.len() as u64 + 1), &mut open.block);
        open.block.extend_from_slice(key);
        open.block.extend_from_slice(value.unwrap_or_default());
        if open.block.len() >= BLOCK_BYTES {
            end_block(open, &mut self.ready);
        }
    }

    /// The bytes that are ready and were not taken.
    pub fn take(&mut self) -> Bytes {
        self.taken += self.ready.len() as u64;
        std::mem::take(&mut self.ready).into()
    }

    /// How many bytes are ready.
    pub const fn ready(&self) -> usize {
        self.ready.len()
    }

    /// The rest of the bytes, and what the file is.
    pub fn finish(mut self) -> (Bytes, FileSummary) {
        self.close();
        let index = format::write_index(&self.sections);
        let footer = Footer::of(&index, self.written());
        self.ready.extend_from_slice(&index);
        self.ready.extend_from_slice(&footer.write());
        let rest = self.take();
        let summary = FileSummary {
            file: StateFile {
                path: self.path,
                length: self.taken,
                checksum: Checksum(footer.index_checksum),
            },
            sections: self
                .sections
                .into_iter()
                .map(|section| SectionSummary {
                    operator: section.operator,
                    group: section.group,
                    kind: section.kind,
                    entries: section.entries,
                    bytes: section.length,
                })
                .collect(),
        };
        (rest, summary)
    }

    const fn written(&self) -> u64 {
        self.taken + self.ready.len() as u64
    }

    fn close(&mut self) {
        let Some(mut open) = self.open.take() else { return };
        if !open.block.is_empty() {
            end_block(&mut open, &mut self.ready);
        }
        open.section.length = self.written() - open.section.offset;
        open.section.checksum = open.blocks.digest();
        self.sections.push(open.section);
    }
}

fn end_block(open: &mut Open, ready: &mut Vec<u8>) {
    let checksum = xxh3_64(&open.block).to_le_bytes();
    let length = u32::try_from(open.block.len()).expect("an entry has less than 4 GiB");
    open.blocks.update(&checksum);
    ready.extend_from_slice(&length.to_le_bytes());
    ready.extend_from_slice(&checksum);
    ready.append(&mut open.block);
}
