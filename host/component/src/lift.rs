//! Columns on their way out of a guest: bytes that may be anything, checked and made into Arrow arrays.
//!
//! Everything that Arrow takes on trust is checked here once: lengths, offsets, UTF-8 of every value, spare bits, nulls
//! in columns that have none. The bytes were copied out of the guest by wasmtime; here they are only moved, or copied
//! once more where the allocator did not align them. Float columns leave with one NaN, so that a guest's choice of its
//! bits reaches neither a key's hash nor an output file. Values of `json` columns are parsed: one that is not JSON would
//! break the line of the file that it ends up in, far from its cause.

use std::fmt;

use arrow_array::{
    BinaryArray, BooleanArray, Float64Array, GenericByteArray, Int64Array, TimestampMicrosecondArray, types::Utf8Type,
};
use arrow_buffer::{ArrowNativeType, BooleanBuffer, Buffer, NullBuffer, OffsetBuffer, ScalarBuffer};
use serde::de::IgnoredAny;
use wasmill_core::column::{Column, Scalar};
use wasmill_core::schema::{DataType, Field};

use crate::bindings::wasmill::operator::types::{self, ColumnResult};
use crate::lower::spare_bits;

/// What a guest returned that it must not.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Violation {
    /// Whether it is only too much.
    pub(crate) over_limit: bool,
    /// What is wrong, as a lowercase fragment.
    pub(crate) message: String,
    /// The row of the column, where there is one.
    pub(crate) row: Option<usize>,
}

impl Violation {
    /// The contract forbids it.
    pub(crate) fn new(message: impl Into<String>) -> Self {
        Self {
            over_limit: false,
            message: message.into(),
            row: None,
        }
    }

    /// The contract forbids it in this row.
    pub(crate) fn in_row(row: usize, message: impl Into<String>) -> Self {
        Self {
            row: Some(row),
            ..Self::new(message)
        }
    }

    /// More than the limit.
    pub(crate) fn over_limit(message: impl Into<String>) -> Self {
        Self {
            over_limit: true,
            ..Self::new(message)
        }
    }

    /// The same, of this thing.
    #[must_use]
    pub(crate) fn of(mut self, thing: impl fmt::Display) -> Self {
        self.message = format!("{thing}: {}", self.message);
        self
    }
}

/// The columns of `fields`, in their order, `rows` values each.
pub(crate) fn columns(
    what: &str,
    raw: Vec<ColumnResult>,
    fields: &[Field],
    rows: usize,
) -> Result<Vec<Column>, Violation> {
    if raw.len() != fields.len() {
        return Err(Violation::new(format!(
            "{} {what} instead of {}",
            raw.len(),
            fields.len()
        )));
    }
    let lifted = raw.into_iter().zip(fields).map(|(raw, field)| column(raw, field, rows));
    lifted.collect()
}

/// A column of the field's type with `rows` values.
pub(crate) fn column(raw: ColumnResult, field: &Field, rows: usize) -> Result<Column, Violation> {
    unnamed(raw, field, rows).map_err(|violation| violation.of(format_args!("column \"{}\"", field.name)))
}

fn unnamed(raw: ColumnResult, field: &Field, rows: usize) -> Result<Column, Violation> {
    let nulls = nulls(raw.validity, field.nullable, rows)?;
    if !has_offsets(field.data_type) && !raw.offsets.is_empty() {
        return Err(Violation::new(format!(
            "offsets in a column of type {}",
            field.data_type
        )));
    }
    Ok(match field.data_type {
        DataType::Boolean => Column::Boolean(BooleanArray::new(bitmap(raw.data, rows, "data")?, nulls)),
        DataType::Int64 => Column::Int64(Int64Array::new(fixed(raw.data, rows)?, nulls)),
        DataType::Timestamp => Column::Timestamp(TimestampMicrosecondArray::new(fixed(raw.data, rows)?, nulls)),
        DataType::Float64 => {
            let mut data = raw.data;
            canonicalise_nans(&mut data);
            Column::Float64(Float64Array::new(fixed(data, rows)?, nulls))
        }
        DataType::Binary => {
            let offsets = offsets(raw.offsets, raw.data.len(), rows, nulls.as_ref())?;
            Column::Binary(BinaryArray::new(offsets, Buffer::from_vec(raw.data), nulls))
        }
        DataType::Utf8 => Column::Utf8(text(raw.offsets, raw.data, rows, nulls)?),
        DataType::Json => {
            let values: GenericByteArray<Utf8Type> = text(raw.offsets, raw.data, rows, nulls)?;
            for (row, value) in values.iter().enumerate() {
                if let Some(Err(error)) = value.map(serde_json::from_str::<IgnoredAny>) {
                    return Err(Violation::in_row(row, format!("a value that is not JSON ({error})")));
                }
            }
            Column::Json(values)
        }
    })
}

