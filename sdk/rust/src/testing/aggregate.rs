//! Runs an aggregate in the process of a test.

use super::{Imports, LogLine, Table};
use crate::{
    DataType, Failure, Timestamp, Window,
    aggregate::{AggregateOperator, Opened, describe, open},
    bindings::{aggregator, types as wit},
    buffer,
    output::{Builder, OutputValue},
};

/// An aggregate that has been opened.
///
/// ```
/// use wasmill_sdk::{prelude::*, testing::{AggregateTest, Table}};
///
/// #[derive(InputRow)]
/// struct Bid {
///     price: i64,
/// }
///
/// #[derive(Accumulator, Default)]
/// struct Sum {
///     total: i64,
/// }
///
/// #[derive(OutputRow)]
/// struct Total {
///     total: i64,
/// }
///
/// #[aggregate(commutative)]
/// struct Volume;
///
/// impl Aggregate for Volume {
///     type Input<'a> = Bid;
///     type Accumulator = Sum;
///     type Output = Total;
///
///     fn accumulate(&self, sum: &mut Sum, bid: Bid) -> Result<(), Reject> {
///         sum.total += bid.price;
///         Ok(())
///     }
///
///     fn merge(&self, sum: &mut Sum, later: Sum) {
///         sum.total += later.total;
///     }
///
///     fn finish(&self, sum: &Sum, _group: &Group) -> Total {
///         Total { total: sum.total }
///     }
/// }
///
/// let bids = Table::new().with("price", [1, 10, 100]);
/// let mut test = AggregateTest::<Volume>::open("{}", &bids)?;
/// assert_eq!(test.aggregate(&bids, &[0, 1, 0])?, Table::new().with("total", [101, 10]));
/// # Ok::<(), Failure>(())
/// ```
pub struct AggregateTest<T> {
    operator: Opened<T>,
    description: aggregator::Description,
    imports: Imports,
    rejects: Vec<(u32, String)>,
    window: Option<Window>,
}

impl<T> std::fmt::Debug for AggregateTest<T> {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        let Self {
            description, imports, ..
        } = self;
        f.debug_struct("AggregateTest")
            .field("description", description)
            .field("imports", imports)
            .finish_non_exhaustive()
    }
}

impl<T: AggregateOperator> AggregateTest<T> {
    /// Describes and opens the aggregate with a configuration, as JSON, for an input with the columns of a table.
    ///
    /// # Errors
    ///
    /// What `describe` or `open` says against the configuration or the columns.
    pub fn open(config: &str, input: &Table) -> Result<Self, Failure> {
        let input = wit::Input {
            name: "input".to_owned(),
            schema: input.schema(),
            changelog: false,
        };
        let mut imports = Imports::default();
        let (description, operator) = imports
            .during(|| Ok((describe::<T>(config, &input)?, open::<T>(config, &input)?)))
            .map_err(Failure::from_wit)?;
        Ok(Self {
            operator,
            description,
            imports,
            rejects: Vec::new(),
            window: None,
        })
    }

    /// Results are asked for as those of this window.
    pub fn in_window(&mut self, window: Window) {
        self.window = Some(window);
    }

    /// Aggregates the rows into groups, from nothing, and gives a row of results a group. `groups[i]` is the group of
    /// row `i`; there are as many groups as the greatest number says.
    ///
    /// The rows are aggregated once in one go, and once in two halves that are merged.
    ///
    /// # Errors
    ///
    /// When the aggregate fails a call.
    ///
    /// # Panics
    ///
    /// When `groups` has another length than the table, the aggregate breaks the contract, or a commutative aggregate
    /// gives something else for the two halves.
    pub fn aggregate(&mut self, input: &Table, groups: &[u32]) -> Result<Table, Failure> {
        assert_eq!(input.rows(), groups.len(), "each row needs the number of its group");
        let count = groups.iter().max().map_or(0, |greatest| *greatest as usize + 1);
        let half = input.rows() / 2;
        let earlier = self.accumulate(&input.select(0..half), &groups[..half], count)?;
        let later = self.accumulate(&input.select(half..input.rows()), &groups[half..], count)?;
        let merged = self
            .imports
            .during(|| self.operator.merge(earlier, later))
            .map_err(Failure::from_wit)?;
        let merged = self.finish(merged, count)?;
        self.rejects.clear();
        let whole = self.accumulate(input, groups, count)?;
        let whole = self.finish(whole, count)?;
        if self.description.commutative {
            assert_eq!(
                whole, merged,
                "a commutative aggregate gives something else for two halves"
            );
        }
        Ok(whole)
    }

