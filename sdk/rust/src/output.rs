//! What an operator writes: rows of typed fields, or whole columns.

use std::borrow::Cow;

use crate::{
    bindings::types as wit,
    buffer::{self, BitBuilder, Plain},
    fault::Failure,
    types::{ColumnSpec, DataType, Json, Timestamp},
};

/// Collects the values of one output column, a row after the other.
pub trait Builder: Default {
    /// Makes room for so many more rows.
    fn reserve(&mut self, rows: usize);
    /// Makes room for values of so many bytes together, where they differ in that.
    #[doc(hidden)]
    fn reserve_bytes(&mut self, bytes: usize) {
        let _ = bytes;
    }
    /// Adds what stands for a null.
    fn push_default(&mut self);
    #[doc(hidden)]
    fn finish(self) -> wit::Column;
}

/// A builder of `int64`, `float64` and `timestamp` columns.
#[derive(Debug, Default)]
pub struct FixedBuilder {
    data: Vec<u8>,
}

impl Builder for FixedBuilder {
    fn reserve(&mut self, rows: usize) {
        self.data.reserve_exact(rows * 8);
    }

    fn push_default(&mut self) {
        buffer::push(&mut self.data, 0_i64);
    }

    fn finish(self) -> wit::Column {
        wit::Column {
            validity: None,
            offsets: Vec::new(),
            data: self.data,
        }
    }
}

/// A builder of `boolean` columns.
#[derive(Debug, Default)]
pub struct BooleanBuilder {
    bits: BitBuilder,
}

impl Builder for BooleanBuilder {
    fn reserve(&mut self, rows: usize) {
        self.bits.reserve(rows);
    }

    fn push_default(&mut self) {
        self.bits.push(false);
    }

    fn finish(self) -> wit::Column {
        wit::Column {
            validity: None,
            offsets: Vec::new(),
            data: self.bits.into_bytes(),
        }
    }
}

/// A builder of `utf8`, `binary` and `json` columns.
#[derive(Debug)]
pub struct VariableBuilder {
    offsets: Vec<u8>,
    data: Vec<u8>,
}

impl Default for VariableBuilder {
    fn default() -> Self {
        Self {
            offsets: vec![0; 4],
            data: Vec::new(),
        }
    }
}

impl VariableBuilder {
    #[inline]
    fn push(&mut self, value: &[u8]) {
        self.data.extend_from_slice(value);
        let end = u32::try_from(self.data.len()).expect("a column of a batch holds less than 4 GiB");
        buffer::push(&mut self.offsets, end);
    }
}

impl Builder for VariableBuilder {
    fn reserve(&mut self, rows: usize) {
        self.offsets.reserve_exact(rows * 4);
        self.data.reserve(rows * 8);
    }

    fn reserve_bytes(&mut self, bytes: usize) {
        self.data.reserve(bytes);
    }

    fn push_default(&mut self) {
        self.push(&[]);
    }

    fn finish(self) -> wit::Column {
        wit::Column {
            validity: None,
            offsets: self.offsets,
            data: self.data,
        }
    }
}

/// A builder of a column that may be null. It makes no validity buffer until the first null.
#[derive(Debug, Default)]
pub struct NullableBuilder<B> {
    rows: usize,
    validity: Option<BitBuilder>,
    values: B,
}

impl<B: Builder> NullableBuilder<B> {
    #[inline]
    fn push<T: OutputValue<Builder = B>>(&mut self, value: Option<T>) {
        self.push_with(value, T::push);
    }

    /// Adds a value in the way that `push` says, or a null.
    #[inline]
    pub(crate) fn push_with<T>(&mut self, value: Option<T>, push: impl FnOnce(T, &mut B)) {
        match value {
            Some(value) => {
                push(value, &mut self.values);
                if let Some(bits) = &mut self.validity {
                    bits.push(true);
                }
                self.rows += 1;
            }
            None => self.push_default(),
        }
    }
}

impl<B: Builder> Builder for NullableBuilder<B> {
    fn reserve(&mut self, rows: usize) {
        self.values.reserve(rows);
    }

    fn reserve_bytes(&mut self, bytes: usize) {
        self.values.reserve_bytes(bytes);
    }

    fn push_default(&mut self) {
        let rows = self.rows;
        self.values.push_default();
        self.validity
            .get_or_insert_with(|| {
                let mut bits = BitBuilder::default();
                bits.push_ones(rows);
                bits
            })
            .push(false);
        self.rows += 1;
    }

