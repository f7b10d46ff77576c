//! A plan's operators, stepped by hand.

use std::collections::{BTreeMap, VecDeque};
use std::num::NonZeroUsize;
use std::sync::Arc;

use wasmill_component::{Host, Isolation};
use wasmill_core::batch::Batch;
use wasmill_core::fault::{Domain, Fault};
use wasmill_core::id::{KeyGroup, NodeId, NodeIndex, StreamIndex, WorkerIndex};
use wasmill_core::key;
use wasmill_core::operator::{Operator, Step};
use wasmill_core::plan::{Node, NodeKind, Plan, Spread};
use wasmill_core::time::Timestamp;
use wasmill_operators::SharedTable;
use wasmill_runtime::operators::{self, Counting, Workshop};
use wasmill_state::Stores;

use crate::route;

/// How a simulation runs: what must show in no result.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Shape {
    /// Subtasks of each operator.
    pub workers: NonZeroUsize,
    /// Rows of a batch at most.
    pub batch_rows: NonZeroUsize,
    /// Whether calls of a plugin share an instance.
    pub isolation: Isolation,
}

impl Default for Shape {
    fn default() -> Self {
        Self {
            workers: NonZeroUsize::MIN,
            batch_rows: NonZeroUsize::new(4096).expect("not zero"),
            isolation: Isolation::default(),
        }
    }
}

/// Rows that reached a sink, or that went through a stream that is watched.
#[derive(Clone, Debug)]
pub struct Delivered {
    /// The sink; `None` for a stream that is watched.
    pub sink: Option<NodeId>,
    /// The stream that they came from.
    pub stream: StreamIndex,
    /// The rows.
    pub batch: Batch,
}

/// The state of all operators after a step, and how far time had come. It fits simulations of the same plan in any
/// [`Shape`].
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Saved {
    /// By node: every entry that its subtasks handed out.
    pub entries: Vec<Vec<Entry>>,
    watermarks: Vec<Timestamp>,
    lasts: Vec<Timestamp>,
    sources: BTreeMap<usize, BTreeMap<String, Timestamp>>,
    now: Timestamp,
}

/// An entry of an operator's state: its key group, its key, its value.
pub type Entry = (KeyGroup, Vec<u8>, Vec<u8>);

/// A plan's operators between two steps.
pub struct Simulation<'a> {
    plan: &'a Plan,
    shape: Shape,
    /// By node; empty for sources and sinks.
    subtasks: Vec<Vec<Box<dyn Counting>>>,
    /// The watermark of each node's outputs.
    watermarks: Vec<Timestamp>,
    /// The greatest watermark of each node's outputs before their end.
    lasts: Vec<Timestamp>,
    /// By source: the watermark of each of its partitions.
    sources: BTreeMap<usize, BTreeMap<String, Timestamp>>,
    /// The worker that takes the next batch of a source.
    next_worker: usize,
    /// Who reads each stream: the node and its input.
    readers: Vec<Vec<(usize, usize)>>,
    /// The streams that are watched.
    watched: Vec<StreamIndex>,
    delivered: Vec<Delivered>,
    /// Processing time.
    now: Timestamp,
}

/// A batch on its way to a subtask's input.
struct Parcel {
    node: usize,
    worker: usize,
    input: usize,
    batch: Batch,
}

