//! Windows over event time: how they are planned, and the arithmetic that assigns rows to them.
//!
//! A sliding window is a row of *panes*, the stretches between two neighbouring bounds of any windows; a tumbling
//! window is one pane. Each row falls into one pane whatever the number of its windows. Windows and panes are numbered
//! along the time axis, so a window is a range of panes and a pane lies in a range of windows.
//!
//! Panes of sliding windows: Li et al., "No Pane, No Gain", SIGMOD Record 34(1), 2005.

mod civil;

use std::sync::Arc;

use crate::time::Micros;
use civil::CivilClock;

/// How rows are assigned to windows. Windows are half-open: [start, end).
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum WindowSpec {
    /// Windows side by side.
    Tumbling {
        /// Length, greater than zero.
        size: Micros,
        /// Where they begin.
        alignment: Alignment,
    },
    /// Windows of `size`, one beginning each `every`.
    Sliding {
        /// Length, greater than zero.
        size: Micros,
        /// Distance between beginnings, greater than zero. A multiple of it need not be `size`.
        every: Micros,
        /// Where they begin.
        alignment: Alignment,
    },
    /// Windows that begin together each `size` and end one `step` after another: [s, s + step), [s, s + 2 step), ...,
    /// [s, s + size). Of windows that a change of the clock makes equal, one counts.
    Cumulative {
        /// The length of the longest, a multiple of `step`.
        size: Micros,
        /// How much longer each is than the one before, greater than zero.
        step: Micros,
        /// Where they begin.
        alignment: Alignment,
    },
}

/// Windows of every type.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Windows {
    /// Windows that are the same for all keys.
    Aligned(WindowSpec),
    /// Per key: rows less than `gap` apart are together.
    Session {
        /// Greater than zero.
        gap: Micros,
    },
    /// Per key, in event-time order: each `every` rows the last `size` rows.
    Count {
        /// Rows of a window, greater than zero.
        size: u64,
        /// Rows between two windows' ends, greater than zero.
        every: u64,
    },
    /// Per key: all rows.
    Global {
        /// When there is a result. `None`: when the input has ended.
        trigger: Option<Trigger>,
    },
}

/// When a global window gives a result.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Trigger {
    /// When.
    pub when: TriggerWhen,
    /// Whether the window begins again after a result.
    pub purge: bool,
}

/// When a trigger fires.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum TriggerWhen {
    /// After each so many rows of the key, in event-time order.
    Count(u64),
    /// So long after the key's first row since its last result, in processing time.
    Every(Micros),
}

/// Where windows begin: at multiples of their step from midnight of 1970-01-01 in the time zone, plus the offset.
///
/// In a time zone the civil clock counts: a day has 23 hours when the clock is put forward and 25 when it is put back. A
/// bound that the clock skips falls on the moment of the change; time that the clock repeats belongs to the windows that
/// are open then. Windows whose bounds divide an hour keep their length instead: an hourly window always has one hour.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Alignment {
    /// Moves every beginning later.
    pub offset: Micros,
    /// An IANA time zone; `None` is UTC. In a zone with summer time a day has 23 or 25 hours twice a year.
    pub time_zone: Option<Arc<str>>,
}

/// What becomes of a row that is late for all its windows.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Late {
    /// It is counted and dropped.
    Drop,
    /// It goes to the port `late`.
    Port,
    /// It becomes a dead letter.
    DeadLetter,
}

/// A window's number along the time axis. 128 bits: microsecond windows at either end of time have neighbours too.
pub type WindowNumber = i128;

/// A pane's number along the time axis.
pub type PaneNumber = i128;

/// Numbers that follow one another, both ends included; empty where `first > last`.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Span {
    /// The first number.
    pub first: i128,
    /// The last number.
    pub last: i128,
}

impl Span {
    /// Whether there is no number in it.
    pub fn is_empty(self) -> bool {
        self.first > self.last
    }

    /// Whether it holds this number.
    pub fn contains(self, number: i128) -> bool {
        self.first <= number && number <= self.last
    }
}

/// A stretch of time whose rows have the same windows.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Pane {
    /// Its number.
    pub number: PaneNumber,
    /// Its first microsecond.
    pub first: i64,
    /// Its last microsecond.
    pub last: i64,
    /// The windows that it lies in. None where windows are shorter than the distance between them.
    pub windows: Span,
}

/// The time zone is not in the bundled database.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("\"{0}\" is not a time zone; write an IANA name such as \"America/New_York\"")]
pub struct UnknownTimeZone(pub Arc<str>);

