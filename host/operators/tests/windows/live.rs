//! Results that come before a window ends, or at once after it: against a step by step calculation.

use std::collections::BTreeMap;

use proptest::prelude::*;
use wasmill_core::aggregate::Builtin;
use wasmill_core::column::Scalar;
use wasmill_core::key;
use wasmill_core::kind::Kind;
use wasmill_core::operator::{Operator, Step};
use wasmill_core::plan::{Early, EarlyWhen, LateResults, Lateness};
use wasmill_core::time::{Micros, Timestamp};
use wasmill_testkit::partitions::{Event, Partition, read, read_idling};
use wasmill_testkit::windows::Windows;
use wasmill_testkit::{Row, aggregates};

use super::harness::{Case, Cuts, Emitted, INT, KEY_INT, KEY_TEXT, batch, canonical, emitted, moved, run};
use super::plugins;
use super::properties::{check_moves, choose, coin, idle, partitions, windows};

/// A window of a key: its end, its beginning, the key in canonical bytes.
type KeyWindow = (i64, i64, Vec<u8>);

/// What is known of it.
#[derive(Default)]
struct Held {
    on_time: Vec<usize>,
    /// Admitted, but not on time.
    after: Vec<usize>,
    /// Rows since the last early result.
    since: u64,
    results: i64,
    last: Option<Vec<Scalar>>,
}

/// Takes one row after the other, and each watermark.
struct StepByStep<'a> {
    case: &'a Case,
    rows: &'a [Row],
    held: BTreeMap<KeyWindow, Held>,
    merged: i64,
    out: Vec<Told>,
}

/// A result: t, W, what it does, its values.
type Told = (i64, i64, Kind, Vec<Scalar>);

fn told(row: &Emitted) -> Told {
    (row.time, row.watermark, row.kind, row.values.clone())
}

impl StepByStep<'_> {
    fn row(&mut self, number: usize) {
        let row = &self.rows[number];
        let case = self.case;
        let watermark = if case.lateness == Lateness::BestEffort {
            self.merged
        } else {
            row.watermark
        };
        let mut encoded = Vec::new();
        for &column in &case.key {
            key::encode(row.values[column].as_value(), &mut encoded);
        }
        let mut windows = case.windows.of(row.time);
        windows.sort_by_key(|window| window.1);
        for (start, end) in windows {
            if end.saturating_add(case.windows.allowed) <= watermark {
                continue;
            }
            let of = (end, start, encoded.clone());
            let held = self.held.entry(of.clone()).or_default();
            let immediate = case.late_results == LateResults::Immediate;
            if watermark < end || immediate {
                held.on_time.push(number);
            } else {
                held.after.push(number);
                continue;
            }
            if end <= self.merged {
                self.tell(&of, false, self.merged);
            } else if let Some(Early {
                when: EarlyWhen::Count(count),
                ..
            }) = case.early
            {
                held.since += 1;
                if held.since == count {
                    held.since = 0;
                    self.tell(&of, false, self.merged);
                }
            }
        }
    }

    fn watermark(&mut self, to: i64) {
        let mut due: Vec<(i64, KeyWindow, bool)> = Vec::new();
        for (of, held) in &self.held {
            let passes = |at: i64| self.merged < at && at <= to;
            let corrected = of.0.saturating_add(self.case.windows.allowed);
            if passes(of.0) && !held.on_time.is_empty() {
                due.push((of.0, of.clone(), false));
            }
            if passes(corrected) && !held.after.is_empty() {
                due.push((corrected, of.clone(), true));
            }
        }
        due.sort();
        for (at, of, correction) in due {
            self.tell(&of, correction, at - 1);
        }
        self.merged = to;
    }

    fn tell(&mut self, of: &KeyWindow, with_after: bool, watermark: i64) {
        let held = self.held.get_mut(of).expect("a window with rows");
        let mut numbers = held.on_time.clone();
        if with_after {
            numbers.extend(&held.after);
        }
        numbers.sort_by_key(|&number| self.rows[number].order());
        let rows: Vec<&Row> = numbers.iter().map(|&number| &self.rows[number]).collect();
        let mut values: Vec<Scalar> = self
            .case
            .key
            .iter()
            .map(|&column| canonical(&rows[0].values[column]))
            .collect();
        values.extend([Scalar::Timestamp(of.1), Scalar::Timestamp(of.0)]);
        values.extend(
            self.case
                .aggregates
                .iter()
                .map(|function| aggregates::evaluate(function, &rows)),
        );
        if self.case.pane {
            values.push(Scalar::Int64(held.results));
        }
        held.results += 1;
        let time = of.0 - 1;
        let kind = if self.case.early.is_some_and(|early| early.retracting) {
            match held.last.replace(values.clone()) {
                None => Kind::Insert,
                Some(before) => {
                    self.out.push((time, watermark, Kind::UpdateBefore, before));
                    Kind::UpdateAfter
                }
            }
        } else {
            Kind::Insert
        };
        self.out.push((time, watermark, kind, values));
    }
}

