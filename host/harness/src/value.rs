//! Values of test files: read by the type of their column, and written as formats write them.

use std::fmt::Write as _;

use wasmill_connector_api::format::base64;
use wasmill_core::column::{Scalar, Value as Cell};
use wasmill_core::plan::{TimestampFormat, TimestampUnit};
use wasmill_core::schema::DataType;
use wasmill_core::time::Timestamp;
use wasmill_topology::reading::{Item, Problems, Value};

/// A value of a column, or what it should have been.
pub(crate) fn read(item: &Item, data_type: DataType, unit: Option<&TimestampFormat>) -> Result<Scalar, &'static str> {
    match (data_type, &item.value) {
        (DataType::Boolean, Value::Boolean(value)) => Ok(Scalar::Boolean(*value)),
        (DataType::Boolean, _) => Err("true or false"),
        (DataType::Int64, Value::Integer(value)) => Ok(Scalar::Int64(*value)),
        (DataType::Int64, _) => Err("a whole number"),
        (DataType::Float64, Value::Float(value)) => Ok(Scalar::Float64(*value)),
        (DataType::Float64, Value::Integer(value)) => Ok(Scalar::Float64(*value as f64)),
        (DataType::Float64, _) => Err("a number"),
        (DataType::Utf8, Value::String(text)) => Ok(Scalar::Utf8(text.value.clone())),
        (DataType::Utf8, _) => Err("a text in quotes"),
        (DataType::Binary, Value::String(text)) => {
            let mut bytes = Vec::new();
            let decoded = base64::decode(text.value.as_bytes(), &mut bytes);
            decoded.map(|()| Scalar::Binary(bytes)).map_err(|_| "base64 in quotes")
        }
        (DataType::Binary, _) => Err("base64 in quotes"),
        (DataType::Timestamp, Value::Integer(count)) => {
            let Some(TimestampFormat::Unit(unit)) = unit else {
                return Err("a time, as in \"2013-01-01T10:15:00Z\"");
            };
            let micros = match unit {
                TimestampUnit::S => count.checked_mul(1_000_000),
                TimestampUnit::Ms => count.checked_mul(1_000),
                TimestampUnit::Us => Some(*count),
                TimestampUnit::Ns => Some(count.div_euclid(1_000)),
            };
            micros.map(Scalar::Timestamp).ok_or("a time that microseconds can hold")
        }
        (DataType::Timestamp, _) => time(item)
            .map(|time| Scalar::Timestamp(time.0))
            .ok_or("a time, as in \"2013-01-01T10:15:00Z\""),
        (DataType::Json, Value::String(text)) => {
            let parsed: Result<serde_json::Value, _> = serde_json::from_str(&text.value);
            parsed
                .map(|json| Scalar::Json(json.to_string()))
                .map_err(|_| "JSON: a text in JSON, or a table")
        }
        (DataType::Json, _) => item
            .to_json(&Problems::default())
            .map(|json| Scalar::Json(json.to_string()))
            .ok_or("JSON: a text in JSON, or a table"),
    }
}

/// A point in time: TOML's own date and time, or RFC 3339 in quotes. Without an offset it is UTC.
pub(crate) fn time(item: &Item) -> Option<Timestamp> {
    let text = match &item.value {
        Value::Datetime(text) => text.as_str(),
        Value::String(text) => text.value.as_str(),
        _ => return None,
    };
    let at = if let Ok(at) = text.parse::<jiff::Timestamp>() {
        at
    } else {
        let local: jiff::civil::DateTime = text.parse().ok()?;
        local.to_zoned(jiff::tz::TimeZone::UTC).ok()?.timestamp()
    };
    Some(Timestamp(at.as_microsecond()))
}

/// Appends a value as JSON, as sinks write it; what JSON cannot say (`NaN`, an infinity) as a text.
pub(crate) fn write(value: Cell<'_>, out: &mut String) {
    let text = match value {
        Cell::Null => "null".to_owned(),
        Cell::Boolean(value) => value.to_string(),
        Cell::Int64(value) => value.to_string(),
        Cell::Float64(value) if value.is_finite() => serde_json::Value::from(value).to_string(),
        Cell::Float64(value) => format!("\"{value}\""),
        Cell::Utf8(text) => serde_json::Value::from(text).to_string(),
        Cell::Binary(bytes) => {
            let mut text = Vec::new();
            base64::encode(bytes, &mut text);
            format!("\"{}\"", String::from_utf8_lossy(&text))
        }
        Cell::Timestamp(micros) => format!("\"{}\"", Timestamp(micros)),
        // Spaces and the order of keys mean nothing.
        Cell::Json(text) => match serde_json::from_str::<serde_json::Value>(text) {
            Ok(json) => json.to_string(),
            Err(_) => serde_json::Value::from(text).to_string(),
        },
    };
    out.push_str(&text);
}

/// An object of names and values that are written already.
pub(crate) fn object<'a>(fields: impl IntoIterator<Item = (&'a str, &'a str)>) -> String {
    let mut text = String::from("{");
    for (at, (name, value)) in fields.into_iter().enumerate() {
        if at > 0 {
            text.push(',');
        }
        let _ = write!(text, "{}:{value}", serde_json::Value::from(name));
    }
    text.push('}');
    text
}

/// A value as JSON.
pub(crate) fn text(value: Cell<'_>) -> String {
    let mut out = String::new();
    write(value, &mut out);
    out
}
