//! Output ports: what an operator writes its results into.
//!
//! A port knows which rows of the input it emits, in what order, and the columns that it computes for them. Columns
//! that pass through are named to the host by their position and never copied; a filter is a list of row numbers.

mod changelog;
mod with_key;

pub use changelog::{Changelog, EmitPort, Kind};
pub use with_key::WithKey;

use crate::{
    bindings::types as wit,
    buffer,
    fault::Failure,
    output::{OutputColumns, OutputRow, Shape, WholeColumns, misfit, no_values},
    types::ColumnSpec,
};

/// The rows that a port emits, for operators that work on whole columns.
///
/// ```
/// use wasmill_sdk::Rows;
/// let prices = [5, 50, 500];
/// let dear = Rows::filter(3, |row| prices[row] > 10);
/// assert_eq!(dear.count(3), 2);
/// let twice = Rows::from_iter([0, 0, 1, 1]);
/// assert_eq!(twice.count(3), 4);
/// ```
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Rows {
    /// All rows of the input, in order.
    All,
    /// Rows of the input by number: a row may come more than once, or not at all.
    Some(RowNumbers),
}

/// Row numbers, as they cross to the host. Collect them from an iterator of `u32`.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct RowNumbers {
    bytes: Vec<u8>,
}

impl RowNumbers {
    /// How many there are.
    pub fn len(&self) -> usize {
        self.bytes.len() / 4
    }

    /// Whether there are none.
    pub fn is_empty(&self) -> bool {
        self.bytes.is_empty()
    }
}

impl FromIterator<u32> for RowNumbers {
    fn from_iter<I: IntoIterator<Item = u32>>(rows: I) -> Self {
        let mut bytes = Vec::new();
        for row in rows {
            buffer::push(&mut bytes, row);
        }
        Self { bytes }
    }
}

impl FromIterator<u32> for Rows {
    fn from_iter<I: IntoIterator<Item = u32>>(rows: I) -> Self {
        Self::Some(rows.into_iter().collect())
    }
}

impl Rows {
    /// The rows of a batch of `rows` for which `keep` holds. There is no branch on the answer, so it is fast also
    /// where the answer is hard to predict.
    pub fn filter(rows: usize, mut keep: impl FnMut(usize) -> bool) -> Self {
        let mut kept = 0;
        let mut bytes = buffer::filled::<u32>(rows, |numbers| {
            for row in 0..rows {
                numbers[kept] = row as u32;
                kept += usize::from(keep(row));
            }
        });
        if kept == rows {
            return Self::All;
        }
        bytes.truncate(kept * 4);
        Self::Some(RowNumbers { bytes })
    }

    /// How many rows this is of a batch of `rows`.
    pub fn count(&self, rows: usize) -> usize {
        match self {
            Self::All => rows,
            Self::Some(numbers) => numbers.len(),
        }
    }

    fn into_wit(self) -> wit::Selection {
        match self {
            Self::All => wit::Selection::All,
            Self::Some(numbers) => wit::Selection::Rows(numbers.bytes),
        }
    }
}

/// The rows that were emitted one by one; no list is made as long as they are those of the input, in order.
#[derive(Debug)]
struct Emitted {
    current: u32,
    count: u32,
    numbers: Option<Vec<u8>>,
}

impl Emitted {
    #[inline]
    fn push(&mut self) {
        if let Some(numbers) = &mut self.numbers {
            buffer::push(numbers, self.current);
        } else if self.current != self.count {
            let mut numbers = Vec::with_capacity((self.current as usize + 1) * 4);
            for row in 0..self.count {
                buffer::push(&mut numbers, row);
            }
            buffer::push(&mut numbers, self.current);
            self.numbers = Some(numbers);
        }
        self.count += 1;
    }

    fn into_rows(self, rows: usize) -> Rows {
        match self.numbers {
            Some(bytes) => Rows::Some(RowNumbers { bytes }),
            None if self.count as usize == rows => Rows::All,
            None => (0..self.count).collect(),
        }
    }
}

