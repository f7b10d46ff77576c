//! Crossing with state: a call of many keys, a row each, whose states go into the plugin and come back changed. The keys
//! stay where they are between calls, so that nothing but the way is measured.
//!
//! The way alone is that of a plugin by hand (`keyed.wat`), which changes the columns of states where they lie; what the
//! SDK adds, which takes them apart key by key, stands beside it.

use std::cell::RefCell;
use std::hint::black_box;
use std::path::{Path, PathBuf};
use std::rc::Rc;

use arrow_array::{BinaryArray, Int64Array};
use arrow_buffer::{Buffer, OffsetBuffer, ScalarBuffer};
use wasmill_component::{Host, Isolation, Placement};
use wasmill_core::batch::{Batch, Hidden, Slot};
use wasmill_core::column::Column;
use wasmill_core::fault::{Domain, Fault};
use wasmill_core::id::NodeId;
use wasmill_core::keyed::{
    DueTimers, Events, Keyed, KeyedCall, KeyedOutputs, KeysOf, Lookup, MapRange, Page, StateAccess,
};
use wasmill_core::plugin::{Describer, Limits};
use wasmill_core::schema::{DataType, Field, Schema};
use wasmill_core::transform::InputDescription;
use wasmill_core::watermark::RowWatermarks;
use wit_component::{ComponentEncoder, StringEncoding, embed_component_metadata};
use wit_parser::Resolve;

use super::host;
use crate::Run;
use crate::failure::Failure;
use crate::report::Budget;
use crate::timing::{Cost, compare};

const NAME: &str = "boundary-keyed";
/// Keys of a call, each with a row.
const KEYS: usize = 1024;
/// Bytes of a key's state, and what a key may cost in a call.
const SIZES: [(usize, f64); 3] = [(8, 20.0), (100, 20.0), (1024, 150.0)];
/// The bytes of the count, which every state begins with.
const COUNT_BYTES: usize = 8;

/// Who made the plugin.
#[derive(Clone, Copy)]
enum Maker {
    Hand,
    Sdk,
}

/// Runs the bench.
pub(super) fn run(run: &mut Run<'_>) -> Result<(), Failure> {
    let makers = [(Maker::Hand, "the way alone"), (Maker::Sdk, "with the SDK")];
    let lines: Vec<_> = makers
        .into_iter()
        .flat_map(|maker| SIZES.map(|size| (maker, size)))
        .map(|((maker, about), (size, budget))| (maker, size, budget, format!("states of {size} bytes, {about}")))
        .filter(|(.., line)| run.wants(NAME, line))
        .collect();
    if lines.is_empty() {
        return Ok(());
    }
    run.report.bench(
        NAME,
        "a row of each key and its state into a plugin, and the state back; records are keys",
    );
    let host = host()?;
    for (maker, size, budget, line) in lines {
        let call = call(size);
        let mut guest = guest(&host, maker, size)?;
        assert_eq!(
            updated(&guest.process(&call)?),
            native(&call),
            "the plugin and the native way do the same"
        );
        let measured = compare(
            run.plan(),
            Cost::Thread,
            KEYS,
            || {
                black_box(guest.process(&call).expect("the plugin takes rows"));
            },
            || {
                black_box(native(&call));
            },
        );
        let budget = match maker {
            Maker::Hand => Budget::Nanos(budget),
            Maker::Sdk => Budget::None,
        };
        run.report.add(&line, &measured, budget);
    }
    Ok(())
}

/// The component of `keyed.wat`, with as many columns of state as the size takes.
fn by_hand(size: usize, folder: &Path) -> Result<PathBuf, Failure> {
    let columns = if size == COUNT_BYTES { "1" } else { "2" };
    let wat = include_str!("keyed.wat").replace("COLUMNS", columns);
    let made = |error: &dyn std::fmt::Display| Failure::new(format!("keyed.wat: {error}"));
    let mut module = wat::parse_str(wat).map_err(|error| made(&error))?;
    let mut resolve = Resolve::default();
    let contract = include_str!("../../../wit/operator.wit");
    let package = resolve
        .push_str("operator.wit", contract)
        .map_err(|error| made(&error))?;
    let world = resolve
        .select_world(&[package], Some("keyed"))
        .map_err(|error| made(&error))?;
    embed_component_metadata(&mut module, &resolve, world, StringEncoding::UTF8).map_err(|error| made(&error))?;
    let component = ComponentEncoder::default()
        .module(&module)
        .and_then(ComponentEncoder::encode)
        .map_err(|error| made(&error))?;
    let path = folder.join("keyed.wasm");
    std::fs::write(&path, component)?;
    Ok(path)
}

/// `plugins/bench-counter` for the smallest state, else `plugins/bench-state`.
fn by_sdk(size: usize) -> Result<PathBuf, Failure> {
    let name = if size == COUNT_BYTES {
        "bench-counter"
    } else {
        "bench-state"
    };
    let project = Path::new(env!("CARGO_MANIFEST_DIR")).join("../plugins").join(name);
    let settings = wasmill_plugin_build::Settings::discover()?;
    Ok(wasmill_plugin_build::build(&project, &settings, &mut |_| {})?.path)
}

