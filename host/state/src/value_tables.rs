//! Tables of one typed row a key: what keyed operators read and write most.
//!
//! Rows that are resident stand in columns by the key's id, so that the rows of many keys are gathered and written back in
//! one pass a column. Where memory is bounded the residents are a cache over the operator's [`Store`]: a key that is
//! not resident is loaded when it is met, and keys that were not met for the longest, by a clock with one bit
//! (Corbato 1968), are written back to make room. All tables of an operator share the keys, and a key's rows come and go
//! together, as one entry of the store. What is resident shows in no result.
//!
//! Keys are met in rounds: [`ValueTables::begin`], then the `meet` functions, then gather and scatter for the keys of
//! the round. Ids are good until the next round begins.

mod cells;

use std::ops::ControlFlow;

use arrow_array::Array;
use wasmill_core::batch::Batch;
use wasmill_core::column::{Column, Scalar};
use wasmill_core::fault::Fault;
use wasmill_core::id::KeyGroup;
use wasmill_core::key;
use wasmill_core::schema::DataType;

use crate::keys::{KeyId, Keys, Known};
use crate::layout;
use crate::rows::{Damaged, RowCodec};
use crate::store::{Direction, Span, Store};
use cells::Cells;

/// Keys without a row in any table are forgotten when there are at least this many keys, and they have doubled since the
/// last time.
const SWEEP_MIN_KEYS: usize = 8_192;
/// What a resident key takes, its own bytes and its rows aside: its place in the hash table and in the arrays by id.
const KEY_BYTES: usize = 48;

/// What a table holds.
#[derive(Clone, Debug)]
pub struct TableSpec {
    /// The types of the columns.
    pub types: Vec<DataType>,
    /// What a key without a row has: a value for each column.
    pub initial: Vec<Scalar>,
}

/// Where the rows of keys that are not resident are in the operator's store.
#[derive(Clone, Copy, Debug)]
pub struct Spill {
    /// The job's number of key groups.
    pub groups: u16,
    /// The number of the store's table ([`layout`]) that is for these rows alone.
    pub table: u8,
    /// About how many bytes residents may take ([`Store::resident_bytes`]); `None`: as many as there are.
    pub resident_bytes: Option<u64>,
}

/// The value tables of an operator.
#[derive(Debug)]
pub struct ValueTables {
    keys: Keys,
    tables: Vec<Table>,
    spill: Spill,
    round: Round,
    residents: Residents,
    /// Whether any row was ever written to the store.
    spilled: bool,
    /// Keys at which those without a row are looked for.
    sweep_at: usize,
    /// The store's key and value of the key at hand.
    entry: (Vec<u8>, Vec<u8>),
}

#[derive(Debug)]
struct Table {
    codec: RowCodec,
    cells: Vec<Cells>,
    marks: Vec<Mark>,
}

/// What is known of a row.
#[derive(Clone, Copy, Debug, Default)]
struct Mark {
    /// The key has a row.
    present: bool,
    /// The store may have another one.
    dirty: bool,
}

/// The keys that were met since the last `begin`.
#[derive(Debug, Default)]
struct Round {
    number: u32,
    /// The keys, and room for more.
    keys: Vec<KeyId>,
    /// How many keys there are.
    met: usize,
    /// All residents are of this round, so there is no room to be made.
    crowded: bool,
}

#[derive(Debug, Default)]
struct Residents {
    /// By id.
    of: Vec<Resident>,
    clock: Clock,
}

#[derive(Clone, Copy, Debug, Default)]
struct Resident {
    /// The last round that met the key.
    met: u32,
    /// The key's place in that round.
    place: u32,
    /// The id is a key's.
    known: bool,
    /// The store has an entry of the key.
    stored: bool,
}

/// Finds keys that were not met for a turn of its hand. That a key was met is told by the round that met it, so that
/// meeting a key costs no more for it.
#[derive(Debug, Default)]
struct Clock {
    /// The id from which it goes on.
    hand: usize,
    /// The round in which this turn began.
    began: u32,
    /// The round in which the turn before began; keys met since then stay.
    keep_from: u32,
}

