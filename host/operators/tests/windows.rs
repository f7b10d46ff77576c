//! Windows against the oracle, and the counter-examples of their rules by name.

#[path = "windows/examples.rs"]
mod examples;
#[path = "windows/harness.rs"]
mod harness;
#[path = "windows/live.rs"]
mod live;
#[path = "windows/plugins.rs"]
mod plugins;
#[path = "windows/properties.rs"]
mod properties;
#[path = "windows/spilled.rs"]
mod spilled;
