//! The first rows of a key as they are kept: in the order of their ranks, at most n of them, with their number beside.
//!
//! | table | key | value |
//! |---|---|---|
//! | rows | owner, what the operator adds, rank, t, place, serial number | mark, place, values |
//! | numbers | owner, what the operator adds | how many rows there are |
//!
//! The rank is the encoded value, each byte flipped where the greatest come first, or `ff` for a null: either way rows
//! stand best first.

use std::num::NonZeroUsize;

use wasmill_core::batch::Batch;
use wasmill_core::column::Value;
use wasmill_core::fault::Fault;
use wasmill_core::key::{self, sortable_int};
use wasmill_core::plan::TopNode;
use wasmill_state::{Direction, Span, Store};

use super::Context;
use crate::codec::damaged;
use crate::stored::building::Facts;
use crate::stored::{Input, Kept, Serials, keyed, value_of};

/// The table of rows.
pub(super) const ROWS: u8 = 1;
/// The table of their numbers.
pub(super) const NUMBERS: u8 = 2;

/// How rows are ranked.
#[derive(Debug)]
pub(super) struct Ranking {
    pub(super) n: NonZeroUsize,
    by: usize,
    descending: bool,
    /// Columns of the output before the input's.
    before: usize,
    /// The column of ranks in the output.
    pub(super) rank: Option<usize>,
    /// The row in question: its key among the rows, and where the part that all its key's rows share ends.
    pub(super) key: Vec<u8>,
    pub(super) start: usize,
    value: Vec<u8>,
    number: Vec<u8>,
}

/// What became of a row.
#[derive(Debug)]
pub(super) enum Entered {
    /// There are n better ones.
    No,
    /// It is among the first.
    Yes {
        /// The row that is not any more: its value.
        out: Option<Vec<u8>>,
    },
}

/// Takes note of a loaded entry's serial number.
pub(super) fn count(key: &[u8], serials: &mut Serials) {
    if key.first() == Some(&ROWS) {
        serials.pass(key);
    }
}

impl Ranking {
    pub(super) fn new(plan: &TopNode, before: usize, columns: usize) -> Self {
        Self {
            n: plan.n,
            by: plan.by,
            descending: plan.descending,
            before,
            rank: plan.rank.then_some(before + columns),
            key: Vec::new(),
            start: 0,
            value: Vec::new(),
            number: Vec::new(),
        }
    }

    /// Puts a row among the first of `of_key`, an owner and what the operator adds, if it is one of them.
    #[expect(clippy::too_many_arguments, reason = "a row, where it belongs, and what keeps it")]
    pub(super) fn enter(
        &mut self,
        input: &Input,
        batch: &Batch,
        row: usize,
        place: &[u8],
        of_key: &[u8],
        serials: &mut Serials,
        store: &mut Store,
    ) -> Result<Entered, Fault> {
        keyed(ROWS, of_key, &mut self.key);
        self.start = self.key.len();
        match value_of(batch, self.by, row) {
            Value::Null => self.key.push(0xff),
            value => {
                key::encode(value, &mut self.key);
                if self.descending {
                    self.key[self.start..].iter_mut().for_each(|byte| *byte = !*byte);
                }
            }
        }
        self.key.extend(sortable_int(batch.time(row)));
        key::encode_bytes(place, &mut self.key);
        self.key.extend(serials.next());
        keyed(NUMBERS, of_key, &mut self.number);
        let rows = match store.get(&self.number, read_number)? {
            Some(rows) => rows?,
            None => 0,
        };
        let is_full = rows >= self.n.get() as u64;
        let mut out = None;
        if is_full {
            let all = Span::Prefix(&self.key[..self.start]);
            let worst = store.first(all, Direction::Backwards)?;
            let (worst, value) = worst.ok_or_else(|| damaged("there are fewer rows than their number"))?;
            if self.key > worst {
                return Ok(Entered::No);
            }
            store.remove(&worst)?;
            out = Some(value);
        } else {
            store.put(&self.number, &(rows + 1).to_le_bytes())?;
        }
        self.value.clear();
        input.keep(batch, row, 0, place, &mut self.value);
        store.put(&self.key, &self.value)?;
        Ok(Entered::Yes { out })
    }
}

fn read_number(bytes: &[u8]) -> Result<u64, Fault> {
    let bytes = bytes.try_into().map_err(|_| damaged("a number is cut off"))?;
    Ok(u64::from_le_bytes(bytes))
}

impl Context<'_> {
    /// Adds a kept row, with its rank where there is such a column.
    pub(super) fn push(
        &mut self,
        kept: &[u8],
        rank: usize,
        facts: Facts,
        place: impl FnOnce(&mut Vec<u8>),
    ) -> Result<(), Fault> {
        let Self {
            building,
            input,
            ranking,
            counters,
            out,
            ..
        } = self;
        let Input { fields, codec, .. } = input;
        let mut values = Kept::read(kept)?.values;
        codec.decode(&mut values, |field, value| {
            building.value(ranking.before + fields[field], value);
        })?;
        if let Some(column) = ranking.rank {
            building.value(column, Value::Int64(rank as i64));
        }
        building.end_row(facts, place, counters, *out);
        Ok(())
    }
}
