//! Asks whether the parts of a topology fit one another, and makes the plan.
//!
//! Nodes are taken in the order in which rows flow, so that each knows the columns of its inputs. A node with an error
//! gives no columns, and what reads it is checked only as far as it can be without them: one mistake is told once.

mod checkpoint;
mod delivery;
mod function;
mod join;
mod keys;
mod lookup;
mod plugin;
mod sink;
mod small;
mod source;
mod wasm;
mod watermark;
mod window;
mod wiring;

use std::collections::BTreeMap;
use std::path::Path;
use std::sync::Arc;

use wasmill_connector_api::config::Folder;
use wasmill_connector_api::registry::Registry;
use wasmill_connector_api::source::Replay;
use wasmill_core::diagnostic::Diagnostic;
use wasmill_core::id::{NodeId, NodeIndex, StreamIndex};
use wasmill_core::plan::{self, Irreproducible, Plan, Stream, dead_letter_schema};
use wasmill_core::plugin::Describer;
use wasmill_core::schema::{Field, Schema};
use wasmill_core::window::Late;

use crate::codes;
use crate::place::{At as _, Place};
use crate::problems::{Problems, did_you_mean, list};
use crate::projection;
use crate::reproducible;
use crate::spec::{Kind, LateSpec, Node, Reference, Topology};

/// The port of dead letters, of every node that has them.
const DEAD_LETTER_PORT: &str = "dead-letter";
/// The port of a window's late rows.
const LATE_PORT: &str = "late";

/// What a check asks.
pub(crate) struct World<'a> {
    pub(crate) registry: &'a Registry,
    pub(crate) describer: &'a dyn Describer,
    pub(crate) folder: &'a Path,
    pub(crate) problems: &'a Problems,
    /// Which streams are looked at besides, by name; `None` for a topology that runs.
    pub(crate) looks_at: Option<&'a dyn Fn(&str) -> bool>,
}

impl World<'_> {
    fn looks_at(&self, stream: &str) -> bool {
        self.looks_at.is_some_and(|looks_at| looks_at(stream))
    }
}

/// Checks a topology. `None` after an error.
pub(crate) fn check(topology: &Topology, name: &str, world: &World<'_>) -> Option<Plan> {
    let wiring = wiring::wire(topology, world.looks_at.is_none(), world.problems);
    let mut checker = Checker {
        topology,
        world,
        wiring: &wiring,
        folder: Folder::new(world.folder),
        nodes: Vec::new(),
        streams: Vec::new(),
        ports: BTreeMap::new(),
        targets: Vec::new(),
        read: Vec::new(),
        replays: Vec::new(),
        unsteady: Vec::new(),
    };
    for &at in &wiring.order {
        checker.node(at);
    }
    checker.overwritten();
    checker.unread();
    let checkpoint = checker.running();
    checker.delivery_without_checkpoints();
    if world.problems.any() {
        return None;
    }
    let mut plan = Plan {
        name: topology.name.clone().unwrap_or_else(|| name.to_owned()),
        folder: world.folder.to_owned(),
        nodes: std::mem::take(&mut checker.nodes),
        streams: std::mem::take(&mut checker.streams),
        engine: topology.engine.clone(),
        state: state(&topology.state, &checker.folder),
        checkpoint,
        restart: topology
            .restart
            .as_ref()
            .map(|restart| restart.settings)
            .unwrap_or_default(),
        control: topology.control.clone(),
        stop_timeout: topology.stop_timeout.unwrap_or(plan::STOP_TIMEOUT_DEFAULT),
        irreproducible: Vec::new(),
    };
    observe(&mut plan, world);
    projection::project(&mut plan);
    plan.irreproducible = reproducible::judge(&plan, std::mem::take(&mut checker.unsteady));
    checker.held_back(&plan);
    checker.delivery_of_inputs(&plan);
    (!world.problems.any()).then_some(plan)
}

/// Of a topology that is looked at: makes the columns of what is looked at live, and asks for places.
fn observe(plan: &mut Plan, world: &World<'_>) {
    if world.looks_at.is_none() {
        return;
    }
    for stream in &mut plan.streams {
        if world.looks_at(&stream.name) {
            stream.live.fill(true);
            stream.order = true;
        }
    }
    for node in &plan.nodes {
        if matches!(node.kind, plan::NodeKind::Sink(_)) {
            for input in &node.inputs {
                plan.streams[input.0 as usize].order = true;
            }
        }
    }
}

