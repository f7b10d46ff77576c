//! Wakes one task of one worker from anywhere.

use std::fmt;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};

use timely::scheduling::SyncActivator;

/// Wakes a source, an operator or a sink. Many wakes before the task runs count as one. Cheap to clone.
#[derive(Clone)]
pub struct Waker(Arc<Inner>);

struct Inner {
    pending: AtomicBool,
    activate: Box<dyn Fn() + Send + Sync>,
}

impl Waker {
    pub(crate) fn new(activator: SyncActivator) -> Self {
        Self::from_fn(move || {
            // Fails where the worker has ended already; then there is nothing to wake.
            activator.activate().unwrap_or_default();
        })
    }

    pub(crate) fn from_fn(activate: impl Fn() + Send + Sync + 'static) -> Self {
        Self(Arc::new(Inner {
            pending: AtomicBool::new(false),
            activate: Box::new(activate),
        }))
    }

    /// Lets the task run soon.
    pub fn wake(&self) {
        if !self.0.pending.swap(true, Ordering::SeqCst) {
            (self.0.activate)();
        }
    }

    /// The task runs now: a wake from here on counts again. What the task looks at next is looked at after this, or a
    /// wake between the two would be lost; hence one order for all (`SeqCst`), here and in the accounts.
    pub(crate) fn running(&self) {
        self.0.pending.swap(false, Ordering::SeqCst);
    }

    #[cfg(test)]
    pub(crate) fn counting() -> (Self, impl Fn() -> usize) {
        let count = Arc::new(std::sync::atomic::AtomicUsize::new(0));
        let counted = Arc::clone(&count);
        let waker = Self::from_fn(move || {
            counted.fetch_add(1, Ordering::SeqCst);
        });
        (waker, move || count.load(Ordering::SeqCst))
    }
}

impl fmt::Debug for Waker {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Waker")
            .field("pending", &self.0.pending)
            .finish_non_exhaustive()
    }
}
