//! Count windows, and global windows with a count: the rows of a key in event-time order, counted.
//!
//! Rows wait until no earlier one can come (`crate::waiting`), so the n-th row of a key is the same on every run. Aggregates
//! are kept by *pane*, a stretch of rows between two bounds of any windows. Where windows overlap they are put together
//! by two stacks: of the older panes each has the aggregate of itself and all older panes after it, the younger ones have
//! one aggregate together. A row costs the same whatever the number of panes of a window (Tangwongsan et al., "General
//! incremental sliding-window aggregation", VLDB 2015). How panes are merged depends on a key's rows alone.
//!
//! A Wasm `window` gets the rows themselves, which are kept by number while a window to come needs them.
//!
//! A result has the time and W of its window's last row, and the place of that row's first child.

use std::collections::HashMap;

use wasmill_core::batch::Batch;
use wasmill_core::fault::Fault;
use wasmill_core::key::sortable_int;
use wasmill_core::operator::{Emit, Save, Step};
use wasmill_core::plan::Stream;
use wasmill_state::Direction;

use super::base::{Base, BatchKeys};
use super::cells::{Aggregates, Cells};
use super::filling::Filling;
use super::parts::{Names, Parts, Whole};
use super::results::{Content, Firing, Results};
use super::rows::{Opened, Range, head};
use super::timers::read_time;
use crate::codec::{damaged, put_count, put_signed, take_count, take_int64, take_small};
use crate::waiting::{self, SliceBounds, Waiting, WaitingPlan};

/// The table of what is known of a key.
const TALLIES: u8 = 1;
/// The table of kept rows.
const ROWS: u8 = 2;
/// The table of panes.
const PANES: u8 = 3;
/// The table of waiting rows.
const WAITING: u8 = 4;
/// The table of parts.
const PARTS: u8 = 5;
/// Bytes of rows that are taken at once.
const SLICE_BYTES: usize = 4 << 20;

/// How windows follow from a key's rows.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Shape {
    /// The first `size` of each `every` rows.
    Apart { size: u64, every: u64 },
    /// Each `every` rows the last `size`, which are more.
    Overlapping { size: u64, every: u64 },
    /// Each `every` rows all so far.
    Growing { every: u64 },
}

/// Windows over counted rows.
#[derive(Debug)]
pub(crate) struct Counts {
    shape: Shape,
    waiting: Waiting,
}

/// What is known of a key.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
struct Tally {
    /// Rows in the pane at hand; of windows that are apart, rows since the last one began.
    position: u64,
    /// The time of the pane's first row.
    first: i64,
    /// The cells of the pane; empty where it has no row.
    pane: Parts,
    /// Panes before it.
    panes: u64,
    /// Panes before this one have the aggregates of those after them.
    flipped: u64,
    /// The aggregate of the panes from there on; empty where there is none.
    back: Parts,
    /// What parts are called.
    names: Names,
    /// The time of the first row of a window that grows.
    start: i64,
    /// Results of a window that grows.
    results: u32,
    /// Kept rows so far.
    rows: u64,
}

/// A pane, or a window, that has all its rows.
#[derive(Debug)]
struct Complete {
    row: u32,
    tally: usize,
    /// Its cells' group.
    group: u32,
    first: i64,
}

/// A key of a batch.
#[derive(Debug)]
struct Open {
    key: Vec<u8>,
    tally: Tally,
    /// The group of the pane's cells.
    group: Option<u32>,
}

impl Tally {
    fn encode(&self) -> Vec<u8> {
        let mut out = Vec::new();
        put_count(self.position, &mut out);
        put_signed(self.first.into(), &mut out);
        self.pane.encode(&mut out);
        put_count(self.panes, &mut out);
        put_count(self.flipped, &mut out);
        self.back.encode(&mut out);
        self.names.encode(&mut out);
        put_signed(self.start.into(), &mut out);
        put_count(self.results.into(), &mut out);
        put_count(self.rows, &mut out);
        out
    }

    fn decode(mut from: &[u8]) -> Result<Self, Fault> {
        let from = &mut from;
        Ok(Self {
            position: take_count(from)?,
            first: take_int64(from)?,
            pane: Parts::decode(from)?,
            panes: take_count(from)?,
            flipped: take_count(from)?,
            back: Parts::decode(from)?,
            names: Names::decode(from)?,
            start: take_int64(from)?,
            results: take_small(from)?,
            rows: take_count(from)?,
        })
    }
}

impl Shape {
    /// Rows of a pane.
    fn pane(self) -> u64 {
        match self {
            Self::Apart { size, .. } => size,
            Self::Overlapping { size, every } => gcd(size, every),
            Self::Growing { every } => every,
        }
    }

