//! Aggregates: the built-in ones by name, and the port of the `aggregate` world.

use std::sync::Arc;

use crate::batch::Batch;
use crate::column::{Column, Scalar};
use crate::fault::Fault;
use crate::schema::Field;
use crate::transform::{Reject, Requirement};

/// A built-in aggregate with its arguments. Columns are places in the window's input schema. Nulls are ignored.
#[derive(Clone, Debug, PartialEq)]
pub enum Builtin {
    /// `count()`: rows; `count(column)`: values that are not null. int64.
    Count(Option<usize>),
    /// `sum(column)`: int64 (overflow stops the job) or float64 (exactly rounded). Null where there is no value.
    Sum(usize),
    /// `min(column)`: the least value. Null where there is none.
    Min(usize),
    /// `max(column)`: the greatest value. Null where there is none.
    Max(usize),
    /// `avg(column)`: float64, the exact sum divided by the count, rounded once. Null where there is no value.
    Avg(usize),
    /// `first(column)`: the value of the first row by (event time, place) whose value is not null.
    First(usize),
    /// `last(column)`: the value of the last such row.
    Last(usize),
    /// `count_distinct(column)`: about how many different values (`HyperLogLog`, standard error 0.8 %). int64.
    CountDistinct(usize),
    /// `quantile(column, q)`: about the q-quantile (`DDSketch`, relative error 1 %). float64.
    Quantile(usize, f64),
    /// `top_k(column, k)`: the k most frequent values with their counts, as json.
    TopK(usize, u32),
    /// `stddev(column)`: the sample standard deviation from exact moments. float64, null below two values.
    Stddev(usize),
    /// `array_agg(column)`: all values by (event time, place), as json.
    ArrayAgg(usize),
}

/// One accumulator column of a Wasm aggregate.
#[derive(Clone, Debug, PartialEq)]
pub struct Accumulator {
    /// Its name and type.
    pub field: Field,
    /// What a new group has.
    pub initial: Scalar,
}

/// What a Wasm aggregate says of itself when the topology is checked.
#[derive(Clone, Debug, PartialEq)]
pub struct AggregateDescription {
    /// What it needs of its input.
    pub input: Requirement,
    /// Its accumulators.
    pub accumulators: Vec<Accumulator>,
    /// The columns that it gives.
    pub results: Vec<Field>,
    /// Whether any order and grouping of the rows gives the same bytes.
    pub commutative: bool,
    /// The version of the accumulators.
    pub version: u32,
}

/// What a call of [`Aggregate::accumulate`] gave.
#[derive(Clone, Debug)]
pub struct Accumulated {
    /// The accumulators of all groups, in the order in which they were given.
    pub accumulators: Vec<Column>,
    /// Rows that did not count.
    pub rejects: Vec<Reject>,
}

/// One subtask's instance of a Wasm aggregate. Accumulators are columns with a row per group, kept by the caller.
pub trait Aggregate {
    /// Adds rows: logical row i goes to the accumulators' row `group_of_row[i]`.
    ///
    /// # Errors
    /// The call failed; nothing of it takes effect.
    fn accumulate(
        &mut self,
        batch: &Batch,
        group_of_row: &[u32],
        accumulators: &[Column],
    ) -> Result<Accumulated, Fault>;

    /// Merges row i of `earlier` with row i of `later`.
    ///
    /// # Errors
    /// The call failed.
    fn merge(&mut self, earlier: &[Column], later: &[Column]) -> Result<Vec<Column>, Fault>;

    /// The results of each group; the accumulators are left as they are.
    ///
    /// # Errors
    /// The call failed.
    fn finish(&mut self, groups: &Groups<'_>, accumulators: &[Column]) -> Result<Vec<Column>, Fault>;
}

/// The groups of a [`Aggregate::finish`] call: a row each.
#[derive(Clone, Debug)]
pub struct Groups<'a> {
    /// The key columns.
    pub keys: &'a [Column],
    /// Window starts in microseconds.
    pub starts: &'a [i64],
    /// Window ends in microseconds.
    pub ends: &'a [i64],
}

/// An aggregate's name in the output and what computes it.
#[derive(Clone, Debug, PartialEq)]
pub struct NamedBuiltin {
    /// The output column.
    pub name: Arc<str>,
    /// The function.
    pub function: Builtin,
}
