//! The tables of a keyed operator in memory, as the host has them: what a test looks at.

use std::{cell::RefCell, collections::BTreeMap, rc::Rc};

use super::super::table::{self, Cells};
use crate::{
    bindings::{
        state::{Bound, Lookup, Page, Span},
        state_types::{Keys, StateTable, TableKind, Update},
        types::Column,
    },
    buffer::{BitBuilder, Buffer},
    state::Access,
};

/// The rows of each key, by table.
#[derive(Debug, Clone)]
pub(super) struct Store {
    pub(super) tables: Vec<StateTable>,
    rows: Vec<BTreeMap<Cells, Vec<Cells>>>,
    /// The keys of the call that runs.
    pub(super) keys: Vec<Cells>,
}

impl Store {
    pub(super) fn new(tables: Vec<StateTable>) -> Self {
        Self {
            rows: vec![BTreeMap::new(); tables.len()],
            tables,
            keys: Vec::new(),
        }
    }

    /// All keys of a table with their rows.
    pub(super) fn rows(&self, table: usize) -> &BTreeMap<Cells, Vec<Cells>> {
        &self.rows[table]
    }

    /// The value tables of the call's keys.
    pub(super) fn values(&self) -> Vec<Vec<Column>> {
        let value = |number: &usize| self.tables[*number].kind == TableKind::Value;
        let all: Vec<u32> = (0..self.keys.len() as u32).collect();
        let columns = |number: usize| {
            let fields = &self.tables[number].fields;
            let rows: Vec<Cells> = all.iter().map(|key| self.value(number, *key)).collect();
            table::encode(fields, rows.iter())
        };
        (0..self.tables.len()).filter(value).map(columns).collect()
    }

    pub(super) fn clear(&mut self, table: usize, key: &Cells) {
        self.rows[table].remove(key);
    }

    pub(super) fn apply(&mut self, update: &Update) {
        let keys = self.numbers(&update.keys);
        self.set(update.table, &keys, &update.columns);
    }

    /// The keys as numbers of the call.
    pub(super) fn numbers(&self, keys: &Keys) -> Vec<u32> {
        match keys {
            Keys::All => (0..self.keys.len() as u32).collect(),
            Keys::Some(numbers) => indices(numbers),
        }
    }

    fn value(&self, table: usize, key: u32) -> Cells {
        let found = self.rows[table]
            .get(&self.keys[key as usize])
            .and_then(|rows| rows.first());
        found
            .cloned()
            .unwrap_or_else(|| self.tables[table].initial.iter().map(table::cell).collect())
    }

    fn set(&mut self, table: u32, keys: &[u32], columns: &[(u32, Column)]) {
        let number = table as usize;
        for (column, values) in columns {
            let field = &self.tables[number].fields[*column as usize];
            let values = table::decode(std::slice::from_ref(field), std::slice::from_ref(values), keys.len());
            for (key, mut value) in keys.iter().zip(values) {
                let mut row = self.value(number, *key);
                row[*column as usize] = value.remove(0);
                self.rows[number].insert(self.keys[*key as usize].clone(), vec![row]);
            }
        }
    }

    /// The rows of one key, to change them.
    fn of(&mut self, table: u32, key: u32) -> &mut Vec<Cells> {
        self.rows[table as usize]
            .entry(self.keys[key as usize].clone())
            .or_default()
    }

    fn forget_empty(&mut self, table: u32) {
        self.rows[table as usize].retain(|_, rows| !rows.is_empty());
    }

    fn page(&self, table: u32, rows: &[Cells], limit: u32) -> Page {
        let taken = &rows[..rows.len().min(limit as usize)];
        Page {
            rows: taken.len() as u32,
            columns: table::encode(&self.tables[table as usize].fields, taken.iter()),
            more: taken.len() < rows.len(),
        }
    }

    fn sort_keys(&self, table: u32, at: &[Column], rows: usize) -> Vec<Cells> {
        let table = &self.tables[table as usize];
        table::decode(&table.fields[..table.sort_key as usize], at, rows)
    }

    fn found(&self, table: u32, key: u32) -> &[Cells] {
        let rows = self.rows[table as usize].get(&self.keys[key as usize]);
        rows.map_or(&[], Vec::as_slice)
    }
}

fn indices(numbers: &[u8]) -> Vec<u32> {
    let numbers = Buffer::new(numbers.to_vec());
    numbers.values::<u32>().expect("indices are u32").to_vec()
}

