//! The superaccumulator: a fixed-point number that spans every exponent, in overlapping signed chunks.

use wasmill_core::fault::Fault;

use super::Natural;
use crate::codec::{damaged, put_count, take_array, take_count, take_flag, take_length};

/// Each chunk counts units of 2^32 of the one below it; its upper bits take carries until they are passed on.
const CHUNK_BITS: i32 = 32;

/// After so many additions carries are passed on, long before a chunk can overflow.
const ADDITIONS_MAX: u32 = 1 << 30;

/// A sum of any numbers `magnitude * 2^exponent` with exponents not below `lowest`.
#[derive(Clone, Debug)]
pub(super) struct Wide {
    chunks: Vec<i64>,
    lowest: i32,
    additions: u32,
}

impl Wide {
    /// Nothing yet. The sum stays below 2^`highest` in magnitude.
    pub(super) fn new(lowest: i32, highest: i32) -> Self {
        let chunks = ((highest - lowest) / CHUNK_BITS) as usize + 4;
        Self {
            chunks: vec![0; chunks],
            lowest,
            additions: 0,
        }
    }

    /// Adds `magnitude * 2^exponent`, or takes it away.
    pub(super) fn add(&mut self, magnitude: u128, exponent: i32, negative: bool) {
        let place = exponent - self.lowest;
        debug_assert!(place >= 0, "no bit is lost");
        let (mut chunk, bits) = ((place / CHUNK_BITS) as usize, place % CHUNK_BITS);
        // The low part so that the shift cannot lose bits at the top.
        let (mut low, mut high) = (magnitude << bits, if bits == 0 { 0 } else { magnitude >> (128 - bits) });
        while low != 0 || high != 0 {
            let piece = i64::from(low as u32);
            self.chunks[chunk] += if negative { -piece } else { piece };
            low = low >> CHUNK_BITS | high << (128 - CHUNK_BITS);
            high >>= CHUNK_BITS;
            chunk += 1;
        }
        self.additions += 1;
        if self.additions >= ADDITIONS_MAX {
            self.pass_carries();
        }
    }

    pub(super) fn merge(&mut self, other: &Self) {
        let mut other = other.clone();
        other.pass_carries();
        self.pass_carries();
        for (a, b) in self.chunks.iter_mut().zip(&other.chunks) {
            *a += b;
        }
        self.additions = 1;
    }

    /// The sum: whether it is negative, and its magnitude in units of 2^lowest.
    pub(super) fn total(&self) -> (bool, Natural) {
        let mut sum = self.clone();
        sum.pass_carries();
        let negative = sum.chunks.last().is_some_and(|&top| top < 0);
        if negative {
            for chunk in &mut sum.chunks {
                *chunk = -*chunk;
            }
            sum.pass_carries();
        }
        let pairs = sum.chunks.chunks(2);
        let limbs = pairs.map(|pair| pair[0] as u64 | pair.get(1).map_or(0, |&high| (high as u64) << CHUNK_BITS));
        (negative, Natural::from_limbs(limbs.collect()))
    }

    /// Appends the sum's bytes: its sign, then its limbs from the first that is not zero.
    pub(super) fn encode(&self, out: &mut Vec<u8>) {
        let (negative, magnitude) = self.total();
        let limbs = magnitude.limbs();
        let zeros = limbs.iter().take_while(|&&limb| limb == 0).count();
        out.push(negative.into());
        put_count(zeros as u64, out);
        put_count((limbs.len() - zeros) as u64, out);
        for limb in &limbs[zeros..] {
            out.extend(limb.to_le_bytes());
        }
    }

    /// Reads a sum of these bounds.
    ///
    /// # Errors
    /// The bytes are none.
    pub(super) fn decode(lowest: i32, highest: i32, from: &mut &[u8]) -> Result<Self, Fault> {
        let mut sum = Self::new(lowest, highest);
        let negative = take_flag(from)?;
        let zeros = take_count(from)?;
        let limbs_max = ((highest - lowest) / 64 + 1) as u64;
        let limbs = take_length(from)? as u64;
        if zeros.saturating_add(limbs) > limbs_max {
            return Err(damaged("a sum is too great"));
        }
        for limb in zeros..zeros + limbs {
            let magnitude = u64::from_le_bytes(take_array(from)?);
            sum.add(magnitude.into(), lowest + 64 * limb as i32, negative);
        }
        Ok(sum)
    }

    pub(super) fn lowest(&self) -> i32 {
        self.lowest
    }

    pub(super) fn size_bytes(&self) -> usize {
        size_of::<Self>() + self.chunks.len() * 8
    }

    /// Brings every chunk but the last into 0..2^32.
    fn pass_carries(&mut self) {
        let mut carry = 0;
        let (top, rest) = self.chunks.split_last_mut().expect("there are chunks");
        for chunk in rest {
            let value = *chunk + carry;
            *chunk = value & 0xffff_ffff;
            carry = value >> CHUNK_BITS;
        }
        *top += carry;
        self.additions = 0;
    }
}
