//! The root of the file.

use wasmill_core::key::KEY_GROUPS_DEFAULT;
use wasmill_core::plan::{ControlSettings, EngineSettings};
use wasmill_core::time::Micros;

use super::checkpoint::{self, Checkpoint};
use super::delivery::{self, DeliverySpec};
use super::node::Node;
use super::restart::{self, Restart};
use super::state::{self, State};
use super::{control, engine, operator, sink, source};
use crate::document::{Item, Table, Value};
use crate::place::{Place, Word};
use crate::problems::Problems;
use crate::reader::Reader;

/// A topology as written.
pub(crate) struct Topology {
    /// `name`.
    pub(crate) name: Option<String>,
    /// `[engine]`, with `max-parallelism` as its key groups.
    pub(crate) engine: EngineSettings,
    /// `[state]`.
    pub(crate) state: State,
    /// `delivery`: that of sinks that do not say.
    pub(crate) delivery: Option<DeliverySpec>,
    /// `[checkpoint]`.
    pub(crate) checkpoint: Option<Checkpoint>,
    /// `[restart]`.
    pub(crate) restart: Option<Restart>,
    /// `[control]`.
    pub(crate) control: Option<ControlSettings>,
    /// `stop-timeout`.
    pub(crate) stop_timeout: Option<Micros>,
    /// Where those of these stand that the file has, by key.
    pub(crate) running: Vec<(&'static str, Place)>,
    /// `dead-letter`: where nodes that name none themselves send theirs.
    pub(crate) dead_letter: Option<Word>,
    /// Keys that the root does not know.
    pub(crate) unknown_keys: Vec<String>,
    /// Sources, operators and sinks, in the order of the file within each.
    pub(crate) nodes: Vec<Node>,
}

/// Reads the root.
pub(crate) fn read(table: &Table, problems: &Problems) -> Topology {
    let reader = Reader::new(table, "the topology", problems);
    let name = reader.word("name").map(|word| word.text);
    let dead_letter = reader.word("dead-letter");
    let key_groups = reader.count("max-parallelism", 1..=32_768);
    let mut engine = engine::read(&reader);
    engine.key_groups = key_groups.map_or(KEY_GROUPS_DEFAULT, |groups| groups as u16);
    let state = state::read(&reader);
    let delivery = delivery::read(&reader);
    let checkpoint = checkpoint::read(&reader);
    let restart = restart::read(&reader);
    let control = control::read(&reader);
    let stop_timeout = reader.duration_above_zero(
        "stop-timeout",
        "a stop writes a checkpoint, which takes some time; the default is \"30s\", and a second Ctrl-C stops at once",
    );
    let running = ["checkpoint", "restart", "control", "stop-timeout"]
        .into_iter()
        .filter_map(|key| Some((key, reader.entry(key)?.place.clone())))
        .collect();
    let mut nodes = Vec::new();
    nodes.extend(tables(&reader, "source").map(|table| source::read(table, problems)));
    nodes.extend(tables(&reader, "operator").map(|table| operator::read(table, problems)));
    nodes.extend(tables(&reader, "sink").map(|table| sink::read(table, problems)));
    reader.finish();
    let unknown_keys = reader.rest().entries.into_iter().map(|entry| entry.key).collect();
    Topology {
        name,
        engine,
        state,
        delivery,
        checkpoint,
        restart,
        control,
        stop_timeout,
        running,
        dead_letter,
        unknown_keys,
        nodes,
    }
}

/// The tables of a list such as `[[source]]`.
fn tables<'d>(reader: &Reader<'d>, key: &'static str) -> impl Iterator<Item = &'d Table> {
    let items = match reader.get(key) {
        None => &[],
        Some(Item {
            value: Value::Array(items),
            ..
        }) => items.as_slice(),
        Some(item) => {
            reader.wrong_type(key, item, &format!("a list of tables, each written as [[{key}]]"));
            std::slice::from_ref(item)
        }
    };
    for item in items {
        if !matches!(item.value, Value::Table(_)) {
            reader.wrong_type(key, item, &format!("a list of tables, each written as [[{key}]]"));
        }
    }
    items.iter().filter_map(|item| match &item.value {
        Value::Table(table) => Some(table),
        _ => None,
    })
}
