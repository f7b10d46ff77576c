//! A column of values in Arrow's layout, and the two ways to make one from others: gather and concatenate.
//!
//! A closed enum instead of a trait object: every place that depends on the type is an exhaustive match. Gather is our
//! own, since arrow-select and its relatives are a quarter of a build and slower here (`docs/performance.md`).

use arrow_array::{
    Array, BinaryArray, BooleanArray, Float64Array, GenericByteArray, Int64Array, PrimitiveArray, StringArray,
    TimestampMicrosecondArray,
    types::{ArrowPrimitiveType, ByteArrayType},
};
use arrow_buffer::{BooleanBuffer, BooleanBufferBuilder, Buffer, NullBuffer, OffsetBuffer, ScalarBuffer};

use crate::schema::DataType;

/// Values of one type, null or not. Cheap to clone.
#[derive(Clone, Debug, PartialEq)]
pub enum Column {
    /// True or false.
    Boolean(BooleanArray),
    /// 64-bit integers.
    Int64(Int64Array),
    /// 64-bit floating-point numbers.
    Float64(Float64Array),
    /// UTF-8 text.
    Utf8(StringArray),
    /// Bytes.
    Binary(BinaryArray),
    /// Microseconds since the Unix epoch.
    Timestamp(TimestampMicrosecondArray),
    /// JSON values as text.
    Json(StringArray),
}

/// One body for every variant: `$array` is the concrete Arrow array.
macro_rules! for_each_array {
    ($column:expr, $array:ident => $body:expr) => {
        match $column {
            Column::Boolean($array) => $body,
            Column::Int64($array) => $body,
            Column::Float64($array) => $body,
            Column::Utf8($array) | Column::Json($array) => $body,
            Column::Binary($array) => $body,
            Column::Timestamp($array) => $body,
        }
    };
}

impl Column {
    /// The type of the values.
    pub fn data_type(&self) -> DataType {
        match self {
            Self::Boolean(_) => DataType::Boolean,
            Self::Int64(_) => DataType::Int64,
            Self::Float64(_) => DataType::Float64,
            Self::Utf8(_) => DataType::Utf8,
            Self::Binary(_) => DataType::Binary,
            Self::Timestamp(_) => DataType::Timestamp,
            Self::Json(_) => DataType::Json,
        }
    }

    /// The number of values.
    #[inline]
    pub fn len(&self) -> usize {
        for_each_array!(self, a => a.len())
    }

    /// Whether there is no value.
    pub fn is_empty(&self) -> bool {
        self.len() == 0
    }

    /// Which values are there; `None` where all are.
    #[inline]
    pub fn nulls(&self) -> Option<&NullBuffer> {
        for_each_array!(self, a => a.nulls())
    }

    /// Whether the value at `row` is null.
    #[inline]
    pub fn is_null(&self, row: usize) -> bool {
        for_each_array!(self, a => a.is_null(row))
    }

    /// The bytes that the values occupy, shared or not.
    pub fn size_bytes(&self) -> usize {
        let nulls = self.nulls().map_or(0, |n| n.len().div_ceil(8));
        let values = match self {
            Self::Boolean(a) => a.len().div_ceil(8),
            Self::Int64(_) | Self::Float64(_) | Self::Timestamp(_) => self.len() * 8,
            Self::Utf8(a) | Self::Json(a) => byte_array_size(a),
            Self::Binary(a) => byte_array_size(a),
        };
        values + nulls
    }

    /// The values at `rows`, in that order; a row may come more than once.
    ///
    /// # Panics
    /// A row is out of bounds.
    #[must_use]
    pub fn gather(&self, rows: &[u32]) -> Self {
        match self {
            Self::Boolean(a) => Self::Boolean(gather_booleans(a, rows)),
            Self::Int64(a) => Self::Int64(gather_primitives(a, rows)),
            Self::Float64(a) => Self::Float64(gather_primitives(a, rows)),
            Self::Utf8(a) => Self::Utf8(gather_bytes(a, rows)),
            Self::Binary(a) => Self::Binary(gather_bytes(a, rows)),
            Self::Timestamp(a) => Self::Timestamp(gather_primitives(a, rows)),
            Self::Json(a) => Self::Json(gather_bytes(a, rows)),
        }
    }

