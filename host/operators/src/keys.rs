//! Keys as dense numbers: each key that some window holds has an id, and what is kept by key is an array by id.
//!
//! A single integer or text column is looked up by its own values; any other key by its canonical bytes. In every form
//! keys stand in the order of their canonical bytes. Ids are counted by the panes that refer to them. A key that none
//! refers to is kept for a while, since most keys come again; when such keys are the most, their ids go to others.

use std::cmp::Ordering;
use std::hash::BuildHasher;

use foldhash::fast::FixedState;
use hashbrown::HashTable;
use hashbrown::hash_table::Entry;
use wasmill_core::batch::Batch;
use wasmill_core::column::{Column, ColumnBuilder, Scalar, Value};
use wasmill_core::key;
use wasmill_core::schema::DataType;

/// So many keys that nothing refers to are kept in any case.
const UNUSED_KEPT: usize = 4_096;

/// A key's number.
pub(crate) type KeyId = u32;

/// The keys that windows hold.
#[derive(Debug)]
pub(crate) struct Keys {
    columns: Vec<usize>,
    types: Vec<DataType>,
    form: Form,
    /// How many parts refer to each id.
    uses: Vec<u32>,
    /// How many keys nothing refers to.
    unused: usize,
    /// Ids for keys to come.
    free: Vec<KeyId>,
    sorted: Vec<KeyId>,
    /// Ids that are not in `sorted` yet.
    fresh: Vec<KeyId>,
}

#[derive(Debug)]
enum Form {
    /// No key columns: one key for all rows.
    Single,
    Integers(Integers),
    Bytes(ByteKeys),
}

#[derive(Debug, Default)]
struct Integers {
    table: HashTable<(i64, KeyId)>,
    null: Option<KeyId>,
    values: Vec<i64>,
}

/// A key that is one text column has the text itself, every other its canonical bytes.
#[derive(Debug)]
struct ByteKeys {
    plain_text: bool,
    table: HashTable<(u64, KeyId)>,
    null: Option<KeyId>,
    values: Vec<Box<[u8]>>,
    hasher: FixedState,
}

impl Keys {
    /// Keys of these columns, by place in the input's schema.
    pub(crate) fn new(columns: &[usize], types: Vec<DataType>) -> Self {
        let form = match types[..] {
            [] => Form::Single,
            [DataType::Int64 | DataType::Timestamp] => Form::Integers(Integers::default()),
            _ => Form::Bytes(ByteKeys {
                plain_text: types[..] == [DataType::Utf8],
                table: HashTable::new(),
                null: None,
                values: Vec::new(),
                hasher: FixedState::default(),
            }),
        };
        let single = matches!(form, Form::Single);
        Self {
            columns: columns.to_vec(),
            types,
            form,
            // The one key of all rows is never given up.
            uses: if single { vec![1] } else { Vec::new() },
            unused: 0,
            free: Vec::new(),
            sorted: if single { vec![0] } else { Vec::new() },
            fresh: Vec::new(),
        }
    }

    /// Keys of the same columns, of which none is there.
    pub(crate) fn emptied(&self) -> Self {
        Self::new(&self.columns, self.types.clone())
    }

    /// The number of ids given out so far, those for other keys included.
    pub(crate) fn len(&self) -> usize {
        self.uses.len()
    }

    /// The id of each logical row's key, into `ids`.
    pub(crate) fn intern(&mut self, batch: &Batch, ids: &mut Vec<KeyId>) {
        ids.clear();
        let Self {
            form,
            uses,
            free,
            fresh,
            unused,
            ..
        } = self;
        let mut new_id = || {
            let id = free.pop().unwrap_or_else(|| {
                uses.push(0);
                uses.len() as KeyId - 1
            });
            fresh.push(id);
            *unused += 1;
            id
        };
        match form {
            Form::Single => ids.resize(batch.rows(), 0),
            Form::Integers(keys) => {
                let column = batch.column(self.columns[0]);
                keys.intern(&column, &mut new_id, ids);
            }
            Form::Bytes(keys) => {
                let columns: Vec<_> = self.columns.iter().map(|&c| batch.column(c)).collect();
                if let ([column], true) = (&columns[..], keys.plain_text) {
                    keys.intern_text(column, &mut new_id, ids);
                } else {
                    keys.intern_encoded(&columns, batch.rows(), &mut new_id, ids);
                }
            }
        }
    }