impl ValueTables {
    /// Tables without a row. `key_types` are those of the key columns.
    ///
    /// # Panics
    /// A table's initial values are not one for each of its columns.
    pub fn new(key_types: Vec<DataType>, tables: Vec<TableSpec>, spill: Spill) -> Self {
        let tables = tables.into_iter().map(Table::new).collect();
        Self {
            keys: Keys::new(key_types),
            tables,
            spill,
            round: Round::default(),
            residents: Residents::default(),
            spilled: false,
            sweep_at: SWEEP_MIN_KEYS,
            entry: (Vec::new(), Vec::new()),
        }
    }

    /// Begins a round. Ids of the one before are good no longer.
    pub fn begin(&mut self) {
        self.round.begin(&mut self.residents);
        if self.keys.len() >= self.sweep_at && !self.spilled {
            self.sweep();
        }
    }

    /// Meets the key of each row of a batch and appends the key's place among the keys of the round ([`Self::met`]) to
    /// `places`.
    ///
    /// # Errors
    /// The store fails.
    ///
    /// # Panics
    /// A key column is absent or of another type.
    pub fn meet_batch(
        &mut self,
        store: &mut Store,
        batch: &Batch,
        key: &[usize],
        places: &mut Vec<u32>,
    ) -> Result<(), Fault> {
        let columns: Vec<_> = key.iter().map(|&column| batch.column(column)).collect();
        let columns: Vec<&Column> = columns.iter().map(|column| &**column).collect();
        self.meet_columns(store, &columns, batch.rows(), places)
    }

    /// As [`Self::meet_batch`], for key columns.
    ///
    /// # Errors
    /// The store fails.
    ///
    /// # Panics
    /// The columns are not of the keys' types.
    pub fn meet_columns(
        &mut self,
        store: &mut Store,
        columns: &[&Column],
        rows: usize,
        places: &mut Vec<u32>,
    ) -> Result<(), Fault> {
        places.reserve(rows);
        self.round.make_room(rows);
        if let ([DataType::Int64], [Column::Int64(array)]) = (self.keys.types(), columns)
            && array.null_count() == 0
        {
            for &value in array.values() {
                places.push(self.meet(store, Known::Integer(value))?);
            }
            return Ok(());
        }
        let types = self.keys.types().to_vec();
        Keys::for_each_row(&types, columns, rows, |known| {
            places.push(self.meet(store, known)?);
            Ok(())
        })
    }

    /// Meets the key of these canonical bytes (`wasmill_core::key`). Its place among the keys of the round.
    ///
    /// # Errors
    /// The store fails.
    pub fn meet_encoded(&mut self, store: &mut Store, encoded: &[u8]) -> Result<u32, Fault> {
        self.round.make_room(1);
        let types = self.keys.types().to_vec();
        Keys::with_encoded(&types, encoded, |known| self.meet(store, known))
    }

    /// The keys of the round, in the order in which they were first met.
    pub fn met(&self) -> &[KeyId] {
        &self.round.keys[..self.round.met]
    }

    /// The keys that are resident, to encode one or to make columns of some.
    pub fn keys(&self) -> &Keys {
        &self.keys
    }

    /// The rows of some keys of the round, a column for each of the table's.
    pub fn gather(&self, table: usize, ids: &[KeyId]) -> Vec<Column> {
        self.tables[table].cells.iter().map(|cells| cells.gather(ids)).collect()
    }

    /// Whether a key of the round has a row, written since it had none.
    pub fn is_present(&self, table: usize, id: KeyId) -> bool {
        self.tables[table].marks[id as usize].present
    }

    /// How many bytes the row of a key of the round takes in columns.
    pub fn row_bytes(&self, table: usize, id: KeyId) -> usize {
        self.tables[table].cells.iter().map(|cells| cells.value_bytes(id)).sum()
    }

