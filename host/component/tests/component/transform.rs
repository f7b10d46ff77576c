//! Transforms that behave: what goes in comes out, by reference where it can.

use proptest::prelude::*;
use wasmill_core::batch::{Batch, Hidden, Slot};
use wasmill_core::column::{Column, Value};
use wasmill_core::fault::GuestFault;
use wasmill_core::id::{NodeId, PartitionName};
use wasmill_core::order::{Order, source_origin};
use wasmill_core::plugin::Limits;
use wasmill_core::schema::{DataType, Field};
use wasmill_core::transform::{Reject, Transform, Transformed};
use wasmill_core::watermark::RowWatermarks;

use crate::guest::{FieldText, Guest, Image, computed, constant, input};
use crate::{Bench, batch, column, ints, ints_schema};

/// A transform over `schema` that answers with what `answer` lays out.
fn answering(
    schema: &[Field],
    needs: &[&str],
    outputs: &[FieldText<'_>],
    answer: impl FnOnce(&mut Image) -> u32,
) -> Box<dyn Transform> {
    let mut guest = Guest::transform(needs, outputs);
    let answer = answer(&mut guest.image);
    guest.process(&constant(answer));
    Bench::new().transform(&guest.build(), schema, &Limits::default(), false)
}

fn only(transformed: Transformed) -> Batch {
    assert!(transformed.rejects.is_empty());
    let [(port, batch)] = <[_; 1]>::try_from(transformed.outputs).unwrap();
    assert_eq!(port, 0);
    batch
}

/// A guest that answers with its first column as it got it.
fn echo(data_type: DataType) -> Box<dyn Transform> {
    let mut guest = Guest::transform(&["a"], &[("a", data_type.name(), true)]);
    let body = guest.echo(0);
    guest.process(&body);
    let schema = [Field::nullable("a", data_type)];
    Bench::new().transform(&guest.build(), &schema, &Limits::default(), false)
}

fn values(data_type: DataType) -> Vec<Value<'static>> {
    match data_type {
        DataType::Boolean => [true, false, true].map(Value::Boolean).to_vec(),
        DataType::Int64 => [i64::MIN, -1, i64::MAX].map(Value::Int64).to_vec(),
        DataType::Float64 => [-0.0, f64::INFINITY, f64::NAN].map(Value::Float64).to_vec(),
        DataType::Utf8 => ["", "a", "\u{1F600}\u{e9}"].map(Value::Utf8).to_vec(),
        DataType::Binary => [&b""[..], b"\xFF\0", b"x"].map(Value::Binary).to_vec(),
        DataType::Timestamp => [0, -5, 1 << 50].map(Value::Timestamp).to_vec(),
        DataType::Json => ["{}", "[1, 2]", "null"].map(Value::Json).to_vec(),
    }
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 24, failure_persistence: None, ..ProptestConfig::default() })]

    /// Any rows of any type, with nulls, sliced at any place and under any selection, come back as they went.
    #[test]
    fn columns_cross_and_come_back(
        data_type in prop::sample::select(DataType::ALL.to_vec()),
        picks in prop::collection::vec(prop::option::of(0_usize..3), 1..80),
        (from, to) in (0_usize..40, 0_usize..40),
        keep in prop::collection::vec(any::<bool>(), 80),
    ) {
        let choices = values(data_type);
        let whole: Vec<Value<'_>> = picks.iter().map(|pick| pick.map_or(Value::Null, |i| choices[i])).collect();
        let whole = column(data_type, &whole);
        let (from, to) = (from.min(whole.len()), whole.len() - to.min(whole.len()));
        let slice = whole.slice(from.min(to), to.max(from) - from.min(to));
        let selection: Vec<u32> = (0..slice.len() as u32).filter(|&i| keep[i as usize]).collect();
        let given = batch(vec![slice]);
        let mut echo = echo(data_type);
        for given in [given.clone(), given.select(&selection)] {
            if given.is_empty() {
                continue;
            }
            let got = only(echo.process(0, &given).unwrap());
            prop_assert_eq!(&*got.column(0), &*given.column(0));
            prop_assert_eq!(got.times(), given.times());
        }
    }
}

