//! Built-in aggregates: one column of cells per aggregate, a cell per group, updated by whole batches.
//!
//! None depends on the order of rows or on how they are cut into batches and panes: sums are exact, ties are broken by
//! value, sketches merge to the same sketch in any order. Nulls are ignored. A cell that no value reached is *empty* and
//! merging it changes nothing.
//!
//! | aggregate | result | bytes a group |
//! |---|---|---|
//! | `count` | int64 | 8 |
//! | `sum` | int64 or float64, null without a value | 32 |
//! | `min`, `max` | the column's type, null without a value | 8 to 16; text: 16 and its length |
//! | `avg` | float64, null without a value | 48 |
//! | `first`, `last` | the column's type, null without a value | about 64 + place and value |
//! | `count_distinct` | int64 | 4 a value up to 2,048 values, then 16,384 |
//! | `quantile` | float64, null without a value | 16 a bucket, at most 4,096 buckets a sign |
//! | `top_k` | json, `[{"value":...,"count":...},...]` | about 40 + length for each distinct value |
//! | `stddev` | float64, null below two values | 104 |
//! | `array_agg` | json, `[...]` | about 60 + length a value |

mod array_agg;
mod average;
mod count;
mod distinct;
mod extreme;
mod first_last;
mod placed;
mod quantile;
mod stddev;
mod sum;
mod top_k;

use std::any::Any;
use std::borrow::Cow;
use std::fmt::Debug;

use arrow_buffer::NullBuffer;
use wasmill_core::aggregate::Builtin;
use wasmill_core::column::{Column, ColumnBuilder, Value};
use wasmill_core::fault::Fault;
use wasmill_core::order::Order;
use wasmill_core::schema::{DataType, Schema};

/// Rows of a batch on their way into cells. Columns, times and places stand in the batch's logical rows.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Rows<'a> {
    /// By place in the input's schema; those that no aggregate reads are not there.
    pub(crate) columns: &'a [Option<Cow<'a, Column>>],
    pub(crate) times: &'a [i64],
    pub(crate) order: Option<&'a Order>,
    /// Which logical rows; `None` for all.
    pub(crate) chosen: Option<&'a [u32]>,
    /// The group of each of them.
    pub(crate) groups: &'a [u32],
}

impl Rows<'_> {
    fn column(&self, place: usize) -> &Column {
        self.columns[place]
            .as_ref()
            .expect("the window reads its aggregates' columns")
    }

    /// Visits (row, group).
    #[inline]
    fn each(&self, mut visit: impl FnMut(usize, usize)) {
        match self.chosen {
            None => self
                .groups
                .iter()
                .enumerate()
                .for_each(|(row, &group)| visit(row, group as usize)),
            Some(chosen) => chosen
                .iter()
                .zip(self.groups)
                .for_each(|(&row, &group)| visit(row as usize, group as usize)),
        }
    }

    /// Visits (row, group) where a value is there.
    #[inline]
    fn each_valid(&self, nulls: Option<&NullBuffer>, mut visit: impl FnMut(usize, usize)) {
        match nulls {
            None => self.each(visit),
            Some(nulls) => self.each(|row, group| {
                if nulls.is_valid(row) {
                    visit(row, group);
                }
            }),
        }
    }

    /// Visits each value that is there with its group.
    #[inline]
    fn each_value<T: Copy>(&self, values: &[T], nulls: Option<&NullBuffer>, mut visit: impl FnMut(T, usize)) {
        self.each_valid(nulls, |row, group| visit(values[row], group));
    }
}

/// What one aggregate does with a cell.
trait Function: Clone + Debug + 'static {
    /// What is kept of a group.
    type Cell: Clone + Debug + 'static;

    /// A cell that no value reached.
    fn empty(&self) -> Self::Cell;

    /// Adds rows to the cells of their groups.
    fn update(&self, cells: &mut [Self::Cell], rows: &Rows<'_>);

    /// Adds what `from` holds.
    fn merge(&self, into: &mut Self::Cell, from: &Self::Cell);

    /// Appends the group's result.
    fn finish(&self, cell: &Self::Cell, out: &mut ColumnBuilder) -> Result<(), Fault>;

    /// Appends the cell's bytes, which tell their own end.
    fn encode(&self, cell: &Self::Cell, out: &mut Vec<u8>);

    /// Reads a cell off the front of bytes.
    fn decode(&self, from: &mut &[u8]) -> Result<Self::Cell, Fault>;

    /// The bytes that the cell keeps elsewhere.
    fn heap_bytes(&self, _cell: &Self::Cell) -> usize {
        0
    }
}

