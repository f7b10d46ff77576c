//! Operators with keys that behave: what crosses in each direction, and what becomes of it.

use std::num::NonZeroU32;

use wasmill_component::{Isolation, Settings};
use wasmill_core::batch::{Batch, Hidden, Slot};
use wasmill_core::column::{Column, Value};
use wasmill_core::fault::GuestFault;
use wasmill_core::keyed::{
    Clear, DueTimers, Events, KeyedCall, KeyedColumn, KeyedOutput, KeyedOutputs, KeysOf, Origins, TimerChange, Update,
};
use wasmill_core::plugin::Limits;
use wasmill_core::schema::{DataType, Field};
use wasmill_core::time::Micros;
use wasmill_core::transform::Reject;
use wasmill_core::watermark::RowWatermarks;

use crate::guest::{Guest, constant, contract, input as input_column, words};
use crate::keyed_guest::{AnswerText, From, Opening, call, call_of_rows, computed, int64_bytes, key, rows, texts};
use crate::state::Recorder;
use crate::{Bench, column, input, ints, settings};

fn probe(call: &KeyedCall, paths: &[&[u32]]) -> Vec<Vec<u8>> {
    let state = Recorder::shared();
    let mut opening = Opening::new(&state);
    opening.inputs[0].changelog = call.inputs[0].hidden().kinds.is_some();
    let mut keyed = opening.keyed(&Bench::new(), &Guest::probing(paths).build()).unwrap();
    let mut outputs = keyed.process(call).unwrap();
    let output = outputs.outputs.remove(0);
    let KeyedColumn::Computed(Column::Binary(bytes)) = &output.columns[0] else {
        panic!("bytes")
    };
    bytes.iter().map(|bytes| bytes.unwrap().to_vec()).collect()
}

#[test]
fn a_call_crosses_as_the_contract_says() {
    let offsets_of_column = 12;
    let data_of_column = 20;
    let got = probe(
        &call(),
        &[
            &[0, 4],
            &[0, offsets_of_column],
            &[0, data_of_column],
            &[8, 4],
            &[8, 20, data_of_column],
            &[8, 20, 28 + offsets_of_column],
            &[16],
            &[24],
            &[32],
            &[40],
            &[48],
            &[56],
            &[64],
            &[84, 0, data_of_column],
            &[84, 0, 28 + 4],
            &[84, 0, 28 + data_of_column],
        ],
    );
    let expect = [
        ("which keys are not null", vec![0b101]),
        ("where the texts of the keys begin", words(&[0, 1, 1, 3])),
        ("the texts of the keys", b"xzz".to_vec()),
        ("event times", int64_bytes(&[1000, 1001, 1002, 1003])),
        ("column a", int64_bytes(&[1, 2, 3, 4])),
        ("where the texts of column s begin", words(&[0, 1, 1, 3, 3])),
        ("kinds of timers", words(&[0])),
        ("tags", int64_bytes(&[7])),
        ("times of timers", int64_bytes(&[50])),
        ("offsets of events", words(&[0, 2, 3, 5])),
        ("sources of events", vec![0, 0, 0, 255, 0]),
        ("indices of events", words(&[0, 1, 2, 0, 3])),
        ("until", int64_bytes(&[100, 100, 60])),
        ("sums", int64_bytes(&[10, 20, 30])),
        ("which notes are not null", vec![0b001]),
        ("notes", b"n".to_vec()),
    ];
    for (got, (what, expect)) in got.iter().zip(&expect) {
        assert_eq!(got, expect, "{what}");
    }
    assert_eq!(got.len(), expect.len());
}

#[test]
fn events_that_are_the_rows_in_their_order_cross_as_nothing() {
    let order: [&[u32]; 3] = [&[40], &[48], &[56]];
    assert_eq!(probe(&call_of_rows(), &order), [words(&[0, 2, 3, 4]), vec![], vec![]]);
    let mut turned = call_of_rows();
    turned.events.index = vec![1, 0, 2, 3];
    assert_eq!(
        probe(&turned, &order),
        [words(&[0, 2, 3, 4]), vec![0; 4], words(&[1, 0, 2, 3])]
    );
}

fn changes() -> Batch {
    let rows = rows();
    let hidden = Hidden {
        times: rows.times().into_owned().into(),
        watermarks: RowWatermarks::Constant(900),
        order: None,
        kinds: Some(vec![0, 1, 2, 3].into()),
    };
    let slots = (0..3).map(|i| Slot::Base(rows.column(i).into_owned())).collect();
    Batch::new(slots, hidden)
}

