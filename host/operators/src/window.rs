//! Tumbling, sliding and cumulative windows over event time, keyed or not.
//!
//! Each row is judged by W(r), its own watermark, so what is late is a property of the input. A row is late for the
//! windows [s, e) with e + allowed <= W(r), and on time for those with W(r) < e. The result of a window holds the rows
//! that were on time for it, and is emitted when the merged watermark reaches e; where other rows were not late for it,
//! one correction with all of them follows when the watermark reaches e + allowed.
//!
//! Rows are summed by pane. A row of a pane counts from some window on: [`late::Class`]. Nearly all count for every window of
//! their pane; those are the pane's *main* part, and each other class that occurs has a part of its own. Windows of many
//! panes are put together from a binary tree over the panes, so a window of n panes takes about 2 log2(n) merges.
//!
//! Results at other times are asked for, and what they are depends on when rows arrive:
//!
//! * *Early results* hold the rows of an open window that came so far. By count, one follows the row that makes the count
//!   full, wherever batches are cut. By processing time, the first row since the last one asks what time it is
//!   ([`Operator::wake_at`] gives the lowest time), and the result follows so long after the answer. A row then costs a
//!   step for each of its windows, and a result a merge for each pane of its window.
//! * *Corrections at once*: a row that is admitted after the result of a window corrects it in the same call, row by row.
//!   A row that comes before is in the result, whatever its own watermark says.
//! * Both have t = e - 1 and W = the merged watermark that the operator was told last. That is the least that its output
//!   still allows. A window downstream holds the last microsecond of this one, so for an early result its end is after W
//!   and the row is on time there; a correction is as late as the row that set it off was at most, so a window of equal
//!   size and allowed lateness takes it.
//! * Where a result takes back the one before it, it comes as `update-before`, with the values given then, and
//!   `update-after`; the first of a key's window is an `insert`. The result at the end always comes.
//!
//! What does not fit into memory is in a store, where there is one: [`Window::with_store`].
//!
//! Results in `pane` count from 0 by key and window. Places of results are (key, end, index): 0 for the result and 1 for the
//! correction, or where results come at other times 2n + 1 for the n-th and 2n for what takes back the one before it.

mod firing;
pub(crate) mod late;
mod output;
mod panes;
mod part;
pub(crate) mod plugin;
mod results;
mod saved;
mod spilled;

pub(crate) use self::plugin::{Plugin, PluginCells};

use std::borrow::Cow;

use wasmill_core::aggregate::Aggregate;
use wasmill_core::batch::Batch;
use wasmill_core::column::Column;
use wasmill_core::fault::{Domain, Fault};
use wasmill_core::id::{KeyGroup, NodeId, WorkerIndex};
use wasmill_core::key;
use wasmill_core::operator::{Emit, Operator, Save, Step};
use wasmill_core::plan::{AggregateFunction, LATE_PORT, OnFault, Stream, WindowNode};
use wasmill_core::schema::Schema;
use wasmill_core::time::Timestamp;
use wasmill_core::transform::Reject;
use wasmill_core::window::{Assigner, Late, UnknownTimeZone, Windows};
use wasmill_state::Store;

use self::output::Output;
use self::panes::{AtOnce, Panes};
use self::part::{Blueprint, Scratch};
use self::plugin::Rejects;
use self::spilled::Spilled;
use crate::aggregate::{self, Rows};
use crate::counters::Counters;
use crate::dead_letters::{DeadLetters, Kind, Refused};
use crate::keys::{KeyId, Keys};

/// Bounds of a window operator.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct WindowLimits {
    /// Rows of results that one call of [`Operator::watermark`] emits at most. Default 4096.
    pub slice_rows: usize,
    /// The key groups. Default: those of a job of one worker.
    pub groups: KeyGroups,
}

/// The key groups of a job, and which of them are a subtask's: those whose state it saves.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct KeyGroups {
    /// How many there are.
    pub all: u16,
    /// The subtask's first.
    pub first: u16,
    /// The subtask's last. Before the first where it has none.
    pub last: u16,
}

impl KeyGroups {
    /// All groups, for the one subtask of a job.
    ///
    /// # Panics
    /// There is none.
    pub fn whole(all: u16) -> Self {
        assert!(all > 0, "a job has a key group");
        Self {
            all,
            first: 0,
            last: all - 1,
        }
    }

    /// Those that [`key::owner`] gives to a worker.
    pub fn of_worker(all: u16, worker: WorkerIndex, workers: u32) -> Self {
        let mut own = (0..all).filter(|&group| key::owner(KeyGroup(group), all, workers) == worker);
        let first = own.next();
        let (first, last) = first.map_or((1, 0), |first| (first, own.next_back().unwrap_or(first)));
        Self { all, first, last }
    }
}

