//! What a guest returned, as batches: each row has the event time, the watermark and the place of what it comes from.
//!
//! A row that comes from a row has that one's t, and W = t where rows are taken in event-time order, else that one's W; its
//! place is a child's. A row that comes from a timer has t = W = the timer's time and a place of (node, key, time, index).
//! Children are numbered by event and port, timers' rows by (key, time, port): so numbers do not depend on cuts. Rows at
//! one time can come in several calls, so what was numbered is kept while more of that time may come.

use std::collections::HashMap;
use std::ops::{Bound, ControlFlow};

use wasmill_core::batch::{Batch, Hidden, Slot};
use wasmill_core::column::Column;
use wasmill_core::fault::Fault;
use wasmill_core::key::{self, sortable_int};
use wasmill_core::keyed::{KeyedColumn, KeyedOutput, Origins, TimeDomain};
use wasmill_core::operator::Save;
use wasmill_core::order::{Order, derived_place};
use wasmill_core::plan::RowOrder;
use wasmill_core::watermark::RowWatermarks;
use wasmill_state::{Direction, Span, Store};

use super::calls::Made;
use super::slice::{Event, Mode, Round, What};
use super::tables::{NO_GROUP, PLACES};
use super::{KeyedOperator, damaged};

/// The start of an entry of [`PLACES`]; then the time, the key and the port.
const HEAD: [u8; 3] = [NO_GROUP[0], NO_GROUP[1], PLACES];
const PORT_BYTES: usize = 4;

/// Numbers for rows of one call.
#[derive(Debug)]
struct Numbers {
    /// By port, then by event; empty for a port that has none yet.
    children: Vec<Vec<u32>>,
    /// By port, key and time.
    timers: HashMap<(usize, u32, i64), u32>,
}

impl KeyedOperator {
    /// t and W of what comes from a timer.
    pub(super) fn time_of_timer(&self, mode: Mode, due: i64) -> (i64, i64) {
        match mode.domain() {
            TimeDomain::Event => (due, due.max(self.clock.done)),
            TimeDomain::Processing => {
                let time = self.clock.latest.max(self.clock.done);
                (time, time)
            }
        }
    }

    /// The batches of a call's outputs, with their ports.
    pub(super) fn outputs(
        &mut self,
        round: &Round<'_>,
        made: &Made,
        outputs: Vec<KeyedOutput>,
    ) -> Result<Vec<(usize, Batch)>, Fault> {
        let mut numbers = Numbers {
            children: vec![Vec::new(); self.setup.outputs.len()],
            timers: HashMap::new(),
        };
        let mut batches = Vec::with_capacity(outputs.len());
        for output in outputs {
            let rows = match &output.origins {
                Origins::Events(events) => events.len(),
                Origins::Fired { key, .. } => key.len(),
            };
            if rows > 0 {
                let port = output.port;
                batches.push((port, self.output(round, made, output, &mut numbers)?));
            }
        }
        self.keep_places(made, &numbers)?;
        Ok(batches)
    }

    fn output(
        &mut self,
        round: &Round<'_>,
        made: &Made,
        output: KeyedOutput,
        numbers: &mut Numbers,
    ) -> Result<Batch, Fault> {
        let port = &self.setup.outputs[output.port];
        debug_assert_eq!(output.columns.len(), port.columns, "a column for each of the port's");
        let wants_order = port.order;
        let mut keys = Vec::new();
        let (mut times, mut watermarks) = (Vec::new(), Vec::new());
        let (mut places, mut ends) = (Vec::new(), Vec::new());
        let mut own_rows: Vec<(u8, u32)> = Vec::new();
        match &output.origins {
            Origins::Events(numbers_of_events) => {
                for &number in numbers_of_events {
                    let (key, event) = made.events[number as usize];
                    keys.push(key);
                    let (time, watermark) = self.time_of(round, &event);
                    times.push(time);
                    watermarks.push(watermark);
                    if let What::Row(input, row) = event.what {
                        own_rows.push((input, row));
                    }
                    if !wants_order {
                        continue;
                    }
                    match event.what {
                        What::Row(input, row) => {
                            let batch = &round.slice.batches[usize::from(input)];
                            if let Some(order) = &batch.hidden().order {
                                order.write(batch.base_row(row as usize), &mut places);
                            }
                            let children = &mut numbers.children[output.port];
                            children.resize(made.events.len(), 0);
                            let child = &mut children[number as usize];
                            places.extend(child.to_be_bytes());
                            *child += 1;
                        }
                        What::Timer(..) => self.write_place(made, output.port, key, time, numbers, &mut places)?,
                    }
                    ends.push(places.len());
                }
            }
            Origins::Fired { key, time } => {
                for (&key, &due) in key.iter().zip(time) {
                    keys.push(key);
                    let (time, watermark) = (due, due.max(self.clock.done));
                    times.push(time);
                    watermarks.push(watermark);
                    if wants_order {
                        self.write_place(made, output.port, key, time, numbers, &mut places)?;
                        ends.push(places.len());
                    }
                }
            }
        }
        let slots = output.columns.into_iter().map(|column| match column {
            KeyedColumn::Computed(column) => Slot::Base(column),
            KeyedColumn::Key(column) => Slot::Base(made.key_columns[column].gather(&keys)),
            KeyedColumn::Input(column) => input_column(round, column, &own_rows),
            KeyedColumn::Absent => Slot::Absent,
        });
        let slots = slots.collect();
        let order = wants_order.then(|| {
            let starts = std::iter::once(0).chain(ends.iter().copied());
            let places: Vec<&[u8]> = starts.zip(&ends).map(|(start, &end)| &places[start..end]).collect();
            Order::from_places(places.into_iter())
        });
        let hidden = Hidden {
            watermarks: RowWatermarks::from_values(&watermarks),
            times: times.into(),
            order,
            kinds: (!output.kinds.is_empty()).then(|| output.kinds.into()),
        };
        Ok(Batch::new(slots, hidden))
    }

