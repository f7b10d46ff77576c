//! Each rule of windows with a row that would break it.

use wasmill_core::aggregate::Builtin;
use wasmill_core::column::Scalar;
use wasmill_core::operator::Operator;
use wasmill_core::time::Timestamp;
use wasmill_testkit::Row;
use wasmill_testkit::partitions::{Event, Partition, read};
use wasmill_testkit::windows::Windows;

use super::harness::{Case, INT, KEY_INT, assert_same, expected, one_by_one, run};

fn tumbling(size: i64, allowed: i64) -> Windows {
    sliding(size, size, allowed)
}

fn sliding(size: i64, every: i64, allowed: i64) -> Windows {
    Windows {
        size,
        every,
        offset: 0,
        time_zone: None,
        allowed,
        cumulative: false,
    }
}

fn values(key: i64, int: i64) -> Vec<Scalar> {
    vec![
        Scalar::Int64(key),
        Scalar::Null,
        Scalar::Null,
        Scalar::Int64(int),
        Scalar::Null,
        Scalar::Null,
    ]
}

/// Rows of one key in one partition without delay: (time, value).
fn one_partition(rows: &[(i64, i64)]) -> (Vec<Row>, Vec<Event>) {
    let part = Partition {
        rows: rows.iter().map(|&(time, int)| (time, values(1, int))).collect(),
        delay: 0,
    };
    read(&[part], |_| 0)
}

/// What comes out of rows (time, value) of one key: (start, end, W, values in event-time order), and the late rows' times.
fn check(windows: Windows, rows: &[(i64, i64)], expect: &[(i64, i64, i64, &str)], expect_late: &[i64]) {
    let case = Case::new(windows, &[KEY_INT], &[Builtin::ArrayAgg(INT)]);
    let (rows, events) = one_partition(rows);
    let found = one_by_one(&case, &rows, &events);
    let (results, _) = expected(&case, &rows);
    assert_same(&found.results, &results);
    let found_results: Vec<(i64, i64, i64, String)> = found
        .results
        .iter()
        .map(|row| match &row.values[1..] {
            [Scalar::Timestamp(start), Scalar::Timestamp(end), Scalar::Json(values)] => {
                (*start, *end, row.watermark, values.clone())
            }
            other => panic!("{other:?}"),
        })
        .collect();
    let expect: Vec<(i64, i64, i64, String)> = expect.iter().map(|e| (e.0, e.1, e.2, e.3.to_owned())).collect();
    assert_eq!(found_results, expect);
    assert_eq!(found.late.iter().map(|row| row.time).collect::<Vec<_>>(), expect_late);
}

#[test]
fn a_row_is_late_when_its_window_and_the_allowed_lateness_have_passed() {
    // W just before the row decides: after 10, the row at 5 meets W = 10.
    check(
        tumbling(10, 0),
        &[(1, 1), (10, 2), (5, 3)],
        &[(0, 10, 9, "[1]"), (10, 20, 19, "[2]")],
        &[5],
    );
    check(
        tumbling(10, 3),
        &[(1, 1), (12, 2), (5, 3), (13, 4), (6, 5)],
        &[(0, 10, 9, "[1]"), (0, 10, 12, "[1,3]"), (10, 20, 19, "[2,4]")],
        &[6],
    );
}

#[test]
fn a_row_that_is_late_for_its_first_windows_only_counts_for_the_others() {
    // Windows of 30 each 10. The row at 5 comes at W = 12: late for [-20, 10), on time for [-10, 20) and [0, 30).
    check(
        sliding(30, 10, 0),
        &[(1, 1), (12, 2), (5, 3)],
        &[
            (-20, 10, 9, "[1]"),
            (-10, 20, 19, "[1,3,2]"),
            (0, 30, 29, "[1,3,2]"),
            (10, 40, 39, "[2]"),
        ],
        &[],
    );
}

