//! What watermarks follow, seen from outside: partitions that fall silent and come back, rows from the far future,
//! watermarks in the data, and the clock.

use rustix::process::Signal;
use serde_json::json;

use crate::following::append;
use crate::sandbox::Sandbox;

/// A window of ten seconds over the source `rows`; late rows go to a file.
fn counting(source: &str) -> Sandbox {
    Sandbox::new(&format!(
        r#"
        {source}

        [[operator]]
        id = "counts"
        type = "window"
        input = "rows"
        window = {{ type = "tumbling", size = "10s" }}
        aggregate = {{ rows = "count()" }}
        late = "port"

        [[sink]]
        id = "out"
        connector = "stdout"
        input = "counts"
        format = "csv"

        [[sink]]
        id = "late"
        connector = "file"
        input = "counts.late"
        path = "late.jsonl"
        format = "json"
        "#
    ))
}

/// Rows `{"t": seconds}`, and `{"t": seconds, "wm": seconds}`.
const SCHEMA: &str = r#"
    format = "json"
    schema = [
      { name = "t", type = "timestamp", unit = "s" },
      { name = "wm", type = "timestamp", unit = "s", nullable = true },
    ]
    event-time = "t"
"#;

fn count(from: u32, to: u32, rows: u32) -> String {
    format!("1970-01-01T00:00:{from:02}Z,1970-01-01T00:00:{to:02}Z,{rows}")
}

#[test]
fn a_partition_that_resumes_starts_at_the_watermark_that_the_others_have_reached() {
    let sandbox = counting(&format!(
        r#"
        [[source]]
        id = "rows"
        connector = "file"
        path = "input/*.jsonl"
        follow = true
        watermark = {{ strategy = "monotonic", idle-after = "200ms" }}
        {SCHEMA}
        "#
    ));
    sandbox.write("input/busy.jsonl", "{\"t\": 1}\n");
    sandbox.write("input/silent.jsonl", "{\"t\": 2}\n");
    let mut running = sandbox.run().workers(2).start();
    let lines = running.lines();
    append(&sandbox, "input/busy.jsonl", "{\"t\": 25}\n");
    // The silent one holds this back until it is idle.
    lines.expect(&["window_start,window_end,rows"]);
    lines.expect(&[&count(0, 10, 2)]);
    // The floor is 25: 3 is late, 26 is not, although the partition itself had come to 2 only.
    append(&sandbox, "input/silent.jsonl", "{\"t\": 3}\n{\"t\": 26}\n{\"t\": 41}\n");
    // The other one holds this back until it is idle in its turn.
    lines.expect(&[&count(20, 30, 2)]);
    running.signal(Signal::INT);
    let summary = running.finish().expect_code(130).summary();
    assert_eq!(summary["operators"]["counts"]["late"], 1);
    let partitions = &summary["sources"]["rows"]["partitions"];
    assert_eq!(partitions["count"], 2);
    let standing = |name: &str| {
        let slowest = partitions["slowest"].as_array().unwrap();
        slowest
            .iter()
            .find(|standing| standing["name"] == name)
            .unwrap_or_else(|| panic!("{name} in {partitions}"))
            .clone()
    };
    let silent = standing("input/silent.jsonl");
    assert_eq!(silent["watermark"], "1970-01-01T00:00:41Z");
    assert_eq!((&silent["rows"], &silent["behind-us"]), (&json!(4), &json!(0)));
    let busy = standing("input/busy.jsonl");
    assert_eq!(
        (&busy["state"], &busy["watermark"]),
        (&json!("idle"), &json!("1970-01-01T00:00:25Z"))
    );
    assert_eq!((&busy["rows"], &busy["behind-us"]), (&json!(2), &json!(16_000_000)));
}

#[test]
fn a_row_from_the_year_2099_is_counted_and_makes_nothing_late() {
    let sandbox = counting(&format!(
        r#"
        [[source]]
        id = "rows"
        connector = "file"
        path = "input.jsonl"
        on-invalid = "skip"
        watermark = {{ strategy = "monotonic", max-ahead = "1h" }}
        {SCHEMA}
        "#
    ));
    sandbox.write(
        "input.jsonl",
        "{\"t\": 1}\n{\"t\": 4070908800}\n{\"t\": 5}\n{\"t\": null}\n{\"t\": 12}\n{\"t\"\n{\"t\": 13}\n",
    );
    let mut running = sandbox.run().workers(2).start();
    let lines = running.lines();
    lines.expect(&["window_start,window_end,rows"]);
    lines.expect(&[&count(0, 10, 2), &count(10, 20, 2)]);
    let summary = running.finish().expect_code(0).summary();
    assert_eq!(summary["operators"]["counts"]["late"], 0);
    let source = &summary["sources"]["rows"];
    let by_reason = json!({ "undecodable": 2, "without-event-time": 0, "too-far-ahead": 1 });
    assert_eq!(source["invalid-by-reason"], by_reason);
    let partition = &source["partitions"]["slowest"][0];
    assert_eq!(partition["invalid-by-reason"], by_reason);
    assert_eq!(
        (&partition["state"], &partition["watermark"]),
        (&json!("finished"), &json!("1970-01-01T00:00:13Z"))
    );
}

