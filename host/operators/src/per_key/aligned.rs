//! Aligned windows whose whole content goes to a Wasm `window`: when which key's window is due.
//!
//! Each row is kept once, whatever the number of its windows, and is judged by its own watermark as in windows with
//! aggregates ([`crate::window`]): a result holds the key's rows in [s, e) with W(r) < e; where others came that are not
//! late for the window, a correction with all of them follows when the merged watermark reaches e + allowed.
//!
//! A key has one timer: for the end of its next window with rows. When that has fired, the kept rows tell which window is
//! next. Corrections, which are rare, have timers of their own. Rows go when their last window is final.

mod record;

use wasmill_core::batch::Batch;
use wasmill_core::fault::Fault;
use wasmill_core::operator::{Emit, Step};
use wasmill_core::order::derived_place;
use wasmill_core::plan::{Early, EarlyWhen, LateResults};
use wasmill_core::time::Micros;
use wasmill_core::window::{Assigner, Span as Numbers, WindowNumber};
use wasmill_state::{Direction, Page};

use self::record::{Known, Several, number_bytes, read_number, split_number};
use super::base::{Base, BatchKeys};
use super::filling::Filling;
use super::results::{Before, Content, Firing};
use super::rows::{Head, Opened, Range, head};
use super::timers::Timers;
use crate::codec::damaged;
use crate::window::late::{Class, Lateness, judge};

/// The table of what is known of a key.
const KEYS: u8 = 1;
/// The table of kept rows.
const ROWS: u8 = 2;
/// The table of corrections that are owed.
const CORRECTIONS: u8 = 3;
/// The table of windows that have had, or may have, more than one result.
const WINDOWS: u8 = 4;
/// The timers of event time, and those of processing time.
const EVENT_TIMERS: u8 = 0;
const CLOCK_TIMERS: u8 = 1;
/// When no early result is due; and when one is as soon as the time is known, and so long.
const NEVER: i64 = i64::MAX;
const UNKNOWN: i64 = i64::MIN;

/// What a timer is for. Of what is due at one time, corrections come first, as their windows end earlier.
const CORRECTION: u8 = 0;
const RESULT: u8 = 1;
const CLEAN: u8 = 2;

/// Aligned windows.
#[derive(Debug)]
pub(crate) struct AlignedWindows {
    assigner: Assigner,
    early: Option<EarlyWhen>,
    immediate: bool,
    due: Timers,
    clock: Timers,
    next_wake: i64,
}

/// Which of a window's results.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Which {
    Early,
    OnTime,
    Correction,
    /// A correction that does not wait for the end of the allowed lateness.
    Immediate,
}

/// What a timer of a key's window is for.
fn what(kind: u8, window: WindowNumber, key: &[u8]) -> Vec<u8> {
    [&[kind][..], &number_bytes(window), key].concat()
}

impl AlignedWindows {
    pub(crate) fn new(assigner: Assigner, early: Option<Early>, late_results: LateResults) -> Self {
        Self {
            assigner,
            early: early.map(|early| early.when),
            immediate: late_results == LateResults::Immediate,
            due: Timers::new(EVENT_TIMERS),
            clock: Timers::new(CLOCK_TIMERS),
            next_wake: NEVER,
        }
    }

    pub(crate) fn wake_at(&self) -> Option<i64> {
        (self.next_wake != NEVER).then_some(self.next_wake)
    }

