//! Exact arithmetic under aggregates: sums of floats that are rounded once, whatever the order of the addends.
//!
//! A float is an integer times a power of two, and so is any sum of floats. A [`Sum`] holds that integer: in 128 bits
//! while the addends allow, else in a superaccumulator that spans every exponent (Neal, "Fast exact summation using
//! small and large superaccumulators", 2015). [`Natural`] carries the last steps of averages and deviations.

mod natural;
mod squares;
mod sum;
mod wide;

pub(crate) use natural::Natural;
pub(crate) use squares::SquareSum;
pub(crate) use sum::Sum;

/// A float's parts: the value is `mantissa * 2^exponent`, negated where `negative`.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Parts {
    pub(crate) mantissa: u64,
    pub(crate) exponent: i32,
    pub(crate) negative: bool,
}

/// The parts of a finite float.
#[inline]
pub(crate) fn parts(value: f64) -> Parts {
    let bits = value.to_bits();
    let field = (bits >> 52 & 0x7ff) as i32;
    let fraction = bits & ((1 << 52) - 1);
    let mantissa = if field == 0 { fraction } else { fraction | 1 << 52 };
    Parts {
        mantissa,
        exponent: field.max(1) - 1075,
        negative: bits >> 63 == 1,
    }
}

/// The float nearest to `magnitude * 2^exponent`, ties to even. `inexact`: the true magnitude is greater by less than
/// one; then `magnitude` has at least 56 bits.
pub(crate) fn round(magnitude: u128, inexact: bool, exponent: i32) -> f64 {
    let bits = 128 - magnitude.leading_zeros() as i32;
    debug_assert!(!inexact || bits >= 56, "the bits of the result are known");
    if bits == 0 {
        return 0.0;
    }
    let top = exponent.saturating_add(bits - 1);
    let precision = if top >= -1022 { 53 } else { top + 1075 };
    let drop = bits - precision;
    if drop <= 0 {
        return scale(magnitude as u64, exponent);
    }
    let (kept, rest) = if drop >= 128 {
        (0, magnitude)
    } else {
        (magnitude >> drop, magnitude & ((1 << drop) - 1))
    };
    let up = if drop > 128 {
        false
    } else {
        let half = 1_u128 << (drop - 1);
        rest > half || rest == half && (inexact || kept & 1 == 1)
    };
    scale(kept as u64 + u64::from(up), exponent + drop)
}

/// `mantissa * 2^exponent`, which is a float of at most 53 bits or greater than every float.
fn scale(mantissa: u64, exponent: i32) -> f64 {
    if mantissa == 0 {
        return 0.0;
    }
    let bits = 64 - mantissa.leading_zeros() as i32;
    let top = exponent + bits - 1;
    if top > 1023 {
        return f64::INFINITY;
    }
    if top < -1022 {
        // A subnormal counts units of 2^-1074.
        let up = exponent + 1074;
        let units = if up >= 0 { mantissa << up } else { mantissa >> -up };
        return f64::from_bits(units);
    }
    let aligned = if bits > 53 {
        mantissa >> (bits - 53)
    } else {
        mantissa << (53 - bits)
    };
    f64::from_bits(((top + 1023) as u64) << 52 | aligned & ((1 << 52) - 1))
}

/// `magnitude * 2^exponent / divisor`, rounded once.
pub(crate) fn divide(magnitude: u128, exponent: i32, divisor: u64) -> f64 {
    if magnitude == 0 {
        return 0.0;
    }
    let up = magnitude.leading_zeros();
    let dividend = magnitude << up;
    let divisor = u128::from(divisor);
    round(
        dividend / divisor,
        !dividend.is_multiple_of(divisor),
        exponent - up as i32,
    )
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    #[test]
    fn rounding_is_to_nearest_even_at_both_ends_of_the_range() {
        assert_eq!(round(1, false, -1074), f64::from_bits(1));
        assert_eq!(round(1, false, -1075), 0.0);
        assert_eq!(round(3, false, -1075), f64::from_bits(2));
        assert_eq!(round(1 << 100, true, -1175), f64::from_bits(1));
        assert_eq!(round(1, false, 1024), f64::INFINITY);
        assert_eq!(round((1 << 54) - 1, false, 970), f64::INFINITY);
        assert_eq!(round((1 << 53) + 1, false, 0), 9_007_199_254_740_992.0);
        assert_eq!(round((1 << 53) + 3, false, 0), 9_007_199_254_740_996.0);
    }

    proptest! {
        #[test]
        fn a_float_is_its_parts(value: f64) {
            prop_assume!(value.is_finite());
            let p = parts(value);
            let back = round(u128::from(p.mantissa), false, p.exponent);
            prop_assert_eq!(if p.negative { -back } else { back }, value);
        }

        #[test]
        fn integers_round_and_divide_as_the_processor_does(a: u128, b in 1..1_u64 << 53, c: u64) {
            prop_assert_eq!(round(a, false, 0), a as f64);
            // A quotient of two exact floats is rounded once by IEEE 754.
            let c = c >> 11;
            prop_assert_eq!(divide(u128::from(c), 0, b), c as f64 / b as f64);
        }
    }
}
