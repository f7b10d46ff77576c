//! A slice of what is due, key by key, in parts that one call each can take.

use std::borrow::Cow;

use wasmill_core::batch::Batch;
use wasmill_core::column::{Column, Value};
use wasmill_core::fault::Fault;
use wasmill_core::keyed::TimeDomain;
use wasmill_core::operator::Emit;
use wasmill_state::KeyId;

use super::KeyedOperator;
use super::calls::Piece;
use super::left::{Left, Lefts};
use super::state::meta;
use super::timers::{Due, Timer};
use crate::waiting::groups::sort_by_place;

/// Why a slice is taken.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Mode {
    /// The watermark rose, or rows came that do not wait.
    Rows,
    /// The input has ended, and rows were waiting.
    LastRows,
    /// Processing time came to timers.
    Clock,
    /// The input has ended, and timers are pending.
    End(TimeDomain),
}

impl Mode {
    /// The clock of the timers in the slice.
    pub(super) fn domain(self) -> TimeDomain {
        match self {
            Self::Rows | Self::LastRows => TimeDomain::Event,
            Self::Clock => TimeDomain::Processing,
            Self::End(domain) => domain,
        }
    }
}

/// Rows and timers that are due.
#[derive(Debug)]
pub(super) struct Slice {
    /// One per input.
    pub(super) batches: Vec<Batch>,
    sequence: Vec<(u8, u32)>,
    due: Due,
    /// All events before it are in the slice, and its timers.
    bound: i64,
    pub(super) mode: Mode,
}

/// An event of a key.
#[derive(Clone, Copy, Debug, PartialEq)]
pub(super) struct Event {
    pub(super) time: i64,
    pub(super) what: What,
}

#[derive(Clone, Copy, Debug, PartialEq)]
pub(super) enum What {
    /// Kind and tag.
    Timer(u32, i64),
    /// Input and row of its batch in the slice.
    Row(u8, u32),
}

impl From<Timer> for Event {
    fn from(timer: Timer) -> Self {
        Self {
            time: timer.time,
            what: What::Timer(timer.kind, timer.tag),
        }
    }
}

impl Event {
    pub(super) fn is_row(&self) -> bool {
        matches!(self.what, What::Row(..))
    }
}

/// What was met in a slice.
#[derive(Debug)]
pub(super) struct Round<'a> {
    pub(super) slice: &'a Slice,
    /// The keys.
    pub(super) ids: Vec<KeyId>,
    /// By key: event-time timers at or before it are of this slice.
    pub(super) bounds: Vec<i64>,
}

impl Round<'_> {
    /// All events of a key, as what is left of them.
    pub(super) fn left(&self, place: u32, events: &[Event]) -> Left {
        let to = match self.slice.mode {
            Mode::Rows | Mode::LastRows => self.bounds[place as usize],
            Mode::Clock | Mode::End(_) => events.last().map_or(i64::MIN, |event| event.time),
        };
        Left::new(events, to)
    }
}

/// When a key had its last rows.
#[derive(Clone, Copy, Debug, Default)]
pub(super) struct LastRow {
    pub(super) event: Option<i64>,
    pub(super) processing: Option<i64>,
}

/// The first events of a key that see the same state.
#[derive(Clone, Copy, Debug)]
pub(super) struct Part {
    pub(super) len: usize,
    /// Event-time timers that the guest sets at or before it, it fires itself.
    pub(super) until: i64,
}

impl Slice {
    pub(super) fn new(batches: Vec<Batch>, sequence: Vec<(u8, u32)>, due: Due, bound: i64, mode: Mode) -> Self {
        Self {
            batches,
            sequence,
            due,
            bound,
            mode,
        }
    }

    pub(super) fn of_rows(batches: Vec<Batch>, sequence: Vec<(u8, u32)>, bound: i64) -> Self {
        Self::new(batches, sequence, Due::default(), bound, Mode::Rows)
    }

    /// The number of rows.
    pub(super) fn rows(&self) -> usize {
        self.sequence.len()
    }
}

impl KeyedOperator {
    /// Hands a slice to the guest.
    pub(super) fn process(&mut self, slice: &Slice, out: &mut dyn Emit) -> Result<(), Fault> {
        let first_timer = (!slice.due.is_empty()).then(|| slice.due.timer(0).time);
        self.chains
            .retain(|_, chain| first_timer.is_some_and(|first| chain.time >= first));
        let (round, mut events, places) = self.meet(slice)?;
        for batch in &slice.batches {
            self.clock.latest = self
                .clock
                .latest
                .max(batch.times().iter().copied().max().unwrap_or(i64::MIN));
        }
        let (offsets, order) = sort_by_place(&places, round.ids.len());
        events = order.iter().map(|&at| events[at as usize]).collect();
        let mut pieces: Vec<Piece<'_>> = Vec::with_capacity(round.ids.len());
        let mut left = Lefts::new();
        let last_rows = self.last_rows(&round.ids);
        for place in 0..round.ids.len() as u32 {
            let at = place as usize;
            let own = &events[offsets[at] as usize..offsets[at + 1] as usize];
            if own.is_empty() {
                continue;
            }
            let last_row = last_rows.as_ref().map(|rows| rows[at]);
            let part = self.part(&round, place, own.iter().copied(), last_row)?;
            if part.len < own.len() {
                left.insert(place, round.left(place, own));
            }
            pieces.push(Piece {
                place,
                events: &own[..part.len],
                until: part.until,
                is_last_try: false,
            });
        }
        self.run(&round, &pieces, &mut left, out)?;
        left.retain(|_, left| !left.is_empty());
        while !left.is_empty() {
            self.next_parts(&round, &mut left, out)?;
            left.retain(|_, left| !left.is_empty());
        }
        Ok(())
    }

