//! `stddev(column)`: the sample standard deviation, rounded once from exact moments.
//!
//! With n values x, the variance is (n Σx² - (Σx)²) / (n (n - 1)). All of it is calculated in integers.

use wasmill_core::column::{Column, ColumnBuilder, Value};
use wasmill_core::fault::{Domain, Fault};

use super::{Function, Rows};
use crate::codec::{put_count, take_count};
use crate::exact::{Natural, SquareSum, Sum};

#[derive(Clone, Debug)]
pub(super) struct Stddev {
    pub(super) column: usize,
}

#[derive(Clone, Debug, Default)]
pub(super) struct Moments {
    sum: Sum,
    squares: SquareSum,
    count: u64,
}

impl Function for Stddev {
    type Cell = Moments;

    fn empty(&self) -> Moments {
        Moments::default()
    }

    fn update(&self, cells: &mut [Moments], rows: &Rows<'_>) {
        let column = rows.column(self.column);
        match column {
            Column::Int64(a) => rows.each_value(a.values(), column.nulls(), |value, group| {
                let cell = &mut cells[group];
                cell.sum.add_int(value);
                cell.squares.add_int(value);
                cell.count += 1;
            }),
            Column::Float64(a) => rows.each_value(a.values(), column.nulls(), |value, group| {
                let cell = &mut cells[group];
                cell.sum.add(value);
                if value.is_finite() {
                    cell.squares.add(value);
                }
                cell.count += 1;
            }),
            _ => unreachable!("a plan takes the deviation of numbers only"),
        }
    }

    fn merge(&self, into: &mut Moments, from: &Moments) {
        into.sum.merge(&from.sum);
        into.squares.merge(&from.squares);
        into.count += from.count;
    }

    fn finish(&self, cell: &Moments, out: &mut ColumnBuilder) -> Result<(), Fault> {
        out.push(match cell.count {
            0 | 1 => Value::Null,
            _ if cell.sum.special().is_some() => Value::Float64(f64::NAN),
            count => Value::Float64(deviation(cell, count).ok_or_else(|| {
                let message = "the moments of a deviation are those of no numbers: the saved state is damaged";
                Fault::fatal(Domain::External, message)
            })?),
        });
        Ok(())
    }

    fn encode(&self, cell: &Moments, out: &mut Vec<u8>) {
        put_count(cell.count, out);
        if cell.count > 0 {
            cell.sum.encode(out);
            cell.squares.encode(out);
        }
    }

    fn decode(&self, from: &mut &[u8]) -> Result<Moments, Fault> {
        let count = take_count(from)?;
        if count == 0 {
            return Ok(Moments::default());
        }
        Ok(Moments {
            sum: Sum::decode(from)?,
            squares: SquareSum::decode(from)?,
            count,
        })
    }

    fn heap_bytes(&self, cell: &Moments) -> usize {
        cell.sum.heap_bytes() + cell.squares.heap_bytes()
    }
}

/// `None` where no numbers have these moments.
fn deviation(cell: &Moments, count: u64) -> Option<f64> {
    let (_, sum, sum_exponent) = cell.sum.total();
    let (squares, squares_exponent) = cell.squares.total();
    let square_of_sum = sum.times(&sum);
    let scaled_squares = squares.times(&Natural::from(u128::from(count)));
    // Both in units of the lower exponent.
    let exponent = squares_exponent.min(2 * sum_exponent);
    let left = scaled_squares.shifted_left((squares_exponent - exponent) as u32);
    let right = square_of_sum.shifted_left((2 * sum_exponent - exponent) as u32);
    let difference = left.minus(&right)?;
    Some(difference.root_of_quotient(exponent, count, count - 1))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn check(values: &[f64], expect: f64) {
        let mut cell = Moments::default();
        for &value in values {
            cell.sum.add(value);
            cell.squares.add(value);
            cell.count += 1;
        }
        assert_eq!(deviation(&cell, cell.count), Some(expect), "{values:?}");
    }

    #[test]
    fn the_deviation_does_not_suffer_from_cancellation() {
        check(&[2.0, 4.0, 4.0, 4.0, 5.0, 5.0, 7.0, 9.0], (32.0_f64 / 7.0).sqrt());
        check(&[1e16, 1e16 + 2.0], 2_f64.sqrt());
        check(&[5.0, 5.0, 5.0], 0.0);
        check(&[0.1; 7], 0.0);
        check(&[1e300, -1e300], 1.414_213_562_373_095_1e300);
        check(&[0.0, 5e-324], 5e-324);
    }
}
