//! What was described, as calls need it: which columns of an input a guest gets, and which of an output somebody reads.

use std::borrow::Cow;

use arrow_buffer::ToByteSlice;
use wasmill_core::batch::{Batch, Slot};
use wasmill_core::column::Column;
use wasmill_core::fault::{Domain, Fault};
use wasmill_core::kind::Kind;
use wasmill_core::schema::{Field, Schema};
use wasmill_core::transform::{InputDescription, OutputDescription, Reject, Requirement};

use crate::bindings::wasmill::operator::types;
use crate::lift::Violation;
use crate::lower::{Lowered, params, size_bytes};
use crate::subtask::clipped;

/// An input and what the guest gets of it.
#[derive(Debug)]
pub(crate) struct InputShape {
    schema: Schema,
    columns: Vec<usize>,
    event_times: bool,
    changelog: bool,
}

impl InputShape {
    /// Of an input with what the guest asks of it.
    pub(crate) fn new(described: &InputDescription, requirement: &Requirement) -> Self {
        Self {
            schema: described.schema.clone(),
            columns: requirement.columns.clone(),
            event_times: requirement.event_times,
            changelog: described.changelog,
        }
    }

    /// A column of the input may stand for one of the output where they have one type, and where the planner knows that
    /// it is needed: it is in the requirement, or has the same name.
    pub(crate) fn check_reference(&self, index: u32, field: &Field) -> Result<(), Violation> {
        let Some(referred) = self.schema.fields().get(index as usize) else {
            return Err(Violation::new(format!(
                "column {index} of an input that has {}",
                self.schema.len()
            )));
        };
        if referred.data_type != field.data_type {
            return Err(Violation::new(format!(
                "input column \"{referred}\" for output column \"{field}\", which is of another type"
            )));
        }
        if referred.name != field.name && !self.columns.contains(&(index as usize)) {
            return Err(Violation::new(format!(
                "input column \"{}\" for output column \"{}\", but it did not ask for it in its description",
                referred.name, field.name
            )));
        }
        Ok(())
    }
}

/// An output port.
#[derive(Debug)]
pub(crate) struct OutputShape {
    pub(crate) schema: Schema,
    /// Which columns something downstream reads.
    pub(crate) live: Vec<bool>,
    pub(crate) changelog: bool,
}

impl OutputShape {
    /// Of all ports.
    ///
    /// # Panics
    /// `live` is not of these ports.
    pub(crate) fn of_ports(described: &[OutputDescription], live: &[Vec<bool>]) -> Vec<Self> {
        assert_eq!(live.len(), described.len(), "a list of live columns per port");
        let output = |(described, live): (&OutputDescription, &Vec<bool>)| {
            assert_eq!(live.len(), described.schema.len(), "live or not, per column");
            Self {
                schema: described.schema.clone(),
                live: live.clone(),
                changelog: described.changelog,
            }
        };
        described.iter().zip(live).map(output).collect()
    }

    /// The port of this number.
    pub(crate) fn find(ports: &[Self], number: u32) -> Result<&Self, Violation> {
        ports.get(number as usize).ok_or_else(|| {
            Violation::new(format!(
                "rows for port {number}, but it described {} ports",
                ports.len()
            ))
        })
    }

    /// That there is a column for each field.
    pub(crate) fn check_columns(&self, columns: usize) -> Result<(), Violation> {
        if columns == self.schema.len() {
            return Ok(());
        }
        Err(Violation::new(format!(
            "{columns} columns where the port has {}",
            self.schema.len()
        )))
    }

    /// That kinds, where there are any, belong to a changelog and are one a row.
    pub(crate) fn check_kinds(&self, kinds: &[u8], rows: usize) -> Result<(), Violation> {
        if kinds.is_empty() {
            return Ok(());
        }
        if !self.changelog {
            return Err(Violation::new(
                "kinds of rows for a port that it did not describe as a changelog",
            ));
        }
        if kinds.len() != rows {
            return Err(Violation::new(format!("{} kinds of {rows} rows", kinds.len())));
        }
        match kinds.iter().position(|&kind| Kind::from_byte(kind).is_none()) {
            None => Ok(()),
            Some(row) => Err(Violation::new(format!(
                "kind {} of output row {row}; kinds are 0 to 3",
                kinds[row]
            ))),
        }
    }
}

/// Counts the rows of a call's outputs.
#[derive(Debug)]
pub(crate) struct RowLimit {
    limit: usize,
    rows: usize,
}

