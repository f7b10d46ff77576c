//! Points in time and spans of time, in microseconds, with arithmetic that saturates.
//!
//! Event time comes from data, and data holds the year 9999 and the year -1: no sum here overflows, it stops at
//! [`Timestamp::MIN`] or [`Timestamp::MAX`], which stand for "before" and "after everything".

use std::fmt;
use std::num::NonZeroU64;

use serde::{Deserialize, Serialize};

/// Microseconds since 1970-01-01T00:00:00Z.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(transparent)]
pub struct Timestamp(pub i64);

impl Timestamp {
    /// Before everything.
    pub const MIN: Self = Self(i64::MIN);
    /// After everything: the watermark of an input that has ended.
    pub const MAX: Self = Self(i64::MAX);

    /// This point moved later by `span`.
    #[must_use]
    pub fn after(self, span: Micros) -> Self {
        Self(self.0.saturating_add_unsigned(span.0))
    }

    /// This point moved earlier by `span`.
    #[must_use]
    pub fn before(self, span: Micros) -> Self {
        Self(self.0.saturating_sub_unsigned(span.0))
    }
}

/// RFC 3339 in UTC with as many digits of the second as it needs: `2013-01-01T10:15:00Z`, `...00.5Z`. A point that
/// RFC 3339 cannot write (a year outside 0000 to 9999) is written as its number of microseconds.
impl fmt::Display for Timestamp {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match jiff::Timestamp::from_microsecond(self.0) {
            Ok(point) if point >= EARLIEST_WRITABLE => write!(f, "{point}"),
            _ => write!(f, "{}us", self.0),
        }
    }
}

/// 0000-01-01T00:00:00Z.
const EARLIEST_WRITABLE: jiff::Timestamp = jiff::Timestamp::constant(-62_167_219_200, 0);

/// A length of time in microseconds.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(transparent)]
pub struct Micros(pub u64);

impl Micros {
    /// No time at all.
    pub const ZERO: Self = Self(0);
    /// One second.
    pub const SECOND: Self = Self(1_000_000);

    /// This many milliseconds.
    pub const fn from_millis(millis: u64) -> Self {
        Self(millis.saturating_mul(1_000))
    }

    /// This many seconds.
    pub const fn from_secs(secs: u64) -> Self {
        Self(secs.saturating_mul(1_000_000))
    }

    /// The same length as the standard library's type.
    pub const fn to_std(self) -> std::time::Duration {
        std::time::Duration::from_micros(self.0)
    }

    /// The length, where it is not zero.
    pub const fn non_zero(self) -> Option<NonZeroU64> {
        NonZeroU64::new(self.0)
    }
}

const UNITS: [(&str, u64); 6] = [
    ("us", 1),
    ("ms", 1_000),
    ("s", 1_000_000),
    ("m", 60_000_000),
    ("h", 3_600_000_000),
    ("d", 86_400_000_000),
];

/// Why a text is not a duration.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum DurationError {
    /// The text does not start with a number.
    #[error("a duration is a number and a unit, as in \"10s\"")]
    NoNumber,
    /// The number has no unit.
    #[error("the duration has no unit; write one of us, ms, s, m, h, d after the number, as in \"{0}s\"")]
    NoUnit(String),
    /// The unit is not one of ours.
    #[error("\"{0}\" is not a unit of time; use us, ms, s, m, h or d")]
    UnknownUnit(String),
    /// More microseconds than fit.
    #[error("the duration is too long")]
    TooLong,
}

impl std::str::FromStr for Micros {
    type Err = DurationError;

    /// Reads `10s`, `1h30m`, `250 ms`: whole numbers with the units us, ms, s, m, h and d (24 hours), added up.
    fn from_str(text: &str) -> Result<Self, DurationError> {
        let mut rest = text.trim();
        if rest.is_empty() {
            return Err(DurationError::NoNumber);
        }
        let mut total = 0_u64;
        while !rest.is_empty() {
            let digits = rest
                .find(|c: char| !c.is_ascii_digit() && c != '_')
                .unwrap_or(rest.len());
            let (number, tail) = rest.split_at(digits);
            if !number.starts_with(|c: char| c.is_ascii_digit()) {
                return Err(DurationError::NoNumber);
            }
            let count: u64 = number.replace('_', "").parse().map_err(|_| DurationError::TooLong)?;
            let tail = tail.trim_start();
            let letters = tail.find(|c: char| !c.is_alphabetic()).unwrap_or(tail.len());
            let (unit, tail) = tail.split_at(letters);
            if unit.is_empty() {
                return Err(DurationError::NoUnit(number.to_owned()));
            }
            let (_, scale) = UNITS
                .into_iter()
                .find(|(name, _)| *name == unit)
                .ok_or_else(|| DurationError::UnknownUnit(unit.to_owned()))?;
            let part = count.checked_mul(scale).ok_or(DurationError::TooLong)?;
            total = total.checked_add(part).ok_or(DurationError::TooLong)?;
            rest = tail.trim_start();
        }
        Ok(Self(total))
    }
}

/// The shortest exact text of the form that [`Micros::from_str`](std::str::FromStr) reads: `1h30m`, `0s`.
impl fmt::Display for Micros {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        if self.0 == 0 {
            return f.write_str("0s");
        }
        let mut rest = self.0;
        for (name, scale) in UNITS.into_iter().rev() {
            if rest >= scale {
                write!(f, "{}{name}", rest / scale)?;
                rest %= scale;
            }
        }
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn check(text: &str, expect: impl Into<Result<u64, DurationError>>) {
        assert_eq!(text.parse::<Micros>().map(|m| m.0), expect.into(), "{text}");
    }

    #[test]
    fn durations_are_numbers_with_units_added_up() {
        check("10s", Ok(10_000_000));
        check("1h30m", Ok(5_400_000_000));
        check("250 ms", Ok(250_000));
        check("1_000us", Ok(1_000));
        check("2d", Ok(172_800_000_000));
        check("", Err(DurationError::NoNumber));
        check("s", Err(DurationError::NoNumber));
        check("-1s", Err(DurationError::NoNumber));
        check("10", Err(DurationError::NoUnit("10".into())));
        check("10min", Err(DurationError::UnknownUnit("min".into())));
        check("99999999999999d", Err(DurationError::TooLong));
    }

    #[test]
    fn a_duration_is_written_as_it_is_read() {
        for text in ["0s", "1h30m", "1us", "2d3h4m5s6ms7us"] {
            assert_eq!(text.parse::<Micros>().expect("a duration").to_string(), text);
        }
    }

    #[test]
    fn time_is_written_with_the_digits_that_it_needs() {
        assert_eq!(Timestamp(0).to_string(), "1970-01-01T00:00:00Z");
        assert_eq!(Timestamp(1_500_000).to_string(), "1970-01-01T00:00:01.5Z");
        assert_eq!(Timestamp(-1).to_string(), "1969-12-31T23:59:59.999999Z");
        assert_eq!(Timestamp::MAX.to_string(), "9223372036854775807us");
    }

    #[test]
    fn arithmetic_stops_at_the_ends_of_time() {
        assert_eq!(Timestamp(5).before(Micros(u64::MAX)), Timestamp::MIN);
        assert_eq!(Timestamp(5).after(Micros(u64::MAX)), Timestamp::MAX);
    }
}
