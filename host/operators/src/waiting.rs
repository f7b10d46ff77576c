//! Rows that wait until no earlier row can come, and leave in event-time order.
//!
//! What every operator over ordered rows has in front: keyed operators, count windows, joins, deduplicate and top. A row
//! is judged late when it comes ([`judge`], by t < W(r)); the others are added to [`Waiting`], and leave by
//! [`Waiting::release`] once the merged watermark has passed them, in the order (t, place, input), whatever the batches
//! were that brought them. They leave as batches, in slices of bounded size, with W = t as all that is handed on in
//! event-time order.
//!
//! In memory the rows stay in the batches that brought them, beside indices in order; a heap of the batches by their first
//! row that is not due tells which ones a watermark concerns. Of a batch of which most has left the rest is copied. Above a
//! budget of bytes the rows that leave last go to the operator's [`Store`], so that memory is bounded where the store is on
//! disk. Which rows are where shows in no result.
//!
//! ```text
//! batch:      judge -> late rows: late::Refusal::refuse
//!                   -> add(input, rows on time, store)
//! watermark:  loop { release(below, bounds, store) -> Released { batches, sequence, next } }
//! ```

pub(crate) mod groups;
pub(crate) mod late;
mod spilled;

use std::cmp::{Ordering, Reverse};
use std::collections::BinaryHeap;

use wasmill_core::batch::{Batch, Hidden, RowOf, Slot, interleave};
use wasmill_core::fault::Fault;
use wasmill_core::id::KeyGroup;
use wasmill_core::operator::Save;
use wasmill_core::order::Order;
use wasmill_core::plan::Stream;
use wasmill_core::watermark::RowWatermarks;
use wasmill_state::Store;

use self::spilled::{Layout, Spilled};

/// The logical rows that are late, t < W(r), into `late`, and the others into `on_time`; both are emptied first. Where no
/// row is late `on_time` stays empty too: all of the batch is on time.
pub(crate) fn judge(batch: &Batch, late: &mut Vec<u32>, on_time: &mut Vec<u32>) {
    late.clear();
    on_time.clear();
    let times = batch.times();
    if times.iter().all(|&time| time >= batch.watermark_max()) {
        return;
    }
    let watermarks = batch.watermarks();
    let mut cursor = watermarks.cursor();
    for (row, &time) in times.iter().enumerate() {
        if time < cursor.at(row) {
            late.push(row as u32);
        } else {
            on_time.push(row as u32);
        }
    }
    if late.is_empty() {
        on_time.clear();
    }
}

/// What [`Waiting`] is made for.
#[derive(Debug)]
pub(crate) struct WaitingPlan<'a> {
    /// The input streams, at most 255.
    pub(crate) inputs: &'a [&'a Stream],
    /// The key columns of each input, by place; empty where rows have no key.
    pub(crate) key: &'a [Vec<usize>],
    /// The job's number of key groups.
    pub(crate) groups: u16,
    /// The first byte of this table's entries, in the store and where it is saved: an operator's own number.
    pub(crate) table: u8,
    /// Above so many bytes rows go to the store. `usize::MAX` for a store in memory.
    pub(crate) memory_bytes: usize,
}

/// How much leaves at once.
#[derive(Clone, Copy, Debug)]
pub(crate) struct SliceBounds {
    /// So many rows at most.
    pub(crate) rows: usize,
    /// About so many bytes at most, but always one row.
    pub(crate) bytes: usize,
}

/// Rows that left.
#[derive(Clone, Debug)]
pub(crate) struct Released {
    /// The rows of each input in their order, with W = t; `None` where there is none.
    pub(crate) batches: Vec<Option<Batch>>,
    /// All rows in order: the input, and the row in its batch.
    pub(crate) sequence: Vec<(u8, u32)>,
    /// The time of the first row that is still to leave below the same bound. Rows of one time leave together unless they
    /// alone are more than a slice.
    pub(crate) next: Option<i64>,
}

/// The rows of one batch.
#[derive(Debug)]
struct Run {
    input: u8,
    /// Which batch it was, counted as they came: decides between rows without a place.
    number: u64,
    /// `None` when all rows have left.
    batch: Option<Batch>,
    /// Logical rows by (t, place).
    rows: Vec<u32>,
    /// So many of `rows` are due, or have left.
    due: usize,
    /// So many have not left.
    left: usize,
    bytes_per_row: usize,
    /// What it takes however few rows it has.
    own_bytes: usize,
}

