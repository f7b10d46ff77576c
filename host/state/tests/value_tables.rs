//! Value tables beside a plain map, with any number of residents: what is resident shows in nothing.

use std::collections::BTreeMap;
use std::path::PathBuf;

use proptest::collection::vec;
use proptest::prelude::*;
use wasmill_core::column::{Column, ColumnBuilder, Scalar, Value};
use wasmill_core::id::KeyGroup;
use wasmill_core::key;
use wasmill_core::schema::DataType;
use wasmill_state::rows::RowCodec;
use wasmill_state::{KeyId, Spill, Store, TableSpec, ValueTables};

const GROUPS: u16 = 4;
/// The store's table of the value tables; others have the numbers around it.
const TABLE: u8 = 7;

/// A key by its number; `None` is the key whose columns are null.
type KeyNumber = Option<i64>;
type Row = Vec<Scalar>;

#[derive(Clone, Debug)]
enum Step {
    /// Keys are met; some of their rows are set, some taken away.
    Round {
        keys: Vec<KeyNumber>,
        encoded: bool,
        set: Vec<(usize, usize, i64)>,
        clear: Vec<(usize, usize)>,
    },
    /// The tables are written out and made anew from it.
    SaveAndLoad,
}

/// What a key is made of.
#[derive(Clone, Copy, Debug)]
enum Shape {
    Integer,
    Text,
    Pair,
}

impl Shape {
    fn types(self) -> Vec<DataType> {
        match self {
            Self::Integer => vec![DataType::Int64],
            Self::Text => vec![DataType::Utf8],
            Self::Pair => vec![DataType::Timestamp, DataType::Utf8],
        }
    }

    fn values(self, number: KeyNumber) -> Row {
        let text = number.map_or(Scalar::Null, |n| Scalar::Utf8(format!("key \0 {n}")));
        match self {
            Self::Integer => vec![number.map_or(Scalar::Null, Scalar::Int64)],
            Self::Text => vec![text],
            Self::Pair => vec![number.map_or(Scalar::Null, Scalar::Timestamp), text],
        }
    }

    fn encoded(self, number: KeyNumber) -> Vec<u8> {
        let mut bytes = Vec::new();
        for value in self.values(number) {
            key::encode(value.as_value(), &mut bytes);
        }
        bytes
    }
}

fn specs() -> Vec<TableSpec> {
    vec![
        TableSpec {
            types: vec![DataType::Int64, DataType::Utf8, DataType::Boolean],
            initial: vec![Scalar::Int64(5), Scalar::Utf8("initial".to_owned()), Scalar::Null],
        },
        TableSpec {
            types: vec![DataType::Float64, DataType::Binary, DataType::Timestamp, DataType::Json],
            initial: vec![
                Scalar::Float64(0.5),
                Scalar::Null,
                Scalar::Timestamp(1),
                Scalar::Json("{}".to_owned()),
            ],
        },
    ]
}

/// Some row of a table, made of a number; a third of the values are null.
fn row(table: usize, seed: i64) -> Row {
    let value = |column: i64, data_type: DataType| {
        let n = seed.wrapping_mul(31).wrapping_add(column);
        if n.rem_euclid(3) == 0 {
            return Scalar::Null;
        }
        let text = "x".repeat(n.rem_euclid(50) as usize);
        match data_type {
            DataType::Boolean => Scalar::Boolean(n % 2 == 0),
            DataType::Int64 => Scalar::Int64(n),
            DataType::Float64 => Scalar::Float64(n as f64),
            DataType::Utf8 => Scalar::Utf8(text),
            DataType::Binary => Scalar::Binary(text.into_bytes()),
            DataType::Timestamp => Scalar::Timestamp(n),
            DataType::Json => Scalar::Json(text),
        }
    };
    let types = specs().swap_remove(table).types;
    (0..)
        .zip(types)
        .map(|(column, data_type)| value(column, data_type))
        .collect()
}

fn column<'v>(data_type: DataType, values: impl Iterator<Item = Value<'v>>) -> Column {
    let mut builder = ColumnBuilder::new(data_type, 0);
    values.for_each(|value| builder.push(value));
    builder.finish()
}

#[derive(Default)]
struct Model {
    rows: BTreeMap<(KeyNumber, usize), Row>,
}

impl Model {
    fn row(&self, key: KeyNumber, table: usize) -> Row {
        let initial = || specs().swap_remove(table).initial;
        self.rows.get(&(key, table)).cloned().unwrap_or_else(initial)
    }

