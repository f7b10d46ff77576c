//! The aggregates of the rows of one pane, by key: the unit that windows are put together from.

use foldhash::fast::FixedState;
use hashbrown::HashMap;
use wasmill_core::batch::Batch;
use wasmill_core::fault::Fault;
use wasmill_core::schema::Schema;

use super::plugin::{KeptByKey, KeptRows, Plugin, PluginCells, Rejects};
use crate::aggregate::{Accumulators, Rows};
use crate::codec::{damaged, put_count, take_count};
use crate::keys::{KeyId, Keys};

/// A part's cells are an array by key id once more than one in so many ids is there.
const SPARSE_SHARE: usize = 8;
/// Below so many ids an array is always as good.
const SPARSE_IDS_MIN: usize = 32;

/// Aggregates by key.
#[derive(Debug)]
pub(crate) struct Part {
    index: Index,
    /// Whether the keys are in use because of this part. What is merged from panes leaves that to the panes.
    holds: bool,
    /// The keys, in the order in which they came.
    touched: Vec<KeyId>,
    /// Rows of each group. A group without rows is no group.
    rows: Vec<u64>,
    builtins: Vec<Box<dyn Accumulators>>,
    pub(super) plugins: Vec<PluginCells>,
    /// By plugin, the rows that it wants in order.
    pub(super) kept: Vec<KeptRows>,
}

/// Which cells of a part are merged.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Selected<'a> {
    /// Those of these keys; `None` for all.
    pub(crate) only: Option<&'a [KeyId]>,
    /// Whether those of aggregates that want their rows in order are.
    pub(crate) ordered: bool,
}

/// Which group a key has.
#[derive(Debug)]
enum Index {
    /// The key's id.
    Dense,
    /// Its place in `touched`.
    Sparse(HashMap<KeyId, u32, FixedState>),
}

/// What parts of one window have in common.
#[derive(Debug)]
pub(crate) struct Blueprint {
    pub(crate) builtins: Vec<Box<dyn Accumulators>>,
    pub(crate) plugins: Vec<Plugin>,
}

impl Blueprint {
    /// A part without rows for a pane, made for about `expected` keys. The pane gives them up with [`Keys::release`].
    pub(crate) fn part(&self, keys: &Keys, expected: usize) -> Part {
        Part {
            holds: true,
            ..self.merged(keys, expected)
        }
    }

    /// A part to merge others into, made for about `expected` keys.
    pub(crate) fn merged(&self, keys: &Keys, expected: usize) -> Part {
        let dense = keys.len() < SPARSE_IDS_MIN || expected * SPARSE_SHARE > keys.len();
        Part {
            index: if dense {
                Index::Dense
            } else {
                Index::Sparse(HashMap::default())
            },
            holds: false,
            touched: Vec::new(),
            rows: Vec::new(),
            builtins: self.builtins.iter().map(|b| b.fresh()).collect(),
            plugins: self.plugins.iter().map(|_| PluginCells::default()).collect(),
            kept: self.plugins.iter().map(|_| KeptRows::default()).collect(),
        }
    }
}

/// Buffers that are used again for each batch.
#[derive(Debug, Default)]
pub(crate) struct Scratch {
    groups: Vec<u32>,
    from: Vec<u32>,
}

impl Part {
    pub(crate) fn is_empty(&self) -> bool {
        self.touched.is_empty()
    }

    /// The keys with rows, in no order.
    pub(crate) fn touched(&self) -> &[KeyId] {
        &self.touched
    }

    /// The number of rows of a group.
    pub(crate) fn rows(&self, group: u32) -> u64 {
        self.rows[group as usize]
    }

    pub(crate) fn builtin(&self, index: usize) -> &dyn Accumulators {
        &*self.builtins[index]
    }

    /// The group of a key, where it has rows.
    pub(crate) fn group_of(&self, id: KeyId) -> Option<u32> {
        match &self.index {
            Index::Dense => (self.rows.get(id as usize).copied().unwrap_or(0) > 0).then_some(id),
            Index::Sparse(map) => map.get(&id).copied(),
        }
    }

