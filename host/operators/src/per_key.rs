//! Windows that are put together key by key: sessions, counted rows, global windows, and the whole content of windows of
//! every type for a Wasm `window`.
//!
//! (Aligned windows with aggregates are in `window`, where all keys of a pane are together.)
//!
//! An operator here is a *shape*, which says what belongs to a window and when it fires ([`session`], [`count`],
//! [`aligned`]), and a *filling*, which says what comes of it ([`results`], [`calls`]). What can grow is in the operator's
//! store: cells of aggregates as bytes, rows as they came, and timers in the order of what is due. A batch takes the
//! windows that it touches out of the store once and puts them back, so nothing is in memory between two calls but the
//! guests and, in front of counted rows, those that wait.

mod aligned;
mod base;
mod calls;
mod cells;
mod count;
mod filling;
mod parts;
mod results;
mod rows;
mod session;
mod timers;

use std::ops::ControlFlow;

use wasmill_core::aggregate::Aggregate;
use wasmill_core::batch::Batch;
use wasmill_core::content::Content;
use wasmill_core::fault::Fault;
use wasmill_core::id::{KeyGroup, NodeId};
use wasmill_core::operator::{Emit, Operator, Save, Step};
use wasmill_core::plan::{ContentNode, LATE_PORT, Stream, WindowFrame, WindowNode};
use wasmill_core::time::Timestamp;
use wasmill_core::window::{Assigner, TriggerWhen, UnknownTimeZone, Windows};
use wasmill_state::{Direction, Store, layout};

use self::aligned::AlignedWindows;
use self::base::Base;
pub use self::calls::CallLimits;
use self::calls::Calls;
use self::count::Counts;
use self::filling::Filling;
use self::results::Results;
use self::session::Sessions;
use crate::codec::{damaged, take_array};
use crate::counters::Counters;
use crate::dead_letters::DeadLetters;
use crate::window::{KeyGroups, WindowPorts};

/// The table of the merged watermark, an entry for each of the subtask's key groups: saved, but not in the store.
const WATERMARK: u8 = 0;

/// Bounds of a [`KeyWindow`].
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct KeyWindowLimits {
    /// Windows that one call of [`Operator::watermark`] or [`Operator::clock`] fires or looks at at most, and rows in order
    /// that it takes. Default 4096.
    pub slice_rows: usize,
    /// Bounds of a call of a Wasm `window`.
    pub call: CallLimits,
}

impl Default for KeyWindowLimits {
    fn default() -> Self {
        Self {
            slice_rows: 4_096,
            call: CallLimits::default(),
        }
    }
}

/// Where a [`KeyWindow`] keeps what it remembers.
#[derive(Debug)]
pub struct KeyState {
    /// The subtask's own store.
    pub store: Store,
    /// The job's key groups, and which of them are the subtask's.
    pub key_groups: KeyGroups,
    /// Above so many bytes rows that wait for their turn go to the store. `usize::MAX` for a store in memory.
    pub waiting_bytes: usize,
}

/// What a [`KeyWindow`] with a Wasm `window` is made for.
#[derive(Debug)]
pub struct ContentPorts<'a> {
    /// The input.
    pub input: &'a Stream,
    /// The streams of the described ports. The port after them is that of late rows.
    pub outputs: &'a [&'a Stream],
    /// The port of dead letters, where the topology names a sink for them.
    pub dead_letters: Option<usize>,
}

/// What belongs to a window, and when it fires.
#[derive(Debug)]
enum Shape {
    Sessions(Sessions),
    Counts(Box<Counts>),
    Aligned(Box<AlignedWindows>),
}

/// One subtask of a window operator that puts windows together key by key.
#[derive(Debug)]
pub struct KeyWindow {
    base: Base,
    shape: Shape,
    filling: Filling,
    slice_rows: usize,
}

