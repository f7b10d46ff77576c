//! Each rule with a row that would break it.

use wasmill_core::aggregate::Builtin;
use wasmill_core::batch::Batch;
use wasmill_core::column::Scalar;
use wasmill_core::kind::Kind;
use wasmill_core::operator::{Operator, Step};
use wasmill_core::plan::{Early, EarlyWhen, LateResults, Lateness, OnFault};
use wasmill_core::time::{Micros, Timestamp};
use wasmill_core::window::{Alignment, Late, WindowSpec, Windows};
use wasmill_testkit::Row;

use super::guests::tell;
use super::harness::{Case, Emitted, Filling, INT, KEY_INT, Subtasks};

/// A row of the key 1: its time, W just before it, its value.
fn row(time: i64, watermark: i64, int: i64) -> Row {
    Row {
        time,
        watermark,
        partition: 0,
        position: 0,
        values: vec![Scalar::Int64(1), Scalar::Null, Scalar::Int64(int), Scalar::Null],
    }
}

/// Rows (time, value) that are on time; each has a place of its own, in the order in which they stand here.
fn on_time(rows: &[(i64, i64)]) -> Vec<Row> {
    let rows = rows.iter().enumerate();
    rows.map(|(position, &(time, int))| Row {
        position: position as u64,
        ..row(time, i64::MIN, int)
    })
    .collect()
}

fn aggregates(windows: Windows, allowed: i64) -> Case {
    let builtins = vec![Builtin::Count(None), Builtin::ArrayAgg(INT)];
    Case::new(windows, &[KEY_INT], allowed, Filling::Aggregates(builtins, Vec::new()))
}

fn session(gap: u64) -> Windows {
    Windows::Session { gap: Micros(gap) }
}

/// Results as (start, end, time, W, values).
fn told(results: &[Emitted]) -> Vec<(i64, i64, i64, i64, String)> {
    let told = results.iter().map(|row| match &row.values[..] {
        [
            _,
            Scalar::Timestamp(start),
            Scalar::Timestamp(end),
            ..,
            Scalar::Json(values),
        ] => (*start, *end, row.time, row.watermark, values.clone()),
        other => panic!("{other:?}"),
    });
    told.collect()
}

/// What comes out of rows in one batch each, and of the end of the input.
fn check(case: &Case, rows: &[Row], expect: &[(i64, i64, i64, i64, &str)], late: &[i64]) {
    let mut subtasks = Subtasks::new(case);
    for row in rows {
        subtasks.rows(&[row]).expect("no fault");
    }
    subtasks.watermark(i64::MAX).expect("no fault");
    let run = subtasks.run();
    let expect: Vec<_> = expect
        .iter()
        .map(|&(start, end, time, watermark, values)| (start, end, time, watermark, values.to_owned()))
        .collect();
    assert_eq!(told(&run.results), expect);
    let times: Vec<i64> = run.late.iter().map(|row| row.time).collect();
    assert_eq!(times, late);
}

#[test]
fn rows_a_gap_apart_are_two_sessions_and_nearer_ones_are_one() {
    let rows = on_time(&[(0, 1), (10, 2), (19, 3)]);
    check(
        &aggregates(session(10), 0),
        &rows,
        &[(0, 10, 9, 9, "[1]"), (10, 29, 28, 28, "[2,3]")],
        &[],
    );
}

#[test]
fn one_row_joins_two_sessions_and_a_chain_merges_across_three_others() {
    let rows = on_time(&[(0, 1), (30, 4), (15, 3), (45, 6), (7, 2), (22, 0), (38, 5)]);
    check(
        &aggregates(session(10), 0),
        &rows,
        &[(0, 55, 54, 54, "[1,2,3,0,4,5,6]")],
        &[],
    );
}

