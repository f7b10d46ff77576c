//! Runs keyed operators over rows and watermarks, cut as a test says, and tells what came out in plain values.

use std::cell::RefCell;
use std::ops::Range;
use std::rc::Rc;

use tempfile::TempDir;
use wasmill_core::batch::{Batch, Hidden, Slot};
use wasmill_core::column::{ColumnBuilder, Scalar, Value};
use wasmill_core::fault::Fault;
use wasmill_core::id::{KeyGroup, NodeId, NodeIndex, PartitionName};
use wasmill_core::key;
use wasmill_core::keyed::{KeyedDescription, StateAccess, TimeDomain};
use wasmill_core::operator::{Operator, Step};
use wasmill_core::order::{Order, source_origin};
use wasmill_core::plan::{KeyedNode, OnFault, RowOrder, Stream};
use wasmill_core::plugin::{Limits, PluginRef};
use wasmill_core::schema::{DataType, Field, Schema};
use wasmill_core::time::Timestamp;
use wasmill_core::watermark::RowWatermarks;
use wasmill_core::window::Late;
use wasmill_operators::{Counters, KeyedLimits, KeyedOperator, KeyedPorts, KeyedState, TimerCounters};
use wasmill_state::Store;
use wasmill_testkit::Row;
use wasmill_testkit::keyed::{Keyed, Logic, Output};

use crate::guest::{Calls, Guest};
use crate::logic;

const GROUPS: u16 = 8;
pub(crate) const SOURCE: &str = "src";
pub(crate) const NODE: &str = "op";
pub(crate) const LATE_PORT: usize = 2;
pub(crate) const LETTERS_PORT: usize = 3;

/// How a test runs an operator.
#[derive(Clone, Debug)]
pub(crate) struct Setup {
    pub(crate) inputs: usize,
    pub(crate) order: RowOrder,
    pub(crate) late: Late,
    pub(crate) on_fault: OnFault,
    pub(crate) letters: bool,
    pub(crate) ttl: TimeDomain,
    pub(crate) limits: KeyedLimits,
    pub(crate) logic: Logic,
    /// In memory, or on disk with so much memory.
    pub(crate) disk: Option<u64>,
}

impl Default for Setup {
    fn default() -> Self {
        Self {
            inputs: 2,
            order: RowOrder::EventTime,
            late: Late::Port,
            on_fault: OnFault::Fail,
            letters: true,
            ttl: TimeDomain::Event,
            limits: KeyedLimits::default(),
            logic: logic::logic,
            disk: None,
        }
    }
}

fn stream(name: &str, schema: Schema) -> Stream {
    Stream {
        name: name.into(),
        producer: NodeIndex(0),
        live: vec![true; schema.len()],
        schema,
        order: true,
        changelog: false,
    }
}

fn input_schema() -> Schema {
    let fields = logic::COLUMNS
        .iter()
        .map(|&(name, data_type)| Field::nullable(name, data_type));
    Schema::new(fields.collect()).expect("the names differ")
}

/// Subtasks of one operator, each with its key groups.
pub(crate) struct Subtasks {
    setup: Setup,
    description: KeyedDescription,
    subtasks: Vec<KeyedOperator>,
    folders: Option<TempDir>,
    stores: usize,
    pub(crate) out: Vec<(usize, Batch)>,
    pub(crate) calls: Rc<RefCell<Calls>>,
}

impl Subtasks {
    pub(crate) fn new(setup: Setup, count: usize) -> Self {
        let folders = setup.disk.map(|_| TempDir::new().expect("a folder"));
        let mut subtasks = Self {
            description: logic::description(setup.inputs, setup.ttl),
            setup,
            subtasks: Vec::new(),
            folders,
            stores: 0,
            out: Vec::new(),
            calls: Rc::default(),
        };
        subtasks.make(count);
        subtasks
    }

    fn make(&mut self, count: usize) {
        self.subtasks = (0..count).map(|_| self.subtask()).collect();
    }

