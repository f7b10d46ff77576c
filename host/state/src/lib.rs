//! What operators remember: ordered stores, rows as bytes, tables of typed rows by key.
//!
//! A subtask of an operator has one [`Store`]: an ordered map of bytes to bytes, in memory or on disk, with the same
//! order and the same results in both. [`layout`] says how an operator's entries stand in it: by key group, table and
//! key, so that each of these is one span. [`rows`] turns values of a schema into bytes and back. [`ValueTables`] hold one
//! typed row a key in columns, as a cache over the store where memory is bounded.
//!
//! A store is scratch: it begins empty and is removed with its owner. What survives a job is what operators save.

mod changes;
pub mod keys;
pub mod layout;
pub mod rows;
pub mod store;
pub mod stores;
pub mod value_tables;

pub use keys::{KeyId, Keys};
pub use rows::RowCodec;
pub use store::{Direction, Entry, Page, Span, Store};
pub use stores::Stores;
pub use value_tables::{Spill, TableSpec, ValueTables};
