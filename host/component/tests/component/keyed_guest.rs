//! Guests of the world `keyed`: its records as bytes, and one operator that most tests are about.

use std::cell::RefCell;
use std::fmt::Write as _;
use std::rc::Rc;

use wasmill_component::{Isolation, Placement};
use wasmill_core::batch::Batch;
use wasmill_core::column::{Column, Value};
use wasmill_core::fault::Fault;
use wasmill_core::id::NodeId;
use wasmill_core::keyed::{DueTimers, Events, Keyed, KeyedCall, KeyedDescription, StateAccess, TIMER_SOURCE};
use wasmill_core::plugin::{Describer, Limits, PluginError};
use wasmill_core::schema::{DataType, Field};
use wasmill_core::transform::InputDescription;

use crate::guest::{Bytes, FieldText, Guest, Image, constant, words};
use crate::state::Recorder;
use crate::{Bench, batch, column, input, ints};

/// A state table, as a guest describes it.
#[derive(Clone, Copy)]
pub(crate) struct TableText<'a> {
    pub(crate) name: &'a str,
    /// 0 value, 1 value-on-demand, 2 appended, 3 ordered.
    pub(crate) kind: u32,
    pub(crate) sort_key: u32,
    pub(crate) fields: &'a [FieldText<'a>],
    /// Cases and numbers.
    pub(crate) initial: &'a [(u32, u64)],
    pub(crate) ttl: Option<(u64, u32)>,
    pub(crate) version: u32,
    pub(crate) migrates_from: &'a [u32],
}

pub(crate) const NO_TABLE: TableText<'_> = TableText {
    name: "total",
    kind: 0,
    sort_key: 0,
    fields: &[("sum", "int64", false)],
    initial: &[(2, 0)],
    ttl: None,
    version: 0,
    migrates_from: &[],
};

/// Where output rows come from.
pub(crate) enum From<'a> {
    Events(&'a [u32]),
    Fired(&'a [u32], &'a [i64]),
}

/// Changes of timers: keys, kinds, tags, times, the bitmap of what is cancelled.
pub(crate) type TimersText<'a> = (&'a [u32], &'a [u32], &'a [i64], &'a [i64], &'a [u8]);

/// What a call answers.
#[derive(Default)]
pub(crate) struct AnswerText<'a> {
    pub(crate) outputs: Vec<Bytes>,
    pub(crate) updates: Vec<Bytes>,
    pub(crate) clears: Vec<Bytes>,
    pub(crate) timers: TimersText<'a>,
    pub(crate) rejects: Vec<Bytes>,
}

pub(crate) fn int64_bytes(values: &[i64]) -> Bytes {
    values.iter().flat_map(|v| v.to_le_bytes()).collect()
}

fn scalar(case: u32, value: u64) -> Bytes {
    [words(&[case, 0]), value.to_le_bytes().to_vec()].concat()
}

/// `key(i)`.
pub(crate) fn key(index: u32) -> Bytes {
    let mut bytes = words(&[1, index]);
    bytes.resize(32, 0);
    bytes
}

/// `computed(column)` of a keyed operator.
pub(crate) fn computed(column: Bytes) -> Bytes {
    [words(&[2]), column].concat()
}

impl Image {
    pub(crate) fn table(&mut self, table: TableText<'_>) -> Bytes {
        let fields: Vec<Bytes> = table.fields.iter().map(|&field| self.field(field)).collect();
        let initial: Vec<Bytes> = table.initial.iter().map(|&(case, value)| scalar(case, value)).collect();
        let (is_set, after, domain) = match table.ttl {
            None => (0, 0, 0),
            Some((after, domain)) => (1, after, domain),
        };
        [
            self.text(table.name),
            words(&[table.kind, table.sort_key]),
            self.records(&fields),
            self.records(&initial),
            words(&[is_set, 0]),
            after.to_le_bytes().to_vec(),
            words(&[domain, 0, table.version]),
            self.list(table.migrates_from.len(), &words(table.migrates_from)),
            words(&[0]),
        ]
        .concat()
    }

