//! The least keyed operator, for benches: it counts the rows of each key, a state of 8 bytes, and gives nothing unless it
//! is told to.

use wasmill_sdk::prelude::*;

/// What it reads of a row: nothing.
#[derive(InputRow)]
pub struct Row {}

/// What it gives of each row if it is told to.
#[derive(OutputRow)]
pub struct Count {
    count: i64,
}

/// The operator.
#[keyed]
pub struct BenchCounter {
    /// Whether it gives a row for each row. Default: no.
    #[serde(default)]
    emit: bool,
}

impl Keyed for BenchCounter {
    type Key<'a> = ();
    type Input<'a> = Row;
    type State = i64;
    type Timer = NoTimers;
    type Output = WithKey<Count>;

    fn row(&self, (): &(), count: &mut i64, _row: Row, cx: &mut Context<Self>) -> Result<(), Reject> {
        *count += 1;
        if self.emit {
            cx.emit(Count { count: *count });
        }
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use wasmill_sdk::testing::{KeyedTest, Table};

    use super::*;

    #[test]
    fn each_key_is_counted() {
        let times = [1, 2, 3].map(Timestamp::from_secs);
        let rows = Table::new().with("key", [7, 8, 7]).with_event_times(times);
        for (config, emitted) in [("{}", 0), (r#"{"emit":true}"#, 3)] {
            let mut test = KeyedTest::<BenchCounter>::open(config, &["key"], &[&rows]).unwrap();
            test.push(&rows);
            test.watermark(Timestamp::from_secs(9)).unwrap();
            assert_eq!(
                test.table("state"),
                Table::new().with("key", [7, 8]).with("value", [2, 1])
            );
            assert_eq!(test.take("out").rows(), emitted);
        }
    }
}
