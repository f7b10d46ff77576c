//! Incoming columns: the buffers of one batch, and the typed views through which an operator reads them.

use std::marker::PhantomData;

use crate::{
    bindings::types as wit,
    buffer::{Buffer, bit},
    fault::Failure,
    types::{DataType, Json, Timestamp},
};

/// One column of a batch as it came: its buffers, without a type.
#[derive(Debug)]
pub struct RawColumn {
    rows: usize,
    validity: Option<Vec<u8>>,
    offsets: Buffer,
    data: Buffer,
}

impl RawColumn {
    pub(crate) fn new(rows: usize, column: wit::Column) -> Self {
        Self {
            rows,
            validity: column.validity,
            offsets: Buffer::new(column.offsets),
            data: Buffer::new(column.data),
        }
    }

    fn fixed<T: crate::buffer::Plain>(&self) -> Result<&[T], Failure> {
        match self.data.values::<T>() {
            Some(values) if values.len() == self.rows => Ok(values),
            _ => Err(malformed("data", self.data.bytes().len(), self.rows)),
        }
    }

    fn bits(&self) -> Result<Bits<'_>, Failure> {
        Bits::new(self.data.bytes(), self.rows)
    }

    fn slices(&self) -> Result<(&[u32], &[u8]), Failure> {
        let data = self.data.bytes();
        match self.offsets.values::<u32>() {
            Some(offsets) if offsets.len() == self.rows + 1 && offsets[self.rows] as usize == data.len() => {
                Ok((offsets, data))
            }
            _ => Err(malformed("offsets", self.offsets.bytes().len(), self.rows)),
        }
    }

    fn text(&self) -> Result<(&[u32], &str), Failure> {
        let (offsets, data) = self.slices()?;
        let text = std::str::from_utf8(data).map_err(|error| Failure::new(format!("a column of text: {error}")))?;
        Ok((offsets, text))
    }
}

fn malformed(what: &str, bytes: usize, rows: usize) -> Failure {
    Failure::new(format!(
        "the {what} buffer of a column has {bytes} bytes, which does not fit {rows} rows"
    ))
}

/// A batch as it came: the columns of the requirement, in its order.
#[derive(Debug)]
pub struct RawBatch {
    rows: usize,
    event_times: Buffer,
    columns: Vec<RawColumn>,
}

impl RawBatch {
    pub(crate) fn new(batch: wit::Batch) -> Self {
        let rows = batch.rows as usize;
        Self {
            rows,
            event_times: Buffer::new(batch.event_times),
            columns: batch
                .columns
                .into_iter()
                .map(|column| RawColumn::new(rows, column))
                .collect(),
        }
    }

    /// How many rows it has.
    pub fn rows(&self) -> usize {
        self.rows
    }

    /// The view of the column at this position of the requirement.
    ///
    /// # Errors
    ///
    /// When the host gave fewer columns, or the buffers do not fit the type or the number of rows.
    pub fn view<'a, V: View<'a>>(&'a self, position: usize) -> Result<V, Failure> {
        let column = self.columns.get(position).ok_or_else(|| {
            Failure::new(format!(
                "the batch has {} columns, and column {position} is needed",
                self.columns.len()
            ))
        })?;
        V::open(column)
    }

    /// The event time of each row.
    ///
    /// # Errors
    ///
    /// When the host gave none.
    pub fn event_times(&self) -> Result<&[Timestamp], Failure> {
        match self.event_times.values::<Timestamp>() {
            Some(times) if times.len() == self.rows => Ok(times),
            _ => Err(malformed("event time", self.event_times.bytes().len(), self.rows)),
        }
    }
}

