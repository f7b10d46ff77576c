//! How an operator's entries stand in its store.
//!
//! | bytes | what |
//! |---|---|
//! | 2, big-endian | the key group |
//! | 1 | the table, a number that the operator chose |
//! | any | the encoded key (`wasmill_core::key`) |
//! | any | the sub key: a list's place, a map's sort key, a timer's time |
//!
//! So all of a key group, a table of a group, and the rows of a key are each one [`Span::Prefix`], in the order of keys
//! and, within a key, of sub keys. An encoded key says where it ends, so no key's rows are among another's.

use wasmill_core::id::KeyGroup;
use wasmill_core::key;

use crate::store::Span;

/// The bytes before the encoded key.
pub const HEAD_BYTES: usize = 3;

/// The start of all entries of a key group.
pub fn of_group(group: KeyGroup) -> [u8; 2] {
    group.0.to_be_bytes()
}

/// The start of all entries of a table in a key group.
pub fn of_table(group: KeyGroup, table: u8) -> [u8; HEAD_BYTES] {
    let [high, low] = group.0.to_be_bytes();
    [high, low, table]
}

/// The start of all entries of a key, which is the entry's whole key where there is no sub key: into `out`, which is
/// emptied first. `groups` is the job's number of key groups.
pub fn of_key(groups: u16, table: u8, encoded_key: &[u8], out: &mut Vec<u8>) {
    let group = key::group(key::hash(encoded_key), groups);
    in_group(group, table, encoded_key, out);
}

/// As [`of_key`], where the key's group is known already.
pub fn in_group(group: KeyGroup, table: u8, encoded_key: &[u8], out: &mut Vec<u8>) {
    out.clear();
    out.extend(of_table(group, table));
    out.extend_from_slice(encoded_key);
}

/// The parts of an entry's key: its group, its table, and the rest: the encoded key and the sub key. `None` where it is
/// shorter than every key of this layout.
pub fn split(key: &[u8]) -> Option<(KeyGroup, u8, &[u8])> {
    let ([high, low, table], rest) = key.split_first_chunk::<HEAD_BYTES>()?;
    Some((KeyGroup(u16::from_be_bytes([*high, *low])), *table, rest))
}

/// All entries whose keys begin with `start`.
pub fn under(start: &[u8]) -> Span<'_> {
    Span::Prefix(start)
}

#[cfg(test)]
mod tests {
    use super::*;
    use wasmill_core::column::Value;

    fn key_of(values: &[Value<'_>]) -> Vec<u8> {
        let mut encoded = Vec::new();
        for &value in values {
            key::encode(value, &mut encoded);
        }
        encoded
    }

    #[test]
    fn a_key_is_put_together_and_taken_apart() {
        let encoded = key_of(&[Value::Utf8("JFK"), Value::Null]);
        let mut whole = Vec::new();
        in_group(KeyGroup(258), 7, &encoded, &mut whole);
        whole.extend(9_u64.to_be_bytes());
        assert_eq!(whole[..3], [1, 2, 7]);
        let (group, table, rest) = split(&whole).expect("longer than a head");
        assert_eq!((group, table), (KeyGroup(258), 7));
        assert_eq!(rest, [&encoded[..], &9_u64.to_be_bytes()].concat());
        assert_eq!(split(&[0, 1]), None);
    }

    #[test]
    fn the_group_is_that_of_the_encoded_key() {
        let encoded = key_of(&[Value::Int64(-7)]);
        let mut whole = Vec::new();
        of_key(256, 0, &encoded, &mut whole);
        let group = key::group(key::hash(&encoded), 256);
        assert_eq!(split(&whole), Some((group, 0, &encoded[..])));
        assert!(whole.starts_with(&of_table(group, 0)) && whole.starts_with(&of_group(group)));
    }

    #[test]
    fn no_key_is_the_start_of_another() {
        let keys = [
            key_of(&[Value::Utf8("")]),
            key_of(&[Value::Utf8("a")]),
            key_of(&[Value::Utf8("a\0")]),
            key_of(&[Value::Utf8("ab")]),
            key_of(&[Value::Null]),
        ];
        for a in &keys {
            for b in &keys {
                assert_eq!(a.starts_with(b), a == b);
            }
        }
    }
}
