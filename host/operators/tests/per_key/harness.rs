//! Runs windows by key over rows and watermarks, cut, moved between subtasks and restored as a test says.

use std::sync::atomic::{AtomicU64, Ordering};

use proptest::prelude::*;
use wasmill_core::aggregate::Builtin;
use wasmill_core::batch::{Batch, Hidden, Slot};
use wasmill_core::column::{ColumnBuilder, Scalar};
use wasmill_core::content::{Content, ContentDescription};
use wasmill_core::fault::Fault;
use wasmill_core::id::{KeyGroup, NodeId, NodeIndex, WorkerIndex};
use wasmill_core::key;
use wasmill_core::kind::Kind;
use wasmill_core::operator::{Operator, Step};
use wasmill_core::order::{Order, derived_place};
use wasmill_core::plan::{AggregateFunction, AggregateNode, ContentNode, OnFault, Stream, WindowFrame, WindowNode};
use wasmill_core::plugin::{Limits, PluginRef};
use wasmill_core::schema::{DataType, Field, Schema};
use wasmill_core::time::{Micros, Timestamp};
use wasmill_core::transform::{OutputDescription, Requirement};
use wasmill_core::watermark::RowWatermarks;
use wasmill_core::window::{Late, Windows};
use wasmill_operators::{CallLimits, ContentPorts, KeyGroups, KeyState, KeyWindow, KeyWindowLimits, WindowPorts};
use wasmill_state::Store;
use wasmill_testkit::Row;
use wasmill_testkit::contents::Firing;
use wasmill_testkit::partitions::{Event, Partition, read_idling};

use super::guests::PluginCase;

/// The columns of every test.
pub(crate) const KEY_INT: usize = 0;
pub(crate) const KEY_TEXT: usize = 1;
pub(crate) const INT: usize = 2;
pub(crate) const TEXT: usize = 3;

pub(crate) const KEY_GROUPS: u16 = 8;
const LATE_PORT: usize = 1;
const LETTERS_PORT: usize = 9;
const NODE: &str = "window";

pub(crate) fn schema() -> Schema {
    Schema::new(vec![
        Field::nullable("key_int", DataType::Int64),
        Field::nullable("key_text", DataType::Utf8),
        Field::nullable("int", DataType::Int64),
        Field::nullable("text", DataType::Utf8),
    ])
    .expect("the names differ")
}

/// What fills windows.
#[derive(Clone)]
pub(crate) enum Filling {
    Aggregates(Vec<Builtin>, Vec<PluginCase>),
    Guest(Vec<(&'static str, DataType)>, fn() -> Box<dyn Content>),
}

/// What is tested.
#[derive(Clone)]
pub(crate) struct Case {
    pub(crate) frame: WindowFrame,
    pub(crate) filling: Filling,
    pub(crate) on_fault: OnFault,
    pub(crate) dead_letters: bool,
    pub(crate) limits: KeyWindowLimits,
    pub(crate) waiting_bytes: usize,
    pub(crate) backend: Backend,
    /// A column of the output that nobody reads.
    pub(crate) unread: Option<usize>,
}

/// Where state is.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Backend {
    Memory,
    Disk,
}

impl Backend {
    fn store(self) -> Store {
        static STORES: AtomicU64 = AtomicU64::new(0);
        match self {
            Self::Memory => Store::memory(),
            Self::Disk => {
                let number = STORES.fetch_add(1, Ordering::Relaxed);
                let name = format!("wasmill-per-key-{}-{number}", std::process::id());
                Store::disk(&std::env::temp_dir().join(name), 1 << 20).expect("the folder for temporary files")
            }
        }
    }
}

impl Case {
    pub(crate) fn new(windows: Windows, key: &[usize], allowed: i64, filling: Filling) -> Self {
        Self {
            frame: WindowFrame {
                allowed_lateness: Micros(allowed as u64),
                late: Late::Port,
                ..WindowFrame::new(key.to_vec(), windows)
            },
            filling,
            on_fault: OnFault::DeadLetter,
            dead_letters: true,
            limits: KeyWindowLimits {
                slice_rows: 3,
                call: CallLimits {
                    rows: 4,
                    bytes: 16 << 20,
                    firings: 3,
                },
            },
            waiting_bytes: 300,
            backend: Backend::Memory,
            unread: None,
        }
    }

