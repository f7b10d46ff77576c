//! Whatever the text is, there is an answer, and its places are places of the text.

use proptest::prelude::*;

use crate::support;

const GOLDEN: [&str; 4] = [
    include_str!("../../../../tests/golden/topologies/flights.toml"),
    include_str!("../../../../tests/golden/topologies/windows.toml"),
    include_str!("../../../../tests/golden/topologies/connectors.toml"),
    include_str!("../../../../tests/golden/topologies/secrets.toml"),
];

fn check(text: &str) {
    let environment = |name: &str| (name == "PASSWORD").then(|| "hunter2".to_owned());
    let diagnostics = match support::check(text, &environment, &[]) {
        Ok(checked) => checked.warnings,
        Err(diagnostics) => {
            assert!(!diagnostics.is_empty(), "no plan and no reason");
            diagnostics
        }
    };
    for diagnostic in diagnostics {
        for label in &diagnostic.labels {
            assert!(text.get(label.span.clone()).is_some(), "{diagnostic:?}");
        }
        let shown = format!("{diagnostic:?}");
        assert!(
            text.contains("hunter2") || !shown.contains("hunter2"),
            "a secret is shown: {shown}"
        );
    }
}

/// A piece of one golden topology in the place of a piece of another, cut anywhere.
fn mixed() -> impl Strategy<Value = String> {
    let whole = || prop::sample::select(GOLDEN.to_vec());
    let cut = any::<prop::sample::Index>;
    (whole(), whole(), cut(), cut(), cut(), cut()).prop_map(|(into, from, a, b, c, d)| {
        let (into, from): (Vec<char>, Vec<char>) = (into.chars().collect(), from.chars().collect());
        let ordered = |a: usize, b: usize| (a.min(b), a.max(b));
        let (start, end) = ordered(a.index(into.len()), b.index(into.len()));
        let (first, last) = ordered(c.index(from.len()), d.index(from.len()));
        // Short pieces leave most of a topology intact.
        let (end, last) = (end.min(start + 20), last.min(first + 20));
        into[..start]
            .iter()
            .chain(&from[first..last])
            .chain(&into[end..])
            .collect()
    })
}

/// A golden topology with some of its lines taken out or doubled.
fn shuffled_lines() -> impl Strategy<Value = String> {
    let whole = prop::sample::select(GOLDEN.to_vec());
    (whole, prop::collection::vec(0..8_usize, 200)).prop_map(|(text, fates)| {
        let lines = text.lines().zip(fates);
        lines
            .flat_map(|(line, fate)| std::iter::repeat_n(line, usize::from(fate != 0) + usize::from(fate == 1)))
            .fold(String::new(), |text, line| text + line + "\n")
    })
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 512, failure_persistence: None, ..ProptestConfig::default() })]

    #[test]
    fn any_text_has_an_answer(text in ".{0,200}") {
        check(&text);
    }

    #[test]
    fn a_damaged_topology_has_an_answer(text in mixed()) {
        check(&text);
    }

    #[test]
    fn a_topology_without_some_lines_has_an_answer(text in shuffled_lines()) {
        check(&text);
    }
}
