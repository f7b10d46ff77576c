//! Operators over the whole content of windows. Implements the world `window` over the traits that an author implements.
//!
//! A window that is larger than a call comes in parts. [`Windowed`] does not see them: the rows of the parts before travel
//! in what is carried from part to part. [`WindowedParts`] takes a row at a time and carries a value of its own.

mod driver;
mod frame;
mod rows;

pub use driver::{Call, Opened, Ran, WindowOperator, describe, open, run_parts, run_whole};
pub use rows::WindowRows;

use serde::de::DeserializeOwned;

use crate::{
    aggregate::Window,
    fault::{Failure, Reject},
    input::InputRow,
    keyed::Key,
    port::Outputs,
    state::StateRow,
};

/// A window whose result is asked for: of which key, from when to when, and for the how manieth time.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Firing<K> {
    /// The key.
    pub key: K,
    /// The bounds.
    pub window: Window,
    /// 0 for the first result of the window, then 1 and so on for early results and corrections.
    pub pane: u32,
}

/// An operator that is given all rows of a window at once: for what cannot be computed a row at a time.
///
/// The struct is the operator's configuration, as in [`Transform`](crate::Transform). Put
/// [`#[window]`](macro@crate::window) on it. Its output is what it computes: [`Only`](crate::Only), or a struct of such
/// ports. The key columns and the bounds of the window stand before it, and need not be given.
///
/// Where windows can be so large that their rows do not fit into the memory of a component, use [`WindowedParts`].
///
/// ```
/// use wasmill_sdk::{prelude::*, testing::{Table, WindowTest}};
///
/// #[derive(InputRow)]
/// struct Reading {
///     value: i64,
/// }
///
/// #[derive(OutputRow)]
/// struct Middle {
///     median: i64,
/// }
///
/// /// The median of a window.
/// #[window]
/// struct Median;
///
/// impl Windowed for Median {
///     type Key<'a> = ();
///     type Input<'a> = Reading;
///     type Output = Only<Middle>;
///
///     fn window(&self, _firing: &Firing<()>, rows: WindowRows<'_, Self>, out: &mut Self::Output) -> Result<(), Failure> {
///         let mut values: Vec<i64> = rows.map(|row| row.value).collect();
///         values.sort_unstable();
///         out.emit(Middle { median: values[values.len() / 2] });
///         Ok(())
///     }
/// }
///
/// let readings = Table::new().with("sensor", ["a", "a", "b", "a"]).with("value", [9, 1, 5, 4]);
/// let mut test = WindowTest::<Median>::open("{}", &["sensor"], &readings)?;
/// let window = Window { start: Timestamp::from_secs(0), end: Timestamp::from_secs(60) };
/// let medians = Table::new().with("sensor", ["a", "b"]).with("median", [4, 5]);
/// assert_eq!(test.fire(window, &readings)?.port("out"), &medians);
/// # Ok::<(), Failure>(())
/// ```
#[diagnostic::on_unimplemented(
    message = "`{Self}` has no logic: `Windowed` is not implemented for it",
    label = "`impl Windowed for {Self}` is missing",
    note = "an operator with `#[window]` implements `Windowed`; one with `#[window(parts)]` implements `WindowedParts`"
)]
pub trait Windowed: DeserializeOwned + 'static {
    /// What it reads of the key: `()`, a tuple, or a struct with `#[derive(InputRow)]`.
    type Key<'a>: Key<'a>;
    /// The columns that it reads: a struct with `#[derive(InputRow)]`.
    type Input<'a>: InputRow<'a>;
    /// What it writes: [`Only`](crate::Only), or a struct of such ports.
    type Output: Outputs;

    /// Checks what serde cannot. Called when a topology is checked, and before [`open`](Self::open).
    ///
    /// # Errors
    ///
    /// A message about the configuration.
    fn check(&self) -> Result<(), Failure> {
        Ok(())
    }

    /// Computes once per instance what windows need: tables, metrics.
    ///
    /// # Errors
    ///
    /// The job does not start.
    fn open(&mut self) -> Result<(), Failure> {
        Ok(())
    }

    /// Handles the rows of a window, in the order of event time. What is emitted has the event time of the window's end.
    ///
    /// # Errors
    ///
    /// The call as a whole failed, and nothing of it takes effect.
    fn window(
        &self,
        firing: &Firing<Self::Key<'_>>,
        rows: WindowRows<'_, Self>,
        out: &mut Self::Output,
    ) -> Result<(), Failure>;
}

