//! What operators say when they are described, and how ports, event times and faults behave.

use std::time::Duration;

use wasmill_sdk::{
    DataType,
    log::Level,
    metrics::{Counter, Gauge, Histogram},
    prelude::*,
    testing::{AggregateTest, Table, TransformTest},
    warn,
};

#[derive(InputRow)]
struct Reading<'a> {
    sensor: &'a str,
    value: Option<f64>,
    #[column(event_time)]
    at: Timestamp,
}

#[derive(OutputRow)]
struct Seen<'a> {
    sensor: &'a str,
    seen: Timestamp,
}

#[derive(Outputs)]
struct Ports {
    main: Add<Seen<'static>>,
    #[port(name = "broken")]
    no_value: Keep,
}

/// Moves readings back in time, and puts those without a value aside.
#[transform]
struct Delayed {
    seconds: u32,
    #[serde(skip)]
    rows: Counter,
    #[serde(skip)]
    greatest: Gauge,
    #[serde(skip)]
    values: Histogram,
}

impl Transform for Delayed {
    type Input<'a> = Reading<'a>;
    type Output = Ports;

    fn check(&self) -> Result<(), Failure> {
        if self.seconds > 3_600 {
            Err(Failure::new("`seconds` must be at most 3600"))
        } else {
            Ok(())
        }
    }

    fn open(&mut self) -> Result<(), Failure> {
        self.rows = Counter::declare("rows", "rows");
        self.greatest = Gauge::declare("last-value", "1");
        self.values = Histogram::declare("values", "1");
        Ok(())
    }

    fn event_time(&self) -> Option<Retime> {
        Some(Retime::column("seen").lag(Duration::from_secs(u64::from(self.seconds))))
    }

    fn row(&self, row: Reading<'_>, out: &mut Ports) -> Result<(), Reject> {
        self.rows.add(1.0);
        if row.sensor.is_empty() {
            warn!(at = row.at.as_micros(); "a reading of no sensor");
            return Err(Reject::new("a reading of no sensor"));
        }
        let Some(value) = row.value else {
            out.no_value.keep();
            return Ok(());
        };
        self.greatest.set(value);
        self.values.record(value);
        let seen = row.at.saturating_sub_micros(i64::from(self.seconds) * 1_000_000);
        out.main.emit(Seen {
            sensor: row.sensor,
            seen,
        });
        Ok(())
    }
}

fn readings() -> Table {
    Table::new()
        .with("unit", ["C", "C", "K", "K"])
        .with("sensor", ["a", "b", "", "d"])
        .with("value", [Some(1.5), None, Some(2.0), Some(4.0)])
        .with_event_times((1..5).map(|second| Timestamp::from_secs(100 + second)))
}

