//! Drops repeated rows: of each key the first row by event time is kept, and rows less than the horizon after a row that
//! was kept are dropped.
//!
//! A row is late when t < W(r). The others are taken in event-time order, once the merged watermark has passed them, so
//! which row is the first is a property of the input. A row that is kept goes on with W = t, as the first child of its
//! place. What is remembered of a key leaves when the horizon has passed. Nulls in the key are equal to each other.
//!
//! | table | key | value |
//! |---|---|---|
//! | keys | the owner | t of the row that was kept last |
//! | keys by that time | t, the owner | |

use std::ops::ControlFlow;

use wasmill_core::batch::Batch;
use wasmill_core::fault::Fault;
use wasmill_core::id::KeyGroup;
use wasmill_core::key::sortable_int;
use wasmill_core::kind::Kind;
use wasmill_core::operator::{Emit, Operator, Save, Step};
use wasmill_core::plan::{DeduplicateNode, LATE_PORT, Stream};
use wasmill_core::time::Timestamp;
use wasmill_state::{Direction, Store};

use crate::counters::Counters;
use crate::dead_letters::DeadLetters;
use crate::stored::building::{Building, Facts};
use crate::stored::ordered::Ordered;
use crate::stored::{
    Before, Input, Subtask, TIMED, TIMED_HEAD_BYTES, keyed, load, place_of, read_time, save, time_of, timed, value_of,
};

/// The table of keys.
const KEYS: u8 = 1;
/// The table of keys by time.
const AGES: u8 = 2;
/// Keys that are let go of at once.
const PAGE_KEYS: usize = 1_024;

/// One subtask of a deduplication.
#[derive(Debug)]
pub struct Deduplicate {
    letters: DeadLetters,
    store: Store,
    input: Input,
    ordered: Ordered,
    horizon: u64,
    building: Building,
    reached: i64,
    counters: Counters,
    key: Vec<u8>,
}

impl Deduplicate {
    /// A deduplication that has seen nothing.
    pub fn new(subtask: Subtask, plan: &DeduplicateNode, input: &Stream, output: &Stream) -> Self {
        let live = (0..output.schema.len()).filter(|&column| output.live[column]);
        Self {
            letters: subtask.letters(),
            input: Input::new(input, &plan.key, live.collect(), subtask.groups, (plan.late, LATE_PORT)),
            ordered: Ordered::new(
                &[input],
                std::slice::from_ref(&plan.key),
                subtask.groups,
                subtask.memory_bytes,
            ),
            horizon: plan.horizon.0,
            building: Building::new(output, subtask.slice_rows),
            store: subtask.store,
            reached: i64::MIN,
            counters: Counters::default(),
            key: Vec::new(),
        }
    }

    /// What the operator has counted so far.
    pub fn counters(&self) -> Counters {
        self.counters
    }

    /// About how many bytes its state takes, but for rows that wait in memory.
    pub fn size_bytes(&self) -> u64 {
        self.store.size_bytes()
    }

    fn advance(&mut self, to: i64, out: &mut dyn Emit) -> Result<Step, Fault> {
        let is_done = self.take_due(to, out)?;
        self.building.finish(out);
        if !is_done {
            return Ok(Step::More);
        }
        self.expire(to)?;
        self.reached = self.reached.max(to);
        Ok(Step::Done)
    }

    fn take_due(&mut self, to: i64, out: &mut dyn Emit) -> Result<bool, Fault> {
        let (mut owner, mut place) = (Vec::new(), Vec::new());
        while let Some(input) = self.ordered.next(to, &mut self.store)? {
            if self.building.is_full() {
                return Ok(false);
            }
            let (batch, row) = self.ordered.row(input);
            self.input.owner(batch, row, &mut owner);
            let time = batch.time(row);
            keyed(KEYS, &owner, &mut self.key);
            let kept = self.store.get(&self.key, read_time)?.transpose()?;
            if kept.is_none_or(|kept| kept.abs_diff(time) >= self.horizon) {
                self.store.put(&self.key, &sortable_int(time))?;
                timed(AGES, time, &owner, &mut self.key);
                self.store.put(&self.key, b"")?;
                for &column in &self.input.fields {
                    self.building.value(column, value_of(batch, column, row));
                }
                place_of(batch, row, &mut place);
                let facts = Facts {
                    time,
                    watermark: time,
                    kind: Kind::Insert,
                };
                let of_child = |out: &mut Vec<u8>| {
                    out.extend_from_slice(&place);
                    out.extend(0_u32.to_be_bytes());
                };
                self.building.end_row(facts, of_child, &mut self.counters, out);
            }
            self.ordered.advance(input);
        }
        Ok(true)
    }

    /// Forgets the keys whose next row is kept in any case.
    fn expire(&mut self, to: i64) -> Result<(), Fault> {
        let limit = if to == i64::MAX {
            i128::MAX
        } else {
            i128::from(to) - i128::from(self.horizon) + 1
        };
        let old = Before::new(AGES, limit);
        loop {
            let mut ages = Vec::new();
            self.store.scan(old.span(), Direction::Forwards, |key, _| {
                ages.push(key.to_vec());
                Ok(if ages.len() < PAGE_KEYS {
                    ControlFlow::Continue(())
                } else {
                    ControlFlow::Break(())
                })
            })?;
            for age in &ages {
                keyed(KEYS, &age[TIMED_HEAD_BYTES..], &mut self.key);
                let kept = self.store.get(&self.key, read_time)?.transpose()?;
                // The key may have had another row since.
                if kept == Some(time_of(age)?) {
                    self.store.remove(&self.key)?;
                }
                self.store.remove(age)?;
            }
            if ages.len() < PAGE_KEYS {
                return Ok(());
            }
        }
    }

    fn take(&mut self, batch: Batch, out: &mut dyn Emit) -> Result<(), Fault> {
        let batch = self
            .input
            .on_time(batch, self.reached, &self.letters, &mut self.counters, out)?;
        self.ordered.add(0, batch, &mut self.store)
    }
}

impl Operator for Deduplicate {
    fn batch(&mut self, _input: usize, batch: Batch, out: &mut dyn Emit) -> Result<(), Fault> {
        if batch.is_empty() {
            return Ok(());
        }
        self.take(batch, out).map_err(|fault| fault.at(&self.letters.node))
    }

    fn watermark(&mut self, to: Timestamp, out: &mut dyn Emit) -> Result<Step, Fault> {
        self.advance(to.0, out).map_err(|fault| fault.at(&self.letters.node))
    }

    fn wake_at(&self) -> Option<Timestamp> {
        None
    }

    fn clock(&mut self, _: Timestamp, _: &mut dyn Emit) -> Result<Step, Fault> {
        Ok(Step::Done)
    }

    fn save(&mut self, out: &mut dyn Save) -> Result<(), Fault> {
        save(&self.store, self.reached, out)?;
        self.ordered.save(&self.store, out)
    }

    fn load(&mut self, group: KeyGroup, key: &[u8], value: &[u8]) -> Result<(), Fault> {
        let done = if self.ordered.owns(key) {
            self.ordered.load(group, key, value, &mut self.store)
        } else {
            load(&mut self.store, &mut self.reached, &[KEYS, AGES | TIMED], key, value)
        };
        done.map_err(|fault| fault.at(&self.letters.node))
    }
}
