//! Natural numbers of any length: the few operations that averages and deviations end with.

use super::round;

/// A natural number, least significant limb first, without leading zeros.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(crate) struct Natural(Vec<u64>);

impl From<u128> for Natural {
    fn from(value: u128) -> Self {
        Self::from_limbs(vec![value as u64, (value >> 64) as u64])
    }
}

impl Natural {
    pub(crate) fn from_limbs(mut limbs: Vec<u64>) -> Self {
        while limbs.last() == Some(&0) {
            limbs.pop();
        }
        Self(limbs)
    }

    /// The limbs, least significant first, without leading zeros.
    pub(super) fn limbs(&self) -> &[u64] {
        &self.0
    }

    pub(crate) fn is_zero(&self) -> bool {
        self.0.is_empty()
    }

    /// The number of bits.
    pub(crate) fn bits(&self) -> u32 {
        self.0
            .last()
            .map_or(0, |top| self.0.len() as u32 * 64 - top.leading_zeros())
    }

    #[must_use]
    pub(crate) fn times(&self, other: &Self) -> Self {
        let mut limbs = vec![0_u64; self.0.len() + other.0.len()];
        for (i, &a) in self.0.iter().enumerate() {
            let mut carry = 0_u128;
            for (j, &b) in other.0.iter().enumerate() {
                carry += u128::from(a) * u128::from(b) + u128::from(limbs[i + j]);
                limbs[i + j] = carry as u64;
                carry >>= 64;
            }
            limbs[i + other.0.len()] = carry as u64;
        }
        Self::from_limbs(limbs)
    }

    /// `self * 2^by`.
    #[must_use]
    pub(crate) fn shifted_left(&self, by: u32) -> Self {
        let (limbs, bits) = ((by / 64) as usize, by % 64);
        let mut out = vec![0; limbs];
        let mut carry = 0;
        for &limb in &self.0 {
            out.push(limb << bits | carry);
            carry = if bits == 0 { 0 } else { limb >> (64 - bits) };
        }
        out.push(carry);
        Self::from_limbs(out)
    }

    /// `self - other`; `None` where that is below zero.
    #[must_use]
    pub(crate) fn minus(&self, other: &Self) -> Option<Self> {
        let mut out = self.0.clone();
        let mut borrow = false;
        for (i, limb) in out.iter_mut().enumerate() {
            let subtrahend = other.0.get(i).copied().unwrap_or(0);
            let (first, under) = limb.overflowing_sub(subtrahend);
            let (second, under_again) = first.overflowing_sub(u64::from(borrow));
            *limb = second;
            borrow = under || under_again;
        }
        (!borrow && other.0.len() <= out.len()).then(|| Self::from_limbs(out))
    }

    /// The quotient, and whether something remained.
    #[must_use]
    pub(crate) fn divided(&self, divisor: u64) -> (Self, bool) {
        let mut out = self.0.clone();
        let mut rest = 0_u128;
        for limb in out.iter_mut().rev() {
            let dividend = rest << 64 | u128::from(*limb);
            *limb = (dividend / u128::from(divisor)) as u64;
            rest = dividend % u128::from(divisor);
        }
        (Self::from_limbs(out), rest != 0)
    }

    /// The upper 128 bits, whether something is below them, and how many bits are below.
    pub(crate) fn top(&self) -> (u128, bool, u32) {
        let below = self.bits().saturating_sub(128);
        let (limbs, bits) = ((below / 64) as usize, below % 64);
        let limb = |i: usize| u128::from(self.0.get(limbs + i).copied().unwrap_or(0));
        let low = limb(0) | limb(1) << 64;
        let top = if bits == 0 {
            low
        } else {
            low >> bits | limb(2) << (128 - bits)
        };
        let lost = self.0.iter().take(limbs).any(|&l| l != 0) || bits > 0 && (limb(0) as u64) << (64 - bits) != 0;
        (top, lost, below)
    }

    /// `self * 2^exponent / divisor`, rounded once.
    pub(crate) fn divide_round(&self, exponent: i32, divisor: u64) -> f64 {
        let (quotient, rest) = self.shifted_left(128).divided(divisor);
        let (top, lost, below) = quotient.top();
        round(top, lost || rest, exponent - 128 + below as i32)
    }

    /// The root of `self * 2^exponent / (a * b)`, rounded once.
    pub(crate) fn root_of_quotient(&self, exponent: i32, a: u64, b: u64) -> f64 {
        if self.is_zero() {
            return 0.0;
        }
        // At least 248 bits more than the divisor has, and an even exponent, so that the root has more than 120 bits.
        let up = 248 + 128 + exponent.rem_euclid(2) as u32;
        let (quotient, rest_a) = self.shifted_left(up).divided(a);
        let (quotient, rest_b) = quotient.divided(b);
        let exponent = exponent - up as i32;
        debug_assert!(exponent % 2 == 0, "the root of a power of two is one");
        // 126 or 127 bits of it, from an even place on, give 63 or 64 bits of the root.
        let below = (quotient.bits() - 126) & !1;
        let head = quotient.shifted_right(below);
        let (top, _, _) = head.top();
        let root = top.isqrt();
        let exact = root * root == top && head.shifted_left(below) == quotient && !rest_a && !rest_b;
        round(root, !exact, i32::midpoint(exponent, below as i32))
    }

    fn shifted_right(&self, by: u32) -> Self {
        let (limbs, bits) = ((by / 64) as usize, by % 64);
        let source = &self.0[limbs.min(self.0.len())..];
        let out = source.iter().enumerate().map(|(i, &limb)| {
            let above = source.get(i + 1).copied().unwrap_or(0);
            if bits == 0 {
                limb
            } else {
                limb >> bits | above << (64 - bits)
            }
        });
        Self::from_limbs(out.collect())
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    proptest! {
        #[test]
        fn small_naturals_calculate_as_integers(a: u64, b: u64, c in 1..u64::MAX, by in 0..200_u32) {
            let natural = |v: u64| Natural::from(u128::from(v));
            let product = u128::from(a) * u128::from(b);
            prop_assert_eq!(natural(a).times(&natural(b)), Natural::from(product));
            prop_assert_eq!(Natural::from(product).divided(c), (Natural::from(product / u128::from(c)), product % u128::from(c) != 0));
            prop_assert_eq!(natural(a.max(b)).minus(&natural(a.min(b))), Some(natural(a.abs_diff(b))));
            prop_assert_eq!(natural(a.min(b)).minus(&natural(a.max(b))).is_some(), a == b);
            let shifted = natural(a).shifted_left(by);
            prop_assert_eq!(shifted.shifted_right(by), natural(a));
            prop_assert_eq!(shifted.bits(), if a == 0 { 0 } else { natural(a).bits() + by });
            let (top, lost, below) = shifted.top();
            prop_assert!(!lost);
            prop_assert_eq!(Natural::from(top).shifted_left(below), shifted);
        }

        #[test]
        fn roots_of_squares_are_exact_and_others_as_the_processor_rounds(a in 0..1_u64 << 32, b in 0..1_u64 << 53, half in -200..200_i32) {
            let square = Natural::from(u128::from(a)).times(&Natural::from(u128::from(a)));
            prop_assert_eq!(square.root_of_quotient(2 * half, 1, 1), a as f64 * 2_f64.powi(half));
            prop_assert_eq!(Natural::from(u128::from(b)).root_of_quotient(0, 1, 1), (b as f64).sqrt());
            prop_assert_eq!(Natural::from(u128::from(b)).root_of_quotient(1, 1, 1), (b as f64 * 2.0).sqrt());
        }
    }
}
