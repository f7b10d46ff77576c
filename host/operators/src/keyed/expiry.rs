//! State that goes some time after its key's last row.
//!
//! A table with a TTL goes back to the initial state at the last row's t + after (or so long after the last row came, by
//! the clock): each event at or after that moment sees the initial state. It is rows that count, not writes: those would
//! depend on cuts. So an event after that moment leaves nothing behind for the next one but by a row.
//!
//! That state goes is decided when an event comes. To give back what nothing asks for any more, keys are also looked at
//! when their time is over.

use wasmill_core::column::{Column, Value};
use wasmill_core::fault::Fault;
use wasmill_core::key::{self, sortable_int};
use wasmill_core::keyed::TimeDomain;
use wasmill_core::operator::{Save, Step};
use wasmill_core::schema::DataType;
use wasmill_state::{Direction, KeyId, Span, Store};

use std::ops::ControlFlow;

use super::slice::{Event, LastRow, Mode, Part, Round};
use super::state::{KeyedState, meta};
use super::tables::{EXPIRY, NO_GROUP};
use super::timers::unsortable;
use super::{KeyedOperator, damaged};

/// Keys that are looked at in one turn.
const TURN_KEYS: usize = 4_096;

impl KeyedState {
    /// The least or the greatest TTL by a clock.
    fn after(&self, domain: TimeDomain, pick: impl Fn(u64, u64) -> u64) -> Option<u64> {
        let ttls = self.tables.iter().filter_map(|table| table.description.ttl);
        ttls.filter(|ttl| ttl.domain == domain)
            .map(|ttl| ttl.after.0)
            .reduce(pick)
    }
}

/// Whether state is over at `now`.
fn is_over(last: Option<i64>, after: u64, now: i64) -> bool {
    last.is_none_or(|last| now >= last.saturating_add_unsigned(after))
}

impl KeyedOperator {
    /// The event time of an event.
    fn event_time(&self, mode: Mode, event: &Event) -> i64 {
        match mode.domain() {
            TimeDomain::Event => event.time,
            TimeDomain::Processing => self.clock.done,
        }
    }

    pub(super) fn now(&self) -> i64 {
        self.clock.now.unwrap_or(0)
    }

    /// Takes away what an event that comes next must not see.
    pub(super) fn clear_expired(
        &mut self,
        round: &Round<'_>,
        place: u32,
        event: &Event,
        last_row: LastRow,
    ) -> Result<(), Fault> {
        let (time, now) = (self.event_time(round.slice.mode, event), self.now());
        let state = &mut *self.state.borrow_mut();
        for table in 0..state.tables.len() {
            let Some(ttl) = state.tables[table].description.ttl else {
                continue;
            };
            let over = match ttl.domain {
                TimeDomain::Event => is_over(last_row.event, ttl.after.0, time),
                TimeDomain::Processing => is_over(last_row.processing, ttl.after.0, now),
            };
            if over {
                state.clear(table, round.ids[place as usize])?;
            }
        }
        Ok(())
    }

    /// How many of a key's events see the state that the first one leaves.
    pub(super) fn before_expiry(&self, mode: Mode, events: impl Iterator<Item = Event>, last_row: LastRow) -> Part {
        let state = self.state.borrow();
        let by_rows = state.after(TimeDomain::Event, u64::min);
        let by_clock = state.after(TimeDomain::Processing, u64::min);
        let now_over = by_clock.is_some_and(|after| is_over(last_row.processing, after, self.now()));
        let end =
            |last: Option<i64>| by_rows.map(|after| last.map_or(i64::MIN, |last| last.saturating_add_unsigned(after)));
        let (mut last, mut has_row, mut len) = (last_row.event, false, 0);
        for event in events {
            let over = end(last).is_some_and(|end| self.event_time(mode, &event) >= end) || now_over && !has_row;
            if len > 0 && over {
                break;
            }
            if event.is_row() {
                last = last.max(Some(event.time));
                has_row = true;
            }
            len += 1;
        }
        let until = if now_over && !has_row {
            i64::MIN
        } else {
            end(last).map_or(i64::MAX, |end| end.saturating_sub(1))
        };
        Part { len, until }
    }

    /// Notes the last rows of keys of a call.
    pub(super) fn note_rows(&mut self, ids: &[KeyId], last: &[i64]) -> Result<(), Fault> {
        let now = self.now();
        let Some(before) = self.last_rows(ids) else {
            return Ok(());
        };
        let state = &mut *self.state.borrow_mut();
        let Some(table) = state.meta else {
            return Ok(());
        };
        let event = before
            .iter()
            .zip(last)
            .map(|(before, &last)| before.event.map_or(last, |before| before.max(last)));
        let event: Vec<i64> = event.collect();
        let ends = [
            state.after(TimeDomain::Event, u64::max),
            state.after(TimeDomain::Processing, u64::max),
        ];
        for (at, (before, &id)) in before.iter().zip(ids).enumerate() {
            let clocks = [
                (TimeDomain::Event, before.event, event[at]),
                (TimeDomain::Processing, before.processing, now),
            ];
            for (domain, before, last) in clocks {
                if let (Some(after), None) = (ends[domain as usize], before) {
                    let entry = entry_of(domain, last.saturating_add_unsigned(after), &state.encoded(id));
                    state.store.put(&entry, &[])?;
                    self.expiring[domain as usize] += 1;
                }
            }
        }
        let columns = [
            (meta::EVENT, Column::Int64(event.into())),
            (meta::PROCESSING, Column::Int64(vec![now; ids.len()].into())),
        ];
        state
            .values
            .scatter(table, ids, columns.iter().map(|(number, column)| (*number, column)));
        Ok(())
    }

