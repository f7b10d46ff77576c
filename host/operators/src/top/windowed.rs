//! The first rows of each window.
//!
//! Each pane keeps its own first rows of each key; a window's are the first of those of its panes. The entries of a pane
//! stand under its beginning, after the owner.

use wasmill_core::batch::Batch;
use wasmill_core::column::Value;
use wasmill_core::fault::Fault;
use wasmill_core::key::sortable_int;
use wasmill_core::kind::Kind;
use wasmill_core::order::derived_place;
use wasmill_core::plan::TopNode;
use wasmill_core::window::Assigner;
use wasmill_state::{Direction, Page, Span, Store};

use super::Context;
use super::ranking::{NUMBERS, ROWS, Ranking};
use crate::stored::building::Facts;
use crate::stored::panes::{Due, DueWindow, PaneIndex};
use crate::stored::{Input, OWNER_HEAD_BYTES, Serials, keyed, place_of};

/// `window_start` and `window_end`.
pub(super) const COLUMNS: usize = 2;
/// The table of panes.
const PANES: u8 = 3;

/// What is known between calls, beside the store.
#[derive(Debug)]
pub(super) struct Windowed {
    index: PaneIndex,
    n: usize,
    firing: Option<Firing>,
    of_key: Vec<u8>,
    page: Page,
}

/// A window that is due.
#[derive(Debug)]
struct Firing {
    window: DueWindow,
    panes: Vec<i64>,
    /// The owners that are still to come out of those that were read, the last one first.
    owners: Vec<Vec<u8>>,
    read: Option<Vec<u8>>,
    /// The rows of an owner that are still to come out, the last one first, each with its rank.
    rows: Vec<(usize, Vec<u8>)>,
    owner: Vec<u8>,
}

impl Windowed {
    pub(super) fn new(plan: &TopNode, assigner: Assigner) -> Self {
        Self {
            index: PaneIndex::new(PANES, assigner),
            n: plan.n.get(),
            firing: None,
            of_key: Vec::new(),
            page: Page::default(),
        }
    }

    /// The first bytes of its entries.
    pub(super) fn tables(&self) -> [u8; 3] {
        [ROWS, NUMBERS, self.index.table()]
    }

    /// Keeps those rows that may be among the first of a window.
    pub(super) fn add(
        &mut self,
        batch: &Batch,
        input: &Input,
        ranking: &mut Ranking,
        serials: &mut Serials,
        store: &mut Store,
    ) -> Result<(), Fault> {
        let (mut owner, mut place) = (Vec::new(), Vec::new());
        for row in 0..batch.rows() {
            let Some(pane) = self.index.pane(batch.time(row)) else {
                continue;
            };
            input.owner(batch, row, &mut owner);
            place_of(batch, row, &mut place);
            self.index.add(pane, &owner, store)?;
            self.of_key.clear();
            self.of_key.extend_from_slice(&owner);
            self.of_key.extend(sortable_int(pane.first));
            ranking.enter(input, batch, row, &place, &self.of_key, serials, store)?;
        }
        Ok(())
    }

    /// Emits the results of windows that are due, until a slice is full. Whether all came out.
    pub(super) fn fire(&mut self, reached: i64, to: i64, cx: &mut Context<'_>) -> Result<bool, Fault> {
        loop {
            if cx.building.is_full() {
                return Ok(false);
            }
            if let Some(firing) = &mut self.firing {
                if let Some((rank, row)) = firing.rows.pop() {
                    firing.push(rank, &row, cx)?;
                } else if let Some(owner) = firing.next(&self.index, cx.store)? {
                    firing.read_rows(owner, self.n, &mut self.page, cx.store)?;
                } else {
                    self.firing = None;
                }
                continue;
            }
            match self.index.due(reached, to, cx.store)? {
                Due::Nothing => {
                    self.index.settle();
                    return Ok(true);
                }
                Due::Window(window) => {
                    self.firing = Some(Firing {
                        panes: self.index.panes_of(&window, cx.store)?,
                        window,
                        owners: Vec::new(),
                        read: None,
                        rows: Vec::new(),
                        owner: Vec::new(),
                    });
                }
                Due::Spent { first, owners, .. } => {
                    let mut key = Vec::new();
                    for mut owner in owners {
                        owner.extend(sortable_int(first));
                        keyed(ROWS, &owner, &mut key);
                        cx.store.remove_range(Span::Prefix(&key))?;
                        keyed(NUMBERS, &owner, &mut key);
                        cx.store.remove(&key)?;
                    }
                }
            }
        }
    }
}

impl Firing {
    fn next(&mut self, index: &PaneIndex, store: &Store) -> Result<Option<Vec<u8>>, Fault> {
        if self.owners.is_empty() {
            self.owners = index.owners(&self.window, self.read.as_deref(), store)?;
            self.owners.reverse();
            if let Some(last) = self.owners.first() {
                self.read = Some(last.clone());
            }
        }
        Ok(self.owners.pop())
    }

    /// The first rows of an owner in the window.
    fn read_rows(&mut self, owner: Vec<u8>, n: usize, page: &mut Page, store: &Store) -> Result<(), Fault> {
        let mut ranked: Vec<(Vec<u8>, Vec<u8>)> = Vec::new();
        let mut start = Vec::new();
        for &pane in &self.panes {
            keyed(ROWS, &owner, &mut start);
            start.extend(sortable_int(pane));
            store.page(Span::Prefix(&start), Direction::Forwards, n, usize::MAX, page)?;
            ranked.extend(
                page.iter()
                    .map(|(key, value)| (key[start.len()..].to_vec(), value.to_vec())),
            );
        }
        ranked.sort_unstable();
        ranked.truncate(n);
        self.rows = (1..).zip(ranked).map(|(rank, (_, value))| (rank, value)).collect();
        self.rows.reverse();
        self.owner = owner;
        Ok(())
    }

    fn push(&self, rank: usize, row: &[u8], cx: &mut Context<'_>) -> Result<(), Fault> {
        let DueWindow { start, end, tie, .. } = self.window;
        cx.building.value(0, Value::Timestamp(start));
        cx.building.value(1, Value::Timestamp(end));
        let time = end.saturating_sub(1);
        let facts = Facts {
            time,
            watermark: time,
            kind: Kind::Insert,
        };
        let node = &cx.letters.node;
        let place = |out: &mut Vec<u8>| {
            derived_place(node, &self.owner[OWNER_HEAD_BYTES..], end, rank as u32 - 1, out);
            // After the rank: windows that end together are rare, and their rows need to be told apart, no more.
            out.extend(tie.iter().flatten());
        };
        cx.push(row, rank, facts, place)
    }
}