/// A typed view of an incoming column: what a field of a `#[derive(InputColumns)]` struct can be.
///
/// | column | not null | nullable |
/// |---|---|---|
/// | `int64`, `float64`, `timestamp` | `&[i64]`, `&[f64]`, `&[Timestamp]` | [`Nullable<&[i64]>`](Nullable), ... |
/// | `boolean` | [`Bits`] | `Nullable<Bits>` |
/// | `utf8`, `json` | [`Text`], [`JsonText`] | `Nullable<Text>`, ... |
/// | `binary` | [`Bytes`] | `Nullable<Bytes>` |
#[diagnostic::on_unimplemented(
    message = "`{Self}` is not a view of an input column",
    label = "not a view of a column",
    note = "the fields of an `InputColumns` struct are `&'a [i64]`, `&'a [f64]`, `&'a [Timestamp]`, `Bits<'a>`, \
            `Text<'a>`, `JsonText<'a>`, `Bytes<'a>`, or a `Nullable<..>` of one of them"
)]
pub trait View<'a>: Copy {
    /// The type of column that it reads.
    const DATA_TYPE: DataType;
    /// Whether it can stand for nulls.
    const NULLABLE: bool;
    /// What it gives for one row.
    type Value;

    /// Checks the lengths of the buffers, in constant time; text is checked to be UTF-8.
    ///
    /// # Errors
    ///
    /// When the buffers do not fit the type or the number of rows.
    fn open(column: &'a RawColumn) -> Result<Self, Failure>;

    /// The value of one row.
    ///
    /// # Panics
    ///
    /// When there is no such row.
    fn get(&self, row: usize) -> Self::Value;

    /// How many bytes the values take together, where they differ in that.
    #[doc(hidden)]
    fn bytes(&self) -> usize {
        0
    }
}

macro_rules! plain_view {
    ($rust:ty, $data_type:ident) => {
        impl<'a> View<'a> for &'a [$rust] {
            const DATA_TYPE: DataType = DataType::$data_type;
            const NULLABLE: bool = false;
            type Value = $rust;

            fn open(column: &'a RawColumn) -> Result<Self, Failure> {
                column.fixed()
            }

            #[inline]
            fn get(&self, row: usize) -> $rust {
                self[row]
            }
        }
    };
}
plain_view!(i64, Int64);
plain_view!(f64, Float64);
plain_view!(Timestamp, Timestamp);

/// A view of a `boolean` column, or of which rows are not null: one bit a row.
///
/// ```
/// use wasmill_sdk::{prelude::*, testing::{Table, TransformTest}};
///
/// #[derive(InputColumns)]
/// struct Flags<'a> {
///     cancelled: Bits<'a>,
/// }
///
/// #[transform(columns)]
/// struct Flown;
///
/// impl TransformColumns for Flown {
///     type Input<'a> = Flags<'a>;
///     type Output = Keep;
///
///     fn batch(&self, batch: Batch<Flags<'_>>, out: &mut Keep) -> Result<Rejects, Failure> {
///         out.keep_rows(Rows::filter(batch.rows, |row| !batch.columns.cancelled.get(row)));
///         Ok(Rejects::none())
///     }
/// }
///
/// let input = Table::new().with("cancelled", [true, false]);
/// let mut flown = TransformTest::<Flown>::open("{}", &input)?;
/// assert_eq!(flown.process(&input)?.port("out"), &Table::new().with("cancelled", [false]));
/// # Ok::<(), Failure>(())
/// ```
#[derive(Debug, Clone, Copy)]
pub struct Bits<'a> {
    bytes: &'a [u8],
    len: usize,
}

impl<'a> Bits<'a> {
    fn new(bytes: &'a [u8], len: usize) -> Result<Self, Failure> {
        if bytes.len() == len.div_ceil(8) {
            Ok(Self { bytes, len })
        } else {
            Err(malformed("bit", bytes.len(), len))
        }
    }

    /// How many rows it has.
    pub fn len(&self) -> usize {
        self.len
    }

    /// Whether it has no rows.
    pub fn is_empty(&self) -> bool {
        self.len == 0
    }

    /// The bit of one row.
    ///
    /// # Panics
    ///
    /// When there is no such row.
    #[inline]
    pub fn get(&self, row: usize) -> bool {
        bit(self.bytes, row)
    }

    /// The bits as they lie in memory: least significant first, `ceil(len / 8)` bytes.
    pub fn as_bytes(&self) -> &'a [u8] {
        self.bytes
    }
}

