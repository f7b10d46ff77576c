//! Holds readings against limits: two inputs that differ, and a state of which one part is kept for ever and the other for
//! half an hour after the key's last row.

use wasmill_sdk::prelude::*;

/// A reading.
#[derive(InputRow)]
pub struct Reading<'a> {
    value: Option<i64>,
    note: Option<&'a str>,
}

/// A limit from here on; null: none.
#[derive(InputRow)]
pub struct Limit {
    limit: Option<i64>,
}

/// What it reads.
#[derive(Inputs)]
pub enum Input<'a> {
    /// Of the first input.
    Reading(Reading<'a>),
    /// Of the second.
    Limit(Limit),
}

/// What is forgotten.
#[derive(State, Default)]
#[state(ttl = "30m")]
pub struct Recent {
    rows: i64,
    note: Option<String>,
}

/// What is known of a key.
#[derive(Tables)]
pub struct Known {
    limit: Option<i64>,
    recent: Recent,
}

/// Its timers.
#[derive(Timers)]
pub enum Timer {
    /// So long after a reading.
    Later,
}

/// What it tells of each row and timer.
#[derive(OutputRow)]
pub struct Told<'a> {
    event: &'static str,
    rows: i64,
    limit: Option<i64>,
    over: Option<bool>,
    note: Option<&'a str>,
}

/// The operator.
#[keyed]
pub struct Limits {
    /// So many minutes after the last reading it tells what it still knows: 1 to 1,440.
    minutes: i64,
}

const DAY_MINUTES: i64 = 1_440;

impl Limits {
    fn tell(known: &Known, event: &'static str, over: Option<bool>, cx: &mut Context<Self>) {
        cx.emit(Told {
            event,
            rows: known.recent.rows,
            limit: known.limit,
            over,
            note: known.recent.note.as_deref(),
        });
    }
}

impl Keyed for Limits {
    type Key<'a> = (Option<&'a str>,);
    type Input<'a> = Input<'a>;
    type State = Known;
    type Timer = Timer;
    type Output = WithKey<Told<'static>>;

    fn check(&self) -> Result<(), Failure> {
        if (1..=DAY_MINUTES).contains(&self.minutes) {
            return Ok(());
        }
        Err(Failure::new(format!(
            "`minutes` is {}: it must be 1 to {DAY_MINUTES}",
            self.minutes
        )))
    }

    fn row(
        &self,
        _key: &(Option<&str>,),
        known: &mut Known,
        row: Input<'_>,
        cx: &mut Context<Self>,
    ) -> Result<(), Reject> {
        known.recent.rows += 1;
        match row {
            Input::Reading(Reading { value, note }) => {
                if let Some(note) = note {
                    known.recent.note = Some(note.to_owned());
                }
                let over = value.zip(known.limit).map(|(value, limit)| value > limit);
                Self::tell(known, "reading", over, cx);
                let later = cx.event_time().saturating_add_micros(self.minutes * 60_000_000);
                cx.set_timer(Timer::Later, later);
            }
            Input::Limit(Limit { limit }) => {
                known.limit = limit;
                Self::tell(known, "limit", None, cx);
            }
        }
        Ok(())
    }

    fn timer(&self, _key: &(Option<&str>,), known: &mut Known, _timer: Timer, cx: &mut Context<Self>) {
        Self::tell(known, "later", None, cx);
        known.recent.rows += 100;
    }
}

#[cfg(test)]
mod tests {
    use wasmill_sdk::testing::{KeyedTest, Table};

    use super::*;

    #[test]
    fn the_limit_is_kept_and_the_rest_forgotten() {
        let minutes = |minutes: i64| Timestamp::from_secs(minutes * 60);
        let readings = Table::new()
            .with("room", [Some("a"), None, Some("a")])
            .with("value", [Some(5), None, Some(7)])
            .with("note", [Some("x"), Some("y"), None])
            .with_event_times([1, 2, 31].map(minutes));
        let limits = Table::new()
            .with("room", [Some("a")])
            .with("limit", [Some(6)])
            .with_event_times([0].map(minutes));
        let config = r#"{"minutes":40}"#;
        let mut test =
            KeyedTest::<Limits>::open(config, &["room"], &[&readings, &limits]).expect("a good configuration");
        test.push_to(0, &readings);
        test.push_to(1, &limits);
        test.watermark(minutes(100)).expect("it computes");
        let expect = Table::new()
            .with("room", [Some("a"), Some("a"), None, Some("a"), None, Some("a")])
            .with("event", ["limit", "reading", "reading", "reading", "later", "later"])
            .with("rows", [1, 2, 1, 1, 0, 0])
            .with("limit", [Some(6), Some(6), None, Some(6), None, Some(6)])
            .with("over", [None, Some(false), None, Some(true), None, None])
            .with("note", [None, Some("x"), Some("y"), None, None, None])
            .with_event_times([0, 1, 2, 31, 42, 71].map(minutes));
        assert_eq!(test.take("out"), expect);
        KeyedTest::<Limits>::check_cuts(config, &["room"], &[&readings, &limits]).expect("cuts do not matter");
    }
}
