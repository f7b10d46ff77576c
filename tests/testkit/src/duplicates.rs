//! The oracle of deduplication: the rows of each key in event-time order, one after the other.

use std::collections::BTreeMap;

use wasmill_core::key;

use crate::Row;

/// The rows that are kept, by number, and the late ones. A row is late when t < W(r).
pub fn evaluate(rows: &[Row], key: &[usize], horizon: i64) -> (Vec<usize>, Vec<usize>) {
    let mut by_key: BTreeMap<Vec<u8>, Vec<usize>> = BTreeMap::new();
    let mut late = Vec::new();
    for (number, row) in rows.iter().enumerate() {
        if row.time < row.watermark {
            late.push(number);
            continue;
        }
        let mut encoded = Vec::new();
        for &column in key {
            key::encode(row.values[column].as_value(), &mut encoded);
        }
        by_key.entry(encoded).or_default().push(number);
    }
    let mut kept = Vec::new();
    for mut numbers in by_key.into_values() {
        numbers.sort_by_key(|&number| rows[number].order());
        let mut last: Option<i64> = None;
        for number in numbers {
            let time = rows[number].time;
            if last.is_none_or(|last| time - last >= horizon) {
                last = Some(time);
                kept.push(number);
            }
        }
    }
    (kept, late)
}
