//! What the plugin finds in example 04's metrics is what the example expects, which another program computed.

use std::{fs, path::PathBuf};

use robust_score::RobustScore;
use serde_json::{Value, json};
use wasmill_sdk::{
    Timestamp,
    testing::{KeyedTest, Table},
};

/// The configuration of the example's topology.
fn config() -> Value {
    json!({
        "floors": {
            "cpu_iowait": 5.0, "cpu_system": 5.0, "cpu_user": 10.0, "ctx_switches": 3_000.0, "disk_read_kb": 10_000.0,
            "disk_write_kb": 50_000.0, "forks": 50.0, "load1": 1.0, "mem_used_mb": 200.0, "net_rx_kb": 2_000.0,
            "net_tx_kb": 2_000.0, "procs_running": 3.0, "tcp_conns": 20.0,
        },
        "minimum": 30,
        "threshold": 6.0,
        "window": 120,
    })
}

fn read(name: &str) -> String {
    let folder = PathBuf::from(env!("CARGO_MANIFEST_DIR")).join("../../examples/04-anomalies");
    fs::read_to_string(folder.join(name)).expect("the example has its files")
}

/// The rows of a table as texts, without its heading, in some order.
fn lines(table: &Table) -> Vec<String> {
    let mut lines: Vec<String> = table.to_string().lines().skip(1).map(str::to_owned).collect();
    lines.sort();
    lines
}

#[test]
fn the_outliers_of_the_example_are_found() {
    let config = config();
    let input = read("input/host-metrics.csv");
    let mut records = input.lines();
    let metrics: Vec<&str> = records.next().expect("there is a heading").split(',').skip(1).collect();
    let (mut names, mut values, mut times) = (Vec::new(), Vec::new(), Vec::new());
    for (second, record) in (0..).zip(records) {
        let values_of = metrics.iter().zip(record.split(',').skip(1));
        for (metric, value) in values_of.filter(|(metric, _)| config["floors"].get(metric).is_some()) {
            names.push(*metric);
            values.push(value.parse::<f64>().expect("a metric is a number"));
            times.push(Timestamp::from_secs(second));
        }
    }
    let rows = Table::new()
        .with("host", names.iter().map(|_| "build-1"))
        .with("metric", names)
        .with("value", values)
        .with_event_times(times);
    let mut test = KeyedTest::<RobustScore>::open(&config.to_string(), &["host", "metric"], &[&rows]).unwrap();
    test.push(&rows);
    test.end().unwrap();
    let found: Vec<String> = lines(&test.take("out"))
        .into_iter()
        .filter(|line| !line.ends_with("null"))
        .collect();

    let expected = read("expected/outliers.jsonl");
    let expected: Vec<Value> = expected
        .lines()
        .map(|line| serde_json::from_str(line).expect("each line is JSON"))
        .collect();
    let of_text = |name: &'static str| expected.iter().map(move |row| row[name].as_str());
    let number = |name: &'static str| expected.iter().map(move |row| row[name].as_f64());
    let expect = Table::new()
        .with("host", of_text("host"))
        .with("metric", of_text("metric"))
        .with("value", number("value"))
        .with("median", number("median"))
        .with("scale", number("scale"))
        .with("score", number("score"))
        .with("outlier", of_text("outlier"));
    assert_eq!(found, lines(&expect));
}
