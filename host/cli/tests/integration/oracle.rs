//! Random partitions through the real binary, compared with the naive oracle: the exact bytes of results, corrections and
//! late rows, at random parallelism and batch sizes.

use std::fmt::Write as _;
use std::fs;

use proptest::prelude::*;
use proptest::test_runner::{Config, FileFailurePersistence};

use wasmill_core::aggregate::Builtin;
use wasmill_core::column::Scalar;
use wasmill_core::time::Timestamp;
use wasmill_testkit::Row;
use wasmill_testkit::aggregates::evaluate;
use wasmill_testkit::partitions::{Partition, read};
use wasmill_testkit::windows::Windows;

use crate::process::Run;

/// Runs of the binary; each takes some 30 ms.
const CASES: u32 = 48;
const SECOND: i64 = 1_000_000;
/// Columns of a row's values.
const KEY: usize = 0;
const NUMBER: usize = 1;

#[derive(Clone, Debug)]
struct Case {
    partitions: Vec<Partition>,
    windows: Windows,
    workers: usize,
    batch_rows: usize,
    watermark_every: usize,
}

fn value(number: Option<i64>) -> Scalar {
    number.map_or(Scalar::Null, Scalar::Int64)
}

fn case() -> impl Strategy<Value = Case> {
    let row = (
        0..120_i64,
        prop::option::weighted(0.9, 0..4_i64),
        prop::option::weighted(0.9, -50..50_i64),
    )
        .prop_map(|(time, key, number)| (time * SECOND, vec![value(key), value(number)]));
    // Mostly rising times, with rows far behind and doubles between them.
    let rows = prop::collection::vec((row, 0..4_u8), 0..60).prop_map(|rows| {
        let mut rows: Vec<_> = rows;
        let rising = |(row, kind): &((i64, Vec<Scalar>), u8)| if *kind == 0 { i64::MAX } else { row.0 };
        rows.sort_by_key(rising);
        let mut rows: Vec<(i64, Vec<Scalar>)> = rows.into_iter().map(|(row, _)| row).collect();
        if let Some(double) = rows.first().cloned() {
            rows.push(double);
        }
        rows
    });
    let delay = prop::sample::select(vec![0_u64, 3, 20]);
    let partitions = (prop::collection::vec(rows, 1..4), delay).prop_map(|(all, delay)| {
        all.into_iter()
            .map(|rows| Partition {
                rows,
                delay: delay * SECOND as u64,
            })
            .collect::<Vec<_>>()
    });
    let windows = prop::sample::select(vec![(10, 10, 0), (10, 10, 3), (20, 5, 0), (20, 7, 2), (15, 10, 0)]);
    let allowed = prop::sample::select(vec![0, 8, 40]);
    (
        partitions,
        windows,
        allowed,
        1..5_usize,
        prop::sample::select(vec![1, 2, 13, 4096]),
        prop::sample::select(vec![1, 64]),
    )
        .prop_map(
            |(partitions, (size, every, offset), allowed, workers, batch_rows, watermark_every)| Case {
                partitions,
                windows: Windows {
                    size: size * SECOND,
                    every: every * SECOND,
                    offset: offset * SECOND,
                    time_zone: None,
                    allowed: allowed * SECOND,
                    cumulative: false,
                },
                workers,
                batch_rows,
                watermark_every,
            },
        )
}

fn json(value: &Scalar) -> String {
    match value {
        Scalar::Null => "null".to_owned(),
        Scalar::Int64(value) => value.to_string(),
        Scalar::Float64(value) => serde_json::to_string(value).expect("a finite number"),
        Scalar::Timestamp(micros) => format!("\"{}\"", Timestamp(*micros)),
        other => panic!("not in these tests: {other:?}"),
    }
}

