//! JSON text of single values: what `top_k` and `array_agg` give and dead letters quote.
//!
//! As the JSON format writes them: RFC 3339 times, shortest floats, base64 for bytes. NaN and the infinities, which JSON
//! has no numbers for, are strings here.

use wasmill_core::column::Value;
use wasmill_core::time::Timestamp;

/// Appends a value.
pub(crate) fn write(value: Value<'_>, out: &mut String) {
    match value {
        Value::Null => out.push_str("null"),
        Value::Boolean(v) => out.push_str(if v { "true" } else { "false" }),
        Value::Int64(v) => out.push_str(&v.to_string()),
        Value::Float64(v) if v.is_nan() => out.push_str("\"NaN\""),
        Value::Float64(f64::INFINITY) => out.push_str("\"Infinity\""),
        Value::Float64(f64::NEG_INFINITY) => out.push_str("\"-Infinity\""),
        Value::Float64(v) => out.push_str(zmij::Buffer::new().format_finite(v)),
        Value::Utf8(v) => write_text(v, out),
        Value::Binary(v) => write_base64(v, out),
        Value::Timestamp(v) => {
            out.push('"');
            out.push_str(&Timestamp(v).to_string());
            out.push('"');
        }
        Value::Json(v) => out.push_str(v),
    }
}

/// Appends a text with its quotes.
pub(crate) fn write_text(text: &str, out: &mut String) {
    out.push('"');
    for c in text.chars() {
        match c {
            '"' => out.push_str("\\\""),
            '\\' => out.push_str("\\\\"),
            '\n' => out.push_str("\\n"),
            '\r' => out.push_str("\\r"),
            '\t' => out.push_str("\\t"),
            c if u32::from(c) < 0x20 => {
                let digit = |four: u32| char::from_digit(four & 15, 16).unwrap_or('0');
                out.push_str("\\u00");
                out.extend([digit(u32::from(c) >> 4), digit(u32::from(c))]);
            }
            c => out.push(c),
        }
    }
    out.push('"');
}

fn write_base64(bytes: &[u8], out: &mut String) {
    const DIGITS: &[u8; 64] = b"ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789+/";
    out.push('"');
    for chunk in bytes.chunks(3) {
        let byte = |i: usize| u32::from(chunk.get(i).copied().unwrap_or(0));
        let bits = byte(0) << 16 | byte(1) << 8 | byte(2);
        for digit in 0..4 {
            if digit <= chunk.len() {
                out.push(char::from(DIGITS[(bits >> (18 - 6 * digit) & 63) as usize]));
            } else {
                out.push('=');
            }
        }
    }
    out.push('"');
}

#[cfg(test)]
mod tests {
    use super::*;

    fn check(value: Value<'_>, expect: &str) {
        let mut out = String::new();
        write(value, &mut out);
        assert_eq!(out, expect);
        assert!(serde_json::from_str::<serde_json::Value>(&out).is_ok(), "{out}");
    }

    #[test]
    fn each_value_is_valid_json() {
        check(Value::Null, "null");
        check(Value::Float64(0.1), "0.1");
        check(Value::Float64(f64::NAN), "\"NaN\"");
        check(Value::Utf8("a\"\\\u{1}\u{7f}é\n"), "\"a\\\"\\\\\\u0001\u{7f}é\\n\"");
        check(Value::Timestamp(0), "\"1970-01-01T00:00:00Z\"");
        check(Value::Binary(b""), "\"\"");
        check(Value::Binary(b"fo"), "\"Zm8=\"");
        check(Value::Binary(b"foobar"), "\"Zm9vYmFy\"");
        check(Value::Json("{\"a\":[1]}"), "{\"a\":[1]}");
    }
}
