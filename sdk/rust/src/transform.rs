//! Operators without memory: map, filter, flat-map, split. Implements the world `transform` over the traits that an
//! author implements.

use std::time::Duration;

use serde::de::DeserializeOwned;

use crate::{
    bindings::{transformer, types as wit},
    column::RawBatch,
    config,
    fault::{Failure, Reject, Rejects},
    input::{Batch, InputColumns, InputRow},
    metrics,
    port::{Outputs, Passing, PortRows, PortSpec},
    schema,
    types::{ColumnSpec, DataType},
};

/// Which output column becomes the event time of the main output.
///
/// ```
/// use std::time::Duration;
/// use wasmill_sdk::Retime;
/// let seen = Retime::column("seen").lag(Duration::from_secs(60));
/// ```
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Retime {
    column: String,
    lag: Duration,
}

impl Retime {
    /// The event time becomes this column of the main output: a `timestamp` or `int64` (microseconds) that is not
    /// null. Its watermark stays, so a row may not become earlier than it was.
    pub fn column(column: impl Into<String>) -> Self {
        Self {
            column: column.into(),
            lag: Duration::ZERO,
        }
    }

    /// A row may become earlier by at most this; the watermark falls back by as much. An earlier row is rejected by
    /// the host.
    pub fn lag(self, lag: Duration) -> Self {
        Self { lag, ..self }
    }
}

/// An operator that looks at one row at a time.
///
/// The struct is the operator's configuration: the topology's `config` table, read by serde with names in kebab-case.
/// Put [`#[transform]`](macro@crate::transform) on it. Fields with `#[serde(skip)]` hold what [`open`](Self::open)
/// computes.
///
/// A result may depend on the row and on the configuration only: rows are cut into calls as the host likes, and calls
/// are repeated in other instances.
///
/// ```
/// use wasmill_sdk::{prelude::*, testing::{Table, TransformTest}};
///
/// #[derive(InputRow)]
/// struct Departure {
///     dep_delay: Option<i64>,
/// }
///
/// #[derive(OutputRow)]
/// struct Classified {
///     class: &'static str,
/// }
///
/// /// Says how late a flight is.
/// #[transform]
/// struct Classify {
///     threshold: i64,
/// }
///
/// impl Transform for Classify {
///     type Input<'a> = Departure;
///     type Output = Add<Classified>;
///
///     fn row(&self, row: Departure, out: &mut Self::Output) -> Result<(), Reject> {
///         let class = match row.dep_delay {
///             None => "cancelled",
///             Some(minutes) if minutes < self.threshold => "on-time",
///             Some(_) => "delayed",
///         };
///         out.emit(Classified { class });
///         Ok(())
///     }
/// }
///
/// let input = Table::new().with("dep_delay", [Some(2), None, Some(45)]);
/// let output = TransformTest::<Classify>::open(r#"{"threshold":30}"#, &input)?.process(&input)?;
/// assert_eq!(output.port("out"), &input.with("class", ["on-time", "cancelled", "delayed"]));
/// # Ok::<(), Failure>(())
/// ```
#[diagnostic::on_unimplemented(
    message = "`{Self}` has no logic: `Transform` is not implemented for it",
    label = "`impl Transform for {Self}` is missing",
    note = "an operator with `#[transform]` implements `Transform`; one with `#[transform(columns)]` implements \
            `TransformColumns`"
)]
pub trait Transform: DeserializeOwned + 'static {
    /// The columns that it reads: a struct with `#[derive(InputRow)]`.
    type Input<'a>: InputRow<'a>;
    /// What it writes: [`Keep`](crate::Keep), [`Add`](crate::Add), [`Only`](crate::Only), or a struct of them.
    type Output: Outputs;

    /// Checks what serde cannot. Called when a topology is checked, and before [`open`](Self::open).
    ///
    /// # Errors
    ///
    /// A message about the configuration.
    fn check(&self) -> Result<(), Failure> {
        Ok(())
    }

    /// Computes once per instance what rows need: tables, metrics.
    ///
    /// # Errors
    ///
    /// The job does not start.
    fn open(&mut self) -> Result<(), Failure> {
        Ok(())
    }

    /// The output column that becomes the event time, if one does.
    fn event_time(&self) -> Option<Retime> {
        None
    }

    /// Handles one row.
    ///
    /// # Errors
    ///
    /// The row is invalid: a dead letter where the topology names a sink for them; else it stops the job, or is skipped
    /// with `on-fault = "skip"`. Say so before the first `emit`: what was emitted stays.
    fn row(&self, row: Self::Input<'_>, out: &mut Self::Output) -> Result<(), Reject>;
}

