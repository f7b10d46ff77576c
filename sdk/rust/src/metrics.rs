//! Metrics of an operator. Declare them in `open`, keep them in `#[serde(skip)]` fields, update them in calls.
//!
//! Updates are gathered and cross to the host once a call; those of a call that fails are dropped.

use std::cell::RefCell;

use crate::host::{self, Kind};

thread_local! {
    static CHANGES: RefCell<Vec<(u32, f64)>> = const { RefCell::new(Vec::new()) };
}

pub(crate) fn flush() {
    CHANGES.with_borrow_mut(|changes| {
        if !changes.is_empty() {
            host::update(changes);
            changes.clear();
        }
    });
}

/// Forgets what a call left behind that failed.
#[cfg(not(target_arch = "wasm32"))]
pub(crate) fn discard() {
    CHANGES.with_borrow_mut(Vec::clear);
}

/// A metric; the default is one that goes nowhere, until `open` declares it.
#[derive(Debug, Clone, Copy, Default)]
struct Metric(Option<u32>);

impl Metric {
    fn declare(name: &str, kind: Kind, unit: &str) -> Self {
        Self(Some(host::declare(name, kind, unit)))
    }

    fn change(self, apply: impl FnOnce(&mut Vec<(u32, f64)>, u32)) {
        if let Some(id) = self.0 {
            CHANGES.with_borrow_mut(|changes| apply(changes, id));
        }
    }
}

/// Counts what happened.
///
/// ```
/// use wasmill_sdk::{prelude::*, metrics::Counter, testing::{Table, TransformTest}};
///
/// #[derive(InputRow)]
/// struct Line<'a> {
///     line: &'a str,
/// }
///
/// #[transform]
/// struct CountEmpty {
///     #[serde(skip)]
///     empty: Counter,
/// }
///
/// impl Transform for CountEmpty {
///     type Input<'a> = Line<'a>;
///     type Output = Keep;
///
///     fn open(&mut self) -> Result<(), Failure> {
///         self.empty = Counter::declare("empty-lines", "lines");
///         Ok(())
///     }
///
///     fn row(&self, row: Line<'_>, out: &mut Keep) -> Result<(), Reject> {
///         if row.line.is_empty() {
///             self.empty.add(1.0);
///         }
///         out.keep();
///         Ok(())
///     }
/// }
///
/// let input = Table::new().with("line", ["a", "", ""]);
/// let mut test = TransformTest::<CountEmpty>::open("{}", &input)?;
/// test.process(&input)?;
/// assert_eq!(test.metric("empty-lines"), Some(2.0));
/// # Ok::<(), Failure>(())
/// ```
#[derive(Debug, Clone, Copy, Default)]
pub struct Counter(Metric);

impl Counter {
    /// Declares a counter. Call it in `open`.
    pub fn declare(name: &str, unit: &str) -> Self {
        Self(Metric::declare(name, Kind::Counter, unit))
    }

    /// Adds to the count.
    pub fn add(&self, count: f64) {
        self.0
            .change(|changes, id| match changes.iter_mut().find(|(other, _)| *other == id) {
                Some((_, sum)) => *sum += count,
                None => changes.push((id, count)),
            });
    }
}

/// Says how much there is of something. Of the values of a call, the last counts.
///
/// ```
/// use wasmill_sdk::metrics::Gauge;
/// let size = Gauge::declare("table-size", "rows");
/// size.set(12.0);
/// ```
#[derive(Debug, Clone, Copy, Default)]
pub struct Gauge(Metric);

impl Gauge {
    /// Declares a gauge. Call it in `open`.
    pub fn declare(name: &str, unit: &str) -> Self {
        Self(Metric::declare(name, Kind::Gauge, unit))
    }

    /// Sets the value.
    pub fn set(&self, value: f64) {
        self.0
            .change(|changes, id| match changes.iter_mut().find(|(other, _)| *other == id) {
                Some((_, current)) => *current = value,
                None => changes.push((id, value)),
            });
    }
}

/// Shows how values are distributed.
///
/// ```
/// use wasmill_sdk::metrics::Histogram;
/// let length = Histogram::declare("line-length", "bytes");
/// length.record(80.0);
/// ```
#[derive(Debug, Clone, Copy, Default)]
pub struct Histogram(Metric);

impl Histogram {
    /// Declares a histogram. Call it in `open`.
    pub fn declare(name: &str, unit: &str) -> Self {
        Self(Metric::declare(name, Kind::Histogram, unit))
    }

    /// Adds a value.
    pub fn record(&self, value: f64) {
        self.0.change(|changes, id| changes.push((id, value)));
    }
}
