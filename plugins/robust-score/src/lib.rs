//! Scores how far a value is from those before it, by the Hampel identifier: the distance from the median of the last
//! values, in units of their median deviation from it. Half of them may be arbitrarily wrong before either breaks down.
//!
//! F. R. Hampel, *The influence curve and its role in robust estimation*, Journal of the American Statistical Association
//! 69, 1974; L. Davies and U. Gather, *The identification of multiple outliers*, ibid. 88, 1993.

use std::collections::BTreeMap;

use wasmill_sdk::prelude::*;

/// The median deviation of normally distributed values times this estimates their standard deviation.
const NORMAL: f64 = 1.4826;

/// The greatest number of values that are kept.
const WINDOW_MAX: usize = 4_096;

/// Whose values they are.
#[derive(InputRow)]
pub struct Series<'a> {
    #[expect(dead_code, reason = "the key has it, and so have the outputs")]
    host: &'a str,
    metric: &'a str,
}

/// A value.
#[derive(InputRow)]
pub struct Reading {
    value: f64,
}

/// The last values of a series.
#[derive(State, Default)]
#[state(name = "recent")]
pub struct Recent {
    /// 8 bytes each, little-endian, the oldest first.
    values: Vec<u8>,
}

/// A value beside those before it.
#[derive(OutputRow)]
pub struct Scored<'a> {
    value: f64,
    median: Option<f64>,
    scale: Option<f64>,
    score: Option<f64>,
    outlier: Option<&'a str>,
}

/// The operator.
#[keyed]
pub struct RobustScore {
    /// How many values are kept. Default: 120.
    #[serde(default = "two_minutes")]
    window: usize,
    /// With fewer values kept there is no score. Default: 30.
    #[serde(default = "half_a_minute")]
    minimum: usize,
    /// A score beyond it, in either direction, is an outlier. Default: 6.
    #[serde(default = "six")]
    threshold: f64,
    /// For a metric the least scale.
    #[serde(default)]
    floors: BTreeMap<String, f64>,
    /// The least scale of other metrics. Default: 1.
    #[serde(default = "one")]
    floor: f64,
}

const fn two_minutes() -> usize {
    120
}

const fn half_a_minute() -> usize {
    30
}

const fn six() -> f64 {
    6.0
}

const fn one() -> f64 {
    1.0
}

impl RobustScore {
    fn score<'a>(&self, metric: &'a str, value: f64, before: &[f64]) -> Scored<'a> {
        if before.len() < self.minimum {
            return Scored {
                value,
                median: None,
                scale: None,
                score: None,
                outlier: None,
            };
        }
        let middle = median(before.to_vec());
        let spread = NORMAL * median(before.iter().map(|other| (other - middle).abs()).collect());
        let scale = spread.max(self.floors.get(metric).copied().unwrap_or(self.floor));
        let distance = (value - middle) / scale;
        Scored {
            value,
            median: Some(middle),
            scale: Some(scale),
            score: Some((distance * 100.0 + 0.5).floor() / 100.0),
            outlier: (distance.abs() > self.threshold).then_some(metric),
        }
    }
}

/// The middle of finite values, of which there is at least one.
#[expect(
    clippy::manual_midpoint,
    reason = "a sum that overflows is to be infinite, as in the expected results"
)]
fn median(mut values: Vec<f64>) -> f64 {
    values.sort_by(|a, b| a.partial_cmp(b).expect("finite values have an order"));
    let middle = values.len() / 2;
    if values.len() % 2 == 1 {
        values[middle]
    } else {
        (values[middle - 1] + values[middle]) / 2.0
    }
}

impl Keyed for RobustScore {
    type Key<'a> = Series<'a>;
    type Input<'a> = Reading;
    type State = Recent;
    type Timer = NoTimers;
    type Output = WithKey<Scored<'static>>;

    fn check(&self) -> Result<(), Failure> {
        if !(1..=WINDOW_MAX).contains(&self.window) {
            let message = format!("`window` is {}: it must be 1 to {WINDOW_MAX} values", self.window);
            return Err(Failure::new(message));
        }
        if !(1..=self.window).contains(&self.minimum) {
            let message = format!(
                "`minimum` is {}: it must be 1 to `window`, {}",
                self.minimum, self.window
            );
            return Err(Failure::new(message));
        }
        let positive = |name: &str, value: f64| {
            if value > 0.0 && value.is_finite() {
                Ok(())
            } else {
                Err(Failure::new(format!(
                    "`{name}` is {value}: it must be above 0 and finite"
                )))
            }
        };
        positive("threshold", self.threshold)?;
        positive("floor", self.floor)?;
        self.floors
            .iter()
            .try_for_each(|(metric, floor)| positive(&format!("floors.{metric}"), *floor))
    }

