//! What of a window operator does not fit into its memory, in a store.
//!
//! A window with a store is one in memory until its panes, keys and records take more than their share. Then all of them
//! go to the store, and the arrays are a cache over it: the cells of a key's pane are read when the first row reaches
//! them, stay as long as there is room, and are written back all together. What is in memory is right, and the store has
//! the rest, so rows meet the same cells in the same order as without a store.
//!
//! What is due is taken in slices of keys in their order ([`firing`]): the cells of a slice's panes are put into the same
//! arrays and merged by the same tree, which is exact for each key alone. So results do not tell where cells were.
//!
//! In memory at all times are the open panes, by number and class, and the windows that owe a correction. One key's rows
//! that a Wasm aggregate wants in order are in memory when it gets them.

mod early;
mod filter;
mod firing;
mod layout;
mod saved;

use wasmill_core::fault::Fault;
use wasmill_core::key::hash;
use wasmill_core::schema::{DataType, Schema};
use wasmill_core::window::{Pane, WindowNumber};
use wasmill_state::{Direction, Span, Store};

pub(super) use self::filter::Filter;
use self::firing::Firing;
use super::firing::Context;
use super::late::Class;
use super::panes::{Bucket, OpenPane, Panes, Rows};
use super::part::{Blueprint, Part};
use super::plugin::Plugin;
use super::results::{Record, Results, Wake};
use super::saved::check_version;
use crate::aggregate::CELLS_VERSION;
use crate::keys::{KeyId, Keys};

/// The share of its memory, in sixteenths, that a window fills before it writes to the store. What is resident is more
/// than what is counted: arrays grow by doubling, and the tree over the panes of a window that is due is counted late.
const FILLED_SHARE: usize = 9;
/// The share of its memory, in sixteenths, that says which keys are in the store.
const FILTERS_SHARE: usize = 2;
/// The size is looked at again after one row for so many groups, since that takes a look at each of them.
const GROUPS_PER_ROW: usize = 8;

/// What is in the store.
#[derive(Debug)]
pub(super) struct Spilled {
    store: Store,
    filled_bytes: usize,
    filters_bytes: usize,
    /// How much is loaded for one slice.
    slice_bytes: usize,
    /// The types of the aggregates' columns.
    values: Vec<DataType>,
    /// Whether the store has something.
    active: bool,
    /// Whether there may be something in memory that the store does not have.
    cached: bool,
    /// Rows that may come before the size is looked at.
    unmeasured_rows: usize,
    /// The number of the next entry of kept rows.
    next_rows: u64,
    /// When the clock is to tick for what is in the store.
    wake: Option<i64>,
    firing: Option<Firing>,
    buffers: Buffers,
}

/// Bytes in the making.
#[derive(Debug, Default)]
struct Buffers {
    at: Vec<u8>,
    key: Vec<u8>,
    value: Vec<u8>,
}

/// The cells of rows of one class in a pane.
#[derive(Clone, Copy, Debug)]
struct Place<'a> {
    bounds: &'a Pane,
    class: Option<Class>,
    /// Which keys of the pane the store may have.
    filter: &'a Filter,
    blueprint: &'a Blueprint,
}

impl Spilled {
    pub(super) fn new(store: Store, memory_bytes: usize, values: Vec<DataType>) -> Self {
        Self {
            store,
            filled_bytes: memory_bytes / 16 * FILLED_SHARE,
            filters_bytes: memory_bytes / 16 * FILTERS_SHARE,
            slice_bytes: (memory_bytes / 8).max(1),
            values,
            active: false,
            cached: false,
            unmeasured_rows: 0,
            next_rows: 0,
            wake: None,
            firing: None,
            buffers: Buffers::default(),
        }
    }

    /// Whether the store has something.
    pub(super) fn is_active(&self) -> bool {
        self.active
    }

    pub(super) fn size_bytes(&self) -> u64 {
        self.store.size_bytes()
    }

    pub(super) fn wake_at(&self) -> Option<i64> {
        self.wake
    }