#[test]
fn kinds_of_a_changelog_cross_and_a_selection_is_applied() {
    let mut selected = call_of_rows();
    selected.inputs = vec![changes().select(&[1, 3])];
    selected.keys = vec![texts(&[Some("x")])];
    selected.until = vec![100];
    selected.states = vec![vec![ints(&[10]), texts(&[None])]];
    selected.events = Events {
        offsets: vec![0, 2],
        source: vec![0; 2],
        index: vec![0, 1],
    };
    let got = probe(&selected, &[&[8, 12], &[8, 4], &[8, 20, 20]]);
    assert_eq!(got, [vec![1, 3], int64_bytes(&[1001, 1003]), int64_bytes(&[2, 4])]);
}

/// An answer with everything in it, and what it means.
fn full_answer() -> (Guest, KeyedOutputs) {
    let mut guest = Guest::keyed(1);
    let image = &mut guest.image;
    let numbers = image.int64s(&[40, 30]);
    let rows_of_events = image.keyed_output(
        0,
        &From::Events(&[4, 2]),
        &[],
        &[input_column(0), key(0), computed(numbers)],
    );
    let (a, fired) = (image.int64s(&[5]), image.int64s(&[6]));
    let of_fired = image.keyed_output(
        0,
        &From::Fired(&[2], &[60]),
        &[],
        &[computed(a), key(0), computed(fired)],
    );
    let nulls = image.column(Some(&[0b01]), &[], &int64_bytes(&[9, 0]));
    let changelog = image.keyed_output(1, &From::Events(&[3, 3]), &[1, 2], &[computed(nulls)]);
    let empty = image.int64s(&[]);
    let no_rows = image.keyed_output(1, &From::Events(&[]), &[], &[computed(empty)]);
    let (sums, note, sum) = (
        image.int64s(&[1, 2, 3]),
        image.column(None, &[0, 1], b"m"),
        image.int64s(&[7]),
    );
    let updates = vec![
        image.update(0, None, &[(0, sums)]),
        image.update(0, Some(&[1]), &[(1, note), (0, sum)]),
    ];
    let clears = vec![image.clear(3, Some(&[2, 0])), image.clear(0, None)];
    let reject = image.reject(1, "too odd");
    let answer = image.keyed_answer(&AnswerText {
        outputs: vec![rows_of_events, of_fired, changelog, no_rows],
        updates,
        clears,
        timers: (&[0, 2, 1], &[0, 1, 0], &[-1, 8, 9], &[101, 5, 0], &[0b100]),
        rejects: vec![reject],
    });
    guest.function("process", 1, &constant(answer));

    let output = |port, origins, kinds: &[u8], columns: Vec<KeyedColumn>| KeyedOutput {
        port,
        origins,
        kinds: kinds.to_vec(),
        columns,
    };
    let expect = KeyedOutputs {
        outputs: vec![
            output(
                0,
                Origins::Events(vec![4, 2]),
                &[],
                vec![
                    KeyedColumn::Input(0),
                    KeyedColumn::Key(0),
                    KeyedColumn::Computed(ints(&[40, 30])),
                ],
            ),
            output(
                0,
                Origins::Fired {
                    key: vec![2],
                    time: vec![60],
                },
                &[],
                vec![
                    KeyedColumn::Computed(ints(&[5])),
                    KeyedColumn::Key(0),
                    KeyedColumn::Computed(ints(&[6])),
                ],
            ),
            output(
                1,
                Origins::Events(vec![3, 3]),
                &[1, 2],
                vec![KeyedColumn::Computed(column(
                    DataType::Int64,
                    &[Value::Int64(9), Value::Null],
                ))],
            ),
        ],
        updates: vec![
            Update {
                table: 0,
                keys: KeysOf::All,
                columns: vec![(0, ints(&[1, 2, 3]))],
            },
            Update {
                table: 0,
                keys: KeysOf::Some(vec![1]),
                columns: vec![(1, texts(&[Some("m")])), (0, ints(&[7]))],
            },
        ],
        clears: vec![
            Clear {
                table: 3,
                keys: KeysOf::Some(vec![2, 0]),
            },
            Clear {
                table: 0,
                keys: KeysOf::All,
            },
        ],
        timers: [(0, 0, -1, Some(101)), (2, 1, 8, Some(5)), (1, 0, 9, None)]
            .map(|(key, kind, tag, time)| TimerChange { key, kind, tag, time })
            .to_vec(),
        rejects: vec![Reject {
            row: 1,
            message: "too odd".to_owned(),
        }],
    };
    (guest, expect)
}

