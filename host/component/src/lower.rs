//! Columns on their way into a guest: slices of Arrow's own buffers, in the layout of the contract.
//!
//! A column crosses in one copy, made by wasmtime into the guest's memory. Here only what the contract spells
//! differently is copied: offsets of a sliced column (they start at 0), bitmaps that start inside a byte or whose spare
//! bits belong to rows after the slice.

use std::borrow::Cow;

use arrow_array::{GenericByteArray, types::ByteArrayType};
use arrow_buffer::{BooleanBuffer, OffsetBuffer, ToByteSlice};
use wasmill_core::column::Column;

use crate::bindings::wasmill::operator::types::{ColumnParam, ColumnResult};

#[cfg(target_endian = "big")]
compile_error!("columns cross as little-endian bytes");

/// A column's buffers.
#[derive(Debug)]
pub(crate) struct Lowered<'a> {
    validity: Option<Cow<'a, [u8]>>,
    offsets: Cow<'a, [u8]>,
    data: Cow<'a, [u8]>,
}

impl<'a> Lowered<'a> {
    /// The buffers of a column.
    pub(crate) fn new(column: &'a Column) -> Self {
        const NO_OFFSETS: Cow<'static, [u8]> = Cow::Borrowed(&[]);
        let (offsets, data) = match column {
            Column::Boolean(a) => (NO_OFFSETS, bits(a.values())),
            Column::Int64(a) => (NO_OFFSETS, Cow::Borrowed(a.values().to_byte_slice())),
            Column::Float64(a) => (NO_OFFSETS, Cow::Borrowed(a.values().to_byte_slice())),
            Column::Timestamp(a) => (NO_OFFSETS, Cow::Borrowed(a.values().to_byte_slice())),
            Column::Utf8(a) | Column::Json(a) => spans(a),
            Column::Binary(a) => spans(a),
        };
        let nulls = column.nulls().filter(|nulls| nulls.null_count() > 0);
        Self {
            validity: nulls.map(|nulls| bits(nulls.inner())),
            offsets,
            data,
        }
    }

    /// The column as the bindings take it.
    pub(crate) fn param(&self) -> ColumnParam<'_> {
        ColumnParam {
            validity: self.validity.as_deref(),
            offsets: &self.offsets,
            data: &self.data,
        }
    }

    /// The column as the answer of an import, which owns its bytes.
    pub(crate) fn into_answer(self) -> ColumnResult {
        ColumnResult {
            validity: self.validity.map(Cow::into_owned),
            offsets: self.offsets.into_owned(),
            data: self.data.into_owned(),
        }
    }

    /// How many bytes cross.
    pub(crate) fn size_bytes(&self) -> usize {
        self.validity.as_ref().map_or(0, |v| v.len()) + self.offsets.len() + self.data.len()
    }
}

/// The buffers of some columns.
pub(crate) fn lower(columns: &[Column]) -> Vec<Lowered<'_>> {
    columns.iter().map(Lowered::new).collect()
}

/// How many bytes of them cross.
pub(crate) fn size_bytes(columns: &[Lowered<'_>]) -> usize {
    columns.iter().map(Lowered::size_bytes).sum()
}

/// A bitmap of these bits, as the contract has it.
pub(crate) fn bitmap(bits: &[bool]) -> Vec<u8> {
    let mut bytes = vec![0; bits.len().div_ceil(8)];
    for (i, &bit) in bits.iter().enumerate() {
        bytes[i / 8] |= u8::from(bit) << (i % 8);
    }
    bytes
}

/// The columns as the bindings take them.
pub(crate) fn params<'a>(columns: &'a [Lowered<'a>]) -> Vec<ColumnParam<'a>> {
    columns.iter().map(Lowered::param).collect()
}

/// A bitmap that starts at a byte and whose spare bits are 0.
fn bits(bits: &BooleanBuffer) -> Cow<'_, [u8]> {
    let len = bits.len().div_ceil(8);
    let spare = spare_bits(bits.len());
    if bits.offset().is_multiple_of(8) {
        let start = bits.offset() / 8;
        let bytes = &bits.values()[start..start + len];
        if bytes.last().is_none_or(|last| last & spare == 0) {
            return Cow::Borrowed(bytes);
        }
    }
    let mut bytes = bits.sliced()[..len].to_vec();
    if let Some(last) = bytes.last_mut() {
        *last &= !spare;
    }
    Cow::Owned(bytes)
}

/// The bits of a bitmap's last byte that stand for no row.
pub(crate) fn spare_bits(rows: usize) -> u8 {
    match rows % 8 {
        0 => 0,
        used => 0xFF << used,
    }
}

/// Offsets that start at 0, and the bytes that they span.
fn spans<T: ByteArrayType<Offset = i32>>(array: &GenericByteArray<T>) -> (Cow<'_, [u8]>, Cow<'_, [u8]>) {
    let offsets: &OffsetBuffer<i32> = array.offsets();
    let first = offsets.first();
    let data = &array.value_data()[first as usize..offsets.last() as usize];
    let offsets = if first == 0 {
        Cow::Borrowed(offsets.to_byte_slice())
    } else {
        Cow::Owned(
            offsets
                .iter()
                .flat_map(|offset| (offset - first).to_le_bytes())
                .collect(),
        )
    };
    (offsets, Cow::Borrowed(data))
}

#[cfg(test)]
mod tests {
    use super::*;
    use wasmill_core::column::{ColumnBuilder, Value};
    use wasmill_core::schema::DataType;

    fn column(data_type: DataType, values: &[Value<'_>]) -> Column {
        let mut builder = ColumnBuilder::new(data_type, values.len());
        for &value in values {
            builder.push(value);
        }
        builder.finish()
    }

    #[test]
    fn offsets_of_a_sliced_column_start_at_zero() {
        let whole = column(DataType::Utf8, &["a", "bcd", "", "ef"].map(Value::Utf8));
        let slice = whole.slice(1, 3);
        let lowered = Lowered::new(&slice);
        assert_eq!(&*lowered.offsets, [0_u32, 3, 3, 5].map(u32::to_le_bytes).as_flattened());
        assert_eq!(&*lowered.data, b"bcdef");
        assert!(lowered.validity.is_none());
    }

    #[test]
    fn bitmaps_are_realigned_and_hold_nothing_of_other_rows() {
        let values: Vec<Value<'_>> = (0..20).map(|i| Value::Boolean(i % 3 == 0)).collect();
        let whole = column(DataType::Boolean, &values);
        for (offset, len) in [(0, 20), (0, 3), (8, 5), (3, 9), (19, 1), (20, 0)] {
            let slice = whole.slice(offset, len);
            let lowered = Lowered::new(&slice);
            let mut expect = vec![0_u8; len.div_ceil(8)];
            for i in (0..len).filter(|i| (offset + i) % 3 == 0) {
                expect[i / 8] |= 1 << (i % 8);
            }
            assert_eq!(&*lowered.data, expect, "{len} rows from {offset}");
        }
    }

    #[test]
    fn a_column_whose_slice_holds_no_null_crosses_without_validity() {
        let whole = column(DataType::Int64, &[Value::Null, Value::Int64(1), Value::Int64(2)]);
        let slice = whole.slice(1, 2);
        assert!(Lowered::new(&slice).validity.is_none());
        assert_eq!(Lowered::new(&whole).validity.as_deref(), Some(&[0b110][..]));
        assert_eq!(Lowered::new(&whole).size_bytes(), 25);
    }
}
