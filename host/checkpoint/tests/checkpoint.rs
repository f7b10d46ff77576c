//! The crate as its users see it: stores, snapshot files, decisions, and the protocol as a whole.
#![expect(clippy::unwrap_used, reason = "a helper of a test fails as the test does")]

#[path = "checkpoint/block_on.rs"]
mod block_on;
#[path = "checkpoint/chain.rs"]
mod chain;
#[path = "checkpoint/coordinator.rs"]
mod coordinator;
#[path = "checkpoint/examples.rs"]
mod examples;
#[path = "checkpoint/fixtures.rs"]
mod fixtures;
#[path = "checkpoint/recover.rs"]
mod recover;
#[path = "checkpoint/retention.rs"]
mod retention;
#[path = "checkpoint/savepoint.rs"]
mod savepoint;
#[path = "checkpoint/simulation.rs"]
mod simulation;
#[path = "checkpoint/snapshot.rs"]
mod snapshot;
#[path = "checkpoint/store.rs"]
mod store;