impl<'a> Simulation<'a> {
    /// A plan whose operators have seen nothing. `tables` are those of lookups, by node.
    ///
    /// # Errors
    /// A plugin or a store could not be opened.
    pub fn new(
        plan: &'a Plan,
        components: &Host,
        stores: &Stores,
        tables: &BTreeMap<NodeId, Arc<SharedTable>>,
        shape: Shape,
    ) -> Result<Self, Fault> {
        let workshop = Workshop {
            plan,
            components,
            isolation: shape.isolation,
            stores,
            workers: shape.workers.get() as u32,
            tables,
        };
        let mut subtasks = Vec::new();
        for (index, node) in plan.nodes.iter().enumerate() {
            let workers = if is_operator(node) { shape.workers.get() } else { 0 };
            let made = (0..workers).map(|worker| workshop.make(NodeIndex(index as u32), WorkerIndex(worker as u32)));
            subtasks.push(made.collect::<Result<Vec<_>, _>>()?);
        }
        let mut readers = vec![Vec::new(); plan.streams.len()];
        for (index, node) in plan.nodes.iter().enumerate() {
            for (input, stream) in node.inputs.iter().enumerate() {
                readers[stream.0 as usize].push((index, input));
            }
        }
        Ok(Self {
            plan,
            shape,
            subtasks,
            watermarks: vec![Timestamp::MIN; plan.nodes.len()],
            lasts: vec![Timestamp::MIN; plan.nodes.len()],
            sources: BTreeMap::new(),
            next_worker: 0,
            readers,
            watched: Vec::new(),
            delivered: Vec::new(),
            now: Timestamp(0),
        })
    }

    /// Watches streams: what goes through them is [`Self::delivered`] too.
    #[must_use]
    pub fn watching(mut self, streams: &[StreamIndex]) -> Self {
        self.watched = streams.to_vec();
        self
    }

    /// How the operators run.
    pub fn shape(&self) -> Shape {
        self.shape
    }

    /// A partition of a source is there, and holds the source's watermark back from here on.
    pub fn partition(&mut self, source: NodeIndex, partition: &str) {
        let partitions = self.sources.entry(source.0 as usize).or_default();
        partitions.entry(partition.to_owned()).or_insert(Timestamp::MIN);
    }

    /// The watermark of a partition, which its next rows should have.
    pub fn watermark_of(&self, source: NodeIndex, partition: &str) -> Timestamp {
        let partitions = self.sources.get(&(source.0 as usize));
        partitions
            .and_then(|partitions| partitions.get(partition))
            .copied()
            .unwrap_or(Timestamp::MIN)
    }

    /// A source gives rows.
    ///
    /// # Errors
    /// An operator failed.
    pub fn rows(&mut self, source: NodeIndex, batch: &Batch) -> Result<(), Fault> {
        let node = source.0 as usize;
        let all: Vec<u32> = (0..batch.rows() as u32).collect();
        for rows in all.chunks(self.shape.batch_rows.get()) {
            let worker = self.next_worker;
            self.next_worker = (worker + 1) % self.shape.workers.get();
            self.deliver(node, worker, vec![(0, batch.gather(rows))])?;
        }
        self.wake()
    }

    /// A partition's watermark rises; one that would fall stays. [`Timestamp::MAX`]: the partition has ended.
    ///
    /// # Errors
    /// An operator failed.
    pub fn watermark(&mut self, source: NodeIndex, partition: &str, to: Timestamp) -> Result<(), Fault> {
        self.partition(source, partition);
        let partitions = self.sources.entry(source.0 as usize).or_default();
        if let Some(reached) = partitions.get_mut(partition) {
            *reached = to.max(*reached);
        }
        self.propagate()?;
        self.wake()
    }

    /// Every partition of every source has ended.
    ///
    /// # Errors
    /// An operator failed.
    pub fn end(&mut self) -> Result<(), Fault> {
        for (index, node) in self.plan.nodes.iter().enumerate() {
            if matches!(node.kind, NodeKind::Source(_)) {
                let partitions = self.sources.entry(index).or_default();
                partitions.entry(String::new()).or_insert(Timestamp::MAX);
                for reached in partitions.values_mut() {
                    *reached = Timestamp::MAX;
                }
            }
        }
        self.propagate()?;
        self.wake()
    }

    /// Processing time comes to `now`: whoever waits for a time up to then is called. It begins at 1970, and one that would
    /// go back stays.
    ///
    /// # Errors
    /// An operator failed.
    pub fn clock(&mut self, now: Timestamp) -> Result<(), Fault> {
        self.now = now.max(self.now);
        self.wake()
    }

