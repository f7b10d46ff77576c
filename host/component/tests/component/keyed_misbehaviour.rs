//! Operators with keys that return what they must not: each is a clean fault that names what is wrong.

use wasmill_core::fault::{Fault, GuestFault};
use wasmill_core::plugin::Limits;

use crate::Bench;
use crate::guest::{Bytes, Guest, Image, constant, input};
use crate::keyed_guest::{AnswerText, From, Opening, TimersText, call, computed, key};
use crate::state::Recorder;

fn fault_of(limits: &Limits, answer: impl FnOnce(&mut Image) -> u32) -> Fault {
    let mut guest = Guest::keyed(1);
    let answer = answer(&mut guest.image);
    guest.function("process", 1, &constant(answer));
    let state = Recorder::shared();
    let mut opening = Opening::new(&state);
    opening.limits = limits.clone();
    let mut keyed = opening.keyed(&Bench::new(), &guest.build()).unwrap();
    let fault = keyed.process(&call()).expect_err("the guest misbehaves");
    assert_eq!(state.borrow().log, ["begin", "begin"], "nothing stays");
    let detail = fault.guest.as_ref().unwrap();
    assert_eq!((detail.function, detail.rows), ("process", 5));
    fault
}

/// The event, where one is named.
fn check(message: &str, event: Option<u32>, answer: impl FnOnce(&mut Image) -> u32) {
    let fault = fault_of(&Limits::default(), answer);
    assert_eq!(fault.message, format!("the plugin returned {message}"));
    let detail = fault.guest.unwrap();
    assert_eq!((detail.kind, detail.row), (GuestFault::Contract, event));
}

fn check_output(message: &str, event: Option<u32>, output: impl FnOnce(&mut Image) -> Bytes) {
    check(message, event, |image| {
        let output = output(image);
        image.keyed_answer(&AnswerText {
            outputs: vec![output],
            ..AnswerText::default()
        })
    });
}

/// The three columns of `out`, for so many rows.
fn columns(image: &mut Image, rows: usize) -> [Bytes; 3] {
    let numbers = image.int64s(&vec![0; rows]);
    [computed(numbers.clone()), key(0), computed(numbers)]
}

fn check_column(message: &str, event: Option<u32>, from: &From<'_>, column: impl FnOnce(&mut Image) -> (usize, Bytes)) {
    check_output(message, event, |image| {
        let rows = match from {
            From::Events(rows) | From::Fired(rows, _) => rows.len(),
        };
        let mut columns = columns(image, rows);
        let (place, column) = column(image);
        columns[place] = column;
        image.keyed_output(0, from, &[], &columns)
    });
}

#[test]
fn ports_and_columns() {
    check_output("rows for port 3, but it described 3 ports", None, |image| {
        image.keyed_output(3, &From::Events(&[]), &[], &[])
    });
    check_output("2 columns where the port has 3", None, |image| {
        let columns = columns(image, 1);
        image.keyed_output(0, &From::Events(&[0]), &[], &columns[..2])
    });
}

#[test]
fn origins() {
    check_column(
        "origins: event 5, but there are 5",
        None,
        &From::Events(&[0, 5]),
        |image| (0, computed(image.int64s(&[0, 0]))),
    );
    check_column(
        "origins: key 3, but there are 3",
        None,
        &From::Fired(&[3], &[0]),
        |image| (0, computed(image.int64s(&[0]))),
    );
    check_column(
        "origins: times: data of 8 bytes where 2 rows take 16",
        None,
        &From::Fired(&[0, 0], &[0]),
        |image| (0, computed(image.int64s(&[0, 0]))),
    );
    check_column(
        "origins: a timer of key 2 that it fired itself at 1970-01-01T00:00:00.000061Z, which is after \
         1970-01-01T00:00:00.00006Z, the key's `until`",
        None,
        &From::Fired(&[0, 2], &[100, 61]),
        |image| (0, computed(image.int64s(&[0, 0]))),
    );
}

#[test]
fn timers_that_it_fired_without_having_any() {
    let mut guest = Guest::new("keyed", "keyed-operator");
    let image = &mut guest.image;
    let inputs = [image.requirement(&[], false)];
    let ports = [image.port("out", &[("n", "int64", false)], false)];
    let tick = image.timer("tick", 1);
    let table = image.table(crate::keyed_guest::TABLES[0]);
    let description = image.keyed_description(&inputs, &ports, &[table], &[tick]);
    let done = image.done();
    let numbers = image.int64s(&[1]);
    let output = image.keyed_output(0, &From::Fired(&[0], &[0]), &[], &[computed(numbers)]);
    let answer = image.keyed_answer(&AnswerText {
        outputs: vec![output],
        ..AnswerText::default()
    });
    guest
        .function("describe", 6, &constant(description))
        .function("open", 6, &constant(done))
        .function("process", 1, &constant(answer));
    let state = Recorder::shared();
    let mut keyed = Opening::new(&state).keyed(&Bench::new(), &guest.build()).unwrap();
    assert_eq!(
        keyed.process(&call()).unwrap_err().message,
        "the plugin returned origins: timers that it fired itself, but it described none of event time"
    );
}

