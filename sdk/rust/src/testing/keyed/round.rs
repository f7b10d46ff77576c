//! What is due at a watermark, at a point in processing time or at the end, as calls: each a part of the events of every
//! key that has some.

use std::{collections::BTreeMap, rc::Rc};

use super::{Emitted, KeyedTest, Table, store::Shared};
use crate::{
    Failure, Timestamp,
    bindings::{
        keyed_operator as keyed,
        state_types::{TableKind, TimeDomain},
    },
    buffer::{self, Buffer, bit},
    keyed::KeyedOperator,
    port::Kind,
    state,
    testing::table::{self, Cells},
};

/// The rows and timers of a key that wait.
#[derive(Debug, Default)]
pub(super) struct KeyRows {
    /// By time, input and number.
    pub(super) rows: BTreeMap<(i64, usize, u64), Table>,
    /// By kind and tag.
    pub(super) timers: BTreeMap<(u32, i64), i64>,
    /// When it had its last row, in event time and in processing time.
    last: Option<(i64, i64)>,
}

/// What is handed on.
#[derive(Debug, Clone, Copy, PartialEq)]
pub(super) enum Mode {
    /// Rows before the watermark, timers up to it.
    Rows,
    /// The rows that are left, and the timers of their key up to the last of them.
    LastRows,
    /// The timers of processing time.
    Clock,
    /// All timers of a domain, once.
    End(TimeDomain),
}

/// In the order in which a key's events come.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord)]
enum What {
    Timer(u32, i64),
    Row(usize, u64),
}

type Event = (i64, What);

/// What an output row comes from: its time, its key, and the input and row of its batch.
type Origin = (i64, usize, Option<(usize, usize)>);

/// The events of a key in one call.
struct Part {
    key: Cells,
    events: Vec<Event>,
    until: i64,
}

impl<T: KeyedOperator> KeyedTest<T> {
    /// Hands on all that is due.
    pub(super) fn run(&mut self, mode: Mode) -> Result<(), Failure> {
        let bounds: BTreeMap<Cells, i64> = self
            .keys
            .iter()
            .filter_map(|(key, of)| Some((key.clone(), self.bound(mode, of)?)))
            .collect();
        loop {
            let parts: Vec<Part> = bounds
                .iter()
                .filter_map(|(key, bound)| self.part(mode, key, *bound))
                .collect();
            if parts.is_empty() {
                return Ok(());
            }
            self.call(mode, &parts)?;
        }
    }

    /// State whose time is over at the watermark goes.
    pub(super) fn expire(&mut self) {
        let watermark = self.watermark;
        let keys: Vec<Cells> = self.keys.keys().cloned().collect();
        for key in &keys {
            self.forget(key, watermark);
        }
    }

    /// Up to where a key's timers are handed on.
    fn bound(&self, mode: Mode, of: &KeyRows) -> Option<i64> {
        match mode {
            Mode::Rows => Some(self.watermark),
            Mode::LastRows => of.rows.last_key_value().map(|((time, ..), _)| *time),
            Mode::Clock => Some(self.processing_time),
            Mode::End(_) => Some(i64::MAX),
        }
    }

    fn domain(mode: Mode) -> TimeDomain {
        match mode {
            Mode::Rows | Mode::LastRows => TimeDomain::Event,
            Mode::Clock => TimeDomain::Processing,
            Mode::End(domain) => domain,
        }
    }

    /// The first events of a key that see the same state. State whose time is over before them goes.
    fn part(&mut self, mode: Mode, key: &Cells, bound: i64) -> Option<Part> {
        let of = &self.keys[key];
        let domain = Self::domain(mode);
        let due = of
            .timers
            .iter()
            .filter(|((kind, _), time)| **time <= bound && self.description.timers[*kind as usize].domain == domain);
        let mut events: Vec<Event> = due
            .map(|((kind, tag), time)| (*time, What::Timer(*kind, *tag)))
            .collect();
        if matches!(mode, Mode::Rows | Mode::LastRows) {
            let rows = of
                .rows
                .keys()
                .filter(|(time, ..)| mode == Mode::LastRows || *time < bound);
            events.extend(rows.map(|(time, input, number)| (*time, What::Row(*input, *number))));
        }
        events.sort();
        let first = events.first()?.0;
        let mut last = of.last;
        let event_time = |time: i64| {
            if domain == TimeDomain::Event {
                time
            } else {
                self.watermark
            }
        };
        let after = self.ttls(TimeDomain::Event).min();
        let end = |last: Option<(i64, i64)>| {
            last.map_or(i64::MIN, |(last, _)| last.saturating_add_unsigned(after.unwrap_or(0)))
        };
        let mut len = 0;
        for (time, what) in &events {
            if len > 0 && after.is_some() && event_time(*time) >= end(last) {
                break;
            }
            if matches!(what, What::Row(..)) {
                last = Some((last.map_or(*time, |(last, _)| last.max(*time)), self.processing_time));
            }
            len += 1;
        }
        events.truncate(len);
        let until = match mode {
            Mode::Rows | Mode::LastRows => bound,
            Mode::Clock => self.watermark,
            Mode::End(_) => i64::MIN,
        };
        let until = if after.is_some() {
            until.min(end(last).saturating_sub(1))
        } else {
            until
        };
        let first = event_time(first);
        self.forget(key, first);
        Some(Part {
            key: key.clone(),
            events,
            until,
        })
    }