#[test]
fn rows_of_one_time_are_one_session_in_the_order_of_their_places() {
    let rows = on_time(&[(5, 3), (5, 1), (5, 2)]);
    check(&aggregates(session(1), 0), &rows, &[(5, 6, 5, 5, "[3,1,2]")], &[]);
}

#[test]
fn a_row_is_late_for_sessions_by_its_own_watermark_and_the_allowed_lateness() {
    // With 20 + 5 < 26 the third row is late although the session that it would join is still open.
    let rows = [row(20, 0, 1), row(20, 25, 2), row(20, 26, 3), row(25, 26, 4)];
    check(
        &aggregates(session(10), 5),
        &rows,
        &[(20, 35, 34, 39, "[1,2,4]")],
        &[20],
    );
}

#[test]
fn a_session_is_final_when_its_end_and_the_allowed_lateness_have_passed() {
    let case = aggregates(session(10), 5);
    let mut subtasks = Subtasks::new(&case);
    subtasks.rows(&[&row(0, 0, 1)]).expect("no fault");
    subtasks.watermark(14).expect("no fault");
    assert!(subtasks.out.is_empty());
    subtasks.watermark(15).expect("no fault");
    assert_eq!(told(&subtasks.run().results), [(0, 10, 9, 14, "[1]".into())]);
}

#[test]
fn the_cells_of_a_long_session_are_put_together_from_parts() {
    const ROWS: i64 = 3_000;
    // Each time once, in an order in which neighbours come far from each other.
    let all: Vec<(i64, i64)> = (0..ROWS).map(|n| n * 1_009 % ROWS).map(|time| (time, time)).collect();
    let case = aggregates(session(ROWS as u64), 0);
    let mut subtasks = Subtasks::new(&case);
    for (number, chunk) in on_time(&all).chunks(7).enumerate() {
        if number % 50 == 1 {
            subtasks.spread(1).expect("no fault");
        }
        subtasks.rows(&chunk.iter().collect::<Vec<_>>()).expect("no fault");
    }
    subtasks.watermark(i64::MAX).expect("no fault");
    let values: Vec<String> = (0..ROWS).map(|time| time.to_string()).collect();
    let end = ROWS - 1 + ROWS;
    assert_eq!(
        told(&subtasks.run().results),
        [(0, end, end - 1, end - 1, format!("[{}]", values.join(",")))]
    );
}

#[test]
fn under_best_effort_the_merged_watermark_decides_what_is_late() {
    // Its own watermark has passed the second row, but the merged one has not.
    let rows = [row(20, 0, 1), row(10, 19, 2)];
    let mut case = aggregates(session(5), 0);
    check(&case, &rows, &[(20, 25, 24, 24, "[1]")], &[10]);
    case.frame.lateness = Lateness::BestEffort;
    check(&case, &rows, &[(10, 15, 14, 14, "[2]"), (20, 25, 24, 24, "[1]")], &[]);
    let mut case = aggregates(Windows::Count { size: 2, every: 2 }, 0);
    check(&case, &rows, &[], &[10]);
    case.frame.lateness = Lateness::BestEffort;
    check(&case, &rows, &[(10, 21, 20, 20, "[2,1]")], &[]);
}

#[test]
fn late_rows_become_dead_letters_where_asked_for() {
    for windows in [session(5), Windows::Count { size: 2, every: 2 }] {
        let mut case = aggregates(windows, 0);
        case.frame.late = Late::DeadLetter;
        let mut subtasks = Subtasks::new(&case);
        subtasks
            .rows(&[&row(20, 0, 1), &row(10, 19, 2)])
            .expect("a late row is no fault");
        let letters = subtasks.run().letters;
        let kinds: Vec<(i64, &Scalar)> = letters.iter().map(|letter| (letter.time, &letter.values[1])).collect();
        assert_eq!(kinds, [(10, &Scalar::Utf8("late".into()))]);
    }
}