    fn finish(self) -> wit::Column {
        let column = self.values.finish();
        wit::Column {
            validity: self.validity.map(BitBuilder::into_bytes),
            ..column
        }
    }
}

/// A value that a field of an output row can hold.
#[diagnostic::on_unimplemented(
    message = "`{Self}` cannot be written to a column",
    label = "not a type of column",
    note = "the fields of an `OutputRow` are `bool`, an integer up to `i64`, `f32`, `f64`, `&str`, `String`, `&[u8]`, \
            `Vec<u8>`, `Timestamp`, `Json<&str>`, `Json<String>`, or an `Option` of one of them"
)]
pub trait OutputValue {
    /// The type of column that holds it.
    const DATA_TYPE: DataType;
    /// Whether it can be null.
    const NULLABLE: bool = false;
    /// What collects such values.
    type Builder: Builder;
    /// Adds the value to its column.
    fn push(self, builder: &mut Self::Builder);
}

macro_rules! fixed_value {
    ($data_type:ident, $as:ty, $($rust:ty)*) => {$(
        impl OutputValue for $rust {
            const DATA_TYPE: DataType = DataType::$data_type;
            type Builder = FixedBuilder;

            #[inline]
            fn push(self, builder: &mut FixedBuilder) {
                buffer::push(&mut builder.data, <$as>::from(self));
            }
        }
    )*};
}
fixed_value!(Int64, i64, i8 i16 i32 i64 u8 u16 u32);
fixed_value!(Float64, f64, f32 f64);
fixed_value!(Timestamp, Self, Timestamp);

impl OutputValue for bool {
    const DATA_TYPE: DataType = DataType::Boolean;
    type Builder = BooleanBuilder;

    #[inline]
    fn push(self, builder: &mut BooleanBuilder) {
        builder.bits.push(self);
    }
}

macro_rules! variable_value {
    ($data_type:ident, $($rust:ty)*) => {$(
        impl OutputValue for $rust {
            const DATA_TYPE: DataType = DataType::$data_type;
            type Builder = VariableBuilder;

            #[inline]
            fn push(self, builder: &mut VariableBuilder) {
                builder.push(self.as_ref());
            }
        }
    )*};
}
variable_value!(Utf8, String & String);
variable_value!(Binary, Vec<u8> &[u8] &Vec<u8>);

impl OutputValue for &str {
    const DATA_TYPE: DataType = DataType::Utf8;
    type Builder = VariableBuilder;

    #[inline]
    fn push(self, builder: &mut VariableBuilder) {
        builder.push(self.as_bytes());
    }
}

impl OutputValue for Cow<'_, str> {
    const DATA_TYPE: DataType = DataType::Utf8;
    type Builder = VariableBuilder;

    #[inline]
    fn push(self, builder: &mut VariableBuilder) {
        builder.push(self.as_bytes());
    }
}

impl<T: AsRef<str>> OutputValue for Json<T> {
    const DATA_TYPE: DataType = DataType::Json;
    type Builder = VariableBuilder;

    #[inline]
    fn push(self, builder: &mut VariableBuilder) {
        builder.push(self.text().as_bytes());
    }
}

impl<T: OutputValue> OutputValue for Option<T> {
    const DATA_TYPE: DataType = T::DATA_TYPE;
    const NULLABLE: bool = true;
    type Builder = NullableBuilder<T::Builder>;

    #[inline]
    fn push(self, builder: &mut Self::Builder) {
        const { assert!(!T::NULLABLE, "an `Option` of an `Option` is no column") }
        builder.push(self);
    }
}

/// The columns that a port computes: their names and types, and what collects them.
#[diagnostic::on_unimplemented(
    message = "`{Self}` does not name the columns of an output",
    label = "neither an output row nor output columns",
    note = "put `#[derive(OutputRow)]` (rows) or `#[derive(OutputColumns)]` (whole columns) on the struct; \
            a struct with a lifetime is written with `'static` here"
)]
pub trait Shape: 'static {
    /// The columns, in the order of the fields.
    const COLUMNS: &'static [ColumnSpec];
    /// What collects the values.
    type Builders;
    /// Empty collections with room for so many rows.
    fn builders(rows: usize) -> Self::Builders;
    /// The columns; or the position of the first that does not have so many rows, and how many it has.
    #[doc(hidden)]
    fn finish(builders: Self::Builders, rows: usize) -> Result<Vec<wit::Column>, (usize, usize)>;
}

