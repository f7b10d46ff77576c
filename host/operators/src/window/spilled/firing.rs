//! Windows on their way out of the store: slices of keys, in the order of keys.
//!
//! The entries of a pane's class stand in the order of keys, so a cursor for each class of each pane of the window finds
//! the next key. A result is led by the cells that count for it, a correction by those that make it necessary; the others
//! of a corrected key are looked up.

use std::ops::Bound;

use wasmill_core::fault::Fault;
use wasmill_core::operator::Step;
use wasmill_core::window::Span as Numbers;
use wasmill_state::{Direction, Page, Span, Store};

use super::{Place, Spilled, empty, keeps_rows, layout, take_cells};
use crate::keys::{KeyId, Keys};
use crate::window::firing::Context;
use crate::window::late::Class;
use crate::window::output::{Bounds, Numbers as Results, Output};
use crate::window::panes::{Panes, Wanted};

/// Entries that a cursor reads at once.
const PAGE_ENTRIES: usize = 1_024;
/// Bytes that a cursor reads at once, at least: some entries.
const PAGE_BYTES_MIN: usize = 1 << 10;

/// A window of which some keys may have been emitted.
#[derive(Debug)]
pub(super) struct Firing {
    wanted: Wanted,
    bounds: Bounds,
    span: Numbers,
    cursors: Vec<Cursor>,
}

/// Reads the entries of a pane's class.
#[derive(Debug)]
struct Cursor {
    /// The first microsecond of the pane.
    first: i64,
    class: Option<Class>,
    /// Where the key begins in an entry's key.
    head_bytes: usize,
    from: Vec<u8>,
    to: Vec<u8>,
    page: Page,
    page_bytes: usize,
    /// The entry of the page that is next.
    next: usize,
    more: bool,
}

impl Cursor {
    fn new(first: i64, class: Option<Class>, start: &[u8], page_bytes: usize) -> Self {
        let mut to = start.to_vec();
        // The tables' numbers are far from the highest byte, so some bytes are greater than all that begin so.
        while to.last() == Some(&u8::MAX) {
            to.pop();
        }
        if let Some(last) = to.last_mut() {
            *last += 1;
        }
        Self {
            first,
            class,
            head_bytes: start.len(),
            from: start.to_vec(),
            to,
            page: Page::default(),
            page_bytes,
            next: 0,
            more: true,
        }
    }

    /// Reads on where the page is at its end.
    fn fill(&mut self, store: &Store) -> Result<(), Fault> {
        if self.next < self.page.len() || !self.more {
            return Ok(());
        }
        let span = Span::Between(Bound::Included(&self.from), Bound::Excluded(&self.to));
        self.more = store.page(span, Direction::Forwards, PAGE_ENTRIES, self.page_bytes, &mut self.page)?;
        self.next = 0;
        if let Some(last) = self.page.len().checked_sub(1) {
            self.from.clear();
            self.from.extend_from_slice(self.page.entry(last).0);
            self.from.push(0);
        }
        Ok(())
    }

    /// The next key, and its cells.
    fn head(&self) -> Option<(&[u8], &[u8])> {
        (self.next < self.page.len()).then(|| {
            let (at, value) = self.page.entry(self.next);
            (&at[self.head_bytes..], value)
        })
    }
}

impl Firing {
    /// The next key, into `key`. Whether there is one.
    fn next_key(&mut self, store: &Store, key: &mut Vec<u8>) -> Result<bool, Fault> {
        for cursor in &mut self.cursors {
            cursor.fill(store)?;
        }
        let least = self.cursors.iter().filter_map(|cursor| Some(cursor.head()?.0)).min();
        key.clear();
        key.extend_from_slice(least.unwrap_or_default());
        Ok(least.is_some())
    }
}

