//! A value with the time and the place of its row, which decide where it stands among others.

use wasmill_core::column::Value;
use wasmill_core::fault::Fault;
use wasmill_core::key;
use wasmill_core::schema::DataType;

use super::Rows;
use crate::codec::{put_bytes, put_signed, take_bytes, take_canonical, take_int64};

/// A row's time, its place and its value in canonical bytes: rows of equal time and place are told apart by value.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(super) struct Placed {
    pub(super) time: i64,
    /// The place, then the value from `value` on.
    bytes: Box<[u8]>,
    value: u32,
}

impl Placed {
    /// The value of a row. `scratch` is emptied first.
    pub(super) fn new(rows: &Rows<'_>, row: usize, value: Value<'_>, scratch: &mut Vec<u8>) -> Self {
        scratch.clear();
        if let Some(order) = rows.order {
            order.write(row, scratch);
        }
        let place = scratch.len();
        key::encode(value, scratch);
        Self {
            time: rows.times[row],
            bytes: scratch.as_slice().into(),
            value: place as u32,
        }
    }

    /// Hands on the value.
    pub(super) fn value(&self, data_type: DataType, visit: impl FnOnce(Value<'_>)) {
        key::decode(data_type, &mut &self.bytes[self.value as usize..], visit);
    }

    pub(super) fn heap_bytes(&self) -> usize {
        self.bytes.len()
    }

    pub(super) fn encode(&self, out: &mut Vec<u8>) {
        let (place, value) = self.bytes.split_at(self.value as usize);
        put_signed(self.time.into(), out);
        put_bytes(place, out);
        put_bytes(value, out);
    }

    pub(super) fn decode(data_type: DataType, from: &mut &[u8]) -> Result<Self, Fault> {
        let time = take_int64(from)?;
        let place = take_bytes(from)?;
        let value = take_canonical(data_type, from)?;
        Ok(Self {
            time,
            bytes: [place, value].concat().into(),
            value: place.len() as u32,
        })
    }
}
