//! Operators with state and timers, a key at a time. Implements the world `keyed` over the trait that an author
//! implements.
//!
//! A call of the host holds the rows and due timers of many keys. [`driver`] goes through them key by key, in order, and
//! fires in their place the event-time timers that the operator sets at or before the key's `until`.

mod context;
mod driver;
mod inputs;
mod key;
mod outputs;
mod timer;

pub use context::Context;
pub use driver::{Opened, describe, open};
pub use inputs::Inputs;
pub use key::Key;
pub use timer::{NoTimers, TimerSpec, Timers};

use serde::de::DeserializeOwned;

use crate::{
    fault::{Failure, Reject},
    port::Outputs,
    state::{State, TableSettings},
};

/// An operator that keeps something for each key.
///
/// The struct is the operator's configuration, as in [`Transform`](crate::Transform). Put
/// [`#[keyed]`](macro@crate::keyed) on it. What is to be remembered is in the [`State`](Self::State), never in the
/// struct: rows are cut into calls as the host likes, and keys move between instances.
///
/// With `order = "event-time"`, the default, a key's rows and timers come as one sequence in the order of time, a timer
/// before rows of its time. It is the same sequence on every run.
///
/// ```
/// use wasmill_sdk::{prelude::*, testing::{KeyedTest, Table}};
///
/// #[derive(InputRow)]
/// struct Click {}
///
/// /// What is kept for each key: one row of a table.
/// #[derive(State, Default)]
/// struct Visit {
///     clicks: i64,
/// }
///
/// #[derive(Timers)]
/// enum Timer {
///     Left,
/// }
///
/// #[derive(OutputRow)]
/// struct Visited {
///     clicks: i64,
/// }
///
/// /// Counts the clicks of a visit, which ends when there was none for a while.
/// #[keyed]
/// struct Visits {
///     seconds: i64,
/// }
///
/// impl Keyed for Visits {
///     type Key<'a> = (&'a str,);
///     type Input<'a> = Click;
///     type State = Visit;
///     type Timer = Timer;
///     type Output = WithKey<Visited>;
///
///     fn row(&self, _key: &(&str,), visit: &mut Visit, _row: Click, cx: &mut Context<Self>) -> Result<(), Reject> {
///         visit.clicks += 1;
///         cx.set_timer(Timer::Left, cx.event_time().saturating_add_micros(self.seconds * 1_000_000));
///         Ok(())
///     }
///
///     fn timer(&self, _key: &(&str,), visit: &mut Visit, _timer: Timer, cx: &mut Context<Self>) {
///         cx.emit(Visited { clicks: visit.clicks });
///         *visit = Visit::default();
///     }
/// }
///
/// let clicks = Table::new()
///     .with("user", ["ann", "bob", "ann", "ann"])
///     .with_event_times([0, 5, 20, 60].map(Timestamp::from_secs));
/// let mut test = KeyedTest::<Visits>::open(r#"{"seconds":30}"#, &["user"], &[&clicks])?;
/// test.push(&clicks);
/// test.watermark(Timestamp::from_secs(70))?;
/// let visits = Table::new().with("user", ["bob", "ann"]).with("clicks", [1, 2]);
/// assert_eq!(test.take("out"), visits.with_event_times([35, 50].map(Timestamp::from_secs)));
/// assert_eq!(test.table("state"), Table::new().with("user", ["ann"]).with("clicks", [1]));
/// # Ok::<(), Failure>(())
/// ```
#[diagnostic::on_unimplemented(
    message = "`{Self}` has no logic: `Keyed` is not implemented for it",
    label = "`impl Keyed for {Self}` is missing"
)]
pub trait Keyed: DeserializeOwned + 'static {
    /// What it reads of the key: `()`, a tuple, or a struct with `#[derive(InputRow)]`.
    type Key<'a>: Key<'a>;
    /// The columns that it reads: a struct with `#[derive(InputRow)]`, or an enum with `#[derive(Inputs)]`.
    type Input<'a>: Inputs<'a>;
    /// What it keeps for each key.
    type State: State;
    /// Its timers: an enum with `#[derive(Timers)]`, or [`NoTimers`].
    type Timer: Timers;
    /// What it writes: [`WithKey`](crate::WithKey), [`Only`](crate::Only), [`Add`](crate::Add), [`Keep`](crate::Keep),
    /// [`Changelog`](crate::Changelog), or a struct of them.
    type Output: Outputs;

    /// Checks what serde cannot. Called when a topology is checked, and before [`open`](Self::open).
    ///
    /// # Errors
    ///
    /// A message about the configuration.
    fn check(&self) -> Result<(), Failure> {
        Ok(())
    }

    /// Sets what of the tables follows from the configuration.
    fn tables(&self, tables: &mut TableSettings) {
        let _ = tables;
    }

    /// Computes once per instance what rows need: tables, metrics.
    ///
    /// # Errors
    ///
    /// The job does not start.
    fn open(&mut self) -> Result<(), Failure> {
        Ok(())
    }

    /// Handles one row of a key.
    ///
    /// # Errors
    ///
    /// The row is invalid: a dead letter where the topology names a sink for them; else it stops the job, or is skipped
    /// with `on-fault = "skip"`. Say so before the first change: what was changed, set or emitted
    /// stays.
    fn row(
        &self,
        key: &Self::Key<'_>,
        state: &mut Self::State,
        row: Self::Input<'_>,
        cx: &mut Context<Self>,
    ) -> Result<(), Reject>;

    /// Handles a timer of a key at its time. An operator that has timers must have this:
    ///
    /// ```compile_fail
    /// # use wasmill_sdk::{prelude::*, testing::KeyedTest};
    /// # #[derive(InputRow)]
    /// # struct Click {}
    /// # #[derive(Timers)]
    /// # enum Timer { Left }
    /// #[keyed]
    /// struct Visits;
    ///
    /// impl Keyed for Visits {
    ///     type Timer = Timer;
    ///     // ... and no `fn timer`
    /// #   type Key<'a> = ();
    /// #   type Input<'a> = Click;
    /// #   type State = ();
    /// #   type Output = Keep;
    /// #   fn row(&self, _: &(), _: &mut (), _: Click, _: &mut Context<Self>) -> Result<(), Reject> {
    /// #       Ok(())
    /// #   }
    /// }
    /// # let _ = KeyedTest::<Visits>::open;
    /// # let mut test = KeyedTest::<Visits>::open("{}", &[], &[]).unwrap();
    /// # test.end().unwrap();
    /// ```
    fn timer(&self, key: &Self::Key<'_>, state: &mut Self::State, timer: Self::Timer, cx: &mut Context<Self>) {
        const {
            assert!(
                <Self::Timer as Timers>::KINDS.is_empty(),
                "the operator has timers, and nothing happens when they fire: write `fn timer` in its `impl Keyed`"
            );
        }
        let _ = (key, state, timer, cx);
    }
}

/// What the attribute adds to [`Keyed`]. Not for authors.
pub trait KeyedOperator: Keyed {
    /// Whether its inputs may be changelogs.
    const CHANGELOG: bool;
}
