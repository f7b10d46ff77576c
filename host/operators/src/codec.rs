//! State as bytes: numbers, values and byte strings that tell their own end, the same on every machine.
//!
//! Whole numbers are LEB128, signed ones zigzag before that; everything of a fixed width is little-endian. What is read
//! is checked: bytes that nothing here wrote are a [`Fault`], never a panic and never a value that breaks an invariant.

use wasmill_core::column::{Scalar, Value};
use wasmill_core::fault::{Domain, Fault};
use wasmill_core::schema::DataType;

/// No count of rows that an operator met comes near it, so counts that were read can be added up.
pub(crate) const COUNT_MAX: u64 = 1 << 53;

/// What is said of bytes that cannot be state: `what` names what was to be read.
pub(crate) fn damaged(what: &str) -> Fault {
    Fault::fatal(Domain::External, format!("the saved state is damaged: {what}"))
}

/// Appends a whole number.
pub(crate) fn put_unsigned(mut value: u128, out: &mut Vec<u8>) {
    while value >= 0x80 {
        out.push(value as u8 | 0x80);
        value >>= 7;
    }
    out.push(value as u8);
}

/// Appends a signed number.
pub(crate) fn put_signed(value: i128, out: &mut Vec<u8>) {
    put_unsigned((value << 1 ^ value >> 127).cast_unsigned(), out);
}

/// Appends a count or a length.
pub(crate) fn put_count(count: u64, out: &mut Vec<u8>) {
    put_unsigned(count.into(), out);
}

/// Appends bytes with their length.
pub(crate) fn put_bytes(bytes: &[u8], out: &mut Vec<u8>) {
    put_count(bytes.len() as u64, out);
    out.extend_from_slice(bytes);
}

/// Appends a value, null or not; every bit of a float is kept.
pub(crate) fn put_value(value: Value<'_>, out: &mut Vec<u8>) {
    out.push(u8::from(!matches!(value, Value::Null)));
    match value {
        Value::Null => {}
        Value::Boolean(v) => out.push(v.into()),
        Value::Int64(v) | Value::Timestamp(v) => put_signed(v.into(), out),
        Value::Float64(v) => out.extend(v.to_bits().to_le_bytes()),
        Value::Utf8(v) | Value::Json(v) => put_bytes(v.as_bytes(), out),
        Value::Binary(v) => put_bytes(v, out),
    }
}

/// Reads a byte off the front.
///
/// # Errors
/// There is none.
pub(crate) fn take_byte(from: &mut &[u8]) -> Result<u8, Fault> {
    let (&byte, rest) = from.split_first().ok_or_else(|| damaged("it ends too early"))?;
    *from = rest;
    Ok(byte)
}

/// Reads a whole number.
///
/// # Errors
/// There is none, or it is above 128 bits.
pub(crate) fn take_unsigned(from: &mut &[u8]) -> Result<u128, Fault> {
    let mut value = 0_u128;
    for shift in (0..u128::BITS).step_by(7) {
        let byte = take_byte(from)?;
        let bits = u128::from(byte & 0x7f);
        if bits << shift >> shift != bits {
            break;
        }
        value |= bits << shift;
        if byte < 0x80 {
            return Ok(value);
        }
    }
    Err(damaged("a number is too great"))
}

/// Reads a signed number.
///
/// # Errors
/// There is none, or it is above 128 bits.
pub(crate) fn take_signed(from: &mut &[u8]) -> Result<i128, Fault> {
    let value = take_unsigned(from)?;
    Ok((value >> 1).cast_signed() ^ -(value & 1).cast_signed())
}

/// Reads a signed number of 64 bits.
///
/// # Errors
/// There is none.
pub(crate) fn take_int64(from: &mut &[u8]) -> Result<i64, Fault> {
    i64::try_from(take_signed(from)?).map_err(|_| damaged("a number is too great"))
}

/// Reads a count of rows.
///
/// # Errors
/// There is none, or it is above [`COUNT_MAX`].
pub(crate) fn take_count(from: &mut &[u8]) -> Result<u64, Fault> {
    match u64::try_from(take_unsigned(from)?) {
        Ok(count) if count <= COUNT_MAX => Ok(count),
        _ => Err(damaged("a count is too great")),
    }
}

/// Reads a count of 32 bits.
///
/// # Errors
/// There is none, or it is greater.
pub(crate) fn take_small(from: &mut &[u8]) -> Result<u32, Fault> {
    u32::try_from(take_unsigned(from)?).map_err(|_| damaged("a count is too great"))
}

