//! The sessions oracle: which rows are together, by their distance.
//!
//! A row r at time t is late when t + allowed < W(r). Of the rows of a key that are not late, those less than the gap
//! apart are in one session, and so is whatever is in a session with one of them. A session has one result, when the
//! watermark reaches its last row's time + gap + allowed.

use crate::Row;
use crate::contents::{Firing, Outcome, encoded_key};

/// Session windows.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Sessions {
    /// Rows less than this apart are together. `None`: all rows of a key are, none is late, and the result comes when
    /// the input has ended.
    pub gap: Option<i64>,
    /// How late rows may come.
    pub allowed: i64,
}

impl Sessions {
    /// What becomes of rows whose key is in the columns `key`.
    pub fn evaluate(&self, rows: &[Row], key: &[usize]) -> Outcome {
        let is_late = |row: &Row| self.gap.is_some() && row.time.saturating_add(self.allowed) < row.watermark;
        let mut outcome = Outcome::default();
        let mut groups: Vec<Vec<usize>> = Vec::new();
        for (number, row) in rows.iter().enumerate() {
            if is_late(row) {
                outcome.late.push(number);
            } else {
                groups.push(vec![number]);
            }
        }
        while let Some((a, b)) = self.two_to_join(rows, &groups, key) {
            let joined = groups.swap_remove(b);
            groups[a].extend(joined);
        }
        for mut numbers in groups {
            numbers.sort_by_key(|&number| rows[number].order());
            let (first, last) = (numbers[0], numbers[numbers.len() - 1]);
            let end = rows[last].time.saturating_add(self.gap.unwrap_or(1));
            let due = if self.gap.is_some() {
                end.saturating_add(self.allowed)
            } else {
                end
            };
            outcome.firings.push(Firing {
                watermark: due.saturating_sub(1),
                time: end.saturating_sub(1),
                end,
                key: encoded_key(&rows[first], key),
                start: rows[first].time,
                pane: 0,
                rows: numbers,
            });
        }
        outcome.firings.sort();
        outcome
    }

    /// Two groups of one key with rows that are together; the second has the greater number.
    fn two_to_join(&self, rows: &[Row], groups: &[Vec<usize>], key: &[usize]) -> Option<(usize, usize)> {
        let near = |a: usize, b: usize| {
            let distance = i128::from(rows[a].time) - i128::from(rows[b].time);
            encoded_key(&rows[a], key) == encoded_key(&rows[b], key)
                && self.gap.is_none_or(|gap| distance.abs() < i128::from(gap))
        };
        (0..groups.len()).find_map(|a| {
            let joins = |&b: &usize| groups[a].iter().any(|&x| groups[b].iter().any(|&y| near(x, y)));
            (a + 1..groups.len()).find(joins).map(|b| (a, b))
        })
    }
}