    /// Sets some columns, each by its number, of some keys of the round. Other columns keep what they have.
    ///
    /// # Panics
    /// A column is not of the table's type, or has not a value for each key.
    pub fn scatter<'c>(&mut self, table: usize, ids: &[KeyId], columns: impl IntoIterator<Item = (usize, &'c Column)>) {
        let table = &mut self.tables[table];
        for (number, column) in columns {
            table.cells[number].scatter(ids, column);
        }
        for &id in ids {
            table.marks[id as usize] = Mark {
                present: true,
                dirty: true,
            };
        }
    }

    /// Takes the rows of some keys of the round away: they have the initial values again.
    pub fn clear(&mut self, table: usize, ids: &[KeyId]) {
        for &id in ids {
            self.tables[table].clear(id);
        }
    }

    /// Shows every row: its key's group and canonical bytes, its table, its bytes ([`crate::rows`]); in the order of groups, in
    /// each of keys, and for each key of tables. Begins a round.
    ///
    /// # Errors
    /// The store fails, or what `visit` returned.
    pub fn visit(
        &mut self,
        store: &mut Store,
        mut visit: impl FnMut(KeyGroup, &[u8], usize, &[u8]) -> Result<(), Fault>,
    ) -> Result<(), Fault> {
        self.begin();
        if !self.spilled {
            return self.visit_residents(&mut visit);
        }
        for id in 0..self.residents.of.len() {
            if self.residents.of[id].known {
                self.write_back(store, id as KeyId)?;
            }
        }
        for group in (0..self.spill.groups).map(KeyGroup) {
            let start = layout::of_table(group, self.spill.table);
            store.scan(Span::Prefix(&start), Direction::Forwards, |key, mut value| {
                let encoded = &key[layout::HEAD_BYTES..];
                for (number, row) in split(&self.tables, &mut value)? {
                    visit(group, encoded, number, row)?;
                }
                Ok(ControlFlow::Continue(()))
            })?;
        }
        Ok(())
    }

    /// Sets a row that [`Self::visit`] showed. Begins a round.
    ///
    /// # Errors
    /// The bytes are no row of the table, or the store fails.
    pub fn load(&mut self, store: &mut Store, encoded_key: &[u8], table: usize, row: &[u8]) -> Result<(), Fault> {
        self.begin();
        self.meet_encoded(store, encoded_key)?;
        let id = self.round.keys[0];
        let mut rest = row;
        let Table { codec, cells, marks } = &mut self.tables[table];
        codec.decode(&mut rest, |column, value| cells[column].set(id, value))?;
        if !rest.is_empty() {
            return Err(Damaged.into());
        }
        marks[id as usize] = Mark {
            present: true,
            dirty: true,
        };
        Ok(())
    }

    /// About how many bytes the residents take.
    pub fn size_bytes(&self) -> u64 {
        let row: usize = self.tables.iter().map(Table::row_bytes).sum();
        let heap: usize = self.tables.iter().map(Table::heap_bytes).sum();
        (self.keys.len() * (KEY_BYTES + row) + self.keys.heap_bytes() + heap) as u64
    }

    /// Makes a key resident. Its place in the round.
    #[inline]
    fn meet(&mut self, store: &mut Store, known: Known<'_>) -> Result<u32, Fault> {
        let id = match self.keys.find(known) {
            Some(id) => id,
            None => self.admit(store, known)?,
        };
        let resident = &mut self.residents.of[id as usize];
        // No branch: whether a key was met before in its batch is a toss where batches and keys are about as many.
        let first = resident.met != self.round.number;
        resident.met = self.round.number;
        resident.place = if first { self.round.met as u32 } else { resident.place };
        self.round.keys[self.round.met] = id;
        self.round.met += usize::from(first);
        Ok(resident.place)
    }

    #[cold]
    fn admit(&mut self, store: &mut Store, known: Known<'_>) -> Result<KeyId, Fault> {
        while let Some(bytes_max) = self.spill.resident_bytes
            && self.size_bytes() >= bytes_max
            && !self.round.crowded
        {
            match self.residents.coldest(self.round.number) {
                Some(id) => self.evict(store, id)?,
                None => self.round.crowded = true,
            }
        }
        let id = self.keys.add(known);
        let ids = self.keys.ids();
        for table in &mut self.tables {
            table.grow(ids);
        }
        self.residents.of.resize(ids, Resident::default());
        self.residents.of[id as usize] = Resident {
            known: true,
            ..Resident::default()
        };
        if self.spilled {
            self.read(store, id)?;
        }
        Ok(id)
    }

    /// Reads the rows of a key that has become resident.
    fn read(&mut self, store: &Store, id: KeyId) -> Result<(), Fault> {
        self.encode_key(id);
        let tables = &mut self.tables;
        let read = store.get(&self.entry.0, |mut value| -> Result<(), Damaged> {
            for table in present(&mut value, tables.len())? {
                let Table { codec, cells, marks } = &mut tables[table];
                codec.decode(&mut value, |column, value| cells[column].set(id, value))?;
                marks[id as usize].present = true;
            }
            Ok(())
        })?;
        if let Some(read) = read {
            read?;
            self.residents.of[id as usize].stored = true;
        }
        Ok(())
    }

    fn evict(&mut self, store: &mut Store, id: KeyId) -> Result<(), Fault> {
        self.write_back(store, id)?;
        self.drop_resident(id);
        Ok(())
    }

    /// Makes the store have what the tables have.
    fn write_back(&mut self, store: &mut Store, id: KeyId) -> Result<(), Fault> {
        let at = id as usize;
        if !self.tables.iter().any(|table| table.marks[at].dirty) {
            return Ok(());
        }
        self.encode_key(id);
        let (key, value) = &mut self.entry;
        if self.tables.iter().any(|table| table.marks[at].present) {
            value.clear();
            encode(&self.tables, id, value);
            store.put(key, value)?;
            self.residents.of[at].stored = true;
            self.spilled = true;
        } else if std::mem::take(&mut self.residents.of[at].stored) {
            store.remove(key)?;
        }
        for table in &mut self.tables {
            table.marks[at].dirty = false;
        }
        Ok(())
    }

    fn drop_resident(&mut self, id: KeyId) {
        for table in &mut self.tables {
            table.forget(id);
        }
        self.keys.forget(id);
        self.residents.of[id as usize] = Resident::default();
    }

    /// Forgets keys that have no row; nothing of them is in the store.
    fn sweep(&mut self) {
        for id in 0..self.residents.of.len() {
            let known = self.residents.of[id].known;
            if known && !self.tables.iter().any(|table| table.marks[id].present) {
                self.drop_resident(id as KeyId);
            }
        }
        self.sweep_at = (self.keys.len() * 2).max(SWEEP_MIN_KEYS);
    }

    fn visit_residents(
        &mut self,
        visit: &mut impl FnMut(KeyGroup, &[u8], usize, &[u8]) -> Result<(), Fault>,
    ) -> Result<(), Fault> {
        let mut encoded = Vec::new();
        let mut found = Vec::new();
        for id in 0..self.residents.of.len() {
            if self.tables.iter().any(|table| table.marks[id].present) {
                let start = encoded.len();
                self.keys.encode(id as KeyId, &mut encoded);
                let group = key::group(key::hash(&encoded[start..]), self.spill.groups);
                found.push((group, start..encoded.len(), id as KeyId));
            }
        }
        found.sort_unstable_by(|a, b| {
            a.0.cmp(&b.0)
                .then_with(|| encoded[a.1.clone()].cmp(&encoded[b.1.clone()]))
        });
        let mut row = Vec::new();
        for (group, key, id) in found {
            for (number, table) in self.tables.iter().enumerate() {
                if table.marks[id as usize].present {
                    row.clear();
                    table.encode(id, &mut row);
                    visit(group, &encoded[key.clone()], number, &row)?;
                }
            }
        }
        Ok(())
    }

    /// Puts the store's key of a key into `entry`.
    fn encode_key(&mut self, id: KeyId) {
        let (key, encoded) = &mut self.entry;
        encoded.clear();
        self.keys.encode(id, encoded);
        layout::of_key(self.spill.groups, self.spill.table, encoded, key);
    }
}

