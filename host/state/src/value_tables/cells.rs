//! One column of a value table: a cell for each resident key, by the key's id.
//!
//! Gather and scatter are one pass over the keys each. A cell that no key has written holds the initial value.

use arrow_array::types::ByteArrayType;
use arrow_array::{BooleanArray, Float64Array, GenericByteArray, Int64Array, TimestampMicrosecondArray};
use arrow_buffer::{BooleanBuffer, Buffer, NullBuffer, OffsetBuffer, ScalarBuffer};
use wasmill_core::column::{Column, Scalar, Value, gather_values};
use wasmill_core::schema::DataType;

use crate::keys::KeyId;

/// The cells of a column.
#[derive(Debug)]
pub(super) struct Cells {
    data_type: DataType,
    initial: Scalar,
    values: Values,
    /// Which are not null; made at the first null.
    valid: Option<Vec<bool>>,
    /// Of the texts and bytes in the cells.
    heap_bytes: usize,
}

/// What is null is zero or empty, so that nothing shows from under it.
#[derive(Debug)]
enum Values {
    Boolean(Vec<bool>),
    /// Integers and timestamps.
    Integer(Vec<i64>),
    Float(Vec<f64>),
    /// Text, JSON and bytes.
    Bytes(Vec<Vec<u8>>),
}

impl Cells {
    pub(super) fn new(data_type: DataType, initial: Scalar) -> Self {
        let values = match data_type {
            DataType::Boolean => Values::Boolean(Vec::new()),
            DataType::Int64 | DataType::Timestamp => Values::Integer(Vec::new()),
            DataType::Float64 => Values::Float(Vec::new()),
            DataType::Utf8 | DataType::Json | DataType::Binary => Values::Bytes(Vec::new()),
        };
        Self {
            data_type,
            initial,
            values,
            valid: None,
            heap_bytes: 0,
        }
    }

    /// What a cell takes, text and bytes aside.
    pub(super) fn cell_bytes(&self) -> usize {
        match &self.values {
            Values::Boolean(_) => 2,
            Values::Integer(_) | Values::Float(_) => 9,
            Values::Bytes(_) => size_of::<Vec<u8>>() + 1,
        }
    }

    /// What the texts and bytes take.
    pub(super) fn heap_bytes(&self) -> usize {
        self.heap_bytes
    }

    /// What a cell's value takes in a column.
    pub(super) fn value_bytes(&self, id: KeyId) -> usize {
        match &self.values {
            Values::Boolean(_) => 1,
            Values::Integer(_) | Values::Float(_) => 8,
            Values::Bytes(cells) => 4 + cells[id as usize].len(),
        }
    }

    /// Makes room for ids below `ids`.
    pub(super) fn grow(&mut self, ids: usize) {
        let before = self.len();
        if ids <= before {
            return;
        }
        match &mut self.values {
            Values::Boolean(v) => v.resize(ids, false),
            Values::Integer(v) => v.resize(ids, 0),
            Values::Float(v) => v.resize(ids, 0.0),
            Values::Bytes(v) => v.resize_with(ids, Vec::new),
        }
        if let Some(valid) = &mut self.valid {
            valid.resize(ids, true);
        }
        for id in before..ids {
            self.reset(id as KeyId);
        }
    }

    fn len(&self) -> usize {
        match &self.values {
            Values::Boolean(v) => v.len(),
            Values::Integer(v) => v.len(),
            Values::Float(v) => v.len(),
            Values::Bytes(v) => v.len(),
        }
    }

    /// Sets a cell to the initial value.
    pub(super) fn reset(&mut self, id: KeyId) {
        let initial = std::mem::replace(&mut self.initial, Scalar::Null);
        self.set(id, initial.as_value());
        self.initial = initial;
    }

    /// Sets a cell.
    ///
    /// # Panics
    /// The value is of another type.
    pub(super) fn set(&mut self, id: KeyId, value: Value<'_>) {
        let at = id as usize;
        match (&mut self.values, value) {
            (Values::Boolean(cells), Value::Boolean(v)) => cells[at] = v,
            (Values::Boolean(cells), Value::Null) => cells[at] = false,
            (Values::Integer(cells), Value::Int64(v) | Value::Timestamp(v)) => cells[at] = v,
            (Values::Integer(cells), Value::Null) => cells[at] = 0,
            (Values::Float(cells), Value::Float64(v)) => cells[at] = v,
            (Values::Float(cells), Value::Null) => cells[at] = 0.0,
            (Values::Bytes(cells), Value::Utf8(v) | Value::Json(v)) => {
                replace(&mut cells[at], v.as_bytes(), &mut self.heap_bytes);
            }
            (Values::Bytes(cells), Value::Binary(v)) => replace(&mut cells[at], v, &mut self.heap_bytes),
            (Values::Bytes(cells), Value::Null) => replace(&mut cells[at], b"", &mut self.heap_bytes),
            (_, value) => panic!("a value of another type: {value:?} into {}", self.data_type),
        }
        match (&mut self.valid, value) {
            (Some(valid), value) => valid[at] = value != Value::Null,
            (None, Value::Null) => self.make_valid()[at] = false,
            (None, _) => {}
        }
    }

    fn make_valid(&mut self) -> &mut Vec<bool> {
        let len = self.len();
        self.valid.get_or_insert_with(|| vec![true; len])
    }

