//! The interval join: pairs with `left.t - before <= right.t <= left.t + after`.
//!
//! Rows come in event-time order, right rows before left rows of the same time. Each meets the rows of the other side
//! that came before it, and is then kept as long as a partner may come. Kept rows lie in stretches of time as long as the
//! longer of both bounds, so that a row finds its partners in at most two of them, and a stretch leaves as one span.
//!
//! | table | key after the time and the owner | value |
//! |---|---|---|
//! | rows of a side, by the beginning of their stretch | t, serial number | mark, place, values |
//! | rows of a side without a partner so far, by t | serial number | |

use std::ops::Bound;

use wasmill_core::fault::Fault;
use wasmill_core::key::sortable_int;
use wasmill_core::plan::JoinKind;
use wasmill_core::time::Micros;
use wasmill_state::{Direction, Page, Span};

use super::pairs::When;
use super::{Context, LEFT, RIGHT, Row};
use crate::codec::damaged;
use crate::stored::{Before, Kept, Serials, TIMED, TIMED_HEAD_BYTES, between_times, read_time, time_of, timed};

/// The tables of kept rows, by side.
const ROWS: [u8; 2] = [1, 2];
/// The tables of rows without a partner so far, by side.
const UNMATCHED: [u8; 2] = [3, 4];
/// The first bytes of its entries.
pub(super) const TABLES: [u8; 4] = [
    ROWS[0] | TIMED,
    ROWS[1] | TIMED,
    UNMATCHED[0] | TIMED,
    UNMATCHED[1] | TIMED,
];
/// The mark of a kept row whose partners so far make no difference, or that has one.
const SETTLED: u8 = 0;
/// The mark of a kept row without a partner that is in the table of those.
const WAITS: u8 = 1;
/// The time and the serial number at the end of a kept row's key.
const TAIL_BYTES: usize = 8 + Serials::BYTES;
/// Rows that are read at once.
const PAGE_ROWS: usize = 1_024;
/// Bytes that are read at once.
const PAGE_BYTES: usize = 1 << 20;

/// What an interval join knows between calls, beside its store.
#[derive(Debug)]
pub(super) struct Interval {
    kind: JoinKind,
    /// By side: for how long after a row its partner may come.
    reach: [u64; 2],
    lag: u64,
    /// The length of a stretch.
    stretch: i128,
    /// The row that is being taken has met some of its partners.
    meeting: Option<Meeting>,
    page_rows: usize,
    page: Page,
    /// The bounds of the rows that are to be met.
    bounds: [Vec<u8>; 2],
    key: Vec<u8>,
    value: Vec<u8>,
}

/// Where a row is on its way through its partners.
#[derive(Debug)]
struct Meeting {
    /// The stretch that is being read.
    stretch: i64,
    /// Whether the bounds begin after the row that was read last.
    is_begun: bool,
    is_done: bool,
    has_partner: bool,
}

/// What becomes of a partner.
enum Change {
    /// It has one.
    Settle,
    /// It is done with.
    Remove,
}

impl Interval {
    pub(super) fn new(kind: JoinKind, before: Micros, after: Micros, slice_rows: usize) -> Self {
        let lag = match kind {
            JoinKind::Inner => 0,
            JoinKind::Left | JoinKind::Semi | JoinKind::Anti => after.0,
            JoinKind::Right => before.0,
            JoinKind::Full => before.0.max(after.0),
        };
        Self {
            kind,
            reach: [after.0, before.0],
            lag,
            stretch: i128::from(before.0.max(after.0).max(1)),
            meeting: None,
            page_rows: PAGE_ROWS.min(slice_rows.max(1)),
            page: Page::default(),
            bounds: [Vec::new(), Vec::new()],
            key: Vec::new(),
            value: Vec::new(),
        }
    }

    /// Whether rows of a side come out alone where they have no partner.
    fn keeps_unmatched(&self, side: usize) -> bool {
        match self.kind {
            JoinKind::Inner | JoinKind::Semi => false,
            JoinKind::Left | JoinKind::Anti => side == LEFT,
            JoinKind::Right => side == RIGHT,
            JoinKind::Full => true,
        }
    }

    fn stretch_of(&self, time: i64) -> i64 {
        let start = i128::from(time).div_euclid(self.stretch) * self.stretch;
        i64::try_from(start).unwrap_or(i64::MIN)
    }

