//! Guests that misbehave: each is a clean fault, and the next call runs in a new instance.

use std::num::NonZeroU32;

use wasmill_component::Settings;
use wasmill_core::fault::{Domain, Fault, GuestFault};
use wasmill_core::plugin::Limits;
use wasmill_core::schema::{DataType, Field};
use wasmill_core::time::Micros;

use crate::guest::{Bytes, Guest, Image, computed, constant, contract, input, words};
use crate::{Bench, batch, ints, ints_schema};

/// A call with this many rows goes wrong, others answer with their input.
const BAD_ROWS: usize = 13;

/// The fault of a guest that does `bad` in a call of [`BAD_ROWS`] rows, which then works again.
fn fault_of(
    settings: Settings,
    limits: &Limits,
    blames_rows: bool,
    output: (&str, bool),
    bad: impl FnOnce(&mut Guest) -> String,
) -> Fault {
    let bench = Bench::with(settings);
    let mut guest = Guest::transform(&["a"], &[("a", output.0, output.1)]);
    let bad = bad(&mut guest);
    let good = guest.echo(0);
    guest.process(&format!(
        "(if (result i32) (i32.eq (local.get $1) (i32.const {BAD_ROWS})) (then {bad}) (else {good}))"
    ));
    let helpers = "(func $inner (unreachable)) (func $deeper (call $deeper) (call $deeper))";
    let wasm = guest.build_with(&[contract()], "transform", helpers);
    let mut transform = bench.transform(&wasm, &ints_schema(), limits, blames_rows);
    let fault = transform
        .process(0, &batch(vec![ints(&[7; BAD_ROWS])]))
        .expect_err("the guest misbehaves");
    // The good answer is of type int64, whatever was described.
    if output.0 == "int64" {
        let after = transform
            .process(0, &batch(vec![ints(&[1, 2])]))
            .expect("a new instance works");
        assert_eq!(*after.outputs[0].1.column(0), ints(&[1, 2]));
    }
    assert_eq!(fault.domain, Domain::User);
    assert_eq!(fault.node.as_ref().map(ToString::to_string).as_deref(), Some("op"));
    let detail = fault.guest.as_ref().expect("a fault of a guest");
    assert!(detail.plugin.ends_with("plugin.wasm"));
    assert_eq!((detail.function, detail.rows), ("process", BAD_ROWS as u32));
    fault
}

fn check(kind: GuestFault, message: &str, bad: impl FnOnce(&mut Guest) -> String) -> Fault {
    let fault = fault_of(crate::settings(), &Limits::default(), false, ("int64", false), bad);
    expect(&fault, kind, message);
    fault
}

fn expect(fault: &Fault, kind: GuestFault, message: &str) {
    let detail = fault.guest.as_ref().unwrap();
    assert_eq!((detail.kind, fault.message.as_str()), (kind, message), "{fault}");
}

/// The fault of a guest that returns this column for [`BAD_ROWS`] rows of an output of this type.
fn column_fault(data_type: &str, nullable: bool, column: impl FnOnce(&mut Image) -> Bytes) -> Fault {
    fault_of(
        crate::settings(),
        &Limits::default(),
        false,
        (data_type, nullable),
        |guest| {
            let column = column(&mut guest.image);
            let output = guest.image.output(0, None, &[computed(column)]);
            constant(guest.image.outputs(&[output], &[]))
        },
    )
}

fn check_column(data_type: &str, row: Option<u32>, message: &str, column: impl FnOnce(&mut Image) -> Bytes) {
    let fault = column_fault(data_type, false, column);
    expect(
        &fault,
        GuestFault::Contract,
        &format!("the plugin returned column \"a\": {message}"),
    );
    assert_eq!(fault.guest.unwrap().row, row);
}

#[test]
fn a_trap() {
    let fault = check(
        GuestFault::Trap,
        "the plugin trapped (wasm `unreachable` instruction executed)",
        |_| "(call $inner) (unreachable)".to_owned(),
    );
    let backtrace = fault.guest.unwrap().backtrace;
    assert_eq!(backtrace[0], "inner", "the name section's names, innermost first");
    assert_eq!(backtrace.len(), 2);
}

impl Guest {
    /// What a language's panic hook does.
    fn panic(&mut self, message: &str) -> String {
        format!("{} (unreachable)", self.log(4, message))
    }
}