    /// The value of a cell.
    pub(super) fn value(&self, id: KeyId) -> Value<'_> {
        let at = id as usize;
        if self.valid.as_ref().is_some_and(|valid| !valid[at]) {
            return Value::Null;
        }
        match (&self.values, self.data_type) {
            (Values::Boolean(cells), _) => Value::Boolean(cells[at]),
            (Values::Integer(cells), DataType::Timestamp) => Value::Timestamp(cells[at]),
            (Values::Integer(cells), _) => Value::Int64(cells[at]),
            (Values::Float(cells), _) => Value::Float64(cells[at]),
            (Values::Bytes(cells), DataType::Binary) => Value::Binary(&cells[at]),
            (Values::Bytes(cells), data_type) => {
                let text = std::str::from_utf8(&cells[at]).expect("cells of text are written from text");
                if data_type == DataType::Utf8 {
                    Value::Utf8(text)
                } else {
                    Value::Json(text)
                }
            }
        }
    }

    /// The cells of some keys as a column.
    pub(super) fn gather(&self, ids: &[KeyId]) -> Column {
        let nulls = self.valid.as_ref().and_then(|valid| {
            let bits = BooleanBuffer::collect_bool(ids.len(), |i| valid[ids[i] as usize]);
            let nulls = NullBuffer::new(bits);
            (nulls.null_count() > 0).then_some(nulls)
        });
        match (&self.values, self.data_type) {
            (Values::Boolean(cells), _) => {
                let values = BooleanBuffer::collect_bool(ids.len(), |i| cells[ids[i] as usize]);
                Column::Boolean(BooleanArray::new(values, nulls))
            }
            (Values::Integer(cells), DataType::Timestamp) => {
                Column::Timestamp(TimestampMicrosecondArray::new(gather_values(cells, ids).into(), nulls))
            }
            (Values::Integer(cells), _) => Column::Int64(Int64Array::new(gather_values(cells, ids).into(), nulls)),
            (Values::Float(cells), _) => Column::Float64(Float64Array::new(gather_values(cells, ids).into(), nulls)),
            (Values::Bytes(cells), DataType::Utf8) => Column::Utf8(gather_bytes(cells, ids, nulls)),
            (Values::Bytes(cells), DataType::Json) => Column::Json(gather_bytes(cells, ids, nulls)),
            (Values::Bytes(cells), _) => Column::Binary(gather_bytes(cells, ids, nulls)),
        }
    }

    /// Sets the cells of some keys to the values of a column; of a key that comes twice, to its last.
    ///
    /// # Panics
    /// The column is of another type or length.
    pub(super) fn scatter(&mut self, ids: &[KeyId], column: &Column) {
        assert_eq!(
            (column.len(), column.data_type()),
            (ids.len(), self.data_type),
            "a value of the cells' type for each key"
        );
        let nulls = column.nulls().filter(|nulls| nulls.null_count() > 0);
        if nulls.is_some() {
            for (row, &id) in ids.iter().enumerate() {
                self.set(id, column.value(row));
            }
            return;
        }
        match (&mut self.values, column) {
            (Values::Boolean(cells), Column::Boolean(array)) => {
                let values = array.values();
                for (row, &id) in ids.iter().enumerate() {
                    cells[id as usize] = values.value(row);
                }
            }
            (Values::Integer(cells), Column::Int64(array)) => scatter_values(cells, ids, array.values()),
            (Values::Integer(cells), Column::Timestamp(array)) => scatter_values(cells, ids, array.values()),
            (Values::Float(cells), Column::Float64(array)) => scatter_values(cells, ids, array.values()),
            (Values::Bytes(cells), Column::Utf8(array) | Column::Json(array)) => {
                scatter_bytes(cells, ids, array, &mut self.heap_bytes);
            }
            (Values::Bytes(cells), Column::Binary(array)) => scatter_bytes(cells, ids, array, &mut self.heap_bytes),
            _ => unreachable!("the cells are of the column's type"),
        }
        if let Some(valid) = &mut self.valid {
            for &id in ids {
                valid[id as usize] = true;
            }
        }
    }
}

fn scatter_values<T: Copy>(cells: &mut [T], ids: &[KeyId], values: &[T]) {
    for (&id, &value) in ids.iter().zip(values) {
        cells[id as usize] = value;
    }
}

fn scatter_bytes<T: ByteArrayType<Offset = i32>>(
    cells: &mut [Vec<u8>],
    ids: &[KeyId],
    array: &GenericByteArray<T>,
    heap_bytes: &mut usize,
) {
    let (offsets, data) = (array.value_offsets(), array.value_data());
    for (&id, bounds) in ids.iter().zip(offsets.windows(2)) {
        let value = &data[bounds[0] as usize..bounds[1] as usize];
        replace(&mut cells[id as usize], value, heap_bytes);
    }
}

fn gather_bytes<T: ByteArrayType<Offset = i32>>(
    cells: &[Vec<u8>],
    ids: &[KeyId],
    nulls: Option<NullBuffer>,
) -> GenericByteArray<T> {
    let bytes = ids.iter().map(|&id| cells[id as usize].len()).sum();
    let mut data = Vec::with_capacity(bytes);
    let mut offsets = Vec::with_capacity(ids.len() + 1);
    offsets.push(0);
    for &id in ids {
        data.extend_from_slice(&cells[id as usize]);
        offsets.push(i32::try_from(data.len()).expect("the state of a call is less than 2 GiB"));
    }
    let offsets = OffsetBuffer::new(ScalarBuffer::from(offsets));
    GenericByteArray::try_new(offsets, Buffer::from_vec(data), nulls).expect("cells of text are written from text")
}

/// Sets a cell of bytes, in place where it has room and not four times too much.
fn replace(cell: &mut Vec<u8>, value: &[u8], heap_bytes: &mut usize) {
    *heap_bytes -= cell.len();
    *heap_bytes += value.len();
    if cell.len() == value.len() {
        cell.copy_from_slice(value);
    } else if cell.capacity() >= value.len() && cell.capacity() / 4 <= value.len() {
        cell.clear();
        cell.extend_from_slice(value);
    } else {
        *cell = value.to_vec();
    }
}
