//! Rows key by key: the keys of some rows, each with a number, and the rows of each in their order.

use foldhash::fast::FixedState;
use hashbrown::HashTable;
use hashbrown::hash_table::Entry;
use std::hash::BuildHasher;
use wasmill_core::batch::Batch;
use wasmill_core::key;

use super::Released;

/// Distinct keys in canonical bytes, numbered as they came.
#[derive(Debug, Default)]
pub(crate) struct Keyring {
    bytes: Vec<u8>,
    ends: Vec<usize>,
    table: HashTable<(u64, u32)>,
    hasher: FixedState,
}

impl Keyring {
    /// The number of keys.
    pub(crate) fn len(&self) -> usize {
        self.ends.len()
    }

    /// The number of a key.
    pub(crate) fn intern(&mut self, encoded: &[u8]) -> u32 {
        let hash = self.hasher.hash_one(encoded);
        let Self { bytes, ends, table, .. } = self;
        let same = |entry: &(u64, u32)| entry.0 == hash && slice(bytes, ends, entry.1) == encoded;
        match table.entry(hash, same, |entry| entry.0) {
            Entry::Occupied(entry) => entry.get().1,
            Entry::Vacant(entry) => {
                let number = ends.len() as u32;
                entry.insert((hash, number));
                bytes.extend_from_slice(encoded);
                ends.push(bytes.len());
                number
            }
        }
    }

    /// A key's canonical bytes.
    pub(crate) fn encoded(&self, number: u32) -> &[u8] {
        slice(&self.bytes, &self.ends, number)
    }

    /// All numbers in the order of their keys.
    pub(crate) fn in_order(&self) -> Vec<u32> {
        let mut numbers: Vec<u32> = (0..self.len() as u32).collect();
        numbers.sort_unstable_by(|&a, &b| self.encoded(a).cmp(self.encoded(b)));
        numbers
    }

    /// The numbers of the keys of a batch's logical rows, appended.
    pub(crate) fn intern_rows(&mut self, batch: &Batch, key: &[usize], numbers: &mut Vec<u32>) {
        let columns: Vec<_> = key.iter().map(|&column| batch.column(column)).collect();
        let mut encoded = Vec::new();
        numbers.extend((0..batch.rows()).map(|row| {
            encoded.clear();
            for column in &columns {
                key::encode(column.value(row), &mut encoded);
            }
            self.intern(&encoded)
        }));
    }
}

fn slice<'a>(bytes: &'a [u8], ends: &[usize], number: u32) -> &'a [u8] {
    let number = number as usize;
    let start = if number == 0 { 0 } else { ends[number - 1] };
    &bytes[start..ends[number]]
}

/// Released rows by key.
#[derive(Debug)]
pub(crate) struct Groups {
    /// The keys.
    pub(crate) keys: Keyring,
    /// The numbers of the keys, in the order of their canonical bytes.
    pub(crate) order: Vec<u32>,
    /// By place in `order`: the rows of that key are `rows[offsets[i]..offsets[i + 1]]`.
    pub(crate) offsets: Vec<u32>,
    /// Places in [`Released::sequence`], ascending within a key.
    pub(crate) rows: Vec<u32>,
}

impl Groups {
    /// The rows of a slice by key. `key` names each input's key columns.
    pub(crate) fn new(released: &Released, key: &[Vec<usize>]) -> Self {
        let mut keys = Keyring::default();
        let of_input: Vec<Vec<u32>> = released
            .batches
            .iter()
            .zip(key)
            .map(|(batch, key)| {
                let mut numbers = Vec::new();
                if let Some(batch) = batch {
                    keys.intern_rows(batch, key, &mut numbers);
                }
                numbers
            })
            .collect();
        let order = keys.in_order();
        let mut place_of = vec![0_u32; order.len()];
        for (place, &number) in order.iter().enumerate() {
            place_of[number as usize] = place as u32;
        }
        let places = released
            .sequence
            .iter()
            .map(|&(input, row)| place_of[of_input[usize::from(input)][row as usize] as usize]);
        let places: Vec<u32> = places.collect();
        let (offsets, rows) = sort_by_place(&places, order.len());
        Self {
            keys,
            order,
            offsets,
            rows,
        }
    }
}

/// Puts items into `count` places, those of one place as they stand: where each place begins, and the items.
pub(crate) fn sort_by_place(places: &[u32], count: usize) -> (Vec<u32>, Vec<u32>) {
    let mut offsets = vec![0_u32; count + 1];
    for &place in places {
        offsets[place as usize + 1] += 1;
    }
    for place in 0..count {
        offsets[place + 1] += offsets[place];
    }
    let mut next = offsets.clone();
    let mut items = vec![0_u32; places.len()];
    for (item, &place) in places.iter().enumerate() {
        let at = &mut next[place as usize];
        items[*at as usize] = item as u32;
        *at += 1;
    }
    (offsets, items)
}