/// A port of an operator; write its type as [`Keep`], [`Add`] or [`Only`].
///
/// `PASS` says whether the columns of the input pass through; `S` names the columns that are computed.
pub struct Port<S: Shape, const PASS: bool> {
    emitted: Emitted,
    whole: Option<Rows>,
    values: S::Builders,
}

impl<S: Shape, const PASS: bool> std::fmt::Debug for Port<S, PASS> {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Port")
            .field("emitted", &self.emitted)
            .field("whole", &self.whole)
            .finish_non_exhaustive()
    }
}

/// A port that emits rows of the input as they are: for filters and splits.
///
/// ```
/// use wasmill_sdk::{prelude::*, testing::{Table, TransformTest}};
///
/// #[derive(InputRow)]
/// struct Bid {
///     price: i64,
/// }
///
/// #[transform]
/// struct Dear {
///     above: i64,
/// }
///
/// impl Transform for Dear {
///     type Input<'a> = Bid;
///     type Output = Keep;
///
///     fn row(&self, bid: Bid, out: &mut Keep) -> Result<(), Reject> {
///         if bid.price > self.above {
///             out.keep();
///         }
///         Ok(())
///     }
/// }
///
/// let input = Table::new().with("price", [5, 50]).with("bidder", ["a", "b"]);
/// let output = TransformTest::<Dear>::open(r#"{"above":10}"#, &input)?.process(&input)?;
/// assert_eq!(output.port("out"), &Table::new().with("price", [50]).with("bidder", ["b"]));
/// # Ok::<(), Failure>(())
/// ```
pub type Keep = Port<(), true>;

/// A port that emits the columns of the input and those of `S` after them. A column of `S` that has the name of an
/// input column replaces it, in its place.
///
/// ```
/// use wasmill_sdk::{prelude::*, testing::{Table, TransformTest}};
///
/// #[derive(InputRow)]
/// struct Bid {
///     price: i64,
/// }
///
/// #[derive(OutputRow)]
/// struct Converted {
///     price: f64,
///     currency: &'static str,
/// }
///
/// #[transform]
/// struct Convert;
///
/// impl Transform for Convert {
///     type Input<'a> = Bid;
///     type Output = Add<Converted>;
///
///     fn row(&self, bid: Bid, out: &mut Self::Output) -> Result<(), Reject> {
///         out.emit(Converted { price: bid.price as f64 * 0.908, currency: "EUR" });
///         Ok(())
///     }
/// }
///
/// let input = Table::new().with("price", [100]).with("bidder", ["a"]);
/// let output = TransformTest::<Convert>::open("{}", &input)?.process(&input)?;
/// let expect = Table::new().with("price", [90.8]).with("bidder", ["a"]).with("currency", ["EUR"]);
/// assert_eq!(output.port("out"), &expect);
/// # Ok::<(), Failure>(())
/// ```
pub type Add<S> = Port<S, true>;

/// A port that emits the columns of `S` only. Emit more than once a row for a flat-map.
///
/// ```
/// use wasmill_sdk::{prelude::*, testing::{Table, TransformTest}};
///
/// #[derive(InputRow)]
/// struct Line<'a> {
///     line: &'a str,
/// }
///
/// #[derive(OutputRow)]
/// struct Word<'a> {
///     word: &'a str,
/// }
///
/// #[transform]
/// struct Words;
///
/// impl Transform for Words {
///     type Input<'a> = Line<'a>;
///     type Output = Only<Word<'static>>;
///
///     fn row(&self, row: Line<'_>, out: &mut Self::Output) -> Result<(), Reject> {
///         for word in row.line.split_whitespace() {
///             out.emit(Word { word });
///         }
///         Ok(())
///     }
/// }
///
/// let input = Table::new().with("line", ["to be", "", "or"]);
/// let output = TransformTest::<Words>::open("{}", &input)?.process(&input)?;
/// assert_eq!(output.port("out"), &Table::new().with("word", ["to", "be", "or"]));
/// # Ok::<(), Failure>(())
/// ```
pub type Only<S> = Port<S, false>;

