//! Joins of two streams over event time: interval, temporal and window joins.
//!
//! A row r is late when t < W(r). The others take part, in whatever batches and order they come. Interval and temporal
//! joins take the rows of both sides one after the other in event-time order, once the merged watermark M has passed
//! them; window joins keep them until their window ends. So M decides when a row comes out, never which.
//!
//! | join | t of a pair | W of a pair | t of an unmatched row | its W |
//! |---|---|---|---|---|
//! | interval | the greater of both | t - lag | its own | t + how long a partner may come - lag |
//! | temporal | the left row's | t | its own | t |
//! | window | end - 1 | end - 1 | end - 1 | end - 1 |
//!
//! The lag of an interval join is how long it has to wait before it can tell that a row has no partner: nothing for an
//! inner join, `after` where left rows wait, `before` where right ones do. The place of a pair is the left row's followed
//! by the right row's, that of any other row its own; a window join appends the window's start and end, since a row is in
//! several windows. No place begins with the bytes that a flat-map appends, so no two pairs share one.
//!
//! A null equals nothing: such a row has no partner. In the sessions of a window join nulls are together, as in a group.
//! Interval joins: the operator of Flink of that name. Temporal joins: "temporal table" joins of SQL:2011 by event time.

mod interval;
mod pairs;
mod temporal;
mod windows;

use wasmill_core::batch::Batch;
use wasmill_core::fault::Fault;
use wasmill_core::id::KeyGroup;
use wasmill_core::operator::{Emit, Operator, Save, Step};
use wasmill_core::plan::{JoinBound, JoinColumn, JoinKind, JoinNode, Stream};
use wasmill_core::time::{Micros, Timestamp};
use wasmill_core::window::{UnknownTimeZone, Windows};
use wasmill_state::Store;

use self::interval::Interval;
use self::pairs::Pairs;
use self::temporal::Temporal;
use self::windows::WindowJoin;
use crate::counters::Counters;
use crate::dead_letters::DeadLetters;
use crate::stored::ordered::Ordered;
use crate::stored::{Input, Serials, Subtask, load, place_of, save};

/// The left input.
const LEFT: usize = 0;
/// The right input.
const RIGHT: usize = 1;
/// The port of the left side's late rows.
pub const LATE_LEFT_PORT: usize = 1;
/// The port of the right side's late rows.
pub const LATE_RIGHT_PORT: usize = 2;

/// One subtask of a join.
#[derive(Debug)]
pub struct Join {
    letters: DeadLetters,
    store: Store,
    inputs: [Input; 2],
    matcher: Matcher,
    serials: Serials,
    pairs: Pairs,
    /// M of the last call that was done.
    reached: i64,
    counters: Counters,
}

#[derive(Debug)]
enum Matcher {
    Interval(Ordered, Interval),
    Temporal(Ordered, Temporal),
    Window(Box<WindowJoin>),
}

/// What a matcher works with.
struct Context<'a> {
    store: &'a mut Store,
    inputs: &'a [Input; 2],
    serials: &'a mut Serials,
    pairs: &'a mut Pairs,
    counters: &'a mut Counters,
    out: &'a mut dyn Emit,
}

/// A row that is taken in its turn.
#[derive(Clone, Copy, Debug)]
struct Row<'a> {
    side: usize,
    batch: &'a Batch,
    row: usize,
    time: i64,
    owner: &'a [u8],
    /// Whether no key column is null.
    has_key: bool,
    place: &'a [u8],
}

impl Join {
    /// A join that has seen nothing.
    ///
    /// # Errors
    /// A window's time zone is unknown.
    ///
    /// # Panics
    /// The plan joins by count or global windows, which the topology refuses.
    pub fn new(
        subtask: Subtask,
        plan: &JoinNode,
        inputs: [&Stream; 2],
        output: &Stream,
    ) -> Result<Self, UnknownTimeZone> {
        let letters = subtask.letters();
        let pairs = Pairs::new(plan, output, subtask.slice_rows);
        let kept = |side: usize, port: usize| {
            let fields = pairs.fields(side).to_vec();
            Input::new(inputs[side], &plan.key[side], fields, subtask.groups, (plan.late, port))
        };
        let kept = [kept(LEFT, LATE_LEFT_PORT), kept(RIGHT, LATE_RIGHT_PORT)];
        let ordered = || Ordered::new(&inputs, &plan.key, subtask.groups, subtask.memory_bytes);
        let matcher = match &plan.bound {
            JoinBound::Within { before, after } => {
                Matcher::Interval(ordered(), Interval::new(plan.kind, *before, *after, subtask.slice_rows))
            }
            JoinBound::AsOf { within } => {
                Matcher::Temporal(ordered(), Temporal::new(plan.kind, *within, subtask.slice_rows))
            }
            JoinBound::Window(windows) => Matcher::Window(Box::new(WindowJoin::new(plan.kind, windows)?)),
        };
        Ok(Self {
            letters,
            store: subtask.store,
            inputs: kept,
            matcher,
            serials: Serials::default(),
            pairs,
            reached: i64::MIN,
            counters: Counters::default(),
        })
    }

    /// How far the output's watermark is behind the input's.
    pub fn lag(plan: &JoinNode) -> Micros {
        match plan.bound {
            JoinBound::Within { before, after } => match plan.kind {
                JoinKind::Inner => Micros::ZERO,
                JoinKind::Left | JoinKind::Semi | JoinKind::Anti => after,
                JoinKind::Right => before,
                JoinKind::Full => before.max(after),
            },
            JoinBound::AsOf { .. } | JoinBound::Window(_) => Micros::ZERO,
        }
    }

