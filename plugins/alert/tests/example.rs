//! What the plugin makes of example 04's verdicts is what the example expects, which another program computed.

use std::{fs, path::PathBuf};

use alert::Alerts;
use serde_json::Value;
use wasmill_sdk::{
    Json, Timestamp,
    testing::{KeyedTest, Table},
};

fn expected(name: &str) -> Vec<Value> {
    let folder = PathBuf::from(env!("CARGO_MANIFEST_DIR")).join("../../examples/04-anomalies/expected");
    let text = fs::read_to_string(folder.join(name)).expect("the example has expected files");
    text.lines()
        .map(|line| serde_json::from_str(line).expect("each line is JSON"))
        .collect()
}

/// A time of the recording's day.
fn time(value: &Value) -> Timestamp {
    let text = value.as_str().expect("a time is text");
    let clock = text.strip_prefix("2026-11-22T").and_then(|text| text.strip_suffix('Z'));
    let units = clock.expect("the recording is of one day").split(':');
    let seconds = units.fold(0, |sum, unit| sum * 60 + unit.parse::<i64>().expect("whole seconds"));
    Timestamp::from_secs(seconds)
}

fn texts<'a>(rows: &'a [Value], name: &'a str) -> impl Iterator<Item = &'a str> {
    rows.iter()
        .map(move |row| row[name].as_str().expect("the column is text"))
}

fn numbers<'a>(rows: &'a [Value], name: &'a str) -> impl Iterator<Item = i64> {
    rows.iter()
        .map(move |row| row[name].as_i64().expect("the column is of whole numbers"))
}

fn times<'a>(rows: &'a [Value], name: &'a str) -> impl Iterator<Item = Timestamp> {
    rows.iter().map(move |row| time(&row[name]))
}

fn json<'a>(rows: &'a [Value], name: &'a str) -> impl Iterator<Item = Json<String>> {
    rows.iter().map(move |row| Json(row[name].to_string()))
}

#[test]
fn the_alerts_of_the_example_follow_from_its_verdicts() {
    let verdicts = expected("verdicts.jsonl");
    let rows = Table::new()
        .with("host", texts(&verdicts, "host"))
        .with("window_start", times(&verdicts, "window_start"))
        .with("window_end", times(&verdicts, "window_end"))
        .with("outliers", numbers(&verdicts, "outliers"))
        .with("outlying", json(&verdicts, "outlying"))
        .with("errors", numbers(&verdicts, "errors"))
        .with("services", json(&verdicts, "services"))
        .with("anomalous", verdicts.iter().map(|row| row["anomalous"] == true))
        .with("cause", verdicts.iter().map(|row| row["cause"].as_str()))
        .with_event_times(times(&verdicts, "window_end").map(|end| end.saturating_sub_micros(1)));
    let config = r#"{"clear-after-s":30,"raise-after-s":3}"#;
    let mut test = KeyedTest::<Alerts>::open(config, &["host"], &[&rows]).unwrap();
    test.push(&rows);
    test.end().unwrap();

    let alerts = expected("alerts.jsonl");
    let expect = Table::new()
        .with("host", texts(&alerts, "host"))
        .with("event", texts(&alerts, "event"))
        .with("at", times(&alerts, "at"))
        .with("begin", times(&alerts, "begin"))
        .with(
            "end",
            alerts
                .iter()
                .map(|row| (!row["end"].is_null()).then(|| time(&row["end"]))),
        )
        .with("cause", texts(&alerts, "cause"))
        .with("peak_errors", numbers(&alerts, "peak_errors"))
        .with("services", json(&alerts, "services"))
        .with("peak_outliers", numbers(&alerts, "peak_outliers"))
        .with("outlying", json(&alerts, "outlying"));
    let told = alerts.iter().map(|row| match row["event"].as_str() {
        // It comes from a row, which stands a microsecond before the end of its second.
        Some("changed") => time(&row["at"]).saturating_sub_micros(1),
        _ => time(&row["at"]),
    });
    assert_eq!(test.take("out"), expect.with_event_times(told));
}
