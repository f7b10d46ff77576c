//! A batch with names and types, for people.

use std::{cmp::Ordering, fmt};

use crate::{
    bindings::types as wit,
    buffer,
    column::RawBatch,
    input::InputValue,
    output::{Builder, OutputValue},
    port::Kind,
    types::{DataType, Json, Timestamp},
};

/// Columns of values: what a test gives to an operator and compares its outputs with.
///
/// Values are of any type that an output row can have; a column of `Option`s may be null. Two tables are equal when
/// names, types, nullability, values and event times are.
///
/// ```
/// use wasmill_sdk::{Timestamp, testing::Table};
/// let table = Table::new()
///     .with("carrier", ["UA", "B6"])
///     .with("dep_delay", [Some(2), None])
///     .with_event_times([Timestamp::from_secs(1), Timestamp::from_secs(2)]);
/// assert_eq!(table.rows(), 2);
/// assert_eq!(
///     table.to_string(),
///     "carrier: utf8 | dep_delay: int64?\n\"UA\" | 2\n\"B6\" | null\n"
/// );
/// ```
#[derive(Debug, Clone, PartialEq, Default)]
pub struct Table {
    rows: usize,
    columns: Vec<Column>,
    event_times: Option<Vec<Timestamp>>,
    kinds: Option<Vec<Kind>>,
}

#[derive(Debug, Clone, PartialEq)]
struct Column {
    name: String,
    data_type: DataType,
    nullable: bool,
    cells: Vec<Option<Cell>>,
}

/// A value. Only values of one column are compared.
#[derive(Debug, Clone, PartialEq)]
pub(super) enum Cell {
    Boolean(bool),
    Int64(i64),
    Float64(f64),
    Text(String),
    Binary(Vec<u8>),
}

impl Eq for Cell {}

impl PartialOrd for Cell {
    fn partial_cmp(&self, other: &Self) -> Option<Ordering> {
        Some(self.cmp(other))
    }
}

impl Ord for Cell {
    fn cmp(&self, other: &Self) -> Ordering {
        match (self, other) {
            (Self::Boolean(a), Self::Boolean(b)) => a.cmp(b),
            (Self::Int64(a), Self::Int64(b)) => a.cmp(b),
            (Self::Float64(a), Self::Float64(b)) => a.total_cmp(b),
            (Self::Text(a), Self::Text(b)) => a.cmp(b),
            (Self::Binary(a), Self::Binary(b)) => a.cmp(b),
            _ => Ordering::Equal,
        }
    }
}

/// The values of a row.
pub(super) type Cells = Vec<Option<Cell>>;

/// The columns of these rows.
pub(super) fn encode<'a>(fields: &[wit::Field], rows: impl IntoIterator<Item = &'a Cells>) -> Vec<wit::Column> {
    let rows: Vec<&Cells> = rows.into_iter().collect();
    let column = |(at, field): (usize, &wit::Field)| {
        Column::of(field, rows.iter().map(|row| row[at].clone()).collect()).encode()
    };
    fields.iter().enumerate().map(column).collect()
}

/// The rows of these columns.
pub(super) fn decode(fields: &[wit::Field], columns: &[wit::Column], rows: usize) -> Vec<Cells> {
    let columns: Vec<Column> = fields
        .iter()
        .zip(columns)
        .map(|(field, column)| Column::decode(field, column.clone(), rows))
        .collect();
    (0..rows)
        .map(|row| columns.iter().map(|column| column.cells[row].clone()).collect())
        .collect()
}

/// A row that stands where there is none.
pub(super) fn blank(fields: &[wit::Field]) -> Cells {
    let value = |field: &wit::Field| {
        (!field.nullable).then(|| match DataType::from_name(&field.data_type) {
            Some(DataType::Boolean) => Cell::Boolean(false),
            Some(DataType::Float64) => Cell::Float64(0.0),
            Some(DataType::Utf8 | DataType::Json) => Cell::Text(String::new()),
            Some(DataType::Binary) => Cell::Binary(Vec::new()),
            Some(DataType::Int64 | DataType::Timestamp) | None => Cell::Int64(0),
        })
    };
    fields.iter().map(value).collect()
}

