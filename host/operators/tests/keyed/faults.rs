//! What becomes of rows and timers at which the guest fails, and of late ones.

use wasmill_core::column::Scalar;
use wasmill_core::plan::OnFault;
use wasmill_core::window::Late;
use wasmill_operators::KeyedLimits;
use wasmill_testkit::Row;
use wasmill_testkit::keyed::{Event, Key, Refusal};

use crate::harness::{Setup, Subtasks, oracle, row};
use crate::logic::{self, ADD, FAIL, REJECT_ROW, SET_TIMER};

fn run(setup: Setup, rows: &[Row]) -> (Subtasks, Result<(), String>) {
    let mut subtasks = Subtasks::new(setup, 1);
    let rows: Vec<&Row> = rows.iter().collect();
    let done = subtasks
        .rows(0, &rows)
        .and_then(|()| subtasks.watermark(1_000))
        .map_err(|fault| fault.to_string());
    (subtasks, done)
}

fn failing_rows() -> Vec<Row> {
    // Each third fails, in each of 50 keys.
    (0..300)
        .map(|n| row(n, 10 + n as i64, n as i64 % 50, if n % 3 == 1 { FAIL } else { ADD }, 1))
        .collect()
}

#[test]
fn a_fault_ends_the_generation_where_the_policy_says_so() {
    let (_, done) = run(Setup::default(), &failing_rows());
    let message = done.expect_err("a fault");
    assert!(message.starts_with("op: failed with 1"), "{message}");
}

#[test]
fn rows_that_fail_become_dead_letters_with_their_place_and_the_others_go_on() {
    let setup = Setup {
        on_fault: OnFault::DeadLetter,
        ..Setup::default()
    };
    let (subtasks, done) = run(setup, &failing_rows());
    done.expect("no fault");
    let letters = subtasks.letters();
    assert_eq!(letters.len(), 100);
    let first = (
        11,
        "failed with 1".to_owned(),
        "{\"key\":1,\"what\":12,\"number\":1}".to_owned(),
    );
    assert_eq!(letters[0], first);
    assert_eq!(subtasks.outputs().len(), 200);
}

#[test]
fn under_skip_they_are_counted() {
    let setup = Setup {
        on_fault: OnFault::Skip,
        letters: false,
        ..Setup::default()
    };
    let (subtasks, done) = run(setup, &failing_rows());
    done.expect("no fault");
    let (counters, _) = subtasks.counters();
    assert_eq!(
        (subtasks.letters().len(), counters.skipped, counters.rejected),
        (0, 100, 100)
    );
    assert_eq!(subtasks.outputs().len(), 200);
}

#[test]
fn a_timer_that_fails_is_dropped_with_a_dead_letter_that_names_it() {
    let setup = Setup {
        on_fault: OnFault::DeadLetter,
        logic: logic::failing_timers,
        ..Setup::default()
    };
    // Kind 0, tag 2, ten later: inside the call of the row, which is not at fault.
    let number = (0..240)
        .find(|n| n % 40 - 8 == 10 && n % 2 == 0 && n % 3 == 2)
        .expect("there is one");
    let rows = [row(0, 10, 7, SET_TIMER, number), row(1, 30, 7, ADD, 1)];
    let (mut subtasks, done) = run(setup, &rows);
    done.expect("no fault");
    let record = "{\"key\":7,\"timer\":\"wake\",\"tag\":2,\"due\":\"1970-01-01T00:00:00.00002Z\"}";
    assert_eq!(
        subtasks.letters(),
        [(20, "timer 0 failed".to_owned(), record.to_owned())]
    );
    assert_eq!(subtasks.outputs().len(), 1);
    subtasks.watermark(i64::MAX).expect("no fault");
    assert_eq!(subtasks.letters().len(), 1, "it is gone");
}

/// A row sets a timer that comes when state has had its time; the timer sets itself again, for its own time.
fn for_ever(event: &Event<'_>, key: &mut dyn Key) -> Result<(), Refusal> {
    let count = match key.value(logic::COUNT)[0] {
        Scalar::Int64(count) => count + 1,
        ref other => panic!("{other:?}"),
    };
    if count == 1_000 {
        return Err(Refusal::Failed("it is handed on for ever".to_owned()));
    }
    key.set(logic::COUNT, vec![Scalar::Int64(count), Scalar::Int64(0)]);
    match event {
        Event::Row(_) => key.set_timer(0, 0, key.time() + 100),
        Event::Timer(..) => {
            key.emit(0, vec![Scalar::Int64(count), Scalar::Int64(0)]);
            key.set_timer(0, 0, key.time());
        }
    }
    Ok(())
}

