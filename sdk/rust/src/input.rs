//! What an operator reads: rows of typed fields, or structs of column views. Both name their columns by their fields.

use crate::{
    column::{Bits, Bytes, JsonText, Nullable, RawBatch, Text, View},
    fault::Failure,
    types::{ColumnSpec, Json, Timestamp},
};

/// A value that a field of an input row can hold.
#[diagnostic::on_unimplemented(
    message = "`{Self}` cannot be read from a column",
    label = "not a type of column",
    note = "the fields of an `InputRow` are `bool`, `i64`, `f64`, `&'a str`, `&'a [u8]`, `Timestamp`, `Json<&'a str>`, \
            or an `Option` of one of them"
)]
pub trait InputValue<'a>: Sized {
    /// The view of the column that gives such values.
    type View: View<'a, Value = Self>;
}

impl<'a> InputValue<'a> for i64 {
    type View = &'a [i64];
}
impl<'a> InputValue<'a> for f64 {
    type View = &'a [f64];
}
impl<'a> InputValue<'a> for Timestamp {
    type View = &'a [Timestamp];
}
impl<'a> InputValue<'a> for bool {
    type View = Bits<'a>;
}
impl<'a> InputValue<'a> for &'a str {
    type View = Text<'a>;
}
impl<'a> InputValue<'a> for &'a [u8] {
    type View = Bytes<'a>;
}
impl<'a> InputValue<'a> for Json<&'a str> {
    type View = JsonText<'a>;
}
impl<'a, T: InputValue<'a>> InputValue<'a> for Option<T> {
    type View = Nullable<'a, T::View>;
}

/// What a batch must hold: the columns by name, and whether the event times are needed.
pub trait Requires {
    /// The columns, in the order of the fields.
    const COLUMNS: &'static [ColumnSpec];
    /// Whether a field takes the event time.
    const EVENT_TIMES: bool;
}

/// One row of the input. Derive it: each field is a column of that name.
///
/// `#[column(name = "...")]` reads a column of another name; `#[column(event_time)]` on a field of type
/// [`Timestamp`] reads the row's event time. An `Option` field takes a column that may be null; a column that cannot
/// be null fits it too. The struct may have one lifetime, that of the batch.
///
/// ```
/// use wasmill_sdk::prelude::*;
///
/// #[derive(InputRow)]
/// struct Departure<'a> {
///     carrier: &'a str,
///     #[column(name = "dep_delay")]
///     delay: Option<i64>,
///     #[column(event_time)]
///     at: Timestamp,
/// }
/// ```
#[diagnostic::on_unimplemented(
    message = "`{Self}` is not an input row",
    label = "not an input row",
    note = "put `#[derive(InputRow)]` on the struct that names the columns"
)]
pub trait InputRow<'a>: Requires + Sized {
    /// The views of the columns.
    type Views;

    /// Opens the views of a batch.
    ///
    /// # Errors
    ///
    /// When the batch does not fit the requirement.
    fn views(batch: &'a RawBatch) -> Result<Self::Views, Failure>;

    /// Reads one row.
    fn read(views: &Self::Views, row: usize) -> Self;
}

/// The columns of the input. Derive it: each field is a view of the column of that name, see [`View`].
///
/// `#[column(name = "...")]` and `#[column(event_time)]` work as in [`InputRow`]; event times are a `&'a [Timestamp]`.
///
/// ```
/// use wasmill_sdk::prelude::*;
///
/// #[derive(InputColumns)]
/// struct Bids<'a> {
///     auction: &'a [i64],
///     price: Nullable<'a, &'a [i64]>,
///     url: Text<'a>,
/// }
/// ```
#[diagnostic::on_unimplemented(
    message = "`{Self}` is not a struct of input columns",
    label = "not a struct of input columns",
    note = "put `#[derive(InputColumns)]` on the struct that names the columns"
)]
pub trait InputColumns<'a>: Requires + Sized {
    /// Opens the views of a batch.
    ///
    /// # Errors
    ///
    /// When the batch does not fit the requirement.
    fn views(batch: &'a RawBatch) -> Result<Self, Failure>;
}

/// A batch of column views, and how many rows it has.
#[derive(Debug)]
pub struct Batch<C> {
    /// How many rows each column has; at least one.
    pub rows: usize,
    /// The views.
    pub columns: C,
}
