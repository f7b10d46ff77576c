//! `first(column)` and `last(column)`: the value of the first or last row by (event time, place) whose value is not null.

use wasmill_core::column::{Column, ColumnBuilder, Value};
use wasmill_core::fault::Fault;
use wasmill_core::key;
use wasmill_core::schema::DataType;

use super::{Function, Rows};

#[derive(Clone, Debug)]
pub(super) struct FirstLast {
    pub(super) column: usize,
    pub(super) last: bool,
    pub(super) data_type: DataType,
}

/// A row's time, its place and its value in canonical bytes: rows of equal time and place are told apart by value.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(super) struct Entry {
    time: i64,
    /// The place, then the value from `value` on.
    bytes: Box<[u8]>,
    value: u32,
}

impl FirstLast {
    fn better(&self, candidate: &Entry, so_far: &Entry) -> bool {
        if self.last {
            candidate > so_far
        } else {
            candidate < so_far
        }
    }
}

impl Function for FirstLast {
    type Cell = Option<Entry>;

    fn empty(&self) -> Self::Cell {
        None
    }

    fn update(&self, cells: &mut [Self::Cell], rows: &Rows<'_>) {
        let column: &Column = rows.column(self.column);
        let mut scratch = Vec::new();
        rows.each_valid(column.nulls(), |row, group| {
            let cell = &mut cells[group];
            let time = rows.times[row];
            if let Some(so_far) = cell {
                let behind = if self.last {
                    time < so_far.time
                } else {
                    time > so_far.time
                };
                if behind {
                    return;
                }
            }
            scratch.clear();
            if let Some(order) = rows.order {
                order.write(row, &mut scratch);
            }
            let value = scratch.len() as u32;
            key::encode(column.value(row), &mut scratch);
            let candidate = Entry {
                time,
                bytes: scratch.as_slice().into(),
                value,
            };
            if cell.as_ref().is_none_or(|so_far| self.better(&candidate, so_far)) {
                *cell = Some(candidate);
            }
        });
    }

    fn merge(&self, into: &mut Self::Cell, from: &Self::Cell) {
        if let Some(candidate) = from
            && into.as_ref().is_none_or(|so_far| self.better(candidate, so_far))
        {
            into.clone_from(from);
        }
    }

    fn finish(&self, cell: &Self::Cell, out: &mut ColumnBuilder) -> Result<(), Fault> {
        match cell {
            None => out.push(Value::Null),
            Some(entry) => {
                let mut encoded = &entry.bytes[entry.value as usize..];
                key::decode(self.data_type, &mut encoded, |value| out.push(value));
            }
        }
        Ok(())
    }

    fn heap_bytes(&self, cell: &Self::Cell) -> usize {
        cell.as_ref().map_or(0, |entry| entry.bytes.len())
    }
}
