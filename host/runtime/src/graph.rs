//! From a plan to the engine's graph: what runs where, and what is routed how.

use std::collections::BTreeMap;
use std::num::NonZeroUsize;
use std::sync::Arc;
use std::thread::available_parallelism;

use bytes::Bytes;
use tokio::sync::mpsc;

use wasmill_component::Isolation;
use wasmill_connector_api::config::{ConfigProblem, Folder};
use wasmill_connector_api::format::{DecodeSpec, Decoder};
use wasmill_connector_api::sink::{SinkContext, Writers};
use wasmill_connector_api::source::SourceContext;
use wasmill_core::batch::Batch;
use wasmill_core::fault::{Domain, Fault};
use wasmill_core::id::{Epoch, NodeId, NodeIndex, WorkerIndex};
use wasmill_core::key;
use wasmill_core::operator::Emit;
use wasmill_core::plan::{
    LookupNode, Node, NodeKind, OnFault, Plan, SinkNode, SinkOrder, SourceNode, SourceTime, Spread, WatermarkStrategy,
};
use wasmill_core::time::Timestamp;
use wasmill_engine::{Abort, Dataflow, Ending, Flow, NoSnapshots, Route, SinkState, SinkTask, Ticket, Waker};

use wasmill_operators::SharedTable;
use wasmill_state::Stores;

use crate::job::{Environment, Tasks};
use crate::metered::Metered;
use crate::metrics::{Metrics, OperatorMetrics, SinkMetrics};
use crate::operators::{self, Workshop};
use crate::sink::{self, Early, Message, write};
use crate::source::{self, Reading, Shared, StampingPlan};
use crate::stop::Stop;
use crate::table::Loader;

/// A job with its sources open: what all workers share.
pub(crate) struct Job {
    plan: Plan,
    environment: Environment,
    metrics: Arc<Metrics>,
    stop: Stop,
    tasks: Tasks,
    /// By node; `None` for what is no source.
    sources: Vec<Option<Arc<Shared>>>,
    stores: Stores,
    /// The tables of lookups.
    tables: BTreeMap<NodeId, Arc<SharedTable>>,
}

/// Metadata that the driver knows by itself.
const DRIVER_METADATA: [&str; 3] = ["line", "position", "partition"];

impl Job {
    /// Opens the sources and starts to read them.
    ///
    /// # Errors
    /// A source could not be opened.
    pub(crate) fn open(
        plan: Plan,
        environment: Environment,
        metrics: Arc<Metrics>,
        stop: Stop,
        tasks: Tasks,
    ) -> Result<Self, Fault> {
        let stores = Stores::new(&plan.state, &environment.scratch, stores_max(&plan))?;
        let mut job = Self {
            stores,
            tables: BTreeMap::new(),
            plan,
            environment,
            metrics,
            stop,
            tasks,
            sources: Vec::new(),
        };
        for index in 0..job.plan.nodes.len() {
            let node = &job.plan.nodes[index];
            let shared = match &node.kind {
                NodeKind::Source(source) => Some(job.open_source(node, source).map_err(|fault| fault.at(&node.id))?),
                _ => None,
            };
            job.sources.push(shared);
        }
        source::introduce(&job.plan, &job.sources);
        for node in &job.plan.nodes {
            if let NodeKind::Lookup(lookup) = &node.kind {
                let table = job.load(node, lookup).map_err(|fault| fault.at(&node.id))?;
                job.tables.insert(node.id.clone(), table);
            }
        }
        Ok(job)
    }

    /// Loads the table of a lookup, and again as often as the topology says.
    fn load(&self, node: &Node, lookup: &LookupNode) -> Result<Arc<SharedTable>, Fault> {
        let loader = Loader::new(node, lookup, &self.plan, &self.environment);
        let table = Arc::new(SharedTable::new(loader.load(&self.tasks, &self.stop)?));
        if let Some(every) = lookup.refresh {
            let again = loader.again(
                every.to_std(),
                Arc::clone(&table),
                self.tasks.clone(),
                self.stop.clone(),
            );
            self.tasks.spawn(&self.stop, again);
        }
        Ok(table)
    }

