//! `top_k(column, k)`: the k most frequent values with their counts, exact; equal counts by value.
//!
//! Every distinct value of a group is counted: a sketch of fewer would depend on the order of rows and merges. Memory
//! grows with the distinct values of a window, about 40 bytes and the value for each.

use foldhash::fast::FixedState;
use hashbrown::HashMap;
use wasmill_core::column::{ColumnBuilder, Value};
use wasmill_core::fault::Fault;
use wasmill_core::key;
use wasmill_core::schema::DataType;

use super::{Function, Rows};
use crate::codec::{damaged, put_bytes, put_count, take_canonical, take_count, take_length};
use crate::json;

#[derive(Clone, Debug)]
pub(super) struct TopK {
    pub(super) column: usize,
    pub(super) k: usize,
    pub(super) data_type: DataType,
}

/// Counts by canonical bytes.
type Counts = HashMap<Vec<u8>, u64, FixedState>;

impl Function for TopK {
    type Cell = Counts;

    fn empty(&self) -> Counts {
        Counts::default()
    }

    fn update(&self, cells: &mut [Counts], rows: &Rows<'_>) {
        let column = rows.column(self.column);
        let mut encoded = Vec::new();
        rows.each_valid(column.nulls(), |row, group| {
            encoded.clear();
            key::encode(column.value(row), &mut encoded);
            *cells[group].entry_ref(&*encoded).or_insert(0) += 1;
        });
    }

    fn merge(&self, into: &mut Counts, from: &Counts) {
        for (value, count) in from {
            *into.entry_ref(&**value).or_insert(0) += count;
        }
    }

    fn finish(&self, cell: &Counts, out: &mut ColumnBuilder) -> Result<(), Fault> {
        let mut entries: Vec<(&[u8], u64)> = cell.iter().map(|(value, &count)| (&**value, count)).collect();
        entries.sort_unstable_by(|a, b| b.1.cmp(&a.1).then_with(|| a.0.cmp(b.0)));
        let mut text = String::from("[");
        for (i, (mut value, count)) in entries.into_iter().take(self.k).enumerate() {
            text.push_str(if i > 0 { ",{\"value\":" } else { "{\"value\":" });
            key::decode(self.data_type, &mut value, |value| json::write(value, &mut text));
            text.push_str(",\"count\":");
            text.push_str(&count.to_string());
            text.push('}');
        }
        text.push(']');
        out.push(Value::Json(&text));
        Ok(())
    }

    /// In the order of the values, so that equal counts have equal bytes.
    fn encode(&self, cell: &Counts, out: &mut Vec<u8>) {
        let mut entries: Vec<(&Vec<u8>, &u64)> = cell.iter().collect();
        entries.sort_unstable();
        put_count(entries.len() as u64, out);
        for (value, &count) in entries {
            put_bytes(value, out);
            put_count(count, out);
        }
    }

    fn decode(&self, from: &mut &[u8]) -> Result<Counts, Fault> {
        let mut counts = Counts::default();
        for _ in 0..take_length(from)? {
            let value = take_canonical(self.data_type, from)?;
            let count = take_count(from)?;
            if counts.insert(value.to_vec(), count).is_some() {
                return Err(damaged("a value is counted twice"));
            }
        }
        Ok(counts)
    }

    fn heap_bytes(&self, cell: &Counts) -> usize {
        cell.capacity() * 25 + cell.keys().map(Vec::len).sum::<usize>()
    }
}