    /// Takes a row. Whether it has met all its partners; if not, it is to be taken again.
    pub(super) fn take(&mut self, row: Row<'_>, cx: &mut Context<'_>) -> Result<bool, Fault> {
        let mut meeting = self.meeting.take().unwrap_or_else(|| self.begin(&row));
        let is_enough = row.side == LEFT && matches!(self.kind, JoinKind::Semi | JoinKind::Anti);
        let rows = if is_enough { 1 } else { self.page_rows };
        while !meeting.is_done {
            if !meeting.is_begun {
                self.bound(&row, meeting.stretch);
            }
            let [from, to] = &self.bounds;
            let from = if meeting.is_begun {
                Bound::Excluded(&**from)
            } else {
                Bound::Included(&**from)
            };
            let span = Span::Between(from, Bound::Excluded(to));
            let mut page = std::mem::take(&mut self.page);
            let more = cx.store.page(span, Direction::Forwards, rows, PAGE_BYTES, &mut page)?;
            meeting.has_partner |= !page.is_empty();
            self.meet(&page, &row, cx)?;
            if meeting.has_partner && is_enough {
                meeting.is_done = true;
            } else if more {
                self.bounds[0].clear();
                self.bounds[0].extend_from_slice(page.entry(page.len() - 1).0);
                meeting.is_begun = true;
            } else {
                self.go_on(&row, &mut meeting);
            }
            self.page = page;
            if cx.pairs.building.is_full() && !meeting.is_done {
                self.meeting = Some(meeting);
                return Ok(false);
            }
        }
        self.settle(&row, meeting.has_partner, cx)?;
        Ok(true)
    }

    /// The first time of the other side's rows that a row may meet.
    fn least(&self, row: &Row<'_>) -> i64 {
        row.time.saturating_sub_unsigned(self.reach[1 - row.side])
    }

    fn begin(&self, row: &Row<'_>) -> Meeting {
        Meeting {
            stretch: self.stretch_of(self.least(row)),
            is_begun: false,
            is_done: !row.has_key,
            has_partner: false,
        }
    }

    /// The bounds of the other side's rows in a stretch that were taken before.
    fn bound(&mut self, row: &Row<'_>, stretch: i64) {
        let (least, other) = (self.least(row), 1 - row.side);
        timed(ROWS[other], stretch, row.owner, &mut self.key);
        between_times(&self.key, least, row.time, &mut self.bounds);
    }

    /// Turns to the next stretch, if there is one before the row.
    fn go_on(&self, row: &Row<'_>, meeting: &mut Meeting) {
        let last = self.stretch_of(row.time);
        meeting.is_begun = false;
        meeting.is_done = meeting.stretch >= last;
        let next = i128::from(meeting.stretch) + self.stretch;
        meeting.stretch = self.stretch_of(i64::try_from(next).unwrap_or(last).min(last));
    }

    fn meet(&mut self, partners: &Page, row: &Row<'_>, cx: &mut Context<'_>) -> Result<(), Fault> {
        let when = When {
            time: row.time,
            watermark: row.time.saturating_sub_unsigned(self.lag),
            window: None,
        };
        for (key, value) in partners.iter() {
            let partner = Kept::read(value)?;
            let change = match self.kind {
                JoinKind::Inner => {
                    cx.push_pair(row.side, (*row).into(), partner.into(), when)?;
                    None
                }
                JoinKind::Left | JoinKind::Right | JoinKind::Full => {
                    cx.push_pair(row.side, (*row).into(), partner.into(), when)?;
                    (partner.mark == WAITS).then_some(Change::Settle)
                }
                JoinKind::Semi | JoinKind::Anti if row.side == LEFT => None,
                JoinKind::Semi => {
                    let (_, _, time) = parts(key)?;
                    cx.push_alone(LEFT, partner.into(), When { time, ..when })?;
                    Some(Change::Remove)
                }
                JoinKind::Anti => Some(Change::Remove),
            };
            if let Some(change) = change {
                self.change(1 - row.side, key, value, &change, cx)?;
            }
        }
        Ok(())
    }

    fn change(
        &mut self,
        side: usize,
        key: &[u8],
        value: &[u8],
        change: &Change,
        cx: &mut Context<'_>,
    ) -> Result<(), Fault> {
        let (owner, serial, time) = parts(key)?;
        if value.first() == Some(&WAITS) {
            timed(UNMATCHED[side], time, owner, &mut self.key);
            self.key.extend_from_slice(serial);
            cx.store.remove(&self.key)?;
        }
        match change {
            Change::Remove => cx.store.remove(key),
            Change::Settle => {
                self.value.clear();
                self.value.push(SETTLED);
                self.value.extend_from_slice(&value[1..]);
                cx.store.put(key, &self.value)
            }
        }
    }

