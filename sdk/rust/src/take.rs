//! Rows of a computed column, by number.

use crate::{
    bindings::types as wit,
    buffer::{self, BitBuilder, Buffer, bit},
    types::DataType,
};

/// The column of these rows of another.
pub(crate) fn take(column: &wit::Column, data_type: DataType, rows: &[u32]) -> wit::Column {
    let bits = |bits: &[u8]| {
        let mut taken = BitBuilder::default();
        for row in rows {
            taken.push(bit(bits, *row as usize));
        }
        taken.into_bytes()
    };
    let (offsets, data) = match data_type {
        DataType::Boolean => (Vec::new(), bits(&column.data)),
        DataType::Int64 | DataType::Float64 | DataType::Timestamp => (Vec::new(), fixed(&column.data, rows)),
        DataType::Utf8 | DataType::Binary | DataType::Json => variable(column, rows),
    };
    wit::Column {
        validity: column.validity.as_deref().map(bits),
        offsets,
        data,
    }
}

fn fixed(data: &[u8], rows: &[u32]) -> Vec<u8> {
    let mut taken = Vec::with_capacity(rows.len() * 8);
    for row in rows {
        let at = *row as usize * 8;
        taken.extend_from_slice(&data[at..at + 8]);
    }
    taken
}

fn variable(column: &wit::Column, rows: &[u32]) -> (Vec<u8>, Vec<u8>) {
    let from = Buffer::new(column.offsets.clone());
    let from = from.values::<u32>().expect("offsets are u32");
    let mut offsets = vec![0; 4];
    let mut data = Vec::new();
    for row in rows {
        let row = *row as usize;
        data.extend_from_slice(&column.data[from[row] as usize..from[row + 1] as usize]);
        buffer::push(&mut offsets, data.len() as u32);
    }
    (offsets, data)
}
