//! What a keyed operator remembers: its store, its tables, and the side of the guest's `state` interface.
//!
//! Value tables are columns by key ([`ValueTables`]). Tables on demand, lists and maps are entries of the store: one for
//! each row, under the key, a list's by its number, a map's by its sort key in canonical bytes. What a call writes to them
//! lies in an overlay over the store until the call has taken effect; the call's own reads see it.

use std::borrow::Cow;
use std::cell::RefCell;
use std::collections::BTreeMap;
use std::ops::{Bound as RangeBound, ControlFlow};
use std::rc::Rc;

use wasmill_core::column::{Column, ColumnBuilder, Scalar, Value};
use wasmill_core::fault::{Domain, Fault};
use wasmill_core::id::KeyGroup;
use wasmill_core::key;
use wasmill_core::keyed::{Bound, Lookup, MapRange, Page, StateAccess, TableDescription, TableKind, TimeDomain};
use wasmill_core::operator::Save;
use wasmill_core::plan::KeyedNode;
use wasmill_core::schema::DataType;
use wasmill_state::{Direction, KeyId, RowCodec, Span, Spill, Store, TableSpec, ValueTables, layout};

use super::tables::{FIRST_TABLE, VALUES};

/// The state of one subtask, which its operator and its guest share.
#[derive(Debug)]
pub struct KeyedState {
    pub(super) store: Store,
    pub(super) values: ValueTables,
    pub(super) tables: Vec<Table>,
    /// The number among the value tables of what is known of keys' last rows, where a table has a TTL.
    pub(super) meta: Option<usize>,
    pub(super) groups: u16,
    pub(super) memory_bytes: Option<u64>,
    /// The keys of the call that runs.
    pub(super) call: Vec<KeyId>,
    overlay: BTreeMap<Vec<u8>, Option<Vec<u8>>>,
}

/// A table of the guest.
#[derive(Debug)]
pub(super) struct Table {
    pub(super) description: TableDescription,
    /// Its number among the value tables.
    pub(super) value: Option<usize>,
    codec: RowCodec,
}

/// The columns of the table of keys' last rows.
pub(super) mod meta {
    /// The greatest event time of the key's rows.
    pub(in super::super) const EVENT: usize = 0;
    /// The processing time of the key's last row.
    pub(in super::super) const PROCESSING: usize = 1;
}

impl KeyedState {
    /// State without an entry, in an empty store. `key_types` are those of the key columns, `groups` is the job's number
    /// of key groups. About `memory_bytes` are held in memory beside the store; `None`: everything.
    pub fn new(
        plan: &KeyedNode,
        key_types: Vec<DataType>,
        store: Store,
        groups: u16,
        memory_bytes: Option<u64>,
    ) -> Rc<RefCell<Self>> {
        let mut specs = Vec::new();
        let mut tables = Vec::new();
        for description in &plan.description.tables {
            let types = || description.schema.fields().iter().map(|field| field.data_type);
            let is_value = description.kind == TableKind::Value;
            tables.push(Table {
                value: is_value.then_some(specs.len()),
                codec: RowCodec::new(types()),
                description: description.clone(),
            });
            if is_value {
                specs.push(TableSpec {
                    types: types().collect(),
                    initial: description.initial.clone(),
                });
            }
        }
        let has_ttl = tables.iter().any(|table| table.description.ttl.is_some());
        let meta = has_ttl.then_some(specs.len());
        if has_ttl {
            specs.push(TableSpec {
                types: vec![DataType::Int64; 2],
                initial: vec![Scalar::Null; 2],
            });
        }
        let spill = Spill {
            groups,
            table: VALUES,
            resident_bytes: memory_bytes.map(|bytes| bytes / 2),
        };
        Rc::new(RefCell::new(Self {
            store,
            values: ValueTables::new(key_types, specs, spill),
            tables,
            meta,
            groups,
            memory_bytes,
            call: Vec::new(),
            overlay: BTreeMap::new(),
        }))
    }

    /// The canonical bytes of a key of the round.
    pub(super) fn encoded(&self, id: KeyId) -> Vec<u8> {
        let mut encoded = Vec::new();
        self.values.keys().encode(id, &mut encoded);
        encoded
    }

    /// The start of a key's entries in a table that is no value table.
    fn start(&self, table: usize, id: KeyId) -> Vec<u8> {
        let mut start = Vec::new();
        layout::of_key(self.groups, FIRST_TABLE + table as u8, &self.encoded(id), &mut start);
        start
    }

    fn start_of_row(&self, table: usize, key: u32) -> Vec<u8> {
        self.start(table, self.call[key as usize])
    }

