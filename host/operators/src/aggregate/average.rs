//! `avg(column)`: the exact sum divided by the count, rounded once.

use wasmill_core::column::{Column, ColumnBuilder, Value};
use wasmill_core::fault::Fault;

use super::{Function, Rows};
use crate::codec::{damaged, put_count, put_signed, take_count, take_signed};
use crate::exact::{self, Sum};

#[derive(Clone, Debug)]
pub(super) struct IntAverage {
    pub(super) column: usize,
}

#[derive(Clone, Debug, Default)]
pub(super) struct IntCell {
    sum: i128,
    count: u64,
}

impl Function for IntAverage {
    type Cell = IntCell;

    fn empty(&self) -> IntCell {
        IntCell::default()
    }

    fn update(&self, cells: &mut [IntCell], rows: &Rows<'_>) {
        let column = rows.column(self.column);
        let Column::Int64(values) = column else {
            unreachable!("a plan averages numbers only");
        };
        rows.each_value(values.values(), column.nulls(), |value, group| {
            let cell = &mut cells[group];
            cell.sum += i128::from(value);
            cell.count += 1;
        });
    }

    fn merge(&self, into: &mut IntCell, from: &IntCell) {
        into.sum += from.sum;
        into.count += from.count;
    }

    fn finish(&self, cell: &IntCell, out: &mut ColumnBuilder) -> Result<(), Fault> {
        if cell.count == 0 {
            out.push_null();
            return Ok(());
        }
        let average = exact::divide(cell.sum.unsigned_abs(), 0, cell.count);
        out.push(Value::Float64(if cell.sum < 0 { -average } else { average }));
        Ok(())
    }

    fn encode(&self, cell: &IntCell, out: &mut Vec<u8>) {
        put_count(cell.count, out);
        put_signed(cell.sum, out);
    }

    fn decode(&self, from: &mut &[u8]) -> Result<IntCell, Fault> {
        let count = take_count(from)?;
        let sum = take_signed(from)?;
        if sum.unsigned_abs() > u128::from(count) << 63 {
            return Err(damaged("a sum is too great for its count"));
        }
        Ok(IntCell { sum, count })
    }
}

#[derive(Clone, Debug)]
pub(super) struct FloatAverage {
    pub(super) column: usize,
}

#[derive(Clone, Debug, Default)]
pub(super) struct FloatCell {
    sum: Sum,
    count: u64,
}

impl Function for FloatAverage {
    type Cell = FloatCell;

    fn empty(&self) -> FloatCell {
        FloatCell::default()
    }

    fn update(&self, cells: &mut [FloatCell], rows: &Rows<'_>) {
        let column = rows.column(self.column);
        let Column::Float64(values) = column else {
            unreachable!("a plan averages numbers only");
        };
        rows.each_value(values.values(), column.nulls(), |value, group| {
            let cell = &mut cells[group];
            cell.sum.add(value);
            cell.count += 1;
        });
    }

    fn merge(&self, into: &mut FloatCell, from: &FloatCell) {
        into.sum.merge(&from.sum);
        into.count += from.count;
    }

    fn finish(&self, cell: &FloatCell, out: &mut ColumnBuilder) -> Result<(), Fault> {
        if cell.count == 0 {
            out.push_null();
        } else {
            out.push(Value::Float64(cell.sum.divided(cell.count)));
        }
        Ok(())
    }

    fn encode(&self, cell: &FloatCell, out: &mut Vec<u8>) {
        put_count(cell.count, out);
        cell.sum.encode(out);
    }

    fn decode(&self, from: &mut &[u8]) -> Result<FloatCell, Fault> {
        let count = take_count(from)?;
        let sum = Sum::decode(from)?;
        Ok(FloatCell { sum, count })
    }

    fn heap_bytes(&self, cell: &FloatCell) -> usize {
        cell.sum.heap_bytes()
    }
}