    /// The entries in the order of a save.
    fn saved(&self, shape: Shape) -> Vec<(KeyGroup, Vec<u8>, usize, Vec<u8>)> {
        let entry = |((number, table), row): (&(KeyNumber, usize), &Row)| {
            let encoded = shape.encoded(*number);
            let mut bytes = Vec::new();
            let codec = RowCodec::new(specs().swap_remove(*table).types);
            codec.encode_values(row.iter().map(Scalar::as_value), &mut bytes);
            (key::group(key::hash(&encoded), GROUPS), encoded, *table, bytes)
        };
        let mut saved: Vec<_> = self.rows.iter().map(entry).collect();
        saved.sort();
        saved
    }
}

struct Subject {
    shape: Shape,
    resident_bytes: Option<u64>,
    tables: ValueTables,
    store: Store,
}

impl Subject {
    fn new(shape: Shape, resident_bytes: Option<u64>, store: Store) -> Self {
        let tables = Self::tables(shape, resident_bytes);
        Self {
            shape,
            resident_bytes,
            tables,
            store,
        }
    }

    fn tables(shape: Shape, resident_bytes: Option<u64>) -> ValueTables {
        let spill = Spill {
            groups: GROUPS,
            table: TABLE,
            resident_bytes,
        };
        ValueTables::new(shape.types(), specs(), spill)
    }

    fn meet(&mut self, keys: &[KeyNumber], encoded: bool) -> Vec<KeyId> {
        self.tables.begin();
        let mut places = Vec::new();
        if encoded {
            for &key in keys {
                let place = self.tables.meet_encoded(&mut self.store, &self.shape.encoded(key));
                places.push(place.expect("the store works"));
            }
        } else {
            let values: Vec<Row> = keys.iter().map(|&key| self.shape.values(key)).collect();
            let columns: Vec<Column> = (0..)
                .zip(self.shape.types())
                .map(|(at, data_type)| column(data_type, values.iter().map(|row| row[at as usize].as_value())))
                .collect();
            let columns: Vec<&Column> = columns.iter().collect();
            self.tables
                .meet_columns(&mut self.store, &columns, keys.len(), &mut places)
                .expect("the store works");
        }
        places.iter().map(|&place| self.tables.met()[place as usize]).collect()
    }

    fn saved(&mut self) -> Vec<(KeyGroup, Vec<u8>, usize, Vec<u8>)> {
        let mut saved = Vec::new();
        self.tables
            .visit(&mut self.store, |group, key, table, row| {
                saved.push((group, key.to_vec(), table, row.to_vec()));
                Ok(())
            })
            .expect("the store works");
        saved
    }
}

fn key_number() -> impl Strategy<Value = KeyNumber> {
    prop_oneof![1 => Just(None), 30 => (-60_i64..60).prop_map(Some)]
}

fn step() -> impl Strategy<Value = Step> {
    let round = (
        vec(key_number(), 1..30),
        any::<bool>(),
        vec((0_usize..2, 0_usize..30, any::<i64>()), 0..20),
        vec((0_usize..2, 0_usize..30), 0..6),
    );
    prop_oneof![
        15 => round.prop_map(|(keys, encoded, set, clear)| Step::Round { keys, encoded, set, clear }),
        1 => Just(Step::SaveAndLoad),
    ]
}

fn check(mut subject: Subject, steps: Vec<Step>) -> Result<(), TestCaseError> {
    let mut model = Model::default();
    for step in steps {
        match step {
            Step::Round {
                keys,
                encoded,
                set,
                clear,
            } => {
                let ids = subject.meet(&keys, encoded);
                for table in 0..2 {
                    let columns = subject.tables.gather(table, &ids);
                    for (at, &key) in keys.iter().enumerate() {
                        let found: Row = columns.iter().map(|column| column.value(at).into()).collect();
                        prop_assert_eq!(found, model.row(key, table));
                        let present = subject.tables.is_present(table, ids[at]);
                        prop_assert_eq!(present, model.rows.contains_key(&(key, table)));
                    }
                }
                let found = subject.tables.keys().columns(&ids);
                for (at, &key) in keys.iter().enumerate() {
                    let found: Row = found.iter().map(|column| column.value(at).into()).collect();
                    prop_assert_eq!(found, subject.shape.values(key));
                }
                for (table, at, seed) in set {
                    let at = at % keys.len();
                    // The last column keeps what it has, as columns do that a guest does not name.
                    let mut row = row(table, seed);
                    let kept = row.len() - 1;
                    row[kept] = model.row(keys[at], table).swap_remove(kept);
                    let types = specs().swap_remove(table).types;
                    let columns: Vec<Column> = types
                        .iter()
                        .zip(&row)
                        .take(kept)
                        .map(|(&data_type, value)| column(data_type, [value.as_value()].into_iter()))
                        .collect();
                    subject.tables.scatter(table, &[ids[at]], columns.iter().enumerate());
                    model.rows.insert((keys[at], table), row);
                }
                for (table, at) in clear {
                    let at = at % keys.len();
                    subject.tables.clear(table, &[ids[at]]);
                    model.rows.remove(&(keys[at], table));
                }
            }
            Step::SaveAndLoad => {
                let saved = subject.saved();
                prop_assert_eq!(&saved, &model.saved(subject.shape));
                prop_assert_eq!(&subject.saved(), &saved, "a save changes nothing");
                subject.tables = Subject::tables(subject.shape, subject.resident_bytes);
                subject
                    .store
                    .remove_range(wasmill_state::Span::All)
                    .expect("the store works");
                for (_, key, table, row) in saved {
                    let loaded = subject.tables.load(&mut subject.store, &key, table, &row);
                    loaded.expect("the store works");
                }
            }
        }
    }
    prop_assert_eq!(subject.saved(), model.saved(subject.shape));
    Ok(())
}