impl<S: Shape, const PASS: bool> Port<S, PASS> {
    /// Emits one row: computed values beside the input row that is being read.
    #[inline]
    pub fn emit<R: OutputRow<Shape = S>>(&mut self, row: R) {
        self.emitted.push();
        row.push(&mut self.values);
    }
}

impl<S: Shape<Builders = WholeColumns>, const PASS: bool> Port<S, PASS> {
    /// Gives all that the port emits of this batch: which rows, and a value of each computed column for each of them.
    /// A second call replaces the first.
    pub fn set<C: OutputColumns<Shape = S>>(&mut self, rows: Rows, columns: C) {
        self.values.clear();
        columns.set(&mut self.values);
        self.whole = Some(rows);
    }
}

impl Keep {
    /// Emits the input row that is being read.
    #[inline]
    pub fn keep(&mut self) {
        self.emitted.push();
    }

    /// Emits these rows of the batch. A second call replaces the first.
    pub fn keep_rows(&mut self, rows: Rows) {
        self.whole = Some(rows);
    }
}

/// What a port is, before any row.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct PortSpec {
    /// The port's name.
    pub name: &'static str,
    /// The columns that stand before the computed ones.
    pub passes: Passing,
    /// The computed columns.
    pub columns: &'static [ColumnSpec],
    /// Whether its rows say what they do: insert, update, delete.
    pub changelog: bool,
}

/// The columns of a port that are not computed.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Passing {
    /// None.
    Nothing,
    /// Those of the input row.
    Input,
    /// Those of the key.
    Key,
}

/// What a port emits of one batch.
#[derive(Debug)]
pub struct PortRows {
    pub(crate) rows: wit::Selection,
    /// A byte a row; empty where the port is no changelog.
    pub(crate) kinds: Vec<u8>,
    pub(crate) computed: Vec<wit::Column>,
}

/// A single port. Ports are gathered by [`Outputs`].
#[diagnostic::on_unimplemented(
    message = "`{Self}` is not a port",
    label = "not a port",
    note = "the fields of an `Outputs` struct are `Keep`, `Add<Columns>`, `Only<Columns>`, `WithKey<Columns>`, or \
            `Changelog<..>` of one of them"
)]
pub trait AnyPort: Sized {
    /// The columns that stand before the computed ones.
    const PASSES: Passing;
    /// The computed columns.
    const COLUMNS: &'static [ColumnSpec];
    /// Whether its rows say what they do.
    const CHANGELOG: bool = false;
    /// An empty port, before a batch of so many rows.
    fn start(rows: usize) -> Self;
    /// The input row that is read next.
    fn at(&mut self, row: u32);
    /// What it emits.
    ///
    /// # Errors
    ///
    /// When a computed column has another number of values than the port has rows.
    fn finish(self, name: &str, rows: usize) -> Result<PortRows, Failure>;
}

impl<S: Shape, const PASS: bool> AnyPort for Port<S, PASS> {
    const PASSES: Passing = if PASS { Passing::Input } else { Passing::Nothing };
    const COLUMNS: &'static [ColumnSpec] = S::COLUMNS;

    fn start(rows: usize) -> Self {
        let emitted = Emitted {
            current: 0,
            count: 0,
            numbers: None,
        };
        Self {
            emitted,
            whole: None,
            values: S::builders(rows),
        }
    }

    #[inline]
    fn at(&mut self, row: u32) {
        self.emitted.current = row;
    }