    fn output(&self) -> Schema {
        let schema = schema();
        let mut fields: Vec<Field> = self
            .frame
            .key
            .iter()
            .map(|&column| schema.fields()[column].clone())
            .collect();
        fields.push(Field::required("window_start", DataType::Timestamp));
        fields.push(Field::required("window_end", DataType::Timestamp));
        let pane = self.frame.pane.then(|| Field::required("pane", DataType::Int64));
        match &self.filling {
            Filling::Aggregates(..) => {
                fields.extend(self.aggregate_nodes().iter().flat_map(|node| node.outputs.clone()));
                fields.extend(pane);
            }
            Filling::Guest(columns, _) => {
                fields.extend(pane);
                fields.extend(
                    columns
                        .iter()
                        .map(|(name, data_type)| Field::nullable(*name, *data_type)),
                );
            }
        }
        Schema::new(fields).expect("the names differ")
    }

    fn aggregate_nodes(&self) -> Vec<AggregateNode> {
        let Filling::Aggregates(builtins, plugins) = &self.filling else {
            return Vec::new();
        };
        let schema = schema();
        let builtins = builtins.iter().enumerate().map(|(i, function)| AggregateNode {
            outputs: vec![Field::nullable(format!("a{i}"), result_type(function, &schema))],
            function: AggregateFunction::Builtin(function.clone()),
        });
        let plugins = plugins.iter().map(|(plugin, _)| AggregateNode {
            outputs: plugin.description.results.clone(),
            function: AggregateFunction::Plugin(Box::new(plugin.clone())),
        });
        builtins.chain(plugins).collect()
    }

    pub(crate) fn operator(&self) -> KeyWindow {
        self.subtask(0, 1)
    }

