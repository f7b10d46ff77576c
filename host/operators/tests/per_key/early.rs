//! Results before a window is complete, and corrections at once. None of them is the same on every run, so what is held
//! here is what they have in common: the last word about a window is what the oracle says.

use std::collections::BTreeMap;

use proptest::prelude::*;
use wasmill_core::column::Scalar;
use wasmill_core::kind::Kind;
use wasmill_core::plan::{Early, EarlyWhen, LateResults, OnFault};
use wasmill_core::time::Micros;
use wasmill_core::window::{Alignment, Trigger, TriggerWhen, WindowSpec, Windows};
use wasmill_testkit::Row;
use wasmill_testkit::contents::Aligned;
use wasmill_testkit::partitions::Event;
use wasmill_testkit::sessions::Sessions;

use super::aggregates::{builtins, result};
use super::guests::tell;
use super::harness::{Case, Emitted, Filling, Subtasks, cuts, meet, partitions};

/// Runs a case; processing time goes on by one with each event. No value is refused or fails.
fn run(case: &Case, rows: &[Row], events: &[Event], cuts: &super::harness::Cuts) -> Vec<Emitted> {
    let mut subtasks = Subtasks::new(case);
    let mut open: Vec<&Row> = Vec::new();
    for (at, event) in events.iter().enumerate() {
        let moves = cuts.moves[at % cuts.moves.len()];
        if moves > 0 {
            subtasks.spread(moves).expect("no fault");
        }
        match *event {
            Event::Row(row) => open.push(&rows[row]),
            Event::Watermark(to) => {
                subtasks.rows(&open).expect("no fault");
                open.clear();
                subtasks.watermark(to).expect("no fault");
            }
        }
        if cuts.batch[at % cuts.batch.len()] {
            subtasks.rows(&open).expect("no fault");
            open.clear();
        }
        subtasks.clock(at as i64).expect("no fault");
    }
    assert!(subtasks.is_empty(), "nothing is left");
    let run = subtasks.run();
    assert!(run.letters.is_empty());
    run.results
}

/// Values that guests take: a product of neither five nor seven.
fn harmless(rows: &mut [Row]) {
    for value in rows.iter_mut().map(|row| &mut row.values[super::harness::INT]) {
        if let Scalar::Int64(v) = value {
            *v = 35 * *v + 1;
        }
    }
}

fn when() -> impl Strategy<Value = EarlyWhen> {
    prop_oneof![
        (1..4_u64).prop_map(EarlyWhen::Count),
        (1..9_u64).prop_map(|every| EarlyWhen::Every(Micros(every)))
    ]
}

/// What is left of a changelog in the end, as text in order.
fn fold(results: &[Emitted]) -> Vec<String> {
    let mut left: BTreeMap<String, usize> = BTreeMap::new();
    let mut before: Option<Kind> = None;
    for row in results {
        let text = format!("{:?}", row.values);
        if row.kind.adds() {
            assert_eq!(
                row.kind == Kind::UpdateAfter,
                before == Some(Kind::UpdateBefore),
                "an update is a pair"
            );
            *left.entry(text).or_default() += 1;
        } else {
            let count = left.get_mut(&text).expect("what is taken back was there");
            *count -= 1;
        }
        before = Some(row.kind);
    }
    left.into_iter()
        .flat_map(|(text, count)| std::iter::repeat_n(text, count))
        .collect()
}

