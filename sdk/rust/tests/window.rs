//! The world `window`: whole windows, windows in parts, and what an operator may not be.

use std::fmt::Write;

use proptest::{collection::vec, option, prelude::*};
use wasmill_sdk::{
    prelude::*,
    testing::{Table, WindowTest},
};

#[derive(InputRow)]
struct Everything<'a> {
    boolean: bool,
    int64: Option<i64>,
    float64: f64,
    utf8: Option<&'a str>,
    binary: &'a [u8],
    json: Json<&'a str>,
    #[column(event_time)]
    at: Timestamp,
}

#[derive(OutputRow)]
struct Told {
    start: Timestamp,
    pane: u32,
    key: String,
    told: String,
}

/// Tells all that it is given.
#[window]
struct Tell;

impl Windowed for Tell {
    type Key<'a> = (&'a str,);
    type Input<'a> = Everything<'a>;
    type Output = Only<Told>;

    fn window(
        &self,
        firing: &Firing<(&str,)>,
        rows: WindowRows<'_, Self>,
        out: &mut Self::Output,
    ) -> Result<(), Failure> {
        let mut told = format!("{}:", rows.len());
        for row in rows {
            let Json(json) = row.json;
            write!(
                told,
                " {} {:?} {} {:?} {:?} {json} {}",
                row.boolean,
                row.int64,
                row.float64,
                row.utf8,
                row.binary,
                row.at.as_micros()
            )
            .expect("a string takes what is written to it");
        }
        out.emit(Told {
            start: firing.window.start,
            pane: firing.pane,
            key: firing.key.0.to_owned(),
            told,
        });
        Ok(())
    }
}

fn window() -> Window {
    Window {
        start: Timestamp::from_secs(60),
        end: Timestamp::from_secs(120),
    }
}

type Row = (bool, bool, Option<i64>, i32, Option<String>, Vec<u8>);

proptest! {
    #![proptest_config(ProptestConfig::with_cases(64))]
    /// `fire` compares the whole with parts of one row each.
    #[test]
    fn a_window_in_parts_is_the_same_window(
        rows in vec(
            (any::<bool>(), any::<bool>(), option::of(any::<i64>()), any::<i32>(), option::of("[a-zü]{0,4}"), vec(any::<u8>(), 0..4)),
            1..20,
        ),
    ) {
        let rows: Vec<Row> = rows;
        let table = Table::new()
            .with("id", rows.iter().map(|row| if row.0 { "x" } else { "y" }))
            .with("boolean", rows.iter().map(|row| row.1))
            .with("int64", rows.iter().map(|row| row.2))
            .with("float64", rows.iter().map(|row| f64::from(row.3)))
            .with("utf8", rows.iter().map(|row| row.4.as_deref()))
            .with("binary", rows.iter().map(|row| row.5.clone()))
            .with("json", rows.iter().map(|row| Json(row.3.to_string())))
            .with_event_times((0..rows.len() as i64).map(Timestamp::from_secs));
        let mut keys = Vec::new();
        let mut told = Vec::new();
        for key in ["x", "y"] {
            let of: Vec<String> = rows
                .iter()
                .enumerate()
                .filter(|(_, row)| row.0 == (key == "x"))
                .map(|(at, (_, boolean, int64, number, utf8, binary))| {
                    format!(" {boolean} {int64:?} {} {utf8:?} {binary:?} {number} {}", f64::from(*number), at * 1_000_000)
                })
                .collect();
            if !of.is_empty() {
                keys.push(key);
                told.push(format!("{}:{}", of.len(), of.concat()));
            }
        }
        let mut test = WindowTest::<Tell>::open("{}", &["id"], &table).unwrap();
        test.in_pane(2);
        let output = test.fire(window(), &table).unwrap();
        let expect = Table::new()
            .with("id", keys.iter().copied())
            .with("start", keys.iter().map(|_| window().start))
            .with("pane", keys.iter().map(|_| 2))
            .with("key", keys.iter().copied())
            .with("told", told.iter().map(String::as_str));
        prop_assert_eq!(output.port("out"), &expect);
    }
}

#[derive(InputRow)]
struct Reading {
    value: f64,
}

#[derive(OutputRow)]
struct Sum {
    sum: f64,
}

/// Sums what is not negative.
#[window(parts)]
struct Sums;

impl WindowedParts for Sums {
    type Key<'a> = ();
    type Input<'a> = Reading;
    type Carry = f64;
    type Output = Only<Sum>;

    fn row(&self, _firing: &Firing<()>, sum: &mut f64, row: Reading) -> Result<(), Reject> {
        if row.value < 0.0 {
            return Err(Reject::new("a negative value"));
        }
        *sum += row.value;
        Ok(())
    }

    fn finish(&self, _firing: &Firing<()>, sum: f64, out: &mut Self::Output) -> Result<(), Failure> {
        if sum > 0.0 {
            out.emit(Sum { sum });
        }
        Ok(())
    }
}

#[test]
fn a_window_carries_a_value_from_part_to_part_and_rejects_rows() {
    let rows = Table::new().with("value", [0.1, -1.0, 0.2, f64::INFINITY]);
    let mut test = WindowTest::<Sums>::open("{}", &[], &rows).unwrap();
    let output = test.fire(window(), &rows).unwrap();
    assert_eq!(output.port("out"), &Table::new().with("sum", [f64::INFINITY]));
    assert_eq!(output.rejects, [(1, "a negative value".to_owned())]);
}

#[test]
fn a_window_may_give_nothing() {
    let rows = Table::new().with("value", [0.0]);
    let mut test = WindowTest::<Sums>::open("{}", &[], &rows).unwrap();
    assert_eq!(test.fire(window(), &rows).unwrap().port("out").rows(), 0);
}

/// Wants to pass rows on.
#[window]
struct Passing;

impl Windowed for Passing {
    type Key<'a> = ();
    type Input<'a> = Reading;
    type Output = Add<Sum>;

    fn window(&self, _: &Firing<()>, _: WindowRows<'_, Self>, _: &mut Self::Output) -> Result<(), Failure> {
        Ok(())
    }
}

#[test]
fn a_window_gives_what_it_computes_and_nothing_else() {
    let failure = WindowTest::<Passing>::open("{}", &[], &Table::new().with("value", [0.5])).unwrap_err();
    assert_eq!(
        failure.to_string(),
        "port `out` gives columns of the input or the key: a window has many rows, and its key stands before what the \
         operator computes. Make it `Only`"
    );
}