    /// Reads what the rows that were sorted in reach and memory does not have.
    pub(super) fn fetch(&mut self, panes: &mut Panes, ids: &[KeyId], cx: &mut Context<'_>) -> Result<(), Fault> {
        self.cached = true;
        if !self.active {
            return Ok(());
        }
        let sorted = std::mem::take(&mut panes.sorted);
        let done = sorted
            .iter()
            .try_for_each(|bucket| self.fetch_bucket(panes, bucket, ids, cx));
        panes.sorted = sorted;
        done
    }

    fn fetch_bucket(
        &mut self,
        panes: &mut Panes,
        bucket: &Bucket,
        ids: &[KeyId],
        cx: &mut Context<'_>,
    ) -> Result<(), Fault> {
        let mut missing: Vec<KeyId> = Vec::new();
        let Panes { list, blueprint, .. } = panes;
        let place = list.partition_point(|pane| pane.number() < bucket.bounds.number);
        let pane = list.get_mut(place).filter(|pane| pane.number() == bucket.bounds.number);
        if let Some(OpenPane {
            bounds,
            main,
            others,
            stored: Some(filter),
            ..
        }) = pane
        {
            let place = |class| Place {
                bounds,
                class,
                filter,
                blueprint,
            };
            match &bucket.main {
                Rows::All(_) => missing.extend(ids.iter().filter(|&&id| main.group_of(id).is_none())),
                Rows::Some(rows) => {
                    let ids = rows.iter().map(|&row| ids[row as usize]);
                    missing.extend(ids.filter(|&id| main.group_of(id).is_none()));
                }
            }
            self.fetch_cells(place(None), main, &mut missing, cx)?;
            for (class, rows) in &bucket.others {
                if let Some((_, part)) = others.iter_mut().find(|other| other.0 == *class) {
                    let ids = rows.iter().map(|&row| ids[row as usize]);
                    missing.extend(ids.filter(|&id| part.group_of(id).is_none()));
                    self.fetch_cells(place(Some(*class)), part, &mut missing, cx)?;
                }
            }
        }
        if panes.results.tracks() {
            self.fetch_records(&mut panes.results, bucket, ids, cx.keys)?;
        }
        Ok(())
    }

    /// Reads the cells of keys that a part does not have.
    fn fetch_cells(
        &mut self,
        place: Place<'_>,
        part: &mut Part,
        missing: &mut Vec<KeyId>,
        cx: &mut Context<'_>,
    ) -> Result<(), Fault> {
        missing.sort_unstable();
        missing.dedup();
        for id in missing.drain(..) {
            let Buffers { at, value, .. } = &mut self.buffers;
            value.clear();
            let key = layout::of_class(layout::CELLS, place.bounds, place.class, at);
            cx.keys.encode(id, at);
            if !place.filter.may_have(hash(&at[key..])) {
                continue;
            }
            let found = self.store.get(at, |cells| value.extend_from_slice(cells))?;
            if found.is_some() {
                take_cells(part, id, place.blueprint, &self.buffers.value, cx)?;
            }
        }
        Ok(())
    }

    /// Reads what is known of the results of the windows of a bucket's rows.
    fn fetch_records(
        &mut self,
        results: &mut Results,
        bucket: &Bucket,
        ids: &[KeyId],
        keys: &Keys,
    ) -> Result<(), Fault> {
        let mut of_rows: Vec<KeyId> = match &bucket.main {
            Rows::All(_) => ids.to_vec(),
            Rows::Some(rows) => rows.iter().map(|&row| ids[row as usize]).collect(),
        };
        for (_, rows) in &bucket.others {
            of_rows.extend(rows.iter().map(|&row| ids[row as usize]));
        }
        of_rows.sort_unstable();
        of_rows.dedup();
        for window in bucket.bounds.windows.first..=bucket.bounds.windows.last {
            for &id in &of_rows {
                self.fetch_record(results, window, id, keys)?;
            }
        }
        Ok(())
    }

    fn fetch_record(
        &mut self,
        results: &mut Results,
        window: WindowNumber,
        id: KeyId,
        keys: &Keys,
    ) -> Result<(), Fault> {
        if results.holds((window, id)) {
            return Ok(());
        }
        let mut at = layout::of_window(layout::RESULTS, window);
        keys.encode(id, &mut at);
        if let Some(record) = self.record(&at)? {
            results.put((window, id), record);
        }
        Ok(())
    }

