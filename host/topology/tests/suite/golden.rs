//! Each file of `tests/golden/topologies` beside what is said of it. `BLESS=1` writes what is said; read it then.

use std::fmt::Write as _;
use std::fs;
use std::path::{Path, PathBuf};

use wasmill_core::plan::{NodeKind, Plan};
use wasmill_core::plugin::Isolation;
use wasmill_topology::{Checked, codes, reproducible};

use crate::support;

pub(crate) fn repository() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("../..")
}

/// The variables that the golden topologies see: those in comments such as `#: NAME=value` at their beginning.
fn variables(text: &str) -> Vec<(String, String)> {
    let lines = text.lines().filter_map(|line| line.strip_prefix("#: "));
    lines
        .filter_map(|line| line.split_once('='))
        .map(|(name, value)| (name.to_owned(), value.to_owned()))
        .collect()
}

fn said_of(text: &str, built: bool) -> String {
    let variables = variables(text);
    let environment = |name: &str| {
        let found = variables.iter().find(|(known, _)| known == name);
        found.map(|(_, value)| value.clone())
    };
    let mut said = String::new();
    let checked = if built {
        support::check_built(text)
    } else {
        support::check(text, &environment, &variables)
    };
    match checked {
        Err(problems) => {
            for problem in problems {
                let _ = writeln!(said, "{}", support::show(&problem, text));
            }
        }
        Ok(Checked { plan, warnings }) => {
            for warning in &warnings {
                let _ = writeln!(said, "{}", support::show(warning, text));
            }
            said.push_str(&show_plan(&plan));
        }
    }
    said
}

fn show_plan(plan: &Plan) -> String {
    let mut shown = format!("plan `{}`\n\n", plan.name);
    for node in &plan.nodes {
        let names = |streams: &[wasmill_core::id::StreamIndex]| {
            let names: Vec<String> = streams.iter().map(|&s| plan.stream(s).name.to_string()).collect();
            names.join(", ")
        };
        let what = match &node.kind {
            NodeKind::Source(source) => format!(
                "source {} {} time={:?} {:?} on-invalid={:?}",
                source.connector.name, source.connector.config, source.time, source.watermark, source.on_invalid
            ),
            NodeKind::Transform(transform) => format!(
                "transform {} config={} on-fault={:?}",
                transform.plugin.path.display(),
                transform.config,
                transform.on_fault
            ),
            NodeKind::Window(window) => format!(
                "window key={:?} {:?} allowed={} late={:?}",
                window.frame.key, window.frame.windows, window.frame.allowed_lateness, window.frame.late
            ),
            other @ (NodeKind::Keyed(_)
            | NodeKind::Content(_)
            | NodeKind::Join(_)
            | NodeKind::Lookup(_)
            | NodeKind::Union
            | NodeKind::Deduplicate(_)
            | NodeKind::Top(_)
            | NodeKind::Split(_)) => format!("{other:?}"),
            NodeKind::Sink(sink) => format!(
                "sink {} {} format={} columns={:?} order={:?}",
                sink.connector.name, sink.connector.config, sink.format.name, sink.columns, sink.order
            ),
        };
        let isolation = match node.isolation {
            Isolation::Instance => "",
            Isolation::Call => " isolation=Call",
        };
        let _ = writeln!(shown, "{}: {what}{isolation}", node.id);
        if !node.inputs.is_empty() {
            let _ = writeln!(shown, "    reads {}", names(&node.inputs));
        }
        if let (NodeKind::Sink(sink), Some(_)) = (&node.kind, &plan.checkpoint) {
            let _ = writeln!(shown, "    gives {}", sink.delivery);
        }
        if !node.renamed_from.is_empty() {
            let _ = writeln!(shown, "    was {:?}", node.renamed_from);
        }
    }
    shown.push('\n');
    if let Some(checkpoint) = &plan.checkpoint {
        let _ = writeln!(
            shown,
            "{checkpoint:?}\n{:?}\nstop within {}\n",
            plan.restart, plan.stop_timeout
        );
    }
    if let Some(control) = &plan.control {
        let _ = writeln!(shown, "{control:?}\n");
    }
    for stream in &plan.streams {
        let fields = stream.schema.fields().iter().zip(&stream.live);
        let fields: Vec<String> = fields
            .map(|(field, live)| if *live { field.to_string() } else { format!("({field})") })
            .collect();
        let order = if stream.order { " [order]" } else { "" };
        let _ = writeln!(shown, "stream {}{order}: {}", stream.name, fields.join(", "));
    }
    shown.push('\n');
    if plan.irreproducible.is_empty() {
        for (sink, sameness) in reproducible::sinks(plan) {
            let _ = writeln!(shown, "reproducible at {sink}: {sameness:?}");
        }
    }
    for reason in &plan.irreproducible {
        let _ = writeln!(shown, "not reproducible: {}: {}", reason.node, reason.reason);
    }
    shown
}

pub(crate) fn check(file: &Path, actual: &str) {
    if std::env::vars().any(|(name, _)| name == "BLESS") {
        fs::write(file, actual).expect("the golden file can be written");
        return;
    }
    let expected = fs::read_to_string(file).unwrap_or_default();
    assert!(
        expected == actual,
        "{} differs; run again with BLESS=1 and read the difference\n--- expected\n{expected}\n--- actual\n{actual}",
        file.display()
    );
}

#[test]
fn topologies_say_what_their_golden_files_hold() {
    let folder = repository().join("tests/golden/topologies");
    let mut files: Vec<PathBuf> = fs::read_dir(&folder)
        .expect("the folder is there")
        .map(|entry| entry.expect("it can be listed").path())
        .filter(|path| path.extension().is_some_and(|ending| ending == "toml"))
        .collect();
    files.sort();
    assert!(!files.is_empty());
    for file in files {
        let text = fs::read_to_string(&file).expect("it can be read");
        let built = file.file_stem().is_some_and(|stem| stem == "not-built");
        check(&file.with_extension("expected"), &said_of(&text, built));
    }
}

#[test]
fn every_code_stands_in_the_documentation() {
    check(&repository().join("docs/diagnostics.md"), &codes::markdown());
}
