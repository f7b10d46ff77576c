//! One row of a table: a value, a few of them, or a struct.

use super::TableOptions;
use crate::{
    bindings::types as wit,
    column::RawBatch,
    fault::Failure,
    kept::{self, KeptValue, ReadView, read},
    output::{Builder, OutputValue},
    types::ColumnSpec,
};

/// A row of a table of state. Derive it with [`#[derive(State, Default)]`](macro@crate::State): each field is a column
/// of that name. A single [`KeptValue`] and tuples of up to four of them are rows too.
///
/// ```
/// use wasmill_sdk::prelude::*;
///
/// #[derive(State, Default)]
/// #[state(ttl = "1h")]
/// struct Recent {
///     count: i64,
///     #[column(name = "last-carrier")]
///     carrier: Option<String>,
/// }
/// ```
#[diagnostic::on_unimplemented(
    message = "`{Self}` is not a row of state",
    label = "not a row of state",
    note = "put `#[derive(State, Default)]` on the struct"
)]
pub trait StateRow: Default + 'static {
    /// The columns, in the order of the fields.
    const COLUMNS: &'static [ColumnSpec];
    /// Whether the columns have names of their own.
    const NAMED: bool;
    /// What the attributes say.
    const OPTIONS: TableOptions = TableOptions::NONE;
    /// The views of the columns.
    type Views<'a>;
    /// What collects the values.
    type Builders: Default;
    /// Opens the views of the columns from this position on.
    ///
    /// # Errors
    ///
    /// When the columns do not fit.
    fn views(batch: &RawBatch, at: usize) -> Result<Self::Views<'_>, Failure>;
    /// Takes the values of one row.
    fn load(&mut self, views: &Self::Views<'_>, row: usize);
    /// The columns that have another value than the row, a bit each.
    fn differs(&self, views: &Self::Views<'_>, row: usize) -> u64;
    /// Whether all values are the same, bit by bit.
    fn same(&self, other: &Self) -> bool;
    /// Adds the values to their columns.
    fn store(&self, builders: &mut Self::Builders);
    /// Makes room for so many rows, about as large as those of the views.
    #[doc(hidden)]
    fn reserve(builders: &mut Self::Builders, views: &Self::Views<'_>, rows: usize);
    #[doc(hidden)]
    fn finish(builders: Self::Builders) -> Vec<wit::Column>;
    #[doc(hidden)]
    fn scalars(&self) -> Vec<wit::Scalar>;
}

impl<T: KeptValue> StateRow for T {
    const COLUMNS: &'static [ColumnSpec] = &[ColumnSpec {
        name: "value",
        data_type: <T as OutputValue>::DATA_TYPE,
        nullable: <T as OutputValue>::NULLABLE,
    }];
    const NAMED: bool = false;
    type Views<'a> = ReadView<'a, T>;
    type Builders = T::Builder;

    fn views(batch: &RawBatch, at: usize) -> Result<Self::Views<'_>, Failure> {
        batch.view(at)
    }

    #[inline]
    fn load(&mut self, views: &Self::Views<'_>, row: usize) {
        self.reload(crate::column::View::get(views, row));
    }

    #[inline]
    fn differs(&self, views: &Self::Views<'_>, row: usize) -> u64 {
        u64::from(!self.is(crate::column::View::get(views, row)))
    }

    #[inline]
    fn same(&self, other: &Self) -> bool {
        KeptValue::same(self, other)
    }

    #[inline]
    fn store(&self, builders: &mut Self::Builders) {
        KeptValue::store(self, builders);
    }

    fn reserve(builders: &mut Self::Builders, views: &Self::Views<'_>, rows: usize) {
        kept::reserve(builders, views, rows);
    }

    fn finish(builders: Self::Builders) -> Vec<wit::Column> {
        vec![builders.finish()]
    }

    fn scalars(&self) -> Vec<wit::Scalar> {
        vec![self.scalar()]
    }
}

impl StateRow for () {
    const COLUMNS: &'static [ColumnSpec] = &[];
    const NAMED: bool = false;
    type Views<'a> = ();
    type Builders = ();

    fn views(_batch: &RawBatch, _at: usize) -> Result<(), Failure> {
        Ok(())
    }

    fn load(&mut self, (): &(), _row: usize) {}

    fn differs(&self, (): &(), _row: usize) -> u64 {
        0
    }

    fn same(&self, (): &()) -> bool {
        true
    }

    fn store(&self, (): &mut ()) {}

    fn reserve((): &mut (), (): &(), _rows: usize) {}

    fn finish((): ()) -> Vec<wit::Column> {
        Vec::new()
    }

    fn scalars(&self) -> Vec<wit::Scalar> {
        Vec::new()
    }
}

macro_rules! tuple {
    ($($value:ident $at:tt $name:literal),+) => {
        impl<$($value: KeptValue),+> StateRow for ($($value,)+) {
            const COLUMNS: &'static [ColumnSpec] = &[$(ColumnSpec {
                name: $name,
                data_type: <$value as OutputValue>::DATA_TYPE,
                nullable: <$value as OutputValue>::NULLABLE,
            }),+];
            const NAMED: bool = false;
            type Views<'a> = ($(ReadView<'a, $value>,)+);
            type Builders = ($($value::Builder,)+);

            fn views(batch: &RawBatch, at: usize) -> Result<Self::Views<'_>, Failure> {
                Ok(($(batch.view(at + $at)?,)+))
            }

            #[inline]
            fn load(&mut self, views: &Self::Views<'_>, row: usize) {
                $(self.$at = read::<$value>(&views.$at, row);)+
            }

            #[inline]
            fn differs(&self, views: &Self::Views<'_>, row: usize) -> u64 {
                $(u64::from(!self.$at.is(crate::column::View::get(&views.$at, row))) << $at)|+
            }

            #[inline]
            fn same(&self, other: &Self) -> bool {
                $(KeptValue::same(&self.$at, &other.$at))&&+
            }

            #[inline]
            fn store(&self, builders: &mut Self::Builders) {
                $(KeptValue::store(&self.$at, &mut builders.$at);)+
            }

            fn reserve(builders: &mut Self::Builders, views: &Self::Views<'_>, rows: usize) {
                $(kept::reserve(&mut builders.$at, &views.$at, rows);)+
            }

            fn finish(builders: Self::Builders) -> Vec<wit::Column> {
                vec![$(builders.$at.finish()),+]
            }

            fn scalars(&self) -> Vec<wit::Scalar> {
                vec![$(self.$at.scalar()),+]
            }
        }
    };
}
tuple!(A 0 "value_0", B 1 "value_1");
tuple!(A 0 "value_0", B 1 "value_1", C 2 "value_2");
tuple!(A 0 "value_0", B 1 "value_1", C 2 "value_2", D 3 "value_3");
