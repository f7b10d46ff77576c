//! Wasm aggregates in windows: their accumulators by group, and the rows of those that want them in order.
//!
//! A commutative aggregate gets its rows as they come. Any other gets each group's rows sorted by (event time, place),
//! so they are kept until the pane is complete, and panes are merged in time order.

use std::cmp::Ordering;

use foldhash::fast::FixedState;
use hashbrown::HashMap;
use wasmill_core::aggregate::{Aggregate, AggregateDescription, Groups};
use wasmill_core::batch::{Batch, Hidden, OutputColumn, RowOf, Slot, interleave};
use wasmill_core::column::{Column, ColumnBuilder, Scalar};
use wasmill_core::fault::{Domain, Fault};
use wasmill_core::operator::Emit;
use wasmill_core::order::Order;
use wasmill_core::plan::OnFault;
use wasmill_core::schema::Schema;
use wasmill_core::transform::Reject;
use wasmill_core::watermark::RowWatermarks;

use crate::blame::{Attempt, blame};
use crate::codec::{
    damaged, put_bytes, put_count, put_signed, put_value, take_byte, take_bytes, take_count, take_flag, take_int64,
    take_length, take_value,
};
use crate::counters::Counters;
use crate::dead_letters::{DeadLetters, Kind, Refused};
use crate::keys::KeyId;

/// Rows of a call at most.
const CALL_ROWS_MAX: usize = 4_096;

/// Stands for a value of a column that nobody reads: no value begins so.
const ABSENT: u8 = 2;

/// Rows by key: batch and row.
pub(super) type KeptByKey = HashMap<KeyId, Vec<(usize, usize)>, FixedState>;

/// A Wasm aggregate of a window.
pub(crate) struct Plugin {
    guest: Box<dyn Aggregate>,
    description: AggregateDescription,
    /// The columns of the window's input that the guest sees.
    input: Vec<usize>,
    path: String,
}

impl std::fmt::Debug for Plugin {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Plugin")
            .field("path", &self.path)
            .finish_non_exhaustive()
    }
}

/// A plugin's accumulators by group.
///
/// For one group at a time, as [`crate::aggregate::Accumulators`] says: [`PluginCells::decode`] puts a group's cells
/// where they were or [`Plugin::add`] makes those that are not there, [`PluginCells::encode`] takes their bytes,
/// [`Plugin::merge`] and [`Plugin::finish`] go by group too. A plugin that is not [`Plugin::commutative`] must be given
/// each group's rows in the order of (event time, place), and its groups be merged in the order of time.
#[derive(Debug, Default)]
pub(crate) struct PluginCells {
    /// A column for each accumulator.
    columns: Vec<Vec<Scalar>>,
    /// What a new group has in each.
    initial: Vec<Scalar>,
}

/// Rows for an aggregate that wants them in order.
#[derive(Debug, Default)]
pub(crate) struct KeptRows {
    batches: Vec<Kept>,
    /// Whether they are in their own part's cells.
    pub(super) settled: bool,
}

#[derive(Debug)]
struct Kept {
    batch: Batch,
    ids: Vec<KeyId>,
    /// Which rows were accumulated once, so that it is known whether they are rejected.
    told: Vec<bool>,
}

/// Where rejected rows go.
pub(crate) struct Rejects<'a> {
    pub(crate) letters: &'a DeadLetters,
    pub(crate) schema: &'a Schema,
    pub(crate) counters: &'a mut Counters,
    pub(crate) out: &'a mut dyn Emit,
}

impl PluginCells {
    fn grow(&mut self, groups: usize, description: &AggregateDescription) {
        if self.columns.is_empty() {
            self.columns = description.accumulators.iter().map(|_| Vec::new()).collect();
            self.initial = description.accumulators.iter().map(|a| a.initial.clone()).collect();
        }
        for (column, initial) in self.columns.iter_mut().zip(&self.initial) {
            if column.len() < groups {
                column.resize(groups, initial.clone());
            }
        }
    }

    /// Appends the bytes of a group's cells; of a group that no row reached, those of the initial ones.
    pub(crate) fn encode(&self, group: u32, plugin: &Plugin, out: &mut Vec<u8>) {
        let description = &plugin.description;
        put_count(description.version.into(), out);
        for (i, accumulator) in description.accumulators.iter().enumerate() {
            let cell = self.columns.get(i).and_then(|column| column.get(group as usize));
            put_value(cell.unwrap_or(&accumulator.initial).as_value(), out);
        }
    }