    fn subtask(&mut self) -> KeyedOperator {
        let Self { setup, description, .. } = self;
        let plan = KeyedNode {
            plugin: PluginRef {
                path: "guest.wasm".into(),
                digest: [0; 32],
            },
            config: "{}".into(),
            description: description.clone(),
            key: vec![vec![0]; setup.inputs],
            order: setup.order,
            late: setup.late,
            on_fault: setup.on_fault,
            limits: Limits::default(),
        };
        self.stores += 1;
        let store = match (&self.folders, setup.disk) {
            (Some(folder), Some(memory)) => {
                let folder = folder.path().join(format!("store-{}", self.stores));
                Store::disk(&folder, memory).expect("a store on disk")
            }
            _ => Store::memory(),
        };
        let state = KeyedState::new(&plan, vec![DataType::Int64], store, GROUPS, setup.disk);
        let guest = Guest {
            state: Rc::clone(&state) as Rc<RefCell<dyn StateAccess>>,
            description: description.clone(),
            logic: setup.logic,
            calls: Rc::clone(&self.calls),
        };
        let inputs: Vec<Stream> = (0..setup.inputs)
            .map(|n| stream(&format!("in{n}"), input_schema()))
            .collect();
        let outputs: Vec<Stream> = description
            .outputs
            .iter()
            .map(|output| stream(&output.name, output.schema.clone()))
            .collect();
        let ports = KeyedPorts {
            inputs: &inputs.iter().collect::<Vec<_>>(),
            outputs: &outputs.iter().collect::<Vec<_>>(),
            late: LATE_PORT,
            dead_letters: setup.letters.then_some(LETTERS_PORT),
        };
        KeyedOperator::new(NodeId::new(NODE), &plan, &ports, Box::new(guest), state, setup.limits)
    }

    fn owned(&self, subtask: usize) -> Range<u16> {
        let count = self.subtasks.len() as u16;
        let start = |n: u16| n * GROUPS / count;
        start(subtask as u16)..start(subtask as u16 + 1)
    }

    /// Rows of one input, in one batch for each subtask.
    pub(crate) fn rows(&mut self, input: usize, rows: &[&Row]) -> Result<(), Fault> {
        let batch = batch(rows);
        let mut hashes = Vec::new();
        key::hashes(&batch, &[0], &mut hashes);
        for number in 0..self.subtasks.len() {
            let owned = self.owned(number);
            let chosen: Vec<u32> = (0..batch.rows() as u32)
                .filter(|&row| owned.contains(&key::group(hashes[row as usize], GROUPS).0))
                .collect();
            self.subtasks[number].batch(input, batch.select(&chosen), &mut self.out)?;
        }
        Ok(())
    }

    pub(crate) fn watermark(&mut self, to: i64) -> Result<(), Fault> {
        for subtask in &mut self.subtasks {
            while subtask.watermark(Timestamp(to), &mut self.out)? == Step::More {}
        }
        Ok(())
    }

    pub(crate) fn clock(&mut self, now: i64) -> Result<(), Fault> {
        for subtask in &mut self.subtasks {
            while subtask.clock(Timestamp(now), &mut self.out)? == Step::More {}
        }
        Ok(())
    }

    pub(crate) fn wake_at(&self) -> Option<Timestamp> {
        self.subtasks.iter().filter_map(Operator::wake_at).min()
    }

    /// Saves all, and goes on with fresh subtasks.
    pub(crate) fn save_and_load(&mut self, count: usize) -> Result<(), Fault> {
        let mut saved: Vec<(KeyGroup, Vec<u8>, Vec<u8>)> = Vec::new();
        for number in 0..self.subtasks.len() {
            let before = saved.len();
            self.subtasks[number].save(&mut saved)?;
            let owned = self.owned(number);
            assert!(
                saved[before..].iter().all(|entry| owned.contains(&entry.0.0)),
                "a subtask saves its own groups"
            );
        }
        let mut names: Vec<(KeyGroup, &[u8])> = saved.iter().map(|entry| (entry.0, &entry.1[..])).collect();
        names.sort_unstable();
        assert!(
            names.is_sorted_by(|a, b| a < b),
            "no two entries have one group and key"
        );
        self.make(count);
        for (group, key, value) in &saved {
            let owner = (0..count)
                .find(|&number| self.owned(number).contains(&group.0))
                .expect("an owner");
            self.subtasks[owner].load(*group, key, value)?;
        }
        Ok(())
    }