#[test]
fn sessions_at_the_ends_of_time_end_there() {
    let (first, last) = (i64::MIN, i64::MAX);
    let rows = on_time(&[(last, 3), (first, 1), (last - 2, 2)]);
    check(
        &aggregates(session(5), 7),
        &rows,
        &[
            (first, first + 5, first + 4, first + 11, "[1]"),
            (last - 2, last, last - 1, last - 1, "[2,3]"),
        ],
        &[],
    );
}

#[test]
fn a_merge_takes_the_results_of_both_sessions_back() {
    let mut case = aggregates(session(10), 0);
    case.frame.early = Some(Early {
        when: EarlyWhen::Count(1),
        retracting: true,
    });
    let mut subtasks = Subtasks::new(&case);
    for row in on_time(&[(0, 1), (15, 3), (8, 2)]) {
        subtasks.rows(&[&row]).expect("no fault");
    }
    let found = subtasks.run().results;
    let kinds: Vec<(Kind, i64, i64, String)> = found
        .iter()
        .zip(told(&found))
        .map(|(row, (start, end, _, _, values))| (row.kind, start, end, values))
        .collect();
    assert_eq!(
        kinds,
        [
            (Kind::Insert, 0, 10, "[1]".into()),
            (Kind::Insert, 15, 25, "[3]".into()),
            (Kind::Delete, 15, 25, "[3]".into()),
            (Kind::UpdateBefore, 0, 10, "[1]".into()),
            (Kind::UpdateAfter, 0, 25, "[1,2,3]".into()),
        ]
    );
    let places: Vec<_> = found[2..].iter().map(|row| &row.place).collect();
    assert!(places.is_sorted(), "a sink in event-time order keeps pairs together");
}

#[test]
fn counted_windows_go_by_event_time_and_an_incomplete_one_is_not_told() {
    let rows = on_time(&[(30, 3), (10, 1), (50, 5), (20, 2), (40, 4)]);
    check(
        &aggregates(Windows::Count { size: 2, every: 2 }, 0),
        &rows,
        &[(10, 21, 20, 20, "[1,2]"), (30, 41, 40, 40, "[3,4]")],
        &[],
    );
    check(
        &aggregates(Windows::Count { size: 3, every: 1 }, 0),
        &rows,
        &[
            (10, 31, 30, 30, "[1,2,3]"),
            (20, 41, 40, 40, "[2,3,4]"),
            (30, 51, 50, 50, "[3,4,5]"),
        ],
        &[],
    );
    check(
        &aggregates(Windows::Count { size: 1, every: 3 }, 0),
        &rows,
        &[(10, 11, 10, 10, "[1]"), (40, 41, 40, 40, "[4]")],
        &[],
    );
}

#[test]
fn a_counted_row_is_late_when_its_watermark_has_passed_it() {
    let rows = [row(10, 10, 1), row(9, 10, 2), row(11, 10, 3)];
    check(
        &aggregates(Windows::Count { size: 2, every: 2 }, 0),
        &rows,
        &[(10, 12, 11, 11, "[1,3]")],
        &[9],
    );
}

#[test]
fn a_global_window_is_told_when_the_input_has_ended_and_no_row_is_late() {
    let rows = [row(50, 0, 2), row(10, 49, 1)];
    check(
        &aggregates(Windows::Global { trigger: None }, 0),
        &rows,
        &[(10, 51, 50, 50, "[1,2]")],
        &[],
    );
}

fn tumbling(size: u64) -> Windows {
    Windows::Aligned(WindowSpec::Tumbling {
        size: Micros(size),
        alignment: Alignment::default(),
    })
}

/// The told values of windows, and the dead letters' times.
fn contents(case: &Case, rows: &[Row]) -> Result<(Vec<String>, Vec<i64>), String> {
    let mut subtasks = Subtasks::new(case);
    let rows: Vec<&Row> = rows.iter().collect();
    subtasks.rows(&rows).map_err(|fault| fault.to_string())?;
    subtasks.watermark(i64::MAX).map_err(|fault| fault.to_string())?;
    let run = subtasks.run();
    let told = run.results.iter().map(|row| match &row.values[3] {
        Scalar::Utf8(told) => told.clone(),
        other => panic!("{other:?}"),
    });
    Ok((told.collect(), run.letters.iter().map(|letter| letter.time).collect()))
}