fn step_by_step(case: &Case, rows: &[Row], events: &[Event]) -> Vec<Told> {
    let mut steps = StepByStep {
        case,
        rows,
        held: BTreeMap::new(),
        merged: i64::MIN,
        out: Vec::new(),
    };
    for event in events {
        match *event {
            Event::Row(row) => steps.row(row),
            Event::Watermark(to) => steps.watermark(to),
        }
    }
    steps.out
}

/// Early results after some rows, taken back or not; corrections at once or not; rows judged in either way.
pub(super) fn live(
    windows: Windows,
    key: &[usize],
    count: u64,
    retracting: bool,
    immediate: bool,
    best_effort: bool,
) -> Case {
    let aggregates = [Builtin::Count(None), Builtin::Sum(INT), Builtin::ArrayAgg(INT)];
    let mut case = Case::new(windows, key, &aggregates);
    case.early = (count > 0).then_some(Early {
        when: EarlyWhen::Count(count),
        retracting,
    });
    if immediate {
        case.late_results = LateResults::Immediate;
    }
    if best_effort {
        case.lateness = Lateness::BestEffort;
    }
    case.pane = true;
    case
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(300))]

    #[test]
    fn results_at_other_times_are_those_of_a_calculation_step_by_step(
        parts in partitions(1), windows in windows(), count in 0..4_u64, retracting: bool, immediate: bool, best_effort: bool,
        keyed: bool, order in proptest::collection::vec(0..8_usize, 1..60),
        batch in proptest::collection::vec(any::<bool>(), 1..30), slice_rows in 1..9_usize, idle in idle(),
    ) {
        let key = if keyed { vec![KEY_TEXT] } else { vec![] };
        let mut case = live(windows, &key, count, retracting, immediate, best_effort);
        case.slice_rows = slice_rows;
        let mut idle = coin(&idle);
        let (rows, events) = read_idling(&parts, choose(&order), |_| idle());
        let mut cuts = Cuts { batch: &mut coin(&batch), watermark: &mut || true, filtered: &mut || false };
        let found = run(&case, &rows, &events, &mut cuts).expect("no fault");
        let results: Vec<Told> = found.results.iter().map(told).collect();
        prop_assert_eq!(results, step_by_step(&case, &rows, &events));
        let mut places: Vec<&Vec<u8>> = found.results.iter().map(|row| &row.place).collect();
        places.sort_unstable();
        prop_assert!(places.windows(2).all(|pair| pair[0] != pair[1]), "each result has a place of its own");
    }

    #[test]
    fn what_was_told_moves_with_the_state(
        parts in partitions(1), windows in windows(), count in 0..4_u64, retracting: bool, immediate: bool, best_effort: bool,
        order in proptest::collection::vec(0..8_usize, 1..60),
        batch in proptest::collection::vec(any::<bool>(), 1..30), moves in proptest::collection::vec(0..5_u32, 1..30),
        with_plugins: bool,
    ) {
        let mut case = live(windows, &[KEY_TEXT], count, retracting, immediate, best_effort);
        if with_plugins {
            case.plugins = plugins::case(windows_of(&case)).plugins;
            case.on_fault = wasmill_core::plan::OnFault::DeadLetter;
            case.dead_letters = true;
        }
        check_moves(&case, &parts, &order, &batch, &moves);
    }
}

fn windows_of(case: &Case) -> Windows {
    case.windows.clone()
}

