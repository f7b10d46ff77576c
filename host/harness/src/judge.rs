//! Runs a test and says what is wrong: with what came of it as written, and between that and its variations.
//!
//! Rows of an output are gathered from step to step until a step expects something of that output; then all that was
//! gathered is compared. What nobody has expected when the test ends is wrong too, unless the output is to be ignored.

use std::ops::Range;
use std::path::Path;

use wasmill_core::fault::Fault;
use wasmill_core::plan::{EarlyWhen, NodeKind, Plan, RowOrder, WindowFrame};
use wasmill_core::window::{Trigger, TriggerWhen, Windows};

use crate::diff::{self, Line};
use crate::expect::{Shown, compare};
use crate::golden;
use crate::outcome::{Failure, Outcome};
use crate::run::{Bench, Given, Trace};
use crate::subject::has_plugins;
use crate::suite::{Harness, Suite, Test};
use crate::variation::{self, Freedom, Variation};

pub(crate) fn run(harness: &Harness<'_>, suite: &Suite, test: &Test, bless: bool) -> Outcome {
    let bench = Bench {
        tested: &suite.tested,
        tables: &suite.tables,
        kept: &suite.kept,
        components: harness.components,
        scratch: harness.scratch.clone(),
    };
    let mut outcome = Outcome {
        failures: Vec::new(),
        variations: 0,
        seed: None,
        blessed: None,
    };
    let plain = match bench.run(&test.script, &variation::plain()) {
        Ok(trace) => trace,
        Err(fault) => {
            outcome.failures.push(Failure::new(&test.span, fault.to_string()));
            return outcome;
        }
    };
    outcome.failures = as_written(suite, test, &plain);
    if let Some((path, span)) = &test.expected
        && plain.fault.is_none()
    {
        match golden::compare(suite, &plain, path, span, bless) {
            Ok(blessed) => outcome.blessed = blessed.then(|| path.clone()),
            Err(failure) => outcome.failures.push(*failure),
        }
    }
    if !test.vary || !outcome.passed() {
        return outcome;
    }
    let freedom = Freedom {
        cuts: !goes_by_arrival(&suite.tested.plan),
        plugins: has_plugins(&suite.tested.plan),
        steps: plain.steps.len(),
        seed: harness.seed.unwrap_or_else(|| seed_of(&test.name)),
    };
    let variations = variation::others(freedom);
    outcome.seed = variations.drawn.then_some(freedom.seed);
    for variation in &variations.all {
        outcome.variations += 1;
        let failure = match bench.run(&test.script, variation) {
            Ok(trace) => differs(suite, test, variation, &plain, &trace),
            Err(fault) => Some(Failure::new(&test.span, format!("{}: {fault}", variation.name))),
        };
        if let Some(mut failure) = failure {
            if let Some(seed) = outcome.seed {
                let help = format!("points of restoring were drawn with `--seed {seed}`");
                failure.help = Some(help);
            }
            outcome.failures.push(failure);
            // The others would most likely say the same again.
            break;
        }
    }
    outcome
}

/// The seed of a test that was given none: FNV-1a of its name.
fn seed_of(name: &str) -> u64 {
    name.bytes().fold(0xcbf2_9ce4_8422_2325, |hash, byte| {
        (hash ^ u64::from(byte)).wrapping_mul(0x0100_0000_01b3)
    })
}

/// Whether results may depend on the order in which rows of several subtasks arrive.
fn goes_by_arrival(plan: &Plan) -> bool {
    let frame = |frame: &WindowFrame| {
        let by_count = frame
            .early
            .is_some_and(|early| matches!(early.when, EarlyWhen::Count(_) | EarlyWhen::Every(_)));
        let by_clock = matches!(
            frame.windows,
            Windows::Global {
                trigger: Some(Trigger {
                    when: TriggerWhen::Every(_),
                    ..
                })
            }
        );
        by_count || by_clock
    };
    plan.nodes.iter().any(|node| match &node.kind {
        NodeKind::Keyed(keyed) => keyed.order == RowOrder::Arrival,
        NodeKind::Window(window) => frame(&window.frame),
        NodeKind::Content(content) => frame(&content.frame),
        _ => false,
    })
}

