//! Keys of text, nulls, columns that nobody reads, and inputs whose columns stand in other places.

use std::cell::RefCell;
use std::rc::Rc;

use wasmill_core::batch::{Batch, Hidden, Slot};
use wasmill_core::column::{Column, ColumnBuilder, Scalar, Value};
use wasmill_core::fault::Fault;
use wasmill_core::id::{KeyGroup, NodeId, NodeIndex};
use wasmill_core::keyed::{
    Keyed, KeyedCall, KeyedColumn, KeyedDescription, KeyedOutput, KeyedOutputs, KeysOf, Origins, TableDescription,
    TableKind, Update,
};
use wasmill_core::operator::{Operator, Step};
use wasmill_core::plan::{KeyedNode, OnFault, RowOrder, Stream};
use wasmill_core::plugin::{Limits, PluginRef};
use wasmill_core::schema::{DataType, Field, Schema};
use wasmill_core::time::Timestamp;
use wasmill_core::transform::{OutputDescription, Requirement};
use wasmill_core::watermark::RowWatermarks;
use wasmill_core::window::Late;
use wasmill_operators::{KeyedLimits, KeyedOperator, KeyedPorts, KeyedState};
use wasmill_state::Store;

const GROUPS: u16 = 8;
/// Where `number` stands in each input.
const NUMBER: [usize; 2] = [2, 0];

/// Gives what it kept of the key, a text, and keeps the text and the row's number.
struct Guest;

fn shown(value: Value<'_>) -> String {
    match value {
        Value::Null => "-".to_owned(),
        Value::Int64(number) => number.to_string(),
        Value::Utf8(text) => format!("'{text}'"),
        value => panic!("{value:?}"),
    }
}

fn texts<'t>(texts: impl IntoIterator<Item = Option<&'t str>>) -> Column {
    let mut builder = ColumnBuilder::new(DataType::Utf8, 0);
    for text in texts {
        builder.push(text.map_or(Value::Null, Value::Utf8));
    }
    builder.finish()
}

impl Keyed for Guest {
    fn process(&mut self, call: &KeyedCall) -> Result<KeyedOutputs, Fault> {
        let (mut told, mut kept) = (Vec::new(), Vec::new());
        for (key, stretch) in call.events.offsets.windows(2).enumerate() {
            let mut text = match call.states[0][0].value(key) {
                Value::Utf8(text) => text.to_owned(),
                _ => shown(call.keys[0].value(key)),
            };
            for event in stretch[0] as usize..stretch[1] as usize {
                let (input, row) = (call.events.source[event] as usize, call.events.index[event] as usize);
                text.push(' ');
                text.push_str(&shown(call.inputs[input].column(NUMBER[input]).value(row)));
                told.push(text.clone());
            }
            kept.push(text);
        }
        let told_of: Vec<u32> = (0..told.len() as u32).collect();
        Ok(KeyedOutputs {
            outputs: vec![KeyedOutput {
                port: 0,
                origins: Origins::Events(told_of),
                kinds: Vec::new(),
                columns: vec![
                    KeyedColumn::Key(0),
                    KeyedColumn::Computed(texts(told.iter().map(|text| Some(text.as_str())))),
                ],
            }],
            updates: vec![Update {
                table: 0,
                keys: KeysOf::All,
                columns: vec![(0, texts(kept.iter().map(|text| Some(text.as_str()))))],
            }],
            ..KeyedOutputs::default()
        })
    }
}

fn schema(fields: &[(&str, DataType)]) -> Schema {
    let fields = fields.iter().map(|&(name, data_type)| Field::nullable(name, data_type));
    Schema::new(fields.collect()).expect("the names differ")
}

fn stream(name: &str, fields: &[(&str, DataType)], absent: Option<usize>) -> Stream {
    Stream {
        name: name.into(),
        producer: NodeIndex(0),
        schema: schema(fields),
        live: (0..fields.len()).map(|column| Some(column) != absent).collect(),
        order: false,
        changelog: false,
    }
}

fn inputs() -> [Stream; 2] {
    use DataType::{Int64, Utf8};
    [
        stream("first", &[("name", Utf8), ("unread", Utf8), ("number", Int64)], Some(1)),
        stream("second", &[("number", Int64), ("name", Utf8)], None),
    ]
}

