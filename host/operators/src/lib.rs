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
mod deduplicate;
mod exact;
mod join;
mod json;
mod keyed;
mod keys;
mod lookup;
mod per_key;
mod split;
mod stored;
mod top;
mod transform;
mod union;
mod waiting;
mod window;

pub use counters::Counters;
pub use deduplicate::Deduplicate;
pub use join::{Join, LATE_LEFT_PORT, LATE_RIGHT_PORT};
pub use keyed::inspect;
pub use keyed::{KeyedLimits, KeyedOperator, KeyedPorts, KeyedState, TimerCounters};
pub use lookup::{Lookup, LookupTable, SharedTable};
pub use per_key::{CallLimits, ContentPorts, KeyState, KeyWindow, KeyWindowLimits};
pub use split::Split;
pub use stored::{SLICE_ROWS_DEFAULT, Subtask};
pub use top::Top;
pub use transform::GuardedTransform;
pub use union::Union;
pub use window::{KeyGroups, Window, WindowLimits, WindowPorts};
