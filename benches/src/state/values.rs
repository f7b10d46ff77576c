//! Value tables: a counter a key is gathered, added to and written back, beside a hash map of places and a vector.

use arrow_array::Int64Array;
use foldhash::fast::FixedState;
use hashbrown::HashMap;
use wasmill_core::column::{Column, Scalar};
use wasmill_core::key;
use wasmill_core::schema::DataType;
use wasmill_state::{Spill, Store, TableSpec, ValueTables};

use crate::Run;
use crate::random::Random;
use crate::report::Budget;
use crate::timing::{Cost, compare};

const NAME: &str = "values";
const ROWS: usize = 1 << 20;
const BATCH_ROWS: usize = 4096;

/// Runs the bench.
pub(super) fn run(run: &mut Run<'_>) {
    let sizes = [
        (100, "10^2"),
        (1_000, "10^3"),
        (10_000, "10^4"),
        (100_000, "10^5"),
        (1_000_000, "10^6"),
    ];
    let whole = |size: &str| format!("by an integer key, {size} keys");
    let columns = |size: &str| format!("gather and scatter alone, {size} keys");
    if !sizes
        .iter()
        .any(|(_, size)| run.wants(NAME, &whole(size)) || run.wants(NAME, &columns(size)))
    {
        return;
    }
    run.report.bench(
        NAME,
        "a counter of 8 bytes a key, read and written a batch at a time; natively a hash map and a vector",
    );
    for (size, name) in sizes {
        let batches = batches(size);
        if run.wants(NAME, &whole(name)) {
            let (mut ours, mut theirs) = (Ours::new(), Native::default());
            let measured = compare(
                run.plan(),
                Cost::Thread,
                ROWS,
                || batches.iter().for_each(|batch| ours.count(batch)),
                || batches.iter().for_each(|batch| theirs.count(batch)),
            );
            run.report.add(&whole(name), &measured, Budget::None);
        }
        if run.wants(NAME, &columns(name)) {
            let mut ours = Ours::new();
            for batch in &batches {
                ours.count(batch);
            }
            let ids: Vec<Vec<u32>> = {
                let mut random = Random::new(9);
                let known = ours.tables.keys().ids() as u64;
                let batch = |_| (0..BATCH_ROWS).map(|_| random.below(known) as u32).collect();
                (0..ROWS / BATCH_ROWS).map(batch).collect()
            };
            let mut counters = vec![0_i64; ours.tables.keys().ids()];
            let measured = compare(
                run.plan(),
                Cost::Thread,
                ROWS,
                || {
                    for ids in &ids {
                        let counters = ours.tables.gather(0, ids);
                        ours.tables.scatter(0, ids, [(0, &plus_one(&counters[0]))]);
                    }
                },
                || {
                    for ids in &ids {
                        let gathered: Vec<i64> = ids.iter().map(|&id| counters[id as usize] + 1).collect();
                        for (&id, value) in ids.iter().zip(gathered) {
                            counters[id as usize] = value;
                        }
                    }
                },
            );
            run.report.add(&columns(name), &measured, Budget::Nanos(6.0));
        }
    }
}

fn batches(keys: u64) -> Vec<Column> {
    let mut random = Random::new(5);
    let mut batch = || -> Vec<i64> { (0..BATCH_ROWS).map(|_| random.below(keys).cast_signed()).collect() };
    (0..ROWS / BATCH_ROWS).map(|_| Column::Int64(batch().into())).collect()
}

fn plus_one(column: &Column) -> Column {
    let Column::Int64(values) = column else {
        unreachable!("counters are integers");
    };
    let values: Vec<i64> = values.values().iter().map(|value| value + 1).collect();
    Column::Int64(Int64Array::new(values.into(), None))
}

struct Ours {
    tables: ValueTables,
    store: Store,
    places: Vec<u32>,
}

impl Ours {
    fn new() -> Self {
        let spec = TableSpec {
            types: vec![DataType::Int64],
            initial: vec![Scalar::Int64(0)],
        };
        let spill = Spill {
            groups: key::KEY_GROUPS_DEFAULT,
            table: 0,
            resident_bytes: None,
        };
        Self {
            tables: ValueTables::new(vec![DataType::Int64], vec![spec], spill),
            store: Store::memory(),
            places: Vec::new(),
        }
    }

    /// Counts the rows of a batch by key, in one gather and one scatter of its distinct keys.
    fn count(&mut self, keys: &Column) {
        self.tables.begin();
        self.places.clear();
        self.tables
            .meet_columns(&mut self.store, &[keys], keys.len(), &mut self.places)
            .expect("memory does not fail");
        let Some(Column::Int64(counters)) = self.tables.gather(0, self.tables.met()).pop() else {
            unreachable!("the table has one column of integers");
        };
        let mut counters = counters.values().to_vec();
        for &place in &self.places {
            counters[place as usize] += 1;
        }
        let counters = Column::Int64(Int64Array::new(counters.into(), None));
        let ids = self.tables.met().to_vec();
        self.tables.scatter(0, &ids, [(0, &counters)]);
    }
}

#[derive(Default)]
struct Native {
    places: HashMap<i64, u32, FixedState>,
    counters: Vec<i64>,
}

impl Native {
    fn count(&mut self, keys: &Column) {
        let Column::Int64(keys) = keys else {
            unreachable!("keys are integers");
        };
        for &key in keys.values() {
            let next = self.counters.len() as u32;
            let place = *self.places.entry(key).or_insert(next);
            if place == next {
                self.counters.push(0);
            }
            self.counters[place as usize] += 1;
        }
    }
}
