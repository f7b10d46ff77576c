//! The dataflow engine: timely dataflow behind types of our own. No other crate names timely.
//!
//! A job is the same graph on every worker; a worker is one cooperative thread. Sources give batches, operators turn
//! batches into batches, sinks take them. The engine moves them, exchanges them by key, tells everyone the watermark,
//! wakes operators at the points in processing time that they ask for, and keeps the bytes on the way bounded. The theory: "Naiad: A Timely Dataflow System" (SOSP 2013) for progress
//! tracking, "The Dataflow Model" (VLDB 2015) for the watermark that a frontier is here.
//!
//! The rules that this crate keeps, and why, are in `docs/adr/0003-engine.md`.

mod abort;
mod alarms;
mod cluster;
mod credit;
mod dataflow;
mod exchange;
mod intake;
mod operator;
mod parcel;
mod ports;
mod sink;
mod snapshots;
mod source;
mod stamp;
mod waker;

pub use abort::{Abort, Ending};
pub use alarms::Alarms;
pub use cluster::{Settings, run};
pub use credit::{Account, Ticket};
pub use dataflow::{Dataflow, Flow};
pub use exchange::Route;
pub use sink::{SinkState, SinkTask};
pub use snapshots::{NoSnapshots, Snapshots};
pub use source::{SourceOutput, SourceState, SourceTask};
pub use waker::Waker;
