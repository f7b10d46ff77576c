//! Finds the events at which a guest fails: first which key, then which of its events.
//!
//! A call of many keys that fails is repeated for each half of them. A key that fails alone gets its events a few at a
//! time, and in the end one by one: an event that fails with the state before it is refused, and leaves nothing behind. A
//! timer that a row sets is not fired in a call with that row alone, so each is judged for itself. What is found does not
//! depend on how events were cut into calls.

use wasmill_core::batch::{Batch, Hidden, Slot};
use wasmill_core::column::{Column, ColumnBuilder, Value};
use wasmill_core::fault::{Fault, GuestFault};
use wasmill_core::operator::Emit;
use wasmill_core::order::{Order, derived_place};
use wasmill_core::plan::OnFault;
use wasmill_core::schema::{DataType, Field, Schema};
use wasmill_core::transform::Reject;
use wasmill_core::watermark::RowWatermarks;
use wasmill_state::KeyId;

use super::KeyedOperator;
use super::calls::Piece;
use super::left::Lefts;
use super::slice::{Event, Mode, Round, What};
use super::timers::Timer;
use crate::dead_letters::{Kind, Refused};

/// How the guest failed, where that may be put down to events.
fn blamable(fault: &Fault) -> Option<GuestFault> {
    let guest = fault.guest.as_ref()?;
    (guest.kind.may_blame_rows() && guest.function != "open").then_some(guest.kind)
}

/// About the first `count` events, so that none of them is at the time of a timer after them: what they set for that time
/// has its place among those timers.
fn before_timers(events: &[Event], mut count: usize) -> &[Event] {
    if let Some(next) = events.get(count)
        && !next.is_row()
    {
        while count > 1 && events[count - 1].time >= next.time {
            count -= 1;
        }
    }
    &events[..count]
}