    /// Keeps a row that has met its partners so far, where another may come or it may come out alone.
    fn settle(&mut self, row: &Row<'_>, has_partner: bool, cx: &mut Context<'_>) -> Result<(), Fault> {
        // The right rows of a left row's own time were there before it.
        let may_meet = row.has_key && (row.side == RIGHT || self.reach[LEFT] > 0);
        let unmatched = self.keeps_unmatched(row.side) && !has_partner;
        match self.kind {
            JoinKind::Semi if row.side == LEFT && has_partner => {
                let when = When {
                    time: row.time,
                    watermark: row.time.saturating_sub_unsigned(self.lag),
                    window: None,
                };
                return cx.push_alone(LEFT, (*row).into(), when);
            }
            JoinKind::Anti if row.side == LEFT && has_partner => return Ok(()),
            _ if !may_meet && unmatched => {
                let when = self.when_alone(row.side, row.time);
                return cx.push_alone(row.side, (*row).into(), when);
            }
            _ if !may_meet => return Ok(()),
            _ => {}
        }
        let serial = cx.serials.next();
        timed(ROWS[row.side], self.stretch_of(row.time), row.owner, &mut self.key);
        self.key.extend(sortable_int(row.time));
        self.key.extend(serial);
        self.value.clear();
        let mark = if unmatched { WAITS } else { SETTLED };
        cx.inputs[row.side].keep(row.batch, row.row, mark, row.place, &mut self.value);
        cx.store.put(&self.key, &self.value)?;
        if unmatched {
            timed(UNMATCHED[row.side], row.time, row.owner, &mut self.key);
            self.key.extend(serial);
            cx.store.put(&self.key, b"")?;
        }
        Ok(())
    }

    fn when_alone(&self, side: usize, time: i64) -> When {
        When {
            time,
            watermark: time
                .saturating_add_unsigned(self.reach[side])
                .saturating_sub_unsigned(self.lag),
            window: None,
        }
    }

    /// Lets go of rows that meet no row at or after `to`; those without a partner come out. Whether that is done.
    pub(super) fn expire(&mut self, to: i64, cx: &mut Context<'_>) -> Result<bool, Fault> {
        for side in [LEFT, RIGHT] {
            if self.keeps_unmatched(side) && !self.expire_unmatched(side, to, cx)? {
                return Ok(false);
            }
        }
        for side in [LEFT, RIGHT] {
            let limit = if to == i64::MAX {
                i128::MAX
            } else {
                // The last row of a stretch is `stretch - 1` after its beginning.
                i128::from(to) - i128::from(self.reach[side]) - self.stretch + 1
            };
            cx.store.remove_range(Before::new(ROWS[side], limit).span())?;
        }
        Ok(true)
    }

    fn expire_unmatched(&mut self, side: usize, to: i64, cx: &mut Context<'_>) -> Result<bool, Fault> {
        let limit = if to == i64::MAX {
            i128::MAX
        } else {
            i128::from(to) - i128::from(self.reach[side])
        };
        let before = Before::new(UNMATCHED[side], limit);
        loop {
            if cx.pairs.building.is_full() {
                return Ok(false);
            }
            let mut page = std::mem::take(&mut self.page);
            let more = cx.store.page(
                before.span(),
                Direction::Forwards,
                self.page_rows,
                PAGE_BYTES,
                &mut page,
            )?;
            for (key, _) in page.iter() {
                let time = time_of(key)?;
                let rest = &key[TIMED_HEAD_BYTES..];
                let (owner, serial) = rest
                    .split_last_chunk::<{ Serials::BYTES }>()
                    .ok_or_else(|| damaged("a key is cut off"))?;
                timed(ROWS[side], self.stretch_of(time), owner, &mut self.key);
                self.key.extend(sortable_int(time));
                self.key.extend(serial);
                let row = cx.store.get(&self.key, <[u8]>::to_vec)?;
                let row = row.ok_or_else(|| damaged("a row without a partner is not there"))?;
                cx.push_alone(side, Kept::read(&row)?.into(), self.when_alone(side, time))?;
                cx.store.remove(key)?;
            }
            self.page = page;
            if !more {
                return Ok(true);
            }
        }
    }
}

/// Takes note of a loaded entry's serial number.
pub(super) fn count(key: &[u8], serials: &mut Serials) {
    if key.first().is_some_and(|table| TABLES.contains(table)) {
        serials.pass(key);
    }
}

/// The owner, the serial number and the time of a kept row.
fn parts(key: &[u8]) -> Result<(&[u8], &[u8], i64), Fault> {
    let rest = key.get(TIMED_HEAD_BYTES..).unwrap_or_default();
    let at = rest
        .len()
        .checked_sub(TAIL_BYTES)
        .ok_or_else(|| damaged("a key is cut off"))?;
    let (owner, tail) = rest.split_at(at);
    Ok((owner, &tail[8..], read_time(tail)?))
}
