//! Sessions, counted rows and global windows with aggregates.

use proptest::prelude::*;
use wasmill_core::aggregate::Builtin;
use wasmill_core::column::Scalar;
use wasmill_core::kind::Kind;
use wasmill_core::time::Micros;
use wasmill_core::window::{Trigger, TriggerWhen, Windows};
use wasmill_testkit::contents::{Firing, Outcome};
use wasmill_testkit::counts::Counts;
use wasmill_testkit::partitions::read;
use wasmill_testkit::sessions::Sessions;
use wasmill_testkit::{Row, aggregates};

use super::guests::{is_fatal, is_refused, plugins, spell};
use super::harness::{
    Case, Cuts, Emitted, Filling, INT, Run, TEXT, choose, cuts, head, keys, late_row, meet, partitions, place, run,
    timer_place,
};

pub(crate) fn builtins() -> Vec<Builtin> {
    vec![
        Builtin::Count(None),
        Builtin::Count(Some(INT)),
        Builtin::Sum(INT),
        Builtin::Min(INT),
        Builtin::Max(TEXT),
        Builtin::Avg(INT),
        Builtin::First(TEXT),
        Builtin::Last(INT),
        Builtin::TopK(TEXT, 2),
        Builtin::ArrayAgg(INT),
    ]
}

fn case(windows: Windows, key: &[usize], allowed: i64) -> Case {
    let mut case = Case::new(windows, key, allowed, Filling::Aggregates(builtins(), plugins()));
    case.frame.pane = true;
    case
}

fn value(row: &Row) -> Option<i64> {
    match row.values[INT] {
        Scalar::Int64(v) => Some(v),
        _ => None,
    }
}

/// The result of a firing.
pub(crate) fn result(firing: &Firing, place: Vec<u8>, rows: &[Row], case: &Case) -> Emitted {
    let held: Vec<&Row> = firing.rows.iter().map(|&row| &rows[row]).collect();
    let good = |row: &&Row| value(row).filter(|&v| !is_refused(v) && !is_fatal(v));
    let mut values = head(firing, rows, &case.frame.key);
    let Filling::Aggregates(builtins, plugins) = &case.filling else {
        panic!("aggregates");
    };
    values.extend(builtins.iter().map(|function| aggregates::evaluate(function, &held)));
    if !plugins.is_empty() {
        let spelt: Vec<String> = held.iter().filter_map(good).map(spell).collect();
        values.push(Scalar::Utf8(spelt.concat()));
        values.push(Scalar::Int64(held.iter().filter_map(good).sum()));
    }
    if case.frame.pane {
        values.push(Scalar::Int64(firing.pane.into()));
    }
    Emitted {
        time: firing.time,
        watermark: firing.watermark,
        place,
        kind: Kind::Insert,
        values,
    }
}

fn expected(case: &Case, rows: &[Row], outcome: &Outcome, place_of: impl Fn(&Firing) -> Vec<u8>) -> Run {
    let results = outcome.firings.iter();
    Run {
        results: results
            .map(|firing| result(firing, place_of(firing), rows, case))
            .collect(),
        late: outcome.late.iter().map(|&row| late_row(&rows[row])).collect(),
        letters: Vec::new(),
    }
}

/// How panes were merged is between the operator and its guest; what was spelt is not.
fn without_parentheses(mut run: Run) -> Run {
    for value in run.results.iter_mut().flat_map(|row| &mut row.values) {
        if let Scalar::Utf8(text) = value {
            text.retain(|c| !"(|)".contains(c));
        }
    }
    run
}

fn check(case: &Case, rows: &[Row], found: Run, expect: &Run, cuts: &Cuts) {
    let found = without_parentheses(found);
    if cuts.moves.iter().all(|&moves| moves == 0) {
        assert_eq!(
            found.results, expect.results,
            "one subtask gives results in their order"
        );
    }
    let bad = |row: &&Row| value(row).is_some_and(|v| is_refused(v) || is_fatal(v));
    if !matches!(case.frame.windows, Windows::Count { .. }) {
        let late: Vec<_> = expect.late.iter().map(|row| &row.place).collect();
        let counted = rows.iter().filter(|row| !late.contains(&&place(row)));
        assert_eq!(
            found.letters.len(),
            2 * counted.filter(bad).count(),
            "once for each plugin"
        );
    }
    let (found, expect) = (found.sorted(), expect.clone().sorted());
    assert_eq!(found.results, expect.results);
    assert_eq!(found.late, expect.late);
}

