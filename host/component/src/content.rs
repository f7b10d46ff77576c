//! `Content` over an instance of a `window` plugin: the whole content of windows in, rows out.
//!
//! Who makes calls cuts windows that are larger than a call into parts; what a guest knows of the earlier parts is what
//! it returned with them.

use arrow_buffer::ToByteSlice;
use wasmill_core::batch::Batch;
use wasmill_core::content::{Content, ContentColumn, ContentDescription, ContentOutput, ContentOutputs, Firings};
use wasmill_core::fault::Fault;
use wasmill_core::plugin::{Limits, World};
use wasmill_core::schema::Field;
use wasmill_core::time::Timestamp;
use wasmtime::Store;
use wasmtime::component::Instance as ComponentInstance;

use crate::bindings::exports::wasmill::operator::window_operator;
use crate::bindings::wasmill::operator::types;
use crate::blamed::Repeated;
use crate::imports::Context;
use crate::lift::{self, Violation};
use crate::lower::{bitmap, lower, params, size_bytes};
use crate::program::Exports;
use crate::shape::{InputShape, OutputShape, Required, RowLimit, first_null, null_in, rejects};
use crate::subtask::{Answer, Call, Guest, Subtask};

impl Guest for window_operator::Guest {
    fn load(exports: &Exports, store: &mut Store<Context>, instance: &ComponentInstance) -> wasmtime::Result<Self> {
        match exports {
            Exports::Window(indices) => indices.load(store, instance),
            other => Err(other.is_not(World::Window)),
        }
    }

    fn call_open(
        &self,
        store: &mut Store<Context>,
        config: &str,
        inputs: &[types::Input<'_>],
        key: &[&str],
    ) -> Answer<()> {
        self.call_open(store, config, inputs[0].clone(), key)
    }
}

/// One subtask's instance of a `window` plugin.
pub(crate) struct WasmContent {
    subtask: Subtask<window_operator::Guest>,
    shape: Shape,
}

/// What was described, and what of it is wanted.
struct Shape {
    input: InputShape,
    outputs: Vec<OutputShape>,
}

impl WasmContent {
    /// Over a subtask that has been opened.
    pub(crate) fn new(
        subtask: Subtask<window_operator::Guest>,
        description: &ContentDescription,
        live: &[Vec<bool>],
    ) -> Self {
        let shape = Shape {
            input: InputShape::new(&subtask.inputs()[0], &description.input),
            outputs: OutputShape::of_ports(&description.outputs, live),
        };
        Self { subtask, shape }
    }
}

impl Content for WasmContent {
    fn process(&mut self, firings: &Firings, batch: &Batch) -> Result<ContentOutputs, Fault> {
        check_call(firings, batch);
        if firings.starts.is_empty() {
            return Ok(ContentOutputs::default());
        }
        let keys = lower(&firings.keys);
        let required = Required::new(batch, &self.shape.input)?;
        let lowered = required.lowered();
        let carry: Vec<&[u8]> = firings.carry.iter().map(Vec::as_slice).collect();
        let (first, last) = (bitmap(&firings.first), bitmap(&firings.last));
        let input_bytes = size_bytes(&keys)
            + lowered.size_bytes()
            + size_of_val(&firings.starts[..]) * 2
            + size_of_val(&firings.panes[..]) * 2
            + carry.iter().map(|part| part.len()).sum::<usize>();
        let limits = self.subtask.limits().clone();
        let (keys, columns) = (params(&keys), lowered.params());
        let shape = &self.shape;
        self.subtask.repeat(Repeated::with_fewer(firings.starts.len()));
        let outputs = self.subtask.call(
            Call {
                function: "process",
                rows: batch.rows(),
                keys: None,
                input_bytes,
            },
            |guest, store| {
                let firings = window_operator::Firings {
                    keys: &keys,
                    start: firings.starts.to_byte_slice(),
                    end: firings.ends.to_byte_slice(),
                    pane: firings.panes.to_byte_slice(),
                    offsets: firings.offsets.to_byte_slice(),
                    first: &first,
                    last: &last,
                    carry: &carry,
                };
                guest.call_process(store, firings, lowered.batch(&columns))
            },
            |answer| shape.assemble(firings, batch, answer, &limits),
        );
        let outputs = outputs.inspect_err(|fault| {
            self.subtask.log_blame(fault, || {
                let (start, end) = (Timestamp(firings.starts[0]), Timestamp(firings.ends[0]));
                format!("the rows of the window from {start} to {end}")
            });
        })?;
        self.subtask.commit();
        Ok(outputs)
    }
}

/// What the caller promises.
fn check_call(firings: &Firings, batch: &Batch) {
    let count = firings.starts.len();
    debug_assert!(
        firings.keys.iter().all(|column| column.len() == count),
        "a key a firing"
    );
    debug_assert_eq!(firings.ends.len(), count, "an end a firing");
    debug_assert_eq!(firings.panes.len(), count, "a pane a firing");
    debug_assert_eq!(firings.offsets.len(), count + 1, "a stretch of rows a firing");
    debug_assert_eq!(
        firings.offsets.last().map(|&end| end as usize),
        Some(batch.rows()),
        "the stretches are of all rows"
    );
    debug_assert_eq!((firings.first.len(), firings.last.len()), (count, count), "which parts");
    debug_assert_eq!(firings.carry.len(), count, "a carry a firing");
}

impl Shape {
    /// All of an answer, held to the contract.
    fn assemble(
        &self,
        firings: &Firings,
        batch: &Batch,
        answer: window_operator::Outputs,
        limits: &Limits,
    ) -> Result<ContentOutputs, Violation> {
        let mut limit = RowLimit::new(limits.output_rows);
        let mut outputs = Vec::with_capacity(answer.outputs.len());
        for output in answer.outputs {
            outputs.extend(self.output(firings, batch, output, &mut limit)?);
        }
        Ok(ContentOutputs {
            outputs,
            carry: carry(firings, answer.carry)?,
            rejects: rejects(answer.rejects, batch.rows())?,
        })
    }

