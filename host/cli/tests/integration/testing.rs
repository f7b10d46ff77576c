//! `wasmill test` as its users see it: tests that pass, tests that fail, files with mistakes, golden files.

use std::fs;
use std::path::Path;
use std::process::{Command, Output};

use crate::sandbox::{Sandbox, repository};

const FOLDER: &str = "tests/golden/testing";

fn wasmill(folder: &Path, arguments: &[&str]) -> Output {
    Command::new(env!("CARGO_BIN_EXE_wasmill"))
        .arg("test")
        .args(arguments)
        .current_dir(folder)
        .env("NO_COLOR", "1")
        .output()
        .unwrap()
}

fn text(bytes: &[u8]) -> String {
    String::from_utf8(bytes.to_vec()).unwrap()
}

/// Runs tests of the folder of golden files and compares what is said. `BLESS=1` writes what it says; read it then.
fn check(arguments: &[&str], code: i32, golden: &str) {
    let folder = repository().join(FOLDER).join("wrong");
    let output = wasmill(&folder, arguments);
    let said = format!(
        "$ wasmill test {}\n{}{}exit {}\n",
        arguments.join(" "),
        text(&output.stdout),
        text(&output.stderr),
        output.status.code().unwrap_or(-1)
    );
    let file = folder.join(golden);
    if std::env::vars_os().any(|(name, _)| name == "BLESS") {
        fs::write(&file, &said).unwrap();
    }
    let expected = fs::read_to_string(&file).unwrap_or_default();
    assert_eq!(
        said, expected,
        "{golden} differs; run again with BLESS=1 and read the difference"
    );
    assert_eq!(output.status.code(), Some(code));
}

#[test]
fn operators_of_every_kind_pass_their_tests_in_every_shape() {
    let output = wasmill(
        &repository().join(FOLDER),
        &["early.test.toml", "join.test.toml", "lookup.test.toml"],
    );
    assert_eq!(
        output.status.code(),
        Some(0),
        "{}{}",
        text(&output.stdout),
        text(&output.stderr)
    );
    let output = wasmill(&repository().join(FOLDER), &["session.test.toml", "top.test.toml"]);
    assert_eq!(
        output.status.code(),
        Some(0),
        "{}{}",
        text(&output.stdout),
        text(&output.stderr)
    );
}

#[test]
fn a_failed_test_shows_what_came_beside_what_was_expected() {
    check(&["failing.test.toml"], 1, "failing.txt");
    check(
        &["failing.test.toml", "--filter", "golden", "--format", "json"],
        1,
        "failing-json.txt",
    );
}

#[test]
fn every_mistake_of_a_test_file_is_shown_with_its_line() {
    check(&["steps.test.toml"], 3, "steps.txt");
    check(
        &["mistakes.test.toml", "failing.test.toml", "--filter", "nothing"],
        3,
        "mistakes.txt",
    );
}

#[test]
fn a_folder_without_test_files_says_so() {
    let folder = tempfile::tempdir().unwrap();
    let output = wasmill(folder.path(), &[]);
    assert_eq!(output.status.code(), Some(1));
    let said = text(&output.stderr);
    assert!(said.contains("no test file was found in .: "), "{said}");
    assert!(said.contains("the name of a test file ends with .test.toml"), "{said}");
    assert_eq!(wasmill(folder.path(), &["absent.test.toml"]).status.code(), Some(1));
}

#[test]
fn bless_writes_what_came_and_the_next_run_compares_with_it() {
    let folder = tempfile::tempdir().unwrap();
    let wrong = repository().join(FOLDER).join("wrong");
    fs::copy(wrong.join("failing.test.toml"), folder.path().join("a.test.toml")).unwrap();
    let run = |arguments: &[&str]| wasmill(folder.path(), arguments).status.code();
    assert_eq!(run(&["--filter", "golden"]), Some(1));
    assert_eq!(run(&["--filter", "golden", "--bless"]), Some(0));
    let written = fs::read_to_string(folder.path().join("failing.test.jsonl")).unwrap();
    let expected = [("10:59:59.999999", "ann"), ("11:59:59.999999", "bob")].map(|(time, user)| {
        format!(
            "{{\"step\":1,\"output\":\"out\",\"time\":\"2024-05-01T{time}Z\",\"row\":{{\"user\":\"{user}\",\"clicks\":1}}}}\n"
        )
    });
    assert_eq!(written, expected.concat());
    assert_eq!(run(&["--filter", "golden"]), Some(0));
}

