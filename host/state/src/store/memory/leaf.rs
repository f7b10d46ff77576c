//! A leaf of the tree in memory: some entries, their bytes in one piece.
//!
//! Bytes stand in the order of writing; what is replaced by a longer or shorter value, or removed, is left behind and
//! squeezed out when it is more than what is in use.

/// A leaf has at most this many entries.
const ENTRIES_MAX: usize = 64;
/// A leaf of two or more entries has at most this many bytes in use.
const BYTES_MAX: usize = 32 << 10;
/// So many bytes that are not in use are left alone in any case.
const WASTE_KEPT_BYTES: usize = 1 << 10;
/// Two neighbours become one where together they have no more entries than this.
const MERGED_ENTRIES_MAX: usize = ENTRIES_MAX / 4;
/// What an entry takes beside its bytes.
pub(super) const SLOT_BYTES: u64 = size_of::<Slot>() as u64;

/// Some entries, in order.
#[derive(Debug, Default)]
pub(super) struct Leaf {
    slots: Vec<Slot>,
    bytes: Vec<u8>,
    /// Bytes in use.
    used: usize,
}

#[derive(Clone, Copy, Debug)]
struct Slot {
    head: u128,
    at: u32,
    key_len: u32,
    value_len: u32,
}

/// A key that is looked for, and its first 16 bytes as a number, with zeroes behind where it is shorter.
pub(super) struct Probe<'k> {
    pub(super) head: u128,
    pub(super) key: &'k [u8],
}

const HEAD_BYTES: usize = 16;

impl<'k> Probe<'k> {
    #[inline]
    pub(super) fn new(key: &'k [u8]) -> Self {
        let head = if let Some(head) = key.first_chunk::<HEAD_BYTES>() {
            u128::from_be_bytes(*head)
        } else {
            let mut head = [0; HEAD_BYTES];
            head[..key.len()].copy_from_slice(key);
            u128::from_be_bytes(head)
        };
        Self { head, key }
    }
}

impl Leaf {
    pub(super) fn len(&self) -> usize {
        self.slots.len()
    }

    pub(super) fn is_empty(&self) -> bool {
        self.slots.is_empty()
    }

    /// Whether it is to be split.
    #[inline]
    pub(super) fn is_full(&self) -> bool {
        self.slots.len() > ENTRIES_MAX || self.used > BYTES_MAX && self.slots.len() > 1
    }

    /// The place of a key, or where it would be.
    #[inline]
    pub(super) fn find(&self, probe: &Probe<'_>) -> Result<usize, usize> {
        self.slots.binary_search_by(|slot| {
            slot.head.cmp(&probe.head).then_with(|| {
                if slot.key_len as usize <= HEAD_BYTES && probe.key.len() <= HEAD_BYTES {
                    (slot.key_len as usize).cmp(&probe.key.len())
                } else {
                    self.key(slot).cmp(probe.key)
                }
            })
        })
    }

    #[inline]
    fn key(&self, slot: &Slot) -> &[u8] {
        &self.bytes[slot.at as usize..][..slot.key_len as usize]
    }

    /// The key and the value at a place.
    #[inline]
    pub(super) fn entry(&self, slot: usize) -> (&[u8], &[u8]) {
        let slot = &self.slots[slot];
        self.bytes[slot.at as usize..][..(slot.key_len + slot.value_len) as usize].split_at(slot.key_len as usize)
    }

    /// Replaces the value at a place.
    #[inline]
    pub(super) fn set(&mut self, place: usize, value: &[u8]) {
        let slot = self.slots[place];
        if slot.value_len as usize == value.len() {
            let at = (slot.at + slot.key_len) as usize;
            self.bytes[at..at + value.len()].copy_from_slice(value);
            return;
        }
        let key_at = slot.at as usize;
        self.used -= slot.value_len as usize;
        self.used += value.len();
        let at = self.bytes.len();
        self.bytes.extend_from_within(key_at..key_at + slot.key_len as usize);
        self.bytes.extend_from_slice(value);
        self.slots[place] = Slot {
            at: small(at),
            value_len: small(value.len()),
            ..slot
        };
        self.squeeze();
    }

    /// Adds an entry at its place.
    #[inline]
    pub(super) fn insert(&mut self, place: usize, probe: &Probe<'_>, value: &[u8]) {
        let slot = Slot {
            head: probe.head,
            at: small(self.bytes.len()),
            key_len: small(probe.key.len()),
            value_len: small(value.len()),
        };
        self.bytes.extend_from_slice(probe.key);
        self.bytes.extend_from_slice(value);
        self.slots.insert(place, slot);
        self.used += probe.key.len() + value.len();
    }

    /// Removes the entries from one place to before another. How many bytes they had.
    pub(super) fn remove(&mut self, first: usize, end: usize) -> usize {
        let removed = self.slots.drain(first..end);
        let bytes = removed.map(|slot| (slot.key_len + slot.value_len) as usize).sum();
        self.used -= bytes;
        self.squeeze();
        bytes
    }

    /// Takes entries out until none of the leaves is full: the leaves after this one, in order.
    #[cold]
    pub(super) fn divide(&mut self) -> Vec<Self> {
        let mut right = self.split();
        let mut leaves = if self.is_full() { self.divide() } else { Vec::new() };
        let after = if right.is_full() { right.divide() } else { Vec::new() };
        leaves.push(right);
        leaves.extend(after);
        leaves
    }

    /// Takes the greater half of the entries out; only the last where the last is alone what made the leaf full, as it is
    /// where keys come in ascending order.
    fn split(&mut self) -> Self {
        let newest = self.slots.iter().enumerate().max_by_key(|(_, slot)| slot.at);
        let ascending = newest.is_some_and(|(place, _)| place + 1 == self.slots.len());
        let at = if ascending {
            self.slots.len() - 1
        } else {
            self.slots.len() / 2
        };
        let mut right = Self::default();
        right.copy(self, at, self.slots.len());
        let mut left = Self::default();
        left.copy(self, 0, at);
        *self = left;
        right
    }

    /// Whether this leaf and the next are better one.
    pub(super) fn fits(&self, next: &Self) -> bool {
        self.len() + next.len() <= MERGED_ENTRIES_MAX && self.used + next.used <= BYTES_MAX
    }

    /// Takes in the entries of the next leaf.
    pub(super) fn append(&mut self, next: &Self) {
        self.copy(next, 0, next.len());
    }

    fn copy(&mut self, from: &Self, first: usize, end: usize) {
        let slots = &from.slots[first..end];
        let len = |slot: &Slot| (slot.key_len + slot.value_len) as usize;
        self.bytes.reserve(slots.iter().map(len).sum());
        self.slots.reserve(slots.len());
        for slot in slots {
            let at = self.bytes.len();
            self.bytes
                .extend_from_slice(&from.bytes[slot.at as usize..][..len(slot)]);
            self.slots.push(Slot { at: small(at), ..*slot });
            self.used += len(slot);
        }
    }

    /// Makes room where more bytes lie idle than are in use.
    fn squeeze(&mut self) {
        if self.bytes.len() - self.used > self.used.max(WASTE_KEPT_BYTES) {
            let mut squeezed = Self::default();
            squeezed.copy(self, 0, self.slots.len());
            *self = squeezed;
        }
    }
}

/// A leaf that is not full has one entry, or [`BYTES_MAX`] in use. As much again, and a little, lies idle at most, and one
/// entry more is written before the leaf is divided: less than four times [`crate::store::ENTRY_BYTES_MAX`].
fn small(len: usize) -> u32 {
    u32::try_from(len).expect("a leaf has less than 4 GiB, since a store bounds its entries")
}