    /// Takes a batch.
    pub(crate) fn batch(
        &mut self,
        batch: &Batch,
        base: &mut Base,
        filling: &mut Filling,
        out: &mut dyn Emit,
    ) -> Result<(), Fault> {
        let codec = base.rows.clone();
        let opened = Opened::new(batch);
        let keys = BatchKeys::of(batch, &base.key);
        let mut late = Vec::new();
        for row in 0..batch.rows() {
            let time = opened.times[row];
            let pane = self.assigner.pane(time);
            if pane.windows.is_empty() {
                base.counters.unassigned += 1;
                continue;
            }
            let mut judged = base.judged(&opened, row);
            let Some(mut class) = self.class(time, judged, base.allowed) else {
                late.push(row as u32);
                continue;
            };
            if self.immediate
                && let Some(now) = self.class(time, base.watermark, base.allowed)
            {
                // What comes before a result was given is not a reason to correct it.
                judged = base.watermark;
                class.on_time = now.on_time;
            }
            let key = keys.get(row);
            let start = base.at(ROWS, key);
            codec.keep(&mut base.store, &start, &opened, row, judged)?;
            if class.on_time <= pane.windows.last {
                self.expect(key, class.on_time, base)?;
            }
            if class.admitted < class.on_time {
                base.counters.corrected += 1;
                let last = pane.windows.last.min(class.on_time - 1);
                for window in class.admitted..=last {
                    if !self.repeats(window, pane.windows) {
                        self.correct(key, window, base, filling, out)?;
                    }
                }
                if self.immediate && class.on_time > pane.windows.last {
                    let mut known = Self::known(key, base)?;
                    self.look_after(key, None, &mut known, base)?;
                    Self::set_known(key, known, base)?;
                }
            }
            if self.early.is_some() {
                let from = class.on_time.max(pane.windows.first);
                for window in from..=pane.windows.last {
                    if !self.repeats(window, pane.windows) {
                        self.count_early(key, window, base, filling, out)?;
                    }
                }
            }
        }
        filling.flush(base, out)?;
        base.refuse_late(batch, &late, out)
    }

    /// From which windows of its pane on a row counts; `None` where it is late for all.
    fn class(&self, time: i64, judged: i64, allowed: u64) -> Option<Class> {
        let pane = self.assigner.pane(time);
        let first_end = self.assigner.end(pane.windows.first);
        match judge(&self.assigner, Micros(allowed), &pane, first_end, judged) {
            Lateness::OnTime => Some(Class {
                admitted: pane.windows.first,
                on_time: pane.windows.first,
            }),
            Lateness::Some(class) => Some(class),
            Lateness::All => None,
        }
    }

    /// Whether this window is the one before it once more for a row of `windows`. No row is on time, or admitted, for such
    /// a window first: the stretch by which it is longer is empty.
    fn repeats(&self, window: WindowNumber, windows: Numbers) -> bool {
        windows.first < window && self.assigner.repeats(window)
    }

    fn known(key: &[u8], base: &Base) -> Result<Known, Fault> {
        let known = base.store.get(&base.at(KEYS, key), Known::decode)?;
        Ok(known.transpose()?.unwrap_or_default())
    }

    fn set_known(key: &[u8], known: Known, base: &mut Base) -> Result<(), Fault> {
        let at = base.at(KEYS, key);
        if known == Known::default() {
            base.store.remove(&at)
        } else {
            base.store.put(&at, &known.encode())
        }
    }

    /// A result of a window is to come.
    fn expect(&mut self, key: &[u8], window: WindowNumber, base: &mut Base) -> Result<(), Fault> {
        let mut known = Self::known(key, base)?;
        if known.next.is_some_and(|next| next <= window) {
            return Ok(());
        }
        if let Some(next) = known.next {
            let end = self.assigner.end(next);
            self.due.remove(&mut base.store, end, &what(RESULT, next, key))?;
        }
        known.next = Some(window);
        let end = self.assigner.end(window);
        self.due.set(&mut base.store, end, &what(RESULT, window, key))?;
        Self::set_known(key, known, base)
    }

    /// A window owes a correction, or gives one at once.
    fn correct(
        &mut self,
        key: &[u8],
        window: WindowNumber,
        base: &mut Base,
        filling: &mut Filling,
        out: &mut dyn Emit,
    ) -> Result<(), Fault> {
        if self.immediate {
            return self.fire(key, window, Which::Immediate, base, filling, out);
        }
        let at = [&base.at(CORRECTIONS, key)[..], &number_bytes(window)].concat();
        base.store.put(&at, &[])?;
        let due = self.assigner.end(window).saturating_add_unsigned(base.allowed);
        self.due.set(&mut base.store, due, &what(CORRECTION, window, key))
    }

    fn several_at(key: &[u8], window: WindowNumber, base: &Base) -> Vec<u8> {
        [&base.at(WINDOWS, key)[..], &number_bytes(window)].concat()
    }