    /// One of so many subtasks.
    pub(crate) fn subtask(&self, worker: u32, workers: u32) -> KeyWindow {
        let stream = |name: &str, schema: Schema| Stream {
            name: name.into(),
            producer: NodeIndex(0),
            live: vec![true; schema.len()],
            schema,
            order: true,
            changelog: false,
        };
        let state = KeyState {
            store: self.backend.store(),
            key_groups: KeyGroups::of_worker(KEY_GROUPS, WorkerIndex(worker), workers),
            waiting_bytes: self.waiting_bytes,
        };
        let (input, mut output) = (stream("rows", schema()), stream("window", self.output()));
        if let Some(unread) = self.unread {
            output.live[unread] = false;
        }
        let dead_letters = self.dead_letters.then_some(LETTERS_PORT);
        match &self.filling {
            Filling::Aggregates(_, plugins) => {
                let plan = WindowNode {
                    frame: self.frame.clone(),
                    aggregates: self.aggregate_nodes(),
                    on_fault: self.on_fault,
                };
                let ports = WindowPorts {
                    input: &input,
                    output: &output,
                    dead_letters,
                };
                let guests = plugins.iter().map(|(_, make)| make()).collect();
                KeyWindow::aggregates(NodeId::new(NODE), &plan, &ports, guests, state, self.limits)
            }
            Filling::Guest(columns, make) => {
                let fields = columns
                    .iter()
                    .map(|(name, data_type)| Field::nullable(*name, *data_type));
                let plan = ContentNode {
                    frame: self.frame.clone(),
                    plugin: PluginRef {
                        path: "p.wasm".into(),
                        digest: [0; 32],
                    },
                    config: "{}".into(),
                    description: ContentDescription {
                        input: Requirement::default(),
                        outputs: vec![OutputDescription {
                            name: "main".into(),
                            schema: Schema::new(fields.collect()).expect("the names differ"),
                            changelog: false,
                        }],
                    },
                    on_fault: self.on_fault,
                    limits: Limits::default(),
                };
                let ports = ContentPorts {
                    input: &input,
                    outputs: &[&output],
                    dead_letters,
                };
                KeyWindow::content(NodeId::new(NODE), &plan, &ports, make(), state, self.limits).expect("no time zone")
            }
        }
    }
}

fn result_type(function: &Builtin, schema: &Schema) -> DataType {
    match *function {
        Builtin::Count(_) | Builtin::CountDistinct(_) => DataType::Int64,
        Builtin::Sum(column)
        | Builtin::Min(column)
        | Builtin::Max(column)
        | Builtin::First(column)
        | Builtin::Last(column) => schema.fields()[column].data_type,
        Builtin::Avg(_) | Builtin::Quantile(..) | Builtin::Stddev(_) => DataType::Float64,
        Builtin::TopK(..) | Builtin::ArrayAgg(_) => DataType::Json,
    }
}

/// A row that came out.
#[derive(Clone, Debug, PartialEq)]
pub(crate) struct Emitted {
    pub(crate) time: i64,
    pub(crate) watermark: i64,
    pub(crate) place: Vec<u8>,
    pub(crate) kind: Kind,
    pub(crate) values: Vec<Scalar>,
}

/// What came out of a run.
#[derive(Clone, Debug, Default, PartialEq)]
pub(crate) struct Run {
    pub(crate) results: Vec<Emitted>,
    pub(crate) late: Vec<Emitted>,
    pub(crate) letters: Vec<Emitted>,
}

impl Run {
    /// As a sink in event-time order writes it.
    pub(crate) fn sorted(mut self) -> Self {
        for rows in [&mut self.results, &mut self.late, &mut self.letters] {
            rows.sort_by(|a, b| {
                let key = |e: &Emitted| {
                    (
                        e.time.max(e.watermark),
                        e.time,
                        e.place.clone(),
                        format!("{:?}", e.values),
                    )
                };
                key(a).cmp(&key(b))
            });
        }
        self
    }
}

/// How a run is cut. Each list is gone through again and again.
#[derive(Clone, Debug)]
pub(crate) struct Cuts {
    /// Whether a batch ends after the next row.
    pub(crate) batch: Vec<bool>,
    /// Whether the operators are told of the next watermark.
    pub(crate) watermark: Vec<bool>,
    /// Over how many subtasks the state is spread before the next event; 0: it stays.
    pub(crate) moves: Vec<usize>,
}

impl Cuts {
    /// One batch of a row, every watermark, one subtask.
    pub(crate) fn none() -> Self {
        Self {
            batch: vec![true],
            watermark: vec![true],
            moves: vec![0],
        }
    }
}

pub(crate) fn cuts() -> impl Strategy<Value = Cuts> {
    (
        proptest::collection::vec(any::<bool>(), 1..30),
        proptest::collection::vec(any::<bool>(), 1..30),
        proptest::collection::vec(prop_oneof![6 => Just(0_usize), 1 => 1..4_usize], 1..30),
    )
        .prop_map(|(batch, watermark, moves)| Cuts {
            batch,
            watermark,
            moves,
        })
}

/// The subtasks of an operator.
pub(crate) struct Subtasks<'a> {
    case: &'a Case,
    operators: Vec<KeyWindow>,
    pub(crate) out: Vec<(usize, Batch)>,
}

impl<'a> Subtasks<'a> {
    pub(crate) fn new(case: &'a Case) -> Self {
        Self {
            case,
            operators: vec![case.operator()],
            out: Vec::new(),
        }
    }

    /// Saves the state and loads it into this many subtasks.
    pub(crate) fn spread(&mut self, subtasks: usize) -> Result<(), Fault> {
        let mut entries: Vec<(KeyGroup, Vec<u8>, Vec<u8>)> = Vec::new();
        for operator in &mut self.operators {
            operator.save(&mut entries)?;
        }
        let mut names: Vec<_> = entries.iter().map(|(group, key, _)| (*group, key.clone())).collect();
        names.sort();
        names.dedup();
        assert_eq!(names.len(), entries.len(), "each entry once");
        self.operators = (0..subtasks)
            .map(|number| self.case.subtask(number as u32, subtasks as u32))
            .collect();
        // The order in which entries are loaded says nothing.
        for (group, key, value) in entries.iter().rev() {
            let owner = key::owner(*group, KEY_GROUPS, subtasks as u32).0 as usize;
            self.operators[owner].load(*group, key, value)?;
        }
        Ok(())
    }

