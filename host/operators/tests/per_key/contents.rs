//! Windows whose whole content goes to a guest.

use std::collections::BTreeSet;

use proptest::prelude::*;
use wasmill_core::column::Scalar;
use wasmill_core::kind::Kind;
use wasmill_core::time::Micros;
use wasmill_core::window::{Alignment, Trigger, TriggerWhen, WindowSpec, Windows};
use wasmill_testkit::Row;
use wasmill_testkit::contents::{Aligned, Firing, Outcome};
use wasmill_testkit::counts::Counts;
use wasmill_testkit::sessions::Sessions;

use super::guests::{is_fatal, is_refused, spell, tell};
use super::harness::{
    Case, Cuts, Emitted, INT, Run, TEXT, cuts, head, keys, late_row, meet, partitions, place, run, timer_place,
};

fn case(windows: Windows, key: &[usize], allowed: i64) -> Case {
    let mut case = Case::new(windows, key, allowed, tell());
    case.frame.pane = true;
    case
}

fn value(row: &Row) -> Option<i64> {
    match row.values[INT] {
        Scalar::Int64(v) => Some(v),
        _ => None,
    }
}

/// What should come out: firings without a row at fault, and the places of the dead letters, each row once.
fn expected(
    case: &Case,
    rows: &[Row],
    outcome: &Outcome,
    place_of: impl Fn(&Firing) -> Vec<u8>,
) -> (Run, BTreeSet<Vec<u8>>) {
    let mut expect = Run::default();
    let mut letters = BTreeSet::new();
    for firing in &outcome.firings {
        let mut told = String::new();
        let mut failed = false;
        for (part, numbers) in firing.rows.chunks(case.limits.call.rows).enumerate() {
            if part > 0 {
                told += "/";
            }
            let values = || numbers.iter().map(|&number| (number, value(&rows[number])));
            failed |= values().any(|(_, v)| v.is_some_and(is_fatal));
            for (number, value) in values() {
                let refused = value.is_some_and(is_refused);
                if failed || refused {
                    letters.insert(place(&rows[number]));
                }
                told.extend(value.filter(|_| !refused).map(spell));
            }
        }
        if failed {
            continue;
        }
        let mut values = head(firing, rows, &case.frame.key);
        values.push(Scalar::Int64(firing.pane.into()));
        values.push(Scalar::Utf8(told));
        values.push(Scalar::Int64(firing.rows.len() as i64));
        values.push(rows[firing.rows[firing.rows.len() - 1]].values[TEXT].clone());
        let mut place = place_of(firing);
        place.extend(0_u32.to_be_bytes());
        expect.results.push(Emitted {
            time: firing.time,
            watermark: firing.watermark,
            place,
            kind: Kind::Insert,
            values,
        });
    }
    expect.late = outcome.late.iter().map(|&row| late_row(&rows[row])).collect();
    (expect, letters)
}

fn check(found: Run, expect: &(Run, BTreeSet<Vec<u8>>), cuts: &Cuts) {
    let (expect, letters) = expect;
    if cuts.moves.iter().all(|&moves| moves == 0) {
        assert_eq!(
            found.results, expect.results,
            "one subtask gives results in their order"
        );
    }
    let mut told: Vec<Vec<u8>> = found.letters.iter().map(|letter| letter.place.clone()).collect();
    told.sort();
    assert_eq!(told, letters.iter().cloned().collect::<Vec<_>>(), "each row once");
    let (found, expect) = (found.sorted(), expect.clone().sorted());
    assert_eq!(found.results, expect.results);
    assert_eq!(found.late, expect.late);
}

fn aligned() -> impl Strategy<Value = (Aligned, WindowSpec)> {
    let sliding = (1..14_i64, 1..9_i64, any::<bool>()).prop_map(|(size, every, tumbling)| {
        let every = if tumbling { size } else { every };
        let spec = WindowSpec::Sliding {
            size: Micros(size as u64),
            every: Micros(every as u64),
            alignment: Alignment::default(),
        };
        (Aligned::Sliding { size, every }, spec)
    });
    let cumulative = (1..5_i64, 1..5_i64).prop_map(|(step, steps)| {
        let size = step * steps;
        let spec = WindowSpec::Cumulative {
            size: Micros(size as u64),
            step: Micros(step as u64),
            alignment: Alignment::default(),
        };
        (Aligned::Cumulative { size, step }, spec)
    });
    prop_oneof![3 => sliding, 1 => cumulative]
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(400))]

    #[test]
    fn aligned_windows_are_what_the_oracle_says(
        parts in partitions(), (windows, spec) in aligned(), allowed in prop_oneof![Just(0), 0..12_i64], key in keys(),
        order in proptest::collection::vec(0..8_usize, 1..60), cuts in cuts(),
    ) {
        let case = case(Windows::Aligned(spec), &key, allowed);
        let (rows, events) = meet(&parts, &order);
        let outcome = windows.evaluate(&rows, &key, allowed);
        let expect = expected(&case, &rows, &outcome, |firing| timer_place(&firing.key, firing.end, firing.pane));
        let (found, is_empty) = run(&case, &rows, &events, &cuts).expect("no fault");
        prop_assert!(is_empty, "nothing is left of windows that are final");
        check(found, &expect, &cuts);
        let still = Cuts { moves: vec![0], ..cuts };
        let (found, _) = run(&case, &rows, &events, &still).expect("no fault");
        check(found, &expect, &still);
    }

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
        prop_assert!(is_empty);
        check(found, &expect, &cuts);
    }

    #[test]
    fn global_windows_hold_all_rows_of_a_key(
        parts in partitions(), key in keys(), order in proptest::collection::vec(0..8_usize, 1..60), cuts in cuts(),
    ) {
        let case = case(Windows::Global { trigger: None }, &key, 0);
        let (rows, events) = meet(&parts, &order);
        let outcome = Sessions { gap: None, allowed: 0 }.evaluate(&rows, &key);
        let expect = expected(&case, &rows, &outcome, |firing| timer_place(&firing.key, firing.end, 0));
        let (found, _) = run(&case, &rows, &events, &cuts).expect("no fault");
        check(found, &expect, &cuts);
    }

    #[test]
    fn counted_windows_are_what_the_oracle_says(
        parts in partitions(), size in 1..9_usize, every in 1..9_usize, key in keys(), global in any::<bool>(),
        order in proptest::collection::vec(0..8_usize, 1..60), cuts in cuts(),
    ) {
        let trigger = Trigger { when: TriggerWhen::Count(every as u64), purge: false };
        let windows = if global {
            Windows::Global { trigger: Some(trigger) }
        } else {
            Windows::Count { size: size as u64, every: every as u64 }
        };
        let case = case(windows, &key, 0);
        let (rows, events) = meet(&parts, &order);
        let outcome = Counts { size: (!global).then_some(size), every }.evaluate(&rows, &key);
        let place_of = |firing: &Firing| place(&rows[firing.rows[firing.rows.len() - 1]]);
        let expect = expected(&case, &rows, &outcome, place_of);
        let (found, _) = run(&case, &rows, &events, &cuts).expect("no fault");
        check(found, &expect, &cuts);
    }
}
