//! `sum(column)`: of integers exact, of floats rounded once.

use wasmill_core::column::{Column, ColumnBuilder, Value};
use wasmill_core::fault::{Domain, Fault};

use super::{Function, Rows};
use crate::codec::{damaged, put_signed, take_flag, take_signed};
use crate::exact::Sum;

#[derive(Clone, Debug)]
pub(super) struct IntSum {
    pub(super) column: usize,
}

/// No sum of 2^64 integers of 64 bits comes so low.
const EMPTY: i128 = i128::MIN;
/// Nor so far from zero, which leaves room to go on.
const MAGNITUDE_MAX: u128 = 1 << 120;

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

    fn encode(&self, cell: &i128, out: &mut Vec<u8>) {
        out.push(u8::from(*cell != EMPTY));
        if *cell != EMPTY {
            put_signed(*cell, out);
        }
    }

    fn decode(&self, from: &mut &[u8]) -> Result<i128, Fault> {
        if !take_flag(from)? {
            return Ok(EMPTY);
        }
        let sum = take_signed(from)?;
        if sum.unsigned_abs() > MAGNITUDE_MAX {
            return Err(damaged("a sum is too great"));
        }
        Ok(sum)
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

    fn encode(&self, cell: &Sum, out: &mut Vec<u8>) {
        cell.encode(out);
    }

    fn decode(&self, from: &mut &[u8]) -> Result<Sum, Fault> {
        Sum::decode(from)
    }

    fn heap_bytes(&self, cell: &Sum) -> usize {
        cell.heap_bytes()
    }
}
