//! Raises an alert when a host was anomalous for a while, and clears it when it was not for a longer while.

use wasmill_sdk::prelude::*;

/// Whose alert it is.
#[derive(InputRow)]
pub struct Host<'a> {
    #[expect(dead_code, reason = "the key has it, and so have the outputs")]
    host: &'a str,
}

/// The verdict on a second.
#[derive(InputRow)]
pub struct Verdict<'a> {
    window_start: Timestamp,
    window_end: Timestamp,
    outliers: i64,
    outlying: Json<&'a str>,
    errors: i64,
    services: Json<&'a str>,
    anomalous: bool,
    cause: Option<&'a str>,
}

/// No second is anomalous.
const QUIET: i64 = 0;
/// Some are, not long enough.
const PENDING: i64 = 1;
/// An alert was raised.
const OPEN: i64 = 2;

/// What is known of a host.
#[derive(State)]
#[state(name = "alert")]
pub struct Alert {
    phase: i64,
    begin: Option<Timestamp>,
    end: Option<Timestamp>,
    by_errors: bool,
    by_metrics: bool,
    peak_errors: i64,
    peak_outliers: i64,
    services: Json<String>,
    outlying: Json<String>,
}

impl Default for Alert {
    fn default() -> Self {
        let none = || Json("[]".to_owned());
        Self {
            phase: QUIET,
            begin: None,
            end: None,
            by_errors: false,
            by_metrics: false,
            peak_errors: 0,
            peak_outliers: 0,
            services: none(),
            outlying: none(),
        }
    }
}

impl Alert {
    /// Takes an anomalous second in. Whether there is a cause that was not there.
    fn take(&mut self, second: &Verdict<'_>) -> bool {
        let before = (self.by_errors, self.by_metrics);
        self.end = Some(second.window_end);
        self.by_errors |= matches!(second.cause, Some("errors" | "errors and metrics"));
        self.by_metrics |= matches!(second.cause, Some("metrics" | "errors and metrics"));
        if second.errors > self.peak_errors {
            self.peak_errors = second.errors;
            self.services = Json(second.services.text().to_owned());
        }
        if second.outliers > self.peak_outliers {
            self.peak_outliers = second.outliers;
            self.outlying = Json(second.outlying.text().to_owned());
        }
        before != (self.by_errors, self.by_metrics)
    }

    fn tell(&self, event: &'static str, at: Timestamp) -> Change<'_> {
        Change {
            event,
            at,
            begin: self.begin.unwrap_or(at),
            end: self.end.filter(|_| event == "cleared"),
            cause: match (self.by_errors, self.by_metrics) {
                (true, true) => "errors and metrics",
                (true, false) => "errors",
                (false, _) => "metrics",
            },
            peak_errors: self.peak_errors,
            services: Json(self.services.text()),
            peak_outliers: self.peak_outliers,
            outlying: Json(self.outlying.text()),
        }
    }
}

/// Its timers, of which at most one is set.
#[derive(Timers)]
pub enum Timer {
    /// The host was anomalous for long enough.
    Raise,
    /// It was quiet for long enough.
    Clear,
}

/// What happens to an alert.
#[derive(OutputRow)]
pub struct Change<'a> {
    event: &'static str,
    at: Timestamp,
    begin: Timestamp,
    end: Option<Timestamp>,
    cause: &'static str,
    peak_errors: i64,
    services: Json<&'a str>,
    peak_outliers: i64,
    outlying: Json<&'a str>,
}

/// The operator.
#[keyed]
pub struct Alerts {
    /// So many seconds a host is anomalous before an alert is raised: 1 to 86,400.
    raise_after_s: i64,
    /// So many seconds it is not before the alert is cleared: `raise-after-s` to 86,400.
    clear_after_s: i64,
}

const DAY_S: i64 = 86_400;

impl Alerts {
    fn clear_at(&self, alert: &Alert, now: Timestamp) -> Timestamp {
        after(alert.end.unwrap_or(now), self.clear_after_s)
    }
}

fn after(time: Timestamp, seconds: i64) -> Timestamp {
    time.saturating_add_micros(seconds * 1_000_000)
}

impl Keyed for Alerts {
    type Key<'a> = Host<'a>;
    type Input<'a> = Verdict<'a>;
    type State = Alert;
    type Timer = Timer;
    type Output = WithKey<Change<'static>>;

    fn check(&self) -> Result<(), Failure> {
        if !(1..=DAY_S).contains(&self.raise_after_s) {
            let message = format!("`raise-after-s` is {}: it must be 1 to {DAY_S}", self.raise_after_s);
            return Err(Failure::new(message));
        }
        if !(self.raise_after_s..=DAY_S).contains(&self.clear_after_s) {
            return Err(Failure::new(format!(
                "`clear-after-s` is {}: it must be `raise-after-s`, {}, to {DAY_S}",
                self.clear_after_s, self.raise_after_s
            )));
        }
        Ok(())
    }

    fn row(
        &self,
        _host: &Host<'_>,
        alert: &mut Alert,
        second: Verdict<'_>,
        cx: &mut Context<Self>,
    ) -> Result<(), Reject> {
        if !second.anomalous {
            if alert.phase == PENDING {
                cx.cancel_timer(Timer::Raise);
                *alert = Alert::default();
            }
            return Ok(());
        }
        if alert.phase == QUIET {
            alert.phase = PENDING;
            alert.begin = Some(second.window_start);
            cx.set_timer(Timer::Raise, after(second.window_start, self.raise_after_s));
        }
        let is_new_cause = alert.take(&second);
        if alert.phase == OPEN {
            cx.set_timer(Timer::Clear, self.clear_at(alert, second.window_end));
            if is_new_cause {
                cx.emit(alert.tell("changed", second.window_end));
            }
        }
        Ok(())
    }

