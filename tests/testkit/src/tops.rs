//! The oracle of the first rows by a column: all rows sorted, again after each row.

use std::cmp::Ordering;
use std::collections::BTreeMap;

use wasmill_core::column::Scalar;
use wasmill_core::key;
use wasmill_core::kind::Kind;

use crate::Row;
use crate::windows::Windows;

/// The first `n` rows of each key by a column.
#[derive(Clone, Debug, PartialEq)]
pub struct Tops {
    /// The key columns.
    pub key: Vec<usize>,
    /// How many.
    pub n: usize,
    /// The column that decides.
    pub by: usize,
    /// Whether the greatest come first.
    pub descending: bool,
    /// The windows, whose `allowed` is 0.
    pub windows: Option<Windows>,
    /// Whether rows have ranks.
    pub rank: bool,
}

/// A row that comes out.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Ranked {
    /// The row, by number.
    pub row: usize,
    /// Its rank, from 1. Without a column of ranks and a window it means nothing.
    pub rank: usize,
    /// What it does.
    pub kind: Kind,
    /// The row that brought it about, and how many it had brought about before; with a window, the window.
    pub cause: Cause,
}

/// What a row comes from.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Cause {
    /// A row, and the number of this output among those that it brought about.
    Row(usize, u32),
    /// A window, and the key.
    Window(i64, i64, Vec<u8>),
}

impl Tops {
    fn compare(&self, rows: &[Row], a: usize, b: usize) -> Ordering {
        let value = |number: usize| &rows[number].values[self.by];
        let encoded = |number: usize| {
            let mut bytes = Vec::new();
            key::encode(value(number).as_value(), &mut bytes);
            bytes
        };
        let by_value = match (value(a) == &Scalar::Null, value(b) == &Scalar::Null) {
            (false, false) if self.descending => encoded(b).cmp(&encoded(a)),
            (false, false) => encoded(a).cmp(&encoded(b)),
            (x, y) => x.cmp(&y),
        };
        by_value.then_with(|| rows[a].order().cmp(&rows[b].order()))
    }

    fn first(&self, rows: &[Row], among: &[usize]) -> Vec<usize> {
        let mut sorted = among.to_vec();
        sorted.sort_by(|&a, &b| self.compare(rows, a, b));
        sorted.truncate(self.n);
        sorted
    }

    /// What comes out, and the late rows. A row is late when t < W(r).
    pub fn evaluate(&self, rows: &[Row]) -> (Vec<Ranked>, Vec<usize>) {
        let mut by_key: BTreeMap<Vec<u8>, Vec<usize>> = BTreeMap::new();
        let mut late = Vec::new();
        for (number, row) in rows.iter().enumerate() {
            if row.time < row.watermark {
                late.push(number);
                continue;
            }
            let mut encoded = Vec::new();
            for &column in &self.key {
                key::encode(row.values[column].as_value(), &mut encoded);
            }
            by_key.entry(encoded).or_default().push(number);
        }
        let mut ranked = Vec::new();
        for (key, mut numbers) in by_key {
            numbers.sort_by_key(|&number| rows[number].order());
            match &self.windows {
                Some(windows) => self.of_windows(rows, &key, &numbers, windows, &mut ranked),
                None => self.changes(rows, &numbers, &mut ranked),
            }
        }
        (ranked, late)
    }

    fn of_windows(&self, rows: &[Row], key: &[u8], numbers: &[usize], windows: &Windows, out: &mut Vec<Ranked>) {
        let mut held: BTreeMap<(i64, i64), Vec<usize>> = BTreeMap::new();
        for &number in numbers {
            for window in windows.of(rows[number].time) {
                held.entry(window).or_default().push(number);
            }
        }
        for ((start, end), numbers) in held {
            let first = self.first(rows, &numbers).into_iter().zip(1..);
            out.extend(first.map(|(row, rank)| Ranked {
                row,
                rank,
                kind: Kind::Insert,
                cause: Cause::Window(start, end, key.to_vec()),
            }));
        }
    }

    fn changes(&self, rows: &[Row], numbers: &[usize], out: &mut Vec<Ranked>) {
        for (seen, &number) in numbers.iter().enumerate() {
            let before = self.first(rows, &numbers[..seen]);
            let after = self.first(rows, &numbers[..=seen]);
            let Some(entered) = after.iter().position(|&row| row == number) else {
                continue;
            };
            let mut changes = Vec::new();
            if before.len() == self.n {
                changes.push((before[self.n - 1], self.n, Kind::Delete));
            }
            if self.rank {
                for rank in (entered + 2..=after.len()).rev() {
                    changes.push((after[rank - 1], rank - 1, Kind::UpdateBefore));
                    changes.push((after[rank - 1], rank, Kind::UpdateAfter));
                }
            }
            changes.push((number, entered + 1, Kind::Insert));
            let changes = changes.into_iter().zip(0..);
            out.extend(changes.map(|((row, rank, kind), child)| Ranked {
                row,
                rank,
                kind,
                cause: Cause::Row(number, child),
            }));
        }
    }
}
