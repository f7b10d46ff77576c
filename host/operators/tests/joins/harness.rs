//! Runs operators over rows of one or two inputs: cut into batches, spread over subtasks by key group, with state saved
//! and loaded into other subtasks between calls, in memory and on disk.

use std::path::PathBuf;

use proptest::prelude::*;
use wasmill_core::batch::{Batch, Hidden, Slot};
use wasmill_core::column::{ColumnBuilder, Scalar};
use wasmill_core::id::{KeyGroup, NodeIndex};
use wasmill_core::key;
use wasmill_core::kind::Kind;
use wasmill_core::operator::{Operator, Step};
use wasmill_core::order::Order;
use wasmill_core::plan::Stream;
use wasmill_core::schema::{DataType, Field, Schema};
use wasmill_core::time::Timestamp;
use wasmill_core::watermark::RowWatermarks;
use wasmill_state::Store;
use wasmill_testkit::Row;
use wasmill_testkit::partitions::{Event, Partition};

/// The columns of every test.
pub(crate) const KEY_INT: usize = 0;
pub(crate) const KEY_TEXT: usize = 1;
pub(crate) const VALUE: usize = 2;
pub(crate) const TEXT: usize = 3;

/// The job's key groups.
pub(crate) const GROUPS: u16 = 7;

pub(crate) fn fields() -> Vec<Field> {
    vec![
        Field::nullable("key_int", DataType::Int64),
        Field::nullable("key_text", DataType::Utf8),
        Field::nullable("value", DataType::Float64),
        Field::nullable("text", DataType::Utf8),
    ]
}

pub(crate) fn stream(fields: Vec<Field>, changelog: bool) -> Stream {
    let schema = Schema::new(fields).expect("the names differ");
    Stream {
        name: "s".into(),
        producer: NodeIndex(0),
        live: vec![true; schema.len()],
        schema,
        order: true,
        changelog,
    }
}

/// What is run.
pub(crate) struct Setup<'a> {
    /// Makes a subtask.
    pub(crate) make: &'a dyn Fn(Store) -> Box<dyn Operator>,
    /// The key columns of each input.
    pub(crate) key: Vec<Vec<usize>>,
    /// Which input a row belongs to.
    pub(crate) input: &'a dyn Fn(&Row) -> usize,
    /// What a row does; `None`: the streams are append-only.
    pub(crate) kind: Option<&'a dyn Fn(&Row) -> Kind>,
    pub(crate) slice_rows: usize,
    pub(crate) lag: i64,
    /// Whether pairs of rows share a place, as a diamond makes them.
    pub(crate) twins: bool,
    /// Whether nothing is kept at the end.
    pub(crate) ends_empty: bool,
}

/// How events are cut into calls, and state is moved. The bits are read again and again.
#[derive(Clone, Debug)]
pub(crate) struct Cuts {
    pub(crate) batches: Vec<bool>,
    pub(crate) watermarks: Vec<bool>,
    pub(crate) filtered: Vec<bool>,
    /// After a call: into how many subtasks the state is loaded; 0: it stays.
    pub(crate) moves: Vec<u8>,
    pub(crate) disk: bool,
}

pub(crate) fn cuts() -> impl Strategy<Value = Cuts> {
    let bits = || proptest::collection::vec(any::<bool>(), 1..12);
    let moves = prop_oneof![
        2 => Just(vec![0]),
        3 => proptest::collection::vec(prop_oneof![4 => Just(0_u8), 1 => 1..4_u8], 1..12),
    ];
    let disk = prop_oneof![9 => Just(false), 1 => Just(true)];
    (bits(), bits(), bits(), moves, disk).prop_map(|(batches, watermarks, filtered, moves, disk)| Cuts {
        batches,
        watermarks,
        filtered,
        moves,
        disk,
    })
}

/// A row that came out.
#[derive(Clone, Debug, PartialEq)]
pub(crate) struct Emitted {
    pub(crate) port: usize,
    pub(crate) time: i64,
    pub(crate) watermark: i64,
    pub(crate) place: Vec<u8>,
    pub(crate) kind: Kind,
    pub(crate) values: Vec<Scalar>,
}

