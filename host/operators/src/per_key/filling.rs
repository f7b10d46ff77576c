//! What fills windows: aggregates, or a Wasm `window` that gets all rows.

use wasmill_core::fault::Fault;
use wasmill_core::operator::Emit;

use super::base::Base;
use super::calls::Calls;
use super::parts::Whole;
use super::results::{Content, Firing, Results};
use super::rows::Range;

/// What fills windows.
#[derive(Debug)]
pub(crate) enum Filling {
    Aggregates(Box<Results>),
    Guest(Box<Calls>),
}

impl Filling {
    /// Whether rows are kept until a result is due.
    pub(crate) fn keep_rows(&self) -> bool {
        match self {
            Self::Aggregates(results) => results.aggregates.keep_rows(),
            Self::Guest(_) => true,
        }
    }

    /// Whether a result takes the one before back.
    pub(crate) fn retracting(&self) -> bool {
        match self {
            Self::Aggregates(results) => results.retracting,
            Self::Guest(_) => false,
        }
    }

    /// Takes a window that fired, with its cells where there are any.
    pub(crate) fn fire(
        &mut self,
        firing: Firing,
        whole: Option<Whole<'_>>,
        content: Content,
        base: &mut Base,
        out: &mut dyn Emit,
    ) -> Result<(), Fault> {
        match self {
            Self::Aggregates(results) => {
                let whole = whole.expect("windows with aggregates have cells");
                results.add(firing, whole, content, base, out)
            }
            Self::Guest(calls) => calls.add(&firing, &content, base, out),
        }
    }

    /// Removes kept rows that no window needs any more.
    pub(crate) fn forget(&mut self, range: Range, base: &mut Base) -> Result<(), Fault> {
        match self {
            Self::Aggregates(results) if results.aggregates.keep_rows() => base.store.remove_range(range.span()),
            Self::Aggregates(_) => Ok(()),
            Self::Guest(calls) => {
                calls.forget(range);
                Ok(())
            }
        }
    }

    /// Whether enough was given for one call of the operator.
    pub(crate) fn take_full(&mut self, slice_rows: usize) -> bool {
        match self {
            Self::Aggregates(results) => results.len() >= slice_rows,
            Self::Guest(calls) => calls.take_full(slice_rows),
        }
    }

    /// Emits what has fired, at the end of a slice.
    pub(crate) fn flush(&mut self, base: &mut Base, out: &mut dyn Emit) -> Result<(), Fault> {
        match self {
            Self::Aggregates(results) => results.flush(base, out),
            Self::Guest(calls) => calls.end_slice(base, out),
        }
    }
}