    fn ttls(&self, domain: TimeDomain) -> impl Iterator<Item = u64> {
        let ttls = self.description.tables.iter().filter_map(|table| table.ttl.as_ref());
        ttls.filter(move |ttl| ttl.domain == domain).map(|ttl| ttl.after)
    }

    /// What an event at this time must not see goes.
    fn forget(&mut self, key: &Cells, now: i64) {
        let last = self.keys[key].last;
        for (number, table) in self.description.tables.iter().enumerate() {
            let Some(ttl) = &table.ttl else { continue };
            let over = match (ttl.domain, last) {
                (_, None) => true,
                (TimeDomain::Event, Some((last, _))) => now >= last.saturating_add_unsigned(ttl.after),
                (TimeDomain::Processing, Some((_, last))) => {
                    self.processing_time >= last.saturating_add_unsigned(ttl.after)
                }
            };
            if over {
                self.store.borrow_mut().clear(number, key);
            }
        }
    }

    fn call(&mut self, mode: Mode, parts: &[Part]) -> Result<(), Failure> {
        let mut batches: Vec<Table> = self.inputs.iter().map(|input| input.empty.clone()).collect();
        let mut events = keyed::Events {
            offsets: buffer::encode(&[0_u32]),
            source: Vec::new(),
            index: Vec::new(),
        };
        let mut timers = keyed::DueTimers {
            kind: Vec::new(),
            tag: Vec::new(),
            time: Vec::new(),
        };
        let mut origins = Vec::new();
        for (number, part) in parts.iter().enumerate() {
            for (time, what) in &part.events {
                match what {
                    What::Timer(kind, tag) => {
                        events.source.push(u8::MAX);
                        buffer::push(&mut events.index, (timers.kind.len() / 4) as u32);
                        buffer::push(&mut timers.kind, *kind);
                        buffer::push(&mut timers.tag, *tag);
                        buffer::push(&mut timers.time, *time);
                        origins.push((*time, number, None));
                    }
                    What::Row(input, pushed) => {
                        let row = self.keys[&part.key].rows[&(*time, *input, *pushed)].clone();
                        events.source.push(*input as u8);
                        buffer::push(&mut events.index, batches[*input].rows() as u32);
                        origins.push((*time, number, Some((*input, batches[*input].rows()))));
                        batches[*input].append(row);
                    }
                }
            }
            buffer::push(&mut events.offsets, origins.len() as u32);
        }
        if batches.len() == 1 && timers.kind.is_empty() {
            (events.source, events.index) = (Vec::new(), Vec::new());
        }
        let keys: Vec<Cells> = parts.iter().map(|part| part.key.clone()).collect();
        self.store.borrow_mut().keys.clone_from(&keys);
        let before = self.store.borrow().clone();
        let call = keyed::Call {
            keys: table::encode(&self.key.fields, keys.iter()),
            inputs: batches
                .iter()
                .zip(&self.description.inputs)
                .map(|(batch, requirement)| batch.batch(requirement))
                .collect(),
            timers,
            events,
            until: buffer::encode(&parts.iter().map(|part| part.until).collect::<Vec<_>>()),
            processing_time: self.processing_time,
            end_of_input: matches!(mode, Mode::End(_)),
            states: before.values(),
        };
        state::swap(Some(Box::new(Shared(Rc::clone(&self.store)))));
        let outputs = self.imports.during(|| self.operator.process(call));
        state::swap(None);
        let outputs = outputs.map_err(|failure| {
            *self.store.borrow_mut() = before;
            Failure::from_wit(failure)
        })?;
        self.consume(parts);
        self.apply(mode, parts, &outputs);
        for output in &outputs.outputs {
            self.emit(parts, &origins, &batches, output);
        }
        for reject in outputs.rejects {
            let (time, _, row) = origins[reject.row as usize];
            assert!(
                row.is_some(),
                "the operator rejected event {}, which is a timer",
                reject.row
            );
            self.rejects.push((Timestamp::from_micros(time), reject.message));
        }
        Ok(())
    }

