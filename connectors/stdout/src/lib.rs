//! Standard output as a sink.

mod config;
mod error;
mod sink;

pub use config::Config;
pub use error::{Error, is_closed};
pub use sink::Sink;
