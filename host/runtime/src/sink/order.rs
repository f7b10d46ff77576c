//! Rows in the order (max(t, w), t, place): the same on every run, whatever came first.
//!
//! A row is given out once the merged watermark M is above its max(t, w). No row that comes later can stand before it,
//! since the W of later rows is at least M; so no row is ever dropped for being late.

use std::cmp::{Ordering, Reverse};
use std::collections::{BinaryHeap, VecDeque};

use wasmill_core::batch::{Batch, RowOf, interleave};
use wasmill_core::time::Timestamp;

/// Rows that wait for the watermark.
pub(crate) struct OrderBuffer {
    waiting: Vec<Waiting>,
    slice_rows: usize,
    /// Rows below this may be given out.
    watermark: Timestamp,
}

/// A batch of an input, its rows sorted.
struct Waiting {
    input: usize,
    batch: Batch,
    /// Rows that are not yet given out, first to come first.
    rows: VecDeque<Row>,
}

#[derive(Clone, Copy, Debug)]
struct Row {
    /// max(t, w)
    ready: i64,
    time: i64,
    row: u32,
}

/// A row with all that decides on its place. Two streams may carry the same row of a source, so the input comes last.
#[derive(Clone, Copy)]
struct Place<'a> {
    row: &'a Row,
    batch: &'a Batch,
    input: usize,
}

impl Place<'_> {
    fn compare(self, other: Self) -> Ordering {
        let by_time = (self.row.ready, self.row.time).cmp(&(other.row.ready, other.row.time));
        by_time
            .then_with(|| match (&self.batch.hidden().order, &other.batch.hidden().order) {
                (Some(a), Some(b)) => {
                    let base = |place: Self| place.batch.base_row(place.row.row as usize);
                    a.compare(base(self), b, base(other))
                }
                _ => Ordering::Equal,
            })
            .then_with(|| self.input.cmp(&other.input))
    }
}

/// The next row of a batch that waits, for the merge of all batches.
struct Front<'a> {
    place: Place<'a>,
    /// Its batch, and which of the batch's rows it is.
    index: usize,
    at: usize,
}

impl Ord for Front<'_> {
    fn cmp(&self, other: &Self) -> Ordering {
        self.place
            .compare(other.place)
            .then_with(|| (self.index, self.at).cmp(&(other.index, other.at)))
    }
}

impl PartialOrd for Front<'_> {
    fn partial_cmp(&self, other: &Self) -> Option<Ordering> {
        Some(self.cmp(other))
    }
}

impl PartialEq for Front<'_> {
    fn eq(&self, other: &Self) -> bool {
        self.cmp(other) == Ordering::Equal
    }
}

impl Eq for Front<'_> {}

impl OrderBuffer {
    /// A buffer that gives out so many rows at once at most.
    pub(crate) fn new(slice_rows: usize) -> Self {
        Self {
            waiting: Vec::new(),
            slice_rows,
            watermark: Timestamp::MIN,
        }
    }

    /// For each batch that waits, a bound below the W of its rows.
    pub(crate) fn watermarks_min(&self) -> impl Iterator<Item = i64> {
        self.waiting.iter().map(|waiting| waiting.batch.watermark_min())
    }

    pub(crate) fn push(&mut self, input: usize, batch: Batch) {
        // A few rows of a large batch do not keep all of it.
        let few = batch.rows() * 4 < batch.hidden().times.len();
        let batch = if few {
            batch.gather(&(0..batch.rows() as u32).collect::<Vec<_>>())
        } else {
            batch
        };
        let watermarks = batch.watermarks();
        let mut watermark = watermarks.cursor();
        let mut rows: Vec<Row> = (0..batch.rows())
            .map(|row| {
                let time = batch.time(row);
                Row {
                    ready: time.max(watermark.at(row)),
                    time,
                    row: row as u32,
                }
            })
            .collect();
        rows.sort_by(|a, b| {
            let place = |row| Place {
                row,
                batch: &batch,
                input,
            };
            place(a).compare(place(b))
        });
        drop(watermarks);
        self.waiting.push(Waiting {
            input,
            batch,
            rows: rows.into(),
        });
    }

    /// Rows below `to` may be given out from here on.
    pub(crate) fn rise(&mut self, to: Timestamp) {
        self.watermark = to;
    }

    /// The next rows that may be given out, in one batch; `None` where there are none.
    pub(crate) fn next_batch(&mut self) -> Option<Batch> {
        let front = |index: usize, at: usize| {
            let Waiting { input, batch, rows } = &self.waiting[index];
            let row = rows.get(at)?;
            let may_go = self.watermark == Timestamp::MAX || row.ready < self.watermark.0;
            may_go.then_some(Reverse(Front {
                place: Place {
                    row,
                    batch,
                    input: *input,
                },
                index,
                at,
            }))
        };
        let mut fronts: BinaryHeap<_> = (0..self.waiting.len()).filter_map(|index| front(index, 0)).collect();
        let mut given = vec![0; self.waiting.len()];
        let mut rows = Vec::new();
        while rows.len() < self.slice_rows
            && let Some(Reverse(Front { place, index, at })) = fronts.pop()
        {
            rows.push(RowOf {
                batch: place.batch,
                row: place.row.row as usize,
            });
            given[index] = at + 1;
            fronts.extend(front(index, at + 1));
        }
        if rows.is_empty() {
            return None;
        }
        let batch = interleave(&rows);
        for (waiting, given) in self.waiting.iter_mut().zip(given) {
            waiting.rows.drain(..given);
            waiting.compact();
        }
        self.waiting.retain(|waiting| !waiting.rows.is_empty());
        Some(batch)
    }
}

