//! Points in time as text and as numbers, read in the ways that a schema may name, written as RFC 3339 in UTC.
//!
//! The common spelling, `2013-01-01T10:15:00Z` with up to six digits after the second, is read by hand; all others go
//! through jiff. The calendar arithmetic is Howard Hinnant's (`days_from_civil`).

use jiff::fmt::strtime::BrokenDownTime;
use jiff::tz::{TimeZone, TimeZoneDatabase};

use wasmill_core::plan::{TimestampFormat, TimestampUnit};
pub(crate) use wasmill_core::time::TimestampWriter;

use super::number;

/// Reads timestamps that are written in one way.
#[derive(Clone, Debug)]
pub(crate) enum TimestampReader {
    /// RFC 3339; also what else jiff reads: a space for the `T`, an offset without minutes.
    Rfc3339,
    /// A strftime pattern.
    Pattern(Box<Pattern>),
    /// A whole number of units.
    Unit(TimestampUnit),
}

/// A strftime pattern and what it leaves open.
#[derive(Clone, Debug)]
pub(crate) struct Pattern {
    text: String,
    /// The zone of local times; `None` where the pattern itself holds an offset.
    zone: Option<TimeZone>,
}

/// What is wrong with a [`TimestampFormat`], by the key of the column that holds it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct FormatProblem {
    pub(crate) key: &'static str,
    pub(crate) message: String,
}

impl TimestampReader {
    /// Prepares a format.
    ///
    /// # Errors
    /// The pattern has an unknown directive or gives no whole date, or the time zone is unknown.
    pub(crate) fn new(format: &TimestampFormat) -> Result<Self, FormatProblem> {
        Ok(match format {
            TimestampFormat::Rfc3339 => Self::Rfc3339,
            TimestampFormat::Unit(unit) => Self::Unit(*unit),
            TimestampFormat::Pattern { pattern, time_zone } => {
                Self::Pattern(Box::new(Pattern::new(pattern, time_zone.as_deref())?))
            }
        })
    }

    /// The microseconds that a text stands for.
    ///
    /// # Errors
    /// The text is written differently, or the point is out of range.
    pub(crate) fn read_text(&self, text: &str) -> Result<i64, String> {
        match self {
            Self::Rfc3339 => match read_plain(text.as_bytes()) {
                Some(micros) => Ok(micros),
                None => text
                    .parse::<jiff::Timestamp>()
                    .map(micros_of)
                    .map_err(|_| "is not a timestamp in RFC 3339, such as 2013-01-01T10:15:00Z".to_owned()),
            },
            Self::Pattern(pattern) => pattern.read(text),
            Self::Unit(unit) => number::read_int64(text.as_bytes())
                .ok_or_else(|| "is not a whole number".to_owned())
                .and_then(|count| read_unit(*unit, count)),
        }
    }

    /// The microseconds that a number stands for.
    ///
    /// # Errors
    /// Timestamps are written as text, or the point is out of range.
    pub(crate) fn read_number(&self, count: i64) -> Result<i64, String> {
        match self {
            Self::Unit(unit) => read_unit(*unit, count),
            Self::Rfc3339 | Self::Pattern(_) => {
                Err("is a number where a timestamp is text; the column's `unit` makes it one".to_owned())
            }
        }
    }

    /// Whether timestamps are numbers.
    pub(crate) fn is_number(&self) -> bool {
        matches!(self, Self::Unit(_))
    }
}

fn read_unit(unit: TimestampUnit, count: i64) -> Result<i64, String> {
    let micros = match unit {
        TimestampUnit::S => count.checked_mul(1_000_000),
        TimestampUnit::Ms => count.checked_mul(1_000),
        TimestampUnit::Us => Some(count),
        TimestampUnit::Ns => Some(count.div_euclid(1_000)),
    };
    micros.ok_or_else(|| "is out of the range of timestamps".to_owned())
}

impl Pattern {
    fn new(text: &str, time_zone: Option<&str>) -> Result<Self, FormatProblem> {
        let zone = match time_zone {
            None => TimeZone::UTC,
            // Not the machine's own: all machines agree.
            Some(name) => TimeZoneDatabase::bundled().get(name).map_err(|_| FormatProblem {
                key: "time-zone",
                message: format!("\"{name}\" is not a time zone of the IANA database"),
            })?,
        };
        let problem = |message: String| FormatProblem { key: "format", message };
        // What a pattern gives shows on a sample that it writes itself.
        let sample = SAMPLE.to_zoned(TimeZone::UTC);
        let written = jiff::fmt::strtime::format(text, &sample).map_err(|error| problem(error.to_string()))?;
        let read = BrokenDownTime::parse(text, &written).map_err(|error| problem(error.to_string()))?;
        if read.to_timestamp().is_ok() {
            return Ok(Self {
                text: text.to_owned(),
                zone: None,
            });
        }
        match read.to_datetime() {
            Ok(_) => Ok(Self {
                text: text.to_owned(),
                zone: Some(zone),
            }),
            Err(_) => Err(problem(format!("the pattern \"{text}\" does not give a whole date"))),
        }
    }

