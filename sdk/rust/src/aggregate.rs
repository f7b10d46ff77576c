//! Incremental aggregation: accumulators are typed rows that the host keeps. Implements the world `aggregate` over the
//! trait that an author implements.

use serde::de::DeserializeOwned;

use crate::{
    Reject,
    bindings::{aggregator, types as wit},
    buffer::Buffer,
    column::RawBatch,
    config,
    fault::{Failure, Rejects},
    input::{InputRow, Requires},
    metrics,
    output::{OutputRow, Shape},
    schema,
    types::{ColumnSpec, DataType, Timestamp},
};

/// What an aggregate keeps for each group. Derive it: each field is a column, and `Default` gives the value of a group
/// without rows.
///
/// ```
/// use wasmill_sdk::prelude::*;
///
/// #[derive(Accumulator, Default)]
/// struct Totals {
///     minutes: i64,
///     #[column(name = "last-carrier")]
///     carrier: Option<String>,
/// }
/// ```
#[diagnostic::on_unimplemented(
    message = "`{Self}` is not an accumulator",
    label = "not an accumulator",
    note = "put `#[derive(Accumulator, Default)]` on the struct that an aggregate keeps for each group"
)]
pub trait Accumulator: Shape + Default {
    /// Reads all groups.
    ///
    /// # Errors
    ///
    /// When the columns do not fit.
    fn load(columns: &RawBatch) -> Result<Vec<Self>, Failure>;
    /// Adds the group's values to their columns.
    fn store(self, builders: &mut Self::Builders);
    #[doc(hidden)]
    fn scalars(self) -> Vec<wit::Scalar>;
}

/// The group whose result is asked for.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Group {
    /// Its window; `None` where the aggregation has none.
    pub window: Option<Window>,
}

/// The bounds of a window: `[start, end)`.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Window {
    /// The first instant in it.
    pub start: Timestamp,
    /// The first instant after it.
    pub end: Timestamp,
}

/// An aggregate: what a window or a group keeps of its rows, and the result that it gives.
///
/// The struct is the aggregate's configuration, as in [`Transform`](crate::Transform). Put
/// [`#[aggregate]`](macro@crate::aggregate) on it.
///
/// ```
/// use wasmill_sdk::{prelude::*, testing::{AggregateTest, Table}};
///
/// #[derive(InputRow)]
/// struct Departure {
///     dep_delay: Option<i64>,
/// }
///
/// #[derive(Accumulator, Default)]
/// struct Worst {
///     minutes: Option<i64>,
/// }
///
/// #[derive(OutputRow)]
/// struct WorstDelay {
///     worst: Option<i64>,
/// }
///
/// /// The worst delay.
/// #[aggregate(commutative)]
/// struct Max;
///
/// impl Aggregate for Max {
///     type Input<'a> = Departure;
///     type Accumulator = Worst;
///     type Output = WorstDelay;
///
///     fn accumulate(&self, worst: &mut Worst, row: Departure) -> Result<(), Reject> {
///         worst.minutes = worst.minutes.max(row.dep_delay);
///         Ok(())
///     }
///
///     fn merge(&self, worst: &mut Worst, later: Worst) {
///         worst.minutes = worst.minutes.max(later.minutes);
///     }
///
///     fn finish(&self, worst: &Worst, _group: &Group) -> WorstDelay {
///         WorstDelay { worst: worst.minutes }
///     }
/// }
///
/// let input = Table::new().with("dep_delay", [Some(5), None, Some(40)]);
/// let mut test = AggregateTest::<Max>::open("{}", &input)?;
/// assert_eq!(test.aggregate(&input, &[0, 0, 1])?, Table::new().with("worst", [Some(5), Some(40)]));
/// # Ok::<(), Failure>(())
/// ```
#[diagnostic::on_unimplemented(
    message = "`{Self}` has no logic: `Aggregate` is not implemented for it",
    label = "`impl Aggregate for {Self}` is missing"
)]
pub trait Aggregate: DeserializeOwned + 'static {
    /// The columns that it reads: a struct with `#[derive(InputRow)]`.
    type Input<'a>: InputRow<'a>;
    /// What is kept for each group: a struct with `#[derive(Accumulator, Default)]`.
    type Accumulator: Accumulator;
    /// The result of a group: a struct with `#[derive(OutputRow)]`.
    type Output: OutputRow;

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

    /// The accumulator of a group without rows.
    fn initial(&self) -> Self::Accumulator {
        Self::Accumulator::default()
    }

    /// Adds one row to its group.
    ///
    /// # Errors
    ///
    /// The row is invalid: a dead letter where the topology names a sink for them; else it stops the job, or is skipped
    /// with `on-fault = "skip"`. Say so before changing the accumulator: what was changed stays.
    fn accumulate(&self, accumulator: &mut Self::Accumulator, row: Self::Input<'_>) -> Result<(), Reject>;

    /// Adds the accumulator of later rows to that of earlier ones.
    fn merge(&self, earlier: &mut Self::Accumulator, later: Self::Accumulator);

    /// The result of a group. It may be asked for more than once.
    fn finish(&self, accumulator: &Self::Accumulator, group: &Group) -> Self::Output;
}

