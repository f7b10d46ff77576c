//! What the tests of the formats share.

use bytes::Bytes;

use wasmill_core::batch::{Batch, Hidden, Slot};
use wasmill_core::column::{Column, ColumnBuilder, Value};
use wasmill_core::plan::SourceColumn;
use wasmill_core::schema::{DataType, Field, Schema};
use wasmill_core::transform::Reject;
use wasmill_core::watermark::RowWatermarks;

use super::{Block, Decoded, Encoded, Encoder, Framer, Prologue};

/// A column of a source.
pub(super) fn column(name: &str, data_type: DataType, nullable: bool) -> SourceColumn {
    SourceColumn {
        field: Field {
            name: name.into(),
            data_type,
            nullable,
        },
        path: vec![name.to_owned()],
        timestamp: None,
    }
}

/// A stretch of a stream of bytes without a prologue.
pub(super) fn stream(bytes: &[u8]) -> Block {
    Block {
        prologue: Bytes::new(),
        bytes: Bytes::copy_from_slice(bytes),
        ends: None,
    }
}

/// Messages.
pub(super) fn messages(records: &[&[u8]]) -> Block {
    let mut bytes = Vec::new();
    let mut ends = Vec::new();
    for record in records {
        bytes.extend_from_slice(record);
        ends.push(bytes.len() as u32);
    }
    Block {
        prologue: Bytes::new(),
        bytes: bytes.into(),
        ends: Some(ends),
    }
}

/// A whole partition as the block that its framer makes of it.
pub(super) fn framed(mut framer: Box<dyn Framer>, bytes: &[u8]) -> Block {
    let Prologue::Ends(len) = framer.prologue(bytes, true) else {
        panic!("the end of a partition is enough for every prologue")
    };
    assert_eq!(framer.whole_records(&bytes[len..], true), bytes.len() - len);
    Block {
        prologue: Bytes::copy_from_slice(&bytes[..len]),
        ..stream(&bytes[len..])
    }
}

/// The records that a framer finds when the bytes come in pieces of `piece` bytes.
pub(super) fn framed_in_pieces(mut framer: Box<dyn Framer>, bytes: &[u8], piece: usize) -> (Vec<u8>, Vec<Vec<u8>>) {
    let mut prologue = None;
    let mut blocks = Vec::new();
    let mut held = Vec::new();
    let mut pieces = bytes.chunks(piece).peekable();
    loop {
        let piece = pieces.next();
        let end = pieces.peek().is_none();
        held.extend_from_slice(piece.unwrap_or_default());
        if prologue.is_none()
            && let Prologue::Ends(len) = framer.prologue(&held, end)
        {
            prologue = Some(held.drain(..len).collect::<Vec<u8>>());
        }
        if prologue.is_some() {
            let whole = framer.whole_records(&held, end);
            if whole > 0 {
                blocks.push(held.drain(..whole).collect());
            }
        }
        if end {
            assert!(held.is_empty(), "at the end everything is a record");
            return (prologue.expect("at the end there is a prologue"), blocks);
        }
    }
}

/// The rows of a block, each value as a short text.
pub(super) fn decoder_rows(decoded: &Decoded) -> Vec<Vec<String>> {
    let show = |column: &Option<Column>, row| {
        column
            .as_ref()
            .map_or_else(String::new, |column| match column.value(row) {
                Value::Null => "null".to_owned(),
                Value::Boolean(value) => value.to_string(),
                Value::Int64(value) => value.to_string(),
                Value::Float64(value) => format!("{value:?}"),
                Value::Utf8(value) => format!("{value:?}"),
                Value::Json(value) => format!("json {value}"),
                Value::Timestamp(value) => wasmill_core::time::Timestamp(value).to_string(),
                Value::Binary(value) => value
                    .iter()
                    .fold("0x".to_owned(), |text, byte| format!("{text}{byte:02x}")),
            })
    };
    let rows = (0..decoded.rows).map(|row| decoded.columns.iter().map(|column| show(column, row)).collect());
    rows.collect()
}

/// The invalid records: line, byte column, reason.
pub(super) fn reasons(decoded: &Decoded) -> Vec<(u32, Option<u32>, &str)> {
    let reasons = decoded.invalid.iter();
    reasons
        .map(|invalid| (invalid.line, invalid.byte_column, invalid.reason.as_str()))
        .collect()
}

/// A batch of values that are written as short texts; `-` is null.
pub(super) fn batch(columns: &[(&str, DataType)], rows: &[&[&str]]) -> (Schema, Batch) {
    let fields = columns
        .iter()
        .map(|(name, data_type)| Field::nullable(*name, *data_type));
    let schema = Schema::new(fields.collect()).unwrap();
    let slots = columns.iter().enumerate().map(|(i, (_, data_type))| {
        let mut builder = ColumnBuilder::new(*data_type, rows.len());
        for row in rows {
            let text = row[i];
            builder.push(match data_type {
                _ if text == "-" => Value::Null,
                DataType::Boolean => Value::Boolean(text == "true"),
                DataType::Int64 => Value::Int64(text.parse().unwrap()),
                DataType::Float64 => Value::Float64(text.parse().unwrap()),
                DataType::Utf8 => Value::Utf8(text),
                DataType::Binary => Value::Binary(text.as_bytes()),
                DataType::Timestamp => Value::Timestamp(text.parse().unwrap()),
                DataType::Json => Value::Json(text),
            });
        }
        Slot::Base(builder.finish())
    });
    (schema, with_times(slots.collect(), rows.len()))
}

/// A batch of columns whose times do not matter.
pub(super) fn with_times(slots: Vec<Slot>, rows: usize) -> Batch {
    let hidden = Hidden {
        times: vec![0; rows].into(),
        watermarks: RowWatermarks::Constant(0),
        order: None,
        kinds: None,
    };
    Batch::new(slots, hidden)
}

/// What an encoder makes of a batch.
pub(super) fn encoded(mut encoder: Box<dyn Encoder>, batch: &Batch) -> (String, Vec<Reject>) {
    let mut out = Encoded::default();
    let rejects = encoder.encode(batch, &mut out);
    assert_eq!(out.ends.len() + rejects.len(), batch.rows());
    assert_eq!(out.ends.last().map_or(0, |end| *end as usize), out.bytes.len());
    (String::from_utf8(out.bytes).unwrap(), rejects)
}
