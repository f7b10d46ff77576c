//! Windows that are put together key by key, against their oracles.

#[path = "per_key/aggregates.rs"]
mod aggregates;
#[path = "per_key/backends.rs"]
mod backends;
#[path = "per_key/contents.rs"]
mod contents;
#[path = "per_key/early.rs"]
mod early;
#[path = "per_key/examples.rs"]
mod examples;
#[path = "per_key/growth.rs"]
mod growth;
#[path = "per_key/guests.rs"]
mod guests;
#[path = "per_key/harness.rs"]
mod harness;