/// The arithmetic of a [`WindowSpec`]. Bounds beyond the ends of time stop there.
#[derive(Clone, Debug)]
pub struct Assigner {
    size: i128,
    every: i128,
    offset: i128,
    clock: Option<CivilClock>,
    /// Cumulative windows: how many begin together. `every` is their step.
    together: Option<i128>,
}

impl Assigner {
    /// The arithmetic of these windows.
    ///
    /// # Errors
    /// The time zone is unknown.
    pub fn new(spec: &WindowSpec) -> Result<Self, UnknownTimeZone> {
        let (size, every, alignment, together) = match spec {
            WindowSpec::Tumbling { size, alignment } => (size, size, alignment, None),
            WindowSpec::Sliding { size, every, alignment } => (size, every, alignment, None),
            WindowSpec::Cumulative { size, step, alignment } => {
                (step, step, alignment, Some(i128::from(size.0 / step.0)))
            }
        };
        // What all bounds, or those at which cumulative windows begin, are multiples of.
        let unit = match spec {
            WindowSpec::Cumulative { size, .. } => size.0,
            _ => gcd(size.0, every.0),
        };
        let clock = match &alignment.time_zone {
            None => None,
            Some(name) => Some(CivilClock::new(name, unit).ok_or_else(|| UnknownTimeZone(Arc::clone(name)))?),
        };
        Ok(Self {
            size: i128::from(size.0),
            every: i128::from(every.0),
            offset: i128::from(alignment.offset.0),
            clock,
            together,
        })
    }

    /// The first of the windows that begin together with this one.
    fn shortest(&self, window: WindowNumber) -> WindowNumber {
        self.together
            .map_or(window, |together| window.div_euclid(together) * together)
    }

    /// The pane that holds `time`.
    pub fn pane(&self, time: i64) -> Pane {
        let reading = self.reading(time) - self.offset;
        let step = reading.div_euclid(self.every);
        if time == i64::MAX && self.takes_in_the_last_instant(step - 1) {
            return self.pane(time - 1);
        }
        let (whole, rest) = (self.size / self.every, self.size % self.every);
        let begin = step * self.every;
        let (number, from, to, windows) = if rest == 0 {
            (step, begin, begin + self.every, step - whole + 1)
        } else if reading < begin + rest {
            (2 * step, begin, begin + rest, step - whole)
        } else {
            (2 * step + 1, begin + rest, begin + self.every, step - whole + 1)
        };
        Pane {
            number,
            first: clamp(self.instant(from + self.offset)),
            last: match self.together {
                Some(_) => self.last(step),
                None => clamp(self.instant(to + self.offset) - 1),
            },
            windows: match self.together {
                None => Span {
                    first: windows,
                    last: step,
                },
                Some(together) => Span {
                    first: step,
                    last: self.shortest(step) + together - 1,
                },
            },
        }
    }

    /// The panes of a window.
    pub fn panes(&self, window: WindowNumber) -> Span {
        let (whole, rest) = (self.size / self.every, self.size % self.every);
        if rest == 0 {
            Span {
                first: self.shortest(window),
                last: window + whole - 1,
            }
        } else {
            Span {
                first: 2 * window,
                last: 2 * (window + whole),
            }
        }
    }

    /// Where a window begins.
    pub fn start(&self, window: WindowNumber) -> i64 {
        clamp(self.instant(self.shortest(window) * self.every + self.offset))
    }

    /// Where a window ends: the first microsecond after it.
    pub fn end(&self, window: WindowNumber) -> i64 {
        clamp(self.end_instant(window))
    }

    /// The last microsecond of a window. It is the end of a window that is cut off at the end of time, as that holds this
    /// instant too.
    pub fn last(&self, window: WindowNumber) -> i64 {
        if self.takes_in_the_last_instant(window) {
            return i64::MAX;
        }
        clamp(self.end_instant(window) - 1)
    }

    /// Whether a cumulative window is the one before it once more: the clock skips the step by which it is longer, or time
    /// ends before. Such a window has no result of its own.
    pub fn repeats(&self, window: WindowNumber) -> bool {
        self.shortest(window) < window && self.end(window - 1) == self.end(window)
    }

    /// Whether a cumulative window ends at the last instant, and would have one after it that is longer by that instant: the
    /// two have the same bounds, so they are one.
    fn takes_in_the_last_instant(&self, window: WindowNumber) -> bool {
        self.together.is_some() && self.end_instant(window) == i128::from(i64::MAX) && self.repeats(window + 1)
    }

