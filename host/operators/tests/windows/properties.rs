//! Random rows, partitions, windows, cuts and workers against the oracle.

use proptest::prelude::*;
use wasmill_core::aggregate::Builtin;
use wasmill_core::column::Scalar;
use wasmill_core::key;
use wasmill_testkit::Row;
use wasmill_testkit::partitions::{Event, Partition, read, read_idling};
use wasmill_testkit::windows::Windows;

use super::harness::{
    Case, Cuts, FLOAT, INT, KEY_FLOAT, KEY_INT, KEY_TEXT, TEXT, assert_same, expected, run, run_moved, untie,
};

fn nullable<T: std::fmt::Debug + Clone + 'static>(
    strategy: impl Strategy<Value = T> + 'static,
    scalar: fn(T) -> Scalar,
) -> impl Strategy<Value = Scalar> {
    prop_oneof![1 => Just(Scalar::Null), 6 => strategy.prop_map(scalar)]
}

fn values() -> impl Strategy<Value = Vec<Scalar>> {
    (
        nullable(0..6_i64, Scalar::Int64),
        nullable("[a-c]{0,2}", Scalar::Utf8),
        nullable(
            prop_oneof![Just(0.0), Just(-0.0), Just(1.5), Just(-2.0)],
            Scalar::Float64,
        ),
        nullable(-1000..1000_i64, Scalar::Int64),
        nullable(
            (-1_000_000..1_000_000_i64).prop_map(|v| v as f64 / 1024.0),
            Scalar::Float64,
        ),
        nullable("[x-z]{0,1}", Scalar::Utf8),
    )
        .prop_map(|(a, b, c, d, e, f)| vec![a, b, c, d, e, f])
}

/// Rows that are mostly near a time that moves on, in steps of `unit`.
fn partition(unit: i64) -> impl Strategy<Value = Partition> {
    let row = (0..4_i64, -8..8_i64, values());
    (proptest::collection::vec(row, 0..40), 0..6_u64).prop_map(move |(steps, delay)| {
        let mut now = 0;
        let rows = steps.into_iter().map(|(step, jitter, values)| {
            now += step * unit;
            (now + jitter * unit, values)
        });
        Partition {
            rows: rows.collect(),
            delay: delay * unit as u64,
        }
    })
}

pub(super) fn partitions(unit: i64) -> impl Strategy<Value = Vec<Partition>> {
    proptest::collection::vec(partition(unit), 1..4)
}

pub(super) fn windows() -> impl Strategy<Value = Windows> {
    (1..14_i64, 1..9_i64, 0..9_i64, prop_oneof![Just(0), 0..12_i64], 0..3_u8).prop_map(
        |(size, every, offset, allowed, shape)| Windows {
            size: if shape == 2 { (size / 2 + 1) * every } else { size },
            every: if shape == 0 { size } else { every },
            offset,
            time_zone: None,
            allowed,
            cumulative: shape == 2,
        },
    )
}

pub(super) fn keys() -> impl Strategy<Value = Vec<usize>> {
    prop_oneof![
        Just(vec![]),
        Just(vec![KEY_INT]),
        Just(vec![KEY_TEXT]),
        Just(vec![KEY_FLOAT]),
        Just(vec![KEY_TEXT, KEY_INT]),
    ]
}

pub(super) fn exact_aggregates() -> Vec<Builtin> {
    vec![
        Builtin::Count(None),
        Builtin::Count(Some(INT)),
        Builtin::Sum(INT),
        Builtin::Sum(FLOAT),
        Builtin::Min(INT),
        Builtin::Max(FLOAT),
        Builtin::Min(TEXT),
        Builtin::Avg(INT),
        Builtin::Avg(FLOAT),
        Builtin::First(TEXT),
        Builtin::Last(INT),
        Builtin::TopK(TEXT, 2),
        Builtin::Stddev(FLOAT),
        Builtin::Stddev(INT),
        Builtin::ArrayAgg(INT),
    ]
}

