//! Column slots: where decoders put values, and how values become valid rows or invalid records.
//!
//! A decoder sets the values of a record in any order, a value more than once if it must (the last one stays), and
//! then ends the row. What was not set is null. A row with a null where none may be, or one that the decoder gives
//! up, leaves nothing behind.

use arrow_array::{
    BinaryArray, BooleanArray, Float64Array, GenericByteArray, Int64Array, StringArray, TimestampMicrosecondArray,
    types::ByteArrayType,
};
use arrow_buffer::{BooleanBuffer, BooleanBufferBuilder, Buffer, NullBuffer, OffsetBuffer, ScalarBuffer};

use wasmill_core::column::Column;
use wasmill_core::plan::{SourceColumn, TimestampFormat};
use wasmill_core::schema::{DataType, Field};

use super::timestamps::{FormatProblem, TimestampReader};
use super::{DecodeSpec, Decoded, InvalidRecord, base64, number};

/// The values of one column, for the rows so far and perhaps the row that is being read.
#[derive(Debug)]
pub(crate) struct Slot {
    field: Field,
    reader: TimestampReader,
    /// Whether the column is handed on, or only checked.
    live: bool,
    values: Values,
    /// The rows without a value, ascending.
    nulls: Vec<u32>,
}

#[derive(Debug)]
enum Values {
    Boolean(Vec<bool>),
    Int64(Vec<i64>),
    Float64(Vec<f64>),
    Timestamp(Vec<i64>),
    Utf8(Texts),
    Binary(Texts),
    Json(Texts),
}

#[derive(Debug)]
struct Texts {
    offsets: Vec<i32>,
    data: Vec<u8>,
}

/// Why a value does not fit its column: a fragment that follows the value.
pub(crate) type Misfit = String;

impl Texts {
    fn new() -> Self {
        Self {
            offsets: vec![0],
            data: Vec::new(),
        }
    }

    fn len(&self) -> usize {
        self.offsets.len() - 1
    }

    #[inline]
    fn push(&mut self, value: &[u8]) {
        self.data.extend_from_slice(value);
        self.end();
    }

    fn end(&mut self) {
        let end = i32::try_from(self.data.len()).expect("a block holds less than 2 GiB");
        self.offsets.push(end);
    }

    fn truncate(&mut self, rows: usize) {
        self.offsets.truncate(rows + 1);
        self.data.truncate(self.offsets[rows] as usize);
    }

    /// The values, and room for as many again.
    fn take<T: ByteArrayType<Offset = i32>>(&mut self, nulls: Option<NullBuffer>) -> GenericByteArray<T> {
        let mut next = Self {
            offsets: Vec::with_capacity(self.offsets.len()),
            data: Vec::with_capacity(self.data.len()),
        };
        next.offsets.push(0);
        let Self { offsets, data } = std::mem::replace(self, next);
        let offsets = OffsetBuffer::new(ScalarBuffer::from(offsets));
        GenericByteArray::try_new(offsets, Buffer::from_vec(data), nulls).expect("only whole, valid values were set")
    }
}

impl Values {
    fn new(data_type: DataType) -> Self {
        match data_type {
            DataType::Boolean => Self::Boolean(Vec::new()),
            DataType::Int64 => Self::Int64(Vec::new()),
            DataType::Float64 => Self::Float64(Vec::new()),
            DataType::Timestamp => Self::Timestamp(Vec::new()),
            DataType::Utf8 => Self::Utf8(Texts::new()),
            DataType::Binary => Self::Binary(Texts::new()),
            DataType::Json => Self::Json(Texts::new()),
        }
    }

    #[inline]
    fn len(&self) -> usize {
        match self {
            Self::Boolean(v) => v.len(),
            Self::Int64(v) | Self::Timestamp(v) => v.len(),
            Self::Float64(v) => v.len(),
            Self::Utf8(v) | Self::Binary(v) | Self::Json(v) => v.len(),
        }
    }

    fn truncate(&mut self, rows: usize) {
        match self {
            Self::Boolean(v) => v.truncate(rows),
            Self::Int64(v) | Self::Timestamp(v) => v.truncate(rows),
            Self::Float64(v) => v.truncate(rows),
            Self::Utf8(v) | Self::Binary(v) | Self::Json(v) => v.truncate(rows),
        }
    }

