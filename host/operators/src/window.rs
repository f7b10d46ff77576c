//! Tumbling and sliding windows over event time, keyed or not.
//!
//! Each row is judged by W(r), its own watermark, so what is late is a property of the input. A row is late for the
//! windows [s, e) with e + allowed <= W(r), and on time for those with W(r) < e. The result of a window holds the rows
//! that were on time for it, and is emitted when the merged watermark reaches e; where other rows were not late for it,
//! one correction with all of them follows when the watermark reaches e + allowed.
//!
//! Rows are summed by pane. A row of a pane counts from some window on: [`late::Class`]. Nearly all count for every window of
//! their pane; those are the pane's *main* part, and each other class that occurs has a part of its own. Windows of many
//! panes are put together from a binary tree over the panes, so a window of n panes takes about 2 log2(n) merges.

mod firing;
mod late;
mod panes;
mod part;
mod plugin;

pub(crate) use self::plugin::{Plugin, PluginCells};

use std::borrow::Cow;

use wasmill_core::aggregate::Aggregate;
use wasmill_core::batch::Batch;
use wasmill_core::column::Column;
use wasmill_core::fault::{Domain, Fault};
use wasmill_core::id::{KeyGroup, NodeId};
use wasmill_core::operator::{Emit, Operator, Save, Step};
use wasmill_core::plan::{AggregateFunction, LATE_PORT, OnFault, Stream, WindowNode};
use wasmill_core::schema::Schema;
use wasmill_core::time::Timestamp;
use wasmill_core::transform::Reject;
use wasmill_core::window::{Assigner, Late, UnknownTimeZone, Windows};

use self::firing::Output;
use self::panes::Panes;
use self::part::{Blueprint, Scratch};
use self::plugin::Rejects;
use crate::aggregate::{self, Rows};
use crate::counters::Counters;
use crate::dead_letters::{DeadLetters, Kind, Refused};
use crate::keys::{KeyId, Keys};

/// Bounds of a window operator.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct WindowLimits {
    /// Rows of results that one call of [`Operator::watermark`] emits at most. Default 4096.
    pub slice_rows: usize,
}

impl Default for WindowLimits {
    fn default() -> Self {
        Self { slice_rows: 4_096 }
    }
}

/// What a [`Window`] is made for.
#[derive(Debug)]
pub struct WindowPorts<'a> {
    /// The input.
    pub input: &'a Stream,
    /// The stream of port 0. Columns that are not live are not computed.
    pub output: &'a Stream,
    /// The port of dead letters, where the topology names a sink for them.
    pub dead_letters: Option<usize>,
}

/// One subtask of a window operator.
#[derive(Debug)]
pub struct Window {
    schema: Schema,
    late: Late,
    letters: DeadLetters,
    limits: WindowLimits,
    /// Which input columns aggregates read.
    reads: Vec<bool>,
    keys: Keys,
    panes: Panes,
    output: Output,
    watermark: i64,
    counters: Counters,
    scratch: Scratch,
    ids: Vec<KeyId>,
}

impl Window {
    /// A window that has seen nothing. `plugins` holds an instance for each Wasm aggregate of the node, in their order.
    ///
    /// # Errors
    /// The time zone is unknown.
    ///
    /// # Panics
    /// The number of `plugins` is not that of the node's Wasm aggregates.
    pub fn new(
        node: NodeId,
        plan: &WindowNode,
        ports: &WindowPorts<'_>,
        plugins: Vec<Box<dyn Aggregate>>,
        limits: WindowLimits,
    ) -> Result<Self, UnknownTimeZone> {
        let schema = ports.input.schema.clone();
        let Windows::Aligned(spec) = &plan.frame.windows else {
            unreachable!("windows of other types have operators of their own")
        };
        let assigner = Assigner::new(spec)?;
        let output = Output::new(node.clone(), plan, ports.output);
        let mut reads = vec![false; schema.len()];
        let mut blueprint = Blueprint {
            builtins: Vec::new(),
            plugins: Vec::new(),
        };
        let mut plugins = plugins.into_iter();
        for (node, live) in plan.aggregates.iter().zip(output.live_aggregates()) {
            match &node.function {
                AggregateFunction::Builtin(function) => {
                    if !live {
                        continue;
                    }
                    if let Some(column) = aggregate::column_of(function) {
                        reads[column] = true;
                    }
                    blueprint.builtins.extend(aggregate::accumulators(function, &schema));
                }
                AggregateFunction::Plugin(plugin) => {
                    let guest = plugins.next().expect("an instance for each Wasm aggregate");
                    blueprint.plugins.push(Plugin::new(
                        guest,
                        plugin.description.clone(),
                        plugin.input.clone(),
                        plugin.plugin.path.display().to_string(),
                    ));
                }
            }
        }
        assert!(plugins.next().is_none(), "an instance for each Wasm aggregate, no more");
        let types = plan.frame.key.iter().map(|&c| schema.fields()[c].data_type).collect();
        Ok(Self {
            late: plan.frame.late,
            letters: DeadLetters {
                node,
                port: ports.dead_letters,
                on_fault: plan.on_fault,
            },
            limits,
            reads,
            keys: Keys::new(&plan.frame.key, types),
            panes: Panes::new(assigner, plan.frame.allowed_lateness, blueprint),
            output,
            watermark: i64::MIN,
            counters: Counters::default(),
            scratch: Scratch::default(),
            ids: Vec::new(),
            schema,
        })
    }

