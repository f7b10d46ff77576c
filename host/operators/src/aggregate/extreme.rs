//! `min(column)` and `max(column)`. Values stand in the order of their canonical bytes: false before true, every NaN
//! above all other floats, text by its bytes.

use wasmill_core::column::{Column, ColumnBuilder, Value};
use wasmill_core::fault::Fault;
use wasmill_core::key::{float_of_sortable, sortable_float};
use wasmill_core::schema::DataType;

use super::{Accumulators, Cells, Function, Rows};
use crate::codec::{damaged, put_bytes, put_signed, take_array, take_bytes, take_flag, take_int64};

/// The cells for numbers: each value is mapped to a number whose maximum is asked for.
pub(super) fn number(column: usize, greatest: bool, data_type: DataType) -> Box<dyn Accumulators> {
    match (greatest, data_type) {
        (true, DataType::Float64) => Cells::boxed(FloatExtreme::<true> { column }),
        (false, DataType::Float64) => Cells::boxed(FloatExtreme::<false> { column }),
        (true, _) => Cells::boxed(IntExtreme::<true> { column, data_type }),
        (false, _) => Cells::boxed(IntExtreme::<false> { column, data_type }),
    }
}

/// Of booleans, integers and timestamps.
#[derive(Clone, Debug)]
struct IntExtreme<const GREATEST: bool> {
    column: usize,
    data_type: DataType,
}

impl<const GREATEST: bool> IntExtreme<GREATEST> {
    fn better(a: i64, b: i64) -> i64 {
        if GREATEST { a.max(b) } else { a.min(b) }
    }
}

impl<const GREATEST: bool> Function for IntExtreme<GREATEST> {
    type Cell = Option<i64>;

    fn empty(&self) -> Option<i64> {
        None
    }

    fn update(&self, cells: &mut [Option<i64>], rows: &Rows<'_>) {
        let column = rows.column(self.column);
        let nulls = column.nulls();
        let mut add = |value: i64, group: usize| {
            let cell = &mut cells[group];
            *cell = Some(cell.map_or(value, |so_far| Self::better(so_far, value)));
        };
        match column {
            Column::Boolean(a) => rows.each_valid(nulls, |row, group| add(a.value(row).into(), group)),
            Column::Int64(a) => rows.each_value(a.values(), nulls, add),
            Column::Timestamp(a) => rows.each_value(a.values(), nulls, add),
            _ => unreachable!("the cells were chosen by the column's type"),
        }
    }

    fn merge(&self, into: &mut Option<i64>, from: &Option<i64>) {
        if let Some(value) = *from {
            *into = Some(into.map_or(value, |so_far| Self::better(so_far, value)));
        }
    }

    fn finish(&self, cell: &Option<i64>, out: &mut ColumnBuilder) -> Result<(), Fault> {
        out.push(match (*cell, self.data_type) {
            (None, _) => Value::Null,
            (Some(v), DataType::Boolean) => Value::Boolean(v != 0),
            (Some(v), DataType::Timestamp) => Value::Timestamp(v),
            (Some(v), _) => Value::Int64(v),
        });
        Ok(())
    }

    fn encode(&self, cell: &Option<i64>, out: &mut Vec<u8>) {
        out.push(cell.is_some().into());
        if let Some(value) = *cell {
            put_signed(value.into(), out);
        }
    }

    fn decode(&self, from: &mut &[u8]) -> Result<Option<i64>, Fault> {
        Ok(if take_flag(from)? {
            Some(take_int64(from)?)
        } else {
            None
        })
    }
}

/// Of floats, as sortable numbers.
#[derive(Clone, Debug)]
struct FloatExtreme<const GREATEST: bool> {
    column: usize,
}

impl<const GREATEST: bool> FloatExtreme<GREATEST> {
    /// No float's sortable number.
    const EMPTY: u64 = if GREATEST { 0 } else { u64::MAX };

    fn better(a: u64, b: u64) -> u64 {
        if GREATEST { a.max(b) } else { a.min(b) }
    }
}