    /// Calls whoever asked for a time that has come, until nobody does.
    fn wake(&mut self) -> Result<(), Fault> {
        /// More calls of one subtask at one time than this are a circle.
        const CALLS_MAX: usize = 100_000;
        let now = self.now;
        for node in 0..self.plan.nodes.len() {
            for worker in 0..self.subtasks[node].len() {
                let mut calls = 0;
                while self.subtasks[node][worker].wake_at().is_some_and(|at| at <= now) {
                    calls += 1;
                    if calls > CALLS_MAX {
                        let message = format!("it asks again and again to be called at {now}");
                        return Err(Fault::fatal(Domain::Internal, message).at(&self.plan.nodes[node].id));
                    }
                    self.step(node, worker, |subtask, out| subtask.clock(now, out))?;
                }
            }
        }
        Ok(())
    }

    /// What has reached the sinks since it was asked last, in the order in which it did.
    pub fn delivered(&mut self) -> Vec<Delivered> {
        std::mem::take(&mut self.delivered)
    }

    /// The state of all operators.
    ///
    /// # Errors
    /// An operator cannot hand out its state.
    pub fn save(&mut self) -> Result<Saved, Fault> {
        let mut entries = Vec::new();
        for (subtasks, node) in self.subtasks.iter_mut().zip(&self.plan.nodes) {
            let mut of_node: Vec<Entry> = Vec::new();
            for subtask in subtasks {
                subtask.save(&mut of_node).map_err(|fault| fault.at(&node.id))?;
            }
            of_node.sort();
            entries.push(of_node);
        }
        Ok(Saved {
            entries,
            watermarks: self.watermarks.clone(),
            lasts: self.lasts.clone(),
            sources: self.sources.clone(),
            now: self.now,
        })
    }

    /// Takes up what another simulation of the same plan has saved. This one has seen nothing yet.
    ///
    /// # Errors
    /// The state is not of this plan.
    pub fn restore(&mut self, saved: &Saved) -> Result<(), Fault> {
        let groups = self.plan.engine.key_groups;
        let workers = self.shape.workers.get();
        for ((subtasks, node), entries) in self.subtasks.iter_mut().zip(&self.plan.nodes).zip(&saved.entries) {
            let is_keyed = (0..node.inputs.len()).any(|input| matches!(node.kind.spread(input), Spread::Key(_)));
            for (group, key, value) in entries {
                let worker = if is_keyed {
                    key::owner(*group, groups, workers as u32).0 as usize
                } else {
                    route::home(&node.id, workers)
                };
                subtasks[worker]
                    .load(*group, key, value)
                    .map_err(|fault| fault.at(&node.id))?;
            }
        }
        self.watermarks.clone_from(&saved.watermarks);
        self.lasts.clone_from(&saved.lasts);
        self.sources.clone_from(&saved.sources);
        self.now = saved.now;
        Ok(())
    }

    /// Carries watermarks from the sources on, node by node.
    fn propagate(&mut self) -> Result<(), Fault> {
        for (index, node) in self.plan.nodes.iter().enumerate() {
            let merged = if let NodeKind::Source(_) = &node.kind {
                let partitions = self.sources.get(&index);
                partitions.and_then(|partitions| partitions.values().min().copied())
            } else {
                let producers = node.inputs.iter().map(|&input| self.plan.stream(input).producer);
                producers.map(|producer| self.watermarks[producer.0 as usize]).min()
            };
            let merged = merged.unwrap_or(Timestamp::MIN);
            let lag = operators::lag(node);
            let last = self.last_of_inputs(index);
            self.lasts[index] = self.lasts[index].max(last.before(lag));
            if merged == Timestamp::MAX && self.watermarks[index] < Timestamp::MAX && is_operator(node) {
                // As the engine does: before the end comes the greatest of the inputs' last watermarks.
                for worker in 0..self.subtasks[index].len() {
                    self.step(index, worker, |subtask, out| subtask.watermark(last, out))?;
                }
            }
            let promised = if merged == Timestamp::MAX {
                merged
            } else {
                merged.before(lag)
            };
            if is_operator(node) {
                for worker in 0..self.subtasks[index].len() {
                    self.step(index, worker, |subtask, out| subtask.watermark(merged, out))?;
                }
            }
            self.watermarks[index] = promised.max(self.watermarks[index]);
        }
        Ok(())
    }