/// An operator that takes the rows of a window one at a time and carries a value from row to row: for windows of any
/// size. Put [`#[window(parts)]`](macro@crate::window) on it; the rest is as in [`Windowed`].
///
/// ```
/// use wasmill_sdk::{prelude::*, testing::{Table, WindowTest}};
///
/// #[derive(InputRow)]
/// struct Reading {
///     value: f64,
/// }
///
/// #[derive(State, Default)]
/// struct Climb {
///     last: Option<f64>,
///     up: f64,
/// }
///
/// #[derive(OutputRow)]
/// struct Climbed {
///     up: f64,
/// }
///
/// /// How much a value climbed, all in all.
/// #[window(parts)]
/// struct Climbs;
///
/// impl WindowedParts for Climbs {
///     type Key<'a> = ();
///     type Input<'a> = Reading;
///     type Carry = Climb;
///     type Output = Only<Climbed>;
///
///     fn row(&self, _firing: &Firing<()>, climb: &mut Climb, row: Reading) -> Result<(), Reject> {
///         climb.up += climb.last.map_or(0.0, |last| (row.value - last).max(0.0));
///         climb.last = Some(row.value);
///         Ok(())
///     }
///
///     fn finish(&self, _firing: &Firing<()>, climb: Climb, out: &mut Self::Output) -> Result<(), Failure> {
///         out.emit(Climbed { up: climb.up });
///         Ok(())
///     }
/// }
///
/// let readings = Table::new().with("value", [1.0, 3.0, 2.0, 6.0]);
/// let mut test = WindowTest::<Climbs>::open("{}", &[], &readings)?;
/// let window = Window { start: Timestamp::from_secs(0), end: Timestamp::from_secs(60) };
/// assert_eq!(test.fire(window, &readings)?.port("out"), &Table::new().with("up", [6.0]));
/// # Ok::<(), Failure>(())
/// ```
#[diagnostic::on_unimplemented(
    message = "`{Self}` has no logic: `WindowedParts` is not implemented for it",
    label = "`impl WindowedParts for {Self}` is missing",
    note = "an operator with `#[window(parts)]` implements `WindowedParts`; one with `#[window]` implements `Windowed`"
)]
pub trait WindowedParts: DeserializeOwned + 'static {
    /// What it reads of the key: `()`, a tuple, or a struct with `#[derive(InputRow)]`.
    type Key<'a>: Key<'a>;
    /// The columns that it reads: a struct with `#[derive(InputRow)]`.
    type Input<'a>: InputRow<'a>;
    /// What goes from row to row: a value, a tuple of them, or a struct with `#[derive(State, Default)]`. A window begins
    /// with `Default`.
    type Carry: StateRow;
    /// What it writes: [`Only`](crate::Only), or a struct of such ports.
    type Output: Outputs;

    /// As [`Windowed::check`].
    ///
    /// # Errors
    ///
    /// A message about the configuration.
    fn check(&self) -> Result<(), Failure> {
        Ok(())
    }

    /// As [`Windowed::open`].
    ///
    /// # Errors
    ///
    /// The job does not start.
    fn open(&mut self) -> Result<(), Failure> {
        Ok(())
    }

    /// Takes one row of a window, in the order of event time.
    ///
    /// # Errors
    ///
    /// The row is invalid: a dead letter where the topology names a sink for them; else it stops the job, or is skipped
    /// with `on-fault = "skip"`. Say so before changing what is carried: what was changed stays.
    fn row(&self, firing: &Firing<Self::Key<'_>>, carry: &mut Self::Carry, row: Self::Input<'_>) -> Result<(), Reject>;

    /// Ends a window after its last row. What is emitted has the event time of the window's end.
    ///
    /// # Errors
    ///
    /// The call as a whole failed, and nothing of it takes effect.
    fn finish(&self, firing: &Firing<Self::Key<'_>>, carry: Self::Carry, out: &mut Self::Output)
    -> Result<(), Failure>;
}