#[test]
fn two_windows_in_a_row_are_corrected_each_with_all_its_rows() {
    // W = 25 when the rows at 5 and 6 come: windows [-10, 20) and [-20, 10) have given their results. Allowed are 20.
    check(
        sliding(30, 10, 20),
        &[(1, 1), (25, 2), (5, 3), (6, 4)],
        &[
            (-20, 10, 9, "[1]"),
            (-10, 20, 19, "[1]"),
            (-20, 10, 29, "[1,3,4]"),
            (0, 30, 29, "[1,3,4,2]"),
            (-10, 20, 39, "[1,3,4]"),
            (10, 40, 39, "[2]"),
            (20, 50, 49, "[2]"),
        ],
        &[],
    );
}

#[test]
fn a_window_that_only_had_late_rows_gives_a_correction_alone() {
    check(
        tumbling(10, 10),
        &[(15, 1), (5, 2)],
        &[(0, 10, 19, "[2]"), (10, 20, 19, "[1]")],
        &[],
    );
}

#[test]
fn a_row_from_the_year_2099_neither_hurries_others_nor_is_lost() {
    const YEAR_2099: i64 = 4_070_908_800_000_000;
    let parts = [
        Partition {
            rows: vec![(YEAR_2099, values(1, 9)), (3, values(1, 1))],
            delay: 0,
        },
        Partition {
            rows: vec![(1, values(1, 2)), (12, values(1, 3))],
            delay: 0,
        },
    ];
    let case = Case::new(tumbling(10, 0), &[KEY_INT], &[Builtin::ArrayAgg(INT)]);
    // The partition of the stray row is read first, the other one after: it loses nothing.
    let (rows, events) = read(&parts, |_| 0);
    let found = one_by_one(&case, &rows, &events);
    let values: Vec<&Scalar> = found.results.iter().map(|row| &row.values[3]).collect();
    let json = |text: &str| Scalar::Json(text.to_owned());
    assert_eq!(values, [&json("[2]"), &json("[3]"), &json("[9]")]);
    // Only the row that followed it in its own partition is late.
    assert_eq!(found.late.iter().map(|row| row.time).collect::<Vec<_>>(), [3]);
    assert_eq!(found.results[2].values[1], Scalar::Timestamp(YEAR_2099));
}

#[test]
fn a_day_has_23_hours_when_the_clock_is_put_forward() {
    // 2013-03-10T05:00:00Z, midnight in New York; the next is 23 hours later.
    let midnight = 1_362_891_600_000_000;
    let windows = Windows {
        size: 1,
        every: 1,
        offset: 0,
        time_zone: Some("America/New_York"),
        allowed: 0,
        cumulative: false,
    };
    check(
        windows,
        &[
            (midnight, 1),
            (midnight + 23 * HOUR - 1, 2),
            (midnight + 23 * HOUR, 3),
            (midnight + 46 * HOUR, 4),
        ],
        &[
            (midnight, midnight + 23 * HOUR, midnight + 23 * HOUR - 1, "[1,2]"),
            (
                midnight + 23 * HOUR,
                midnight + 47 * HOUR,
                midnight + 47 * HOUR - 1,
                "[3,4]",
            ),
        ],
        &[],
    );
}

#[test]
fn cumulative_windows_begin_together_and_end_one_after_another() {
    // Windows of 10, 20 and 30. The row at 5 comes at W = 12: late for [0, 10), on time for [0, 20) and [0, 30).
    let windows = Windows {
        cumulative: true,
        ..sliding(30, 10, 0)
    };
    check(
        windows.clone(),
        &[(1, 1), (12, 2), (5, 3), (31, 4)],
        &[
            (0, 10, 9, "[1]"),
            (0, 20, 19, "[1,3,2]"),
            (0, 30, 29, "[1,3,2]"),
            (30, 40, 39, "[4]"),
            (30, 50, 49, "[4]"),
            (30, 60, 59, "[4]"),
        ],
        &[],
    );
    // With lateness allowed, the first is corrected; the row at 3 comes at W = 31, when only the last still may be.
    let windows = Windows { allowed: 5, ..windows };
    check(
        windows,
        &[(1, 1), (12, 2), (5, 3), (31, 4), (3, 5)],
        &[
            (0, 10, 9, "[1]"),
            (0, 10, 14, "[1,3]"),
            (0, 20, 19, "[1,3,2]"),
            (0, 30, 29, "[1,3,2]"),
            (0, 30, 34, "[1,5,3,2]"),
            (30, 40, 39, "[4]"),
            (30, 50, 49, "[4]"),
            (30, 60, 59, "[4]"),
        ],
        &[],
    );
}