    /// The greatest watermark before the end that an input of a node has come to, or a partition of a source.
    fn last_of_inputs(&self, index: usize) -> Timestamp {
        let node = &self.plan.nodes[index];
        let of_inputs = node.inputs.iter().map(|&input| self.plan.stream(input).producer);
        let of_inputs = of_inputs.map(|producer| self.lasts[producer.0 as usize]);
        let partitions = self.sources.get(&index).into_iter().flat_map(BTreeMap::values);
        let reached = partitions.copied().filter(|reached| *reached < Timestamp::MAX);
        of_inputs.chain(reached).max().unwrap_or(Timestamp::MIN)
    }

    /// Calls a subtask until it has given all, and delivers what it gives.
    fn step(
        &mut self,
        node: usize,
        worker: usize,
        mut call: impl FnMut(&mut dyn Counting, &mut Vec<(usize, Batch)>) -> Result<Step, Fault>,
    ) -> Result<(), Fault> {
        loop {
            let mut out = Vec::new();
            let called = call(&mut *self.subtasks[node][worker], &mut out);
            let step = called.map_err(|fault| fault.at(&self.plan.nodes[node].id))?;
            self.deliver(node, worker, out)?;
            if step == Step::Done {
                return Ok(());
            }
        }
    }

    /// Brings what a node gave to whoever reads it, and what they give in turn.
    fn deliver(&mut self, node: usize, worker: usize, given: Vec<(usize, Batch)>) -> Result<(), Fault> {
        let mut parcels = VecDeque::new();
        self.post(node, worker, given, &mut parcels)?;
        while let Some(parcel) = parcels.pop_front() {
            let Parcel {
                node,
                worker,
                input,
                batch,
            } = parcel;
            let mut out: Vec<(usize, Batch)> = Vec::new();
            Operator::batch(&mut *self.subtasks[node][worker], input, batch, &mut out)
                .map_err(|fault| fault.at(&self.plan.nodes[node].id))?;
            self.post(node, worker, out, &mut parcels)?;
        }
        Ok(())
    }

    fn post(
        &mut self,
        node: usize,
        worker: usize,
        given: Vec<(usize, Batch)>,
        parcels: &mut VecDeque<Parcel>,
    ) -> Result<(), Fault> {
        let ports = operators::ports(&self.plan.nodes[node]);
        for (port, batch) in given {
            if batch.watermark_min() < self.watermarks[node].0 {
                let message = format!(
                    "it gave rows with the watermark {} after its own had reached {}",
                    Timestamp(batch.watermark_min()),
                    self.watermarks[node]
                );
                return Err(Fault::fatal(Domain::Internal, message).at(&self.plan.nodes[node].id));
            }
            let stream = ports[port];
            if self.watched.contains(&stream) {
                self.delivered.push(Delivered {
                    sink: None,
                    stream,
                    batch: batch.clone(),
                });
            }
            for &(reader, input) in &self.readers[stream.0 as usize] {
                let to = &self.plan.nodes[reader];
                if let NodeKind::Sink(_) = to.kind {
                    self.delivered.push(Delivered {
                        sink: Some(to.id.clone()),
                        stream,
                        batch: batch.clone(),
                    });
                    continue;
                }
                let workers = self.shape.workers.get();
                let groups = self.plan.engine.key_groups;
                let parts = route::parts(batch.clone(), to.kind.spread(input), &to.id, worker, workers, groups);
                parcels.extend(parts.into_iter().map(|(worker, batch)| Parcel {
                    node: reader,
                    worker,
                    input,
                    batch,
                }));
            }
        }
        Ok(())
    }
}

fn is_operator(node: &Node) -> bool {
    !matches!(node.kind, NodeKind::Source(_) | NodeKind::Sink(_))
}