fn last_place(firing: &Firing, rows: &[Row]) -> Vec<u8> {
    let mut place = place(&rows[firing.rows[firing.rows.len() - 1]]);
    place.extend(0_u32.to_be_bytes());
    place
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(300))]

    #[test]
    fn sessions_are_what_the_oracle_says(
        parts in partitions(), gap in 1..9_i64, allowed in prop_oneof![Just(0), 0..12_i64], key in keys(),
        order in proptest::collection::vec(0..8_usize, 1..60), cuts in cuts(),
    ) {
        let case = case(Windows::Session { gap: Micros(gap as u64) }, &key, allowed);
        let (rows, events) = meet(&parts, &order);
        let outcome = Sessions { gap: Some(gap), allowed }.evaluate(&rows, &key);
        let expect = expected(&case, &rows, &outcome, |firing| timer_place(&firing.key, firing.end, 0));
        let (found, is_empty) = run(&case, &rows, &events, &cuts).expect("no fault");
        prop_assert!(is_empty, "nothing is left of sessions that are final");
        check(&case, &rows, found, &expect, &cuts);
        let (found, _) = run(&case, &rows, &events, &Cuts { moves: vec![0], ..cuts.clone() }).expect("no fault");
        check(&case, &rows, found, &expect, &Cuts { moves: vec![0], ..cuts });
    }

    #[test]
    fn global_windows_hold_all_rows_of_a_key(
        parts in partitions(), key in keys(), order in proptest::collection::vec(0..8_usize, 1..60), cuts in cuts(),
    ) {
        let case = case(Windows::Global { trigger: None }, &key, 0);
        let (rows, events) = meet(&parts, &order);
        let outcome = Sessions { gap: None, allowed: 0 }.evaluate(&rows, &key);
        let expect = expected(&case, &rows, &outcome, |firing| timer_place(&firing.key, firing.end, 0));
        let (found, is_empty) = run(&case, &rows, &events, &cuts).expect("no fault");
        prop_assert!(is_empty);
        check(&case, &rows, found, &expect, &cuts);
    }

    #[test]
    fn counted_windows_are_what_the_oracle_says(
        parts in partitions(), size in 1..9_usize, every in 1..9_usize, key in keys(),
        order in proptest::collection::vec(0..8_usize, 1..60), cuts in cuts(), slice_rows in 1..9_usize,
    ) {
        let windows = Windows::Count { size: size as u64, every: every as u64 };
        let mut case = case(windows, &key, 0);
        case.limits.slice_rows = slice_rows;
        let (rows, events) = meet(&parts, &order);
        let outcome = Counts { size: Some(size), every }.evaluate(&rows, &key);
        let expect = expected(&case, &rows, &outcome, |firing| last_place(firing, &rows));
        let (found, _) = run(&case, &rows, &events, &cuts).expect("no fault");
        check(&case, &rows, found, &expect, &cuts);
    }

    #[test]
    fn global_windows_with_a_count_grow_or_begin_again(
        parts in partitions(), every in 1..9_usize, key in keys(), purge in any::<bool>(),
        order in proptest::collection::vec(0..8_usize, 1..60), cuts in cuts(),
    ) {
        let when = TriggerWhen::Count(every as u64);
        let case = case(Windows::Global { trigger: Some(Trigger { when, purge }) }, &key, 0);
        let (rows, events) = meet(&parts, &order);
        let outcome = Counts { size: purge.then_some(every), every }.evaluate(&rows, &key);
        let expect = expected(&case, &rows, &outcome, |firing| last_place(firing, &rows));
        let (found, _) = run(&case, &rows, &events, &cuts).expect("no fault");
        check(&case, &rows, found, &expect, &cuts);
    }

    #[test]
    fn how_panes_are_merged_does_not_depend_on_cuts(
        parts in partitions(), size in 1..9_usize, every in 1..9_usize,
        order in proptest::collection::vec(0..8_usize, 1..60), other_order in proptest::collection::vec(0..8_usize, 1..60),
        cuts in cuts(),
    ) {
        let case = case(Windows::Count { size: size as u64, every: every as u64 }, &[1], 0);
        let (rows, events) = read(&parts, choose(&order));
        let (whole, _) = run(&case, &rows, &events, &Cuts::none()).expect("no fault");
        let (rows, events) = read(&parts, choose(&other_order));
        let (found, _) = run(&case, &rows, &events, &cuts).expect("no fault");
        prop_assert_eq!(found.sorted().results, whole.sorted().results);
    }
}
