//! Keyed state: an operator with a native guest and with a Wasm one, beside a loop over a hash map.
//!
//! Each row adds to its key's count and sum and gives both. The native guest gets what a Wasm one would and returns the
//! same, so what is measured is everything but the crossing. The Wasm one, `plugins/bench-counter`, counts only.

use std::cell::RefCell;
use std::path::Path;
use std::rc::Rc;

use arrow_array::Int64Array;
use foldhash::fast::FixedState;
use hashbrown::HashMap;
use wasmill_component::{Host, Isolation, Placement};
use wasmill_core::batch::{Batch, Hidden, Slot};
use wasmill_core::column::{Column, Scalar};
use wasmill_core::fault::{Domain, Fault};
use wasmill_core::id::{NodeId, NodeIndex};
use wasmill_core::keyed::{
    Keyed, KeyedCall, KeyedColumn, KeyedDescription, KeyedOutput, KeyedOutputs, KeysOf, Origins, StateAccess,
    TableDescription, TableKind, Update,
};
use wasmill_core::operator::{Emit, Operator, Step};
use wasmill_core::plan::{KeyedNode, OnFault, RowOrder, Stream};
use wasmill_core::plugin::{Describer, Limits, PluginRef};
use wasmill_core::schema::{DataType, Field, Schema};
use wasmill_core::time::Timestamp;
use wasmill_core::transform::{InputDescription, OutputDescription, Requirement};
use wasmill_core::watermark::RowWatermarks;
use wasmill_core::window::Late;
use wasmill_operators::{KeyedLimits, KeyedOperator, KeyedPorts, KeyedState};
use wasmill_state::Store;

use crate::Run;
use crate::boundary::host;
use crate::failure::Failure;
use crate::random::Random;
use crate::report::Budget;
use crate::timing::{Cost, compare};

const NAME: &str = "keyed";
const ROWS: usize = 1_000_000;
const BATCH_ROWS: usize = 4096;
/// Batches between two watermarks.
const WATERMARK_EVERY: usize = 16;
/// Rows come out of order by up to this.
const JITTER: i64 = 2_000;
const GROUPS: u16 = 256;

/// Runs the bench.
pub(crate) fn run(run: &mut Run<'_>) -> Result<(), Failure> {
    let orders = [
        (RowOrder::Arrival, "arrival order"),
        (RowOrder::EventTime, "event-time order"),
    ];
    let sizes = [(100, "10^2"), (10_000, "10^4"), (1_000_000, "10^6")];
    let makers = [(Maker::Native, "native"), (Maker::Wasm, "Wasm")];
    let lines: Vec<_> = makers
        .iter()
        .flat_map(|maker| orders.iter().map(move |order| (maker, order)))
        .flat_map(|((maker, by), (order, about))| {
            sizes.map(|(keys, shown)| (*maker, *order, keys, format!("{by} guest, {about}, {shown} keys")))
        })
        .filter(|line| run.wants(NAME, &line.3))
        .collect();
    if lines.is_empty() {
        return Ok(());
    }
    run.report.bench(
        NAME,
        "a count and a sum by an integer key, given with each row; natively a hash map",
    );
    let host = host()?;
    for (maker, order, keys, line) in lines {
        let batches = batches(keys);
        let expected = by_hand(&batches, maker);
        let operator = |batches: &[Batch]| operator(keyed(order, maker, &host)?, batches);
        assert_eq!(operator(&batches)?, expected, "both ways give the same");
        let measured = compare(
            run.plan(),
            Cost::Thread,
            ROWS,
            || assert_eq!(operator(&batches).ok(), Some(expected), "the same again"),
            || assert_eq!(by_hand(&batches, maker), expected, "the same again"),
        );
        run.report.add(&line, &measured, Budget::None);
    }
    Ok(())
}

fn batches(keys: u64) -> Vec<Batch> {
    let mut random = Random::new(77);
    let mut made = 0;
    let mut batches = Vec::new();
    while made < ROWS {
        let rows = BATCH_ROWS.min(ROWS - made);
        let at = |row: usize| (made + row) as i64 * 10;
        let times: Vec<i64> = (0..rows)
            .map(|row| at(row) - random.below(JITTER as u64) as i64)
            .collect();
        let keys: Vec<i64> = (0..rows).map(|_| 1_000 + random.below(keys) as i64).collect();
        let hidden = Hidden {
            times: times.into(),
            watermarks: RowWatermarks::Constant(at(0) - JITTER),
            order: None,
            kinds: None,
        };
        // The same number for every row of a key: the sum of results does not depend on the order of rows.
        let numbers: Vec<i64> = keys.iter().map(|key| key % 7).collect();
        let slots = [keys, numbers].map(|values| Slot::Base(Column::Int64(Int64Array::new(values.into(), None))));
        batches.push(Batch::new(slots.into(), hidden));
        made += rows;
    }
    batches
}