    /// After how many rows a pane begins again.
    fn cycle(self) -> u64 {
        match self {
            Self::Apart { every, .. } => every,
            Self::Overlapping { .. } | Self::Growing { .. } => self.pane(),
        }
    }
}

impl Counts {
    /// Windows of the last `size` rows, each `every` rows.
    pub(crate) fn windows(size: u64, every: u64, base: &Base, input: &Stream, memory_bytes: usize) -> Self {
        let shape = if every < size {
            Shape::Overlapping { size, every }
        } else {
            Shape::Apart { size, every }
        };
        Self::new(shape, base, input, memory_bytes)
    }

    /// All rows each `every` rows; where `purge`, all since the last result.
    pub(crate) fn global(every: u64, purge: bool, base: &Base, input: &Stream, memory_bytes: usize) -> Self {
        let shape = if purge {
            Shape::Apart { size: every, every }
        } else {
            Shape::Growing { every }
        };
        Self::new(shape, base, input, memory_bytes)
    }

    fn new(shape: Shape, base: &Base, input: &Stream, memory_bytes: usize) -> Self {
        Self {
            shape,
            waiting: Waiting::new(&WaitingPlan {
                inputs: &[input],
                key: std::slice::from_ref(&base.key),
                groups: base.key_groups,
                table: WAITING,
                memory_bytes,
            }),
        }
    }

    /// Takes a batch.
    pub(crate) fn batch(&mut self, batch: Batch, base: &mut Base, out: &mut dyn Emit) -> Result<(), Fault> {
        let (mut late, mut on_time) = (Vec::new(), Vec::new());
        if base.best_effort {
            for (row, &time) in batch.times().iter().enumerate() {
                let rows = if time < base.watermark { &mut late } else { &mut on_time };
                rows.push(row as u32);
            }
        } else {
            waiting::judge(&batch, &mut late, &mut on_time);
        }
        base.refuse_late(&batch, &late, out)?;
        let waits = if late.is_empty() { batch } else { batch.select(&on_time) };
        self.waiting.add(0, waits, &mut base.store)
    }

    /// Gives what is due at watermark `to`.
    pub(crate) fn watermark(
        &mut self,
        to: i64,
        slice_rows: usize,
        base: &mut Base,
        filling: &mut Filling,
        out: &mut dyn Emit,
    ) -> Result<Step, Fault> {
        let bounds = SliceBounds {
            rows: slice_rows,
            bytes: SLICE_BYTES,
        };
        let mut released = self.waiting.release(to, bounds, &mut base.store)?;
        if let Some(batch) = released.batches.pop().flatten() {
            match filling {
                Filling::Aggregates(results) => self.aggregate(&batch, base, results, out)?,
                Filling::Guest(_) => self.hand_over(&batch, base, filling, out)?,
            }
            filling.flush(base, out)?;
        }
        Ok(if released.next.is_some() {
            Step::More
        } else {
            Step::Done
        })
    }

    /// Adds rows in order to their panes.
    fn aggregate(
        &mut self,
        batch: &Batch,
        base: &mut Base,
        results: &mut Results,
        out: &mut dyn Emit,
    ) -> Result<(), Fault> {
        let opened = Opened::new(batch);
        let keys = BatchKeys::of(batch, &base.key);
        let mut open: Vec<Open> = Vec::new();
        let mut numbers: HashMap<&[u8], usize> = HashMap::new();
        let (mut chosen, mut groups) = (Vec::new(), Vec::new());
        let mut complete: Vec<Complete> = Vec::new();
        let mut cells = results.aggregates.cells();
        let mut taken = 0;
        for row in 0..batch.rows() {
            let key = keys.get(row);
            let number = if let Some(number) = numbers.get(key) {
                *number
            } else {
                open.push(Self::open(key, base)?);
                numbers.insert(key, open.len() - 1);
                open.len() - 1
            };
            let Open { tally, group, .. } = &mut open[number];
            let position = tally.position;
            tally.position = (position + 1) % self.shape.cycle();
            if position >= self.shape.pane() {
                base.counters.unassigned += 1;
                continue;
            }
            if position == 0 {
                tally.first = opened.times[row];
            }
            let own = if let Some(own) = *group {
                own
            } else {
                let own = taken;
                taken += 1;
                results.aggregates.grow(&mut cells, taken as usize);
                let tail = tally.pane.take_tail();
                if !tail.is_empty() {
                    results.aggregates.decode(&mut cells, own, &mut &tail[..])?;
                }
                *group = Some(own);
                own
            };
            chosen.push(row as u32);
            groups.push(own);
            if position + 1 == self.shape.pane() {
                *group = None;
                complete.push(Complete {
                    row: row as u32,
                    tally: number,
                    group: own,
                    first: tally.first,
                });
            }
        }
        let mut rejects = base.rejects(out);
        results
            .aggregates
            .update(&mut cells, &opened, &chosen, &groups, &mut rejects)?;
        for pane in complete {
            let mut tail = Vec::new();
            results.aggregates.encode(&cells, pane.group, &mut tail);
            self.complete(&opened, &pane, tail, &mut open[pane.tally], base, results, out)?;
        }
        for Open { key, mut tally, group } in open {
            if let Some(group) = group {
                let (mut tail, at) = (Vec::new(), base.at(PARTS, &key));
                let Results { aggregates, .. } = &mut *results;
                aggregates.encode(&cells, group, &mut tail);
                let Tally { pane, names, .. } = &mut tally;
                pane.put_tail(tail, names, &at, aggregates, &mut base.store)?;
            }
            base.store.put(&base.at(TALLIES, &key), &tally.encode())?;
        }
        Ok(())
    }