/// A row in memory that is due.
#[derive(Clone, Copy, Debug)]
struct Due {
    time: i64,
    run: u32,
    /// Its place in the run's `rows`.
    at: u32,
}

/// The rows of an operator's inputs that wait.
#[derive(Debug)]
pub(crate) struct Waiting {
    layout: Layout,
    runs: Vec<Run>,
    /// The places in `runs` of those that have no row.
    free: Vec<u32>,
    /// The first time that is not due of each run that has one, and the run's place.
    undue: BinaryHeap<Reverse<(i64, u32)>>,
    held_rows: usize,
    held_bytes: usize,
    memory_bytes: usize,
    /// In order, from `due_next` on.
    due: Vec<Due>,
    due_next: usize,
    spilled: u64,
    next_run: u64,
}

impl Waiting {
    /// Nothing waits. What was in the store's table is not looked at.
    pub(crate) fn new(plan: &WaitingPlan<'_>) -> Self {
        Self {
            layout: Layout::new(plan),
            runs: Vec::new(),
            free: Vec::new(),
            undue: BinaryHeap::new(),
            held_rows: 0,
            held_bytes: 0,
            memory_bytes: plan.memory_bytes,
            due: Vec::new(),
            due_next: 0,
            spilled: 0,
            next_run: 0,
        }
    }

    /// Takes rows that are not late. Rows below what has been released already leave with the next slice.
    ///
    /// # Errors
    /// The store cannot be written.
    pub(crate) fn add(&mut self, input: usize, batch: Batch, store: &mut Store) -> Result<(), Fault> {
        if batch.is_empty() {
            return Ok(());
        }
        let base_rows = batch.hidden().times.len();
        let batch = if base_rows > batch.rows() * BASE_SHARE_MAX {
            let all: Vec<u32> = (0..batch.rows() as u32).collect();
            batch.gather(&all)
        } else {
            batch
        };
        let rows = sorted_rows(&batch);
        let run = Run::new(input as u8, self.next_run, batch, rows);
        self.next_run += 1;
        self.insert(run);
        self.spill(store)
    }

    /// Whether no row waits.
    pub(crate) fn is_empty(&self) -> bool {
        self.spilled == 0 && self.held_rows == 0
    }

    /// About how many bytes of memory the rows take.
    pub(crate) fn size_bytes(&self) -> usize {
        self.held_bytes
    }

    /// Takes out the first rows with t < `below`, in the order (t, place, input), and no more than one slice of them.
    /// `below = i64::MAX` takes rows at the end of time too.
    ///
    /// # Errors
    /// The store cannot be read or written.
    pub(crate) fn release(&mut self, below: i64, bounds: SliceBounds, store: &mut Store) -> Result<Released, Fault> {
        self.prepare(below);
        let spilled = if self.spilled > 0 {
            self.layout.page(below, bounds, store)?
        } else {
            Spilled::default()
        };
        let (mut picks, next) = self.pick(below, bounds, &spilled);
        if let (Some(next), Some(last)) = (next, picks.last())
            && next == self.time_of(*last, &spilled)
        {
            let whole = picks.partition_point(|&pick| self.time_of(pick, &spilled) < next);
            if whole > 0 {
                picks.truncate(whole);
            }
        }
        let released = self.gather(&picks, &spilled, next)?;
        self.forget(&picks, &spilled, store)?;
        Ok(released)
    }

    fn insert(&mut self, run: Run) {
        self.held_rows += run.left;
        self.held_bytes += run.size_bytes();
        let place = self.free.pop().unwrap_or(self.runs.len() as u32);
        self.undue.extend(run.first_undue().map(|time| Reverse((time, place))));
        match self.runs.get_mut(place as usize) {
            Some(free) => *free = run,
            None => self.runs.push(run),
        }
    }