    /// What was handed on no longer waits.
    fn consume(&mut self, parts: &[Part]) {
        let now = self.processing_time;
        for part in parts {
            let of = self.keys.get_mut(&part.key).expect("parts are of keys that were seen");
            for (time, what) in &part.events {
                match what {
                    What::Timer(kind, tag) => {
                        of.timers.remove(&(*kind, *tag));
                    }
                    What::Row(input, number) => {
                        of.rows.remove(&(*time, *input, *number));
                        of.last = Some((of.last.map_or(*time, |(last, _)| last.max(*time)), now));
                    }
                }
            }
        }
    }

    /// Takes over what the call changed in state and timers.
    fn apply(&mut self, mode: Mode, parts: &[Part], outputs: &keyed::Outputs) {
        let mut store = self.store.borrow_mut();
        for update in &outputs.updates {
            let kind = store.tables[update.table as usize].kind;
            assert!(
                matches!(kind, TableKind::Value | TableKind::ValueOnDemand),
                "the operator updated a table that holds no values"
            );
            store.apply(update);
        }
        for clear in &outputs.clears {
            for key in store.numbers(&clear.keys) {
                let key = store.keys[key as usize].clone();
                store.clear(clear.table as usize, &key);
            }
        }
        drop(store);
        let changes = &outputs.timers;
        let (key, kind) = (numbers::<u32>(&changes.key), numbers::<u32>(&changes.kind));
        let (tag, time) = (numbers::<i64>(&changes.tag), numbers::<i64>(&changes.time));
        for change in 0..key.len() {
            let part = &parts[key[change] as usize];
            let of = self.keys.get_mut(&part.key).expect("parts are of keys that were seen");
            let id = (kind[change], tag[change]);
            if bit(&changes.cancel, change) || matches!(mode, Mode::End(_)) {
                of.timers.remove(&id);
                continue;
            }
            let is_event = self.description.timers[id.0 as usize].domain == TimeDomain::Event;
            assert!(
                !is_event || time[change] > part.until,
                "the operator returned a timer that was due within the call"
            );
            of.timers.insert(id, time[change]);
        }
    }

    fn emit(&mut self, parts: &[Part], origins: &[Origin], batches: &[Table], output: &keyed::Output) {
        let port = &self.description.outputs[output.port as usize];
        let from: Vec<Origin> = match &output.origins {
            keyed::Origins::Events(events) => {
                let events = numbers::<u32>(events);
                events.iter().map(|event| origins[*event as usize]).collect()
            }
            keyed::Origins::Fired(fired) => {
                let (keys, times) = (numbers::<u32>(&fired.key), numbers::<i64>(&fired.time));
                let fired = keys.iter().zip(times);
                fired.map(|(key, time)| (time, *key as usize, None)).collect()
            }
        };
        let fields = &port.schema.fields;
        assert_eq!(
            fields.len(),
            output.columns.len(),
            "the operator gave another number of columns than it described"
        );
        let mut rows: Vec<Cells> = vec![Cells::new(); from.len()];
        for (field, column) in fields.iter().zip(&output.columns) {
            let computed = match column {
                keyed::OutputColumn::Computed(column) => {
                    table::decode(std::slice::from_ref(field), std::slice::from_ref(column), from.len())
                }
                keyed::OutputColumn::Key(_) | keyed::OutputColumn::Input(_) => Vec::new(),
            };
            for (at, (_, key, row)) in from.iter().enumerate() {
                let cell = match column {
                    keyed::OutputColumn::Computed(_) => computed[at][0].clone(),
                    keyed::OutputColumn::Key(column) => parts[*key].key[*column as usize].clone(),
                    keyed::OutputColumn::Input(column) => {
                        let (input, row) = row.expect("only a row has columns of the input");
                        batches[input].cells(&[*column as usize], row).remove(0)
                    }
                };
                rows[at].push(cell);
            }
        }
        for (at, ((time, key, _), row)) in from.into_iter().zip(rows).enumerate() {
            let kind = output.kinds.get(at).copied().and_then(Kind::from_byte);
            self.ported[output.port as usize].push(Emitted {
                time,
                key: parts[key].key.clone(),
                kind: kind.unwrap_or_default(),
                row,
            });
        }
    }
}

fn numbers<N: buffer::Plain>(bytes: &[u8]) -> Vec<N> {
    let buffer = Buffer::new(bytes.to_vec());
    buffer.values::<N>().expect("a buffer of numbers is whole").to_vec()
}