    fn row(
        &self,
        series: &Series<'_>,
        recent: &mut Recent,
        reading: Reading,
        cx: &mut Context<Self>,
    ) -> Result<(), Reject> {
        if !reading.value.is_finite() {
            return Err(Reject::new("value is not finite"));
        }
        let (before, _) = recent.values.as_chunks::<8>();
        let before: Vec<f64> = before.iter().map(|bytes| f64::from_le_bytes(*bytes)).collect();
        cx.emit(self.score(series.metric, reading.value, &before));
        recent.values.extend(reading.value.to_le_bytes());
        let most = self.window * size_of::<f64>();
        let oldest = recent.values.len().saturating_sub(most);
        recent.values.drain(..oldest);
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use wasmill_sdk::testing::{KeyedTest, Table};

    use super::*;

    const KEY: [&str; 2] = ["host", "metric"];
    const CONFIG: &str = r#"{"floor":0.5,"floors":{"load":2.0},"minimum":3,"threshold":4.0,"window":4}"#;

    fn readings(metric: &str, values: &[f64]) -> Table {
        Table::new()
            .with("host", values.iter().map(|_| "h"))
            .with("metric", values.iter().map(|_| metric))
            .with("value", values.iter().copied())
            .with_event_times((1..).zip(values).map(|(second, _)| Timestamp::from_secs(second)))
    }

    fn scored(metric: &str, values: &[f64]) -> KeyedTest<RobustScore> {
        let rows = readings(metric, values);
        let mut test = KeyedTest::open(CONFIG, &KEY, &[&rows]).unwrap();
        test.push(&rows);
        test.watermark(Timestamp::from_secs(100)).unwrap();
        KeyedTest::<RobustScore>::check_cuts(CONFIG, &KEY, &[&rows]).unwrap();
        test
    }

    #[test]
    fn a_value_is_scored_against_those_before_it() {
        // Of 1, 2, 3 the median is 2, the median deviation 1; of 1, 2, 3, 10 they are 2.5 and (0.5 + 1.5) / 2 = 1.
        let values = [1.0, 2.0, 3.0, 10.0, 2.5];
        let mut test = scored("forks", &values);
        let expect = readings("forks", &values)
            .with("median", [None, None, None, Some(2.0), Some(2.5)])
            .with("scale", [None, None, None, Some(1.4826), Some(1.4826)])
            // 8 / 1.4826 = 5.3959...
            .with("score", [None, None, None, Some(5.4), Some(0.0)])
            .with("outlier", [None, None, None, Some("forks"), None]);
        assert_eq!(test.take("out"), expect);
    }

    #[test]
    fn a_calm_metric_has_its_floor() {
        let values = [1.0, 1.0, 1.0, -7.0];
        let mut test = scored("load", &values);
        let expect = readings("load", &values)
            .with("median", [None, None, None, Some(1.0)])
            .with("scale", [None, None, None, Some(2.0)])
            .with("score", [None, None, None, Some(-4.0)])
            // Four is not beyond four.
            .with("outlier", [None::<&str>; 4]);
        assert_eq!(test.take("out"), expect);
    }

    #[test]
    fn the_last_values_are_kept() {
        let test = scored("forks", &[1.0, 2.0, f64::NAN, 3.0, 4.0, 5.0]);
        let kept: Vec<u8> = [2.0_f64, 3.0, 4.0, 5.0]
            .iter()
            .flat_map(|value| value.to_le_bytes())
            .collect();
        let expect = Table::new()
            .with("host", ["h"])
            .with("metric", ["forks"])
            .with("values", [kept]);
        assert_eq!(test.table("recent"), expect);
        assert_eq!(
            test.rejects(),
            [(Timestamp::from_secs(3), "value is not finite".to_owned())]
        );
    }

    fn check_failure(config: &str, key: &[&str], message: &str) {
        let failure = KeyedTest::<RobustScore>::open(config, key, &[&readings("x", &[])]).unwrap_err();
        assert_eq!(failure.to_string(), message);
    }

    #[test]
    fn numbers_out_of_bounds_are_refused() {
        check_failure(
            r#"{"window":4097}"#,
            &KEY,
            "`window` is 4097: it must be 1 to 4096 values",
        );
        check_failure(
            r#"{"window":20}"#,
            &KEY,
            "`minimum` is 30: it must be 1 to `window`, 20",
        );
        check_failure(
            r#"{"threshold":0}"#,
            &KEY,
            "`threshold` is 0: it must be above 0 and finite",
        );
        check_failure(
            r#"{"floors":{"x":-1}}"#,
            &KEY,
            "`floors.x` is -1: it must be above 0 and finite",
        );
    }

    #[test]
    fn the_key_is_host_and_metric() {
        check_failure(
            "{}",
            &["metric"],
            "the operator's key is `host`, `metric`, and the key is `metric` utf8",
        );
    }
}