    /// Puts the rows in memory below a bound in order. How many runs have rows that were not due before; no other run is
    /// looked at.
    fn prepare(&mut self, below: i64) -> usize {
        let before = self.due.len();
        let mut runs = 0;
        while let Some(&Reverse((first, place))) = self.undue.peek()
            && (first < below || below == i64::MAX)
        {
            self.undue.pop();
            let run = &mut self.runs[place as usize];
            let batch = run.batch.as_ref().expect("a row of it has not left");
            let undue = &run.rows[run.due..];
            let count = if below == i64::MAX {
                undue.len()
            } else {
                undue.partition_point(|&row| batch.time(row as usize) < below)
            };
            self.due.extend(undue[..count].iter().enumerate().map(|(at, &row)| Due {
                time: batch.time(row as usize),
                run: place,
                at: (run.due + at) as u32,
            }));
            run.due += count;
            self.undue.extend(run.first_undue().map(|time| Reverse((time, place))));
            runs += 1;
        }
        if self.due.len() > before {
            let Self { due, runs, .. } = self;
            // The standard stable sort finds the runs, which are sorted, and merges them.
            due[self.due_next..].sort_by(|a, b| a.time.cmp(&b.time).then_with(|| compare_places(runs, *a, *b)));
        }
        runs
    }

    /// The first rows below a bound, and the time of the one after them.
    fn pick(&self, below: i64, bounds: SliceBounds, spilled: &Spilled) -> (Vec<Pick>, Option<i64>) {
        let mut picks = Vec::new();
        let mut bytes = 0;
        let (mut memory, mut store) = (self.due_next, 0);
        let mut key = Vec::new();
        loop {
            let in_memory = self.due.get(memory).filter(|due| due.time < below || below == i64::MAX);
            let pick = match (in_memory, spilled.time(store)) {
                (Some(due), None) if spilled.next.is_none_or(|next| due.time < next) => Pick::Memory(memory),
                // The store may have more than was read.
                (_, None) => return (picks, spilled.next),
                (None, Some(_)) => Pick::Store(store),
                (Some(due), Some(time)) => match due.time.cmp(&time) {
                    Ordering::Less => Pick::Memory(memory),
                    Ordering::Greater => Pick::Store(store),
                    Ordering::Equal => {
                        let run = &self.runs[due.run as usize];
                        self.layout.key(run.view(), due.at, KeyGroup(0), &mut key);
                        if *key < *spilled.key(store) {
                            Pick::Memory(memory)
                        } else {
                            Pick::Store(store)
                        }
                    }
                },
            };
            if picks.len() >= bounds.rows || bytes >= bounds.bytes && !picks.is_empty() {
                return (picks, Some(self.time_of(pick, spilled)));
            }
            match pick {
                Pick::Memory(at) => {
                    bytes += self.runs[self.due[at].run as usize].bytes_per_row;
                    memory += 1;
                }
                Pick::Store(at) => {
                    bytes += spilled.len(at);
                    store += 1;
                }
            }
            picks.push(pick);
        }
    }

    fn time_of(&self, pick: Pick, spilled: &Spilled) -> i64 {
        match pick {
            Pick::Memory(at) => self.due[at].time,
            Pick::Store(at) => spilled.time(at).expect("it was picked"),
        }
    }

    fn gather(&self, picks: &[Pick], spilled: &Spilled, next: Option<i64>) -> Result<Released, Fault> {
        let from_store = picks.iter().filter_map(|pick| match pick {
            Pick::Store(at) => Some(*at),
            Pick::Memory(_) => None,
        });
        let restored = self.layout.decode(spilled, from_store)?;
        let mut rows: Vec<Vec<RowOf<'_>>> = vec![Vec::new(); self.layout.inputs()];
        let mut restored_rows = vec![0; self.layout.inputs()];
        let mut sequence = Vec::with_capacity(picks.len());
        for pick in picks {
            let (input, of) = match *pick {
                Pick::Memory(at) => {
                    let due = self.due[at];
                    let run = &self.runs[due.run as usize];
                    let batch = run.batch.as_ref().expect("a row of it has not left");
                    let row = run.rows[due.at as usize] as usize;
                    (usize::from(run.input), RowOf { batch, row })
                }
                Pick::Store(at) => {
                    let input = spilled.input(at);
                    let batch = restored[input].as_ref().expect("it was decoded");
                    let row = restored_rows[input];
                    restored_rows[input] += 1;
                    (input, RowOf { batch, row })
                }
            };
            sequence.push((input as u8, rows[input].len() as u32));
            rows[input].push(of);
        }
        let batches = rows.iter().map(|rows| copy(rows)).collect();
        Ok(Released {
            batches,
            sequence,
            next,
        })
    }

