//! Windows that keep in a store what does not fit into memory: what comes out is the same, byte by byte.

use proptest::prelude::*;
use wasmill_core::aggregate::Builtin;
use wasmill_core::batch::Batch;
use wasmill_core::operator::{Operator, Step};
use wasmill_core::plan::{Early, EarlyWhen, OnFault};
use wasmill_core::time::{Micros, Timestamp};
use wasmill_operators::Window;
use wasmill_state::Store;
use wasmill_testkit::Row;
use wasmill_testkit::partitions::{Event, Partition, read, read_idling};

use super::harness::{
    Case, Cuts, Emitted, INT, KEY_INT, KEY_TEXT, Run, assert_same, batch, emitted, expected, run, run_moved,
};
use super::live::{live, row, sized};
use super::plugins::{self, sorted};
use super::properties::{choose, coin, exact_aggregates, idle, keys, partitions, windows};

/// Memory for nothing, for some batches' rows, and for all.
fn memory() -> impl Strategy<Value = usize> {
    prop_oneof![Just(0_usize), 0..100_000_usize, Just(usize::MAX)]
}

/// How a run is cut, apart from its rows.
#[derive(Clone, Debug)]
struct Cutting {
    batch: Vec<bool>,
    watermark: Vec<bool>,
    /// After which calls the state goes to another operator.
    moved: Vec<bool>,
}

fn cutting() -> impl Strategy<Value = Cutting> {
    let bits = || proptest::collection::vec(any::<bool>(), 1..30);
    (bits(), bits(), bits(), 0..3_u8).prop_map(|(batch, watermark, moved, moves)| Cutting {
        batch,
        watermark,
        moved: if moves == 0 { moved } else { vec![false] },
    })
}

fn run_with(case: &Case, rows: &[Row], events: &[Event], cutting: &Cutting) -> Run {
    let mut cuts = Cuts {
        batch: &mut coin(&cutting.batch),
        watermark: &mut coin(&cutting.watermark),
        filtered: &mut || false,
    };
    let mut moved = coin(&cutting.moved);
    run_moved(case, rows, events, &mut cuts, &mut || moved().then_some(1)).expect("no fault")
}

