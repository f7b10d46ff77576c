//! Built-in operators as pure state machines: windows with their aggregates, and the guard around Wasm transforms.
//!
//! An operator here is a [`wasmill_core::operator::Operator`]: batches and watermarks in, batches out. It does no I/O and
//! knows neither clock nor engine.

#![cfg_attr(
    test,
    expect(clippy::float_cmp, reason = "what is rounded once has one right result")
)]

mod aggregate;
mod blame;
mod codec;
mod counters;
pub mod dead_letters;
mod exact;
mod json;
mod keys;
mod transform;
#[expect(dead_code, reason = "the operators that use it are being built")]
mod waiting;
mod window;

pub use counters::Counters;
pub use transform::GuardedTransform;
pub use window::{Window, WindowLimits, WindowPorts};
