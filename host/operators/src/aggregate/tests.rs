//! Cells as bytes: what was read goes on as what was never written.

use std::borrow::Cow;

use proptest::prelude::*;
use wasmill_core::aggregate::Builtin;
use wasmill_core::column::{Column, ColumnBuilder, Scalar};
use wasmill_core::order::Order;
use wasmill_core::schema::{DataType, Field, Schema};

use super::{Accumulators, Rows, accumulators};

const INT: usize = 0;
const FLOAT: usize = 1;

const TYPES: [DataType; 6] = [
    DataType::Int64,
    DataType::Float64,
    DataType::Utf8,
    DataType::Binary,
    DataType::Boolean,
    DataType::Timestamp,
];

fn schema() -> Schema {
    let fields = TYPES
        .iter()
        .zip(["int", "float", "text", "binary", "boolean", "timestamp"]);
    Schema::new(
        fields
            .map(|(&data_type, name)| Field::nullable(name, data_type))
            .collect(),
    )
    .expect("the names differ")
}

/// Every function over every type that it takes, with the type of its result.
fn functions() -> Vec<(Builtin, DataType)> {
    let mut functions = vec![
        (Builtin::Sum(INT), DataType::Int64),
        (Builtin::Sum(FLOAT), DataType::Float64),
        (Builtin::Avg(INT), DataType::Float64),
        (Builtin::Avg(FLOAT), DataType::Float64),
        (Builtin::Stddev(INT), DataType::Float64),
        (Builtin::Stddev(FLOAT), DataType::Float64),
        (Builtin::Quantile(INT, 0.3), DataType::Float64),
        (Builtin::Quantile(FLOAT, 0.9), DataType::Float64),
    ];
    for (column, data_type) in TYPES.into_iter().enumerate() {
        functions.extend([
            (Builtin::Count(Some(column)), DataType::Int64),
            (Builtin::Min(column), data_type),
            (Builtin::Max(column), data_type),
            (Builtin::First(column), data_type),
            (Builtin::Last(column), data_type),
            (Builtin::CountDistinct(column), DataType::Int64),
        ]);
        if data_type != DataType::Binary {
            functions.extend([
                (Builtin::TopK(column, 3), DataType::Json),
                (Builtin::ArrayAgg(column), DataType::Json),
            ]);
        }
    }
    functions
}

type Row = (i64, Vec<Scalar>);

fn rows() -> impl Strategy<Value = Vec<Row>> {
    let values = (
        prop_oneof![Just(Scalar::Null), (-5..5_i64).prop_map(Scalar::Int64)],
        prop_oneof![
            Just(Scalar::Null),
            any::<f64>().prop_map(Scalar::Float64),
            prop_oneof![Just(0.5), Just(-0.0), Just(1e300), Just(-1e300), Just(1e-300)].prop_map(Scalar::Float64)
        ],
        prop_oneof![Just(Scalar::Null), "[\0a-cß]{0,3}".prop_map(Scalar::Utf8)],
        prop_oneof![
            Just(Scalar::Null),
            proptest::collection::vec(0..3_u8, 0..3).prop_map(Scalar::Binary)
        ],
        prop_oneof![Just(Scalar::Null), any::<bool>().prop_map(Scalar::Boolean)],
        prop_oneof![Just(Scalar::Null), (0..1_000_000_i64).prop_map(Scalar::Timestamp)],
    );
    let row = (0..10_i64, values).prop_map(|(time, (a, b, c, d, e, f))| (time, vec![a, b, c, d, e, f]));
    proptest::collection::vec(row, 0..8)
}

fn add(cells: &mut dyn Accumulators, rows: &[Row], batch: usize, group: u32) {
    let columns: Vec<Option<Cow<'_, Column>>> = TYPES
        .iter()
        .enumerate()
        .map(|(column, &data_type)| {
            let mut builder = ColumnBuilder::new(data_type, rows.len());
            for row in rows {
                builder.push(row.1[column].as_value());
            }
            Some(Cow::Owned(builder.finish()))
        })
        .collect();
    let times: Vec<i64> = rows.iter().map(|row| row.0).collect();
    let places: Vec<[u8; 2]> = (0..rows.len()).map(|row| [batch as u8, row as u8]).collect();
    let order = Order::from_places(places.iter().map(|place| &place[..]));
    cells.update(&Rows {
        columns: &columns,
        times: &times,
        order: Some(&order),
        chosen: None,
        groups: &vec![group; rows.len()],
    });
}

fn encoded(cells: &dyn Accumulators, group: u32) -> Vec<u8> {
    let mut bytes = Vec::new();
    cells.encode(group, &mut bytes);
    bytes
}