/// Whether partitions are idle, one after the other: never, or at times.
pub(super) fn idle() -> impl Strategy<Value = Vec<bool>> {
    prop_oneof![Just(vec![false]), proptest::collection::vec(any::<bool>(), 1..30)]
}

/// Bits for decisions, again and again.
pub(super) fn coin(bits: &[bool]) -> impl FnMut() -> bool {
    let mut at = 0;
    move || {
        at += 1;
        bits.get(at % bits.len().max(1)).copied().unwrap_or(true)
    }
}

pub(super) fn choose(choices: &[usize]) -> impl FnMut(usize) -> usize {
    let mut at = 0;
    move |n| {
        at += 1;
        choices[at % choices.len()] % n
    }
}

/// Runs a case where it stands, and again with its state moved to 1 to 3 subtasks or back after some calls; wherever
/// it stays in one, everything comes in the same order too.
pub(super) fn check_moves(case: &Case, parts: &[Partition], order: &[usize], batch: &[bool], moves: &[u32]) {
    let (rows, events) = read(parts, choose(order));
    let run_with = |subtasks: &mut dyn FnMut() -> Option<u32>| {
        let mut cuts = Cuts {
            batch: &mut coin(batch),
            watermark: &mut || true,
            filtered: &mut || false,
        };
        run_moved(case, &rows, &events, &mut cuts, subtasks).expect("no fault")
    };
    let stayed = run_with(&mut || None);
    let restored = run_with(&mut || Some(1));
    assert_eq!(restored, stayed, "state that was saved and loaded after every call");
    let mut at = 0;
    let mut moved = run_with(&mut || {
        at += 1;
        let subtasks = Some(moves[at % moves.len()]).filter(|subtasks| (1..=3).contains(subtasks));
        // What is not keyed runs in one subtask.
        subtasks.map(|subtasks| if case.key.is_empty() { 1 } else { subtasks })
    });
    let mut stayed = stayed;
    // A key's rows keep their order, those of different keys do not.
    let column_of_key = |row: &super::harness::Emitted| format!("{:?}", &row.values[..case.key.len()]);
    for run in [&mut moved, &mut stayed] {
        run.results.sort_by_cached_key(column_of_key);
        run.late.sort_by(|a, b| a.place.cmp(&b.place));
        run.letters.sort_by_cached_key(|letter| format!("{letter:?}"));
        run.keys_left = 0;
    }
    assert_eq!(moved, stayed, "state that was split and merged");
}

