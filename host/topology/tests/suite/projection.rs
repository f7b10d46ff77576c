//! Which columns are read, and where the places of rows are needed.

use crate::support;

const SOURCE: &str = r#"
[[source]]
id = "flights"
connector = "file"
path = "input/a.csv"
format = "csv"
schema = [
  { name = "scheduled", type = "timestamp" },
  { name = "dep_delay", type = "int64" },
  { name = "origin", type = "utf8" },
  { name = "note", type = "utf8" },
]
event-time = "scheduled"
watermark = { strategy = "monotonic" }
"#;

const WINDOW: &str = r#"
[[operator]]
id = "hourly"
type = "window"
input = "flights"
key = ["origin"]
window = { type = "tumbling", size = "1h" }
"#;

fn sink(id: &str, rest: &str) -> String {
    format!("[[sink]]\nid = \"{id}\"\nconnector = \"file\"\npath = \"{id}\"\nformat = \"json\"\n{rest}\n")
}

/// The columns of a stream that something reads, and `order` where the rows' places are needed.
fn check(parts: &[&str], stream: &str, expect: &str) {
    let text = format!("{SOURCE}{}", parts.concat());
    let checked = support::check(&text, &|_| None, &[]).unwrap_or_else(|found| panic!("{found:?}"));
    let stream = checked
        .plan
        .streams
        .iter()
        .find(|candidate| &*candidate.name == stream)
        .expect("there is such a stream");
    let fields = stream.schema.fields().iter().zip(&stream.live);
    let mut live: Vec<&str> = fields
        .filter(|(_, live)| **live)
        .map(|(field, _)| &*field.name)
        .collect();
    if stream.order {
        live.push("+order");
    }
    assert_eq!(live.join(" "), expect, "{text}");
}

#[test]
fn a_sink_reads_the_columns_that_it_writes() {
    check(
        &[&sink("out", "input = \"flights\"\ncolumns = [\"note\"]")],
        "flights",
        "note",
    );
    check(
        &[&sink("out", "input = \"flights\"")],
        "flights",
        "scheduled dep_delay origin note",
    );
}

#[test]
fn a_window_reads_its_key_and_what_it_aggregates() {
    let count = [
        WINDOW,
        "aggregate = { n = \"count()\" }\n",
        &sink("out", "input = \"hourly\""),
    ];
    check(&count, "flights", "origin");
    let sum = [
        WINDOW,
        "aggregate = { s = \"sum(dep_delay)\" }\n",
        &sink("out", "input = \"hourly\""),
    ];
    check(&sum, "flights", "dep_delay origin");
}

#[test]
fn an_aggregate_whose_result_nobody_reads_still_reads_its_column() {
    let parts = [
        WINDOW,
        "aggregate = { s = \"sum(dep_delay)\" }\n",
        &sink("out", "input = \"hourly\"\ncolumns = [\"origin\"]"),
    ];
    check(&parts, "flights", "dep_delay origin");
    check(&parts, "hourly", "origin");
}

#[test]
fn late_rows_are_read_as_far_as_their_sink_writes_them() {
    let parts = [
        WINDOW,
        "aggregate = { n = \"count()\" }\n",
        &sink("out", "input = \"hourly\""),
        &sink(
            "late",
            "input = \"hourly.late\"\ncolumns = [\"note\"]\norder = \"event-time\"",
        ),
    ];
    check(&parts, "flights", "origin note +order");
    check(&parts, "hourly", "origin window_start window_end n");
}

#[test]
fn late_rows_that_become_dead_letters_are_shown_whole() {
    let parts = [
        WINDOW,
        "aggregate = { n = \"count()\" }\nlate = \"dead-letter\"\ndead-letter = \"rejected\"\n",
        &sink("out", "input = \"hourly\""),
        &sink("rejected", ""),
    ];
    check(&parts, "flights", "scheduled dep_delay origin note +order");
}

#[test]
fn a_transform_reads_what_it_requires_and_what_it_may_hand_through() {
    let classify = "[[operator]]\nid = \"classify\"\nplugin = \"classify.wasm\"\ninput = \"flights\"\n";
    let class = [classify, &sink("out", "input = \"classify\"\ncolumns = [\"class\"]")];
    check(&class, "flights", "dep_delay");
    let note = [classify, &sink("out", "input = \"classify\"\ncolumns = [\"note\"]")];
    check(&note, "flights", "dep_delay note");
}

#[test]
fn a_column_that_becomes_the_event_time_is_read_by_the_host() {
    let retime = "[[operator]]\nid = \"retime\"\nplugin = \"retime.wasm\"\ninput = \"flights\"\n";
    let parts = [retime, &sink("out", "input = \"retime\"\ncolumns = [\"note\"]")];
    check(&parts, "flights", "scheduled note");
    check(&parts, "retime", "note");
}

#[test]
fn places_are_needed_where_rows_are_put_into_one_order() {
    let of = |aggregate: &str| format!("aggregate = {{ x = \"{aggregate}\" }}\n");
    let out = sink("out", "input = \"hourly\"\norder = \"event-time\"");
    check(&[WINDOW, &of("first(note)"), &out], "flights", "origin note +order");
    check(&[WINDOW, &of("max(note)"), &out], "flights", "origin note");
    check(
        &[WINDOW, &of("max(note)"), &out],
        "hourly",
        "origin window_start window_end x +order",
    );
}

#[test]
fn places_are_needed_for_the_provenance_of_dead_letters() {
    let alarm = "[[operator]]\nid = \"alarm\"\nplugin = \"alarm.wasm\"\ninput = \"flights\"\n";
    let out = sink("out", "input = \"alarm.alarms\"\n");
    check(&[alarm, &out], "flights", "scheduled");
    check(
        &[
            alarm,
            "dead-letter = \"rejected\"\n",
            &out,
            &sink("rejected", "columns = [\"error\"]"),
        ],
        "flights",
        "scheduled +order",
    );
}