    pub(crate) fn rows(&mut self, rows: &[&Row]) -> Result<(), Fault> {
        let subtasks = self.operators.len() as u32;
        let key = &self.case.frame.key;
        let owner = |row: &Row| {
            let group = key::group(key::hash(&encoded_key(row, key)), KEY_GROUPS);
            key::owner(group, KEY_GROUPS, subtasks).0 as usize
        };
        for (number, operator) in self.operators.iter_mut().enumerate() {
            let own: Vec<&Row> = rows.iter().copied().filter(|row| owner(row) == number).collect();
            operator.batch(0, batch(&own), &mut self.out)?;
        }
        Ok(())
    }

    pub(crate) fn watermark(&mut self, to: i64) -> Result<(), Fault> {
        for operator in &mut self.operators {
            while operator.watermark(Timestamp(to), &mut self.out)? == Step::More {}
        }
        Ok(())
    }

    /// Processing time has come to `now`: each operator is called as often as it wants.
    pub(crate) fn clock(&mut self, now: i64) -> Result<(), Fault> {
        for operator in &mut self.operators {
            while operator.wake_at().is_some_and(|at| at.0 <= now) {
                while operator.clock(Timestamp(now), &mut self.out)? == Step::More {}
            }
        }
        Ok(())
    }

    pub(crate) fn written_bytes(&self) -> u64 {
        self.operators.iter().map(KeyWindow::written_bytes).sum()
    }

    pub(crate) fn is_empty(&self) -> bool {
        self.operators
            .iter()
            .all(|operator| operator.is_empty().expect("memory does not fail"))
    }

    pub(crate) fn run(&self) -> Run {
        let of_port = |port: usize| -> Vec<Emitted> {
            let batches = self.out.iter().filter(|(p, _)| *p == port);
            batches.flat_map(|(_, batch)| emitted(batch)).collect()
        };
        Run {
            results: of_port(0),
            late: of_port(LATE_PORT),
            letters: of_port(LETTERS_PORT),
        }
    }
}

/// Runs operators over events. Whether nothing is left in the end, too.
pub(crate) fn run(case: &Case, rows: &[Row], events: &[Event], cuts: &Cuts) -> Result<(Run, bool), Fault> {
    let mut subtasks = Subtasks::new(case);
    let mut open: Vec<&Row> = Vec::new();
    let again = |list: &[bool], at: usize| list[at % list.len()];
    for (at, event) in events.iter().enumerate() {
        let moves = cuts.moves[at % cuts.moves.len()];
        if moves > 0 {
            subtasks.spread(moves)?;
        }
        match *event {
            Event::Row(row) => {
                open.push(&rows[row]);
                if again(&cuts.batch, at) {
                    subtasks.rows(&open)?;
                    open.clear();
                }
            }
            Event::Watermark(to) if to == i64::MAX || again(&cuts.watermark, at) => {
                subtasks.rows(&open)?;
                open.clear();
                subtasks.watermark(to)?;
            }
            Event::Watermark(_) => {}
        }
    }
    Ok((subtasks.run(), subtasks.is_empty()))
}

pub(crate) fn emitted(batch: &Batch) -> Vec<Emitted> {
    let order = batch.order().expect("every stream of a test carries places");
    let row = |row: usize| {
        let mut place = Vec::new();
        order.write(row, &mut place);
        let column = |column: usize| match &batch.slots()[column] {
            Slot::Absent => Scalar::Null,
            _ => Scalar::from(batch.column(column).value(row)),
        };
        Emitted {
            time: batch.time(row),
            watermark: batch.watermarks().at(row),
            place,
            kind: batch.kind(row),
            values: (0..batch.slots().len()).map(column).collect(),
        }
    };
    (0..batch.rows()).map(row).collect()
}