    /// Gives back the state of keys whose time was over before `to`, some at a time.
    pub(super) fn expire(&mut self, domain: TimeDomain, to: i64) -> Result<Step, Fault> {
        if self.expiring[domain as usize] == 0 {
            return Ok(Step::Done);
        }
        let state = &mut *self.state.borrow_mut();
        let Some(table) = state.meta else {
            return Ok(Step::Done);
        };
        let mut entries: Vec<Vec<u8>> = Vec::new();
        state
            .store
            .scan(Span::Prefix(&head(domain)), Direction::Forwards, |entry, _| {
                if read(entry)?.0 > to || entries.len() == TURN_KEYS {
                    return Ok(ControlFlow::Break(()));
                }
                entries.push(entry.to_vec());
                Ok(ControlFlow::Continue(()))
            })?;
        state.values.begin();
        for entry in &entries {
            let (_, key) = read(entry)?;
            state.values.meet_encoded(&mut state.store, key)?;
        }
        let ids = state.values.met().to_vec();
        let columns = state.values.gather(table, &ids);
        let other = match domain {
            TimeDomain::Event => TimeDomain::Processing,
            TimeDomain::Processing => TimeDomain::Event,
        };
        let has_other = state.has_ttl(other);
        let after = state.after(domain, u64::max).unwrap_or(0);
        for (row, (entry, &id)) in entries.iter().zip(&ids).enumerate() {
            state.store.remove(entry)?;
            let (_, key) = read(entry)?;
            let end = match columns[column_of(domain)].value(row) {
                Value::Int64(last) => last.saturating_add_unsigned(after),
                _ => i64::MIN,
            };
            if end > to {
                state.store.put(&entry_of(domain, end, key), &[])?;
                continue;
            }
            self.expiring[domain as usize] -= 1;
            for number in 0..state.tables.len() {
                let ttl = state.tables[number].description.ttl;
                if ttl.is_some_and(|ttl| ttl.domain == domain) {
                    state.clear(number, id)?;
                }
            }
            if has_other && !columns[column_of(other)].is_null(row) {
                let none = Column::nulls_of(DataType::Int64, 1);
                state.values.scatter(table, &[id], [(column_of(domain), &none)]);
            } else {
                state.values.clear(table, &[id]);
            }
        }
        Ok(if entries.len() == TURN_KEYS {
            Step::More
        } else {
            Step::Done
        })
    }

    pub(super) fn save_expiry(&self, store: &Store, out: &mut dyn Save) -> Result<(), Fault> {
        let groups = self.groups;
        for domain in [TimeDomain::Event, TimeDomain::Processing] {
            if self.expiring[domain as usize] > 0 {
                store.scan(Span::Prefix(&head(domain)), Direction::Forwards, |entry, _| {
                    let (_, key) = read(entry)?;
                    out.entry(key::group(key::hash(key), groups), &entry[NO_GROUP.len()..], &[])?;
                    Ok(ControlFlow::Continue(()))
                })?;
            }
        }
        Ok(())
    }

    pub(super) fn load_expiry(&mut self, key: &[u8]) -> Result<(), Fault> {
        let domain = *key.get(1).filter(|domain| **domain < 2).ok_or_else(damaged)?;
        let entry = [&NO_GROUP[..], key].concat();
        read(&entry)?;
        self.state.borrow_mut().store.put(&entry, &[])?;
        self.expiring[usize::from(domain)] += 1;
        Ok(())
    }
}

fn column_of(domain: TimeDomain) -> usize {
    match domain {
        TimeDomain::Event => meta::EVENT,
        TimeDomain::Processing => meta::PROCESSING,
    }
}

fn head(domain: TimeDomain) -> [u8; 4] {
    [NO_GROUP[0], NO_GROUP[1], EXPIRY, domain as u8]
}

fn entry_of(domain: TimeDomain, time: i64, key: &[u8]) -> Vec<u8> {
    let mut entry = head(domain).to_vec();
    entry.extend(sortable_int(time));
    entry.extend_from_slice(key);
    entry
}

fn read(entry: &[u8]) -> Result<(i64, &[u8]), Fault> {
    let (time, key) = entry
        .get(4..)
        .and_then(<[u8]>::split_first_chunk::<8>)
        .ok_or_else(damaged)?;
    Ok((unsortable(*time), key))
}
