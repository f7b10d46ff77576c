//! Deduplication and top against their oracles.

use std::num::NonZeroUsize;

use proptest::prelude::*;
use wasmill_core::column::Scalar;
use wasmill_core::id::NodeId;
use wasmill_core::kind::Kind;
use wasmill_core::operator::Operator;
use wasmill_core::order::derived_place;
use wasmill_core::plan::{DeduplicateNode, LATE_PORT, TopNode};
use wasmill_core::schema::{DataType, Field};
use wasmill_core::window::{Alignment, Late, WindowSpec};
use wasmill_operators::{Deduplicate, Subtask, Top};
use wasmill_state::Store;
use wasmill_testkit::Row;
use wasmill_testkit::duplicates;
use wasmill_testkit::partitions::Event;
use wasmill_testkit::tops::{Cause, Ranked, Tops};
use wasmill_testkit::windows::Windows;

use super::harness::{
    Cuts, Emitted, GROUPS, KEY_INT, KEY_TEXT, Setup, TEXT, VALUE, assert_same, cuts, fields, late, partitions, place,
    reading, run, stream,
};
use super::pairs::span;

fn child(row: &Row, number: u32) -> Vec<u8> {
    [place(row, false), number.to_be_bytes().to_vec()].concat()
}

fn subtask(store: Store, slice_rows: usize, memory_bytes: usize) -> Subtask {
    Subtask {
        store,
        memory_bytes,
        slice_rows,
        ..Subtask::in_memory(NodeId::new("node"), GROUPS)
    }
}

fn setup<'a>(make: &'a dyn Fn(Store) -> Box<dyn Operator>, key: &[usize], slice_rows: usize) -> Setup<'a> {
    Setup {
        make,
        key: vec![key.to_vec()],
        input: &|_| 0,
        kind: None,
        slice_rows,
        lag: 0,
        twins: false,
        ends_empty: true,
    }
}

fn check_duplicates(
    key: &[usize],
    horizon: i64,
    rows: &[Row],
    events: &[Event],
    cuts: &Cuts,
    (slice_rows, memory_bytes): (usize, usize),
) {
    let plan = DeduplicateNode {
        key: key.to_vec(),
        horizon: span(horizon),
        late: Late::Port,
    };
    let (input, output) = (stream(fields(), false), stream(fields(), false));
    let make = |store: Store| -> Box<dyn Operator> {
        Box::new(Deduplicate::new(
            subtask(store, slice_rows, memory_bytes),
            &plan,
            &input,
            &output,
        ))
    };
    let found = run(&setup(&make, key, slice_rows), rows, events, cuts);
    let (kept, late_rows) = duplicates::evaluate(rows, key, horizon);
    let kept = kept.into_iter().map(|number| Emitted {
        port: 0,
        time: rows[number].time,
        watermark: rows[number].time,
        place: child(&rows[number], 0),
        kind: Kind::Insert,
        values: rows[number].values.clone(),
    });
    let late_rows = late_rows
        .into_iter()
        .map(|number| late(&rows[number], LATE_PORT, Kind::Insert, false));
    assert_same(found, kept.chain(late_rows).collect());
}

fn top_plan(tops: &Tops) -> TopNode {
    let window = tops.windows.as_ref().map(|of| {
        let alignment = Alignment {
            offset: span(of.offset),
            time_zone: None,
        };
        if of.cumulative {
            WindowSpec::Cumulative {
                size: span(of.size),
                step: span(of.every),
                alignment,
            }
        } else if of.size == of.every {
            WindowSpec::Tumbling {
                size: span(of.size),
                alignment,
            }
        } else {
            WindowSpec::Sliding {
                size: span(of.size),
                every: span(of.every),
                alignment,
            }
        }
    });
    TopNode {
        key: tops.key.clone(),
        n: NonZeroUsize::new(tops.n).expect("at least one row"),
        by: tops.by,
        descending: tops.descending,
        window,
        rank: tops.rank,
        late: Late::Port,
    }
}