    fn push_blank(&mut self) {
        match self {
            Self::Boolean(v) => v.push(false),
            Self::Int64(v) | Self::Timestamp(v) => v.push(0),
            Self::Float64(v) => v.push(0.0),
            Self::Utf8(v) | Self::Binary(v) | Self::Json(v) => v.push(b""),
        }
    }
}

impl Slot {
    fn new(column: &SourceColumn, live: bool) -> Result<Self, FormatProblem> {
        let reader = TimestampReader::new(column.timestamp.as_ref().unwrap_or(&TimestampFormat::Rfc3339))?;
        Ok(Self {
            field: column.field.clone(),
            reader,
            live,
            values: Values::new(column.field.data_type),
            nulls: Vec::new(),
        })
    }

    /// The column.
    pub(crate) fn field(&self) -> &Field {
        &self.field
    }

    /// Whether any text is a value of the column.
    pub(crate) fn holds_text(&self) -> bool {
        matches!(self.values, Values::Utf8(_) | Values::Binary(_))
    }

    fn truncate(&mut self, rows: usize) {
        self.values.truncate(rows);
        while self.nulls.last().is_some_and(|row| *row as usize >= rows) {
            self.nulls.pop();
        }
    }

    /// Forgets a value of the row that was set before.
    #[inline]
    pub(crate) fn clear(&mut self, row: usize) {
        if self.values.len() > row {
            self.truncate(row);
        }
    }

    /// Sets no value.
    #[inline]
    pub(crate) fn set_null(&mut self, row: usize) {
        self.clear(row);
        self.nulls.push(row as u32);
        self.values.push_blank();
    }

    /// Sets a value that is written as plain text: a field of a CSV line, for instance.
    #[inline]
    pub(crate) fn set_text(&mut self, row: usize, text: &[u8]) -> Result<(), Misfit> {
        self.clear(row);
        match &mut self.values {
            Values::Int64(v) => v.push(number::read_int64(text).ok_or_else(|| not_int64(text))?),
            Values::Float64(v) => v.push(number::read_float64(text).ok_or("is not a float64")?),
            Values::Utf8(v) => {
                if !text.is_ascii() {
                    simdutf8::basic::from_utf8(text).map_err(|_| "is not valid UTF-8")?;
                }
                v.push(text);
            }
            Values::Timestamp(v) => {
                let text = simdutf8::basic::from_utf8(text).map_err(|_| "is not valid UTF-8")?;
                v.push(self.reader.read_text(text)?);
            }
            Values::Boolean(v) => v.push(match text {
                b"true" => true,
                b"false" => false,
                _ => return Err("is not a boolean, which is true or false".to_owned()),
            }),
            Values::Binary(v) => set_base64(v, text)?,
            Values::Json(v) => {
                serde_json::from_slice::<serde::de::IgnoredAny>(text).map_err(|_| "is not a JSON value")?;
                v.push(text);
            }
        }
        Ok(())
    }

    /// Sets a JSON string.
    #[inline]
    pub(crate) fn set_json_string(&mut self, row: usize, text: &str) -> Result<(), Misfit> {
        self.clear(row);
        match &mut self.values {
            Values::Utf8(v) => v.push(text.as_bytes()),
            Values::Timestamp(v) if !self.reader.is_number() => v.push(self.reader.read_text(text)?),
            Values::Binary(v) => set_base64(v, text.as_bytes())?,
            _ => return Err(self.is_not("a string")),
        }
        Ok(())
    }

    /// Sets a JSON number without a fraction or exponent.
    #[inline]
    pub(crate) fn set_json_integer(&mut self, row: usize, number: i64) -> Result<(), Misfit> {
        self.clear(row);
        match &mut self.values {
            Values::Int64(v) => v.push(number),
            Values::Float64(v) => v.push(number as f64),
            Values::Timestamp(v) => v.push(self.reader.read_number(number)?),
            _ => return Err(self.is_not("a number")),
        }
        Ok(())
    }

    /// Sets a JSON number that is no `i64`.
    #[inline]
    pub(crate) fn set_json_float(&mut self, row: usize, number: f64) -> Result<(), Misfit> {
        self.clear(row);
        match &mut self.values {
            Values::Float64(v) => v.push(number),
            Values::Int64(_) => return Err("is a number that is not an int64".to_owned()),
            Values::Timestamp(_) if self.reader.is_number() => {
                return Err("is a number that is not a whole number of units".to_owned());
            }
            _ => return Err(self.is_not("a number")),
        }
        Ok(())
    }