const HOUR: i64 = 3_600_000_000;
/// 2013-11-02T04:00:00Z, midnight in New York. The day after has 25 hours.
const BEFORE_AUTUMN: i64 = 1_383_364_800_000_000;

#[test]
fn sliding_days_span_the_turn_of_the_clock() {
    let windows = Windows {
        size: 2,
        every: 1,
        offset: 0,
        time_zone: Some("America/New_York"),
        allowed: 0,
        cumulative: false,
    };
    let day = |days: i64| BEFORE_AUTUMN + days * 24 * HOUR + if days > 1 { HOUR } else { 0 };
    check(
        windows,
        &[(day(0), 1), (day(2) - 1, 2), (day(2), 3)],
        &[
            (day(-1), day(1), day(1) - 1, "[1]"),
            (day(0), day(2), day(2) - 1, "[1,2]"),
            (day(1), day(3), day(3) - 1, "[2,3]"),
            (day(2), day(4), day(4) - 1, "[3]"),
        ],
        &[],
    );
}

#[test]
fn cumulative_days_span_the_turn_of_the_clock() {
    let windows = Windows {
        size: 3,
        every: 1,
        offset: 0,
        time_zone: Some("America/New_York"),
        allowed: 0,
        cumulative: true,
    };
    // Three days together begin at days since 1970 that are multiples of three: on 2013-11-02, day 16,011.
    let day = |days: i64| BEFORE_AUTUMN + days * 24 * HOUR + if days > 1 { HOUR } else { 0 };
    check(
        windows,
        &[(day(0), 1), (day(2) - 1, 2), (day(2), 3), (day(3), 4)],
        &[
            (day(0), day(1), day(1) - 1, "[1]"),
            (day(0), day(2), day(2) - 1, "[1,2]"),
            (day(0), day(3), day(3) - 1, "[1,2,3]"),
            (day(3), day(4), day(4) - 1, "[4]"),
            (day(3), day(5), day(5) - 1, "[4]"),
            (day(3), day(6), day(6) - 1, "[4]"),
        ],
        &[],
    );
}

#[test]
fn a_step_that_the_clock_skips_gives_no_second_result() {
    // The hours of 2013-03-10 in New York, where 02:00 to 03:00 is skipped; midnight is 05:00 UTC.
    let midnight = 1_362_891_600_000_000;
    let mut case = Case::new(sliding(24 * HOUR, HOUR, 0), &[], &[Builtin::Count(None)]);
    case.windows.cumulative = true;
    case.zone = Some("America/New_York");
    let (rows, events) = one_partition(&[(midnight, 1)]);
    let found = one_by_one(&case, &rows, &events);
    let ends: Vec<i64> = found.results.iter().map(|row| row.time + 1).collect();
    let expect: Vec<i64> = (1..=23).map(|hours| midnight + hours * HOUR).collect();
    assert_eq!(ends, expect);
}

/// A sliding window may have very many panes, most of them of a row or two.
#[test]
fn panes_of_few_rows_take_little_room_whatever_the_number_of_keys() {
    const PANES: i64 = 2_000;
    let case = Case::new(
        sliding(PANES, 1, 0),
        &[KEY_INT],
        &[Builtin::Sum(INT), Builtin::Stddev(INT), Builtin::Last(INT)],
    );
    let mut operator = case.operator();
    let mut out = Vec::new();
    let row = |time: i64, key: i64| Row {
        time,
        watermark: i64::MIN,
        partition: 0,
        position: 0,
        values: values(key, 1),
    };
    let send = |operator: &mut wasmill_operators::Window, rows: &[Row], out: &mut Vec<_>| {
        let rows: Vec<&Row> = rows.iter().collect();
        operator
            .batch(0, super::harness::batch(&rows, false), out)
            .expect("no fault");
    };
    let many: Vec<Row> = (0..1_000).map(|key| row(0, key)).collect();
    send(&mut operator, &many, &mut out);
    let before = operator.size_bytes();
    for time in 1..PANES {
        send(
            &mut operator,
            &[row(time, time % 1_000), row(time, (7 * time) % 1_000)],
            &mut out,
        );
    }
    let pane = (operator.size_bytes() - before) / PANES as usize;
    assert!(pane < 1_024, "{pane} bytes a pane of two rows");
    // A window of all of them is put together from the tree, which has about as many parts as there are panes.
    while operator.watermark(Timestamp(PANES), &mut out).expect("no fault") == wasmill_core::operator::Step::More {}
    let pane = (operator.size_bytes() - before) / PANES as usize;
    assert!(pane < 8_192, "{pane} bytes a pane of two rows with the tree");
}