    /// `len` values from `offset` on, without a copy.
    #[must_use]
    pub fn slice(&self, offset: usize, len: usize) -> Self {
        match self {
            Self::Boolean(a) => Self::Boolean(a.slice(offset, len)),
            Self::Int64(a) => Self::Int64(a.slice(offset, len)),
            Self::Float64(a) => Self::Float64(a.slice(offset, len)),
            Self::Utf8(a) => Self::Utf8(a.slice(offset, len)),
            Self::Binary(a) => Self::Binary(a.slice(offset, len)),
            Self::Timestamp(a) => Self::Timestamp(a.slice(offset, len)),
            Self::Json(a) => Self::Json(a.slice(offset, len)),
        }
    }

    /// An empty column of this type.
    pub fn empty(data_type: DataType) -> Self {
        ColumnBuilder::new(data_type, 0).finish()
    }

    /// `len` nulls.
    pub fn nulls_of(data_type: DataType, len: usize) -> Self {
        let mut builder = ColumnBuilder::new(data_type, len);
        for _ in 0..len {
            builder.push_null();
        }
        builder.finish()
    }

    /// The value at `row`.
    ///
    /// # Panics
    /// The row is out of bounds.
    #[inline]
    pub fn value(&self, row: usize) -> Value<'_> {
        if self.is_null(row) {
            return Value::Null;
        }
        match self {
            Self::Boolean(a) => Value::Boolean(a.value(row)),
            Self::Int64(a) => Value::Int64(a.value(row)),
            Self::Float64(a) => Value::Float64(a.value(row)),
            Self::Utf8(a) => Value::Utf8(a.value(row)),
            Self::Binary(a) => Value::Binary(a.value(row)),
            Self::Timestamp(a) => Value::Timestamp(a.value(row)),
            Self::Json(a) => Value::Json(a.value(row)),
        }
    }
}

/// One value of a column, borrowed from it.
#[derive(Clone, Copy, Debug, PartialEq)]
pub enum Value<'a> {
    /// No value.
    Null,
    /// True or false.
    Boolean(bool),
    /// An integer.
    Int64(i64),
    /// A floating-point number.
    Float64(f64),
    /// Text.
    Utf8(&'a str),
    /// Bytes.
    Binary(&'a [u8]),
    /// Microseconds since the Unix epoch.
    Timestamp(i64),
    /// A JSON value as text.
    Json(&'a str),
}

/// One value that owns its text or bytes.
#[derive(Clone, Debug, PartialEq)]
pub enum Scalar {
    /// No value.
    Null,
    /// True or false.
    Boolean(bool),
    /// An integer.
    Int64(i64),
    /// A floating-point number.
    Float64(f64),
    /// Text.
    Utf8(String),
    /// Bytes.
    Binary(Vec<u8>),
    /// Microseconds since the Unix epoch.
    Timestamp(i64),
    /// A JSON value as text.
    Json(String),
}

impl Scalar {
    /// The value, borrowed.
    pub fn as_value(&self) -> Value<'_> {
        match self {
            Self::Null => Value::Null,
            Self::Boolean(v) => Value::Boolean(*v),
            Self::Int64(v) => Value::Int64(*v),
            Self::Float64(v) => Value::Float64(*v),
            Self::Utf8(v) => Value::Utf8(v),
            Self::Binary(v) => Value::Binary(v),
            Self::Timestamp(v) => Value::Timestamp(*v),
            Self::Json(v) => Value::Json(v),
        }
    }
}

impl From<Value<'_>> for Scalar {
    fn from(value: Value<'_>) -> Self {
        match value {
            Value::Null => Self::Null,
            Value::Boolean(v) => Self::Boolean(v),
            Value::Int64(v) => Self::Int64(v),
            Value::Float64(v) => Self::Float64(v),
            Value::Utf8(v) => Self::Utf8(v.to_owned()),
            Value::Binary(v) => Self::Binary(v.to_owned()),
            Value::Timestamp(v) => Self::Timestamp(v),
            Value::Json(v) => Self::Json(v.to_owned()),
        }
    }
}

/// Collects values of one type into a [`Column`].
#[derive(Debug)]
pub struct ColumnBuilder {
    values: Values,
    /// Made at the first null.
    validity: Option<BooleanBufferBuilder>,
    len: usize,
}

#[derive(Debug)]
enum Values {
    Boolean(BooleanBufferBuilder),
    Int64(Vec<i64>),
    Float64(Vec<f64>),
    Timestamp(Vec<i64>),
    Utf8(Bytes),
    Binary(Bytes),
    Json(Bytes),
}

#[derive(Debug)]
struct Bytes {
    offsets: Vec<i32>,
    data: Vec<u8>,
}