impl Table {
    fn new(spec: TableSpec) -> Self {
        assert_eq!(spec.types.len(), spec.initial.len(), "an initial value for each column");
        let codec = RowCodec::new(spec.types.iter().copied());
        let cells = spec.types.into_iter().zip(spec.initial);
        Self {
            codec,
            cells: cells
                .map(|(data_type, initial)| Cells::new(data_type, initial))
                .collect(),
            marks: Vec::new(),
        }
    }

    fn grow(&mut self, ids: usize) {
        for cells in &mut self.cells {
            cells.grow(ids);
        }
        self.marks.resize(ids, Mark::default());
    }

    fn clear(&mut self, id: KeyId) {
        let mark = &mut self.marks[id as usize];
        if mark.present {
            *mark = Mark {
                present: false,
                dirty: true,
            };
            for cells in &mut self.cells {
                cells.reset(id);
            }
        }
    }

    fn forget(&mut self, id: KeyId) {
        self.clear(id);
        self.marks[id as usize] = Mark::default();
    }

    fn encode(&self, id: KeyId, out: &mut Vec<u8>) {
        self.codec
            .encode_values(self.cells.iter().map(|cells| cells.value(id)), out);
    }

    fn row_bytes(&self) -> usize {
        self.cells.iter().map(Cells::cell_bytes).sum()
    }