    /// The id of a key in canonical bytes, which are those of a key of these columns.
    pub(crate) fn intern_canonical(&mut self, encoded: &[u8]) -> KeyId {
        let Self {
            form,
            types,
            uses,
            free,
            fresh,
            unused,
            ..
        } = self;
        let mut new_id = || {
            let id = free.pop().unwrap_or_else(|| {
                uses.push(0);
                uses.len() as KeyId - 1
            });
            fresh.push(id);
            *unused += 1;
            id
        };
        let decoded = |data_type: DataType| {
            let mut value = Scalar::Null;
            key::decode(data_type, &mut &*encoded, |v| value = v.into());
            value
        };
        match form {
            Form::Single => 0,
            Form::Integers(keys) => match decoded(types[0]) {
                Scalar::Int64(v) | Scalar::Timestamp(v) => keys.id(v, &mut new_id),
                _ => keys.null_id(&mut new_id),
            },
            Form::Bytes(keys) if keys.plain_text => match decoded(types[0]) {
                Scalar::Utf8(text) => keys.id(text.as_bytes(), &mut new_id),
                _ => keys.null_id(&mut new_id),
            },
            Form::Bytes(keys) => keys.id(encoded, &mut new_id),
        }
    }

    /// The types of the key columns.
    pub(crate) fn types(&self) -> &[DataType] {
        &self.types
    }

    /// One more pane refers to `id`.
    #[inline]
    pub(crate) fn acquire(&mut self, id: KeyId) {
        let uses = &mut self.uses[id as usize];
        self.unused -= usize::from(*uses == 0);
        *uses += 1;
    }

    /// A pane that referred to `ids` is gone.
    pub(crate) fn release(&mut self, ids: &[KeyId]) {
        for &id in ids {
            let uses = &mut self.uses[id as usize];
            *uses -= 1;
            self.unused += usize::from(*uses == 0);
        }
    }

    /// Forgets the keys that nothing refers to, where they are more than those in use. Ids from [`Self::intern`] that are
    /// not in use yet do not survive it.
    pub(crate) fn reclaim(&mut self) {
        if self.unused <= UNUSED_KEPT + self.held() {
            return;
        }
        let Self { form, uses, free, .. } = self;
        for ids in [&mut self.sorted, &mut self.fresh] {
            ids.retain(|&id| {
                let used = uses[id as usize] > 0;
                if !used {
                    form.forget(id);
                    free.push(id);
                }
                used
            });
        }
        self.unused = 0;
    }

    /// How many keys are in use.
    pub(crate) fn held(&self) -> usize {
        self.uses.len() - self.free.len() - self.unused
    }

    /// All ids in the order of their keys.
    pub(crate) fn in_order(&mut self) -> &[KeyId] {
        if !self.fresh.is_empty() {
            let form = &self.form;
            self.sorted.append(&mut self.fresh);
            // The standard stable sort finds the sorted run and merges the rest into it.
            self.sorted.sort_by(|&a, &b| form.compare(a, b));
        }
        &self.sorted
    }

    /// Sorts some ids by their keys.
    pub(crate) fn sort(&self, ids: &mut [KeyId]) {
        ids.sort_unstable_by(|&a, &b| self.form.compare(a, b));
    }

    /// Appends the key column `column` of `ids`.
    pub(crate) fn push_values(&self, column: usize, ids: &[KeyId], out: &mut ColumnBuilder) {
        match &self.form {
            Form::Single => {}
            Form::Integers(keys) => {
                let timestamp = self.types[0] == DataType::Timestamp;
                for &id in ids {
                    out.push(match keys.value(id) {
                        None => Value::Null,
                        Some(v) if timestamp => Value::Timestamp(v),
                        Some(v) => Value::Int64(v),
                    });
                }
            }
            Form::Bytes(keys) if keys.plain_text => {
                for &id in ids {
                    out.push(keys.text(id).map_or(Value::Null, Value::Utf8));
                }
            }
            Form::Bytes(keys) => {
                for &id in ids {
                    let mut encoded = &keys.values[id as usize][..];
                    for &before in &self.types[..column] {
                        key::decode(before, &mut encoded, |_| {});
                    }
                    key::decode(self.types[column], &mut encoded, |value| out.push(value));
                }
            }
        }
    }

    /// The key columns of `ids`.
    pub(crate) fn columns(&self, ids: &[KeyId]) -> Vec<Column> {
        let columns = self.types.iter().enumerate().map(|(column, &data_type)| {
            let mut builder = ColumnBuilder::new(data_type, ids.len());
            self.push_values(column, ids, &mut builder);
            builder.finish()
        });
        columns.collect()
    }

