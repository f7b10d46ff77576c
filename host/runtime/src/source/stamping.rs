//! Gives rows their event time, their W and their place: the one step of a source that is sequential per partition.
//!
//! Blocks of a partition are decoded on any worker, in any order. What depends on the rows before (the watermark, the
//! line number) is carried from block to block here.

use std::sync::Arc;

use arrow_buffer::ScalarBuffer;

use wasmill_core::batch::{Batch, Hidden, Slot};
use wasmill_core::column::{Column, ColumnBuilder, Value};
use wasmill_core::fault::{Domain, Fault};
use wasmill_core::id::{NodeId, PartitionName};
use wasmill_core::order::Order;
use wasmill_core::plan::{OnInvalid, SourceNode, SourceTime, WatermarkStrategy};
use wasmill_core::time::Timestamp;
use wasmill_core::watermark::RowWatermarks;

use super::block::{Metadata, Rows};
use super::invalid::{DeadRecord, Place, dead_letters};
use super::watermark::{Ahead, PartitionWatermark, Told};
use crate::metrics::InvalidCounts;

/// What stamping needs to know of its source.
#[derive(Debug)]
pub(crate) struct Plan {
    pub(crate) id: NodeId,
    pub(crate) node: SourceNode,
    /// Which columns of the stream something reads; data columns, then metadata columns.
    pub(crate) live: Vec<bool>,
    /// Whether rows carry their places.
    pub(crate) order: bool,
    pub(crate) batch_rows: usize,
}

/// What a partition carries from block to block.
#[derive(Debug)]
pub(crate) struct Carry {
    pub(crate) name: PartitionName,
    pub(crate) origin: Arc<[u8]>,
    pub(crate) watermark: PartitionWatermark,
    /// The line of the next record, from 1.
    pub(crate) next_line: u64,
}

/// Stamped rows of a block.
#[derive(Debug, Default)]
pub(crate) struct Stamped {
    pub(crate) batches: Vec<Batch>,
    pub(crate) dead_letters: Option<Batch>,
    /// Invalid records, by reason.
    pub(crate) invalid: InvalidCounts,
}

/// Stamps the next block of a partition.
///
/// # Errors
/// A record is invalid, and the source stops then.
pub(crate) fn stamp(plan: &Plan, carry: &mut Carry, rows: Rows) -> Result<Stamped, Fault> {
    let first_line = rows.first_line.unwrap_or(carry.next_line);
    let times = EventTimes::of(&plan.node, &rows);
    let marks = Marks::of(&plan.node, &rows);
    carry.watermark.clock(rows.read_at);
    let (kept, dead, invalid) = match all_valid(&times, marks, &rows, &carry.watermark) {
        Some((kept, after)) => {
            carry.watermark = after;
            (kept, Vec::new(), InvalidCounts::default())
        }
        None => judge(&times, marks, &rows, &mut carry.watermark, first_line),
    };
    carry.next_line = first_line + u64::from(rows.line_count);

    let dead_letters = match (plan.node.on_invalid, dead.first()) {
        (OnInvalid::Fail, Some(first)) => return Err(stop(plan, carry, first)),
        (OnInvalid::DeadLetter, Some(_)) => Some(dead_letters(&plan.id, &carry.name, plan.order, &carry.origin, &dead)),
        _ => None,
    };
    Ok(Stamped {
        batches: batches(plan, carry, rows, &kept, first_line),
        dead_letters,
        invalid,
    })
}

/// The rows of a block of which every one is valid, as nearly always, and the partition's watermark after it.
fn all_valid(
    times: &EventTimes<'_>,
    marks: Marks<'_>,
    rows: &Rows,
    watermark: &PartitionWatermark,
) -> Option<(Kept, PartitionWatermark)> {
    if !rows.invalid.is_empty() {
        return None;
    }
    let times = times.all(rows.rows)?;
    let mut after = watermark.clone();
    let mut w = after.current();
    let mut watermarks = Vec::new();
    let mut run_end = 0;
    for (row, &time) in times.iter().enumerate() {
        let mark = marks.at(row);
        if mark.is_some() || after.rises_with(Timestamp(time)) {
            after.observe(Timestamp(time), mark).ok()?;
            if after.current() != w {
                run_end = row as u32 + 1;
                watermarks.push((run_end, w.0));
                w = after.current();
            }
        }
    }
    if (run_end as usize) < times.len() {
        watermarks.push((times.len() as u32, w.0));
    }
    let kept = Kept {
        rows: None,
        times,
        watermarks,
    };
    Some((kept, after))
}

