//! Runs a window operator over rows and watermarks, cut as a test says, and tells what came out in plain values.

use std::cell::Cell;
use std::sync::Arc;

use wasmill_core::aggregate::{Aggregate, Builtin};
use wasmill_core::batch::{Batch, Hidden, Slot};
use wasmill_core::column::{ColumnBuilder, Scalar};
use wasmill_core::fault::Fault;
use wasmill_core::id::{KeyGroup, NodeId, NodeIndex, WorkerIndex};
use wasmill_core::key;
use wasmill_core::kind::Kind;
use wasmill_core::operator::{Operator, Step};
use wasmill_core::order::Order;
use wasmill_core::plan::{
    AggregateFunction, AggregateNode, AggregatePlugin, Early, LateResults, Lateness, OnFault, Stream, WindowFrame,
    WindowNode,
};
use wasmill_core::schema::{DataType, Field, Schema};
use wasmill_core::time::{Micros, Timestamp};
use wasmill_core::watermark::RowWatermarks;
use wasmill_core::window::{self, Alignment, Late, WindowSpec};
use wasmill_operators::{Counters, KeyGroups, Window, WindowLimits, WindowPorts};
use wasmill_state::Store;
use wasmill_testkit::partitions::Event;
use wasmill_testkit::windows::{Outcome, Windows};
use wasmill_testkit::{Row, aggregates};

/// Key groups of every test.
const KEY_GROUPS: u16 = 8;

/// The columns of every test: two keys and a key no fast way fits, then values.
pub(crate) const KEY_INT: usize = 0;
pub(crate) const KEY_TEXT: usize = 1;
pub(crate) const KEY_FLOAT: usize = 2;
pub(crate) const INT: usize = 3;
pub(crate) const FLOAT: usize = 4;
pub(crate) const TEXT: usize = 5;

pub(crate) const LATE_PORT: usize = 1;
pub(crate) const LETTERS_PORT: usize = 2;

pub(crate) fn schema() -> Schema {
    Schema::new(vec![
        Field::nullable("key_int", DataType::Int64),
        Field::nullable("key_text", DataType::Utf8),
        Field::nullable("key_float", DataType::Float64),
        Field::nullable("int", DataType::Int64),
        Field::nullable("float", DataType::Float64),
        Field::nullable("text", DataType::Utf8),
    ])
    .expect("the names differ")
}

/// What is tested: windows, the key, the aggregates.
pub(crate) struct Case {
    pub(crate) windows: Windows,
    pub(crate) key: Vec<usize>,
    pub(crate) aggregates: Vec<Builtin>,
    pub(crate) plugins: Vec<PluginCase>,
    pub(crate) slice_rows: usize,
    pub(crate) on_fault: OnFault,
    pub(crate) dead_letters: bool,
    pub(crate) lateness: Lateness,
    pub(crate) late_results: LateResults,
    pub(crate) early: Option<Early>,
    pub(crate) pane: bool,
    /// Where the oracle, which knows whole days of zones only, is not asked.
    pub(crate) zone: Option<&'static str>,
    /// The memory of windows with a store, of one after the other; `None`: it has none.
    pub(crate) memory_bytes: Vec<Option<usize>>,
    made: Cell<usize>,
}

pub(crate) struct PluginCase {
    pub(crate) plan: AggregatePlugin,
    pub(crate) make: fn() -> Box<dyn Aggregate>,
}

impl Case {
    pub(crate) fn new(windows: Windows, key: &[usize], aggregates: &[Builtin]) -> Self {
        Self {
            windows,
            key: key.to_vec(),
            aggregates: aggregates.to_vec(),
            plugins: Vec::new(),
            slice_rows: 3,
            on_fault: OnFault::Fail,
            dead_letters: false,
            lateness: Lateness::Deterministic,
            late_results: LateResults::Final,
            early: None,
            pane: false,
            zone: None,
            memory_bytes: vec![None],
            made: Cell::new(0),
        }
    }

