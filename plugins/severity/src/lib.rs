//! Says how severe a log line is: the levels of `PostgreSQL`, Erlang and Java become `error`, `warning` and `info`.

use wasmill_sdk::prelude::*;

/// What it reads of a log line.
#[derive(InputRow)]
pub struct Line<'a> {
    level: &'a str,
}

/// What it adds.
#[derive(OutputRow)]
pub struct Judged<'a> {
    host: &'a str,
    severity: &'static str,
}

/// The operator.
#[transform]
pub struct Severity {
    /// The value of the column `host`.
    host: String,
}

impl Transform for Severity {
    type Input<'a> = Line<'a>;
    type Output = Add<Judged<'static>>;

    fn check(&self) -> Result<(), Failure> {
        if self.host.is_empty() {
            return Err(Failure::new("`host` is empty: it is the value of the column `host`"));
        }
        Ok(())
    }

    fn row(&self, line: Line<'_>, out: &mut Self::Output) -> Result<(), Reject> {
        let severity = match line.level {
            "PANIC" | "FATAL" | "CRITICAL" | "ERROR" => "error",
            "WARN" | "WARNING" => "warning",
            _ => "info",
        };
        out.emit(Judged {
            host: &self.host,
            severity,
        });
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use wasmill_sdk::testing::{Table, TransformTest};

    use super::*;

    #[test]
    fn levels_become_severities() {
        let levels = [
            "PANIC", "FATAL", "CRITICAL", "ERROR", "WARN", "WARNING", "INFO", "error", "",
        ];
        let input = Table::new().with("service", ["db"; 9]).with("level", levels);
        let mut operator = TransformTest::<Severity>::open(r#"{"host":"h"}"#, &input).unwrap();
        operator.check_cuts(&input).unwrap();
        let output = operator.process(&input).unwrap();
        let severities = [
            "error", "error", "error", "error", "warning", "warning", "info", "info", "info",
        ];
        let expect = input.with("host", ["h"; 9]).with("severity", severities);
        assert_eq!(output.port("out"), &expect);
    }

    #[test]
    fn a_host_without_a_name_is_refused() {
        let input = Table::new().with("level", ["ERROR"]);
        let failure = TransformTest::<Severity>::open(r#"{"host":""}"#, &input).unwrap_err();
        assert_eq!(
            failure.to_string(),
            "`host` is empty: it is the value of the column `host`"
        );
    }
}