impl Bytes {
    fn with_capacity(rows: usize) -> Self {
        let mut offsets = Vec::with_capacity(rows + 1);
        offsets.push(0);
        Self {
            offsets,
            data: Vec::with_capacity(rows * 8),
        }
    }

    fn push(&mut self, value: &[u8]) {
        self.data.extend_from_slice(value);
        self.offsets
            .push(i32::try_from(self.data.len()).expect("a column of a batch holds less than 2 GiB"));
    }

    fn finish<T: ByteArrayType<Offset = i32>>(self, nulls: Option<NullBuffer>) -> GenericByteArray<T> {
        let offsets = OffsetBuffer::new(ScalarBuffer::from(self.offsets));
        GenericByteArray::try_new(offsets, Buffer::from_vec(self.data), nulls).expect("only whole values were pushed")
    }
}

impl ColumnBuilder {
    /// A builder for values of this type, with room for `rows` of them.
    pub fn new(data_type: DataType, rows: usize) -> Self {
        let values = match data_type {
            DataType::Boolean => Values::Boolean(BooleanBufferBuilder::new(rows)),
            DataType::Int64 => Values::Int64(Vec::with_capacity(rows)),
            DataType::Float64 => Values::Float64(Vec::with_capacity(rows)),
            DataType::Timestamp => Values::Timestamp(Vec::with_capacity(rows)),
            DataType::Utf8 => Values::Utf8(Bytes::with_capacity(rows)),
            DataType::Binary => Values::Binary(Bytes::with_capacity(rows)),
            DataType::Json => Values::Json(Bytes::with_capacity(rows)),
        };
        Self {
            values,
            validity: None,
            len: 0,
        }
    }

    /// The number of values so far.
    pub fn len(&self) -> usize {
        self.len
    }

    /// Whether nothing was pushed.
    pub fn is_empty(&self) -> bool {
        self.len == 0
    }

    /// Adds a null.
    pub fn push_null(&mut self) {
        let len = self.len;
        self.validity
            .get_or_insert_with(|| {
                let mut all = BooleanBufferBuilder::new(len + 1);
                all.append_n(len, true);
                all
            })
            .append(false);
        match &mut self.values {
            Values::Boolean(v) => v.append(false),
            Values::Int64(v) | Values::Timestamp(v) => v.push(0),
            Values::Float64(v) => v.push(0.0),
            Values::Utf8(v) | Values::Binary(v) | Values::Json(v) => v.push(b""),
        }
        self.len += 1;
    }

    /// Adds a value.
    ///
    /// # Panics
    /// The value is of another type than the builder.
    pub fn push(&mut self, value: Value<'_>) {
        match (&mut self.values, value) {
            (_, Value::Null) => return self.push_null(),
            (Values::Boolean(v), Value::Boolean(x)) => v.append(x),
            (Values::Int64(v), Value::Int64(x)) | (Values::Timestamp(v), Value::Timestamp(x)) => v.push(x),
            (Values::Float64(v), Value::Float64(x)) => v.push(x),
            (Values::Utf8(v), Value::Utf8(x)) | (Values::Json(v), Value::Json(x)) => v.push(x.as_bytes()),
            (Values::Binary(v), Value::Binary(x)) => v.push(x),
            (values, value) => panic!("a value of another type: {value:?} into {:?}", values.data_type()),
        }
        if let Some(validity) = &mut self.validity {
            validity.append(true);
        }
        self.len += 1;
    }

    /// The column of all that was pushed.
    pub fn finish(self) -> Column {
        let nulls = self.validity.map(|mut v| NullBuffer::new(v.finish()));
        match self.values {
            Values::Boolean(mut v) => Column::Boolean(BooleanArray::new(v.finish(), nulls)),
            Values::Int64(v) => Column::Int64(Int64Array::new(v.into(), nulls)),
            Values::Float64(v) => Column::Float64(Float64Array::new(v.into(), nulls)),
            Values::Timestamp(v) => Column::Timestamp(TimestampMicrosecondArray::new(v.into(), nulls)),
            Values::Utf8(v) => Column::Utf8(v.finish(nulls)),
            Values::Binary(v) => Column::Binary(v.finish(nulls)),
            Values::Json(v) => Column::Json(v.finish(nulls)),
        }
    }
}

impl Values {
    fn data_type(&self) -> DataType {
        match self {
            Self::Boolean(_) => DataType::Boolean,
            Self::Int64(_) => DataType::Int64,
            Self::Float64(_) => DataType::Float64,
            Self::Timestamp(_) => DataType::Timestamp,
            Self::Utf8(_) => DataType::Utf8,
            Self::Binary(_) => DataType::Binary,
            Self::Json(_) => DataType::Json,
        }
    }
}

