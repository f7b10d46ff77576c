//! A join with a table that is held in memory as a whole, and against which rows are joined as they come.
//!
//! Each row gives one row for each row of the table with equal columns, in the table's order; a null equals nothing.
//! Where rows without a match are kept, they come out once, with nulls. Outputs keep their row's time, watermark and
//! kind, and stand at the children of its place. There is no state: what a row gives depends on the table at that moment
//! alone, so the output is the same on every run as long as the table is.

use std::sync::{Arc, PoisonError, RwLock};

use hashbrown::HashTable;
use hashbrown::hash_table::Entry;
use wasmill_core::batch::{Batch, OutputColumn};
use wasmill_core::column::{Column, ColumnBuilder, Value, concat};
use wasmill_core::fault::{Domain, Fault};
use wasmill_core::id::{KeyGroup, NodeId};
use wasmill_core::key;
use wasmill_core::operator::{Emit, Operator, Save, Step};
use wasmill_core::plan::{LookupNode, Stream};
use wasmill_core::time::Timestamp;

use crate::counters::Counters;

/// Rows that one call copies into one batch at most, unless a single row has more matches.
const OUTPUT_ROWS_MAX: usize = 4_096;

/// A table, found by the columns that must be equal. Shared by all subtasks, never changed.
#[derive(Debug)]
pub struct LookupTable {
    /// The columns that the output takes, in the node's order.
    columns: Vec<Column>,
    /// The rows of each key, one key after the other.
    rows: Vec<u32>,
    /// Each key's hash, and where its rows begin and end in `rows`.
    keys: HashTable<(u64, u32)>,
    entries: Vec<KeyRows>,
}

#[derive(Debug)]
struct KeyRows {
    key: Box<[u8]>,
    from: u32,
    to: u32,
}

impl LookupTable {
    /// The table of these batches, in their order. Their columns are those of the node's table.
    ///
    /// # Errors
    /// There are more rows than a table can have.
    pub fn new(plan: &LookupNode, batches: &[Batch]) -> Result<Self, Fault> {
        let count: usize = batches.iter().map(Batch::rows).sum();
        if u32::try_from(count).is_err() {
            let message = format!("the lookup table has {count} rows; at most {} fit", u32::MAX);
            return Err(Fault::fatal(Domain::User, message));
        }
        let mut keys: HashTable<(u64, u32)> = HashTable::new();
        let mut entries: Vec<KeyRows> = Vec::new();
        // The key of each row; none where a column of it is null.
        let mut key_of_row: Vec<Option<u32>> = Vec::with_capacity(count);
        let mut encoded = Vec::new();
        for batch in batches {
            let on: Vec<_> = plan.on.iter().map(|&(_, column)| batch.column(column)).collect();
            for row in 0..batch.rows() {
                if !encode_key(on.iter().map(|column| column.value(row)), &mut encoded) {
                    key_of_row.push(None);
                    continue;
                }
                let hash = key::hash(&encoded);
                let same = |&(other, at): &(u64, u32)| other == hash && *entries[at as usize].key == *encoded;
                let at = match keys.entry(hash, same, |entry| entry.0) {
                    Entry::Occupied(entry) => entry.get().1,
                    Entry::Vacant(vacant) => {
                        let at = entries.len() as u32;
                        vacant.insert((hash, at));
                        entries.push(KeyRows {
                            key: encoded.as_slice().into(),
                            from: 0,
                            to: 0,
                        });
                        at
                    }
                };
                entries[at as usize].to += 1;
                key_of_row.push(Some(at));
            }
        }
        let mut end = 0;
        for entry in &mut entries {
            let len = entry.to;
            (entry.from, entry.to) = (end, end);
            end += len;
        }
        let mut rows = vec![0; end as usize];
        for (row, at) in key_of_row.iter().enumerate() {
            if let Some(at) = at {
                let entry = &mut entries[*at as usize];
                rows[entry.to as usize] = row as u32;
                entry.to += 1;
            }
        }
        let columns = plan.columns.iter().map(|&column| {
            let parts: Vec<_> = batches.iter().map(|batch| batch.column(column)).collect();
            concat(plan.schema.fields()[column].data_type, parts.iter().map(AsRef::as_ref))
        });
        Ok(Self {
            columns: columns.collect(),
            rows,
            keys,
            entries,
        })
    }

    /// The rows with this key, in the table's order.
    fn matches(&self, encoded: &[u8]) -> &[u32] {
        let hash = key::hash(encoded);
        let same = |&(other, at): &(u64, u32)| other == hash && *self.entries[at as usize].key == *encoded;
        self.keys.find(hash, same).map_or(&[], |&(_, at)| {
            let entry = &self.entries[at as usize];
            &self.rows[entry.from as usize..entry.to as usize]
        })
    }

    /// About how many bytes the table takes.
    pub fn size_bytes(&self) -> usize {
        let columns: usize = self.columns.iter().map(Column::size_bytes).sum();
        let keys: usize = self
            .entries
            .iter()
            .map(|entry| entry.key.len() + size_of::<KeyRows>())
            .sum();
        columns + keys + self.rows.len() * 4 + self.keys.capacity() * 17
    }
}