    /// Opens the one source of a plan that has nothing else, for [`Self::build_collecting`].
    ///
    /// # Errors
    /// It could not be opened.
    pub(crate) fn build_collecting(
        &self,
        dataflow: &mut Dataflow<'_>,
        collector: Box<dyn SinkTask>,
    ) -> Result<(), Fault> {
        let node = &self.plan.nodes[0];
        let rows = self.build_node(dataflow, 0, node, Vec::new())?.swap_remove(0);
        dataflow.sink("table", vec![(rows, Route::Local)], 0, |_| collector);
        Ok(())
    }

    fn open_source(&self, node: &Node, source: &SourceNode) -> Result<Arc<Shared>, Fault> {
        let stream = self.plan.stream(node.outputs[0]);
        let connector = &source.connector;
        let entry = self
            .environment
            .registry
            .find_source(&connector.name)
            .ok_or_else(|| unknown(&connector.name))?;
        let metadata = source.metadata.iter().map(|column| column.key.clone());
        let context = SourceContext {
            folder: Folder::new(&self.plan.folder),
            metadata: metadata
                .filter(|key| !DRIVER_METADATA.contains(&key.as_str()))
                .collect(),
            live: decoded_columns(source, &stream.live),
            batch_rows: self.plan.engine.batch_rows.get(),
        };
        let description = entry
            .describe(&connector.config, &context.folder)
            .map_err(|problems| changed(&problems))?;
        let open = {
            let _io = self.tasks.io().enter();
            entry.open(&connector.config, context)?
        };
        let shared = Shared::new(
            StampingPlan {
                id: node.id.clone(),
                node: source.clone(),
                live: stream.live.clone(),
                order: stream.order,
                batch_rows: self.plan.engine.batch_rows.get(),
            },
            Arc::clone(&self.metrics.sources[&node.id]),
        );
        let framer = match &source.format {
            None => None,
            Some(format) => {
                let registry = Arc::clone(&self.environment.registry);
                let format = format.clone();
                let make = move || {
                    let entry = registry
                        .find_format(&format.name)
                        .ok_or_else(|| unknown(&format.name))?;
                    entry.framer(&format.config)
                };
                make()?;
                Some(Arc::new(move || make().expect("it was made before")) as source::MakeFramer)
            }
        };
        let reading = Reading {
            shared: Arc::clone(&shared),
            framer,
            discover_every: description.discover_every.to_std(),
            clock: Arc::clone(&self.environment.clock),
            stopping: self.stop.stopping(),
        };
        self.tasks.spawn(&self.stop, source::read(open, reading));
        Ok(shared)
    }

    /// Builds one worker's part of the graph.
    ///
    /// # Errors
    /// An operator or a sink could not be opened.
    pub(crate) fn build(&self, dataflow: &mut Dataflow<'_>) -> Result<(), Fault> {
        let mut flows: Vec<Option<Flow<'_>>> = self.plan.streams.iter().map(|_| None).collect();
        for (index, node) in self.plan.nodes.iter().enumerate() {
            let inputs: Vec<_> = node
                .inputs
                .iter()
                .map(|stream| {
                    flows[stream.0 as usize]
                        .clone()
                        .expect("producers stand before their consumers")
                })
                .collect();
            let outputs = self
                .build_node(dataflow, index, node, inputs)
                .map_err(|fault| fault.at(&node.id))?;
            for (stream, flow) in operators::ports(node).into_iter().zip(outputs) {
                flows[stream.0 as usize] = Some(flow);
            }
        }
        Ok(())
    }

