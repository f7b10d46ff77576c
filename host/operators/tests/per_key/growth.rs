//! State that grows is not written again and again: bytes written to the store are counted.

use wasmill_core::aggregate::Builtin;
use wasmill_core::column::Scalar;
use wasmill_core::operator::{Operator, Step};
use wasmill_core::plan::{Early, EarlyWhen};
use wasmill_core::time::{Micros, Timestamp};
use wasmill_core::window::{Trigger, TriggerWhen, Windows};
use wasmill_testkit::Row;

use super::harness::{Case, Emitted, Filling, INT, KEY_INT, Subtasks, batch, emitted};

/// Rows of a batch.
const BATCH_ROWS: usize = 256;
/// The bytes of a value with its time and its place, and what goes with each row, are fewer.
const ROW_BYTES: u64 = 48;
/// Cells of so many bytes may be written with each batch, and as many for what is known of the key.
const TAIL_BYTES: u64 = 4 << 10;

fn arrays(windows: Windows) -> Case {
    let mut case = Case::new(
        windows,
        &[KEY_INT],
        0,
        Filling::Aggregates(vec![Builtin::ArrayAgg(INT)], Vec::new()),
    );
    case.waiting_bytes = usize::MAX;
    case.limits.slice_rows = BATCH_ROWS;
    case
}

/// Rows of one key at these times, whose values are their times.
fn rows(times: impl Iterator<Item = i64>) -> Vec<Row> {
    let row = |(position, time)| Row {
        time,
        watermark: i64::MIN,
        partition: 0,
        position: position as u64,
        values: vec![Scalar::Int64(1), Scalar::Null, Scalar::Int64(time), Scalar::Null],
    };
    times.enumerate().map(row).collect()
}

fn array(times: std::ops::Range<i64>) -> String {
    let values: Vec<String> = times.map(|time| time.to_string()).collect();
    format!("[{}]", values.join(","))
}

fn last(row: &Emitted) -> &str {
    match row.values.last() {
        Some(Scalar::Json(values)) => values,
        other => panic!("{other:?}"),
    }
}

/// What comes of rows of a key in batches, each followed by a watermark, and the bytes that were written.
fn check(case: &Case, count: i64, expect: &[String]) -> u64 {
    let mut operator = case.operator();
    let mut out = Vec::new();
    let mut ascending = rows(0..count);
    for row in &mut ascending {
        row.watermark = row.time;
    }
    for batch_rows in ascending.chunks(BATCH_ROWS) {
        let all: Vec<&Row> = batch_rows.iter().collect();
        operator.batch(0, batch(&all), &mut out).expect("no fault");
        let to = Timestamp(all[all.len() - 1].time + 1);
        while operator.watermark(to, &mut out).expect("no fault") == Step::More {}
    }
    while operator.watermark(Timestamp::MAX, &mut out).expect("no fault") == Step::More {}
    let results: Vec<Emitted> = out.iter().flat_map(|(_, batch)| emitted(batch)).collect();
    let told: Vec<&str> = results.iter().map(last).collect();
    assert_eq!(told, expect);
    operator.written_bytes()
}

/// At most: each row once for each of `tiers`, and a tail and what is known of a key with each batch.
fn at_most(rows: i64, tiers: u64) -> u64 {
    let batches = rows.cast_unsigned().div_ceil(BATCH_ROWS as u64);
    rows.cast_unsigned() * ROW_BYTES * tiers + batches * 2 * TAIL_BYTES
}

/// Arrays of 32,768 rows have less than 4 KiB * 8^3 bytes: they come to three tiers.
const ROWS: i64 = 32_768;
const TIERS: u64 = 3;

#[test]
fn a_session_that_grows_is_written_a_few_times() {
    let case = arrays(Windows::Session { gap: Micros(10) });
    let written = check(&case, ROWS, &[array(0..ROWS)]);
    assert!(written <= at_most(ROWS, TIERS), "{written}");
}

#[test]
fn a_global_window_is_written_a_few_times() {
    let case = arrays(Windows::Global { trigger: None });
    let written = check(&case, ROWS, &[array(0..ROWS)]);
    assert!(written <= at_most(ROWS, TIERS), "{written}");
}

#[test]
fn a_count_window_that_fills_is_written_a_few_times() {
    let size = ROWS.cast_unsigned();
    let case = arrays(Windows::Count { size, every: size });
    let written = check(&case, ROWS, &[array(0..ROWS)]);
    assert!(written <= at_most(ROWS, TIERS), "{written}");
}

