//! `sum(column)`: of integers exact, of floats rounded once.

use wasmill_core::column::{Column, ColumnBuilder, Value};
use wasmill_core::fault::{Domain, Fault};

use super::{Function, Rows};
use crate::exact::Sum;

#[derive(Clone, Debug)]
pub(super) struct IntSum {
    pub(super) column: usize,
}

/// No sum of 2^64 integers of 64 bits comes so low.
const EMPTY: i128 = i128::MIN;

impl Function for IntSum {
    type Cell = i128;

    fn empty(&self) -> i128 {
        EMPTY
    }

    fn update(&self, cells: &mut [i128], rows: &Rows<'_>) {
        let column = rows.column(self.column);
        let Column::Int64(values) = column else {
            unreachable!("a plan sums numbers only");
        };
        rows.each_value(values.values(), column.nulls(), |value, group| {
            merge(&mut cells[group], value.into());
        });
    }

    fn merge(&self, into: &mut i128, from: &i128) {
        if *from != EMPTY {
            merge(into, *from);
        }
    }

    fn finish(&self, cell: &i128, out: &mut ColumnBuilder) -> Result<(), Fault> {
        if *cell == EMPTY {
            out.push_null();
            return Ok(());
        }
        let Ok(sum) = i64::try_from(*cell) else {
            let message = format!("a sum does not fit into int64: {cell}; sum a float64 column instead");
            return Err(Fault::fatal(Domain::User, message));
        };
        out.push(Value::Int64(sum));
        Ok(())
    }
}

#[inline]
fn merge(cell: &mut i128, value: i128) {
    *cell = if *cell == EMPTY { value } else { *cell + value };
}

#[derive(Clone, Debug)]
pub(super) struct FloatSum {
    pub(super) column: usize,
}

impl Function for FloatSum {
    type Cell = Sum;

    fn empty(&self) -> Sum {
        Sum::default()
    }

    fn update(&self, cells: &mut [Sum], rows: &Rows<'_>) {
        let column = rows.column(self.column);
        let Column::Float64(values) = column else {
            unreachable!("a plan sums numbers only");
        };
        rows.each_value(values.values(), column.nulls(), |value, group| cells[group].add(value));
    }

    fn merge(&self, into: &mut Sum, from: &Sum) {
        into.merge(from);
    }

    fn finish(&self, cell: &Sum, out: &mut ColumnBuilder) -> Result<(), Fault> {
        if cell.is_empty() {
            out.push_null();
        } else {
            out.push(Value::Float64(cell.rounded()));
        }
        Ok(())
    }

    fn heap_bytes(&self, cell: &Sum) -> usize {
        cell.heap_bytes()
    }
}