#[test]
fn an_ascending_selection_copies_nothing() {
    let schema = ints_schema();
    let mut filter = answering(&schema, &[], &[("a", "int64", false), ("b", "int64", false)], |image| {
        let doubled = image.int64s(&[20, 60]);
        let output = image.output(0, Some(&[1, 3]), &[input(0), computed(doubled)]);
        image.outputs(&[output], &[])
    });
    let given = batch(vec![ints(&[0, 10, 20, 30])]);
    let got = only(filter.process(0, &given).unwrap());
    assert_eq!((&*got.column(0), &*got.column(1)), (&ints(&[10, 30]), &ints(&[20, 60])));
    assert_eq!(&*got.times(), &[1001, 1003]);
    assert!(matches!(&got.slots()[0], Slot::Base(c) if c.len() == 4), "shared");

    // The same guest over rows that a filter before it has selected.
    let got = only(
        filter
            .process(0, &batch(vec![ints(&[9, 0, 9, 10, 20, 30])]).select(&[1, 3, 4, 5]))
            .unwrap(),
    );
    assert_eq!((&*got.column(0), &*got.column(1)), (&ints(&[10, 30]), &ints(&[20, 60])));
    assert_eq!(&*got.times(), &[1003, 1005]);
}

#[test]
fn repeated_rows_get_places_of_their_own() {
    let mut flat_map = answering(&ints_schema(), &[], &[("a", "int64", false)], |image| {
        let output = image.output(0, Some(&[1, 1, 0]), &[input(0)]);
        image.outputs(&[output], &[])
    });
    let order = Order::Positions {
        origin: source_origin(&NodeId::new("s"), &PartitionName::new("p")),
        positions: vec![7, 8].into(),
    };
    let hidden = Hidden {
        times: vec![1, 2].into(),
        watermarks: RowWatermarks::Constant(0),
        order: Some(order.clone()),
        kinds: None,
    };
    let given = Batch::new(vec![Slot::Base(ints(&[5, 6]))], hidden);
    let got = only(flat_map.process(0, &given).unwrap());
    assert_eq!(*got.column(0), ints(&[6, 6, 5]));
    assert_eq!(&*got.times(), &[2, 2, 1]);
    assert_eq!(*got.order().unwrap(), order.children(&[1, 1, 0]));
}

#[test]
fn all_rows_selected_is_the_batch_itself_and_no_rows_is_no_output() {
    let given = batch(vec![ints(&[5, 6])]);
    let process = |rows: &[u32]| {
        let mut guest = answering(&ints_schema(), &[], &[("a", "int64", false)], |image| {
            let output = image.output(0, Some(rows), &[input(0)]);
            image.outputs(&[output], &[])
        });
        guest.process(0, &given).unwrap()
    };
    assert_eq!(only(process(&[0, 1])), given);
    assert!(process(&[]).outputs.is_empty());
}

#[test]
fn columns_that_nobody_reads_are_absent_and_not_looked_at() {
    let bench = Bench::new();
    let mut guest = Guest::transform(
        &[],
        &[("a", "int64", false), ("b", "utf8", false), ("c", "utf8", false)],
    );
    let broken = guest.image.column(None, &[], b"no offsets");
    let fine = guest.image.column(None, &[0, 1, 3], b"xyz");
    let output = guest
        .image
        .output(0, None, &[input(0), computed(broken), computed(fine)]);
    let answer = guest.image.outputs(&[output], &[]);
    guest.process(&constant(answer));
    let (plugin, description) = bench
        .describe(&guest.build(), &ints_schema(), &Limits::default())
        .unwrap();
    let open = |live: &[bool]| {
        let live = [live.to_vec()];
        bench
            .open(&plugin, &ints_schema(), &description, &Limits::default(), false, &live)
            .unwrap()
    };
    let got = only(
        open(&[false, false, true])
            .process(0, &batch(vec![ints(&[1, 2])]))
            .unwrap(),
    );
    assert!(matches!(got.slots(), [Slot::Absent, Slot::Absent, Slot::Base(_)]));

    // The planner prunes what the guest does not need and nobody reads.
    let hidden = batch(vec![ints(&[1, 2])]).hidden().clone();
    let pruned = Batch::new(vec![Slot::Absent], hidden);
    assert_eq!(only(open(&[false, false, true]).process(0, &pruned).unwrap()).rows(), 2);

    let fault = open(&[true; 3]).process(0, &batch(vec![ints(&[1, 2])])).unwrap_err();
    assert_eq!(fault.guest.unwrap().kind, GuestFault::Contract);
}