/// Whether every value is there; if so, `out` is the key.
fn encode_key<'v>(values: impl Iterator<Item = Value<'v>>, out: &mut Vec<u8>) -> bool {
    out.clear();
    for value in values {
        if value == Value::Null {
            return false;
        }
        key::encode(value, out);
    }
    true
}

/// Where subtasks find the table. Whoever loads it again puts the next one there as a whole.
#[derive(Debug)]
pub struct SharedTable(RwLock<Arc<LookupTable>>);

impl SharedTable {
    /// A place with this table.
    pub fn new(table: LookupTable) -> Self {
        Self(RwLock::new(Arc::new(table)))
    }

    /// Puts another table there. Batches that are being joined are joined with the one before.
    pub fn replace(&self, table: LookupTable) {
        *self.0.write().unwrap_or_else(PoisonError::into_inner) = Arc::new(table);
    }

    /// The table that is there.
    pub fn current(&self) -> Arc<LookupTable> {
        Arc::clone(&self.0.read().unwrap_or_else(PoisonError::into_inner))
    }
}

/// One subtask of a lookup join.
#[derive(Debug)]
pub struct Lookup {
    node: NodeId,
    on: Vec<usize>,
    keeps_unmatched: bool,
    /// Which columns of the output somebody reads: the input's, then the table's.
    live: Vec<bool>,
    table: Arc<SharedTable>,
    counters: Counters,
}

impl Lookup {
    /// A lookup in a table that was built for the same node.
    pub fn new(node: NodeId, plan: &LookupNode, output: &Stream, table: Arc<SharedTable>) -> Self {
        Self {
            node,
            on: plan.on.iter().map(|&(column, _)| column).collect(),
            keeps_unmatched: plan.keeps_unmatched,
            live: output.live.clone(),
            table,
            counters: Counters::default(),
        }
    }

    /// What the operator has counted so far.
    pub fn counters(&self) -> Counters {
        self.counters
    }

    fn emit(&mut self, batch: &Batch, table: &LookupTable, found: &mut Found, out: &mut dyn Emit) {
        if found.rows.is_empty() {
            return;
        }
        let inputs = self.live.len() - table.columns.len();
        let joined = batch.repeat(&found.rows);
        let columns = self
            .live
            .iter()
            .enumerate()
            .map(|(column, &live)| match column.checked_sub(inputs) {
                _ if !live => OutputColumn::Absent,
                None => OutputColumn::Input(column),
                Some(of_table) => OutputColumn::Computed(gather(&table.columns[of_table], &found.matches)),
            });
        self.counters.rows_out += found.rows.len() as u64;
        out.emit(0, joined.with_columns(columns));
        found.rows.clear();
        found.matches.clear();
    }
}

/// Rows of the input, each with its row of the table.
#[derive(Default)]
struct Found {
    rows: Vec<u32>,
    matches: Vec<Option<u32>>,
}

fn gather(column: &Column, rows: &[Option<u32>]) -> Column {
    if let Some(rows) = rows.iter().copied().collect::<Option<Vec<u32>>>() {
        return column.gather(&rows);
    }
    let mut builder = ColumnBuilder::new(column.data_type(), rows.len());
    for row in rows {
        builder.push(row.map_or(Value::Null, |row| column.value(row as usize)));
    }
    builder.finish()
}

impl Operator for Lookup {
    fn batch(&mut self, _input: usize, batch: Batch, out: &mut dyn Emit) -> Result<(), Fault> {
        self.counters.rows_in += batch.rows() as u64;
        let table = self.table.current();
        let on: Vec<_> = self.on.iter().map(|&column| batch.column(column)).collect();
        let mut found = Found::default();
        let mut encoded = Vec::new();
        for row in 0..batch.rows() {
            let whole = encode_key(on.iter().map(|column| column.value(row)), &mut encoded);
            let matches = if whole { table.matches(&encoded) } else { &[] };
            found.rows.resize(found.rows.len() + matches.len(), row as u32);
            found.matches.extend(matches.iter().copied().map(Some));
            if matches.is_empty() && self.keeps_unmatched {
                found.rows.push(row as u32);
                found.matches.push(None);
            }
            if found.rows.len() >= OUTPUT_ROWS_MAX {
                self.emit(&batch, &table, &mut found, out);
            }
        }
        self.emit(&batch, &table, &mut found, out);
        Ok(())
    }

    fn watermark(&mut self, _: Timestamp, _: &mut dyn Emit) -> Result<Step, Fault> {
        Ok(Step::Done)
    }

    fn wake_at(&self) -> Option<Timestamp> {
        None
    }

    fn clock(&mut self, _: Timestamp, _: &mut dyn Emit) -> Result<Step, Fault> {
        Ok(Step::Done)
    }

    fn save(&mut self, _: &mut dyn Save) -> Result<(), Fault> {
        Ok(())
    }

    fn load(&mut self, _: KeyGroup, _: &[u8], _: &[u8]) -> Result<(), Fault> {
        Err(Fault::fatal(Domain::Internal, "a lookup has no state, so there is none to load").at(&self.node))
    }
}
