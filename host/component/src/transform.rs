//! `Transform` over an instance of a `transform` plugin: columns in, selections and columns out.

use std::borrow::Cow;
use std::collections::BTreeMap;

use arrow_buffer::ScalarBuffer;
use wasmill_core::batch::{Batch, Hidden, OutputColumn};
use wasmill_core::column::Column;
use wasmill_core::fault::Fault;
use wasmill_core::plugin::{Limits, World};
use wasmill_core::time::Timestamp;
use wasmill_core::transform::{Reject, Retime, Transform, TransformDescription, Transformed};
use wasmtime::Store;
use wasmtime::component::Instance as ComponentInstance;

use crate::bindings::exports::wasmill::operator::transformer;
use crate::bindings::wasmill::operator::types;
use crate::blamed::{self, Repeated};
use crate::imports::Context;
use crate::lift::{self, Violation};
use crate::program::Exports;
use crate::shape::{InputShape, OutputShape, Required, RowLimit, first_null, null_in, rejects};
use crate::subtask::{Answer, Call, Guest, Subtask};

/// Bytes of input of one call; a larger batch is cut into several.
pub(crate) const CALL_BYTES_MAX: usize = 16 << 20;

impl Guest for transformer::Guest {
    fn load(exports: &Exports, store: &mut Store<Context>, instance: &ComponentInstance) -> wasmtime::Result<Self> {
        match exports {
            Exports::Transformer(indices) => indices.load(store, instance),
            other => Err(other.is_not(World::Transform)),
        }
    }

    fn call_open(
        &self,
        store: &mut Store<Context>,
        config: &str,
        inputs: &[types::Input<'_>],
        _key: &[&str],
    ) -> Answer<()> {
        self.call_open(store, config, inputs)
    }
}

/// One subtask's instance of a `transform` plugin.
pub(crate) struct WasmTransform {
    subtask: Subtask<transformer::Guest>,
    shape: Shape,
}

/// What was described, and what of it is wanted.
struct Shape {
    inputs: Vec<InputShape>,
    outputs: Vec<OutputShape>,
    retime: Option<Retime>,
}

impl WasmTransform {
    /// Over a subtask that has been opened.
    pub(crate) fn new(
        subtask: Subtask<transformer::Guest>,
        description: &TransformDescription,
        live: &[Vec<bool>],
    ) -> Self {
        let shape = Shape {
            inputs: subtask
                .inputs()
                .iter()
                .zip(&description.inputs)
                .map(|(described, requirement)| InputShape::new(described, requirement))
                .collect(),
            outputs: OutputShape::of_ports(&description.outputs, live),
            retime: description.retime.clone(),
        };
        Self { subtask, shape }
    }

    /// Processes rows that begin at row `first` of the batch that the caller gave.
    fn rows(&mut self, input: usize, batch: &Batch, first: usize, all: &mut Transformed) -> Result<(), Fault> {
        let required = Required::new(batch, &self.shape.inputs[input])?;
        let lowered = required.lowered();
        let input_bytes = lowered.size_bytes();
        let rows = batch.rows();
        if input_bytes > CALL_BYTES_MAX && rows > 1 {
            let middle = rows / 2;
            for part in [0..middle, middle..rows] {
                let first = first + part.start;
                let rows: Vec<u32> = (part.start as u32..part.end as u32).collect();
                self.rows(input, &batch.select(&rows), first, all)?;
            }
            return Ok(());
        }

        let call = Call {
            function: "process",
            rows,
            keys: None,
            input_bytes,
        };
        let params = lowered.params();
        let limits = self.subtask.limits().clone();
        let shape = &self.shape;
        let Answered { outputs, rejects } = self
            .subtask
            .call(
                call,
                |guest, store| guest.call_process(store, input as u32, lowered.batch(&params)),
                |outputs| shape.assemble(input, batch, outputs, &limits),
            )
            .map_err(|fault| after(fault, first))?;
        all.outputs.extend(outputs);
        all.rejects.extend(rejects.into_iter().map(|reject| Reject {
            row: reject.row + first as u32,
            ..reject
        }));
        Ok(())
    }
}

impl Transform for WasmTransform {
    fn process(&mut self, input: usize, batch: &Batch) -> Result<Transformed, Fault> {
        let mut all = Transformed::default();
        if !batch.is_empty() {
            self.subtask.repeat(Repeated::with_fewer(batch.rows()));
            self.rows(input, batch, 0, &mut all).map_err(|fault| {
                self.subtask.log_blame(&fault, || blamed::row(batch));
                of_whole(fault, batch.rows())
            })?;
            self.subtask.commit();
        }
        Ok(all)
    }
}

/// A fault of rows that begin at row `first` of the caller's batch.
pub(crate) fn after(mut fault: Fault, first: usize) -> Fault {
    if let Some(row) = fault.guest.as_mut().and_then(|guest| guest.row.as_mut()) {
        *row += first as u32;
    }
    fault
}

/// A fault of a part of the caller's batch, which has so many rows.
pub(crate) fn of_whole(mut fault: Fault, rows: usize) -> Fault {
    if let Some(guest) = fault.guest.as_mut().filter(|guest| guest.rows > 0) {
        guest.rows = rows as u32;
    }
    fault
}

/// What a call answered, checked.
#[derive(PartialEq)]
struct Answered {
    outputs: Vec<(usize, Batch)>,
    rejects: Vec<Reject>,
}

/// Which rows of the input an output has.
enum Rows {
    All,
    /// Ascending and distinct: the columns of the input are shared.
    Selected(ScalarBuffer<u32>),
    Repeated(ScalarBuffer<u32>),
}

impl Rows {
    fn new(selection: types::Selection, rows: usize) -> Result<Self, Violation> {
        let numbers = match selection {
            types::Selection::All => return Ok(Self::All),
            types::Selection::Rows(numbers) => lift::row_numbers(numbers, rows)?,
        };
        let ascends = !lift::any(numbers.iter().zip(numbers.iter().skip(1)).map(|(a, b)| a >= b));
        Ok(match ascends {
            // As many distinct rows as there are: each once.
            true if numbers.len() == rows => Self::All,
            true => Self::Selected(numbers),
            false => Self::Repeated(numbers),
        })
    }