    fn finish(self, name: &str, rows: usize) -> Result<PortRows, Failure> {
        let selected = match self.whole {
            Some(whole) => whole,
            None => self.emitted.into_rows(rows),
        };
        let mut computed = S::finish(self.values, selected.count(rows))
            .map_err(|(at, len)| misfit(name, &S::COLUMNS[at], len, selected.count(rows)))?;
        if computed.is_empty() && selected.count(rows) == 0 {
            // The operator has set nothing: no rows.
            computed = S::COLUMNS.iter().map(no_values).collect();
        }
        Ok(PortRows {
            rows: selected.into_wit(),
            kinds: Vec::new(),
            computed,
        })
    }
}

/// All ports of an operator: a single [`Keep`], [`Add`] or [`Only`], which is then called `out`, or a struct of them.
///
/// Derive it on a struct for side outputs: each field is a port, named as the field in kebab-case or by
/// `#[port(name = "...")]`. The first is the main output; the others are read in a topology as `operator.port`.
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
/// struct Alarm {
///     minutes: i64,
/// }
///
/// #[derive(Outputs)]
/// struct Split {
///     departed: Keep,
///     cancelled: Keep,
///     #[port(name = "alarms")]
///     very_late: Only<Alarm>,
/// }
///
/// #[transform]
/// struct SplitDepartures;
///
/// impl Transform for SplitDepartures {
///     type Input<'a> = Departure;
///     type Output = Split;
///
///     fn row(&self, row: Departure, out: &mut Split) -> Result<(), Reject> {
///         let Some(minutes) = row.dep_delay else {
///             out.cancelled.keep();
///             return Ok(());
///         };
///         out.departed.keep();
///         if minutes > 120 {
///             out.very_late.emit(Alarm { minutes });
///         }
///         Ok(())
///     }
/// }
///
/// let input = Table::new().with("dep_delay", [Some(3), None, Some(180)]);
/// let output = TransformTest::<SplitDepartures>::open("{}", &input)?.process(&input)?;
/// assert_eq!(output.port("departed"), &Table::new().with("dep_delay", [Some(3), Some(180)]));
/// assert_eq!(output.port("cancelled"), &Table::new().with("dep_delay", [None::<i64>]));
/// assert_eq!(output.port("alarms"), &Table::new().with("minutes", [180]));
/// # Ok::<(), Failure>(())
/// ```
#[diagnostic::on_unimplemented(
    message = "`{Self}` is not an output",
    label = "not an output",
    note = "an operator's `Output` is `Keep`, `Add<Columns>`, `Only<Columns>`, `WithKey<Columns>`, `Changelog<..>` of \
            one of them, or a struct of them with `#[derive(Outputs)]`"
)]
pub trait Outputs: Sized {
    /// The ports, the main output first.
    const PORTS: &'static [PortSpec];
    /// Empty ports, before a batch of so many rows.
    fn start(rows: usize) -> Self;
    /// The input row that is read next.
    fn at(&mut self, row: u32);
    /// What each port emits.
    ///
    /// # Errors
    ///
    /// When a computed column has another number of values than its port has rows.
    fn finish(self, rows: usize) -> Result<Vec<PortRows>, Failure>;
}

macro_rules! single {
    ([$($generic:tt)*] $port:ty) => {
        impl<$($generic)*> Outputs for $port {
            const PORTS: &'static [PortSpec] = &[PortSpec {
                name: "out",
                passes: <Self as AnyPort>::PASSES,
                columns: <Self as AnyPort>::COLUMNS,
                changelog: <Self as AnyPort>::CHANGELOG,
            }];

            fn start(rows: usize) -> Self {
                AnyPort::start(rows)
            }

            #[inline]
            fn at(&mut self, row: u32) {
                AnyPort::at(self, row);
            }

            fn finish(self, rows: usize) -> Result<Vec<PortRows>, Failure> {
                AnyPort::finish(self, "out", rows).map(|rows| vec![rows])
            }
        }
    };
}
single!([S: Shape, const PASS: bool] Port<S, PASS>);
single!([S: Shape] WithKey<S>);
single!([P: EmitPort] Changelog<P>);
