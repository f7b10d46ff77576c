//! A reader of standard output that has seen enough.

use std::io::{BufRead, BufReader};

use crate::sandbox::Sandbox;

const ENDLESS: &str = r#"
[[source]]
id = "numbers"
connector = "generator"
kind = "counter"

[[sink]]
id = "out"
connector = "stdout"
input = "numbers"
format = "json"
"#;

#[test]
fn an_endless_job_ends_quietly_when_nobody_reads_on() {
    let sandbox = Sandbox::new(ENDLESS);
    let mut running = sandbox.run().start();
    let mut first = String::new();
    BufReader::new(running.stdout()).read_line(&mut first).unwrap();
    assert_eq!(first, "{\"number\":0,\"time\":\"2026-01-01T00:00:00Z\"}\n");
    let finished = running.finish().expect_code(0);
    assert_eq!(finished.stderr, "");
}
