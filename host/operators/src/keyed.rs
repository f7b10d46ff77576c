//! A Wasm `keyed`: rows and due timers of each key as one sequence, with the key's state.
//!
//! In event-time order rows wait until none before them can come ([`crate::waiting`]); then rows with t < M and timers at or
//! before M are taken in slices of ascending time, and each key's part of a slice goes to the guest as one sequence: by
//! time, timers before rows, timers of one time by (kind, tag), rows by place. In arrival order rows go to the guest at
//! once, and timers when M has come to them.
//!
//! What comes out does not depend on slices: timers that the guest sets within what it was given it fires itself, later
//! ones come back and are due in a later slice; a call ends where a TTL ends, since what comes after sees other state.
//!
//! At the end of input the rows that still wait are taken, with the timers of their keys up to the last of them. Then each
//! pending timer fires once, in calls marked as the end of input; what these set is discarded and counted.
//!
//! Under the policies `dead-letter` and `skip` a call that fails is repeated with fewer keys, then with fewer events, until
//! single events fail: each is refused, and what comes after it goes on from the state before it ([`blame`]).

mod blame;
mod calls;
mod expiry;
pub mod inspect;
mod left;
mod outputs;
mod slice;
mod state;
mod tables;
mod timers;

use std::cell::RefCell;
use std::collections::HashMap;
use std::rc::Rc;

use wasmill_core::batch::{Batch, Hidden, Slot};
use wasmill_core::column::Column;
use wasmill_core::fault::{Domain, Fault};
use wasmill_core::id::{KeyGroup, NodeId};
use wasmill_core::keyed::{Keyed, TimeDomain};
use wasmill_core::operator::{Emit, Operator, Save, Step};
use wasmill_core::plan::{KeyedNode, RowOrder, Stream};
use wasmill_core::schema::{Field, Schema};
use wasmill_core::time::{Micros, Timestamp};
use wasmill_core::watermark::RowWatermarks;
use wasmill_core::window::Late;

use self::calls::Chain;
use self::slice::{Mode, Slice};
pub use self::state::KeyedState;
use self::tables::{BY_KEY, CLOCK, EXPIRY, FIRST_TABLE, PLACES, VALUES, WAITING};
use self::timers::Timers;
use crate::counters::Counters;
use crate::dead_letters::DeadLetters;
use crate::waiting::late::Refusal;
use crate::waiting::{SliceBounds, Waiting, WaitingPlan, judge};

/// Bounds of a keyed operator.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct KeyedLimits {
    /// Rows, and due timers, of a slice at most. Default 4096.
    pub slice_rows: usize,
    /// Bytes of rows of a slice, about. Default 16 MiB.
    pub slice_bytes: usize,
    /// Bytes of value state given with a call, about. Default 1 MiB.
    pub state_bytes: usize,
    /// How many timers of a key may be set by timers for the time that has come already, one after the other, before that
    /// is a fault: else a timer that sets itself again for its own time would fire for ever. Default 10,000.
    pub timer_chain: u32,
    /// How exact the processing time is that guests are told, where they ask for it. Default 100 ms.
    pub clock_every: Micros,
}

impl Default for KeyedLimits {
    fn default() -> Self {
        Self {
            slice_rows: 4_096,
            slice_bytes: 16 << 20,
            state_bytes: 1 << 20,
            timer_chain: 10_000,
            clock_every: Micros::from_millis(100),
        }
    }
}

/// What a [`KeyedOperator`] is made for.
#[derive(Debug)]
pub struct KeyedPorts<'a> {
    /// The inputs.
    pub inputs: &'a [&'a Stream],
    /// The streams of the described ports, in their order.
    pub outputs: &'a [&'a Stream],
    /// The port of late rows, where they go to one: the one after the described.
    pub late: usize,
    /// The port of dead letters, where the topology names a sink for them.
    pub dead_letters: Option<usize>,
}

/// What a keyed operator has counted of its timers.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct TimerCounters {
    /// Timers that were handed to the guest.
    pub fired: u64,
    /// Timers that were set when no more time was to come.
    pub discarded: u64,
}