#[test]
fn a_reference_is_to_a_needed_column_or_to_one_of_the_same_name_and_type() {
    let schema = vec![
        Field::required("a", DataType::Int64),
        Field::nullable("b", DataType::Int64),
        Field::required("s", DataType::Utf8),
    ];
    let given = || {
        let b = column(DataType::Int64, &[Value::Int64(1), Value::Null]);
        let s = column(DataType::Utf8, &["x", "y"].map(Value::Utf8));
        batch(vec![ints(&[1, 2]), b, s])
    };
    let refer = |needs: &[&str], field: FieldText<'_>, index: u32, rows: &[u32]| {
        let mut guest = answering(&schema, needs, &[field], |image| {
            let output = image.output(0, Some(rows), &[input(index)]);
            image.outputs(&[output], &[])
        });
        let result = guest.process(0, &given());
        result
            .map(|got| only(got).column(0).into_owned())
            .map_err(|fault| fault.message)
    };
    let all = [0, 1];
    assert_eq!(refer(&[], ("a", "int64", false), 0, &all), Ok(ints(&[1, 2])));
    assert_eq!(refer(&["a"], ("c", "int64", false), 0, &all), Ok(ints(&[1, 2])));
    assert_eq!(
        refer(&["s"], ("c", "int64", false), 0, &all).unwrap_err(),
        "the plugin returned input column \"a\" for output column \"c\", but it did not ask for it in its description"
    );
    assert_eq!(
        refer(&["s"], ("s", "int64", false), 2, &all).unwrap_err(),
        "the plugin returned input column \"s: utf8\" for output column \"s: int64\", which is of another type"
    );
    assert_eq!(
        refer(&["b"], ("b", "int64", false), 1, &all).unwrap_err(),
        "the plugin returned column \"b\": null in a column that is not nullable"
    );
    assert_eq!(
        refer(&["b"], ("b", "int64", false), 1, &[0]),
        Ok(ints(&[1])),
        "the row with the null is not selected"
    );
}

#[test]
fn a_violation_names_the_row_of_the_input() {
    let mut guest = answering(&ints_schema(), &[], &[("a", "utf8", false)], |image| {
        let text = image.column(None, &[0, 1, 2], b"a\xFF");
        let output = image.output(0, Some(&[1, 3]), &[computed(text)]);
        image.outputs(&[output], &[])
    });
    let fault = guest.process(0, &batch(vec![ints(&[0; 4])])).unwrap_err();
    assert_eq!(fault.guest.unwrap().row, Some(3));
}

#[test]
fn rejects_stand_beside_the_outputs() {
    let mut guest = answering(&ints_schema(), &[], &[("a", "int64", false)], |image| {
        let output = image.output(0, Some(&[0, 2]), &[input(0)]);
        let reject = image.reject(1, "negative");
        image.outputs(&[output], &[reject])
    });
    let got = guest.process(0, &batch(vec![ints(&[1, -1, 3])])).unwrap();
    assert_eq!(*got.outputs[0].1.column(0), ints(&[1, 3]));
    let message = "negative".to_owned();
    assert_eq!(got.rejects, [Reject { row: 1, message }]);
}

#[test]
fn a_new_event_time_moves_the_watermark_by_its_lag_and_rejects_what_is_earlier() {
    let bench = Bench::new();
    let mut guest = Guest::new("transform", "transformer");
    let inputs = [guest.image.requirement(&["a"], false)];
    let ports = [guest
        .image
        .port("out", &[("when", "int64", false), ("a", "int64", false)], false)];
    let description = guest.image.description(&inputs, &ports, Some(("when", 100)));
    let done = guest.image.done();
    // Rows 0 to 3 have event times 1000 to 1003; row 2 comes twice, once too early.
    let when = guest.image.int64s(&[2000, 901, 902, 901, 903]);
    let output = guest
        .image
        .output(0, Some(&[0, 1, 2, 2, 3]), &[computed(when), input(0)]);
    let answer = guest.image.outputs(&[output], &[]);
    guest
        .function("describe", 4, &constant(description))
        .function("open", 4, &constant(done))
        .process(&constant(answer));
    let wasm = guest.build();
    let (plugin, description) = bench.describe(&wasm, &ints_schema(), &Limits::default()).unwrap();
    for live in [true, false] {
        let mut transform = bench
            .open(
                &plugin,
                &ints_schema(),
                &description,
                &Limits::default(),
                false,
                &[vec![live, true]],
            )
            .unwrap();
        let got = transform.process(0, &batch(vec![ints(&[10, 11, 12, 13])])).unwrap();
        let [(0, out)] = &got.outputs[..] else {
            panic!("one output")
        };
        assert_eq!(*out.column(1), ints(&[10, 11, 13]));
        assert_eq!(&*out.times(), &[2000, 901, 903]);
        assert_eq!(*out.watermarks(), RowWatermarks::Constant(800));
        assert_eq!(matches!(out.slots()[0], Slot::Absent), !live);
        let message = "its new event time 1970-01-01T00:00:00.000901Z is more than 100us before \
                       1970-01-01T00:00:00.001002Z";
        let message = message.to_owned();
        assert_eq!(got.rejects, [Reject { row: 2, message }]);
    }
}

