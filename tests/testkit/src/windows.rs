//! The windows oracle: which rows each result holds, by the table of lateness.
//!
//! A row r at time t lies in each window [s, e) with s <= t < e. It is late for the window when e + allowed <= W(r). The
//! result holds the rows with W(r) < e. Where rows that are neither late nor on time came, one correction holds all that
//! are not late. A row that is late for all its windows is late.

use std::collections::BTreeMap;

use wasmill_core::key;

use crate::Row;

/// Tumbling windows where `size` is `every`, cumulative ones where that is said, else sliding ones.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Windows {
    /// Their length in microseconds; with a time zone, in days.
    pub size: i64,
    /// The distance between their beginnings, likewise; between their ends where they are cumulative.
    pub every: i64,
    /// Where they begin: at multiples of `every` (cumulative ones: of `size`) from midnight of 1970-01-01, plus this many microseconds.
    pub offset: i64,
    /// With a time zone windows are whole civil days, and there is no offset.
    pub time_zone: Option<&'static str>,
    /// How late rows may come.
    pub allowed: i64,
    /// Whether windows begin together each `size` and end `every` after one another.
    pub cumulative: bool,
}

/// A result, or a correction.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub struct WindowResult {
    /// W of the result: one before the time at which it is due.
    pub watermark: i64,
    /// Where the window ends.
    pub end: i64,
    /// The key in canonical bytes.
    pub key: Vec<u8>,
    /// Where the window begins.
    pub start: i64,
    /// Whether it corrects an earlier result.
    pub correction: bool,
    /// The rows, by number, in event-time order.
    pub rows: Vec<usize>,
}

/// What becomes of rows.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Outcome {
    /// By (watermark, end, key).
    pub results: Vec<WindowResult>,
    /// The rows that are late for all their windows.
    pub late: Vec<usize>,
}

impl Windows {
    /// The windows that hold `time`. Those beyond the ends of time are cut off there.
    pub fn of(&self, time: i64) -> Vec<(i64, i64)> {
        match self.time_zone {
            None => self.of_instant(time),
            Some(zone) => self.of_day(time, zone),
        }
    }

    fn of_instant(&self, time: i64) -> Vec<(i64, i64)> {
        let clamp = |t: i128| t.clamp(i64::MIN.into(), i64::MAX.into()) as i64;
        let (time, size, every) = (i128::from(time), i128::from(self.size), i128::from(self.every));
        if self.cumulative {
            let since = (time - i128::from(self.offset)).rem_euclid(size);
            let start = time - since;
            let ends = (1..=size / every)
                .map(|steps| steps * every)
                .filter(|&length| length > since);
            let mut windows: Vec<_> = ends.map(|length| (clamp(start), clamp(start + length))).collect();
            windows.dedup();
            return windows;
        }
        let mut start = (time - i128::from(self.offset)).div_euclid(every) * every + i128::from(self.offset);
        let mut windows = Vec::new();
        while start + size > time {
            windows.push((clamp(start), clamp(start + size)));
            start -= every;
        }
        windows
    }

    fn of_day(&self, time: i64, zone: &str) -> Vec<(i64, i64)> {
        let zone = jiff::tz::TimeZone::get(zone).expect("a known zone");
        let instant = jiff::Timestamp::from_microsecond(time).expect("a time that jiff knows");
        let day = instant.to_zoned(zone.clone()).date();
        let epoch = jiff::civil::date(1970, 1, 1);
        let number = i64::from((day - epoch).get_days());
        let midnight = |day: i64| {
            let date = epoch.checked_add(jiff::Span::new().days(day)).expect("a date");
            date.to_zoned(zone.clone())
                .expect("a midnight")
                .timestamp()
                .as_microsecond()
        };
        if self.cumulative {
            let begins = (number - self.size - 1).div_euclid(self.size) * self.size;
            let begins = (begins..=number + 1).step_by(self.size as usize);
            let all =
                begins.flat_map(|start| (1..=self.size / self.every).map(move |k| (start, start + k * self.every)));
            return all
                .map(|(start, end)| (midnight(start), midnight(end)))
                .filter(|&(start, end)| start <= time && time < end)
                .collect();
        }
        // A day that the clock sets back into belongs to the window before it, so neighbours are looked at too.
        let first = (number - self.size - 1).div_euclid(self.every) * self.every;
        (first..=number + 1)
            .step_by(self.every as usize)
            .map(|start| (midnight(start), midnight(start + self.size)))
            .filter(|&(start, end)| start <= time && time < end)
            .collect()
    }

    /// What becomes of rows whose key is in the columns `key`.
    pub fn evaluate(&self, rows: &[Row], key: &[usize]) -> Outcome {
        let mut held: BTreeMap<(i64, i64, Vec<u8>), Vec<usize>> = BTreeMap::new();
        let mut outcome = Outcome::default();
        for (number, row) in rows.iter().enumerate() {
            let windows = self.of(row.time);
            let mut encoded = Vec::new();
            for &column in key {
                key::encode(row.values[column].as_value(), &mut encoded);
            }
            let mut admitted = false;
            for &(start, end) in &windows {
                if end.saturating_add(self.allowed) > row.watermark {
                    admitted = true;
                    held.entry((end, start, encoded.clone())).or_default().push(number);
                }
            }
            if !admitted && !windows.is_empty() {
                outcome.late.push(number);
            }
        }
        for ((end, start, key), mut numbers) in held {
            numbers.sort_by_key(|&number| rows[number].order());
            let result = |correction: bool, due: i64, rows: Vec<usize>| WindowResult {
                watermark: due.saturating_sub(1),
                end,
                key: key.clone(),
                start,
                correction,
                rows,
            };
            let on_time: Vec<usize> = numbers
                .iter()
                .copied()
                .filter(|&number| rows[number].watermark < end)
                .collect();
            if on_time.len() < numbers.len() {
                let due = end.saturating_add(self.allowed);
                outcome.results.push(result(true, due, numbers));
            }
            if !on_time.is_empty() {
                outcome.results.push(result(false, end, on_time));
            }
        }
        outcome.results.sort();
        outcome
    }
}
