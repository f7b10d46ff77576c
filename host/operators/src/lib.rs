//! Built-in operators as pure state machines: windows with their aggregates, and the guard around Wasm transforms.
//!
//! An operator here is a [`wasmill_core::operator::Operator`]: batches and watermarks in, batches out. It does no I/O and
//! knows neither clock nor engine.

mod aggregate;
mod blame;
mod counters;
pub mod dead_letters;
mod exact;
mod json;
mod keys;
mod window;

pub use counters::Counters;
pub use window::{Window, WindowLimits, WindowPorts};