pub(super) fn sized(size: i64, every: i64, allowed: i64) -> Windows {
    Windows {
        size,
        every,
        offset: 0,
        time_zone: None,
        allowed,
        cumulative: false,
    }
}

pub(super) fn row(time: i64, watermark: i64, position: u64, int: i64) -> Row {
    Row {
        time,
        watermark,
        partition: 0,
        position,
        values: vec![
            Scalar::Int64(1),
            Scalar::Null,
            Scalar::Null,
            Scalar::Int64(int),
            Scalar::Null,
            Scalar::Null,
        ],
    }
}

/// W, what it does, the values in event-time order and the pane of each result.
fn told_of(out: &mut Vec<(usize, wasmill_core::batch::Batch)>) -> Vec<(i64, Kind, String, i64)> {
    let results = std::mem::take(out).into_iter().filter(|(port, _)| *port == 0);
    let rows = results.flat_map(|(_, batch)| emitted(&batch));
    rows.map(|row| match &row.values[..] {
        [_, _, _, .., Scalar::Json(values), Scalar::Int64(pane)] => (row.watermark, row.kind, values.clone(), *pane),
        other => panic!("{other:?}"),
    })
    .collect()
}

#[test]
fn early_results_come_so_long_after_the_first_row_since_the_last() {
    let mut case = live(sized(10, 10, 0), &[KEY_INT], 0, false, false, false);
    case.early = Some(Early {
        when: EarlyWhen::Every(Micros(100)),
        retracting: true,
    });
    let mut window = case.operator();
    let mut out = Vec::new();
    let add = |window: &mut wasmill_operators::Window, row: &Row, out: &mut Vec<_>| {
        window.batch(0, batch(&[row], false), out).expect("no fault");
    };
    let clock = |window: &mut wasmill_operators::Window, now: i64, out: &mut Vec<_>| {
        while window.clock(Timestamp(now), out).expect("no fault") == Step::More {}
    };
    assert_eq!(window.wake_at(), None, "nothing is waited for");
    add(&mut window, &row(1, i64::MIN, 0, 5), &mut out);
    assert_eq!(window.wake_at(), Some(Timestamp::MIN), "it asks what time it is");
    clock(&mut window, 1_000, &mut out);
    assert_eq!(window.wake_at(), Some(Timestamp(1_100)));
    add(&mut window, &row(2, i64::MIN, 1, 6), &mut out);
    assert_eq!(window.wake_at(), Some(Timestamp(1_100)), "the first row counts");
    assert_eq!(told_of(&mut out), []);
    // The time is kept with the state.
    let mut windows = moved(&case, &mut [window], 1).expect("its own state");
    let mut window = windows.remove(0);
    assert_eq!(window.wake_at(), Some(Timestamp(1_100)));
    clock(&mut window, 1_099, &mut out);
    assert_eq!(told_of(&mut out), []);
    clock(&mut window, 1_105, &mut out);
    assert_eq!(told_of(&mut out), [(i64::MIN, Kind::Insert, "[5,6]".into(), 0)]);
    assert_eq!(window.wake_at(), None, "nothing came since");
    assert_eq!(window.watermark(Timestamp(3), &mut out), Ok(Step::Done));
    add(&mut window, &row(3, 3, 2, 7), &mut out);
    clock(&mut window, 2_000, &mut out);
    clock(&mut window, 2_100, &mut out);
    let expect = [
        (3, Kind::UpdateBefore, "[5,6]".into(), 0),
        (3, Kind::UpdateAfter, "[5,6,7]".into(), 1),
    ];
    assert_eq!(told_of(&mut out), expect, "W is the watermark that was told last");
    // A time that is waited for when the window ends is no matter any more.
    add(&mut window, &row(4, 3, 3, 8), &mut out);
    clock(&mut window, 2_200, &mut out);
    assert_eq!(window.watermark(Timestamp(10), &mut out), Ok(Step::Done));
    let expect = [
        (9, Kind::UpdateBefore, "[5,6,7]".into(), 1),
        (9, Kind::UpdateAfter, "[5,6,7,8]".into(), 2),
    ];
    assert_eq!(told_of(&mut out), expect);
    clock(&mut window, 2_300, &mut out);
    assert_eq!((told_of(&mut out), window.wake_at()), (vec![], None));
}

