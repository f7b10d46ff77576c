//! The signature of a node's state changes with what saved state cannot be read without, and with nothing else.

use wasmill_core::id::NodeIndex;

use crate::support;

const SOURCES: &str = r#"
[[source]]
id = "flights"
connector = "file"
path = "input/a.csv"
format = "csv"
schema = [
  { name = "scheduled", type = "timestamp" },
  { name = "origin", type = "utf8" },
  { name = "tail", type = "utf8" },
  { name = "delay", type = "int64" },
  { name = "miles", type = "int64" },
]
event-time = "scheduled"
watermark = { strategy = "monotonic" }

[[source]]
id = "weather"
connector = "file"
path = "input/b.csv"
format = "csv"
schema = [
  { name = "observed", type = "timestamp" },
  { name = "origin", type = "utf8" },
  { name = "gust", type = "float64" },
  { name = "rain", type = "float64" },
]
event-time = "observed"
watermark = { strategy = "monotonic" }
"#;

const OUT: &str = r#"
[[sink]]
id = "out"
connector = "file"
input = "it"
path = "out.jsonl"
format = "json"
mode = "changelog"
"#;

const MORE: &str = r#"
[[sink]]
id = "more"
connector = "stdout"
input = "it"
format = "csv"
columns = ["origin"]
mode = "changelog"
"#;

/// The signature of a node of a topology.
fn signature(topology: &str, id: &str) -> Option<String> {
    let plan = match support::check(topology, &|_| None, &[]) {
        Ok(checked) => checked.plan,
        Err(problems) => {
            let said: Vec<String> = problems
                .iter()
                .map(|problem| support::show(problem, topology))
                .collect();
            panic!("{topology}\n{}", said.join("\n"));
        }
    };
    let at = plan
        .nodes
        .iter()
        .position(|node| node.id.as_str() == id)
        .expect("the node is there");
    plan.state_signature(NodeIndex(at as u32))
}

/// An operator `it`, and changes of its text, each a text in it and what stands there instead.
fn check(operator: &str, same: &[(&str, &str)], other: &[(&str, &str)]) {
    let base = format!("{operator}{SOURCES}{OUT}");
    let before = signature(&base, "it").expect("it keeps state");
    let after = |from: &str, to: &str| {
        assert!(base.contains(from), "{from:?} is in\n{base}");
        signature(&base.replacen(from, to, 1), "it").expect("it keeps state")
    };
    for (from, to) in same {
        assert_eq!(before, after(from, to), "{from:?} became {to:?}");
    }
    let mut seen = vec![before.clone()];
    for (from, to) in other {
        let after = after(from, to);
        assert!(
            !seen.contains(&after),
            "{from:?} became {to:?}, and all is as before: {after}"
        );
        seen.push(after);
    }
    assert_eq!(
        before,
        signature(&format!("{base}{MORE}"), "it").expect("it keeps state")
    );
}

#[test]
fn state_of_a_window_is_its_key_its_windows_and_its_cells() {
    check(
        r#"
[[operator]]
id = "it"
type = "window"
input = "flights"
key = ["origin"]
window = { type = "tumbling", size = "1h" }
allowed-lateness = "0s"
late = "drop"
aggregate = { origins = "max(origin)", n = "count()", sum = "sum(delay)", q = "quantile(delay, 0.5)", k = "top_k(tail, 3)", p = { plugin = "plugins/spread.wasm" } }
"#,
        &[
            ("allowed-lateness = \"0s\"", "allowed-lateness = \"10m\""),
            ("late = \"drop\"", "late = \"drop\"\npane = true"),
            ("late = \"drop\"", "late = \"drop\"\nlateness = \"best-effort\""),
            ("n = \"count()\", ", ""),
            ("sum = \"sum", "total = \"sum"),
            ("0.5", "0.9"),
            ("(tail, 3)", "(tail, 10)"),
            (
                "plugins/spread.wasm\"",
                "plugins/spread.wasm\", limits = { memory = \"32MiB\" }",
            ),
            ("id = \"it\"", "id = \"it\"\nrenamed-from = [\"that\"]"),
            ("\"1h\"", "\"60m\""),
        ],
        &[
            ("key = [\"origin\"]", "key = [\"tail\"]"),
            ("key = [\"origin\"]", "key = [\"origin\", \"tail\"]"),
            ("\"1h\"", "\"2h\""),
            ("size = \"1h\"", "size = \"1h\", offset = \"5m\""),
            ("size = \"1h\"", "size = \"1h\", time-zone = \"Europe/Berlin\""),
            (
                "type = \"tumbling\", size = \"1h\"",
                "type = \"sliding\", size = \"1h\", every = \"30m\"",
            ),
            ("type = \"tumbling\", size = \"1h\"", "type = \"session\", gap = \"1h\""),
            (
                "type = \"tumbling\", size = \"1h\" }
allowed-lateness = \"0s\"",
                "type = \"count\", size = 10 }",
            ),
            ("sum(delay)", "sum(miles)"),
            ("sum(delay)", "max(delay)"),
            ("sum = \"sum(delay)\", ", ""),
            ("spread.wasm", "score.wasm"),
            ("late = \"drop\"", "late = \"drop\"\nearly = { every = \"1m\" }"),
            (
                "late = \"drop\"",
                "late = \"drop\"\nearly = { every = \"1m\", mode = \"retracting\" }",
            ),
            ("\"delay\", type = \"int64\"", "\"delay\", type = \"float64\""),
        ],
    );
}

