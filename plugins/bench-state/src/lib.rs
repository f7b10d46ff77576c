//! Keyed operators that benches run: a state of `size` bytes a key, of which a row changes little or all.
//!
//! | `shape` | a row |
//! |---|---|
//! | `counter` | adds one to a count; the rest of the state stays as the first row made it |
//! | `copy` | adds one to the count, and writes all bytes anew |

use serde::Deserialize;
use wasmill_sdk::prelude::*;

/// How many bytes the count takes.
const COUNT_BYTES: usize = 8;

/// The greatest state.
const SIZE_MAX: usize = 1 << 20;

/// What it reads of a row: nothing.
#[derive(InputRow)]
pub struct Row {}

/// What it keeps for each key.
#[derive(State, Default)]
pub struct Kept {
    count: i64,
    rest: Vec<u8>,
}

/// What it gives of each row if it is told to.
#[derive(OutputRow)]
pub struct Count {
    count: i64,
}

/// What a row does.
#[derive(Clone, Copy, Debug, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Shape {
    /// It changes the count.
    Counter,
    /// It changes all.
    Copy,
}

/// The operator.
#[keyed]
pub struct BenchState {
    shape: Shape,
    /// The bytes of a key's state: 8 to 1 MiB.
    size: usize,
    /// Whether it gives a row for each row. Default: no.
    #[serde(default)]
    emit: bool,
}

impl Keyed for BenchState {
    type Key<'a> = ();
    type Input<'a> = Row;
    type State = Kept;
    type Timer = NoTimers;
    type Output = WithKey<Count>;

    fn check(&self) -> Result<(), Failure> {
        if !(COUNT_BYTES..=SIZE_MAX).contains(&self.size) {
            let message = format!("`size` is {}: it must be {COUNT_BYTES} to {SIZE_MAX} bytes", self.size);
            return Err(Failure::new(message));
        }
        Ok(())
    }

    fn row(&self, (): &(), kept: &mut Kept, _row: Row, cx: &mut Context<Self>) -> Result<(), Reject> {
        kept.count += 1;
        kept.rest.resize(self.size - COUNT_BYTES, 0);
        if let Shape::Copy = self.shape {
            let [low, ..] = kept.count.to_le_bytes();
            kept.rest.fill(low);
        }
        if self.emit {
            cx.emit(Count { count: kept.count });
        }
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use wasmill_sdk::testing::{KeyedTest, Table};

    use super::*;

    #[test]
    fn each_shape_changes_what_it_says() {
        let times = [1, 2, 3].map(Timestamp::from_secs);
        let rows = Table::new().with("key", [7, 8, 7]).with_event_times(times);
        for (shape, rest) in [("counter", [[0_u8; 92], [0; 92]]), ("copy", [[2; 92], [1; 92]])] {
            let config = format!(r#"{{"shape":"{shape}","size":100}}"#);
            let mut test = KeyedTest::<BenchState>::open(&config, &["key"], &[&rows]).unwrap();
            test.push(&rows);
            test.watermark(Timestamp::from_secs(9)).unwrap();
            let expect = Table::new().with("key", [7, 8]).with("count", [2, 1]);
            assert_eq!(test.table("state"), expect.with("rest", rest.map(Vec::from)));
            KeyedTest::<BenchState>::check_cuts(&config, &["key"], &[&rows]).unwrap();
        }
    }

    #[test]
    fn a_state_too_small_for_its_count_is_refused() {
        let rows = Table::new().with("key", [7]);
        let config = r#"{"shape":"copy","size":7}"#;
        let failure = KeyedTest::<BenchState>::open(config, &["key"], &[&rows]).unwrap_err();
        assert_eq!(failure.to_string(), "`size` is 7: it must be 8 to 1048576 bytes");
    }
}
