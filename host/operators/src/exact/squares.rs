//! The exact sum of squares.

use wasmill_core::fault::Fault;

use super::wide::Wide;
use super::{Natural, parts};
use crate::codec::{damaged, put_signed, put_unsigned, take_flag, take_signed, take_unsigned};

/// No square of a float has a bit below this exponent.
const LOWEST: i32 = -2148;
/// No sum of 2^64 squares of floats reaches this exponent.
const HIGHEST: i32 = 2048 + 64;
/// Room below the first addend for smaller ones.
const ROOM_BELOW: i32 = 48;
/// Twice the greatest exponent of a float's parts, less the room.
const BASE_MAX: i128 = 2 * 971;

/// The exact sum of the squares of finite numbers. 56 bytes, and 1,100 more where exponents lie far apart.
#[derive(Clone, Debug, Default)]
pub(crate) struct SquareSum {
    /// In units of 2^base, least significant limb first.
    small: [u64; 4],
    wide: Option<Box<Wide>>,
    base: i16,
}

impl SquareSum {
    pub(crate) fn add(&mut self, value: f64) {
        let p = parts(value);
        self.add_scaled(u128::from(p.mantissa) * u128::from(p.mantissa), 2 * p.exponent);
    }

    pub(crate) fn add_int(&mut self, value: i64) {
        let magnitude = u128::from(value.unsigned_abs());
        self.add_scaled(magnitude * magnitude, 0);
    }

    fn add_scaled(&mut self, magnitude: u128, exponent: i32) {
        if magnitude == 0 {
            return;
        }
        if self.small == [0; 4] {
            self.base = (exponent - ROOM_BELOW).max(LOWEST) as i16;
        }
        let shift = exponent - i32::from(self.base);
        if !(0..128).contains(&shift) || !self.add_small(magnitude, shift as u32) {
            self.wide().add(magnitude, exponent, false);
        }
    }

    /// Whether `magnitude * 2^shift` found room.
    fn add_small(&mut self, magnitude: u128, shift: u32) -> bool {
        let (low, high) = (
            magnitude << shift,
            if shift == 0 { 0 } else { magnitude >> (128 - shift) },
        );
        let terms = [low as u64, (low >> 64) as u64, high as u64, (high >> 64) as u64];
        let mut sum = self.small;
        let mut carry = 0_u128;
        for (limb, term) in sum.iter_mut().zip(terms) {
            carry += u128::from(*limb) + u128::from(term);
            *limb = carry as u64;
            carry >>= 64;
        }
        if carry == 0 {
            self.small = sum;
        }
        carry == 0
    }

    fn wide(&mut self) -> &mut Wide {
        self.wide.get_or_insert_with(|| Box::new(Wide::new(LOWEST, HIGHEST)))
    }

    pub(crate) fn merge(&mut self, other: &Self) {
        if let Some(wide) = &other.wide {
            self.wide().merge(wide);
        }
        let [a, b, c, d] = other.small.map(u128::from);
        let base = i32::from(other.base);
        self.add_scaled(a | b << 64, base);
        self.add_scaled(c | d << 64, base + 128);
    }

    /// The exact sum: magnitude and exponent.
    pub(crate) fn total(&self) -> (Natural, i32) {
        let Some(wide) = &self.wide else {
            return (Natural::from_limbs(self.small.to_vec()), self.base.into());
        };
        let mut all = wide.clone();
        let [a, b, c, d] = self.small.map(u128::from);
        all.add(a | b << 64, self.base.into(), false);
        all.add(c | d << 64, i32::from(self.base) + 128, false);
        (all.total().1, all.lowest())
    }

    /// Appends the sum's bytes.
    pub(crate) fn encode(&self, out: &mut Vec<u8>) {
        let [a, b, c, d] = self.small.map(u128::from);
        put_signed(self.base.into(), out);
        put_unsigned(a | b << 64, out);
        put_unsigned(c | d << 64, out);
        out.push(self.wide.is_some().into());
        if let Some(wide) = &self.wide {
            wide.encode(out);
        }
    }

    /// Reads a sum.
    ///
    /// # Errors
    /// The bytes are none.
    pub(crate) fn decode(from: &mut &[u8]) -> Result<Self, Fault> {
        let base = take_signed(from)?;
        if !(i128::from(LOWEST)..=BASE_MAX).contains(&base) {
            return Err(damaged("a sum is too great"));
        }
        let (low, high) = (take_unsigned(from)?, take_unsigned(from)?);
        let wide = if take_flag(from)? {
            Some(Box::new(Wide::decode(LOWEST, HIGHEST, from)?))
        } else {
            None
        };
        Ok(Self {
            small: [low as u64, (low >> 64) as u64, high as u64, (high >> 64) as u64],
            wide,
            base: base as i16,
        })
    }

    pub(crate) fn heap_bytes(&self) -> usize {
        self.wide.as_ref().map_or(0, |wide| wide.size_bytes())
    }
}
