//! Runs a script in one variation, and writes down what came of each step.

use std::collections::BTreeMap;
use std::num::NonZeroUsize;
use std::path::{Path, PathBuf};
use std::sync::Arc;

use wasmill_component::Host;
use wasmill_core::column::Value as Cell;
use wasmill_core::fault::Fault;
use wasmill_core::id::NodeId;
use wasmill_core::plan::{Plan, StateBackend, StateSettings};
use wasmill_core::time::Timestamp;
use wasmill_operators::SharedTable;
use wasmill_state::Stores;

use crate::judge::file_name;
use crate::kept::KeptTable;
use crate::script::{Action, Script};
use crate::simulation::{Delivered, Saved, Shape, Simulation};
use crate::subject::{Output, Tap, Tested};
use crate::value;
use crate::variation::{Form, Variation};

/// Memory of a job's state on disk in a test: so little that a store writes what does not fit.
const STATE_MEMORY_BYTES: u64 = 1 << 20;

/// The hidden columns, before those of the output.
pub(crate) const HIDDEN: [&str; 3] = ["_kind", "_time", "_watermark"];

/// The column of dead letters that names a plugin by its path, which is another on each machine: its file's name counts.
const PLUGIN: &str = "plugin";

/// What a step gave.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(crate) struct Given {
    /// By output: its rows by time and place, each with its hidden columns and its own, as JSON.
    pub(crate) outputs: Vec<Vec<Vec<String>>>,
    /// By table of keyed operators: its rows.
    pub(crate) kept: Vec<Vec<Vec<String>>>,
}

/// What came of a script.
#[derive(Debug)]
pub(crate) struct Trace {
    pub(crate) steps: Vec<Given>,
    /// The fault that ended it, in the step after those.
    pub(crate) fault: Option<Fault>,
}

/// The plan by the rows of a batch.
type Plans = BTreeMap<NonZeroUsize, Plan>;

/// One of two folders for state on disk.
#[derive(Clone, Copy)]
enum Folder {
    A,
    B,
}

impl Folder {
    fn other(self) -> Self {
        match self {
            Self::A => Self::B,
            Self::B => Self::A,
        }
    }
}

/// What runs are made with.
pub(crate) struct Bench<'a> {
    pub(crate) tested: &'a Tested,
    pub(crate) tables: &'a BTreeMap<NodeId, Arc<SharedTable>>,
    pub(crate) kept: &'a [KeptTable],
    pub(crate) components: &'a Host,
    /// A folder for state on disk.
    pub(crate) scratch: PathBuf,
}