    fn timer(&self, _host: &Host<'_>, alert: &mut Alert, timer: Timer, cx: &mut Context<Self>) {
        let now = cx.event_time();
        match timer {
            Timer::Raise => {
                alert.phase = OPEN;
                cx.set_timer(Timer::Clear, self.clear_at(alert, now));
                cx.emit(alert.tell("raised", now));
            }
            Timer::Clear => {
                cx.emit(alert.tell("cleared", now));
                *alert = Alert::default();
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use wasmill_sdk::testing::{KeyedTest, Table};

    use super::*;

    const CONFIG: &str = r#"{"clear-after-s":5,"raise-after-s":3}"#;

    const fn at(seconds: i64) -> Timestamp {
        Timestamp::from_secs(seconds)
    }

    /// Seconds by their beginning, with errors, outliers and the cause.
    fn seconds(rows: &[(i64, i64, i64, Option<&str>)]) -> Table {
        Table::new()
            .with("host", rows.iter().map(|_| "h"))
            .with("window_start", rows.iter().map(|row| at(row.0)))
            .with("window_end", rows.iter().map(|row| at(row.0 + 1)))
            .with("outliers", rows.iter().map(|row| row.2))
            .with("outlying", rows.iter().map(|row| Json(format!("[{}]", row.2))))
            .with("errors", rows.iter().map(|row| row.1))
            .with("services", rows.iter().map(|row| Json(format!("[{}]", row.1))))
            .with("anomalous", rows.iter().map(|row| row.3.is_some()))
            .with("cause", rows.iter().map(|row| row.3))
            .with_event_times(rows.iter().map(|row| at(row.0 + 1).saturating_sub_micros(1)))
    }

    type Told<'a> = (i64, &'a str, i64, Option<i64>, &'a str, i64, i64);

    /// What is told: when, what, begin, end, cause, and the peaks of errors and outliers.
    fn check(rows: &[(i64, i64, i64, Option<&str>)], told: &[Told<'_>]) -> KeyedTest<Alerts> {
        let rows = seconds(rows);
        let mut test = KeyedTest::<Alerts>::open(CONFIG, &["host"], &[&rows]).unwrap();
        test.push(&rows);
        test.watermark(at(100)).unwrap();
        let times = told.iter().map(|row| match row.1 {
            "changed" => at(row.0).saturating_sub_micros(1),
            _ => at(row.0),
        });
        let expect = Table::new()
            .with("host", told.iter().map(|_| "h"))
            .with("event", told.iter().map(|row| row.1))
            .with("at", told.iter().map(|row| at(row.0)))
            .with("begin", told.iter().map(|row| at(row.2)))
            .with("end", told.iter().map(|row| row.3.map(at)))
            .with("cause", told.iter().map(|row| row.4))
            .with("peak_errors", told.iter().map(|row| row.5))
            .with("services", told.iter().map(|row| Json(format!("[{}]", row.5))))
            .with("peak_outliers", told.iter().map(|row| row.6))
            .with(
                "outlying",
                told.iter().map(|row| {
                    Json(if row.6 == 0 {
                        "[]".to_owned()
                    } else {
                        format!("[{}]", row.6)
                    })
                }),
            )
            .with_event_times(times);
        assert_eq!(test.take("out"), expect);
        KeyedTest::<Alerts>::check_cuts(CONFIG, &["host"], &[&rows]).unwrap();
        test
    }

    #[test]
    fn three_anomalous_seconds_raise_and_five_quiet_ones_clear() {
        let errors = Some("errors");
        let test = check(
            &[
                (10, 30, 0, errors),
                (11, 50, 0, errors),
                (12, 40, 0, errors),
                (13, 0, 0, None),
                (20, 0, 0, None),
            ],
            &[
                (13, "raised", 10, None, "errors", 50, 0),
                (18, "cleared", 10, Some(13), "errors", 50, 0),
            ],
        );
        assert_eq!(test.table("alert").rows(), 0);
        assert_eq!(test.timers().rows(), 0);
    }

    #[test]
    fn a_normal_second_before_the_third_is_the_end_of_it() {
        let errors = Some("errors");
        let test = check(
            &[
                (10, 30, 0, errors),
                (11, 30, 0, errors),
                (12, 0, 0, None),
                (20, 30, 0, errors),
            ],
            &[
                (23, "raised", 20, None, "errors", 30, 0),
                (26, "cleared", 20, Some(21), "errors", 30, 0),
            ],
        );
        assert_eq!(test.timers().rows(), 0);
    }

    #[test]
    fn a_cause_that_comes_later_is_told_once_and_holds_the_alert_open() {
        check(
            &[
                (10, 30, 0, Some("errors")),
                (14, 1, 2, Some("errors and metrics")),
                (15, 0, 4, Some("metrics")),
                (16, 0, 0, None),
            ],
            &[
                (13, "raised", 10, None, "errors", 30, 0),
                (15, "changed", 10, None, "errors and metrics", 30, 2),
                (21, "cleared", 10, Some(16), "errors and metrics", 30, 4),
            ],
        );
    }

    #[test]
    fn an_alert_is_cleared_no_sooner_than_it_is_raised() {
        let failure =
            KeyedTest::<Alerts>::open(r#"{"clear-after-s":2,"raise-after-s":3}"#, &["host"], &[&seconds(&[])]);
        assert_eq!(
            failure.unwrap_err().to_string(),
            "`clear-after-s` is 2: it must be `raise-after-s`, 3, to 86400"
        );
    }
}
