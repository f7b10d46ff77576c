//! A record that cannot be used stops the run with its place, or is skipped, or becomes a dead letter, as the topology
//! says; dead letters are compared in `reproducible`.

use crate::sandbox::Sandbox;

const RECORDS: &str = "at,id\n2024-05-01T10:00:00Z,1\n2024-05-01T10:00:01Z,two\n2024-05-01T10:00:02Z,3\n";

fn sandbox(of_source: &str) -> Sandbox {
    let sandbox = Sandbox::new(&format!(
        r#"
        [[source]]
        id = "orders"
        connector = "file"
        path = "input/*.csv"
        format = "csv"
        schema = [{{ name = "at", type = "timestamp" }}, {{ name = "id", type = "int64" }}]
        event-time = "at"
        watermark = {{ strategy = "monotonic" }}
        {of_source}

        [[sink]]
        id = "out"
        connector = "file"
        input = "orders"
        path = "output/orders.csv"
        format = "csv"
        "#
    ));
    sandbox.write("input/orders.csv", RECORDS);
    sandbox
}

#[test]
fn a_bad_record_stops_the_run_and_is_named_with_file_line_and_column() {
    let sandbox = sandbox("");
    let finished = sandbox.run().finish().expect_code(1);
    let summary = finished.summary();
    assert_eq!(summary["state"], "failed");
    let error = summary["error"].as_str().unwrap();
    assert!(error.contains("input/orders.csv:3:22:"), "{error}");
    assert!(error.contains("\"id\""), "{error}");
    assert!(error.contains("\"two\""), "{error}");
}

/// Two sides of a join: the left has two late rows, the right one.
#[test]
fn the_late_rows_of_a_join_are_counted_by_side() {
    let source = |id: &str| {
        format!(
            r#"
            [[source]]
            id = "{id}"
            connector = "file"
            path = "input/{id}.csv"
            format = "csv"
            schema = [{{ name = "at", type = "timestamp" }}, {{ name = "id", type = "int64" }}]
            event-time = "at"
            watermark = {{ strategy = "monotonic" }}
            "#
        )
    };
    let sandbox = Sandbox::new(&format!(
        r#"
        {}{}
        [[operator]]
        id = "both"
        type = "join"
        left = "orders"
        right = "payments"
        on = {{ id = "id" }}
        within = {{ before = "1m" }}
        prefix = {{ right = "paid_" }}

        [[sink]]
        id = "out"
        connector = "stdout"
        input = "both"
        format = "csv"
        "#,
        source("orders"),
        source("payments")
    ));
    let row = |second: u32| format!("2024-05-01T10:00:{second:02}Z,1\n");
    sandbox.write("input/orders.csv", format!("at,id\n{}{}{}", row(30), row(1), row(2)));
    sandbox.write("input/payments.csv", format!("at,id\n{}{}{}", row(30), row(40), row(3)));
    let summary = sandbox.run().finish().expect_code(0).summary();
    let counts = &summary["operators"]["both"];
    assert_eq!(
        (&counts["late"], &counts["late-left"]),
        (&3.into(), &2.into()),
        "{counts}"
    );
    assert_eq!(counts["late-right"], 1, "{counts}");
    assert_eq!(summary["open"], serde_json::json!([]), "the input has ended");
}

#[test]
fn a_run_that_fails_says_where_windows_were_open() {
    let hourly = r#"
        [[operator]]
        id = "hourly"
        type = "window"
        input = "orders"
        window = { type = "tumbling", size = "1h" }
        aggregate = { orders = "count()" }

        [[operator]]
        id = "first"
        type = "split"
        input = "orders"
        ports = { one = { column = "id", op = "==", value = 1 } }

        [[sink]]
        id = "hours"
        connector = "file"
        input = "hourly"
        path = "output/hours.csv"
        format = "csv"

        [[sink]]
        id = "ones"
        connector = "file"
        input = ["first", "first.one"]
        path = "output/ones.csv"
        format = "csv"
    "#;
    let sandbox = sandbox(hourly);
    // So much that rows have come to the window before the last record is read.
    let good = "2024-05-01T10:00:00Z,1\n".repeat(100_000);
    sandbox.write("input/orders.csv", format!("at,id\n{good}2024-05-01T10:00:02Z,two\n"));
    let finished = sandbox.run().workers(1).finish().expect_code(1);
    assert_eq!(finished.summary()["open"], serde_json::json!(["hourly"]));
}

#[test]
fn a_bad_record_is_skipped_where_the_topology_says_so() {
    let sandbox = sandbox("on-invalid = \"skip\"");
    let finished = sandbox.run().finish().expect_code(0);
    assert_eq!(finished.summary()["sources"]["orders"]["invalid"], 1);
    assert_eq!(
        sandbox.read("output/orders.csv"),
        "at,id\n2024-05-01T10:00:00Z,1\n2024-05-01T10:00:02Z,3\n"
    );
}

#[test]
fn a_topology_with_errors_is_not_run() {
    let sandbox = sandbox("no-such-key = 1");
    sandbox.run().finish().expect_code(3);
    assert!(!sandbox.path("output").exists());
}

#[test]
fn a_wrong_command_line_has_a_code_of_its_own() {
    let sandbox = sandbox("");
    sandbox.run().workers(0).finish().expect_code(2);
}

#[test]
fn a_topology_that_is_not_there_is_not_run() {
    let sandbox = sandbox("");
    std::fs::remove_file(sandbox.path("topology.toml")).unwrap();
    sandbox.run().finish().expect_code(3);
}
