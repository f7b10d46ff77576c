//! A store that fails as stores do, by a seed: for tests and simulations.
//!
//! An operation takes effect between two points where others may go on, so a caller that is dropped (a host that was
//! killed) may have done it, or not, or it happens later, or a write is torn. A failure says nothing about the effect
//! either. [`Store::put_new`] is the exception that the protocol stands on: it is never torn.

use std::ops::Range;
use std::sync::{Arc, Mutex, MutexGuard};
use std::task::Poll;

use async_trait::async_trait;
use bytes::{Bytes, BytesMut};
use futures_util::future::poll_fn;

use super::memory::part;
use super::{Creation, Memory, Object, Store, StoreError, Upload};

/// Numbers that follow from a seed (`SplitMix64`, Steele et al. 2014).
#[derive(Clone, Debug)]
pub struct Dice(u64);

impl Dice {
    /// Dice whose throws follow from `seed`.
    pub const fn new(seed: u64) -> Self {
        Self(seed)
    }

    /// The next number.
    pub const fn next(&mut self) -> u64 {
        self.0 = self.0.wrapping_add(0x9E37_79B9_7F4A_7C15);
        let mut mixed = self.0;
        mixed = (mixed ^ (mixed >> 30)).wrapping_mul(0xBF58_476D_1CE4_E5B9);
        mixed = (mixed ^ (mixed >> 27)).wrapping_mul(0x94D0_49BB_1331_11EB);
        mixed ^ (mixed >> 31)
    }

    /// A number below `bound`, which is not 0.
    pub const fn below(&mut self, bound: u64) -> u64 {
        self.next() % bound
    }

    /// Whether something that happens so many times in a thousand happens.
    pub const fn permille(&mut self, rate: u32) -> bool {
        self.below(1000) < rate as u64
    }
}

/// What goes wrong, in how many of a thousand operations.
#[derive(Clone, Copy, Debug, Default)]
pub struct Faults {
    /// An operation fails, and had no effect.
    pub fails: u32,
    /// A write fails, and had its effect.
    pub fails_after: u32,
    /// A write fails, and has its effect later, at [`Faulty::arrive`].
    pub fails_then_arrives: u32,
    /// At how many points at most an operation lets others go on before it takes effect, and after.
    pub delays_max: u64,
    /// Writes that have returned can be lost by [`Faulty::lose_unsynced`]: what no store may do.
    pub lies: bool,
}

/// A store in memory with faults. Clones are the same store.
#[derive(Clone, Debug)]
pub struct Faulty {
    memory: Memory,
    shared: Arc<Mutex<Shared>>,
}

#[derive(Debug)]
struct Shared {
    dice: Dice,
    faults: Faults,
    refuses: Option<Refusal>,
    late: Vec<Effect>,
    /// What stood where before writes that are not synced, oldest first.
    unsynced: Vec<(String, Option<Bytes>)>,
}

/// Why a store takes no writes.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Refusal {
    /// No space is left.
    Full,
    /// Nothing may be written.
    ReadOnly,
}

#[derive(Clone, Debug)]
enum Effect {
    PutNew(String, Bytes),
    Put(String, Bytes),
    Delete(String),
    Copy(String, String),
    Nothing(String),
}

impl Faulty {
    /// An empty store whose faults follow from `seed`.
    pub fn new(seed: u64, faults: Faults) -> Self {
        Self {
            memory: Memory::new(),
            shared: Arc::new(Mutex::new(Shared {
                dice: Dice::new(seed),
                faults,
                refuses: None,
                late: Vec::new(),
                unsynced: Vec::new(),
            })),
        }
    }

    /// What is in the store: what a reader would find.
    pub const fn memory(&self) -> &Memory {
        &self.memory
    }

    /// From here on these faults happen.
    pub fn set_faults(&self, faults: Faults) {
        self.shared().faults = faults;
    }

    /// From here on writes are refused, or are not.
    pub fn refuse(&self, why: Option<Refusal>) {
        self.shared().refuses = why;
    }

