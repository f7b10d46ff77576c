//! Which crate may depend on which, and that each dependency is accounted for.

use std::collections::BTreeMap;

use toml::{Table, Value};

use super::{File, Problem};

/// The crates of the workspace, and which of them each may name. Everything else is a new direction, which needs a
/// decision (`docs/adr/`) before it needs a line here.
const DIRECTIONS: &[(&str, &[&str])] = &[
    ("wasmill-core", &[]),
    ("wasmill-connector-api", &["wasmill-core"]),
    ("wasmill-connector-file", CONNECTOR),
    ("wasmill-connector-generator", CONNECTOR),
    ("wasmill-connector-stdout", CONNECTOR),
    ("wasmill-component", &["wasmill-core"]),
    ("wasmill-engine", &["wasmill-core"]),
    ("wasmill-state", &["wasmill-core"]),
    ("wasmill-checkpoint", &["wasmill-core"]),
    ("wasmill-operators", &["wasmill-core", "wasmill-state"]),
    ("wasmill-topology", &["wasmill-core", "wasmill-connector-api"]),
    (
        "wasmill-runtime",
        &[
            "wasmill-core",
            "wasmill-checkpoint",
            "wasmill-connector-api",
            "wasmill-component",
            "wasmill-engine",
            "wasmill-operators",
            "wasmill-state",
        ],
    ),
    (
        "wasmill-harness",
        &[
            "wasmill-core",
            "wasmill-connector-api",
            "wasmill-component",
            "wasmill-operators",
            "wasmill-runtime",
            "wasmill-state",
            "wasmill-topology",
        ],
    ),
    ("wasmill-plugin-build", &[]),
    (
        "wasmill-cli",
        &[
            "wasmill-core",
            "wasmill-checkpoint",
            "wasmill-connector-api",
            "wasmill-connector-file",
            "wasmill-connector-generator",
            "wasmill-connector-stdout",
            "wasmill-component",
            "wasmill-harness",
            "wasmill-plugin-build",
            "wasmill-runtime",
            "wasmill-topology",
        ],
    ),
    ("wasmill-sdk-macros", &[]),
    ("wasmill-sdk", &["wasmill-sdk-macros"]),
    ("xtask", &["wasmill-plugin-build"]),
];

const CONNECTOR: &[&str] = &["wasmill-core", "wasmill-connector-api"];

/// What tests may name besides.
const IN_TESTS: &[&str] = &["wasmill-testkit"];

/// Dependencies that are behind one crate each, or a few.
const BEHIND: &[(&str, &[&str])] = &[
    ("annotate-snippets", &["wasmill-cli"]),
    ("clap", &["wasmill-cli", "xtask"]),
    ("object_store", &["wasmill-checkpoint"]),
    ("redb", &["wasmill-state"]),
    ("sonic-rs", &["wasmill-connector-api"]),
    ("timely", &["wasmill-engine"]),
    (
        "tokio",
        &[
            "wasmill-connector-api",
            "wasmill-connector-*",
            "wasmill-runtime",
            "wasmill-cli",
        ],
    ),
    ("wasmtime", &["wasmill-component"]),
    ("wit-bindgen", &["wasmill-sdk"]),
    ("wit-component", &["wasmill-plugin-build", "wasmill-component"]),
];

/// Says of each dependency what it is for.
const REASONS: &str = "docs/adr/0005-dependencies.md";

pub(super) fn check(files: &[File], problems: &mut Vec<Problem>) {
    let reasons = files
        .iter()
        .find(|file| file.path == REASONS)
        .map_or("", |file| &file.text);
    for file in files {
        if file.path != "Cargo.toml" && !file.path.ends_with("/Cargo.toml") || file.is_material() {
            continue;
        }
        match file.text.parse::<Table>() {
            Ok(manifest) => {
                check_manifest(file, &manifest, problems);
                if file.path == "Cargo.toml" {
                    check_reasons(file, &manifest, reasons, problems);
                }
            }
            Err(error) => problems.push(Problem::of(file, error.to_string())),
        }
    }
}

fn check_manifest(file: &File, manifest: &Table, problems: &mut Vec<Problem>) {
    let Some(name) = manifest
        .get("package")
        .and_then(|package| package.get("name"))
        .and_then(Value::as_str)
    else {
        return;
    };
    // Benches compare with what others do, and tests with anything.
    let above_all = ["tests/", "benches/", "fuzz/"]
        .iter()
        .any(|folder| file.path.starts_with(folder));
    // Guests of tests and plugins name the SDK, and nothing of the host.
    let guest = file.path.starts_with("plugins/") || file.path.starts_with("tests/guests/");
    let directions: BTreeMap<_, _> = DIRECTIONS.iter().copied().collect();
    let allowed = if guest {
        Some(&["wasmill-sdk"][..])
    } else {
        directions.get(name).copied()
    };
    if allowed.is_none() && !above_all {
        problems.push(Problem::of(
            file,
            format!("`{name}` has no directions: add it to xtask/src/tidy/directions.rs"),
        ));
        return;
    }
    for (table, for_tests) in [
        ("dependencies", false),
        ("build-dependencies", false),
        ("dev-dependencies", true),
    ] {
        for dependency in dependencies(manifest, table) {
            let ours = dependency.starts_with("wasmill-") || dependency == "xtask";
            let named = |names: &[&str]| names.contains(&dependency);
            if ours && !allowed.is_none_or(named) && !(for_tests && named(IN_TESTS)) {
                problems.push(Problem::of(file, format!("`{name}` may not depend on `{dependency}`")));
            }
            let behind = BEHIND.iter().find(|(behind, _)| *behind == dependency);
            if let Some((_, crates)) = behind.filter(|(_, crates)| !crates.iter().any(|pattern| matches(pattern, name)))
                && !for_tests
                && !guest
                && !above_all
            {
                let crates = crates.join(", ");
                problems.push(Problem::of(
                    file,
                    format!("`{name}` names `{dependency}`, which is only for {crates}"),
                ));
            }
        }
    }
}