/// The last result of each window, by its head.
fn last_words(results: Vec<Emitted>, head: usize) -> BTreeMap<String, Vec<Scalar>> {
    let rows = results.into_iter();
    rows.map(|row| (format!("{:?}", &row.values[..head]), row.values))
        .collect()
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(200))]

    #[test]
    fn what_is_left_of_a_changelog_is_the_sessions(
        parts in partitions(), gap in 1..9_i64, allowed in 0..6_i64, when in when(),
        order in proptest::collection::vec(0..8_usize, 1..60), cuts in cuts(),
    ) {
        let windows = Windows::Session { gap: Micros(gap as u64) };
        let mut case = Case::new(windows, &[1], allowed, Filling::Aggregates(builtins(), super::guests::plugins()));
        case.frame.early = Some(Early { when, retracting: true });
        let (mut rows, events) = meet(&parts, &order);
        harmless(&mut rows);
        let found = run(&case, &rows, &events, &cuts);
        let outcome = Sessions { gap: Some(gap), allowed }.evaluate(&rows, &[1]);
        let expect = outcome.firings.iter().map(|firing| format!("{:?}", result(firing, Vec::new(), &rows, &case).values));
        let mut expect: Vec<String> = expect.collect();
        expect.sort();
        prop_assert_eq!(fold(&found), expect);
        let mut places: Vec<_> = found.iter().map(|row| &row.place).collect();
        places.sort();
        places.dedup();
        prop_assert_eq!(places.len(), found.len(), "each row has a place of its own");
    }

    #[test]
    fn the_last_result_of_a_session_is_complete(
        parts in partitions(), gap in 1..9_i64, when in when(), guest in any::<bool>(),
        order in proptest::collection::vec(0..8_usize, 1..60), cuts in cuts(),
    ) {
        let filling = if guest { tell() } else { Filling::Aggregates(builtins(), super::guests::plugins()) };
        let mut case = Case::new(Windows::Session { gap: Micros(gap as u64) }, &[1], 0, filling);
        case.frame.early = Some(Early { when, retracting: false });
        let (mut rows, events) = meet(&parts, &order);
        harmless(&mut rows);
        let found = last_words(run(&case, &rows, &events, &cuts), 3);
        let plain = Case { frame: wasmill_core::plan::WindowFrame { early: None, ..case.frame.clone() }, ..case };
        let complete = last_words(run(&plain, &rows, &events, &cuts), 3);
        for (head, values) in complete {
            prop_assert_eq!(found.get(&head), Some(&values));
        }
    }

    #[test]
    fn the_last_result_of_an_aligned_window_is_complete(
        parts in partitions(), size in 1..9_i64, every in 1..9_i64, allowed in 0..9_i64,
        when in proptest::option::of(when()), immediate in any::<bool>(),
        order in proptest::collection::vec(0..8_usize, 1..60), cuts in cuts(),
    ) {
        let spec = WindowSpec::Sliding {
            size: Micros(size as u64), every: Micros(every as u64), alignment: Alignment::default(),
        };
        let mut case = Case::new(Windows::Aligned(spec), &[1], allowed, tell());
        case.frame.pane = true;
        case.frame.early = when.map(|when| Early { when, retracting: false });
        case.on_fault = OnFault::Fail;
        if immediate {
            case.frame.late_results = LateResults::Immediate;
        }
        let (mut rows, events) = meet(&parts, &order);
        harmless(&mut rows);
        let found = run(&case, &rows, &events, &cuts);
        let mut panes: BTreeMap<String, i64> = BTreeMap::new();
        for row in &found {
            let Scalar::Int64(pane) = row.values[3] else { panic!("{row:?}") };
            let next = panes.entry(format!("{:?}", &row.values[..3])).or_default();
            prop_assert_eq!(pane, *next, "results of a window are counted");
            *next += 1;
        }
        let found = last_words(found, 3);
        let outcome = Aligned::Sliding { size, every }.evaluate(&rows, &[1], allowed);
        let mut complete: BTreeMap<String, usize> = BTreeMap::new();
        for firing in &outcome.firings {
            complete.insert(format!("{:?}", super::harness::head(firing, &rows, &[1])), firing.rows.len());
        }
        let counts: BTreeMap<String, usize> = found.into_iter().map(|(head, values)| match values[5] {
            Scalar::Int64(count) => (head, count as usize),
            ref other => panic!("{other:?}"),
        }).collect();
        prop_assert_eq!(counts, complete);
    }

    #[test]
    fn a_global_window_that_is_not_purged_ends_with_all_rows(
        parts in partitions(), every in 1..9_u64, purge in any::<bool>(), guest in any::<bool>(),
        order in proptest::collection::vec(0..8_usize, 1..60), cuts in cuts(),
    ) {
        let filling = if guest { tell() } else { Filling::Aggregates(builtins(), super::guests::plugins()) };
        let when = TriggerWhen::Every(Micros(every));
        let case = Case::new(Windows::Global { trigger: Some(Trigger { when, purge }) }, &[1], 0, filling);
        let (mut rows, events) = meet(&parts, &order);
        harmless(&mut rows);
        let found = run(&case, &rows, &events, &cuts);
        let count = |row: &Emitted| match row.values[if guest { 4 } else { 3 }] {
            Scalar::Int64(count) => count,
            ref other => panic!("{other:?}"),
        };
        let mut by_key: BTreeMap<String, i64> = BTreeMap::new();
        for row in &found {
            let rows = by_key.entry(format!("{:?}", row.values[0])).or_default();
            *rows = if purge { *rows + count(row) } else { count(row) };
        }
        let outcome = Sessions { gap: None, allowed: 0 }.evaluate(&rows, &[1]);
        let expect: BTreeMap<String, i64> = outcome.firings.iter()
            .map(|firing| (format!("{:?}", rows[firing.rows[0]].values[1]), firing.rows.len() as i64))
            .collect();
        prop_assert_eq!(by_key, expect);
    }
}
