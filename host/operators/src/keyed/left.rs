//! What is left of a key's events in a slice while parts of them take effect: rows that were not taken yet, and timers that
//! are due, with those that are set meanwhile. All of it is known without the store, so no event is looked for twice.

use std::collections::{BTreeMap, BTreeSet, HashMap};

use wasmill_core::keyed::KeyedOutputs;

use super::calls::Made;
use super::slice::{Event, Mode, What};
use super::timers::{Timer, Timers};

/// The keys of a slice that take more than one call, by their numbers in the round.
pub(super) type Lefts = BTreeMap<u32, Left>;

/// What is left of the events of one key.
#[derive(Debug)]
pub(super) struct Left {
    rows: Vec<Event>,
    /// How many rows were taken.
    taken: usize,
    timers: BTreeSet<Timer>,
    /// When timers are due, by kind and tag.
    times: HashMap<(u32, i64), i64>,
    /// Timers that are set for a time at or before it belong to the slice.
    to: i64,
}

impl Left {
    /// All events of a key in a slice.
    pub(super) fn new(events: &[Event], to: i64) -> Self {
        let mut left = Self {
            rows: Vec::new(),
            taken: 0,
            timers: BTreeSet::new(),
            times: HashMap::new(),
            to,
        };
        for event in events {
            match event.what {
                What::Row(..) => left.rows.push(*event),
                What::Timer(kind, tag) => left.set(Timer {
                    time: event.time,
                    kind,
                    tag,
                }),
            }
        }
        left
    }

    pub(super) fn is_empty(&self) -> bool {
        self.taken == self.rows.len() && self.timers.is_empty()
    }

    /// The events in their order: by time, timers before rows.
    pub(super) fn events(&self) -> impl Iterator<Item = Event> + Clone {
        let mut rows = self.rows[self.taken..].iter().copied().peekable();
        let mut timers = self.timers.iter().copied().peekable();
        std::iter::from_fn(move || {
            let is_timer = match (timers.peek(), rows.peek()) {
                (Some(timer), Some(row)) => timer.time <= row.time,
                (timer, _) => timer.is_some(),
            };
            if is_timer {
                timers.next().map(Event::from)
            } else {
                rows.next()
            }
        })
    }

    /// The event took effect, or was refused. Rows are taken in their order.
    pub(super) fn take(&mut self, event: &Event) {
        match event.what {
            What::Row(..) => self.taken += 1,
            What::Timer(kind, tag) => self.cancel(kind, tag),
        }
    }

    fn set(&mut self, timer: Timer) {
        self.cancel(timer.kind, timer.tag);
        if timer.time <= self.to {
            self.timers.insert(timer);
            self.times.insert((timer.kind, timer.tag), timer.time);
        }
    }

    fn cancel(&mut self, kind: u32, tag: i64) {
        if let Some(time) = self.times.remove(&(kind, tag)) {
            self.timers.remove(&Timer { time, kind, tag });
        }
    }
}

/// Notes what a call of a slice took and changed.
pub(super) fn note(lefts: &mut Lefts, made: &Made, outputs: &KeyedOutputs, timers: &Timers, mode: Mode) {
    if lefts.is_empty() {
        return;
    }
    for (key, event) in &made.events {
        if let Some(left) = lefts.get_mut(&made.places[*key as usize]) {
            left.take(event);
        }
    }
    for change in &outputs.timers {
        let Some(left) = lefts.get_mut(&made.places[change.key as usize]) else {
            continue;
        };
        if timers.domain(change.kind) != Some(mode.domain()) {
            continue;
        }
        let (kind, tag) = (change.kind, change.tag);
        match change.time {
            Some(time) if !matches!(mode, Mode::End(_)) => left.set(Timer { time, kind, tag }),
            _ => left.cancel(kind, tag),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn row(time: i64, number: u32) -> Event {
        Event {
            time,
            what: What::Row(0, number),
        }
    }

    fn timer(time: i64, tag: i64) -> Event {
        Event {
            time,
            what: What::Timer(0, tag),
        }
    }

    #[test]
    fn timers_that_are_set_take_their_place_and_replaced_ones_go() {
        let mut left = Left::new(&[timer(5, 1), row(5, 0), timer(9, 2), row(9, 1)], 9);
        left.take(&timer(5, 1));
        for (tag, time) in [(3, 7), (2, 8), (1, 10), (4, 9)] {
            left.set(Timer { time, kind: 0, tag });
        }
        left.cancel(0, 3);
        assert_eq!(
            left.events().collect::<Vec<_>>(),
            [row(5, 0), timer(8, 2), timer(9, 4), row(9, 1)]
        );
        for event in left.events().collect::<Vec<_>>() {
            assert!(!left.is_empty());
            left.take(&event);
        }
        assert!(left.is_empty());
    }
}
