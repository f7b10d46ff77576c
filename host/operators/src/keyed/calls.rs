//! Calls of the guest: how events become one, and how what it returned takes effect.

use std::collections::HashMap;

use wasmill_core::batch::Batch;
use wasmill_core::column::Column;
use wasmill_core::fault::{Domain, Fault, GuestDetail, GuestFault};
use wasmill_core::keyed::{
    DueTimers, Events, KeyedCall, KeyedOutputs, KeysOf, Origins, StateAccess, TIMER_SOURCE, TableKind, TimeDomain,
    Update,
};
use wasmill_core::operator::Emit;
use wasmill_core::time::Timestamp;
use wasmill_core::transform::Reject;
use wasmill_state::KeyId;

use super::KeyedOperator;
use super::left::{self, Lefts};
use super::slice::{Event, Mode, Round, What};
use super::state::KeyedState;
use super::timers::Timer;
use crate::dead_letters::Kind;

/// Events of a key for one call.
#[derive(Clone, Copy, Debug)]
pub(super) struct Piece<'e> {
    /// The key's number in the round.
    pub(super) place: u32,
    pub(super) events: &'e [Event],
    /// Event-time timers that the guest sets at or before it, it fires itself.
    pub(super) until: i64,
    /// It is one event, which is refused where the call fails.
    pub(super) is_last_try: bool,
}

/// A call as it was made.
#[derive(Debug)]
pub(super) struct Made {
    /// The keys' numbers in the round.
    pub(super) places: Vec<u32>,
    pub(super) ids: Vec<KeyId>,
    pub(super) key_columns: Vec<Column>,
    /// Canonical bytes of the keys, made when they are asked for.
    pub(super) encoded: Vec<Vec<u8>>,
    /// The key and the event.
    pub(super) events: Vec<(u32, Event)>,
    pub(super) until: Vec<i64>,
}

/// Timers of a key that were set by timers for the time that had come.
#[derive(Clone, Copy, Debug)]
pub(super) struct Chain {
    pub(super) time: i64,
    len: u32,
}

impl KeyedOperator {
    /// Hands pieces of different keys to the guest, as many in a call as their state allows.
    pub(super) fn run(
        &mut self,
        round: &Round<'_>,
        pieces: &[Piece<'_>],
        left: &mut Lefts,
        out: &mut dyn Emit,
    ) -> Result<(), Fault> {
        let mut from = 0;
        while from < pieces.len() {
            let to = from + self.fitting(round, &pieces[from..]);
            self.call_or_blame(round, &pieces[from..to], left, out)?;
            from = to;
        }
        Ok(())
    }

    /// How many pieces have state that fits into a call, at least one.
    fn fitting(&self, round: &Round<'_>, pieces: &[Piece<'_>]) -> usize {
        let state = self.state.borrow();
        let tables = state.tables.iter().filter(|table| table.value.is_some()).count();
        if tables == 0 {
            return pieces.len();
        }
        let mut bytes = 0;
        let fits = pieces.iter().take_while(|piece| {
            let id = round.ids[piece.place as usize];
            bytes += (0..tables)
                .map(|table| state.values.row_bytes(table, id))
                .sum::<usize>();
            bytes <= self.setup.limits.state_bytes
        });
        fits.count().max(1)
    }

    /// Makes a call; what it returned takes effect.
    pub(super) fn call(
        &mut self,
        round: &Round<'_>,
        pieces: &[Piece<'_>],
        left: &mut Lefts,
        out: &mut dyn Emit,
    ) -> Result<(), Fault> {
        let (made, call) = self.make(round, pieces);
        let outputs = self.guest.process(&call);
        let outputs = match outputs {
            Ok(outputs) => self.check(round, &made, &outputs).map(|()| outputs),
            Err(fault) => Err(fault),
        };
        match outputs {
            Ok(outputs) => self.apply(round, made, outputs, left, out),
            Err(fault) => {
                self.state.borrow_mut().begin();
                Err(fault)
            }
        }
    }

    fn make(&self, round: &Round<'_>, pieces: &[Piece<'_>]) -> (Made, KeyedCall) {
        let mut state = self.state.borrow_mut();
        let ids: Vec<KeyId> = pieces.iter().map(|piece| round.ids[piece.place as usize]).collect();
        state.begin();
        state.call.clone_from(&ids);
        let count = pieces.iter().map(|piece| piece.events.len()).sum();
        let mut events = Vec::with_capacity(count);
        let mut own = Events {
            offsets: Vec::with_capacity(ids.len() + 1),
            source: Vec::with_capacity(count),
            index: Vec::with_capacity(count),
        };
        let mut timers = DueTimers::default();
        own.offsets.push(0);
        for (key, piece) in pieces.iter().enumerate() {
            for event in piece.events {
                events.push((key as u32, *event));
                match event.what {
                    What::Row(input, row) => {
                        own.source.push(input);
                        own.index.push(row);
                    }
                    What::Timer(kind, tag) => {
                        own.source.push(TIMER_SOURCE);
                        own.index.push(timers.kind.len() as u32);
                        timers.kind.push(kind);
                        timers.tag.push(tag);
                        timers.time.push(event.time);
                    }
                }
            }
            own.offsets.push(events.len() as u32);
        }
        let inputs = if count - timers.kind.len() == round.slice.rows() {
            round.slice.batches.clone()
        } else {
            round
                .slice
                .batches
                .iter()
                .enumerate()
                .map(|(input, batch)| narrow(batch, input as u8, &mut own))
                .collect()
        };
        let value_tables = state.tables.iter().filter_map(|table| table.value);
        let until: Vec<i64> = pieces.iter().map(|piece| piece.until).collect();
        let key_columns = state.values.keys().columns(&ids);
        let call = KeyedCall {
            keys: key_columns.clone(),
            inputs,
            timers,
            events: own,
            until: until.clone(),
            processing_time: self.clock.now.unwrap_or(0),
            end_of_input: matches!(round.slice.mode, Mode::End(_)),
            is_last_try: matches!(pieces, [piece] if piece.is_last_try),
            states: value_tables.map(|table| state.values.gather(table, &ids)).collect(),
        };
        let made = Made {
            places: pieces.iter().map(|piece| piece.place).collect(),
            ids,
            key_columns,
            encoded: Vec::new(),
            events,
            until,
        };
        (made, call)
    }

