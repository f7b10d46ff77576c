//! Dead letters as a source: what could not be used is mended or waits, and comes in again.

use crate::sandbox::Sandbox;

/// Writes the records of dead letters as they were read, for the topology that refused them.
const FEED_BACK: &str = r#"
[[source]]
id = "letters"
connector = "file"
path = "input/rejected.jsonl"
format = "json"
schema = [{ name = "kind", type = "utf8" }, { name = "record", type = "utf8" }]

[[operator]]
id = "by-kind"
type = "split"
input = "letters"
ports = { undecodable = { column = "kind", op = "==", value = "undecodable" } }

[[sink]]
id = "mend"
connector = "file"
input = "by-kind.undecodable"
columns = ["record"]
path = "output/mend.txt"
format = "text"

[[sink]]
id = "again"
connector = "file"
input = "by-kind"
columns = ["record"]
path = "output/again.txt"
format = "text"
"#;

fn fed_back(letters: &str) -> Sandbox {
    let sandbox = Sandbox::new(FEED_BACK);
    sandbox.write("input/rejected.jsonl", letters);
    sandbox.run().finish().expect_code(0);
    sandbox
}

#[test]
fn records_come_out_of_dead_letters_as_they_were_read() {
    let refusing = Sandbox::of("tests/topologies/bad-records");
    refusing.run().finish().expect_code(0);
    let fed_back = fed_back(&refusing.read("output/rejected.jsonl"));
    let input = refusing.read("input/orders.csv");
    let lines = |numbers: &[usize]| -> String {
        let all: Vec<&str> = input.lines().collect();
        let wanted: Vec<&str> = numbers.iter().map(|&number| all[number - 1]).collect();
        wanted.join("\n") + "\n"
    };
    assert_eq!(fed_back.read("output/mend.txt"), lines(&[4, 9, 11]));
    assert_eq!(fed_back.read("output/again.txt"), lines(&[7, 8]));
}

/// Counts by hour; what is late becomes a dead letter.
const HOURS: &str = r#"
[[source]]
id = "rows"
connector = "file"
path = "input/rows.jsonl"
format = "json"
schema = [{ name = "at", type = "timestamp" }, { name = "n", type = "int64" }]
event-time = "at"
watermark = { strategy = "monotonic" }

[[operator]]
id = "hours"
type = "window"
input = "rows"
window = { type = "tumbling", size = "1h" }
aggregate = { rows = "count()", n = "sum(n)" }
late = "dead-letter"
dead-letter = "rejected"

[[sink]]
id = "hours-file"
connector = "file"
input = "hours"
path = "output/hours.jsonl"
format = "json"

[[sink]]
id = "rejected"
connector = "file"
path = "output/rejected.jsonl"
format = "json"
"#;

#[test]
fn late_rows_are_counted_when_they_come_in_again() {
    let late = concat!(
        "{\"at\":\"2026-01-01T00:59:00Z\",\"n\":2}\n",
        "{\"at\":\"2026-01-01T00:10:00Z\",\"n\":3}\n"
    );
    let first = Sandbox::new(HOURS);
    let rows = format!(
        "{}{}{late}{}",
        "{\"at\":\"2026-01-01T00:30:00Z\",\"n\":1}\n",
        "{\"at\":\"2026-01-01T01:30:00Z\",\"n\":10}\n",
        "{\"at\":\"2026-01-01T01:40:00Z\",\"n\":20}\n"
    );
    first.write("input/rows.jsonl", &rows);
    first.run().finish().expect_code(0);
    assert_eq!(
        first.read("output/hours.jsonl"),
        concat!(
            "{\"window_start\":\"2026-01-01T00:00:00Z\",\"window_end\":\"2026-01-01T01:00:00Z\",\"rows\":1,\"n\":1}\n",
            "{\"window_start\":\"2026-01-01T01:00:00Z\",\"window_end\":\"2026-01-01T02:00:00Z\",\"rows\":2,\"n\":30}\n"
        )
    );
    let again = fed_back(&first.read("output/rejected.jsonl")).read("output/again.txt");
    assert_eq!(again, late);
    let second = Sandbox::new(HOURS);
    second.write("input/rows.jsonl", &again);
    second.run().finish().expect_code(0);
    assert_eq!(
        second.read("output/hours.jsonl"),
        "{\"window_start\":\"2026-01-01T00:00:00Z\",\"window_end\":\"2026-01-01T01:00:00Z\",\"rows\":2,\"n\":5}\n"
    );
}