/// A value of the contract as one of a table.
pub(super) fn cell(scalar: &wit::Scalar) -> Option<Cell> {
    Some(match scalar {
        wit::Scalar::Null => return None,
        wit::Scalar::Boolean(value) => Cell::Boolean(*value),
        wit::Scalar::Int64(value) | wit::Scalar::Timestamp(value) => Cell::Int64(*value),
        wit::Scalar::Float64(value) => Cell::Float64(*value),
        wit::Scalar::Utf8(value) | wit::Scalar::Json(value) => Cell::Text(value.clone()),
        wit::Scalar::Binary(value) => Cell::Binary(value.clone()),
    })
}

impl Table {
    /// A table without columns.
    pub fn new() -> Self {
        Self::default()
    }

    /// The table with one more column.
    ///
    /// # Panics
    ///
    /// When the column has another number of rows than those before it.
    #[must_use]
    pub fn with<T: OutputValue>(mut self, name: &str, values: impl IntoIterator<Item = T>) -> Self {
        let mut builder = T::Builder::default();
        let mut rows = 0;
        for value in values {
            value.push(&mut builder);
            rows += 1;
        }
        let field = wit::Field {
            name: name.to_owned(),
            data_type: T::DATA_TYPE.name().to_owned(),
            nullable: T::NULLABLE,
        };
        self.push(Column::decode(&field, builder.finish(), rows), rows);
        self
    }

    /// The table with an event time for each row.
    ///
    /// # Panics
    ///
    /// When there is another number of times than of rows.
    #[must_use]
    pub fn with_event_times(mut self, times: impl IntoIterator<Item = Timestamp>) -> Self {
        let times: Vec<_> = times.into_iter().collect();
        assert!(
            self.columns.is_empty() || self.rows == times.len(),
            "a table needs an event time for each row"
        );
        self.rows = times.len();
        self.event_times = Some(times);
        self
    }

    /// The table as a changelog: what each row does.
    ///
    /// # Panics
    ///
    /// When there is another number of kinds than of rows.
    #[must_use]
    pub fn with_kinds(mut self, kinds: impl IntoIterator<Item = Kind>) -> Self {
        let kinds: Vec<_> = kinds.into_iter().collect();
        assert_eq!(kinds.len(), self.rows, "a changelog needs a kind for each row");
        self.kinds = Some(kinds);
        self
    }

    /// What each row does, where the table is a changelog.
    pub fn kinds(&self) -> Option<&[Kind]> {
        self.kinds.as_deref()
    }

    /// How many rows it has.
    pub fn rows(&self) -> usize {
        self.rows
    }

    /// The event time of each row, where the table has them.
    pub fn event_times(&self) -> Option<&[Timestamp]> {
        self.event_times.as_deref()
    }

    /// A table of the rows of these numbers, in their order.
    ///
    /// # Panics
    ///
    /// When there is no such row.
    #[must_use]
    pub fn select(&self, rows: impl IntoIterator<Item = usize>) -> Self {
        let rows: Vec<usize> = rows.into_iter().collect();
        let take = |column: &Column| Column {
            name: column.name.clone(),
            data_type: column.data_type,
            nullable: column.nullable,
            cells: rows.iter().map(|row| column.cells[*row].clone()).collect(),
        };
        Self {
            rows: rows.len(),
            columns: self.columns.iter().map(take).collect(),
            event_times: self
                .event_times
                .as_ref()
                .map(|times| rows.iter().map(|row| times[*row]).collect()),
            kinds: self
                .kinds
                .as_ref()
                .map(|kinds| rows.iter().map(|row| kinds[*row]).collect()),
        }
    }

    /// A table of rows.
    pub(super) fn of(fields: &[wit::Field], rows: &[Cells]) -> Self {
        let column =
            |(at, field): (usize, &wit::Field)| Column::of(field, rows.iter().map(|row| row[at].clone()).collect());
        Self {
            rows: rows.len(),
            columns: fields.iter().enumerate().map(column).collect(),
            event_times: None,
            kinds: None,
        }
    }

    /// The values of some columns in one row.
    pub(super) fn cells(&self, columns: &[usize], row: usize) -> Cells {
        columns.iter().map(|at| self.columns[*at].cells[row].clone()).collect()
    }