#[test]
fn state_of_a_plugin_with_keys_is_its_key_its_tables_and_rows_that_wait() {
    check(
        r#"
[[operator]]
id = "it"
plugin = "plugins/sessions.wasm"
input = "flights"
key = ["origin"]
config = { gap = 1 }
on-fault = "fail"
"#,
        &[
            ("gap = 1", "gap = 2"),
            (
                "on-fault = \"fail\"",
                "on-fault = \"skip\"\nlimits = { deadline = \"2s\" }",
            ),
            ("on-fault = \"fail\"", "on-fault = \"fail\"\norder = \"event-time\""),
        ],
        &[
            ("key = [\"origin\"]", "key = [\"origin\", \"tail\"]"),
            ("on-fault = \"fail\"", "order = \"arrival\""),
            ("gap = 1", "clock = 1"),
            ("input = \"flights\"", "input = [\"flights\", \"weather\"]"),
        ],
    );
}

#[test]
fn state_of_a_join_is_its_bound_and_the_columns_that_come_out() {
    let join = r#"
[[operator]]
id = "it"
type = "join"
left = "flights"
right = "weather"
kind = "inner"
on = { origin = "origin" }
within = { before = "1h", after = "0s" }
late = "drop"
"#;
    check(
        join,
        &[
            ("late = \"drop\"", ""),
            ("late = \"drop\"", "prefix = { right = \"w_\" }"),
            ("path = \"out.jsonl\"", "path = \"other.jsonl\"\norder = \"event-time\""),
        ],
        &[
            ("inner", "left"),
            ("before = \"1h\"", "before = \"2h\""),
            ("after = \"0s\"", "after = \"1m\""),
            ("within = { before = \"1h\", after = \"0s\" }", "as-of = {}"),
            (
                "within = { before = \"1h\", after = \"0s\" }",
                "as-of = { within = \"1h\" }",
            ),
            (
                "within = { before = \"1h\", after = \"0s\" }",
                "window = { type = \"tumbling\", size = \"1h\" }",
            ),
            ("mode = \"changelog\"", "columns = [\"origin\", \"delay\"]"),
            ("mode = \"changelog\"", "columns = [\"origin\", \"miles\"]"),
            ("mode = \"changelog\"", "columns = [\"origin\", \"gust\"]"),
            ("\"rain\", type = \"float64\"", "\"rain\", type = \"int64\""),
        ],
    );
    check(
        &join.replace(
            "within = { before = \"1h\", after = \"0s\" }",
            "as-of = { within = \"1h\" }",
        ),
        &[("\"1h\"", "\"2h\"")],
        &[("as-of = { within = \"1h\" }", "as-of = {}")],
    );
}

#[test]
fn state_of_a_deduplication_is_its_key_and_rows_that_wait() {
    check(
        r#"
[[operator]]
id = "it"
type = "deduplicate"
input = "flights"
key = ["origin"]
horizon = "1h"
"#,
        &[("\"1h\"", "\"2h\""), ("horizon", "late = \"drop\"\nhorizon")],
        &[
            ("key = [\"origin\"]", "key = [\"tail\"]"),
            ("mode = \"changelog\"", "columns = [\"delay\"]"),
            ("\"miles\", type = \"int64\"", "\"miles\", type = \"float64\""),
        ],
    );
}