/// What the attribute adds to [`Aggregate`]. Not for authors.
pub trait AggregateOperator: Aggregate {
    /// Whether any order and grouping of the rows gives the same bytes.
    const COMMUTATIVE: bool;
    /// The version of the accumulators.
    const VERSION: u32;
}

/// An aggregate after `open`.
#[derive(Debug)]
pub struct Opened<T> {
    operator: T,
}

/// `aggregator.describe`.
///
/// # Errors
///
/// When the configuration or the input does not fit; the message says what to do.
pub fn describe<T: AggregateOperator>(
    config: &str,
    input: &wit::Input,
) -> Result<aggregator::Description, wit::Failure> {
    plan::<T>(config, input)
        .map(|(_, description)| description)
        .map_err(Failure::into_wit)
}

/// `aggregator.open`.
///
/// # Errors
///
/// As `describe`; and what the aggregate's own `open` says.
pub fn open<T: AggregateOperator>(config: &str, input: &wit::Input) -> Result<Opened<T>, wit::Failure> {
    let (mut operator, _) = plan::<T>(config, input).map_err(Failure::into_wit)?;
    operator.open().map_err(Failure::into_wit)?;
    Ok(Opened { operator })
}

fn plan<T: AggregateOperator>(config: &str, input: &wit::Input) -> Result<(T, aggregator::Description), Failure> {
    let operator = config::parse::<T>(config)?;
    operator.check()?;
    let columns = <T::Input<'static> as Requires>::COLUMNS;
    schema::require(input, columns)?;
    let accumulators = <T::Accumulator as Shape>::COLUMNS
        .iter()
        .zip(operator.initial().scalars());
    let description = aggregator::Description {
        input: schema::requirement(columns, <T::Input<'static> as Requires>::EVENT_TIMES),
        accumulators: accumulators
            .map(|(spec, initial)| aggregator::Accumulator {
                field: schema::field(spec),
                initial,
            })
            .collect(),
        results: ResultShape::<T>::COLUMNS.iter().map(schema::field).collect(),
        commutative: T::COMMUTATIVE,
        version: T::VERSION,
        migrates_from: Vec::new(),
    };
    Ok((operator, description))
}

impl<T: AggregateOperator> Opened<T> {
    /// `aggregator.accumulate`.
    ///
    /// # Errors
    ///
    /// The call as a whole failed.
    pub fn accumulate(
        &self,
        batch: wit::Batch,
        group_of_row: Vec<u8>,
        accumulators: Vec<wit::Column>,
    ) -> Result<aggregator::Accumulated, wit::Failure> {
        self.try_accumulate(batch, group_of_row, accumulators)
            .map_err(Failure::into_wit)
    }

    fn try_accumulate(
        &self,
        batch: wit::Batch,
        group_of_row: Vec<u8>,
        accumulators: Vec<wit::Column>,
    ) -> Result<aggregator::Accumulated, Failure> {
        let batch = RawBatch::new(batch);
        let groups = Buffer::new(group_of_row);
        let groups = match groups.values::<u32>() {
            Some(groups) if groups.len() == batch.rows() => groups,
            _ => return Err(Failure::new("`group-of-row` does not have a number for each row")),
        };
        let mut kept = load::<T::Accumulator>(accumulators)?;
        let views = <T::Input<'_> as InputRow<'_>>::views(&batch)?;
        let mut rejects = Rejects::none();
        for (row, group) in groups.iter().enumerate() {
            let Some(accumulator) = kept.get_mut(*group as usize) else {
                return Err(Failure::new(format!(
                    "row {row} is of group {group}, and there are {}",
                    kept.len()
                )));
            };
            if let Err(reject) = self.operator.accumulate(accumulator, InputRow::read(&views, row)) {
                rejects.add(row as u32, reject);
            }
        }
        metrics::flush();
        Ok(aggregator::Accumulated {
            accumulators: store(kept)?,
            rejects: rejects.into_wit(),
        })
    }

    /// `aggregator.merge`.
    ///
    /// # Errors
    ///
    /// The call as a whole failed.
    pub fn merge(&self, earlier: Vec<wit::Column>, later: Vec<wit::Column>) -> Result<Vec<wit::Column>, wit::Failure> {
        self.try_merge(earlier, later).map_err(Failure::into_wit)
    }

    fn try_merge(&self, earlier: Vec<wit::Column>, later: Vec<wit::Column>) -> Result<Vec<wit::Column>, Failure> {
        let mut earlier = load::<T::Accumulator>(earlier)?;
        let later = load::<T::Accumulator>(later)?;
        if earlier.len() != later.len() {
            return Err(Failure::new(format!(
                "{} groups cannot be merged with {}",
                earlier.len(),
                later.len()
            )));
        }
        for (earlier, later) in earlier.iter_mut().zip(later) {
            self.operator.merge(earlier, later);
        }
        metrics::flush();
        store(earlier)
    }

    /// `aggregator.finish`.
    ///
    /// # Errors
    ///
    /// The call as a whole failed.
    pub fn finish(
        &self,
        bounds: aggregator::GroupBounds,
        accumulators: Vec<wit::Column>,
    ) -> Result<Vec<wit::Column>, wit::Failure> {
        self.try_finish(bounds, accumulators).map_err(Failure::into_wit)
    }

    fn try_finish(
        &self,
        bounds: aggregator::GroupBounds,
        accumulators: Vec<wit::Column>,
    ) -> Result<Vec<wit::Column>, Failure> {
        let kept = load::<T::Accumulator>(accumulators)?;
        let (start, end) = (Buffer::new(bounds.start), Buffer::new(bounds.end));
        let misfit = || Failure::new("the bounds do not have a time for each group");
        let starts = start.values::<Timestamp>().ok_or_else(misfit)?;
        let ends = end.values::<Timestamp>().ok_or_else(misfit)?;
        if starts.len() != ends.len() || !(starts.is_empty() || starts.len() >= kept.len()) {
            return Err(misfit());
        }
        let mut results = ResultShape::<T>::builders(kept.len());
        for (group, accumulator) in kept.iter().enumerate() {
            let window = starts.get(group).zip(ends.get(group)).map(|(start, end)| Window {
                start: *start,
                end: *end,
            });
            self.operator.finish(accumulator, &Group { window }).push(&mut results);
        }
        metrics::flush();
        finished::<ResultShape<T>>(results, kept.len())
    }
}

type ResultShape<T> = <<T as Aggregate>::Output as OutputRow>::Shape;

/// How many groups the columns hold. A column of booleans holds eight a byte, so any other column decides.
fn groups(specs: &[ColumnSpec], columns: &[wit::Column]) -> usize {
    let rows = |(spec, column): (&ColumnSpec, &wit::Column)| match spec.data_type {
        DataType::Boolean => None,
        DataType::Int64 | DataType::Float64 | DataType::Timestamp => Some(column.data.len() / 8),
        DataType::Utf8 | DataType::Binary | DataType::Json => Some((column.offsets.len() / 4).saturating_sub(1)),
    };
    specs.iter().zip(columns).find_map(rows).unwrap_or(0)
}

fn load<A: Accumulator>(columns: Vec<wit::Column>) -> Result<Vec<A>, Failure> {
    if columns.len() != A::COLUMNS.len() {
        return Err(Failure::new(format!(
            "{} accumulators came for {}",
            columns.len(),
            A::COLUMNS.len()
        )));
    }
    let rows = groups(A::COLUMNS, &columns) as u32;
    A::load(&RawBatch::new(wit::Batch {
        rows,
        event_times: Vec::new(),
        kinds: Vec::new(),
        columns,
    }))
}

fn store<A: Accumulator>(kept: Vec<A>) -> Result<Vec<wit::Column>, Failure> {
    let groups = kept.len();
    let mut builders = A::builders(groups);
    for accumulator in kept {
        accumulator.store(&mut builders);
    }
    finished::<A>(builders, groups)
}

fn finished<S: Shape>(builders: S::Builders, rows: usize) -> Result<Vec<wit::Column>, Failure> {
    S::finish(builders, rows)
        .map_err(|(at, len)| Failure::new(format!("column `{}` has {len} values for {rows}", S::COLUMNS[at].name)))
}

/// Whether one of the columns says how many groups there are.
pub const fn countable(columns: &[ColumnSpec]) -> bool {
    let mut at = 0;
    while at < columns.len() {
        if !matches!(columns[at].data_type, DataType::Boolean) {
            return true;
        }
        at += 1;
    }
    false
}
