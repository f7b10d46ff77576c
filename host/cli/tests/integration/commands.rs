//! The binary as its users see it: what it writes, and its exit codes.

use std::fs;
use std::path::{Path, PathBuf};
use std::process::{Command, Output};

use crate::sandbox;

/// The folder of the golden topologies; paths in the output start here.
fn folder() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("../../tests/golden/cli")
}

fn wasmill(arguments: &[&str]) -> Output {
    Command::new(env!("CARGO_BIN_EXE_wasmill"))
        .args(arguments)
        .current_dir(folder())
        .env("NO_COLOR", "1")
        .output()
        .expect("the binary starts")
}

/// All that it has said.
fn text_of(output: &Output) -> String {
    text(&output.stdout) + &text(&output.stderr)
}

fn text(bytes: &[u8]) -> String {
    String::from_utf8(bytes.to_vec()).expect("it writes UTF-8")
}

/// Runs the binary and compares what it says with the golden file. `BLESS=1` writes what it says; read it then.
fn check(arguments: &[&str], code: i32, golden: &str) {
    let output = wasmill(arguments);
    // The machine's own path of the folder has no place in a golden file.
    let here = folder().canonicalize().expect("it is there").display().to_string();
    let said = format!(
        "$ wasmill {}\n{}{}exit {}\n",
        arguments.join(" "),
        text(&output.stdout),
        text(&output.stderr),
        output.status.code().unwrap_or(-1)
    )
    .replace(&here, "FOLDER");
    let file = folder().join(golden);
    if std::env::vars_os().any(|(name, _)| name == "BLESS") {
        fs::write(&file, &said).expect("it can be written");
    }
    let expected = fs::read_to_string(&file).unwrap_or_default();
    assert_eq!(
        said, expected,
        "{golden} differs; run again with BLESS=1 and read the difference"
    );
    assert_eq!(output.status.code(), Some(code));
}

#[test]
fn a_topology_without_errors_is_summed_up() {
    check(&["check", "flights.toml"], 0, "check-flights.txt");
    check(
        &["check", "flights.toml", "--format", "json"],
        0,
        "check-flights-json.txt",
    );
}

#[test]
fn every_mistake_is_shown_with_its_line() {
    check(&["check", "mistakes.toml"], 3, "check-mistakes.txt");
    check(
        &["check", "mistakes.toml", "--format", "json"],
        3,
        "check-mistakes-json.txt",
    );
    check(
        &["run", "mistakes.toml", "--format", "json"],
        3,
        "run-mistakes-json.txt",
    );
}

#[test]
fn the_topologies_of_the_reference_pages_pass_the_check() {
    let docs = sandbox::repository().join("docs");
    let connectors = fs::read_dir(docs.join("connectors")).unwrap();
    let mut pages: Vec<PathBuf> = connectors.map(|entry| entry.unwrap().path()).collect();
    pages.extend(["topology.md", "formats.md"].map(|page| docs.join(page)));
    for page in pages {
        let text = fs::read_to_string(&page).unwrap();
        let blocks = text
            .split("```toml\n")
            .skip(1)
            .filter_map(|rest| rest.split("```").next());
        let topologies: Vec<&str> = blocks.filter(|block| block.contains("[[source]]")).collect();
        assert!(!topologies.is_empty(), "{} has an example", page.display());
        for topology in topologies {
            let sandbox = sandbox::Sandbox::new(topology);
            let inputs = topology.lines().filter_map(|line| line.strip_prefix("path = \"input/"));
            for input in inputs {
                sandbox.write(&format!("input/{}", input.trim_end_matches('"')), "");
            }
            let file = sandbox.path("topology.toml");
            let output = wasmill(&["check", file.to_str().unwrap()]);
            let said = text_of(&output);
            assert_eq!(output.status.code(), Some(0), "{}: {said}\n{topology}", page.display());
        }
    }
}

#[test]
fn a_file_that_is_not_there_is_a_diagnostic() {
    check(&["check", "absent.toml"], 3, "check-absent.txt");
}

#[test]
fn a_topology_is_drawn_in_each_language() {
    check(&["graph", "flights.toml"], 0, "graph-mermaid.txt");
    check(&["graph", "flights.toml", "--type", "dot"], 0, "graph-dot.txt");
    check(&["graph", "flights.toml", "--type", "svg"], 0, "graph-svg.txt");
}

#[test]
fn the_ending_of_the_output_chooses_the_language() {
    let folder = tempfile::tempdir().expect("a folder");
    let file = folder.path().join("graph.svg");
    let output = wasmill(&["graph", "flights.toml", "--output", &file.to_string_lossy()]);
    assert!(output.status.success(), "{}", text(&output.stderr));
    assert!(fs::read_to_string(&file).expect("it was written").starts_with("<svg "));
}