    /// What the component cannot know: that returned timers are later than what the guest fires itself, and that timers
    /// come to an end.
    fn check(&self, round: &Round<'_>, made: &Made, outputs: &KeyedOutputs) -> Result<(), Fault> {
        let broken = |message| {
            let mut fault = Fault::fatal(Domain::User, message);
            fault.guest = Some(Box::new(GuestDetail {
                kind: GuestFault::Contract,
                plugin: self.setup.plugin.clone(),
                function: "process",
                row: None,
                rows: round.slice.rows() as u32,
                backtrace: Vec::new(),
            }));
            fault
        };
        let early = outputs.timers.iter().find(|change| {
            let domain = self.timers.domain(change.kind);
            domain == Some(TimeDomain::Event) && change.time.is_some_and(|time| time <= made.until[change.key as usize])
        });
        if let Some(change) = early {
            return Err(broken(format!(
                "returned a timer for {}, which is not after the {} until which it fires timers itself",
                Timestamp(change.time.unwrap_or(i64::MIN)),
                Timestamp(made.until[change.key as usize]),
            )));
        }
        let chains = self.chains(round.slice.mode, made, outputs);
        let endless = chains.values().find(|chain| chain.len > self.setup.limits.timer_chain);
        endless.map_or(Ok(()), |chain| {
            Err(broken(format!(
                "set a timer for {}, when it was handling a timer of that time: the limit of {} such timers one after the \
                 other for a key was reached",
                Timestamp(chain.time),
                self.setup.limits.timer_chain
            )))
        })
    }

    /// How many timers were set by timers for a time that had come already, the call's included, for each key whose
    /// timers did so.
    fn chains(&self, mode: Mode, made: &Made, outputs: &KeyedOutputs) -> HashMap<Vec<u8>, Chain> {
        let mut chains: HashMap<Vec<u8>, Chain> = HashMap::new();
        for change in &outputs.timers {
            let (Some(set_for), Some(domain)) = (change.time, self.timers.domain(change.kind)) else {
                continue;
            };
            if domain != mode.domain() || matches!(mode, Mode::End(_)) {
                continue;
            }
            let handled = made.events.partition_point(|(key, _)| *key <= change.key);
            let Some((_, last)) = made.events[..handled].last() else {
                continue;
            };
            let time = if mode == Mode::Clock { self.now() } else { last.time };
            if last.is_row() || set_for > time {
                continue;
            }
            let key = self.state.borrow().encoded(made.ids[change.key as usize]);
            let chain = chains.entry(key).or_insert_with_key(|key| {
                let before = self.chains.get(key).filter(|chain| chain.time == time);
                before.copied().unwrap_or(Chain { time, len: 0 })
            });
            chain.len += 1;
        }
        chains
    }