#[test]
fn an_answer_is_taken_as_the_guest_means_it() {
    let (guest, expect) = full_answer();
    let state = Recorder::shared();
    let mut keyed = Opening::new(&state).keyed(&Bench::new(), &guest.build()).unwrap();
    assert_eq!(keyed.process(&call()).unwrap(), expect);
}

#[test]
fn columns_that_nobody_reads_are_absent() {
    let (guest, mut expect) = full_answer();
    let state = Recorder::shared();
    let mut opening = Opening::new(&state);
    opening.live = Some(vec![vec![false, true, false], vec![false], vec![false]]);
    let mut keyed = opening.keyed(&Bench::new(), &guest.build()).unwrap();
    for output in &mut expect.outputs {
        for (place, column) in output.columns.iter_mut().enumerate() {
            if output.port == 1 || place != 1 {
                *column = KeyedColumn::Absent;
            }
        }
    }
    assert_eq!(keyed.process(&call()).unwrap(), expect);
}

#[test]
fn rows_of_a_changelog_port_have_the_kinds_of_their_events() {
    let mut guest = Guest::keyed(1);
    let image = &mut guest.image;
    let numbers = image.int64s(&[0; 4]);
    let output = image.keyed_output(1, &From::Events(&[4, 3, 2, 1]), &[], &[computed(numbers)]);
    let answer = image.keyed_answer(&AnswerText {
        outputs: vec![output],
        ..AnswerText::default()
    });
    guest.function("process", 1, &constant(answer));
    // It says nothing of changelogs, so it would not be planned like this; what crosses is the same.
    let state = Recorder::shared();
    let mut keyed = Opening::new(&state).keyed(&Bench::new(), &guest.build()).unwrap();
    let mut with_kinds = call();
    with_kinds.inputs = vec![changes()];
    let outputs = keyed.process(&with_kinds).unwrap();
    assert_eq!(
        outputs.outputs[0].kinds,
        [3, 0, 2, 1],
        "of row 3, of a timer, of rows 2 and 1"
    );
    let outputs = keyed.process(&call()).unwrap();
    assert!(outputs.outputs[0].kinds.is_empty(), "all are inserts");
}

#[test]
fn a_call_without_events_is_no_call() {
    let mut guest = Guest::keyed(1);
    guest.function("process", 1, "(unreachable)");
    let state = Recorder::shared();
    let mut keyed = Opening::new(&state).keyed(&Bench::new(), &guest.build()).unwrap();
    let nothing = KeyedCall {
        keys: vec![texts(&[])],
        inputs: vec![rows().select(&[])],
        timers: DueTimers::default(),
        events: Events {
            offsets: vec![0],
            ..Events::default()
        },
        until: vec![],
        processing_time: 0,
        end_of_input: true,
        is_last_try: false,
        states: vec![vec![ints(&[]), texts(&[])]],
    };
    assert_eq!(keyed.process(&nothing).unwrap(), KeyedOutputs::default());
}

#[test]
fn two_inputs_are_told_apart() {
    let mut guest = Guest::keyed(2);
    let image = &mut guest.image;
    let numbers = image.int64s(&[1, 2]);
    let both = [0, 1].map(|_| numbers.clone());
    let first = image.keyed_output(
        0,
        &From::Events(&[0, 2]),
        &[],
        &[input_column(0), key(0), computed(both[0].clone())],
    );
    let answer = image.keyed_answer(&AnswerText {
        outputs: vec![first],
        ..AnswerText::default()
    });
    guest.function("process", 1, &constant(answer));
    let state = Recorder::shared();
    let mut opening = Opening::new(&state);
    opening.inputs.push(input(&[
        Field::required("k", DataType::Utf8),
        Field::required("a", DataType::Int64),
    ]));
    let wasm = guest.build();
    let open = || opening.keyed(&Bench::new(), &wasm).unwrap();
    let other = crate::batch(vec![texts(&[Some("x"), Some("x")]), ints(&[50, 60])]);
    let call = |source: [u8; 3]| {
        let mut call = call();
        call.keys = vec![texts(&[Some("x")])];
        call.until = vec![0];
        call.states = vec![vec![ints(&[10]), texts(&[None])]];
        call.inputs = vec![rows().select(&[0, 1]), other.clone()];
        call.timers = DueTimers::default();
        call.events = Events {
            offsets: vec![0, 3],
            source: source.to_vec(),
            index: vec![0, 0, 1],
        };
        call
    };
    let outputs = open().process(&call([0, 1, 0])).unwrap();
    assert_eq!(
        outputs.outputs[0].columns[0],
        KeyedColumn::Input(0),
        "column a of the first"
    );
    let fault = open().process(&call([1, 0, 1])).unwrap_err();
    assert_eq!(
        fault.message,
        "the plugin returned column \"a\": input column \"k: utf8\" for output column \"a: int64\", which is of another \
         type"
    );
    let fault = open().process(&call([0, 0, 1])).unwrap_err();
    assert_eq!(
        fault.message,
        "the plugin returned column \"a\": an input column for rows that come from more than one input"
    );
}

