//! What every connector must do, as functions that its tests call with the real thing behind them.
//!
//! ```text
//! conformance::source::check(|| harness.open(), &expected).await;
//! conformance::sink::check(&mut harness).await;
//! conformance::epochs::check(&mut harness, settings).await;
//! ```
//!
//! The functions panic with what was expected and what came. They never sleep: a source that has nothing at present is
//! asked again, and given up after a bounded number of times.

pub mod epochs;
mod random;
mod resume;
pub mod sink;
pub mod source;
pub mod spool;
#[cfg(test)]
mod tests;