#[test]
fn a_panic_is_explained_by_what_it_logged() {
    check(
        GuestFault::Trap,
        "the plugin trapped (wasm `unreachable` instruction executed): panicked at src/lib.rs:7: no such key",
        |guest| guest.panic("panicked at src/lib.rs:7: no such key"),
    );
}

#[test]
fn an_error_of_its_own_names_the_row() {
    let fault = check(GuestFault::Failure, "the row is odd", |guest| {
        constant(guest.image.failure(4, "the row is odd", Some(5)))
    });
    assert_eq!(fault.guest.unwrap().row, Some(5));
}

#[test]
fn a_row_that_is_none_of_the_call_is_not_taken_over() {
    let fault = check(GuestFault::Failure, "x", |guest| {
        constant(guest.image.failure(4, "x", Some(BAD_ROWS as u32)))
    });
    assert_eq!(fault.guest.unwrap().row, None);
}

#[test]
fn an_endless_loop_is_ended_at_its_deadline() {
    let limits = Limits {
        deadline: Micros::from_millis(20),
        ..Limits::default()
    };
    let fault = fault_of(crate::settings(), &limits, false, ("int64", false), |_| {
        "(loop $again (br $again)) (unreachable)".to_owned()
    });
    expect(
        &fault,
        GuestFault::Deadline,
        "the call ran longer than its deadline of 20ms",
    );
    assert!(!fault.guest.unwrap().kind.may_blame_rows());
}

#[test]
fn an_endless_loop_uses_up_its_fuel_where_rows_may_be_blamed() {
    let limits = Limits {
        deadline: Micros::from_secs(3600),
        fuel_per_row: 10_000,
        ..Limits::default()
    };
    let fault = fault_of(crate::settings(), &limits, true, ("int64", false), |_| {
        "(loop $again (br $again)) (unreachable)".to_owned()
    });
    expect(&fault, GuestFault::Fuel, "the call used up its fuel of 10000 a row");
}

#[test]
fn growing_for_ever_ends_at_the_memory_limit() {
    let limits = Limits {
        memory_bytes: 4 << 20,
        ..Limits::default()
    };
    let fault = fault_of(crate::settings(), &limits, false, ("int64", false), |_| {
        "(loop $again (drop (memory.grow (i32.const 16))) (br $again)) (unreachable)".to_owned()
    });
    expect(
        &fault,
        GuestFault::Memory,
        "the plugin asked for 4325376 bytes of memory; its limit is 4194304",
    );
}

#[test]
fn recursion_without_end_is_a_trap() {
    let fault = check(GuestFault::Trap, "the plugin trapped (call stack exhausted)", |_| {
        "(call $deeper) (unreachable)".to_owned()
    });
    assert!(fault.guest.unwrap().backtrace.len() <= 16);
}

#[test]
fn columns_of_the_wrong_length_or_type() {
    check_column("int64", None, "data of 8 bytes where 13 rows take 104", |image| {
        image.int64s(&[1])
    });
    check_column("utf8", None, "offsets of 0 bytes where 13 rows take 56", |image| {
        image.int64s(&[1; BAD_ROWS])
    });
    check_column("float64", None, "offsets in a column of type float64", |image| {
        image.column(None, &[0; BAD_ROWS + 1], &[0; BAD_ROWS * 8])
    });
}

#[test]
fn offsets_that_fall_or_lie_outside() {
    let mut falling = [3; BAD_ROWS + 1];
    falling[0] = 0;
    falling[5] = 1;
    check_column("utf8", Some(4), "the offsets fall", |image| {
        image.column(None, &falling, b"abc")
    });
    let mut outside = [0; BAD_ROWS + 1];
    outside[BAD_ROWS] = 4_000_000_000;
    check_column(
        "binary",
        None,
        "the last offset is 4000000000, but there are 3 bytes of data",
        |image| image.column(None, &outside, b"abc"),
    );
    let mut beyond = [3; BAD_ROWS + 1];
    beyond[0] = 0;
    beyond[2] = 4_000_000_000;
    check_column("json", Some(1), "the offsets fall", |image| {
        image.column(None, &beyond, b"abc")
    });
    check_column("utf8", None, "the first offset is 1, not 0", |image| {
        image.column(None, &[1; BAD_ROWS + 1], b"a")
    });
}