    pub(crate) fn operator(&self) -> Window {
        self.subtask(0, 1)
    }

    /// One of several subtasks that share the key groups.
    pub(crate) fn subtask(&self, number: u32, subtasks: u32) -> Window {
        const DAY: u64 = 86_400_000_000;
        let unit = if self.windows.time_zone.is_some() { DAY } else { 1 };
        let span = |length: i64| Micros(length as u64 * unit);
        let alignment = Alignment {
            offset: Micros(self.windows.offset as u64),
            time_zone: self.windows.time_zone.or(self.zone).map(Arc::from),
        };
        let (size, every) = (span(self.windows.size), span(self.windows.every));
        let window = if self.windows.cumulative {
            WindowSpec::Cumulative {
                size,
                step: every,
                alignment,
            }
        } else if size == every {
            WindowSpec::Tumbling { size, alignment }
        } else {
            WindowSpec::Sliding { size, every, alignment }
        };
        let schema = schema();
        let builtins = self.aggregates.iter().enumerate().map(|(i, function)| AggregateNode {
            outputs: vec![Field::nullable(format!("a{i}"), result_type(function, &schema))],
            function: AggregateFunction::Builtin(function.clone()),
        });
        let plugins = self.plugins.iter().map(|plugin| AggregateNode {
            outputs: plugin.plan.description.results.clone(),
            function: AggregateFunction::Plugin(Box::new(plugin.plan.clone())),
        });
        let plan = WindowNode {
            frame: WindowFrame {
                allowed_lateness: Micros(self.windows.allowed as u64),
                late: Late::Port,
                lateness: self.lateness,
                late_results: self.late_results,
                early: self.early,
                pane: self.pane,
                ..WindowFrame::new(self.key.clone(), window::Windows::Aligned(window))
            },
            aggregates: builtins.chain(plugins).collect(),
            on_fault: self.on_fault,
        };
        let mut fields: Vec<Field> = self.key.iter().map(|&column| schema.fields()[column].clone()).collect();
        fields.push(Field::required("window_start", DataType::Timestamp));
        fields.push(Field::required("window_end", DataType::Timestamp));
        fields.extend(plan.aggregates.iter().flat_map(|aggregate| aggregate.outputs.clone()));
        if self.pane {
            fields.push(Field::required("pane", DataType::Int64));
        }
        let retracts = self.early.is_some_and(|early| early.retracting);
        let stream = |name: &str, schema: Schema| Stream {
            name: name.into(),
            producer: NodeIndex(0),
            live: vec![true; schema.len()],
            schema,
            order: true,
            changelog: retracts && name == "window",
        };
        let ports = WindowPorts {
            input: &stream("rows", schema),
            output: &stream("window", Schema::new(fields).expect("the names differ")),
            dead_letters: self.dead_letters.then_some(LETTERS_PORT),
        };
        let limits = WindowLimits {
            slice_rows: self.slice_rows,
            groups: KeyGroups::of_worker(KEY_GROUPS, WorkerIndex(number), subtasks),
        };
        let guests = self.plugins.iter().map(|plugin| (plugin.make)()).collect();
        let window = Window::new(NodeId::new("window"), &plan, &ports, guests, limits).expect("a known time zone");
        let made = self.made.replace(self.made.get() + 1);
        match self.memory_bytes[made % self.memory_bytes.len()] {
            None => window,
            Some(memory_bytes) => window.with_store(Store::memory(), memory_bytes),
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
    pub(crate) counters: Counters,
    pub(crate) keys_left: usize,
}

/// How events are cut into calls. Each function is asked for each row or watermark in turn.
pub(crate) struct Cuts<'a> {
    /// Whether a batch ends after the next row.
    pub(crate) batch: &'a mut dyn FnMut() -> bool,
    /// Whether the operator is told of the next watermark.
    pub(crate) watermark: &'a mut dyn FnMut() -> bool,
    /// Whether the next batch has rows before and between its own that a filter took away.
    pub(crate) filtered: &'a mut dyn FnMut() -> bool,
}

/// One batch of a row, every watermark.
pub(crate) fn one_by_one(case: &Case, rows: &[Row], events: &[Event]) -> Run {
    let mut cuts = Cuts {
        batch: &mut || true,
        watermark: &mut || true,
        filtered: &mut || false,
    };
    run(case, rows, events, &mut cuts).expect("no fault")
}

/// Runs the operator over events.
pub(crate) fn run(case: &Case, rows: &[Row], events: &[Event], cuts: &mut Cuts<'_>) -> Result<Run, Fault> {
    run_moved(case, rows, events, cuts, &mut || None)
}

/// Runs it over events, and moves its state after calls: `to_subtasks` says to how many subtasks, `None` to leave it where it
/// is. Rows go to the subtask that owns their key.
pub(crate) fn run_moved(
    case: &Case,
    rows: &[Row],
    events: &[Event],
    cuts: &mut Cuts<'_>,
    to_subtasks: &mut dyn FnMut() -> Option<u32>,
) -> Result<Run, Fault> {
    let mut operators = vec![case.operator()];
    let mut counters = Counters::default();
    let mut out: Vec<(usize, Batch)> = Vec::new();
    let mut open: Vec<&Row> = Vec::new();
    let mut send =
        |operators: &mut Vec<Window>, open: &mut Vec<&Row>, filtered: bool, out: &mut Vec<(usize, Batch)>| {
            let subtasks = operators.len() as u32;
            for (number, operator) in operators.iter_mut().enumerate() {
                let mine: Vec<&Row> = open
                    .iter()
                    .copied()
                    .filter(|row| owner(case, row, subtasks) == number)
                    .collect();
                operator.batch(0, batch(&mine, filtered), out)?;
            }
            open.clear();
            if let Some(subtasks) = to_subtasks() {
                for operator in &*operators {
                    add_counters(&mut counters, operator.counters());
                }
                *operators = moved(case, operators, subtasks)?;
            }
            Ok::<(), Fault>(())
        };
    for event in events {
        match *event {
            Event::Row(row) => {
                open.push(&rows[row]);
                if (cuts.batch)() {
                    send(&mut operators, &mut open, (cuts.filtered)(), &mut out)?;
                }
            }
            Event::Watermark(to) if to == i64::MAX || (cuts.watermark)() => {
                send(&mut operators, &mut open, (cuts.filtered)(), &mut out)?;
                for operator in &mut operators {
                    advance(case, operator, to, &mut out)?;
                }
                send(&mut operators, &mut open, false, &mut out)?;
            }
            Event::Watermark(_) => {}
        }
    }
    for operator in &operators {
        add_counters(&mut counters, operator.counters());
    }
    let of_port = |port: usize| -> Vec<Emitted> {
        let batches = out.iter().filter(|(p, _)| *p == port);
        batches.flat_map(|(_, batch)| emitted(batch)).collect()
    };
    Ok(Run {
        results: of_port(0),
        late: of_port(LATE_PORT),
        letters: of_port(LETTERS_PORT),
        counters,
        keys_left: operators.iter().map(Window::keys_held).sum(),
    })
}

/// Tells an operator of a watermark until it has nothing more to give.
pub(crate) fn advance(case: &Case, operator: &mut Window, to: i64, out: &mut Vec<(usize, Batch)>) -> Result<(), Fault> {
    loop {
        let before = out.len();
        let step = operator.watermark(Timestamp(to), out)?;
        let results = out[before..].iter().filter(|(port, _)| *port == 0);
        let retracts = case.early.is_some_and(|early| early.retracting);
        let rows_max = case.slice_rows.max(if retracts { 2 } else { 1 });
        assert!(
            results.map(|(_, batch)| batch.rows()).all(|rows| rows <= rows_max),
            "a slice is bounded"
        );
        if step == Step::Done {
            return Ok(());
        }
    }
}

fn add_counters(sum: &mut Counters, counters: Counters) {
    sum.rows_in += counters.rows_in;
    sum.rows_out += counters.rows_out;
    sum.rejected += counters.rejected;
    sum.skipped += counters.skipped;
    sum.late += counters.late;
    sum.corrected += counters.corrected;
    sum.unassigned += counters.unassigned;
}

fn owner(case: &Case, row: &Row, subtasks: u32) -> usize {
    let mut encoded = Vec::new();
    for &column in &case.key {
        key::encode(row.values[column].as_value(), &mut encoded);
    }
    let group = if case.key.is_empty() {
        KeyGroup(0)
    } else {
        key::group(key::hash(&encoded), KEY_GROUPS)
    };
    key::owner(group, KEY_GROUPS, subtasks).0 as usize
}

/// The state of operators in others that have seen nothing, each with the key groups that it owns.
pub(crate) fn moved(case: &Case, operators: &mut [Window], subtasks: u32) -> Result<Vec<Window>, Fault> {
    let mut entries: Vec<(KeyGroup, Vec<u8>, Vec<u8>)> = Vec::new();
    for operator in operators {
        operator.save(&mut entries)?;
    }
    let mut known: Vec<_> = entries.iter().map(|entry| (entry.0, &entry.1)).collect();
    known.sort_unstable();
    assert!(
        known.windows(2).all(|pair| pair[0] != pair[1]),
        "no two entries have one key"
    );
    let mut moved: Vec<Window> = (0..subtasks).map(|number| case.subtask(number, subtasks)).collect();
    for (group, key, value) in entries {
        let owner = key::owner(group, KEY_GROUPS, subtasks).0 as usize;
        moved[owner].load(group, &key, &value)?;
    }
    Ok(moved)
}

pub(crate) fn emitted(batch: &Batch) -> Vec<Emitted> {
    let order = batch.order().expect("every stream of a test carries places");
    let row = |row: usize| {
        let mut place = Vec::new();
        order.write(row, &mut place);
        let column = |column: usize| Scalar::from(batch.column(column).value(row));
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

/// A batch of these rows; where `filtered`, a selection of a larger one with rows that must not be seen.
pub(crate) fn batch(rows: &[&Row], filtered: bool) -> Batch {
    let ghost = Row {
        time: 12_345,
        watermark: i64::MAX,
        partition: 99,
        position: 0,
        values: vec![Scalar::Null; schema().len()],
    };
    let base: Vec<&Row> = if filtered {
        rows.iter().flat_map(|&row| [&ghost, row]).collect()
    } else {
        rows.to_vec()
    };
    let schema = schema();
    let slots = schema.fields().iter().enumerate().map(|(column, field)| {
        let mut builder = ColumnBuilder::new(field.data_type, base.len());
        for row in &base {
            builder.push(row.values[column].as_value());
        }
        Slot::Base(builder.finish())
    });
    let watermarks: Vec<i64> = base.iter().map(|row| row.watermark).collect();
    let places: Vec<Vec<u8>> = base.iter().map(|row| place(row)).collect();
    let hidden = Hidden {
        times: base.iter().map(|row| row.time).collect(),
        watermarks: RowWatermarks::from_values(&watermarks),
        order: Some(Order::from_places(places.iter().map(Vec::as_slice))),
        kinds: None,
    };
    let whole = Batch::new(slots.collect(), hidden);
    if filtered {
        let rows: Vec<u32> = (0..rows.len() as u32).map(|row| 2 * row + 1).collect();
        whole.select(&rows)
    } else {
        whole
    }
}

fn place(row: &Row) -> Vec<u8> {
    let mut place = row.partition.to_be_bytes().to_vec();
    place.extend(row.position.to_be_bytes());
    place
}

/// What should come out: results in the order in which they are due, and the late rows.
pub(crate) fn expected(case: &Case, rows: &[Row]) -> (Vec<Emitted>, Vec<Emitted>) {
    let Outcome { results, late } = case.windows.evaluate(rows, &case.key);
    let results = results.into_iter().map(|result| {
        let held: Vec<&Row> = result.rows.iter().map(|&row| &rows[row]).collect();
        let mut values: Vec<Scalar> = case
            .key
            .iter()
            .map(|&column| canonical(&held[0].values[column]))
            .collect();
        values.push(Scalar::Timestamp(result.start));
        values.push(Scalar::Timestamp(result.end));
        values.extend(
            case.aggregates
                .iter()
                .map(|function| aggregates::evaluate(function, &held)),
        );
        if case.pane {
            let was_on_time = held.iter().any(|row| row.watermark < result.end);
            values.push(Scalar::Int64(i64::from(result.correction && was_on_time)));
        }
        let mut place = Vec::new();
        let index = u32::from(result.correction);
        wasmill_core::order::derived_place(&NodeId::new("window"), &result.key, result.end, index, &mut place);
        Emitted {
            time: result.end.saturating_sub(1),
            watermark: result.watermark,
            place,
            kind: Kind::Insert,
            values,
        }
    });
    let late = late.into_iter().map(|number| {
        let row = &rows[number];
        Emitted {
            time: row.time,
            watermark: row.watermark,
            place: place(row),
            kind: Kind::Insert,
            values: row.values.clone(),
        }
    });
    (results.collect(), late.collect())
}

/// A key as it comes out: -0.0 is 0.0.
pub(crate) fn canonical(value: &Scalar) -> Scalar {
    let mut bytes = Vec::new();
    key::encode(value.as_value(), &mut bytes);
    let mut out = Scalar::Null;
    if *value != Scalar::Null {
        let data_type = match value {
            Scalar::Int64(_) => DataType::Int64,
            Scalar::Float64(_) => DataType::Float64,
            _ => DataType::Utf8,
        };
        key::decode(data_type, &mut &bytes[..], |value| out = value.into());
    }
    out
}

/// Compares results. Deviations, which the oracle calculates in floats, may differ in the last digits.
/// Takes off the places of results by the first column what tells apart windows that end together, once the order by
/// it is seen to be that of the windows: the oracle does not number them.
pub(crate) fn untie(found: &mut [Emitted]) {
    let plain = |row: &Emitted| {
        let (mut key, mut place) = (Vec::new(), Vec::new());
        key::encode(row.values[0].as_value(), &mut key);
        wasmill_core::order::derived_place(&NodeId::new("window"), &key, row.time, 0, &mut place);
        place.len()
    };
    found.sort_by(|a, b| (a.watermark, &a.place).cmp(&(b.watermark, &b.place)));
    for pair in found.windows(2) {
        let (a, b) = (&pair[0], &pair[1]);
        if a.watermark == b.watermark && a.place[..plain(a)] == b.place[..plain(b)] {
            let start = |row: &Emitted| match row.values[1] {
                Scalar::Timestamp(start) => start,
                ref other => panic!("{other:?}"),
            };
            assert!(a.place < b.place && start(a) <= start(b), "{a:?}\n{b:?}");
        }
    }
    for row in found {
        let len = plain(row);
        row.place.truncate(len);
    }
}

pub(crate) fn assert_same(found: &[Emitted], expect: &[Emitted]) {
    let near = |a: &Scalar, b: &Scalar| match (a, b) {
        (Scalar::Float64(a), Scalar::Float64(b)) => (a - b).abs() <= 1e-9 * a.abs().max(1.0),
        _ => a == b,
    };
    for (i, (a, b)) in found.iter().zip(expect).enumerate() {
        let same = (a.time, a.watermark, a.kind, &a.place) == (b.time, b.watermark, b.kind, &b.place)
            && a.values.len() == b.values.len()
            && a.values.iter().zip(&b.values).all(|(a, b)| near(a, b));
        assert!(same, "row {i}:\n found {a:?}\nexpect {b:?}");
    }
    assert_eq!(found.len(), expect.len(), "the number of rows");
}