fn with_a_chain_of_20(on_fault: OnFault) -> Setup {
    Setup {
        on_fault,
        logic: for_ever,
        limits: KeyedLimits {
            timer_chain: 20,
            ..KeyedLimits::default()
        },
        ..Setup::default()
    }
}

#[test]
fn a_timer_that_sets_itself_for_its_own_time_is_a_fault_when_the_limit_is_reached() {
    let (_, done) = run(with_a_chain_of_20(OnFault::Fail), &[row(0, 10, 7, ADD, 1)]);
    let message = "op: set a timer for 1970-01-01T00:00:00.00011Z, when it was handling a timer of that time: the limit of \
                   20 such timers one after the other for a key was reached (plugin guest.wasm, process, 0 rows)";
    assert_eq!(done, Err(message.to_owned()));
}

#[test]
fn a_timer_of_the_clock_that_sets_itself_for_now_is_a_fault_too() {
    let setup = Setup {
        logic: |_, key| {
            key.set_timer(2, 0, 0);
            Ok(())
        },
        ..with_a_chain_of_20(OnFault::Fail)
    };
    let mut subtasks = Subtasks::new(setup, 1);
    subtasks.clock(5_000).expect("nothing is due");
    subtasks.rows(0, &[&row(0, 10, 7, ADD, 1)]).expect("no fault");
    subtasks.watermark(100).expect("no fault");
    let fault = subtasks.clock(6_000).expect_err("it would fire for ever");
    assert!(fault.message.contains("the limit of 20 such timers"), "{fault}");
}

#[test]
fn the_timer_that_reached_the_limit_is_a_dead_letter_and_other_keys_go_on() {
    for slice_rows in [1, 4_096] {
        let mut setup = with_a_chain_of_20(OnFault::DeadLetter);
        setup.limits.slice_rows = slice_rows;
        let (subtasks, done) = run(setup, &[row(0, 10, 7, ADD, 1), row(1, 12, 8, ADD, 1)]);
        done.expect("no fault");
        let times: Vec<i64> = subtasks.letters().iter().map(|letter| letter.0).collect();
        assert_eq!(times, [110, 112]);
        // The timer, and 20 that were set one after the other; the last would have set one more.
        assert_eq!(subtasks.outputs().len(), 2 * 20);
    }
}

#[test]
fn timers_of_one_time_keep_their_order_when_a_row_after_them_fails() {
    let setup = Setup {
        on_fault: OnFault::DeadLetter,
        ..Setup::default()
    };
    // Timers (0, 0), (0, 1), (1, 2) and (1, 0) at 13; (0, 1) sets (0, 2) for the same time and cancels (1, 2).
    let rows = [
        row(0, 10, 1, 11, 0),
        row(1, 10, 1, SET_TIMER, 51),
        row(2, 30, 1, FAIL, 1),
    ];
    let mut subtasks = Subtasks::new(setup, 1);
    subtasks.rows(0, &rows.iter().collect::<Vec<_>>()).expect("no fault");
    subtasks.watermark(11).expect("no fault");
    subtasks.watermark(1_000).expect("no fault");
    let expect = oracle(1_000).evaluate(&rows, logic::logic);
    assert_eq!(subtasks.outputs(), expect.outputs);
    assert_eq!(subtasks.letters().len(), 1);
}

#[test]
fn invalid_rows_are_dead_letters_under_every_policy() {
    let (subtasks, done) = run(Setup::default(), &[row(0, 10, 1, REJECT_ROW, 5), row(1, 10, 1, ADD, 1)]);
    done.expect("no fault");
    assert_eq!(subtasks.letters()[0].1, "invalid 5");
    assert_eq!(subtasks.outputs().len(), 1);
}

#[test]
fn late_rows_are_dropped_sent_to_the_port_or_made_dead_letters() {
    let mut late = row(0, 10, 1, ADD, 1);
    late.watermark = 11;
    let mut on_time = row(1, 11, 1, ADD, 1);
    on_time.watermark = 11;
    for (policy, port, letters) in [(Late::Drop, 0, 0), (Late::Port, 1, 0), (Late::DeadLetter, 0, 1)] {
        let setup = Setup {
            late: policy,
            ..Setup::default()
        };
        let (subtasks, done) = run(setup, &[late.clone(), on_time.clone()]);
        done.expect("no fault");
        assert_eq!(
            (subtasks.late().len(), subtasks.letters().len()),
            (port, letters),
            "{policy:?}"
        );
        let (counters, _) = subtasks.counters();
        assert_eq!(
            (counters.late, counters.rejected, counters.skipped),
            (1, 0, 0),
            "{policy:?}"
        );
        assert_eq!(subtasks.outputs().len(), 1);
    }
}
