//! The watermark of each row of a batch.
//!
//! W(r) is the watermark of the row's source partition just before the row. It decides lateness, so it is exact for
//! every row; it changes seldom, so it is kept as runs.

use std::sync::Arc;

use arrow_buffer::ScalarBuffer;

use crate::column::gather_values;

/// W of every row, in microseconds. Never falls within the rows of one partition.
#[derive(Clone, Debug, PartialEq)]
pub enum RowWatermarks {
    /// The same for every row.
    Constant(i64),
    /// Runs of equal values: the row after the run's last, and the value.
    Runs(Arc<[(u32, i64)]>),
    /// One per row; cheaper than runs above one run in sixteen rows.
    Full(ScalarBuffer<i64>),
}

/// Above rows / 16 runs a full column costs less.
const ROWS_PER_RUN_MIN: usize = 16;

impl RowWatermarks {
    /// From runs `(row after the last, value)` over `rows` rows, in the cheapest form.
    pub fn from_runs(runs: &[(u32, i64)], rows: usize) -> Self {
        debug_assert_eq!(runs.last().map_or(0, |r| r.0 as usize), rows, "the runs cover the rows");
        match runs {
            [] => Self::Constant(i64::MIN),
            [(_, value)] => Self::Constant(*value),
            runs if runs.len() * ROWS_PER_RUN_MIN > rows => {
                let mut full = Vec::with_capacity(rows);
                for &(end, value) in runs {
                    full.resize(end as usize, value);
                }
                Self::Full(full.into())
            }
            runs => Self::Runs(runs.into()),
        }
    }

    /// From one value per row, in the cheapest form.
    pub fn from_values(values: &[i64]) -> Self {
        let mut runs: Vec<(u32, i64)> = Vec::new();
        for (row, &value) in values.iter().enumerate() {
            match runs.last_mut() {
                Some(last) if last.1 == value => last.0 = row as u32 + 1,
                _ => runs.push((row as u32 + 1, value)),
            }
        }
        Self::from_runs(&runs, values.len())
    }

    /// W of a row. For all rows in turn, [`Self::cursor`] is quicker.
    pub fn at(&self, row: usize) -> i64 {
        match self {
            Self::Constant(value) => *value,
            Self::Runs(runs) => runs[runs.partition_point(|run| run.0 as usize <= row)].1,
            Self::Full(values) => values[row],
        }
    }

    /// Reads rows that are asked for in ascending order.
    pub fn cursor(&self) -> Cursor<'_> {
        Cursor {
            watermarks: self,
            run: 0,
        }
    }

    /// The greatest W, or `None` where there is no row.
    pub fn max(&self) -> Option<i64> {
        match self {
            Self::Constant(value) => Some(*value),
            Self::Runs(runs) => runs.iter().map(|run| run.1).max(),
            Self::Full(values) => values.iter().copied().max(),
        }
    }

    /// The least W, or `None` where there is no row.
    pub fn min(&self) -> Option<i64> {
        match self {
            Self::Constant(value) => Some(*value),
            Self::Runs(runs) => runs.iter().map(|run| run.1).min(),
            Self::Full(values) => values.iter().copied().min(),
        }
    }

    /// W of `rows`, in that order.
    #[must_use]
    pub fn gather(&self, rows: &[u32]) -> Self {
        match self {
            Self::Constant(value) => Self::Constant(*value),
            Self::Runs(_) => Self::from_values(&rows.iter().map(|&row| self.at(row as usize)).collect::<Vec<_>>()),
            Self::Full(values) => Self::Full(gather_values(values, rows).into()),
        }
    }

    /// Every W moved earlier by `lag` microseconds.
    #[must_use]
    pub fn before(&self, lag: u64) -> Self {
        match self {
            Self::Constant(value) => Self::Constant(value.saturating_sub_unsigned(lag)),
            Self::Runs(runs) => Self::Runs(
                runs.iter()
                    .map(|run| (run.0, run.1.saturating_sub_unsigned(lag)))
                    .collect(),
            ),
            Self::Full(values) => Self::Full(
                values
                    .iter()
                    .map(|v| v.saturating_sub_unsigned(lag))
                    .collect::<Vec<_>>()
                    .into(),
            ),
        }
    }
}

/// Reads W of ascending rows.
#[derive(Debug)]
pub struct Cursor<'a> {
    watermarks: &'a RowWatermarks,
    run: usize,
}

impl Cursor<'_> {
    /// W of `row`, which is not before the row asked for last.
    pub fn at(&mut self, row: usize) -> i64 {
        match self.watermarks {
            RowWatermarks::Constant(value) => *value,
            RowWatermarks::Full(values) => values[row],
            RowWatermarks::Runs(runs) => {
                while runs[self.run].0 as usize <= row {
                    self.run += 1;
                }
                runs[self.run].1
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn runs_and_full_columns_say_the_same() {
        let mut values = vec![3; 100];
        values.extend([5; 60]);
        values.extend([9; 40]);
        let runs = RowWatermarks::from_values(&values);
        assert!(matches!(runs, RowWatermarks::Runs(_)));
        let mut cursor = runs.cursor();
        for (row, &value) in values.iter().enumerate() {
            assert_eq!((runs.at(row), cursor.at(row)), (value, value));
        }
        assert_eq!(runs.gather(&[0, 150, 199]), RowWatermarks::Full(vec![3, 5, 9].into()));
        assert_eq!((runs.min(), runs.max()), (Some(3), Some(9)));
    }

    #[test]
    fn many_short_runs_become_a_full_column() {
        assert_eq!(
            RowWatermarks::from_values(&[1, 2, 3]),
            RowWatermarks::Full(vec![1, 2, 3].into())
        );
        assert_eq!(RowWatermarks::from_values(&[7, 7]), RowWatermarks::Constant(7));
    }
}
