//! The oracle of counted rows: a key's rows in event-time order, one list, cut by numbers.
//!
//! A row r at time t is late when t < W(r). Of the others each window holds `size` rows, and a window begins each `every`
//! rows. Its result has the time of its last row. A window without all its rows has none.

use std::collections::BTreeMap;

use crate::Row;
use crate::contents::{Firing, Outcome, encoded_key};

/// Windows of counted rows.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Counts {
    /// Rows of a window; `None`: all so far.
    pub size: Option<usize>,
    /// Rows between two windows.
    pub every: usize,
}

impl Counts {
    /// What becomes of rows whose key is in the columns `key`. A firing's last row gives its place.
    pub fn evaluate(&self, rows: &[Row], key: &[usize]) -> Outcome {
        let mut outcome = Outcome::default();
        let mut lists: BTreeMap<Vec<u8>, Vec<usize>> = BTreeMap::new();
        for (number, row) in rows.iter().enumerate() {
            if row.time < row.watermark {
                outcome.late.push(number);
            } else {
                lists.entry(encoded_key(row, key)).or_default().push(number);
            }
        }
        for (key, mut list) in lists {
            list.sort_by_key(|&number| rows[number].order());
            let mut from = 0;
            for pane in 0.. {
                let to = match self.size {
                    Some(size) => from + size,
                    None => (pane + 1) * self.every,
                };
                if to > list.len() {
                    break;
                }
                let held = list[from..to].to_vec();
                let time = rows[held[held.len() - 1]].time;
                outcome.firings.push(Firing {
                    watermark: time,
                    time,
                    end: time.saturating_add(1),
                    key: key.clone(),
                    start: rows[held[0]].time,
                    pane: if self.size.is_none() { pane as u32 } else { 0 },
                    rows: held,
                });
                if self.size.is_some() {
                    from += self.every;
                }
            }
        }
        let last = |firing: &Firing| rows[firing.rows[firing.rows.len() - 1]].order();
        outcome.firings.sort_by_key(last);
        outcome
    }
}