impl RowLimit {
    /// None yet.
    pub(crate) fn new(limit: u32) -> Self {
        Self {
            limit: limit as usize,
            rows: 0,
        }
    }

    /// So many more.
    pub(crate) fn add(&mut self, rows: usize) -> Result<(), Violation> {
        self.rows += rows;
        if self.rows <= self.limit {
            return Ok(());
        }
        Err(Violation::over_limit(format!(
            "more rows than its limit of {}",
            self.limit
        )))
    }
}

/// A null in an output column by reference that has none.
pub(crate) fn null_in(row: usize) -> Violation {
    Violation::in_row(row, "null in a column that is not nullable")
}

/// The first of these logical rows in which a column is null, by its place among them.
pub(crate) fn first_null(batch: &Batch, column: usize, mut rows: impl Iterator<Item = usize>) -> Option<usize> {
    match &batch.slots()[column] {
        Slot::Absent => None,
        Slot::Base(column) => {
            let nulls = column.nulls()?;
            rows.position(|row| nulls.is_null(batch.base_row(row)))
        }
        Slot::Dense(column) => {
            let nulls = column.nulls()?;
            rows.position(|row| nulls.is_null(row))
        }
    }
}

/// Rejects of rows that exist.
pub(crate) fn rejects(raw: Vec<types::Reject>, rows: usize) -> Result<Vec<Reject>, Violation> {
    let checked = raw.into_iter().map(|types::Reject { row, message }| {
        if row as usize >= rows {
            return Err(Violation::new(format!(
                "a reject of row {row} of a batch of {rows} rows"
            )));
        }
        Ok(Reject {
            row,
            message: clipped(message),
        })
    });
    checked.collect()
}

/// What a guest gets of a batch: step one of three, the columns in logical rows.
pub(crate) struct Required<'a> {
    columns: Vec<Cow<'a, Column>>,
    times: Cow<'a, [i64]>,
    kinds: Cow<'a, [u8]>,
    rows: usize,
}

impl<'a> Required<'a> {
    /// What the guest asks for.
    ///
    /// # Errors
    /// A column is not in the batch: a mistake of the caller's.
    pub(crate) fn new(batch: &'a Batch, shape: &InputShape) -> Result<Self, Fault> {
        const NONE: Cow<'static, [u8]> = Cow::Borrowed(&[]);
        let columns = shape.columns.iter().map(|&column| match batch.slots().get(column) {
            Some(Slot::Base(_) | Slot::Dense(_)) => Ok(batch.column(column)),
            Some(Slot::Absent) | None => Err(Fault::fatal(
                Domain::Internal,
                format!("column {column}, which the plugin needs, is not in the batch"),
            )),
        });
        Ok(Self {
            columns: columns.collect::<Result<_, _>>()?,
            times: if shape.event_times {
                batch.times()
            } else {
                Cow::Borrowed(&[])
            },
            kinds: match batch.kinds() {
                _ if !shape.changelog => NONE,
                Some(kinds) => kinds,
                None => Cow::Owned(vec![Kind::Insert.byte(); batch.rows()]),
            },
            rows: batch.rows(),
        })
    }

    /// Step two: their buffers.
    pub(crate) fn lowered(&self) -> LoweredBatch<'_> {
        LoweredBatch {
            columns: self.columns.iter().map(|column| Lowered::new(column)).collect(),
            times: self.times.to_byte_slice(),
            kinds: &self.kinds,
            rows: self.rows,
        }
    }
}

/// The buffers of a batch.
pub(crate) struct LoweredBatch<'a> {
    columns: Vec<Lowered<'a>>,
    times: &'a [u8],
    kinds: &'a [u8],
    rows: usize,
}

impl LoweredBatch<'_> {
    /// How many bytes cross.
    pub(crate) fn size_bytes(&self) -> usize {
        self.times.len() + self.kinds.len() + size_bytes(&self.columns)
    }

    /// Step three: the columns as the bindings take them.
    pub(crate) fn params(&self) -> Vec<types::ColumnParam<'_>> {
        params(&self.columns)
    }

    /// The batch as the bindings take it.
    pub(crate) fn batch<'b>(&'b self, params: &'b [types::ColumnParam<'b>]) -> types::Batch<'b> {
        types::Batch {
            rows: self.rows as u32,
            event_times: self.times,
            kinds: self.kinds,
            columns: params,
        }
    }
}
