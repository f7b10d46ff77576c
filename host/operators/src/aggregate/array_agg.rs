//! `array_agg(column)`: all values that are not null, by (event time, place), as a JSON array.

use wasmill_core::column::{ColumnBuilder, Value};
use wasmill_core::fault::Fault;
use wasmill_core::key;
use wasmill_core::schema::DataType;

use super::{Function, Rows};
use crate::json;

#[derive(Clone, Debug)]
pub(super) struct ArrayAgg {
    pub(super) column: usize,
    pub(super) data_type: DataType,
}

/// A value with its time and place. Rows of equal time and place stand in the order of their values.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(super) struct Entry {
    time: i64,
    /// The place, then the value from `value` on, in canonical bytes.
    bytes: Box<[u8]>,
    value: u32,
}

impl Function for ArrayAgg {
    type Cell = Vec<Entry>;

    fn empty(&self) -> Vec<Entry> {
        Vec::new()
    }

    fn update(&self, cells: &mut [Vec<Entry>], rows: &Rows<'_>) {
        let column = rows.column(self.column);
        rows.each_valid(column.nulls(), |row, group| {
            let mut bytes = Vec::new();
            if let Some(order) = rows.order {
                order.write(row, &mut bytes);
            }
            let value = bytes.len() as u32;
            key::encode(column.value(row), &mut bytes);
            cells[group].push(Entry {
                time: rows.times[row],
                bytes: bytes.into(),
                value,
            });
        });
    }

    fn merge(&self, into: &mut Vec<Entry>, from: &Vec<Entry>) {
        into.extend_from_slice(from);
    }

    fn finish(&self, cell: &Vec<Entry>, out: &mut ColumnBuilder) -> Result<(), Fault> {
        let mut entries: Vec<&Entry> = cell.iter().collect();
        entries.sort_unstable();
        let mut text = String::from("[");
        for (i, entry) in entries.into_iter().enumerate() {
            if i > 0 {
                text.push(',');
            }
            let mut encoded = &entry.bytes[entry.value as usize..];
            key::decode(self.data_type, &mut encoded, |value| json::write(value, &mut text));
        }
        text.push(']');
        out.push(Value::Json(&text));
        Ok(())
    }

    fn heap_bytes(&self, cell: &Vec<Entry>) -> usize {
        cell.capacity() * size_of::<Entry>() + cell.iter().map(|entry| entry.bytes.len()).sum::<usize>()
    }
}