impl Shape for () {
    const COLUMNS: &'static [ColumnSpec] = &[];
    type Builders = ();

    fn builders(_rows: usize) {}

    fn finish((): (), _rows: usize) -> Result<Vec<wit::Column>, (usize, usize)> {
        Ok(Vec::new())
    }
}

/// One row of computed columns. Derive it: each field is a column of that name.
///
/// `#[column(name = "...")]` writes a column of another name. The struct may have lifetimes, so that fields can borrow
/// from the input row; in the operator's `Output` they are then written `'static`.
///
/// ```
/// use wasmill_sdk::{prelude::*, testing::{Table, TransformTest}};
///
/// #[derive(InputRow)]
/// struct Line<'a> {
///     line: &'a str,
/// }
///
/// #[derive(OutputRow)]
/// struct Parsed<'a> {
///     level: &'a str,
///     length: u32,
/// }
///
/// #[transform]
/// struct Parse;
///
/// impl Transform for Parse {
///     type Input<'a> = Line<'a>;
///     type Output = Only<Parsed<'static>>;
///
///     fn row(&self, row: Line<'_>, out: &mut Self::Output) -> Result<(), Reject> {
///         let (level, _) = row.line.split_once(' ').ok_or_else(|| Reject::new("a line without a level"))?;
///         out.emit(Parsed { level, length: row.line.len() as u32 });
///         Ok(())
///     }
/// }
///
/// let input = Table::new().with("line", ["warn low", "?"]);
/// let output = TransformTest::<Parse>::open("{}", &input)?.process(&input)?;
/// assert_eq!(output.port("out"), &Table::new().with("level", ["warn"]).with("length", [8]));
/// assert_eq!(output.rejects, [(1, "a line without a level".to_owned())]);
/// # Ok::<(), Failure>(())
/// ```
#[diagnostic::on_unimplemented(
    message = "`{Self}` is not an output row",
    label = "not an output row",
    note = "put `#[derive(OutputRow)]` on the struct that names the columns"
)]
pub trait OutputRow {
    /// The same struct with every lifetime `'static`: it names the columns.
    type Shape: Shape;
    /// Adds the row's values to their columns.
    fn push(self, builders: &mut <Self::Shape as Shape>::Builders);
}

/// Whole computed columns. Derive it: each field is a column of that name, of a type that is [`ColumnData`].
///
/// ```
/// use wasmill_sdk::{prelude::*, testing::{Table, TransformTest}};
///
/// #[derive(InputColumns)]
/// struct Bids<'a> {
///     price: &'a [i64],
/// }
///
/// #[derive(OutputColumns)]
/// struct Converted {
///     euros: Values<f64>,
/// }
///
/// #[transform(columns)]
/// struct Convert {
///     rate: f64,
/// }
///
/// impl TransformColumns for Convert {
///     type Input<'a> = Bids<'a>;
///     type Output = Add<Converted>;
///
///     fn batch(&self, batch: Batch<Bids<'_>>, out: &mut Self::Output) -> Result<Rejects, Failure> {
///         let euros = Values::from_fn(batch.rows, |row| batch.columns.price[row] as f64 * self.rate);
///         out.set(Rows::All, Converted { euros });
///         Ok(Rejects::none())
///     }
/// }
///
/// let input = Table::new().with("price", [10, 20]);
/// let output = TransformTest::<Convert>::open(r#"{"rate":0.5}"#, &input)?.process(&input)?;
/// assert_eq!(output.port("out"), &Table::new().with("price", [10, 20]).with("euros", [5.0, 10.0]));
/// # Ok::<(), Failure>(())
/// ```
pub trait OutputColumns {
    /// The same struct with every lifetime `'static`: it names the columns.
    type Shape: Shape<Builders = WholeColumns>;
    /// Puts the columns into their places.
    fn set(self, columns: &mut WholeColumns);
}

/// The columns of a port that is written at once.
#[derive(Debug, Default)]
pub struct WholeColumns {
    columns: Vec<(usize, wit::Column)>,
}

impl WholeColumns {
    /// Adds a column.
    pub fn push(&mut self, column: impl ColumnData) {
        self.columns.push((column.rows(), column.into_column().column));
    }