    /// Hands the next part of what is left of each key to the guest.
    fn next_parts(&mut self, round: &Round<'_>, left: &mut Lefts, out: &mut dyn Emit) -> Result<(), Fault> {
        let ids: Vec<KeyId> = left.keys().map(|&place| round.ids[place as usize]).collect();
        let last_rows = self.last_rows(&ids);
        let mut events: Vec<Event> = Vec::new();
        let mut parts = Vec::with_capacity(ids.len());
        for (at, (&place, left)) in left.iter().enumerate() {
            let last_row = last_rows.as_ref().map(|rows| rows[at]);
            let part = self.part(round, place, left.events(), last_row)?;
            let start = events.len();
            events.extend(left.events().take(part.len));
            parts.push((place, start, part));
        }
        let pieces = parts.iter().map(|&(place, start, part)| Piece {
            place,
            events: &events[start..start + part.len],
            until: part.until,
            is_last_try: false,
        });
        self.run(round, &pieces.collect::<Vec<_>>(), left, out)
    }

    /// Makes the keys of a slice resident: the keys, all events in order, and the place of each event's key.
    fn meet<'a>(&mut self, slice: &'a Slice) -> Result<(Round<'a>, Vec<Event>, Vec<u32>), Fault> {
        let state = &mut *self.state.borrow_mut();
        let (values, store) = (&mut state.values, &mut state.store);
        values.begin();
        let mut of_rows: Vec<Vec<u32>> = Vec::with_capacity(slice.batches.len());
        for (batch, input) in slice.batches.iter().zip(&self.setup.inputs) {
            let mut places = Vec::new();
            if !batch.is_empty() {
                values.meet_batch(store, batch, &input.key, &mut places)?;
            }
            of_rows.push(places);
        }
        let mut events = Vec::with_capacity(slice.due.len() + slice.rows());
        for at in 0..slice.due.len() {
            let place = values.meet_encoded(store, slice.due.key(at))?;
            let timer = slice.due.timer(at);
            events.push((place, Event::from(timer)));
        }
        let ids = values.met().to_vec();
        let times: Vec<Cow<'_, [i64]>> = slice.batches.iter().map(Batch::times).collect();
        events.extend(slice.sequence.iter().map(|&(input, row)| {
            let number = usize::from(input);
            let event = Event {
                time: times[number][row as usize],
                what: What::Row(input, row),
            };
            (of_rows[number][row as usize], event)
        }));
        let base = if slice.due.cut.is_some() {
            slice.bound.saturating_sub(1)
        } else {
            slice.bound
        };
        let mut bounds = vec![base; ids.len()];
        if slice.mode == Mode::LastRows {
            self.timers.index(&mut state.store)?;
            for &(place, event) in &events {
                bounds[place as usize] = event.time;
            }
            for (place, &id) in ids.iter().enumerate() {
                let key = state.encoded(id);
                let due = self.timers.of_key(&state.store, &key, bounds[place])?;
                events.extend(due.into_iter().map(|timer| (place as u32, Event::from(timer))));
            }
        }
        if slice.mode == Mode::Rows && slice.due.cut.is_some() {
            // Of the time at which timers were cut, some keys' are all there.
            for (place, event) in &events[..slice.due.len()] {
                bounds[*place as usize] = bounds[*place as usize].max(event.time);
            }
        }
        if events.len() > slice.rows() {
            events.sort_by_key(|(_, event)| (event.time, event.is_row()));
        }
        let (places, events) = events.into_iter().unzip();
        let round = Round { slice, ids, bounds };
        Ok((round, events, places))
    }

    /// How many of a key's next events a call takes. State whose time is over goes.
    pub(super) fn part(
        &mut self,
        round: &Round<'_>,
        place: u32,
        events: impl Iterator<Item = Event> + Clone,
        last_row: Option<LastRow>,
    ) -> Result<Part, Fault> {
        let bound = round.bounds[place as usize];
        let Some(last_row) = last_row else {
            return Ok(Part {
                len: events.count(),
                until: bound,
            });
        };
        let first = events.clone().next().expect("a key that is asked for has events");
        self.clear_expired(round, place, &first, last_row)?;
        let part = self.before_expiry(round.slice.mode, events, last_row);
        Ok(Part {
            until: bound.min(part.until),
            ..part
        })
    }

    /// When keys had their last rows, where a table's state goes by that.
    pub(super) fn last_rows(&self, ids: &[KeyId]) -> Option<Vec<LastRow>> {
        let state = self.state.borrow();
        let columns = state.values.gather(state.meta?, ids);
        let time = |column: &Column, row| match column.value(row) {
            Value::Int64(time) => Some(time),
            _ => None,
        };
        let rows = (0..ids.len()).map(|row| LastRow {
            event: time(&columns[meta::EVENT], row),
            processing: time(&columns[meta::PROCESSING], row),
        });
        Some(rows.collect())
    }
}