/// Reads how many things follow, each of at least a byte.
///
/// # Errors
/// There is no number, or fewer bytes follow.
pub(crate) fn take_length(from: &mut &[u8]) -> Result<usize, Fault> {
    match usize::try_from(take_unsigned(from)?) {
        Ok(length) if length <= from.len() => Ok(length),
        _ => Err(damaged("it ends too early")),
    }
}

/// Reads bytes of a known width.
///
/// # Errors
/// There are fewer.
pub(crate) fn take_array<const N: usize>(from: &mut &[u8]) -> Result<[u8; N], Fault> {
    let (head, rest) = from.split_first_chunk().ok_or_else(|| damaged("it ends too early"))?;
    *from = rest;
    Ok(*head)
}

/// Reads bytes that stand after their length.
///
/// # Errors
/// There are fewer.
pub(crate) fn take_bytes<'a>(from: &mut &'a [u8]) -> Result<&'a [u8], Fault> {
    let length = take_length(from)?;
    let (head, rest) = from.split_at(length);
    *from = rest;
    Ok(head)
}

/// Reads a flag.
///
/// # Errors
/// There is none.
pub(crate) fn take_flag(from: &mut &[u8]) -> Result<bool, Fault> {
    match take_byte(from)? {
        0 => Ok(false),
        1 => Ok(true),
        _ => Err(damaged("a flag is neither yes nor no")),
    }
}

/// Reads a value of a type.
///
/// # Errors
/// There is none.
pub(crate) fn take_value(data_type: DataType, from: &mut &[u8]) -> Result<Scalar, Fault> {
    if !take_flag(from)? {
        return Ok(Scalar::Null);
    }
    let text = |bytes: &[u8]| {
        std::str::from_utf8(bytes)
            .map(str::to_owned)
            .map_err(|_| damaged("a text is not UTF-8"))
    };
    Ok(match data_type {
        DataType::Boolean => Scalar::Boolean(take_flag(from)?),
        DataType::Int64 => Scalar::Int64(take_int64(from)?),
        DataType::Timestamp => Scalar::Timestamp(take_int64(from)?),
        DataType::Float64 => Scalar::Float64(f64::from_bits(u64::from_le_bytes(take_array(from)?))),
        DataType::Utf8 => Scalar::Utf8(text(take_bytes(from)?)?),
        DataType::Json => Scalar::Json(text(take_bytes(from)?)?),
        DataType::Binary => Scalar::Binary(take_bytes(from)?.to_vec()),
    })
}

/// Reads canonical bytes ([`wasmill_core::key`]) that stand after their length.
///
/// # Errors
/// They are not those of one value of this type.
pub(crate) fn take_canonical<'a>(data_type: DataType, from: &mut &'a [u8]) -> Result<&'a [u8], Fault> {
    let bytes = take_bytes(from)?;
    if is_canonical(&[data_type], bytes) {
        Ok(bytes)
    } else {
        Err(damaged("a value is none of its type"))
    }
}

/// Whether bytes are the canonical ones of a value of each type, one after the other, and nothing more.
pub(crate) fn is_canonical(types: &[DataType], mut bytes: &[u8]) -> bool {
    types
        .iter()
        .all(|&data_type| skip_canonical(data_type, &mut bytes).is_some())
        && bytes.is_empty()
}

/// Splits the canonical bytes of a value of each type off the front.
///
/// # Errors
/// They are not there.
pub(crate) fn take_key<'a>(types: &[DataType], from: &mut &'a [u8]) -> Result<&'a [u8], Fault> {
    let whole = *from;
    let is_key = types.iter().all(|&data_type| skip_canonical(data_type, from).is_some());
    if is_key {
        Ok(&whole[..whole.len() - from.len()])
    } else {
        Err(damaged("a key is none of its columns' types"))
    }
}

fn skip_canonical(data_type: DataType, bytes: &mut &[u8]) -> Option<()> {
    let (&there, rest) = bytes.split_first()?;
    *bytes = rest;
    match there {
        0 => return Some(()),
        1 => {}
        _ => return None,
    }
    let fixed = match data_type {
        DataType::Boolean => 1,
        DataType::Int64 | DataType::Timestamp | DataType::Float64 => 8,
        DataType::Utf8 | DataType::Json | DataType::Binary => {
            let text = unescape(bytes)?;
            let is_text = data_type == DataType::Binary || std::str::from_utf8(&text).is_ok();
            return is_text.then_some(());
        }
    };
    let (value, rest) = bytes.split_at_checked(fixed)?;
    *bytes = rest;
    (data_type != DataType::Boolean || value[0] <= 1).then_some(())
}