impl KeyedOperator {
    pub(super) fn call_or_blame(
        &mut self,
        round: &Round<'_>,
        pieces: &[Piece<'_>],
        left: &mut Lefts,
        out: &mut dyn Emit,
    ) -> Result<(), Fault> {
        // Stretches of pieces that were not tried yet; the first on top.
        let mut open = vec![pieces];
        while let Some(pieces) = open.pop() {
            let Err(fault) = self.call(round, pieces, left, out) else {
                continue;
            };
            if self.letters.on_fault == OnFault::Fail || blamable(&fault).is_none() {
                return Err(fault);
            }
            if let [piece] = pieces {
                self.one_by_one(round, piece, left, out)?;
            } else {
                let (first, second) = pieces.split_at(pieces.len() / 2);
                open.extend([second, first]);
            }
        }
        Ok(())
    }

    /// Hands all that is left of a key's events in the slice to the guest, as few at a time as it takes.
    fn one_by_one(
        &mut self,
        round: &Round<'_>,
        piece: &Piece<'_>,
        left: &mut Lefts,
        out: &mut dyn Emit,
    ) -> Result<(), Fault> {
        let place = piece.place;
        let id = round.ids[place as usize];
        left.entry(place).or_insert_with(|| round.left(place, piece.events));
        let mut size = piece.events.len().div_ceil(2);
        loop {
            let next: Vec<Event> = left[&place].events().take(size + 1).collect();
            if next.is_empty() {
                left.remove(&place);
                return Ok(());
            }
            let last_row = self.last_rows(&[id]).map(|rows| rows[0]);
            let part = self.part(round, place, next.iter().copied(), last_row)?;
            let own = before_timers(&next, part.len.min(size));
            let until = match (own, next.get(own.len())) {
                // What a single event sets is judged for itself, after it.
                ([event], _) if round.slice.mode != Mode::Clock => part.until.min(event.time.saturating_sub(1)),
                ([_], _) => i64::MIN,
                (_, Some(next)) => part.until.min(next.time.saturating_sub(i64::from(!next.is_row()))),
                (_, None) => part.until,
            };
            let attempt = Piece {
                place,
                events: own,
                until,
                is_last_try: own.len() == 1,
            };
            match self.call(round, &[attempt], left, out) {
                Ok(()) => size = 2 * own.len(),
                Err(fault) => {
                    let Some(kind) = blamable(&fault) else {
                        return Err(fault);
                    };
                    let &[event] = own else {
                        size = own.len() / 2;
                        continue;
                    };
                    self.drop_event(id, &event)?;
                    left.entry(place).and_modify(|left| left.take(&event));
                    self.refuse_event(round, id, &event, Kind::Fault(kind.name()), &fault.message, out)?;
                }
            }
        }
    }

    /// A timer that failed is pending no longer.
    fn drop_event(&mut self, id: KeyId, event: &Event) -> Result<(), Fault> {
        if let What::Timer(kind, tag) = event.what {
            let state = &mut *self.state.borrow_mut();
            let key = state.encoded(id);
            self.timers.cancel(&mut state.store, &key, kind, tag)?;
        }
        Ok(())
    }

    /// Makes a dead letter of an event, or what the policy says.
    pub(super) fn refuse_event(
        &mut self,
        round: &Round<'_>,
        id: KeyId,
        event: &Event,
        kind: Kind,
        message: &str,
        out: &mut dyn Emit,
    ) -> Result<(), Fault> {
        let reject = |row| {
            [Reject {
                row,
                message: message.to_owned(),
            }]
        };
        match event.what {
            What::Row(input, row) => {
                let refused = Refused {
                    batch: &round.slice.batches[usize::from(input)],
                    schema: &self.setup.inputs[usize::from(input)].schema,
                    plugin: Some(&self.setup.plugin),
                    kind,
                    rows: &reject(row),
                };
                self.letters.refuse(&refused, &mut self.counters, out)
            }
            What::Timer(name, tag) => {
                let timer = Timer {
                    time: event.time,
                    kind: name,
                    tag,
                };
                let (batch, schema) = self.timer_as_row(round.slice.mode, id, timer);
                let refused = Refused {
                    batch: &batch,
                    schema: &schema,
                    plugin: Some(&self.setup.plugin),
                    kind,
                    rows: &reject(0),
                };
                self.letters.refuse(&refused, &mut self.counters, out)
            }
        }
    }

    /// A timer as a row that a dead letter can quote: the key, then `timer`, `tag` and `due`.
    fn timer_as_row(&self, mode: Mode, id: KeyId, timer: Timer) -> (Batch, Schema) {
        let state = self.state.borrow();
        let (time, watermark) = self.time_of_timer(mode, timer.time);
        let mut place = Vec::new();
        derived_place(&self.setup.node, &state.encoded(id), time, 0, &mut place);
        place.extend(timer.kind.to_be_bytes());
        place.extend(timer.tag.to_be_bytes());
        let mut columns = state.values.keys().columns(&[id]);
        let mut name = ColumnBuilder::new(DataType::Utf8, 1);
        name.push(Value::Utf8(&self.setup.timer_names[timer.kind as usize]));
        columns.extend([
            name.finish(),
            Column::Int64(vec![timer.tag].into()),
            Column::Timestamp(vec![timer.time].into()),
        ]);
        let own = [
            ("timer", DataType::Utf8),
            ("tag", DataType::Int64),
            ("due", DataType::Timestamp),
        ];
        let mut fields = self.setup.key_fields.clone();
        for (name, data_type) in own {
            // A key column may have the name already.
            let mut name = name.to_owned();
            while fields.iter().any(|field| *field.name == *name) {
                name.push('_');
            }
            fields.push(Field::required(name, data_type));
        }
        let hidden = Hidden {
            times: vec![time].into(),
            watermarks: RowWatermarks::Constant(watermark),
            order: Some(Order::from_places([&place[..]].into_iter())),
            kinds: None,
        };
        let batch = Batch::new(columns.into_iter().map(Slot::Base).collect(), hidden);
        (batch, Schema::new(fields).expect("the names differ"))
    }
}