    fn open(key: &[u8], base: &Base) -> Result<Open, Fault> {
        let tally = base.store.get(&base.at(TALLIES, key), Tally::decode)?;
        Ok(Open {
            key: key.to_vec(),
            tally: tally.transpose()?.unwrap_or_default(),
            group: None,
        })
    }

    /// A pane has all its rows, the last of which is at hand. `tail` are the cells of its last rows.
    #[expect(clippy::too_many_arguments, reason = "a pane's row, its cells and its key's panes")]
    fn complete(
        &self,
        opened: &Opened<'_>,
        pane: &Complete,
        tail: Vec<u8>,
        open: &mut Open,
        base: &mut Base,
        results: &mut Results,
        out: &mut dyn Emit,
    ) -> Result<(), Fault> {
        let Open { key, tally, .. } = open;
        let at = base.at(PARTS, key);
        let aggregates = &mut results.aggregates;
        // The stored parts of the rows before it in the pane. What is in them has no tail, as that was taken out.
        let mut parts = std::mem::take(&mut tally.pane);
        parts.set_tail(tail);
        let mut front = Vec::new();
        let (start, rows) = match self.shape {
            Shape::Apart { size, .. } => (pane.first, size),
            Shape::Growing { every } => {
                if tally.panes == 0 {
                    tally.start = pane.first;
                }
                tally.panes += 1;
                let Tally { back, names, .. } = &mut *tally;
                back.append(parts, names, &at, aggregates, &mut base.store)?;
                parts = Parts::default();
                (tally.start, tally.panes.saturating_mul(every))
            }
            Shape::Overlapping { size, every } => {
                let bytes = whole(&parts, &at).bytes(aggregates, &base.store)?;
                parts.remove(&at, &mut base.store)?;
                parts = Parts::default();
                let panes = base.at(PANES, key);
                let pane_at = |number: u64| [&panes[..], &number.to_be_bytes()].concat();
                base.store
                    .put(&pane_at(tally.panes), &[&sortable_int(pane.first)[..], &bytes].concat())?;
                let Tally { back, names, .. } = &mut *tally;
                back.append(Parts::of(bytes), names, &at, aggregates, &mut base.store)?;
                tally.panes += 1;
                let (size_panes, every_panes) = (size / self.shape.pane(), every / self.shape.pane());
                let Some(begin) = tally.panes.checked_sub(size_panes).filter(|n| n % every_panes == 0) else {
                    return Ok(());
                };
                if begin >= tally.flipped {
                    flip(aggregates, &pane_at, begin, tally.panes, every_panes, base)?;
                    tally.flipped = tally.panes;
                    std::mem::take(&mut tally.back).remove(&at, &mut base.store)?;
                }
                let start;
                (start, front) = read_pane(&pane_at(begin), base)?;
                let gone = Range {
                    from: pane_at(begin),
                    to: pane_at(begin + every_panes),
                };
                base.store.remove_range(gone.span())?;
                (start, size)
            }
        };
        let mut place = Vec::new();
        opened.place(pane.row as usize, &mut place);
        place.extend(0_u32.to_be_bytes());
        let firing = firing(key, start, opened.times[pane.row as usize], tally.results, place, rows);
        if let Shape::Growing { .. } = self.shape {
            tally.results += 1;
        }
        let content = Content {
            range: Range::all(&[]),
            before: None,
            stay: true,
        };
        let cells = Whole {
            first: &front,
            parts: if parts.is_empty() { &tally.back } else { &parts },
            at: &at,
        };
        results.add(firing, cells, content, base, out)?;
        parts.remove(&at, &mut base.store)
    }