impl Default for WindowLimits {
    fn default() -> Self {
        Self {
            slice_rows: 4_096,
            groups: KeyGroups::whole(key::KEY_GROUPS_DEFAULT),
        }
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
    spilled: Option<Spilled>,
    output: Output,
    watermark: i64,
    /// Whether entries were loaded and nothing else was done yet.
    loaded: bool,
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
            panes: Panes::new(assigner, &plan.frame, output.is_numbered(), blueprint),
            spilled: None,
            output,
            watermark: i64::MIN,
            loaded: false,
            counters: Counters::default(),
            scratch: Scratch::default(),
            ids: Vec::new(),
            schema,
        })
    }

    /// A window that keeps in `store`, which is empty, what takes more than `memory_bytes`.
    #[must_use]
    pub fn with_store(self, store: Store, memory_bytes: usize) -> Self {
        let values = self.output.value_types();
        Self {
            spilled: Some(Spilled::new(store, memory_bytes, values)),
            ..self
        }
    }

    /// What the operator has counted so far.
    pub fn counters(&self) -> Counters {
        self.counters
    }

    /// About how many bytes its state takes, in memory and in the store together.
    pub fn size_bytes(&self) -> usize {
        let stored = self.spilled.as_ref().map_or(0, Spilled::size_bytes);
        self.keys.size_bytes() + self.panes.size_bytes() + usize::try_from(stored).unwrap_or(usize::MAX)
    }

    /// How many keys its state holds in memory.
    pub fn keys_held(&self) -> usize {
        self.keys.held()
    }

    /// After the last entry was loaded, finds out again what entries do not say.
    fn resume(&mut self) {
        if std::mem::take(&mut self.loaded) {
            self.panes.resume(self.watermark);
        }
    }

    /// Makes room after so many rows.
    fn settle(&mut self, rows: usize) -> Result<(), Fault> {
        match &mut self.spilled {
            Some(spilled) => spilled.settle(rows, &mut self.panes, &mut self.keys),
            None => Ok(()),
        }
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
        self.resume();
        self.keys.reclaim();
        let mut ids = std::mem::take(&mut self.ids);
        self.keys.intern(batch, &mut ids);
        let times = batch.times();
        let late = self.panes.sort_in(batch, &times, self.watermark, &mut self.counters);
        let done = self.add(batch, &times, &ids, out);
        self.ids = ids;
        done?;
        self.settle(batch.rows())?;
        self.refuse_late(batch, &late, out)
    }

    /// Adds the rows that [`Panes::sort_in`] has put before their parts. Where results come at once, each has the rows
    /// up to the one that sets it off.
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
            spilled,
            keys,
            scratch,
            letters,
            schema,
            counters,
            output,
            limits,
            watermark,
            ..
        } = self;
        let mut cx = firing::Context {
            keys,
            scratch,
            rejects: Rejects {
                letters,
                schema,
                counters,
                out,
            },
        };
        if let Some(spilled) = spilled {
            spilled.fetch(panes, ids, &mut cx)?;
        }
        let at_once = panes.at_once(ids);
        let add_to = |panes: &mut Panes, range, cx: &mut firing::Context<'_>| {
            let firing::Context { keys, scratch, rejects } = cx;
            panes.for_each_sorted(range, keys, |part, plugins, keys, chosen| {
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
                part.add_to_plugins(batch, chosen, ids, groups, plugins, rejects)
            })
        };
        let mut from = 0;
        for AtOnce { row, of: (window, id) } in at_once {
            if from <= row {
                add_to(panes, from..row + 1, &mut cx)?;
                from = row + 1;
            }
            if let Some(spilled) = spilled {
                spilled.fetch_window(window, id, panes, &mut cx)?;
            }
            panes.emit(window, &[id], *watermark, output, &mut cx)?;
            if output.rows() >= limits.slice_rows {
                cx.flush(output);
            }
        }
        add_to(panes, from..batch.rows() as u32, &mut cx)?;
        cx.flush(output);
        Ok(())
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
        self.resume();
        self.watermark = self.watermark.max(to.0);
        let Self {
            panes,
            spilled,
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
        let step = match spilled {
            Some(spilled) if spilled.is_active() => {
                spilled.fire(self.watermark, limits.slice_rows, panes, output, &mut context)
            }
            _ => panes.fire(self.watermark, limits.slice_rows, output, &mut context),
        };
        step.and_then(|step| self.settle(0).map(|()| step))
            .map_err(|fault| fault.at(&self.letters.node))
    }

    fn wake_at(&self) -> Option<Timestamp> {
        let stored = self.spilled.as_ref().and_then(Spilled::wake_at);
        self.panes.wake_at().into_iter().chain(stored).min().map(Timestamp)
    }

    fn clock(&mut self, now: Timestamp, out: &mut dyn Emit) -> Result<Step, Fault> {
        self.resume();
        let Self {
            panes,
            spilled,
            keys,
            output,
            counters,
            letters,
            schema,
            limits,
            scratch,
            watermark,
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
        let step = match spilled {
            Some(spilled) if spilled.is_active() => {
                spilled.tick(now.0, *watermark, limits.slice_rows, panes, output, &mut context)
            }
            _ => panes.tick(now.0, *watermark, limits.slice_rows, output, &mut context),
        };
        step.map_err(|fault| fault.at(&self.letters.node))
    }

    /// Of a window that is not keyed all entries are in the group 0.
    fn save(&mut self, out: &mut dyn Save) -> Result<(), Fault> {
        let keyed = !self.keys.types().is_empty();
        saved::save_watermark(self.watermark, self.limits.groups, keyed, out)?;
        match &mut self.spilled {
            Some(spilled) if spilled.is_active() => {
                spilled.save(&mut self.panes, &mut self.keys, &self.schema, self.limits.groups, out)
            }
            _ => self.panes.save(&self.keys, self.limits.groups, out),
        }
    }

    fn load(&mut self, _: KeyGroup, key: &[u8], value: &[u8]) -> Result<(), Fault> {
        self.loaded = true;
        let node = &self.letters.node;
        if let Some(watermark) = saved::load_watermark(key, value).map_err(|fault| fault.at(node))? {
            self.watermark = self.watermark.max(watermark);
            return Ok(());
        }
        let mut loading = saved::Loading {
            keys: &mut self.keys,
            schema: &self.schema,
            values: &self.output.value_types(),
        };
        self.panes
            .load(key, value, &mut loading)
            .map_err(|fault| fault.at(node))?;
        self.settle(1).map_err(|fault| fault.at(&self.letters.node))
    }
}
