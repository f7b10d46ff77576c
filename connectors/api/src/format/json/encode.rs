//! Columns to JSON lines, by hand: keys in column order, nulls written.

use bytes::Bytes;

use wasmill_core::batch::Batch;
use wasmill_core::column::Value;
use wasmill_core::transform::Reject;

use crate::format::timestamps::TimestampWriter;
use crate::format::{EncodeSpec, Encoded, Encoder, base64, encode_rows};

/// Encodes JSON lines.
#[derive(Debug)]
pub(super) struct JsonEncoder {
    columns: Vec<usize>,
    /// What stands before each value: `{"a":`, `,"b":`.
    keys: Vec<Vec<u8>>,
    timestamps: TimestampWriter,
}

impl JsonEncoder {
    pub(super) fn new(spec: &EncodeSpec) -> Self {
        let keys = spec.columns.iter().enumerate().map(|(i, &column)| {
            let mut key = vec![if i == 0 { b'{' } else { b',' }];
            write_string(&spec.schema.fields()[column].name, &mut key);
            key.push(b':');
            key
        });
        Self {
            keys: keys.collect(),
            columns: spec.columns.clone(),
            timestamps: TimestampWriter::new(),
        }
    }

    #[inline]
    fn write_value(&mut self, value: Value<'_>, out: &mut Vec<u8>) -> Result<(), String> {
        match value {
            Value::Null => out.extend_from_slice(b"null"),
            Value::Int64(value) => out.extend_from_slice(itoa::Buffer::new().format(value).as_bytes()),
            Value::Utf8(text) => write_string(text, out),
            Value::Timestamp(micros) => {
                out.push(b'"');
                self.timestamps.write(micros, out)?;
                out.push(b'"');
            }
            Value::Float64(value) if value.is_finite() => {
                out.extend_from_slice(zmij::Buffer::new().format_finite(value).as_bytes());
            }
            Value::Float64(value) => return Err(format!("is {value}, which JSON has no number for")),
            Value::Boolean(value) => out.extend_from_slice(if value { b"true" } else { b"false" }),
            Value::Binary(bytes) => {
                out.push(b'"');
                base64::encode(bytes, out);
                out.push(b'"');
            }
            Value::Json(text) => {
                let start = out.len();
                out.extend_from_slice(text.as_bytes());
                // A line end in a JSON value is white space between its parts.
                for byte in &mut out[start..] {
                    if matches!(byte, b'\n' | b'\r') {
                        *byte = b' ';
                    }
                }
            }
        }
        Ok(())
    }
}

impl Encoder for JsonEncoder {
    fn prologue(&self) -> Bytes {
        Bytes::new()
    }

    fn encode(&mut self, batch: &Batch, out: &mut Encoded) -> Vec<Reject> {
        let columns: Vec<_> = self.columns.iter().map(|&column| batch.column(column)).collect();
        encode_rows(batch.rows(), out, |row, bytes| {
            if columns.is_empty() {
                bytes.push(b'{');
            }
            for (i, column) in columns.iter().enumerate() {
                bytes.extend_from_slice(&self.keys[i]);
                self.write_value(column.value(row), bytes)
                    .map_err(|misfit| misfit_in(&self.keys[i], &misfit))?;
            }
            bytes.extend_from_slice(b"}\n");
            Ok(())
        })
    }
}

#[cold]
fn misfit_in(key: &[u8], misfit: &str) -> String {
    let name = &key[1..key.len() - 1];
    format!("column {} {misfit}", String::from_utf8_lossy(name))
}

/// Appends a JSON string.
#[inline]
fn write_string(text: &str, out: &mut Vec<u8>) {
    out.reserve(text.len() + 2);
    out.push(b'"');
    if needs_escape(text.as_bytes()) {
        write_escaped(text.as_bytes(), out);
    } else {
        out.extend_from_slice(text.as_bytes());
    }
    out.push(b'"');
}

/// Whether a byte must be escaped. Without an early exit, so that many bytes are looked at together.
#[inline]
fn needs_escape(text: &[u8]) -> bool {
    let special = |byte: u8| u8::from(byte < 0x20) | u8::from(byte == b'"') | u8::from(byte == b'\\');
    text.iter().fold(0, |found, &byte| found | special(byte)) != 0
}

#[cold]
fn write_escaped(text: &[u8], out: &mut Vec<u8>) {
    const HEX: &[u8; 16] = b"0123456789abcdef";
    for &byte in text {
        match byte {
            b'"' | b'\\' => out.extend_from_slice(&[b'\\', byte]),
            b'\n' => out.extend_from_slice(b"\\n"),
            b'\r' => out.extend_from_slice(b"\\r"),
            b'\t' => out.extend_from_slice(b"\\t"),
            0x08 => out.extend_from_slice(b"\\b"),
            0x0C => out.extend_from_slice(b"\\f"),
            0x00..=0x1F => {
                out.extend_from_slice(b"\\u00");
                out.extend_from_slice(&[HEX[usize::from(byte >> 4)], HEX[usize::from(byte & 15)]]);
            }
            _ => out.push(byte),
        }
    }
}