    /// A kind of timer; domain 0 is event time.
    pub(crate) fn timer(&mut self, name: &str, domain: u32) -> Bytes {
        [self.text(name), words(&[domain])].concat()
    }

    /// `ok(description)` of a keyed operator.
    pub(crate) fn keyed_description(
        &mut self,
        inputs: &[Bytes],
        ports: &[Bytes],
        tables: &[Bytes],
        timers: &[Bytes],
    ) -> u32 {
        let answer = [
            words(&[0]),
            self.records(inputs),
            self.records(ports),
            self.records(tables),
            self.records(timers),
        ]
        .concat();
        self.put(&answer)
    }

    pub(crate) fn keyed_output(&mut self, port: u32, from: &From<'_>, kinds: &[u8], columns: &[Bytes]) -> Bytes {
        let origins = match from {
            From::Events(events) => [words(&[0]), self.buffer(&words(events)), words(&[0, 0])].concat(),
            From::Fired(keys, times) => {
                [words(&[1]), self.buffer(&words(keys)), self.buffer(&int64_bytes(times))].concat()
            }
        };
        [words(&[port]), origins, self.buffer(kinds), self.records(columns)].concat()
    }

    fn keys_of(&mut self, keys: Option<&[u32]>) -> Bytes {
        match keys {
            None => words(&[0, 0, 0]),
            Some(keys) => [words(&[1]), self.buffer(&words(keys))].concat(),
        }
    }

    /// An update; `keys`: `None` for all.
    pub(crate) fn update(&mut self, table: u32, keys: Option<&[u32]>, columns: &[(u32, Bytes)]) -> Bytes {
        let columns: Vec<Bytes> = columns
            .iter()
            .map(|(number, column)| [words(&[*number]), column.clone()].concat())
            .collect();
        [words(&[table]), self.keys_of(keys), self.records(&columns)].concat()
    }

    pub(crate) fn clear(&mut self, table: u32, keys: Option<&[u32]>) -> Bytes {
        [words(&[table]), self.keys_of(keys)].concat()
    }

    /// `ok(outputs)` of a keyed operator.
    pub(crate) fn keyed_answer(&mut self, answer: &AnswerText<'_>) -> u32 {
        let (keys, kinds, tags, times, cancel) = answer.timers;
        let answer = [
            words(&[0]),
            self.records(&answer.outputs),
            self.records(&answer.updates),
            self.records(&answer.clears),
            self.buffer(&words(keys)),
            self.buffer(&words(kinds)),
            self.buffer(&int64_bytes(tags)),
            self.buffer(&int64_bytes(times)),
            self.buffer(cancel),
            self.records(&answer.rejects),
        ]
        .concat();
        self.put(&answer)
    }
}

/// `a: int64, s: utf8?, k: utf8`
pub(crate) fn in_schema() -> Vec<Field> {
    vec![
        Field::required("a", DataType::Int64),
        Field::nullable("s", DataType::Utf8),
        Field::required("k", DataType::Utf8),
    ]
}

/// `k: utf8?`: a null is a key.
pub(crate) fn key_schema() -> Vec<Field> {
    vec![Field::nullable("k", DataType::Utf8)]
}