/// Answers with the number of calls that the instance has had, as the tag of a timer.
fn counting() -> Vec<u8> {
    let mut guest = Guest::keyed(1);
    let image = &mut guest.image;
    let tag = image.put(&0_i64.to_le_bytes());
    let answer = [
        words(&[0, 0, 0, 0, 0, 0, 0]),
        image.buffer(&words(&[0])),
        image.buffer(&words(&[1])),
        words(&[tag, 8]),
        image.buffer(&int64_bytes(&[0])),
        image.buffer(&[0]),
        words(&[0, 0]),
    ]
    .concat();
    let answer = image.put(&answer);
    guest.function(
        "process",
        1,
        &format!(
            "(i64.store (i32.const {tag}) (i64.add (i64.load (i32.const {tag})) (i64.const 1))) (i32.const {answer})"
        ),
    );
    guest.build()
}

#[test]
fn an_instance_lives_as_long_as_is_asked_for() {
    let tags = |isolation| {
        let bench = Bench::with(Settings {
            purity_check_every: None,
            ..settings()
        });
        let state = Recorder::shared();
        let mut opening = Opening::new(&state);
        opening.isolation = isolation;
        let mut keyed = opening.keyed(&bench, &counting()).unwrap();
        [0; 3].map(|_| keyed.process(&call()).unwrap().timers[0].tag)
    };
    assert_eq!(tags(Isolation::Instance), [1, 2, 3]);
    assert_eq!(tags(Isolation::Call), [1, 1, 1]);
}

#[test]
fn what_depends_on_earlier_calls_is_impure() {
    let bench = Bench::with(Settings {
        purity_check_every: NonZeroU32::new(2),
        ..settings()
    });
    let state = Recorder::shared();
    let mut keyed = Opening::new(&state).keyed(&bench, &counting()).unwrap();
    keyed.process(&call()).unwrap();
    let fault = keyed.process(&call()).unwrap_err();
    assert_eq!(fault.guest.unwrap().kind, GuestFault::Impure);
    assert_eq!(
        state.borrow().log.last().map(String::as_str),
        Some("begin"),
        "nothing of it stays"
    );
}

#[test]
fn a_plugin_that_migrates_runs() {
    let (guest, expect) = full_answer();
    let migrate = "(func (export \"wasmill:operator/migration@0.1.0#migrate\")
        (param i32 i32 i32 i32 i32 i32 i32 i32 i32 i32 i32) (result i32) (unreachable))";
    let wasm = guest.build_with(&[contract()], "keyed-migrating", migrate);
    let state = Recorder::shared();
    let mut keyed = Opening::new(&state).keyed(&Bench::new(), &wasm).unwrap();
    assert_eq!(keyed.process(&call()).unwrap(), expect);
}

#[test]
fn fuel_counts_by_event_and_a_fault_names_them() {
    let mut guest = Guest::keyed(1);
    guest.function("process", 1, "(loop $again (br $again)) (unreachable)");
    let state = Recorder::shared();
    let mut opening = Opening::new(&state);
    opening.blames_rows = true;
    opening.limits = Limits {
        deadline: Micros::from_secs(3600),
        fuel_per_row: 10_000,
        ..Limits::default()
    };
    let mut keyed = opening.keyed(&Bench::new(), &guest.build()).unwrap();
    let detail = keyed.process(&call()).unwrap_err().guest.unwrap();
    assert_eq!(
        (detail.kind, detail.function, detail.rows),
        (GuestFault::Fuel, "process", 5)
    );
    assert!(detail.may_blame_rows());
}