    /// The rows of this table and of another with the same columns.
    pub(super) fn append(&mut self, other: Self) {
        if self.columns.is_empty() && self.rows == 0 {
            *self = other;
            return;
        }
        self.rows += other.rows;
        for (column, more) in self.columns.iter_mut().zip(other.columns) {
            column.cells.extend(more.cells);
        }
        if let (Some(times), Some(more)) = (&mut self.event_times, other.event_times) {
            times.extend(more);
        }
        if let (Some(kinds), Some(more)) = (&mut self.kinds, other.kinds) {
            kinds.extend(more);
        }
    }

    fn push(&mut self, column: Column, rows: usize) {
        assert!(
            self.columns.is_empty() && self.event_times.is_none() || self.rows == rows,
            "column `{}` has {rows} rows, and the table has {}",
            column.name,
            self.rows
        );
        self.rows = rows;
        self.columns.push(column);
    }

    pub(super) fn schema(&self) -> wit::Schema {
        let field = |column: &Column| wit::Field {
            name: column.name.clone(),
            data_type: column.data_type.name().to_owned(),
            nullable: column.nullable,
        };
        wit::Schema {
            fields: self.columns.iter().map(field).collect(),
        }
    }

    /// The batch that a host would give for a requirement.
    pub(super) fn batch(&self, requirement: &wit::Requirement) -> wit::Batch {
        let column = |name: &String| {
            let column = self.columns.iter().find(|column| column.name == *name);
            column
                .expect("`describe` found the columns of the requirement")
                .encode()
        };
        let times = || {
            let times = self.event_times.as_deref();
            buffer::encode(times.expect("the operator reads event times: give the table some"))
        };
        wit::Batch {
            rows: u32::try_from(self.rows).expect("a batch has less than 2^32 rows"),
            event_times: if requirement.event_times { times() } else { Vec::new() },
            kinds: self.kinds.iter().flatten().map(|kind| kind.byte()).collect(),
            columns: requirement.columns.iter().map(column).collect(),
        }
    }

    /// A table of columns as an operator gives them.
    pub(super) fn decode(fields: &[wit::Field], columns: Vec<wit::Column>, rows: usize) -> Self {
        assert_eq!(
            fields.len(),
            columns.len(),
            "the operator gave another number of columns than it described"
        );
        let columns = fields
            .iter()
            .zip(columns)
            .map(|(field, column)| Column::decode(field, column, rows));
        Self {
            rows,
            columns: columns.collect(),
            event_times: None,
            kinds: None,
        }
    }

    /// The port's table, of columns that pass through and computed ones.
    pub(super) fn output(&self, port: &wit::Port, rows: &wit::Selection, columns: Vec<wit::OutputColumn>) -> Self {
        let rows: Vec<usize> = match rows {
            wit::Selection::All => (0..self.rows).collect(),
            wit::Selection::Rows(numbers) => {
                let numbers = buffer::Buffer::new(numbers.clone());
                let numbers = numbers.values::<u32>().expect("a selection is of u32");
                numbers.iter().map(|row| *row as usize).collect()
            }
        };
        let selected = self.select(rows.iter().copied());
        let fields = &port.schema.fields;
        assert_eq!(
            fields.len(),
            columns.len(),
            "the operator gave another number of columns than it described"
        );
        let column = |(field, column): (&wit::Field, wit::OutputColumn)| match column {
            wit::OutputColumn::Input(at) => selected.columns[at as usize].clone(),
            wit::OutputColumn::Computed(column) => Column::decode(field, column, rows.len()),
        };
        Self {
            rows: rows.len(),
            columns: fields.iter().zip(columns).map(column).collect(),
            event_times: selected.event_times,
            kinds: None,
        }
    }

    /// The table with the event times that a column holds.
    pub(super) fn retimed(mut self, column: &str) -> Self {
        let column = self.columns.iter().find(|candidate| candidate.name == column);
        let times = column
            .expect("`describe` found the column")
            .cells
            .iter()
            .map(|cell| match cell {
                Some(Cell::Int64(micros)) => Timestamp::from_micros(*micros),
                other => panic!("an event time cannot be {other:?}"),
            });
        self.event_times = Some(times.collect());
        self
    }
}

