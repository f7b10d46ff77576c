//! Tells when a key was quiet for too long: a timer that each row sets anew.
//!
//! A row with a negative value is refused. At one with the value `trap-at` the operator traps, for tests of faults.

use wasmill_sdk::prelude::*;

/// What it reads of a row.
#[derive(InputRow)]
pub struct Reading {
    value: Option<i64>,
}

/// What is known of a key.
#[derive(State, Default)]
#[state(name = "seen")]
pub struct Seen {
    rows: i64,
    total: i64,
}

/// Its timers.
#[derive(Timers)]
pub enum Timer {
    /// Nothing came for so long.
    Quiet,
}

/// What it tells: of each row the number of it, and of each gap what was before.
#[derive(OutputRow)]
pub struct Told {
    event: &'static str,
    rows: i64,
    total: i64,
}

/// The operator.
#[keyed]
pub struct Gaps {
    /// So many seconds without a row are a gap: 1 to 86,400.
    seconds: i64,
    /// The value at which it traps. Default: none.
    trap_at: Option<i64>,
}

const DAY_S: i64 = 86_400;

impl Keyed for Gaps {
    type Key<'a> = ();
    type Input<'a> = Reading;
    type State = Seen;
    type Timer = Timer;
    type Output = WithKey<Told>;

    fn check(&self) -> Result<(), Failure> {
        if (1..=DAY_S).contains(&self.seconds) {
            return Ok(());
        }
        Err(Failure::new(format!(
            "`seconds` is {}: it must be 1 to {DAY_S}",
            self.seconds
        )))
    }

    fn row(&self, _key: &(), seen: &mut Seen, row: Reading, cx: &mut Context<Self>) -> Result<(), Reject> {
        let value = row.value.unwrap_or(0);
        assert_ne!(Some(value), self.trap_at, "the value at which to trap");
        if value < 0 {
            return Err(Reject::new(format!("value is {value}, below zero")));
        }
        seen.rows += 1;
        seen.total += value;
        let event = if seen.rows == 1 { "first" } else { "next" };
        cx.emit(Told {
            event,
            rows: seen.rows,
            total: seen.total,
        });
        cx.set_timer(
            Timer::Quiet,
            cx.event_time().saturating_add_micros(self.seconds * 1_000_000),
        );
        Ok(())
    }

    fn timer(&self, _key: &(), seen: &mut Seen, _timer: Timer, cx: &mut Context<Self>) {
        cx.emit(Told {
            event: "gap",
            rows: seen.rows,
            total: seen.total,
        });
        *seen = Seen::default();
    }
}

#[cfg(test)]
mod tests {
    use wasmill_sdk::testing::{KeyedTest, Table};

    use super::*;

    #[test]
    fn a_gap_is_told_once_and_a_row_at_its_end_is_the_first_again() {
        let rows = Table::new()
            .with("key", ["a", "a", "a", "b"])
            .with("value", [1, -1, 5, 2])
            .with_event_times([0, 10, 30, 31].map(Timestamp::from_secs));
        let config = r#"{"seconds":30}"#;
        let mut test = KeyedTest::<Gaps>::open(config, &["key"], &[&rows]).expect("a good configuration");
        test.push(&rows);
        test.watermark(Timestamp::from_secs(61)).expect("it computes");
        let expect = Table::new()
            .with("key", ["a", "a", "a", "b", "a", "b"])
            .with("event", ["first", "gap", "first", "first", "gap", "gap"])
            .with("rows", [1, 1, 1, 1, 1, 1])
            .with("total", [1, 1, 5, 2, 5, 2])
            .with_event_times([0, 30, 30, 31, 60, 61].map(Timestamp::from_secs));
        assert_eq!(test.take("out"), expect);
        assert_eq!(test.rejects().len(), 1);
        KeyedTest::<Gaps>::check_cuts(config, &["key"], &[&rows]).expect("cuts do not matter");
    }
}