    fn forget(&mut self, picks: &[Pick], spilled: &Spilled, store: &mut Store) -> Result<(), Fault> {
        for pick in picks {
            match *pick {
                Pick::Memory(at) => {
                    let place = self.due[at].run;
                    self.leave(place, 1);
                    self.due_next += 1;
                }
                Pick::Store(at) => {
                    store.remove(spilled.key(at))?;
                    self.spilled -= 1;
                }
            }
        }
        if self.due_next == self.due.len() {
            self.shrink();
        }
        Ok(())
    }

    /// Rows of a run have left.
    fn leave(&mut self, place: u32, rows: usize) {
        let run = &mut self.runs[place as usize];
        run.left -= rows;
        self.held_rows -= rows;
        self.held_bytes -= rows * run.bytes_per_row;
        if run.left == 0 {
            self.held_bytes -= run.own_bytes;
            run.batch = None;
            run.rows = Vec::new();
            run.due = 0;
            self.free.push(place);
        }
    }

    /// Once nothing is due any more: copies what is left of runs of which most has left.
    fn shrink(&mut self) {
        for due in self.due.drain(..) {
            let run = &mut self.runs[due.run as usize];
            let Some(batch) = &run.batch else { continue };
            if run.left * LEFT_SHARE_MAX < batch.rows() {
                let rest = batch.gather(&run.rows[run.due..]);
                let copied = Run::new(run.input, run.number, rest, (0..run.left as u32).collect());
                self.held_bytes -= run.size_bytes();
                self.held_bytes += copied.size_bytes();
                *run = copied;
            }
        }
        self.due_next = 0;
        if self.held_rows == 0 {
            self.runs = Vec::new();
            self.free = Vec::new();
        }
    }

    /// Moves the later half of the rows that are not due to the store, until the rest is within the budget.
    fn spill(&mut self, store: &mut Store) -> Result<(), Fault> {
        while self.held_bytes > self.memory_bytes {
            let mut times: Vec<i64> = self.runs.iter().flat_map(Run::undue_times).collect();
            let Some(middle) = times.len().checked_sub(1).map(|last| last / 2) else {
                return Ok(());
            };
            let (_, &mut median, later) = times.select_nth_unstable(middle);
            // Rows of the middle time go too where none is later.
            let median_stays = later.iter().any(|&time| time > median);
            let stays = |time: i64| time < median || time == median && median_stays;
            let mut kept = Vec::new();
            for place in 0..self.runs.len() {
                let run = &mut self.runs[place];
                let undue = run.rows.len() - run.due;
                let stay = run.undue_times().take_while(|&time| stays(time)).count();
                if stay == undue {
                    continue;
                }
                let view = run.view();
                self.spilled += self.layout.put(view, run.due + stay, store)?;
                if stay > 0 {
                    let batch = view.batch.gather(&run.rows[run.due..run.due + stay]);
                    kept.push(Run::new(run.input, run.number, batch, (0..stay as u32).collect()));
                }
                run.rows.truncate(run.due);
                self.leave(place as u32, undue);
            }
            for run in kept {
                self.insert(run);
            }
            let first = |(place, run): (usize, &Run)| run.first_undue().map(|time| Reverse((time, place as u32)));
            self.undue = self.runs.iter().enumerate().filter_map(first).collect();
        }
        Ok(())
    }

    /// Whether an entry is one that [`Self::save`] handed out.
    pub(crate) fn owns(&self, key: &[u8]) -> bool {
        key.first() == Some(&self.layout.table())
    }

    /// Hands out all rows, each in its key's group. Called between firings.
    ///
    /// # Errors
    /// The store cannot be read, or `out` cannot take it.
    pub(crate) fn save(&self, store: &Store, out: &mut dyn Save) -> Result<(), Fault> {
        for run in &self.runs {
            let from = run.rows.len() - run.left;
            if run.left > 0 {
                self.layout.save(run.view(), from, out)?;
            }
        }
        if self.spilled > 0 {
            self.layout.save_spilled(store, out)
        } else {
            Ok(())
        }
    }

    /// Takes an entry that [`Self::save`] handed out.
    ///
    /// # Errors
    /// It is damaged, or the store cannot be written.
    pub(crate) fn load(&mut self, group: KeyGroup, key: &[u8], value: &[u8], store: &mut Store) -> Result<(), Fault> {
        let number = self.layout.load(group, key, value, store)?;
        self.spilled += 1;
        self.next_run = self.next_run.max(number + 1);
        Ok(())
    }
}

/// A batch whose base has more than so many rows for each of its own is copied, so as not to keep the others alive.
const BASE_SHARE_MAX: usize = 2;