/// The bits of what a group gives, so that one NaN is another.
fn finished(cells: &dyn Accumulators, group: u32, data_type: DataType) -> String {
    let mut out = ColumnBuilder::new(data_type, 1);
    cells.finish(&[group], &mut out).expect("small sums");
    format!("{:?}", out.finish().value(0))
}

proptest! {
    #[test]
    fn cells_that_were_written_and_read_go_on_as_if_they_were_not(
        batches in proptest::collection::vec(rows(), 1..5), other in rows(),
    ) {
        for (function, data_type) in functions() {
            let fresh = accumulators(&function, &schema()).expect("the function has cells");
            let (mut whole, mut merged) = (fresh.fresh(), fresh.fresh());
            whole.grow(1);
            merged.grow(1);
            add(&mut *merged, &other, 99, 0);
            // The other cell stands in another group of another accumulator after each batch.
            let mut moved = fresh.fresh();
            moved.grow(1);
            for (number, batch) in batches.iter().enumerate() {
                add(&mut *whole, batch, number, 0);
                add(&mut *moved, batch, number, number as u32);
                let bytes = encoded(&*moved, number as u32);
                prop_assert_eq!(&bytes, &encoded(&*whole, 0), "{:?}", &function);
                moved = fresh.fresh();
                moved.grow(number + 2);
                let mut with_rest = bytes.clone();
                with_rest.push(7);
                let from = &mut &with_rest[..];
                moved.decode(number as u32 + 1, from).expect("what was written");
                prop_assert_eq!(*from, &[7], "{:?} reads its own bytes only", &function);
                for cut in 0..bytes.len() {
                    prop_assert!(fresh_decode(&*fresh, &bytes[..cut]).is_none(), "{:?} cut at {}", &function, cut);
                }
            }
            let group = batches.len() as u32;
            prop_assert_eq!(finished(&*moved, group, data_type), finished(&*whole, 0, data_type));
            // Merging one that was read, either way around.
            let read = fresh_decode(&*fresh, &encoded(&*merged, 0)).expect("what was written");
            moved.merge(&[group], &*read, &[0]);
            merged.merge(&[0], &*whole, &[0]);
            whole.merge(&[0], &*read, &[0]);
            let expect = finished(&*whole, 0, data_type);
            prop_assert_eq!(finished(&*moved, group, data_type), expect.clone());
            prop_assert_eq!(finished(&*merged, 0, data_type), expect);
        }
    }

    #[test]
    fn damaged_cells_are_faults_or_cells_and_never_panics(
        row in rows(), at: usize, with: u8, noise in proptest::collection::vec(any::<u8>(), 0..40),
    ) {
        for (function, data_type) in functions() {
            let fresh = accumulators(&function, &schema()).expect("the function has cells");
            let mut cells = fresh.fresh();
            cells.grow(1);
            add(&mut *cells, &row, 0, 0);
            let mut bytes = encoded(&*cells, 0);
            let at = at % bytes.len();
            bytes[at] = with;
            for bytes in [&bytes, &noise] {
                if let Some(mut read) = fresh_decode(&*fresh, bytes) {
                    add(&mut *read, &row, 1, 0);
                    read.merge(&[0], &*cells, &[0]);
                    // What it gives is anything, a fault too.
                    let _ = read.finish(&[0], &mut ColumnBuilder::new(data_type, 1));
                }
            }
        }
    }
}

fn fresh_decode(fresh: &dyn Accumulators, bytes: &[u8]) -> Option<Box<dyn Accumulators>> {
    let mut cells = fresh.fresh();
    cells.grow(1);
    cells.decode(0, &mut &bytes[..]).ok().map(|()| cells)
}

#[test]
fn sketches_of_many_values_are_written_and_read() {
    let many: Vec<Row> = (0..5_000_i64)
        .map(|value| {
            let mut values = vec![Scalar::Null; TYPES.len()];
            values[INT] = Scalar::Int64(value * value);
            values[FLOAT] = Scalar::Float64(1.01_f64.powi(value as i32));
            (0, values)
        })
        .collect();
    for (function, data_type) in [
        (Builtin::CountDistinct(INT), DataType::Int64),
        (Builtin::Quantile(FLOAT, 0.1), DataType::Float64),
        (Builtin::TopK(INT, 5), DataType::Json),
    ] {
        let fresh = accumulators(&function, &schema()).expect("the function has cells");
        let mut cells = fresh.fresh();
        cells.grow(1);
        add(&mut *cells, &many, 0, 0);
        let read = fresh_decode(&*fresh, &encoded(&*cells, 0)).expect("what was written");
        assert_eq!(finished(&*read, 0, data_type), finished(&*cells, 0, data_type));
    }
}