/// Results of both ways: how many, and a sum over all of them.
type Results = (usize, u64);

fn mix(key: i64, count: i64, sum: i64) -> u64 {
    let mixed = key.cast_unsigned().wrapping_mul(0x9e37_79b9_7f4a_7c15)
        ^ count.cast_unsigned().wrapping_mul(0xd6e8_feb8_6659_fd93)
        ^ sum.cast_unsigned() << 7;
    mixed ^ mixed >> 29
}

fn integers(column: &Column) -> Result<&Int64Array, Fault> {
    match column {
        Column::Int64(values) => Ok(values),
        _ => Err(Fault::fatal(Domain::Internal, "a column of integers")),
    }
}

/// The guest: a count and a sum.
struct Guest;

impl Keyed for Guest {
    fn process(&mut self, call: &KeyedCall) -> Result<KeyedOutputs, Fault> {
        let numbers = call.inputs[0].column(1);
        let numbers = integers(&numbers)?.values();
        let mut counts = integers(&call.states[0][0])?.values().to_vec();
        let mut sums = integers(&call.states[0][1])?.values().to_vec();
        let events = call.events.index.len();
        let (mut out_counts, mut out_sums) = (Vec::with_capacity(events), Vec::with_capacity(events));
        let stretches = call.events.offsets.windows(2);
        for ((stretch, count), sum) in stretches.zip(&mut counts).zip(&mut sums) {
            for &row in &call.events.index[stretch[0] as usize..stretch[1] as usize] {
                *count += 1;
                *sum += numbers[row as usize];
                out_counts.push(*count);
                out_sums.push(*sum);
            }
        }
        let column = |values: Vec<i64>| Column::Int64(Int64Array::new(values.into(), None));
        let output = KeyedOutput {
            port: 0,
            origins: Origins::Events((0..events as u32).collect()),
            kinds: Vec::new(),
            columns: vec![
                KeyedColumn::Input(0),
                KeyedColumn::Computed(column(out_counts)),
                KeyedColumn::Computed(column(out_sums)),
            ],
        };
        let update = Update {
            table: 0,
            keys: KeysOf::All,
            columns: vec![(0, column(counts)), (1, column(sums))],
        };
        Ok(KeyedOutputs {
            outputs: vec![output],
            updates: vec![update],
            ..KeyedOutputs::default()
        })
    }
}

/// Takes results and sums them.
#[derive(Default)]
struct Sum(Results);

impl Emit for Sum {
    fn emit(&mut self, _: usize, batch: Batch) {
        let columns: Vec<_> = (0..batch.slots().len()).map(|column| batch.column(column)).collect();
        let value = |column: usize, row: usize| match columns.get(column).map(|column| &**column) {
            Some(Column::Int64(values)) => values.value(row),
            // The Wasm guest gives no sum.
            None => 0,
            Some(_) => unreachable!("the results are integers"),
        };
        self.0.0 += batch.rows();
        for row in 0..batch.rows() {
            let mixed = mix(value(0, row), value(1, row), value(2, row));
            self.0.1 = self.0.1.wrapping_add(mixed);
        }
    }
}

/// Who made the guest.
#[derive(Clone, Copy, PartialEq)]
enum Maker {
    Native,
    Wasm,
}

fn operator(mut keyed: KeyedOperator, batches: &[Batch]) -> Result<Results, Failure> {
    let mut out = Sum::default();
    for (number, batch) in batches.iter().enumerate() {
        keyed.batch(0, batch.clone(), &mut out)?;
        if number % WATERMARK_EVERY == 0 {
            advance(&mut keyed, Timestamp(batch.watermark_min()), &mut out)?;
        }
    }
    advance(&mut keyed, Timestamp::MAX, &mut out)?;
    Ok(out.0)
}

fn advance(keyed: &mut KeyedOperator, to: Timestamp, out: &mut Sum) -> Result<(), Failure> {
    while keyed.watermark(to, out)? == Step::More {}
    Ok(())
}

fn keyed(order: RowOrder, maker: Maker, host: &Host) -> Result<KeyedOperator, Failure> {
    match maker {
        Maker::Native => Ok(native(order)),
        Maker::Wasm => wasm(order, host),
    }
}