#[test]
fn references_to_input_columns() {
    let by_input = |index: u32| move |_: &mut Image| (0, input(index));
    check_column(
        "column \"a\": column 3 of an input that has 3",
        None,
        &From::Events(&[0]),
        by_input(3),
    );
    check_column(
        "column \"a\": input column \"s: utf8?\" for output column \"a: int64\", which is of another type",
        None,
        &From::Events(&[0]),
        by_input(1),
    );
    check_column(
        "column \"a\": an input column for rows that come from timers that it fired itself",
        None,
        &From::Fired(&[0], &[0]),
        by_input(0),
    );
    check_column(
        "column \"a\": an input column for rows of which one comes from event 3, a timer",
        None,
        &From::Events(&[4, 3]),
        by_input(0),
    );
    check_column(
        "column \"key\": input column \"s\" for output column \"key\", but it did not ask for it in its description",
        None,
        &From::Events(&[0]),
        |_| (1, input(1)),
    );
}

#[test]
fn nulls_by_reference() {
    for reference in [key(0), input(2)] {
        check_output(
            "column \"k\": null in a column that is not nullable",
            Some(2),
            |image| image.keyed_output(2, &From::Events(&[4, 0, 2]), &[], &[reference]),
        );
    }
}

#[test]
fn references_to_key_columns() {
    check_column(
        "column \"key\": key column 1, but there are 1",
        None,
        &From::Events(&[0]),
        |_| (1, key(1)),
    );
    check_column(
        "column \"a\": key column \"k: utf8?\" for output column \"a: int64\", which is of another type",
        None,
        &From::Events(&[0]),
        |_| (0, key(0)),
    );
}

#[test]
fn computed_columns() {
    check_column(
        "column \"n\": data of 8 bytes where 2 rows take 16",
        None,
        &From::Events(&[4, 1]),
        |image| (2, computed(image.int64s(&[1]))),
    );
    check_column(
        "column \"n\": null in a column that is not nullable",
        Some(1),
        &From::Events(&[4, 1]),
        |image| (2, computed(image.column(Some(&[0b01]), &[], &[0; 16]))),
    );
    check_column(
        "column \"key\": a value that is not UTF-8",
        Some(4),
        &From::Events(&[4]),
        |image| (1, computed(image.column(None, &[0, 1], b"\xFF"))),
    );
    check_column(
        "column \"n\": null in a column that is not nullable",
        None,
        &From::Fired(&[1], &[0]),
        |image| (2, computed(image.column(Some(&[0]), &[], &[0; 8]))),
    );
}

#[test]
fn kinds() {
    let changes = |kinds: &'static [u8]| {
        move |image: &mut Image| {
            let numbers = image.int64s(&[0, 0]);
            image.keyed_output(1, &From::Events(&[0, 1]), kinds, &[computed(numbers)])
        }
    };
    check_output("3 kinds of 2 rows", None, changes(&[0, 0, 0]));
    check_output("kind 4 of output row 1; kinds are 0 to 3", None, changes(&[3, 4]));
    check_output(
        "kinds of rows for a port that it did not describe as a changelog",
        None,
        |image| {
            let columns = columns(image, 1);
            image.keyed_output(0, &From::Events(&[0]), &[0], &columns)
        },
    );
}

fn check_update(message: &str, update: impl FnOnce(&mut Image) -> Bytes) {
    check(message, None, |image| {
        let updates = vec![update(image)];
        image.keyed_answer(&AnswerText {
            updates,
            ..AnswerText::default()
        })
    });
}

