//! Which keys were put or removed since somebody asked last.
//!
//! A key is noted once, however often it changes, so what is kept is bounded by the keys that change between two
//! checkpoints. Whether a key was put or removed last the store itself tells.

use foldhash::fast::FixedState;
use hashbrown::HashTable;
use std::hash::BuildHasher as _;

/// Keys, each once, in the order in which they were first noted.
#[derive(Debug, Default)]
pub(crate) struct Changes {
    bytes: Vec<u8>,
    /// Where each key ends in `bytes`.
    ends: Vec<usize>,
    /// The numbers of the keys.
    table: HashTable<u32>,
    hasher: FixedState,
}

impl Changes {
    /// Notes a key.
    ///
    /// # Panics
    /// 2^32 other keys were noted since [`Self::clear`].
    pub(crate) fn note(&mut self, key: &[u8]) {
        let Self {
            bytes,
            ends,
            table,
            hasher,
        } = self;
        let hash = hasher.hash_one(key);
        if table.find(hash, |&number| key_of(bytes, ends, number) == key).is_some() {
            return;
        }
        let number = u32::try_from(ends.len()).expect("fewer keys change between two checkpoints");
        bytes.extend_from_slice(key);
        ends.push(bytes.len());
        table.insert_unique(hash, number, |&number| hasher.hash_one(key_of(bytes, ends, number)));
    }

    /// The keys.
    pub(crate) fn keys(&self) -> impl Iterator<Item = &[u8]> {
        (0..self.ends.len() as u32).map(|number| key_of(&self.bytes, &self.ends, number))
    }

    /// Forgets all keys, and keeps the room for about as many.
    pub(crate) fn clear(&mut self) {
        self.bytes.clear();
        self.ends.clear();
        self.table.clear();
    }
}

fn key_of<'a>(bytes: &'a [u8], ends: &[usize], number: u32) -> &'a [u8] {
    let number = number as usize;
    let start = if number == 0 { 0 } else { ends[number - 1] };
    &bytes[start..ends[number]]
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_key_is_noted_once() {
        let mut changes = Changes::default();
        for round in 0..2 {
            for number in (0..1000_u32).chain(0..1000) {
                changes.note(&number.to_be_bytes()[..=number as usize % 4]);
            }
            changes.note(b"");
            changes.note(b"");
            let keys: std::collections::BTreeSet<_> = changes.keys().collect();
            assert_eq!(keys.len(), changes.keys().count(), "round {round}");
            let mut expect: std::collections::BTreeSet<Vec<u8>> = (0..1000_u32)
                .map(|number| number.to_be_bytes()[..=number as usize % 4].to_vec())
                .collect();
            expect.insert(Vec::new());
            assert!(keys.iter().copied().eq(expect.iter().map(Vec::as_slice)));
            changes.clear();
            assert_eq!(changes.keys().count(), 0);
        }
    }
}