    /// Puts cells read off the front of bytes into a group.
    ///
    /// # Errors
    /// The bytes are none of this plugin's, or its accumulators have another version.
    pub(crate) fn decode(&mut self, group: u32, plugin: &Plugin, from: &mut &[u8]) -> Result<(), Fault> {
        let description = &plugin.description;
        self.grow(group as usize + 1, description);
        let version = take_count(from)?;
        if version != u64::from(description.version) {
            let message = format!(
                "the accumulators of {} are of version {version} in the saved state and {} in the plugin",
                plugin.path, description.version
            );
            return Err(Fault::fatal(Domain::User, message));
        }
        for (column, accumulator) in self.columns.iter_mut().zip(&description.accumulators) {
            let value = take_value(accumulator.field.data_type, from)?;
            if value == Scalar::Null && !accumulator.field.nullable {
                return Err(damaged("an accumulator is null"));
            }
            column[group as usize] = value;
        }
        Ok(())
    }

    fn gather(&self, groups: &[u32], description: &AggregateDescription) -> Vec<Column> {
        let columns = self.columns.iter().zip(&description.accumulators);
        let gathered = columns.map(|(column, accumulator)| {
            let mut builder = ColumnBuilder::new(accumulator.field.data_type, groups.len());
            for &group in groups {
                builder.push(column[group as usize].as_value());
            }
            builder.finish()
        });
        gathered.collect()
    }

    fn scatter(&mut self, groups: &[u32], values: &[Column]) {
        for (column, values) in self.columns.iter_mut().zip(values) {
            for (row, &group) in groups.iter().enumerate() {
                column[group as usize] = values.value(row).into();
            }
        }
    }

    pub(super) fn spread(&mut self, places: &[u32], groups: usize) {
        for (column, initial) in self.columns.iter_mut().zip(&self.initial) {
            let mut cells = vec![initial.clone(); groups];
            for (cell, &place) in column.drain(..).zip(places) {
                cells[place as usize] = cell;
            }
            *column = cells;
        }
    }

    pub(super) fn size_bytes(&self) -> usize {
        self.columns.iter().map(|c| c.capacity() * size_of::<Scalar>()).sum()
    }
}

impl KeptRows {
    pub(super) fn push(&mut self, batch: &Batch, chosen: Option<&[u32]>, ids: &[KeyId]) {
        let all: Vec<u32>;
        let rows = if let Some(chosen) = chosen {
            chosen
        } else {
            all = (0..batch.rows() as u32).collect();
            &all
        };
        self.batches.push(Kept {
            batch: batch.gather(rows),
            ids: rows.iter().map(|&row| ids[row as usize]).collect(),
            told: vec![false; rows.len()],
        });
    }

    /// Which rows each key has: batch and row.
    pub(super) fn by_key(&self) -> KeptByKey {
        let mut by_key = KeptByKey::default();
        for (number, kept) in self.batches.iter().enumerate() {
            for (row, &id) in kept.ids.iter().enumerate() {
                by_key.entry(id).or_default().push((number, row));
            }
        }
        by_key
    }

    /// Appends the bytes of some rows.
    pub(super) fn encode(&self, rows: &[(usize, usize)], out: &mut Vec<u8>) {
        put_count(rows.len() as u64, out);
        for &(number, row) in rows {
            let Kept { batch, told, .. } = &self.batches[number];
            let hidden = batch.hidden();
            out.push(told[row].into());
            put_signed(hidden.times[row].into(), out);
            put_signed(hidden.watermarks.at(row).into(), out);
            out.push(hidden.order.is_some().into());
            if let Some(order) = &hidden.order {
                let mut place = Vec::new();
                order.write(row, &mut place);
                put_bytes(&place, out);
            }
            for slot in batch.slots() {
                match slot {
                    Slot::Absent => out.push(ABSENT),
                    Slot::Base(column) | Slot::Dense(column) => put_value(column.value(row), out),
                }
            }
        }
    }

    /// Takes a key's rows read off the front of bytes.
    ///
    /// # Errors
    /// The bytes are none of this schema's rows.
    pub(super) fn decode(&mut self, id: KeyId, schema: &Schema, from: &mut &[u8]) -> Result<(), Fault> {
        let rows = take_length(from)?;
        if rows == 0 {
            return Ok(());
        }
        let mut columns: Vec<Option<ColumnBuilder>> = Vec::new();
        let (mut told, mut times, mut watermarks, mut places) = (Vec::new(), Vec::new(), Vec::new(), Vec::new());
        for _ in 0..rows {
            told.push(take_flag(from)?);
            times.push(take_int64(from)?);
            watermarks.push(take_int64(from)?);
            if take_flag(from)? {
                places.push(take_bytes(from)?);
            }
            for (column, field) in schema.fields().iter().enumerate() {
                let absent = from.first() == Some(&ABSENT);
                if columns.len() == column {
                    columns.push((!absent).then(|| ColumnBuilder::new(field.data_type, rows)));
                }
                match &mut columns[column] {
                    None if absent => {
                        take_byte(from)?;
                    }
                    Some(builder) if !absent => builder.push(take_value(field.data_type, from)?.as_value()),
                    _ => return Err(damaged("a column is there in some rows only")),
                }
            }
        }
        if !places.is_empty() && places.len() != rows {
            return Err(damaged("a place is there in some rows only"));
        }
        let hidden = Hidden {
            times: times.into(),
            watermarks: RowWatermarks::from_values(&watermarks),
            order: (!places.is_empty()).then(|| Order::from_places(places.into_iter())),
            kinds: None,
        };
        let slots = columns
            .into_iter()
            .map(|column| column.map_or(Slot::Absent, |column| Slot::Base(column.finish())));
        self.batches.push(Kept {
            batch: Batch::new(slots.collect(), hidden),
            ids: vec![id; rows],
            told,
        });
        self.join_small();
        Ok(())
    }

