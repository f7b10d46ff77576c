//! The exact sum of floats and integers.

use wasmill_core::fault::Fault;

use super::wide::Wide;
use super::{Natural, divide, parts, round};
use crate::codec::{damaged, put_signed, take_byte, take_flag, take_signed};

/// No float has a bit below this exponent.
const LOWEST: i32 = -1074;
/// No sum of 2^64 floats reaches this exponent.
const HIGHEST: i32 = 1024 + 64;
/// Room below the first addend for smaller ones.
const ROOM_BELOW: i32 = 20;
/// No float is a multiple of a greater power of two that its mantissa leaves out.
const BASE_MAX: i128 = 971;

const SOME: u8 = 1;
const POSITIVE_INFINITY: u8 = 2;
const NEGATIVE_INFINITY: u8 = 4;
const NAN: u8 = 8;

/// The exact sum of any floats or integers in any order. 32 bytes, and 600 more where exponents lie far apart.
#[derive(Clone, Debug, Default)]
pub(crate) struct Sum {
    /// In units of 2^base.
    small: i128,
    wide: Option<Box<Wide>>,
    base: i16,
    seen: u8,
}

impl Sum {
    #[inline]
    pub(crate) fn add(&mut self, value: f64) {
        let p = parts(value);
        if p.exponent == 0x7ff - 1075 {
            self.add_special(value);
        } else {
            self.add_scaled(p.mantissa, p.exponent, p.negative);
        }
    }

    pub(crate) fn add_int(&mut self, value: i64) {
        self.add_scaled(value.unsigned_abs(), 0, value < 0);
    }

    #[inline]
    fn add_scaled(&mut self, mantissa: u64, exponent: i32, negative: bool) {
        let shift = exponent - i32::from(self.base);
        if self.seen & SOME != 0 && (0..=62).contains(&shift) {
            let term = i128::from(mantissa) << shift;
            let signed = if negative { -term } else { term };
            if let Some(sum) = self.small.checked_add(signed) {
                self.small = sum;
                return;
            }
        }
        self.add_slowly(mantissa, exponent, negative);
    }

    #[cold]
    fn add_slowly(&mut self, mantissa: u64, exponent: i32, negative: bool) {
        self.seen |= SOME;
        if mantissa == 0 {
            return;
        }
        if self.small == 0 {
            self.base = (exponent - ROOM_BELOW).max(LOWEST) as i16;
        }
        let spare = mantissa.trailing_zeros();
        let (mantissa, exponent) = (mantissa >> spare, exponent + spare as i32);
        self.lower_base(exponent);
        let shift = exponent - i32::from(self.base);
        let bits = 64 - mantissa.leading_zeros() as i32;
        if (0..=126 - bits).contains(&shift) {
            let term = i128::from(mantissa) << shift;
            let signed = if negative { -term } else { term };
            if let Some(sum) = self.small.checked_add(signed) {
                self.small = sum;
                return;
            }
        }
        self.wide().add(mantissa.into(), exponent, negative);
    }

    /// Makes room for bits at `exponent`, where there is room above.
    fn lower_base(&mut self, exponent: i32) {
        let down = i32::from(self.base) - exponent;
        let room = self.small.unsigned_abs().leading_zeros() as i32 - 2;
        if 0 < down && down <= room {
            self.small <<= down;
            self.base = exponent as i16;
        }
    }

    fn wide(&mut self) -> &mut Wide {
        self.wide.get_or_insert_with(|| Box::new(Wide::new(LOWEST, HIGHEST)))
    }

    #[cold]
    fn add_special(&mut self, value: f64) {
        self.seen |= SOME
            | if value.is_nan() {
                NAN
            } else if value > 0.0 {
                POSITIVE_INFINITY
            } else {
                NEGATIVE_INFINITY
            };
    }

    pub(crate) fn merge(&mut self, other: &Self) {
        if other.seen & SOME == 0 {
            return;
        }
        if self.seen & SOME == 0 {
            *self = other.clone();
            return;
        }
        self.seen |= other.seen;
        if let Some(wide) = &other.wide {
            self.wide().merge(wide);
        }
        if other.small == 0 {
            return;
        }
        if self.small == 0 {
            (self.small, self.base) = (other.small, other.base);
            return;
        }
        self.lower_base(other.base.into());
        let mut term = other.clone();
        term.lower_base(self.base.into());
        if self.base == term.base
            && let Some(sum) = self.small.checked_add(term.small)
        {
            self.small = sum;
            return;
        }
        let (magnitude, base) = (other.small.unsigned_abs(), other.base.into());
        self.wide().add(magnitude, base, other.small < 0);
    }

    pub(crate) fn is_empty(&self) -> bool {
        self.seen & SOME == 0
    }

    /// What the sum is where an addend was no finite number.
    pub(crate) fn special(&self) -> Option<f64> {
        match self.seen & !SOME {
            0 => None,
            POSITIVE_INFINITY => Some(f64::INFINITY),
            NEGATIVE_INFINITY => Some(f64::NEG_INFINITY),
            _ => Some(f64::NAN),
        }
    }

    /// The exact sum of the finite addends: sign, magnitude and exponent.
    pub(crate) fn total(&self) -> (bool, Natural, i32) {
        let Some(wide) = &self.wide else {
            return (self.small < 0, self.small.unsigned_abs().into(), self.base.into());
        };
        let mut wide = wide.clone();
        wide.add(self.small.unsigned_abs(), self.base.into(), self.small < 0);
        let (negative, magnitude) = wide.total();
        (negative, magnitude, wide.lowest())
    }

