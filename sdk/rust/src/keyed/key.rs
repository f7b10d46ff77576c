//! The key as an operator reads it: by place, by name, or not at all.

use crate::{
    bindings::types as wit,
    column::{RawBatch, View},
    fault::Failure,
    input::{InputRow, InputValue},
    schema,
    types::ColumnSpec,
};

/// What an operator reads of the key that it is called for.
///
/// | the operator | `type Key<'a> =` |
/// |---|---|
/// | works for any key, and does not read it | `()` |
/// | reads the key columns in the order of the topology's `key = [...]` | a tuple: `(&'a str, i64)` |
/// | reads the key columns by name | a struct with [`#[derive(InputRow)]`](macro@crate::InputRow) |
#[diagnostic::on_unimplemented(
    message = "`{Self}` is not a key",
    label = "not a key",
    note = "a key is a tuple such as `(&'a str,)`, a struct with `#[derive(InputRow)]`, or `()` where it is not read"
)]
pub trait Key<'a>: Sized {
    /// The views of the columns.
    type Views;
    /// Which of the key columns it reads, in its order.
    ///
    /// # Errors
    ///
    /// When they do not fit; the message says what to do.
    #[doc(hidden)]
    fn columns(key: &wit::Schema) -> Result<Vec<usize>, Failure>;
    /// Opens the views of the columns that it reads.
    ///
    /// # Errors
    ///
    /// When the columns do not fit.
    fn views(batch: &'a RawBatch) -> Result<Self::Views, Failure>;
    /// Reads one key.
    fn read(views: &Self::Views, row: usize) -> Self;
}

impl<'a, R: InputRow<'a>> Key<'a> for R {
    type Views = R::Views;

    fn columns(key: &wit::Schema) -> Result<Vec<usize>, Failure> {
        const { assert!(!R::EVENT_TIMES, "a key has no event time") }
        let misfit = || {
            let names: Vec<String> = R::COLUMNS.iter().map(|spec| format!("`{}`", spec.name)).collect();
            Failure::new(format!(
                "the operator's key is {}, and the key is {}",
                names.join(", "),
                schema::names(key)
            ))
        };
        if key.fields.len() != R::COLUMNS.len() {
            return Err(misfit());
        }
        let place = |spec: &ColumnSpec| {
            let at = key
                .fields
                .iter()
                .position(|field| field.name == spec.name)
                .ok_or_else(misfit)?;
            schema::fits("the key", &key.fields[at], spec.data_type, spec.nullable)?;
            Ok(at)
        };
        R::COLUMNS.iter().map(place).collect()
    }

    fn views(batch: &'a RawBatch) -> Result<Self::Views, Failure> {
        R::views(batch)
    }

    #[inline]
    fn read(views: &Self::Views, row: usize) -> Self {
        R::read(views, row)
    }
}

impl<'a> Key<'a> for () {
    type Views = ();

    fn columns(_key: &wit::Schema) -> Result<Vec<usize>, Failure> {
        Ok(Vec::new())
    }

    fn views(_batch: &'a RawBatch) -> Result<(), Failure> {
        Ok(())
    }

    #[inline]
    fn read((): &(), _row: usize) {}
}

macro_rules! tuple {
    ($count:literal: $($value:ident $at:tt),+) => {
        impl<'a, $($value: InputValue<'a>),+> Key<'a> for ($($value,)+) {
            type Views = ($($value::View,)+);

            fn columns(key: &wit::Schema) -> Result<Vec<usize>, Failure> {
                if key.fields.len() != $count {
                    return Err(Failure::new(format!(
                        "the operator reads a key of {}, and the key is {}",
                        if $count == 1 { "1 column".to_owned() } else { format!("{} columns", $count) },
                        schema::names(key)
                    )));
                }
                $(schema::fits("the key", &key.fields[$at], <$value::View>::DATA_TYPE, <$value::View>::NULLABLE)?;)+
                Ok((0..$count).collect())
            }

            fn views(batch: &'a RawBatch) -> Result<Self::Views, Failure> {
                Ok(($(batch.view::<$value::View>($at)?,)+))
            }

            #[inline]
            fn read(views: &Self::Views, row: usize) -> Self {
                ($(views.$at.get(row),)+)
            }
        }
    };
}
tuple!(1: A 0);
tuple!(2: A 0, B 1);
tuple!(3: A 0, B 1, C 2);
tuple!(4: A 0, B 1, C 2, D 3);