    /// Makes one of the last batches as long as the one before is not longer, so that a key's rows each do not stay a
    /// batch of their own.
    fn join_small(&mut self) {
        while let [.., a, b] = &self.batches[..]
            && a.ids.len() <= b.ids.len()
        {
            let of = |kept: &Kept| (0..kept.ids.len()).collect::<Vec<_>>();
            let rows = of(a).into_iter().map(|row| RowOf { batch: &a.batch, row });
            let rows: Vec<RowOf<'_>> = rows
                .chain(of(b).into_iter().map(|row| RowOf { batch: &b.batch, row }))
                .collect();
            let joined = Kept {
                batch: interleave(&rows),
                ids: [&a.ids[..], &b.ids].concat(),
                told: [&a.told[..], &b.told].concat(),
            };
            self.batches.truncate(self.batches.len() - 2);
            self.batches.push(joined);
        }
    }

    /// Adds rows that came later.
    pub(super) fn append(&mut self, later: Self) {
        self.batches.extend(later.batches);
    }

    /// Gives up the rows, when no window needs them again.
    pub(super) fn forget(&mut self) {
        self.batches = Vec::new();
    }

    pub(super) fn size_bytes(&self) -> usize {
        self.batches
            .iter()
            .map(|kept| kept.batch.size_bytes() + kept.ids.len() * 5)
            .sum()
    }
}

impl Plugin {
    pub(crate) fn new(
        guest: Box<dyn Aggregate>,
        description: AggregateDescription,
        input: Vec<usize>,
        path: String,
    ) -> Self {
        Self {
            guest,
            description,
            input,
            path,
        }
    }

    /// Whether rows may come in any order.
    pub(crate) fn commutative(&self) -> bool {
        self.description.commutative
    }

    /// Makes room in cells for groups up to `groups`; new ones are initial.
    pub(crate) fn grow(&self, cells: &mut PluginCells, groups: usize) {
        cells.grow(groups, &self.description);
    }

    /// Accumulates rows of a batch as they come: row `chosen[i]`, or row i, goes to `groups[i]`.
    pub(crate) fn add(
        &mut self,
        cells: &mut PluginCells,
        batch: &Batch,
        chosen: Option<&[u32]>,
        groups: &[u32],
        rejects: &mut Rejects<'_>,
    ) -> Result<(), Fault> {
        let selected = chosen.map(|rows| batch.select(rows));
        self.accumulate(cells, selected.as_ref().unwrap_or(batch), groups, |_| true, rejects)
    }

    /// Accumulates kept rows in order: those whose key has a group.
    pub(super) fn accumulate_kept(
        &mut self,
        cells: &mut PluginCells,
        kept: &mut [&mut KeptRows],
        group_of: impl Fn(KeyId) -> Option<u32>,
        rejects: &mut Rejects<'_>,
    ) -> Result<(), Fault> {
        let mut rows = Vec::new();
        let mut batches: Vec<&mut Kept> = kept.iter_mut().flat_map(|kept| &mut kept.batches).collect();
        for (number, kept) in batches.iter().enumerate() {
            for (row, &id) in kept.ids.iter().enumerate() {
                if let Some(group) = group_of(id) {
                    rows.push((number, row, group));
                }
            }
        }
        rows.sort_by(|a, b| compare_rows((&batches[a.0].batch, a.1), (&batches[b.0].batch, b.1)));
        for chunk in rows.chunks(CALL_ROWS_MAX) {
            let places: Vec<RowOf<'_>> = chunk
                .iter()
                .map(|&(number, row, _)| RowOf {
                    batch: &batches[number].batch,
                    row,
                })
                .collect();
            let groups: Vec<u32> = chunk.iter().map(|r| r.2).collect();
            let batch = interleave(&places);
            let untold = |row: u32| {
                let (number, row, _) = chunk[row as usize];
                !batches[number].told[row]
            };
            self.accumulate(cells, &batch, &groups, untold, rejects)?;
            for &(number, row, _) in chunk {
                batches[number].told[row] = true;
            }
        }
        Ok(())
    }