#[test]
fn text_that_is_not_utf8_or_not_json() {
    let ends = |len: u32| {
        let mut offsets = [0; BAD_ROWS + 1];
        offsets[8..].fill(len);
        offsets
    };
    check_column("utf8", Some(7), "a value that is not UTF-8", |image| {
        image.column(None, &ends(2), b"\xC3\x28")
    });
    let mut split = ends(2);
    split[7] = 1;
    check_column("utf8", Some(6), "a value that is not UTF-8", |image| {
        image.column(None, &split, "\u{e9}".as_bytes())
    });
    let fault = column_fault("json", true, |image| {
        let mut validity = [0, 0];
        validity[0] = 1 << 7;
        image.column(Some(&validity), &ends(2), b"{]")
    });
    assert!(fault.message.contains("a value that is not JSON"), "{fault}");
    assert_eq!(fault.guest.unwrap().row, Some(7));
}

#[test]
fn spare_bits_and_nulls() {
    check_column("boolean", None, "spare bits of data are not 0", |image| {
        image.column(None, &[], &[0, 0xFF])
    });
    check_column("int64", Some(9), "null in a column that is not nullable", |image| {
        image.column(Some(&[0xFF, 0b0001_1101]), &[], &[0; BAD_ROWS * 8])
    });
    check_column("int64", None, "spare bits of validity are not 0", |image| {
        image.column(Some(&[0xFF, 0xFF]), &[], &[0; BAD_ROWS * 8])
    });
}

fn check_outputs(message: &str, outputs: impl FnOnce(&mut Image) -> u32) {
    let fault = fault_of(
        crate::settings(),
        &Limits::default(),
        false,
        ("int64", false),
        |guest| constant(outputs(&mut guest.image)),
    );
    expect(&fault, GuestFault::Contract, &format!("the plugin returned {message}"));
}

#[test]
fn selections_ports_columns_and_rejects_that_do_not_exist() {
    check_outputs("row 13 is selected from a batch of 13 rows", |image| {
        let output = image.output(0, Some(&[0, 13]), &[input(0)]);
        image.outputs(&[output], &[])
    });
    check_outputs("row numbers in 3 bytes, which is no multiple of 4", |image| {
        let rows = [words(&[1]), image.buffer(&[0; 3])].concat();
        let columns = image.records(&[input(0)]);
        let output = [words(&[0]), rows, words(&[0, 0]), columns].concat();
        image.outputs(&[output], &[])
    });
    check_outputs("rows for port 1, but it described 1 ports", |image| {
        let output = image.output(1, None, &[input(0)]);
        image.outputs(&[output], &[])
    });
    check_outputs(
        "a second output for port 0; a port's rows of a call are one output",
        |image| {
            let half = image.output(0, Some(&[0, 1]), &[input(0)]);
            image.outputs(&[half.clone(), half], &[])
        },
    );
    check_outputs("0 columns where the port has 1", |image| {
        let output = image.output(0, None, &[]);
        image.outputs(&[output], &[])
    });
    check_outputs("column 1 of an input that has 1", |image| {
        let output = image.output(0, None, &[input(1)]);
        image.outputs(&[output], &[])
    });
    check_outputs("a reject of row 13 of a batch of 13 rows", |image| {
        let reject = image.reject(13, "x");
        image.outputs(&[], &[reject])
    });
    check_outputs(
        "kinds of rows for a port that it did not describe as a changelog",
        |image| {
            let columns = image.records(&[input(0)]);
            let kinds = image.buffer(&[0; BAD_ROWS]);
            let output = [words(&[0, 0, 0, 0]), kinds, columns].concat();
            image.outputs(&[output], &[])
        },
    );
}

#[test]
fn lists_and_texts_outside_of_its_memory() {
    let outside = |message: &str, answer: Bytes| {
        let fault = fault_of(
            crate::settings(),
            &Limits::default(),
            false,
            ("int64", false),
            |guest| constant(guest.image.put(&answer)),
        );
        expect(
            &fault,
            GuestFault::Contract,
            &format!("the plugin broke the contract: {message}"),
        );
    };
    outside(
        "list pointer/length out of bounds of memory",
        words(&[0, 8, u32::MAX / 64, 0, 0]),
    );
    outside("invalid expected discriminant", words(&[7, 0, 0, 0, 0]));
}

