//! `array_agg(column)`: all values that are not null, by (event time, place), as a JSON array.

use wasmill_core::column::{ColumnBuilder, Value};
use wasmill_core::fault::Fault;
use wasmill_core::schema::DataType;

use super::placed::Placed;
use super::{Function, Rows};
use crate::codec::{put_count, take_length};
use crate::json;

#[derive(Clone, Debug)]
pub(super) struct ArrayAgg {
    pub(super) column: usize,
    pub(super) data_type: DataType,
}

impl Function for ArrayAgg {
    type Cell = Vec<Placed>;

    fn empty(&self) -> Vec<Placed> {
        Vec::new()
    }

    fn update(&self, cells: &mut [Vec<Placed>], rows: &Rows<'_>) {
        let column = rows.column(self.column);
        let mut scratch = Vec::new();
        rows.each_valid(column.nulls(), |row, group| {
            cells[group].push(Placed::new(rows, row, column.value(row), &mut scratch));
        });
    }

    fn merge(&self, into: &mut Vec<Placed>, from: &Vec<Placed>) {
        into.extend_from_slice(from);
    }

    fn finish(&self, cell: &Vec<Placed>, out: &mut ColumnBuilder) -> Result<(), Fault> {
        let mut entries: Vec<&Placed> = cell.iter().collect();
        entries.sort_unstable();
        let mut text = String::from("[");
        for (i, entry) in entries.into_iter().enumerate() {
            if i > 0 {
                text.push(',');
            }
            entry.value(self.data_type, |value| json::write(value, &mut text));
        }
        text.push(']');
        out.push(Value::Json(&text));
        Ok(())
    }

    fn encode(&self, cell: &Vec<Placed>, out: &mut Vec<u8>) {
        put_count(cell.len() as u64, out);
        for entry in cell {
            entry.encode(out);
        }
    }

    fn decode(&self, from: &mut &[u8]) -> Result<Vec<Placed>, Fault> {
        let length = take_length(from)?;
        (0..length).map(|_| Placed::decode(self.data_type, from)).collect()
    }

    fn heap_bytes(&self, cell: &Vec<Placed>) -> usize {
        cell.capacity() * size_of::<Placed>() + cell.iter().map(Placed::heap_bytes).sum::<usize>()
    }
}
