//! The rules of a key's sequence, one by one.

use wasmill_core::keyed::TimeDomain;
use wasmill_core::plan::RowOrder;
use wasmill_core::time::Timestamp;
use wasmill_testkit::Row;
use wasmill_testkit::keyed::Output;

use crate::harness::{Setup, Subtasks, row};
use crate::logic::{ADD, RECENT_AFTER, REMEMBER, SET_TIMER};

/// Number of `SET_TIMER` for a timer so long after the row that sets nothing more: kind 0 and tag 2 where `micros` is even,
/// kind 1 and tag 0 where it is odd.
fn after(micros: i64) -> i64 {
    let tag = if micros % 2 == 0 { 2 } else { 0 };
    (0..240)
        .find(|number| number % 40 - 8 == micros && number % 3 == tag)
        .expect("there is one")
}

const SET_AT: i64 = 14;

/// Time and the first number of what came out at port 0.
fn main_output(outputs: &[Output]) -> Vec<(i64, String)> {
    outputs
        .iter()
        .filter(|o| o.port == 0)
        .map(|o| (o.time, o.values.clone()))
        .collect()
}

fn values(a: i64, b: i64) -> String {
    format!("[Int64({a}), Int64({b})]")
}

fn one_batch(rows: &[Row]) -> Subtasks {
    let mut subtasks = Subtasks::new(Setup::default(), 1);
    subtasks.rows(0, &rows.iter().collect::<Vec<_>>()).expect("no fault");
    subtasks
}

/// What comes out of rows in one batch when the watermark comes to 1000.
fn at_once(rows: &[Row]) -> Vec<(i64, String)> {
    let mut subtasks = one_batch(rows);
    subtasks.watermark(1_000).expect("no fault");
    main_output(&subtasks.outputs())
}

#[test]
fn timer_15_fires_between_rows_10_and_20_of_one_batch() {
    let rows = [
        row(0, 10, 1, SET_TIMER, after(5)),
        row(1, 10, 1, ADD, 1),
        row(2, 20, 1, ADD, 1),
    ];
    // The timer counts too, and by 100.
    let expect = [
        (10, values(1, 1_001)),
        (15, values(2_000, -100)),
        (20, values(3, 1_102)),
    ];
    assert_eq!(at_once(&rows), expect);
    // The same, when the watermark stops on the way.
    let mut subtasks = one_batch(&rows);
    for to in [11, 15, 16, 20, 21] {
        subtasks.watermark(to).expect("no fault");
    }
    assert_eq!(main_output(&subtasks.outputs()), expect);
}

#[test]
fn a_timer_fires_before_rows_of_its_time() {
    let rows = [row(0, 10, 1, SET_TIMER, after(5)), row(1, 15, 1, ADD, 1)];
    let expect = [(15, values(1_000, -100)), (15, values(2, 1_101))];
    assert_eq!(at_once(&rows), expect);
    // A timer that is due at the watermark fires; rows of that time still wait.
    let mut subtasks = one_batch(&rows);
    subtasks.watermark(15).expect("no fault");
    assert_eq!(main_output(&subtasks.outputs()), expect[..1]);
}

#[test]
fn a_timer_for_the_past_fires_at_once_at_the_time_of_its_row() {
    let rows = [row(0, 30, 1, SET_TIMER, after(-6)), row(1, 30, 1, ADD, 1)];
    let found = at_once(&rows);
    assert!(found.contains(&(30, values(1_002, -100))), "{found:?}");
    assert!(
        found.contains(&(30, values(2, 1_101))),
        "the row comes after it: {found:?}"
    );
}

#[test]
fn a_timer_set_at_or_before_until_fires_inside_the_call() {
    let rows = [row(0, 10, 1, SET_TIMER, after(8)), row(1, 20, 1, ADD, 1)];
    let mut subtasks = one_batch(&rows);
    subtasks.watermark(100).expect("no fault");
    assert_eq!(
        main_output(&subtasks.outputs()),
        [(18, values(1_002, -100)), (20, values(2, 1_101))]
    );
    assert_eq!(subtasks.calls.borrow().calls, 1);
    assert_eq!(subtasks.counters().1.fired, 0, "the host never held it");
}

