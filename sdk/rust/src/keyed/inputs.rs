//! The inputs of a keyed operator: one row type for all, or an enum with a variant for each.

use crate::{column::RawBatch, fault::Failure, input::InputRow, types::ColumnSpec};

/// What an operator reads: a struct with [`#[derive(InputRow)]`](macro@crate::InputRow), or, where its inputs differ, an
/// enum of such structs with [`#[derive(Inputs)]`](macro@crate::Inputs).
///
/// The variants stand for the inputs in the order of the topology's `input = [...]`.
///
/// ```
/// use wasmill_sdk::prelude::*;
///
/// #[derive(InputRow)]
/// struct Reading {
///     value: f64,
/// }
///
/// #[derive(InputRow)]
/// struct Limit {
///     limit: Option<f64>,
/// }
///
/// #[derive(Inputs)]
/// enum Event {
///     Reading(Reading),
///     Limit(Limit),
/// }
/// ```
#[diagnostic::on_unimplemented(
    message = "`{Self}` is not an input",
    label = "not an input",
    note = "put `#[derive(InputRow)]` on the struct that names the columns, or `#[derive(Inputs)]` on an enum of such structs"
)]
pub trait Inputs<'a>: Sized {
    /// The columns of each input; of one that stands for all where [`ALIKE`](Self::ALIKE).
    const COLUMNS: &'static [&'static [ColumnSpec]];
    /// Whether any number of inputs is read as the same.
    const ALIKE: bool;
    /// The views of the columns of all inputs.
    type Views;
    /// Opens the views.
    ///
    /// # Errors
    ///
    /// When a batch does not fit its requirement.
    fn views(batches: &'a [RawBatch]) -> Result<Self::Views, Failure>;
    /// Reads one row of one input.
    fn read(views: &Self::Views, input: usize, row: usize) -> Self;
}

impl<'a, R: InputRow<'a>> Inputs<'a> for R {
    const COLUMNS: &'static [&'static [ColumnSpec]] = &[R::COLUMNS];
    const ALIKE: bool = true;
    type Views = Vec<R::Views>;

    fn views(batches: &'a [RawBatch]) -> Result<Self::Views, Failure> {
        batches.iter().map(R::views).collect()
    }

    #[inline]
    fn read(views: &Self::Views, input: usize, row: usize) -> Self {
        R::read(&views[input], row)
    }
}