impl Waiting {
    /// Lets go of a large batch of which little is left.
    fn compact(&mut self) {
        if self.rows.is_empty() || self.rows.len() * 4 > self.batch.hidden().times.len() {
            return;
        }
        let rows: Vec<u32> = self.rows.iter().map(|row| row.row).collect();
        self.batch = self.batch.gather(&rows);
        for (row, at) in self.rows.iter_mut().zip(0..) {
            row.row = at;
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use arrow_array::Int64Array;
    use proptest::prelude::*;
    use wasmill_core::batch::{Hidden, Slot};
    use wasmill_core::column::{Column, Value};
    use wasmill_core::id::{NodeId, PartitionName};
    use wasmill_core::order::{Order, source_origin};
    use wasmill_core::watermark::RowWatermarks;

    fn drain(buffer: &mut OrderBuffer, to: i64) -> Vec<Batch> {
        buffer.rise(Timestamp(to));
        std::iter::from_fn(|| buffer.next_batch()).collect()
    }

    /// A row of a partition: its event time and its W.
    type Planned = (i64, i64);

    fn batch(partition: usize, first: usize, rows: &[Planned]) -> Batch {
        let ids: Vec<i64> = (first..first + rows.len())
            .map(|row| (partition * 1000 + row) as i64)
            .collect();
        let hidden = Hidden {
            times: rows.iter().map(|row| row.0).collect::<Vec<_>>().into(),
            watermarks: RowWatermarks::from_values(&rows.iter().map(|row| row.1).collect::<Vec<_>>()),
            order: Some(Order::Positions {
                origin: source_origin(&NodeId::new("s"), &PartitionName::new(partition.to_string())),
                positions: (first as u64..(first + rows.len()) as u64).collect::<Vec<_>>().into(),
            }),
            kinds: None,
        };
        Batch::new(vec![Slot::Base(Column::Int64(Int64Array::from(ids)))], hidden)
    }

    fn ids(batches: &[Batch]) -> Vec<i64> {
        let of = |batch: &Batch| -> Vec<i64> {
            let column = batch.column(0).into_owned();
            (0..batch.rows())
                .map(|row| {
                    if let Value::Int64(id) = column.value(row) {
                        id
                    } else {
                        -1
                    }
                })
                .collect()
        };
        batches.iter().flat_map(of).collect()
    }

    /// Partitions whose W is the greatest time before the row less three.
    fn partitions() -> impl Strategy<Value = Vec<Vec<Planned>>> {
        let times = prop::collection::vec(0..60_i64, 1..40);
        let stamped = times.prop_map(|times| {
            let mut greatest = i64::MIN;
            let stamp = |time: i64| {
                let row = (time, greatest.saturating_sub(3));
                greatest = greatest.max(time);
                row
            };
            times.into_iter().map(stamp).collect()
        });
        prop::collection::vec(stamped, 1..4)
    }

    proptest! {
        #[test]
        fn rows_come_out_in_one_order_however_they_came_in(
            partitions in partitions(), cut in 1..9_usize, batch_rows in 1..20_usize, turns in prop::collection::vec(0..4_usize, 0..200)
        ) {
            // The expectation: all rows, sorted as the rule says.
            let mut expect: Vec<(i64, i64, usize, usize)> = Vec::new();
            for (partition, rows) in partitions.iter().enumerate() {
                expect.extend(rows.iter().enumerate().map(|(row, &(t, w))| (t.max(w), t, partition, row)));
            }
            expect.sort_unstable();
            let expect: Vec<i64> = expect.into_iter().map(|(_, _, partition, row)| (partition * 1000 + row) as i64).collect();

            let mut buffer = OrderBuffer::new(batch_rows);
            let mut next = vec![0; partitions.len()];
            let mut out = Vec::new();
            for turn in turns.into_iter().chain((0..partitions.len()).cycle().take(partitions.len() * 40)) {
                let partition = turn % partitions.len();
                let rows = &partitions[partition];
                let end = (next[partition] + cut).min(rows.len());
                if end > next[partition] {
                    buffer.push(0, batch(partition, next[partition], &rows[next[partition]..end]));
                    next[partition] = end;
                }
                let to_come = partitions.iter().zip(&next).filter_map(|(rows, &next)| rows.get(next));
                let merged = to_come.map(|row| row.1).min().unwrap_or(i64::MAX);
                out.extend(drain(&mut buffer, merged));
            }
            out.extend(drain(&mut buffer, i64::MAX));
            prop_assert!(out.iter().all(|batch| batch.rows() <= batch_rows));
            prop_assert_eq!(ids(&out), expect);
        }
    }

    #[test]
    fn of_one_row_on_two_inputs_the_first_input_comes_first() {
        for inputs in [[0, 1], [1, 0]] {
            let mut buffer = OrderBuffer::new(10);
            for input in inputs {
                // The same place; the value tells the input.
                let row = batch(0, 0, &[(5, 1)]);
                let value = Column::Int64(Int64Array::from(vec![input as i64]));
                buffer.push(
                    input,
                    row.with_columns([wasmill_core::batch::OutputColumn::Computed(value)]),
                );
            }
            assert_eq!(ids(&drain(&mut buffer, i64::MAX)), [0, 1]);
        }
    }
}
