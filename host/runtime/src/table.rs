//! Loads the table of a lookup: runs its source, alone, to its end.
//!
//! The table is its rows in the order of their places: by partition, then as they stand there, the same on every run.

use std::num::NonZeroUsize;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use wasmill_core::batch::{Batch, RowOf, interleave};
use wasmill_core::fault::{Domain, Fault};
use wasmill_core::id::{Epoch, NodeIndex, StreamIndex};
use wasmill_core::operator::Emit;
use wasmill_core::order::Order;
use wasmill_core::plan::{LookupNode, Node, NodeKind, Plan, StateSettings, Stream};
use wasmill_core::plugin::Isolation;
use wasmill_core::time::Timestamp;
use wasmill_engine::{Ending, SinkState, SinkTask, Ticket};
use wasmill_operators::{LookupTable, SharedTable};

use crate::graph::{self, Job};
use crate::job::{Environment, Tasks};
use crate::metrics::Metrics;
use crate::stop::Stop;

/// Loads one lookup's table.
#[derive(Clone)]
pub(crate) struct Loader {
    /// A plan with nothing but the table's source.
    plan: Plan,
    lookup: LookupNode,
    environment: Environment,
}

impl Loader {
    /// For the lookup of this node.
    pub(crate) fn new(node: &Node, lookup: &LookupNode, plan: &Plan, environment: &Environment) -> Self {
        let mut live = vec![false; lookup.schema.len()];
        for column in lookup
            .columns
            .iter()
            .copied()
            .chain(lookup.on.iter().map(|pair| pair.1))
        {
            live[column] = true;
        }
        let stream = Stream {
            name: format!("{}.table", node.id).into(),
            producer: NodeIndex(0),
            schema: lookup.schema.clone(),
            live,
            order: true,
            changelog: false,
        };
        let source = Node {
            id: node.id.clone(),
            inputs: Vec::new(),
            outputs: vec![StreamIndex(0)],
            dead_letters: None,
            renamed_from: Vec::new(),
            isolation: Isolation::default(),
            kind: NodeKind::Source(Box::new(lookup.table.clone())),
        };
        let plan = Plan {
            nodes: vec![source],
            streams: vec![stream],
            state: StateSettings::default(),
            checkpoint: None,
            ..plan.clone()
        };
        Self {
            plan,
            lookup: lookup.clone(),
            environment: environment.clone(),
        }
    }

    /// Loads the table. Blocks.
    ///
    /// # Errors
    /// It cannot be read, a record of it is invalid, or the job was stopped.
    pub(crate) fn load(&self, tasks: &Tasks, stop: &Stop) -> Result<LookupTable, Fault> {
        let metrics = Metrics::of(&self.plan);
        let settings = graph::engine_settings(&self.plan, NonZeroUsize::MIN, &self.environment);
        let job = Job::open(
            self.plan.clone(),
            self.environment.clone(),
            metrics,
            stop.clone(),
            tasks.clone(),
        )?;
        let collected: Arc<Mutex<Vec<Batch>>> = Arc::default();
        let into = Arc::clone(&collected);
        let ended = wasmill_engine::run(&settings, stop.abort(), move |dataflow| {
            let collector = Collector {
                batches: Arc::clone(&into),
                ended: false,
            };
            job.build_collecting(dataflow, Box::new(collector))
        });
        match ended {
            Ok(()) => {}
            Err(Ending::Failed(fault)) => return Err(fault),
            Err(Ending::Stopped) => return Err(Fault::fatal(Domain::User, "stopped while its table was loaded")),
        }
        let batches = std::mem::take(&mut *collected.lock().unwrap_or_else(PoisonError::into_inner));
        LookupTable::new(&self.lookup, &in_order(&batches))
    }

    /// Loads the table again and again, until the job stops. One that cannot be loaded is told, and the one before stays.
    pub(crate) async fn again(
        self,
        every: Duration,
        table: Arc<SharedTable>,
        tasks: Tasks,
        stop: Stop,
    ) -> Result<(), Fault> {
        let stopping = stop.stopping();
        while !stopping.within(every).await {
            let (loader, tasks) = (self.clone(), tasks.apart());
            let own = Stop::new();
            let (waiting, reading) = (own.clone(), tasks.clone());
            let loading = tokio::task::spawn_blocking(move || loader.load(&reading, &waiting));
            tokio::pin!(loading);
            let loaded = tokio::select! {
                loaded = &mut loading => loaded,
                () = stopping.stopped() => {
                    own.stop();
                    loading.await
                }
            };
            own.end_waiting();
            drop(tasks.join().await);
            match loaded {
                Ok(Ok(loaded)) => table.replace(loaded),
                Ok(Err(fault)) => {
                    tracing::warn!(node = %self.plan.nodes[0].id, %fault, "the table was not loaded again; the one before stays");
                }
                Err(error) => {
                    return Err(Fault::fatal(
                        Domain::Internal,
                        format!("loading a table ended badly: {error}"),
                    ));
                }
            }
        }
        Ok(())
    }
}

/// All rows by place.
fn in_order(batches: &[Batch]) -> Vec<Batch> {
    let mut rows: Vec<RowOf<'_>> = batches
        .iter()
        .flat_map(|batch| (0..batch.rows()).map(move |row| RowOf { batch, row }))
        .collect();
    if rows.is_empty() {
        return Vec::new();
    }
    rows.sort_by(|a, b| {
        let (first, second) = (places(a.batch), places(b.batch));
        first.compare(a.batch.base_row(a.row), second, b.batch.base_row(b.row))
    });
    vec![interleave(&rows)]
}

fn places(batch: &Batch) -> &Order {
    let order = batch.hidden().order.as_ref();
    order.expect("a table's source gives places")
}

/// Keeps every batch.
struct Collector {
    batches: Arc<Mutex<Vec<Batch>>>,
    ended: bool,
}

impl SinkTask for Collector {
    fn takes_input(&self) -> bool {
        true
    }

    fn batch(&mut self, _: usize, batch: Batch, _: Option<Ticket>) -> Result<(), Fault> {
        self.batches.lock().unwrap_or_else(PoisonError::into_inner).push(batch);
        Ok(())
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
