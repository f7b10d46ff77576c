//! Says how late a departure is, in words: adds the column `class`.
//!
//! | `dep_delay`, in minutes | `class` |
//! |---|---|
//! | null | `cancelled` |
//! | below 0 | `early` |
//! | 0 up to the threshold | `on-time` |
//! | the threshold and above | `delayed` |

use wasmill_sdk::prelude::*;

/// What it reads of a departure.
#[derive(InputRow)]
pub struct Departure {
    dep_delay: Option<i64>,
}

/// What it adds.
#[derive(OutputRow)]
pub struct Classified {
    class: &'static str,
}

/// The operator.
#[transform]
pub struct DelayClass {
    /// From how many minutes on a departure is `delayed`; at least 0. Default: 15, as in the statistics of airlines.
    #[serde(default = "fifteen_minutes")]
    threshold: i64,
}

const fn fifteen_minutes() -> i64 {
    15
}

impl Transform for DelayClass {
    type Input<'a> = Departure;
    type Output = Add<Classified>;

    fn check(&self) -> Result<(), Failure> {
        if self.threshold < 0 {
            return Err(Failure::new(format!(
                "`threshold` is {}: it cannot be negative",
                self.threshold
            )));
        }
        Ok(())
    }

    fn row(&self, departure: Departure, out: &mut Self::Output) -> Result<(), Reject> {
        let class = match departure.dep_delay {
            None => "cancelled",
            Some(..0) => "early",
            Some(minutes) if minutes < self.threshold => "on-time",
            Some(_) => "delayed",
        };
        out.emit(Classified { class });
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use wasmill_sdk::testing::{Table, TransformTest};

    use super::*;

    fn departures(delays: &[Option<i64>]) -> Table {
        let carriers = delays.iter().map(|_| "UA");
        Table::new()
            .with("carrier", carriers)
            .with("dep_delay", delays.iter().copied())
    }

    fn check(config: &str, delays: &[Option<i64>], classes: &[&str]) {
        let input = departures(delays);
        let mut operator = TransformTest::<DelayClass>::open(config, &input).unwrap();
        operator.check_cuts(&input).unwrap();
        let output = operator.process(&input).unwrap();
        assert_eq!(output.port("out"), &input.with("class", classes.iter().copied()));
        assert_eq!(output.rejects, []);
    }

    fn check_failure(config: &str, input: &Table, message: &str) {
        let failure = TransformTest::<DelayClass>::open(config, input).unwrap_err();
        assert_eq!(failure.to_string(), message);
    }

    #[test]
    fn classes_meet_at_zero_and_at_the_threshold() {
        check(
            r#"{"threshold":30}"#,
            &[
                None,
                Some(-1),
                Some(0),
                Some(29),
                Some(30),
                Some(i64::MAX),
                Some(i64::MIN),
            ],
            &[
                "cancelled",
                "early",
                "on-time",
                "on-time",
                "delayed",
                "delayed",
                "early",
            ],
        );
    }

    #[test]
    fn the_threshold_is_fifteen_minutes_unless_given() {
        check("{}", &[Some(14), Some(15)], &["on-time", "delayed"]);
    }

    #[test]
    fn a_threshold_of_zero_leaves_no_one_on_time() {
        check(r#"{"threshold":0}"#, &[Some(-5), Some(0)], &["early", "delayed"]);
    }

    #[test]
    fn a_negative_threshold_is_refused() {
        check_failure(
            r#"{"threshold":-1}"#,
            &departures(&[]),
            "`threshold` is -1: it cannot be negative",
        );
    }

    #[test]
    fn an_unknown_option_is_refused() {
        check_failure(
            r#"{"treshold":30}"#,
            &departures(&[]),
            "configuration: unknown field `treshold`, expected `threshold`",
        );
    }

    #[test]
    fn a_delay_of_another_type_is_refused() {
        check_failure(
            "{}",
            &Table::new().with("dep_delay", [Some("2")]),
            "column `dep_delay` of input `input` is utf8, and the operator reads it as int64. Change its type in the \
             topology, or read it as `Option<&str>` in the operator",
        );
    }
}
