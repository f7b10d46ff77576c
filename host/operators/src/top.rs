//! The first rows of each key by a column.
//!
//! A row is late when t < W(r). Of equal values the row with the earlier (t, place) comes first; nulls come last. Nulls in
//! the key are equal to each other.
//!
//! With a window, each key has a result when its window is due: its first rows, best first, with t = W = end - 1 and the
//! places of derived rows. Without one, rows are taken in event-time order once the merged watermark has passed them, and
//! the output is a changelog: a row that comes among the first is inserted, the row that it pushes out is deleted before
//! that. With ranks, the rows behind it move back by one, each by an update. All that a row brings about has its t, W = t,
//! and the children of its place.

mod changes;
mod ranking;
mod windowed;

use wasmill_core::batch::Batch;
use wasmill_core::fault::Fault;
use wasmill_core::id::KeyGroup;
use wasmill_core::operator::{Emit, Operator, Save, Step};
use wasmill_core::plan::{LATE_PORT, Stream, TopNode};
use wasmill_core::time::Timestamp;
use wasmill_core::window::{Assigner, UnknownTimeZone};
use wasmill_state::Store;

use self::changes::Changes;
use self::ranking::Ranking;
use self::windowed::Windowed;
use crate::counters::Counters;
use crate::dead_letters::DeadLetters;
use crate::stored::building::Building;
use crate::stored::ordered::Ordered;
use crate::stored::{Input, Serials, Subtask, load, save};

/// One subtask of a top operator.
#[derive(Debug)]
pub struct Top {
    letters: DeadLetters,
    store: Store,
    input: Input,
    ranking: Ranking,
    shape: Shape,
    serials: Serials,
    building: Building,
    reached: i64,
    counters: Counters,
}

#[derive(Debug)]
enum Shape {
    Changes(Box<Ordered>, Changes),
    Windowed(Box<Windowed>),
}

/// What either shape works with.
struct Context<'a> {
    letters: &'a DeadLetters,
    store: &'a mut Store,
    input: &'a Input,
    ranking: &'a mut Ranking,
    serials: &'a mut Serials,
    building: &'a mut Building,
    counters: &'a mut Counters,
    out: &'a mut dyn Emit,
}

impl Top {
    /// A top operator that has seen nothing.
    ///
    /// # Errors
    /// A window's time zone is unknown.
    pub fn new(subtask: Subtask, plan: &TopNode, input: &Stream, output: &Stream) -> Result<Self, UnknownTimeZone> {
        let before = if plan.window.is_some() { windowed::COLUMNS } else { 0 };
        let fields = (0..input.schema.len()).filter(|&column| output.live[before + column]);
        let shape = match &plan.window {
            None => {
                let key = std::slice::from_ref(&plan.key);
                let ordered = Ordered::new(&[input], key, subtask.groups, subtask.memory_bytes);
                Shape::Changes(Box::new(ordered), Changes::new(plan))
            }
            Some(window) => Shape::Windowed(Box::new(Windowed::new(plan, Assigner::new(window)?))),
        };
        Ok(Self {
            letters: subtask.letters(),
            input: Input::new(
                input,
                &plan.key,
                fields.collect(),
                subtask.groups,
                (plan.late, LATE_PORT),
            ),
            ranking: Ranking::new(plan, before, input.schema.len()),
            shape,
            serials: Serials::default(),
            building: Building::new(output, subtask.slice_rows),
            store: subtask.store,
            reached: i64::MIN,
            counters: Counters::default(),
        })
    }

    /// What the operator has counted so far.
    pub fn counters(&self) -> Counters {
        self.counters
    }

    /// About how many bytes its state takes, but for rows that wait in memory.
    pub fn size_bytes(&self) -> u64 {
        self.store.size_bytes()
    }

    /// Whether it keeps nothing at all.
    ///
    /// # Errors
    /// The state cannot be read.
    pub fn is_empty(&self) -> Result<bool, Fault> {
        self.store.is_empty()
    }

    fn take(&mut self, batch: Batch, out: &mut dyn Emit) -> Result<(), Fault> {
        let batch = self
            .input
            .on_time(batch, self.reached, &self.letters, &mut self.counters, out)?;
        match &mut self.shape {
            Shape::Changes(ordered, _) => ordered.add(0, batch, &mut self.store),
            Shape::Windowed(windowed) => windowed.add(
                &batch,
                &self.input,
                &mut self.ranking,
                &mut self.serials,
                &mut self.store,
            ),
        }
    }

    fn advance(&mut self, to: i64, out: &mut dyn Emit) -> Result<Step, Fault> {
        let Self {
            letters,
            store,
            input,
            ranking,
            shape,
            serials,
            building,
            reached,
            counters,
        } = self;
        let mut cx = Context {
            letters,
            store,
            input,
            ranking,
            serials,
            building,
            counters,
            out,
        };
        let is_done = match shape {
            Shape::Changes(ordered, changes) => changes.take_due(ordered, to, &mut cx)?,
            Shape::Windowed(windowed) => windowed.fire(*reached, to, &mut cx)?,
        };
        building.finish(out);
        if is_done {
            *reached = (*reached).max(to);
            Ok(Step::Done)
        } else {
            Ok(Step::More)
        }
    }
}

impl Operator for Top {
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
        match &self.shape {
            Shape::Changes(ordered, _) => ordered.save(&self.store, out),
            Shape::Windowed(_) => Ok(()),
        }
    }

    fn load(&mut self, group: KeyGroup, key: &[u8], value: &[u8]) -> Result<(), Fault> {
        let done = match &mut self.shape {
            Shape::Changes(ordered, _) if ordered.owns(key) => ordered.load(group, key, value, &mut self.store),
            Shape::Changes(..) => {
                ranking::count(key, &mut self.serials);
                load(&mut self.store, &mut self.reached, &changes::TABLES, key, value)
            }
            Shape::Windowed(windowed) => {
                ranking::count(key, &mut self.serials);
                load(&mut self.store, &mut self.reached, &windowed.tables(), key, value)
            }
        };
        done.map_err(|fault| fault.at(&self.letters.node))
    }
}