fn has_offsets(data_type: DataType) -> bool {
    matches!(data_type, DataType::Utf8 | DataType::Binary | DataType::Json)
}

/// Whether one of them is true. All are looked at, without a branch, so that the compiler makes it a few instructions for
/// many values; which one it is, is looked for only then.
pub(crate) fn any(all: impl Iterator<Item = bool>) -> bool {
    all.fold(0_u8, |acc, one| acc | u8::from(one)) != 0
}

/// Row numbers below `rows`.
pub(crate) fn row_numbers(raw: Vec<u8>, rows: usize) -> Result<ScalarBuffer<u32>, Violation> {
    if !raw.len().is_multiple_of(size_of::<u32>()) {
        return Err(Violation::new(format!(
            "row numbers in {} bytes, which is no multiple of 4",
            raw.len()
        )));
    }
    let numbers: ScalarBuffer<u32> = typed(raw);
    if any(numbers.iter().map(|&n| n as usize >= rows)) {
        let place = numbers.iter().position(|&n| n as usize >= rows).unwrap_or_default();
        return Err(Violation::new(format!(
            "row {} is selected from a batch of {rows} rows",
            numbers[place]
        )));
    }
    Ok(numbers)
}

/// Numbers of things of which there are `count`: events, keys, firings.
pub(crate) fn numbers(raw: &[u8], count: usize, what: &str) -> Result<Vec<u32>, Violation> {
    let (chunks, []) = raw.as_chunks::<4>() else {
        return Err(Violation::new(format!(
            "numbers of a {what} in {} bytes, which is no multiple of 4",
            raw.len()
        )));
    };
    let numbers: Vec<u32> = chunks.iter().map(|chunk| u32::from_le_bytes(*chunk)).collect();
    if any(numbers.iter().map(|&n| n as usize >= count)) {
        let outside = numbers
            .iter()
            .find(|&&n| n as usize >= count)
            .copied()
            .unwrap_or_default();
        return Err(Violation::new(format!("{what} {outside}, but there are {count}")));
    }
    Ok(numbers)
}

/// The same, each at most once.
pub(crate) fn distinct_numbers(raw: &[u8], count: usize, what: &str) -> Result<Vec<u32>, Violation> {
    let numbers = numbers(raw, count, what)?;
    let ascends = !any(numbers.iter().zip(numbers.iter().skip(1)).map(|(a, b)| a >= b));
    if !ascends {
        let mut seen = vec![false; count];
        if let Some(&twice) = numbers
            .iter()
            .find(|&&n| std::mem::replace(&mut seen[n as usize], true))
        {
            return Err(Violation::new(format!("{what} {twice} twice")));
        }
    }
    Ok(numbers)
}

/// As many int64 as there are rows: times, tags.
pub(crate) fn int64s(raw: Vec<u8>, rows: usize, what: &str) -> Result<ScalarBuffer<i64>, Violation> {
    fixed(raw, rows).map_err(|violation| violation.of(what))
}