/// The version of the bytes of cells. It stands once in each entry of state that holds some.
pub(crate) const CELLS_VERSION: u8 = 1;

/// The cells of one aggregate, by group.
///
/// Aligned windows hold every group of a pane at once. An operator that keeps its groups as bytes takes those that a
/// batch touches and gives them back:
///
/// ```text
/// let mut aggregates: Vec<Box<dyn Accumulators>> = functions.filter_map(|f| accumulators(f, schema)).collect();
/// for each group of the batch, numbered from 0 as they come:
///     for a in &mut aggregates: a.grow(group + 1); a.decode(group, &mut bytes)?   // or leave it empty: no value yet
/// for a in &mut aggregates: a.update(&Rows { groups, .. })                        // all groups of the batch at once
/// for each group:
///     for a in &aggregates: a.encode(group, &mut bytes)                           // one after the other, no lengths
/// a.merge(&[into], &*other, &[from])                                              // two sessions become one
/// a.finish(&[group], &mut column)?                                                // any number of groups
/// ```
///
/// [`Accumulators::fresh`] gives an empty one for the next batch. `count()` has no cells: rows are counted by whoever
/// holds the groups. Of Wasm aggregates, see [`crate::window::PluginCells`].
pub(crate) trait Accumulators: Debug {
    /// Makes room for groups up to `groups`; new ones are empty.
    fn grow(&mut self, groups: usize);

    /// Adds rows to the cells of their groups.
    fn update(&mut self, rows: &Rows<'_>);

    /// Adds cell `from[i]` of `other`, which is of the same aggregate, to cell `into[i]`.
    fn merge(&mut self, into: &[u32], other: &dyn Accumulators, from: &[u32]);

    /// Adds each cell of `other`, which is of the same aggregate and not longer, to the cell of the same number.
    fn merge_aligned(&mut self, other: &dyn Accumulators);

    /// Moves cell i to `places[i]` among `groups` cells.
    fn spread(&mut self, places: &[u32], groups: usize);

    /// Appends the results of groups.
    ///
    /// # Errors
    /// A sum does not fit its type.
    fn finish(&self, groups: &[u32], out: &mut ColumnBuilder) -> Result<(), Fault>;

    /// Appends the bytes of a group's cell, which tell their own end and depend on the platform in nothing.
    fn encode(&self, group: u32, out: &mut Vec<u8>);

    /// Puts a cell read off the front of bytes into a group, in place of the one there.
    ///
    /// # Errors
    /// The bytes are none of this aggregate's.
    fn decode(&mut self, group: u32, from: &mut &[u8]) -> Result<(), Fault>;

    /// The same aggregate without a group.
    fn fresh(&self) -> Box<dyn Accumulators>;

    /// About how many bytes the cells take.
    fn size_bytes(&self) -> usize;

    /// For the merge of two of one type.
    fn as_any(&self) -> &dyn Any;
}

#[derive(Debug)]
struct Cells<F: Function> {
    function: F,
    cells: Vec<F::Cell>,
}

impl<F: Function> Cells<F> {
    fn boxed(function: F) -> Box<dyn Accumulators> {
        Box::new(Self {
            function,
            cells: Vec::new(),
        })
    }

    fn same(other: &dyn Accumulators) -> &Self {
        other
            .as_any()
            .downcast_ref()
            .expect("cells of one aggregate are merged")
    }
}

impl<F: Function> Accumulators for Cells<F> {
    fn grow(&mut self, groups: usize) {
        if self.cells.len() < groups {
            let empty = self.function.empty();
            self.cells.resize(groups, empty);
        }
    }

    fn update(&mut self, rows: &Rows<'_>) {
        self.function.update(&mut self.cells, rows);
    }

    fn merge(&mut self, into: &[u32], other: &dyn Accumulators, from: &[u32]) {
        let other = Self::same(other);
        for (&to, &from) in into.iter().zip(from) {
            self.function
                .merge(&mut self.cells[to as usize], &other.cells[from as usize]);
        }
    }

    fn merge_aligned(&mut self, other: &dyn Accumulators) {
        let other = Self::same(other);
        for (to, from) in self.cells.iter_mut().zip(&other.cells) {
            self.function.merge(to, from);
        }
    }