    /// Takes a key's rows in a table away.
    pub(super) fn clear(&mut self, table: usize, id: KeyId) -> Result<(), Fault> {
        if let Some(value) = self.tables[table].value {
            self.values.clear(value, &[id]);
            return Ok(());
        }
        let start = self.start(table, id);
        self.store.remove_range(Span::Prefix(&start))
    }

    /// Makes what the call wrote through [`StateAccess`] so.
    pub(super) fn commit(&mut self) -> Result<(), Fault> {
        for (key, value) in std::mem::take(&mut self.overlay) {
            match value {
                Some(value) => self.store.put(&key, &value)?,
                None => self.store.remove(&key)?,
            }
        }
        Ok(())
    }

    /// Whether tables have a TTL by a clock.
    pub(super) fn has_ttl(&self, domain: TimeDomain) -> bool {
        self.tables
            .iter()
            .any(|table| table.description.ttl.is_some_and(|ttl| ttl.domain == domain))
    }

    /// Hands out all tables. The value tables are under [`VALUES`], the others under their numbers in the store.
    pub(super) fn save(&mut self, out: &mut dyn Save) -> Result<(), Fault> {
        let Self { values, store, .. } = self;
        let mut name = Vec::new();
        values.visit(store, |group, encoded, table, row| {
            name.clear();
            name.extend([VALUES, table as u8]);
            name.extend_from_slice(encoded);
            out.entry(group, &name, row)
        })?;
        if self.tables.iter().all(|table| table.value.is_some()) {
            return Ok(());
        }
        self.store.scan(Span::All, Direction::Forwards, |key, value| {
            match layout::split(key) {
                Some((group, table, _)) if group.0 < self.groups && table >= FIRST_TABLE => {
                    out.entry(group, &key[2..], value)?;
                }
                _ => {}
            }
            Ok(ControlFlow::Continue(()))
        })
    }

    /// Takes an entry of the value tables, without its first byte.
    pub(super) fn load_value(&mut self, entry: &[u8], row: &[u8]) -> Result<(), Fault> {
        let (&table, encoded) = entry.split_first().ok_or_else(damaged)?;
        let known = self.tables.iter().filter(|table| table.value.is_some()).count() + usize::from(self.meta.is_some());
        if usize::from(table) >= known {
            return Err(damaged());
        }
        self.values.load(&mut self.store, encoded, usize::from(table), row)
    }

    /// Takes an entry of another table, as it was saved.
    pub(super) fn load_entry(&mut self, group: KeyGroup, entry: &[u8], value: &[u8]) -> Result<(), Fault> {
        let table = entry
            .first()
            .and_then(|table| table.checked_sub(FIRST_TABLE))
            .ok_or_else(damaged)?;
        let table = self
            .tables
            .get(usize::from(table))
            .filter(|table| table.value.is_none());
        let mut rest = value;
        table.ok_or_else(damaged)?.codec.split(&mut rest)?;
        if !rest.is_empty() {
            return Err(damaged());
        }
        let [high, low] = group.0.to_be_bytes();
        let key = [&[high, low], entry].concat();
        self.store.put(&key, value)
    }