    /// Appends a key's canonical bytes.
    pub(crate) fn encode(&self, id: KeyId, out: &mut Vec<u8>) {
        match &self.form {
            Form::Single => {}
            Form::Integers(keys) => key::encode(keys.value(id).map_or(Value::Null, Value::Int64), out),
            Form::Bytes(keys) if keys.plain_text => key::encode(keys.text(id).map_or(Value::Null, Value::Utf8), out),
            Form::Bytes(keys) => out.extend_from_slice(&keys.values[id as usize]),
        }
    }

    /// About how many bytes the keys take.
    pub(crate) fn size_bytes(&self) -> usize {
        let ids = self.len() * 16;
        ids + match &self.form {
            Form::Single => 0,
            Form::Integers(keys) => keys.values.len() * 8 + keys.table.capacity() * 17,
            Form::Bytes(keys) => keys.values.iter().map(|v| v.len() + 16).sum::<usize>() + keys.table.capacity() * 17,
        }
    }
}

impl Form {
    fn forget(&mut self, id: KeyId) {
        match self {
            Self::Single => {}
            Self::Integers(keys) => keys.forget(id),
            Self::Bytes(keys) => keys.forget(id),
        }
    }

    fn compare(&self, a: KeyId, b: KeyId) -> Ordering {
        match self {
            Self::Single => Ordering::Equal,
            Self::Integers(keys) => keys.value(a).cmp(&keys.value(b)),
            Self::Bytes(keys) => keys.text_bytes(a).cmp(&keys.text_bytes(b)),
        }
    }
}

/// Multiply and fold: an integer's hash for tables that never leave the process.
#[inline]
fn mix(value: i64) -> u64 {
    let product = u128::from(value as u64 ^ 0x9e37_79b9_7f4a_7c15) * 0xd6e8_feb8_6659_fd93;
    product as u64 ^ (product >> 64) as u64
}

impl Integers {
    fn intern(&mut self, column: &Column, new_id: &mut impl FnMut() -> KeyId, ids: &mut Vec<KeyId>) {
        let (Column::Int64(_) | Column::Timestamp(_)) = column else {
            unreachable!("the form was chosen by the column's type");
        };
        let nulls = column.nulls();
        let numbers = match column {
            Column::Int64(a) => a.values(),
            Column::Timestamp(a) => a.values(),
            _ => return,
        };
        match nulls {
            None => ids.extend(numbers.iter().map(|&value| self.id(value, new_id))),
            Some(nulls) => ids.extend(numbers.iter().enumerate().map(|(row, &value)| {
                if nulls.is_valid(row) {
                    self.id(value, new_id)
                } else {
                    self.null_id(new_id)
                }
            })),
        }
    }

    #[inline]
    fn id(&mut self, value: i64, new_id: &mut impl FnMut() -> KeyId) -> KeyId {
        let Self { table, values, .. } = self;
        match table.entry(mix(value), |entry| entry.0 == value, |entry| mix(entry.0)) {
            Entry::Occupied(entry) => entry.get().1,
            Entry::Vacant(entry) => {
                let id = new_id();
                put(values, id, value);
                entry.insert((value, id));
                id
            }
        }
    }

    fn null_id(&mut self, new_id: &mut impl FnMut() -> KeyId) -> KeyId {
        if let Some(id) = self.null {
            return id;
        }
        let id = new_id();
        put(&mut self.values, id, 0);
        self.null = Some(id);
        id
    }

    fn value(&self, id: KeyId) -> Option<i64> {
        (self.null != Some(id)).then(|| self.values[id as usize])
    }

    fn forget(&mut self, id: KeyId) {
        if self.null == Some(id) {
            self.null = None;
            return;
        }
        let value = self.values[id as usize];
        if let Ok(entry) = self.table.find_entry(mix(value), |entry| entry.0 == value) {
            entry.remove();
        }
    }
}

impl ByteKeys {
    fn intern_text(&mut self, column: &Column, new_id: &mut impl FnMut() -> KeyId, ids: &mut Vec<KeyId>) {
        let Column::Utf8(texts) = column else {
            unreachable!("the form was chosen by the column's type");
        };
        let nulls = column.nulls();
        ids.extend((0..column.len()).map(|row| {
            if nulls.is_none_or(|nulls| nulls.is_valid(row)) {
                self.id(texts.value(row).as_bytes(), new_id)
            } else {
                self.null_id(new_id)
            }
        }));
    }