fn delayed() -> TransformTest<Delayed> {
    TransformTest::open(r#"{"seconds":100}"#, &readings()).expect("the readings fit")
}

#[test]
fn a_replaced_column_stays_in_its_place_and_an_added_one_goes_last() {
    let output = delayed().process(&readings()).unwrap();
    let expect = Table::new()
        .with("unit", ["C", "K"])
        .with("sensor", ["a", "d"])
        .with("value", [Some(1.5), Some(4.0)])
        .with("seen", [Timestamp::from_secs(1), Timestamp::from_secs(4)])
        .with_event_times([Timestamp::from_secs(1), Timestamp::from_secs(4)]);
    assert_eq!(output.port("main"), &expect);
}

#[test]
fn a_side_output_keeps_the_event_time_of_its_rows() {
    let output = delayed().process(&readings()).unwrap();
    assert_eq!(output.port("broken"), &readings().select([1]));
}

#[test]
fn a_rejected_row_is_named_with_its_message() {
    let mut test = delayed();
    let output = test.process(&readings()).unwrap();
    assert_eq!(output.rejects, [(2, "a reading of no sensor".to_owned())]);
    let logs = test.logs();
    assert_eq!(
        (logs[0].level, &*logs[0].message),
        (Level::Warn, "a reading of no sensor")
    );
    assert_eq!(logs[0].fields, [("at".to_owned(), "103000000".to_owned())]);
}

#[test]
fn metrics_add_up_over_calls() {
    let mut test = delayed();
    test.process(&readings()).unwrap();
    test.process(&readings()).unwrap();
    assert_eq!(test.metric("rows"), Some(8.0));
    assert_eq!(test.metric("last-value"), Some(4.0));
    assert_eq!(test.metric("values"), Some(11.0));
    assert_eq!(test.metric("others"), None);
}

#[test]
fn a_result_does_not_depend_on_cuts() {
    delayed().check_cuts(&readings()).unwrap();
}

fn check_failure(config: &str, input: &Table, message: &str) {
    let failure = TransformTest::<Delayed>::open(config, input).expect_err("it does not fit");
    assert_eq!(failure.to_string(), message);
}

const CONFIG: &str = r#"{"seconds":1}"#;

#[test]
fn a_missing_column_is_named_with_what_there_is() {
    check_failure(
        CONFIG,
        &Table::new().with("value", [1.0]).with("sensr", ["a"]),
        "input `input` has no column `sensor`, which the operator reads as utf8; it has `value` float64, `sensr` utf8. \
         Add the column to the schema of the source, or to the outputs of the operator before",
    );
    check_failure(
        CONFIG,
        &Table::new(),
        "input `input` has no column `sensor`, which the operator reads as utf8; it has no columns. Add the column to \
         the schema of the source, or to the outputs of the operator before",
    );
}

#[test]
fn a_column_of_another_type_is_named_with_both_types() {
    check_failure(
        CONFIG,
        &Table::new().with("sensor", ["a"]).with("value", [Some(1)]),
        "column `value` of input `input` is int64, and the operator reads it as float64. Change its type in the \
         topology, or read it as `Option<i64>` in the operator",
    );
}

#[test]
fn a_column_that_may_be_null_does_not_fit_one_that_may_not() {
    check_failure(
        CONFIG,
        &Table::new().with("sensor", [Some("a")]).with("value", [1.0]),
        "column `sensor` of input `input` may be null, and the operator reads it as never null. Drop `nullable = true` \
         from the column, or read it as `Option<&str>` in the operator",
    );
}

#[test]
fn a_bad_configuration_says_what_is_wrong_without_a_place_in_json() {
    check_failure("{}", &readings(), "configuration: missing field `seconds`");
    check_failure(
        r#"{"seconds":"1"}"#,
        &readings(),
        r#"configuration: invalid type: string "1", expected u32"#,
    );
    check_failure(
        r#"{"seconds":1,"rows":2}"#,
        &readings(),
        "configuration: unknown field `rows`, expected `seconds`",
    );
    check_failure(r#"{"seconds":7200}"#, &readings(), "`seconds` must be at most 3600");
}

/// Makes a column the event time that cannot be one.
#[transform]
struct BadTime {
    column: String,
}

impl Transform for BadTime {
    type Input<'a> = Reading<'a>;
    type Output = Keep;

    fn event_time(&self) -> Option<Retime> {
        Some(Retime::column(self.column.clone()))
    }

    fn row(&self, _row: Reading<'_>, out: &mut Keep) -> Result<(), Reject> {
        out.keep();
        Ok(())
    }
}

#[test]
fn an_event_time_must_be_a_time_that_is_not_null() {
    let check = |column: &str, message: &str| {
        let config = format!(r#"{{"column":"{column}"}}"#);
        let failure = TransformTest::<BadTime>::open(&config, &readings()).unwrap_err();
        assert_eq!(failure.to_string(), message);
    };
    check(
        "seen",
        "the event time is to become column `seen`, which port `out` does not have",
    );
    check(
        "sensor",
        "the event time is to become column `sensor`: it must be a `timestamp` or `int64` that is not null, and is \
         `utf8`",
    );
    check(
        "value",
        "the event time is to become column `value`: it must be a `timestamp` or `int64` that is not null, and is \
         `float64` that may be null",
    );
}

#[derive(InputColumns)]
struct Ints<'a> {
    number: &'a [i64],
}

#[derive(OutputColumns)]
struct Short {
    half: Vec<i64>,
}

/// Computes a column that is too short.
#[transform(columns)]
struct TooShort;

impl TransformColumns for TooShort {
    type Input<'a> = Ints<'a>;
    type Output = Add<Short>;

    fn batch(&self, batch: Batch<Ints<'_>>, out: &mut Self::Output) -> Result<Rejects, Failure> {
        out.set(
            Rows::All,
            Short {
                half: batch.columns.number[1..].to_vec(),
            },
        );
        Ok(Rejects::none())
    }
}

#[test]
fn a_column_of_another_length_fails_the_call() {
    let input = Table::new().with("number", [1, 2, 3]);
    let failure = TransformTest::<TooShort>::open("{}", &input)
        .unwrap()
        .process(&input)
        .unwrap_err();
    assert_eq!(
        failure.to_string(),
        "column `half` of port `out` has 2 values for 3 rows"
    );
}

#[derive(Accumulator, Default)]
struct Kept {
    any: bool,
    longest: Option<String>,
    bytes: Vec<u8>,
    last: Timestamp,
    json: Json<String>,
    sum: f64,
}

#[derive(OutputRow)]
struct Summary {
    any: bool,
    longest: Option<String>,
    bytes: Vec<u8>,
    last: Timestamp,
    json: Json<String>,
    sum: f64,
    start: Option<Timestamp>,
}

/// Keeps a value of each type.
#[aggregate(version = 2)]
struct Summarise;

impl Aggregate for Summarise {
    type Input<'a> = Reading<'a>;
    type Accumulator = Kept;
    type Output = Summary;

    fn initial(&self) -> Kept {
        Kept {
            sum: 0.5,
            ..Kept::default()
        }
    }

    fn accumulate(&self, kept: &mut Kept, row: Reading<'_>) -> Result<(), Reject> {
        let value = row.value.ok_or_else(|| Reject::new("no value"))?;
        kept.any = true;
        if kept
            .longest
            .as_ref()
            .is_none_or(|longest| longest.len() < row.sensor.len())
        {
            kept.longest = Some(row.sensor.to_owned());
        }
        kept.bytes.extend(row.sensor.bytes());
        kept.last = kept.last.max(row.at);
        kept.json = Json(format!("[{value}]"));
        kept.sum += value;
        Ok(())
    }

    fn merge(&self, kept: &mut Kept, later: Kept) {
        kept.any |= later.any;
        kept.bytes.extend(later.bytes);
        kept.last = kept.last.max(later.last);
        kept.sum += later.sum;
    }

    fn finish(&self, kept: &Kept, group: &Group) -> Summary {
        Summary {
            any: kept.any,
            longest: kept.longest.clone(),
            bytes: kept.bytes.clone(),
            last: kept.last,
            json: kept.json.clone(),
            sum: kept.sum,
            start: group.window.map(|window| window.start),
        }
    }
}

#[test]
fn accumulators_hold_every_type_and_start_where_they_should() {
    let mut test = AggregateTest::<Summarise>::open("{}", &readings()).unwrap();
    test.in_window(Window {
        start: Timestamp::from_secs(100),
        end: Timestamp::from_secs(200),
    });
    let results = test.aggregate(&readings(), &[0, 0, 2, 2]).unwrap();
    let start = Some(Timestamp::from_secs(100));
    let expect = Table::new()
        .with("any", [true, false, true])
        .with("longest", [Some("a"), None, Some("d")])
        .with("bytes", [&b"a"[..], b"", b"d"])
        .with("last", [101, 0, 104].map(Timestamp::from_secs))
        .with("json", [Json("[1.5]"), Json("null"), Json("[4]")])
        .with("sum", [2.0, 0.5, 6.5])
        .with("start", [start, start, start]);
    assert_eq!(results, expect);
    assert_eq!(test.rejects(), [(1, "no value".to_owned())]);
}

#[test]
fn names_of_types_go_both_ways() {
    for name in ["boolean", "int64", "float64", "utf8", "binary", "timestamp", "json"] {
        assert_eq!(DataType::from_name(name).unwrap().name(), name);
    }
    assert_eq!(DataType::from_name("list"), None);
}
