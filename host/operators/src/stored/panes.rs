//! Which keys have rows in which panes, and which windows are due because of them.
//!
//! Rows that are not late are not before the merged watermark, so a row never falls into a window that was due: the
//! windows that were are those that end at or before the watermark. Nothing else has to be remembered of them.

use std::collections::BTreeSet;
use std::ops::{Bound, ControlFlow};

use wasmill_core::fault::Fault;
use wasmill_core::key::sortable_int;
use wasmill_core::window::{Assigner, Pane, WindowNumber};
use wasmill_state::{Direction, Page, Span, Store};

use super::{Before, TIMED, TIMED_HEAD_BYTES, time_of, timed};

/// Keys that are read at once.
const PAGE_KEYS: usize = 256;
/// Bytes of keys that are read at once.
const PAGE_BYTES: usize = 1 << 20;

/// An index from panes to the owners of their rows.
#[derive(Debug)]
pub(crate) struct PaneIndex {
    table: u8,
    assigner: Assigner,
    /// The pane that was met last.
    pane: Option<Pane>,
    /// Windows before it have been handed out at the watermark that is being reached.
    next: WindowNumber,
    page: Page,
    key: Vec<u8>,
}

/// A window that is due.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct DueWindow {
    number: WindowNumber,
    /// Its first microsecond.
    pub(crate) start: i64,
    /// The first microsecond after it.
    pub(crate) end: i64,
    /// Its last microsecond.
    pub(crate) last: i64,
    /// What tells the places of its results from those of a window that ends with it.
    pub(crate) tie: Option<[u8; 16]>,
}

/// What there is to do.
#[derive(Debug)]
pub(crate) enum Due {
    /// Nothing.
    Nothing,
    /// A window is complete.
    Window(DueWindow),
    /// A pane from one time to another, both included, has no more windows. These owners have rows in it; there may be
    /// more, which are told next.
    Spent {
        first: i64,
        last: i64,
        owners: Vec<Vec<u8>>,
    },
}

impl PaneIndex {
    pub(crate) fn new(table: u8, assigner: Assigner) -> Self {
        Self {
            table,
            assigner,
            pane: None,
            next: WindowNumber::MIN,
            page: Page::default(),
            key: Vec::new(),
        }
    }

    /// The byte before the entries.
    pub(crate) fn table(&self) -> u8 {
        self.table | TIMED
    }

    /// The pane of a row; `None` where no window has it.
    pub(crate) fn pane(&mut self, time: i64) -> Option<Pane> {
        let pane = match self.pane {
            Some(pane) if pane.first <= time && time <= pane.last => pane,
            _ => self.assigner.pane(time),
        };
        self.pane = Some(pane);
        (!pane.windows.is_empty()).then_some(pane)
    }

    /// An owner has a row in a pane.
    pub(crate) fn add(&mut self, pane: Pane, owner: &[u8], store: &mut Store) -> Result<(), Fault> {
        timed(self.table, pane.first, owner, &mut self.key);
        store.put(&self.key, b"")
    }

    /// What there is to do at watermark `to`, after `reached`. A window is told once.
    pub(crate) fn due(&mut self, reached: i64, to: i64, store: &mut Store) -> Result<Due, Fault> {
        let table = [self.table()];
        let Some((key, _)) = store.first(Span::Prefix(&table), Direction::Forwards)? else {
            return Ok(Due::Nothing);
        };
        let pane = self.assigner.pane(time_of(&key)?);
        let first = pane.windows.first.max(self.next);
        let mut window = self.assigner.first_ending_after(
            reached,
            wasmill_core::window::Span {
                first,
                last: pane.windows.last,
            },
        );
        // No row begins with a window that repeats another: the stretch by which it is longer is empty.
        while pane.windows.first < window && window <= pane.windows.last && self.assigner.repeats(window) {
            window += 1;
        }
        if window > pane.windows.last {
            return self.spent(pane, store);
        }
        let (start, end) = (self.assigner.start(window), self.assigner.end(window));
        if end > to {
            return Ok(Due::Nothing);
        }
        self.next = window + 1;
        let last = self.assigner.last(window);
        Ok(Due::Window(DueWindow {
            number: window,
            start,
            end,
            last,
            tie: self.assigner.tie(window),
        }))
    }

    /// All that was due at a watermark is done.
    pub(crate) fn settle(&mut self) {
        self.next = WindowNumber::MIN;
    }

    fn spent(&mut self, pane: Pane, store: &mut Store) -> Result<Due, Fault> {
        timed(self.table, pane.first, b"", &mut self.key);
        store.page(
            Span::Prefix(&self.key),
            Direction::Forwards,
            PAGE_KEYS,
            PAGE_BYTES,
            &mut self.page,
        )?;
        let mut owners = Vec::with_capacity(self.page.len());
        for (key, _) in self.page.iter() {
            store.remove(key)?;
            owners.push(key[TIMED_HEAD_BYTES..].to_vec());
        }
        Ok(Due::Spent {
            first: pane.first,
            last: pane.last,
            owners,
        })
    }

    /// The first owners after `after` that have rows in a window, in order. None: there are no more.
    pub(crate) fn owners(
        &self,
        window: &DueWindow,
        after: Option<&[u8]>,
        store: &Store,
    ) -> Result<Vec<Vec<u8>>, Fault> {
        let mut found: BTreeSet<Vec<u8>> = BTreeSet::new();
        for first in self.panes_of(window, store)? {
            let mut start = vec![self.table()];
            start.extend(sortable_int(first));
            let mut end = start.clone();
            let from = match after {
                None => Bound::Included(&*start),
                Some(after) => {
                    start.extend_from_slice(after);
                    Bound::Excluded(&*start)
                }
            };
            end.extend([0xff; 3]);
            let mut read = 0;
            store.scan(
                Span::Between(from, Bound::Excluded(&end)),
                Direction::Forwards,
                |key, _| {
                    let owner = &key[TIMED_HEAD_BYTES..];
                    read += 1;
                    let is_enough = found.len() >= PAGE_KEYS;
                    if is_enough && found.last().is_some_and(|last| &**last < owner) {
                        return Ok(ControlFlow::Break(()));
                    }
                    found.insert(owner.to_vec());
                    if found.len() > PAGE_KEYS {
                        found.pop_last();
                    }
                    Ok(if read == PAGE_KEYS {
                        ControlFlow::Break(())
                    } else {
                        ControlFlow::Continue(())
                    })
                },
            )?;
        }
        Ok(found.into_iter().collect())
    }

    /// The beginnings of the panes of a window that have rows.
    pub(crate) fn panes_of(&self, window: &DueWindow, store: &Store) -> Result<Vec<i64>, Fault> {
        let mut panes = Vec::new();
        let mut from = window.start;
        let before = Before::new(self.table, i128::from(window.last) + 1);
        loop {
            let mut start = vec![self.table()];
            start.extend(sortable_int(from));
            let Span::Between(_, to) = before.span() else {
                unreachable!("a span before a time has two bounds")
            };
            let rest = Span::Between(Bound::Included(&start), to);
            let Some((key, _)) = store.first(rest, Direction::Forwards)? else {
                return Ok(panes);
            };
            let first = time_of(&key)?;
            let pane = self.assigner.pane(first);
            if pane.windows.contains(window.number) {
                panes.push(first);
            }
            if pane.last == i64::MAX {
                return Ok(panes);
            }
            from = pane.last + 1;
        }
    }
}
