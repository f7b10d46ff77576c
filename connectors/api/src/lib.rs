//! What a connector implements, the formats, and the conformance suite that every connector must pass.
//!
//! A connector reads or writes; it does nothing else. Watermarks, backpressure, batching, retries and stopping stand
//! once, in the runtime's drivers, which own the loop and call a connector's few duties.

pub mod config;
#[cfg(feature = "conformance")]
pub mod conformance;
pub mod format;
pub mod registry;
pub mod sink;
pub mod source;
pub mod spool;