#[test]
fn a_replaced_timer_fires_once_at_its_last_time() {
    // Its due event is in the call whose first row replaces it.
    let rows = [
        row(0, 10, 1, SET_TIMER, after(20)),
        row(1, 20, 1, SET_TIMER, after(20)),
        row(2, 60, 1, ADD, 1),
    ];
    let expect = [(40, values(1_002, -100)), (60, values(2, 1_101))];
    assert_eq!(at_once(&rows), expect);
    let mut subtasks = one_batch(&rows);
    for to in [11, 35, 61] {
        subtasks.watermark(to).expect("no fault");
    }
    assert_eq!(main_output(&subtasks.outputs()), expect);
}

#[test]
fn state_goes_between_two_rows_of_one_batch_where_its_time_ends() {
    let end = 10 + RECENT_AFTER as i64;
    let rows = [
        row(0, 10, 1, REMEMBER, 3),
        row(1, end - 1, 2, REMEMBER, 4),
        row(2, end, 1, REMEMBER, 5),
        row(3, end + 1, 1, REMEMBER, 6),
        row(4, end + RECENT_AFTER as i64 - 2, 2, REMEMBER, 7),
    ];
    let firsts: Vec<(i64, bool)> = at_once(&rows)
        .into_iter()
        .map(|(time, values)| (time, values.starts_with("[Int64(-1)")))
        .collect();
    assert_eq!(
        firsts,
        [
            (10, true),
            (end - 1, true),
            (end, true),
            (end + 1, false),
            (end + RECENT_AFTER as i64 - 2, false)
        ]
    );
}

#[test]
fn a_row_from_the_year_2099_waits_and_holds_nothing_up() {
    let far = 4_070_908_800_000_000;
    let rows = [row(0, far, 1, ADD, 1), row(1, 10, 1, ADD, 2), row(2, 10, 2, ADD, 3)];
    let mut subtasks = one_batch(&rows);
    subtasks.watermark(1_000).expect("no fault");
    let expect = [(10, values(1, 1_002)), (10, values(1, 1_003))];
    assert_eq!(main_output(&subtasks.outputs()), expect);
    subtasks.watermark(i64::MAX).expect("no fault");
    assert_eq!(main_output(&subtasks.outputs())[2], (far, values(2, 1_003)));
}

#[test]
fn at_the_end_each_pending_timer_fires_once_and_what_it_sets_is_discarded() {
    // Kind 0, tag 0 sets itself again.
    let again = (0..240).find(|n| n % 40 - 8 == 20 && n % 6 == 0).expect("there is one");
    let mut subtasks = one_batch(&[row(0, 10, 1, SET_TIMER, again)]);
    subtasks.watermark(20).expect("no fault");
    subtasks.watermark(i64::MAX).expect("no fault");
    assert_eq!(main_output(&subtasks.outputs()), [(30, values(1_000, -100))]);
    let (_, timers) = subtasks.counters();
    assert_eq!((timers.fired, timers.discarded), (1, 1));
    subtasks.watermark(i64::MAX).expect("no fault");
    assert_eq!(subtasks.outputs().len(), 1);
}

#[test]
fn many_keys_share_a_call() {
    let rows: Vec<Row> = (0..500).map(|key| row(key, 10, key as i64, ADD, 1)).collect();
    let mut subtasks = one_batch(&rows);
    subtasks.watermark(100).expect("no fault");
    assert_eq!(
        (subtasks.calls.borrow().calls, subtasks.calls.borrow().keys_max),
        (1, 500)
    );
}

