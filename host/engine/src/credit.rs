//! Byte credits: how much a producer may have on the way.
//!
//! Timely has no backpressure. A producer has an account of bytes; each batch that it sends carries a ticket for its
//! bytes, shared by everything that is made of the batch; when the last holder lets go of it, the bytes return to the
//! account and the producer is woken. Nobody can forget to return a credit: dropping a batch does.

use std::sync::Arc;
use std::sync::atomic::{AtomicI64, Ordering};

use crate::waker::Waker;

/// A producer's bytes.
#[derive(Debug)]
pub struct Account {
    on_the_way: AtomicI64,
    limit: i64,
    owner: Waker,
}

impl Account {
    /// An account of `limit_bytes` for a producer that `owner` wakes.
    pub fn new(limit_bytes: u64, owner: Waker) -> Arc<Self> {
        let limit = i64::try_from(limit_bytes).unwrap_or(i64::MAX).max(1);
        Arc::new(Self {
            on_the_way: AtomicI64::new(0),
            limit,
            owner,
        })
    }

    /// Whether the producer may send. One batch may overdraw the account.
    pub fn has_credit(&self) -> bool {
        self.on_the_way.load(Ordering::SeqCst) < self.limit
    }

    /// The bytes on the way.
    pub fn on_the_way(&self) -> u64 {
        u64::try_from(self.on_the_way.load(Ordering::SeqCst)).unwrap_or(0)
    }

    /// Takes bytes from the account.
    pub fn ticket(self: &Arc<Self>, bytes: usize) -> Ticket {
        let bytes = i64::try_from(bytes).unwrap_or(i64::MAX);
        self.on_the_way.fetch_add(bytes, Ordering::SeqCst);
        Ticket(Arc::new(Taken {
            bytes,
            account: Arc::clone(self),
        }))
    }
}

/// Bytes that return to their account when the last clone is dropped.
#[derive(Clone, Debug)]
pub struct Ticket(#[expect(dead_code, reason = "held for its drop")] Arc<Taken>);

#[derive(Debug)]
struct Taken {
    bytes: i64,
    account: Arc<Account>,
}

impl Drop for Taken {
    fn drop(&mut self) {
        let before = self.account.on_the_way.fetch_sub(self.bytes, Ordering::SeqCst);
        if before >= self.account.limit && before - self.bytes < self.account.limit {
            self.account.owner.wake();
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn bytes_return_with_the_last_holder() {
        let (waker, wakes) = Waker::counting();
        let account = Account::new(100, waker);
        let first = account.ticket(60);
        assert!(account.has_credit());
        let second = account.ticket(60);
        let shared = second.clone();
        assert!(!account.has_credit());
        drop(second);
        assert!(!account.has_credit(), "a clone still holds the bytes");
        drop(shared);
        assert!(account.has_credit());
        assert_eq!((account.on_the_way(), wakes()), (60, 1));
        drop(first);
        assert_eq!(
            (account.on_the_way(), wakes()),
            (0, 1),
            "an owner that was not blocked is not woken"
        );
    }
}