struct Checker<'a> {
    topology: &'a Topology,
    world: &'a World<'a>,
    wiring: &'a wiring::Wiring,
    folder: Folder,
    nodes: Vec<plan::Node>,
    streams: Vec<Stream>,
    /// The ports of the nodes that could be planned, by their place in the specification.
    ports: BTreeMap<usize, Ports>,
    /// What sinks write to, with the connector.
    targets: Vec<(String, String, usize)>,
    /// What sources read, with the connector, by their place in the specification.
    read: Vec<(String, Vec<String>, usize)>,
    /// Whether what sources read can be read again, by their place in the specification.
    replays: Vec<(usize, Replay)>,
    /// Sources that may read differently on each run, as their connectors say.
    unsteady: Vec<Irreproducible>,
}

/// The ports of a planned node: the main one first.
struct Ports {
    names: Vec<Arc<str>>,
    streams: Vec<StreamIndex>,
    dead_letters: Option<StreamIndex>,
}

/// A node as planned, before it has its number.
struct Planned {
    inputs: Vec<StreamIndex>,
    /// The ports, the main one first.
    outputs: Vec<Port>,
    dead_letters: bool,
    kind: plan::NodeKind,
}

/// A port of a planned node.
struct Port {
    name: Arc<str>,
    schema: Schema,
    changelog: bool,
}

impl Port {
    /// A port whose rows are all new.
    fn new(name: &str, schema: Schema) -> Self {
        Self {
            name: name.into(),
            schema,
            changelog: false,
        }
    }

    /// The same port, a changelog where this stream is one.
    fn like(self, stream: &Stream) -> Self {
        Self {
            changelog: stream.changelog,
            ..self
        }
    }
}