/// An operator that works on whole columns, for speed. Put
/// [`#[transform(columns)]`](macro@crate::transform) on it; the rest is as in [`Transform`].
///
/// ```
/// use wasmill_sdk::{prelude::*, testing::{Table, TransformTest}};
///
/// #[derive(InputColumns)]
/// struct Bids<'a> {
///     auction: &'a [i64],
/// }
///
/// #[transform(columns)]
/// struct Sample {
///     every: i64,
/// }
///
/// impl TransformColumns for Sample {
///     type Input<'a> = Bids<'a>;
///     type Output = Keep;
///
///     fn check(&self) -> Result<(), Failure> {
///         if self.every < 1 { Err(Failure::new("`every` must be at least 1")) } else { Ok(()) }
///     }
///
///     fn batch(&self, batch: Batch<Bids<'_>>, out: &mut Keep) -> Result<Rejects, Failure> {
///         let auction = batch.columns.auction;
///         out.keep_rows(Rows::filter(batch.rows, |row| auction[row] % self.every == 0));
///         Ok(Rejects::none())
///     }
/// }
///
/// let input = Table::new().with("auction", [1, 2, 3, 4]);
/// let output = TransformTest::<Sample>::open(r#"{"every":2}"#, &input)?.process(&input)?;
/// assert_eq!(output.port("out"), &Table::new().with("auction", [2, 4]));
/// # Ok::<(), Failure>(())
/// ```
#[diagnostic::on_unimplemented(
    message = "`{Self}` has no logic: `TransformColumns` is not implemented for it",
    label = "`impl TransformColumns for {Self}` is missing",
    note = "an operator with `#[transform(columns)]` implements `TransformColumns`; one with `#[transform]` implements \
            `Transform`"
)]
pub trait TransformColumns: DeserializeOwned + 'static {
    /// The columns that it reads: a struct with `#[derive(InputColumns)]`.
    type Input<'a>: InputColumns<'a>;
    /// What it writes: [`Keep`](crate::Keep), [`Add`](crate::Add), [`Only`](crate::Only), or a struct of them.
    type Output: Outputs;

    /// Checks what serde cannot. Called when a topology is checked, and before [`open`](Self::open).
    ///
    /// # Errors
    ///
    /// A message about the configuration.
    fn check(&self) -> Result<(), Failure> {
        Ok(())
    }

    /// Computes once per instance what batches need: tables, metrics.
    ///
    /// # Errors
    ///
    /// The job does not start.
    fn open(&mut self) -> Result<(), Failure> {
        Ok(())
    }

    /// The output column that becomes the event time, if one does.
    fn event_time(&self) -> Option<Retime> {
        None
    }

    /// Handles one batch. The rows that it rejects must not be in the outputs.
    ///
    /// # Errors
    ///
    /// The call as a whole failed, and nothing of it takes effect.
    fn batch(&self, batch: Batch<Self::Input<'_>>, out: &mut Self::Output) -> Result<Rejects, Failure>;
}

