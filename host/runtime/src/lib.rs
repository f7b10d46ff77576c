//! Builds and runs the dataflow of a plan.
//!
//! This crate joins what the others define: connectors read and write on the asynchronous side, the engine's workers
//! decode, transform, aggregate and encode in between.

mod graph;
mod job;
mod metered;
pub mod metrics;
pub mod operators;
mod sink;
mod source;
mod stop;
mod table;

pub use job::{Environment, Failure, Settings, run};
pub use stop::Stop;