/// Copies `values[i]` for each i of `rows`.
pub fn gather_values<T: Copy>(values: &[T], rows: &[u32]) -> Vec<T> {
    rows.iter().map(|&i| values[i as usize]).collect()
}

fn gather_nulls(nulls: Option<&NullBuffer>, rows: &[u32]) -> Option<NullBuffer> {
    let nulls = nulls?;
    let gathered = NullBuffer::new(BooleanBuffer::collect_bool(rows.len(), |i| {
        nulls.is_valid(rows[i] as usize)
    }));
    (gathered.null_count() > 0).then_some(gathered)
}

fn gather_primitives<T: ArrowPrimitiveType>(array: &PrimitiveArray<T>, rows: &[u32]) -> PrimitiveArray<T> {
    let values = gather_values(array.values(), rows);
    PrimitiveArray::new(values.into(), gather_nulls(array.nulls(), rows))
}

fn gather_booleans(array: &BooleanArray, rows: &[u32]) -> BooleanArray {
    let values = BooleanBuffer::collect_bool(rows.len(), |i| array.value(rows[i] as usize));
    BooleanArray::new(values, gather_nulls(array.nulls(), rows))
}

fn gather_bytes<T: ByteArrayType<Offset = i32>>(array: &GenericByteArray<T>, rows: &[u32]) -> GenericByteArray<T> {
    let from = array.value_offsets();
    let data = array.value_data();
    let mut offsets = Vec::with_capacity(rows.len() + 1);
    let mut end = 0_i32;
    offsets.push(end);
    for &row in rows {
        let len = from[row as usize + 1] - from[row as usize];
        end = end.checked_add(len).expect("a column of a batch holds less than 2 GiB");
        offsets.push(end);
    }
    let mut values = Vec::with_capacity(end as usize);
    for &row in rows {
        values.extend_from_slice(&data[from[row as usize] as usize..from[row as usize + 1] as usize]);
    }
    let offsets = OffsetBuffer::new(ScalarBuffer::from(offsets));
    let nulls = gather_nulls(array.nulls(), rows);
    GenericByteArray::try_new(offsets, Buffer::from_vec(values), nulls).expect("whole values of a valid array")
}

fn byte_array_size<T: ByteArrayType<Offset = i32>>(array: &GenericByteArray<T>) -> usize {
    let offsets = array.value_offsets();
    let data = match (offsets.first(), offsets.last()) {
        (Some(first), Some(last)) => (last - first) as usize,
        _ => 0,
    };
    data + offsets.len() * 4
}

/// All values of `parts`, one part after the other.
///
/// # Panics
/// A part is of another type.
pub fn concat<'a>(data_type: DataType, parts: impl Iterator<Item = &'a Column> + Clone) -> Column {
    let rows = parts.clone().map(Column::len).sum();
    let mut builder = ColumnBuilder::new(data_type, rows);
    for part in parts {
        assert_eq!(part.data_type(), data_type, "columns of one place have one type");
        for row in 0..part.len() {
            builder.push(part.value(row));
        }
    }
    builder.finish()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn text(values: &[Option<&str>]) -> Column {
        let mut builder = ColumnBuilder::new(DataType::Utf8, values.len());
        for value in values {
            builder.push(value.map_or(Value::Null, Value::Utf8));
        }
        builder.finish()
    }

    #[test]
    fn gather_repeats_skips_and_reorders() {
        let column = text(&[Some("a"), None, Some("ccc")]);
        assert_eq!(
            column.gather(&[2, 1, 1, 0]),
            text(&[Some("ccc"), None, None, Some("a")])
        );
        assert_eq!(column.gather(&[]).len(), 0);
    }

    #[test]
    fn gather_reads_a_sliced_column_from_its_own_start() {
        let column = text(&[Some("a"), None, Some("ccc"), Some("dd")]).slice(1, 3);
        assert_eq!(column.gather(&[2, 0]), text(&[Some("dd"), None]));
        assert_eq!(column.size_bytes(), 5 + 4 * 4 + 1);
    }

    #[test]
    fn concat_keeps_values_and_nulls() {
        let parts = [text(&[Some("a"), None]), text(&[]), text(&[Some("b")])];
        assert_eq!(
            concat(DataType::Utf8, parts.iter()),
            text(&[Some("a"), None, Some("b")])
        );
    }
}