/// A batch that once had more than so many rows for each that is left is copied, for the same reason.
const LEFT_SHARE_MAX: usize = 4;

/// What a buffer takes beside its values, about: headers, and what is lost by alignment. A process that held 40,000 batches
/// of one row, of a text and an integer, had 96 MB resident; by this they count as 82 MB.
const BUFFER_BYTES: usize = 256;

/// A row that leaves: a place in `due`, or in the page of the store.
#[derive(Clone, Copy, Debug)]
enum Pick {
    Memory(usize),
    Store(usize),
}

/// A run as the store's layout needs it.
#[derive(Clone, Copy, Debug)]
struct View<'a> {
    input: u8,
    number: u64,
    batch: &'a Batch,
    rows: &'a [u32],
}

impl Run {
    /// `rows` are all rows of the batch, in order.
    fn new(input: u8, number: u64, batch: Batch, rows: Vec<u32>) -> Self {
        let columns = batch
            .slots()
            .iter()
            .filter(|slot| !matches!(slot, Slot::Absent))
            .count();
        // Each column has a buffer at least, and so have the times, the places and the indices.
        let own_bytes = size_of::<Self>() + size_of_val(batch.slots()) + (columns + 3) * BUFFER_BYTES;
        Self {
            input,
            number,
            due: 0,
            left: rows.len(),
            bytes_per_row: batch.size_bytes() / rows.len() + 1,
            own_bytes,
            batch: Some(batch),
            rows,
        }
    }

    fn size_bytes(&self) -> usize {
        self.own_bytes + self.left * self.bytes_per_row
    }

    fn view(&self) -> View<'_> {
        View {
            input: self.input,
            number: self.number,
            batch: self.batch.as_ref().expect("a row of it has not left"),
            rows: &self.rows,
        }
    }

    fn order(&self) -> Option<&Order> {
        self.batch.as_ref()?.hidden().order.as_ref()
    }

    /// The time of the first row that is not due.
    fn first_undue(&self) -> Option<i64> {
        self.undue_times().next()
    }

    fn undue_times(&self) -> impl Iterator<Item = i64> {
        let batch = self.batch.iter();
        batch.flat_map(|batch| self.rows[self.due..].iter().map(|&row| batch.time(row as usize)))
    }
}

/// Logical rows by (t, place), equal ones as they stand.
fn sorted_rows(batch: &Batch) -> Vec<u32> {
    let mut rows: Vec<(i64, u32)> = batch.times().iter().copied().zip(0..).collect();
    if !rows.is_sorted() {
        rows.sort_unstable();
    }
    if let Some(order) = batch.order() {
        for same in rows.chunk_by_mut(|a, b| a.0 == b.0) {
            if same.len() > 1 {
                same.sort_by(|a, b| order.compare(a.1 as usize, &order, b.1 as usize));
            }
        }
    }
    rows.into_iter().map(|(_, row)| row).collect()
}

/// By place, then by input, then as they came.
fn compare_places(runs: &[Run], a: Due, b: Due) -> Ordering {
    let (run, other) = (&runs[a.run as usize], &runs[b.run as usize]);
    let place_of = |run: &Run, due: Due| {
        let batch = run.batch.as_ref().expect("a row that is due has not left");
        batch.base_row(run.rows[due.at as usize] as usize)
    };
    let by_place = match (run.order(), other.order()) {
        (Some(own), Some(others)) => own.compare(place_of(run, a), others, place_of(other, b)),
        (own, others) => own.is_some().cmp(&others.is_some()),
    };
    by_place
        .then_with(|| run.input.cmp(&other.input))
        .then_with(|| (run.number, a.at).cmp(&(other.number, b.at)))
}

/// Rows as a batch of their own, with W = t.
fn copy(rows: &[RowOf<'_>]) -> Option<Batch> {
    let first = rows.first()?.batch;
    let batch = if rows.iter().all(|of| std::ptr::eq(of.batch, first)) {
        let rows: Vec<u32> = rows.iter().map(|of| of.row as u32).collect();
        first.gather(&rows)
    } else {
        interleave(rows)
    };
    let hidden = batch.hidden();
    let watermarks = RowWatermarks::from_values(&hidden.times);
    let hidden = Hidden {
        watermarks,
        ..hidden.clone()
    };
    Some(batch.with_hidden(hidden))
}

#[cfg(test)]
mod tests;