    fn several(key: &[u8], window: WindowNumber, base: &Base) -> Result<Several, Fault> {
        let several = base.store.get(&Self::several_at(key, window, base), Several::decode)?;
        Ok(several.transpose()?.unwrap_or(Several {
            results: 0,
            since: 0,
            wake: NEVER,
        }))
    }

    /// A row came for a window that gives early results.
    fn count_early(
        &mut self,
        key: &[u8],
        window: WindowNumber,
        base: &mut Base,
        filling: &mut Filling,
        out: &mut dyn Emit,
    ) -> Result<(), Fault> {
        let mut several = Self::several(key, window, base)?;
        several.since += 1;
        let mut fires = false;
        match self.early {
            Some(EarlyWhen::Count(every)) => fires = several.since >= every,
            Some(EarlyWhen::Every(_)) if several.wake == NEVER => {
                several.wake = UNKNOWN;
                self.set_wake(UNKNOWN, key, window, base)?;
            }
            Some(EarlyWhen::Every(_)) | None => {}
        }
        let at = Self::several_at(key, window, base);
        base.store.put(&at, &several.encode())?;
        if fires {
            self.fire(key, window, Which::Early, base, filling, out)?;
        }
        Ok(())
    }

    fn set_wake(&mut self, wake: i64, key: &[u8], window: WindowNumber, base: &mut Base) -> Result<(), Fault> {
        self.next_wake = self.next_wake.min(wake);
        self.clock.set(&mut base.store, wake, &what(RESULT, window, key))
    }

    /// Gives what is due at watermark `to`.
    pub(crate) fn watermark(
        &mut self,
        to: i64,
        slice_rows: usize,
        base: &mut Base,
        filling: &mut Filling,
        out: &mut dyn Emit,
    ) -> Result<Step, Fault> {
        let mut taken = 0;
        let step = loop {
            let Some(due) = self.due.first(&base.store, to)? else {
                break Step::Done;
            };
            if filling.take_full(slice_rows) || taken == slice_rows {
                break Step::More;
            }
            taken += 1;
            self.due.remove(&mut base.store, due.at, &due.what)?;
            let (&kind, rest) = due
                .what
                .split_first()
                .ok_or_else(|| damaged("a timer is for nothing"))?;
            let (window, key) = read_number(rest)?;
            let before = Self::known(key, base)?;
            let mut known = before;
            match kind {
                CORRECTION => {
                    let at = [&base.at(CORRECTIONS, key)[..], &number_bytes(window)].concat();
                    base.store.remove(&at)?;
                    self.fire(key, window, Which::Correction, base, filling, out)?;
                }
                RESULT => {
                    self.fire(key, window, Which::OnTime, base, filling, out)?;
                    known.next = self.next_after(key, window, base)?;
                    if let Some(next) = known.next {
                        let end = self.assigner.end(next);
                        self.due.set(&mut base.store, end, &what(RESULT, next, key))?;
                    }
                }
                _ => known.clean = None,
            }
            self.clean(key, due.at, &mut known, base, filling)?;
            if known != before {
                Self::set_known(key, known, base)?;
            }
        };
        filling.flush(base, out)?;
        Ok(step)
    }

    /// The first window after this one that has rows which are on time for it.
    fn next_after(&self, key: &[u8], window: WindowNumber, base: &Base) -> Result<Option<WindowNumber>, Fault> {
        let start = self.assigner.start(window + 1);
        let mut range = Range::of_times(&base.at(ROWS, key), start, i64::MAX);
        let mut page = Page::default();
        let mut best: Option<WindowNumber> = None;
        loop {
            let more = range.next(&base.store, &mut page)?;
            for (_, value) in page.iter() {
                let Head { time, judged, .. } = head(value)?;
                let windows: Numbers = self.assigner.pane(time).windows;
                let mut from = windows.first.max(window + 1);
                while from <= windows.last && self.repeats(from, windows) {
                    from += 1;
                }
                if best.is_some_and(|best| best <= from) {
                    return Ok(best);
                }
                let Some(class) = self.class(time, judged, base.allowed) else {
                    continue;
                };
                let candidate = class.on_time.max(from);
                if candidate <= windows.last {
                    best = Some(best.map_or(candidate, |best| best.min(candidate)));
                }
            }
            if !more {
                return Ok(best);
            }
        }
    }