    /// Sets `true` or `false`.
    #[inline]
    pub(crate) fn set_json_boolean(&mut self, row: usize, value: bool) -> Result<(), Misfit> {
        self.clear(row);
        match &mut self.values {
            Values::Boolean(v) => v.push(value),
            _ => return Err(self.is_not("a boolean")),
        }
        Ok(())
    }

    /// Sets a JSON value that is kept as it is written.
    pub(crate) fn set_json_raw(&mut self, row: usize, text: &str) {
        self.clear(row);
        match &mut self.values {
            Values::Json(v) => v.push(text.as_bytes()),
            _ => unreachable!("only a column of type json keeps a value as it is written"),
        }
    }

    /// Sets a whole record's bytes.
    pub(crate) fn set_bytes(&mut self, row: usize, bytes: &[u8]) {
        self.clear(row);
        match &mut self.values {
            Values::Binary(v) => v.push(bytes),
            _ => unreachable!("only a binary column holds any bytes"),
        }
    }

    /// Why a value of this kind does not fit.
    pub(crate) fn is_not(&self, kind: &str) -> Misfit {
        let wanted = match self.field.data_type {
            DataType::Timestamp if self.reader.is_number() => "a timestamp as a number",
            DataType::Timestamp => "a timestamp as text",
            DataType::Binary => "bytes as base64 text",
            other => other.name(),
        };
        format!("is {kind}, not {wanted}")
    }

    /// Completes the row. False: it has no value and needs one.
    #[inline]
    fn end_row(&mut self, row: usize) -> bool {
        if self.values.len() == row {
            self.set_null(row);
        }
        self.field.nullable || self.nulls.last().is_none_or(|null| *null as usize != row)
    }

    /// The values of all rows.
    fn take(&mut self, rows: usize) -> Column {
        let nulls = (!self.nulls.is_empty()).then(|| {
            let mut valid = BooleanBufferBuilder::new(rows);
            valid.append_n(rows, true);
            for row in self.nulls.drain(..) {
                valid.set_bit(row as usize, false);
            }
            NullBuffer::new(valid.finish())
        });
        match &mut self.values {
            Values::Boolean(v) => {
                let values = BooleanBuffer::collect_bool(rows, |row| v[row]);
                v.clear();
                Column::Boolean(BooleanArray::new(values, nulls))
            }
            Values::Int64(v) => Column::Int64(Int64Array::new(take(v).into(), nulls)),
            Values::Float64(v) => Column::Float64(Float64Array::new(take(v).into(), nulls)),
            Values::Timestamp(v) => Column::Timestamp(TimestampMicrosecondArray::new(take(v).into(), nulls)),
            Values::Utf8(v) => {
                let values: StringArray = v.take(nulls);
                Column::Utf8(values)
            }
            Values::Binary(v) => {
                let values: BinaryArray = v.take(nulls);
                Column::Binary(values)
            }
            Values::Json(v) => {
                let values: StringArray = v.take(nulls);
                Column::Json(values)
            }
        }
    }
}

/// The values, and room for as many again.
fn take<T>(values: &mut Vec<T>) -> Vec<T> {
    let next = Vec::with_capacity(values.len());
    std::mem::replace(values, next)
}

fn set_base64(values: &mut Texts, text: &[u8]) -> Result<(), Misfit> {
    let start = values.data.len();
    if base64::decode(text, &mut values.data).is_err() {
        values.data.truncate(start);
        return Err("is not base64".to_owned());
    }
    values.end();
    Ok(())
}

#[cold]
fn not_int64(text: &[u8]) -> Misfit {
    let digits = text.strip_prefix(b"-").unwrap_or(text);
    if !digits.is_empty() && digits.iter().all(u8::is_ascii_digit) {
        "is out of the range of an int64".to_owned()
    } else {
        "is not an int64".to_owned()
    }
}

/// Where a record stands in its block.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Record {
    pub(crate) start: u32,
    /// Without the line end.
    pub(crate) end: u32,
    pub(crate) line: u32,
}