/// The test files of an example pass in a folder that has its topology and the plugins, and none of its input.
fn check_example(example: &'static str, files: &[&str]) {
    let sandbox = Sandbox::of(example);
    fs::remove_file(sandbox.path("input")).unwrap();
    for file in files {
        fs::copy(repository().join(example).join(file), sandbox.path(file)).unwrap();
    }
    let output = wasmill(&sandbox.path(""), &[]);
    assert_eq!(
        output.status.code(),
        Some(0),
        "{}{}",
        text(&output.stdout),
        text(&output.stderr)
    );
}

#[test]
fn the_tests_of_the_flights_pass_without_their_input() {
    let files = [
        "delay-class.test.toml",
        "topology.test.toml",
        "topology.test.jsonl",
        "morning.test.csv",
    ];
    check_example("examples/01-flights", &files);
}

#[test]
fn the_tests_of_alerts_pass() {
    check_example("examples/04-anomalies", &["alert.test.toml", "alert.test.jsonl"]);
}

/// A new plugin's project, built, in a folder that goes away.
fn new_plugin(name: &str, world: &str, change: impl Fn(String) -> String) -> tempfile::TempDir {
    let folder = tempfile::tempdir().unwrap();
    let run = |arguments: &[&str]| {
        let mut command = Command::new(env!("CARGO_BIN_EXE_wasmill"));
        let output = command.args(arguments).current_dir(folder.path()).output().unwrap();
        assert!(output.status.success(), "{}", text(&output.stderr));
    };
    run(&["new", name, "--world", world]);
    let lib = folder.path().join(name).join("src/lib.rs");
    let source = fs::read_to_string(&lib).unwrap();
    fs::write(&lib, change(source)).unwrap();
    run(&["build", name]);
    folder
}

#[test]
fn a_new_plugin_with_state_and_timers_passes_its_tests() {
    let folder = new_plugin("tested-bursts", "keyed", |source| source);
    let output = wasmill(folder.path(), &[]);
    assert_eq!(
        output.status.code(),
        Some(0),
        "{}{}",
        text(&output.stdout),
        text(&output.stderr)
    );
}

/// A plugin that adds the number of rows that its instance has seen to the words of a line.
fn remembering() -> tempfile::TempDir {
    let count = "let words = row.line.split_whitespace().count();";
    new_plugin("remembering", "transform", |source| {
        assert!(source.contains(count), "the template counts words");
        let remembering = "static SEEN: std::sync::atomic::AtomicUsize = std::sync::atomic::AtomicUsize::new(0);
            let seen = SEEN.fetch_add(1, std::sync::atomic::Ordering::Relaxed);
            let words = row.line.split_whitespace().count() + seen;";
        source.replace(count, remembering)
    })
}

#[test]
fn an_instance_for_each_call_knows_nothing_of_the_calls_before() {
    let folder = remembering();
    let topology = |isolation: &str| {
        format!(
            r#"
            engine = {{ workers = 1, batch-rows = 1 }}

            [[source]]
            id = "lines"
            connector = "file"
            path = "lines.txt"
            format = "text"

            [[operator]]
            id = "count"
            plugin = "remembering/remembering.wasm"
            input = "lines"
            isolation = "{isolation}"

            [[sink]]
            id = "out"
            connector = "stdout"
            input = "count"
            format = "csv"
            "#
        )
    };
    fs::write(folder.path().join("lines.txt"), "a\nb\nc\n").unwrap();
    let run = |isolation: &str| {
        let file = folder.path().join("topology.toml");
        fs::write(&file, topology(isolation)).unwrap();
        let mut command = Command::new(env!("CARGO_BIN_EXE_wasmill"));
        let output = command.arg("run").arg(&file).output().unwrap();
        assert!(output.status.success(), "{}", text(&output.stderr));
        text(&output.stdout)
    };
    assert_eq!(run("call"), "line,words\na,1\nb,1\nc,1\n");
    // The law forbids that a plugin remembers rows; this one shows that its instance stays.
    assert_eq!(run("instance"), "line,words\na,1\nb,2\nc,3\n");
}

