//! From a plan to the engine's graph: what runs where, and what is routed how.

use std::sync::Arc;

use bytes::Bytes;
use tokio::sync::mpsc;

use wasmill_component::Placement;
use wasmill_connector_api::config::{ConfigProblem, Folder};
use wasmill_connector_api::format::{DecodeSpec, Decoder, EncodeSpec};
use wasmill_connector_api::sink::{SinkContext, Writers};
use wasmill_connector_api::source::SourceContext;
use wasmill_core::aggregate::Aggregate;
use wasmill_core::batch::Batch;
use wasmill_core::fault::{Domain, Fault};
use wasmill_core::id::{NodeId, StreamIndex, WorkerIndex};
use wasmill_core::key;
use wasmill_core::operator::Emit;
use wasmill_core::plan::{
    AggregateFunction, AggregatePlugin, Node, NodeKind, OnFault, Plan, SinkNode, SinkOrder, SourceNode, SourceTime,
    TransformNode, WindowNode,
};
use wasmill_core::schema::Schema;
use wasmill_core::time::{Micros, Timestamp};
use wasmill_core::transform::InputDescription;
use wasmill_engine::{Abort, Dataflow, Ending, Flow, Route, SinkState, SinkTask, Ticket, Waker};

use wasmill_operators::dead_letters::DeadLetters;
use wasmill_operators::{GuardedTransform, Window, WindowLimits, WindowPorts};

use crate::job::{Environment, Tasks};
use crate::metered::Metered;
use crate::metrics::{Metrics, OperatorMetrics, SinkMetrics};
use crate::sink::{self, Early, Message, write};
use crate::source::{self, Reading, Shared, StampingPlan};
use crate::stop::Stop;

/// A job with its sources open: what all workers share.
pub(crate) struct Job {
    plan: Plan,
    environment: Environment,
    metrics: Arc<Metrics>,
    stop: Stop,
    tasks: Tasks,
    /// By node; `None` for what is no source.
    sources: Vec<Option<Arc<Shared>>>,
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
        let mut job = Self {
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
        Ok(job)
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
            for (stream, flow) in ports(node).into_iter().zip(outputs) {
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
            NodeKind::Transform(transform) => self.build_transform(dataflow, node, transform, inputs),
            NodeKind::Window(window) => self.build_window(dataflow, node, window, inputs),
            NodeKind::Sink(sink) => self.build_sink(dataflow, node, sink, inputs),
            _ => Err(Fault::fatal(Domain::Internal, "this operator is not wired")),
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
        Ok(dataflow.source(node.id.as_str(), ports(node).len(), move |waker| {
            shared.join(waker);
            Box::new(source::Task {
                shared,
                decoder,
                watermark_every,
                since_promise: 0,
            })
        }))
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

    fn build_transform<'scope>(
        &self,
        dataflow: &mut Dataflow<'scope>,
        node: &Node,
        transform: &TransformNode,
        inputs: Vec<Flow<'scope>>,
    ) -> Result<Vec<Flow<'scope>>, Fault> {
        let placement = Placement {
            node: &node.id,
            plugin: &transform.plugin,
            config: &transform.config,
            limits: &transform.limits,
            fault_may_blame_rows: transform.on_fault != OnFault::Fail,
        };
        let described: Vec<_> = node
            .inputs
            .iter()
            .map(|&stream| self.input_description(stream))
            .collect();
        let live: Vec<_> = node
            .outputs
            .iter()
            .map(|&stream| self.plan.stream(stream).live.clone())
            .collect();
        let guest = self
            .environment
            .components
            .transform(&placement, &described, &transform.description, &live)?;
        let operator = GuardedTransform::new(
            guest,
            described.into_iter().map(|input| input.schema).collect(),
            transform.plugin.path.display().to_string(),
            dead_letters(node, node.outputs.len(), transform.on_fault),
        );
        let metered = Metered::new(operator, GuardedTransform::counters, self.operator_metrics(node));
        let inputs = inputs.into_iter().map(|flow| (flow, Route::Local)).collect();
        let lag = transform
            .description
            .retime
            .as_ref()
            .map_or(Micros::ZERO, |retime| retime.lag);
        Ok(dataflow.operator(node.id.as_str(), inputs, ports(node).len(), lag, Box::new(metered)))
    }