/// The port `out`.
pub(crate) const OUT: [FieldText<'static>; 3] = [("a", "int64", false), ("key", "utf8", true), ("n", "int64", false)];
/// The port `changes`, a changelog.
pub(crate) const CHANGES: [FieldText<'static>; 1] = [("n", "int64", true)];

/// The port `strict`, which takes no null.
pub(crate) const STRICT: [FieldText<'static>; 1] = [("k", "utf8", false)];

/// The tables: `total`, `latest`, `lines`, `days`.
pub(crate) const TABLES: [TableText<'static>; 4] = [
    TableText {
        fields: &[("sum", "int64", false), ("note", "utf8", true)],
        initial: &[(2, 0), (0, 0)],
        ..NO_TABLE
    },
    TableText {
        name: "latest",
        kind: 1,
        fields: &[("v", "float64", false), ("w", "int64", true)],
        initial: &[(3, 0), (0, 0)],
        ..NO_TABLE
    },
    TableText {
        name: "lines",
        kind: 2,
        fields: &[("line", "utf8", false)],
        initial: &[],
        ..NO_TABLE
    },
    TableText {
        name: "days",
        kind: 3,
        sort_key: 1,
        fields: &[("day", "timestamp", false), ("n", "int64", false)],
        initial: &[],
        ..NO_TABLE
    },
];

impl Guest {
    /// The operator that most tests are about, of two inputs where `inputs` is 2: it needs `a` and event times.
    pub(crate) fn keyed(inputs: usize) -> Self {
        let mut guest = Self::new("keyed", "keyed-operator");
        let image = &mut guest.image;
        let inputs: Vec<Bytes> = (0..inputs).map(|_| image.requirement(&["a"], true)).collect();
        let ports = [
            image.port("out", &OUT, false),
            image.port("changes", &CHANGES, true),
            image.port("strict", &STRICT, false),
        ];
        let tables = TABLES.map(|table| image.table(table));
        let timers = [image.timer("alarm", 0), image.timer("tick", 1)];
        let description = image.keyed_description(&inputs, &ports, &tables, &timers);
        let done = image.done();
        guest
            .function("describe", 6, &constant(description))
            .function("open", 6, &constant(done));
        guest
    }

    /// Answers with buffers of the call: row i of a `binary` column is the i-th, from event 0. A path leads from the call's
    /// record to a buffer's address: the offsets of the pointers that are followed, and the buffer's own.
    pub(crate) fn probing(paths: &[&[u32]]) -> Self {
        Self::probing_from("(local.get $0)", |_, _| String::new(), paths)
    }

    /// Calls functions of `state` and answers with buffers of what they gave. `calls` is told where that goes.
    pub(crate) fn asking(calls: impl FnOnce(&mut Image, u32) -> String, paths: &[&[u32]]) -> Self {
        Self::probing_from("", calls, paths)
    }

    fn probing_from(base: &str, calls: impl FnOnce(&mut Image, u32) -> String, paths: &[&[u32]]) -> Self {
        let mut guest = Self::new("keyed", "keyed-operator");
        let image = &mut guest.image;
        let given = image.put(&[0; 64]);
        let base = if base.is_empty() {
            constant(given)
        } else {
            base.to_owned()
        };
        let mut body = calls(image, given);
        let inputs = [image.requirement(&["a", "s"], true)];
        let ports = [image.port("out", &[("bytes", "binary", false)], false)];
        let tables = TABLES.map(|table| image.table(table));
        let timer = image.timer("alarm", 0);
        let description = image.keyed_description(&inputs, &ports, &tables, &[timer]);
        let done = image.done();
        let offsets = image.put(&vec![0; (paths.len() + 1) * 4]);
        let data = image.put(&vec![0; 1 << 16]);
        let column = [
            words(&[0, 0, 0, offsets, paths.len() as u32 * 4 + 4, data]),
            words(&[0]),
        ]
        .concat();
        let columns = image.put(&computed(column));
        let events = image.buffer(&vec![0; paths.len() * 4]);
        let output = [words(&[0, 0]), events, words(&[0, 0, 0, 0]), words(&[columns, 1])].concat();
        let answer = image.keyed_answer(&AnswerText {
            outputs: vec![output],
            ..AnswerText::default()
        });
        for (row, path) in paths.iter().enumerate() {
            let (last, through) = path.split_last().unwrap();
            let base = through
                .iter()
                .fold(base.clone(), |at, offset| format!("(i32.load offset={offset} {at})"));
            let at = format!("(i32.load offset={last} {base})");
            let len = format!("(i32.load offset={} {base})", last + 4);
            write!(
                body,
                "(memory.copy (i32.add (i32.const {data}) (local.get $i)) {at} {len})
                 (local.set $i (i32.add (local.get $i) {len}))
                 (i32.store (i32.const {}) (local.get $i))\n",
                offsets as usize + (row + 1) * 4
            )
            .unwrap();
        }
        // A column's data begins 20 bytes into its record, which begins 4 bytes into `computed`.
        write!(
            body,
            "(i32.store (i32.const {}) (local.get $i)) (i32.const {answer})",
            columns + 28
        )
        .unwrap();
        guest
            .function("describe", 6, &constant(description))
            .function("open", 6, &constant(done))
            .function("process", 1, &body);
        guest
    }
}

/// What an operator with keys is opened with.
pub(crate) struct Opening<'a> {
    pub(crate) inputs: Vec<InputDescription>,
    pub(crate) limits: Limits,
    pub(crate) isolation: Isolation,
    pub(crate) blames_rows: bool,
    /// `None`: all of every port's columns.
    pub(crate) live: Option<Vec<Vec<bool>>>,
    pub(crate) state: &'a Rc<RefCell<Recorder>>,
}

impl<'a> Opening<'a> {
    pub(crate) fn new(state: &'a Rc<RefCell<Recorder>>) -> Self {
        Self {
            inputs: vec![input(&in_schema())],
            limits: Limits::default(),
            isolation: Isolation::Instance,
            blames_rows: false,
            live: None,
            state,
        }
    }

    pub(crate) fn keyed(&self, bench: &Bench, wasm: &[u8]) -> Result<Box<dyn Keyed>, Fault> {
        let (plugin, description) = describe(bench, wasm, &self.inputs).unwrap();
        let all = || description.outputs.iter().map(|o| vec![true; o.schema.len()]).collect();
        let placement = Placement {
            node: &NodeId::new("op"),
            plugin: &plugin,
            config: "{}",
            limits: &self.limits,
            fault_may_blame_rows: self.blames_rows,
            isolation: self.isolation,
        };
        bench.host.keyed(
            &placement,
            &self.inputs,
            &key_schema(),
            &description,
            &self.live.clone().unwrap_or_else(all),
            Rc::clone(self.state) as Rc<RefCell<dyn StateAccess>>,
        )
    }
}

pub(crate) fn describe(
    bench: &Bench,
    wasm: &[u8],
    inputs: &[InputDescription],
) -> Result<(wasmill_core::plugin::PluginRef, KeyedDescription), PluginError> {
    let plugin = bench.load(wasm)?;
    let description = Describer::keyed(&bench.host, &plugin, "{}", inputs, &key_schema(), &Limits::default())?;
    Ok((plugin, description))
}

pub(crate) fn texts(values: &[Option<&str>]) -> Column {
    let values: Vec<Value<'_>> = values.iter().map(|v| v.map_or(Value::Null, Value::Utf8)).collect();
    column(DataType::Utf8, &values)
}

/// Four rows, `a` of which is 1 to 4, at the times 1000 to 1003.
pub(crate) fn rows() -> Batch {
    batch(vec![
        ints(&[1, 2, 3, 4]),
        texts(&[Some("p"), None, Some("qq"), Some("")]),
        texts(&[Some("x"), Some("x"), None, Some("zz")]),
    ])
}

/// Three keys: `x` with rows 0 and 1, null with row 2, `zz` with a timer and row 3.
pub(crate) fn call() -> KeyedCall {
    KeyedCall {
        keys: vec![texts(&[Some("x"), None, Some("zz")])],
        inputs: vec![rows()],
        timers: DueTimers {
            kind: vec![0],
            tag: vec![7],
            time: vec![50],
        },
        events: Events {
            offsets: vec![0, 2, 3, 5],
            source: vec![0, 0, 0, TIMER_SOURCE, 0],
            index: vec![0, 1, 2, 0, 3],
        },
        until: vec![100, 100, 60],
        processing_time: 5000,
        end_of_input: false,
        is_last_try: false,
        states: vec![vec![ints(&[10, 20, 30]), texts(&[Some("n"), None, None])]],
    }
}

/// The same without the timer.
pub(crate) fn call_of_rows() -> KeyedCall {
    let mut call = call();
    call.timers = DueTimers::default();
    call.events = Events {
        offsets: vec![0, 2, 3, 4],
        source: vec![0; 4],
        index: vec![0, 1, 2, 3],
    };
    call
}