    /// A local time that a change of the clocks skips or repeats is taken as most calendars do (jiff's `compatible`):
    /// a skipped one moves forward by the gap, of a repeated one the earlier is meant.
    fn read(&self, text: &str) -> Result<i64, String> {
        let differs = |_| format!("is not a timestamp written as \"{}\"", self.text);
        let read = BrokenDownTime::parse(&self.text, text).map_err(differs)?;
        let point = match &self.zone {
            None => read.to_timestamp().map_err(differs)?,
            Some(zone) => read
                .to_datetime()
                .and_then(|local| local.to_zoned(zone.clone()))
                .map_err(differs)?
                .timestamp(),
        };
        Ok(micros_of(point))
    }
}

/// 2024-02-29T13:14:15Z: a day, an hour and a minute that no part of a pattern can mistake for another.
const SAMPLE: jiff::Timestamp = jiff::Timestamp::constant(1_709_212_455, 0);

/// Nanoseconds are cut towards the past, so that order is kept.
fn micros_of(point: jiff::Timestamp) -> i64 {
    let micros = point.as_nanosecond().div_euclid(1_000);
    i64::try_from(micros).expect("jiff's range is a hundredth of an i64's of microseconds")
}

/// `YYYY-MM-DDTHH:MM:SS[.f]Z` with one to six digits of a fraction; everything else is `None`.
fn read_plain(text: &[u8]) -> Option<i64> {
    let (head, tail) = text.split_first_chunk::<19>()?;
    let digit = |at: usize| {
        let value = head[at].wrapping_sub(b'0');
        (value <= 9).then_some(i64::from(value))
    };
    let two = |at: usize| Some(digit(at)? * 10 + digit(at + 1)?);
    if head[4] != b'-' || head[7] != b'-' || head[10] != b'T' || head[13] != b':' || head[16] != b':' {
        return None;
    }
    let (year, month, day) = (two(0)? * 100 + two(2)?, two(5)?, two(8)?);
    let (hour, minute, second) = (two(11)?, two(14)?, two(17)?);
    if !(1..=12).contains(&month) || day < 1 || day > days_in_month(year, month) {
        return None;
    }
    if hour > 23 || minute > 59 || second > 59 {
        return None;
    }
    let fraction = match tail {
        [b'Z'] => 0,
        [b'.', digits @ .., b'Z'] if (1..=6).contains(&digits.len()) => {
            let mut micros = 0;
            for place in 0..6 {
                let value = digits.get(place).map_or(0, |byte| byte.wrapping_sub(b'0'));
                if value > 9 {
                    return None;
                }
                micros = micros * 10 + i64::from(value);
            }
            micros
        }
        _ => return None,
    };
    let seconds = days_from_civil(year, month, day) * 86_400 + hour * 3_600 + minute * 60 + second;
    Some(seconds * 1_000_000 + fraction)
}

fn days_in_month(year: i64, month: i64) -> i64 {
    match month {
        2 if year % 4 == 0 && (year % 100 != 0 || year % 400 == 0) => 29,
        2 => 28,
        4 | 6 | 9 | 11 => 30,
        _ => 31,
    }
}