#[test]
fn a_window_downstream_takes_early_results_and_corrections_at_once() {
    // Both hold ten; the second allows what the first does.
    let first = live(sized(10, 10, 5), &[KEY_INT], 2, false, true, false);
    let second = Case::new(sized(10, 10, 5), &[KEY_INT], &[Builtin::Count(None)]);
    let (mut upstream, mut downstream) = (first.operator(), second.operator());
    let mut late = Vec::new();
    let mut results = Vec::new();
    // Early after two rows; the result at 10; a row that comes at 12 corrects at once; one that comes at 14 too.
    for (position, (time, merged)) in [(1, 0), (2, 0), (3, 1), (4, 12), (5, 14)].into_iter().enumerate() {
        let position = position as u64;
        let mut out = Vec::new();
        assert_eq!(upstream.watermark(Timestamp(merged), &mut out), Ok(Step::Done));
        upstream
            .batch(0, batch(&[&row(time, merged, position, 1)], false), &mut out)
            .expect("no fault");
        for (port, batch) in out {
            assert_eq!(port, 0);
            let rows: Vec<Row> = emitted(&batch)
                .iter()
                .enumerate()
                .map(|(i, emitted)| Row {
                    position: 10 * position + i as u64,
                    ..row(emitted.time, emitted.watermark, 0, 1)
                })
                .collect();
            let rows: Vec<&Row> = rows.iter().collect();
            let mut out = Vec::new();
            downstream
                .batch(0, super::harness::batch(&rows, false), &mut out)
                .expect("W is not below what was told");
            late.extend(out);
        }
        let mut out = Vec::new();
        assert_eq!(downstream.watermark(Timestamp(merged), &mut out), Ok(Step::Done));
        results.extend(out);
    }
    assert!(late.is_empty(), "no result is late downstream");
    assert_eq!(downstream.watermark(Timestamp::MAX, &mut results), Ok(Step::Done));
    let counts: Vec<Scalar> = results
        .iter()
        .flat_map(|(_, batch)| emitted(batch))
        .map(|row| row.values[3].clone())
        .collect();
    // The early one and the result on time; with both corrections.
    assert_eq!(counts, [Scalar::Int64(2), Scalar::Int64(4)]);
}

#[test]
fn best_effort_judges_by_the_merged_watermark() {
    // The second partition is behind: by its own W its row at 5 is on time, by M it is not.
    let parts = |best_effort: bool| {
        let case = live(sized(10, 10, 0), &[KEY_INT], 0, false, false, best_effort);
        let mut window = case.operator();
        let mut out = Vec::new();
        let behind = row(5, i64::MAX - 1, 0, 2);
        assert_eq!(window.watermark(Timestamp(5), &mut out), Ok(Step::Done));
        window.batch(0, batch(&[&behind], false), &mut out).expect("no fault");
        out.iter()
            .map(|(port, batch)| (*port, batch.rows()))
            .collect::<Vec<_>>()
    };
    assert_eq!(parts(false), [(1, 1)], "late by its own watermark");
    assert_eq!(parts(true), [], "not late by the merged one");
}

#[test]
fn results_are_numbered_where_that_is_asked_for() {
    let case = live(sized(10, 10, 5), &[KEY_INT], 0, false, false, false);
    let part = Partition {
        rows: [(1, 1), (12, 2), (5, 3), (25, 4), (19, 5)]
            .map(|(time, int)| (time, row(time, 0, 0, int).values))
            .to_vec(),
        delay: 0,
    };
    let (rows, events) = read(&[part], |_| 0);
    let found = super::harness::one_by_one(&case, &rows, &events);
    let panes: Vec<(i64, Scalar)> = found
        .results
        .iter()
        .map(|row| (row.watermark, row.values.last().expect("a pane").clone()))
        .collect();
    let number = |watermark: i64, pane: i64| (watermark, Scalar::Int64(pane));
    // The row at 19 meets W = 25, which is when nothing is allowed any more.
    assert_eq!(panes, [number(9, 0), number(14, 1), number(19, 0), number(29, 0)]);
}