impl<'a> View<'a> for Bits<'a> {
    const DATA_TYPE: DataType = DataType::Boolean;
    const NULLABLE: bool = false;
    type Value = bool;

    fn open(column: &'a RawColumn) -> Result<Self, Failure> {
        column.bits()
    }

    #[inline]
    fn get(&self, row: usize) -> bool {
        Bits::get(self, row)
    }
}

/// A view of a `utf8` column. Nothing is copied: each value is a slice of the batch.
///
/// ```
/// use wasmill_sdk::{prelude::*, testing::{Table, TransformTest}};
///
/// #[derive(InputColumns)]
/// struct Lines<'a> {
///     line: Text<'a>,
/// }
///
/// /// Keeps the lines that start with a word.
/// #[transform(columns)]
/// struct StartsWith {
///     word: String,
/// }
///
/// impl TransformColumns for StartsWith {
///     type Input<'a> = Lines<'a>;
///     type Output = Keep;
///
///     fn batch(&self, batch: Batch<Lines<'_>>, out: &mut Keep) -> Result<Rejects, Failure> {
///         out.keep_rows(Rows::filter(batch.rows, |row| batch.columns.line.get(row).starts_with(&self.word)));
///         Ok(Rejects::none())
///     }
/// }
///
/// let input = Table::new().with("line", ["error: 1", "info: 2"]);
/// let mut errors = TransformTest::<StartsWith>::open(r#"{"word":"error"}"#, &input)?;
/// assert_eq!(errors.process(&input)?.port("out"), &Table::new().with("line", ["error: 1"]));
/// # Ok::<(), Failure>(())
/// ```
#[derive(Debug, Clone, Copy)]
pub struct Text<'a> {
    offsets: &'a [u32],
    text: &'a str,
}

impl<'a> Text<'a> {
    /// How many rows it has.
    pub fn len(&self) -> usize {
        self.offsets.len() - 1
    }

    /// Whether it has no rows.
    pub fn is_empty(&self) -> bool {
        self.len() == 0
    }

    /// The text of one row; empty where it is null.
    ///
    /// # Panics
    ///
    /// When there is no such row.
    #[inline]
    pub fn get(&self, row: usize) -> &'a str {
        &self.text[self.offsets[row] as usize..self.offsets[row + 1] as usize]
    }

    /// The texts in order.
    pub fn iter(&self) -> impl ExactSizeIterator<Item = &'a str> + use<'a> {
        let this = *self;
        (0..this.len()).map(move |row| this.get(row))
    }
}

impl<'a> View<'a> for Text<'a> {
    const DATA_TYPE: DataType = DataType::Utf8;
    const NULLABLE: bool = false;
    type Value = &'a str;

    fn open(column: &'a RawColumn) -> Result<Self, Failure> {
        let (offsets, text) = column.text()?;
        Ok(Self { offsets, text })
    }

    #[inline]
    fn get(&self, row: usize) -> &'a str {
        Text::get(self, row)
    }

    fn bytes(&self) -> usize {
        self.text.len()
    }
}

/// A view of a `json` column: as [`Text`], with [`Json`] values.
#[derive(Debug, Clone, Copy)]
pub struct JsonText<'a>(Text<'a>);

impl<'a> JsonText<'a> {
    /// The JSON values as plain text.
    pub fn text(&self) -> Text<'a> {
        self.0
    }
}

impl<'a> View<'a> for JsonText<'a> {
    const DATA_TYPE: DataType = DataType::Json;
    const NULLABLE: bool = false;
    type Value = Json<&'a str>;

    fn open(column: &'a RawColumn) -> Result<Self, Failure> {
        Text::open(column).map(Self)
    }

    #[inline]
    fn get(&self, row: usize) -> Json<&'a str> {
        Json(self.0.get(row))
    }

    fn bytes(&self) -> usize {
        View::bytes(&self.0)
    }
}

/// A view of a `binary` column. Nothing is copied: each value is a slice of the batch.
#[derive(Debug, Clone, Copy)]
pub struct Bytes<'a> {
    offsets: &'a [u32],
    data: &'a [u8],
}

impl<'a> Bytes<'a> {
    /// How many rows it has.
    pub fn len(&self) -> usize {
        self.offsets.len() - 1
    }