    fn heap_bytes(&self) -> usize {
        self.cells.iter().map(Cells::heap_bytes).sum()
    }
}

impl Round {
    fn begin(&mut self, residents: &mut Residents) {
        self.number = self.number.wrapping_add(1);
        if self.number == 0 {
            residents.forget_rounds();
            self.number = 1;
        }
        self.met = 0;
        self.crowded = false;
    }

    /// Makes room for so many keys more, and one to be written over.
    fn make_room(&mut self, keys: usize) {
        let needed = self.met + keys + 1;
        if self.keys.len() < needed {
            self.keys.resize(needed, 0);
        }
    }
}

impl Residents {
    /// A key that is not of the round and was not met for long; `None` where all are of the round.
    fn coldest(&mut self, round: u32) -> Option<KeyId> {
        let clock = &mut self.clock;
        // After two whole turns, every key that is not of the round is cold.
        for _ in 0..3 * self.of.len() {
            if clock.hand >= self.of.len() {
                clock.hand = 0;
                clock.keep_from = clock.began;
                clock.began = round;
            }
            let id = clock.hand;
            clock.hand += 1;
            let resident = &self.of[id];
            if resident.known && resident.met < clock.keep_from {
                return Some(id as KeyId);
            }
        }
        None
    }

    /// Numbers of rounds begin again.
    fn forget_rounds(&mut self) {
        self.of.iter_mut().for_each(|resident| resident.met = 0);
        self.clock = Clock::default();
    }
}

/// Appends the rows of a key: a bit for each table that has one, and those rows.
fn encode(tables: &[Table], id: KeyId, out: &mut Vec<u8>) {
    let bits = out.len();
    out.resize(bits + tables.len().div_ceil(8), 0);
    for (number, table) in tables.iter().enumerate() {
        if table.marks[id as usize].present {
            out[bits + number / 8] |= 1 << (number % 8);
            table.encode(id, out);
        }
    }
}

/// Reads which of `tables` have a row off the front of a key's rows.
fn present(value: &mut &[u8], tables: usize) -> Result<impl Iterator<Item = usize> + use<>, Damaged> {
    let bits;
    (bits, *value) = value.split_at_checked(tables.div_ceil(8)).ok_or(Damaged)?;
    let bits = bits.to_vec();
    Ok((0..tables).filter(move |number| bits[number / 8] >> (number % 8) & 1 == 1))
}

/// The rows of a key, each with its table.
fn split<'v>(tables: &[Table], value: &mut &'v [u8]) -> Result<Vec<(usize, &'v [u8])>, Damaged> {
    present(value, tables.len())?
        .map(|number| Ok((number, tables[number].codec.split(value)?)))
        .collect()
}