fn unescape(bytes: &mut &[u8]) -> Option<Vec<u8>> {
    let mut text = Vec::new();
    loop {
        let (&byte, rest) = bytes.split_first()?;
        *bytes = rest;
        if byte == 0 {
            let (&mark, rest) = bytes.split_first()?;
            *bytes = rest;
            match mark {
                0xff => {}
                1 => return Some(text),
                _ => return None,
            }
        }
        text.push(byte);
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;
    use wasmill_core::key;

    fn scalars() -> impl Strategy<Value = (DataType, Scalar)> {
        prop_oneof![
            any::<bool>().prop_map(|v| (DataType::Boolean, Scalar::Boolean(v))),
            any::<i64>().prop_map(|v| (DataType::Int64, Scalar::Int64(v))),
            any::<i64>().prop_map(|v| (DataType::Timestamp, Scalar::Timestamp(v))),
            prop_oneof![any::<f64>(), Just(-0.0), Just(f64::NAN)].prop_map(|v| (DataType::Float64, Scalar::Float64(v))),
            "[\0a-cß]{0,4}".prop_map(|v| (DataType::Utf8, Scalar::Utf8(v))),
            proptest::collection::vec(0..3_u8, 0..4).prop_map(|v| (DataType::Binary, Scalar::Binary(v))),
            Just((DataType::Json, Scalar::Null)),
        ]
    }

    proptest! {
        #[test]
        fn what_was_put_is_taken_and_what_follows_is_left(
            unsigned: u128, signed: i128, count in 0..=COUNT_MAX, bytes: Vec<u8>, value in scalars(), rest: Vec<u8>,
        ) {
            let mut out = Vec::new();
            put_unsigned(unsigned, &mut out);
            put_signed(signed, &mut out);
            put_count(count, &mut out);
            put_bytes(&bytes, &mut out);
            put_value(value.1.as_value(), &mut out);
            out.extend(&rest);
            let from = &mut &out[..];
            prop_assert_eq!(take_unsigned(from).expect("it was put"), unsigned);
            prop_assert_eq!(take_signed(from).expect("it was put"), signed);
            prop_assert_eq!(take_count(from).expect("it was put"), count);
            prop_assert_eq!(take_bytes(from).expect("it was put"), bytes);
            let taken = take_value(value.0, from).expect("it was put");
            match (taken, value.1) {
                (Scalar::Float64(a), Scalar::Float64(b)) => prop_assert_eq!(a.to_bits(), b.to_bits()),
                (a, b) => prop_assert_eq!(a, b),
            }
            prop_assert_eq!(*from, &rest[..]);
        }

        #[test]
        fn canonical_bytes_are_told_from_others(value in scalars(), other in scalars(), bytes in proptest::collection::vec(0..3_u8, 0..12)) {
            let mut encoded = Vec::new();
            key::encode(value.1.as_value(), &mut encoded);
            prop_assert!(is_canonical(&[value.0], &encoded));
            prop_assert!(!is_canonical(&[value.0, other.0], &encoded));
            prop_assert!(!is_canonical(&[], &encoded));
            key::encode(other.1.as_value(), &mut encoded);
            prop_assert!(is_canonical(&[value.0, other.0], &encoded));
            // Whatever is said to be canonical can be decoded.
            if is_canonical(&[value.0], &bytes) {
                key::decode(value.0, &mut &bytes[..], |_| {});
            }
        }
    }

    #[test]
    fn bytes_that_nothing_wrote_are_refused() {
        assert!(take_unsigned(&mut &[0xff; 19][..]).is_err(), "more than 128 bits");
        assert!(take_unsigned(&mut &[0x80, 0x80][..]).is_err(), "no end");
        assert!(take_bytes(&mut &[2, 0][..]).is_err(), "fewer bytes than said");
        assert!(take_value(DataType::Utf8, &mut &[1, 1, 0xff][..]).is_err(), "no text");
        assert!(take_value(DataType::Boolean, &mut &[2][..]).is_err(), "no flag");
        let mut great = Vec::new();
        put_unsigned(u128::from(COUNT_MAX) + 1, &mut great);
        assert!(take_count(&mut &great[..]).is_err(), "more rows than there can be");
    }
}
