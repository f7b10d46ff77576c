//! Pseudo-random numbers of one event: splitmix64 (Steele, Lea and Flood 2014), begun anew from seed and number.

/// A stream of numbers.
#[derive(Debug)]
pub(super) struct Random(u64);

/// The golden ratio's bits, odd.
const STEP: u64 = 0x9E37_79B9_7F4A_7C15;

impl Random {
    /// The numbers of an event.
    pub(super) fn new(seed: u64, number: u64) -> Self {
        // Mixed twice, so that neighbouring events of neighbouring seeds have nothing in common.
        Self(mix(mix(seed.wrapping_add(STEP)) ^ number.wrapping_mul(STEP)))
    }

    fn next(&mut self) -> u64 {
        self.0 = self.0.wrapping_add(STEP);
        mix(self.0)
    }

    /// A number from 0 to below `bound`, which is not 0.
    pub(super) fn below(&mut self, bound: u64) -> u64 {
        ((u128::from(self.next()) * u128::from(bound)) >> 64) as u64
    }

    /// One of some.
    pub(super) fn pick<T: Copy>(&mut self, from: &[T]) -> T {
        from[self.below(from.len() as u64) as usize]
    }

    /// So many letters.
    pub(super) fn letters(&mut self, len: usize) -> String {
        const PER_NUMBER: usize = 8;
        let mut text = String::with_capacity(len);
        while text.len() < len {
            let bytes = self.next().to_le_bytes();
            for byte in &bytes[..PER_NUMBER.min(len - text.len())] {
                text.push(char::from(b'a' + byte % 26));
            }
        }
        text
    }

    /// Letters of about this length.
    pub(super) fn filling(&mut self, len: u64) -> String {
        let len = len - len / 5 + self.below(len * 2 / 5 + 1);
        self.letters(len as usize)
    }
}

fn mix(number: u64) -> u64 {
    let number = (number ^ (number >> 30)).wrapping_mul(0xBF58_476D_1CE4_E5B9);
    let number = (number ^ (number >> 27)).wrapping_mul(0x94D0_49BB_1331_11EB);
    number ^ (number >> 31)
}