fn shape() -> impl Strategy<Value = Shape> {
    prop_oneof![Just(Shape::Integer), Just(Shape::Text), Just(Shape::Pair)]
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(128))]

    #[test]
    fn all_rows_resident(shape in shape(), steps in vec(step(), 0..60)) {
        check(Subject::new(shape, None, Store::memory()), steps)?;
    }

    #[test]
    fn few_rows_resident(shape in shape(), resident_bytes in 0_u64..10_000, steps in vec(step(), 0..60)) {
        check(Subject::new(shape, Some(resident_bytes), Store::memory()), steps)?;
    }

    #[test]
    fn few_rows_resident_over_a_store_on_disk(shape in shape(), resident_bytes in 0_u64..10_000, steps in vec(step(), 0..30)) {
        let folder = PathBuf::from(env!("CARGO_TARGET_TMPDIR")).join("value-tables");
        let store = Store::disk(&folder, 4_096).expect("the folder can be made");
        check(Subject::new(shape, Some(resident_bytes), store), steps)?;
    }
}

fn counted(resident_bytes: Option<u64>) -> ValueTables {
    let spec = TableSpec {
        types: vec![DataType::Int64],
        initial: vec![Scalar::Int64(0)],
    };
    let spill = Spill {
        groups: GROUPS,
        table: TABLE,
        resident_bytes,
    };
    ValueTables::new(vec![DataType::Int64], vec![spec], spill)
}

fn meet_range(tables: &mut ValueTables, store: &mut Store, keys: std::ops::Range<i64>) {
    tables.begin();
    let rows = keys.clone().count();
    let column = Column::Int64(keys.collect::<Vec<_>>().into());
    let mut places = Vec::new();
    let met = tables.meet_columns(store, &[&column], rows, &mut places);
    met.expect("memory does not fail");
}

#[test]
fn residents_stay_within_their_bound() {
    const BOUND: u64 = 100_000;
    let mut store = Store::memory();
    let mut tables = counted(Some(BOUND));
    for start in (0..100_000).step_by(100) {
        meet_range(&mut tables, &mut store, start..start + 100);
        let ones = Column::Int64(vec![1; 100].into());
        let ids = tables.met().to_vec();
        tables.scatter(0, &ids, [(0, &ones)]);
        assert!(tables.size_bytes() <= BOUND + 1_000);
    }
    let mut rows = 0;
    let visited = tables.visit(&mut store, |_, _, _, _| {
        rows += 1;
        Ok(())
    });
    assert_eq!((visited, rows), (Ok(()), 100_000));
}

#[test]
fn keys_that_have_no_row_are_forgotten() {
    let mut store = Store::memory();
    let mut tables = counted(None);
    for start in (0..1_000_000).step_by(1_000) {
        meet_range(&mut tables, &mut store, start..start + 1_000);
    }
    assert!(tables.keys().len() < 20_000);
}

#[test]
fn a_row_that_is_damaged_is_refused() {
    let mut store = Store::memory();
    let mut tables = counted(None);
    let key = key::encode_int64(1);
    assert!(tables.load(&mut store, &key, 0, &[0, 1, 2]).is_err());
    assert!(tables.load(&mut store, &key, 0, &[0; 10]).is_err());
    assert!(tables.load(&mut store, &key, 0, &[0; 9]).is_ok());
}