    /// Removes the rows of a key that no window needs at `now`, and sees to the others.
    fn clean(
        &mut self,
        key: &[u8],
        now: i64,
        known: &mut Known,
        base: &mut Base,
        filling: &mut Filling,
    ) -> Result<(), Fault> {
        let start = base.at(ROWS, key);
        // At the end of time windows are cut off, and end together with others that are still to fire.
        if now < i64::MAX {
            let mut gone: Option<i64> = None;
            let mut range = Range::all(&start);
            while let Some((_, value)) = base.store.first(range.span(), Direction::Forwards)? {
                let pane = self.assigner.pane(head(&value)?.time);
                let last_end = self.assigner.end(pane.windows.last);
                if last_end.saturating_add_unsigned(base.allowed) > now {
                    break;
                }
                gone = Some(pane.last);
                if self.early.is_some() || self.immediate {
                    self.forget_several(key, pane.windows.last, base)?;
                }
                range.from = Range::of_times(&start, pane.last, pane.last).to;
            }
            if let Some(last) = gone {
                let first = Range::all(&start).from;
                let to = Range::of_times(&start, last, last).to;
                filling.forget(Range { from: first, to }, base)?;
                // The rows are still there until the call that needs them is made.
                return self.look_after(key, Some(last), known, base);
            }
        }
        self.look_after(key, None, known, base)
    }

    /// Forgets what is known of the results of a key's windows up to this one.
    fn forget_several(&mut self, key: &[u8], last: WindowNumber, base: &mut Base) -> Result<(), Fault> {
        let from = base.at(WINDOWS, key);
        let to = [&from[..], &number_bytes(last + 1)].concat();
        let range = Range { from, to };
        let mut wakes = Vec::new();
        base.store.scan(range.span(), Direction::Forwards, |at, value| {
            let wake = Several::decode(value)?.wake;
            if wake != NEVER {
                let (number, _) = read_number(&at[range.from.len()..])?;
                wakes.push((wake, number));
            }
            Ok(std::ops::ControlFlow::Continue(()))
        })?;
        for (wake, number) in wakes {
            self.clock.remove(&mut base.store, wake, &what(RESULT, number, key))?;
        }
        base.store.remove_range(range.span())
    }

    /// Where no result of a key is to come, sets a timer for the rows that are left.
    fn look_after(&mut self, key: &[u8], after: Option<i64>, known: &mut Known, base: &mut Base) -> Result<(), Fault> {
        if known.next.is_some() || known.clean.is_some() {
            return Ok(());
        }
        let start = base.at(ROWS, key);
        let mut range = Range::all(&start);
        if let Some(after) = after {
            range.from = Range::of_times(&start, after, after).to;
        }
        let Some((_, value)) = base.store.first(range.span(), Direction::Forwards)? else {
            return Ok(());
        };
        let pane = self.assigner.pane(head(&value)?.time);
        let final_at = self
            .assigner
            .end(pane.windows.last)
            .saturating_add_unsigned(base.allowed);
        if final_at == i64::MAX {
            return Ok(());
        }
        known.clean = Some(final_at);
        self.due.set(&mut base.store, final_at, &what(CLEAN, 0, key))
    }

    /// Gives early results that are due in processing time.
    pub(crate) fn clock(
        &mut self,
        now: i64,
        slice_rows: usize,
        base: &mut Base,
        filling: &mut Filling,
        out: &mut dyn Emit,
    ) -> Result<Step, Fault> {
        let mut taken = 0;
        let step = loop {
            let Some(due) = self.clock.first(&base.store, now)? else {
                break Step::Done;
            };
            if filling.take_full(slice_rows) || taken == slice_rows {
                break Step::More;
            }
            taken += 1;
            self.clock.remove(&mut base.store, due.at, &due.what)?;
            let (window, key) = read_number(due.what.get(1..).unwrap_or_default())?;
            let mut several = Self::several(key, window, base)?;
            if due.at != UNKNOWN {
                several.wake = NEVER;
                let at = Self::several_at(key, window, base);
                base.store.put(&at, &several.encode())?;
                self.fire(key, window, Which::Early, base, filling, out)?;
                continue;
            }
            let Some(EarlyWhen::Every(every)) = self.early else {
                continue;
            };
            several.wake = now.saturating_add_unsigned(every.0).min(NEVER - 1);
            self.clock.set(&mut base.store, several.wake, &due.what)?;
            let at = Self::several_at(key, window, base);
            base.store.put(&at, &several.encode())?;
        };
        filling.flush(base, out)?;
        self.next_wake = self.clock.first(&base.store, i64::MAX)?.map_or(NEVER, |due| due.at);
        Ok(step)
    }