    /// One of the writes that are still on their way arrives, if there is one.
    pub fn arrive(&self) -> bool {
        let mut shared = self.shared();
        if shared.late.is_empty() {
            return false;
        }
        let count = shared.late.len() as u64;
        let which = shared.dice.below(count) as usize;
        let effect = shared.late.swap_remove(which);
        self.apply(&mut shared, &effect);
        true
    }

    /// The machine loses its power: some of the last writes are undone, if the store lies.
    pub fn lose_unsynced(&self) {
        let mut shared = self.shared();
        if shared.unsynced.is_empty() {
            return;
        }
        let count = shared.unsynced.len() as u64;
        let kept = shared.dice.below(count) as usize;
        let undone = shared.unsynced.split_off(kept);
        shared.unsynced.clear();
        for (path, before) in undone.into_iter().rev() {
            let mut objects = self.memory.objects();
            match before {
                Some(bytes) => objects.insert(path, bytes),
                None => objects.remove(&path),
            };
        }
    }

    fn shared(&self) -> MutexGuard<'_, Shared> {
        self.shared.lock().expect("nothing panics while it holds the dice")
    }

    fn apply(&self, shared: &mut Shared, effect: &Effect) -> Creation {
        if shared.faults.lies
            && let Effect::PutNew(path, _) | Effect::Put(path, _) | Effect::Copy(_, path) = effect
        {
            let before = self.memory.objects().get(path).cloned();
            shared.unsynced.push((path.clone(), before));
        }
        match effect {
            Effect::PutNew(path, bytes) => return self.memory.create(path, bytes.clone()),
            Effect::Put(path, bytes) => {
                self.memory.objects().insert(path.clone(), bytes.clone());
            }
            Effect::Delete(path) => {
                self.memory.objects().remove(path);
            }
            Effect::Copy(from, to) => {
                let mut objects = self.memory.objects();
                if let Some(bytes) = objects.get(from).cloned() {
                    objects.insert(to.clone(), bytes);
                }
            }
            Effect::Nothing(_) => {}
        }
        Creation::Made
    }

    async fn act(&self, effect: Effect) -> Result<Creation, StoreError> {
        let mut under_way = UnderWay {
            store: self.clone(),
            effect: Some(effect),
        };
        self.delay().await;
        let effect = under_way.effect.take().expect("it is taken once");
        let made = self.strike(&effect)?;
        self.delay().await;
        Ok(made)
    }

    /// The effect, or a failure with or without it.
    fn strike(&self, effect: &Effect) -> Result<Creation, StoreError> {
        let mut shared = self.shared();
        let (Effect::PutNew(path, _)
        | Effect::Put(path, _)
        | Effect::Delete(path)
        | Effect::Copy(path, _)
        | Effect::Nothing(path)) = effect;
        let writes = !matches!(effect, Effect::Nothing(_) | Effect::Delete(_));
        let faults = shared.faults;
        if writes && let Some(refusal) = shared.refuses {
            return Err(self.refusal(refusal, path));
        }
        if shared.dice.permille(faults.fails) {
            return Err(self.transient(path));
        }
        if writes && shared.dice.permille(faults.fails_then_arrives) {
            shared.late.push(effect.clone());
            return Err(self.transient(path));
        }
        let made = self.apply(&mut shared, effect);
        if writes && shared.dice.permille(faults.fails_after) {
            return Err(self.transient(path));
        }
        Ok(made)
    }

    /// Lets others go on, at a number of points that the dice decide.
    async fn delay(&self) {
        let mut points = {
            let mut shared = self.shared();
            let most = shared.faults.delays_max;
            shared.dice.below(most + 1)
        };
        poll_fn(|context| {
            if points == 0 {
                return Poll::Ready(());
            }
            points -= 1;
            context.waker().wake_by_ref();
            Poll::Pending
        })
        .await;
    }

    /// What a caller that is gone leaves of its operation.
    fn abandon(&self, effect: Effect) {
        let mut shared = self.shared();
        match (shared.dice.below(4), effect) {
            (_, Effect::Nothing(_)) | (0, _) => {}
            (1, Effect::Put(path, bytes)) => {
                let kept = shared.dice.below(bytes.len() as u64 + 1);
                let torn = Effect::Put(path, part(&bytes, 0..kept));
                self.apply(&mut shared, &torn);
            }
            (2, effect) => shared.late.push(effect),
            (_, effect) => {
                self.apply(&mut shared, &effect);
            }
        }
    }

    fn transient(&self, path: &str) -> StoreError {
        StoreError::Transient {
            store: self.name(),
            path: path.to_owned(),
            source: "the dice said so".into(),
        }
    }

    fn refusal(&self, refusal: Refusal, path: &str) -> StoreError {
        let (store, path, source) = (self.name(), path.to_owned(), "the test said so".into());
        match refusal {
            Refusal::Full => StoreError::Full { store, path, source },
            Refusal::ReadOnly => StoreError::ReadOnly { store, path, source },
        }
    }

    async fn read(&self, path: &str) -> Result<(), StoreError> {
        self.act(Effect::Nothing(path.to_owned())).await.map(drop)
    }
}

