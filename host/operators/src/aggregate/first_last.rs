//! `first(column)` and `last(column)`: the value of the first or last row by (event time, place) whose value is not null.

use wasmill_core::column::{Column, ColumnBuilder};
use wasmill_core::fault::Fault;
use wasmill_core::schema::DataType;

use super::placed::Placed;
use super::{Function, Rows};
use crate::codec::take_flag;

#[derive(Clone, Debug)]
pub(super) struct FirstLast {
    pub(super) column: usize,
    pub(super) last: bool,
    pub(super) data_type: DataType,
}

impl FirstLast {
    fn better(&self, candidate: &Placed, so_far: &Placed) -> bool {
        if self.last {
            candidate > so_far
        } else {
            candidate < so_far
        }
    }
}

impl Function for FirstLast {
    type Cell = Option<Placed>;

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
            let candidate = Placed::new(rows, row, column.value(row), &mut scratch);
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
            None => out.push_null(),
            Some(entry) => entry.value(self.data_type, |value| out.push(value)),
        }
        Ok(())
    }

    fn encode(&self, cell: &Self::Cell, out: &mut Vec<u8>) {
        out.push(cell.is_some().into());
        if let Some(entry) = cell {
            entry.encode(out);
        }
    }

    fn decode(&self, from: &mut &[u8]) -> Result<Self::Cell, Fault> {
        Ok(if take_flag(from)? {
            Some(Placed::decode(self.data_type, from)?)
        } else {
            None
        })
    }

    fn heap_bytes(&self, cell: &Self::Cell) -> usize {
        cell.as_ref().map_or(0, Placed::heap_bytes)
    }
}
