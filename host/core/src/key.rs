//! Keys: their canonical bytes, their hash and their key group.
//!
//! The encoding is written down here and never changes, since key groups of checkpoints depend on it. A key is the
//! encoding of its columns one after the other. Compared as bytes, encoded keys stand in the natural order of their
//! values, column by column:
//!
//! | value | bytes |
//! |---|---|
//! | null | `00` |
//! | boolean | `01`, then `00` or `01` |
//! | int64, timestamp | `01`, then 8 bytes big-endian with the sign bit flipped |
//! | float64 | `01`, then 8 bytes big-endian: the bits, all flipped where negative, else the sign bit flipped; -0.0 is 0.0, every NaN is the one of bits `7ff8000000000000` |
//! | utf8, binary, json | `01`, then the bytes with each `00` written as `00 ff`, then `00 01` |

use std::hash::{BuildHasher, Hasher};

use arrow_array::Array;
use xxhash_rust::xxh3::xxh3_64;

use crate::batch::{Batch, Slot};
use crate::column::{Column, Value};
use crate::id::{KeyGroup, WorkerIndex};
use crate::schema::DataType;

/// The default number of key groups.
pub const KEY_GROUPS_DEFAULT: u16 = 256;

/// Appends the canonical bytes of one value.
pub fn encode(value: Value<'_>, out: &mut Vec<u8>) {
    match value {
        Value::Null => out.push(0),
        Value::Boolean(v) => out.extend([1, u8::from(v)]),
        Value::Int64(v) | Value::Timestamp(v) => out.extend(encode_int64(v)),
        Value::Float64(v) => {
            out.push(1);
            out.extend(sortable_float(v).to_be_bytes());
        }
        Value::Utf8(v) | Value::Json(v) => {
            out.push(1);
            encode_bytes(v.as_bytes(), out);
        }
        Value::Binary(v) => {
            out.push(1);
            encode_bytes(v, out);
        }
    }
}

