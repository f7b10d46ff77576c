//! Rows as bytes, and back.
//!
//! The encoding is made for state: compact, quick, and self-delimiting, so that rows can stand one after the other. It
//! does not keep the order of values; what is sorted by is a key (`wasmill_core::key`). The types are not in the bytes:
//! who reads must know them. [`VERSION`] is of this encoding; who keeps rows where another release reads them keeps the
//! version beside them, once.
//!
//! | part | bytes |
//! |---|---|
//! | nulls | a bit a field, 1 = null, least significant first, filled up with zeroes to whole bytes |
//! | each value that is not null, in the order of fields | |
//! | boolean | `00` or `01` |
//! | int64, timestamp, float64 | 8 bytes little-endian |
//! | utf8, binary, json | the length in bytes as LEB128, the bytes |

use wasmill_core::column::{Column, ColumnBuilder, Value};
use wasmill_core::fault::{Domain, Fault};
use wasmill_core::schema::DataType;

/// The version of the encoding.
pub const VERSION: u8 = 1;

/// Encodes and decodes rows of some types.
///
/// ```
/// use wasmill_core::column::Value;
/// use wasmill_core::schema::DataType;
/// use wasmill_state::rows::RowCodec;
///
/// let codec = RowCodec::new([DataType::Int64, DataType::Utf8]);
/// let mut bytes = Vec::new();
/// codec.encode_values([Value::Null, Value::Utf8("JFK")], &mut bytes);
/// assert_eq!(bytes, [0b01, 3, b'J', b'F', b'K']);
///
/// let mut rest = &bytes[..];
/// let mut values = Vec::new();
/// codec.decode(&mut rest, |_, value| values.push(value))?;
/// assert_eq!(values, [Value::Null, Value::Utf8("JFK")]);
/// assert!(rest.is_empty());
/// # Ok::<(), wasmill_state::rows::Damaged>(())
/// ```
#[derive(Clone, Debug)]
pub struct RowCodec {
    types: Box<[DataType]>,
}

/// Bytes that are no row of the types that were expected.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[error("a row of state is damaged: its bytes do not hold the values of its table")]
pub struct Damaged;

impl From<Damaged> for Fault {
    fn from(damaged: Damaged) -> Self {
        Self::fatal(Domain::External, damaged.to_string())
    }
}

impl RowCodec {
    /// A codec of rows with fields of these types.
    pub fn new(types: impl IntoIterator<Item = DataType>) -> Self {
        Self {
            types: types.into_iter().collect(),
        }
    }

    /// The types of the fields.
    pub fn types(&self) -> &[DataType] {
        &self.types
    }

    /// A builder for each field, with room for `rows` values.
    pub fn builders(&self, rows: usize) -> Vec<ColumnBuilder> {
        self.types.iter().map(|&t| ColumnBuilder::new(t, rows)).collect()
    }

    /// Appends a row of columns, one for each field.
    pub fn encode(&self, columns: &[Column], row: usize, out: &mut Vec<u8>) {
        self.encode_values(columns.iter().map(|column| column.value(row)), out);
    }