fn check_reasons(file: &File, manifest: &Table, reasons: &str, problems: &mut Vec<Problem>) {
    let shared = manifest
        .get("workspace")
        .and_then(|workspace| workspace.get("dependencies"))
        .and_then(Value::as_table);
    for (name, _) in shared.into_iter().flatten() {
        if !name.starts_with("wasmill-") && !reasons.contains(&format!("`{name}`")) {
            problems.push(Problem::of(
                file,
                format!("{REASONS} does not say what `{name}` is for"),
            ));
        }
    }
}

fn dependencies<'m>(manifest: &'m Table, table: &str) -> impl Iterator<Item = &'m str> {
    manifest
        .get(table)
        .and_then(Value::as_table)
        .into_iter()
        .flatten()
        .map(|(name, _)| name.as_str())
}

fn matches(pattern: &str, name: &str) -> bool {
    match pattern.strip_suffix('*') {
        Some(start) => name.starts_with(start),
        None => pattern == name,
    }
}

#[cfg(test)]
mod tests {
    use super::super::testing::{file, lines};
    use super::*;

    fn check_manifest_of(path: &str, text: &str, expect: &[&str]) {
        let mut problems = Vec::new();
        check(&[file(path, text)], &mut problems);
        assert_eq!(lines(&problems), expect);
    }

    fn manifest(name: &str, dependencies: &str) -> String {
        format!("[package]\nname = \"{name}\"\n{dependencies}")
    }

    #[test]
    fn a_crate_names_only_what_lies_below_it() {
        let good = manifest(
            "wasmill-engine",
            "[dependencies]\nwasmill-core.workspace = true\ntimely.workspace = true\n",
        );
        check_manifest_of("host/engine/Cargo.toml", &good, &[]);
        let bad = manifest("wasmill-core", "[dependencies]\nwasmill-engine.workspace = true\n");
        check_manifest_of(
            "host/core/Cargo.toml",
            &bad,
            &["host/core/Cargo.toml: `wasmill-core` may not depend on `wasmill-engine`"],
        );
    }

    #[test]
    fn timely_is_behind_the_engine() {
        let bad = manifest("wasmill-runtime", "[dependencies]\ntimely.workspace = true\n");
        check_manifest_of(
            "host/runtime/Cargo.toml",
            &bad,
            &["host/runtime/Cargo.toml: `wasmill-runtime` names `timely`, which is only for wasmill-engine"],
        );
    }

    #[test]
    fn a_crate_that_is_not_in_the_table_is_a_problem() {
        check_manifest_of(
            "host/x/Cargo.toml",
            &manifest("wasmill-x", ""),
            &["host/x/Cargo.toml: `wasmill-x` has no directions: add it to xtask/src/tidy/directions.rs"],
        );
    }

    #[test]
    fn a_plugin_knows_the_sdk_and_not_the_host() {
        let good = manifest("delay-class", "[dependencies]\nwasmill-sdk.workspace = true\n");
        check_manifest_of("plugins/delay-class/Cargo.toml", &good, &[]);
        let bad = manifest("delay-class", "[dependencies]\nwasmill-core.workspace = true\n");
        check_manifest_of(
            "plugins/delay-class/Cargo.toml",
            &bad,
            &["plugins/delay-class/Cargo.toml: `delay-class` may not depend on `wasmill-core`"],
        );
    }

    #[test]
    fn each_shared_dependency_has_its_reason() {
        let manifest =
            "[workspace.dependencies]\nserde = \"1\"\nleft-pad = \"1\"\nwasmill-core = { path = \"host/core\" }\n";
        let mut problems = Vec::new();
        check(
            &[file("Cargo.toml", manifest), file(REASONS, "| `serde` | x |")],
            &mut problems,
        );
        assert_eq!(
            lines(&problems),
            ["Cargo.toml: docs/adr/0005-dependencies.md does not say what `left-pad` is for"]
        );
    }

    #[test]
    fn tests_may_name_the_testkit() {
        let tested = manifest("wasmill-core", "[dev-dependencies]\nwasmill-testkit.workspace = true\n");
        check_manifest_of("host/core/Cargo.toml", &tested, &[]);
    }
}