/// Judges each row of a block.
fn judge(
    times: &EventTimes<'_>,
    marks: Marks<'_>,
    rows: &Rows,
    watermark: &mut PartitionWatermark,
    first_line: u64,
) -> (Kept, Vec<DeadRecord>, InvalidCounts) {
    let mut kept = Keeping::default();
    let mut dead = Vec::new();
    let mut counts = InvalidCounts {
        undecodable: rows.invalid.len() as u64,
        ..InvalidCounts::default()
    };
    let mut unreadable = rows.invalid.iter().peekable();
    for row in 0..rows.rows {
        while let Some(record) = unreadable.next_if(|record| record.rows_before as usize <= row) {
            dead.push(DeadRecord::undecodable(record, rows, first_line, watermark.current()));
        }
        let w = watermark.current();
        let judged = times.at(row).ok_or(Invalid::NoEventTime).and_then(|time| {
            let observed = watermark.observe(time, marks.at(row)).map(|()| time);
            observed.map_err(Invalid::Ahead)
        });
        match judged {
            Ok(time) => kept.push(row, time, w),
            Err(reason) => {
                match reason {
                    Invalid::NoEventTime => counts.without_event_time += 1,
                    Invalid::Ahead(_) => counts.too_far_ahead += 1,
                }
                dead.push(DeadRecord::untimely(row, reason.to_string(), rows, first_line, w));
            }
        }
    }
    dead.extend(unreadable.map(|record| DeadRecord::undecodable(record, rows, first_line, watermark.current())));
    (kept.finish(rows.rows), dead, counts)
}

fn stop(plan: &Plan, carry: &Carry, record: &DeadRecord) -> Fault {
    let Place { line, byte_column, .. } = record.place;
    let mut place = carry.name.to_string();
    for number in [line, byte_column].into_iter().flatten() {
        place.push(':');
        place.push_str(&number.to_string());
    }
    let message = format!(
        "{place}: {}; correct the record, or set `on-invalid = \"skip\"` or a `dead-letter` sink for this source",
        record.reason
    );
    Fault::fatal(Domain::User, message).at(&plan.id)
}

/// Why a row that could be decoded is invalid.
enum Invalid {
    NoEventTime,
    Ahead(Ahead),
}

impl std::fmt::Display for Invalid {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        match self {
            Self::NoEventTime => f.write_str("the event time is null"),
            Self::Ahead(Ahead {
                told,
                time,
                greatest,
                max_ahead,
            }) => {
                let what = match told {
                    Told::EventTime => "event time",
                    Told::Mark => "watermark",
                };
                write!(
                    f,
                    "the {what} {time} is more than `max-ahead` ({max_ahead}) after {greatest}, the greatest event time \
                     before it"
                )
            }
        }
    }
}

/// The event times of a block's rows.
enum EventTimes<'a> {
    Column(&'a arrow_array::TimestampMicrosecondArray),
    Constant(Timestamp),
}

impl<'a> EventTimes<'a> {
    fn of(node: &SourceNode, rows: &'a Rows) -> Self {
        match node.time {
            SourceTime::Event(index) => match &rows.columns[index] {
                Some(Column::Timestamp(times)) => Self::Column(times),
                other => unreachable!("the plan checked that the event time is a decoded timestamp: {other:?}"),
            },
            SourceTime::Ingestion | SourceTime::Processing => Self::Constant(rows.read_at),
        }
    }

    fn at(&self, row: usize) -> Option<Timestamp> {
        use arrow_array::Array as _;
        match self {
            Self::Column(times) => times.is_valid(row).then(|| Timestamp(times.value(row))),
            Self::Constant(time) => Some(*time),
        }
    }

    /// The event time of every row, where each has one.
    fn all(&self, rows: usize) -> Option<ScalarBuffer<i64>> {
        use arrow_array::Array as _;
        match self {
            Self::Column(times) => (times.null_count() == 0).then(|| times.values().clone()),
            Self::Constant(time) => Some(vec![time.0; rows].into()),
        }
    }
}

/// The values of a block's rows in the column that the watermark follows, where it follows one.
#[derive(Clone, Copy)]
struct Marks<'a>(Option<&'a arrow_array::TimestampMicrosecondArray>);

impl<'a> Marks<'a> {
    fn of(node: &SourceNode, rows: &'a Rows) -> Self {
        let WatermarkStrategy::Column(index) = node.watermark.strategy else {
            return Self(None);
        };
        match &rows.columns[index] {
            Some(Column::Timestamp(marks)) => Self(Some(marks)),
            other => unreachable!("the plan checked that the watermark's column is a decoded timestamp: {other:?}"),
        }
    }

    fn at(self, row: usize) -> Option<Timestamp> {
        use arrow_array::Array as _;
        let marks = self.0?;
        marks.is_valid(row).then(|| Timestamp(marks.value(row)))
    }
}