    pub(crate) fn clear(&mut self) {
        self.columns.clear();
    }

    #[doc(hidden)]
    pub fn finish(self, rows: usize) -> Result<Vec<wit::Column>, (usize, usize)> {
        let fit = |(at, (len, column))| if len == rows { Ok(column) } else { Err((at, len)) };
        self.columns.into_iter().enumerate().map(fit).collect()
    }
}

/// A finished column of a type that stands in Rust's type system only.
#[derive(Debug)]
pub struct EncodedColumn {
    column: wit::Column,
}

/// What a field of an [`OutputColumns`] struct can be: a `Vec` of any [`OutputValue`], or [`Values`], which is written
/// in place.
#[diagnostic::on_unimplemented(
    message = "`{Self}` is not an output column",
    label = "not a column",
    note = "the fields of an `OutputColumns` struct are `Vec<T>` or, for `i64`, `f64` and `Timestamp`, `Values<T>`"
)]
pub trait ColumnData {
    /// The type of the column.
    const DATA_TYPE: DataType;
    /// Whether it can hold nulls.
    const NULLABLE: bool;
    /// How many rows it has.
    fn rows(&self) -> usize;
    /// Encodes the column.
    fn into_column(self) -> EncodedColumn;
}

impl<T: OutputValue> ColumnData for Vec<T> {
    const DATA_TYPE: DataType = T::DATA_TYPE;
    const NULLABLE: bool = T::NULLABLE;

    fn rows(&self) -> usize {
        self.len()
    }

    fn into_column(self) -> EncodedColumn {
        let mut builder = T::Builder::default();
        builder.reserve(self.len());
        for value in self {
            value.push(&mut builder);
        }
        EncodedColumn {
            column: builder.finish(),
        }
    }
}

/// A column of numbers that is computed in place: no copy is made of it inside the guest.
///
/// ```
/// use wasmill_sdk::{Values, ColumnData};
/// let doubled = Values::from_fn(3, |row| row as i64 * 2);
/// assert_eq!(doubled.rows(), 3);
///
/// // The compiler makes vector code of loops over two slices.
/// let prices = [1.0, 2.0];
/// let euros = Values::<f64>::filled(2, |out| {
///     for (out, price) in out.iter_mut().zip(prices) {
///         *out = price * 0.9;
///     }
/// });
/// assert_eq!(euros.rows(), 2);
/// ```
#[derive(Debug)]
pub struct Values<T> {
    bytes: Vec<u8>,
    values: std::marker::PhantomData<T>,
}

impl<T: Plain + OutputValue> Values<T> {
    /// A column of `rows` values, each `T::default()` until `fill` writes it.
    pub fn filled(rows: usize, fill: impl FnOnce(&mut [T])) -> Self {
        Self {
            bytes: buffer::filled(rows, fill),
            values: std::marker::PhantomData,
        }
    }

    /// A column whose value at each row the function gives.
    pub fn from_fn(rows: usize, mut value: impl FnMut(usize) -> T) -> Self {
        Self::filled(rows, |values| {
            for (row, slot) in values.iter_mut().enumerate() {
                *slot = value(row);
            }
        })
    }
}

impl<T: Plain + OutputValue<Builder = FixedBuilder>> ColumnData for Values<T> {
    const DATA_TYPE: DataType = T::DATA_TYPE;
    const NULLABLE: bool = false;

    fn rows(&self) -> usize {
        self.bytes.len() / size_of::<T>()
    }

    fn into_column(self) -> EncodedColumn {
        EncodedColumn {
            column: wit::Column {
                validity: None,
                offsets: Vec::new(),
                data: self.bytes,
            },
        }
    }
}

/// A column without a row.
pub(crate) fn no_values(spec: &ColumnSpec) -> wit::Column {
    match spec.data_type {
        DataType::Utf8 | DataType::Binary | DataType::Json => VariableBuilder::default().finish(),
        DataType::Boolean | DataType::Int64 | DataType::Float64 | DataType::Timestamp => {
            FixedBuilder::default().finish()
        }
    }
}

pub(crate) fn misfit(port: &str, spec: &ColumnSpec, len: usize, rows: usize) -> Failure {
    Failure::new(format!(
        "column `{}` of port `{port}` has {len} values for {rows} rows",
        spec.name
    ))
}
