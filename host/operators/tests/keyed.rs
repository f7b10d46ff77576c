//! The keyed operator against the oracle, and its rules by name.

#[path = "keyed/columns.rs"]
mod columns;
#[path = "keyed/examples.rs"]
mod examples;
#[path = "keyed/faults.rs"]
mod faults;
#[path = "keyed/guest.rs"]
mod guest;
#[path = "keyed/harness.rs"]
mod harness;
#[path = "keyed/logic.rs"]
mod logic;
#[path = "keyed/properties.rs"]
mod properties;