/// By all that there is: two runs gave the same where they are equal so.
pub(crate) fn sorted(mut rows: Vec<Emitted>) -> Vec<Emitted> {
    rows.sort_by_cached_key(|row| (row.port, row.time, row.place.clone(), format!("{row:?}")));
    rows
}

struct Job<'a> {
    setup: &'a Setup<'a>,
    subtasks: Vec<Box<dyn Operator>>,
    /// By subtask and input: rows that are not in a batch yet.
    open: Vec<Vec<Vec<Row>>>,
    told: i64,
    folder: Option<tempfile::TempDir>,
    stores: usize,
    out: Vec<Emitted>,
}

impl Job<'_> {
    fn start(&mut self, count: usize) {
        let setup = self.setup;
        self.subtasks = (0..count)
            .map(|_| {
                self.stores += 1;
                let store = match &self.folder {
                    None => Store::memory(),
                    Some(folder) => {
                        let folder: PathBuf = folder.path().join(self.stores.to_string());
                        Store::disk(&folder, 1 << 20).expect("a folder of its own")
                    }
                };
                (setup.make)(store)
            })
            .collect();
        self.open = vec![vec![Vec::new(); setup.key.len()]; count];
    }

    fn owner(&self, group: KeyGroup) -> usize {
        key::owner(group, GROUPS, self.subtasks.len() as u32).0 as usize
    }

    fn row(&mut self, row: &Row) {
        let input = (self.setup.input)(row);
        let mut encoded = Vec::new();
        for &column in &self.setup.key[input] {
            key::encode(row.values[column].as_value(), &mut encoded);
        }
        let owner = self.owner(key::group(key::hash(&encoded), GROUPS));
        self.open[owner][input].push(row.clone());
    }

    fn flush(&mut self, filtered: &mut dyn FnMut() -> bool) {
        for subtask in 0..self.subtasks.len() {
            for input in 0..self.setup.key.len() {
                let rows = std::mem::take(&mut self.open[subtask][input]);
                let batch = batch(self.setup, &rows, filtered());
                let mut out: Vec<(usize, Batch)> = Vec::new();
                self.subtasks[subtask].batch(input, batch, &mut out).expect("no fault");
                self.take(&out, true);
            }
        }
    }

    fn watermark(&mut self, to: i64) {
        for subtask in 0..self.subtasks.len() {
            loop {
                let mut out: Vec<(usize, Batch)> = Vec::new();
                let step = self.subtasks[subtask]
                    .watermark(Timestamp(to), &mut out)
                    .expect("no fault");
                let rows: usize = out.iter().map(|(_, batch)| batch.rows()).sum();
                assert!(
                    step == Step::Done || rows >= self.setup.slice_rows,
                    "a slice of {rows} rows, and more"
                );
                self.take(&out, false);
                if step == Step::Done {
                    break;
                }
            }
        }
        self.told = to;
    }

    fn take(&mut self, out: &[(usize, Batch)], from_batch: bool) {
        let stamp = self.told.saturating_sub(self.setup.lag);
        for (port, batch) in out {
            assert!(*port > 0 || !from_batch, "only late rows come out at once");
            assert!(
                *port > 0 || batch.rows() <= self.setup.slice_rows,
                "a batch is a slice at most"
            );
            for row in emitted(*port, batch) {
                assert!(row.watermark >= stamp, "{row:?} is below the stamp {stamp}");
                assert!(*port > 0 || row.time >= row.watermark, "{row:?} is late");
                self.out.push(row);
            }
        }
    }

    fn save(&mut self) -> Vec<(KeyGroup, Vec<u8>, Vec<u8>)> {
        let mut entries = Vec::new();
        for (subtask, operator) in self.subtasks.iter_mut().enumerate() {
            let mut own: Vec<(KeyGroup, Vec<u8>, Vec<u8>)> = Vec::new();
            operator.save(&mut own).expect("no fault");
            let mut again: Vec<(KeyGroup, Vec<u8>, Vec<u8>)> = Vec::new();
            operator.save(&mut again).expect("no fault");
            assert_eq!(own, again, "subtask {subtask}: saving changes nothing");
            entries.extend(own);
        }
        let mut keys: Vec<_> = entries.iter().map(|(group, key, _)| (*group, key.clone())).collect();
        keys.sort_unstable();
        keys.dedup();
        assert_eq!(keys.len(), entries.len(), "no two entries have one group and key");
        entries
    }

    fn restart(&mut self, count: usize) {
        let entries = self.save();
        self.start(count);
        for (group, key, value) in entries {
            let owner = self.owner(group);
            self.subtasks[owner].load(group, &key, &value).expect("it was saved");
        }
    }
}

