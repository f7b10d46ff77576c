//! Points in time and spans of time, in microseconds, with arithmetic that saturates.
//!
//! Event time comes from data, and data holds the year 9999 and the year -1: no sum here overflows, it stops at
//! [`Timestamp::MIN`] or [`Timestamp::MAX`], which stand for "before" and "after everything".

use std::fmt;
use std::num::NonZeroU64;
use std::ops::RangeInclusive;

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
        let mut text = Vec::new();
        if TimestampWriter::new().write(self.0, &mut text).is_ok() {
            f.write_str(&String::from_utf8_lossy(&text))
        } else {
            write!(f, "{}us", self.0)
        }
    }
}

/// Writes timestamps in RFC 3339 in UTC, with as many digits of the second as they need.
///
/// ```
/// # use wasmill_core::time::TimestampWriter;
/// let mut text = Vec::new();
/// TimestampWriter::new().write(1_500_000, &mut text)?;
/// assert_eq!(text, b"1970-01-01T00:00:01.5Z");
/// # Ok::<(), String>(())
/// ```
#[derive(Clone, Debug)]
pub struct TimestampWriter {
    /// The day that was written last, and its text with the `T`.
    day: i64,
    date: [u8; 11],
}

impl TimestampWriter {
    /// The microseconds of 0000-01-01T00:00:00Z and 9999-12-31T23:59:59.999999Z: what RFC 3339 can write.
    pub const RANGE: RangeInclusive<i64> = -62_167_219_200_000_000..=253_402_300_799_999_999;

    /// A writer that has written nothing.
    pub fn new() -> Self {
        let mut writer = Self { day: 0, date: [0; 11] };
        writer.turn_to(0);
        writer
    }

    /// Appends the point that is `micros` after 1970-01-01T00:00:00Z.
    ///
    /// # Errors
    /// Nothing was written: RFC 3339 has no years outside 0000 to 9999.
    #[inline]
    pub fn write(&mut self, micros: i64, out: &mut Vec<u8>) -> Result<(), String> {
        if !Self::RANGE.contains(&micros) {
            return Err(format!(
                "is a timestamp outside of the years 0000 to 9999, {micros} microseconds from 1970: check the `unit` of the source's timestamps, or refuse rows that are far ahead by `max-ahead`"
            ));
        }
        let day = micros.div_euclid(MICROS_PER_DAY);
        if day != self.day {
            self.turn_to(day);
        }
        let of_day = micros.rem_euclid(MICROS_PER_DAY);
        let (second, fraction) = (of_day / 1_000_000, of_day % 1_000_000);
        let mut text = [0_u8; 27];
        text[..11].copy_from_slice(&self.date);
        put_two(&mut text, 11, second / 3_600);
        text[13] = b':';
        put_two(&mut text, 14, second / 60 % 60);
        text[16] = b':';
        put_two(&mut text, 17, second % 60);
        let mut len = 19;
        if fraction != 0 {
            text[19] = b'.';
            put_two(&mut text, 20, fraction / 10_000);
            put_two(&mut text, 22, fraction / 100 % 100);
            put_two(&mut text, 24, fraction % 100);
            len = 26;
            while text[len - 1] == b'0' {
                len -= 1;
            }
        }
        text[len] = b'Z';
        // A copy whose length the compiler knows is a few instructions, another is a call.
        let end = out.len() + len + 1;
        out.extend_from_slice(&text);
        out.truncate(end);
        Ok(())
    }

    fn turn_to(&mut self, day: i64) {
        let (year, month, day_of_month) = civil_from_days(day);
        self.day = day;
        self.date = *b"0000-00-00T";
        put_two(&mut self.date, 0, year / 100);
        put_two(&mut self.date, 2, year % 100);
        put_two(&mut self.date, 5, month);
        put_two(&mut self.date, 8, day_of_month);
    }
}

impl Default for TimestampWriter {
    fn default() -> Self {
        Self::new()
    }
}

#[inline]
fn put_two(text: &mut [u8], at: usize, value: i64) {
    text[at] = b'0' + (value / 10) as u8;
    text[at + 1] = b'0' + (value % 10) as u8;
}

const MICROS_PER_DAY: i64 = 86_400_000_000;

/// Year, month and day of a day after 1970-01-01, by Howard Hinnant's algorithm of that name.
fn civil_from_days(days: i64) -> (i64, i64, i64) {
    let days = days + 719_468;
    let era = days.div_euclid(146_097);
    let day_of_era = days.rem_euclid(146_097);
    let year_of_era = (day_of_era - day_of_era / 1_460 + day_of_era / 36_524 - day_of_era / 146_096) / 365;
    let day_of_year = day_of_era - (365 * year_of_era + year_of_era / 4 - year_of_era / 100);
    let shifted = (5 * day_of_year + 2) / 153;
    let day = day_of_year - (153 * shifted + 2) / 5 + 1;
    let month = if shifted < 10 { shifted + 3 } else { shifted - 9 };
    let year = year_of_era + era * 400 + i64::from(month <= 2);
    (year, month, day)
}

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
        assert_eq!(Timestamp(-62_167_219_200_000_000).to_string(), "0000-01-01T00:00:00Z");
        assert_eq!(Timestamp(-62_167_219_200_000_001).to_string(), "-62167219200000001us");
        // The last 26 hours are beyond what jiff knows.
        assert_eq!(
            Timestamp(253_402_300_799_999_999).to_string(),
            "9999-12-31T23:59:59.999999Z"
        );
        assert_eq!(Timestamp(253_402_300_800_000_000).to_string(), "253402300800000000us");
        assert_eq!(Timestamp::MAX.to_string(), "9223372036854775807us");
    }

    #[test]
    fn arithmetic_stops_at_the_ends_of_time() {
        assert_eq!(Timestamp(5).before(Micros(u64::MAX)), Timestamp::MIN);
        assert_eq!(Timestamp(5).after(Micros(u64::MAX)), Timestamp::MAX);
    }
}
