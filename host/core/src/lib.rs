//! The vocabulary of Wasmill: ids, time, schema, columns, batches, keys, windows, plans and the ports of operators.
//!
//! Everything here is pure. There is no I/O, no clock, no engine and no sandbox in this crate: it says what a thing
//! *is*, the crates above it say what is done with it. `docs/glossary.md` gives each word its one meaning.

pub mod aggregate;
pub mod batch;
pub mod clock;
pub mod column;
pub mod content;
pub mod delivery;
pub mod diagnostic;
pub mod fault;
pub mod id;
pub mod key;
pub mod keyed;
pub mod kind;
pub mod operator;
pub mod order;
pub mod plan;
pub mod plugin;
pub mod schema;
pub mod secret;
pub mod time;
pub mod transform;
pub mod watermark;
pub mod window;
