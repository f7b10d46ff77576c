//! The rows of one key in one window, joined: all pairs, or rows alone, in slices.

use std::ops::Bound;

use wasmill_core::fault::Fault;
use wasmill_core::plan::JoinKind;
use wasmill_state::{Direction, Page, Span, Store};

use super::super::pairs::When;
use super::super::{Context, LEFT, RIGHT};
use super::rows_between;
use crate::stored::{Kept, OWNER_HEAD_BYTES};

/// Rows of a side that are in memory at once.
const PAGE_ROWS: usize = 512;
/// Bytes of a side's rows that are in memory at once.
const PAGE_BYTES: usize = 1 << 20;

/// What is still to come out of a key's rows in a window.
#[derive(Debug)]
pub(super) struct Product {
    when: When,
    work: Vec<Work>,
}

#[derive(Debug)]
enum Work {
    /// Each left row with each right row.
    Pairs {
        sides: Box<[Cursor; 2]>,
        /// The next pair of the rows in memory.
        at: [usize; 2],
    },
    /// The rows of a side without the other.
    Alone { side: usize, rows: Cursor, at: usize },
}

/// Some rows of a side after the other.
#[derive(Debug)]
struct Cursor {
    from: Vec<u8>,
    to: Vec<u8>,
    page: Page,
    /// Whether there are more rows after those in memory.
    more: bool,
    /// Whether the rows in memory are all.
    is_whole: bool,
}

impl Product {
    /// The rows of an owner between two times, both included, which stand in the window `shown`.
    pub(super) fn new(
        kind: JoinKind,
        owner: &[u8],
        (first, last): (i64, i64),
        shown: (i64, i64),
        cx: &mut Context<'_>,
    ) -> Result<Self, Fault> {
        let has_key = cx.inputs[LEFT].is_whole_key(&owner[OWNER_HEAD_BYTES..])?;
        let cursor = |side: usize, store: &Store| Cursor::new(rows_between(side, owner, first, last), store);
        let sides = [cursor(LEFT, cx.store)?, cursor(RIGHT, cx.store)?];
        let there = [LEFT, RIGHT].map(|side| !sides[side].page.is_empty());
        let meet = has_key && there == [true; 2];
        let [left, right] = sides;
        let alone = |side: usize, rows: Cursor| Work::Alone { side, rows, at: 0 };
        let work = match (kind, meet) {
            (JoinKind::Inner | JoinKind::Left | JoinKind::Right | JoinKind::Full, true) => vec![Work::Pairs {
                sides: Box::new([left, right]),
                at: [0; 2],
            }],
            (JoinKind::Semi, true) | (JoinKind::Left | JoinKind::Anti, false) => vec![alone(LEFT, left)],
            (JoinKind::Right, false) => vec![alone(RIGHT, right)],
            (JoinKind::Full, false) => vec![alone(RIGHT, right), alone(LEFT, left)],
            (JoinKind::Inner | JoinKind::Semi, false) | (JoinKind::Anti, true) => Vec::new(),
        };
        let time = shown.1.saturating_sub(1);
        Ok(Self {
            when: When {
                time,
                watermark: time,
                window: Some(shown),
            },
            work,
        })
    }

    /// Emits until a slice is full. Whether all came out.
    pub(super) fn emit(&mut self, cx: &mut Context<'_>) -> Result<bool, Fault> {
        while let Some(work) = self.work.last_mut() {
            let is_done = match work {
                Work::Pairs { sides, at } => emit_pairs(sides, at, self.when, cx)?,
                Work::Alone { side, rows, at } => emit_alone(*side, rows, at, self.when, cx)?,
            };
            if !is_done {
                return Ok(false);
            }
            self.work.pop();
        }
        Ok(true)
    }
}

fn emit_pairs(sides: &mut [Cursor; 2], at: &mut [usize; 2], when: When, cx: &mut Context<'_>) -> Result<bool, Fault> {
    let [left, right] = sides;
    loop {
        while at[LEFT] < left.page.len() {
            let half = Kept::read(left.page.entry(at[LEFT]).1)?;
            while at[RIGHT] < right.page.len() {
                if cx.pairs.building.is_full() {
                    return Ok(false);
                }
                let other = Kept::read(right.page.entry(at[RIGHT]).1)?;
                cx.push_pair(LEFT, half.into(), other.into(), when)?;
                at[RIGHT] += 1;
            }
            at[RIGHT] = 0;
            at[LEFT] += 1;
        }
        at[LEFT] = 0;
        if right.next(cx.store)? {
            continue;
        }
        if !left.next(cx.store)? {
            return Ok(true);
        }
        right.rewind(cx.store)?;
    }
}

fn emit_alone(side: usize, rows: &mut Cursor, at: &mut usize, when: When, cx: &mut Context<'_>) -> Result<bool, Fault> {
    loop {
        while *at < rows.page.len() {
            if cx.pairs.building.is_full() {
                return Ok(false);
            }
            let half = Kept::read(rows.page.entry(*at).1)?;
            cx.push_alone(side, half.into(), when)?;
            *at += 1;
        }
        *at = 0;
        if !rows.next(cx.store)? {
            return Ok(true);
        }
    }
}

impl Cursor {
    fn new([from, to]: [Vec<u8>; 2], store: &Store) -> Result<Self, Fault> {
        let mut cursor = Self {
            from,
            to,
            page: Page::default(),
            more: false,
            is_whole: true,
        };
        cursor.rewind(store)?;
        cursor.is_whole = !cursor.more;
        Ok(cursor)
    }

    /// Goes back to the first rows.
    fn rewind(&mut self, store: &Store) -> Result<(), Fault> {
        if self.is_whole && !self.page.is_empty() {
            return Ok(());
        }
        let span = Span::Between(Bound::Included(&self.from), Bound::Excluded(&self.to));
        self.more = store.page(span, Direction::Forwards, PAGE_ROWS, PAGE_BYTES, &mut self.page)?;
        Ok(())
    }

    /// Goes on to the next rows. Whether there are any.
    fn next(&mut self, store: &Store) -> Result<bool, Fault> {
        if !self.more {
            return Ok(false);
        }
        let last = self.page.entry(self.page.len() - 1).0.to_vec();
        let span = Span::Between(Bound::Excluded(&last), Bound::Excluded(&self.to));
        self.more = store.page(span, Direction::Forwards, PAGE_ROWS, PAGE_BYTES, &mut self.page)?;
        Ok(true)
    }
}