impl KeyWindow {
    /// Session, count or global windows with aggregates. `guests` holds an instance for each Wasm aggregate of the node,
    /// in their order.
    ///
    /// # Panics
    /// The windows are aligned: those are [`crate::Window`]'s. The number of `guests` is not that of the Wasm aggregates.
    pub fn aggregates(
        node: NodeId,
        plan: &WindowNode,
        ports: &WindowPorts<'_>,
        guests: Vec<Box<dyn Aggregate>>,
        state: KeyState,
        limits: KeyWindowLimits,
    ) -> Self {
        let letters = DeadLetters {
            node,
            port: ports.dead_letters,
            on_fault: plan.on_fault,
        };
        let (base, waiting_bytes) = Self::base(&plan.frame, ports.input, letters, LATE_PORT, state);
        let shape = match &plan.frame.windows {
            Windows::Aligned(_) => unreachable!("aligned windows with aggregates have an operator of their own"),
            windows => Self::shape(windows, &plan.frame, &base, ports.input, waiting_bytes),
        };
        let ordered = matches!(shape, Shape::Counts(_));
        let kept = base.rows.building();
        let results = Results::new(plan, ports.input, ports.output, guests, ordered, kept);
        Self {
            base,
            shape,
            filling: Filling::Aggregates(Box::new(results)),
            slice_rows: limits.slice_rows,
        }
    }

    /// Windows of any type whose whole content goes to a Wasm `window`.
    ///
    /// # Errors
    /// The time zone is unknown.
    pub fn content(
        node: NodeId,
        plan: &ContentNode,
        ports: &ContentPorts<'_>,
        guest: Box<dyn Content>,
        state: KeyState,
        limits: KeyWindowLimits,
    ) -> Result<Self, UnknownTimeZone> {
        let letters = DeadLetters {
            node,
            port: ports.dead_letters,
            on_fault: plan.on_fault,
        };
        let late_port = plan.description.outputs.len();
        let (base, waiting_bytes) = Self::base(&plan.frame, ports.input, letters, late_port, state);
        let shape = match &plan.frame.windows {
            Windows::Aligned(spec) => {
                let assigner = Assigner::new(spec)?;
                Shape::Aligned(Box::new(AlignedWindows::new(
                    assigner,
                    plan.frame.early,
                    plan.frame.late_results,
                )))
            }
            windows => Self::shape(windows, &plan.frame, &base, ports.input, waiting_bytes),
        };
        let calls = Calls::new(plan, guest, ports.outputs, limits.call, base.rows.building());
        Ok(Self {
            base,
            shape,
            filling: Filling::Guest(Box::new(calls)),
            slice_rows: limits.slice_rows,
        })
    }

    fn base(
        frame: &WindowFrame,
        input: &Stream,
        letters: DeadLetters,
        late_port: usize,
        state: KeyState,
    ) -> (Base, usize) {
        let base = Base::new(frame, input, letters, late_port, state.store, state.key_groups);
        (base, state.waiting_bytes)
    }

    fn shape(windows: &Windows, frame: &WindowFrame, base: &Base, input: &Stream, waiting_bytes: usize) -> Shape {
        match *windows {
            Windows::Session { gap } => Shape::Sessions(Sessions::with_gap(gap.0, frame.early)),
            Windows::Count { size, every } => {
                Shape::Counts(Box::new(Counts::windows(size, every, base, input, waiting_bytes)))
            }
            Windows::Global { trigger } => match trigger {
                Some(trigger) if let TriggerWhen::Count(every) = trigger.when => Shape::Counts(Box::new(
                    Counts::global(every, trigger.purge, base, input, waiting_bytes),
                )),
                trigger => Shape::Sessions(Sessions::global(trigger)),
            },
            Windows::Aligned(_) => unreachable!("aligned windows are told apart before"),
        }
    }

    /// What the operator has counted so far.
    pub fn counters(&self) -> Counters {
        self.base.counters
    }

    /// About how many bytes its state takes, in memory and on disk together.
    pub fn size_bytes(&self) -> u64 {
        self.base.store.size_bytes()
    }

    /// How many bytes of keys and values it has written to its store so far.
    pub fn written_bytes(&self) -> u64 {
        self.base.store.written_bytes()
    }

    /// Whether it remembers nothing.
    ///
    /// # Errors
    /// The disk cannot be read.
    pub fn is_empty(&self) -> Result<bool, Fault> {
        let waits = match &self.shape {
            Shape::Counts(counts) => counts.waits(),
            Shape::Sessions(_) | Shape::Aligned(_) => false,
        };
        Ok(!waits && self.base.store.is_empty()?)
    }