/// A value that a field may hold; `None` where it may not.
pub(crate) fn scalar(raw: types::Scalar, field: &Field) -> Option<Scalar> {
    let scalar = match raw {
        types::Scalar::Null => Scalar::Null,
        types::Scalar::Boolean(v) => Scalar::Boolean(v),
        types::Scalar::Int64(v) => Scalar::Int64(v),
        types::Scalar::Float64(v) if v.is_nan() => Scalar::Float64(f64::from_bits(NAN)),
        types::Scalar::Float64(v) => Scalar::Float64(v),
        types::Scalar::Utf8(v) => Scalar::Utf8(v),
        types::Scalar::Binary(v) => Scalar::Binary(v),
        types::Scalar::Timestamp(v) => Scalar::Timestamp(v),
        types::Scalar::Json(v) => Scalar::Json(v),
    };
    let fits = match (&scalar, field.data_type) {
        (Scalar::Null, _) => field.nullable,
        (Scalar::Json(text), DataType::Json) => serde_json::from_str::<IgnoredAny>(text).is_ok(),
        (Scalar::Boolean(_), DataType::Boolean)
        | (Scalar::Int64(_), DataType::Int64)
        | (Scalar::Float64(_), DataType::Float64)
        | (Scalar::Utf8(_), DataType::Utf8)
        | (Scalar::Binary(_), DataType::Binary)
        | (Scalar::Timestamp(_), DataType::Timestamp) => true,
        _ => false,
    };
    fits.then_some(scalar)
}

/// A bitmap of `rows` bits whose spare bits are 0.
pub(crate) fn bitmap(raw: Vec<u8>, rows: usize, what: &str) -> Result<BooleanBuffer, Violation> {
    let expected = rows.div_ceil(8);
    if raw.len() != expected {
        return Err(Violation::new(format!(
            "{what} of {} bytes where {rows} rows take {expected}",
            raw.len()
        )));
    }
    if raw.last().is_some_and(|last| last & spare_bits(rows) != 0) {
        return Err(Violation::new(format!("spare bits of {what} are not 0")));
    }
    Ok(BooleanBuffer::new(Buffer::from_vec(raw), 0, rows))
}

fn nulls(raw: Option<Vec<u8>>, nullable: bool, rows: usize) -> Result<Option<NullBuffer>, Violation> {
    let Some(raw) = raw else { return Ok(None) };
    let nulls = NullBuffer::new(bitmap(raw, rows, "validity")?);
    if nulls.null_count() == 0 {
        return Ok(None);
    }
    if nullable {
        return Ok(Some(nulls));
    }
    let row = nulls.iter().position(|valid| !valid).unwrap_or_default();
    Err(Violation::in_row(row, "null in a column that is not nullable"))
}

/// `rows` values of 8 bytes.
fn fixed<T: ArrowNativeType>(raw: Vec<u8>, rows: usize) -> Result<ScalarBuffer<T>, Violation> {
    let expected = rows * size_of::<T>();
    if raw.len() != expected {
        return Err(Violation::new(format!(
            "data of {} bytes where {rows} rows take {expected}",
            raw.len()
        )));
    }
    Ok(typed(raw))
}

/// The bytes as values. Moved where the allocator aligned them, as allocators do; else copied.
fn typed<T: ArrowNativeType>(raw: Vec<u8>) -> ScalarBuffer<T> {
    let len = raw.len() / size_of::<T>();
    let buffer = if raw.as_ptr().align_offset(align_of::<T>()) == 0 {
        Buffer::from_vec(raw)
    } else {
        Buffer::from_slice_ref(&raw)
    };
    ScalarBuffer::new(buffer, 0, len)
}

/// The one NaN that leaves a guest.
const NAN: u64 = 0x7FF8_0000_0000_0000;

fn canonicalise_nans(data: &mut [u8]) {
    let (values, _) = data.as_chunks_mut::<8>();
    if !any(values.iter().map(|v| f64::from_le_bytes(*v).is_nan())) {
        return;
    }
    for value in values {
        let number = f64::from_le_bytes(*value);
        let bits = if number.is_nan() { NAN } else { number.to_bits() };
        *value = bits.to_le_bytes();
    }
}

