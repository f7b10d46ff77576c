//! Columns to CSV: quotes only where they are needed.

use bytes::Bytes;

use wasmill_core::batch::Batch;
use wasmill_core::column::Value;
use wasmill_core::transform::Reject;

use super::Config;
use super::fields::Dialect;
use crate::format::timestamps::TimestampWriter;
use crate::format::{EncodeSpec, Encoded, Encoder, base64, encode_rows};

/// Encodes CSV.
#[derive(Debug)]
pub(super) struct CsvEncoder {
    dialect: Dialect,
    null: Vec<u8>,
    prologue: Bytes,
    columns: Vec<usize>,
    names: Vec<String>,
    timestamps: TimestampWriter,
    /// A value's text, before it is known whether it needs quotes.
    text: Vec<u8>,
}

impl CsvEncoder {
    pub(super) fn new(config: &Config, spec: &EncodeSpec) -> Self {
        let names = spec
            .columns
            .iter()
            .map(|&column| spec.schema.fields()[column].name.to_string())
            .collect();
        let mut encoder = Self {
            dialect: config.checked_dialect(),
            null: config.null.clone().into_bytes(),
            prologue: Bytes::new(),
            columns: spec.columns.clone(),
            names,
            timestamps: TimestampWriter::new(),
            text: Vec::new(),
        };
        if config.header {
            encoder.prologue = encoder.header();
        }
        encoder
    }

    fn header(&self) -> Bytes {
        let mut out = Vec::new();
        for (i, name) in self.names.iter().enumerate() {
            if i > 0 {
                out.push(self.dialect.delimiter);
            }
            let written = self.dialect.write(name.as_bytes(), b"", &mut out);
            written.expect("names that need quotes were refused where there are none");
        }
        out.push(b'\n');
        out.into()
    }

    fn write_value(&mut self, value: Value<'_>, out: &mut Vec<u8>) -> Result<(), String> {
        let text = &mut self.text;
        text.clear();
        match value {
            Value::Null => {
                out.extend_from_slice(&self.null);
                return Ok(());
            }
            Value::Utf8(value) | Value::Json(value) => return self.dialect.write(value.as_bytes(), &self.null, out),
            Value::Boolean(value) => text.extend_from_slice(if value { b"true" } else { b"false" }),
            Value::Int64(value) => text.extend_from_slice(itoa::Buffer::new().format(value).as_bytes()),
            Value::Float64(value) => text.extend_from_slice(zmij::Buffer::new().format(value).as_bytes()),
            Value::Timestamp(micros) => self.timestamps.write(micros, text)?,
            Value::Binary(bytes) => base64::encode(bytes, text),
        }
        self.dialect.write(text, &self.null, out)
    }

    fn write_row<'a>(&mut self, values: impl Iterator<Item = Value<'a>>, out: &mut Vec<u8>) -> Result<(), String> {
        let start = out.len();
        for (i, value) in values.enumerate() {
            if i > 0 {
                out.push(self.dialect.delimiter);
            }
            self.write_value(value, out)
                .map_err(|misfit| format!("column \"{}\" {misfit}", self.names[i]))?;
        }
        if out.len() == start && self.columns.len() == 1 {
            return Err(format!(
                "column \"{}\" is null, and a null alone on its line is an empty line; `null` of the format gives it a text",
                self.names[0]
            ));
        }
        out.push(b'\n');
        Ok(())
    }
}

impl Encoder for CsvEncoder {
    fn prologue(&self) -> Bytes {
        self.prologue.clone()
    }

    fn encode(&mut self, batch: &Batch, out: &mut Encoded) -> Vec<Reject> {
        let columns: Vec<_> = self.columns.iter().map(|&column| batch.column(column)).collect();
        encode_rows(batch.rows(), out, |row, bytes| {
            self.write_row(columns.iter().map(|column| column.value(row)), bytes)
        })
    }
}

impl Dialect {
    /// Whether a text would not be one field if it stood without quotes.
    pub(super) fn needs_quotes(self, text: &[u8]) -> bool {
        let special = |byte| byte == self.delimiter || byte == b'\n' || byte == b'\r' || Some(byte) == self.quote;
        text.iter().copied().any(special)
    }

    /// Appends a field, quoted where it could be read as something else.
    fn write(self, text: &[u8], null: &[u8], out: &mut Vec<u8>) -> Result<(), String> {
        let needs_quotes = text == null || self.needs_quotes(text);
        let Some(quote) = self.quote else {
            if needs_quotes {
                return Err("cannot be written without quotes".to_owned());
            }
            out.extend_from_slice(text);
            return Ok(());
        };
        if !needs_quotes {
            out.extend_from_slice(text);
            return Ok(());
        }
        out.push(quote);
        for &byte in text {
            if byte == quote {
                out.push(quote);
            }
            out.push(byte);
        }
        out.push(quote);
        Ok(())
    }
}