impl Column {
    fn decode(field: &wit::Field, column: wit::Column, rows: usize) -> Self {
        let data_type = DataType::from_name(&field.data_type).expect("the SDK writes types that it knows");
        let batch = RawBatch::new(wit::Batch {
            rows: rows as u32,
            event_times: Vec::new(),
            kinds: Vec::new(),
            columns: vec![column],
        });
        let cells = match data_type {
            DataType::Boolean => cells::<bool>(&batch, Cell::Boolean),
            DataType::Int64 => cells::<i64>(&batch, Cell::Int64),
            DataType::Float64 => cells::<f64>(&batch, Cell::Float64),
            DataType::Timestamp => cells::<Timestamp>(&batch, |time| Cell::Int64(time.as_micros())),
            DataType::Utf8 => cells::<&str>(&batch, |text| Cell::Text(text.to_owned())),
            DataType::Json => cells::<Json<&str>>(&batch, |json| Cell::Text(json.0.to_owned())),
            DataType::Binary => cells::<&[u8]>(&batch, |bytes| Cell::Binary(bytes.to_owned())),
        };
        Self::of(field, cells)
    }

    fn of(field: &wit::Field, cells: Vec<Option<Cell>>) -> Self {
        let null = cells.iter().any(Option::is_none);
        assert!(
            field.nullable || !null,
            "column `{}` has a null and is described as never null",
            field.name
        );
        Self {
            name: field.name.clone(),
            data_type: DataType::from_name(&field.data_type).expect("the SDK writes types that it knows"),
            nullable: field.nullable,
            cells,
        }
    }

    fn encode(&self) -> wit::Column {
        let cells = self.cells.iter().map(Option::as_ref);
        match self.data_type {
            DataType::Boolean => built(cells, |cell| {
                if let Cell::Boolean(value) = cell {
                    Some(*value)
                } else {
                    None
                }
            }),
            DataType::Int64 | DataType::Timestamp => built(cells, |cell| {
                if let Cell::Int64(value) = cell {
                    Some(*value)
                } else {
                    None
                }
            }),
            DataType::Float64 => built(cells, |cell| {
                if let Cell::Float64(value) = cell {
                    Some(*value)
                } else {
                    None
                }
            }),
            DataType::Utf8 | DataType::Json => built(cells, |cell| {
                if let Cell::Text(value) = cell {
                    Some(value)
                } else {
                    None
                }
            }),
            DataType::Binary => built(cells, |cell| {
                if let Cell::Binary(value) = cell {
                    Some(value)
                } else {
                    None
                }
            }),
        }
    }
}

fn cells<'a, T: InputValue<'a>>(batch: &'a RawBatch, cell: impl Fn(T) -> Cell) -> Vec<Option<Cell>> {
    let view: <Option<T> as InputValue<'a>>::View = batch
        .view(0)
        .unwrap_or_else(|failure| panic!("the operator gave a bad column: {failure}"));
    (0..batch.rows()).map(|row| view.get(row).map(&cell)).collect()
}

fn built<'a, T: OutputValue>(
    cells: impl Iterator<Item = Option<&'a Cell>>,
    value: impl Fn(&'a Cell) -> Option<T>,
) -> wit::Column {
    let mut builder = <Option<T> as OutputValue>::Builder::default();
    for cell in cells {
        cell.and_then(&value).push(&mut builder);
    }
    builder.finish()
}

impl fmt::Display for Table {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let heading = |column: &Column| {
            format!(
                "{}: {}{}",
                column.name,
                column.data_type,
                if column.nullable { "?" } else { "" }
            )
        };
        writeln!(
            f,
            "{}",
            self.columns.iter().map(heading).collect::<Vec<_>>().join(" | ")
        )?;
        for row in 0..self.rows {
            let cells = self.columns.iter().map(|column| match &column.cells[row] {
                None => "null".to_owned(),
                Some(Cell::Boolean(value)) => value.to_string(),
                Some(Cell::Int64(value)) => value.to_string(),
                Some(Cell::Float64(value)) => format!("{value:?}"),
                Some(Cell::Text(value)) => format!("{value:?}"),
                Some(Cell::Binary(value)) => format!("{value:02x?}"),
            });
            writeln!(f, "{}", cells.collect::<Vec<_>>().join(" | "))?;
        }
        Ok(())
    }
}