/// Offsets from 0 to the length of the data that never fall; a null's value is empty.
fn offsets(
    raw: Vec<u8>,
    data_len: usize,
    rows: usize,
    nulls: Option<&NullBuffer>,
) -> Result<OffsetBuffer<i32>, Violation> {
    let expected = (rows + 1) * size_of::<i32>();
    if raw.len() != expected {
        return Err(Violation::new(format!(
            "offsets of {} bytes where {rows} rows take {expected}",
            raw.len()
        )));
    }
    let Ok(end) = i32::try_from(data_len) else {
        return Err(Violation::over_limit("data of more than 2 GiB"));
    };
    let offsets: ScalarBuffer<i32> = typed(raw);
    if offsets[0] != 0 {
        return Err(Violation::new(format!(
            "the first offset is {}, not 0",
            offsets[0].cast_unsigned()
        )));
    }
    if offsets[rows] != end {
        return Err(Violation::new(format!(
            "the last offset is {}, but there are {end} bytes of data",
            offsets[rows].cast_unsigned()
        )));
    }
    // An offset of 2^31 or more is negative here, so it falls.
    let falls = any(offsets.iter().zip(&offsets[1..]).map(|(a, b)| b < a));
    if falls {
        let row = offsets
            .windows(2)
            .position(|pair| pair[1] < pair[0])
            .unwrap_or_default();
        return Err(Violation::in_row(row, "the offsets fall"));
    }
    // From 0 to `end` without falling: the precondition of an OffsetBuffer, checked again in its constructor.
    let offsets = OffsetBuffer::new(offsets);
    if nulls.is_some() && offsets.has_non_empty_nulls(nulls) {
        return Err(Violation::new("a null whose value is not empty"));
    }
    Ok(offsets)
}

fn text(
    raw: Vec<u8>,
    data: Vec<u8>,
    rows: usize,
    nulls: Option<NullBuffer>,
) -> Result<GenericByteArray<Utf8Type>, Violation> {
    let offsets = offsets(raw, data.len(), rows, nulls.as_ref())?;
    if !values_are_utf8(&offsets, &data) {
        let row = offsets
            .windows(2)
            .position(|pair| simdutf8::basic::from_utf8(&data[pair[0] as usize..pair[1] as usize]).is_err());
        return Err(Violation::in_row(row.unwrap_or_default(), "a value that is not UTF-8"));
    }
    Ok(unchecked(offsets, data, nulls))
}

/// Whether each value is UTF-8: the data as a whole is, and no value begins inside a character.
fn values_are_utf8(offsets: &[i32], data: &[u8]) -> bool {
    /// Bytes 0b10xxxxxx, which continue a character, are the least as signed numbers.
    const FIRST_THAT_BEGINS_A_CHARACTER: i8 = -0x40;
    if data.is_ascii() {
        return true;
    }
    let begins = |&offset: &i32| {
        data.get(offset as usize)
            .is_none_or(|b| b.cast_signed() >= FIRST_THAT_BEGINS_A_CHARACTER)
    };
    simdutf8::basic::from_utf8(data).is_ok() && offsets.iter().all(begins)
}

#[expect(unsafe_code, reason = "Arrow would validate the text a second time")]
fn unchecked(offsets: OffsetBuffer<i32>, data: Vec<u8>, nulls: Option<NullBuffer>) -> GenericByteArray<Utf8Type> {
    // SAFETY: `try_new` would check what `offsets`, `nulls` and `values_are_utf8` have checked: the offsets do not fall
    // and end at the length of the data, there is one more offset than bits of validity, and every value is UTF-8.
    unsafe { GenericByteArray::new_unchecked(offsets, Buffer::from_vec(data), nulls) }
}

#[cfg(test)]
mod tests {
    use super::*;
    use wasmill_core::column::Value;

    fn raw(validity: Option<&[u8]>, offsets: &[u32], data: &[u8]) -> ColumnResult {
        ColumnResult {
            validity: validity.map(<[u8]>::to_vec),
            offsets: offsets.iter().flat_map(|o| o.to_le_bytes()).collect(),
            data: data.to_vec(),
        }
    }

    fn check(data_type: DataType, rows: usize, raw: ColumnResult, expect: &str) {
        let violation = column(raw, &Field::required("c", data_type), rows).expect_err(expect);
        let row = violation.row.map_or(String::new(), |row| format!(" @{row}"));
        assert_eq!(format!("{}{row}", violation.message), format!("column \"c\": {expect}"));
    }