    fn read(&self, key: &[u8]) -> Result<Option<Cow<'_, [u8]>>, Fault> {
        match self.overlay.get(key) {
            Some(value) => Ok(value.as_deref().map(Cow::Borrowed)),
            None => Ok(self.store.get(key, |value| Cow::Owned(value.to_vec()))?),
        }
    }

    fn write(&mut self, key: Vec<u8>, value: Option<Vec<u8>>) {
        self.overlay.insert(key, value);
    }

    /// Shows the entries of [from, to) with what the call wrote.
    fn scan_over(
        &self,
        from: &[u8],
        to: &[u8],
        direction: Direction,
        mut visit: impl FnMut(&[u8], &[u8]) -> Result<ControlFlow<()>, Fault>,
    ) -> Result<(), Fault> {
        if from >= to {
            return Ok(());
        }
        let range = (RangeBound::Included(from), RangeBound::Excluded(to));
        let written: Vec<(&[u8], Option<&[u8]>)> = {
            let entries = self
                .overlay
                .range::<[u8], _>(range)
                .map(|(key, value)| (&key[..], value.as_deref()));
            match direction {
                Direction::Forwards => entries.collect(),
                Direction::Backwards => entries.rev().collect(),
            }
        };
        let is_before = |a: &[u8], b: &[u8]| match direction {
            Direction::Forwards => a < b,
            Direction::Backwards => a > b,
        };
        let mut next = 0;
        let mut stopped = false;
        self.store
            .scan(Span::Between(range.0, range.1), direction, |key, value| {
                while let Some(&(own, own_value)) = written.get(next)
                    && !is_before(key, own)
                {
                    next += 1;
                    let flow = match own_value {
                        Some(own_value) => visit(own, own_value)?,
                        None => ControlFlow::Continue(()),
                    };
                    if flow.is_break() {
                        stopped = true;
                        return Ok(flow);
                    }
                    if own == key {
                        return Ok(ControlFlow::Continue(()));
                    }
                }
                let flow = visit(key, value)?;
                stopped = flow.is_break();
                Ok(flow)
            })?;
        if stopped {
            return Ok(());
        }
        for &(own, value) in &written[next..] {
            if let Some(value) = value
                && visit(own, value)?.is_break()
            {
                break;
            }
        }
        Ok(())
    }

    /// The first rows of [from, to), at most `limit`.
    fn page(&self, table: usize, from: &[u8], to: &[u8], direction: Direction, limit: u32) -> Result<Page, Fault> {
        let codec = &self.tables[table].codec;
        let mut builders = codec.builders(0);
        let mut rows = 0;
        let mut more = false;
        self.scan_over(from, to, direction, |_, mut value| {
            if rows == limit {
                more = true;
                return Ok(ControlFlow::Break(()));
            }
            rows += 1;
            codec.decode_into(&mut value, &mut builders)?;
            Ok(ControlFlow::Continue(()))
        })?;
        Ok(Page {
            columns: builders.into_iter().map(ColumnBuilder::finish).collect(),
            more,
        })
    }

    /// The bytes between which a range of a key's map stands.
    fn span(&self, table: usize, key: u32, range: &MapRange) -> (Vec<u8>, Vec<u8>) {
        let start = self.start_of_row(table, key);
        let at = |values: &[Scalar]| {
            let mut bytes = start.clone();
            for value in values {
                key::encode(value.as_value(), &mut bytes);
            }
            bytes
        };
        let from = match &range.lower {
            Bound::Unbounded => start.clone(),
            Bound::Included(values) => at(values),
            Bound::Excluded(values) => after_all(at(values)),
        };
        let to = match &range.upper {
            Bound::Unbounded => after_all(start.clone()),
            Bound::Included(values) => after_all(at(values)),
            Bound::Excluded(values) => at(values),
        };
        (from, to)
    }

    /// The store's key of a map's row.
    fn map_key(&self, table: usize, key: u32, at: &[Column], row: usize) -> Vec<u8> {
        let mut bytes = self.start_of_row(table, key);
        for column in &at[..self.tables[table].description.sort_key] {
            key::encode(column.value(row), &mut bytes);
        }
        bytes
    }

    /// The number of a list's first row and that after its last.
    fn list_bounds(&self, start: &[u8]) -> Result<(u64, u64), Fault> {
        let end = after_all(start.to_vec());
        let number = |direction| -> Result<Option<u64>, Fault> {
            let mut found = None;
            self.scan_over(start, &end, direction, |key, _| {
                found = key.last_chunk::<8>().map(|bytes| u64::from_be_bytes(*bytes));
                Ok(ControlFlow::Break(()))
            })?;
            Ok(found)
        };
        let first = number(Direction::Forwards)?;
        let last = number(Direction::Backwards)?;
        Ok((first.unwrap_or(0), last.map_or(0, |last| last + 1)))
    }

    /// Sets columns of a key's row in a table on demand, in the overlay.
    fn put_row<'v>(
        &mut self,
        table: usize,
        key: Vec<u8>,
        changes: impl Iterator<Item = (usize, Value<'v>)>,
    ) -> Result<(), Fault> {
        let mut values = self.row(table, &key)?;
        for (column, value) in changes {
            values[column] = value.into();
        }
        let mut bytes = Vec::new();
        let codec = &self.tables[table].codec;
        codec.encode_values(values.iter().map(Scalar::as_value), &mut bytes);
        self.write(key, Some(bytes));
        Ok(())
    }

    /// A row of a table on demand, or what a key has without one.
    fn row(&self, table: usize, key: &[u8]) -> Result<Vec<Scalar>, Fault> {
        let Table { description, codec, .. } = &self.tables[table];
        let Some(bytes) = self.read(key)? else {
            return Ok(description.initial.clone());
        };
        let mut values = Vec::with_capacity(codec.types().len());
        codec.decode(&mut &bytes[..], |_, value| values.push(value.into()))?;
        Ok(values)
    }
}

impl StateAccess for KeyedState {
    fn begin(&mut self) {
        self.overlay.clear();
    }

    fn get(&mut self, table: usize, keys: &[u32], columns: &[usize]) -> Result<Vec<Column>, Fault> {
        let types = self.tables[table].codec.types();
        let builders = columns
            .iter()
            .map(|&column| ColumnBuilder::new(types[column], keys.len()));
        let mut builders: Vec<ColumnBuilder> = builders.collect();
        for &key in keys {
            let row = self.row(table, &self.start_of_row(table, key))?;
            for (builder, &column) in builders.iter_mut().zip(columns) {
                builder.push(row[column].as_value());
            }
        }
        Ok(builders.into_iter().map(ColumnBuilder::finish).collect())
    }