    /// Adds rows to the built-in aggregates. `ids` holds the key of each logical row of the batch; `columns` and `times`
    /// are the batch's. What is in `scratch.groups` then is the group of each chosen row.
    pub(crate) fn add<'s>(
        &mut self,
        ids: &[KeyId],
        rows: Rows<'_>,
        keys: &mut Keys,
        scratch: &'s mut Scratch,
    ) -> &'s [u32] {
        let groups = &mut scratch.groups;
        groups.clear();
        match rows.chosen {
            None => groups.extend_from_slice(ids),
            Some(chosen) => groups.extend(chosen.iter().map(|&row| ids[row as usize])),
        }
        if let Index::Sparse(_) = self.index {
            self.sparse_groups(groups, keys);
            for &group in &*groups {
                self.rows[group as usize] += 1;
            }
        } else {
            self.grow(keys.len());
            for &id in &*groups {
                let rows = &mut self.rows[id as usize];
                if *rows == 0 {
                    if self.holds {
                        keys.acquire(id);
                    }
                    self.touched.push(id);
                }
                *rows += 1;
            }
        }
        let rows = Rows { groups, ..rows };
        for builtin in &mut self.builtins {
            builtin.update(&rows);
        }
        &scratch.groups
    }

    /// Replaces key ids by their groups, which new keys get before their rows are counted. The part may turn dense.
    fn sparse_groups(&mut self, ids: &mut [u32], keys: &mut Keys) {
        let Index::Sparse(map) = &mut self.index else {
            return;
        };
        let (touched, holds) = (&mut self.touched, self.holds);
        for id in ids.iter_mut() {
            *id = *map.entry(*id).or_insert_with(|| {
                if holds {
                    keys.acquire(*id);
                }
                touched.push(*id);
                touched.len() as u32 - 1
            });
        }
        let groups = self.touched.len();
        self.grow(groups);
        if groups * SPARSE_SHARE > keys.len() {
            for group in ids {
                *group = self.touched[*group as usize];
            }
            self.make_dense(keys.len());
        }
    }

    fn grow(&mut self, groups: usize) {
        if self.rows.len() < groups {
            self.rows.resize(groups, 0);
            for builtin in &mut self.builtins {
                builtin.grow(groups);
            }
        }
    }

    fn make_dense(&mut self, ids: usize) {
        self.index = Index::Dense;
        let mut rows = vec![0; ids];
        for (&id, &count) in self.touched.iter().zip(&self.rows) {
            rows[id as usize] = count;
        }
        self.rows = rows;
        for builtin in &mut self.builtins {
            builtin.spread(&self.touched, ids);
        }
        for plugin in &mut self.plugins {
            plugin.spread(&self.touched, ids);
        }
    }

    /// Adds a part whose rows come after those here.
    pub(crate) fn merge(
        &mut self,
        later: &Self,
        selected: Selected<'_>,
        plugins: &mut [Plugin],
        keys: &mut Keys,
        scratch: &mut Scratch,
    ) -> Result<(), Fault> {
        debug_assert!(!self.holds, "panes get rows only");
        let aligned = selected.only.is_none()
            && plugins.is_empty()
            && matches!((&self.index, &later.index), (Index::Dense, Index::Dense))
            && later.touched.len() * SPARSE_SHARE > later.rows.len();
        if aligned {
            self.merge_aligned(later, keys.len());
            return Ok(());
        }
        let Scratch { groups, from } = scratch;
        groups.clear();
        from.clear();
        for &id in selected.only.unwrap_or(&later.touched) {
            if let Some(group) = later.group_of(id) {
                groups.push(id);
                from.push(group);
            }
        }
        if let Index::Sparse(_) = self.index {
            self.sparse_groups(groups, keys);
        } else {
            self.grow(keys.len());
            for &id in &*groups {
                if self.rows[id as usize] == 0 {
                    self.touched.push(id);
                }
            }
        }
        for (cells, (own, plugin)) in later.plugins.iter().zip(self.plugins.iter_mut().zip(plugins)) {
            if selected.ordered || plugin.commutative() {
                plugin.merge(own, groups, cells, from, |group| self.rows[group as usize] == 0)?;
            }
        }
        for (&to, &from) in groups.iter().zip(&*from) {
            self.rows[to as usize] += later.rows[from as usize];
        }
        for (own, other) in self.builtins.iter_mut().zip(&later.builtins) {
            own.merge(groups, &**other, from);
        }
        Ok(())
    }

    /// Adds a part that has a group for each key id too.
    fn merge_aligned(&mut self, later: &Self, ids: usize) {
        self.grow(ids);
        for &id in &later.touched {
            if self.rows[id as usize] == 0 {
                self.touched.push(id);
            }
        }
        for (to, from) in self.rows.iter_mut().zip(&later.rows) {
            *to += from;
        }
        for (own, other) in self.builtins.iter_mut().zip(&later.builtins) {
            own.merge_aligned(&**other);
        }
    }

    /// Gives rows to the Wasm aggregates, or keeps them for those that want them in order.
    pub(super) fn add_to_plugins(
        &mut self,
        batch: &Batch,
        chosen: Option<&[u32]>,
        ids: &[KeyId],
        groups: &[u32],
        plugins: &mut [Plugin],
        rejects: &mut Rejects<'_>,
    ) -> Result<(), Fault> {
        for (i, plugin) in plugins.iter_mut().enumerate() {
            if plugin.commutative() {
                plugin.add(&mut self.plugins[i], batch, chosen, groups, rejects)?;
            } else {
                self.kept[i].push(batch, chosen, ids);
            }
        }
        Ok(())
    }

    /// Accumulates the rows kept in `parts` in order, those of this part's keys.
    pub(super) fn accumulate_kept(
        &mut self,
        parts: &mut [&mut Self],
        plugins: &mut [Plugin],
        rejects: &mut Rejects<'_>,
    ) -> Result<(), Fault> {
        for (i, plugin) in plugins
            .iter_mut()
            .enumerate()
            .filter(|(_, plugin)| !plugin.commutative())
        {
            let mut cells = std::mem::take(&mut self.plugins[i]);
            let mut kept: Vec<&mut KeptRows> = parts.iter_mut().map(|part| &mut part.kept[i]).collect();
            plugin.accumulate_kept(&mut cells, &mut kept, |id| self.group_of(id), rejects)?;
            self.plugins[i] = cells;
        }
        Ok(())
    }

    /// Accumulates the rows kept here in order, once; no more come. They are given up unless a window may need them
    /// again together with later ones.
    pub(super) fn settle(
        &mut self,
        plugins: &mut [Plugin],
        keep: bool,
        rejects: &mut Rejects<'_>,
    ) -> Result<(), Fault> {
        for (i, plugin) in plugins
            .iter_mut()
            .enumerate()
            .filter(|(_, plugin)| !plugin.commutative())
        {
            let mut kept = std::mem::take(&mut self.kept[i]);
            if !kept.settled {
                kept.settled = true;
                let mut cells = std::mem::take(&mut self.plugins[i]);
                plugin.accumulate_kept(&mut cells, &mut [&mut kept], |id| self.group_of(id), rejects)?;
                self.plugins[i] = cells;
            }
            if !keep {
                kept.forget();
            }
            self.kept[i] = kept;
        }
        Ok(())
    }

    /// Which of the rows kept for each plugin are whose.
    pub(super) fn kept_by_key(&self) -> Vec<KeptByKey> {
        self.kept.iter().map(KeptRows::by_key).collect()
    }

    /// Appends the bytes of a key's group. Of an aggregate that wants its rows in order these are the rows; without
    /// `kept`, none of them.
    pub(super) fn encode(&self, id: KeyId, plugins: &[Plugin], kept: Option<&[KeptByKey]>, out: &mut Vec<u8>) {
        let group = self.group_of(id).expect("a key of the part");
        put_count(self.rows(group), out);
        for builtin in &self.builtins {
            builtin.encode(group, out);
        }
        for (i, plugin) in plugins.iter().enumerate() {
            if plugin.commutative() {
                self.plugins[i].encode(group, plugin, out);
            } else {
                let rows = kept.and_then(|kept| kept[i].get(&id));
                self.kept[i].encode(rows.map_or(&[][..], Vec::as_slice), out);
            }
        }
    }

    /// Appends the bytes of the rows that are kept of a key, for each aggregate that wants them in order.
    pub(super) fn encode_kept(&self, id: KeyId, plugins: &[Plugin], kept: &[KeptByKey], out: &mut Vec<u8>) {
        for (i, _) in plugins.iter().enumerate().filter(|(_, plugin)| !plugin.commutative()) {
            self.kept[i].encode(kept[i].get(&id).map_or(&[][..], Vec::as_slice), out);
        }
    }

    /// Adds rows of a key read off the front of bytes to those that are kept.
    ///
    /// # Errors
    /// The bytes are none of this schema's rows.
    pub(super) fn decode_kept(
        &mut self,
        id: KeyId,
        plugins: &[Plugin],
        schema: &Schema,
        from: &mut &[u8],
    ) -> Result<(), Fault> {
        for (i, _) in plugins.iter().enumerate().filter(|(_, plugin)| !plugin.commutative()) {
            self.kept[i].decode(id, schema, from)?;
        }
        Ok(())
    }

    /// Takes out the rows that are kept.
    pub(super) fn take_kept(&mut self) -> Vec<KeptRows> {
        self.kept.iter_mut().map(std::mem::take).collect()
    }

    /// Adds rows that were taken out behind those that are kept.
    pub(super) fn append_kept(&mut self, later: Vec<KeptRows>) {
        for (kept, later) in self.kept.iter_mut().zip(later) {
            kept.append(later);
        }
    }

    /// Takes a key's group read off the front of bytes, in a part of a pane.
    ///
    /// # Errors
    /// The bytes are none of these aggregates', or the key is there.
    pub(super) fn decode(
        &mut self,
        id: KeyId,
        plugins: &[Plugin],
        schema: &Schema,
        keys: &mut Keys,
        from: &mut &[u8],
    ) -> Result<(), Fault> {
        let rows = take_count(from)?;
        if rows == 0 || self.group_of(id).is_some() {
            return Err(damaged("a pane of a key has no rows or comes twice"));
        }
        let mut groups = [id];
        if let Index::Sparse(_) = self.index {
            self.sparse_groups(&mut groups, keys);
        } else {
            self.grow(keys.len());
            keys.acquire(id);
            self.touched.push(id);
        }
        let [group] = groups;
        self.rows[group as usize] = rows;
        for builtin in &mut self.builtins {
            builtin.decode(group, from)?;
        }
        for (i, plugin) in plugins.iter().enumerate() {
            if plugin.commutative() {
                self.plugins[i].decode(group, plugin, from)?;
            } else {
                self.kept[i].decode(id, schema, from)?;
            }
        }
        Ok(())
    }

    /// The keys with rows, in the order of the keys.
    pub(super) fn ids_in_order(&self, keys: &mut Keys) -> Vec<KeyId> {
        if self.touched.len() * SPARSE_SHARE > keys.len() {
            let all = keys.in_order();
            return all.iter().copied().filter(|&id| self.group_of(id).is_some()).collect();
        }
        let mut ids = self.touched.clone();
        keys.sort(&mut ids);
        ids
    }

    /// The keys' references, for [`Keys::release`].
    pub(crate) fn into_touched(self) -> Vec<KeyId> {
        self.touched
    }

    /// About how many bytes the part takes.
    pub(crate) fn size_bytes(&self) -> usize {
        let index = match &self.index {
            Index::Dense => 0,
            Index::Sparse(map) => map.capacity() * 9,
        };
        let builtins: usize = self.builtins.iter().map(|b| b.size_bytes()).sum();
        let plugins: usize = self.plugins.iter().map(PluginCells::size_bytes).sum();
        let kept: usize = self.kept.iter().map(KeptRows::size_bytes).sum();
        size_of::<Self>() + kept + index + self.touched.capacity() * 4 + self.rows.capacity() * 8 + builtins + plugins
    }
}
