//! The lookup join, against every row of the table beside every row that comes.

use std::sync::Arc;

use proptest::prelude::*;
use wasmill_core::batch::{Batch, Hidden, Slot};
use wasmill_core::column::{ColumnBuilder, Scalar};
use wasmill_core::id::NodeId;
use wasmill_core::operator::{Operator, Step};
use wasmill_core::order::Order;
use wasmill_core::plan::{
    ConnectorRef, LookupNode, OnInvalid, SourceColumn, SourceNode, SourceTime, Stream, WatermarkSpec, WatermarkStrategy,
};
use wasmill_core::schema::{DataType, Field, Schema};
use wasmill_core::time::{Micros, Timestamp};
use wasmill_core::watermark::RowWatermarks;
use wasmill_operators::{Lookup, LookupTable, SharedTable};

use super::harness::stream;

fn fields(prefix: &str) -> Vec<Field> {
    vec![
        Field::nullable(format!("{prefix}id"), DataType::Int64),
        Field::nullable(format!("{prefix}name"), DataType::Utf8),
    ]
}

/// A join by both columns, or by the first.
fn plan(both: bool, keeps_unmatched: bool) -> LookupNode {
    let schema = Schema::new(fields("t_")).expect("the names differ");
    let columns = schema.fields().iter().map(|field| SourceColumn {
        field: field.clone(),
        path: vec![field.name.to_string()],
        timestamp: None,
    });
    LookupNode {
        on: if both { vec![(0, 0), (1, 1)] } else { vec![(0, 0)] },
        keeps_unmatched,
        table: SourceNode {
            connector: ConnectorRef {
                name: "none".into(),
                config: serde_json::Value::Null,
            },
            format: None,
            columns: columns.collect(),
            metadata: Vec::new(),
            time: SourceTime::Ingestion,
            watermark: WatermarkSpec {
                strategy: WatermarkStrategy::BoundedOutOfOrderness { delay: Micros::ZERO },
                max_ahead: None,
                align: None,
                idle_after: None,
            },
            on_invalid: OnInvalid::Fail,
            validate_all: false,
        },
        schema,
        refresh: None,
        columns: vec![1, 0],
    }
}

type Values = (Option<i64>, Option<String>);

fn batch(rows: &[Values], first_time: i64) -> Batch {
    let mut ids = ColumnBuilder::new(DataType::Int64, rows.len());
    let mut names = ColumnBuilder::new(DataType::Utf8, rows.len());
    for (id, name) in rows {
        ids.push(id.map_or(Scalar::Null, Scalar::Int64).as_value());
        names.push(name.clone().map_or(Scalar::Null, Scalar::Utf8).as_value());
    }
    let times: Vec<i64> = (first_time..).take(rows.len()).collect();
    let places: Vec<[u8; 8]> = times.iter().map(|time| time.to_be_bytes()).collect();
    let hidden = Hidden {
        watermarks: RowWatermarks::from_values(&times),
        times: times.into(),
        order: Some(Order::from_places(places.iter().map(<[u8; 8]>::as_slice))),
        kinds: None,
    };
    Batch::new(vec![Slot::Base(ids.finish()), Slot::Base(names.finish())], hidden)
}

fn output(schema: Vec<Field>) -> Stream {
    stream(schema, false)
}

/// Time, place, the four columns.
type Out = (i64, Vec<u8>, Vec<Scalar>);

fn shown(out: &[(usize, Batch)]) -> Vec<Out> {
    let rows = out.iter().flat_map(|(port, batch)| {
        assert_eq!(*port, 0);
        let order = batch.order().expect("places").into_owned();
        (0..batch.rows()).map(move |row| {
            let mut place = Vec::new();
            order.write(row, &mut place);
            assert_eq!(batch.watermarks().at(row), batch.time(row));
            let values = (0..4).map(|column| Scalar::from(batch.column(column).value(row)));
            (batch.time(row), place, values.collect())
        })
    });
    rows.collect()
}

fn expected(table: &[Values], rows: &[Values], both: bool, keeps_unmatched: bool) -> Vec<Out> {
    let scalars = |(id, name): &Values| {
        let name = name.clone().map_or(Scalar::Null, Scalar::Utf8);
        [id.map_or(Scalar::Null, Scalar::Int64), name]
    };
    let mut out = Vec::new();
    for (time, row) in (0_i64..).zip(rows) {
        let equal =
            |other: &&Values| row.0.is_some() && row.0 == other.0 && (!both || row.1.is_some() && row.1 == other.1);
        let mut matches: Vec<[Scalar; 2]> = table.iter().filter(equal).map(scalars).collect();
        if matches.is_empty() && keeps_unmatched {
            matches.push([Scalar::Null, Scalar::Null]);
        }
        for (child, [id, name]) in (0_u32..).zip(matches) {
            let place = [&time.to_be_bytes()[..], &child.to_be_bytes()].concat();
            let [own_id, own_name] = scalars(row);
            out.push((time, place, vec![own_id, own_name, name, id]));
        }
    }
    out
}

