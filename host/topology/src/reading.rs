//! The parts with which a topology file is read, for files that speak its words: a document of values with their places,
//! and a reader that takes a table key by key and tells unknown keys, wrong types and missing ones as a topology's are.

pub use crate::document::{Entry, Item, Table, Text, Value, parse};
pub use crate::place::{At, Place, Word};
pub use crate::problems::{Problems, did_you_mean, list};
pub use crate::reader::Reader;