    fn take(&mut self, batch: Batch, out: &mut dyn Emit) -> Result<(), Fault> {
        let Self {
            base, shape, filling, ..
        } = self;
        base.counters.rows_in += batch.rows() as u64;
        base.check(&batch)?;
        match shape {
            Shape::Sessions(sessions) => sessions.batch(&batch, base, filling, out),
            Shape::Counts(counts) => counts.batch(batch, base, out),
            Shape::Aligned(aligned) => aligned.batch(&batch, base, filling, out),
        }
    }
}

impl Operator for KeyWindow {
    fn batch(&mut self, _input: usize, batch: Batch, out: &mut dyn Emit) -> Result<(), Fault> {
        if batch.is_empty() {
            return Ok(());
        }
        self.take(batch, out).map_err(|fault| fault.at(self.base.node()))
    }

    fn watermark(&mut self, to: Timestamp, out: &mut dyn Emit) -> Result<Step, Fault> {
        let Self {
            base,
            shape,
            filling,
            slice_rows,
        } = self;
        if to < Timestamp::MAX {
            base.watermark = base.watermark.max(to.0);
        }
        let step = match shape {
            Shape::Sessions(sessions) => sessions.watermark(to.0, *slice_rows, base, filling, out),
            Shape::Counts(counts) => counts.watermark(to.0, *slice_rows, base, filling, out),
            Shape::Aligned(aligned) => aligned.watermark(to.0, *slice_rows, base, filling, out),
        };
        step.map_err(|fault| fault.at(self.base.node()))
    }

    fn wake_at(&self) -> Option<Timestamp> {
        let at = match &self.shape {
            Shape::Sessions(sessions) => sessions.wake_at(),
            Shape::Counts(_) => None,
            Shape::Aligned(aligned) => aligned.wake_at(),
        };
        at.map(Timestamp)
    }

    fn clock(&mut self, now: Timestamp, out: &mut dyn Emit) -> Result<Step, Fault> {
        let Self {
            base,
            shape,
            filling,
            slice_rows,
        } = self;
        let step = match shape {
            Shape::Sessions(sessions) => sessions.clock(now.0, *slice_rows, base, filling, out),
            Shape::Counts(_) => Ok(Step::Done),
            Shape::Aligned(aligned) => aligned.clock(now.0, *slice_rows, base, filling, out),
        };
        step.map_err(|fault| fault.at(self.base.node()))
    }

    fn save(&mut self, out: &mut dyn Save) -> Result<(), Fault> {
        if let Shape::Counts(counts) = &self.shape {
            counts.save(&self.base, out)?;
        }
        // With every group, those without state too: what a row is judged by does not depend on what others left.
        let watermark = self.base.watermark.to_le_bytes();
        for group in self.base.saved_groups()? {
            out.entry(group, &[WATERMARK], &watermark)?;
        }
        let span = timers::saved();
        self.base.store.scan(span, Direction::Forwards, |key, value| {
            let (group, _, _) = layout::split(key).ok_or_else(|| damaged("a key without a group"))?;
            out.entry(group, &key[layout::of_group(group).len()..], value)?;
            Ok(ControlFlow::Continue(()))
        })
    }

    fn load(&mut self, group: KeyGroup, key: &[u8], value: &[u8]) -> Result<(), Fault> {
        let Self { base, shape, .. } = self;
        let mut load = || {
            if let Shape::Counts(counts) = shape
                && counts.owns(key)
            {
                return counts.waiting().load(group, key, value, &mut base.store);
            }
            if key == [WATERMARK] {
                let watermark = i64::from_le_bytes(take_array(&mut &value[..])?);
                base.load_watermark(watermark);
                return Ok(());
            }
            base.store.put(&Base::loaded_at(group, key), value)?;
            match shape {
                Shape::Sessions(sessions) => sessions.load(key, value, base),
                Shape::Aligned(aligned) => aligned.load(key, value, base),
                Shape::Counts(_) => Ok(()),
            }
        };
        let done = load();
        done.map_err(|fault| fault.at(self.base.node()))
    }
}