/// Runs a case without a store, then with stores: with one all the time, and where its state goes to and fro between
/// operators with and without one. Gives back the first run.
fn check(case: &mut Case, rows: &[Row], events: &[Event], cutting: &Cutting, memory_bytes: usize) -> Run {
    let stays = Cutting {
        moved: vec![false],
        ..cutting.clone()
    };
    let mut whole = run_with(case, rows, events, &stays);
    // The order in which several guests' rejects are told is that of their calls.
    whole.letters = sorted(whole.letters);
    for stores in [vec![Some(memory_bytes)], vec![None, Some(memory_bytes), Some(0)]] {
        case.memory_bytes = stores;
        let mut found = run_with(case, rows, events, cutting);
        found.letters = sorted(found.letters);
        found.keys_left = whole.keys_left;
        assert_eq!(found, whole, "memory for {memory_bytes} bytes");
    }
    case.memory_bytes = vec![None];
    whole
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(400))]

    #[test]
    fn results_and_late_rows_do_not_tell_where_state_is(
        parts in partitions(1), windows in windows(), key in keys(),
        order in proptest::collection::vec(0..8_usize, 1..60), cutting in cutting(),
        slice_rows in 1..9_usize, pane: bool, idle in idle(), memory_bytes in memory(),
    ) {
        let mut case = Case::new(windows, &key, &exact_aggregates());
        case.slice_rows = slice_rows;
        case.pane = pane;
        let mut idle = coin(&idle);
        let (rows, events) = read_idling(&parts, choose(&order), |_| idle());
        let (results, late) = expected(&case, &rows);
        let found = check(&mut case, &rows, &events, &cutting, memory_bytes);
        assert_same(&found.results, &results);
        prop_assert_eq!(found.late, late);
    }

    #[test]
    fn sketches_do_not_tell_where_state_is(
        parts in partitions(1), windows in windows(), order in proptest::collection::vec(0..8_usize, 1..60),
        cutting in cutting(), memory_bytes in memory(),
    ) {
        let aggregates = [Builtin::CountDistinct(INT), Builtin::Quantile(INT, 0.5)];
        let mut case = Case::new(windows, &[KEY_INT], &aggregates);
        let (rows, events) = read(&parts, choose(&order));
        check(&mut case, &rows, &events, &cutting, memory_bytes);
    }

    #[test]
    fn results_at_other_times_do_not_tell_where_state_is(
        parts in partitions(1), windows in windows(), count in 0..4_u64, retracting: bool, immediate: bool,
        best_effort: bool, keyed: bool, order in proptest::collection::vec(0..8_usize, 1..60), cutting in cutting(),
        slice_rows in 1..9_usize, with_plugins: bool, memory_bytes in memory(),
    ) {
        let key = if keyed || with_plugins { vec![KEY_TEXT] } else { vec![] };
        let mut case = live(windows, &key, count, retracting, immediate, best_effort);
        case.slice_rows = slice_rows;
        if with_plugins {
            case.plugins = plugins::case(case.windows.clone()).plugins;
            case.on_fault = OnFault::DeadLetter;
            case.dead_letters = true;
        }
        let (rows, events) = read(&parts, choose(&order));
        check(&mut case, &rows, &events, &cutting, memory_bytes);
    }

    #[test]
    fn how_panes_are_merged_does_not_tell_where_state_is(
        parts in partitions(1), windows in windows(), order in proptest::collection::vec(0..8_usize, 1..60),
        cutting in cutting(), slice_rows in 1..9_usize, memory_bytes in memory(),
    ) {
        let mut case = plugins::case(windows);
        case.slice_rows = slice_rows;
        let (rows, events) = read(&parts, choose(&order));
        check(&mut case, &rows, &events, &cutting, memory_bytes);
    }

    #[test]
    fn times_of_early_results_do_not_tell_where_state_is(
        parts in partitions(1), windows in windows(), every in 1..20_u64, retracting: bool,
        ticks in proptest::collection::vec(0..6_i64, 1..30), batches in proptest::collection::vec(any::<bool>(), 1..30),
        slice_rows in prop_oneof![1..9_usize, Just(1_000)], memory_bytes in memory(),
    ) {
        let mut case = live(windows, &[KEY_TEXT], 0, retracting, false, false);
        case.early = Some(Early { when: EarlyWhen::Every(Micros(every)), retracting });
        case.slice_rows = slice_rows;
        let (rows, events) = read(&parts, |_| 0);
        let mut runs = Vec::new();
        for memory_bytes in [None, Some(memory_bytes), Some(0)] {
            case.memory_bytes = vec![memory_bytes];
            runs.push(ticking(&case, &rows, &events, &ticks, &batches));
        }
        prop_assert_eq!(&runs[1], &runs[0]);
        prop_assert_eq!(&runs[2], &runs[0]);
    }
}

/// Runs a window whose clock goes on by `ticks` after each batch. What came out by call, in the order of places: which of
/// the results that are due at one time comes first is nobody's promise.
fn ticking(case: &Case, rows: &[Row], events: &[Event], ticks: &[i64], batches: &[bool]) -> Vec<Vec<Emitted>> {
    let mut window = case.operator();
    let (mut now, mut calls, mut cut) = (0, 0, coin(batches));
    let mut open: Vec<&Row> = Vec::new();
    let mut told = Vec::new();
    for event in events {
        let mut out: Vec<(usize, Batch)> = Vec::new();
        let to = match *event {
            Event::Row(row) => {
                open.push(&rows[row]);
                None
            }
            Event::Watermark(to) => Some(to),
        };
        if to.is_some() || cut() {
            window
                .batch(0, batch(&std::mem::take(&mut open), false), &mut out)
                .expect("no fault");
            now += ticks[calls % ticks.len()];
            calls += 1;
            while window.wake_at().is_some_and(|at| at.0 <= now) {
                while window.clock(Timestamp(now), &mut out).expect("no fault") == Step::More {}
            }
        }
        if let Some(to) = to {
            super::harness::advance(case, &mut window, to, &mut out).expect("no fault");
        }
        let mut rows: Vec<Emitted> = out.iter().flat_map(|(_, batch)| emitted(batch)).collect();
        rows.sort_by(|a, b| a.place.cmp(&b.place));
        told.push(rows);
    }
    told
}