impl<const GREATEST: bool> Function for FloatExtreme<GREATEST> {
    type Cell = u64;

    fn empty(&self) -> u64 {
        Self::EMPTY
    }

    fn update(&self, cells: &mut [u64], rows: &Rows<'_>) {
        let column = rows.column(self.column);
        let Column::Float64(values) = column else {
            unreachable!("the cells were chosen by the column's type");
        };
        rows.each_value(values.values(), column.nulls(), |value, group| {
            cells[group] = Self::better(cells[group], sortable_float(value));
        });
    }

    fn merge(&self, into: &mut u64, from: &u64) {
        *into = Self::better(*into, *from);
    }

    fn finish(&self, cell: &u64, out: &mut ColumnBuilder) -> Result<(), Fault> {
        if *cell == Self::EMPTY {
            out.push_null();
        } else {
            out.push(Value::Float64(float_of_sortable(*cell)));
        }
        Ok(())
    }

    fn encode(&self, cell: &u64, out: &mut Vec<u8>) {
        out.extend(cell.to_le_bytes());
    }

    fn decode(&self, from: &mut &[u8]) -> Result<u64, Fault> {
        let cell = u64::from_le_bytes(take_array(from)?);
        if cell != Self::EMPTY && sortable_float(float_of_sortable(cell)) != cell {
            return Err(damaged("a float is not in its canonical form"));
        }
        Ok(cell)
    }
}

/// Of text and bytes.
#[derive(Clone, Debug)]
pub(super) struct ByteExtreme {
    pub(super) column: usize,
    pub(super) greatest: bool,
    pub(super) data_type: DataType,
}

impl ByteExtreme {
    fn offer(&self, cell: &mut Option<Box<[u8]>>, value: &[u8]) {
        let better = cell
            .as_deref()
            .is_none_or(|so_far| if self.greatest { value > so_far } else { value < so_far });
        if better {
            *cell = Some(value.into());
        }
    }
}

impl Function for ByteExtreme {
    type Cell = Option<Box<[u8]>>;

    fn empty(&self) -> Self::Cell {
        None
    }

    fn update(&self, cells: &mut [Self::Cell], rows: &Rows<'_>) {
        let column = rows.column(self.column);
        let nulls = column.nulls();
        match column {
            Column::Utf8(a) | Column::Json(a) => {
                rows.each_valid(nulls, |row, group| {
                    self.offer(&mut cells[group], a.value(row).as_bytes());
                });
            }
            Column::Binary(a) => rows.each_valid(nulls, |row, group| self.offer(&mut cells[group], a.value(row))),
            _ => unreachable!("the cells were chosen by the column's type"),
        }
    }

    fn merge(&self, into: &mut Self::Cell, from: &Self::Cell) {
        if let Some(value) = from {
            self.offer(into, value);
        }
    }

    fn finish(&self, cell: &Self::Cell, out: &mut ColumnBuilder) -> Result<(), Fault> {
        let Some(bytes) = cell else {
            out.push_null();
            return Ok(());
        };
        let text = || std::str::from_utf8(bytes).expect("the bytes of a text column");
        out.push(match self.data_type {
            DataType::Utf8 => Value::Utf8(text()),
            DataType::Json => Value::Json(text()),
            _ => Value::Binary(bytes),
        });
        Ok(())
    }

    fn encode(&self, cell: &Self::Cell, out: &mut Vec<u8>) {
        out.push(cell.is_some().into());
        if let Some(bytes) = cell {
            put_bytes(bytes, out);
        }
    }

    fn decode(&self, from: &mut &[u8]) -> Result<Self::Cell, Fault> {
        if !take_flag(from)? {
            return Ok(None);
        }
        let bytes = take_bytes(from)?;
        if self.data_type != DataType::Binary && std::str::from_utf8(bytes).is_err() {
            return Err(damaged("a text is not UTF-8"));
        }
        Ok(Some(bytes.into()))
    }

    fn heap_bytes(&self, cell: &Self::Cell) -> usize {
        cell.as_ref().map_or(0, |bytes| bytes.len())
    }
}