#[test]
fn updates() {
    check_update("an update of table 4, but it described 4 tables", |image| {
        image.update(4, None, &[])
    });
    check_update(
        "an update of table \"lines\": it is of the kind `appended`, which is changed by the functions of `state`",
        |image| image.update(2, None, &[]),
    );
    check_update(
        "an update of table \"days\": it is of the kind `ordered`, which is changed by the functions of `state`",
        |image| image.update(3, None, &[]),
    );
    check_update("an update of table \"total\": key 3, but there are 3", |image| {
        image.update(0, Some(&[3]), &[])
    });
    check_update("an update of table \"total\": key 1 twice", |image| {
        image.update(0, Some(&[1, 0, 1]), &[])
    });
    check_update("an update of table \"total\": column 2, but it has 2", |image| {
        let column = image.int64s(&[0; 3]);
        image.update(0, None, &[(2, column)])
    });
    check_update("an update of table \"total\": column 0 twice", |image| {
        let column = image.int64s(&[0; 3]);
        image.update(0, None, &[(0, column.clone()), (0, column)])
    });
    check_update(
        "an update of table \"total\": column \"sum\": data of 16 bytes where 3 rows take 24",
        |image| {
            let column = image.int64s(&[0; 2]);
            image.update(0, None, &[(0, column)])
        },
    );
    check_update(
        "an update of table \"total\": column \"sum\": null in a column that is not nullable",
        |image| {
            let column = image.column(Some(&[0]), &[], &[0; 8]);
            image.update(0, Some(&[2]), &[(0, column)])
        },
    );
    check_update(
        "an update of table \"total\": column \"note\": offsets of 0 bytes where 1 rows take 8",
        |image| {
            let column = image.int64s(&[0]);
            image.update(0, Some(&[2]), &[(1, column)])
        },
    );
}

#[test]
fn clears() {
    let check_clear = |message: &str, table: u32, keys: &[u32]| {
        check(message, None, |image| {
            let clears = vec![image.clear(table, Some(keys))];
            image.keyed_answer(&AnswerText {
                clears,
                ..AnswerText::default()
            })
        });
    };
    check_clear("a clear of table 9, but it described 4 tables", 9, &[]);
    check_clear("a clear of table \"days\": key 4, but there are 3", 3, &[4]);
    check_clear("a clear of table \"days\": key 0 twice", 3, &[0, 0]);
}

fn check_timers(message: &str, timers: TimersText<'_>) {
    check(&format!("changes of timers: {message}"), None, |image| {
        image.keyed_answer(&AnswerText {
            timers,
            ..AnswerText::default()
        })
    });
}

#[test]
fn changes_of_timers() {
    check_timers("key 3, but there are 3", (&[3], &[0], &[0], &[200], &[0]));
    check_timers("kind of timer 2, but there are 2", (&[0], &[2], &[0], &[200], &[0]));
    check_timers("2 kinds of 1 changes", (&[0], &[0, 0], &[0], &[200], &[0]));
    check_timers(
        "tags: data of 0 bytes where 1 rows take 8",
        (&[0], &[0], &[], &[200], &[0]),
    );
    check_timers(
        "times: data of 0 bytes where 1 rows take 8",
        (&[0], &[0], &[0], &[], &[0]),
    );
    check_timers("cancel of 0 bytes where 1 rows take 1", (&[0], &[0], &[0], &[200], &[]));
    check_timers("spare bits of cancel are not 0", (&[0], &[0], &[0], &[200], &[2]));
    check_timers(
        "timer \"alarm\" of key 2 at 1970-01-01T00:00:00.00006Z, which is not after 1970-01-01T00:00:00.00006Z, the \
         key's `until`: it has to be fired in the call that sets it",
        (&[0, 2], &[1, 0], &[0, 0], &[1, 60], &[0]),
    );
}

#[test]
fn rejects() {
    let check_reject = |message: &str, event: u32| {
        check(message, None, |image| {
            let rejects = vec![image.reject(event, "x")];
            image.keyed_answer(&AnswerText {
                rejects,
                ..AnswerText::default()
            })
        });
    };
    check_reject("a reject of event 5, but there are 5", 5);
    check_reject("a reject of event 3, which is a timer and no row", 3);
}

#[test]
fn more_rows_than_allowed() {
    let limits = Limits {
        output_rows: 3,
        ..Limits::default()
    };
    let fault = fault_of(&limits, |image| {
        let columns = columns(image, 2);
        let output = image.keyed_output(0, &From::Events(&[0, 1]), &[], &columns);
        image.keyed_answer(&AnswerText {
            outputs: vec![output.clone(), output],
            ..AnswerText::default()
        })
    });
    assert_eq!(fault.message, "the plugin returned more rows than its limit of 3");
    assert_eq!(fault.guest.unwrap().kind, GuestFault::Output);
}

#[test]
fn an_error_of_its_own_names_the_event() {
    let fault = fault_of(&Limits::default(), |image| image.failure(4, "no such key", Some(4)));
    let detail = fault.guest.unwrap();
    assert_eq!(
        (fault.message.as_str(), detail.kind, detail.row),
        ("no such key", GuestFault::Failure, Some(4))
    );
}