/// The events of the rows that one of `workers` owns, with every watermark.
pub(super) fn owned(case: &Case, rows: &[Row], events: &[Event], worker: u64, workers: u64) -> Vec<Event> {
    let owner = |row: &Row| {
        let mut encoded = Vec::new();
        for &column in &case.key {
            key::encode(row.values[column].as_value(), &mut encoded);
        }
        key::hash(&encoded) % workers
    };
    let mine = |event: &&Event| match event {
        Event::Row(row) => owner(&rows[*row]) == worker,
        Event::Watermark(_) => true,
    };
    events.iter().filter(mine).copied().collect()
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(600))]

    #[test]
    fn windows_are_what_the_oracle_says(
        parts in partitions(1), windows in windows(), key in keys(),
        order in proptest::collection::vec(0..8_usize, 1..60),
        batch in proptest::collection::vec(any::<bool>(), 1..30),
        watermark in proptest::collection::vec(any::<bool>(), 1..30),
        filtered in any::<bool>(), slice_rows in 1..9_usize, pane: bool, idle in idle(),
    ) {
        let mut case = Case::new(windows, &key, &exact_aggregates());
        case.slice_rows = slice_rows;
        case.pane = pane;
        let mut idle = coin(&idle);
        let (rows, events) = read_idling(&parts, choose(&order), |_| idle());
        let (results, late) = expected(&case, &rows);
        let mut cuts = Cuts { batch: &mut coin(&batch), watermark: &mut coin(&watermark), filtered: &mut || filtered };
        let found = run(&case, &rows, &events, &mut cuts).expect("no fault");
        assert_same(&found.results, &results);
        prop_assert_eq!(&found.late, &late);
        prop_assert_eq!(found.keys_left, usize::from(key.is_empty()), "ids are given up with the last pane");
        prop_assert_eq!(found.counters.late as usize, late.len());
        prop_assert_eq!(found.counters.rows_out as usize, results.len());
    }

    #[test]
    fn workers_and_cuts_do_not_change_what_comes_out(
        parts in partitions(1), windows in windows(),
        order in proptest::collection::vec(0..8_usize, 1..60),
        other_order in proptest::collection::vec(0..8_usize, 1..60),
        batch in proptest::collection::vec(any::<bool>(), 1..30), workers in 1..4_u64,
    ) {
        let mut aggregates = exact_aggregates();
        aggregates.extend([Builtin::CountDistinct(INT), Builtin::Quantile(FLOAT, 0.9), Builtin::Quantile(INT, 0.5)]);
        let case = Case::new(windows, &[KEY_TEXT], &aggregates);
        let (rows, events) = read(&parts, choose(&order));
        let mut all = Cuts { batch: &mut || false, watermark: &mut || true, filtered: &mut || false };
        let whole = run(&case, &rows, &events, &mut all).expect("no fault");
        // The same partitions met in another order by several workers, and told of the end alone.
        let (rows, events) = read(&parts, choose(&other_order));
        let mut merged = Vec::new();
        for worker in 0..workers {
            let mine = owned(&case, &rows, &events, worker, workers);
            let mut cuts = Cuts { batch: &mut coin(&batch), watermark: &mut || worker == 0, filtered: &mut || true };
            merged.extend(run(&case, &rows, &mine, &mut cuts).expect("no fault").results);
        }
        merged.sort_by(|a, b| (a.watermark, a.time, &a.place).cmp(&(b.watermark, b.time, &b.place)));
        let mut sorted = whole.results;
        sorted.sort_by(|a, b| (a.watermark, a.time, &a.place).cmp(&(b.watermark, b.time, &b.place)));
        prop_assert_eq!(merged, sorted);
    }

    #[test]
    fn state_that_moves_to_other_subtasks_goes_on_as_if_it_had_stayed(
        parts in partitions(1), windows in windows(), key in keys(),
        order in proptest::collection::vec(0..8_usize, 1..60),
        batch in proptest::collection::vec(any::<bool>(), 1..30),
        moves in proptest::collection::vec(0..5_u32, 1..30),
    ) {
        let mut aggregates = exact_aggregates();
        aggregates.extend([Builtin::CountDistinct(INT), Builtin::Quantile(FLOAT, 0.9), Builtin::Quantile(INT, 0.5)]);
        let case = Case::new(windows, &key, &aggregates);
        check_moves(&case, &parts, &order, &batch, &moves);
    }

    #[test]
    fn sketches_are_near_the_exact_result(parts in partitions(1), windows in windows()) {
        let case = Case::new(windows, &[KEY_INT], &[Builtin::CountDistinct(INT), Builtin::Quantile(INT, 0.5)]);
        let (rows, events) = read(&parts, |n| n - 1);
        let results = case.windows.evaluate(&rows, &case.key).results;
        let found = super::harness::one_by_one(&case, &rows, &events).results;
        prop_assert_eq!(found.len(), results.len());
        for (found, expect) in found.iter().zip(results) {
            let mut values: Vec<i64> = expect.rows.iter().filter_map(|&row| match rows[row].values[INT] {
                Scalar::Int64(v) => Some(v),
                _ => None,
            }).collect();
            values.sort_unstable();
            let median = (!values.is_empty()).then(|| values[(values.len() - 1) / 2] as f64);
            let Scalar::Int64(distinct) = found.values[3] else { panic!("a count") };
            match (&found.values[4], median) {
                (Scalar::Null, None) => {}
                (Scalar::Float64(v), Some(m)) => prop_assert!((v - m).abs() <= 0.01 * m.abs(), "{} {}", v, m),
                other => panic!("{other:?}"),
            }
            values.dedup();
            prop_assert!((distinct - values.len() as i64).abs() <= 1);
        }
    }
}

