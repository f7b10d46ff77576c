//! The window join: pairs of rows in the same window.
//!
//! Each row is kept once, by its key and time, whatever the number of its windows. When a window is due, the rows of each
//! key in it are joined: within a window and a key every left row has every right row as its partner, so a row has none
//! only where the other side has no row at all.
//!
//! | table | key after the time and the owner | value |
//! |---|---|---|
//! | rows of a side | t, serial number | mark, place, values |
//! | panes by their beginning (aligned windows) | | |
//! | sessions | first t | last t |
//! | when to look at a session, by time | first t | |

mod product;
mod sessions;

use wasmill_core::batch::Batch;
use wasmill_core::fault::Fault;
use wasmill_core::key::sortable_int;
use wasmill_core::plan::JoinKind;
use wasmill_core::window::{Assigner, UnknownTimeZone, Windows};
use wasmill_state::{Span, Store};

use self::product::Product;
use self::sessions::{Session, Sessions};
use super::{Context, LEFT, RIGHT};
use crate::stored::panes::{Due, DueWindow, PaneIndex};
use crate::stored::{Input, Serials, TIMED, between_times, keyed, place_of};

/// The tables of rows, by side.
const ROWS: [u8; 2] = [1, 2];
/// The table of panes.
const PANES: u8 = 3;
/// The tables of sessions, and of when to look at them.
const SESSIONS: [u8; 2] = [4, 5];

/// The first bytes of its entries.
pub(super) const TABLES: [u8; 5] = [ROWS[0], ROWS[1], PANES | TIMED, SESSIONS[0], SESSIONS[1] | TIMED];

/// What a window join knows between calls, beside its store.
#[derive(Debug)]
pub(super) struct WindowJoin {
    kind: JoinKind,
    shape: Shape,
    /// A key of a window that is being joined.
    product: Option<Product>,
    key: Vec<u8>,
    value: Vec<u8>,
}

#[derive(Debug)]
enum Shape {
    Aligned {
        index: Box<PaneIndex>,
        /// The window that is due.
        firing: Option<Firing>,
    },
    Session {
        sessions: Sessions,
        /// The session that is due, as long as its rows are joined.
        firing: Option<Session>,
    },
}

/// A window, and those of its keys that are still to be joined.
#[derive(Debug)]
struct Firing {
    window: DueWindow,
    /// The last one first.
    owners: Vec<Vec<u8>>,
    /// The last one that was read.
    read: Option<Vec<u8>>,
}

impl WindowJoin {
    /// A join in these windows.
    ///
    /// # Errors
    /// The time zone is unknown.
    pub(super) fn new(kind: JoinKind, windows: &Windows) -> Result<Self, UnknownTimeZone> {
        let shape = match windows {
            Windows::Aligned(spec) => Shape::Aligned {
                index: Box::new(PaneIndex::new(PANES, Assigner::new(spec)?)),
                firing: None,
            },
            Windows::Session { gap } => Shape::Session {
                sessions: Sessions::new(SESSIONS, *gap),
                firing: None,
            },
            Windows::Count { .. } | Windows::Global { .. } => {
                unreachable!("the topology refuses joins in count and global windows")
            }
        };
        Ok(Self {
            kind,
            shape,
            product: None,
            key: Vec::new(),
            value: Vec::new(),
        })
    }

    /// Keeps rows that are not late.
    pub(super) fn add(
        &mut self,
        side: usize,
        input: &Input,
        batch: &Batch,
        serials: &mut Serials,
        store: &mut Store,
    ) -> Result<(), Fault> {
        let (mut owner, mut place) = (Vec::new(), Vec::new());
        // In no window join of these kinds a row without a key comes out.
        let needs_key = matches!(self.kind, JoinKind::Inner | JoinKind::Semi);
        for row in 0..batch.rows() {
            let time = batch.time(row);
            if !input.owner(batch, row, &mut owner) && needs_key {
                continue;
            }
            match &mut self.shape {
                Shape::Aligned { index, .. } => {
                    let Some(pane) = index.pane(time) else { continue };
                    index.add(pane, &owner, store)?;
                }
                Shape::Session { sessions, .. } => sessions.add(time, &owner, store)?,
            }
            place_of(batch, row, &mut place);
            keyed(ROWS[side], &owner, &mut self.key);
            self.key.extend(sortable_int(time));
            self.key.extend(serials.next());
            self.value.clear();
            input.keep(batch, row, 0, &place, &mut self.value);
            store.put(&self.key, &self.value)?;
        }
        Ok(())
    }

    /// Joins the rows of windows that are due. Whether all were.
    pub(super) fn fire(&mut self, reached: i64, to: i64, cx: &mut Context<'_>) -> Result<bool, Fault> {
        loop {
            if let Some(product) = &mut self.product {
                if !product.emit(cx)? {
                    return Ok(false);
                }
                self.product = None;
            }
            if cx.pairs.building.is_full() {
                return Ok(false);
            }
            match &mut self.shape {
                Shape::Aligned { index, firing } => {
                    if let Some(window) = firing {
                        match window.next(index, cx.store)? {
                            Some(owner) => {
                                let bounds = (window.window.start, window.window.last);
                                let shown = (window.window.start, window.window.end);
                                self.product = Some(Product::new(self.kind, &owner, bounds, shown, cx)?);
                            }
                            None => *firing = None,
                        }
                        continue;
                    }
                    match index.due(reached, to, cx.store)? {
                        Due::Nothing => {
                            index.settle();
                            return Ok(true);
                        }
                        Due::Window(window) => {
                            *firing = Some(Firing {
                                window,
                                owners: Vec::new(),
                                read: None,
                            });
                        }
                        Due::Spent { first, last, owners } => {
                            for owner in owners {
                                forget(&owner, first, last, cx.store)?;
                            }
                        }
                    }
                }
                Shape::Session { sessions, firing } => {
                    if let Some(session) = firing.take() {
                        forget(&session.owner, session.first, session.last, cx.store)?;
                        sessions.remove(&session, cx.store)?;
                    }
                    let Some(session) = sessions.due(to, cx.store)? else {
                        return Ok(true);
                    };
                    let bounds = (session.first, session.last);
                    let shown = (session.first, session.end);
                    self.product = Some(Product::new(self.kind, &session.owner, bounds, shown, cx)?);
                    *firing = Some(session);
                }
            }
        }
    }
}

/// Takes note of a loaded entry's serial number.
pub(super) fn count(key: &[u8], serials: &mut Serials) {
    if key.first().is_some_and(|table| ROWS.contains(table)) {
        serials.pass(key);
    }
}

/// Removes the rows of an owner from one time to another.
fn forget(owner: &[u8], first: i64, last: i64, store: &mut Store) -> Result<(), Fault> {
    for side in [LEFT, RIGHT] {
        let [from, to] = rows_between(side, owner, first, last);
        store.remove_range(Span::Between(
            std::ops::Bound::Included(&from),
            std::ops::Bound::Excluded(&to),
        ))?;
    }
    Ok(())
}

/// The bounds of the rows of an owner from one time to another.
fn rows_between(side: usize, owner: &[u8], first: i64, last: i64) -> [Vec<u8>; 2] {
    let mut start = Vec::new();
    keyed(ROWS[side], owner, &mut start);
    let mut bounds = [Vec::new(), Vec::new()];
    between_times(&start, first, last, &mut bounds);
    bounds
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
}