    pub(crate) fn counters(&self) -> (Counters, TimerCounters) {
        let mut sum = (Counters::default(), TimerCounters::default());
        for subtask in &self.subtasks {
            let (own, timers) = (subtask.counters(), subtask.timer_counters());
            sum.0.late += own.late;
            sum.0.rejected += own.rejected;
            sum.0.skipped += own.skipped;
            sum.1.fired += timers.fired;
            sum.1.discarded += timers.discarded;
        }
        sum
    }

    /// What came out at the described ports, by (port, time, place). W is asserted.
    pub(crate) fn outputs(&self) -> Vec<Output> {
        let mut outputs = Vec::new();
        for (port, batch) in self.out.iter().filter(|(port, _)| *port < LATE_PORT) {
            let order = batch.order().expect("the stream has places");
            let watermarks = batch.watermarks();
            for row in 0..batch.rows() {
                let mut place = Vec::new();
                order.write(row, &mut place);
                let mut encoded = Vec::new();
                key::encode(batch.column(0).value(row), &mut encoded);
                let values: Vec<Scalar> = (1..batch.slots().len())
                    .map(|c| batch.column(c).value(row).into())
                    .collect();
                if self.setup.order == RowOrder::EventTime {
                    assert_eq!(watermarks.at(row), batch.time(row), "W = t");
                }
                outputs.push(Output {
                    port: *port,
                    time: batch.time(row),
                    place,
                    key: encoded,
                    values: format!("{values:?}"),
                });
            }
        }
        outputs.sort_by(|a, b| a.partial_cmp(b).expect("all can be compared"));
        outputs
    }

    /// The times of late rows.
    pub(crate) fn late(&self) -> Vec<i64> {
        let batches = self.out.iter().filter(|(port, _)| *port == LATE_PORT);
        let mut times: Vec<i64> = batches.flat_map(|(_, batch)| batch.times().into_owned()).collect();
        times.sort_unstable();
        times
    }

    /// Time, message and record of dead letters, in order.
    pub(crate) fn letters(&self) -> Vec<(i64, String, String)> {
        let text = |batch: &Batch, column: usize, row: usize| match batch.column(column).value(row) {
            Value::Utf8(text) => text.to_owned(),
            value => panic!("{value:?}"),
        };
        let mut letters = Vec::new();
        for (_, batch) in self.out.iter().filter(|(port, _)| *port == LETTERS_PORT) {
            letters.extend((0..batch.rows()).map(|row| (batch.time(row), text(batch, 2, row), text(batch, 10, row))));
        }
        letters.sort();
        letters
    }
}

/// A row of the interpreter.
pub(crate) fn row(position: u64, time: i64, key: i64, what: i64, number: i64) -> Row {
    Row {
        time,
        watermark: i64::MIN,
        partition: 0,
        position,
        values: vec![Scalar::Int64(key), Scalar::Int64(what), Scalar::Int64(number)],
    }
}

fn batch(rows: &[&Row]) -> Batch {
    let slots = (0..logic::COLUMNS.len()).map(|column| {
        let mut builder = ColumnBuilder::new(DataType::Int64, rows.len());
        for row in rows {
            builder.push(row.values[column].as_value());
        }
        Slot::Base(builder.finish())
    });
    let places: Vec<Vec<u8>> = rows
        .iter()
        .map(|row| {
            let partition = PartitionName::new(format!("p{}", row.partition));
            let mut place = source_origin(&NodeId::new(SOURCE), &partition).to_vec();
            place.extend(row.position.to_be_bytes());
            place
        })
        .collect();
    let hidden = Hidden {
        times: rows.iter().map(|row| row.time).collect(),
        watermarks: RowWatermarks::from_values(&rows.iter().map(|row| row.watermark).collect::<Vec<_>>()),
        order: Some(Order::from_places(places.iter().map(Vec::as_slice))),
        kinds: None,
    };
    Batch::new(slots.collect(), hidden)
}

/// The oracle of the interpreter.
pub(crate) fn oracle(last_watermark: i64) -> Keyed {
    Keyed {
        node: NODE,
        source: SOURCE,
        tables: logic::description(1, TimeDomain::Event).tables,
        key: 0,
        last_watermark,
    }
}