/// An operation that has not taken effect.
struct UnderWay {
    store: Faulty,
    effect: Option<Effect>,
}

impl Drop for UnderWay {
    fn drop(&mut self) {
        if let Some(effect) = self.effect.take() {
            self.store.abandon(effect);
        }
    }
}

#[async_trait]
impl Store for Faulty {
    fn name(&self) -> String {
        "faulty:".to_owned()
    }

    async fn put_new(&self, path: &str, bytes: Bytes) -> Result<Creation, StoreError> {
        self.act(Effect::PutNew(path.to_owned(), bytes)).await
    }

    async fn put(&self, path: &str, bytes: Bytes) -> Result<(), StoreError> {
        self.act(Effect::Put(path.to_owned(), bytes)).await.map(drop)
    }

    /// The parts go to the caller's memory; [`Upload::complete`] is one write.
    async fn upload(&self, path: &str) -> Result<Box<dyn Upload>, StoreError> {
        self.read(path).await?;
        Ok(Box::new(FaultyUpload {
            store: self.clone(),
            path: path.to_owned(),
            bytes: BytesMut::new(),
        }))
    }

    async fn get(&self, path: &str) -> Result<Bytes, StoreError> {
        self.read(path).await?;
        self.memory.find(&self.name(), path)
    }

    async fn get_range(&self, path: &str, range: Range<u64>) -> Result<Bytes, StoreError> {
        Ok(part(&self.get(path).await?, range))
    }

    async fn length(&self, path: &str) -> Result<u64, StoreError> {
        Ok(self.get(path).await?.len() as u64)
    }

    async fn list(&self, folder: &str) -> Result<Vec<Object>, StoreError> {
        self.read(folder).await?;
        Ok(self.memory.list_all(folder))
    }

    async fn folders(&self, folder: &str) -> Result<Vec<String>, StoreError> {
        self.read(folder).await?;
        Ok(self.memory.folders_in(folder))
    }

    async fn delete(&self, path: &str) -> Result<(), StoreError> {
        self.act(Effect::Delete(path.to_owned())).await.map(drop)
    }

    async fn copy(&self, from: &str, to: &str) -> Result<(), StoreError> {
        self.memory.find(&self.name(), from)?;
        self.act(Effect::Copy(from.to_owned(), to.to_owned())).await.map(drop)
    }

    async fn remove_unfinished(&self, folder: &str) -> Result<(), StoreError> {
        self.read(folder).await
    }
}

struct FaultyUpload {
    store: Faulty,
    path: String,
    bytes: BytesMut,
}

#[async_trait]
impl Upload for FaultyUpload {
    async fn write(&mut self, bytes: Bytes) -> Result<(), StoreError> {
        self.store.read(&self.path).await?;
        self.bytes.extend_from_slice(&bytes);
        Ok(())
    }

    async fn complete(self: Box<Self>) -> Result<(), StoreError> {
        self.store.put(&self.path, self.bytes.freeze()).await
    }
}