/// What does not change.
#[derive(Debug)]
struct Setup {
    node: NodeId,
    plugin: String,
    inputs: Vec<Input>,
    outputs: Vec<OutputPort>,
    order: RowOrder,
    late: Late,
    late_port: usize,
    limits: KeyedLimits,
    timer_names: Vec<String>,
    key_fields: Vec<Field>,
}

#[derive(Debug)]
struct Input {
    schema: Schema,
    key: Vec<usize>,
    /// A batch without rows.
    empty: Batch,
}

#[derive(Debug)]
struct OutputPort {
    order: bool,
    columns: usize,
}

/// How far time has come.
#[derive(Clone, Copy, Debug)]
struct Clock {
    /// All below it has been handed on: the last watermark that was done with.
    done: i64,
    /// Processing time when it was told last.
    now: Option<i64>,
    /// The greatest event time of what was handed on: where outputs of processing-time timers stand.
    latest: i64,
}

/// One subtask of a keyed operator.
pub struct KeyedOperator {
    setup: Setup,
    guest: Box<dyn Keyed>,
    state: Rc<RefCell<KeyedState>>,
    groups: u16,
    waiting: Waiting,
    timers: Timers,
    letters: DeadLetters,
    clock: Clock,
    ended: bool,
    /// How many entries of [`PLACES`] there are.
    places: u64,
    expiring: [u64; 2],
    /// By key, while one time is handled.
    chains: HashMap<Vec<u8>, Chain>,
    /// The first processing-time timer, where it is known.
    next_timer: Option<i64>,
    counters: Counters,
    timer_counters: TimerCounters,
}

impl KeyedOperator {
    /// An operator that has seen nothing. `guest` was made with `state`, which is the operator's own.
    ///
    /// # Panics
    /// There are more than 254 inputs, or not one stream for each described port.
    pub fn new(
        node: NodeId,
        plan: &KeyedNode,
        ports: &KeyedPorts<'_>,
        guest: Box<dyn Keyed>,
        state: Rc<RefCell<KeyedState>>,
        limits: KeyedLimits,
    ) -> Self {
        assert!(
            ports.inputs.len() < 255,
            "the number of an input is a byte, and 255 stands for timers"
        );
        assert_eq!(
            ports.outputs.len(),
            plan.description.outputs.len(),
            "a stream for each described port"
        );
        let (groups, memory_bytes) = {
            let state = state.borrow();
            (state.groups, state.memory_bytes)
        };
        let waiting = Waiting::new(&WaitingPlan {
            inputs: ports.inputs,
            key: &plan.key,
            groups,
            table: WAITING,
            memory_bytes: memory_bytes.map_or(usize::MAX, |bytes| (bytes / 4) as usize),
        });
        let inputs = ports.inputs.iter().zip(&plan.key).map(|(stream, key)| Input {
            schema: stream.schema.clone(),
            key: key.clone(),
            empty: empty_batch(stream),
        });
        let outputs = ports.outputs.iter().map(|stream| OutputPort {
            order: stream.order,
            columns: stream.schema.len(),
        });
        let key_fields = plan.key[0]
            .iter()
            .map(|&column| ports.inputs[0].schema.fields()[column].clone());
        let setup = Setup {
            plugin: plan.plugin.path.display().to_string(),
            inputs: inputs.collect(),
            outputs: outputs.collect(),
            order: plan.order,
            late: plan.late,
            late_port: ports.late,
            limits,
            timer_names: plan
                .description
                .timers
                .iter()
                .map(|kind| kind.name.to_string())
                .collect(),
            key_fields: key_fields.collect(),
            node: node.clone(),
        };
        Self {
            setup,
            guest,
            state,
            groups,
            waiting,
            timers: Timers::new(plan.description.timers.iter().map(|kind| kind.domain).collect(), groups),
            letters: DeadLetters {
                node,
                port: ports.dead_letters,
                on_fault: plan.on_fault,
            },
            clock: Clock {
                done: i64::MIN,
                now: None,
                latest: i64::MIN,
            },
            ended: false,
            places: 0,
            expiring: [0; 2],
            chains: HashMap::new(),
            next_timer: None,
            counters: Counters::default(),
            timer_counters: TimerCounters::default(),
        }
    }