impl<'a> Checker<'a> {
    fn problems(&self) -> &'a Problems {
        self.world.problems
    }

    fn node(&mut self, at: usize) {
        let node = &self.topology.nodes[at];
        let errors = self.problems().errors();
        let inputs = self.inputs(at, node);
        let planned = match &node.kind {
            Kind::Source(source) => self.source(at, node, source),
            Kind::Wasm(wasm) => self.wasm(at, node, wasm, inputs),
            Kind::Window(window) => self.window(at, node, window, inputs),
            Kind::Join(join) => self.join(at, node, join, inputs),
            Kind::Lookup(lookup) => self.lookup(at, node, lookup, inputs),
            Kind::Union => self.union(node, inputs),
            Kind::Deduplicate(deduplicate) => self.deduplicate(at, node, deduplicate, inputs),
            Kind::Top(top) => self.top(at, node, top, inputs),
            Kind::Split(split) => self.split(node, split, inputs),
            Kind::Sink(sink) => self.sink(at, node, sink, inputs),
            Kind::Unknown => None,
        };
        let sound = node.sound && self.problems().errors() == errors;
        if let (Some(planned), Some(id), true) = (planned, &node.id, sound) {
            self.add(at, id, planned);
        }
    }

    fn add(&mut self, at: usize, id: &NodeId, planned: Planned) {
        let producer = NodeIndex(self.nodes.len() as u32);
        let mut names = Vec::new();
        let mut outputs = Vec::new();
        for (number, port) in planned.outputs.into_iter().enumerate() {
            let Port {
                name,
                schema,
                changelog,
            } = port;
            let stream = if number == 0 {
                id.to_string()
            } else {
                format!("{id}.{name}")
            };
            let stream = self.stream(producer, &stream, schema);
            self.streams[stream.0 as usize].changelog = changelog;
            outputs.push(stream);
            names.push(name);
        }
        let dead_letters = planned.dead_letters.then(|| {
            let stream = format!("{id}.{DEAD_LETTER_PORT}");
            self.stream(producer, &stream, dead_letter_schema())
        });
        self.ports.insert(
            at,
            Ports {
                names,
                streams: outputs.clone(),
                dead_letters,
            },
        );
        let renamed_from = self.topology.nodes[at].renamed_from.iter();
        self.nodes.push(plan::Node {
            id: id.clone(),
            inputs: planned.inputs,
            outputs,
            dead_letters,
            renamed_from: renamed_from.map(|word| NodeId::new(word.text.as_str())).collect(),
            isolation: self.topology.nodes[at].kind.isolation(),
            kind: planned.kind,
        });
    }

    fn stream(&mut self, producer: NodeIndex, name: &str, schema: Schema) -> StreamIndex {
        let index = StreamIndex(self.streams.len() as u32);
        self.streams.push(Stream {
            name: name.into(),
            producer,
            live: vec![false; schema.len()],
            schema,
            order: false,
            changelog: false,
        });
        index
    }

    fn schema(&self, stream: StreamIndex) -> &Schema {
        &self.streams[stream.0 as usize].schema
    }

    /// The streams that a node reads; `None` where one of them could not be planned.
    fn inputs(&self, at: usize, node: &Node) -> Option<Vec<StreamIndex>> {
        if self.wiring.dead_letter_feeds.contains_key(&at) {
            let feeds = &self.wiring.dead_letter_feeds[&at];
            return Some(
                feeds
                    .iter()
                    .filter_map(|feed| self.ports.get(feed)?.dead_letters)
                    .collect(),
            );
        }
        let streams: Vec<_> = node.inputs.iter().map(|input| self.input(input)).collect();
        streams.into_iter().collect()
    }

    fn input(&self, reference: &Reference) -> Option<StreamIndex> {
        let producer = *self.wiring.by_id.get(reference.node.as_str())?;
        let ports = self.ports.get(&producer)?;
        let Some(port) = &reference.port else {
            return ports.streams.first().copied();
        };
        let at = ports.names.iter().skip(1).position(|name| **name == **port);
        let found = match at {
            Some(at) => ports.streams.get(at + 1).copied(),
            None if port == DEAD_LETTER_PORT => ports.dead_letters,
            None => None,
        };
        if found.is_none() {
            self.unknown_port(producer, reference, ports);
        }
        found
    }

    fn unknown_port(&self, producer: usize, reference: &Reference, ports: &Ports) {
        let node = &self.topology.nodes[producer];
        let port = reference.port.as_deref().unwrap_or_default();
        let main = ports.names.first().is_some_and(|main| **main == *port);
        let help = match &node.kind {
            kind if port.starts_with(LATE_PORT) && kind.late().is_some() => {
                format!(
                    "write `late = \"port\"` at `{}`, or leave its `late` out",
                    reference.node
                )
            }
            _ if main => format!(
                "the main output has no port name: write `input = \"{}\"`",
                reference.node
            ),
            _ if port == DEAD_LETTER_PORT => "nothing of this node becomes a dead letter".to_owned(),
            _ if ports.names.len() <= 1 => format!("write `input = \"{}\"`; it has no other output", reference.node),
            _ => {
                let sides: Vec<String> = ports.names[1..]
                    .iter()
                    .map(|name| format!("{}.{name}", reference.node))
                    .collect();
                did_you_mean(
                    &format!("{}.{port}", reference.node),
                    &format!("besides `{}` there are", reference.node),
                    sides.iter().map(String::as_str),
                )
            }
        };
        self.problems().push(
            Diagnostic::error(codes::UNKNOWN_PORT, format!("{} has no port `{port}`", node.name))
                .at(&reference.place, "no such port")
                .at(&node.id_place, "of this node")
                .help(help),
        );
    }

    /// The place of a column in a schema, or a problem with the name.
    fn column(&self, schema: &Schema, word: &crate::place::Word, of: &str) -> Option<usize> {
        let found = schema.index_of(&word.text);
        if found.is_none() {
            self.problems().error(
                codes::UNKNOWN_COLUMN,
                format!("{of} has no column `{}`", word.text),
                &word.place,
                did_you_mean(
                    &word.text,
                    "the columns are",
                    schema.fields().iter().map(|field| &*field.name),
                ),
            );
        }
        found
    }

    /// Whether a node's dead letters are taken by someone.
    fn takes_dead_letters(&self, at: usize) -> bool {
        let id = self.topology.nodes[at].id.as_ref();
        self.wiring.dead_letter_sinks.contains_key(&at)
            || self.wiring.reads(at, DEAD_LETTER_PORT)
            || id.is_some_and(|id| self.world.looks_at(&format!("{id}.{DEAD_LETTER_PORT}")))
    }

    /// Reports a policy that needs a sink for dead letters, where none is named.
    fn needs_dead_letters(&self, at: usize, what: &str, place: &Place) {
        let node = &self.topology.nodes[at];
        // One that is named and cannot be used was reported with its name.
        if self.takes_dead_letters(at) || node.dead_letter.is_some() || self.topology.dead_letter.is_some() {
            return;
        }
        let sinks: Vec<String> = self
            .topology
            .nodes
            .iter()
            .filter(|node| matches!(node.kind, Kind::Sink(_)) && !node.has_input)
            .filter_map(|node| Some(node.id.as_ref()?.to_string()))
            .collect();
        let help = match sinks.as_slice() {
            [] => "add a sink without `input`, and name it here: `dead-letter = \"rejected\"`".to_owned(),
            sinks => format!(
                "name one, as in `dead-letter = \"{}\"`; there are {}",
                sinks[0],
                list(sinks)
            ),
        };
        self.problems().push(
            Diagnostic::error(
                codes::NO_DEAD_LETTER,
                format!("{what} of {} become dead letters, but no sink takes them", node.name),
            )
            .at(place, "")
            .help(help),
        );
    }

    /// Warns of nodes whose rows nobody reads.
    fn unread(&self) {
        for (at, node) in self.topology.nodes.iter().enumerate() {
            let is_known = |id: &NodeId| self.wiring.by_id.get(id.as_str()) == Some(&at);
            let is_read = matches!(node.kind, Kind::Sink(_) | Kind::Unknown);
            if is_read || !node.sound || !node.id.as_ref().is_some_and(is_known) {
                continue;
            }
            if !self.wiring.reads_main(at) {
                let which = if self.wiring.reads_any(at) {
                    "the main output of "
                } else {
                    ""
                };
                self.problems().push(
                    Diagnostic::warning(codes::UNREAD, format!("nobody reads {which}{}", node.name))
                        .at(&node.id_place, "its rows are dropped")
                        .help("let a sink or an operator read it, or take it out"),
                );
            }
            let reads_late = [LATE_PORT, join::LATE_PORTS[0], join::LATE_PORTS[1]]
                .iter()
                .any(|port| self.wiring.reads(at, port));
            if let Some(LateSpec { late: Late::Port, word }) = node.kind.late()
                && !reads_late
            {
                self.problems().push(
                    Diagnostic::warning(codes::UNREAD, format!("nobody reads the late rows of {}", node.name))
                        .at(&word.place, "they go to a port that nobody reads")
                        .help("let a sink read it, or write `late = \"drop\"`"),
                );
            }
        }
    }
}