/// What the attribute makes of either trait. Not for authors.
pub trait TransformOperator: DeserializeOwned + 'static {
    /// The columns that it reads.
    const COLUMNS: &'static [ColumnSpec];
    /// Whether it reads event times.
    const EVENT_TIMES: bool;
    /// Its ports.
    const PORTS: &'static [PortSpec];
    /// See [`Transform::check`].
    ///
    /// # Errors
    ///
    /// See [`Transform::check`].
    fn check(&self) -> Result<(), Failure>;
    /// See [`Transform::open`].
    ///
    /// # Errors
    ///
    /// See [`Transform::open`].
    fn open(&mut self) -> Result<(), Failure>;
    /// See [`Transform::event_time`].
    fn event_time(&self) -> Option<Retime>;
    /// Handles one batch.
    ///
    /// # Errors
    ///
    /// The call as a whole failed.
    fn process(&self, batch: &RawBatch) -> Result<(Vec<PortRows>, Rejects), Failure>;
}

/// Drives an operator over the rows of a batch.
///
/// # Errors
///
/// When the batch does not fit the requirement.
pub fn process_rows<T: Transform>(operator: &T, batch: &RawBatch) -> Result<(Vec<PortRows>, Rejects), Failure> {
    let rows = batch.rows();
    let views = <T::Input<'_> as InputRow<'_>>::views(batch)?;
    let mut out = T::Output::start(rows);
    let mut rejects = Rejects::none();
    for row in 0..rows {
        out.at(row as u32);
        if let Err(reject) = operator.row(InputRow::read(&views, row), &mut out) {
            rejects.add(row as u32, reject);
        }
    }
    Ok((out.finish(rows)?, rejects))
}

/// Drives an operator over the columns of a batch.
///
/// # Errors
///
/// When the batch does not fit the requirement, or the operator fails.
pub fn process_columns<T: TransformColumns>(
    operator: &T,
    batch: &RawBatch,
) -> Result<(Vec<PortRows>, Rejects), Failure> {
    let rows = batch.rows();
    let columns = <T::Input<'_> as InputColumns<'_>>::views(batch)?;
    let mut out = T::Output::start(rows);
    let rejects = operator.batch(Batch { rows, columns }, &mut out)?;
    Ok((out.finish(rows)?, rejects))
}

/// Where each column of a port comes from.
type Layout = Vec<Source>;

#[derive(Debug, Clone, Copy)]
enum Source {
    Input(u32),
    Computed(usize),
}

/// An operator after `open`.
#[derive(Debug)]
pub struct Opened<T> {
    operator: T,
    layouts: Vec<Layout>,
}

/// `transformer.describe`.
///
/// # Errors
///
/// When the configuration or an input does not fit; the message says what to do.
pub fn describe<T: TransformOperator>(
    config: &str,
    inputs: &[wit::Input],
) -> Result<transformer::Description, wit::Failure> {
    let operator = configured::<T>(config)?;
    plan::<T>(&operator, inputs)
        .map(|(description, _)| description)
        .map_err(Failure::into_wit)
}

/// `transformer.open`.
///
/// # Errors
///
/// As `describe`; and what the operator's own `open` says.
pub fn open<T: TransformOperator>(config: &str, inputs: &[wit::Input]) -> Result<Opened<T>, wit::Failure> {
    let mut operator = configured::<T>(config)?;
    let (_, layouts) = plan::<T>(&operator, inputs).map_err(Failure::into_wit)?;
    operator.open().map_err(Failure::into_wit)?;
    Ok(Opened { operator, layouts })
}

fn configured<T: TransformOperator>(config: &str) -> Result<T, wit::Failure> {
    let operator = config::parse::<T>(config).map_err(Failure::into_wit)?;
    operator.check().map_err(Failure::into_wit)?;
    Ok(operator)
}

impl<T: TransformOperator> Opened<T> {
    /// `transformer.process`.
    ///
    /// # Errors
    ///
    /// The call as a whole failed.
    pub fn process(&self, batch: wit::Batch) -> Result<transformer::Outputs, wit::Failure> {
        let batch = RawBatch::new(batch);
        let (ports, rejects) = self.operator.process(&batch).map_err(Failure::into_wit)?;
        metrics::flush();
        let outputs = ports.into_iter().zip(&self.layouts).zip(0..);
        Ok(transformer::Outputs {
            outputs: outputs
                .map(|((port, layout), number)| output(number, port, layout))
                .collect(),
            rejects: rejects.into_wit(),
        })
    }
}