/// A window over many keys, of which memory holds a few.
fn many_keys(store: Option<Store>) -> (Window, Vec<(usize, Batch)>) {
    let case = {
        let mut case = Case::new(sized(10, 5, 3), &[KEY_INT], &[Builtin::Count(None), Builtin::Sum(INT)]);
        case.slice_rows = 1_000;
        case
    };
    let mut window = case.operator();
    if let Some(store) = store {
        window = window.with_store(store, 1 << 18);
    }
    let mut out = Vec::new();
    let rows: Vec<Row> = (0..60_000_i64)
        .map(|i| {
            let mut row = row(i % 7, i64::MIN, i as u64, i);
            row.values[KEY_INT] = wasmill_core::column::Scalar::Int64(i * 7_919 % 20_011);
            row
        })
        .collect();
    for rows in rows.chunks(1_000) {
        let rows: Vec<&Row> = rows.iter().collect();
        window.batch(0, batch(&rows, false), &mut out).expect("no fault");
    }
    (window, out)
}

#[test]
fn a_store_on_disk_gives_what_memory_gives() {
    let folder = tempfile::tempdir().expect("a folder");
    let store = Store::disk(&folder.path().join("state"), 1 << 20).expect("a store");
    let (mut stored, _) = many_keys(Some(store));
    let (mut whole, _) = many_keys(None);
    assert!(stored.keys_held() < whole.keys_held() / 2, "most keys are on disk");
    let mut runs = [&mut stored, &mut whole].map(|window| {
        let mut out: Vec<(usize, Batch)> = Vec::new();
        while window.watermark(Timestamp::MAX, &mut out).expect("no fault") == Step::More {}
        out.iter().flat_map(|(_, batch)| emitted(batch)).collect::<Vec<_>>()
    });
    // Three rows of a key at times from 0 to 6: in panes of 5 they are in two windows, or in three.
    let windows: std::collections::BTreeSet<(i64, i64)> = (0..60_000_i64)
        .flat_map(|i| [0, 5].map(|back| (i * 7_919 % 20_011, (i % 7) / 5 * 5 - back)))
        .collect();
    assert_eq!(runs[0].len(), windows.len());
    let found = std::mem::take(&mut runs[0]);
    assert_eq!(found, runs[1]);
}

#[test]
fn what_is_over_leaves_nothing_in_the_store() {
    let (mut window, _) = many_keys(Some(Store::memory()));
    let filled = window.size_bytes();
    let mut out: Vec<(usize, Batch)> = Vec::new();
    while window.watermark(Timestamp(100), &mut out).expect("no fault") == Step::More {}
    assert!(
        window.size_bytes() < filled / 100,
        "{} of {filled}",
        window.size_bytes()
    );
}

#[test]
fn a_run_of_one_partition_is_what_the_oracle_says() {
    let values = |key: i64, int: i64| {
        let mut values = row(0, 0, 0, int).values;
        values[KEY_INT] = wasmill_core::column::Scalar::Int64(key);
        values
    };
    let part = Partition {
        rows: (0..200).map(|i| (i / 3 - (i * 7) % 11, values(i % 9, i))).collect(),
        delay: 2,
    };
    let (rows, events) = read(&[part], |_| 0);
    let mut case = Case::new(
        sized(12, 4, 5),
        &[KEY_INT],
        &[Builtin::Count(None), Builtin::ArrayAgg(INT)],
    );
    case.memory_bytes = vec![Some(0)];
    let mut row = 0;
    let mut cuts = Cuts {
        batch: &mut || {
            row += 1;
            row % 5 == 0
        },
        watermark: &mut || true,
        filtered: &mut || true,
    };
    let found = run(&case, &rows, &events, &mut cuts).expect("no fault");
    let (results, late) = expected(&case, &rows);
    assert_same(&found.results, &results);
    assert_eq!(found.late, late);
}
