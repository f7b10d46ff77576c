//! The watermark of one partition, by the strategy of its source.

use wasmill_core::plan::{WatermarkSpec, WatermarkStrategy};
use wasmill_core::time::{Micros, Timestamp};

/// The greatest W of a row. [`Timestamp::MAX`] means that no row comes any more.
const LAST: Timestamp = Timestamp(i64::MAX - 1);

/// W of a partition. It never falls.
#[derive(Clone, Debug)]
pub(crate) struct PartitionWatermark {
    strategy: WatermarkStrategy,
    max_ahead: Option<Micros>,
    /// The greatest event time of a valid row so far.
    greatest: Option<Timestamp>,
    /// W, and where the partition joined before anything moved it.
    reached: Timestamp,
}

/// A time lies further after the greatest event time so far than is allowed.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Ahead {
    pub(crate) told: Told,
    pub(crate) time: Timestamp,
    pub(crate) greatest: Timestamp,
    pub(crate) max_ahead: Micros,
}

/// What of a row says a time.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Told {
    EventTime,
    /// The column that the watermark follows.
    Mark,
}

impl PartitionWatermark {
    /// A partition that joins when the merged watermark is `floor`.
    pub(crate) fn new(spec: &WatermarkSpec, floor: Timestamp) -> Self {
        Self {
            strategy: spec.strategy,
            max_ahead: spec.max_ahead,
            greatest: None,
            reached: floor,
        }
    }

    /// W just before the next row.
    pub(crate) fn current(&self) -> Timestamp {
        self.reached.min(LAST)
    }

    /// Whether a row of this event time moves the watermark, or is too far ahead.
    #[inline]
    pub(crate) fn rises_with(&self, time: Timestamp) -> bool {
        self.greatest.is_none_or(|greatest| time > greatest)
    }

    /// Takes a row into account: its event time, and its value in the column that the watermark follows.
    ///
    /// # Errors
    /// One of them is too far ahead. The row is invalid, and W stays.
    #[inline]
    pub(crate) fn observe(&mut self, time: Timestamp, mark: Option<Timestamp>) -> Result<(), Ahead> {
        self.within_bound(self.greatest, time, Told::EventTime)?;
        let greatest = self.greatest.map_or(time, |greatest| greatest.max(time));
        if let Some(mark) = mark {
            self.within_bound(Some(greatest), mark, Told::Mark)?;
        }
        self.greatest = Some(greatest);
        match (self.strategy, mark) {
            (WatermarkStrategy::BoundedOutOfOrderness { delay }, _) => self.rise(greatest.before(delay)),
            (WatermarkStrategy::Column(_), Some(mark)) => self.rise(mark),
            (WatermarkStrategy::Column(_) | WatermarkStrategy::Clock { .. }, _) => {}
        }
        Ok(())
    }

    /// The clock has come to `now`: moves a watermark that follows it.
    pub(crate) fn clock(&mut self, now: Timestamp) {
        if let WatermarkStrategy::Clock { delay } = self.strategy {
            self.rise(now.before(delay));
        }
    }

    /// The partition was idle while the merged watermark rose to `floor`.
    pub(crate) fn resume(&mut self, floor: Timestamp) {
        self.rise(floor);
    }

    fn within_bound(&self, greatest: Option<Timestamp>, time: Timestamp, told: Told) -> Result<(), Ahead> {
        match (greatest, self.max_ahead) {
            (Some(greatest), Some(max_ahead)) if time > greatest.after(max_ahead) => Err(Ahead {
                told,
                time,
                greatest,
                max_ahead,
            }),
            _ => Ok(()),
        }
    }

    fn rise(&mut self, to: Timestamp) {
        self.reached = self.reached.max(to);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn watermark(strategy: WatermarkStrategy, max_ahead: Option<u64>) -> PartitionWatermark {
        let spec = WatermarkSpec {
            strategy,
            max_ahead: max_ahead.map(Micros),
            align: None,
            idle_after: None,
        };
        PartitionWatermark::new(&spec, Timestamp::MIN)
    }

    fn bounded(delay: u64, max_ahead: Option<u64>) -> PartitionWatermark {
        let strategy = WatermarkStrategy::BoundedOutOfOrderness { delay: Micros(delay) };
        watermark(strategy, max_ahead)
    }

    #[test]
    fn w_is_the_greatest_time_before_the_row_less_the_delay() {
        let mut watermark = bounded(10, None);
        assert_eq!(watermark.current(), Timestamp::MIN);
        for (time, after) in [(100, 90), (50, 90), (101, 91)] {
            watermark.observe(Timestamp(time), None).expect("no bound");
            assert_eq!(watermark.current(), Timestamp(after));
        }
    }

    #[test]
    fn a_row_from_the_year_2099_is_invalid_and_moves_nothing() {
        let mut watermark = bounded(0, Some(1000));
        watermark
            .observe(Timestamp(5), None)
            .expect("the first row sets the time");
        assert!(watermark.observe(Timestamp(1006), None).is_err());
        assert_eq!(watermark.current(), Timestamp(5));
        watermark.observe(Timestamp(1005), None).expect("just within the bound");
    }

    #[test]
    fn a_row_at_the_end_of_time_does_not_end_the_input() {
        let mut watermark = bounded(0, None);
        watermark.observe(Timestamp::MAX, None).expect("no bound");
        assert_eq!(watermark.current(), Timestamp(i64::MAX - 1));
    }

    #[test]
    fn a_partition_that_resumes_starts_at_its_floor() {
        let mut watermark = bounded(0, None);
        watermark.observe(Timestamp(5), None).expect("no bound");
        watermark.resume(Timestamp(50));
        assert_eq!(watermark.current(), Timestamp(50));
        watermark.observe(Timestamp(20), None).expect("no bound");
        assert_eq!(watermark.current(), Timestamp(50));
    }

    #[test]
    fn a_watermark_by_column_rises_with_its_values_and_with_nothing_else() {
        let mut watermark = watermark(WatermarkStrategy::Column(1), Some(100));
        watermark
            .observe(Timestamp(40), None)
            .expect("the first row sets the time");
        watermark.clock(Timestamp(90));
        assert_eq!(watermark.current(), Timestamp::MIN, "no value yet");
        for (time, mark, after) in [(30, 20, 20), (60, 10, 20), (50, 45, 45)] {
            watermark
                .observe(Timestamp(time), Some(Timestamp(mark)))
                .expect("near enough");
            assert_eq!(watermark.current(), Timestamp(after));
        }
        assert!(watermark.observe(Timestamp(161), Some(Timestamp(46))).is_err());
        assert!(watermark.observe(Timestamp(60), Some(Timestamp(161))).is_err());
        assert_eq!(watermark.current(), Timestamp(45), "invalid rows move nothing");
    }

    #[test]
    fn a_watermark_by_the_clock_stays_its_delay_behind_and_never_falls() {
        let mut watermark = watermark(WatermarkStrategy::Clock { delay: Micros(10) }, None);
        for (now, after) in [(100, 90), (50, 90), (101, 91)] {
            watermark.clock(Timestamp(now));
            watermark.observe(Timestamp(500), None).expect("no bound");
            assert_eq!(watermark.current(), Timestamp(after));
        }
    }
}
