//! Rows in the order (max(t, w), t, place): the same on every run, whatever came first.
//!
//! A row is given out once the merged watermark M is above its max(t, w). No row that comes later can stand before it,
//! since the W of later rows is at least M; so no row is ever dropped for being late.

use std::collections::VecDeque;

use wasmill_core::batch::{Batch, RowOf, interleave};
use wasmill_core::time::Timestamp;

/// Rows that wait for the watermark.
pub(crate) struct OrderBuffer {
    waiting: Vec<Waiting>,
    batch_rows: usize,
}

/// A batch, its rows sorted.
struct Waiting {
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

impl OrderBuffer {
    pub(crate) fn new(batch_rows: usize) -> Self {
        Self {
            waiting: Vec::new(),
            batch_rows,
        }
    }

    /// For each batch that waits, a bound below the W of its rows.
    pub(crate) fn watermarks_min(&self) -> impl Iterator<Item = i64> {
        self.waiting.iter().map(|waiting| waiting.batch.watermark_min())
    }

    pub(crate) fn push(&mut self, batch: Batch) {
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
        rows.sort_by(|a, b| compare((a, &batch), (b, &batch)));
        drop(watermarks);
        self.waiting.push(Waiting {
            batch,
            rows: rows.into(),
        });
    }

    /// Gives out the rows below the watermark, in batches.
    pub(crate) fn drain(&mut self, to: Timestamp) -> Vec<Batch> {
        let below = |row: &Row| to == Timestamp::MAX || row.ready < to.0;
        let mut ready: Vec<(usize, Row)> = Vec::new();
        for (index, waiting) in self.waiting.iter_mut().enumerate() {
            while let Some(row) = waiting.rows.front().copied().filter(below) {
                waiting.rows.pop_front();
                ready.push((index, row));
            }
        }
        let waiting = &self.waiting;
        ready.sort_by(|(i, a), (j, b)| compare((a, &waiting[*i].batch), (b, &waiting[*j].batch)));
        let batches = ready
            .chunks(self.batch_rows)
            .map(|chunk| {
                let rows: Vec<RowOf<'_>> = chunk
                    .iter()
                    .map(|(index, row)| RowOf {
                        batch: &waiting[*index].batch,
                        row: row.row as usize,
                    })
                    .collect();
                interleave(&rows)
            })
            .collect();
        self.waiting.retain(|waiting| !waiting.rows.is_empty());
        for waiting in &mut self.waiting {
            waiting.compact();
        }
        batches
    }
}

impl Waiting {
    /// Lets go of a large batch of which little is left.
    fn compact(&mut self) {
        if self.rows.len() * 4 > self.batch.rows() {
            return;
        }
        let rows: Vec<u32> = self.rows.iter().map(|row| row.row).collect();
        self.batch = self.batch.gather(&rows);
        for (row, at) in self.rows.iter_mut().zip(0..) {
            row.row = at;
        }
    }
}

fn compare((a, in_a): (&Row, &Batch), (b, in_b): (&Row, &Batch)) -> std::cmp::Ordering {
    (a.ready, a.time).cmp(&(b.ready, b.time)).then_with(|| {
        let (Some(x), Some(y)) = (&in_a.hidden().order, &in_b.hidden().order) else {
            return std::cmp::Ordering::Equal;
        };
        x.compare(in_a.base_row(a.row as usize), y, in_b.base_row(b.row as usize))
    })
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
                    buffer.push(batch(partition, next[partition], &rows[next[partition]..end]));
                    next[partition] = end;
                }
                let to_come = partitions.iter().zip(&next).filter_map(|(rows, &next)| rows.get(next));
                let merged = to_come.map(|row| row.1).min().unwrap_or(i64::MAX);
                out.extend(buffer.drain(Timestamp(merged)));
            }
            out.extend(buffer.drain(Timestamp::MAX));
            prop_assert!(out.iter().all(|batch| batch.rows() <= batch_rows));
            prop_assert_eq!(ids(&out), expect);
        }
    }
}