    /// An output; none where it has no rows.
    fn output(
        &self,
        firings: &Firings,
        batch: &Batch,
        output: window_operator::Output,
        limit: &mut RowLimit,
    ) -> Result<Option<ContentOutput>, Violation> {
        let shape = OutputShape::find(&self.outputs, output.port)?;
        let firing = lift::numbers(&output.firing, firings.starts.len(), "firing")?;
        limit.add(firing.len())?;
        let rows = match output.rows {
            None => None,
            Some(raw) => Some(rows(&raw, &firing, firings, batch.rows())?),
        };
        shape.check_columns(output.columns.len())?;
        let mut columns = Vec::with_capacity(output.columns.len());
        for ((column, field), &live) in output.columns.into_iter().zip(shape.schema.fields()).zip(&shape.live) {
            columns.push(match column {
                types::OutputColumn::Input(index) => {
                    self.check_input(batch, rows.as_deref(), index, field)
                        .map_err(|violation| violation.of(format_args!("column \"{}\"", field.name)))?;
                    if live {
                        ContentColumn::Input(index as usize)
                    } else {
                        ContentColumn::Absent
                    }
                }
                types::OutputColumn::Computed(raw) if live => {
                    let of_batch = |row: usize| rows.as_ref().map(|rows| rows[row] as usize);
                    let column = lift::column(raw, field, firing.len()).map_err(|violation| Violation {
                        row: violation.row.and_then(of_batch),
                        ..violation
                    })?;
                    ContentColumn::Computed(column)
                }
                types::OutputColumn::Computed(_) => ContentColumn::Absent,
            });
        }
        Ok((!firing.is_empty()).then_some(ContentOutput {
            port: output.port as usize,
            firing,
            rows,
            columns,
        }))
    }

    fn check_input(&self, batch: &Batch, rows: Option<&[u32]>, index: u32, field: &Field) -> Result<(), Violation> {
        let Some(rows) = rows else {
            return Err(Violation::new("an input column, but not from which rows"));
        };
        self.input.check_reference(index, field)?;
        if !field.nullable
            && let Some(place) = first_null(batch, index as usize, rows.iter().map(|&row| row as usize))
        {
            return Err(null_in(rows[place] as usize));
        }
        Ok(())
    }
}

/// The rows that output rows take input columns from: each of the output row's own firing.
fn rows(raw: &[u8], firing: &[u32], firings: &Firings, count: usize) -> Result<Vec<u32>, Violation> {
    let rows = lift::numbers(raw, count, "row")?;
    if rows.len() != firing.len() {
        return Err(Violation::new(format!(
            "{} rows for {} output rows",
            rows.len(),
            firing.len()
        )));
    }
    let is_foreign = |(&row, &firing): (&u32, &u32)| {
        let firing = firing as usize;
        row < firings.offsets[firing] || row >= firings.offsets[firing + 1]
    };
    if let Some(at) = rows.iter().zip(firing).position(is_foreign) {
        return Err(Violation::new(format!(
            "row {} for an output row of firing {}, whose rows are {} to {}",
            rows[at],
            firing[at],
            firings.offsets[firing[at] as usize],
            i64::from(firings.offsets[firing[at] as usize + 1]) - 1
        )));
    }
    Ok(rows)
}

/// What the next parts get: nothing where there is none.
fn carry(firings: &Firings, carry: Vec<Vec<u8>>) -> Result<Vec<Vec<u8>>, Violation> {
    let count = firings.last.len();
    if carry.len() != count {
        return Err(Violation::new(format!(
            "{} of `carry` for {count} firings",
            carry.len()
        )));
    }
    let ended = |(carry, &last): (&Vec<u8>, &bool)| last && !carry.is_empty();
    match carry.iter().zip(&firings.last).position(ended) {
        None => Ok(carry),
        Some(firing) => Err(Violation::new(format!(
            "a `carry` for firing {firing}, which ends in this call"
        ))),
    }
}