    fn accumulate(&mut self, input: &Table, groups: &[u32], count: usize) -> Result<Vec<wit::Column>, Failure> {
        let initial = self
            .description
            .accumulators
            .iter()
            .map(|accumulator| filled(accumulator, count));
        let initial: Vec<_> = initial.collect();
        if groups.is_empty() {
            return Ok(initial);
        }
        let batch = input.batch(&self.description.input);
        let accumulated = self
            .imports
            .during(|| self.operator.accumulate(batch, buffer::encode(groups), initial))
            .map_err(Failure::from_wit)?;
        self.rejects.extend(
            accumulated
                .rejects
                .into_iter()
                .map(|reject| (reject.row, reject.message)),
        );
        Ok(accumulated.accumulators)
    }

    fn finish(&mut self, accumulators: Vec<wit::Column>, count: usize) -> Result<Table, Failure> {
        let times = |bound: fn(&Window) -> Timestamp| {
            self.window
                .map(|window| buffer::encode(&vec![bound(&window); count]))
                .unwrap_or_default()
        };
        let bounds = aggregator::GroupBounds {
            start: times(|window| window.start),
            end: times(|window| window.end),
        };
        let columns = self
            .imports
            .during(|| self.operator.finish(bounds, accumulators))
            .map_err(Failure::from_wit)?;
        Ok(Table::decode(&self.description.results, columns, count))
    }

    /// The rows that the last [`aggregate`](Self::aggregate) rejected, with their messages.
    pub fn rejects(&self) -> &[(u32, String)] {
        &self.rejects
    }

    /// What the aggregate logged so far.
    pub fn logs(&self) -> Vec<LogLine> {
        self.imports.logs()
    }

    /// The sum of a counter or histogram, or the last value of a gauge; `None` when it was not declared.
    pub fn metric(&self, name: &str) -> Option<f64> {
        self.imports.metric(name)
    }
}

/// A column of one value, as the host makes it for groups without rows.
fn filled(accumulator: &aggregator::Accumulator, count: usize) -> wit::Column {
    match &accumulator.initial {
        wit::Scalar::Null => nulls(&accumulator.field, count),
        wit::Scalar::Boolean(value) => column(Some(*value), count),
        wit::Scalar::Int64(value) | wit::Scalar::Timestamp(value) => column(Some(*value), count),
        wit::Scalar::Float64(value) => column(Some(*value), count),
        wit::Scalar::Utf8(value) | wit::Scalar::Json(value) => column(Some(value), count),
        wit::Scalar::Binary(value) => column(Some(value), count),
    }
}

fn nulls(field: &wit::Field, count: usize) -> wit::Column {
    match DataType::from_name(&field.data_type).expect("the SDK writes types that it knows") {
        DataType::Boolean => column(None::<bool>, count),
        DataType::Int64 | DataType::Timestamp | DataType::Float64 => column(None::<i64>, count),
        DataType::Utf8 | DataType::Json | DataType::Binary => column(None::<&str>, count),
    }
}

fn column<V: OutputValue + Copy>(value: Option<V>, count: usize) -> wit::Column {
    let mut builder = <Option<V> as OutputValue>::Builder::default();
    for _ in 0..count {
        value.push(&mut builder);
    }
    builder.finish()
}