    fn record(&self, at: &[u8]) -> Result<Option<Record>, Fault> {
        let values = &self.values;
        let record = self.store.get(at, |mut value| {
            check_version(&mut value)?;
            Record::decode(values, &mut value)
        })?;
        record.transpose()
    }

    /// Writes everything to the store where memory is filled.
    pub(super) fn settle(&mut self, rows: usize, panes: &mut Panes, keys: &mut Keys) -> Result<(), Fault> {
        self.cached |= rows > 0;
        if self.unmeasured_rows > rows {
            self.unmeasured_rows -= rows;
            return Ok(());
        }
        if panes.firing.is_some() || self.firing.is_some() {
            return Ok(());
        }
        self.unmeasured_rows = keys.len() / GROUPS_PER_ROW;
        if panes.size_bytes() + keys.size_bytes() > self.filled_bytes {
            self.evict(panes, keys)?;
        }
        Ok(())
    }

    /// Writes everything to the store, and gives memory up.
    fn evict(&mut self, panes: &mut Panes, keys: &mut Keys) -> Result<(), Fault> {
        if !std::mem::take(&mut self.cached) {
            return Ok(());
        }
        self.active = true;
        self.unmeasured_rows = 0;
        let Panes { list, blueprint, .. } = panes;
        let filters = list.iter().filter_map(|pane| pane.stored.as_ref());
        let taken: usize = filters.map(Filter::size_bytes).sum();
        let mut bytes_left = self.filters_bytes.saturating_sub(taken);
        for pane in &mut *list {
            let others = pane.others.iter().map(|(class, part)| (Some(*class), part));
            for (class, part) in std::iter::once((None, &pane.main)).chain(others) {
                if part.is_empty() {
                    continue;
                }
                let filter = pane.stored.get_or_insert_default();
                self.put_cells(
                    &pane.bounds,
                    class,
                    part,
                    (filter, &mut bytes_left),
                    &blueprint.plugins,
                    keys,
                )?;
                let place = Place {
                    bounds: &pane.bounds,
                    class,
                    filter,
                    blueprint,
                };
                self.put_rows(place, part, part.touched(), keys)?;
            }
        }
        self.put_records(&mut panes.results, keys)?;
        *keys = keys.emptied();
        panes.nodes.clear();
        for pane in &mut panes.list {
            empty(pane, &panes.blueprint, keys);
        }
        Ok(())
    }

    fn put_cells(
        &mut self,
        bounds: &Pane,
        class: Option<Class>,
        part: &Part,
        (filter, bytes_left): (&mut Filter, &mut usize),
        plugins: &[Plugin],
        keys: &Keys,
    ) -> Result<(), Fault> {
        let mut ids = part.touched().to_vec();
        keys.sort(&mut ids);
        for id in ids {
            let Buffers { at, value, .. } = &mut self.buffers;
            let key = layout::of_class(layout::CELLS, bounds, class, at);
            keys.encode(id, at);
            filter.put(hash(&at[key..]), bytes_left);
            value.clear();
            value.push(CELLS_VERSION);
            part.encode(id, plugins, None, value);
            self.store.put(at, value)?;
        }
        Ok(())
    }

    /// Adds the kept rows of keys to those in the store.
    fn put_rows(&mut self, place: Place<'_>, part: &Part, ids: &[KeyId], keys: &Keys) -> Result<(), Fault> {
        if !keeps_rows(&place.blueprint.plugins) {
            return Ok(());
        }
        let kept = part.kept_by_key();
        for &id in ids.iter().filter(|id| kept.iter().any(|kept| kept.contains_key(*id))) {
            let Buffers { at, value, .. } = &mut self.buffers;
            layout::of_class(layout::ROWS, place.bounds, place.class, at);
            keys.encode(id, at);
            at.extend(self.next_rows.to_be_bytes());
            self.next_rows += 1;
            value.clear();
            part.encode_kept(id, &place.blueprint.plugins, &kept, value);
            self.store.put(at, value)?;
        }
        Ok(())
    }