const HOUR: i64 = 3_600_000_000;

proptest! {
    #[test]
    fn civil_days_are_what_the_oracle_says(
        parts in partitions(5 * HOUR), size in 1..4_i64, every in 1..3_i64, cumulative: bool, autumn in any::<bool>(), allowed in 0..40_i64,
        zone in prop_oneof![Just("America/New_York"), Just("Europe/Berlin"), Just("America/Sao_Paulo"), Just("Australia/Lord_Howe")],
        batch in proptest::collection::vec(any::<bool>(), 1..30),
    ) {
        // Around the changes of 2013 in the northern hemisphere, and near those in the southern.
        let begin = if autumn { 1_382_700_000_000_000 } else { 1_362_700_000_000_000 };
        let parts: Vec<Partition> = parts.into_iter().map(|mut part| {
            for (time, _) in &mut part.rows {
                *time += begin;
            }
            part
        }).collect();
        let size = if cumulative { size * every } else { size };
        let windows = Windows { size, every, offset: 0, time_zone: Some(zone), allowed: allowed * HOUR, cumulative };
        let case = Case::new(windows, &[KEY_INT], &[Builtin::Count(None), Builtin::ArrayAgg(INT)]);
        let (rows, events) = read(&parts, |_| 0);
        let (results, late) = expected(&case, &rows);
        let mut cuts = Cuts { batch: &mut coin(&batch), watermark: &mut || true, filtered: &mut || false };
        let mut found = run(&case, &rows, &events, &mut cuts).expect("no fault");
        untie(&mut found.results);
        let (mut found_results, mut results) = (found.results, results);
        for results in [&mut found_results, &mut results] {
            results.sort_by(|a, b| (a.watermark, &a.place, format!("{a:?}")).cmp(&(b.watermark, &b.place, format!("{b:?}"))));
        }
        assert_same(&found_results, &results);
        prop_assert_eq!(found.late, late);
    }

    #[test]
    fn rows_at_the_ends_of_time_are_summed_like_others(
        times in proptest::collection::vec(prop_oneof![
            Just(i64::MIN), Just(i64::MIN + 3), Just(i64::MAX - 9), Just(i64::MAX - 2), Just(0), Just(253_402_300_799_999_999),
        ], 1..12),
        windows in windows(), delay in prop_oneof![Just(1_u64), Just(u64::MAX / 2)],
    ) {
        let values = vec![Scalar::Int64(1), Scalar::Null, Scalar::Null, Scalar::Int64(7), Scalar::Null, Scalar::Null];
        let part = Partition { rows: times.into_iter().map(|time| (time, values.clone())).collect(), delay };
        let case = Case::new(windows, &[KEY_INT], &[Builtin::Count(None), Builtin::Sum(INT)]);
        let (rows, events) = read(&[part], |_| 0);
        let (mut results, late) = expected(&case, &rows);
        let mut found = super::harness::one_by_one(&case, &rows, &events);
        // Windows that are cut off at an end of time have one end, but each gives its own result.
        untie(&mut found.results);
        for results in [&mut results, &mut found.results] {
            results.sort_by(|a, b| (a.watermark, &a.place, format!("{a:?}")).cmp(&(b.watermark, &b.place, format!("{b:?}"))));
        }
        assert_same(&found.results, &results);
        prop_assert_eq!(found.late, late);
    }
}