/// Where state is kept: a folder of the topology is relative to its file.
fn state(spec: &crate::spec::State, folder: &Folder) -> plan::StateSettings {
    let default = plan::StateSettings::default();
    plan::StateSettings {
        backend: spec.backend,
        memory_bytes: spec.memory_bytes.unwrap_or(default.memory_bytes),
        path: spec.path.as_ref().map(|path| folder.resolve(path)),
    }
}

/// Fields with their places, of which no two may have one name.
struct Fields<'a> {
    fields: Vec<Field>,
    places: Vec<Place>,
    problems: &'a Problems,
}

impl<'a> Fields<'a> {
    fn new(problems: &'a Problems) -> Self {
        Self {
            fields: Vec::new(),
            places: Vec::new(),
            problems,
        }
    }

    fn push(&mut self, field: Field, place: &Place, earlier_is: &str) {
        let Some(earlier) = self.fields.iter().position(|earlier| earlier.name == field.name) else {
            self.fields.push(field);
            self.places.push(place.clone());
            return;
        };
        let mut diagnostic = Diagnostic::error(
            codes::DUPLICATE_COLUMN,
            format!("two columns are named `{}`", field.name),
        )
        .at(place, "the name is taken");
        if self.places[earlier] != *place {
            diagnostic = diagnostic.at(&self.places[earlier], earlier_is);
        }
        self.problems.push(diagnostic.help("give one of them another name"));
    }

    fn finish(self) -> Schema {
        Schema::new(self.fields).expect("no two names are the same")
    }
}