fn within(span: &Span, row: &Cells) -> bool {
    let values = |bound: &[_]| bound.iter().map(table::cell).collect::<Cells>();
    let leading = |bound: &Cells| row[..bound.len()].cmp(bound);
    let above = match &span.lower {
        Bound::Unbounded => true,
        Bound::Included(bound) => leading(&values(bound)).is_ge(),
        Bound::Excluded(bound) => leading(&values(bound)).is_gt(),
    };
    let below = match &span.upper {
        Bound::Unbounded => true,
        Bound::Included(bound) => leading(&values(bound)).is_le(),
        Bound::Excluded(bound) => leading(&values(bound)).is_lt(),
    };
    above && below
}

/// The store as an operator reaches it while a call runs.
pub(super) struct Shared(pub(super) Rc<RefCell<Store>>);

impl Access for Shared {
    fn get(&mut self, table: u32, keys: &[u8], columns: &[u32]) -> Vec<Column> {
        let store = self.0.borrow();
        let rows: Vec<Cells> = indices(keys)
            .iter()
            .map(|key| store.value(table as usize, *key))
            .collect();
        let all = table::encode(&store.tables[table as usize].fields, rows.iter());
        columns.iter().map(|column| all[*column as usize].clone()).collect()
    }

    fn put(&mut self, table: u32, keys: &[u8], columns: &[(u32, Column)]) {
        self.0.borrow_mut().set(table, &indices(keys), columns);
    }

    fn map_get(&mut self, table: u32, keys: &[u8], at: &[Column]) -> Lookup {
        let store = self.0.borrow();
        let keys = indices(keys);
        let fields = &store.tables[table as usize].fields;
        let mut found = BitBuilder::default();
        let mut rows = Vec::new();
        for (key, at) in keys.iter().zip(store.sort_keys(table, at, keys.len())) {
            let row = store.found(table, *key).iter().find(|row| row.starts_with(&at));
            found.push(row.is_some());
            rows.push(row.cloned().unwrap_or_else(|| table::blank(fields)));
        }
        Lookup {
            found: found.into_bytes(),
            columns: table::encode(fields, rows.iter()),
        }
    }

    fn map_put(&mut self, table: u32, keys: &[u8], rows: &[Column]) {
        let mut store = self.0.borrow_mut();
        let keys = indices(keys);
        let sort_key = store.tables[table as usize].sort_key as usize;
        let rows = table::decode(&store.tables[table as usize].fields, rows, keys.len());
        for (key, row) in keys.into_iter().zip(rows) {
            let of = store.of(table, key);
            match of.binary_search_by(|there| there[..sort_key].cmp(&row[..sort_key])) {
                Ok(at) => of[at] = row,
                Err(at) => of.insert(at, row),
            }
        }
    }

    fn map_remove(&mut self, table: u32, keys: &[u8], at: &[Column]) {
        let mut store = self.0.borrow_mut();
        let keys = indices(keys);
        let at = store.sort_keys(table, at, keys.len());
        for (key, at) in keys.into_iter().zip(at) {
            store.of(table, key).retain(|row| !row.starts_with(&at));
        }
        store.forget_empty(table);
    }

    fn append(&mut self, table: u32, keys: &[u8], rows: &[Column]) {
        let mut store = self.0.borrow_mut();
        let keys = indices(keys);
        let rows = table::decode(&store.tables[table as usize].fields, rows, keys.len());
        for (key, row) in keys.into_iter().zip(rows) {
            store.of(table, key).push(row);
        }
    }

    fn scan(&mut self, table: u32, key: u32, span: &Span) -> Page {
        let store = self.0.borrow();
        let mut rows: Vec<Cells> = store
            .found(table, key)
            .iter()
            .filter(|row| within(span, row))
            .cloned()
            .collect();
        if span.descending {
            rows.reverse();
        }
        store.page(table, &rows, span.limit)
    }

    fn scan_list(&mut self, table: u32, key: u32, skip: u64, limit: u32) -> Page {
        let store = self.0.borrow();
        let rows = store.found(table, key);
        store.page(table, rows.get(skip as usize..).unwrap_or_default(), limit)
    }

    fn remove_range(&mut self, table: u32, key: u32, span: &Span) -> u64 {
        let mut store = self.0.borrow_mut();
        let of = store.of(table, key);
        let before = of.len();
        of.retain(|row| !within(span, row));
        let removed = before - of.len();
        store.forget_empty(table);
        removed as u64
    }

    fn truncate(&mut self, table: u32, key: u32, first: u64) {
        let mut store = self.0.borrow_mut();
        let of = store.of(table, key);
        let removed = usize::try_from(first).unwrap_or(usize::MAX).min(of.len());
        of.drain(..removed);
        store.forget_empty(table);
    }
}