fn operator() -> KeyedOperator {
    use DataType::Utf8;
    let requirement = |number| Requirement {
        columns: vec![number],
        event_times: false,
        changelog: false,
    };
    let told = [("name", Utf8), ("told", Utf8)];
    let plan = KeyedNode {
        plugin: PluginRef {
            path: "guest.wasm".into(),
            digest: [0; 32],
        },
        config: "{}".into(),
        description: KeyedDescription {
            inputs: NUMBER.map(requirement).to_vec(),
            outputs: vec![OutputDescription {
                name: "main".into(),
                schema: schema(&told),
                changelog: false,
            }],
            tables: vec![TableDescription {
                name: "kept".into(),
                kind: TableKind::Value,
                sort_key: 0,
                schema: schema(&[("text", Utf8)]),
                initial: vec![Scalar::Null],
                ttl: None,
                version: 1,
                migrates_from: Vec::new(),
            }],
            timers: Vec::new(),
        },
        key: vec![vec![0], vec![1]],
        order: RowOrder::EventTime,
        late: Late::Drop,
        on_fault: OnFault::Fail,
        limits: Limits::default(),
    };
    let state: Rc<RefCell<KeyedState>> = KeyedState::new(&plan, vec![Utf8], Store::memory(), GROUPS, None);
    let (inputs, output) = (inputs(), stream("told", &told, None));
    let ports = KeyedPorts {
        inputs: &inputs.each_ref(),
        outputs: &[&output],
        late: 1,
        dead_letters: None,
    };
    let limits = KeyedLimits::default();
    KeyedOperator::new(NodeId::new("op"), &plan, &ports, Box::new(Guest), state, limits)
}

/// Rows of an input and their watermark: time, name and number.
fn batch(input: usize, watermark: i64, rows: &[(i64, Option<&str>, Option<i64>)]) -> Batch {
    let names = Slot::Base(texts(rows.iter().map(|row| row.1)));
    let mut numbers = ColumnBuilder::new(DataType::Int64, rows.len());
    for row in rows {
        numbers.push(row.2.map_or(Value::Null, Value::Int64));
    }
    let numbers = Slot::Base(numbers.finish());
    let slots = if input == 0 {
        vec![names, Slot::Absent, numbers]
    } else {
        vec![numbers, names]
    };
    let hidden = Hidden {
        times: rows.iter().map(|row| row.0).collect(),
        watermarks: RowWatermarks::Constant(watermark),
        order: None,
        kinds: None,
    };
    Batch::new(slots, hidden)
}

/// Time, name and text of what is told up to a watermark.
fn told(operator: &mut KeyedOperator, to: i64) -> Vec<(i64, String, String)> {
    let mut out: Vec<(usize, Batch)> = Vec::new();
    while operator.watermark(Timestamp(to), &mut out).expect("no fault") == Step::More {}
    let mut told = Vec::new();
    for (_, batch) in &out {
        for row in 0..batch.rows() {
            let text = |column| shown(batch.column(column).value(row));
            told.push((batch.time(row), text(0), text(1)));
        }
    }
    told.sort();
    told
}

#[test]
fn texts_and_nulls_are_keys_and_values_also_after_a_restore() {
    let mut first = operator();
    let mut none: Vec<(usize, Batch)> = Vec::new();
    let rows = [(4, Some("ann"), Some(1)), (2, None, Some(2)), (1, Some(""), None)];
    first.batch(0, batch(0, i64::MIN, &rows), &mut none).expect("no fault");
    let rows = [(3, Some("ann"), None), (5, None, Some(3)), (20, Some(""), Some(4))];
    first.batch(1, batch(1, i64::MIN, &rows), &mut none).expect("no fault");
    let of = |time, name: &str, text: &str| (time, name.to_owned(), format!("'{text}'"));
    let expect = [
        of(1, "''", "'' -"),
        of(2, "-", "- 2"),
        of(3, "'ann'", "'ann' -"),
        of(4, "'ann'", "'ann' - 1"),
        of(5, "-", "- 2 3"),
    ];
    assert_eq!(told(&mut first, 10), expect);

    let mut saved: Vec<(KeyGroup, Vec<u8>, Vec<u8>)> = Vec::new();
    first.save(&mut saved).expect("saved");
    let mut second = operator();
    for (group, key, value) in &saved {
        second.load(*group, key, value).expect("loaded");
    }
    let rows = [(21, None, None), (22, Some("ann"), Some(7))];
    second.batch(0, batch(0, 10, &rows), &mut none).expect("no fault");
    let expect = [
        of(20, "''", "'' - 4"),
        of(21, "-", "- 2 3 -"),
        of(22, "'ann'", "'ann' - 1 7"),
    ];
    assert_eq!(told(&mut second, i64::MAX), expect);
    assert!(none.is_empty());
}