/// Runs the operator over events.
pub(crate) fn run(setup: &Setup<'_>, rows: &[Row], events: &[Event], cuts: &Cuts) -> Vec<Emitted> {
    let (mut ends, mut tells, mut filtered) = (coin(&cuts.batches), coin(&cuts.watermarks), coin(&cuts.filtered));
    let mut moves = cuts.moves.iter().copied().cycle();
    let mut job = Job {
        setup,
        subtasks: Vec::new(),
        open: Vec::new(),
        told: i64::MIN,
        folder: cuts.disk.then(|| tempfile::tempdir().expect("a folder")),
        stores: 0,
        out: Vec::new(),
    };
    job.start(1);
    for event in events {
        match *event {
            Event::Row(row) => {
                job.row(&rows[row]);
                if !ends() {
                    continue;
                }
                job.flush(&mut filtered);
            }
            Event::Watermark(to) if to == i64::MAX || tells() => {
                job.flush(&mut filtered);
                job.watermark(to);
            }
            Event::Watermark(_) => continue,
        }
        match moves.next() {
            Some(count) if count > 0 => job.restart(count.into()),
            _ => {}
        }
    }
    if setup.ends_empty {
        assert_eq!(job.save(), [], "nothing is kept at the end");
    }
    job.out
}

fn coin(bits: &[bool]) -> impl FnMut() -> bool {
    let mut bits = bits.iter().copied().cycle();
    move || bits.next().unwrap_or(true)
}

fn emitted(port: usize, batch: &Batch) -> Vec<Emitted> {
    let order = batch.order().expect("every stream of a test carries places");
    let row = |row: usize| {
        let mut place = Vec::new();
        order.write(row, &mut place);
        let column = |column: usize| Scalar::from(batch.column(column).value(row));
        Emitted {
            port,
            time: batch.time(row),
            watermark: batch.watermarks().at(row),
            place,
            kind: batch.kind(row),
            values: (0..batch.slots().len()).map(column).collect(),
        }
    };
    (0..batch.rows()).map(row).collect()
}

/// A batch of these rows; where `filtered`, a selection of a larger one with rows that must not be seen.
fn batch(setup: &Setup<'_>, rows: &[Row], filtered: bool) -> Batch {
    let ghost = Row {
        time: 12_345,
        watermark: i64::MAX,
        partition: 99,
        position: 0,
        values: vec![Scalar::Null; fields().len()],
    };
    let base: Vec<&Row> = if filtered {
        rows.iter().flat_map(|row| [&ghost, row]).collect()
    } else {
        rows.iter().collect()
    };
    let slots = fields().into_iter().enumerate().map(|(column, field)| {
        let mut builder = ColumnBuilder::new(field.data_type, base.len());
        for row in &base {
            builder.push(row.values[column].as_value());
        }
        Slot::Base(builder.finish())
    });
    let watermarks: Vec<i64> = base.iter().map(|row| row.watermark).collect();
    let places: Vec<Vec<u8>> = base.iter().map(|row| place(row, setup.twins)).collect();
    let hidden = Hidden {
        times: base.iter().map(|row| row.time).collect(),
        watermarks: RowWatermarks::from_values(&watermarks),
        order: Some(Order::from_places(places.iter().map(Vec::as_slice))),
        kinds: setup
            .kind
            .map(|kind| base.iter().map(|row| kind(row).byte()).collect::<Vec<_>>().into()),
    };
    let whole = Batch::new(slots.collect(), hidden);
    if filtered {
        let rows: Vec<u32> = (0..rows.len() as u32).map(|row| 2 * row + 1).collect();
        whole.select(&rows)
    } else {
        whole
    }
}

