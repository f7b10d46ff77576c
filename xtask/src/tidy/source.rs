//! Rules for one Rust file.

use super::{File, Problem};

/// Where time itself is the matter, with the reason.
const MAY_SLEEP: [(&str, &str); 1] = [(
    "connectors/generator/src/source.rs",
    "`rate` gives so many rows a second",
)];

/// Longer files have several purposes.
const LINES_MAX: usize = 800;

pub(super) fn check(file: &File, problems: &mut Vec<Problem>) {
    if !file.text.starts_with("//!") {
        problems.push(Problem::at(
            file,
            1,
            "the file does not open with `//!`: say what it is responsible for",
        ));
    }
    let lines = lines_without_tests(&file.text);
    if lines > LINES_MAX && !file.path.contains("/tests/") {
        problems.push(Problem::of(
            file,
            format!("{lines} lines without the tests, more than {LINES_MAX}: divide it"),
        ));
    }
    let may_sleep = MAY_SLEEP.iter().any(|(path, _)| *path == file.path);
    for (number, line) in (1..).zip(file.text.lines()) {
        let code = line.trim_start();
        if code.starts_with("//") {
            continue;
        }
        if !may_sleep && sleeps(code) {
            problems.push(Problem::at(
                file,
                number,
                "it sleeps: wait for a condition, or step a manual clock",
            ));
        }
        if is_glob_export(code) {
            problems.push(Problem::at(file, number, "it exports all of a module: list the names"));
        }
        if code.starts_with("#[ignore") {
            problems.push(Problem::at(file, number, "a test is ignored: let it run, or delete it"));
        }
    }
}

/// Lines up to the test module.
fn lines_without_tests(text: &str) -> usize {
    let lines: Vec<&str> = text.lines().collect();
    let tests = lines
        .windows(2)
        .position(|pair| pair[0] == "#[cfg(test)]" && pair[1].starts_with("mod "));
    tests.unwrap_or(lines.len())
}

/// Whether a line calls a function whose name is `sleep`, or runs a program of this name.
fn sleeps(code: &str) -> bool {
    let called = ["sleep(", "sleep_ms(", "sleep_until("].iter().any(|call| {
        code.match_indices(call).any(|(at, _)| {
            let before = code[..at].chars().next_back();
            !before.is_some_and(|letter| letter.is_alphanumeric() || matches!(letter, '_' | '"'))
        })
    });
    called || code.contains("new(\"sleep\")")
}

fn is_glob_export(code: &str) -> bool {
    let export = code.strip_prefix("pub").and_then(|rest| match rest.strip_prefix('(') {
        Some(scope) => scope.split_once(')').map(|(_, rest)| rest),
        None => Some(rest),
    });
    export.is_some_and(|rest| rest.starts_with(" use ") && rest.trim_end().ends_with("::*;"))
}

#[cfg(test)]
mod tests {
    use super::super::testing::{file, lines};
    use super::*;

    fn check_lines(text: &str, expect: &[&str]) {
        let mut problems = Vec::new();
        check(&file("a/src/x.rs", text), &mut problems);
        assert_eq!(lines(&problems), expect);
    }

    #[test]
    fn a_file_opens_with_its_documentation() {
        check_lines("//! What it is.\nfn f() {}\n", &[]);
        check_lines(
            "// no\n",
            &["a/src/x.rs:1: the file does not open with `//!`: say what it is responsible for"],
        );
    }

    #[test]
    fn sleeping_is_found_in_code_only() {
        let sleeping = "it sleeps: wait for a condition, or step a manual clock";
        // In two parts, so that this file does not break its own rule.
        let call = concat!("sl", "eep(x)");
        check_lines(
            &format!("//! Text.\nstd::thread::{call};\n// {call}\n    tokio::time::{call}.await;\nfell_a{call};\n"),
            &[
                &format!("a/src/x.rs:2: {sleeping}"),
                &format!("a/src/x.rs:4: {sleeping}"),
            ],
        );
        check_lines(
            "//! T.\nCommand::new(\"sleep\");\n",
            &[&format!("a/src/x.rs:2: {sleeping}")],
        );
    }

    #[test]
    fn surfaces_are_lists() {
        let listed = "it exports all of a module: list the names";
        check_lines(
            "//! T.\npub use a::b;\nuse a::*;\npub use a::*;\npub(crate) use a::*;\n",
            &[&format!("a/src/x.rs:4: {listed}"), &format!("a/src/x.rs:5: {listed}")],
        );
    }

    #[test]
    fn only_lines_before_the_tests_count() {
        let long = "//! T.\n".to_owned() + &"x;\n".repeat(LINES_MAX);
        check_lines(
            &long,
            &["a/src/x.rs: 801 lines without the tests, more than 800: divide it"],
        );
        let tested = "//! T.\n#[cfg(test)]\nmod tests {\n".to_owned() + &"x;\n".repeat(LINES_MAX) + "}\n";
        check_lines(&tested, &[]);
    }
}
