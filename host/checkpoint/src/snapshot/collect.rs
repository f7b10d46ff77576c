//! What the operators of one worker hand out in an epoch, on its way to a file.

use std::collections::BTreeMap;
use std::sync::Arc;

use bytes::Bytes;
use wasmill_core::fault::Fault;
use wasmill_core::id::{KeyGroup, NodeId};
use wasmill_core::operator::{Save, SaveChanges};

use super::Writer;
use crate::Error;
use crate::manifest::{FileSummary, LayerKind};
use crate::store::{Store, StoreError, Upload};

/// Entries by operator and key group, in any order; of several of one key the last one counts.
#[derive(Debug, Default)]
pub struct Collector {
    sections: BTreeMap<(NodeId, KeyGroup), Collected>,
    bytes: usize,
}

#[derive(Debug)]
struct Collected {
    kind: LayerKind,
    entries: BTreeMap<Box<[u8]>, Option<Box<[u8]>>>,
}

impl Collector {
    /// A collector with nothing in it.
    pub fn new() -> Self {
        Self::default()
    }

    /// From here on a key group's section is a base: it stands for all that is collected of the key group, and is
    /// written even if that is nothing.
    pub fn base(&mut self, operator: &NodeId, group: KeyGroup) {
        self.section(operator, group).kind = LayerKind::Base;
    }

    /// Takes an entry, or the removal of one.
    pub fn entry(&mut self, operator: &NodeId, group: KeyGroup, key: &[u8], value: Option<&[u8]>) {
        self.bytes += key.len() + value.map_or(0, <[u8]>::len);
        self.section(operator, group)
            .entries
            .insert(key.into(), value.map(Into::into));
    }

    /// Takes what one operator hands out.
    pub fn of<'c>(&'c mut self, operator: &NodeId) -> Handed<'c> {
        Handed {
            operator: operator.clone(),
            collector: self,
        }
    }

    /// The bytes of keys and values that were taken.
    pub const fn bytes(&self) -> usize {
        self.bytes
    }

    /// Whether there is nothing to write.
    pub fn is_empty(&self) -> bool {
        self.sections.is_empty()
    }

    /// Writes the file at `path`, relative to `folder`. The file is durable when this returns.
    ///
    /// # Errors
    /// The store's.
    pub async fn write(self, store: &dyn Store, folder: &str, path: &str) -> Result<FileSummary, Error> {
        let mut output = Output::new(store, folder, path);
        for ((operator, group), collected) in self.sections {
            output.writer.section(&operator, group, collected.kind);
            for (key, value) in collected.entries {
                // A base has nothing below it that a removal could remove.
                if value.is_some() || collected.kind == LayerKind::Delta {
                    output.writer.entry(&key, value.as_deref());
                    output.send().await?;
                }
            }
        }
        output.finish().await
    }

    fn section(&mut self, operator: &NodeId, group: KeyGroup) -> &mut Collected {
        self.sections
            .entry((operator.clone(), group))
            .or_insert_with(|| Collected {
                kind: LayerKind::Delta,
                entries: BTreeMap::new(),
            })
    }
}

/// Takes what one operator hands out: what has changed, or all of it.
#[derive(Debug)]
pub struct Handed<'c> {
    operator: NodeId,
    collector: &'c mut Collector,
}

impl SaveChanges for Handed<'_> {
    fn put(&mut self, group: KeyGroup, key: &[u8], value: &[u8]) -> Result<(), Fault> {
        self.collector.entry(&self.operator, group, key, Some(value));
        Ok(())
    }

    fn remove(&mut self, group: KeyGroup, key: &[u8]) -> Result<(), Fault> {
        self.collector.entry(&self.operator, group, key, None);
        Ok(())
    }
}

/// A key group of which there is an entry becomes a base.
impl Save for Handed<'_> {
    fn entry(&mut self, group: KeyGroup, key: &[u8], value: &[u8]) -> Result<(), Fault> {
        self.collector.base(&self.operator, group);
        self.put(group, key, value)
    }
}

/// How many bytes of a file wait before they go to the store. A file that is smaller is one write.
const SEND_BYTES: usize = 1 << 20;

/// A snapshot file on its way to a store.
pub struct Output<'s> {
    /// Takes the file's sections and entries.
    pub writer: Writer,
    store: &'s dyn Store,
    path: String,
    upload: Option<Box<dyn Upload>>,
}

impl<'s> Output<'s> {
    /// A file that will stand at `path`, relative to `folder`.
    pub fn new(store: &'s dyn Store, folder: &str, path: &str) -> Self {
        Self {
            writer: Writer::new(Arc::from(path)),
            store,
            path: format!("{folder}/{path}"),
            upload: None,
        }
    }

    /// Sends what is ready, where it is much.
    ///
    /// # Errors
    /// The store's.
    pub async fn send(&mut self) -> Result<(), StoreError> {
        if self.writer.ready() < SEND_BYTES {
            return Ok(());
        }
        let bytes = self.writer.take();
        self.upload(bytes).await
    }

    /// Makes the file be there.
    ///
    /// # Errors
    /// The store's.
    pub async fn finish(mut self) -> Result<FileSummary, Error> {
        let writer = std::mem::replace(&mut self.writer, Writer::new(""));
        let (rest, summary) = writer.finish();
        if self.upload.is_none() {
            self.store.put(&self.path, rest).await?;
            return Ok(summary);
        }
        self.upload(rest).await?;
        if let Some(upload) = self.upload {
            upload.complete().await?;
        }
        Ok(summary)
    }

    async fn upload(&mut self, bytes: Bytes) -> Result<(), StoreError> {
        let upload = match &mut self.upload {
            Some(upload) => upload,
            none => none.insert(self.store.upload(&self.path).await?),
        };
        upload.write(bytes).await
    }
}
