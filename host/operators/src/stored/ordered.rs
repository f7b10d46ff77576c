//! The rows of one or two inputs, one after the other in event-time order.
//!
//! Each input has rows of its own that wait. Of equal times those of the later input come first: in a join the right
//! side's, so that a left row meets every right row of its own time.

use wasmill_core::batch::Batch;
use wasmill_core::fault::Fault;
use wasmill_core::id::KeyGroup;
use wasmill_core::operator::Save;
use wasmill_core::plan::Stream;
use wasmill_state::Store;

use super::WAITING;
use crate::waiting::{SliceBounds, Waiting, WaitingPlan};

/// Rows that are taken out of those that wait at once.
const SLICE: SliceBounds = SliceBounds {
    rows: 4_096,
    bytes: 1 << 20,
};

/// The rows of an operator's inputs in order.
#[derive(Debug)]
pub(crate) struct Ordered {
    sides: Vec<Side>,
}

#[derive(Debug)]
struct Side {
    waiting: Waiting,
    slice: Option<Slice>,
    /// No row below this waits.
    drained: i64,
}

/// Rows that do not wait any more.
#[derive(Debug)]
struct Slice {
    batch: Batch,
    at: usize,
}

impl Ordered {
    /// Nothing waits. `key` has the key columns of each input.
    pub(crate) fn new(inputs: &[&Stream], key: &[Vec<usize>], groups: u16, memory_bytes: usize) -> Self {
        let sides = inputs.iter().zip(key).enumerate().map(|(side, (stream, key))| {
            let plan = WaitingPlan {
                inputs: &[*stream],
                key: std::slice::from_ref(key),
                groups,
                table: WAITING + side as u8,
                memory_bytes: memory_bytes / inputs.len(),
            };
            Side {
                waiting: Waiting::new(&plan),
                slice: None,
                drained: i64::MIN,
            }
        });
        Self { sides: sides.collect() }
    }

    /// Takes rows that are not late.
    pub(crate) fn add(&mut self, input: usize, batch: Batch, store: &mut Store) -> Result<(), Fault> {
        self.sides[input].waiting.add(0, batch, store)
    }

    /// The input that has the first row with t < `below`.
    pub(crate) fn next(&mut self, below: i64, store: &mut Store) -> Result<Option<usize>, Fault> {
        let mut first: Option<(i64, usize)> = None;
        for (input, side) in self.sides.iter_mut().enumerate() {
            if let Some(time) = side.next_time(below, store)?
                && first.is_none_or(|(least, _)| time <= least)
            {
                first = Some((time, input));
            }
        }
        Ok(first.map(|(_, input)| input))
    }

    /// The batch that has the input's first row, and the row.
    pub(crate) fn row(&self, input: usize) -> (&Batch, usize) {
        let slice = self.sides[input].slice.as_ref().expect("the input has a row");
        (&slice.batch, slice.at)
    }

    /// The input's first row is done with.
    pub(crate) fn advance(&mut self, input: usize) {
        let side = &mut self.sides[input];
        if let Some(slice) = &mut side.slice {
            slice.at += 1;
            if slice.at == slice.batch.rows() {
                side.slice = None;
            }
        }
    }

    /// Whether an entry is one that [`Self::save`] handed out.
    pub(crate) fn owns(&self, key: &[u8]) -> bool {
        self.sides.iter().any(|side| side.waiting.owns(key))
    }

    /// Hands out all rows. Called when all that are due have been taken.
    pub(crate) fn save(&self, store: &Store, out: &mut dyn Save) -> Result<(), Fault> {
        self.sides.iter().try_for_each(|side| side.waiting.save(store, out))
    }

    /// Takes an entry that [`Self::save`] handed out.
    pub(crate) fn load(&mut self, group: KeyGroup, key: &[u8], value: &[u8], store: &mut Store) -> Result<(), Fault> {
        match self.sides.iter_mut().find(|side| side.waiting.owns(key)) {
            Some(side) => side.waiting.load(group, key, value, store),
            None => Ok(()),
        }
    }
}

impl Side {
    fn next_time(&mut self, below: i64, store: &mut Store) -> Result<Option<i64>, Fault> {
        if self.slice.is_none() && self.drained < below {
            let released = self.waiting.release(below, SLICE, store)?;
            self.slice = released
                .batches
                .into_iter()
                .next()
                .flatten()
                .map(|batch| Slice { batch, at: 0 });
            if released.next.is_none() {
                self.drained = below;
            }
        }
        Ok(self.slice.as_ref().map(|slice| slice.batch.time(slice.at)))
    }
}