    fn apply(
        &mut self,
        round: &Round<'_>,
        mut made: Made,
        outputs: KeyedOutputs,
        left: &mut Lefts,
        out: &mut dyn Emit,
    ) -> Result<(), Fault> {
        {
            let state = &mut *self.state.borrow_mut();
            for update in &outputs.updates {
                state.update(&made.ids, update)?;
            }
            state.commit()?;
            for clear in &outputs.clears {
                match &clear.keys {
                    KeysOf::All => made.ids.iter().try_for_each(|&id| state.clear(clear.table, id))?,
                    KeysOf::Some(keys) => {
                        keys.iter()
                            .try_for_each(|&key| state.clear(clear.table, made.ids[key as usize]))?;
                    }
                }
            }
            let has_timers = made.events.iter().any(|(_, event)| !event.is_row());
            let has_fired = outputs
                .outputs
                .iter()
                .any(|output| matches!(output.origins, Origins::Fired { .. }));
            if has_timers || has_fired || !outputs.timers.is_empty() {
                made.encoded = made.ids.iter().map(|&id| state.encoded(id)).collect();
            }
        }
        if !outputs.timers.is_empty() {
            let chains = self.chains(round.slice.mode, &made, &outputs);
            self.chains.extend(chains);
        }
        self.apply_timers(round, &made, &outputs)?;
        left::note(left, &made, &outputs, &self.timers, round.slice.mode);
        self.apply_rows(&made)?;
        for (port, batch) in self.outputs(round, &made, outputs.outputs)? {
            self.counters.rows_out += batch.rows() as u64;
            out.emit(port, batch);
        }
        self.refuse_events(round, &made, &outputs.rejects, out)
    }

    fn apply_timers(&mut self, round: &Round<'_>, made: &Made, outputs: &KeyedOutputs) -> Result<(), Fault> {
        let store = &mut self.state.borrow_mut().store;
        for (key, event) in &made.events {
            if let What::Timer(kind, tag) = event.what {
                self.timers.cancel(store, &made.encoded[*key as usize], kind, tag)?;
                self.timer_counters.fired += 1;
            }
        }
        for change in &outputs.timers {
            let key = &made.encoded[change.key as usize];
            match change.time {
                Some(time) if !matches!(round.slice.mode, Mode::End(_)) => {
                    let timer = Timer {
                        time,
                        kind: change.kind,
                        tag: change.tag,
                    };
                    self.timers.set(store, key, timer)?;
                }
                Some(_) => {
                    self.timers.cancel(store, key, change.kind, change.tag)?;
                    self.timer_counters.discarded += 1;
                }
                None => {
                    self.timers.cancel(store, key, change.kind, change.tag)?;
                }
            }
        }
        Ok(())
    }

    /// Notes when keys had their last rows.
    fn apply_rows(&mut self, made: &Made) -> Result<(), Fault> {
        if self.state.borrow().meta.is_none() {
            return Ok(());
        }
        let (mut ids, mut last): (Vec<KeyId>, Vec<i64>) = (Vec::new(), Vec::new());
        for (key, event) in &made.events {
            if !event.is_row() {
                continue;
            }
            let id = made.ids[*key as usize];
            if ids.last() == Some(&id) {
                let last = last.last_mut().expect("a time for each id");
                *last = event.time.max(*last);
            } else {
                ids.push(id);
                last.push(event.time);
            }
        }
        self.note_rows(&ids, &last)
    }

    fn refuse_events(
        &mut self,
        round: &Round<'_>,
        made: &Made,
        rejects: &[Reject],
        out: &mut dyn Emit,
    ) -> Result<(), Fault> {
        for reject in rejects {
            let (key, event) = made.events[reject.row as usize];
            self.refuse_event(
                round,
                made.ids[key as usize],
                &event,
                Kind::Rejected,
                &reject.message,
                out,
            )?;
        }
        Ok(())
    }
}

impl KeyedState {
    /// Sets columns of a table of a value kind.
    fn update(&mut self, call: &[KeyId], update: &Update) -> Result<(), Fault> {
        if self.tables[update.table].description.kind == TableKind::ValueOnDemand {
            let all: Vec<u32>;
            let keys = match &update.keys {
                KeysOf::All => {
                    all = (0..call.len() as u32).collect();
                    &all
                }
                KeysOf::Some(keys) => keys,
            };
            return self.put(update.table, keys, &update.columns);
        }
        let Some(table) = self.tables[update.table].value else {
            return Err(Fault::fatal(
                Domain::Internal,
                "an update of a table that is no value table",
            ));
        };
        let columns = update.columns.iter().map(|(number, column)| (*number, column));
        match &update.keys {
            KeysOf::All => self.values.scatter(table, call, columns),
            KeysOf::Some(keys) => {
                let ids: Vec<KeyId> = keys.iter().map(|&key| call[key as usize]).collect();
                self.values.scatter(table, &ids, columns);
            }
        }
        Ok(())
    }
}

/// The rows of a batch that are in the events, which are numbered anew.
fn narrow(batch: &Batch, input: u8, events: &mut Events) -> Batch {
    let of_input = || {
        events
            .source
            .iter()
            .zip(&events.index)
            .filter(|(source, _)| **source == input)
    };
    let mut rows: Vec<u32> = of_input().map(|(_, &row)| row).collect();
    if rows.len() == batch.rows() {
        return batch.clone();
    }
    rows.sort_unstable();
    let mut rank = vec![0_u32; batch.rows()];
    for (at, &row) in rows.iter().enumerate() {
        rank[row as usize] = at as u32;
    }
    for (source, index) in events.source.iter().zip(&mut events.index) {
        if *source == input {
            *index = rank[*index as usize];
        }
    }
    batch.select(&rows)
}
