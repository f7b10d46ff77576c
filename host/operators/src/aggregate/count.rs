//! `count(column)`: how many values are not null.

use wasmill_core::column::{ColumnBuilder, Value};
use wasmill_core::fault::Fault;

use super::{Function, Rows};
use crate::codec::{put_count, take_count};

#[derive(Clone, Debug)]
pub(super) struct Count {
    pub(super) column: usize,
}

impl Function for Count {
    type Cell = u64;

    fn empty(&self) -> u64 {
        0
    }

    fn update(&self, cells: &mut [u64], rows: &Rows<'_>) {
        rows.each_valid(rows.column(self.column).nulls(), |_, group| cells[group] += 1);
    }

    fn merge(&self, into: &mut u64, from: &u64) {
        *into += from;
    }

    fn finish(&self, cell: &u64, out: &mut ColumnBuilder) -> Result<(), Fault> {
        out.push(Value::Int64(*cell as i64));
        Ok(())
    }

    fn encode(&self, cell: &u64, out: &mut Vec<u8>) {
        put_count(*cell, out);
    }

    fn decode(&self, from: &mut &[u8]) -> Result<u64, Fault> {
        take_count(from)
    }
}
