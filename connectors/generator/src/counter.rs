//! The numbers from 0, a millisecond apart.

use wasmill_core::column::{Column, ColumnBuilder, Value};
use wasmill_core::schema::{DataType, Field, Schema};

const MICROS_PER_ROW: i64 = 1_000;

/// `number` and `time`.
pub(crate) fn schema() -> Schema {
    Schema::new(vec![
        Field::required("number", DataType::Int64),
        Field::required("time", DataType::Timestamp),
    ])
    .expect("the names differ")
}

/// The columns that something reads.
pub(crate) fn columns(start: i64, numbers: &(impl Iterator<Item = u64> + Clone), live: &[bool]) -> Vec<Option<Column>> {
    let column = |place: usize, data_type, value: &dyn Fn(i64) -> Value<'static>| {
        live[place].then(|| {
            let mut builder = ColumnBuilder::new(data_type, numbers.size_hint().0);
            for number in numbers.clone() {
                builder.push(value(i64::try_from(number).unwrap_or(i64::MAX)));
            }
            builder.finish()
        })
    };
    vec![
        column(0, DataType::Int64, &Value::Int64),
        column(1, DataType::Timestamp, &|number| {
            Value::Timestamp(start.saturating_add(number.saturating_mul(MICROS_PER_ROW)))
        }),
    ]
}