    fn spread(&mut self, places: &[u32], groups: usize) {
        let mut cells = vec![self.function.empty(); groups];
        for (cell, &place) in self.cells.drain(..).zip(places) {
            cells[place as usize] = cell;
        }
        self.cells = cells;
    }

    fn finish(&self, groups: &[u32], out: &mut ColumnBuilder) -> Result<(), Fault> {
        groups
            .iter()
            .try_for_each(|&group| self.function.finish(&self.cells[group as usize], out))
    }

    fn encode(&self, group: u32, out: &mut Vec<u8>) {
        self.function.encode(&self.cells[group as usize], out);
    }

    fn decode(&mut self, group: u32, from: &mut &[u8]) -> Result<(), Fault> {
        self.cells[group as usize] = self.function.decode(from)?;
        Ok(())
    }

    fn fresh(&self) -> Box<dyn Accumulators> {
        Self::boxed(self.function.clone())
    }

    fn size_bytes(&self) -> usize {
        let heap: usize = self.cells.iter().map(|cell| self.function.heap_bytes(cell)).sum();
        self.cells.capacity() * size_of::<F::Cell>() + heap
    }

    fn as_any(&self) -> &dyn Any {
        self
    }
}

/// The cells of a built-in aggregate. `None` for `count()`, which the windows' own count of rows answers.
pub(crate) fn accumulators(function: &Builtin, input: &Schema) -> Option<Box<dyn Accumulators>> {
    use DataType::{Binary, Boolean, Float64, Int64, Json, Timestamp, Utf8};
    let data_type = |column: usize| input.fields()[column].data_type;
    Some(match *function {
        Builtin::Count(None) => return None,
        Builtin::Count(Some(column)) => Cells::boxed(count::Count { column }),
        Builtin::Sum(column) => match data_type(column) {
            Float64 => Cells::boxed(sum::FloatSum { column }),
            _ => Cells::boxed(sum::IntSum { column }),
        },
        Builtin::Avg(column) => match data_type(column) {
            Float64 => Cells::boxed(average::FloatAverage { column }),
            _ => Cells::boxed(average::IntAverage { column }),
        },
        Builtin::Min(column) | Builtin::Max(column) => {
            let greatest = matches!(function, Builtin::Max(_));
            match data_type(column) {
                data_type @ (Boolean | Int64 | Timestamp | Float64) => extreme::number(column, greatest, data_type),
                data_type @ (Utf8 | Binary | Json) => Cells::boxed(extreme::ByteExtreme {
                    column,
                    greatest,
                    data_type,
                }),
            }
        }
        Builtin::First(column) => Cells::boxed(first_last::FirstLast {
            column,
            last: false,
            data_type: data_type(column),
        }),
        Builtin::Last(column) => Cells::boxed(first_last::FirstLast {
            column,
            last: true,
            data_type: data_type(column),
        }),
        Builtin::CountDistinct(column) => Cells::boxed(distinct::CountDistinct { column }),
        Builtin::Quantile(column, q) => Cells::boxed(quantile::Quantile { column, q }),
        Builtin::TopK(column, k) => Cells::boxed(top_k::TopK {
            column,
            k: k as usize,
            data_type: data_type(column),
        }),
        Builtin::Stddev(column) => Cells::boxed(stddev::Stddev { column }),
        Builtin::ArrayAgg(column) => Cells::boxed(array_agg::ArrayAgg {
            column,
            data_type: data_type(column),
        }),
    })
}

/// The columns that an aggregate reads.
pub(crate) fn column_of(function: &Builtin) -> Option<usize> {
    match *function {
        Builtin::Count(column) => column,
        Builtin::Sum(column)
        | Builtin::Min(column)
        | Builtin::Max(column)
        | Builtin::Avg(column)
        | Builtin::First(column)
        | Builtin::Last(column)
        | Builtin::CountDistinct(column)
        | Builtin::Quantile(column, _)
        | Builtin::TopK(column, _)
        | Builtin::Stddev(column)
        | Builtin::ArrayAgg(column) => Some(column),
    }
}

/// A number as a float, where the value is one.
fn as_float(value: Value<'_>) -> Option<f64> {
    match value {
        Value::Int64(v) | Value::Timestamp(v) => Some(v as f64),
        Value::Float64(v) => Some(v),
        _ => None,
    }
}

#[cfg(test)]
mod tests;
