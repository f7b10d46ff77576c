//! A port that gives the key columns before the computed ones.

use std::fmt;

use super::{AnyPort, Passing, Port, PortRows};
use crate::{
    fault::Failure,
    output::{OutputRow, Shape},
    types::ColumnSpec,
};

/// A port of a keyed operator that gives the key columns, then the computed ones.
///
/// A computed column of the same name as a key column takes its place.
///
/// ```
/// use wasmill_sdk::{prelude::*, testing::{KeyedTest, Table}};
///
/// #[derive(InputRow)]
/// struct Event {}
///
/// #[derive(OutputRow)]
/// struct Count {
///     count: i64,
/// }
///
/// #[keyed]
/// struct CountEvents;
///
/// impl Keyed for CountEvents {
///     type Key<'a> = ();
///     type Input<'a> = Event;
///     type State = i64;
///     type Timer = NoTimers;
///     type Output = WithKey<Count>;
///
///     fn row(&self, _key: &(), count: &mut i64, _row: Event, cx: &mut Context<Self>) -> Result<(), Reject> {
///         *count += 1;
///         cx.emit(Count { count: *count });
///         Ok(())
///     }
/// }
///
/// let times = [1, 2].map(Timestamp::from_secs);
/// let events = Table::new().with("user", ["ann", "ann"]).with_event_times(times);
/// let mut test = KeyedTest::<CountEvents>::open("{}", &["user"], &[&events])?;
/// test.push(&events);
/// test.end()?;
/// let counts = Table::new().with("user", ["ann", "ann"]).with("count", [1, 2]);
/// assert_eq!(test.take("out"), counts.with_event_times(times));
/// # Ok::<(), Failure>(())
/// ```
pub struct WithKey<S: Shape> {
    port: Port<S, false>,
}

impl<S: Shape> fmt::Debug for WithKey<S> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("WithKey").field("port", &self.port).finish()
    }
}

impl<S: Shape> WithKey<S> {
    /// Emits one row: the key, and computed values.
    #[inline]
    pub fn emit<R: OutputRow<Shape = S>>(&mut self, row: R) {
        self.port.emit(row);
    }
}

impl<S: Shape> AnyPort for WithKey<S> {
    const PASSES: Passing = Passing::Key;
    const COLUMNS: &'static [ColumnSpec] = S::COLUMNS;

    fn start(rows: usize) -> Self {
        Self {
            port: AnyPort::start(rows),
        }
    }

    #[inline]
    fn at(&mut self, row: u32) {
        AnyPort::at(&mut self.port, row);
    }

    fn finish(self, name: &str, rows: usize) -> Result<PortRows, Failure> {
        AnyPort::finish(self.port, name, rows)
    }
}
