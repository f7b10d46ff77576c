//! One flag for all workers: the generation ends, and why.

use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex, PoisonError};
use std::thread::Thread;

use wasmill_core::fault::Fault;

/// Why a generation ended before its input did.
#[derive(Clone, Debug, PartialEq)]
pub enum Ending {
    /// Somebody asked for it.
    Stopped,
    /// Something failed.
    Failed(Fault),
}

/// Ends the generation on every worker. The first reason counts. Cheap to clone.
#[derive(Clone, Debug, Default)]
pub struct Abort(Arc<Shared>);

#[derive(Debug, Default)]
struct Shared {
    /// Set after the reason; looked at often.
    set: AtomicBool,
    state: Mutex<State>,
}

#[derive(Debug, Default)]
struct State {
    ending: Option<Ending>,
    workers: Vec<Thread>,
}

impl Abort {
    /// A generation that goes on.
    pub fn new() -> Self {
        Self::default()
    }

    /// Ends the generation. Workers that are parked wake up.
    pub fn end(&self, ending: Ending) {
        let mut state = self.lock();
        state.ending.get_or_insert(ending);
        self.0.set.store(true, Ordering::Release);
        for worker in &state.workers {
            worker.unpark();
        }
    }

    /// Why the generation ended, if it did.
    pub fn ending(&self) -> Option<Ending> {
        self.lock().ending.clone()
    }

    pub(crate) fn is_set(&self) -> bool {
        self.0.set.load(Ordering::Acquire)
    }

    /// The calling thread is to be woken.
    pub(crate) fn register(&self) {
        self.lock().workers.push(std::thread::current());
    }

    fn lock(&self) -> std::sync::MutexGuard<'_, State> {
        // Nothing under the lock can panic, and an abort must get through.
        self.0.state.lock().unwrap_or_else(PoisonError::into_inner)
    }
}