#[test]
fn a_call_takes_a_bounded_input_and_more_is_cut() {
    let rows = 5 << 20;
    let values: Vec<i64> = (0..rows).collect();
    let given = batch(vec![Column::Int64(values.into())]);
    let limits = Limits {
        memory_bytes: 256 << 20,
        output_bytes: 256 << 20,
        output_rows: u32::MAX,
        ..Limits::default()
    };
    let mut guest = Guest::transform(&["a"], &[("a", "int64", false)]);
    let body = guest.echo(0);
    guest.process(&body);
    let bench = Bench::with(wasmill_component::Settings {
        purity_check_every: None,
        ..crate::settings()
    });
    let mut echo = bench.transform(&guest.build(), &ints_schema(), &limits, false);
    let got = echo.process(0, &given).unwrap();
    assert_eq!(got.outputs.len(), 4, "of 10 MiB each");
    let mut next = 0;
    for (_, part) in &got.outputs {
        let part = part.column(0).into_owned();
        let Column::Int64(part) = part else { panic!("integers") };
        assert!(part.values().iter().zip(next..).all(|(&value, expect)| value == expect));
        next += part.values().len() as i64;
    }
    assert_eq!(next, rows);
}

#[test]
fn kinds_of_a_changelog_cross_and_are_inherited_or_said_anew() {
    let changes = |kinds: &[u8]| {
        let hidden = Hidden {
            times: (0..3).collect::<Vec<i64>>().into(),
            watermarks: RowWatermarks::Constant(0),
            order: None,
            kinds: Some(kinds.to_vec().into()),
        };
        Batch::new(vec![Slot::Base(ints(&[10, 20, 30]))], hidden)
    };
    // Three outputs: on changelog ports the kinds of the rows, and others; on another port none.
    let mut guest = Guest::new("transform", "transformer");
    let image = &mut guest.image;
    let inputs = [[image.requirement(&["a"], false)[..9].to_vec(), vec![1, 0, 0]].concat()];
    let ports = [
        image.port("out", &[("a", "int64", false)], true),
        image.port("said", &[("a", "int64", false)], true),
        image.port("plain", &[("a", "int64", false)], false),
    ];
    let description = image.description(&inputs, &ports, None);
    let inherited = image.output(0, Some(&[2, 0]), &[input(0)]);
    let kinds = image.buffer(&[3, 0]);
    let mut said = image.output(1, Some(&[0, 2]), &[input(0)]);
    said[16..24].copy_from_slice(&kinds);
    let plain = image.output(2, Some(&[1, 2]), &[input(0)]);
    let answer = image.outputs(&[inherited, said, plain], &[]);
    let done = image.done();
    guest
        .function("describe", 4, &constant(description))
        .function("open", 4, &constant(done))
        .process(&format!(
            // The kinds of the batch are its third buffer: of a changelog there are some.
            "(if (i32.ne (local.get $5) (i32.const 3)) (then (unreachable))) (i32.const {answer})"
        ));
    let bench = Bench::new();
    let plugin = bench.load(&guest.build()).unwrap();
    let inputs = [wasmill_core::transform::InputDescription {
        changelog: true,
        ..crate::input(&ints_schema())
    }];
    let limits = Limits::default();
    let description = wasmill_core::plugin::Describer::transform(&bench.host, &plugin, "{}", &inputs, &limits).unwrap();
    assert!(description.inputs[0].changelog && description.outputs[0].changelog);
    let placement = wasmill_component::Placement {
        node: &NodeId::new("op"),
        plugin: &plugin,
        config: "{}",
        limits: &limits,
        fault_may_blame_rows: false,
        isolation: wasmill_component::Isolation::Call,
    };
    let live = [vec![true], vec![true], vec![true]];
    let mut transform = bench.host.transform(&placement, &inputs, &description, &live).unwrap();
    let outputs = transform.process(0, &changes(&[1, 2, 3])).unwrap().outputs;
    let shown: Vec<_> = outputs
        .iter()
        .map(|(port, batch)| {
            (
                *port,
                batch.column(0).into_owned(),
                batch.kinds().map(|kinds| kinds.to_vec()),
            )
        })
        .collect();
    assert_eq!(
        shown,
        [
            (0, ints(&[30, 10]), Some(vec![3, 1])),
            (1, ints(&[10, 30]), Some(vec![3, 0])),
            (2, ints(&[20, 30]), None),
        ]
    );
}