#[test]
fn a_column_of_the_data_says_when_a_window_is_complete() {
    for workers in [1, 3] {
        let sandbox = counting(&format!(
            r#"
            [[source]]
            id = "rows"
            connector = "file"
            path = "input.jsonl"
            watermark = {{ strategy = "column", column = "wm" }}
            {SCHEMA}
            "#
        ));
        // 3 and 12 come after the row that says 20; nobody reads `wm` but the watermark.
        let rows = [
            (1, None),
            (2, Some(20)),
            (3, None),
            (25, None),
            (12, Some(5)),
            (24, None),
        ];
        let text: String = rows
            .iter()
            .map(|(t, wm)| json!({ "t": t, "wm": wm }).to_string() + "\n")
            .collect();
        sandbox.write("input.jsonl", text);
        let mut running = sandbox
            .run()
            .workers(workers)
            .with("WASMILL__ENGINE__BATCH_ROWS", workers)
            .start();
        let lines = running.lines();
        lines.expect(&["window_start,window_end,rows"]);
        lines.expect(&[&count(0, 10, 2), &count(20, 30, 2)]);
        running.finish().expect_code(0);
        let late: Vec<serde_json::Value> = sandbox
            .read("late.jsonl")
            .lines()
            .map(|line| serde_json::from_str::<serde_json::Value>(line).unwrap()["t"].clone())
            .collect();
        assert_eq!(late, ["1970-01-01T00:00:03Z", "1970-01-01T00:00:12Z"]);
    }
}

#[test]
fn a_window_in_processing_time_closes_although_nothing_more_comes() {
    for time in ["processing", "ingestion"] {
        let sandbox = Sandbox::new(&format!(
            r#"
            [[source]]
            id = "lines"
            connector = "file"
            path = "input.log"
            follow = true
            format = "text"
            time = "{time}"

            [[operator]]
            id = "counts"
            type = "window"
            input = "lines"
            window = {{ type = "tumbling", size = "100ms" }}
            aggregate = {{ lines = "count()" }}

            [[sink]]
            id = "out"
            connector = "stdout"
            input = "counts"
            columns = ["lines"]
            format = "csv"
            "#
        ));
        // There is no file yet, and so no partition.
        let mut running = sandbox.run().workers(2).start();
        let lines = running.lines();
        sandbox.write("input.log", "one\ntwo\n");
        lines.expect(&["lines"]);
        lines.expect(&["2"]);
        append(&sandbox, "input.log", "three\n");
        lines.expect(&["1"]);
        running.signal(Signal::TERM);
        running.finish().expect_code(130);
    }
}

#[test]
fn a_source_that_falls_silent_does_not_hold_back_what_reads_it_with_another() {
    let source = |id: &str, idle: &str| {
        format!(
            r#"
            [[source]]
            id = "{id}"
            connector = "file"
            path = "input/{id}.jsonl"
            follow = true
            watermark = {{ strategy = "monotonic"{idle} }}
            {SCHEMA}
            "#
        )
    };
    let sandbox = counting(&format!(
        r#"
        {}
        {}

        [[operator]]
        id = "rows"
        type = "union"
        input = ["busy", "silent"]
        "#,
        source("busy", ""),
        source("silent", ", idle-after = \"100ms\"")
    ));
    sandbox.write("input/busy.jsonl", "{\"t\": 1}\n{\"t\": 31}\n");
    sandbox.write("input/silent.jsonl", "{\"t\": 2}\n");
    let mut running = sandbox.run().workers(2).start();
    let lines = running.lines();
    lines.expect(&["window_start,window_end,rows"]);
    lines.expect(&[&count(0, 10, 2)]);
    append(&sandbox, "input/busy.jsonl", "{\"t\": 45}\n");
    lines.expect(&[&count(30, 40, 1)]);
    running.signal(Signal::INT);
    let summary = running.finish().expect_code(130).summary();
    assert_eq!(summary["operators"]["counts"]["late"], 0);
    assert_eq!(summary["sources"]["silent"]["partitions"]["idle"], 1);
}
