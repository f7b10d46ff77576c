//! Checkpoints: what makes a job go on after anything as if nothing had happened.
//!
//! Decisions are pure and stand apart from I/O: [`coordinator`] says what is done when an epoch ends, [`recover`] what a
//! new life of a job begins with, [`compaction`] which files are merged, [`retention`] which may go. [`store`] is where
//! bytes are; [`chain`] is the list of links in it that decides who may write and what exists; [`snapshot`] is the
//! format of state on disk, [`manifest`] what one epoch consists of, [`savepoint`] a manifest with all that it needs
//! in one folder, [`origin`] what a lineage takes over from either. [`inspect`] looks at the files. FORMAT.md in the crate's folder has the bytes; ADR 0015 the reasons.
//!
//! There is no clock, no randomness and no engine here: times and names of writers are arguments.

pub mod base64;
pub mod chain;
pub mod compaction;
pub mod coordinator;
pub mod envelope;
pub mod error;
pub mod inspect;
pub mod layout;
pub mod link;
pub mod manifest;
pub mod origin;
pub mod recover;
pub mod retention;
pub mod savepoint;
pub mod snapshot;
pub mod store;

pub use error::{Damage, Error};
pub use link::{Body, Link, Origin};
pub use manifest::Manifest;
pub use store::Store;