#[test]
fn more_rows_than_allowed() {
    let limits = Limits {
        output_rows: 20,
        ..Limits::default()
    };
    let fault = fault_of(crate::settings(), &limits, false, ("int64", false), |guest| {
        let output = guest.image.output(0, Some(&[0; 21]), &[input(0)]);
        constant(guest.image.outputs(&[output], &[]))
    });
    expect(
        &fault,
        GuestFault::Output,
        "the plugin returned more rows than its limit of 20",
    );
}

#[test]
fn more_bytes_than_allowed() {
    let limits = Limits {
        output_bytes: 1000,
        ..Limits::default()
    };
    let fault = fault_of(crate::settings(), &limits, false, ("int64", false), |guest| {
        let rows = guest.image.output(0, Some(&[0; 300]), &[input(0)]);
        constant(guest.image.outputs(&[rows], &[]))
    });
    expect(
        &fault,
        GuestFault::Output,
        "the call returned more than its limit of 1000 bytes",
    );
}

/// Answers with the number of calls that the instance has had.
fn counting() -> Vec<u8> {
    let mut guest = Guest::transform(&["a"], &[("a", "int64", false)]);
    let calls = guest.image.put(&0_i64.to_le_bytes());
    let column = [words(&[0, 0, 0, 0, 0]), words(&[calls, 8])].concat();
    let output = guest.image.output(0, None, &[computed(column)]);
    let answer = guest.image.outputs(&[output], &[]);
    guest.process(&format!(
        "(i64.store (i32.const {calls}) (i64.add (i64.load (i32.const {calls})) (i64.const 1))) (i32.const {answer})"
    ));
    guest.build()
}

#[test]
fn a_result_that_depends_on_earlier_calls_is_impure() {
    let bench = Bench::with(Settings {
        purity_check_every: NonZeroU32::new(3),
        ..crate::settings()
    });
    let mut transform = bench.transform(&counting(), &ints_schema(), &Limits::default(), false);
    let one = batch(vec![ints(&[0])]);
    let answered = [1, 2].map(|_| transform.process(0, &one).unwrap().outputs[0].1.column(0).into_owned());
    assert_eq!(answered, [ints(&[1]), ints(&[2])], "nobody looked");
    let fault = transform.process(0, &one).unwrap_err();
    assert_eq!(
        fault.message,
        "the call, repeated in a fresh instance, gave another result: a result must not depend on earlier calls"
    );
    let detail = fault.guest.unwrap();
    assert_eq!(detail.kind, GuestFault::Impure);
    assert!(!detail.kind.may_blame_rows());
    let after = transform.process(0, &one).unwrap();
    assert_eq!(*after.outputs[0].1.column(0), ints(&[1]), "in a new instance");
}

#[test]
fn a_failing_open_is_a_fault_when_the_instance_is_made() {
    let bench = Bench::new();
    let mut guest = Guest::new("transform", "transformer");
    let inputs = [guest.image.requirement(&["a"], false)];
    let ports = [guest.image.port("out", &[("a", "int64", false)], false)];
    let description = guest.image.description(&inputs, &ports, None);
    let failure = guest.image.failure(4, "no licence", None);
    let echo = guest.echo(0);
    guest
        .function("describe", 4, &constant(description))
        .function("open", 4, &constant(failure))
        .process(&echo);
    let fault = bench
        .try_transform(&guest.build(), &ints_schema(), &Limits::default(), false)
        .err()
        .unwrap();
    assert_eq!(fault.message, "no licence");
    let detail = fault.guest.unwrap();
    assert_eq!((detail.kind, detail.function), (GuestFault::Failure, "open"));
}

#[test]
fn an_instance_needs_no_more_memory_to_start_than_its_limit() {
    let bench = Bench::new();
    let limits = Limits {
        memory_bytes: 65536,
        ..Limits::default()
    };
    let mut guest = Guest::transform(&["a"], &[("a", "int64", false)]);
    let echo = guest.echo(0);
    guest.process(&echo);
    let fault = bench
        .try_transform(&guest.build(), &[Field::required("a", DataType::Int64)], &limits, false)
        .err()
        .unwrap();
    let detail = fault.guest.unwrap();
    assert_eq!((detail.kind, detail.function), (GuestFault::Memory, "open"));
}