    /// What the operator has counted so far.
    pub fn counters(&self) -> Counters {
        self.counters
    }

    /// What it has counted of its timers.
    pub fn timer_counters(&self) -> TimerCounters {
        self.timer_counters
    }

    /// About how many bytes of memory its state takes.
    pub fn size_bytes(&self) -> usize {
        self.waiting.size_bytes() + self.state.borrow().values.size_bytes() as usize
    }

    /// Whether the guest can see processing time.
    fn asks_for_the_clock(&self) -> bool {
        self.timers.knows(TimeDomain::Processing) || self.state.borrow().has_ttl(TimeDomain::Processing)
    }

    fn take(&mut self, input: usize, batch: Batch, out: &mut dyn Emit) -> Result<(), Fault> {
        self.counters.rows_in += batch.rows() as u64;
        if batch.watermark_min() < self.clock.done {
            let message = format!(
                "a batch came with watermark {} after the merged watermark reached {}",
                Timestamp(batch.watermark_min()),
                Timestamp(self.clock.done)
            );
            return Err(Fault::fatal(Domain::Internal, message));
        }
        if self.setup.order == RowOrder::Arrival {
            return self.take_at_once(input, &batch, out);
        }
        let (mut late, mut on_time) = (Vec::new(), Vec::new());
        judge(&batch, &mut late, &mut on_time);
        let refusal = Refusal {
            late: self.setup.late,
            port: self.setup.late_port,
            letters: &self.letters,
            schema: &self.setup.inputs[input].schema,
        };
        refusal.refuse(&batch, &late, &mut self.counters, out)?;
        let batch = if late.is_empty() { batch } else { batch.select(&on_time) };
        self.waiting.add(input, batch, &mut self.state.borrow_mut().store)
    }

    fn take_at_once(&mut self, input: usize, batch: &Batch, out: &mut dyn Emit) -> Result<(), Fault> {
        let row_bytes = batch.size_bytes() / batch.rows() + 1;
        let rows_max = (self.setup.limits.slice_bytes / row_bytes).clamp(1, self.setup.limits.slice_rows);
        for from in (0..batch.rows()).step_by(rows_max) {
            let to = batch.rows().min(from + rows_max);
            let part = if to - from == batch.rows() {
                batch.clone()
            } else {
                let rows: Vec<u32> = (from as u32..to as u32).collect();
                batch.select(&rows)
            };
            let sequence = (0..part.rows() as u32).map(|row| (input as u8, row)).collect();
            let mut batches: Vec<Batch> = self.setup.inputs.iter().map(|input| input.empty.clone()).collect();
            batches[input] = part;
            let slice = Slice::of_rows(batches, sequence, self.clock.done);
            self.process(&slice, out)?;
        }
        Ok(())
    }

    /// Hands on one slice of what is due below a watermark.
    fn advance(&mut self, to: i64, out: &mut dyn Emit) -> Result<Step, Fault> {
        let slice = if to == i64::MAX {
            self.last_slice()?
        } else {
            self.slice_up_to(to)?
        };
        if let Some(slice) = slice {
            self.process(&slice, out)?;
            return Ok(Step::More);
        }
        if to == i64::MAX {
            self.ended = true;
            return Ok(Step::Done);
        }
        self.clock.done = self.clock.done.max(to);
        self.chains.clear();
        self.forget_places()?;
        self.expire(TimeDomain::Event, to)
    }

    /// The rows below a watermark and the timers at or before it, as many as a slice holds.
    fn slice_up_to(&mut self, to: i64) -> Result<Option<Slice>, Fault> {
        let state = &mut *self.state.borrow_mut();
        let bounds = SliceBounds {
            rows: self.setup.limits.slice_rows,
            bytes: self.setup.limits.slice_bytes,
        };
        let mut due = self.timers.due(&state.store, TimeDomain::Event, to, bounds.rows)?;
        let below = due.cut.unwrap_or(to);
        let released = self.waiting.release(below, bounds, &mut state.store)?;
        let bound = released.next.unwrap_or(below);
        if bound < below {
            due.up_to(bound);
            due.cut = None;
        }
        if due.is_empty() && released.sequence.is_empty() {
            return Ok(None);
        }
        let batches = self.or_empty(released.batches);
        Ok(Some(Slice::new(batches, released.sequence, due, bound, Mode::Rows)))
    }

