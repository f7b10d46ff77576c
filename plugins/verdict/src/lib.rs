//! Says whether a second of a host was normal, and if not, why: many errors, many metrics far from their past at once, or
//! a few of both.

use wasmill_sdk::prelude::*;

/// What metrics and logs have against a second.
#[derive(InputRow)]
pub struct Evidence<'a> {
    host: &'a str,
    window_start: Timestamp,
    window_end: Timestamp,
    scored: i64,
    outliers: i64,
    outlying: Json<&'a str>,
    log_errors: Option<i64>,
    log_services: Option<Json<&'a str>>,
}

/// The verdict on it.
#[derive(OutputRow)]
pub struct Judged<'a> {
    host: &'a str,
    window_start: Timestamp,
    window_end: Timestamp,
    scored: i64,
    outliers: i64,
    outlying: Json<&'a str>,
    errors: i64,
    services: Json<&'a str>,
    anomalous: bool,
    cause: Option<&'static str>,
}

/// The operator.
#[transform]
pub struct Verdict {
    /// So many errors are anomalous. Default: 20.
    #[serde(default = "twenty")]
    errors: i64,
    /// So many outliers are anomalous. Default: 3.
    #[serde(default = "three")]
    outliers: i64,
    /// So many outliers are anomalous together with any error. Default: 2.
    #[serde(default = "two")]
    agreeing_outliers: i64,
}

const fn twenty() -> i64 {
    20
}

const fn three() -> i64 {
    3
}

const fn two() -> i64 {
    2
}

impl Transform for Verdict {
    type Input<'a> = Evidence<'a>;
    type Output = Only<Judged<'static>>;

    fn check(&self) -> Result<(), Failure> {
        let counts = [
            ("errors", self.errors),
            ("outliers", self.outliers),
            ("agreeing-outliers", self.agreeing_outliers),
        ];
        match counts.into_iter().find(|(_, count)| *count < 1) {
            Some((name, count)) => Err(Failure::new(format!("`{name}` is {count}: it must be at least 1"))),
            None => Ok(()),
        }
    }

    fn row(&self, second: Evidence<'_>, out: &mut Self::Output) -> Result<(), Reject> {
        let errors = second.log_errors.unwrap_or(0);
        let agreed = errors >= 1 && second.outliers >= self.agreeing_outliers;
        let by_errors = errors >= self.errors || agreed;
        let by_metrics = second.outliers >= self.outliers || agreed;
        out.emit(Judged {
            host: second.host,
            window_start: second.window_start,
            window_end: second.window_end,
            scored: second.scored,
            outliers: second.outliers,
            outlying: second.outlying,
            errors,
            services: second.log_services.unwrap_or(Json("[]")),
            anomalous: by_errors || by_metrics,
            cause: match (by_errors, by_metrics) {
                (true, true) => Some("errors and metrics"),
                (true, false) => Some("errors"),
                (false, true) => Some("metrics"),
                (false, false) => None,
            },
        });
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use wasmill_sdk::testing::{Table, TransformTest};

    use super::*;

    fn evidence(rows: &[(Option<i64>, i64)]) -> Table {
        let services = rows.iter().map(|(errors, _)| errors.map(|_| Json("[\"db\"]")));
        Table::new()
            .with("host", rows.iter().map(|_| "h"))
            .with("window_start", rows.iter().map(|_| Timestamp::from_secs(1)))
            .with("window_end", rows.iter().map(|_| Timestamp::from_secs(2)))
            .with("scored", rows.iter().map(|_| 13))
            .with("outliers", rows.iter().map(|row| row.1))
            .with("outlying", rows.iter().map(|_| Json("[]")))
            .with("log_errors", rows.iter().map(|row| row.0))
            .with("log_services", services)
    }

    fn check(rows: &[(Option<i64>, i64)], causes: &[Option<&str>]) {
        let input = evidence(rows);
        let mut operator = TransformTest::<Verdict>::open("{}", &input).unwrap();
        operator.check_cuts(&input).unwrap();
        let expect = Table::new()
            .with("host", rows.iter().map(|_| "h"))
            .with("window_start", rows.iter().map(|_| Timestamp::from_secs(1)))
            .with("window_end", rows.iter().map(|_| Timestamp::from_secs(2)))
            .with("scored", rows.iter().map(|_| 13))
            .with("outliers", rows.iter().map(|row| row.1))
            .with("outlying", rows.iter().map(|_| Json("[]")))
            .with("errors", rows.iter().map(|row| row.0.unwrap_or(0)))
            .with(
                "services",
                rows.iter()
                    .map(|row| Json(if row.0.is_some() { "[\"db\"]" } else { "[]" })),
            )
            .with("anomalous", causes.iter().map(Option::is_some))
            .with("cause", causes.iter().copied());
        assert_eq!(operator.process(&input).unwrap().port("out"), &expect);
    }

    #[test]
    fn many_errors_many_outliers_or_a_few_of_both_are_anomalous() {
        check(
            &[
                (None, 0),
                (Some(19), 1),
                (Some(20), 0),
                (None, 2),
                (None, 3),
                (Some(1), 2),
                (Some(0), 2),
                (Some(20), 3),
            ],
            &[
                None,
                None,
                Some("errors"),
                None,
                Some("metrics"),
                Some("errors and metrics"),
                None,
                Some("errors and metrics"),
            ],
        );
    }

    #[test]
    fn a_count_of_zero_is_refused() {
        let failure = TransformTest::<Verdict>::open(r#"{"agreeing-outliers":0}"#, &evidence(&[])).unwrap_err();
        assert_eq!(failure.to_string(), "`agreeing-outliers` is 0: it must be at least 1");
    }
}
