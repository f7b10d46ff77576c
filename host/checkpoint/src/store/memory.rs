//! A store in memory, for tests.

use std::collections::BTreeMap;
use std::ops::Range;
use std::sync::{Arc, Mutex, MutexGuard};

use async_trait::async_trait;
use bytes::{Bytes, BytesMut};

use super::{Creation, Object, Store, StoreError, Upload};

/// Objects in memory. Clones are the same store.
#[derive(Clone, Debug, Default)]
pub struct Memory {
    objects: Arc<Mutex<BTreeMap<String, Bytes>>>,
}

impl Memory {
    /// An empty store.
    pub fn new() -> Self {
        Self::default()
    }

    /// The objects, for those that look at them or damage them.
    pub fn objects(&self) -> MutexGuard<'_, BTreeMap<String, Bytes>> {
        self.objects.lock().expect("nothing panics while it holds the objects")
    }

    pub(crate) fn create(&self, path: &str, bytes: Bytes) -> Creation {
        let mut objects = self.objects();
        if objects.contains_key(path) {
            return Creation::Taken;
        }
        objects.insert(path.to_owned(), bytes);
        Creation::Made
    }

    pub(crate) fn find(&self, store: &str, path: &str) -> Result<Bytes, StoreError> {
        self.objects().get(path).cloned().ok_or_else(|| StoreError::Missing {
            store: store.to_owned(),
            path: path.to_owned(),
        })
    }

    pub(crate) fn list_all(&self, folder: &str) -> Vec<Object> {
        let objects = self.objects();
        let within = format!("{folder}/");
        objects
            .range(within.clone()..)
            .take_while(|(path, _)| path.starts_with(&within))
            .map(|(path, bytes)| Object {
                path: path.clone(),
                length: bytes.len() as u64,
            })
            .collect()
    }

    pub(crate) fn folders_in(&self, folder: &str) -> Vec<String> {
        let mut names: Vec<String> = self
            .list_all(folder)
            .iter()
            .filter_map(|object| object.path[folder.len() + 1..].split_once('/'))
            .map(|(name, _)| name.to_owned())
            .collect();
        names.dedup();
        names
    }
}

/// The part of `bytes` that `range` means.
pub(crate) fn part(bytes: &Bytes, range: Range<u64>) -> Bytes {
    let end = (bytes.len() as u64).min(range.end);
    let start = range.start.min(end);
    bytes.slice(start as usize..end as usize)
}

#[async_trait]
impl Store for Memory {
    fn name(&self) -> String {
        "memory:".to_owned()
    }

    async fn put_new(&self, path: &str, bytes: Bytes) -> Result<Creation, StoreError> {
        Ok(self.create(path, bytes))
    }

    async fn put(&self, path: &str, bytes: Bytes) -> Result<(), StoreError> {
        self.objects().insert(path.to_owned(), bytes);
        Ok(())
    }

    async fn upload(&self, path: &str) -> Result<Box<dyn Upload>, StoreError> {
        Ok(Box::new(MemoryUpload {
            store: self.clone(),
            path: path.to_owned(),
            bytes: BytesMut::new(),
        }))
    }

    async fn get(&self, path: &str) -> Result<Bytes, StoreError> {
        self.find(&self.name(), path)
    }

    async fn get_range(&self, path: &str, range: Range<u64>) -> Result<Bytes, StoreError> {
        Ok(part(&self.find(&self.name(), path)?, range))
    }

    async fn length(&self, path: &str) -> Result<u64, StoreError> {
        Ok(self.find(&self.name(), path)?.len() as u64)
    }

    async fn list(&self, folder: &str) -> Result<Vec<Object>, StoreError> {
        Ok(self.list_all(folder))
    }

    async fn folders(&self, folder: &str) -> Result<Vec<String>, StoreError> {
        Ok(self.folders_in(folder))
    }

    async fn delete(&self, path: &str) -> Result<(), StoreError> {
        self.objects().remove(path);
        Ok(())
    }

    async fn copy(&self, from: &str, to: &str) -> Result<(), StoreError> {
        let bytes = self.find(&self.name(), from)?;
        self.put(to, bytes).await
    }

    async fn remove_unfinished(&self, _: &str) -> Result<(), StoreError> {
        Ok(())
    }
}

struct MemoryUpload {
    store: Memory,
    path: String,
    bytes: BytesMut,
}

#[async_trait]
impl Upload for MemoryUpload {
    async fn write(&mut self, bytes: Bytes) -> Result<(), StoreError> {
        self.bytes.extend_from_slice(&bytes);
        Ok(())
    }

    async fn complete(self: Box<Self>) -> Result<(), StoreError> {
        self.store.put(&self.path, self.bytes.freeze()).await
    }
}
