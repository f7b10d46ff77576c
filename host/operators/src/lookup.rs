//! A join with a table that is held in memory as a whole, and against which rows are joined as they come.
//!
//! Each row gives one row for each row of the table with equal columns, in the table's order; a null equals nothing.
//! Where rows without a match are kept, they come out once, with nulls. Outputs keep their row's time, watermark and
//! kind, and stand at the children of its place. There is no state: what a row gives depends on the table at that moment
//! alone, so the output is the same on every run as long as the table is.
//!
//! A call gives one slice. What a batch has beyond its first comes out when the operator is told the time, which it asks
//! for at once, or the watermark: both go no faster than those who take the output.

use std::collections::VecDeque;
use std::sync::{Arc, PoisonError, RwLock};

use hashbrown::HashTable;
use hashbrown::hash_table::Entry;
use wasmill_core::batch::{Batch, Hidden, OutputColumn};
use wasmill_core::column::{Column, ColumnBuilder, Value, concat};
use wasmill_core::fault::{Domain, Fault};
use wasmill_core::id::{KeyGroup, NodeId};
use wasmill_core::key;
use wasmill_core::operator::{Emit, Operator, Save, Step};
use wasmill_core::order::Order;
use wasmill_core::plan::{LookupNode, Stream};
use wasmill_core::time::Timestamp;

use crate::counters::Counters;

/// Rows that one call gives at most.
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
    /// Batches of which there is more to give, in their order.
    under_way: VecDeque<UnderWay>,
    counters: Counters,
}

/// A batch that has met some of its matches.
#[derive(Debug)]
struct UnderWay {
    batch: Batch,
    /// The table that was there when the batch came.
    table: Arc<LookupTable>,
    /// The first row that has not met all of its matches.
    row: usize,
    /// So many of that row's were met.
    met: usize,
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
            under_way: VecDeque::new(),
            counters: Counters::default(),
        }
    }

    /// What the operator has counted so far.
    pub fn counters(&self) -> Counters {
        self.counters
    }

    /// Gives one slice of what is under way.
    fn give(&mut self, out: &mut dyn Emit) -> Step {
        let Some(mut first) = self.under_way.pop_front() else {
            return Step::Done;
        };
        let found = first.find(&self.on, self.keeps_unmatched);
        self.emit(&first, &found, out);
        if first.row < first.batch.rows() {
            self.under_way.push_front(first);
        }
        if self.under_way.is_empty() {
            Step::Done
        } else {
            Step::More
        }
    }

    fn emit(&mut self, UnderWay { batch, table, .. }: &UnderWay, found: &Found, out: &mut dyn Emit) {
        if found.rows.is_empty() {
            return;
        }
        let inputs = self.live.len() - table.columns.len();
        let joined = found.children(batch);
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
    }
}

impl UnderWay {
    /// The next matches, as many as a slice holds.
    fn find(&mut self, on: &[usize], keeps_unmatched: bool) -> Found {
        let on: Vec<_> = on.iter().map(|&column| self.batch.column(column)).collect();
        let mut found = Found {
            first: self.met as u32,
            ..Found::default()
        };
        let mut encoded = Vec::new();
        while self.row < self.batch.rows() && found.rows.len() < OUTPUT_ROWS_MAX {
            let whole = encode_key(on.iter().map(|column| column.value(self.row)), &mut encoded);
            let matches = if whole { self.table.matches(&encoded) } else { &[] };
            let row = self.row as u32;
            if matches.is_empty() && keeps_unmatched {
                found.rows.push(row);
                found.matches.push(None);
            }
            let rest = &matches[self.met..];
            let taken = rest.len().min(OUTPUT_ROWS_MAX - found.rows.len());
            found.rows.resize(found.rows.len() + taken, row);
            found.matches.extend(rest[..taken].iter().copied().map(Some));
            if taken < rest.len() {
                self.met += taken;
            } else {
                self.row += 1;
                self.met = 0;
            }
        }
        found
    }
}

/// Rows of the input, each with its row of the table.
#[derive(Default)]
struct Found {
    rows: Vec<u32>,
    matches: Vec<Option<u32>>,
    /// Which match of its row the first one is.
    first: u32,
}

impl Found {
    /// The rows, each at its child's place.
    fn children(&self, batch: &Batch) -> Batch {
        let joined = batch.repeat(&self.rows);
        let Some(order) = batch.hidden().order.as_ref().filter(|_| self.first > 0) else {
            return joined;
        };
        // The first row's other children came out before.
        let mut child = self.first;
        let mut places: Vec<Vec<u8>> = Vec::with_capacity(self.rows.len());
        for (at, &row) in self.rows.iter().enumerate() {
            if at > 0 {
                child = if self.rows[at - 1] == row { child + 1 } else { 0 };
            }
            let mut place = Vec::new();
            order.write(batch.base_row(row as usize), &mut place);
            place.extend(child.to_be_bytes());
            places.push(place);
        }
        let hidden = Hidden {
            order: Some(Order::from_places(places.iter().map(Vec::as_slice))),
            ..joined.hidden().clone()
        };
        joined.with_hidden(hidden)
    }
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
        self.under_way.push_back(UnderWay {
            batch,
            table: self.table.current(),
            row: 0,
            met: 0,
        });
        if self.under_way.len() == 1 {
            self.give(out);
        }
        Ok(())
    }

    fn watermark(&mut self, _: Timestamp, out: &mut dyn Emit) -> Result<Step, Fault> {
        Ok(self.give(out))
    }

    fn wake_at(&self) -> Option<Timestamp> {
        (!self.under_way.is_empty()).then_some(Timestamp::MIN)
    }

    fn clock(&mut self, _: Timestamp, out: &mut dyn Emit) -> Result<Step, Fault> {
        Ok(self.give(out))
    }

    fn save(&mut self, _: &mut dyn Save) -> Result<(), Fault> {
        if self.under_way.is_empty() {
            return Ok(());
        }
        let message = "a lookup is saved before all that it asked to be called for has come out";
        Err(Fault::fatal(Domain::Internal, message).at(&self.node))
    }

    fn load(&mut self, _: KeyGroup, _: &[u8], _: &[u8]) -> Result<(), Fault> {
        Err(Fault::fatal(Domain::Internal, "a lookup has no state, so there is none to load").at(&self.node))
    }
}
