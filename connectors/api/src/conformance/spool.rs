//! A spool in memory, which survives the writers that are dropped and can break.

use std::collections::BTreeMap;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use async_trait::async_trait;
use bytes::{Bytes, BytesMut};
use xxhash_rust::xxh3::xxh3_64;

use wasmill_core::fault::{Domain, Fault};
use wasmill_core::id::Epoch;

use crate::spool::{Spool, SpoolReader, SpoolWriter, Spooled};

/// Bytes that are read at once: few, so that a break comes in the middle.
const PIECE_BYTES: usize = 23;

/// Keeps files in memory.
#[derive(Debug, Default)]
pub struct MemorySpool(Arc<Mutex<State>>);

#[derive(Debug, Default)]
struct State {
    files: BTreeMap<String, (Epoch, Bytes)>,
    created: u64,
    /// Set: so many pieces can be read before reading fails.
    pieces_left: Option<usize>,
}

impl MemorySpool {
    /// An empty spool.
    pub fn new() -> Arc<Self> {
        Arc::default()
    }

    /// The spool as a sink has it.
    pub fn reader(self: &Arc<Self>) -> Arc<dyn Spool> {
        Arc::clone(self) as Arc<dyn Spool>
    }

    /// Removes what is of this epoch or earlier ones, as is done when their commits are confirmed.
    pub fn remove(&self, epoch: Epoch) {
        lock(&self.0).files.retain(|_, (of, _)| *of > epoch);
    }

    /// Reading fails after so many more pieces.
    pub fn break_after(&self, pieces: usize) {
        lock(&self.0).pieces_left = Some(pieces);
    }

    /// Reading works again.
    pub fn mend(&self) {
        lock(&self.0).pieces_left = None;
    }
}

fn lock(state: &Mutex<State>) -> MutexGuard<'_, State> {
    state.lock().unwrap_or_else(PoisonError::into_inner)
}

#[async_trait]
impl Spool for MemorySpool {
    async fn create(&self, epoch: Epoch, writer: u32) -> Result<Box<dyn SpoolWriter>, Fault> {
        let mut state = lock(&self.0);
        state.created += 1;
        Ok(Box::new(Writer {
            name: format!("{epoch}-{writer}-{}", state.created),
            epoch,
            bytes: BytesMut::new(),
            state: Arc::clone(&self.0),
        }))
    }

    async fn read(&self, spooled: &Spooled) -> Result<Box<dyn SpoolReader>, Fault> {
        let file = lock(&self.0).files.get(&spooled.name).cloned();
        let Some((_, bytes)) = file else {
            return Err(Fault::fatal(
                Domain::External,
                format!("{} is not in the spool", spooled.name),
            ));
        };
        if bytes.len() as u64 != spooled.bytes || xxh3_64(&bytes) != spooled.checksum {
            return Err(Fault::fatal(Domain::External, format!("{} is damaged", spooled.name)));
        }
        Ok(Box::new(Reader {
            bytes,
            state: Arc::clone(&self.0),
        }))
    }
}

struct Writer {
    name: String,
    epoch: Epoch,
    bytes: BytesMut,
    state: Arc<Mutex<State>>,
}

#[async_trait]
impl SpoolWriter for Writer {
    async fn write(&mut self, bytes: Bytes) -> Result<(), Fault> {
        self.bytes.extend_from_slice(&bytes);
        Ok(())
    }

    async fn finish(self: Box<Self>) -> Result<Spooled, Fault> {
        let bytes = self.bytes.freeze();
        let spooled = Spooled {
            name: self.name.clone(),
            bytes: bytes.len() as u64,
            checksum: xxh3_64(&bytes),
        };
        lock(&self.state).files.insert(self.name, (self.epoch, bytes));
        Ok(spooled)
    }
}

struct Reader {
    bytes: Bytes,
    state: Arc<Mutex<State>>,
}

#[async_trait]
impl SpoolReader for Reader {
    async fn read(&mut self) -> Result<Option<Bytes>, Fault> {
        if let Some(left) = &mut lock(&self.state).pieces_left {
            *left = left.checked_sub(1).ok_or_else(|| Fault::transient("the spool broke"))?;
        }
        let piece = self.bytes.split_to(self.bytes.len().min(PIECE_BYTES));
        Ok((!piece.is_empty()).then_some(piece))
    }
}
