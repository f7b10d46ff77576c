//! Every reproducible topology of the repository gives the files that another program computed, byte for byte, whatever
//! the number of workers, the size of batches, the credit, or how often watermarks are told.

use std::collections::BTreeSet;
use std::fs;
use std::path::Path;

use crate::sandbox::{Sandbox, repository};

const TOPOLOGIES: [&str; 13] = [
    "examples/01-flights",
    "examples/02-sessions",
    "examples/03-weather",
    "examples/04-anomalies",
    "tests/topologies/bad-records",
    "tests/topologies/contents",
    "tests/topologies/incident",
    "tests/topologies/joins",
    "tests/topologies/keyed",
    "tests/topologies/late",
    "tests/topologies/partitions",
    "tests/topologies/rows",
    "tests/topologies/windows",
];

const WORKERS: [usize; 4] = [1, 2, 3, 4];
const BATCH_ROWS: [usize; 4] = [1, 7, 1024, 8192];

fn check(topology: &'static str) {
    let sandbox = Sandbox::of(topology);
    for workers in WORKERS {
        for rows in BATCH_ROWS {
            let run = sandbox.run().workers(workers).with("WASMILL__ENGINE__BATCH_ROWS", rows);
            run.finish().expect_code(0);
            compare(topology, &sandbox, &format!("{workers} workers, batches of {rows}"));
        }
    }
    let narrow = sandbox.run().workers(3).with("WASMILL__ENGINE__BATCH_ROWS", 100);
    let narrow = narrow
        .with("WASMILL__ENGINE__SOURCE_CREDIT", "64KiB")
        .with("WASMILL__ENGINE__WATERMARK_EVERY", 1);
    narrow.finish().expect_code(0);
    compare(topology, &sandbox, "3 workers, little credit, many watermarks");
    for (workers, rows) in [(1, 1024), (2, 7), (4, 8192)] {
        let run = sandbox.run().workers(workers).with("WASMILL__ENGINE__BATCH_ROWS", rows);
        let run = run
            .with("WASMILL__STATE__BACKEND", "disk")
            .with("WASMILL__STATE__MEMORY", "16MiB");
        run.finish().expect_code(0);
        compare(
            topology,
            &sandbox,
            &format!("{workers} workers, batches of {rows}, state on disk"),
        );
    }
}

/// Compares all files of the expected output, and that there is no other.
fn compare(topology: &str, sandbox: &Sandbox, settings: &str) {
    let expected = repository().join(topology).join("expected");
    let names = file_names(&expected);
    assert_eq!(file_names(&sandbox.path("output")), names, "{topology} with {settings}");
    for name in names {
        let expected = fs::read_to_string(expected.join(&name)).unwrap();
        let found = sandbox.read(&format!("output/{name}"));
        if found == expected {
            continue;
        }
        let differing = found
            .lines()
            .zip(expected.lines())
            .position(|(found, expected)| found != expected);
        let line = differing.unwrap_or(found.lines().count().min(expected.lines().count()));
        panic!(
            "{topology}/{name} with {settings}: {} lines for {}; line {} is\n{:?}\nand should be\n{:?}",
            found.lines().count(),
            expected.lines().count(),
            line + 1,
            found.lines().nth(line),
            expected.lines().nth(line),
        );
    }
}

fn file_names(folder: &Path) -> BTreeSet<String> {
    let entries = fs::read_dir(folder).unwrap_or_else(|error| panic!("{}: {error}", folder.display()));
    entries
        .map(|entry| entry.unwrap().file_name().into_string().unwrap())
        .collect()
}

#[test]
fn flights_are_the_same_on_every_run() {
    check("examples/01-flights");
}

#[test]
fn sessions_are_the_same_on_every_run() {
    check("examples/02-sessions");
}

#[test]
fn joins_with_the_weather_are_the_same_on_every_run() {
    check("examples/03-weather");
}

#[test]
fn alerts_are_the_same_on_every_run() {
    check("examples/04-anomalies");
}

#[test]
fn bad_records_are_the_same_on_every_run() {
    check("tests/topologies/bad-records");
}

#[test]
fn an_incident_is_the_same_on_every_run() {
    check("tests/topologies/incident");
}

#[test]
fn late_rows_are_the_same_on_every_run() {
    check("tests/topologies/late");
}

#[test]
fn compressed_partitions_are_the_same_on_every_run() {
    check("tests/topologies/partitions");
}

#[test]
fn windows_of_every_type_are_the_same_on_every_run() {
    check("tests/topologies/windows");
}

#[test]
fn joins_of_every_kind_are_the_same_on_every_run() {
    check("tests/topologies/joins");
}

#[test]
fn unions_splits_tops_and_lookups_are_the_same_on_every_run() {
    check("tests/topologies/rows");
}

#[test]
fn plugins_over_windows_and_with_timers_are_the_same_on_every_run() {
    check("tests/topologies/contents");
}

#[test]
fn a_plugin_with_two_inputs_and_state_that_is_forgotten_is_the_same_on_every_run() {
    check("tests/topologies/keyed");
}

#[test]
fn every_topology_with_expected_output_is_run() {
    let mut found = BTreeSet::new();
    for group in ["examples", "tests/topologies"] {
        for name in file_names(&repository().join(group)) {
            let folder = format!("{group}/{name}");
            if repository().join(&folder).join("expected").is_dir() {
                found.insert(folder);
            }
        }
    }
    assert_eq!(found, TOPOLOGIES.map(str::to_owned).into());
}