    fn put(&mut self, table: usize, keys: &[u32], columns: &[(usize, Column)]) -> Result<(), Fault> {
        for (row, &key) in keys.iter().enumerate() {
            let key = self.start_of_row(table, key);
            self.put_row(
                table,
                key,
                columns.iter().map(|(number, column)| (*number, column.value(row))),
            )?;
        }
        Ok(())
    }

    fn map_get(&mut self, table: usize, keys: &[u32], at: &[Column]) -> Result<Lookup, Fault> {
        let codec = &self.tables[table].codec;
        let mut builders = codec.builders(keys.len());
        let mut found = Vec::with_capacity(keys.len());
        for (row, &key) in keys.iter().enumerate() {
            let bytes = self.read(&self.map_key(table, key, at, row))?;
            found.push(bytes.is_some());
            match bytes {
                Some(bytes) => codec.decode_into(&mut &bytes[..], &mut builders)?,
                None => builders.iter_mut().for_each(ColumnBuilder::push_null),
            }
        }
        Ok(Lookup {
            found,
            columns: builders.into_iter().map(ColumnBuilder::finish).collect(),
        })
    }

    fn map_put(&mut self, table: usize, keys: &[u32], rows: &[Column]) -> Result<(), Fault> {
        for (row, &key) in keys.iter().enumerate() {
            let key = self.map_key(table, key, rows, row);
            let mut bytes = Vec::new();
            self.tables[table].codec.encode(rows, row, &mut bytes);
            self.write(key, Some(bytes));
        }
        Ok(())
    }

    fn map_remove(&mut self, table: usize, keys: &[u32], at: &[Column]) -> Result<(), Fault> {
        for (row, &key) in keys.iter().enumerate() {
            let key = self.map_key(table, key, at, row);
            self.write(key, None);
        }
        Ok(())
    }

    fn append(&mut self, table: usize, keys: &[u32], rows: &[Column]) -> Result<(), Fault> {
        /// The key appended to last, and the number of its next row.
        struct Last(u32, u64);
        let mut last: Option<Last> = None;
        for (row, &key) in keys.iter().enumerate() {
            let mut place = self.start_of_row(table, key);
            let number = match last {
                Some(Last(same, next)) if same == key => next,
                _ => self.list_bounds(&place)?.1,
            };
            last = Some(Last(key, number + 1));
            place.extend(number.to_be_bytes());
            let mut bytes = Vec::new();
            self.tables[table].codec.encode(rows, row, &mut bytes);
            self.write(place, Some(bytes));
        }
        Ok(())
    }

    fn scan(&mut self, table: usize, key: u32, range: &MapRange) -> Result<Page, Fault> {
        let (from, to) = self.span(table, key, range);
        self.page(table, &from, &to, direction(range), range.limit)
    }

    fn scan_list(&mut self, table: usize, key: u32, skip: u64, limit: u32) -> Result<Page, Fault> {
        let start = self.start_of_row(table, key);
        let (first, _) = self.list_bounds(&start)?;
        let mut from = start.clone();
        from.extend(first.saturating_add(skip).to_be_bytes());
        self.page(table, &from, &after_all(start), Direction::Forwards, limit)
    }

    fn remove_range(&mut self, table: usize, key: u32, range: &MapRange) -> Result<u64, Fault> {
        let (from, to) = self.span(table, key, range);
        let mut keys = Vec::new();
        self.scan_over(&from, &to, direction(range), |key, _| {
            if keys.len() as u64 == u64::from(range.limit) {
                return Ok(ControlFlow::Break(()));
            }
            keys.push(key.to_vec());
            Ok(ControlFlow::Continue(()))
        })?;
        let removed = keys.len() as u64;
        for key in keys {
            self.write(key, None);
        }
        Ok(removed)
    }

    fn truncate(&mut self, table: usize, key: u32, first: u64) -> Result<(), Fault> {
        let start = self.start_of_row(table, key);
        let (from, to) = self.list_bounds(&start)?;
        for number in from..to.min(from.saturating_add(first)) {
            let mut place = start.clone();
            place.extend(number.to_be_bytes());
            self.write(place, None);
        }
        Ok(())
    }
}

fn direction(range: &MapRange) -> Direction {
    if range.descending {
        Direction::Backwards
    } else {
        Direction::Forwards
    }
}

/// The least bytes that are greater than all that begin with these, which are not all `ff`.
fn after_all(mut bytes: Vec<u8>) -> Vec<u8> {
    while let Some(last) = bytes.pop() {
        if last < u8::MAX {
            bytes.push(last + 1);
            break;
        }
    }
    bytes
}

fn damaged() -> Fault {
    Fault::fatal(Domain::External, "an entry of a keyed operator's state is damaged")
}
