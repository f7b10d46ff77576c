//! The crate as its users see it.
#![expect(clippy::unwrap_used, reason = "a helper of a test fails as the test does")]

#[path = "checkpoint/block_on.rs"]
mod block_on;
#[path = "checkpoint/snapshot.rs"]
mod snapshot;
#[path = "checkpoint/store.rs"]
mod store;