    /// What follows the place of a window's result where windows end together, as they do where the clock skips their
    /// bounds and at the end of time: their results are in the order of the windows' numbers, which is that of their
    /// beginnings. `None` where no other window ends with this one.
    pub fn tie(&self, window: WindowNumber) -> Option<[u8; 16]> {
        let end = self.end(window);
        if self.clock.is_none() && end < i64::MAX {
            return None;
        }
        let ties = self.end(window - 1) == end || self.end(window + 1) == end;
        ties.then(|| (window.cast_unsigned() ^ 1 << 127).to_be_bytes())
    }

    fn end_instant(&self, window: WindowNumber) -> i128 {
        self.instant(window * self.every + self.offset + self.size)
    }

    /// The first window that ends after `watermark`.
    pub fn first_open(&self, watermark: i64) -> WindowNumber {
        let Span { first, last } = self.pane(watermark).windows;
        self.first_ending_after(
            watermark,
            Span {
                first: first - 1,
                last: last + 1,
            },
        )
    }

    /// The first window of `among` that ends after `watermark`, or the number after its last.
    pub fn first_ending_after(&self, watermark: i64, among: Span) -> WindowNumber {
        let (mut low, mut high) = (among.first, among.last + 1);
        while low < high {
            let middle = low + (high - low) / 2;
            if self.end(middle) > watermark {
                high = middle;
            } else {
                low = middle + 1;
            }
        }
        low
    }

    fn reading(&self, time: i64) -> i128 {
        self.clock
            .as_ref()
            .map_or(i128::from(time), |clock| clock.reading(time))
    }

    fn instant(&self, reading: i128) -> i128 {
        self.clock.as_ref().map_or(reading, |clock| clock.instant(reading))
    }
}

fn clamp(time: i128) -> i64 {
    time.clamp(i128::from(i64::MIN), i128::from(i64::MAX)) as i64
}