    fn build_node<'scope>(
        &self,
        dataflow: &mut Dataflow<'scope>,
        index: usize,
        node: &Node,
        inputs: Vec<Flow<'scope>>,
    ) -> Result<Vec<Flow<'scope>>, Fault> {
        match &node.kind {
            NodeKind::Source(source) => self.build_source(dataflow, index, node, source),
            NodeKind::Sink(sink) => self.build_sink(dataflow, node, sink, inputs),
            _ => self.build_operator(dataflow, index, node, inputs),
        }
    }

    fn build_source<'scope>(
        &self,
        dataflow: &mut Dataflow<'scope>,
        index: usize,
        node: &Node,
        source: &SourceNode,
    ) -> Result<Vec<Flow<'scope>>, Fault> {
        let shared = Arc::clone(self.sources[index].as_ref().expect("sources are opened first"));
        let stream = self.plan.stream(node.outputs[0]);
        let decoder = self.decoder(source, &stream.live)?;
        let watermark_every = self.plan.engine.watermark_every.get();
        Ok(
            dataflow.source(node.id.as_str(), operators::ports(node).len(), move |waker| {
                shared.join(waker);
                Box::new(source::Task {
                    shared,
                    decoder,
                    watermark_every,
                    since_promise: 0,
                })
            }),
        )
    }

    fn decoder(&self, source: &SourceNode, live: &[bool]) -> Result<Option<Box<dyn Decoder>>, Fault> {
        let Some(format) = &source.format else { return Ok(None) };
        let entry = self
            .environment
            .registry
            .find_format(&format.name)
            .ok_or_else(|| unknown(&format.name))?;
        let spec = DecodeSpec {
            columns: source.columns.clone(),
            live: decoded_columns(source, live),
            validate_all: source.validate_all,
        };
        entry.decoder(&format.config, &spec).map(Some)
    }

    fn build_operator<'scope>(
        &self,
        dataflow: &mut Dataflow<'scope>,
        index: usize,
        node: &Node,
        inputs: Vec<Flow<'scope>>,
    ) -> Result<Vec<Flow<'scope>>, Fault> {
        let workshop = Workshop {
            plan: &self.plan,
            components: &self.environment.components,
            isolation: Isolation::default(),
            stores: &self.stores,
            workers: dataflow.workers() as u32,
            tables: &self.tables,
        };
        let operator = workshop.make(NodeIndex(index as u32), dataflow.worker())?;
        let metered = Metered::new(operator, self.operator_metrics(node));
        let workers = dataflow.workers();
        let routed = inputs.into_iter().enumerate().map(|(input, flow)| {
            let route = match node.kind.spread(input) {
                Spread::Local => Route::Local,
                Spread::One => Route::One(home(&node.id, workers)),
                Spread::Key(key) => Route::Keyed {
                    key: key.to_vec(),
                    groups: self.plan.engine.key_groups,
                },
            };
            (flow, route)
        });
        let inputs = routed.collect();
        let ports = operators::ports(node).len();
        let lag = operators::lag(node);
        let snapshots = Box::new(NoSnapshots);
        Ok(dataflow.operator(node.id.as_str(), inputs, ports, lag, Box::new(metered), snapshots))
    }

    fn operator_metrics(&self, node: &Node) -> Arc<OperatorMetrics> {
        Arc::clone(&self.metrics.operators[&node.id])
    }

    fn build_sink<'scope>(
        &self,
        dataflow: &mut Dataflow<'scope>,
        node: &Node,
        sink: &SinkNode,
        inputs: Vec<Flow<'scope>>,
    ) -> Result<Vec<Flow<'scope>>, Fault> {
        let registry = &self.environment.registry;
        let connector = registry
            .find_sink(&sink.connector.name)
            .ok_or_else(|| unknown(&sink.connector.name))?;
        let format = registry
            .find_format(&sink.format.name)
            .ok_or_else(|| unknown(&sink.format.name))?;
        let folder = Folder::new(&self.plan.folder);
        let description = connector
            .describe(&sink.connector.config, &folder)
            .map_err(|problems| changed(&problems))?;
        let one_writer = sink.order == SinkOrder::EventTime || description.writers == Writers::One;
        let workers = dataflow.workers();
        let route = if one_writer {
            Route::One(home(&node.id, workers))
        } else {
            Route::Local
        };
        let writes_here = !one_writer || dataflow.worker() == home(&node.id, workers);
        let inputs: Vec<_> = inputs.into_iter().map(|flow| (flow, route.clone())).collect();
        let ports = operators::ports(node).len();
        if !writes_here {
            return Ok(dataflow.sink(node.id.as_str(), inputs, ports, |_| Box::new(Nothing { ended: false })));
        }
        let schema = self.plan.stream(node.inputs[0]).schema.clone();
        let spec = sink::encoding(sink, &schema)?;
        let encoder = format.encoder(&sink.format.config, &spec)?;
        let (writer, writers) = if one_writer {
            (0, 1)
        } else {
            (dataflow.worker().0, workers as u32)
        };
        let prologue: Bytes = encoder.prologue();
        let opened = {
            let _io = self.tasks.io().enter();
            connector.open(
                &sink.connector.config,
                SinkContext {
                    writer,
                    writers,
                    ..SinkContext::without_checkpoints(folder, prologue)
                },
            )?
        };
        let (send, receive) = mpsc::channel::<Message>(sink::CHUNKS_MAX);
        let metrics: Arc<SinkMetrics> = Arc::clone(&self.metrics.sinks[&node.id]);
        let ordered = (sink.order == SinkOrder::EventTime).then_some(self.plan.engine.batch_rows.get());
        let parts = sink::Parts {
            encoder,
            schema,
            changelog: sink.changelog,
            ordered,
            messages: send,
            dead_letters: operators::dead_letters(node, OnFault::Fail),
            metrics: Arc::clone(&metrics),
        };
        Ok(dataflow.sink(node.id.as_str(), inputs, ports, |waker: Waker| {
            let abort: Abort = self.stop.abort().clone();
            let early = move || match abort.ending() {
                Some(Ending::Stopped) => Early::Stopped,
                // Without an ending the worker is gone for a reason that nobody knows yet.
                Some(Ending::Failed(_)) | None => Early::Failed,
            };
            self.tasks.spawn(
                &self.stop,
                write(node.id.clone(), opened, receive, waker, metrics, early),
            );
            Box::new(sink::Task::new(parts))
        }))
    }
}