fn days_from_civil(year: i64, month: i64, day: i64) -> i64 {
    let year = if month <= 2 { year - 1 } else { year };
    let era = year.div_euclid(400);
    let year_of_era = year.rem_euclid(400);
    let day_of_year = (153 * ((month + 9) % 12) + 2) / 5 + day - 1;
    let day_of_era = year_of_era * 365 + year_of_era / 4 - year_of_era / 100 + day_of_year;
    era * 146_097 + day_of_era - 719_468
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    fn pattern(text: &str, zone: Option<&str>) -> TimestampReader {
        TimestampReader::new(&TimestampFormat::Pattern {
            pattern: text.to_owned(),
            time_zone: zone.map(str::to_owned),
        })
        .unwrap()
    }

    fn check(reader: &TimestampReader, text: &str, expect: &str) {
        let expect = micros_of(expect.parse().unwrap());
        assert_eq!(reader.read_text(text), Ok(expect), "{text}");
    }

    #[test]
    fn rfc_3339_is_read_with_any_offset_and_fraction() {
        let reader = TimestampReader::Rfc3339;
        for text in [
            "2013-01-01T10:15:00Z",
            "2013-01-01T10:15:00.5Z",
            "2024-02-29T23:59:59.999999Z",
            "0000-01-01T00:00:00Z",
            "9999-12-30T22:00:00Z",
            "1969-12-31T23:59:59.9Z",
            "2013-01-01T10:15:00+02:00",
            "2013-01-01 10:15:00Z",
        ] {
            check(&reader, text, text);
        }
        check(&reader, "1969-12-31T23:59:59.9999999Z", "1969-12-31T23:59:59.999999Z");
        for text in [
            "",
            "2013-01-01",
            "2013-02-29T00:00:00Z",
            "2013-01-01T10:15:00",
            "2013-01-01T24:00:00Z",
            "2013-01-01T10:15:00.Z",
            "now",
        ] {
            assert!(reader.read_text(text).is_err(), "{text}");
        }
    }

    #[test]
    fn local_times_are_of_their_zone_and_odd_ones_are_compatible() {
        let berlin = pattern("%d.%m.%Y %H:%M", Some("Europe/Berlin"));
        check(&berlin, "01.07.2013 12:00", "2013-07-01T10:00:00Z");
        check(&berlin, "31.03.2013 02:30", "2013-03-31T01:30:00Z");
        check(&berlin, "27.10.2013 02:30", "2013-10-27T00:30:00Z");
        assert!(berlin.read_text("2013-07-01").is_err());
        check(&pattern("%Y-%m-%d", None), "2013-07-01", "2013-07-01T00:00:00Z");
    }

    #[test]
    fn an_offset_in_the_pattern_decides_over_the_zone() {
        let reader = pattern("%Y-%m-%dT%H:%M:%S%z", Some("Europe/Berlin"));
        check(&reader, "2013-07-01T12:00:00-0500", "2013-07-01T17:00:00Z");
    }

    #[test]
    fn a_pattern_without_a_date_and_an_unknown_zone_are_refused() {
        let refused = |pattern: &str, zone: Option<&str>| {
            TimestampReader::new(&TimestampFormat::Pattern {
                pattern: pattern.to_owned(),
                time_zone: zone.map(str::to_owned),
            })
            .map(|_| ())
            .unwrap_err()
            .key
        };
        assert_eq!(refused("%H:%M", None), "format");
        assert_eq!(refused("%!", None), "format");
        assert_eq!(refused("%Y-%m-%d", Some("Europe/Atlantis")), "time-zone");
    }

    #[test]
    fn numbers_are_scaled_by_their_unit() {
        let read = |unit, count| TimestampReader::Unit(unit).read_number(count);
        assert_eq!(read(TimestampUnit::S, -2), Ok(-2_000_000));
        assert_eq!(read(TimestampUnit::Ms, 5), Ok(5_000));
        assert_eq!(read(TimestampUnit::Ns, -1), Ok(-1));
        assert!(read(TimestampUnit::S, i64::MAX).is_err());
        assert_eq!(TimestampReader::Unit(TimestampUnit::Ms).read_text("5"), Ok(5_000));
    }

    proptest! {
        #[test]
        fn what_is_written_is_what_jiff_writes_and_is_read_back(micros in TimestampWriter::RANGE) {
            let mut out = Vec::new();
            TimestampWriter::new().write(micros, &mut out).unwrap();
            let text = String::from_utf8(out).unwrap();
            if let Ok(point) = jiff::Timestamp::from_microsecond(micros) {
                prop_assert_eq!(&text, &point.to_string());
            }
            prop_assert_eq!(read_plain(text.as_bytes()), Some(micros));
        }

        #[test]
        fn every_spelling_of_a_date_is_read_as_jiff_reads_it(
            year in 0_u32..10_000, month in 0_u32..14, day in 0_u32..33, hour in 0_u32..26, minute in 0_u32..62,
            second in 0_u32..60, fraction in "(\\.[0-9]{1,7})?",
        ) {
            let text = format!("{year:04}-{month:02}-{day:02}T{hour:02}:{minute:02}:{second:02}{fraction}Z");
            let expect = text.parse::<jiff::Timestamp>().ok().map(micros_of);
            prop_assert_eq!(TimestampReader::Rfc3339.read_text(&text).ok(), expect, "{}", text);
        }
    }
}