/// What the files are to hold.
fn expectation(case: &Case) -> (String, String) {
    // Which partition is read first does not matter to the rows, their W, or the sinks' order.
    let (rows, _) = read(&case.partitions, |_| 0);
    let outcome = case.windows.evaluate(&rows, &[KEY]);
    let aggregates = [
        ("rows", Builtin::Count(None)),
        ("total", Builtin::Sum(NUMBER)),
        ("mean", Builtin::Avg(NUMBER)),
        ("least", Builtin::Min(NUMBER)),
        ("first", Builtin::First(NUMBER)),
        ("last", Builtin::Last(NUMBER)),
    ];
    // A result has t = end - 1; a sink orders by (max(t, w), t, place), the place of results being (key, end, number).
    let mut results: Vec<_> = outcome.results.iter().collect();
    results.sort_by(|a, b| {
        let order = |result: &wasmill_testkit::windows::WindowResult| (result.watermark, result.end);
        order(a).cmp(&order(b)).then_with(|| a.key.cmp(&b.key))
    });
    let mut windows = String::new();
    for result in results {
        let held: Vec<&Row> = result.rows.iter().map(|&row| &rows[row]).collect();
        let key = json(&held[0].values[KEY]);
        let (start, end) = (Timestamp(result.start), Timestamp(result.end));
        write!(windows, r#"{{"k":{key},"window_start":"{start}","window_end":"{end}""#).expect("text");
        for (name, function) in &aggregates {
            write!(windows, r#","{name}":{}"#, json(&evaluate(function, &held))).expect("text");
        }
        windows.push_str("}\n");
    }
    let mut late: Vec<&Row> = outcome.late.iter().map(|&row| &rows[row]).collect();
    late.sort_by_key(|row| (row.time.max(row.watermark), row.time, row.partition, row.position));
    let line = |row: &Row| {
        let (k, v) = (json(&row.values[KEY]), json(&row.values[NUMBER]));
        format!("{{\"t\":\"{}\",\"k\":{k},\"v\":{v}}}\n", Timestamp(row.time))
    };
    (windows, late.into_iter().map(line).collect())
}

const TOPOLOGY: &str = r#"
name = "oracle"

[[source]]
id = "rows"
connector = "file"
path = "p*.csv"
format = "csv"
schema = [
  { name = "t", type = "timestamp", unit = "us" },
  { name = "k", type = "int64", nullable = true },
  { name = "v", type = "int64", nullable = true },
]
event-time = "t"
watermark = { strategy = "bounded-out-of-orderness", delay = "DELAYus" }

[[operator]]
id = "windows"
type = "window"
input = "rows"
key = ["k"]
window = WINDOW
allowed-lateness = "ALLOWEDus"
[operator.aggregate]
rows = "count()"
total = "sum(v)"
mean = "avg(v)"
least = "min(v)"
first = "first(v)"
last = "last(v)"

[[sink]]
id = "results"
connector = "file"
input = "windows"
path = "results.jsonl"
format = "json"
order = "event-time"

[[sink]]
id = "late"
connector = "file"
input = "windows.late"
path = "late.jsonl"
format = "json"
order = "event-time"
"#;

fn topology(case: &Case) -> String {
    let Windows {
        size,
        every,
        offset,
        allowed,
        ..
    } = case.windows;
    let window = if size == every {
        format!("{{ type = \"tumbling\", size = \"{size}us\", offset = \"{offset}us\" }}")
    } else {
        format!("{{ type = \"sliding\", size = \"{size}us\", every = \"{every}us\", offset = \"{offset}us\" }}")
    };
    let delay = case.partitions[0].delay.to_string();
    TOPOLOGY
        .replace("WINDOW", &window)
        .replace("DELAY", &delay)
        .replace("ALLOWED", &allowed.to_string())
}

fn csv(partition: &Partition) -> String {
    let field = |value: &Scalar| match value {
        Scalar::Int64(value) => value.to_string(),
        _ => String::new(),
    };
    let line =
        |(time, values): &(i64, Vec<Scalar>)| format!("{time},{},{}\n", field(&values[KEY]), field(&values[NUMBER]));
    let lines: String = partition.rows.iter().map(line).collect();
    format!("t,k,v\n{lines}")
}

#[test]
fn windows_over_random_partitions_are_those_of_the_oracle() {
    let config = Config {
        cases: CASES,
        failure_persistence: Some(Box::new(FileFailurePersistence::Off)),
        ..Config::default()
    };
    proptest!(config, |(case in case())| {
        let folder = tempfile::tempdir().expect("a folder");
        for (number, partition) in case.partitions.iter().enumerate() {
            fs::write(folder.path().join(format!("p{number}.csv")), csv(partition)).expect("written");
        }
        let file = folder.path().join("topology.toml");
        fs::write(&file, topology(&case)).expect("written");
        Run::of(&file)
            .workers(case.workers)
            .with("WASMILL__ENGINE__BATCH_ROWS", case.batch_rows)
            .with("WASMILL__ENGINE__WATERMARK_EVERY", case.watermark_every)
            .finish()
            .expect_code(0);
        let (results, late) = expectation(&case);
        let read = |name: &str| fs::read_to_string(folder.path().join(name)).expect("a file");
        prop_assert_eq!(read("results.jsonl"), results);
        prop_assert_eq!(read("late.jsonl"), late);
    });
}