    fn len(&self, rows: usize) -> usize {
        match self {
            Self::All => rows,
            Self::Selected(numbers) | Self::Repeated(numbers) => numbers.len(),
        }
    }

    /// The input row of an output row.
    fn origin(&self, row: usize) -> usize {
        match self {
            Self::All => row,
            Self::Selected(numbers) | Self::Repeated(numbers) => numbers[row] as usize,
        }
    }

    fn of(&self, batch: Batch) -> Batch {
        match self {
            Self::All => batch,
            Self::Selected(numbers) => batch.select(numbers),
            Self::Repeated(numbers) => batch.repeat(numbers),
        }
    }
}

impl Shape {
    /// The batches and the rejects of a call's answer, checked.
    fn assemble(
        &self,
        input: usize,
        batch: &Batch,
        answer: transformer::Outputs,
        limits: &Limits,
    ) -> Result<Answered, Violation> {
        let mut rejects = rejects(answer.rejects, batch.rows())?;
        let mut outputs = Vec::with_capacity(answer.outputs.len());
        let mut limit = RowLimit::new(limits.output_rows);
        let mut given = vec![false; self.outputs.len()];
        for output in answer.outputs {
            let port = output.port as usize;
            let shape = OutputShape::find(&self.outputs, output.port)?;
            if std::mem::replace(&mut given[port], true) {
                // The children of a row are numbered within an output: two of one port would give two rows one place.
                return Err(Violation::new(format!(
                    "a second output for port {port}; a port's rows of a call are one output"
                )));
            }
            let rows = Rows::new(output.rows, batch.rows())?;
            let count = rows.len(batch.rows());
            limit.add(count)?;
            shape.check_kinds(&output.kinds, count)?;
            let retime = self.retime.as_ref().filter(|_| port == 0);
            let made = self.output(input, batch, shape, &rows, output.columns, retime.map(|r| r.column));
            let made = made.map_err(|violation| Violation {
                row: violation.row.map(|row| rows.origin(row)),
                ..violation
            })?;
            let made = with_kinds(made, shape, output.kinds);
            let made = match retime {
                Some(retime) => retimed(made, retime, &rows, shape.live[retime.column], &mut rejects),
                None => made,
            };
            if !made.is_empty() {
                outputs.push((port, made));
            }
        }
        Ok(Answered { outputs, rejects })
    }