    fn build_window<'scope>(
        &self,
        dataflow: &mut Dataflow<'scope>,
        node: &Node,
        window: &WindowNode,
        inputs: Vec<Flow<'scope>>,
    ) -> Result<Vec<Flow<'scope>>, Fault> {
        let plugins = window
            .aggregates
            .iter()
            .filter_map(|aggregate| match &aggregate.function {
                AggregateFunction::Plugin(plugin) => Some(self.open_aggregate(node, window, plugin)),
                AggregateFunction::Builtin(_) => None,
            });
        let operator = Window::new(
            node.id.clone(),
            window,
            &WindowPorts {
                input: self.plan.stream(node.inputs[0]),
                output: self.plan.stream(node.outputs[0]),
                dead_letters: node.dead_letters.map(|_| node.outputs.len()),
            },
            plugins.collect::<Result<_, _>>()?,
            WindowLimits {
                slice_rows: self.plan.engine.batch_rows.get(),
            },
        )
        .map_err(|error| Fault::fatal(Domain::Internal, error.to_string()))?;
        let metered = Metered::new(operator, Window::counters, self.operator_metrics(node));
        let route = if window.frame.key.is_empty() {
            Route::One(home(&node.id, dataflow.workers()))
        } else {
            Route::Keyed {
                key: window.frame.key.clone(),
                groups: self.plan.engine.key_groups,
            }
        };
        let inputs = inputs.into_iter().map(|flow| (flow, route.clone())).collect();
        Ok(dataflow.operator(
            node.id.as_str(),
            inputs,
            ports(node).len(),
            Micros::ZERO,
            Box::new(metered),
        ))
    }

    fn open_aggregate(
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
        };
        let InputDescription {
            name,
            schema,
            changelog,
        } = self.input_description(node.inputs[0]);
        let fields = plugin
            .input
            .iter()
            .map(|&column| schema.fields()[column].clone())
            .collect();
        let schema = Schema::new(fields).map_err(|error| Fault::fatal(Domain::Internal, error.to_string()))?;
        let input = InputDescription {
            name,
            schema,
            changelog,
        };
        self.environment
            .components
            .aggregate(&placement, &input, &plugin.description)
    }

    fn input_description(&self, stream: StreamIndex) -> InputDescription {
        let stream = self.plan.stream(stream);
        InputDescription {
            name: Arc::clone(&stream.name),
            schema: stream.schema.clone(),
            changelog: false,
        }
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
        let ports = ports(node).len();
        if !writes_here {
            return Ok(dataflow.sink(node.id.as_str(), inputs, ports, |_| Box::new(Nothing { ended: false })));
        }
        let schema = self.plan.stream(node.inputs[0]).schema.clone();
        let spec = EncodeSpec {
            schema: schema.clone(),
            columns: sink.columns.clone(),
        };
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
                    folder,
                    writer,
                    writers,
                    prologue,
                },
            )?
        };
        let (send, receive) = mpsc::channel::<Message>(sink::CHUNKS_MAX);
        let metrics: Arc<SinkMetrics> = Arc::clone(&self.metrics.sinks[&node.id]);
        let ordered = (sink.order == SinkOrder::EventTime).then_some(self.plan.engine.batch_rows.get());
        let parts = sink::Parts {
            encoder,
            schema,
            ordered,
            messages: send,
            dead_letters: dead_letters(node, 0, OnFault::Fail),
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

/// What becomes of a node's refused rows. Their port, if there is one, stands after its `outputs`.
fn dead_letters(node: &Node, outputs: usize, on_fault: OnFault) -> DeadLetters {
    DeadLetters {
        node: node.id.clone(),
        port: node.dead_letters.map(|_| outputs),
        on_fault,
    }
}

/// The streams that a node feeds, by port: its outputs, then its dead letters.
fn ports(node: &Node) -> Vec<StreamIndex> {
    node.outputs.iter().copied().chain(node.dead_letters).collect()
}

/// Which columns are decoded: those that something reads, and the event time.
fn decoded_columns(source: &SourceNode, live: &[bool]) -> Vec<bool> {
    let mut decoded = live[..source.columns.len()].to_vec();
    if let SourceTime::Event(index) = source.time {
        decoded[index] = true;
    }
    decoded
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
