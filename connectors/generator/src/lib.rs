//! Generated records as a source: a counter, and the events of the Nexmark benchmark.
//!
//! Every record is a function of the seed and its number alone. So two runs give the same, any stretch can be made
//! without those before it, and partitions share the numbers out among them: with P partitions, partition p has the
//! records p, p + P, p + 2 P and so on. A record's number is its position.

mod config;
mod counter;
mod error;
pub mod nexmark;
mod source;

pub use config::{Config, Kind};
pub use error::Error;
pub use source::Source;
