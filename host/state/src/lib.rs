//! What operators remember: ordered stores, rows as bytes, tables of typed rows by key.
//!
//! A subtask of an operator has one [`Store`]: an ordered map of bytes to bytes, in memory or on disk, with the same
//! order and the same results in both. [`layout`] says how an operator's entries stand in it: by key group, table and
//! key, so that each of these is one span. [`rows`] turns values of a schema into bytes and back.
//!
//! A store is scratch: it begins empty and is removed with its owner. What survives a job is what operators save.

pub mod layout;
pub mod store;
pub mod stores;

pub use store::{Direction, Entry, Page, Span, Store};
pub use stores::Stores;