/// Which columns are decoded: those that something reads, the event time, and what the watermark follows.
fn decoded_columns(source: &SourceNode, live: &[bool]) -> Vec<bool> {
    let mut decoded = live[..source.columns.len()].to_vec();
    if let SourceTime::Event(index) = source.time {
        decoded[index] = true;
    }
    if let WatermarkStrategy::Column(index) = source.watermark.strategy {
        decoded[index] = true;
    }
    decoded
}

/// How the engine runs a plan.
pub(crate) fn engine_settings(
    plan: &Plan,
    workers: NonZeroUsize,
    environment: &Environment,
) -> wasmill_engine::Settings {
    wasmill_engine::Settings {
        workers,
        credit_bytes: plan.engine.source_credit_bytes,
        first_epoch: Epoch::default(),
        alarms: wasmill_engine::Alarms::new(Arc::clone(&environment.clock)),
    }
}

/// How many stores a plan opens at most.
fn stores_max(plan: &Plan) -> usize {
    let nodes = plan.nodes.iter();
    let with_state = nodes
        .filter(|node| {
            !matches!(
                node.kind,
                NodeKind::Source(_)
                    | NodeKind::Transform(_)
                    | NodeKind::Lookup(_)
                    | NodeKind::Union
                    | NodeKind::Split(_)
                    | NodeKind::Sink(_)
            )
        })
        .count();
    with_state
        * plan
            .engine
            .workers
            .or_else(|| available_parallelism().ok())
            .map_or(1, NonZeroUsize::get)
}

/// The worker of a node that runs on one only: spread over the workers, the same on every run.
fn home(node: &NodeId, workers: usize) -> WorkerIndex {
    WorkerIndex((key::hash(node.as_str().as_bytes()) % workers as u64) as u32)
}

/// The world has changed since the topology was checked.
fn changed(problems: &[ConfigProblem]) -> Fault {
    let problem = problems
        .first()
        .map_or("its configuration no longer fits", |problem| &problem.message);
    Fault::fatal(Domain::User, format!("it can no longer be opened: {problem}"))
}

fn unknown(name: &str) -> Fault {
    Fault::fatal(
        Domain::Internal,
        format!("\"{name}\" was checked, but is not in the registry"),
    )
}

/// A sink on a worker that does not write.
struct Nothing {
    ended: bool,
}

impl SinkTask for Nothing {
    fn takes_input(&self) -> bool {
        true
    }

    fn batch(&mut self, _: usize, _: Batch, _: Option<Ticket>) -> Result<(), Fault> {
        Err(Fault::fatal(
            Domain::Internal,
            "rows came to a worker that does not write",
        ))
    }

    fn watermark(&mut self, to: Timestamp) -> Result<(), Fault> {
        self.ended = to == Timestamp::MAX;
        Ok(())
    }

    fn end_epoch(&mut self, _: Epoch) -> Result<bool, Fault> {
        Ok(true)
    }

    fn poll(&mut self, _: &mut dyn Emit) -> Result<SinkState, Fault> {
        Ok(if self.ended {
            SinkState::Finished
        } else {
            SinkState::Open {
                earliest: Timestamp::MAX,
            }
        })
    }
}