    /// The sum, rounded once.
    pub(crate) fn rounded(&self) -> f64 {
        self.divided(1)
    }

    /// The sum divided by `count`, rounded once.
    pub(crate) fn divided(&self, count: u64) -> f64 {
        if let Some(special) = self.special() {
            return special;
        }
        if self.wide.is_none() {
            let magnitude = self.small.unsigned_abs();
            let value = if count == 1 {
                round(magnitude, false, self.base.into())
            } else {
                divide(magnitude, self.base.into(), count)
            };
            return if self.small < 0 { -value } else { value };
        }
        let (negative, magnitude, exponent) = self.total();
        let value = if magnitude.is_zero() {
            0.0
        } else {
            magnitude.divide_round(exponent, count)
        };
        if negative { -value } else { value }
    }

    /// Appends the sum's bytes.
    pub(crate) fn encode(&self, out: &mut Vec<u8>) {
        out.push(self.seen);
        if self.is_empty() {
            return;
        }
        put_signed(self.base.into(), out);
        put_signed(self.small, out);
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
        let seen = take_byte(from)?;
        if seen == 0 {
            return Ok(Self::default());
        }
        if seen & SOME == 0 || seen > SOME | POSITIVE_INFINITY | NEGATIVE_INFINITY | NAN {
            return Err(damaged("a sum holds neither numbers nor nothing"));
        }
        let base = take_signed(from)?;
        if !(i128::from(LOWEST)..=BASE_MAX).contains(&base) {
            return Err(damaged("a sum is too great"));
        }
        let small = take_signed(from)?;
        let wide = if take_flag(from)? {
            Some(Box::new(Wide::decode(LOWEST, HIGHEST, from)?))
        } else {
            None
        };
        Ok(Self {
            small,
            wide,
            base: base as i16,
            seen,
        })
    }

    pub(crate) fn heap_bytes(&self) -> usize {
        self.wide.as_ref().map_or(0, |wide| wide.size_bytes())
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use num_bigint::BigInt;
    use proptest::prelude::*;

    /// The same sum by another way: integers of any length in units of 2^-1074, rounded through a decimal text, which
    /// the standard library reads correctly rounded.
    fn oracle(values: &[f64], count: u64) -> f64 {
        let total: BigInt = values
            .iter()
            .map(|&v| {
                let p = parts(v);
                let magnitude = BigInt::from(p.mantissa) << (p.exponent - LOWEST) as usize;
                if p.negative { -magnitude } else { magnitude }
            })
            .sum();
        // total / (count * 2^1074) with 1200 decimal digits after the point.
        let digits = total * BigInt::from(10).pow(1200) / (BigInt::from(count) << 1074_usize);
        format!("{digits}e-1200").parse().expect("a number")
    }

    fn floats() -> impl Strategy<Value = f64> {
        prop_oneof![
            any::<f64>().prop_filter("finite", |v| v.is_finite()),
            -1e6..1e6_f64,
            (-1_000_000..1_000_000_i64).prop_map(|cents| cents as f64 / 100.0),
            Just(f64::MAX),
            Just(-f64::MAX),
            Just(f64::from_bits(1)),
            Just(-0.0),
        ]
    }

    fn sum(values: &[f64]) -> Sum {
        let mut sum = Sum::default();
        for &value in values {
            sum.add(value);
        }
        sum
    }

    #[test]
    fn cancellation_leaves_what_is_left() {
        assert_eq!(sum(&[1e308, 1.0, -1e308]).rounded(), 1.0);
        assert_eq!(sum(&[1e308, 1e308, -1e308, -1e308, 5e-324]).rounded(), 5e-324);
        assert_eq!(sum(&[f64::MAX, f64::MAX]).rounded(), f64::INFINITY);
        assert_eq!(sum(&[0.1; 10]).rounded(), 1.0);
    }

    #[test]
    fn infinities_and_nan_count_as_ieee_754_says() {
        assert_eq!(sum(&[1.0, f64::INFINITY]).rounded(), f64::INFINITY);
        assert!(sum(&[f64::NEG_INFINITY, f64::INFINITY]).rounded().is_nan());
        assert!(sum(&[1.0, f64::NAN]).rounded().is_nan());
        assert_eq!(sum(&[1.0, f64::NEG_INFINITY]).divided(2), f64::NEG_INFINITY);
    }

    proptest! {
        #[test]
        fn the_sum_is_exact_whatever_the_order_and_the_cuts(
            values in proptest::collection::vec(floats(), 1..40), cut in 0..40_usize, count in 1..1000_u64,
        ) {
            let expect = oracle(&values, 1);
            let whole = sum(&values);
            prop_assert_eq!(whole.rounded(), expect);
            prop_assert_eq!(whole.divided(count), oracle(&values, count));
            let (a, b) = values.split_at(cut.min(values.len()));
            let (mut first, second) = (sum(a), sum(b));
            let mut swapped = second.clone();
            swapped.merge(&first);
            first.merge(&second);
            prop_assert_eq!(first.rounded(), expect);
            prop_assert_eq!(swapped.rounded(), expect);
            let mut bytes = Vec::new();
            first.encode(&mut bytes);
            let mut read = Sum::decode(&mut &bytes[..]).expect("a sum");
            prop_assert_eq!(read.rounded(), expect);
            read.add(1.5);
            first.add(1.5);
            prop_assert_eq!(read.rounded(), first.rounded());
            let mut sorted = values.clone();
            sorted.sort_by(f64::total_cmp);
            prop_assert_eq!(sum(&sorted).rounded(), expect);
        }
    }
}
