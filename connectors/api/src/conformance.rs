//! What every connector must do, as functions that its tests call with the real thing behind them.
//!
//! ```text
//! conformance::source::check(|| harness.open(), &expected).await;
//! conformance::sink::check(&mut harness).await;
//! ```
//!
//! The functions panic with what was expected and what came. They never sleep: a source that has nothing at present is
//! asked again, and given up after a bounded number of times.

mod resume;
pub mod sink;
pub mod source;