    /// Gives a result of a window, where it has rows that count for it. A firing without rows is none.
    fn fire(
        &mut self,
        key: &[u8],
        window: WindowNumber,
        which: Which,
        base: &mut Base,
        filling: &mut Filling,
        out: &mut dyn Emit,
    ) -> Result<(), Fault> {
        let (start, end) = (self.assigner.start(window), self.assigner.end(window));
        let range = Range::of_times(&base.at(ROWS, key), start, self.assigner.last(window));
        let due = end.saturating_add_unsigned(base.allowed);
        let on_time = Before {
            judged: end,
            watermark: (!base.best_effort).then_some(due),
        };
        let before = match which {
            Which::Early | Which::OnTime => on_time,
            Which::Correction | Which::Immediate => Before { judged: due, ..on_time },
        };
        let pane = if self.early.is_some() || self.immediate {
            if !any_before(&range, before, base)? {
                return Ok(());
            }
            let mut several = Self::several(key, window, base)?;
            let pane = several.results;
            several.results += 1;
            several.since = 0;
            if several.wake != NEVER {
                let what = what(RESULT, window, key);
                self.clock.remove(&mut base.store, several.wake, &what)?;
                several.wake = NEVER;
            }
            let at = Self::several_at(key, window, base);
            base.store.put(&at, &several.encode())?;
            pane
        } else {
            u32::from(which == Which::Correction && any_before(&range, on_time, base)?)
        };
        let watermark = match which {
            Which::OnTime => end.saturating_sub(1),
            Which::Correction => due.saturating_sub(1),
            Which::Early | Which::Immediate => end.saturating_sub(1).max(base.watermark),
        };
        let mut place = Vec::new();
        derived_place(base.node(), key, end, pane, &mut place);
        place.extend(self.assigner.tie(window).iter().flatten());
        let firing = Firing {
            key: key.to_vec(),
            start,
            end,
            time: end.saturating_sub(1),
            watermark,
            pane,
            place,
            rows: 0,
        };
        let content = Content {
            range,
            before: Some(before),
            stay: true,
        };
        filling.fire(firing, None, content, base, out)
    }

    /// Takes an entry that was saved: `entry` begins with its table.
    pub(crate) fn load(&mut self, entry: &[u8], value: &[u8], base: &mut Base) -> Result<(), Fault> {
        let (&table, rest) = entry.split_first().ok_or_else(|| damaged("an entry without a table"))?;
        match table {
            KEYS => {
                let known = Known::decode(value)?;
                if let Some(next) = known.next {
                    let end = self.assigner.end(next);
                    self.due.set(&mut base.store, end, &what(RESULT, next, rest))?;
                }
                if let Some(clean) = known.clean {
                    self.due.set(&mut base.store, clean, &what(CLEAN, 0, rest))?;
                }
            }
            CORRECTIONS => {
                let (key, number) = split_number(rest)?;
                let due = self.assigner.end(number).saturating_add_unsigned(base.allowed);
                self.due.set(&mut base.store, due, &what(CORRECTION, number, key))?;
            }
            WINDOWS => {
                let (key, number) = split_number(rest)?;
                let wake = Several::decode(value)?.wake;
                if wake != NEVER {
                    self.set_wake(wake, key, number, base)?;
                }
            }
            _ => {}
        }
        Ok(())
    }
}

/// Whether there is a row in the range that counts.
fn any_before(range: &Range, before: Before, base: &Base) -> Result<bool, Fault> {
    let mut found = false;
    base.store.scan(range.span(), Direction::Forwards, |_, value| {
        found = before.holds(&head(value)?);
        Ok(if found {
            std::ops::ControlFlow::Break(())
        } else {
            std::ops::ControlFlow::Continue(())
        })
    })?;
    Ok(found)
}