/// The operator around `plugins/bench-counter`.
fn wasm(order: RowOrder, host: &Host) -> Result<KeyedOperator, Failure> {
    const CONFIG: &str = r#"{"emit":true}"#;
    let project = Path::new(env!("CARGO_MANIFEST_DIR")).join("../plugins/bench-counter");
    let settings = wasmill_plugin_build::Settings::discover()?;
    let built = wasmill_plugin_build::build(&project, &settings, &mut |_| {})?;
    let (plugin, _) = host.load(&built.path)?;
    let input = input();
    let described = [InputDescription {
        name: input.name.clone(),
        schema: input.schema.clone(),
        changelog: false,
    }];
    let key = [Field::required("key", DataType::Int64)];
    let limits = Limits::default();
    let description = Describer::keyed(host, &plugin, CONFIG, &described, &key, &limits)?;
    let output = Stream {
        schema: description.outputs[0].schema.clone(),
        live: vec![true; description.outputs[0].schema.len()],
        ..stream("counts", &[])
    };
    let node = KeyedNode {
        plugin,
        config: CONFIG.to_owned(),
        description,
        key: vec![vec![0]],
        order,
        late: Late::Drop,
        on_fault: OnFault::Fail,
        limits,
    };
    let state = KeyedState::new(&node, vec![DataType::Int64], Store::memory(), GROUPS, None);
    let placement = Placement {
        node: &NodeId::new("counts"),
        plugin: &node.plugin,
        config: CONFIG,
        limits: &node.limits,
        fault_may_blame_rows: false,
        isolation: Isolation::Instance,
    };
    let live = [output.live.clone()];
    let shared = Rc::clone(&state) as Rc<RefCell<dyn StateAccess>>;
    let guest = host.keyed(&placement, &described, &key, &node.description, &live, shared)?;
    let ports = KeyedPorts {
        inputs: &[&input],
        outputs: &[&output],
        late: 1,
        dead_letters: None,
    };
    let limits = KeyedLimits::default();
    Ok(KeyedOperator::new(
        NodeId::new("counts"),
        &node,
        &ports,
        guest,
        state,
        limits,
    ))
}

fn input() -> Stream {
    stream("rows", &[("key", DataType::Int64), ("number", DataType::Int64)])
}

/// The operator around [`Guest`].
fn native(order: RowOrder) -> KeyedOperator {
    let results = [
        ("key", DataType::Int64),
        ("count", DataType::Int64),
        ("sum", DataType::Int64),
    ];
    let node = KeyedNode {
        plugin: PluginRef {
            path: "counts.wasm".into(),
            digest: [0; 32],
        },
        config: "{}".to_owned(),
        description: KeyedDescription {
            inputs: vec![Requirement {
                columns: vec![1],
                event_times: false,
                changelog: false,
            }],
            outputs: vec![OutputDescription {
                name: "main".into(),
                schema: schema(&results),
                changelog: false,
            }],
            tables: vec![TableDescription {
                name: "totals".into(),
                kind: TableKind::Value,
                sort_key: 0,
                schema: schema(&results[1..]),
                initial: vec![Scalar::Int64(0), Scalar::Int64(0)],
                ttl: None,
                version: 1,
                migrates_from: Vec::new(),
            }],
            timers: Vec::new(),
        },
        key: vec![vec![0]],
        order,
        late: Late::Drop,
        on_fault: OnFault::Fail,
        limits: Limits::default(),
    };
    let input = input();
    let output = stream("counts", &results);
    let ports = KeyedPorts {
        inputs: &[&input],
        outputs: &[&output],
        late: 1,
        dead_letters: None,
    };
    let state = KeyedState::new(&node, vec![DataType::Int64], Store::memory(), GROUPS, None);
    KeyedOperator::new(
        NodeId::new("counts"),
        &node,
        &ports,
        Box::new(Guest),
        state,
        KeyedLimits::default(),
    )
}

fn schema(columns: &[(&str, DataType)]) -> Schema {
    let fields = columns
        .iter()
        .map(|&(name, data_type)| Field::required(name, data_type));
    Schema::new(fields.collect()).expect("the names differ")
}

fn stream(name: &str, columns: &[(&str, DataType)]) -> Stream {
    Stream {
        name: name.into(),
        producer: NodeIndex(0),
        schema: schema(columns),
        live: vec![true; columns.len()],
        order: false,
        changelog: false,
    }
}

/// A hash map, and the results of each batch in columns.
fn by_hand(batches: &[Batch], maker: Maker) -> Results {
    let mut totals: HashMap<i64, (i64, i64), FixedState> = HashMap::default();
    let mut results: Results = (0, 0);
    for batch in batches {
        let (Slot::Base(Column::Int64(keys)), Slot::Base(Column::Int64(numbers))) =
            (&batch.slots()[0], &batch.slots()[1])
        else {
            unreachable!("both are integers")
        };
        let (mut counts, mut sums) = (Vec::with_capacity(batch.rows()), Vec::with_capacity(batch.rows()));
        for (&key, &number) in keys.values().iter().zip(numbers.values()) {
            let total = totals.entry(key).or_default();
            total.0 += 1;
            total.1 += number;
            counts.push(total.0);
            sums.push(if maker == Maker::Native { total.1 } else { 0 });
        }
        results.0 += counts.len();
        for ((&key, count), sum) in keys.values().iter().zip(counts).zip(sums) {
            results.1 = results.1.wrapping_add(mix(key, count, sum));
        }
    }
    results
}
