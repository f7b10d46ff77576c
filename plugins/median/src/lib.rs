//! The middle value of a window, the lower of two, and what its rows say in the order of event time.

use wasmill_sdk::prelude::*;

/// What it reads of a row.
#[derive(InputRow)]
pub struct Reading<'a> {
    value: Option<i64>,
    note: Option<&'a str>,
}

/// What it gives for a window.
#[derive(OutputRow)]
pub struct Middle {
    rows: i64,
    median: Option<i64>,
    notes: String,
    firing: i64,
}

/// The operator.
#[window]
pub struct Median {
    /// Stands between two notes. Default: a space.
    #[serde(default = "space")]
    separator: String,
}

fn space() -> String {
    " ".to_owned()
}

impl Windowed for Median {
    type Key<'a> = ();
    type Input<'a> = Reading<'a>;
    type Output = Only<Middle>;

    fn window(&self, firing: &Firing<()>, rows: WindowRows<'_, Self>, out: &mut Self::Output) -> Result<(), Failure> {
        let (mut count, mut values, mut notes) = (0, Vec::new(), Vec::new());
        for row in rows {
            count += 1;
            values.extend(row.value);
            notes.extend(row.note);
        }
        values.sort_unstable();
        let median = values.len().checked_sub(1).map(|last| values[last / 2]);
        out.emit(Middle {
            rows: count,
            median,
            notes: notes.join(&self.separator),
            firing: i64::from(firing.pane),
        });
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use wasmill_sdk::testing::{Table, WindowTest};

    use super::*;

    fn check(values: &[Option<i64>], notes: &[Option<&str>], median: Option<i64>, said: &str) {
        let rows = Table::new()
            .with("value", values.iter().copied())
            .with("note", notes.iter().copied());
        let mut test = WindowTest::<Median>::open(r#"{"separator":"+"}"#, &[], &rows).expect("a good configuration");
        let window = Window {
            start: Timestamp::from_secs(0),
            end: Timestamp::from_secs(60),
        };
        let expect = Table::new()
            .with("rows", [i64::try_from(values.len()).expect("few rows")])
            .with("median", [median])
            .with("notes", [said])
            .with("firing", [0]);
        assert_eq!(test.fire(window, &rows).expect("it computes").port("out"), &expect);
    }

    #[test]
    fn the_lower_of_two_middle_values_is_the_median() {
        check(
            &[Some(9), None, Some(2), Some(4), Some(7)],
            &[Some("a"), None, Some("b"), None, Some("c")],
            Some(4),
            "a+b+c",
        );
    }

    #[test]
    fn without_values_there_is_no_median() {
        check(&[None], &[None], None, "");
    }
}