    /// Puts the kept rows of a key before those that a part has of it. Whether they stay in the store, too.
    fn load_rows(
        &mut self,
        place: Place<'_>,
        part: &mut Part,
        id: KeyId,
        stay: bool,
        keys: &Keys,
        schema: &Schema,
    ) -> Result<usize, Fault> {
        let Buffers { at, .. } = &mut self.buffers;
        layout::of_class(layout::ROWS, place.bounds, place.class, at);
        keys.encode(id, at);
        let mut bytes = 0;
        let later = part.take_kept();
        self.store.scan(Span::Prefix(at), Direction::Forwards, |_, mut rows| {
            bytes += rows.len();
            part.decode_kept(id, &place.blueprint.plugins, schema, &mut rows)?;
            Ok(std::ops::ControlFlow::Continue(()))
        })?;
        part.append_kept(later);
        if !stay && bytes > 0 {
            self.store.remove_range(Span::Prefix(at))?;
        }
        Ok(bytes)
    }

    /// Writes what is known of results.
    fn put_records(&mut self, results: &mut Results, keys: &Keys) -> Result<(), Fault> {
        for ((window, id), record) in results.take_all() {
            self.buffers.key.clear();
            keys.encode(id, &mut self.buffers.key);
            self.put_record(window, &record)?;
        }
        Ok(())
    }

    /// Writes what is known of the results of the key in the buffer.
    fn put_record(&mut self, window: WindowNumber, record: &Record) -> Result<(), Fault> {
        let Buffers { at, key, value } = &mut self.buffers;
        *at = layout::of_window(layout::RESULTS, window);
        at.extend_from_slice(key);
        value.clear();
        value.push(CELLS_VERSION);
        record.encode(value);
        self.store.put(at, value)?;
        let wake = match record.wake {
            Wake::Never => return Ok(()),
            Wake::Asked => {
                at[0] = layout::ASKED;
                self.store.put(at, &[])?;
                i64::MIN
            }
            Wake::At(due) => {
                self.store.put(&layout::timer(due, window, key), &[])?;
                due
            }
        };
        self.wake = Some(self.wake.map_or(wake, |first| first.min(wake)));
        Ok(())
    }

    /// Gives up the panes that no window needs any more, and what was known of windows that give no result any more.
    fn close(&mut self, to: i64, panes: &mut Panes, keys: &mut Keys) -> Result<(), Fault> {
        panes.close(to, keys);
        let ordered = keeps_rows(&panes.blueprint.plugins);
        for first in std::mem::take(&mut panes.closed) {
            self.store
                .remove_range(Span::Prefix(&layout::of_pane(layout::CELLS, first)))?;
            if ordered {
                self.store
                    .remove_range(Span::Prefix(&layout::of_pane(layout::ROWS, first)))?;
            }
        }
        if panes.results.tracks() {
            while let Some((at, _)) = self
                .store
                .first(Span::Prefix(&[layout::RESULTS]), Direction::Forwards)?
            {
                let (window, _) = layout::read_window(&at[1..])?;
                if !panes.is_over(window, to) {
                    break;
                }
                self.store
                    .remove_range(Span::Prefix(&layout::of_window(layout::RESULTS, window)))?;
            }
        }
        if panes.list.is_empty() && self.store.is_empty()? {
            self.active = false;
            self.wake = None;
        }
        Ok(())
    }
}

/// Whether rows are kept for Wasm aggregates that want them in order.
fn keeps_rows(plugins: &[Plugin]) -> bool {
    plugins.iter().any(|plugin| !plugin.commutative())
}

/// Puts the cells of a key into a part that does not have it.
fn take_cells(
    part: &mut Part,
    id: KeyId,
    blueprint: &Blueprint,
    mut value: &[u8],
    cx: &mut Context<'_>,
) -> Result<(), Fault> {
    check_version(&mut value)?;
    part.decode(id, &blueprint.plugins, cx.rejects.schema, cx.keys, &mut value)
}

/// Gives up what of a pane is in memory, where its keys are given up.
fn empty(pane: &mut OpenPane, blueprint: &Blueprint, keys: &Keys) {
    let parts = std::iter::once(&mut pane.main).chain(pane.others.iter_mut().map(|other| &mut other.1));
    for part in parts.filter(|part| !part.is_empty()) {
        *part = blueprint.part(keys, 0);
    }
}