#[test]
fn what_is_no_plugin_cannot_be_inspected() {
    check(&["inspect", "flights.toml"], 1, "inspect-no-plugin.txt");
}

/// What `inspect` says of a shipped plugin, as JSON.
fn described(plugin: &str, arguments: &[&str]) -> serde_json::Value {
    let file = sandbox::plugin(plugin);
    let output = wasmill(&[&["inspect", &*file.to_string_lossy(), "--format", "json"], arguments].concat());
    assert!(output.status.success(), "{}", text(&output.stderr));
    serde_json::from_slice::<serde_json::Value>(&output.stdout).expect("it is JSON")["description"].take()
}

#[test]
fn plugins_with_keys_are_described_with_their_inputs() {
    const COLUMNS: &str = "host: utf8, value: int64?, note: utf8?";
    let gaps = described(
        "gaps",
        &["--input", COLUMNS, "--key", "host", "--config", r#"{"seconds": 60}"#],
    );
    assert_eq!(gaps["key"][0]["name"], "host");
    assert_eq!(gaps["tables"][0]["name"], "seen");
    assert_eq!(
        gaps["timers"][0],
        serde_json::json!({ "name": "quiet", "time": "event" })
    );
    let columns: Vec<_> = gaps["outputs"][0]["columns"]
        .as_array()
        .expect("a list")
        .iter()
        .collect();
    let names: Vec<_> = columns.iter().filter_map(|column| column["name"].as_str()).collect();
    assert_eq!(names, ["host", "event", "rows", "total"]);
    let median = described("median", &["--input", COLUMNS]);
    assert_eq!(median["key"], serde_json::json!([]));
    assert_eq!(median["outputs"][0]["columns"][1]["name"], "median");
}

#[test]
fn a_keyed_plugin_that_is_asked_without_a_key_says_what_to_give() {
    let file = sandbox::plugin("gaps");
    let file = file.to_string_lossy();
    let output = wasmill(&["inspect", &file, "--input", "host: utf8"]);
    assert_eq!(output.status.code(), Some(1));
    let said = text(&output.stderr);
    assert!(said.contains("give --key COLUMN for each key column"), "{said}");
    let output = wasmill(&["inspect", &file]);
    assert!(output.status.success());
    assert!(text(&output.stdout).contains("with --input 'NAME: TYPE, ...' and --key COLUMN"));
}

#[test]
fn numbers_that_cannot_be_are_refused_with_what_can() {
    let output = wasmill(&["check", "flights.toml", "--workers", "0"]);
    assert_eq!(output.status.code(), Some(2));
    let said = text(&output.stderr);
    assert!(
        said.contains("it is a whole number, at least 1 and at most 1024"),
        "{said}"
    );
}

#[test]
fn a_wrong_command_line_exits_with_2() {
    assert_eq!(wasmill(&["chekc", "flights.toml"]).status.code(), Some(2));
    assert_eq!(wasmill(&["check"]).status.code(), Some(2));
    assert_eq!(
        wasmill(&["check", "flights.toml", "--format", "xml"]).status.code(),
        Some(2)
    );
}

#[test]
fn help_teaches_with_examples_and_lists_the_exit_codes() {
    check(&["--help"], 0, "help.txt");
    for verb in [
        "check",
        "graph",
        "run",
        "inspect",
        "new",
        "build",
        "test",
        "completions",
    ] {
        let output = wasmill(&[verb, "--help"]);
        assert!(text(&output.stdout).contains("Examples:"), "{verb}");
    }
    assert!(!text(&wasmill(&["--help"]).stdout).contains("__compile"));
}

#[test]
fn completions_know_the_commands() {
    for shell in ["bash", "zsh", "fish"] {
        let output = wasmill(&["completions", shell]);
        assert!(text(&output.stdout).contains("inspect"), "{shell}");
    }
}

#[test]
fn a_new_project_says_what_comes_next() {
    let folder = tempfile::tempdir().expect("a folder");
    let project = folder.path().join("delay-class");
    let output = wasmill(&["new", "delay-class", "--folder", &project.to_string_lossy()]);
    assert!(output.status.success(), "{}", text(&output.stderr));
    assert!(text(&output.stdout).contains("wasmill build"));
    assert!(project.join("src/lib.rs").is_file());
    let again = wasmill(&["new", "delay-class", "--folder", &project.to_string_lossy()]);
    assert_eq!(again.status.code(), Some(1));
}