/// What is wrong with what came.
fn as_written(suite: &Suite, test: &Test, trace: &Trace) -> Vec<Failure> {
    let mut failures = Vec::new();
    let outputs = &suite.tested.outputs;
    let mut pending: Vec<Vec<Vec<String>>> = vec![Vec::new(); outputs.len()];
    // Where rows that nobody expects came first.
    let mut since = vec![0; outputs.len()];
    for (at, given) in trace.steps.iter().enumerate() {
        for (output, rows) in given.outputs.iter().enumerate() {
            if pending[output].is_empty() {
                since[output] = at;
            }
            pending[output].extend(rows.iter().cloned());
        }
        for check in &test.checks[at].outputs {
            let output = &outputs[check.of];
            let came = std::mem::take(&mut pending[check.of]);
            let shown = Shown::of_output(output, &check.rows);
            if let Some(lines) = compare(&shown, &check.rows, &came, output.ordered) {
                let message = format!("output `{}` is not what was expected at step {}", output.name, at + 1);
                failures.push(Failure::new(&check.span, message).at_step(at).lines(lines));
            }
        }
        for check in &test.checks[at].kept {
            let table = &suite.kept[check.of];
            let what = if table.is_timers() {
                "the timers are".to_owned()
            } else {
                format!("table `{}` is", table.name)
            };
            let shown = Shown::of_table(table);
            if let Some(lines) = compare(&shown, &check.rows, &given.kept[check.of], false) {
                let message = format!("{what} not what was expected after step {}", at + 1);
                failures.push(Failure::new(&check.span, message).at_step(at).lines(lines));
            }
        }
        if let Some((text, span)) = &test.checks[at].fault {
            let message = format!("step {} did not fail, and `{text}` was expected", at + 1);
            failures.push(Failure::new(span, message).at_step(at));
        }
    }
    if let Some(fault) = &trace.fault {
        failures.extend(of_fault(test, trace.steps.len(), fault));
    }
    // Of what is in the golden file nothing is left over, and a test that has failed says enough.
    if test.expected.is_some() || !failures.is_empty() {
        return failures;
    }
    for (at, output) in outputs
        .iter()
        .enumerate()
        .filter(|(at, output)| !output.ignore && !pending[*at].is_empty())
    {
        let shown = Shown::of_output(output, &[]);
        let lines = pending[at]
            .iter()
            .map(|row| Line::Unexpected(shown.came(row)))
            .collect();
        let step = since[at];
        let message = format!(
            "rows came out at `{}` from step {} on, and no step expects them",
            output.name,
            step + 1
        );
        let span = test.steps.get(step).unwrap_or(&test.span);
        let expect = if suite.tested.is_operator && output.name == crate::spec::MAIN {
            "expect = [...]".to_owned()
        } else {
            format!("expect.{} = [...]", output.name)
        };
        failures.push(Failure::new(span, message).at_step(step).lines(lines).help(format!(
            "write `{expect}` at a step, or `ignore = true` in [output.{}]",
            output.name
        )));
    }
    failures
}

/// A fault that nobody expected, or another than was expected; and what stands behind it.
fn of_fault(test: &Test, at: usize, fault: &Fault) -> Option<Failure> {
    let message = fault.to_string();
    let step = test.steps.get(at).unwrap_or(&test.span);
    let failure = |span: &Range<usize>, message: String| Some(Failure::new(span, message).at_step(at));
    match test.checks.get(at).and_then(|checks| checks.fault.as_ref()) {
        Some((text, span)) if !message.contains(text) => failure(
            span,
            format!("step {} failed otherwise than expected: {message}", at + 1),
        ),
        Some((_, span)) if at + 1 < test.steps.len() => failure(
            span,
            format!(
                "step {} fails, and {} more stand behind it",
                at + 1,
                test.steps.len() - at - 1
            ),
        ),
        Some(_) => None,
        None => failure(step, format!("step {} failed: {message}", at + 1)),
    }
}

/// What another variation gave otherwise.
fn differs(suite: &Suite, test: &Test, variation: &Variation, plain: &Trace, other: &Trace) -> Option<Failure> {
    let name = &variation.name;
    for (at, (a, b)) in plain.steps.iter().zip(&other.steps).enumerate() {
        if a == b {
            continue;
        }
        let (what, lines) = difference(suite, a, b);
        let message = format!("{name}: {what} at step {} than as written", at + 1);
        let span = test.steps.get(at).unwrap_or(&test.span);
        return Some(Failure::new(span, message).at_step(at).lines(lines));
    }
    let at = plain.steps.len().min(other.steps.len());
    let span = test.steps.get(at).unwrap_or(&test.span);
    match (&plain.fault, &other.fault) {
        (None, Some(fault)) => Some(Failure::new(span, format!("{name}: step {} failed: {fault}", at + 1)).at_step(at)),
        (Some(fault), None) => {
            let message = format!("{name}: step {} did not fail, as it does as written: {fault}", at + 1);
            Some(Failure::new(span, message).at_step(at))
        }
        (Some(_), Some(fault)) if plain.steps.len() != other.steps.len() => {
            Some(Failure::new(span, format!("{name}: step {} failed already: {fault}", at + 1)).at_step(at))
        }
        _ => None,
    }
}