fn guest(host: &Host, maker: Maker, size: usize) -> Result<Box<dyn Keyed>, Failure> {
    let folder = tempfile::tempdir()?;
    let (path, config) = match maker {
        Maker::Hand => (by_hand(size, folder.path())?, "{}".to_owned()),
        Maker::Sdk if size == COUNT_BYTES => (by_sdk(size)?, "{}".to_owned()),
        Maker::Sdk => (by_sdk(size)?, format!(r#"{{"shape":"copy","size":{size}}}"#)),
    };
    let (plugin, _) = host.load(&path)?;
    let key = [Field::required("key", DataType::Int64)];
    let inputs = [InputDescription {
        name: "rows".into(),
        schema: Schema::new(key.to_vec()).expect("one column has one name"),
        changelog: false,
    }];
    let limits = Limits::default();
    let description = Describer::keyed(host, &plugin, &config, &inputs, &key, &limits)?;
    let live: Vec<_> = description
        .outputs
        .iter()
        .map(|output| vec![true; output.schema.len()])
        .collect();
    let placement = Placement {
        node: &NodeId::new("bench"),
        plugin: &plugin,
        config: &config,
        limits: &limits,
        fault_may_blame_rows: false,
        isolation: Isolation::Instance,
    };
    Ok(host.keyed(
        &placement,
        &inputs,
        &key,
        &description,
        &live,
        Rc::new(RefCell::new(NoState)),
    )?)
}

fn int64s(values: impl Iterator<Item = i64>) -> Column {
    Column::Int64(values.collect::<Vec<_>>().into())
}

fn call(size: usize) -> KeyedCall {
    let keys = int64s((0..KEYS as i64).map(|key| key * 7919));
    let hidden = Hidden {
        times: (0..KEYS as i64).collect::<Vec<_>>().into(),
        watermarks: RowWatermarks::Constant(0),
        order: None,
        kinds: None,
    };
    let mut state = vec![int64s((0..KEYS as i64).map(|key| key % 100))];
    let rest = size - COUNT_BYTES;
    if rest > 0 {
        state.push(Column::Binary(filled(rest, |_| 0)));
    }
    KeyedCall {
        keys: vec![keys.clone()],
        inputs: vec![Batch::new(vec![Slot::Base(keys)], hidden)],
        timers: DueTimers::default(),
        events: Events {
            offsets: (0..=KEYS as u32).collect(),
            source: vec![0; KEYS],
            index: (0..KEYS as u32).collect(),
        },
        until: vec![-1; KEYS],
        processing_time: 0,
        end_of_input: false,
        is_last_try: false,
        states: vec![state],
    }
}

/// A value of so many equal bytes for each key.
fn filled(size: usize, byte: impl Fn(usize) -> u8) -> BinaryArray {
    let mut data = vec![0; size * KEYS];
    for (key, value) in data.chunks_exact_mut(size).enumerate() {
        value.fill(byte(key));
    }
    let offsets: Vec<i32> = (0..=KEYS as i32).map(|key| key * size as i32).collect();
    BinaryArray::new(
        OffsetBuffer::new(ScalarBuffer::from(offsets)),
        Buffer::from_vec(data),
        None,
    )
}

/// What the plugin does, without one.
fn native(call: &KeyedCall) -> Vec<Column> {
    let state = &call.states[0];
    let Column::Int64(counts) = &state[0] else {
        unreachable!("counts are integers")
    };
    let counts: Vec<i64> = counts.values().iter().map(|count| count + 1).collect();
    let rest = state.get(1).map(|rest| {
        let Column::Binary(rest) = rest else {
            unreachable!("the rest is bytes")
        };
        let size = rest.value_length(0) as usize;
        Column::Binary(filled(size, |key| counts[key].to_le_bytes()[0]))
    });
    let counts = Column::Int64(Int64Array::from(counts));
    [counts].into_iter().chain(rest).collect()
}

/// The state as the plugin leaves it.
fn updated(outputs: &KeyedOutputs) -> Vec<Column> {
    let all: Vec<u32> = (0..KEYS as u32).collect();
    let [update] = &outputs.updates[..] else {
        panic!("one update")
    };
    assert!(
        update.keys == KeysOf::All || update.keys == KeysOf::Some(all),
        "of all keys"
    );
    update.columns.iter().map(|(_, column)| column.clone()).collect()
}

/// Nothing but what comes with calls.
struct NoState;

fn none<T>() -> Result<T, Fault> {
    Err(Fault::fatal(Domain::Internal, "the bench keeps no state of this kind"))
}

impl StateAccess for NoState {
    fn begin(&mut self) {}

    fn get(&mut self, _: usize, _: &[u32], _: &[usize]) -> Result<Vec<Column>, Fault> {
        none()
    }

    fn put(&mut self, _: usize, _: &[u32], _: &[(usize, Column)]) -> Result<(), Fault> {
        none()
    }

    fn map_get(&mut self, _: usize, _: &[u32], _: &[Column]) -> Result<Lookup, Fault> {
        none()
    }

    fn map_put(&mut self, _: usize, _: &[u32], _: &[Column]) -> Result<(), Fault> {
        none()
    }

    fn map_remove(&mut self, _: usize, _: &[u32], _: &[Column]) -> Result<(), Fault> {
        none()
    }

    fn append(&mut self, _: usize, _: &[u32], _: &[Column]) -> Result<(), Fault> {
        none()
    }

    fn scan(&mut self, _: usize, _: u32, _: &MapRange) -> Result<Page, Fault> {
        none()
    }

    fn scan_list(&mut self, _: usize, _: u32, _: u64, _: u32) -> Result<Page, Fault> {
        none()
    }

    fn remove_range(&mut self, _: usize, _: u32, _: &MapRange) -> Result<u64, Fault> {
        none()
    }

    fn truncate(&mut self, _: usize, _: u32, _: u64) -> Result<(), Fault> {
        none()
    }
}