/// The place of a row.
pub(crate) fn place(row: &Row, twins: bool) -> Vec<u8> {
    let mut place = row.partition.to_be_bytes().to_vec();
    let position = if twins { row.position / 2 } else { row.position };
    place.extend(position.to_be_bytes());
    place
}

/// What a late row comes out as.
pub(crate) fn late(row: &Row, port: usize, kind: Kind, twins: bool) -> Emitted {
    Emitted {
        port,
        time: row.time,
        watermark: row.watermark,
        place: place(row, twins),
        kind,
        values: row.values.clone(),
    }
}

fn nullable<T: std::fmt::Debug + Clone + 'static>(
    strategy: impl Strategy<Value = T> + 'static,
    scalar: fn(T) -> Scalar,
) -> impl Strategy<Value = Scalar> {
    prop_oneof![1 => Just(Scalar::Null), 8 => strategy.prop_map(scalar)]
}

fn values() -> impl Strategy<Value = Vec<Scalar>> {
    (
        nullable(0..3_i64, Scalar::Int64),
        nullable("[a-b]{0,1}", Scalar::Utf8),
        nullable(
            prop_oneof![4 => (-3..4_i64).prop_map(|v| v as f64 / 2.0), 1 => Just(f64::INFINITY)],
            Scalar::Float64,
        ),
        nullable("[x-z]{0,3}", Scalar::Utf8),
    )
        .prop_map(|(a, b, c, d)| vec![a, b, c, d])
}

/// Rows that are mostly near a time that moves on.
fn partition() -> impl Strategy<Value = Partition> {
    let row = (0..4_i64, -6..6_i64, values());
    (-20..20_i64, proptest::collection::vec(row, 0..25), 0..8_u64).prop_map(|(start, steps, delay)| {
        let mut now = start;
        let rows = steps.into_iter().map(|(step, jitter, values)| {
            now += step;
            (now + jitter, values)
        });
        Partition {
            rows: rows.collect(),
            delay,
        }
    })
}

pub(crate) fn partitions(count: std::ops::Range<usize>) -> impl Strategy<Value = Vec<Partition>> {
    proptest::collection::vec(partition(), count)
}

/// In which order partitions are read, and which are idle when.
#[derive(Clone, Debug)]
pub(crate) struct Reading {
    choices: Vec<usize>,
    idle: Vec<bool>,
}

pub(crate) fn reading() -> impl Strategy<Value = Reading> {
    (
        proptest::collection::vec(0..6_usize, 1..20),
        prop_oneof![
            2 => Just(vec![false]),
            1 => proptest::collection::vec(proptest::bool::weighted(0.2), 1..20)
        ],
    )
        .prop_map(|(choices, idle)| Reading { choices, idle })
}

impl Reading {
    pub(crate) fn read(&self, partitions: &[Partition]) -> (Vec<Row>, Vec<Event>) {
        let mut choices = self.choices.iter().copied().cycle();
        let mut idle = self.idle.iter().copied().cycle();
        wasmill_testkit::partitions::read_idling(
            partitions,
            |n| choices.next().unwrap_or(0) % n,
            |_| idle.next().unwrap_or(false),
        )
    }
}

/// Shows the first difference.
pub(crate) fn assert_same(found: Vec<Emitted>, expect: Vec<Emitted>) {
    let (found, expect) = (sorted(found), sorted(expect));
    for (at, (a, b)) in found.iter().zip(&expect).enumerate() {
        assert_eq!(a, b, "row {at} of {} found and {} expected", found.len(), expect.len());
    }
    assert_eq!(found.len(), expect.len(), "found {found:#?}\nexpected {expect:#?}");
}
