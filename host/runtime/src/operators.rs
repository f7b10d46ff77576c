//! From a node of a plan to its operator: one subtask, with its guests and its store.
//!
//! Sources and sinks are not here, since they reach outside; everything between them is, so that whoever holds a plan can
//! run its operators without the engine.

use std::cell::RefCell;
use std::collections::BTreeMap;
use std::rc::Rc;
use std::sync::Arc;

use wasmill_component::{Host, Isolation, Placement};
use wasmill_core::aggregate::Aggregate;
use wasmill_core::fault::{Domain, Fault};
use wasmill_core::id::{NodeId, NodeIndex, StreamIndex, WorkerIndex};
use wasmill_core::keyed::StateAccess;
use wasmill_core::operator::Operator;
use wasmill_core::plan::{
    AggregateFunction, AggregatePlugin, ContentNode, KeyedNode, Node, NodeKind, OnFault, Plan, Stream, TransformNode,
    WindowNode,
};
use wasmill_core::schema::{Field, Schema};
use wasmill_core::time::Micros;
use wasmill_core::transform::InputDescription;
use wasmill_core::window::{UnknownTimeZone, Windows};
use wasmill_operators::dead_letters::DeadLetters;
use wasmill_operators::{
    ContentPorts, Counters, Deduplicate, GuardedTransform, Join, KeyGroups, KeyState, KeyWindow, KeyWindowLimits,
    KeyedLimits, KeyedOperator, KeyedPorts, KeyedState, Lookup, SharedTable, Split, Subtask, Top, Union, Window,
    WindowLimits, WindowPorts,
};
use wasmill_state::{Store, Stores};

/// Rows of a slice that goes to a guest at least, where so many are due, however small the batches of the job are.
const SLICE_ROWS_MIN: usize = 256;

/// An operator that tells what it has counted.
pub trait Counting: Operator {
    /// What it has counted so far.
    fn counters(&self) -> Counters;
}

macro_rules! counting {
    ($($operator:ty),* $(,)?) => {
        $(impl Counting for $operator {
            fn counters(&self) -> Counters {
                self.counters()
            }
        })*
    };
}

counting!(
    GuardedTransform,
    KeyedOperator,
    Window,
    KeyWindow,
    Join,
    Lookup,
    Union,
    Deduplicate,
    Top,
    Split
);

/// What operators are made of.
#[derive(Clone, Copy)]
pub struct Workshop<'a> {
    /// The plan.
    pub plan: &'a Plan,
    /// Runs components.
    pub components: &'a Host,
    /// Whether calls of a plugin share an instance, where the topology lets them.
    pub isolation: Isolation,
    /// Where state is kept.
    pub stores: &'a Stores,
    /// How many subtasks each operator has.
    pub workers: u32,
    /// The tables of lookups, loaded, by node.
    pub tables: &'a BTreeMap<NodeId, Arc<SharedTable>>,
}

/// Global windows whose result comes at the end of input.
const ALL_ROWS: Windows = Windows::Global { trigger: None };

/// How far the output's watermark of a node stays behind its input's.
pub fn lag(node: &Node) -> Micros {
    match &node.kind {
        NodeKind::Transform(transform) => transform
            .description
            .retime
            .as_ref()
            .map_or(Micros::ZERO, |retime| retime.lag),
        NodeKind::Join(join) => join.lag(),
        // Its only result, at the end of input, stands at its last row: nothing downstream may have passed that.
        NodeKind::Window(window) if window.frame.windows == ALL_ROWS => Micros(u64::MAX),
        NodeKind::Content(content) if content.frame.windows == ALL_ROWS => Micros(u64::MAX),
        _ => Micros::ZERO,
    }
}

/// The streams that a node feeds, by port: its outputs, then its dead letters.
pub fn ports(node: &Node) -> Vec<StreamIndex> {
    node.outputs.iter().copied().chain(node.dead_letters).collect()
}