fn values() -> impl Strategy<Value = Vec<Values>> {
    proptest::collection::vec((prop::option::of(0..4_i64), prop::option::of("[a-b]{0,1}")), 0..20)
}

proptest! {
    #[test]
    fn a_row_comes_out_with_every_equal_row_of_the_table_in_its_order(
        table in values(),
        rows in values(),
        (cut, table_cut) in (0..20_usize, 0..20_usize),
        (both, keeps_unmatched) in (any::<bool>(), any::<bool>()),
    ) {
        let plan = plan(both, keeps_unmatched);
        let (first, second) = table.split_at(table_cut.min(table.len()));
        let built = LookupTable::new(&plan, &[batch(first, 0), batch(second, 0)]).expect("few rows");
        let output = output([fields(""), vec![fields("t_")[1].clone(), fields("t_")[0].clone()]].concat());
        let mut lookup = Lookup::new(NodeId::new("lookup"), &plan, &output, Arc::new(SharedTable::new(built)));
        let (head, tail) = rows.split_at(cut.min(rows.len()));
        let mut out: Vec<(usize, Batch)> = Vec::new();
        lookup.batch(0, batch(head, 0), &mut out).expect("no fault");
        lookup.batch(0, batch(tail, head.len() as i64), &mut out).expect("no fault");
        prop_assert_eq!(shown(&out), expected(&table, &rows, both, keeps_unmatched));
    }
}

#[test]
fn a_table_is_replaced_as_a_whole() {
    let plan = plan(false, false);
    let table = |name: &str| {
        let rows = [(Some(1), Some(name.to_owned()))];
        LookupTable::new(&plan, &[batch(&rows, 0)]).expect("few rows")
    };
    let output = output([fields(""), vec![fields("t_")[1].clone(), fields("t_")[0].clone()]].concat());
    let shared = Arc::new(SharedTable::new(table("old")));
    let mut lookup = Lookup::new(NodeId::new("lookup"), &plan, &output, Arc::clone(&shared));
    let mut names = Vec::new();
    for next in [None, Some("new")] {
        if let Some(name) = next {
            shared.replace(table(name));
        }
        let mut out: Vec<(usize, Batch)> = Vec::new();
        lookup
            .batch(0, batch(&[(Some(1), None)], 0), &mut out)
            .expect("no fault");
        names.extend(shown(&out).into_iter().map(|row| row.2[2].clone()));
    }
    assert_eq!(names, [Scalar::Utf8("old".into()), Scalar::Utf8("new".into())]);
}

#[test]
fn a_call_gives_one_slice_and_the_rest_comes_out_when_it_is_called_again() {
    const SLICE_ROWS: usize = 4_096;
    let plan = plan(false, true);
    let table: Vec<Values> = (0..10_000).map(|number| (Some(1), Some(number.to_string()))).collect();
    let rows = [(Some(2), None), (Some(1), None), (Some(1), None), (None, None)];
    let output = output([fields(""), vec![fields("t_")[1].clone(), fields("t_")[0].clone()]].concat());
    let built = LookupTable::new(&plan, &[batch(&table, 0)]).expect("few rows");
    let shared = Arc::new(SharedTable::new(built));
    for by_clock in [true, false] {
        let mut lookup = Lookup::new(NodeId::new("lookup"), &plan, &output, Arc::clone(&shared));
        let mut out: Vec<(usize, Batch)> = Vec::new();
        lookup.batch(0, batch(&rows[..2], 0), &mut out).expect("no fault");
        assert_eq!(out.len(), 1);
        // What comes in between comes out in its turn.
        lookup.batch(0, batch(&rows[2..], 2), &mut out).expect("no fault");
        assert_eq!(out.len(), 1);
        assert!(lookup.save(&mut Vec::new()).is_err(), "rows would be lost");
        let mut calls = 1;
        loop {
            assert_eq!(lookup.wake_at(), Some(Timestamp::MIN));
            let step = if by_clock {
                lookup.clock(Timestamp(0), &mut out)
            } else {
                lookup.watermark(Timestamp(2), &mut out)
            };
            calls += 1;
            assert!(out.len() <= calls, "a batch a call");
            if step.expect("no fault") == Step::Done {
                break;
            }
        }
        assert_eq!(lookup.wake_at(), None);
        lookup.save(&mut Vec::new()).expect("nothing is left");
        // 10,001 rows of each batch.
        let sizes: Vec<usize> = out.iter().map(|(_, batch)| batch.rows()).collect();
        let rest = 10_001 - 2 * SLICE_ROWS;
        assert_eq!(sizes, [SLICE_ROWS, SLICE_ROWS, rest, SLICE_ROWS, SLICE_ROWS, rest]);
        assert_eq!(shown(&out), expected(&table, &rows, false, true));
    }
}