/// A batch of these rows, as a selection of a larger one with rows that must not be seen.
pub(crate) fn batch(rows: &[&Row]) -> Batch {
    let schema = schema();
    let ghost = Row {
        time: 12_345,
        watermark: i64::MAX,
        partition: 99,
        position: 0,
        values: vec![Scalar::Null; schema.len()],
    };
    let base: Vec<&Row> = rows.iter().flat_map(|&row| [&ghost, row]).collect();
    let slots = schema.fields().iter().enumerate().map(|(column, field)| {
        let mut builder = ColumnBuilder::new(field.data_type, base.len());
        for row in &base {
            builder.push(row.values[column].as_value());
        }
        Slot::Base(builder.finish())
    });
    // What a filter has taken away is still in the batch, but its watermark is no reason to refuse it.
    let watermarks: Vec<i64> = base.iter().map(|row| row.watermark).collect();
    let places: Vec<Vec<u8>> = base.iter().map(|row| place(row)).collect();
    let hidden = Hidden {
        times: base.iter().map(|row| row.time).collect(),
        watermarks: RowWatermarks::from_values(&watermarks),
        order: Some(Order::from_places(places.iter().map(Vec::as_slice))),
        kinds: None,
    };
    let chosen: Vec<u32> = (0..rows.len() as u32).map(|row| 2 * row + 1).collect();
    Batch::new(slots.collect(), hidden).select(&chosen)
}

pub(crate) fn place(row: &Row) -> Vec<u8> {
    let mut place = row.partition.to_be_bytes().to_vec();
    place.extend(row.position.to_be_bytes());
    place
}

pub(crate) fn encoded_key(row: &Row, columns: &[usize]) -> Vec<u8> {
    wasmill_testkit::contents::encoded_key(row, columns)
}

/// The place of what comes of a timer.
pub(crate) fn timer_place(key: &[u8], end: i64, index: u32) -> Vec<u8> {
    let mut place = Vec::new();
    derived_place(&NodeId::new(NODE), key, end, index, &mut place);
    place
}

/// A late row as it comes out.
pub(crate) fn late_row(row: &Row) -> Emitted {
    Emitted {
        time: row.time,
        watermark: row.watermark,
        place: place(row),
        kind: Kind::Insert,
        values: row.values.clone(),
    }
}

/// The start of a result: the key and the bounds.
pub(crate) fn head(firing: &Firing, rows: &[Row], key: &[usize]) -> Vec<Scalar> {
    let first = &rows[firing.rows[0]];
    let key = key.iter().map(|&column| first.values[column].clone());
    key.chain([Scalar::Timestamp(firing.start), Scalar::Timestamp(firing.end)])
        .collect()
}

pub(crate) fn values() -> impl Strategy<Value = Vec<Scalar>> {
    let int = |range: std::ops::Range<i64>| prop_oneof![1 => Just(Scalar::Null), 6 => range.prop_map(Scalar::Int64)];
    let text = |pattern: &'static str| prop_oneof![1 => Just(Scalar::Null), 6 => pattern.prop_map(Scalar::Utf8)];
    (int(0..4), text("[a-c]{0,1}"), int(-50..50), text("[x-z]{0,1}")).prop_map(|(a, b, c, d)| vec![a, b, c, d])
}

fn partition() -> impl Strategy<Value = Partition> {
    let row = (0..5_i64, -8..8_i64, values());
    (proptest::collection::vec(row, 0..30), 0..6_u64).prop_map(move |(steps, delay)| {
        let mut now = 0;
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

/// Partitions with delays; those of few rows idle for most of the time.
pub(crate) fn partitions() -> impl Strategy<Value = Vec<Partition>> {
    proptest::collection::vec(partition(), 1..4)
}

pub(crate) fn keys() -> impl Strategy<Value = Vec<usize>> {
    prop_oneof![
        Just(vec![]),
        Just(vec![KEY_INT]),
        Just(vec![KEY_TEXT]),
        Just(vec![KEY_TEXT, KEY_INT])
    ]
}

pub(crate) fn choose(choices: &[usize]) -> impl FnMut(usize) -> usize {
    let mut at = 0;
    move |n| {
        at += 1;
        choices[at % choices.len()] % n
    }
}

/// Partitions as a reader meets them, some of them idle at times.
pub(crate) fn meet(parts: &[Partition], order: &[usize]) -> (Vec<Row>, Vec<Event>) {
    let mut at = 0;
    let idles = |partition: usize| {
        at += 1;
        order[(at + partition) % order.len()] >= 6
    };
    read_idling(parts, choose(order), idles)
}
