//! The aggregates oracle: each function over all its values at once.
//!
//! Sums of floats are exact only for multiples of 2^-20 below 2^40, which tests choose; the sketches are not here.

use std::collections::BTreeMap;
use std::fmt::Write;

use wasmill_core::aggregate::Builtin;
use wasmill_core::column::{Scalar, Value};
use wasmill_core::key;

use crate::Row;

/// A unit that all floats of a test are multiples of.
const UNIT: f64 = 1.0 / (1 << 20) as f64;

/// The result of an exact built-in aggregate over rows in event-time order.
///
/// # Panics
/// The function is a sketch, or its column has another type than it takes.
pub fn evaluate(function: &Builtin, rows: &[&Row]) -> Scalar {
    let values = |column: usize| -> Vec<&Scalar> {
        let values = rows.iter().map(|row| &row.values[column]);
        values.filter(|value| **value != Scalar::Null).collect()
    };
    let first = |value: Option<&&Scalar>| value.map_or(Scalar::Null, |value| (*value).clone());
    match *function {
        Builtin::Count(None) => Scalar::Int64(rows.len() as i64),
        Builtin::Count(Some(column)) => Scalar::Int64(values(column).len() as i64),
        Builtin::Sum(column) => sum(&values(column)),
        Builtin::Avg(column) => average(&values(column)),
        Builtin::Min(column) => first(values(column).iter().min_by_key(|value| encoded(value))),
        Builtin::Max(column) => first(values(column).iter().max_by_key(|value| encoded(value))),
        Builtin::First(column) => first(values(column).first()),
        Builtin::Last(column) => first(values(column).last()),
        Builtin::TopK(column, k) => top(&values(column), k as usize),
        Builtin::ArrayAgg(column) => array(&values(column)),
        Builtin::Stddev(column) => deviation(&values(column)),
        Builtin::CountDistinct(_) | Builtin::Quantile(..) => panic!("a sketch has no exact result"),
    }
}

fn encoded(value: &Scalar) -> Vec<u8> {
    let mut bytes = Vec::new();
    key::encode(value.as_value(), &mut bytes);
    bytes
}

/// A number in units of 2^-20.
fn units(value: &Scalar) -> i128 {
    match value {
        Scalar::Int64(v) => i128::from(*v) << 20,
        Scalar::Float64(v) => (v / UNIT) as i128,
        other => panic!("not a number: {other:?}"),
    }
}

fn sum(values: &[&Scalar]) -> Scalar {
    let total: i128 = values.iter().map(|value| units(value)).sum();
    match values.first() {
        None => Scalar::Null,
        Some(Scalar::Int64(_)) => Scalar::Int64((total >> 20) as i64),
        Some(_) => Scalar::Float64(total as f64 * UNIT),
    }
}

fn average(values: &[&Scalar]) -> Scalar {
    if values.is_empty() {
        return Scalar::Null;
    }
    let total: i128 = values.iter().map(|value| units(value)).sum();
    // Both are exact floats in tests, so the one rounding is the division's.
    Scalar::Float64(total as f64 / values.len() as f64 * UNIT)
}

/// By two passes, which is near enough for a comparison within a tolerance.
fn deviation(values: &[&Scalar]) -> Scalar {
    if values.len() < 2 {
        return Scalar::Null;
    }
    let numbers: Vec<f64> = values.iter().map(|value| units(value) as f64 * UNIT).collect();
    let mean = numbers.iter().sum::<f64>() / numbers.len() as f64;
    let squares: f64 = numbers.iter().map(|x| (x - mean) * (x - mean)).sum();
    Scalar::Float64((squares / (numbers.len() - 1) as f64).sqrt())
}

fn top(values: &[&Scalar], k: usize) -> Scalar {
    let mut counts: BTreeMap<Vec<u8>, (i64, String)> = BTreeMap::new();
    for value in values {
        counts.entry(encoded(value)).or_insert_with(|| (0, text(value))).0 -= 1;
    }
    let mut entries: Vec<(i64, Vec<u8>, String)> = counts.into_iter().map(|(v, (n, text))| (n, v, text)).collect();
    entries.sort();
    let objects = entries
        .iter()
        .take(k)
        .map(|(count, _, text)| format!("{{\"value\":{text},\"count\":{}}}", -count));
    Scalar::Json(format!("[{}]", objects.collect::<Vec<_>>().join(",")))
}

fn array(values: &[&Scalar]) -> Scalar {
    let texts: Vec<String> = values.iter().map(|value| text(value)).collect();
    Scalar::Json(format!("[{}]", texts.join(",")))
}

/// The JSON of a value as tests use them: text without anything to escape.
fn text(value: &Scalar) -> String {
    let mut out = String::new();
    match value.as_value() {
        Value::Utf8(v) => write!(out, "\"{v}\""),
        Value::Int64(v) => write!(out, "{v}"),
        Value::Float64(v) => write!(out, "{v:?}"),
        Value::Boolean(v) => write!(out, "{v}"),
        other => panic!("not used in tests: {other:?}"),
    }
    .expect("a string takes all text");
    out
}