    fn null_id(&mut self, new_id: &mut impl FnMut() -> KeyId) -> KeyId {
        if let Some(id) = self.null {
            return id;
        }
        let id = new_id();
        put(&mut self.values, id, Box::default());
        self.null = Some(id);
        id
    }

    fn intern_encoded(
        &mut self,
        columns: &[std::borrow::Cow<'_, Column>],
        rows: usize,
        new_id: &mut impl FnMut() -> KeyId,
        ids: &mut Vec<KeyId>,
    ) {
        let mut bytes = Vec::new();
        ids.extend((0..rows).map(|row| {
            bytes.clear();
            for column in columns {
                key::encode(column.value(row), &mut bytes);
            }
            self.id(&bytes, new_id)
        }));
    }

    #[inline]
    fn id(&mut self, bytes: &[u8], new_id: &mut impl FnMut() -> KeyId) -> KeyId {
        let Self {
            table, values, hasher, ..
        } = self;
        let hash = hasher.hash_one(bytes);
        let same = |entry: &(u64, KeyId)| entry.0 == hash && *values[entry.1 as usize] == *bytes;
        match table.entry(hash, same, |entry| entry.0) {
            Entry::Occupied(entry) => entry.get().1,
            Entry::Vacant(entry) => {
                let id = new_id();
                entry.insert((hash, id));
                put(values, id, bytes.into());
                id
            }
        }
    }

    fn text(&self, id: KeyId) -> Option<&str> {
        self.text_bytes(id)
            .map(|bytes| std::str::from_utf8(bytes).expect("the bytes of a text column"))
    }

    /// The bytes of a key; `None`, which is before all, for a null text.
    fn text_bytes(&self, id: KeyId) -> Option<&[u8]> {
        (self.null != Some(id)).then(|| &*self.values[id as usize])
    }

    fn forget(&mut self, id: KeyId) {
        if self.null == Some(id) {
            self.null = None;
            return;
        }
        let bytes = std::mem::take(&mut self.values[id as usize]);
        let hash = self.hasher.hash_one(&*bytes);
        if let Ok(entry) = self.table.find_entry(hash, |entry| entry.1 == id) {
            entry.remove();
        }
    }
}

fn put<T: Default + Clone>(values: &mut Vec<T>, id: KeyId, value: T) {
    let id = id as usize;
    if values.len() <= id {
        values.resize(id + 1, T::default());
    }
    values[id] = value;
}

#[cfg(test)]
mod tests {
    use super::*;
    use wasmill_core::batch::{Hidden, Slot};
    use wasmill_core::watermark::RowWatermarks;

    fn batch(keys: std::ops::Range<i64>) -> Batch {
        let hidden = Hidden {
            times: vec![0; keys.clone().count()].into(),
            watermarks: RowWatermarks::Constant(0),
            order: None,
            kinds: None,
        };
        let text: Vec<String> = keys.clone().map(|key| format!("key {}", key % 7_000)).collect();
        let slots = vec![
            Slot::Base(Column::Int64(keys.rev().collect::<Vec<_>>().into())),
            Slot::Base(Column::Utf8(text.into())),
        ];
        Batch::new(slots, hidden)
    }

    fn check(columns: &[usize], types: &[DataType]) {
        let mut keys = Keys::new(columns, types.to_vec());
        let mut ids = Vec::new();
        for round in 0..20_i64 {
            // Most keys are new in each round, a few stay in use.
            keys.intern(&batch(round * 5_000..(round + 1) * 5_000 + 10), &mut ids);
            let mut distinct = ids.clone();
            distinct.sort_unstable();
            distinct.dedup();
            for &id in &distinct {
                keys.acquire(id);
            }
            let order: Vec<Vec<u8>> = keys
                .in_order()
                .to_vec()
                .into_iter()
                .map(|id| {
                    let mut bytes = Vec::new();
                    keys.encode(id, &mut bytes);
                    bytes
                })
                .collect();
            assert!(order.is_sorted_by(|a, b| a < b), "in order, each key once");
            let column = keys.columns(&ids);
            let expect = batch(round * 5_000..(round + 1) * 5_000 + 10);
            assert_eq!(column[0], *expect.column(columns[0]));
            keys.release(&distinct);
            keys.reclaim();
            assert!(keys.len() <= 2 * (5_010 + UNUSED_KEPT), "ids are used again");
        }
    }

    #[test]
    fn ids_of_keys_out_of_use_go_to_others() {
        check(&[0], &[DataType::Int64]);
        check(&[1], &[DataType::Utf8]);
        check(&[1, 0], &[DataType::Utf8, DataType::Int64]);
    }
}