#[test]
fn a_plugin_that_remembers_rows_outside_of_its_state_fails_with_the_shape_that_shows_it() {
    let folder = remembering();
    let file = folder.path().join("remembering/remembering.test.toml");
    let tests = fs::read_to_string(&file).unwrap().replace("words = 0", "words = 1");
    fs::write(file, tests).unwrap();
    let output = wasmill(folder.path(), &[]);
    let said = text(&output.stdout);
    assert_eq!(output.status.code(), Some(1), "{said}{}", text(&output.stderr));
    assert!(
        said.contains("with 2 subtasks and batches of 1 row: output `out` gives something else at step 1"),
        "{said}"
    );
}

#[test]
fn a_timer_that_the_plugin_does_not_have_is_told_with_those_that_it_has() {
    let sandbox = Sandbox::of("examples/04-anomalies");
    fs::remove_file(sandbox.path("input")).unwrap();
    let example = repository().join("examples/04-anomalies");
    fs::copy(example.join("alert.test.jsonl"), sandbox.path("alert.test.jsonl")).unwrap();
    let test = fs::read_to_string(example.join("alert.test.toml")).unwrap();
    let check = |mistake: &str, instead: &str, said: &str| {
        assert!(test.contains(mistake), "{mistake}");
        sandbox.write("alert.test.toml", test.replacen(mistake, instead, 1));
        let output = wasmill(&sandbox.path(""), &["alert.test.toml"]);
        assert_eq!(output.status.code(), Some(3), "{}", text(&output.stdout));
        let told = text(&output.stdout) + &text(&output.stderr);
        assert!(told.contains(said), "{told}");
        assert_eq!(told.matches("error[").count(), 1, "the mistake is told once: {told}");
    };
    check("_timer = ", "_tiemr = ", "did you mean `_timer`?");
    check("_timer = \"", "_timer = \"x", "the plugin has no timer `x");
}

/// Rows without the order of their keys, sorted.
fn sorted<'a>(rows: impl Iterator<Item = &'a serde_json::Value>) -> Vec<String> {
    let mut rows: Vec<String> = rows.map(ToString::to_string).collect();
    rows.sort();
    rows
}

/// The harness is a second way to run a topology: what it gives is held against the files of another program too.
#[test]
fn joins_give_in_the_harness_what_another_program_computed() {
    const TOPOLOGY: &str = "tests/topologies/joins";
    let sandbox = Sandbox::of(TOPOLOGY);
    let steps = ["left-1", "left-2", "right-1", "right-2"].map(|file| {
        let (source, _) = file.split_once('-').unwrap();
        format!("[[test.step]]\npartition = \"input/{file}.csv\"\nrows.{source} = \"input/{file}.csv\"\n")
    });
    let test = format!(
        "topology = \"topology.toml\"\n[[test]]\nname = \"all\"\nwatermarks = \"by-source\"\nexpected = \"all.jsonl\"\n\
         {}[[test.step]]\nend = true\n",
        steps.concat()
    );
    fs::write(sandbox.path("all.test.toml"), test).unwrap();
    let output = wasmill(&sandbox.path(""), &["--bless"]);
    assert_eq!(
        output.status.code(),
        Some(0),
        "{}{}",
        text(&output.stdout),
        text(&output.stderr)
    );

    let json = |line: &str| serde_json::from_str::<serde_json::Value>(line).unwrap();
    let all = fs::read_to_string(sandbox.path("all.jsonl")).unwrap();
    let came: Vec<serde_json::Value> = all.lines().map(json).collect();
    let mut compared = 0;
    for entry in fs::read_dir(repository().join(TOPOLOGY).join("expected")).unwrap() {
        let file = entry.unwrap().path();
        let sink = format!("{}-file", file.file_stem().unwrap().to_string_lossy());
        let expected = fs::read_to_string(&file).unwrap();
        let expected: Vec<serde_json::Value> = expected.lines().map(json).collect();
        let rows = came.iter().filter(|row| row["output"] == *sink).map(|row| &row["row"]);
        assert_eq!(sorted(rows), sorted(expected.iter()), "{sink}");
        compared += expected.len();
    }
    assert_eq!(compared, came.len(), "every row is of some file");
}