#[test]
fn a_window_larger_than_a_call_comes_in_parts_and_small_ones_share_one() {
    let case = Case::new(tumbling(10), &[KEY_INT], 0, tell());
    let rows = on_time(&[(0, 1), (1, 2), (2, 3), (3, 4), (4, 6), (11, 8), (21, 9)]);
    let (told, letters) = contents(&case, &rows).expect("no fault");
    assert_eq!(told, ["1,2,3,4,/6,", "8,", "9,"]);
    assert!(letters.is_empty());
}

#[test]
fn the_window_that_fails_alone_becomes_dead_letters_and_others_go_on() {
    let case = Case::new(tumbling(10), &[KEY_INT], 0, tell());
    let rows = on_time(&[(0, 1), (11, 2), (12, 7), (21, 3)]);
    assert_eq!(
        contents(&case, &rows),
        Ok((vec!["1,".into(), "3,".into()], vec![11, 12]))
    );
}

#[test]
fn of_a_window_in_parts_the_part_that_fails_and_those_after_it_become_dead_letters() {
    let case = Case::new(tumbling(100), &[KEY_INT], 0, tell());
    let values: Vec<(i64, i64)> = (0..10).map(|t| (t, if t == 5 { 7 } else { 1 })).collect();
    let (told, letters) = contents(&case, &on_time(&values)).expect("no fault");
    assert!(told.is_empty());
    assert_eq!(letters, [4, 5, 6, 7, 8, 9]);
}

#[test]
fn a_row_of_several_windows_is_one_dead_letter() {
    let windows = Windows::Aligned(WindowSpec::Sliding {
        size: Micros(30),
        every: Micros(10),
        alignment: Alignment::default(),
    });
    let case = Case::new(windows, &[KEY_INT], 0, tell());
    let rows = on_time(&[(5, 10), (6, 1)]);
    assert_eq!(
        contents(&case, &rows),
        Ok((vec!["1,".into(), "1,".into(), "1,".into()], vec![5]))
    );
}

#[test]
fn a_fault_ends_the_job_where_the_policy_says_so_and_is_skipped_where_it_says_that() {
    let mut case = Case::new(tumbling(10), &[KEY_INT], 0, tell());
    let rows = on_time(&[(0, 7), (11, 2)]);
    case.on_fault = OnFault::Fail;
    assert_eq!(
        contents(&case, &rows),
        Err("window: trapped (plugin p.wasm, process, 2 rows)".into())
    );
    case.on_fault = OnFault::Skip;
    assert_eq!(contents(&case, &rows), Ok((vec!["2,".into()], vec![])));
}

#[test]
fn rows_of_one_place_are_kept_in_the_order_of_their_values_however_they_come() {
    // A diamond in a topology brings one row on two ways.
    let case = Case::new(tumbling(10), &[KEY_INT], 0, tell());
    let (a, b) = (row(5, 0, 1), row(5, 0, 2));
    let first = contents(&case, &[a.clone(), b.clone(), a.clone()]).expect("no fault");
    let second = contents(&case, &[b, a.clone(), a]).expect("no fault");
    assert_eq!(first, second);
    assert_eq!(first.0[0].len(), "1,2,1,".len());
}