    /// What is left at the end of input: rows, then timers of event time, then of processing time.
    fn last_slice(&mut self) -> Result<Option<Slice>, Fault> {
        let state = &mut *self.state.borrow_mut();
        let bounds = SliceBounds {
            rows: self.setup.limits.slice_rows,
            bytes: self.setup.limits.slice_bytes,
        };
        let released = self.waiting.release(i64::MAX, bounds, &mut state.store)?;
        if !released.sequence.is_empty() {
            let batches = self.or_empty(released.batches);
            let due = timers::Due::default();
            return Ok(Some(Slice::new(
                batches,
                released.sequence,
                due,
                i64::MAX,
                Mode::LastRows,
            )));
        }
        for domain in [TimeDomain::Event, TimeDomain::Processing] {
            let due = self.timers.due(&state.store, domain, i64::MAX, bounds.rows)?;
            if !due.is_empty() {
                let batches = self.or_empty(Vec::new());
                return Ok(Some(Slice::new(batches, Vec::new(), due, i64::MIN, Mode::End(domain))));
            }
        }
        Ok(None)
    }

    fn or_empty(&self, batches: Vec<Option<Batch>>) -> Vec<Batch> {
        let mut batches = batches.into_iter();
        let inputs = self.setup.inputs.iter();
        inputs
            .map(|input| batches.next().flatten().unwrap_or_else(|| input.empty.clone()))
            .collect()
    }

    fn tick(&mut self, now: i64, out: &mut dyn Emit) -> Result<Step, Fault> {
        self.clock.now = Some(now);
        if self.ended {
            return Ok(Step::Done);
        }
        let due = {
            let state = self.state.borrow();
            self.timers
                .due(&state.store, TimeDomain::Processing, now, self.setup.limits.slice_rows)?
        };
        if due.is_empty() {
            self.chains.clear();
            return self.expire(TimeDomain::Processing, now);
        }
        let slice = Slice::new(self.or_empty(Vec::new()), Vec::new(), due, self.clock.done, Mode::Clock);
        self.process(&slice, out)?;
        Ok(Step::More)
    }

    fn look_for_the_next_timer(&mut self) -> Result<(), Fault> {
        let state = self.state.borrow();
        self.next_timer = self.timers.first_time(&state.store, TimeDomain::Processing)?;
        Ok(())
    }

    fn save_clock(&self, groups: &[bool], out: &mut dyn Save) -> Result<(), Fault> {
        let mut value = Vec::new();
        for time in [self.clock.done, self.clock.latest, self.clock.now.unwrap_or(i64::MIN)] {
            value.extend(time.to_le_bytes());
        }
        for (group, _) in groups.iter().enumerate().filter(|(_, used)| **used) {
            out.entry(KeyGroup(group as u16), &[CLOCK], &value)?;
        }
        Ok(())
    }

    fn load_clock(&mut self, value: &[u8]) -> Result<(), Fault> {
        let (times, rest) = value.as_chunks::<8>();
        let [done, latest, now] = *times else {
            return Err(damaged());
        };
        if !rest.is_empty() {
            return Err(damaged());
        }
        let [done, latest, now] = [done, latest, now].map(i64::from_le_bytes);
        self.clock.done = self.clock.done.max(done);
        self.clock.latest = self.clock.latest.max(latest);
        if now > i64::MIN {
            self.clock.now = self.clock.now.max(Some(now));
        }
        Ok(())
    }