impl Spilled {
    /// Emits what is due at watermark `to`, at most `slice_rows` rows of it. A row stays with the one that it takes back.
    pub(in crate::window) fn fire(
        &mut self,
        to: i64,
        slice_rows: usize,
        panes: &mut Panes,
        output: &mut Output,
        cx: &mut Context<'_>,
    ) -> Result<Step, Fault> {
        let rows_each = panes.rows_each();
        let mut room = slice_rows.max(rows_each);
        let step = loop {
            if let Some(mut firing) = self.firing.take_if(|_| room >= rows_each) {
                let (emitted, done) = self.slice(&mut firing, room / rows_each, panes, output, cx)?;
                room -= emitted * rows_each;
                if !done {
                    self.firing = Some(firing);
                    break Step::More;
                }
                self.close(to, panes, cx.keys)?;
            } else if self.firing.is_some() {
                break Step::More;
            } else {
                match panes.due(to) {
                    None => {
                        panes.open_from(to);
                        self.close(to, panes, cx.keys)?;
                        break Step::Done;
                    }
                    Some(_) if room < rows_each => break Step::More,
                    Some(wanted) => self.begin(wanted, panes, cx.keys)?,
                }
            }
        };
        cx.flush(output);
        Ok(step)
    }

    /// Takes a window that is due off the list of those, and finds its keys.
    fn begin(&mut self, wanted: Wanted, panes: &mut Panes, keys: &mut Keys) -> Result<(), Fault> {
        let Wanted { window, correction } = wanted;
        if correction {
            panes.corrections.remove(&window);
        } else {
            panes.next = window + 1;
            if panes.assigner.repeats(window) {
                return Ok(());
            }
        }
        self.evict(panes, keys)?;
        let span = panes.assigner.panes(window);
        let mut leaders = Vec::new();
        for pane in panes
            .list
            .range(panes.places(span))
            .filter(|pane| pane.stored.is_some())
        {
            if !correction {
                leaders.push((&pane.bounds, None));
            }
            let leads = |class: &Class| {
                if correction {
                    class.corrects(window)
                } else {
                    class.counts(window, false)
                }
            };
            let classes = pane.others.iter().map(|other| other.0).filter(leads);
            leaders.extend(classes.map(|class| (&pane.bounds, Some(class))));
        }
        let page_bytes = (self.slice_bytes / leaders.len().max(1)).max(PAGE_BYTES_MIN);
        let at = &mut self.buffers.at;
        let cursor = |(bounds, class)| {
            layout::of_class(layout::CELLS, bounds, class, at);
            Cursor::new(bounds.first, class, at, page_bytes)
        };
        self.firing = Some(Firing {
            bounds: Bounds::due(wanted, &panes.assigner, panes.allowed),
            wanted,
            span,
            cursors: leaders.into_iter().map(cursor).collect(),
        });
        Ok(())
    }

    /// Emits at most `keys_max` keys of a window. How many there were, and whether they were the last.
    fn slice(
        &mut self,
        firing: &mut Firing,
        keys_max: usize,
        panes: &mut Panes,
        output: &mut Output,
        cx: &mut Context<'_>,
    ) -> Result<(usize, bool), Fault> {
        self.evict(panes, cx.keys)?;
        let Wanted { window, correction } = firing.wanted;
        let (mut ids, mut bytes) = (Vec::new(), 0);
        let mut key = std::mem::take(&mut self.buffers.key);
        let mut any = firing.next_key(&self.store, &mut key)?;
        while any && ids.len() < keys_max && bytes < self.slice_bytes {
            let id = cx.keys.intern_canonical(&key);
            ids.push(id);
            bytes += take_heads(firing, &key, id, panes, cx)?;
            if correction || keeps_rows(&panes.blueprint.plugins) {
                bytes += self.load_key(firing.wanted, firing.span, id, true, panes, cx)?;
            }
            if panes.results.tracks() {
                self.fetch_record(&mut panes.results, window, id, cx.keys)?;
            }
            any = firing.next_key(&self.store, &mut key)?;
        }
        self.buffers.key = key;
        if ids.is_empty() {
            return Ok((0, true));
        }
        let refused = cx.rejects.counters.rejected;
        let part = panes.collect(firing.wanted, firing.span, correction.then_some(&ids[..]), cx)?;
        let numbers = (correction && panes.numbered).then(|| panes.numbers(window, firing.span, &ids));
        let Panes { blueprint, results, .. } = panes;
        let numbers = if results.tracks() {
            Results::Counted(results)
        } else {
            Results::Known(numbers.as_deref())
        };
        output.push(&part, &ids, &firing.bounds, numbers, &mut blueprint.plugins, cx.keys)?;
        self.put_records(&mut panes.results, cx.keys)?;
        self.leave(firing.span, cx.rejects.counters.rejected > refused, panes, cx.keys)?;
        Ok((ids.len(), !any))
    }