    /// One or more calls for rows of a batch. Rejected rows are told where `tell` says so.
    pub(crate) fn accumulate(
        &mut self,
        cells: &mut PluginCells,
        batch: &Batch,
        groups: &[u32],
        tell: impl Fn(u32) -> bool,
        rejects: &mut Rejects<'_>,
    ) -> Result<(), Fault> {
        // A call gets the accumulators of its own groups only, numbered as they come.
        let mut numbers: HashMap<u32, u32, FixedState> = HashMap::default();
        let mut own: Vec<u32> = Vec::new();
        let local: Vec<u32> = groups
            .iter()
            .map(|&group| {
                *numbers.entry(group).or_insert_with(|| {
                    own.push(group);
                    own.len() as u32 - 1
                })
            })
            .collect();
        cells.grow(own.iter().max().map_or(0, |&g| g as usize + 1), &self.description);
        let mut accumulators = cells.gather(&own, &self.description);
        let view = batch.with_columns(self.input.iter().map(|&column| OutputColumn::Input(column)));
        let guest = &mut self.guest;
        let call = |rows: Option<&[u32]>| -> Result<Vec<Reject>, Fault> {
            let done = match rows {
                None => guest.accumulate(&view, &local, &accumulators)?,
                Some(rows) => {
                    let local: Vec<u32> = rows.iter().map(|&row| local[row as usize]).collect();
                    guest.accumulate(&view.select(rows), &local, &accumulators)?
                }
            };
            accumulators = done.accumulators;
            Ok(done.rejects)
        };
        let fails = rejects.letters.on_fault == OnFault::Fail;
        let attempt = if fails { Attempt::Whole } else { Attempt::Blame };
        let (refused, faults) = blame(batch.rows(), attempt, call, |refused, rows| {
            for reject in &mut *refused {
                reject.row = rows[reject.row as usize];
            }
        })?;
        let refused: Vec<Reject> = refused.into_iter().flatten().filter(|r| tell(r.row)).collect();
        cells.scatter(&own, &accumulators);
        rejects.refuse(batch, &self.path, Kind::Rejected, &refused)?;
        for (kind, reject) in faults {
            if tell(reject.row) {
                rejects.refuse(batch, &self.path, Kind::Fault(kind.name()), &[reject])?;
            }
        }
        Ok(())
    }

    /// Merges cells `from` of a later part into cells `into` of an earlier one; those that are `new` there are copied.
    pub(crate) fn merge(
        &mut self,
        cells: &mut PluginCells,
        into: &[u32],
        later: &PluginCells,
        from: &[u32],
        new: impl Fn(u32) -> bool,
    ) -> Result<(), Fault> {
        cells.grow(into.iter().max().map_or(0, |&g| g as usize + 1), &self.description);
        let (mut to_merge, mut from_merge) = (Vec::new(), Vec::new());
        for (&to, &from) in into.iter().zip(from) {
            if new(to) {
                for (own, other) in cells.columns.iter_mut().zip(&later.columns) {
                    own[to as usize] = other[from as usize].clone();
                }
            } else {
                to_merge.push(to);
                from_merge.push(from);
            }
        }
        for (to, from) in to_merge.chunks(CALL_ROWS_MAX).zip(from_merge.chunks(CALL_ROWS_MAX)) {
            let earlier = cells.gather(to, &self.description);
            let later = later.gather(from, &self.description);
            let merged = self.guest.merge(&earlier, &later)?;
            cells.scatter(to, &merged);
        }
        Ok(())
    }

    /// The results of groups, a column each.
    pub(crate) fn finish(
        &mut self,
        cells: &PluginCells,
        groups: &[u32],
        bounds: &Groups<'_>,
    ) -> Result<Vec<Column>, Fault> {
        let accumulators = cells.gather(groups, &self.description);
        self.guest.finish(bounds, &accumulators)
    }
}

impl Rejects<'_> {
    fn refuse(&mut self, batch: &Batch, path: &str, kind: Kind, rejects: &[Reject]) -> Result<(), Fault> {
        let refused = Refused {
            batch,
            schema: self.schema,
            plugin: Some(path),
            kind,
            rows: rejects,
        };
        self.letters.refuse(&refused, self.counters, self.out)
    }
}

/// By event time, then by place. Rows without places of one time stand as they came.
fn compare_rows(a: (&Batch, usize), b: (&Batch, usize)) -> Ordering {
    a.0.time(a.1)
        .cmp(&b.0.time(b.1))
        .then_with(|| match (&a.0.hidden().order, &b.0.hidden().order) {
            (Some(x), Some(y)) => x.compare(a.0.base_row(a.1), y, b.0.base_row(b.1)),
            _ => Ordering::Equal,
        })
}