    /// Whether it has no rows.
    pub fn is_empty(&self) -> bool {
        self.len() == 0
    }

    /// The bytes of one row; empty where it is null.
    ///
    /// # Panics
    ///
    /// When there is no such row.
    #[inline]
    pub fn get(&self, row: usize) -> &'a [u8] {
        &self.data[self.offsets[row] as usize..self.offsets[row + 1] as usize]
    }
}

impl<'a> View<'a> for Bytes<'a> {
    const DATA_TYPE: DataType = DataType::Binary;
    const NULLABLE: bool = false;
    type Value = &'a [u8];

    fn open(column: &'a RawColumn) -> Result<Self, Failure> {
        let (offsets, data) = column.slices()?;
        Ok(Self { offsets, data })
    }

    #[inline]
    fn get(&self, row: usize) -> &'a [u8] {
        Bytes::get(self, row)
    }

    fn bytes(&self) -> usize {
        self.data.len()
    }
}

/// A view of a column that may hold nulls: which rows are valid, and the values.
///
/// ```
/// use wasmill_sdk::{prelude::*, testing::{Table, TransformTest}};
///
/// #[derive(InputColumns)]
/// struct Delays<'a> {
///     dep_delay: Nullable<'a, &'a [i64]>,
/// }
///
/// /// Keeps the flights that left.
/// #[transform(columns)]
/// struct Departed;
///
/// impl TransformColumns for Departed {
///     type Input<'a> = Delays<'a>;
///     type Output = Keep;
///
///     fn batch(&self, batch: Batch<Delays<'_>>, out: &mut Keep) -> Result<Rejects, Failure> {
///         let delays = batch.columns.dep_delay;
///         out.keep_rows(Rows::filter(batch.rows, |row| delays.is_valid(row)));
///         Ok(Rejects::none())
///     }
/// }
///
/// let input = Table::new().with("dep_delay", [Some(4), None]);
/// let mut departed = TransformTest::<Departed>::open("{}", &input)?;
/// assert_eq!(departed.process(&input)?.port("out"), &Table::new().with("dep_delay", [Some(4)]));
/// # Ok::<(), Failure>(())
/// ```
#[derive(Debug, Clone, Copy)]
pub struct Nullable<'a, V> {
    validity: Option<&'a [u8]>,
    values: V,
    batch: PhantomData<&'a RawColumn>,
}

impl<'a, V: View<'a>> Nullable<'a, V> {
    /// Whether the row is not null.
    ///
    /// # Panics
    ///
    /// When there is no such row.
    #[inline]
    pub fn is_valid(&self, row: usize) -> bool {
        self.validity.is_none_or(|bits| bit(bits, row))
    }

    /// The bits that say which rows are not null; `None` when none is.
    pub fn validity(&self) -> Option<&'a [u8]> {
        self.validity
    }

    /// The values without regard to nulls. What stands where a row is null is unspecified; for text it is empty.
    pub fn values(&self) -> V {
        self.values
    }

    /// The value of one row, or `None` where it is null.
    ///
    /// # Panics
    ///
    /// When there is no such row.
    #[inline]
    pub fn get(&self, row: usize) -> Option<V::Value> {
        self.is_valid(row).then(|| self.values.get(row))
    }
}

impl<'a, V: View<'a>> View<'a> for Nullable<'a, V> {
    const DATA_TYPE: DataType = V::DATA_TYPE;
    const NULLABLE: bool = true;
    type Value = Option<V::Value>;

    fn open(column: &'a RawColumn) -> Result<Self, Failure> {
        const { assert!(!V::NULLABLE, "a `Nullable` of a `Nullable` is no column") }
        let validity = match &column.validity {
            Some(bits) => Some(Bits::new(bits, column.rows)?.as_bytes()),
            None => None,
        };
        Ok(Self {
            validity,
            values: V::open(column)?,
            batch: PhantomData,
        })
    }

    #[inline]
    fn get(&self, row: usize) -> Option<V::Value> {
        Nullable::get(self, row)
    }

    fn bytes(&self) -> usize {
        self.values.bytes()
    }
}