    fn load_entry(&mut self, group: KeyGroup, key: &[u8], value: &[u8]) -> Result<(), Fault> {
        let (&table, rest) = key.split_first().ok_or_else(damaged)?;
        let mut state = self.state.borrow_mut();
        match table {
            VALUES => state.load_value(rest, value),
            BY_KEY => self.timers.load(&mut state.store, rest, value),
            PLACES => {
                drop(state);
                self.load_place(key, value)
            }
            EXPIRY => {
                drop(state);
                self.load_expiry(key)
            }
            WAITING => self.waiting.load(group, key, value, &mut state.store),
            CLOCK => {
                drop(state);
                self.load_clock(value)
            }
            FIRST_TABLE.. => state.load_entry(group, key, value),
            _ => Err(damaged()),
        }
    }
}

/// Passes entries on, and notes their groups.
struct Noting<'a> {
    out: &'a mut dyn Save,
    groups: Vec<bool>,
}

impl Save for Noting<'_> {
    fn entry(&mut self, group: KeyGroup, key: &[u8], value: &[u8]) -> Result<(), Fault> {
        self.groups[usize::from(group.0)] = true;
        self.out.entry(group, key, value)
    }
}

impl Operator for KeyedOperator {
    fn batch(&mut self, input: usize, batch: Batch, out: &mut dyn Emit) -> Result<(), Fault> {
        if batch.is_empty() {
            return Ok(());
        }
        self.take(input, batch, out)
            .and_then(|()| self.look_for_the_next_timer())
            .map_err(|fault| fault.at(&self.setup.node))
    }

    fn watermark(&mut self, to: Timestamp, out: &mut dyn Emit) -> Result<Step, Fault> {
        let step = self.advance(to.0, out);
        step.and_then(|step| self.look_for_the_next_timer().map(|()| step))
            .map_err(|fault| fault.at(&self.setup.node))
    }

    fn wake_at(&self) -> Option<Timestamp> {
        if self.ended || !self.asks_for_the_clock() {
            return None;
        }
        let Some(now) = self.clock.now else {
            return Some(Timestamp::MIN);
        };
        let tick = Timestamp(now).after(self.setup.limits.clock_every);
        // What is due already, because its slice was full or its time was over when it was set, comes at once.
        Some(
            self.next_timer
                .map_or(tick, |timer| tick.min(Timestamp(timer.max(now)))),
        )
    }

    fn clock(&mut self, now: Timestamp, out: &mut dyn Emit) -> Result<Step, Fault> {
        let step = self.tick(now.0, out);
        step.and_then(|step| self.look_for_the_next_timer().map(|()| step))
            .map_err(|fault| fault.at(&self.setup.node))
    }

    fn save(&mut self, out: &mut dyn Save) -> Result<(), Fault> {
        let mut state = self.state.borrow_mut();
        let mut out = Noting {
            groups: vec![false; usize::from(state.groups)],
            out,
        };
        state.save(&mut out)?;
        self.waiting.save(&state.store, &mut out)?;
        self.timers.save(&state.store, &mut out)?;
        self.save_places(&state.store, &mut out)?;
        self.save_expiry(&state.store, &mut out)?;
        let groups = std::mem::take(&mut out.groups);
        self.save_clock(&groups, out.out)
    }

    fn load(&mut self, group: KeyGroup, key: &[u8], value: &[u8]) -> Result<(), Fault> {
        self.load_entry(group, key, value)
            .and_then(|()| self.look_for_the_next_timer())
            .map_err(|fault| fault.at(&self.setup.node))
    }
}

impl std::fmt::Debug for KeyedOperator {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("KeyedOperator")
            .field("setup", &self.setup)
            .field("clock", &self.clock)
            .field("counters", &self.counters)
            .finish_non_exhaustive()
    }
}

fn empty_batch(stream: &Stream) -> Batch {
    let slots = stream.schema.fields().iter().zip(&stream.live).map(|(field, &live)| {
        if live {
            Slot::Base(Column::empty(field.data_type))
        } else {
            Slot::Absent
        }
    });
    let hidden = Hidden {
        times: Vec::new().into(),
        watermarks: RowWatermarks::Constant(i64::MIN),
        order: None,
        kinds: None,
    };
    Batch::new(slots.collect(), hidden)
}

fn damaged() -> Fault {
    Fault::fatal(Domain::External, "an entry of a keyed operator's state is damaged")
}