/// The valid rows of a block.
struct Kept {
    /// Which they are; `None` for all.
    rows: Option<Vec<u32>>,
    times: ScalarBuffer<i64>,
    /// Runs of W: the row (among the kept) after the run, and the value.
    watermarks: Vec<(u32, i64)>,
}

/// Collects [`Kept`].
#[derive(Default)]
struct Keeping {
    rows: Vec<u32>,
    times: Vec<i64>,
    watermarks: Vec<(u32, i64)>,
}

impl Keeping {
    fn push(&mut self, row: usize, time: Timestamp, w: Timestamp) {
        self.rows.push(row as u32);
        self.times.push(time.0);
        let end = self.rows.len() as u32;
        match self.watermarks.last_mut() {
            Some(run) if run.1 == w.0 => run.0 = end,
            _ => self.watermarks.push((end, w.0)),
        }
    }

    /// Of a block of so many rows.
    fn finish(self, rows: usize) -> Kept {
        Kept {
            rows: (self.rows.len() < rows).then_some(self.rows),
            times: self.times.into(),
            watermarks: self.watermarks,
        }
    }
}

impl Kept {
    /// W of the kept rows from `start` to `end`.
    fn watermarks(&self, start: usize, end: usize) -> RowWatermarks {
        let first = self.watermarks.partition_point(|run| run.0 as usize <= start);
        let mut runs = Vec::new();
        for &(run_end, w) in &self.watermarks[first..] {
            let until = (run_end as usize).min(end);
            runs.push(((until - start) as u32, w));
            if until == end {
                break;
            }
        }
        RowWatermarks::from_runs(&runs, end - start)
    }
}

fn batches(plan: &Plan, carry: &Carry, rows: Rows, kept: &Kept, first_line: u64) -> Vec<Batch> {
    let columns = visible_columns(plan, carry, &rows, first_line);
    let columns: Vec<_> = columns
        .into_iter()
        .map(|column| match &kept.rows {
            None => column,
            Some(kept) => column.map(|column| column.gather(kept)),
        })
        .collect();
    let positions: ScalarBuffer<u64> = match &kept.rows {
        _ if !plan.order => ScalarBuffer::default(),
        None => rows.positions.into(),
        Some(kept) => kept.iter().map(|&row| rows.positions[row as usize]).collect(),
    };
    let total = kept.times.len();
    (0..total)
        .step_by(plan.batch_rows)
        .map(|start| {
            let end = (start + plan.batch_rows).min(total);
            let slots = columns.iter().map(|column| match column {
                Some(column) => Slot::Base(column.slice(start, end - start)),
                None => Slot::Absent,
            });
            let hidden = Hidden {
                times: kept.times.slice(start, end - start),
                watermarks: kept.watermarks(start, end),
                order: plan.order.then(|| Order::Positions {
                    origin: Arc::clone(&carry.origin),
                    positions: positions.slice(start, end - start),
                }),
                kinds: None,
            };
            Batch::new(slots.collect(), hidden)
        })
        .collect()
}

/// The stream's columns for all rows of the block: the data's, then the metadata's. `None` where nobody reads one.
fn visible_columns(plan: &Plan, carry: &Carry, rows: &Rows, first_line: u64) -> Vec<Option<Column>> {
    let data = plan.node.columns.len();
    let mut columns: Vec<Option<Column>> = (0..data)
        .map(|index| {
            if plan.live[index] {
                rows.columns[index].clone()
            } else {
                None
            }
        })
        .collect();
    let mut connector_metadata = 0;
    for (place, metadata) in plan.node.metadata.iter().enumerate() {
        let column = match metadata.key.as_str() {
            "line" => integers(rows.lines.iter().map(|&line| first_line + u64::from(line))),
            "position" => integers(rows.positions.iter().copied()),
            "partition" => repeated(metadata.field.data_type, Value::Utf8(carry.name.as_str()), rows.rows),
            _ => {
                let index = connector_metadata;
                connector_metadata += 1;
                match &rows.metadata {
                    Metadata::Constant(values) => {
                        repeated(metadata.field.data_type, values[index].as_value(), rows.rows)
                    }
                    Metadata::Each(columns) => columns[index].clone(),
                }
            }
        };
        columns.push(plan.live[data + place].then_some(column));
    }
    columns
}

fn integers(values: impl Iterator<Item = u64>) -> Column {
    let values: Vec<i64> = values.map(|value| i64::try_from(value).unwrap_or(i64::MAX)).collect();
    Column::Int64(arrow_array::Int64Array::new(values.into(), None))
}

fn repeated(data_type: wasmill_core::schema::DataType, value: Value<'_>, rows: usize) -> Column {
    let mut builder = ColumnBuilder::new(data_type, rows);
    for _ in 0..rows {
        builder.push(value);
    }
    builder.finish()
}