#[test]
fn a_call_of_the_operator_makes_one_call_of_the_guest_and_no_call_is_for_nothing() {
    let mut case = Case::new(tumbling(10), &[KEY_INT], 0, tell());
    case.limits.call.firings = 2;
    case.limits.slice_rows = 2;
    let mut operator = case.operator();
    let rows: Vec<Row> = on_time(&[(0, 1), (11, 2), (21, 3), (31, 4), (41, 6)]);
    let mut out: Vec<(usize, Batch)> = Vec::new();
    operator
        .batch(0, super::harness::batch(&rows.iter().collect::<Vec<_>>()), &mut out)
        .expect("no fault");
    let mut steps = Vec::new();
    loop {
        let before: usize = out.iter().map(|(_, batch)| batch.rows()).sum();
        let step = operator.watermark(Timestamp::MAX, &mut out).expect("no fault");
        let after: usize = out.iter().map(|(_, batch)| batch.rows()).sum();
        steps.push(after - before);
        if step == Step::Done {
            break;
        }
    }
    assert_eq!(steps, [2, 2, 1]);
}

/// The hours of 2013-03-10 in New York, where 02:00 to 03:00 is skipped: its midnight, which is 05:00 UTC, an hour, and
/// windows that begin at midnight and grow by an hour.
fn short_day() -> (i64, i64, Windows) {
    let (midnight, hour) = (1_362_891_600_000_000_i64, 3_600_000_000_i64);
    let hours = WindowSpec::Cumulative {
        size: Micros(24 * hour.unsigned_abs()),
        step: Micros(hour.unsigned_abs()),
        alignment: Alignment {
            offset: Micros::ZERO,
            time_zone: Some("America/New_York".into()),
        },
    };
    (midnight, hour, Windows::Aligned(hours))
}

/// Results of that day as (hours from midnight to the end, the told values).
fn hours_told(subtasks: &Subtasks<'_>) -> Vec<(i64, String)> {
    let (midnight, hour, _) = short_day();
    let results = subtasks.run().results;
    let told = results.iter().map(|row| match &row.values[..] {
        [
            _,
            Scalar::Timestamp(start),
            Scalar::Timestamp(end),
            Scalar::Utf8(told),
            ..,
        ] => {
            assert_eq!((*start, (end - midnight) % hour), (midnight, 0));
            ((end - midnight) / hour, told.clone())
        }
        other => panic!("{other:?}"),
    });
    told.collect()
}

/// One result for each hour of the day, these values each time.
fn each_hour(told: &[&str]) -> Vec<(i64, String)> {
    let each = told
        .iter()
        .flat_map(|told| (1..=23).map(|hours| (hours, (*told).to_owned())));
    each.collect()
}

#[test]
fn a_step_that_the_clock_skips_gives_no_second_result() {
    let (midnight, _, windows) = short_day();
    let case = Case::new(windows, &[KEY_INT], 0, tell());
    let mut subtasks = Subtasks::new(&case);
    subtasks.rows(&[&row(midnight, i64::MIN, 1)]).expect("no fault");
    subtasks.watermark(i64::MAX).expect("no fault");
    assert_eq!(hours_told(&subtasks), each_hour(&["1,"]));
    assert!(subtasks.is_empty());
}

#[test]
fn a_step_that_the_clock_skips_gives_no_second_early_result() {
    let (midnight, _, windows) = short_day();
    let mut case = Case::new(windows, &[KEY_INT], 0, tell());
    case.frame.early = Some(Early {
        when: EarlyWhen::Count(1),
        retracting: false,
    });
    let mut subtasks = Subtasks::new(&case);
    subtasks.rows(&[&row(midnight, i64::MIN, 1)]).expect("no fault");
    assert_eq!(hours_told(&subtasks), each_hour(&["1,"]));
    subtasks.watermark(i64::MAX).expect("no fault");
    assert_eq!(hours_told(&subtasks), each_hour(&["1,", "1,"]));
}