fn gcd(a: u64, b: u64) -> u64 {
    if b == 0 { a } else { gcd(b, a % b) }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    const HOUR: i64 = 3_600_000_000;

    fn zoned(size_hours: u64, every_hours: u64, zone: &str) -> Assigner {
        Assigner::new(&WindowSpec::Sliding {
            size: Micros(size_hours * HOUR as u64),
            every: Micros(every_hours * HOUR as u64),
            alignment: Alignment {
                offset: Micros::ZERO,
                time_zone: Some(zone.into()),
            },
        })
        .expect("a known zone")
    }

    fn at(text: &str) -> i64 {
        text.parse::<jiff::Timestamp>().expect("a time").as_microsecond()
    }

    fn hours(assigner: &Assigner, time: &str) -> (String, i64) {
        let pane = assigner.pane(at(time));
        assert_eq!(pane.windows.first, pane.windows.last, "one window");
        let (start, end) = (assigner.start(pane.windows.first), assigner.end(pane.windows.first));
        assert_eq!((start, end - 1), (pane.first, pane.last));
        (crate::time::Timestamp(start).to_string(), (end - start) / HOUR)
    }

    #[test]
    fn a_day_in_new_york_has_23_or_25_hours_when_the_clock_changes() {
        let day = zoned(24, 24, "America/New_York");
        assert_eq!(hours(&day, "2013-03-09T12:00:00Z"), ("2013-03-09T05:00:00Z".into(), 24));
        assert_eq!(hours(&day, "2013-03-10T12:00:00Z"), ("2013-03-10T05:00:00Z".into(), 23));
        assert_eq!(hours(&day, "2013-03-11T03:59:59Z"), ("2013-03-10T05:00:00Z".into(), 23));
        assert_eq!(hours(&day, "2013-11-03T12:00:00Z"), ("2013-11-03T04:00:00Z".into(), 25));
        assert_eq!(hours(&day, "2013-11-04T05:00:00Z"), ("2013-11-04T05:00:00Z".into(), 24));
    }

    #[test]
    fn a_midnight_that_the_clock_skips_falls_on_the_change() {
        // Sao Paulo went from 23:59:59 on 2017-10-14 straight to 01:00 on the 15th, and repeated 23:00 on 2018-02-17.
        let day = zoned(24, 24, "America/Sao_Paulo");
        assert_eq!(hours(&day, "2017-10-15T03:00:00Z"), ("2017-10-15T03:00:00Z".into(), 23));
        assert_eq!(hours(&day, "2018-02-18T02:30:00Z"), ("2018-02-17T02:00:00Z".into(), 25));
    }

    #[test]
    fn an_hourly_window_has_one_hour_also_when_the_clock_changes() {
        let hour = zoned(1, 1, "America/New_York");
        for time in ["2013-11-03T05:30:00Z", "2013-11-03T06:30:00Z", "2013-03-10T07:30:00Z"] {
            assert_eq!(hours(&hour, time).1, 1);
        }
        let six = zoned(6, 6, "America/New_York");
        assert_eq!(hours(&six, "2013-11-03T06:30:00Z"), ("2013-11-03T04:00:00Z".into(), 7));
        let nepal = zoned(1, 1, "Asia/Kathmandu");
        assert_eq!(
            hours(&nepal, "2013-11-03T06:30:00Z"),
            ("2013-11-03T06:15:00Z".into(), 1)
        );
    }

    #[test]
    fn an_unknown_zone_is_refused() {
        let alignment = Alignment {
            offset: Micros::ZERO,
            time_zone: Some("Mars/Olympus".into()),
        };
        let spec = WindowSpec::Tumbling {
            size: Micros::SECOND,
            alignment,
        };
        assert_eq!(
            Assigner::new(&spec).map(|_| ()),
            Err(UnknownTimeZone("Mars/Olympus".into()))
        );
    }

    fn cumulative(size: i64, step: i64, zone: Option<&str>) -> Assigner {
        Assigner::new(&WindowSpec::Cumulative {
            size: Micros(size as u64),
            step: Micros(step as u64),
            alignment: Alignment {
                offset: Micros::ZERO,
                time_zone: zone.map(Arc::from),
            },
        })
        .expect("a known zone")
    }

    /// The windows of a row at `time` that have a result of their own: beginning and end.
    fn windows(assigner: &Assigner, time: &str) -> Vec<(String, String)> {
        let text = |time: i64| crate::time::Timestamp(time).to_string();
        let Span { first, last } = assigner.pane(at(time)).windows;
        let own = (first..=last).filter(|&window| !assigner.repeats(window));
        own.map(|window| (text(assigner.start(window)), text(assigner.end(window))))
            .collect()
    }

    fn spans(start: &str, ends: &[&str]) -> Vec<(String, String)> {
        ends.iter().map(|&end| (start.into(), end.into())).collect()
    }

    #[test]
    fn cumulative_windows_begin_together() {
        let assigner = cumulative(6 * HOUR, 2 * HOUR, None);
        let ends = ["2013-01-01T08:00:00Z", "2013-01-01T10:00:00Z", "2013-01-01T12:00:00Z"];
        let from_six = |time: &str, ends: &[&str]| {
            assert_eq!(windows(&assigner, time), spans("2013-01-01T06:00:00Z", ends), "{time}");
        };
        from_six("2013-01-01T06:00:00Z", &ends);
        from_six("2013-01-01T07:59:59.999999Z", &ends);
        from_six("2013-01-01T08:00:00Z", &ends[1..]);
        from_six("2013-01-01T11:00:00Z", &ends[2..]);
    }

    #[test]
    fn cumulative_days_begin_at_midnight_of_their_zone_and_skip_what_the_clock_skips() {
        let day = cumulative(24 * HOUR, 6 * HOUR, Some("America/New_York"));
        // The day of 23 hours: 00:00 is 05:00 UTC, 06:00 is 10:00 UTC.
        let spring = [
            "2013-03-10T10:00:00Z",
            "2013-03-10T16:00:00Z",
            "2013-03-10T22:00:00Z",
            "2013-03-11T04:00:00Z",
        ];
        assert_eq!(
            windows(&day, "2013-03-10T05:00:00Z"),
            spans("2013-03-10T05:00:00Z", &spring)
        );
        assert_eq!(
            windows(&day, "2013-03-11T03:59:59Z"),
            spans("2013-03-10T05:00:00Z", &spring[3..])
        );
        // The day of 25 hours: 00:00 is 04:00 UTC, 06:00 is 11:00 UTC.
        let autumn = [
            "2013-11-03T11:00:00Z",
            "2013-11-03T17:00:00Z",
            "2013-11-03T23:00:00Z",
            "2013-11-04T05:00:00Z",
        ];
        assert_eq!(
            windows(&day, "2013-11-03T10:00:00Z"),
            spans("2013-11-03T04:00:00Z", &autumn)
        );
        // With steps of an hour the window up to 02:00 and that up to 03:00 are one, and the hour that comes twice is one
        // step.
        let hourly = cumulative(24 * HOUR, HOUR, Some("America/New_York"));
        let spring = windows(&hourly, "2013-03-10T05:30:00Z");
        let ends: Vec<&str> = spring.iter().map(|window| &*window.1).collect();
        assert_eq!(
            ends[..3],
            ["2013-03-10T06:00:00Z", "2013-03-10T07:00:00Z", "2013-03-10T08:00:00Z"]
        );
        assert_eq!((ends.len(), ends[22]), (23, "2013-03-11T04:00:00Z"));
        let autumn = windows(&hourly, "2013-11-03T04:30:00Z");
        let ends: Vec<&str> = autumn.iter().map(|window| &*window.1).collect();
        assert_eq!(
            ends[..3],
            ["2013-11-03T05:00:00Z", "2013-11-03T07:00:00Z", "2013-11-03T08:00:00Z"]
        );
        assert_eq!((ends.len(), ends[23]), (24, "2013-11-04T05:00:00Z"));
    }

    #[test]
    fn each_instant_up_to_the_end_of_time_is_in_a_cumulative_window() {
        // The end of time is three microseconds after a multiple of four.
        let assigner = cumulative(4, 1, None);
        let own = |time: i64| {
            let Span { first, last } = assigner.pane(time).windows;
            let own = (first..=last).filter(|&window| !assigner.repeats(window));
            own.map(|window| i64::MAX - assigner.last(window)).collect::<Vec<_>>()
        };
        assert_eq!(own(i64::MAX - 3), [3, 2, 0], "the last one has two instants more");
        assert_eq!(own(i64::MAX - 1), [0]);
        assert_eq!(own(i64::MAX), [0]);
        // Steps of three microseconds: the one that time cuts off has one.
        let assigner = cumulative(6, 3, None);
        let Span { first, last } = assigner.pane(i64::MAX).windows;
        assert_eq!((assigner.repeats(first), assigner.last(first)), (false, i64::MAX));
        assert!((first + 1..=last).all(|window| assigner.repeats(window)));
    }

    #[test]
    fn results_of_windows_that_end_together_are_in_the_order_of_their_beginnings() {
        // Windows of 90 minutes, one each 45: those up to 02:15 and up to 03:00 end when the clock goes from 02:00 to 03:00.
        let minutes = |minutes: u64| Micros(minutes * 60_000_000);
        let assigner = Assigner::new(&WindowSpec::Sliding {
            size: minutes(90),
            every: minutes(45),
            alignment: Alignment {
                offset: Micros::ZERO,
                time_zone: Some("America/New_York".into()),
            },
        })
        .expect("a known zone");
        let Span { first, last } = assigner.pane(at("2013-03-10T06:45:00Z")).windows;
        let ends = |window| crate::time::Timestamp(assigner.end(window)).to_string();
        assert_eq!(
            [ends(first), ends(last)],
            ["2013-03-10T07:00:00Z", "2013-03-10T07:00:00Z"]
        );
        assert!(assigner.start(first) < assigner.start(last));
        let (earlier, later) = (assigner.tie(first), assigner.tie(last));
        assert!(earlier.is_some() && earlier < later, "{earlier:?} {later:?}");
        assert_eq!((assigner.tie(first - 1), assigner.tie(last + 1)), (None, None));
    }

    fn zones() -> impl Strategy<Value = Option<Arc<str>>> {
        prop_oneof![
            Just(None),
            Just(Some("America/New_York".into())),
            Just(Some("Australia/Lord_Howe".into())),
            Just(Some("America/Sao_Paulo".into())),
            Just(Some("Pacific/Apia".into())),
        ]
    }

    fn times() -> impl Strategy<Value = i64> {
        prop_oneof![
            any::<i64>(),
            Just(i64::MIN),
            (0..9_i64).prop_map(|before| i64::MAX - before),
            -5_000_000_000_000_000..5_000_000_000_000_000_i64,
        ]
    }

    proptest! {
        #[test]
        fn a_row_lies_in_its_pane_and_in_each_of_its_windows_and_in_no_other(
            size in 1..200_u64, every in 1..200_u64, unit in prop_oneof![Just(1_u64), Just(900_000_000), Just(3_600_000_000)],
            offset in 0..10_000_000_000_u64, zone in zones(), time in times(),
        ) {
            prop_assume!(size / every < 50);
            let assigner = Assigner::new(&WindowSpec::Sliding {
                size: Micros(size * unit),
                every: Micros(every * unit),
                alignment: Alignment { offset: Micros(offset), time_zone: zone },
            }).expect("a known zone");
            let pane = assigner.pane(time);
            prop_assert!(pane.first <= time && time <= pane.last, "{pane:?}");
            let Span { first, last } = pane.windows;
            for window in first - 2..=last + 2 {
                let (start, end) = (assigner.start(window), assigner.end(window));
                let inside = start <= time && (time < end || end == i64::MAX);
                if pane.windows.contains(window) {
                    prop_assert!(inside, "{window} {start} {end}");
                    prop_assert!(assigner.panes(window).contains(pane.number));
                    prop_assert!(start <= pane.first && (pane.last < end || end == i64::MAX));
                } else if time > i64::MIN + 1_000_000_000_000_000 && time < i64::MAX - 1_000_000_000_000_000 {
                    prop_assert!(!inside, "{window} {start} {end}");
                    prop_assert!(!assigner.panes(window).contains(pane.number));
                }
            }
            if pane.last < i64::MAX {
                prop_assert!(assigner.pane(pane.last + 1).number > pane.number);
            }
            let after = assigner.first_ending_after(time, pane.windows);
            prop_assert!(after == first.min(last + 1) || time == i64::MAX, "a row's own windows end after it");
        }
    }

    proptest! {
        #[test]
        fn a_row_lies_in_the_cumulative_windows_that_end_after_it_and_in_no_other(
            together in 1..30_i64, step in 1..200_i64, unit in prop_oneof![Just(1_i64), Just(900_000_000), Just(HOUR)],
            zone in zones(), time in times(),
        ) {
            let size = together * step * unit;
            let assigner = cumulative(size, step * unit, zone.as_deref());
            let pane = assigner.pane(time);
            prop_assert!(pane.first <= time && time <= pane.last, "{pane:?}");
            prop_assert!(pane.windows.contains(pane.number));
            let Span { first, last } = pane.windows;
            prop_assert!(!assigner.repeats(first), "a row has a result");
            prop_assert!(time <= assigner.last(first), "and is in it");
            let far = time > i64::MIN + 1_000_000_000_000_000 && time < i64::MAX - 1_000_000_000_000_000;
            for window in first - i128::from(together)..=last + i128::from(together) {
                let (start, end) = (assigner.start(window), assigner.end(window));
                if pane.windows.contains(window) {
                    prop_assert!(start <= time && (time < end || end == i64::MAX), "{window} {start} {end}");
                    prop_assert!(start <= pane.first && (pane.last < end || end == i64::MAX));
                    prop_assert_eq!(start, assigner.start(first), "they begin together");
                    prop_assert!(assigner.panes(window).contains(pane.number));
                    if window > first && far {
                        let longer = end > assigner.end(window - 1);
                        prop_assert!(longer != assigner.repeats(window), "{window} {start} {end}");
                    }
                } else if far {
                    prop_assert!(!(start <= time && time < end), "{window} {start} {end}");
                    prop_assert!(!assigner.panes(window).contains(pane.number));
                }
            }
            if zone.is_none() && far {
                prop_assert_eq!(assigner.start(first).rem_euclid(size), 0);
                prop_assert_eq!(assigner.end(last) - assigner.start(last), size);
                prop_assert_eq!(assigner.end(first) - pane.first, step * unit);
            }
        }

        #[test]
        fn the_first_open_window_is_the_first_to_end_after_the_watermark(
            size in 1..50_u64, every in 1..50_u64, steps in 1..9_u64, shape in 0..3_u8, zone in zones(),
            unit in prop_oneof![Just(1_u64), Just(3_600_000_000)], watermark in -5_000_000_000_000_000..5_000_000_000_000_000_i64,
        ) {
            let alignment = Alignment { offset: Micros(3), time_zone: zone };
            let (size, every) = (Micros(size * unit), Micros(every * unit));
            let assigner = Assigner::new(&match shape {
                0 => WindowSpec::Tumbling { size, alignment },
                1 => WindowSpec::Sliding { size, every, alignment },
                _ => WindowSpec::Cumulative { size: Micros(every.0 * steps), step: every, alignment },
            }).expect("a known zone");
            let open = assigner.first_open(watermark);
            prop_assert!(assigner.end(open) > watermark, "{open}");
            prop_assert!(assigner.end(open - 1) <= watermark, "{open}");
        }
    }
}
