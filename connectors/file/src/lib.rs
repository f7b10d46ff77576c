//! Files as source and sink.
//!
//! | | |
//! |---|---|
//! | [`Source`] | each file is a partition, or all are one in the order of their names; plain, gzip or zstd; ends with the files, or follows them for ever |
//! | [`Sink`] | one file that grows, or parts that appear whole, by rename |
//!
//! A position in a file is the number of bytes of content before it, after decompression. Everything that waits for a
//! disk runs on the runtime's blocking threads.

mod client;
mod config;
mod error;
mod sink;
mod source;

pub use config::{Compression, Files, IfExists, Parts, Paths, SinkConfig, SourceConfig};
pub use error::Error;
pub use sink::Sink;
pub use source::Source;
