//! The oracle of whole windows: which rows a firing holds, in which order, for aligned windows of every type.
//!
//! The table of lateness, window by window: a row r is late for [s, e) when e + allowed <= W(r). The result holds the
//! rows with W(r) < e; where others came that are not late, one correction holds all that are not.

use std::collections::BTreeMap;

use wasmill_core::key;

use crate::Row;

/// A window that fired, with its rows.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub struct Firing {
    /// W of what comes of it.
    pub watermark: i64,
    /// The event time of what comes of it.
    pub time: i64,
    /// The first instant after it.
    pub end: i64,
    /// The key in canonical bytes.
    pub key: Vec<u8>,
    /// Where it begins.
    pub start: i64,
    /// The number of the window's result.
    pub pane: u32,
    /// The rows, by number, in event-time order.
    pub rows: Vec<usize>,
}

/// What becomes of rows.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Outcome {
    /// In the order in which they fire.
    pub firings: Vec<Firing>,
    /// The rows that are late for every window.
    pub late: Vec<usize>,
}

/// Aligned windows that begin at multiples of `every`.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Aligned {
    /// [s, s + size) for each multiple s of `every`.
    Sliding {
        /// Their length.
        size: i64,
        /// Between two beginnings.
        every: i64,
    },
    /// [s, s + k step) for each multiple s of `size`.
    Cumulative {
        /// The length of the longest.
        size: i64,
        /// Between two ends.
        step: i64,
    },
}

impl Aligned {
    /// The windows that hold a time.
    pub fn of(&self, time: i64) -> Vec<(i64, i64)> {
        match *self {
            Self::Sliding { size, every } => {
                let newest = time.div_euclid(every) * every;
                let starts = (0..).map(|back| newest - back * every);
                starts
                    .take_while(|start| start + size > time)
                    .map(|start| (start, start + size))
                    .collect()
            }
            Self::Cumulative { size, step } => {
                let start = time.div_euclid(size) * size;
                let ends = (1..=size / step).map(|k| start + k * step);
                ends.filter(|&end| time < end).map(|end| (start, end)).collect()
            }
        }
    }

    /// What becomes of rows whose key is in the columns `key`.
    pub fn evaluate(&self, rows: &[Row], key: &[usize], allowed: i64) -> Outcome {
        let mut outcome = Outcome::default();
        let mut windows: BTreeMap<(i64, i64, Vec<u8>), Vec<usize>> = BTreeMap::new();
        for (number, row) in rows.iter().enumerate() {
            let all = self.of(row.time);
            let open: Vec<_> = all.iter().filter(|(_, end)| end + allowed > row.watermark).collect();
            if open.is_empty() && !all.is_empty() {
                outcome.late.push(number);
            }
            for &&(start, end) in &open {
                let held = windows.entry((start, end, encoded_key(row, key))).or_default();
                held.push(number);
            }
        }
        for ((start, end, key), mut numbers) in windows {
            numbers.sort_by_key(|&number| rows[number].order());
            let firing = |watermark: i64, pane: u32, rows: Vec<usize>| Firing {
                watermark,
                time: end - 1,
                end,
                key: key.clone(),
                start,
                pane,
                rows,
            };
            let on_time = |number: &usize| rows[*number].watermark < end;
            let first: Vec<usize> = numbers.iter().copied().filter(on_time).collect();
            let is_corrected = first.len() < numbers.len();
            let has_result = !first.is_empty();
            if has_result {
                outcome.firings.push(firing(end - 1, 0, first));
            }
            if is_corrected {
                let pane = u32::from(has_result);
                outcome.firings.push(firing(end + allowed - 1, pane, numbers));
            }
        }
        outcome.firings.sort();
        outcome
    }
}

/// A row's key in canonical bytes.
pub fn encoded_key(row: &Row, columns: &[usize]) -> Vec<u8> {
    let mut bytes = Vec::new();
    for &column in columns {
        key::encode(row.values[column].as_value(), &mut bytes);
    }
    bytes
}
