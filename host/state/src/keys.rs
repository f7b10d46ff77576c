//! Keys as dense numbers: an id for each key that is known, so that what is kept by key is an array by id.
//!
//! A key that is one integer or one text is looked up by its own value, any other by its canonical bytes. Ids of keys
//! that were forgotten go to others. What an id is shows in no result.

use std::hash::BuildHasher;

use foldhash::fast::FixedState;
use hashbrown::HashTable;
use wasmill_core::column::{Column, ColumnBuilder, Value};
use wasmill_core::key;
use wasmill_core::schema::DataType;

/// A key's number.
pub type KeyId = u32;

/// The keys that are known.
#[derive(Debug)]
pub struct Keys {
    types: Vec<DataType>,
    form: Form,
    /// Ids for keys to come.
    free: Vec<KeyId>,
    /// How many ids were ever given out.
    ids: usize,
}

/// How keys of some types are looked up.
#[derive(Debug)]
enum Form {
    Integers(Integers),
    Bytes(ByteKeys),
}

/// A key in the form in which it is looked up.
#[derive(Clone, Copy, Debug)]
pub(crate) enum Known<'k> {
    /// The only key column is null.
    Null,
    Integer(i64),
    /// The text of a single text column, the canonical bytes of other keys.
    Bytes(&'k [u8]),
}

#[derive(Debug, Default)]
struct Integers {
    table: HashTable<(i64, KeyId)>,
    null: Option<KeyId>,
    values: Vec<i64>,
}

#[derive(Debug)]
struct ByteKeys {
    plain_text: bool,
    table: HashTable<(u64, KeyId)>,
    null: Option<KeyId>,
    values: Vec<Box<[u8]>>,
    /// Of all of `values`.
    bytes: usize,
    hasher: FixedState,
}

impl Keys {
    /// No keys yet. The types are those of the key columns; without any there is one key for all rows.
    pub fn new(types: Vec<DataType>) -> Self {
        let form = match types[..] {
            [DataType::Int64 | DataType::Timestamp] => Form::Integers(Integers::default()),
            _ => Form::Bytes(ByteKeys {
                plain_text: types[..] == [DataType::Utf8],
                table: HashTable::new(),
                null: None,
                values: Vec::new(),
                bytes: 0,
                hasher: FixedState::default(),
            }),
        };
        Self {
            types,
            form,
            free: Vec::new(),
            ids: 0,
        }
    }

    /// The types of the key columns.
    pub fn types(&self) -> &[DataType] {
        &self.types
    }

    /// All ids are below this.
    pub fn ids(&self) -> usize {
        self.ids
    }

    /// How many keys are known.
    pub fn len(&self) -> usize {
        self.ids - self.free.len()
    }

    /// Whether no key is known.
    pub fn is_empty(&self) -> bool {
        self.len() == 0
    }