#[test]
fn state_that_is_damaged_is_refused() {
    let case = Case::new(
        sliding(20, 10, 5),
        &[KEY_INT],
        &[Builtin::Sum(INT), Builtin::ArrayAgg(INT)],
    );
    let (rows, _) = one_partition(&[(1, 1), (12, 2), (5, 3)]);
    let mut operator = case.operator();
    let mut out = Vec::new();
    let rows: Vec<&Row> = rows.iter().collect();
    operator
        .batch(0, super::harness::batch(&rows, false), &mut out)
        .expect("no fault");
    let mut entries = Vec::new();
    operator.save(&mut entries).expect("it is in memory");
    let mut refused = 0;
    for (group, key, value) in &entries {
        let mut twice = case.operator();
        twice.load(*group, key, value).expect("what was saved");
        if key[0] == 1 {
            assert!(twice.load(*group, key, value).is_err(), "rows come once");
        }
        for at in 0..value.len() {
            let loaded = case.operator().load(*group, key, &value[..at]);
            assert!(loaded.is_err(), "{key:?} cut at {at}");
            let mut longer = value.clone();
            longer.insert(at, 0x80);
            refused += u32::from(case.operator().load(*group, key, &longer).is_err());
        }
        for at in 0..key.len() {
            let mut other = key.clone();
            other[at] ^= 0x55;
            refused += u32::from(case.operator().load(*group, &other, value).is_err());
        }
    }
    assert!(refused > 0, "damage is found");
}

#[test]
fn rows_between_windows_belong_to_none() {
    check(
        sliding(3, 10, 0),
        &[(1, 1), (5, 2), (12, 3)],
        &[(0, 3, 2, "[1]"), (10, 13, 12, "[3]")],
        &[],
    );
}

#[test]
fn a_sum_overflows_only_if_the_whole_does() {
    let sum = |values: &[i64]| {
        let case = Case::new(tumbling(10, 0), &[], &[Builtin::Sum(INT)]);
        let rows: Vec<(i64, i64)> = values.iter().map(|&v| (1, v)).collect();
        let (rows, events) = one_partition(&rows);
        let mut cuts = super::harness::Cuts {
            batch: &mut || true,
            watermark: &mut || true,
            filtered: &mut || false,
        };
        run(&case, &rows, &events, &mut cuts)
            .map(|run| run.results[0].values[2].clone())
            .map_err(|fault| fault.to_string())
    };
    assert_eq!(sum(&[i64::MAX, 1, -1]), Ok(Scalar::Int64(i64::MAX)));
    let message = "window: a sum does not fit into int64: 9223372036854775808; sum a float64 column instead";
    assert_eq!(sum(&[i64::MAX, 1]), Err(message.into()));
}

#[test]
fn a_batch_behind_the_merged_watermark_is_a_fault_of_the_engine() {
    let case = Case::new(tumbling(10, 0), &[], &[Builtin::Count(None)]);
    let mut operator = case.operator();
    let mut out = Vec::new();
    operator.watermark(Timestamp(20), &mut out).expect("nothing to fire");
    let (rows, _) = one_partition(&[(19, 1)]);
    let fault = operator.batch(0, super::harness::batch(&[&rows[0]], false), &mut out);
    let message = fault.expect_err("W(r) is below M").to_string();
    assert!(
        message.contains("after the merged watermark reached 1970-01-01T00:00:00.00002Z"),
        "{message}"
    );
}