/// Why a record is invalid.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Invalid {
    /// The slot whose value it is.
    pub(crate) slot: Option<usize>,
    /// The byte within the line, from 1.
    pub(crate) byte_column: Option<u32>,
    pub(crate) reason: String,
}

impl Invalid {
    /// The record as a whole.
    pub(crate) fn record(byte_column: Option<u32>, reason: impl Into<String>) -> Self {
        Self {
            slot: None,
            byte_column,
            reason: reason.into(),
        }
    }
}

/// The rows of a block, as they are being decoded.
#[derive(Debug)]
pub(crate) struct Rows {
    /// One per column that is decoded.
    pub(crate) slots: Vec<Slot>,
    /// The slot of each column of the source; `None` where it is not decoded.
    by_column: Vec<Option<usize>>,
    rows: usize,
    starts: Vec<u32>,
    lines: Vec<u32>,
    invalid: Vec<InvalidRecord>,
}

impl Rows {
    /// Slots for the columns that are to be decoded.
    ///
    /// # Errors
    /// A timestamp's format makes no sense.
    pub(crate) fn new(spec: &DecodeSpec) -> Result<Self, FormatProblem> {
        let mut slots = Vec::new();
        let mut by_column = Vec::new();
        for (column, &live) in spec.columns.iter().zip(&spec.live) {
            let decoded = live || spec.validate_all;
            by_column.push(decoded.then_some(slots.len()));
            if decoded {
                slots.push(Slot::new(column, live)?);
            }
        }
        Ok(Self {
            slots,
            by_column,
            rows: 0,
            starts: Vec::new(),
            lines: Vec::new(),
            invalid: Vec::new(),
        })
    }

    /// The slot of each column of the source.
    pub(crate) fn by_column(&self) -> &[Option<usize>] {
        &self.by_column
    }

    /// The number of the row that is being read.
    #[inline]
    pub(crate) fn row(&self) -> usize {
        self.rows
    }

    /// Ends the row: valid or not.
    #[inline]
    pub(crate) fn end(&mut self, record: Record, read: Result<(), Invalid>) {
        let read = read.and_then(|()| {
            let row = self.rows;
            let lacking = self.slots.iter_mut().position(|slot| !slot.end_row(row));
            match lacking {
                None => Ok(()),
                Some(slot) => Err(self.null_in(slot)),
            }
        });
        match read {
            Ok(()) => {
                self.rows += 1;
                self.starts.push(record.start);
                self.lines.push(record.line);
            }
            Err(why) => self.reject(record, why),
        }
    }

    #[cold]
    fn null_in(&self, slot: usize) -> Invalid {
        Invalid {
            slot: Some(slot),
            byte_column: None,
            reason: format!("column \"{}\" is null and not nullable", self.slots[slot].field.name),
        }
    }

    #[cold]
    fn reject(&mut self, record: Record, why: Invalid) {
        let rows = self.rows;
        for slot in &mut self.slots {
            slot.truncate(rows);
        }
        self.invalid.push(InvalidRecord {
            rows_before: rows as u32,
            start: record.start,
            end: record.end,
            line: record.line,
            byte_column: why.byte_column,
            column: why.slot.map(|slot| self.slots[slot].field.name.to_string()),
            reason: why.reason,
        });
    }

    /// Everything since the last call.
    pub(crate) fn take(&mut self, line_count: u32) -> Decoded {
        let rows = std::mem::take(&mut self.rows);
        let taken: Vec<Option<Column>> = self
            .slots
            .iter_mut()
            .map(|slot| {
                let column = slot.take(rows);
                slot.live.then_some(column)
            })
            .collect();
        let columns = self
            .by_column
            .iter()
            .map(|slot| slot.and_then(|slot| taken[slot].clone()))
            .collect();
        Decoded {
            rows,
            columns,
            starts: take(&mut self.starts),
            lines: take(&mut self.lines),
            line_count,
            invalid: std::mem::take(&mut self.invalid),
        }
    }
}

/// Bytes as a part of a message: quoted, cut, and readable whatever they are.
pub(crate) fn quoted(bytes: &[u8]) -> String {
    const SHOWN_MAX: usize = 40;
    let text = String::from_utf8_lossy(bytes);
    let mut shown: String = text.chars().take(SHOWN_MAX).collect();
    if shown.len() < text.len() {
        shown.push_str("...");
    }
    format!("{shown:?}")
}