impl Bench<'_> {
    /// Runs a script.
    ///
    /// # Errors
    /// An operator could not be made.
    pub(crate) fn run(&self, script: &Script, variation: &Variation) -> Result<Trace, Fault> {
        // Slices of operators follow the batches of the engine.
        let forms = std::iter::once(&variation.form).chain(variation.restores.values());
        let plans: Plans = forms.map(|form| (form.shape.batch_rows, self.plan(form))).collect();
        let mut form = variation.form;
        // State on disk is restored into another folder: the one before is still open.
        let mut folder = Folder::A;
        let mut simulation = self.open(&plans, form, folder)?;
        for (source, partition) in &script.partitions {
            simulation.partition(*source, partition);
        }
        let mut steps = Vec::new();
        for (at, actions) in script.steps.iter().enumerate() {
            let mut came = Vec::new();
            for action in actions {
                let done = match action {
                    Action::Clock(now) => simulation.clock(*now),
                    Action::Rows(source, batch) => simulation.rows(*source, batch),
                    Action::Watermark(source, partition, to) => simulation.watermark(*source, partition, *to),
                    Action::End => simulation.end(),
                    Action::Restore => simulation.save().and_then(|saved| {
                        came.append(&mut simulation.delivered());
                        folder = folder.other();
                        simulation = self.reopen(&plans, form, folder, &saved)?;
                        Ok(())
                    }),
                };
                if let Err(fault) = done {
                    return Ok(Trace {
                        steps,
                        fault: Some(fault),
                    });
                }
            }
            came.append(&mut simulation.delivered());
            let mut given = Given {
                outputs: self.tested.outputs.iter().map(|output| rows(output, &came)).collect(),
                kept: Vec::new(),
            };
            let next = variation.restores.get(&at);
            if next.is_some() || !self.kept.is_empty() {
                let saved = match simulation.save() {
                    Ok(saved) => saved,
                    Err(fault) => {
                        return Ok(Trace {
                            steps,
                            fault: Some(fault),
                        });
                    }
                };
                let kept = self.kept.iter().map(|table| table.rows(&self.tested.plan, &saved));
                given.kept = kept.collect::<Result<_, _>>()?;
                if let Some(next) = next {
                    form = *next;
                    folder = folder.other();
                    simulation = self.reopen(&plans, form, folder, &saved)?;
                }
            }
            steps.push(given);
        }
        Ok(Trace { steps, fault: None })
    }

    fn plan(&self, form: &Form) -> Plan {
        let mut plan = self.tested.plan.clone();
        plan.engine.batch_rows = form.shape.batch_rows;
        plan
    }

    fn open<'p>(&self, plans: &'p Plans, form: Form, folder: Folder) -> Result<Simulation<'p>, Fault> {
        let plan = &plans[&form.shape.batch_rows];
        let settings = StateSettings {
            backend: form.backend,
            memory_bytes: STATE_MEMORY_BYTES,
            path: None,
        };
        let count = plan.nodes.len() * form.shape.workers.get();
        let folder = self.scratch.join(match folder {
            Folder::A => "a",
            Folder::B => "b",
        });
        let stores = match form.backend {
            StateBackend::Memory => Stores::memory(),
            StateBackend::Disk => Stores::new(&settings, &folder, count)?,
        };
        let watched: Vec<_> = self
            .tested
            .outputs
            .iter()
            .filter_map(|output| match output.tap {
                Tap::Stream(stream) => Some(stream),
                Tap::Sink(_) => None,
            })
            .collect();
        let shape: Shape = form.shape;
        Ok(Simulation::new(plan, self.components, &stores, self.tables, shape)?.watching(&watched))
    }

    fn reopen<'p>(&self, plans: &'p Plans, form: Form, folder: Folder, saved: &Saved) -> Result<Simulation<'p>, Fault> {
        let mut simulation = self.open(plans, form, folder)?;
        simulation.restore(saved)?;
        Ok(simulation)
    }
}

/// The rows of an output by time and place.
fn rows(output: &Output, came: &[Delivered]) -> Vec<Vec<String>> {
    let mut rows: Vec<(i64, Vec<u8>, Vec<String>)> = Vec::new();
    for delivered in came {
        let is_here = match &output.tap {
            Tap::Sink(sink) => delivered.sink.as_ref() == Some(sink),
            Tap::Stream(stream) => delivered.sink.is_none() && delivered.stream == *stream,
        };
        if !is_here {
            continue;
        }
        let batch = &delivered.batch;
        let columns: Vec<_> = output.columns.iter().map(|&column| batch.column(column)).collect();
        let watermarks = batch.watermarks();
        for row in 0..batch.rows() {
            let time = batch.time(row);
            let mut place = Vec::new();
            if let Some(order) = &batch.hidden().order {
                order.write(batch.base_row(row), &mut place);
            }
            let mut cells = vec![
                format!("\"{}\"", batch.kind(row).name()),
                format!("\"{}\"", Timestamp(time)),
                format!("\"{}\"", watermark(watermarks.at(row))),
            ];
            cells.extend(columns.iter().map(|column| value::text(column.value(row))));
            if output.partial {
                for (cell, &column) in cells[HIDDEN.len()..].iter_mut().zip(&output.columns) {
                    let name = &*output.schema.fields()[column].name;
                    if let (PLUGIN, Cell::Utf8(path)) = (name, batch.column(column).value(row)) {
                        *cell = value::text(Cell::Utf8(&file_name(Path::new(path))));
                    }
                }
            }
            rows.push((time, place, cells));
        }
    }
    // Rows of one time and place, as the two of an update, stay in the order in which they came.
    rows.sort_by(|a, b| (a.0, &a.1).cmp(&(b.0, &b.1)));
    rows.into_iter().map(|(_, _, cells)| cells).collect()
}

/// A watermark in words where it is no time.
fn watermark(micros: i64) -> String {
    match Timestamp(micros) {
        Timestamp::MIN => "none".to_owned(),
        Timestamp::MAX => "end".to_owned(),
        time => time.to_string(),
    }
}