    /// Shows the key of each row in the form in which it is looked up.
    ///
    /// # Errors
    /// What `visit` returned.
    ///
    /// # Panics
    /// The columns are not of the keys' types.
    pub(crate) fn for_each_row<E>(
        types: &[DataType],
        columns: &[&Column],
        rows: usize,
        mut visit: impl FnMut(Known<'_>) -> Result<(), E>,
    ) -> Result<(), E> {
        match (types, columns) {
            ([DataType::Int64], [Column::Int64(array)]) => array.iter().try_for_each(|v| visit(Known::integer(v))),
            ([DataType::Timestamp], [Column::Timestamp(array)]) => {
                array.iter().try_for_each(|v| visit(Known::integer(v)))
            }
            ([DataType::Utf8], [Column::Utf8(array)]) => array
                .iter()
                .try_for_each(|v| visit(v.map_or(Known::Null, |v| Known::Bytes(v.as_bytes())))),
            _ => {
                assert_eq!(types.len(), columns.len(), "a column for each part of the key");
                let mut encoded = Vec::new();
                (0..rows).try_for_each(|row| {
                    encoded.clear();
                    for column in columns {
                        key::encode(column.value(row), &mut encoded);
                    }
                    visit(Known::Bytes(&encoded))
                })
            }
        }
    }

    /// Shows a key of canonical bytes in the form in which it is looked up.
    pub(crate) fn with_encoded<T>(types: &[DataType], mut encoded: &[u8], visit: impl FnOnce(Known<'_>) -> T) -> T {
        let mut found = None;
        let known = match types {
            [single @ (DataType::Int64 | DataType::Timestamp)] => {
                key::decode(*single, &mut encoded, |value| {
                    found = match value {
                        Value::Int64(v) | Value::Timestamp(v) => Some(v),
                        _ => None,
                    };
                });
                Known::integer(found)
            }
            [DataType::Utf8] => {
                let mut text = None;
                key::decode(DataType::Utf8, &mut encoded, |value| {
                    if let Value::Utf8(v) = value {
                        text = Some(v.to_owned());
                    }
                });
                return visit(text.as_ref().map_or(Known::Null, |text| Known::Bytes(text.as_bytes())));
            }
            _ => Known::Bytes(encoded),
        };
        visit(known)
    }

    /// The id of a key that is known.
    #[inline]
    pub(crate) fn find(&self, key: Known<'_>) -> Option<KeyId> {
        match (&self.form, key) {
            (Form::Integers(keys), Known::Integer(value)) => keys
                .table
                .find(mix(value), |entry| entry.0 == value)
                .map(|entry| entry.1),
            (Form::Bytes(keys), Known::Bytes(bytes)) => keys
                .table
                .find(keys.hasher.hash_one(bytes), |entry| {
                    *keys.values[entry.1 as usize] == *bytes
                })
                .map(|entry| entry.1),
            (Form::Integers(Integers { null, .. }) | Form::Bytes(ByteKeys { null, .. }), _) => *null,
        }
    }

    /// Gives an id to a key that is not known.
    pub(crate) fn add(&mut self, key: Known<'_>) -> KeyId {
        let id = self.free.pop().unwrap_or_else(|| {
            self.ids += 1;
            KeyId::try_from(self.ids - 1).expect("fewer than 2^32 keys are in memory at once")
        });
        match (&mut self.form, key) {
            (Form::Integers(keys), Known::Integer(value)) => {
                put(&mut keys.values, id, value);
                keys.table.insert_unique(mix(value), (value, id), |entry| mix(entry.0));
            }
            (Form::Bytes(keys), Known::Bytes(bytes)) => {
                put(&mut keys.values, id, bytes.into());
                keys.bytes += bytes.len();
                keys.table.insert_unique(
                    keys.hasher.hash_one(bytes),
                    (keys.hasher.hash_one(bytes), id),
                    |entry| entry.0,
                );
            }
            (Form::Integers(keys), _) => {
                put(&mut keys.values, id, 0);
                keys.null = Some(id);
            }
            (Form::Bytes(keys), _) => {
                put(&mut keys.values, id, Box::default());
                keys.null = Some(id);
            }
        }
        id
    }

    /// Takes a key's id away.
    pub(crate) fn forget(&mut self, id: KeyId) {
        self.free.push(id);
        match &mut self.form {
            Form::Integers(keys) if keys.null == Some(id) => keys.null = None,
            Form::Integers(keys) => {
                let value = keys.values[id as usize];
                if let Ok(entry) = keys.table.find_entry(mix(value), |entry| entry.0 == value) {
                    entry.remove();
                }
            }
            Form::Bytes(keys) if keys.null == Some(id) => keys.null = None,
            Form::Bytes(keys) => {
                let bytes = std::mem::take(&mut keys.values[id as usize]);
                keys.bytes -= bytes.len();
                let hash = keys.hasher.hash_one(&*bytes);
                if let Ok(entry) = keys.table.find_entry(hash, |entry| entry.1 == id) {
                    entry.remove();
                }
            }
        }
    }

    /// Appends a key's canonical bytes.
    pub fn encode(&self, id: KeyId, out: &mut Vec<u8>) {
        match &self.form {
            Form::Integers(keys) => key::encode(keys.value(id).map_or(Value::Null, Value::Int64), out),
            Form::Bytes(keys) if keys.plain_text => key::encode(keys.text(id).map_or(Value::Null, Value::Utf8), out),
            Form::Bytes(keys) => out.extend_from_slice(&keys.values[id as usize]),
        }
    }

    /// The key columns of some ids.
    pub fn columns(&self, ids: &[KeyId]) -> Vec<Column> {
        let builders = self
            .types
            .iter()
            .map(|&data_type| ColumnBuilder::new(data_type, ids.len()));
        let mut builders: Vec<_> = builders.collect();
        for &id in ids {
            match &self.form {
                Form::Integers(keys) => builders[0].push(match keys.value(id) {
                    None => Value::Null,
                    Some(v) if self.types[0] == DataType::Timestamp => Value::Timestamp(v),
                    Some(v) => Value::Int64(v),
                }),
                Form::Bytes(keys) if keys.plain_text => {
                    builders[0].push(keys.text(id).map_or(Value::Null, Value::Utf8));
                }
                Form::Bytes(keys) => {
                    let mut encoded = &keys.values[id as usize][..];
                    for (&data_type, builder) in self.types.iter().zip(&mut builders) {
                        key::decode(data_type, &mut encoded, |value| builder.push(value));
                    }
                }
            }
        }
        builders.into_iter().map(ColumnBuilder::finish).collect()
    }

    /// What the bytes of keys take that are not integers.
    pub(crate) fn heap_bytes(&self) -> usize {
        match &self.form {
            Form::Integers(_) => 0,
            Form::Bytes(keys) => keys.bytes,
        }
    }
}

impl Known<'_> {
    #[inline]
    fn integer(value: Option<i64>) -> Self {
        value.map_or(Self::Null, Self::Integer)
    }
}

impl Integers {
    fn value(&self, id: KeyId) -> Option<i64> {
        (self.null != Some(id)).then(|| self.values[id as usize])
    }
}

impl ByteKeys {
    fn text(&self, id: KeyId) -> Option<&str> {
        let text = || std::str::from_utf8(&self.values[id as usize]).expect("the bytes of a text column");
        (self.null != Some(id)).then(text)
    }
}

/// Multiply and fold: an integer's hash for tables that never leave the process.
#[inline]
fn mix(value: i64) -> u64 {
    let product = u128::from(value as u64 ^ 0x9e37_79b9_7f4a_7c15) * 0xd6e8_feb8_6659_fd93;
    product as u64 ^ (product >> 64) as u64
}

fn put<T: Default>(values: &mut Vec<T>, id: KeyId, value: T) {
    let id = id as usize;
    if values.len() <= id {
        values.resize_with(id + 1, T::default);
    }
    values[id] = value;
}