    /// Which columns of its inputs a join reads, where these columns of its output are read: those, and the keys.
    pub fn reads(plan: &JoinNode, live: &[bool], widths: [usize; 2]) -> [Vec<bool>; 2] {
        let mut reads = widths.map(|width| vec![false; width]);
        let live = &live[pairs::window_columns(plan)..];
        for (column, _) in plan.columns.iter().zip(live).filter(|(_, live)| **live) {
            match *column {
                JoinColumn::Left(column) => reads[LEFT][column] = true,
                JoinColumn::Right(column) => reads[RIGHT][column] = true,
                JoinColumn::On(_) => {}
            }
        }
        for (reads, key) in reads.iter_mut().zip(&plan.key) {
            for &column in key {
                reads[column] = true;
            }
        }
        reads
    }

    /// Why a plan cannot be carried out, where it cannot: the kind or the windows do not go with the bound.
    ///
    /// # Errors
    /// A fragment that says so.
    pub fn check(kind: JoinKind, bound: &JoinBound) -> Result<(), &'static str> {
        match (bound, kind) {
            (JoinBound::AsOf { .. }, JoinKind::Right | JoinKind::Full) => {
                Err("an as-of join has no right rows without a left row: its kinds are inner, left, semi and anti")
            }
            (JoinBound::Window(Windows::Count { .. } | Windows::Global { .. }), _) => {
                Err("a join's windows are tumbling, sliding, cumulative or session windows")
            }
            _ => Ok(()),
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

    /// Whether it keeps nothing at all.
    ///
    /// # Errors
    /// The state cannot be read.
    pub fn is_empty(&self) -> Result<bool, Fault> {
        self.store.is_empty()
    }

    fn take(&mut self, input: usize, batch: Batch, out: &mut dyn Emit) -> Result<(), Fault> {
        let batch = self.inputs[input].on_time(batch, self.reached, &self.letters, &mut self.counters, out)?;
        match &mut self.matcher {
            Matcher::Interval(ordered, _) | Matcher::Temporal(ordered, _) => ordered.add(input, batch, &mut self.store),
            Matcher::Window(windows) => {
                windows.add(input, &self.inputs[input], &batch, &mut self.serials, &mut self.store)
            }
        }
    }

    fn advance(&mut self, to: i64, out: &mut dyn Emit) -> Result<Step, Fault> {
        let Self {
            store,
            inputs,
            serials,
            pairs,
            counters,
            matcher,
            reached,
            ..
        } = self;
        let mut cx = Context {
            store,
            inputs,
            serials,
            pairs,
            counters,
            out,
        };
        let is_done = match matcher {
            Matcher::Interval(ordered, interval) => {
                take_in_order(ordered, to, &mut cx, |row, cx| interval.take(row, cx))?
                    && interval.expire(to, &mut cx)?
            }
            Matcher::Temporal(ordered, temporal) => {
                let is_done = take_in_order(ordered, to, &mut cx, |row, cx| temporal.take(row, cx).map(|()| true))?;
                if is_done {
                    temporal.expire(to, &mut cx)?;
                }
                is_done
            }
            Matcher::Window(windows) => windows.fire(*reached, to, &mut cx)?,
        };
        pairs.building.finish(out);
        if is_done {
            *reached = (*reached).max(to);
            Ok(Step::Done)
        } else {
            Ok(Step::More)
        }
    }
}

/// Hands the rows with t < `to` on, in order, until a slice is full. Whether all were.
fn take_in_order(
    ordered: &mut Ordered,
    to: i64,
    cx: &mut Context<'_>,
    mut take: impl FnMut(Row<'_>, &mut Context<'_>) -> Result<bool, Fault>,
) -> Result<bool, Fault> {
    let (mut owner, mut place) = (Vec::new(), Vec::new());
    while let Some(side) = ordered.next(to, cx.store)? {
        if cx.pairs.building.is_full() {
            return Ok(false);
        }
        let (batch, row) = ordered.row(side);
        let has_key = cx.inputs[side].owner(batch, row, &mut owner);
        place_of(batch, row, &mut place);
        let row = Row {
            side,
            batch,
            row,
            time: batch.time(row),
            owner: &owner,
            has_key,
            place: &place,
        };
        if !take(row, cx)? {
            return Ok(false);
        }
        ordered.advance(side);
    }
    Ok(true)
}

impl Operator for Join {
    fn batch(&mut self, input: usize, batch: Batch, out: &mut dyn Emit) -> Result<(), Fault> {
        if batch.is_empty() {
            return Ok(());
        }
        self.take(input, batch, out)
            .map_err(|fault| fault.at(&self.letters.node))
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
        match &self.matcher {
            Matcher::Interval(ordered, _) | Matcher::Temporal(ordered, _) => ordered.save(&self.store, out),
            Matcher::Window(_) => Ok(()),
        }
    }

    fn load(&mut self, group: KeyGroup, key: &[u8], value: &[u8]) -> Result<(), Fault> {
        let Self {
            store,
            matcher,
            serials,
            reached,
            ..
        } = self;
        let done = match matcher {
            Matcher::Interval(ordered, _) | Matcher::Temporal(ordered, _) if ordered.owns(key) => {
                ordered.load(group, key, value, store)
            }
            Matcher::Interval(..) => {
                interval::count(key, serials);
                load(store, reached, &interval::TABLES, key, value)
            }
            Matcher::Temporal(..) => load(store, reached, &temporal::TABLES, key, value),
            Matcher::Window(_) => {
                windows::count(key, serials);
                load(store, reached, &windows::TABLES, key, value)
            }
        };
        done.map_err(|fault| fault.at(&self.letters.node))
    }
}
