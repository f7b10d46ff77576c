//! Scores how severe the delays of a group are: the mean number of minutes by which its late departures were beyond a
//! threshold. A group without late departures has severity 0.

use wasmill_sdk::prelude::*;

/// What it reads of a departure.
#[derive(InputRow)]
pub struct Departure {
    dep_delay: Option<i64>,
}

/// What it keeps of a group. Both only grow, and saturate: any order and grouping of the departures gives the same.
#[derive(Accumulator, Default)]
pub struct Delays {
    /// Departures beyond the threshold.
    delayed: i64,
    /// By how many minutes, together.
    minutes: i64,
}

/// What it says of a group.
#[derive(OutputRow)]
pub struct Score {
    severity: f64,
}

/// The aggregate.
#[aggregate(commutative, version = 1)]
pub struct DelayScore {
    /// Minutes up to this do not count; at least 0. Default: 15, as in the statistics of airlines.
    #[serde(default = "fifteen_minutes")]
    threshold: i64,
}

const fn fifteen_minutes() -> i64 {
    15
}

impl Aggregate for DelayScore {
    type Input<'a> = Departure;
    type Accumulator = Delays;
    type Output = Score;

    fn check(&self) -> Result<(), Failure> {
        if self.threshold < 0 {
            return Err(Failure::new(format!(
                "`threshold` is {}: it cannot be negative",
                self.threshold
            )));
        }
        Ok(())
    }

    fn accumulate(&self, delays: &mut Delays, departure: Departure) -> Result<(), Reject> {
        if let Some(minutes) = departure.dep_delay
            && minutes > self.threshold
        {
            delays.delayed = delays.delayed.saturating_add(1);
            delays.minutes = delays.minutes.saturating_add(minutes - self.threshold);
        }
        Ok(())
    }

    fn merge(&self, delays: &mut Delays, later: Delays) {
        delays.delayed = delays.delayed.saturating_add(later.delayed);
        delays.minutes = delays.minutes.saturating_add(later.minutes);
    }

    #[expect(clippy::cast_precision_loss, reason = "a mean of minutes needs no more than 53 bits")]
    fn finish(&self, delays: &Delays, _group: &Group) -> Score {
        let severity = if delays.delayed == 0 {
            0.0
        } else {
            delays.minutes as f64 / delays.delayed as f64
        };
        Score { severity }
    }
}

#[cfg(test)]
mod tests {
    use wasmill_sdk::testing::{AggregateTest, Table};

    use super::*;

    fn check(delays: &[Option<i64>], groups: &[u32], severities: &[f64]) {
        let input = Table::new().with("dep_delay", delays.iter().copied());
        let mut score = AggregateTest::<DelayScore>::open(r#"{"threshold":30}"#, &input).unwrap();
        let expect = Table::new().with("severity", severities.iter().copied());
        assert_eq!(score.aggregate(&input, groups).unwrap(), expect);
    }

    #[test]
    fn only_minutes_beyond_the_threshold_count() {
        check(&[Some(30), Some(31), Some(50), None, Some(-5)], &[0; 5], &[10.5]);
    }

    #[test]
    fn a_group_without_late_departures_has_severity_zero() {
        check(&[Some(1), None, Some(90)], &[0, 0, 1], &[0.0, 60.0]);
    }

    #[test]
    fn a_sum_that_is_too_large_saturates() {
        check(&[Some(i64::MAX), Some(i64::MAX)], &[0, 0], &[2.0_f64.powi(62)]);
    }

    #[test]
    fn a_negative_threshold_is_refused() {
        let input = Table::new().with("dep_delay", [Some(1)]);
        let failure = AggregateTest::<DelayScore>::open(r#"{"threshold":-1}"#, &input).unwrap_err();
        assert_eq!(failure.to_string(), "`threshold` is -1: it cannot be negative");
    }
}
