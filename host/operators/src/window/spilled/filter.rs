//! Which keys a pane may have in the store, so that those that it does not have are seldom looked for.
//!
//! A Bloom filter (Bloom, "Space/time trade-offs in hash coding with allowable errors", 1970) in layers, each four times
//! as large as the one before, in which a key sets some bits of one word. It never denies a key that is there. Where there
//! is no memory for another layer, the last one fills up and says yes more often.

/// Words of the first layer.
const FIRST_WORDS: usize = 64;
/// How much larger the next layer is.
const GROWTH: usize = 4;
/// Keys for which a word has room: 8 bits each.
const KEYS_PER_WORD: usize = 8;

/// The keys of a pane, about.
#[derive(Debug, Default)]
pub(in crate::window) struct Filter {
    layers: Vec<Vec<u64>>,
    /// Keys for which the last layer has room.
    room: usize,
}

impl Filter {
    /// Whether a key of this hash may be there.
    pub(super) fn may_have(&self, hash: u64) -> bool {
        let hash = mix(hash);
        self.layers.iter().any(|layer| {
            let bits = bits(hash);
            layer[word(hash, layer.len())] & bits == bits
        })
    }

    /// Adds a key. Another layer is made only where `bytes_left` are enough for it, which they are less then.
    pub(super) fn put(&mut self, hash: u64, bytes_left: &mut usize) {
        if self.may_have(hash) {
            return;
        }
        if self.room == 0 {
            let words = self.layers.last().map_or(FIRST_WORDS, |last| last.len() * GROWTH);
            if self.layers.is_empty() || words * size_of::<u64>() <= *bytes_left {
                *bytes_left = bytes_left.saturating_sub(words * size_of::<u64>());
                self.layers.push(vec![0; words]);
                self.room = words * KEYS_PER_WORD;
            }
        }
        self.room = self.room.saturating_sub(1);
        let hash = mix(hash);
        if let Some(layer) = self.layers.last_mut() {
            let word = word(hash, layer.len());
            layer[word] |= bits(hash);
        }
    }

    pub(super) fn size_bytes(&self) -> usize {
        self.layers.iter().map(|layer| layer.len() * size_of::<u64>()).sum()
    }
}

/// The keys of a subtask have bits of their hashes in common.
fn mix(hash: u64) -> u64 {
    let product = u128::from(hash) * 0x9e37_79b9_7f4a_7c15;
    product as u64 ^ (product >> 64) as u64
}

fn word(hash: u64, words: usize) -> usize {
    ((hash >> 32) as usize * words) >> 32
}

/// Four bits of a word, some of which may be the same.
fn bits(hash: u64) -> u64 {
    (0..4).fold(0, |bits, i| bits | 1 << (hash >> (6 * i) & 63))
}

#[cfg(test)]
mod tests {
    use super::*;
    use wasmill_core::column::Value;
    use wasmill_core::key;

    fn hash_of(number: i64) -> u64 {
        let mut encoded = Vec::new();
        key::encode(Value::Int64(number), &mut encoded);
        key::hash(&encoded)
    }

    fn filled(keys: i64, mut bytes: usize) -> Filter {
        let mut filter = Filter::default();
        (0..keys).for_each(|key| filter.put(hash_of(key), &mut bytes));
        filter
    }

    #[test]
    fn no_key_that_is_there_is_denied() {
        for bytes in [0, 10_000, usize::MAX] {
            let filter = filled(30_000, bytes);
            assert!((0..30_000).all(|key| filter.may_have(hash_of(key))), "{bytes} bytes");
        }
        assert!(!Filter::default().may_have(1));
    }

    #[test]
    fn few_keys_that_are_not_there_are_taken_for_others() {
        let filter = filled(100_000, usize::MAX);
        let wrong = (100_000..200_000).filter(|&key| filter.may_have(hash_of(key))).count();
        assert!(wrong < 15_000, "{wrong} of 100000");
        assert!(filter.size_bytes() < 4 * 100_000, "{} bytes", filter.size_bytes());
    }

    #[test]
    fn memory_is_bounded_but_for_the_first_layer() {
        let filter = filled(100_000, 10_000);
        assert!(filter.size_bytes() <= 10_000);
        assert_eq!(filled(100_000, 0).size_bytes(), 512);
    }
}