    /// Appends a row of values, one for each field, null or of its type.
    pub fn encode_values<'v>(&self, values: impl IntoIterator<Item = Value<'v>>, out: &mut Vec<u8>) {
        let nulls = out.len();
        out.resize(nulls + self.nulls_bytes(), 0);
        let mut fields = 0;
        for (field, value) in values.into_iter().enumerate() {
            fields += 1;
            match value {
                Value::Null => out[nulls + field / 8] |= 1 << (field % 8),
                Value::Boolean(v) => out.push(u8::from(v)),
                Value::Int64(v) | Value::Timestamp(v) => out.extend(v.to_le_bytes()),
                Value::Float64(v) => out.extend(v.to_le_bytes()),
                Value::Utf8(v) | Value::Json(v) => encode_bytes(v.as_bytes(), out),
                Value::Binary(v) => encode_bytes(v, out),
            }
        }
        debug_assert_eq!(fields, self.types.len(), "a value for each field");
    }

    /// Reads a row off the front of `bytes` and shows its values with their fields' numbers.
    ///
    /// # Errors
    /// There is no row of these types. Some values may have been shown.
    pub fn decode<'r>(&self, bytes: &mut &'r [u8], mut visit: impl FnMut(usize, Value<'r>)) -> Result<(), Damaged> {
        let nulls = take(bytes, self.nulls_bytes())?;
        for (field, &data_type) in self.types.iter().enumerate() {
            if nulls[field / 8] >> (field % 8) & 1 == 1 {
                visit(field, Value::Null);
                continue;
            }
            let value = match data_type {
                DataType::Boolean => match take_array(bytes)? {
                    [0] => Value::Boolean(false),
                    [1] => Value::Boolean(true),
                    _ => return Err(Damaged),
                },
                DataType::Int64 => Value::Int64(i64::from_le_bytes(take_array(bytes)?)),
                DataType::Timestamp => Value::Timestamp(i64::from_le_bytes(take_array(bytes)?)),
                DataType::Float64 => Value::Float64(f64::from_le_bytes(take_array(bytes)?)),
                DataType::Utf8 => Value::Utf8(decode_text(bytes)?),
                DataType::Json => Value::Json(decode_text(bytes)?),
                DataType::Binary => Value::Binary(decode_bytes(bytes)?),
            };
            visit(field, value);
        }
        Ok(())
    }

    /// Reads a row off the front of `bytes` into a builder for each field.
    ///
    /// # Errors
    /// There is no row of these types. Some builders may have a value more than others.
    pub fn decode_into(&self, bytes: &mut &[u8], builders: &mut [ColumnBuilder]) -> Result<(), Damaged> {
        self.decode(bytes, |field, value| builders[field].push(value))
    }

    /// Takes a row off the front of `bytes` as it is.
    ///
    /// # Errors
    /// There is no row of these types.
    pub fn split<'r>(&self, bytes: &mut &'r [u8]) -> Result<&'r [u8], Damaged> {
        let whole = *bytes;
        self.decode(bytes, |_, _| {})?;
        Ok(&whole[..whole.len() - bytes.len()])
    }

    fn nulls_bytes(&self) -> usize {
        self.types.len().div_ceil(8)
    }
}

/// Appends bytes with their length before them.
pub fn encode_bytes(bytes: &[u8], out: &mut Vec<u8>) {
    let mut len = bytes.len();
    while len >= 0x80 {
        out.push(len as u8 | 0x80);
        len >>= 7;
    }
    out.push(len as u8);
    out.extend_from_slice(bytes);
}

/// Reads what [`encode_bytes`] wrote off the front of `bytes`.
///
/// # Errors
/// There is no length, or there are not so many bytes.
pub fn decode_bytes<'r>(bytes: &mut &'r [u8]) -> Result<&'r [u8], Damaged> {
    /// A length takes no more bytes than this.
    const LENGTH_BYTES_MAX: u32 = 5;
    let mut len = 0;
    for place in 0..LENGTH_BYTES_MAX {
        let [byte] = take_array(bytes)?;
        len |= usize::from(byte & 0x7f) << (7 * place);
        if byte & 0x80 == 0 {
            return take(bytes, len);
        }
    }
    Err(Damaged)
}

fn decode_text<'r>(bytes: &mut &'r [u8]) -> Result<&'r str, Damaged> {
    std::str::from_utf8(decode_bytes(bytes)?).map_err(|_| Damaged)
}

fn take<'r>(bytes: &mut &'r [u8], len: usize) -> Result<&'r [u8], Damaged> {
    let (head, rest) = bytes.split_at_checked(len).ok_or(Damaged)?;
    *bytes = rest;
    Ok(head)
}