    /// t and W of what comes from an event.
    fn time_of(&self, round: &Round<'_>, event: &Event) -> (i64, i64) {
        match (event.what, self.setup.order) {
            (What::Row(..), RowOrder::EventTime) => (event.time, event.time),
            (What::Row(input, row), RowOrder::Arrival) => {
                let batch = &round.slice.batches[usize::from(input)];
                let watermark = batch.hidden().watermarks.at(batch.base_row(row as usize));
                (event.time, watermark)
            }
            (What::Timer(..), _) => self.time_of_timer(round.slice.mode, event.time),
        }
    }

    /// Appends the place of a row that comes from a timer.
    fn write_place(
        &self,
        made: &Made,
        port: usize,
        key: u32,
        time: i64,
        numbers: &mut Numbers,
        out: &mut Vec<u8>,
    ) -> Result<(), Fault> {
        let encoded = &made.encoded[key as usize];
        let number = match numbers.timers.entry((port, key, time)) {
            std::collections::hash_map::Entry::Occupied(entry) => entry.into_mut(),
            std::collections::hash_map::Entry::Vacant(entry) => entry.insert(self.kept_place(time, encoded, port)?),
        };
        derived_place(&self.setup.node, encoded, time, *number, out);
        *number += 1;
        Ok(())
    }

    fn kept_place(&self, time: i64, key: &[u8], port: usize) -> Result<u32, Fault> {
        if self.places == 0 {
            return Ok(0);
        }
        let state = self.state.borrow();
        let kept = state.store.get(&place_entry(time, key, port), |value| {
            value.try_into().map(u32::from_be_bytes).map_err(|_| damaged())
        })?;
        kept.unwrap_or(Ok(0))
    }

    /// Keeps the numbers of times of which more may come.
    fn keep_places(&mut self, made: &Made, numbers: &Numbers) -> Result<(), Fault> {
        let store = &mut self.state.borrow_mut().store;
        for (&(port, key, time), number) in &numbers.timers {
            if time < made.until[key as usize] {
                continue;
            }
            let entry = place_entry(time, &made.encoded[key as usize], port);
            if store.get(&entry, |_| ())?.is_none() {
                self.places += 1;
            }
            store.put(&entry, &number.to_be_bytes())?;
        }
        Ok(())
    }

    /// Forgets the numbers of times that are over.
    pub(super) fn forget_places(&mut self) -> Result<(), Fault> {
        if self.places == 0 {
            return Ok(());
        }
        let store = &mut self.state.borrow_mut().store;
        let mut end = HEAD.to_vec();
        end.extend(sortable_int(self.clock.done));
        let over = Span::Between(Bound::Included(&HEAD), Bound::Excluded(&end));
        let mut count = 0;
        store.scan(over, Direction::Forwards, |_, _| {
            count += 1;
            Ok(ControlFlow::Continue(()))
        })?;
        if count > 0 {
            store.remove_range(over)?;
            self.places -= count;
        }
        Ok(())
    }

    pub(super) fn save_places(&self, store: &Store, out: &mut dyn Save) -> Result<(), Fault> {
        if self.places == 0 {
            return Ok(());
        }
        store.scan(Span::Prefix(&HEAD), Direction::Forwards, |entry, value| {
            let key = entry
                .get(HEAD.len() + 8..entry.len() - PORT_BYTES)
                .ok_or_else(damaged)?;
            out.entry(key::group(key::hash(key), self.groups), &entry[NO_GROUP.len()..], value)?;
            Ok(ControlFlow::Continue(()))
        })
    }

    pub(super) fn load_place(&mut self, key: &[u8], value: &[u8]) -> Result<(), Fault> {
        if key.len() < 1 + 8 + PORT_BYTES || value.len() != 4 {
            return Err(damaged());
        }
        let entry = [&NO_GROUP[..], key].concat();
        self.state.borrow_mut().store.put(&entry, value)?;
        self.places += 1;
        Ok(())
    }
}

fn place_entry(time: i64, key: &[u8], port: usize) -> Vec<u8> {
    let mut entry = HEAD.to_vec();
    entry.extend(sortable_int(time));
    entry.extend_from_slice(key);
    entry.extend((port as u32).to_be_bytes());
    entry
}

/// A column of the input whose rows the origins are.
fn input_column(round: &Round<'_>, column: usize, rows: &[(u8, u32)]) -> Slot {
    let Some(&(input, _)) = rows.first() else {
        return Slot::Absent;
    };
    let batch = &round.slice.batches[usize::from(input)];
    let gather = |values: &Column, base: bool| {
        let rows = rows
            .iter()
            .map(|&(_, row)| if base { batch.base_row(row as usize) as u32 } else { row });
        values.gather(&rows.collect::<Vec<_>>())
    };
    match &batch.slots()[column] {
        Slot::Absent => Slot::Absent,
        Slot::Base(values) => Slot::Base(gather(values, true)),
        Slot::Dense(values) => Slot::Base(gather(values, false)),
    }
}
