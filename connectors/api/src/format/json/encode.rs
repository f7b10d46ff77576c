//! Columns to JSON lines, by hand: keys in column order, nulls written.

use bytes::Bytes;

use wasmill_core::batch::Batch;
use wasmill_core::column::Column;
use wasmill_core::transform::Reject;

use crate::format::timestamps::TimestampWriter;
use crate::format::{EncodeSpec, Encoded, Encoder, base64, encode_rows};

/// Encodes JSON lines.
#[derive(Debug)]
pub(super) struct JsonEncoder {
    columns: Vec<usize>,
    /// What stands before each value: `{"a":`, `,"b":`.
    keys: Vec<Key>,
    timestamps: TimestampWriter,
}

/// A few bytes that are written often.
#[derive(Debug)]
struct Key {
    bytes: Vec<u8>,
    /// Where they are not more than these: the bytes and what follows, to be copied as a whole.
    short: Option<[u8; Self::SHORT_BYTES]>,
}

impl Key {
    const SHORT_BYTES: usize = 16;

    fn new(bytes: Vec<u8>) -> Self {
        let mut short = [0; Self::SHORT_BYTES];
        let fits = short.get_mut(..bytes.len()).map(|start| start.copy_from_slice(&bytes));
        Self {
            short: fits.map(|()| short),
            bytes,
        }
    }

    /// A copy whose length the compiler knows is a few instructions, another is a call.
    #[inline]
    fn write(&self, out: &mut Vec<u8>) {
        match &self.short {
            Some(short) => {
                let end = out.len() + self.bytes.len();
                out.extend_from_slice(short);
                out.truncate(end);
            }
            None => out.extend_from_slice(&self.bytes),
        }
    }
}

impl JsonEncoder {
    pub(super) fn new(spec: &EncodeSpec) -> Self {
        let keys = spec.columns.iter().enumerate().map(|(i, &column)| {
            let mut key = vec![if i == 0 { b'{' } else { b',' }];
            write_string(&spec.schema.fields()[column].name, &mut key);
            key.push(b':');
            Key::new(key)
        });
        Self {
            keys: keys.collect(),
            columns: spec.columns.clone(),
            timestamps: TimestampWriter::new(),
        }
    }

    #[inline]
    fn write_value(&mut self, column: &Column, row: usize, out: &mut Vec<u8>) -> Result<(), String> {
        if column.is_null(row) {
            out.extend_from_slice(b"null");
            return Ok(());
        }
        match column {
            Column::Int64(values) => write_integer(values.value(row), out),
            Column::Utf8(texts) => write_string(texts.value(row), out),
            Column::Timestamp(times) => {
                out.push(b'"');
                self.timestamps.write(times.value(row), out)?;
                out.push(b'"');
            }
            Column::Float64(values) => {
                let value = values.value(row);
                if !value.is_finite() {
                    return Err(format!("is {value}, which JSON has no number for"));
                }
                out.extend_from_slice(zmij::Buffer::new().format_finite(value).as_bytes());
            }
            Column::Boolean(values) => out.extend_from_slice(if values.value(row) { b"true" } else { b"false" }),
            Column::Binary(values) => {
                out.push(b'"');
                base64::encode(values.value(row), out);
                out.push(b'"');
            }
            Column::Json(texts) => {
                let start = out.len();
                out.extend_from_slice(texts.value(row).as_bytes());
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
                self.keys[i].write(bytes);
                self.write_value(column, row, bytes)
                    .map_err(|misfit| misfit_in(&self.keys[i].bytes, &misfit))?;
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

/// Whether a byte must be escaped. Eight are looked at together, and without an early exit, so that the compiler may take
/// more.
#[inline]
fn needs_escape(text: &[u8]) -> bool {
    let (words, rest) = text.as_chunks::<8>();
    let found = words
        .iter()
        .fold(0, |found, &word| found | special_bytes(u64::from_le_bytes(word)));
    let last = match text.last_chunk::<8>() {
        // It overlaps what was looked at.
        Some(&word) => special_bytes(u64::from_le_bytes(word)),
        None => rest.iter().fold(0, |found, &byte| {
            found | u64::from(byte < 0x20) | u64::from(byte == b'"') | u64::from(byte == b'\\')
        }),
    };
    found | last != 0
}

/// Not 0 where one of the eight bytes must be escaped. Borrows between bytes may mark a byte that need not be, but only
/// beside one that must.
#[inline]
fn special_bytes(word: u64) -> u64 {
    const ONES: u64 = 0x0101_0101_0101_0101;
    const HIGHS: u64 = 0x8080_8080_8080_8080;
    let below = |word: u64, bound: u8| word.wrapping_sub(ONES * u64::from(bound)) & !word & HIGHS;
    let equal = |byte: u8| below(word ^ (ONES * u64::from(byte)), 1);
    below(word, 0x20) | equal(b'"') | equal(b'\\')
}

/// Appends an integer. Its digits are written in place: what itoa gives is copied by a call.
#[inline]
fn write_integer(value: i64, out: &mut Vec<u8>) {
    /// As long as the longest, `-9223372036854775808`.
    const DIGITS_MAX: usize = 20;
    if value < 0 {
        out.push(b'-');
    }
    let mut rest = value.unsigned_abs();
    let digits = rest.checked_ilog10().map_or(1, |log| log as usize + 1);
    let (start, end) = (out.len(), out.len() + digits);
    out.extend_from_slice(&[b'0'; DIGITS_MAX]);
    out.truncate(end);
    let mut places = out[start..].rchunks_exact_mut(2);
    for pair in places.by_ref() {
        let two = (rest % 100) as u8;
        rest /= 100;
        pair[0] = b'0' + two / 10;
        pair[1] = b'0' + two % 10;
    }
    if let [first] = places.into_remainder() {
        *first = b'0' + rest as u8;
    }
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

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    proptest! {
        #[test]
        fn every_byte_that_must_be_escaped_is_found(text in prop::collection::vec(any::<u8>(), 0..40)) {
            let naive = text.iter().any(|&byte| byte < 0x20 || byte == b'"' || byte == b'\\');
            prop_assert_eq!(needs_escape(&text), naive);
        }

        #[test]
        fn printable_text_is_not_escaped(text in "[ !#-\\[\\]-~\u{80}-\u{10ffff}]{0,40}") {
            prop_assert!(!needs_escape(text.as_bytes()));
        }

        #[test]
        fn integers_of_every_length_are_written(value: i64, shift in 0..64_u32) {
            let mut out = Vec::new();
            write_integer(value >> shift, &mut out);
            prop_assert_eq!(String::from_utf8_lossy(&out), (value >> shift).to_string());
        }
    }

    #[test]
    fn the_integers_at_the_ends_are_written() {
        for value in [0, 9, 10, 99, 100, -1, i64::MAX, i64::MIN] {
            let mut out = Vec::new();
            write_integer(value, &mut out);
            assert_eq!(String::from_utf8_lossy(&out), value.to_string());
        }
    }

    #[test]
    fn long_names_are_written_whole() {
        for len in [0, 15, 16, 17, 40] {
            let name = vec![b'k'; len];
            let mut out = b"before".to_vec();
            Key::new(name.clone()).write(&mut out);
            assert_eq!(out, [b"before".to_vec(), name].concat());
        }
    }
}