fn output(port: u32, rows: PortRows, layout: &[Source]) -> transformer::Output {
    let mut computed: Vec<Option<wit::Column>> = rows.computed.into_iter().map(Some).collect();
    let columns = layout.iter().map(|source| match source {
        Source::Input(at) => wit::OutputColumn::Input(*at),
        Source::Computed(at) => {
            wit::OutputColumn::Computed(computed[*at].take().expect("a layout names each computed column once"))
        }
    });
    transformer::Output {
        port,
        rows: rows.rows,
        kinds: rows.kinds,
        columns: columns.collect(),
    }
}

fn plan<T: TransformOperator>(
    operator: &T,
    inputs: &[wit::Input],
) -> Result<(transformer::Description, Vec<Layout>), Failure> {
    let Some(first) = inputs.first() else {
        return Err(Failure::new("the operator has no input"));
    };
    for input in inputs {
        schema::require(input, T::COLUMNS)?;
        if T::PORTS.iter().any(|port| port.passes == Passing::Input) {
            schema::same(first, input)?;
        }
    }
    if let Some(keyed) = T::PORTS.iter().find(|port| port.passes == Passing::Key) {
        return Err(Failure::new(format!(
            "port `{}` gives key columns, and a transform has no key: make it `Only` or `Add`",
            keyed.name
        )));
    }
    let (ports, layouts): (Vec<_>, Vec<_>) = T::PORTS.iter().map(|spec| port(spec, &first.schema)).unzip();
    let event_time = operator
        .event_time()
        .map(|retime| checked(retime, &ports))
        .transpose()?;
    let requirement = schema::requirement(T::COLUMNS, T::EVENT_TIMES);
    Ok((
        transformer::Description {
            inputs: vec![requirement; inputs.len()],
            outputs: ports,
            event_time,
        },
        layouts,
    ))
}

fn port(spec: &PortSpec, input: &wit::Schema) -> (wit::Port, Layout) {
    let mut fields = Vec::new();
    let mut layout = Layout::new();
    if spec.passes == Passing::Input {
        for (field, at) in input.fields.iter().zip(0..) {
            if let Some(computed) = spec.columns.iter().position(|column| column.name == field.name) {
                fields.push(schema::field(&spec.columns[computed]));
                layout.push(Source::Computed(computed));
            } else {
                fields.push(field.clone());
                layout.push(Source::Input(at));
            }
        }
    }
    for (at, column) in spec.columns.iter().enumerate() {
        if !fields.iter().any(|field| field.name == column.name) {
            fields.push(schema::field(column));
            layout.push(Source::Computed(at));
        }
    }
    (
        wit::Port {
            name: spec.name.to_owned(),
            schema: wit::Schema { fields },
            changelog: spec.changelog,
        },
        layout,
    )
}

fn checked(retime: Retime, ports: &[wit::Port]) -> Result<transformer::Retime, Failure> {
    let main = &ports[0];
    let Some(field) = main.schema.fields.iter().find(|field| field.name == retime.column) else {
        return Err(Failure::new(format!(
            "the event time is to become column `{}`, which port `{}` does not have",
            retime.column, main.name
        )));
    };
    let data_type = DataType::from_name(&field.data_type);
    if !matches!(data_type, Some(DataType::Timestamp | DataType::Int64)) || field.nullable {
        return Err(Failure::new(format!(
            "the event time is to become column `{}`: it must be a `timestamp` or `int64` that is not null, and is {}",
            retime.column,
            schema::describe_type(field),
        )));
    }
    let lag = u64::try_from(retime.lag.as_micros()).unwrap_or(u64::MAX);
    Ok(transformer::Retime {
        column: retime.column,
        lag,
    })
}