/// Reads one value off the front of canonical bytes and hands it on, `visit(Value::Null)` for a null.
///
/// # Panics
/// The bytes are not the encoding of a value of this type.
pub fn decode(data_type: DataType, encoded: &mut &[u8], visit: impl FnOnce(Value<'_>)) {
    let (there, rest) = encoded.split_first().expect("an encoded value has a first byte");
    *encoded = rest;
    if *there == 0 {
        return visit(Value::Null);
    }
    match data_type {
        DataType::Boolean => visit(Value::Boolean(take::<1>(encoded) == [1])),
        DataType::Int64 => visit(Value::Int64(decode_int(take(encoded)))),
        DataType::Timestamp => visit(Value::Timestamp(decode_int(take(encoded)))),
        DataType::Float64 => visit(Value::Float64(float_of_sortable(u64::from_be_bytes(take(encoded))))),
        DataType::Binary => visit(Value::Binary(&decode_bytes(encoded))),
        DataType::Utf8 | DataType::Json => {
            let bytes = decode_bytes(encoded);
            let text = std::str::from_utf8(&bytes).expect("text was encoded");
            visit(if data_type == DataType::Utf8 {
                Value::Utf8(text)
            } else {
                Value::Json(text)
            });
        }
    }
}

fn take<const N: usize>(encoded: &mut &[u8]) -> [u8; N] {
    let (head, rest) = encoded.split_first_chunk().expect("an encoded value is whole");
    *encoded = rest;
    *head
}

fn decode_int(bytes: [u8; 8]) -> i64 {
    (u64::from_be_bytes(bytes) ^ 1 << 63) as i64
}

fn decode_bytes(encoded: &mut &[u8]) -> Vec<u8> {
    let mut bytes = Vec::new();
    loop {
        match take::<1>(encoded) {
            [0] => match take::<1>(encoded) {
                [0xff] => bytes.push(0),
                _ => return bytes,
            },
            [byte] => bytes.push(byte),
        }
    }
}

/// The canonical bytes of an integer that is not null.
pub fn encode_int64(value: i64) -> [u8; 9] {
    let mut bytes = [1; 9];
    bytes[1..].copy_from_slice(&sortable_int(value));
    bytes
}

/// 8 bytes that compare as the integer does.
pub fn sortable_int(value: i64) -> [u8; 8] {
    (value as u64 ^ 1 << 63).to_be_bytes()
}

/// A number whose order among unsigned integers is the float's: -infinity, ..., 0, ..., infinity, NaN.
pub fn sortable_float(value: f64) -> u64 {
    const NAN: u64 = 0x7ff8_0000_0000_0000;
    let bits = if value.is_nan() {
        NAN
    } else if value == 0.0 {
        0
    } else {
        value.to_bits()
    };
    if bits >> 63 == 1 { !bits } else { bits | 1 << 63 }
}

/// The float of a number from [`sortable_float`].
pub fn float_of_sortable(sortable: u64) -> f64 {
    f64::from_bits(if sortable >> 63 == 1 {
        sortable ^ 1 << 63
    } else {
        !sortable
    })
}

/// Appends bytes so that the end is known and the order is kept.
pub fn encode_bytes(bytes: &[u8], out: &mut Vec<u8>) {
    for &byte in bytes {
        out.push(byte);
        if byte == 0 {
            out.push(0xff);
        }
    }
    out.extend([0, 1]);
}

/// The hash of an encoded key: XXH3-64 with seed 0, for ever.
pub fn hash(encoded: &[u8]) -> u64 {
    xxh3_64(encoded)
}

/// The hash of [`encode_int64`]: XXH3-64 of nine bytes written out, for the keys that are met most.
#[inline]
fn hash_int64(value: i64) -> u64 {
    /// Bytes 24 to 40 of the standard secret, folded; and 40 to 56.
    const FLIPS: (u64, u64) = (
        0x1f67_b3b7_a4a4_4072 ^ 0x78e5_c0cc_4ee6_79cb,
        0x2172_ffcc_7dd0_5a82 ^ 0x8e24_43f7_7446_08b8,
    );
    const LEN: u64 = 9;
    // The last eight bytes as they stand in memory, and the first eight, which begin with the byte 1.
    let last = u64::from_le_bytes(sortable_int(value));
    let first = last << 8 | 1;
    let (low, high) = (first ^ FLIPS.0, last ^ FLIPS.1);
    let product = u128::from(low) * u128::from(high);
    let folded = product as u64 ^ (product >> 64) as u64;
    let mixed = LEN
        .wrapping_add(low.swap_bytes())
        .wrapping_add(high)
        .wrapping_add(folded);
    let mixed = (mixed ^ mixed >> 37).wrapping_mul(0x1656_6791_9e37_79f9);
    mixed ^ mixed >> 32
}

/// The hash of each logical row's key, into `out`, which is emptied first. `key` names the key columns; without any,
/// each row has the hash of the empty key.
///
/// # Panics
/// A key column is absent.
pub fn hashes(batch: &Batch, key: &[usize], out: &mut Vec<u64>) {
    out.clear();
    if let [column] = key
        && hash_integers(batch, *column, out)
    {
        return;
    }
    let columns: Vec<_> = key.iter().map(|&column| batch.column(column)).collect();
    let mut bytes = Vec::new();
    out.extend((0..batch.rows()).map(|row| {
        bytes.clear();
        for column in &columns {
            encode(column.value(row), &mut bytes);
        }
        hash(&bytes)
    }));
}

/// The quick way for one key column of integers or timestamps. Whether it could be gone.
fn hash_integers(batch: &Batch, column: usize, out: &mut Vec<u64>) -> bool {
    let slot = &batch.slots()[column];
    let (Slot::Base(values) | Slot::Dense(values)) = slot else {
        return false;
    };
    let (numbers, nulls) = match values {
        Column::Int64(a) => (a.values(), a.nulls()),
        Column::Timestamp(a) => (a.values(), a.nulls()),
        _ => return false,
    };
    let hash_at = |row: usize| match nulls {
        Some(nulls) if nulls.is_null(row) => hash(&[0]),
        _ => hash_int64(numbers[row]),
    };
    match (slot, batch.selection()) {
        (Slot::Base(_), Some(selection)) => out.extend(selection.iter().map(|&row| hash_at(row as usize))),
        _ => out.extend((0..batch.rows()).map(hash_at)),
    }
    true
}

/// The key group of a hash: its upper 32 bits, scaled to `groups`.
#[inline]
pub fn group(hash: u64, groups: u16) -> KeyGroup {
    KeyGroup((((hash >> 32) * u64::from(groups)) >> 32) as u16)
}

/// The worker that owns a key group: contiguous, evenly sized ranges of groups.
pub fn owner(group: KeyGroup, groups: u16, workers: u32) -> WorkerIndex {
    WorkerIndex((u64::from(group.0) * u64::from(workers) / u64::from(groups)) as u32)
}

/// Hash tables over key hashes: the hash is already uniform, so it is taken as it is.
#[derive(Clone, Copy, Debug, Default)]
pub struct TakeHash;

impl BuildHasher for TakeHash {
    type Hasher = TakenHash;

    fn build_hasher(&self) -> TakenHash {
        TakenHash(0)
    }
}

/// The hasher of [`TakeHash`].
#[derive(Clone, Copy, Debug)]
pub struct TakenHash(u64);

impl Hasher for TakenHash {
    fn finish(&self) -> u64 {
        self.0
    }

    fn write(&mut self, bytes: &[u8]) {
        self.0 = xxh3_64(bytes);
    }

    fn write_u64(&mut self, hash: u64) {
        self.0 = hash;
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::batch::Hidden;
    use crate::watermark::RowWatermarks;
    use proptest::prelude::*;

    fn bytes(value: Value<'_>) -> Vec<u8> {
        let mut out = Vec::new();
        encode(value, &mut out);
        out
    }

    #[test]
    fn the_encoding_is_fixed() {
        assert_eq!(bytes(Value::Null), [0]);
        assert_eq!(
            bytes(Value::Int64(-1)),
            [1, 0x7f, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff]
        );
        assert_eq!(bytes(Value::Float64(-0.0)), bytes(Value::Float64(0.0)));
        assert_eq!(bytes(Value::Float64(f64::NAN)), bytes(Value::Float64(-f64::NAN)));
        assert_eq!(bytes(Value::Utf8("a\0b")), [1, b'a', 0, 0xff, b'b', 0, 1]);
        // XXH3-64 of the empty input, from the reference implementation.
        assert_eq!(hash(b""), 0x2d06_8005_38d3_94c2);
    }

    #[test]
    fn rows_have_the_hash_of_their_encoded_key_in_every_form() {
        let ints = Column::Int64(vec![Some(7), None, Some(-7), Some(7)].into());
        let text = Column::Utf8(vec![Some("a"), Some("b"), None, Some("")].into());
        let hidden = Hidden {
            times: vec![0; 4].into(),
            watermarks: RowWatermarks::Constant(0),
            order: None,
            kinds: None,
        };
        let whole = Batch::new(vec![Slot::Base(ints), Slot::Base(text), Slot::Absent], hidden);
        let mut found = Vec::new();
        for batch in [whole.clone(), whole.select(&[1, 3])] {
            for key in [&[][..], &[0], &[1], &[1, 0]] {
                hashes(&batch, key, &mut found);
                let expect: Vec<u64> = (0..batch.rows())
                    .map(|row| {
                        let encoded: Vec<u8> = key.iter().flat_map(|&c| bytes(batch.column(c).value(row))).collect();
                        hash(&encoded)
                    })
                    .collect();
                assert_eq!(found, expect, "{key:?}");
            }
        }
    }

    #[test]
    fn each_group_has_one_owner_and_each_worker_a_range() {
        for workers in 1..=7 {
            let owners: Vec<_> = (0..256).map(|g| owner(KeyGroup(g), 256, workers).0).collect();
            assert!(owners.is_sorted());
            assert_eq!((owners[0], owners[255]), (0, workers - 1));
        }
        assert_eq!(group(u64::MAX, 256), KeyGroup(255));
        assert_eq!(group(0, 256), KeyGroup(0));
    }

    fn check_decoded(data_type: DataType, value: Value<'_>) {
        let encoded = bytes(value);
        let mut rest = &encoded[..];
        decode(data_type, &mut rest, |found| assert_eq!(found, value));
        assert!(rest.is_empty());
    }

    #[test]
    fn what_was_encoded_is_decoded() {
        for data_type in DataType::ALL {
            check_decoded(data_type, Value::Null);
        }
        check_decoded(DataType::Boolean, Value::Boolean(true));
        check_decoded(DataType::Timestamp, Value::Timestamp(i64::MIN));
        check_decoded(DataType::Float64, Value::Float64(-1.5));
        check_decoded(DataType::Float64, Value::Float64(f64::INFINITY));
        check_decoded(DataType::Utf8, Value::Utf8("a\0b\0"));
        check_decoded(DataType::Json, Value::Json("{}"));
        check_decoded(DataType::Binary, Value::Binary(&[0, 0xff, 0, 1]));
    }

    proptest! {
        #[test]
        fn integers_have_the_hash_of_their_encoding(value: i64) {
            prop_assert_eq!(hash_int64(value), hash(&encode_int64(value)));
        }

        #[test]
        fn encoded_integers_stand_in_their_order(a: i64, b: i64) {
            prop_assert_eq!(bytes(Value::Int64(a)).cmp(&bytes(Value::Int64(b))), a.cmp(&b));
        }

        #[test]
        fn encoded_floats_stand_in_their_order(a: f64, b: f64) {
            prop_assume!(!a.is_nan() && !b.is_nan());
            prop_assert_eq!(Some(bytes(Value::Float64(a)).cmp(&bytes(Value::Float64(b)))), a.partial_cmp(&b));
        }

        #[test]
        fn encoded_pairs_of_bytes_stand_in_their_order(a: (Vec<u8>, Vec<u8>), b: (Vec<u8>, Vec<u8>)) {
            let pair = |p: &(Vec<u8>, Vec<u8>)| [bytes(Value::Binary(&p.0)), bytes(Value::Binary(&p.1))].concat();
            prop_assert_eq!(pair(&a).cmp(&pair(&b)), a.cmp(&b));
        }
    }
}