#[test]
fn a_global_window_with_a_count_is_written_a_few_times() {
    let trigger = Some(Trigger {
        when: TriggerWhen::Count(ROWS.cast_unsigned() / 2),
        purge: false,
    });
    let case = arrays(Windows::Global { trigger });
    let written = check(&case, ROWS, &[array(0..ROWS / 2), array(0..ROWS)]);
    // The rows of a pane move on to those of the window, at once.
    assert!(written <= at_most(ROWS, TIERS + 1), "{written}");
}

#[test]
fn panes_of_count_windows_that_overlap_little_are_written_a_few_times() {
    // Windows have one row in common: there is a pane a row.
    let (size, every) = (2_049, 2_048);
    let case = arrays(Windows::Count {
        size: size as u64,
        every: every as u64,
    });
    let windows = (0..).map(|n| n * every).take_while(|start| start + size <= ROWS);
    let expect: Vec<String> = windows.map(|start| array(start..start + size)).collect();
    assert_eq!(expect.len(), 15);
    let written = check(&case, ROWS, &expect);
    // Each row is a pane, with a key of some 32 bytes, before it goes to the aggregates of stretches; a tail is written
    // with each batch.
    let panes = ROWS.cast_unsigned() * (ROW_BYTES + 64);
    assert!(written <= panes + at_most(ROWS, TIERS + 1), "{written}");
}

#[test]
fn a_result_that_the_next_one_takes_back_is_written_once() {
    let mut case = arrays(Windows::Session { gap: Micros(10) });
    let rows = 4_096;
    case.frame.early = Some(Early {
        when: EarlyWhen::Count(rows / 2),
        retracting: true,
    });
    let rows = rows.cast_signed();
    let halves = [array(0..rows / 2), array(0..rows / 2), array(0..rows)];
    let expect = [&halves[..], &[array(0..rows), array(0..rows)]].concat();
    let written = check(&case, rows, &expect);
    // Each row is a batch of its own.
    let results = 2 * array(0..rows).len() as u64;
    let least = rows.cast_unsigned() * 2 * TAIL_BYTES;
    assert!(written <= least + results + at_most(rows, TIERS), "{written}");
}

#[test]
fn sessions_that_become_one_take_over_each_others_parts() {
    const SESSIONS: i64 = 64;
    const EACH: i64 = 512;
    // Sessions 20 apart, and a row between each two, the last ones first.
    let starts = (0..SESSIONS).map(|n| n * (EACH + 20));
    let long = starts.clone().flat_map(|start| start..start + EACH);
    let bridges = (1..SESSIONS).rev().map(|n| n * (EACH + 20) - 10);
    let all = rows(long.chain(bridges.clone()));
    let case = arrays(Windows::Session { gap: Micros(12) });
    let mut subtasks = Subtasks::new(&case);
    let (long, bridging) = all.split_at((SESSIONS * EACH) as usize);
    for rows in long.chunks(BATCH_ROWS) {
        subtasks.rows(&rows.iter().collect::<Vec<_>>()).expect("no fault");
    }
    let before = subtasks.written_bytes();
    for row in bridging {
        subtasks.rows(&[row]).expect("no fault");
    }
    let written = subtasks.written_bytes() - before;
    // A session has 512 rows of 25 bytes or so, more than a tail: all of them are written anew for two tiers at most.
    let bound = (SESSIONS * EACH).cast_unsigned() * ROW_BYTES * 2 + bridging.len() as u64 * 2 * TAIL_BYTES;
    assert!(written <= bound, "{written}");
    // Parts move with their sessions.
    subtasks.spread(2).expect("no fault");
    subtasks.watermark(i64::MAX).expect("no fault");
    let run = subtasks.run();
    let mut times: Vec<i64> = starts.flat_map(|start| start..start + EACH).chain(bridges).collect();
    times.sort_unstable();
    let values: Vec<String> = times.iter().map(i64::to_string).collect();
    let told: Vec<&str> = run.results.iter().map(last).collect();
    assert_eq!(told, [format!("[{}]", values.join(","))]);
    assert!(subtasks.is_empty(), "no part is left");
}

#[test]
fn cells_that_do_not_grow_have_few_copies() {
    let mut case = arrays(Windows::Session { gap: Micros(10) });
    case.filling = Filling::Aggregates(vec![Builtin::CountDistinct(INT)], Vec::new());
    let mut operator = case.operator();
    let mut out = Vec::new();
    for batch_rows in rows(0..ROWS).chunks(BATCH_ROWS) {
        let all: Vec<&Row> = batch_rows.iter().collect();
        operator.batch(0, batch(&all), &mut out).expect("no fault");
    }
    // A sketch has 16 KiB, and its copies come to less than a part of the next tier.
    let size = operator.size_bytes();
    assert!(size <= 64 << 10, "{size}");
}