#[test]
fn state_of_a_top_is_its_key_how_it_ranks_and_the_rows_that_come_out() {
    check(
        r#"
[[operator]]
id = "it"
type = "top"
input = "flights"
key = ["origin"]
n = 3
by = "delay"
late = "drop"
"#,
        &[("late = \"drop\"", ""), ("late = \"drop\"", "rank = true")],
        &[
            ("n = 3", "n = 4"),
            ("by = \"delay\"", "by = \"miles\""),
            ("by = \"delay\"", "by = \"delay\"\ndescending = false"),
            ("key = [\"origin\"]", "key = [\"tail\"]"),
            ("late = \"drop\"", "window = { type = \"tumbling\", size = \"1h\" }"),
            ("mode = \"changelog\"", "mode = \"changelog\"\ncolumns = [\"tail\"]"),
        ],
    );
}

#[test]
fn state_of_a_window_with_all_its_rows_is_its_windows_and_the_columns_that_are_read() {
    check(
        r#"
[[operator]]
id = "it"
type = "window"
input = "flights"
key = ["origin"]
window = { type = "session", gap = "10m" }
plugin = "plugins/histogram.wasm"
"#,
        &[(
            "plugins/histogram.wasm\"",
            "plugins/histogram.wasm\"\nallowed-lateness = \"1m\"",
        )],
        &[
            ("\"10m\"", "\"20m\""),
            (
                "window = { type = \"session\", gap = \"10m\" }",
                "window = { type = \"global\" }\ntrigger = { count = 5 }",
            ),
            (
                "window = { type = \"session\", gap = \"10m\" }",
                "window = { type = \"global\" }\ntrigger = { count = 6 }",
            ),
            (
                "window = { type = \"session\", gap = \"10m\" }",
                "window = { type = \"global\" }\ntrigger = { count = 6, purge = true }",
            ),
            (
                "window = { type = \"session\", gap = \"10m\" }",
                "window = { type = \"global\" }\ntrigger = { every = \"1m\" }",
            ),
            (
                "window = { type = \"session\", gap = \"10m\" }",
                "window = { type = \"global\" }",
            ),
        ],
    );
}

#[test]
fn state_of_sources_and_sinks_is_their_connectors() {
    let base = format!("{SOURCES}{}", OUT.replace("\"it\"", "\"flights\""));
    let sink = |text: &str| signature(text, "out");
    assert_eq!(signature(&base, "flights").as_deref(), Some("source file"));
    assert_eq!(sink(&base).as_deref(), Some("sink file"));
    let other_format = base.replace(
        "path = \"out.jsonl\"\nformat = \"json\"",
        "path = \"out.csv\"\nformat = \"csv\"",
    );
    assert_eq!(sink(&base), sink(&other_format));
    let ordered = base.replace("mode = \"changelog\"", "order = \"event-time\"");
    assert_ne!(sink(&base), sink(&ordered));
    let fewer = ordered.replace("order = \"event-time\"", "order = \"event-time\"\ncolumns = [\"tail\"]");
    assert_ne!(sink(&ordered), sink(&fewer));
}

#[test]
fn nodes_that_pass_rows_on_keep_nothing() {
    for operator in [
        "plugin = \"plugins/retime.wasm\"\ninput = \"flights\"",
        "type = \"split\"\ninput = \"flights\"\nports = { bad = { column = \"delay\", op = \">\", value = 5 } }",
        "type = \"union\"\ninput = [\"flights\", \"more\"]\n\n[[source]]\nid = \"more\"\nconnector = \"file\"\npath = \
         \"input/c.csv\"\nformat = \"csv\"\nschema = [{ name = \"scheduled\", type = \"timestamp\" }, { name = \"origin\", \
         type = \"utf8\" }, { name = \"tail\", type = \"utf8\" }, { name = \"delay\", type = \"int64\" }, { name = \
         \"miles\", type = \"int64\" }]\nevent-time = \"scheduled\"\nwatermark = { strategy = \"monotonic\" }",
    ] {
        let topology = format!("[[operator]]\nid = \"it\"\n{operator}\n{SOURCES}{OUT}");
        assert_eq!(signature(&topology, "it"), None, "{topology}");
    }
}

#[test]
fn a_signature_is_a_text_that_stays() {
    let windowed = format!(
        r#"
[[operator]]
id = "it"
type = "window"
input = "flights"
key = ["origin"]
window = {{ type = "sliding", size = "1h", every = "10m" }}
aggregate = {{ n = "count()", mean = "avg(delay)", p = {{ plugin = "plugins/spread.wasm" }} }}
{SOURCES}{OUT}"#
    );
    assert_eq!(
        signature(&windowed, "it").as_deref(),
        Some(
            "window by (\"origin\" utf8); sliding 1h every 10m from 0s in UTC; avg(\"delay\" int64); cells version 1 \
             (\"sum\" int64)"
        )
    );
}