#[test]
fn a_step_that_the_clock_skips_gives_no_second_correction() {
    let (midnight, hour, windows) = short_day();
    for late_results in [LateResults::default(), LateResults::Immediate] {
        let mut case = Case::new(windows.clone(), &[KEY_INT], 24 * hour, tell());
        case.frame.late_results = late_results;
        let mut subtasks = Subtasks::new(&case);
        subtasks.rows(&[&row(midnight, i64::MIN, 1)]).expect("no fault");
        // The whole day has passed, and no window is final.
        let after = midnight + 24 * hour;
        subtasks.watermark(after).expect("no fault");
        let late = Row {
            position: 1,
            ..row(midnight, after, 2)
        };
        subtasks.rows(&[&late]).expect("no fault");
        subtasks.watermark(i64::MAX).expect("no fault");
        assert_eq!(hours_told(&subtasks), each_hour(&["1,", "1,2,"]), "{late_results:?}");
        assert!(subtasks.is_empty());
    }
}

/// How many calls it takes until nothing is left to do.
fn calls(mut call: impl FnMut() -> Step) -> usize {
    1 + std::iter::from_fn(|| (call() == Step::More).then_some(())).count()
}

#[test]
fn timers_that_give_no_result_are_looked_at_in_slices() {
    const KEYS: i64 = 10;
    let of_all_keys = |time: i64| -> Vec<Row> {
        let of_key = |key: i64| Row {
            values: vec![Scalar::Int64(key), Scalar::Null, Scalar::Int64(0), Scalar::Null],
            ..row(time, i64::MIN, 0)
        };
        (0..KEYS).map(of_key).collect()
    };
    let batch_at = |time: i64| super::harness::batch(&of_all_keys(time).iter().collect::<Vec<_>>());
    let early = Some(Early {
        when: EarlyWhen::Every(Micros(5)),
        retracting: false,
    });
    let size = Micros(100);
    let tumbling = WindowSpec::Tumbling {
        size,
        alignment: Alignment::default(),
    };
    let aligned = Case::new(Windows::Aligned(tumbling), &[KEY_INT], 0, tell());
    for mut case in [aggregates(session(10), 0), aligned] {
        assert_eq!(case.limits.slice_rows, 3);
        case.frame.early = early;
        let mut operator = case.operator();
        let mut out: Vec<(usize, Batch)> = Vec::new();
        operator.batch(0, batch_at(0), &mut out).expect("no fault");
        // The time of the first early results is not known before the clock is asked.
        let asked = calls(|| operator.clock(Timestamp(1_000), &mut out).expect("no fault"));
        assert_eq!((asked, out.len()), (4, 0));
        assert_eq!(operator.wake_at(), Some(Timestamp(1_005)));
    }
    let case = aggregates(session(10), 0);
    let mut operator = case.operator();
    let mut out: Vec<(usize, Batch)> = Vec::new();
    for time in [0, 5] {
        operator.batch(0, batch_at(time), &mut out).expect("no fault");
    }
    // All sessions go on until 15.
    let moved = calls(|| operator.watermark(Timestamp(12), &mut out).expect("no fault"));
    assert_eq!((moved, out.len()), (4, 0));
}

#[test]
fn a_row_at_the_end_of_time_is_in_the_longest_cumulative_window() {
    // The end of time is three microseconds after a multiple of four.
    let last = |before: i64| i64::MAX - before;
    let rows = on_time(&[(last(3), 1), (last(2), 2), (last(1), 3), (last(0), 4)]);
    let spec = WindowSpec::Cumulative {
        size: Micros(4),
        step: Micros(1),
        alignment: Alignment::default(),
    };
    let case = Case::new(Windows::Aligned(spec), &[KEY_INT], 0, tell());
    let mut subtasks = Subtasks::new(&case);
    subtasks.rows(&rows.iter().collect::<Vec<_>>()).expect("no fault");
    subtasks.watermark(i64::MAX).expect("no fault");
    let run = subtasks.run().sorted();
    let counts: Vec<&Scalar> = run.results.iter().map(|row| &row.values[4]).collect();
    assert_eq!(counts, [1, 2, 4].map(Scalar::Int64).iter().collect::<Vec<_>>());
}
