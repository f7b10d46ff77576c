//! Joins, deduplication and top against their oracles, and their rules by name.

#[path = "joins/examples.rs"]
mod examples;
#[path = "joins/harness.rs"]
mod harness;
#[path = "joins/lookups.rs"]
mod lookups;
#[path = "joins/pairs.rs"]
mod pairs;
#[path = "joins/singles.rs"]
mod singles;
