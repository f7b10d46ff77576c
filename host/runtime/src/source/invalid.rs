//! Records that a source could not use, as dead letters: with their reason, their place and their original bytes.

use std::sync::Arc;

use wasmill_connector_api::format::InvalidRecord;
use wasmill_core::batch::{Batch, Hidden, Slot};
use wasmill_core::column::{ColumnBuilder, Value};
use wasmill_core::id::{NodeId, PartitionName};
use wasmill_core::order::Order;
use wasmill_core::plan::dead_letter_schema;
use wasmill_core::time::Timestamp;
use wasmill_core::watermark::RowWatermarks;

use super::block::Rows;

/// A record that is not used.
#[derive(Debug)]
pub(crate) struct DeadRecord {
    pub(crate) kind: &'static str,
    pub(crate) reason: String,
    pub(crate) place: Place,
    /// The record as it was read.
    pub(crate) bytes: Vec<u8>,
    /// W just before it.
    pub(crate) watermark: Timestamp,
}

/// Where a record stands in its partition.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Place {
    pub(crate) position: u64,
    /// From 1.
    pub(crate) line: Option<u64>,
    /// From 1.
    pub(crate) byte_column: Option<u64>,
}

impl DeadRecord {
    /// A record that its format could not decode.
    pub(crate) fn undecodable(record: &InvalidRecord, rows: &Rows, first_line: u64, watermark: Timestamp) -> Self {
        let original = rows
            .original
            .as_ref()
            .expect("only decoded blocks have undecodable records");
        let place = Place {
            position: original.position(record.start),
            line: original
                .block
                .ends
                .is_none()
                .then(|| first_line + u64::from(record.line)),
            byte_column: record.byte_column.map(u64::from),
        };
        let bytes = original.block.bytes[record.start as usize..record.end as usize].to_vec();
        Self {
            kind: "undecodable",
            reason: record.reason.clone(),
            place,
            bytes,
            watermark,
        }
    }

    /// A row without a valid event time.
    pub(crate) fn untimely(row: usize, reason: String, rows: &Rows, first_line: u64, watermark: Timestamp) -> Self {
        let line = rows.lines.get(row).map(|&line| first_line + u64::from(line));
        let bytes = rows.original.as_ref().map_or_else(Vec::new, |original| {
            let start = original.starts[row];
            let valid = original.starts.get(row + 1).copied();
            let invalid = rows
                .invalid
                .iter()
                .map(|record| record.start)
                .find(|&other| other > start);
            original.record(start, valid.into_iter().chain(invalid).min()).to_vec()
        });
        let place = Place {
            position: rows.positions[row],
            line,
            byte_column: None,
        };
        Self {
            kind: "invalid",
            reason,
            place,
            bytes,
            watermark,
        }
    }
}

/// A batch of dead letters. Their event time is the partition's watermark, since they have none of their own.
pub(crate) fn dead_letters(
    source: &NodeId,
    partition: &PartitionName,
    order: bool,
    origin: &Arc<[u8]>,
    records: &[DeadRecord],
) -> Batch {
    let schema = dead_letter_schema();
    let columns = schema.fields().iter().map(|field| {
        let mut builder = ColumnBuilder::new(field.data_type, records.len());
        for record in records {
            let text = std::str::from_utf8(&record.bytes).ok();
            builder.push(match &*field.name {
                "node" | "source" => Value::Utf8(source.as_str()),
                "kind" => Value::Utf8(record.kind),
                "error" => Value::Utf8(&record.reason),
                "partition" => Value::Utf8(partition.as_str()),
                "position" => integer(Some(record.place.position)),
                "line" => integer(record.place.line),
                "epoch" => Value::Int64(0),
                "record" => text.map_or(Value::Null, Value::Utf8),
                "bytes" if text.is_none() => Value::Binary(&record.bytes),
                _ => Value::Null,
            });
        }
        Slot::Base(builder.finish())
    });
    let watermarks: Vec<i64> = records.iter().map(|record| record.watermark.0).collect();
    let hidden = Hidden {
        watermarks: RowWatermarks::from_values(&watermarks),
        times: watermarks.into(),
        order: order.then(|| Order::Positions {
            origin: Arc::clone(origin),
            positions: records
                .iter()
                .map(|record| record.place.position)
                .collect::<Vec<_>>()
                .into(),
        }),
        kinds: None,
    };
    Batch::new(columns.collect(), hidden)
}

fn integer(value: Option<u64>) -> Value<'static> {
    value.map_or(Value::Null, |value| {
        Value::Int64(i64::try_from(value).unwrap_or(i64::MAX))
    })
}