fn take_array<const N: usize>(bytes: &mut &[u8]) -> Result<[u8; N], Damaged> {
    let (head, rest) = bytes.split_first_chunk().ok_or(Damaged)?;
    *bytes = rest;
    Ok(*head)
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::collection::vec;
    use proptest::prelude::*;
    use wasmill_core::column::Scalar;

    fn scalar(data_type: DataType) -> BoxedStrategy<Scalar> {
        let there = match data_type {
            DataType::Boolean => any::<bool>().prop_map(Scalar::Boolean).boxed(),
            DataType::Int64 => any::<i64>().prop_map(Scalar::Int64).boxed(),
            DataType::Timestamp => any::<i64>().prop_map(Scalar::Timestamp).boxed(),
            DataType::Float64 => any::<f64>().prop_map(Scalar::Float64).boxed(),
            DataType::Utf8 => ".{0,200}".prop_map(Scalar::Utf8).boxed(),
            DataType::Json => ".{0,20}".prop_map(Scalar::Json).boxed(),
            DataType::Binary => vec(any::<u8>(), 0..200).prop_map(Scalar::Binary).boxed(),
        };
        prop_oneof![4 => there, 1 => Just(Scalar::Null)].boxed()
    }

    fn typed_row() -> impl Strategy<Value = (Vec<DataType>, Vec<Scalar>)> {
        vec(prop::sample::select(DataType::ALL.to_vec()), 0..20)
            .prop_flat_map(|types| (Just(types.clone()), types.into_iter().map(scalar).collect::<Vec<_>>()))
    }

    fn encoded(codec: &RowCodec, row: &[Scalar]) -> Vec<u8> {
        let mut bytes = Vec::new();
        codec.encode_values(row.iter().map(Scalar::as_value), &mut bytes);
        bytes
    }

    #[test]
    fn the_encoding_is_fixed() {
        let codec = RowCodec::new(DataType::ALL);
        let row = [
            Scalar::Boolean(true),
            Scalar::Int64(-2),
            Scalar::Float64(1.0),
            Scalar::Utf8(String::new()),
            Scalar::Null,
            Scalar::Timestamp(258),
            Scalar::Json("{}".to_owned()),
        ];
        let expect = [
            &[0b1_0000, 1][..],
            &[0xfe, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff],
            &[0, 0, 0, 0, 0, 0, 0xf0, 0x3f],
            &[0],
            &[2, 1, 0, 0, 0, 0, 0, 0],
            &[2, b'{', b'}'],
        ]
        .concat();
        assert_eq!(encoded(&codec, &row), expect);
        let mut long = Vec::new();
        encode_bytes(&[7; 300], &mut long);
        assert_eq!((&long[..3], long.len()), (&[0xac, 0x02, 7][..], 302));
    }

    proptest! {
        #[test]
        fn rows_that_stand_one_after_the_other_are_read_back((types, row) in typed_row(), times in 1_usize..4) {
            let codec = RowCodec::new(types.clone());
            let one = encoded(&codec, &row);
            let all = one.repeat(times);
            let mut builders = codec.builders(times);
            let mut rest = &all[..];
            for _ in 0..times {
                codec.decode_into(&mut rest, &mut builders).expect("it was encoded");
            }
            prop_assert!(rest.is_empty());
            let columns: Vec<Column> = builders.into_iter().map(ColumnBuilder::finish).collect();
            for (column, value) in columns.iter().zip(&row) {
                for at in 0..times {
                    prop_assert_eq!(column.value(at), value.as_value());
                }
            }
            let mut again = Vec::new();
            if !columns.is_empty() {
                codec.encode(&columns, times - 1, &mut again);
                prop_assert_eq!(&again, &one);
            }
            let mut rest = &all[..];
            prop_assert_eq!(codec.split(&mut rest), Ok(&one[..]));
        }

        #[test]
        fn bytes_that_are_no_row_are_refused_without_a_panic(
            types in vec(prop::sample::select(DataType::ALL.to_vec()), 0..8),
            bytes in vec(any::<u8>(), 0..60),
        ) {
            let mut rest = &bytes[..];
            let shown = RowCodec::new(types).decode(&mut rest, |_, _| {});
            prop_assert!(shown.is_err() || rest.len() <= bytes.len());
        }

        #[test]
        fn a_row_that_is_cut_off_is_refused((types, row) in typed_row(), cut in any::<prop::sample::Index>()) {
            let codec = RowCodec::new(types);
            let bytes = encoded(&codec, &row);
            prop_assume!(!bytes.is_empty());
            let mut rest = &bytes[..cut.index(bytes.len())];
            prop_assert_eq!(codec.decode(&mut rest, |_, _| {}), Err(Damaged));
        }
    }
}