    /// Reads the cells of a key in all panes of a window that count for it and are not in memory, and its kept rows, which
    /// stay in the store or are taken out of it. How many bytes there were.
    pub(super) fn load_key(
        &mut self,
        wanted: Wanted,
        span: Numbers,
        id: KeyId,
        stay: bool,
        panes: &mut Panes,
        cx: &mut Context<'_>,
    ) -> Result<usize, Fault> {
        let places = panes.places(span);
        let Panes { list, blueprint, .. } = panes;
        let ordered = keeps_rows(&blueprint.plugins);
        let mut bytes = 0;
        for pane in list.range_mut(places) {
            let Some(filter) = &pane.stored else {
                continue;
            };
            let bounds = pane.bounds;
            let others = pane.others.iter_mut().filter(|other| {
                let class = other.0;
                class.counts(wanted.window, wanted.correction)
            });
            let others = others.map(|(class, part)| (Some(*class), part));
            for (class, part) in std::iter::once((None, &mut pane.main)).chain(others) {
                let place = Place {
                    bounds: &bounds,
                    class,
                    filter,
                    blueprint,
                };
                if part.group_of(id).is_none() {
                    self.fetch_cells(place, part, &mut vec![id], cx)?;
                    bytes += self.buffers.value.len();
                }
                if ordered && part.group_of(id).is_some() {
                    bytes += self.load_rows(place, part, id, stay, cx.keys, cx.rejects.schema)?;
                }
            }
        }
        Ok(bytes)
    }

    /// Gives up what was loaded for a slice. Where rows were `refused`, the store is to know that they are told.
    fn leave(&mut self, span: Numbers, refused: bool, panes: &mut Panes, keys: &mut Keys) -> Result<(), Fault> {
        let places = panes.places(span);
        let Panes { list, blueprint, .. } = panes;
        if refused && keeps_rows(&blueprint.plugins) {
            for pane in list.range(places.clone()) {
                let Some(filter) = &pane.stored else {
                    continue;
                };
                let others = pane.others.iter().map(|(class, part)| (Some(*class), part));
                for (class, part) in std::iter::once((None, &pane.main)).chain(others) {
                    let place = Place {
                        bounds: &pane.bounds,
                        class,
                        filter,
                        blueprint,
                    };
                    for &id in part.touched() {
                        let at = &mut self.buffers.at;
                        layout::of_class(layout::ROWS, place.bounds, place.class, at);
                        keys.encode(id, at);
                        self.store.remove_range(Span::Prefix(at))?;
                    }
                    self.put_rows(place, part, part.touched(), keys)?;
                }
            }
        }
        *keys = keys.emptied();
        for pane in list.range_mut(places) {
            empty(pane, blueprint, keys);
        }
        panes.nodes.clear();
        Ok(())
    }
}

/// Puts the cells of a key where the cursors found them. How many bytes there were.
fn take_heads(
    firing: &mut Firing,
    key: &[u8],
    id: KeyId,
    panes: &mut Panes,
    cx: &mut Context<'_>,
) -> Result<usize, Fault> {
    let Panes { list, blueprint, .. } = panes;
    let mut bytes = 0;
    for cursor in &mut firing.cursors {
        let Some((_, cells)) = cursor.head().filter(|head| head.0 == key) else {
            continue;
        };
        bytes += key.len() + cells.len();
        let place = list.partition_point(|pane| pane.bounds.first < cursor.first);
        let pane = &mut list[place];
        let part = match cursor.class {
            None => &mut pane.main,
            Some(class) => pane.part_of(class, blueprint, 1, cx.keys),
        };
        take_cells(part, id, blueprint, cells, cx)?;
        cursor.next += 1;
    }
    Ok(bytes)
}