/// The first output or table that differs, and how.
fn difference(suite: &Suite, a: &Given, b: &Given) -> (String, Vec<Line>) {
    let lines = |shown: &Shown<'_>, a: &[Vec<String>], b: &[Vec<String>]| {
        let text = |rows: &[Vec<String>]| rows.iter().map(|row| shown.came(row)).collect::<Vec<_>>();
        diff::of_sequences(&text(a), &text(b))
    };
    for (at, output) in suite.tested.outputs.iter().enumerate() {
        if a.outputs[at] != b.outputs[at] {
            let shown = Shown::of_output(output, &[]).all();
            let what = format!("output `{}` gives something else", output.name);
            return (what, lines(&shown, &a.outputs[at], &b.outputs[at]));
        }
    }
    for (at, table) in suite.kept.iter().enumerate() {
        if a.kept.get(at) != b.kept.get(at) {
            let what = if table.is_timers() {
                "other timers are set".to_owned()
            } else {
                format!("table `{}` holds something else", table.name)
            };
            let none = Vec::new();
            let rows = |given: &'_ Given| given.kept.get(at).unwrap_or(&none).clone();
            return (what, lines(&Shown::of_table(table), &rows(a), &rows(b)));
        }
    }
    ("something else came".to_owned(), Vec::new())
}

/// A path as people read it.
pub(crate) fn file_name(path: &Path) -> String {
    path.file_name()
        .unwrap_or(path.as_os_str())
        .to_string_lossy()
        .into_owned()
}

#[cfg(test)]
mod tests {
    use std::path::Path;
    use std::sync::Arc;

    use wasmill_component::{Host, Settings};
    use wasmill_connector_api::registry::Registry;

    use super::*;

    const UNION: &str = r#"
        [operator]
        type = "union"

        [input.a]
        schema = [{ name = "id", type = "int64" }, { name = "at", type = "timestamp" }]
        event-time = "at"

        [[test]]
        name = "rows go through"

        [[test.step]]
        rows = [{ id = 1, at = 2024-05-01T10:00:00Z }, { id = 2, at = 2024-05-01T10:00:01Z }]
        expect = [{ id = 1, at = 2024-05-01T10:00:00Z }, { id = 2, at = 2024-05-01T10:00:01Z }]
    "#;

    /// The suite, and what comes of its test.
    fn trace(suite: &Suite, components: &Host) -> Trace {
        let bench = Bench {
            tested: &suite.tested,
            tables: &suite.tables,
            kept: &suite.kept,
            components,
            scratch: std::env::temp_dir(),
        };
        bench.run(&suite.tests[0].script, &variation::plain()).expect("it runs")
    }

    fn suite(components: &Host) -> Suite {
        let harness = Harness {
            registry: Arc::new(Registry::new()),
            components,
            environment: &|_| None,
            scratch: std::env::temp_dir(),
            seed: None,
        };
        harness
            .read(UNION, Path::new("union.test.toml"))
            .expect("it has no errors")
    }

    #[test]
    fn a_variation_that_gives_a_row_less_is_told_with_its_name_and_the_row() {
        let components = Host::new(Settings::default()).expect("a host");
        let suite = suite(&components);
        let plain = trace(&suite, &components);
        let mut other = trace(&suite, &components);
        assert_eq!(
            differs(&suite, &suite.tests[0], &variation::plain(), &plain, &other),
            None
        );
        other.steps[0].outputs[0].remove(1);
        let variation = Variation {
            name: "with 3 subtasks and a restore after step 4".to_owned(),
            ..variation::plain()
        };
        let failure = differs(&suite, &suite.tests[0], &variation, &plain, &other).expect("a row is gone");
        assert_eq!(
            failure.message,
            "with 3 subtasks and a restore after step 4: output `out` gives something else at step 1 than as written"
        );
        let missing = failure.lines.iter().filter(|line| matches!(line, Line::Missing(_)));
        assert_eq!(missing.count(), 1);
    }

    #[test]
    fn a_variation_whose_rows_have_another_watermark_is_told_too() {
        let components = Host::new(Settings::default()).expect("a host");
        let suite = suite(&components);
        let plain = trace(&suite, &components);
        let mut other = trace(&suite, &components);
        other.steps[0].outputs[0][0][2] = "\"2024-05-01T09:00:00Z\"".to_owned();
        let failure = differs(&suite, &suite.tests[0], &variation::plain(), &plain, &other);
        assert!(failure.is_some());
    }

    #[test]
    fn a_variation_that_fails_is_told_with_its_step() {
        let components = Host::new(Settings::default()).expect("a host");
        let suite = suite(&components);
        let plain = trace(&suite, &components);
        let other = Trace {
            steps: Vec::new(),
            fault: Some(Fault::fatal(wasmill_core::fault::Domain::User, "it is broken")),
        };
        let failure = differs(&suite, &suite.tests[0], &variation::plain(), &plain, &other).expect("it failed");
        assert_eq!(
            (failure.step, failure.message.as_str()),
            (Some(1), "as written: step 1 failed: it is broken")
        );
    }
}
