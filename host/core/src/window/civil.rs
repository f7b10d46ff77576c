//! The civil clock of a time zone, made to run forward only.
//!
//! A wall clock skips time when it is put forward and repeats some when it is put back. Windows need readings that never
//! fall: the *reading* at an instant is the greatest that the clock has shown so far, and the *instant* of a reading is
//! the first at which the clock shows it or more.

use jiff::Timestamp;
use jiff::tz::TimeZone;

/// No zone's offset reaches so far, nor do two changes of the clock undo each other from further apart.
const REACH: i64 = 48 * HOUR;
const HOUR: i64 = 3_600_000_000;

/// A zone's clock.
#[derive(Clone, Debug)]
pub(super) struct CivilClock {
    zone: TimeZone,
    /// Set where windows keep their length: offsets count only modulo this.
    modulus: Option<i64>,
}

impl CivilClock {
    /// The clock of the zone with this name, for windows whose bounds are multiples of `step` microseconds.
    pub(super) fn new(name: &str, step: u64) -> Option<Self> {
        let zone = jiff::tz::TimeZoneDatabase::bundled().get(name).ok()?;
        let modulus = i64::try_from(step).ok().filter(|step| HOUR % step == 0);
        Some(Self { zone, modulus })
    }

    /// The greatest reading up to `time`.
    pub(super) fn reading(&self, time: i64) -> i128 {
        let now = i128::from(time) + i128::from(self.offset(point(time)));
        let before = self
            .zone
            .preceding(point(time.saturating_add(1)))
            .map(|change| change.timestamp())
            .take_while(|change| change.as_microsecond() > time.saturating_sub(REACH))
            .filter(|change| change.as_microsecond() <= time)
            .map(|change| {
                let last = change.as_microsecond() - 1;
                i128::from(last) + i128::from(self.offset(point(last)))
            });
        before.fold(now, i128::max)
    }

    /// The first instant at which the reading is `reading` or more.
    pub(super) fn instant(&self, reading: i128) -> i128 {
        let mut from = reading - i128::from(REACH);
        let start = point(super::clamp(from));
        let mut offset = self.offset(start);
        for change in self.zone.following(start) {
            let instant = from.max(reading - i128::from(offset));
            let until = i128::from(change.timestamp().as_microsecond());
            if instant < until {
                return instant;
            }
            from = from.max(until);
            offset = self.offset(change.timestamp());
            if until > reading + i128::from(REACH) {
                break;
            }
        }
        from.max(reading - i128::from(offset))
    }

    fn offset(&self, at: Timestamp) -> i64 {
        let offset = i64::from(self.zone.to_offset(at).seconds()) * 1_000_000;
        self.modulus.map_or(offset, |modulus| offset.rem_euclid(modulus))
    }
}

/// The instant, or the nearest that the time zone database knows: beyond, the offset no longer changes.
fn point(time: i64) -> Timestamp {
    Timestamp::from_microsecond(time).unwrap_or(if time < 0 { Timestamp::MIN } else { Timestamp::MAX })
}