    #[test]
    fn every_way_to_get_a_column_wrong_has_its_message() {
        use DataType::{Boolean, Int64, Json, Utf8};
        check(
            Int64,
            2,
            raw(None, &[], &[0; 8]),
            "data of 8 bytes where 2 rows take 16",
        );
        check(Int64, 1, raw(None, &[0], &[0; 8]), "offsets in a column of type int64");
        check(Boolean, 3, raw(None, &[], &[0b1000]), "spare bits of data are not 0");
        check(Boolean, 9, raw(None, &[], &[0]), "data of 1 bytes where 9 rows take 2");
        check(
            Int64,
            1,
            raw(Some(&[2]), &[], &[0; 8]),
            "spare bits of validity are not 0",
        );
        check(
            Int64,
            1,
            raw(Some(&[]), &[], &[0; 8]),
            "validity of 0 bytes where 1 rows take 1",
        );
        check(
            Int64,
            2,
            raw(Some(&[1]), &[], &[0; 16]),
            "null in a column that is not nullable @1",
        );
        check(Utf8, 1, raw(None, &[0], b""), "offsets of 4 bytes where 1 rows take 8");
        check(Utf8, 0, raw(None, &[], b""), "offsets of 0 bytes where 0 rows take 4");
        check(Utf8, 1, raw(None, &[1, 1], b"a"), "the first offset is 1, not 0");
        check(
            Utf8,
            1,
            raw(None, &[0, 9], b"a"),
            "the last offset is 9, but there are 1 bytes of data",
        );
        check(Utf8, 2, raw(None, &[0, 2, 1], b"a"), "the offsets fall @1");
        check(Utf8, 3, raw(None, &[0, 1, u32::MAX, 1], b"a"), "the offsets fall @1");
        check(Utf8, 2, raw(None, &[0, 1, 2], b"a\xFF"), "a value that is not UTF-8 @1");
        check(
            Utf8,
            2,
            raw(None, &[0, 1, 2], "\u{e9}".as_bytes()),
            "a value that is not UTF-8 @0",
        );
        check(
            Json,
            1,
            raw(None, &[0, 1], b"{"),
            "a value that is not JSON (EOF while parsing an object at line 1 column 1) @0",
        );
    }

    #[test]
    fn a_null_is_empty() {
        let nullable = Field::nullable("c", DataType::Utf8);
        let column_of = |offsets: &[u32], data: &[u8]| column(raw(Some(&[0b01]), offsets, data), &nullable, 2);
        let lifted = column_of(&[0, 1, 1], b"a").unwrap();
        assert_eq!((lifted.value(0), lifted.value(1)), (Value::Utf8("a"), Value::Null));
        let violation = column_of(&[0, 0, 1], b"a").unwrap_err();
        assert_eq!(violation.message, "column \"c\": a null whose value is not empty");
    }

    #[test]
    fn every_nan_becomes_the_one() {
        let numbers = [0xFFF8_0000_0000_0001_u64, 1.5_f64.to_bits(), 0x7FF0_0000_0000_0001];
        let data = numbers.map(u64::to_le_bytes).concat();
        let lifted = column(raw(None, &[], &data), &Field::required("c", DataType::Float64), 3).unwrap();
        let Column::Float64(lifted) = lifted else {
            panic!("a float column")
        };
        let bits: Vec<u64> = lifted.values().iter().map(|v| v.to_bits()).collect();
        assert_eq!(bits, [NAN, 1.5_f64.to_bits(), NAN]);
    }

    #[test]
    fn row_numbers_stay_below_the_number_of_rows() {
        let bytes = |rows: &[u32]| rows.iter().flat_map(|r| r.to_le_bytes()).collect::<Vec<u8>>();
        assert_eq!(&*row_numbers(bytes(&[2, 0, 2]), 3).unwrap(), &[2, 0, 2]);
        let outside = row_numbers(bytes(&[0, 3]), 3).unwrap_err();
        assert_eq!(outside.message, "row 3 is selected from a batch of 3 rows");
        assert!(row_numbers(vec![0; 5], 3).is_err());
    }
}