    /// Hands a Wasm `window` the rows of windows.
    fn hand_over(
        &mut self,
        batch: &Batch,
        base: &mut Base,
        filling: &mut Filling,
        out: &mut dyn Emit,
    ) -> Result<(), Fault> {
        let codec = base.rows.clone();
        let opened = Opened::new(batch);
        let keys = BatchKeys::of(batch, &base.key);
        for row in 0..batch.rows() {
            let key = keys.get(row);
            let mut tally = Self::open(key, base)?.tally;
            let position = tally.position;
            let due = match self.shape {
                Shape::Apart { size, every } => {
                    tally.position = (position + 1) % every;
                    if position >= size {
                        base.counters.unassigned += 1;
                        base.store.put(&base.at(TALLIES, key), &tally.encode())?;
                        continue;
                    }
                    (position + 1 == size).then_some((size, size))
                }
                Shape::Overlapping { size, every } => {
                    let rows = tally.rows + 1;
                    (rows >= size && (rows - size) % every == 0).then_some((size, every))
                }
                Shape::Growing { every } => {
                    let rows = tally.rows + 1;
                    (rows % every == 0).then_some((rows, 0))
                }
            };
            let start = base.at(ROWS, key);
            codec.keep_numbered(&mut base.store, &start, tally.rows, &opened, row)?;
            tally.rows += 1;
            if let Some((size, over)) = due {
                let from = tally.rows - size;
                let range = Range::of_numbers(&start, from, tally.rows);
                let first = base.store.first(range.span(), Direction::Forwards)?;
                let (_, first) = first.ok_or_else(|| damaged("a kept row is not there"))?;
                let mut place = Vec::new();
                opened.place(row, &mut place);
                let begin = head(&first)?.time;
                let firing = firing(key, begin, opened.times[row], tally.results, place, size);
                if let Shape::Growing { .. } = self.shape {
                    tally.results += 1;
                }
                let content = Content {
                    range,
                    before: None,
                    stay: over < size,
                };
                filling.fire(firing, None, content, base, out)?;
                filling.forget(Range::of_numbers(&start, from, from + over), base)?;
            }
            base.store.put(&base.at(TALLIES, key), &tally.encode())?;
        }
        Ok(())
    }

    /// Whether rows wait.
    pub(crate) fn waits(&self) -> bool {
        !self.waiting.is_empty()
    }

    /// Whether an entry that was saved is a row that waits.
    pub(crate) fn owns(&self, entry: &[u8]) -> bool {
        self.waiting.owns(entry)
    }

    pub(crate) fn waiting(&mut self) -> &mut Waiting {
        &mut self.waiting
    }

    pub(crate) fn save(&self, base: &Base, out: &mut dyn Save) -> Result<(), Fault> {
        self.waiting.save(&base.store, out)
    }
}

/// A window whose last row is at `time`.
fn firing(key: &[u8], start: i64, time: i64, pane: u32, place: Vec<u8>, rows: u64) -> Firing {
    Firing {
        key: key.to_vec(),
        start,
        end: time.saturating_add(1),
        time,
        watermark: time,
        pane,
        place,
        rows,
    }
}

fn whole<'p>(parts: &'p Parts, at: &'p [u8]) -> Whole<'p> {
    Whole { first: &[], parts, at }
}

/// Gives each pane at which a window begins, each `every`-th of these, the aggregate of itself and those after it. The
/// others are needed no more.
fn flip(
    aggregates: &mut Aggregates,
    at: &dyn Fn(u64) -> Vec<u8>,
    from: u64,
    to: u64,
    every: u64,
    base: &mut Base,
) -> Result<(), Fault> {
    let mut after: Option<Cells> = None;
    for stretch in (0..(to - from).div_ceil(every)).rev() {
        let begin = from + stretch * every;
        let mut cells = aggregates.cells();
        aggregates.grow(&mut cells, 1);
        let mut start = 0;
        for number in begin..to.min(begin + every) {
            let (first, bytes) = read_pane(&at(number), base)?;
            aggregates.take_in(&mut cells, 0, number == begin, &bytes)?;
            if number == begin {
                start = first;
            } else {
                base.store.remove(&at(number))?;
            }
        }
        if let Some(after) = &after {
            aggregates.merge(&mut cells, 0, after, 0)?;
        }
        let mut entry = sortable_int(start).to_vec();
        aggregates.encode(&cells, 0, &mut entry);
        base.store.put(&at(begin), &entry)?;
        after = Some(cells);
    }
    Ok(())
}

fn read_pane(at: &[u8], base: &Base) -> Result<(i64, Vec<u8>), Fault> {
    let pane = base.store.get(at, |bytes| {
        read_time(bytes).map(|(first, cells)| (first, cells.to_vec()))
    })?;
    pane.ok_or_else(|| damaged("a pane is not there"))?
}

fn gcd(a: u64, b: u64) -> u64 {
    if b == 0 { a } else { gcd(b, a % b) }
}