    /// What the operator has counted so far.
    pub fn counters(&self) -> Counters {
        self.counters
    }

    /// About how many bytes its state takes.
    pub fn size_bytes(&self) -> usize {
        self.keys.size_bytes() + self.panes.size_bytes()
    }

    /// How many keys its state holds.
    pub fn keys_held(&self) -> usize {
        self.keys.held()
    }

    fn take(&mut self, batch: &Batch, out: &mut dyn Emit) -> Result<(), Fault> {
        self.counters.rows_in += batch.rows() as u64;
        if batch.watermark_min() < self.watermark {
            let message = format!(
                "a batch came with watermark {} after the merged watermark reached {}",
                Timestamp(batch.watermark_min()),
                Timestamp(self.watermark)
            );
            return Err(Fault::fatal(Domain::Internal, message));
        }
        self.keys.reclaim();
        let mut ids = std::mem::take(&mut self.ids);
        self.keys.intern(batch, &mut ids);
        let times = batch.times();
        let late = self.panes.sort_in(batch, &times, &mut self.counters);
        let done = self.add(batch, &times, &ids, out);
        self.ids = ids;
        done?;
        self.refuse_late(batch, &late, out)
    }

    /// Adds the rows that [`Panes::sort_in`] has put before their parts.
    fn add(&mut self, batch: &Batch, times: &[i64], ids: &[KeyId], out: &mut dyn Emit) -> Result<(), Fault> {
        let columns: Vec<Option<Cow<'_, Column>>> = self
            .reads
            .iter()
            .enumerate()
            .map(|(place, &read)| read.then(|| batch.column(place)))
            .collect();
        let order = batch.order();
        let Self {
            panes,
            keys,
            scratch,
            letters,
            schema,
            counters,
            ..
        } = self;
        let mut rejects = Rejects {
            letters,
            schema,
            counters,
            out,
        };
        panes.for_each_sorted(keys, |part, plugins, keys, chosen| {
            let rows = Rows {
                columns: &columns,
                times,
                order: order.as_deref(),
                chosen,
                groups: &[],
            };
            let groups = part.add(ids, rows, keys, scratch);
            if plugins.is_empty() {
                return Ok(());
            }
            part.add_to_plugins(batch, chosen, ids, groups, plugins, &mut rejects)
        })
    }

    fn refuse_late(&mut self, batch: &Batch, late: &[u32], out: &mut dyn Emit) -> Result<(), Fault> {
        if late.is_empty() {
            return Ok(());
        }
        self.counters.late += late.len() as u64;
        match self.late {
            Late::Drop => Ok(()),
            Late::Port => {
                out.emit(LATE_PORT, batch.select(late));
                Ok(())
            }
            Late::DeadLetter => {
                let letters: Vec<Reject> = late
                    .iter()
                    .map(|&row| Reject {
                        row,
                        message: "late for all its windows".into(),
                    })
                    .collect();
                // A late row is never a reason to stop.
                let letters_or_skip = DeadLetters {
                    on_fault: OnFault::Skip,
                    ..self.letters.clone()
                };
                let refused = Refused {
                    batch,
                    schema: &self.schema,
                    plugin: None,
                    kind: Kind::Late,
                    rows: &letters,
                };
                letters_or_skip.refuse(&refused, &mut self.counters, out)
            }
        }
    }
}

impl Operator for Window {
    fn batch(&mut self, _input: usize, batch: Batch, out: &mut dyn Emit) -> Result<(), Fault> {
        if batch.is_empty() {
            return Ok(());
        }
        self.take(&batch, out).map_err(|fault| fault.at(&self.letters.node))
    }

    fn watermark(&mut self, to: Timestamp, out: &mut dyn Emit) -> Result<Step, Fault> {
        self.watermark = self.watermark.max(to.0);
        let Self {
            panes,
            keys,
            output,
            counters,
            letters,
            schema,
            limits,
            scratch,
            ..
        } = self;
        let mut context = firing::Context {
            keys,
            scratch,
            rejects: Rejects {
                letters,
                schema,
                counters,
                out,
            },
        };
        panes
            .fire(self.watermark, limits.slice_rows, output, &mut context)
            .map_err(|fault| fault.at(&self.letters.node))
    }

    fn wake_at(&self) -> Option<Timestamp> {
        None
    }

    fn clock(&mut self, _: Timestamp, _: &mut dyn Emit) -> Result<Step, Fault> {
        Ok(Step::Done)
    }

    fn save(&mut self, _: &mut dyn Save) -> Result<(), Fault> {
        Err(Fault::fatal(Domain::Internal, "not saved yet"))
    }

    fn load(&mut self, _: KeyGroup, _: &[u8], _: &[u8]) -> Result<(), Fault> {
        Err(Fault::fatal(Domain::Internal, "not loaded yet"))
    }
}
