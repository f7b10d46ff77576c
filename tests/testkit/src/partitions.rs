//! Partitions of a source as event time sees them: rows in sequence, each with W just before it, and the merged M.

use wasmill_core::column::Scalar;

use crate::Row;

/// A partition: event times with values in the order in which they are read.
#[derive(Clone, Debug, PartialEq)]
pub struct Partition {
    /// Event times and values.
    pub rows: Vec<(i64, Vec<Scalar>)>,
    /// W is the greatest event time so far less this.
    pub delay: u64,
}

/// What a reader of all partitions meets in turn.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Event {
    /// A row, by its number.
    Row(usize),
    /// M rose to this. No row that comes after has a lower watermark.
    Watermark(i64),
}

/// Reads partitions. `next(n)` chooses which of the n unfinished ones gives its next row. All rows come with their
/// events; the last event is the end of the input.
pub fn read(partitions: &[Partition], mut next: impl FnMut(usize) -> usize) -> (Vec<Row>, Vec<Event>) {
    let (mut rows, mut events) = (Vec::new(), Vec::new());
    let mut read = vec![0; partitions.len()];
    let mut own = vec![i64::MIN; partitions.len()];
    let mut merged = i64::MIN;
    loop {
        for (partition, source) in partitions.iter().enumerate() {
            if read[partition] == source.rows.len() {
                own[partition] = i64::MAX;
            }
        }
        let least = own.iter().copied().min().unwrap_or(i64::MAX);
        if least > merged {
            merged = least;
            events.push(Event::Watermark(merged));
        }
        let open: Vec<usize> = (0..partitions.len())
            .filter(|&p| read[p] < partitions[p].rows.len())
            .collect();
        if open.is_empty() {
            return (rows, events);
        }
        let partition = open[next(open.len())];
        let (time, values) = &partitions[partition].rows[read[partition]];
        events.push(Event::Row(rows.len()));
        rows.push(Row {
            time: *time,
            watermark: own[partition],
            partition,
            position: read[partition] as u64,
            values: values.clone(),
        });
        read[partition] += 1;
        let after = time.saturating_sub_unsigned(partitions[partition].delay);
        own[partition] = own[partition].max(after);
    }
}

/// Reads partitions of which some are idle at times, as [`read`] does. `idles(p)` says before each row whether partition
/// p counts for M. One that gives a row counts again: from then on its W is not below what M is then.
pub fn read_idling(
    partitions: &[Partition],
    mut next: impl FnMut(usize) -> usize,
    mut idles: impl FnMut(usize) -> bool,
) -> (Vec<Row>, Vec<Event>) {
    let (mut rows, mut events) = (Vec::new(), Vec::new());
    let mut read = vec![0; partitions.len()];
    let mut own = vec![i64::MIN; partitions.len()];
    let mut merged = i64::MIN;
    loop {
        let open: Vec<usize> = (0..partitions.len())
            .filter(|&p| read[p] < partitions[p].rows.len())
            .collect();
        let counted: Vec<i64> = open.iter().filter(|&&p| !idles(p)).map(|&p| own[p]).collect();
        let least = match counted.iter().min() {
            Some(&least) => least,
            // Where all are idle, nothing moves M.
            None if !open.is_empty() => merged,
            None => i64::MAX,
        };
        if least > merged {
            merged = least;
            events.push(Event::Watermark(merged));
        }
        if open.is_empty() {
            return (rows, events);
        }
        let partition = open[next(open.len())];
        own[partition] = own[partition].max(merged);
        let (time, values) = &partitions[partition].rows[read[partition]];
        events.push(Event::Row(rows.len()));
        rows.push(Row {
            time: *time,
            watermark: own[partition],
            partition,
            position: read[partition] as u64,
            values: values.clone(),
        });
        read[partition] += 1;
        let after = time.saturating_sub_unsigned(partitions[partition].delay);
        own[partition] = own[partition].max(after);
    }
}
