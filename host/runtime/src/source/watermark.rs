//! The watermark of one partition, from the event times of its rows.

use wasmill_core::plan::WatermarkSpec;
use wasmill_core::time::{Micros, Timestamp};

/// The greatest W of a row. [`Timestamp::MAX`] means that no row comes any more.
const LAST: Timestamp = Timestamp(i64::MAX - 1);

/// W of a partition. It never falls.
#[derive(Clone, Debug)]
pub(crate) struct PartitionWatermark {
    delay: Micros,
    max_ahead: Option<Micros>,
    /// The greatest event time of a valid row so far.
    greatest: Option<Timestamp>,
    /// Where the partition joined.
    floor: Timestamp,
}

/// A row lies further after the greatest event time so far than is allowed.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Ahead {
    pub(crate) greatest: Timestamp,
    pub(crate) max_ahead: Micros,
}

impl PartitionWatermark {
    /// A partition that joins when the merged watermark is `floor`.
    pub(crate) fn new(spec: &WatermarkSpec, floor: Timestamp) -> Self {
        Self {
            delay: spec.delay,
            max_ahead: spec.max_ahead,
            greatest: None,
            floor,
        }
    }

    /// W just before the next row.
    pub(crate) fn current(&self) -> Timestamp {
        let reached = self
            .greatest
            .map_or(self.floor, |greatest| greatest.before(self.delay).max(self.floor));
        reached.min(LAST)
    }

    /// Whether a row of this event time moves the watermark, or is too far ahead.
    #[inline]
    pub(crate) fn rises_with(&self, time: Timestamp) -> bool {
        self.greatest.is_none_or(|greatest| time > greatest)
    }

    /// Takes a row's event time into account.
    ///
    /// # Errors
    /// The row is invalid, and W stays.
    pub(crate) fn observe(&mut self, time: Timestamp) -> Result<(), Ahead> {
        if let (Some(greatest), Some(max_ahead)) = (self.greatest, self.max_ahead)
            && time > greatest.after(max_ahead)
        {
            return Err(Ahead { greatest, max_ahead });
        }
        self.greatest = Some(self.greatest.map_or(time, |greatest| greatest.max(time)));
        Ok(())
    }

    /// The partition was idle while the merged watermark rose to `floor`.
    pub(crate) fn resume(&mut self, floor: Timestamp) {
        self.floor = self.floor.max(floor);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn spec(delay: u64, max_ahead: Option<u64>) -> WatermarkSpec {
        WatermarkSpec {
            delay: Micros(delay),
            max_ahead: max_ahead.map(Micros),
            align: None,
            idle_after: None,
        }
    }

    #[test]
    fn w_is_the_greatest_time_before_the_row_less_the_delay() {
        let mut watermark = PartitionWatermark::new(&spec(10, None), Timestamp::MIN);
        assert_eq!(watermark.current(), Timestamp::MIN);
        for (time, after) in [(100, 90), (50, 90), (101, 91)] {
            watermark.observe(Timestamp(time)).expect("no bound");
            assert_eq!(watermark.current(), Timestamp(after));
        }
    }

    #[test]
    fn a_row_from_the_year_2099_is_invalid_and_moves_nothing() {
        let mut watermark = PartitionWatermark::new(&spec(0, Some(1000)), Timestamp::MIN);
        watermark.observe(Timestamp(5)).expect("the first row sets the time");
        assert!(watermark.observe(Timestamp(1006)).is_err());
        assert_eq!(watermark.current(), Timestamp(5));
        watermark.observe(Timestamp(1005)).expect("just within the bound");
    }

    #[test]
    fn a_row_at_the_end_of_time_does_not_end_the_input() {
        let mut watermark = PartitionWatermark::new(&spec(0, None), Timestamp::MIN);
        watermark.observe(Timestamp::MAX).expect("no bound");
        assert_eq!(watermark.current(), Timestamp(i64::MAX - 1));
    }

    #[test]
    fn a_partition_that_resumes_starts_at_its_floor() {
        let mut watermark = PartitionWatermark::new(&spec(0, None), Timestamp::MIN);
        watermark.observe(Timestamp(5)).expect("no bound");
        watermark.resume(Timestamp(50));
        assert_eq!(watermark.current(), Timestamp(50));
        watermark.observe(Timestamp(20)).expect("no bound");
        assert_eq!(watermark.current(), Timestamp(50));
    }
}