    /// One output, before it is retimed. `kept` is a column that is there even where nobody reads it.
    fn output(
        &self,
        input: usize,
        batch: &Batch,
        shape: &OutputShape,
        rows: &Rows,
        columns: Vec<types::OutputColumn>,
        kept: Option<usize>,
    ) -> Result<Batch, Violation> {
        let fields = shape.schema.fields();
        shape.check_columns(columns.len())?;
        let count = rows.len(batch.rows());
        let mut references = Vec::with_capacity(fields.len());
        let mut computed = Vec::with_capacity(fields.len());
        for (place, (column, field)) in columns.into_iter().zip(fields).enumerate() {
            let wanted = shape.live[place] || kept == Some(place);
            let (reference, value) = match column {
                types::OutputColumn::Input(index) => {
                    self.inputs[input].check_reference(index, field)?;
                    let reference = OutputColumn::Input(index as usize);
                    (if wanted { reference } else { OutputColumn::Absent }, None)
                }
                types::OutputColumn::Computed(raw) if wanted => {
                    (OutputColumn::Absent, Some(lift::column(raw, field, count)?))
                }
                types::OutputColumn::Computed(_) => (OutputColumn::Absent, None),
            };
            references.push(reference);
            computed.push(value);
        }
        let by_reference: Vec<bool> = references.iter().map(|r| matches!(r, OutputColumn::Input(_))).collect();
        let selected = rows.of(batch.with_columns(references));
        for (place, field) in fields.iter().enumerate() {
            if by_reference[place]
                && !field.nullable
                && let Some(row) = first_null(&selected, place, 0..count)
            {
                return Err(null_in(row).of(format_args!("column \"{}\"", field.name)));
            }
        }
        if computed.iter().all(Option::is_none) {
            return Ok(selected);
        }
        let columns = computed.into_iter().enumerate().map(|(place, value)| match value {
            Some(column) => OutputColumn::Computed(column),
            None if by_reference[place] => OutputColumn::Input(place),
            None => OutputColumn::Absent,
        });
        Ok(selected.with_columns(columns))
    }
}

/// Gives the rows the kinds that the guest said, where it said any; rows of a port that is no changelog have none.
fn with_kinds(batch: Batch, shape: &OutputShape, kinds: Vec<u8>) -> Batch {
    let kinds = if kinds.is_empty() {
        if shape.changelog || batch.hidden().kinds.is_none() {
            return batch;
        }
        None
    } else {
        Some(kinds.into())
    };
    let hidden = Hidden {
        times: batch.times().into_owned().into(),
        watermarks: batch.watermarks().into_owned(),
        order: batch.order().map(Cow::into_owned),
        kinds,
    };
    batch.with_hidden(hidden)
}

/// Gives the rows their new event times, and their watermarks the lag. An input row one of whose rows would come too
/// early is rejected as a whole.
fn retimed(batch: Batch, retime: &Retime, rows: &Rows, live: bool, rejects: &mut Vec<Reject>) -> Batch {
    let column = batch.column(retime.column).into_owned();
    let times = match &column {
        Column::Int64(array) => array.values().clone(),
        Column::Timestamp(array) => array.values().clone(),
        other => unreachable!("event times of type {}, which `describe` refuses", other.data_type()),
    };
    let earlier = early_rows(&batch.times(), &times, retime, rows);
    let (batch, times) = if earlier.is_empty() {
        (batch, times)
    } else {
        let kept: Vec<u32> = (0..batch.rows() as u32)
            .filter(|&row| !earlier.contains_key(&rows.origin(row as usize)))
            .collect();
        let times = kept.iter().map(|&row| times[row as usize]).collect();
        (batch.select(&kept), times)
    };
    rejects.extend(earlier.into_iter().map(|(row, message)| Reject {
        row: row as u32,
        message,
    }));
    let hidden = Hidden {
        times,
        watermarks: batch.watermarks().before(retime.lag.0),
        order: batch.order().map(Cow::into_owned),
        kinds: batch.kinds().map(|kinds| kinds.into_owned().into()),
    };
    let batch = if live {
        batch
    } else {
        let others = (0..batch.slots().len()).map(|place| match place {
            place if place == retime.column => OutputColumn::Absent,
            place => OutputColumn::Input(place),
        });
        batch.with_columns(others)
    };
    batch.with_hidden(hidden)
}

/// The input rows whose new event time is more than the lag before their own, and what to say of each.
fn early_rows(inherited: &[i64], times: &[i64], retime: &Retime, rows: &Rows) -> BTreeMap<usize, String> {
    let is_early = |inherited: i64, time: i64| time < inherited.saturating_sub_unsigned(retime.lag.0);
    if !lift::any(inherited.iter().zip(times).map(|(&i, &t)| is_early(i, t))) {
        return BTreeMap::new();
    }
    let early = inherited
        .iter()
        .zip(times)
        .enumerate()
        .filter(|(_, (i, t))| is_early(**i, **t));
    early
        .map(|(row, (&inherited, &time))| {
            let (time, inherited) = (Timestamp(time), Timestamp(inherited));
            let message = format!(
                "its new event time {time} is more than {} before {inherited}",
                retime.lag
            );
            (rows.origin(row), message)
        })
        .collect()
}