/// What becomes of a node's refused rows. Their port, if there is one, stands after its `outputs`.
pub(crate) fn dead_letters(node: &Node, on_fault: OnFault) -> DeadLetters {
    DeadLetters {
        node: node.id.clone(),
        port: dead_letter_port(node),
        on_fault,
    }
}

fn dead_letter_port(node: &Node) -> Option<usize> {
    node.dead_letters.map(|_| node.outputs.len())
}

impl Workshop<'_> {
    /// The subtask of an operator on a worker. It stays on the thread that asks for it.
    ///
    /// # Errors
    /// A plugin or the store could not be opened.
    ///
    /// # Panics
    /// The node is a source or a sink.
    pub fn make(&self, index: NodeIndex, worker: WorkerIndex) -> Result<Box<dyn Counting>, Fault> {
        let node = self.plan.node(index);
        self.operator(node, worker).map_err(|fault| fault.at(&node.id))
    }

    fn operator(&self, node: &Node, worker: WorkerIndex) -> Result<Box<dyn Counting>, Fault> {
        let id = || node.id.clone();
        Ok(match &node.kind {
            NodeKind::Source(_) | NodeKind::Sink(_) => panic!("{} is no operator", node.id),
            NodeKind::Transform(transform) => Box::new(self.transform(node, transform)?),
            NodeKind::Keyed(keyed) => Box::new(self.keyed(node, keyed, worker)?),
            NodeKind::Content(content) => Box::new(self.content(node, content, worker)?),
            NodeKind::Window(window) => match window.frame.windows {
                Windows::Aligned(_) => Box::new(self.window(node, window, worker)?),
                _ => Box::new(self.key_window(node, window, worker)?),
            },
            NodeKind::Join(join) => {
                let inputs = [self.input(node, 0), self.input(node, 1)];
                let join = Join::new(self.subtask(node, worker)?, join, inputs, self.output(node, 0));
                Box::new(join.map_err(|error| unknown_zone(&error))?)
            }
            NodeKind::Deduplicate(deduplicate) => {
                let (input, output) = (self.input(node, 0), self.output(node, 0));
                Box::new(Deduplicate::new(
                    self.subtask(node, worker)?,
                    deduplicate,
                    input,
                    output,
                ))
            }
            NodeKind::Top(top) => {
                let (input, output) = (self.input(node, 0), self.output(node, 0));
                let top = Top::new(self.subtask(node, worker)?, top, input, output);
                Box::new(top.map_err(|error| unknown_zone(&error))?)
            }
            NodeKind::Union => Box::new(Union::new(id(), self.output(node, 0))),
            NodeKind::Split(split) => Box::new(Split::new(id(), split, &self.outputs(node))),
            NodeKind::Lookup(lookup) => {
                let table = self
                    .tables
                    .get(&node.id)
                    .ok_or_else(|| Fault::fatal(Domain::Internal, "its table was not loaded"))?;
                Box::new(Lookup::new(id(), lookup, self.output(node, 0), Arc::clone(table)))
            }
        })
    }

    /// What an operator that keeps rows is given.
    fn subtask(&self, node: &Node, worker: WorkerIndex) -> Result<Subtask, Fault> {
        let store = self.stores.open(&node.id, worker)?;
        Ok(Subtask {
            node: node.id.clone(),
            memory_bytes: resident(&store),
            store,
            groups: self.plan.engine.key_groups,
            dead_letters: dead_letter_port(node),
            slice_rows: self.plan.engine.batch_rows.get(),
        })
    }

    fn isolation(&self, node: &Node) -> Isolation {
        match node.isolation {
            Isolation::Instance => self.isolation,
            Isolation::Call => Isolation::Call,
        }
    }

    fn input(&self, node: &Node, input: usize) -> &Stream {
        self.plan.stream(node.inputs[input])
    }

    fn output(&self, node: &Node, port: usize) -> &Stream {
        self.plan.stream(node.outputs[port])
    }

    fn outputs(&self, node: &Node) -> Vec<&Stream> {
        node.outputs.iter().map(|&stream| self.plan.stream(stream)).collect()
    }

    fn transform(&self, node: &Node, transform: &TransformNode) -> Result<GuardedTransform, Fault> {
        let placement = Placement {
            node: &node.id,
            plugin: &transform.plugin,
            config: &transform.config,
            limits: &transform.limits,
            fault_may_blame_rows: transform.on_fault != OnFault::Fail,
            isolation: self.isolation(node),
        };
        let described: Vec<_> = node.inputs.iter().map(|&stream| self.described(stream)).collect();
        let guest = self
            .components
            .transform(&placement, &described, &transform.description, &self.live(node))?;
        Ok(GuardedTransform::new(
            guest,
            described.into_iter().map(|input| input.schema).collect(),
            transform.plugin.path.display().to_string(),
            dead_letters(node, transform.on_fault),
        ))
    }

    fn keyed(&self, node: &Node, keyed: &KeyedNode, worker: WorkerIndex) -> Result<KeyedOperator, Fault> {
        let placement = Placement {
            node: &node.id,
            plugin: &keyed.plugin,
            config: &keyed.config,
            limits: &keyed.limits,
            fault_may_blame_rows: keyed.on_fault != OnFault::Fail,
            isolation: self.isolation(node),
        };
        let inputs: Vec<&Stream> = node.inputs.iter().map(|&stream| self.plan.stream(stream)).collect();
        let described: Vec<_> = node.inputs.iter().map(|&stream| self.described(stream)).collect();
        let key = fields(inputs[0], &keyed.key[0]);
        let types = key.iter().map(|field| field.data_type).collect();
        let ports = keyed.description.outputs.len();
        let store = self.stores.open(&node.id, worker)?;
        let resident = store.resident_bytes();
        let state = KeyedState::new(keyed, types, store, self.plan.engine.key_groups, resident);
        let guest = self.components.keyed(
            &placement,
            &described,
            &key,
            &keyed.description,
            &self.live(node)[..ports],
            Rc::clone(&state) as Rc<RefCell<dyn StateAccess>>,
        )?;
        let outputs = self.outputs(node);
        let ports = KeyedPorts {
            inputs: &inputs,
            outputs: &outputs[..ports],
            late: ports,
            dead_letters: dead_letter_port(node),
        };
        let limits = KeyedLimits {
            slice_rows: self.plan.engine.batch_rows.get().max(SLICE_ROWS_MIN),
            ..KeyedLimits::default()
        };
        Ok(KeyedOperator::new(node.id.clone(), keyed, &ports, guest, state, limits))
    }

    fn content(&self, node: &Node, content: &ContentNode, worker: WorkerIndex) -> Result<KeyWindow, Fault> {
        let placement = Placement {
            node: &node.id,
            plugin: &content.plugin,
            config: &content.config,
            limits: &content.limits,
            fault_may_blame_rows: content.on_fault != OnFault::Fail,
            isolation: self.isolation(node),
        };
        let input = self.input(node, 0);
        let described = content.description.outputs.len();
        // What stands before the described columns is not the guest's.
        let before = content.frame.key.len() + 2 + usize::from(content.frame.pane);
        let live: Vec<Vec<bool>> = self.live(node)[..described]
            .iter()
            .map(|live| live[before..].to_vec())
            .collect();
        let guest = self.components.content(
            &placement,
            &self.described(node.inputs[0]),
            &fields(input, &content.frame.key),
            &content.description,
            &live,
        )?;
        let outputs = self.outputs(node);
        let ports = ContentPorts {
            input,
            outputs: &outputs[..described],
            dead_letters: dead_letter_port(node),
        };
        let state = self.key_state(node, worker)?;
        KeyWindow::content(node.id.clone(), content, &ports, guest, state, self.key_window_limits())
            .map_err(|error| unknown_zone(&error))
    }

    fn window(&self, node: &Node, window: &WindowNode, worker: WorkerIndex) -> Result<Window, Fault> {
        let limits = WindowLimits {
            slice_rows: self.plan.engine.batch_rows.get(),
            groups: KeyGroups::of_worker(self.plan.engine.key_groups, worker, self.workers),
        };
        let guests = self.aggregates(node, window)?;
        let made = Window::new(node.id.clone(), window, &self.window_ports(node), guests, limits);
        let made = made.map_err(|error| unknown_zone(&error))?;
        let store = self.stores.open(&node.id, worker)?;
        if store.resident_bytes().is_none() {
            return Ok(made);
        }
        let memory_bytes = resident(&store);
        Ok(made.with_store(store, memory_bytes))
    }

    fn key_window(&self, node: &Node, window: &WindowNode, worker: WorkerIndex) -> Result<KeyWindow, Fault> {
        Ok(KeyWindow::aggregates(
            node.id.clone(),
            window,
            &self.window_ports(node),
            self.aggregates(node, window)?,
            self.key_state(node, worker)?,
            self.key_window_limits(),
        ))
    }

    fn window_ports(&self, node: &Node) -> WindowPorts<'_> {
        WindowPorts {
            input: self.input(node, 0),
            output: self.output(node, 0),
            dead_letters: dead_letter_port(node),
        }
    }

    fn key_state(&self, node: &Node, worker: WorkerIndex) -> Result<KeyState, Fault> {
        let store = self.stores.open(&node.id, worker)?;
        Ok(KeyState {
            waiting_bytes: resident(&store),
            store,
            key_groups: KeyGroups::of_worker(self.plan.engine.key_groups, worker, self.workers),
        })
    }

    fn key_window_limits(&self) -> KeyWindowLimits {
        KeyWindowLimits {
            slice_rows: self.plan.engine.batch_rows.get(),
            ..KeyWindowLimits::default()
        }
    }

    /// An instance for each Wasm aggregate of a window, in their order.
    fn aggregates(&self, node: &Node, window: &WindowNode) -> Result<Vec<Box<dyn Aggregate>>, Fault> {
        let plugins = window
            .aggregates
            .iter()
            .filter_map(|aggregate| match &aggregate.function {
                AggregateFunction::Plugin(plugin) => Some(self.aggregate(node, window, plugin)),
                AggregateFunction::Builtin(_) => None,
            });
        plugins.collect()
    }

    fn aggregate(
        &self,
        node: &Node,
        window: &WindowNode,
        plugin: &AggregatePlugin,
    ) -> Result<Box<dyn Aggregate>, Fault> {
        let placement = Placement {
            node: &node.id,
            plugin: &plugin.plugin,
            config: &plugin.config,
            limits: &plugin.limits,
            fault_may_blame_rows: window.on_fault != OnFault::Fail,
            isolation: self.isolation(node),
        };
        let whole = self.described(node.inputs[0]);
        let fields = plugin
            .input
            .iter()
            .map(|&column| whole.schema.fields()[column].clone())
            .collect();
        let schema = Schema::new(fields).map_err(|error| Fault::fatal(Domain::Internal, error.to_string()))?;
        let input = InputDescription { schema, ..whole };
        self.components.aggregate(&placement, &input, &plugin.description)
    }

    /// A stream as it was described to plugins.
    fn described(&self, stream: StreamIndex) -> InputDescription {
        let stream = self.plan.stream(stream);
        InputDescription {
            name: Arc::clone(&stream.name),
            schema: stream.schema.clone(),
            changelog: stream.changelog,
        }
    }

    /// Which columns of each output somebody reads.
    fn live(&self, node: &Node) -> Vec<Vec<bool>> {
        self.outputs(node)
            .into_iter()
            .map(|stream| stream.live.clone())
            .collect()
    }
}

/// Columns of a stream by place.
fn fields(stream: &Stream, columns: &[usize]) -> Vec<Field> {
    let fields = columns.iter().map(|&column| stream.schema.fields()[column].clone());
    fields.collect()
}

/// How many bytes an operator may keep in memory over its store.
fn resident(store: &Store) -> usize {
    store
        .resident_bytes()
        .map_or(usize::MAX, |bytes| usize::try_from(bytes).unwrap_or(usize::MAX))
}

fn unknown_zone(error: &UnknownTimeZone) -> Fault {
    Fault::fatal(Domain::Internal, error.to_string())
}