fn check_top(tops: &Tops, rows: &[Row], events: &[Event], cuts: &Cuts, (slice_rows, memory_bytes): (usize, usize)) {
    let plan = top_plan(tops);
    let input = stream(fields(), false);
    let mut columns = fields();
    if tops.windows.is_some() {
        columns.insert(0, Field::required("window_start", DataType::Timestamp));
        columns.insert(1, Field::required("window_end", DataType::Timestamp));
    }
    if tops.rank {
        columns.push(Field::required("rank", DataType::Int64));
    }
    let output = stream(columns, tops.windows.is_none());
    let make = |store: Store| -> Box<dyn Operator> {
        let top = Top::new(subtask(store, slice_rows, memory_bytes), &plan, &input, &output);
        Box::new(top.expect("a known time zone"))
    };
    let setup = Setup {
        // Without a window the first rows are kept for ever.
        ends_empty: tops.windows.is_some(),
        ..setup(&make, &tops.key, slice_rows)
    };
    let found = run(&setup, rows, events, cuts);
    let (ranked, late_rows) = tops.evaluate(rows);
    let ranked = ranked.into_iter().map(|Ranked { row, rank, kind, cause }| {
        let mut values = rows[row].values.clone();
        let (time, place) = match cause {
            Cause::Row(cause, number) => (rows[cause].time, child(&rows[cause], number)),
            Cause::Window(start, end, key) => {
                values.insert(0, Scalar::Timestamp(start));
                values.insert(1, Scalar::Timestamp(end));
                let mut place = Vec::new();
                derived_place(&NodeId::new("node"), &key, end, rank as u32 - 1, &mut place);
                (end - 1, place)
            }
        };
        if tops.rank {
            values.push(Scalar::Int64(rank as i64));
        }
        Emitted {
            port: 0,
            time,
            watermark: time,
            place,
            kind,
            values,
        }
    });
    let late_rows = late_rows
        .into_iter()
        .map(|number| late(&rows[number], LATE_PORT, Kind::Insert, false));
    assert_same(found, ranked.chain(late_rows).collect());
}

fn keys() -> impl Strategy<Value = Vec<usize>> {
    prop::sample::select(vec![vec![KEY_INT], vec![KEY_TEXT], vec![KEY_TEXT, KEY_INT], vec![]])
}

fn bounds() -> impl Strategy<Value = (usize, usize)> {
    (1..6_usize, prop_oneof![3 => Just(usize::MAX), 1 => 0..800_usize])
}

fn windows() -> impl Strategy<Value = Windows> {
    (1..14_i64, 1..9_i64, 0..9_i64, 0..3).prop_map(|(size, every, offset, shape)| Windows {
        size: if shape == 2 { size / 2 * every + every } else { size },
        every: if shape == 0 { size } else { every },
        offset,
        time_zone: None,
        allowed: 0,
        cumulative: shape == 2,
    })
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(300))]

    #[test]
    fn the_first_row_of_a_key_drops_others_for_the_horizon(
        parts in partitions(1..4),
        reading in reading(),
        key in keys(),
        horizon in 1..12_i64,
        cuts in cuts(),
        bounds in bounds(),
    ) {
        let (rows, events) = reading.read(&parts);
        check_duplicates(&key, horizon, &rows, &events, &cuts, bounds);
    }

    #[test]
    fn the_first_rows_by_a_column_come_out(
        parts in partitions(1..4),
        reading in reading(),
        key in keys(),
        n in 1..5_usize,
        by in prop::sample::select(vec![VALUE, TEXT, KEY_INT]),
        windows in prop_oneof![Just(None), windows().prop_map(Some)],
        (descending, rank) in (any::<bool>(), any::<bool>()),
        cuts in cuts(),
        bounds in bounds(),
    ) {
        let (rows, events) = reading.read(&parts);
        let tops = Tops { key, n, by, descending, windows, rank };
        check_top(&tops, &rows, &events, &cuts, bounds);
    }
}
