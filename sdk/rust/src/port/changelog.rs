//! Ports whose rows change earlier ones.

use std::fmt;

use super::{AnyPort, Passing, Port, PortRows, WithKey};
use crate::{
    fault::Failure,
    output::{OutputRow, Shape},
    types::ColumnSpec,
};

/// What a row of a changelog does.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Default)]
pub enum Kind {
    /// It is added; every row of a stream that is no changelog is.
    #[default]
    Insert,
    /// It is what was there before the `UpdateAfter` that follows.
    UpdateBefore,
    /// It takes the place of the `UpdateBefore` before it.
    UpdateAfter,
    /// It is taken back.
    Delete,
}

impl Kind {
    pub(crate) const fn byte(self) -> u8 {
        match self {
            Self::Insert => 0,
            Self::UpdateBefore => 1,
            Self::UpdateAfter => 2,
            Self::Delete => 3,
        }
    }

    pub(crate) const fn from_byte(byte: u8) -> Option<Self> {
        Some(match byte {
            0 => Self::Insert,
            1 => Self::UpdateBefore,
            2 => Self::UpdateAfter,
            3 => Self::Delete,
            _ => return None,
        })
    }
}

/// A port that emits rows one by one.
pub trait EmitPort: AnyPort {
    /// The columns that it computes.
    type Shape: Shape;
    /// Emits one row.
    fn emit_row<R: OutputRow<Shape = Self::Shape>>(&mut self, row: R);
}

impl<S: Shape, const PASS: bool> EmitPort for Port<S, PASS> {
    type Shape = S;

    #[inline]
    fn emit_row<R: OutputRow<Shape = S>>(&mut self, row: R) {
        self.emit(row);
    }
}

impl<S: Shape> EmitPort for WithKey<S> {
    type Shape = S;

    #[inline]
    fn emit_row<R: OutputRow<Shape = S>>(&mut self, row: R) {
        self.emit(row);
    }
}

/// A port whose rows insert, update and delete: a changelog. Write it around another port, as
/// `Changelog<WithKey<Columns>>`.
///
/// ```
/// use wasmill_sdk::{prelude::*, testing::{KeyedTest, Table}};
///
/// #[derive(InputRow)]
/// struct Reading {
///     value: i64,
/// }
///
/// #[derive(OutputRow)]
/// struct Greatest {
///     greatest: i64,
/// }
///
/// /// The greatest value of each key, as it grows.
/// #[keyed]
/// struct Max;
///
/// impl Keyed for Max {
///     type Key<'a> = ();
///     type Input<'a> = Reading;
///     type State = Option<i64>;
///     type Timer = NoTimers;
///     type Output = Changelog<WithKey<Greatest>>;
///
///     fn row(&self, _: &(), greatest: &mut Option<i64>, row: Reading, cx: &mut Context<Self>) -> Result<(), Reject> {
///         match *greatest {
///             Some(before) if row.value <= before => return Ok(()),
///             Some(before) => cx.out.update(Greatest { greatest: before }, Greatest { greatest: row.value }),
///             None => cx.out.insert(Greatest { greatest: row.value }),
///         }
///         *greatest = Some(row.value);
///         Ok(())
///     }
/// }
///
/// let times = [1, 2, 3].map(Timestamp::from_secs);
/// let readings = Table::new().with("sensor", [7, 7, 7]).with("value", [5, 4, 6]).with_event_times(times);
/// let mut test = KeyedTest::<Max>::open("{}", &["sensor"], &[&readings])?;
/// test.push(&readings);
/// test.end()?;
/// let expect = Table::new()
///     .with("sensor", [7, 7, 7])
///     .with("greatest", [5, 5, 6])
///     .with_kinds([Kind::Insert, Kind::UpdateBefore, Kind::UpdateAfter])
///     .with_event_times([1, 3, 3].map(Timestamp::from_secs));
/// assert_eq!(test.take("out"), expect);
/// # Ok::<(), Failure>(())
/// ```
pub struct Changelog<P> {
    port: P,
    kinds: Vec<u8>,
}

impl<P> fmt::Debug for Changelog<P> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Changelog")
            .field("rows", &self.kinds.len())
            .finish_non_exhaustive()
    }
}

impl<P: EmitPort> Changelog<P> {
    /// Emits a row of this kind.
    #[inline]
    pub fn emit<R: OutputRow<Shape = P::Shape>>(&mut self, kind: Kind, row: R) {
        self.kinds.push(kind.byte());
        self.port.emit_row(row);
    }

    /// Adds a row.
    pub fn insert<R: OutputRow<Shape = P::Shape>>(&mut self, row: R) {
        self.emit(Kind::Insert, row);
    }

    /// Replaces a row: what was there, and what takes its place.
    pub fn update<R: OutputRow<Shape = P::Shape>>(&mut self, before: R, after: R) {
        self.emit(Kind::UpdateBefore, before);
        self.emit(Kind::UpdateAfter, after);
    }

    /// Takes a row back.
    pub fn delete<R: OutputRow<Shape = P::Shape>>(&mut self, row: R) {
        self.emit(Kind::Delete, row);
    }
}

impl<P: EmitPort> AnyPort for Changelog<P> {
    const PASSES: Passing = P::PASSES;
    const COLUMNS: &'static [ColumnSpec] = P::COLUMNS;
    const CHANGELOG: bool = true;

    fn start(rows: usize) -> Self {
        Self {
            port: P::start(rows),
            kinds: Vec::with_capacity(rows),
        }
    }

    #[inline]
    fn at(&mut self, row: u32) {
        self.port.at(row);
    }

    fn finish(self, name: &str, rows: usize) -> Result<PortRows, Failure> {
        Ok(PortRows {
            kinds: self.kinds,
            ..self.port.finish(name, rows)?
        })
    }
}
