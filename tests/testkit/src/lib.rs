//! What tests measure Wasmill against: naive oracles and simulated sources.
//!
//! Nothing here shares code with what it checks, but for the vocabulary of `wasmill-core`. An oracle is as plain as its
//! specification: it looks at all rows at once, row by row, and knows no batch, pane or partial result.

pub mod aggregates;
pub mod contents;
pub mod counts;
pub mod duplicates;
pub mod joins;
pub mod keyed;
pub mod partitions;
pub mod sessions;
pub mod tops;
pub mod windows;

use wasmill_core::column::Scalar;

/// A row, with all that decides what becomes of it.
#[derive(Clone, Debug, PartialEq)]
pub struct Row {
    /// Its event time.
    pub time: i64,
    /// W of its partition just before it.
    pub watermark: i64,
    /// Its partition.
    pub partition: usize,
    /// Its place in the partition.
    pub position: u64,
    /// Its values, by column.
    pub values: Vec<Scalar>,
}

impl Row {
    /// What decides between rows in event-time order.
    pub fn order(&self) -> (i64, usize, u64) {
        (self.time, self.partition, self.position)
    }
}