#[test]
fn processing_time_timers_fire_when_the_clock_has_come_to_them() {
    let mut subtasks = Subtasks::new(Setup::default(), 1);
    assert_eq!(
        subtasks.wake_at(),
        Some(Timestamp::MIN),
        "the guest can ask for the time"
    );
    subtasks.clock(5_000_000).expect("no fault");
    let first = row(0, 4_000_000, 1, SET_AT, 2_000_000);
    subtasks.rows(0, &[&first]).expect("no fault");
    subtasks.watermark(4_000_001).expect("no fault");
    // The row asked for event time + 2 s on the clock; before that only the clock's own turns come.
    assert!(subtasks.wake_at() <= Some(Timestamp(6_000_000)));
    subtasks.clock(5_900_000).expect("no fault");
    assert_eq!(subtasks.outputs().len(), 0);
    subtasks.save_and_load(1).expect("saved and loaded");
    subtasks.clock(6_100_000).expect("no fault");
    let outputs = subtasks.outputs();
    assert_eq!(main_output(&outputs).len(), 1);
    assert_eq!(outputs[0].time, 4_000_001, "it stands at the watermark");
    assert_eq!(*subtasks.calls.borrow().now, [5_000_000, 6_100_000]);
    subtasks.clock(7_000_000).expect("no fault");
    subtasks.watermark(i64::MAX).expect("no fault");
    assert_eq!((subtasks.outputs().len(), subtasks.wake_at()), (1, None));
}

#[test]
fn a_processing_time_timer_that_is_pending_at_the_end_fires_once() {
    let mut subtasks = Subtasks::new(Setup::default(), 1);
    subtasks.clock(1_000).expect("no fault");
    subtasks
        .rows(0, &[&row(0, 10, 1, SET_AT, 2_000_000)])
        .expect("no fault");
    subtasks.watermark(i64::MAX).expect("no fault");
    assert_eq!(main_output(&subtasks.outputs()).len(), 1);
    assert_eq!(subtasks.outputs()[0].time, 10, "it stands at the last event time");
}

#[test]
fn state_goes_by_the_clock_where_its_ttl_says_so() {
    let setup = Setup {
        ttl: TimeDomain::Processing,
        ..Setup::default()
    };
    let mut subtasks = Subtasks::new(setup, 1);
    let after = RECENT_AFTER as i64;
    for (position, (now, time)) in [(1_000, 10), (1_000 + after - 1, 90), (1_000 + 2 * after, 91)]
        .into_iter()
        .enumerate()
    {
        subtasks.clock(now).expect("no fault");
        let mut row = row(position as u64, time, 1, REMEMBER, 3);
        row.watermark = time;
        subtasks.rows(0, &[&row]).expect("no fault");
        subtasks.watermark(time + 1).expect("no fault");
        subtasks.save_and_load(1).expect("saved and loaded");
    }
    let firsts: Vec<bool> = main_output(&subtasks.outputs())
        .iter()
        .map(|(_, values)| values.starts_with("[Int64(-1)"))
        .collect();
    assert_eq!(firsts, [true, false, true]);
}

#[test]
fn in_arrival_order_rows_are_handed_on_at_once_and_none_is_late() {
    let setup = Setup {
        order: RowOrder::Arrival,
        ..Setup::default()
    };
    let mut subtasks = Subtasks::new(setup, 1);
    let mut late = row(1, 5, 1, ADD, 2);
    late.watermark = 8;
    subtasks.rows(0, &[&row(0, 10, 1, ADD, 1), &late]).expect("no fault");
    assert_eq!(
        main_output(&subtasks.outputs()),
        [(5, values(2, 1_003)), (10, values(1, 1_001))]
    );
    subtasks
        .rows(0, &[&row(2, 10, 1, SET_TIMER, after(10))])
        .expect("no fault");
    assert_eq!(subtasks.outputs().len(), 2);
    subtasks.watermark(20).expect("no fault");
    assert_eq!(main_output(&subtasks.outputs())[2], (20, values(3_002, -100)));
}
