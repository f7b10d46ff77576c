//! The types that a column may have, and the Rust types that stand for those which Rust does not have.

use std::fmt;

/// The type of a column, as it is named in a topology and in the contract.
///
/// ```
/// use wasmill_sdk::DataType;
/// assert_eq!(DataType::Timestamp.name(), "timestamp");
/// assert_eq!(DataType::from_name("utf8"), Some(DataType::Utf8));
/// ```
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum DataType {
    /// `bool`
    Boolean,
    /// `i64`
    Int64,
    /// `f64`
    Float64,
    /// `&str`, `String`
    Utf8,
    /// `&[u8]`, `Vec<u8>`
    Binary,
    /// [`Timestamp`]
    Timestamp,
    /// [`Json`]
    Json,
}

impl DataType {
    const ALL: [Self; 7] = [
        Self::Boolean,
        Self::Int64,
        Self::Float64,
        Self::Utf8,
        Self::Binary,
        Self::Timestamp,
        Self::Json,
    ];

    /// The name in topologies and in the contract.
    pub const fn name(self) -> &'static str {
        match self {
            Self::Boolean => "boolean",
            Self::Int64 => "int64",
            Self::Float64 => "float64",
            Self::Utf8 => "utf8",
            Self::Binary => "binary",
            Self::Timestamp => "timestamp",
            Self::Json => "json",
        }
    }

    /// The type of this name; `None` when the SDK does not know it.
    pub fn from_name(name: &str) -> Option<Self> {
        Self::ALL.into_iter().find(|data_type| data_type.name() == name)
    }

    /// What to write in a row for a column of this type.
    pub(crate) const fn rust(self) -> &'static str {
        match self {
            Self::Boolean => "bool",
            Self::Int64 => "i64",
            Self::Float64 => "f64",
            Self::Utf8 => "&str",
            Self::Binary => "&[u8]",
            Self::Timestamp => "Timestamp",
            Self::Json => "Json<&str>",
        }
    }
}

impl fmt::Display for DataType {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.name())
    }
}

/// A point in time: microseconds since 1970-01-01T00:00:00Z.
///
/// ```
/// use wasmill_sdk::Timestamp;
/// let seen = Timestamp::from_millis(1_500);
/// assert_eq!(seen.as_micros(), 1_500_000);
/// assert_eq!(seen.saturating_sub_micros(500_000), Timestamp::from_micros(1_000_000));
/// ```
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Default)]
#[repr(transparent)]
pub struct Timestamp(i64);

impl Timestamp {
    /// From microseconds since the Unix epoch.
    pub const fn from_micros(micros: i64) -> Self {
        Self(micros)
    }

    /// From milliseconds since the Unix epoch; saturates.
    pub const fn from_millis(millis: i64) -> Self {
        Self(millis.saturating_mul(1_000))
    }

    /// From seconds since the Unix epoch; saturates.
    pub const fn from_secs(secs: i64) -> Self {
        Self(secs.saturating_mul(1_000_000))
    }

    /// Microseconds since the Unix epoch.
    pub const fn as_micros(self) -> i64 {
        self.0
    }

    /// This much later, or the latest time there is.
    pub const fn saturating_add_micros(self, micros: i64) -> Self {
        Self(self.0.saturating_add(micros))
    }

    /// This much earlier, or the earliest time there is.
    pub const fn saturating_sub_micros(self, micros: i64) -> Self {
        Self(self.0.saturating_sub(micros))
    }
}

/// Text that holds one JSON value: the type of a `json` column, distinct from `utf8`.
///
/// Read it as `Json<&str>`, write it as `Json<&str>` or `Json<String>`. The SDK neither parses nor checks the text.
///
/// ```
/// use wasmill_sdk::Json;
/// let tags = Json("[1,2]".to_owned());
/// assert_eq!(tags.text(), "[1,2]");
/// ```
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub struct Json<T>(pub T);

impl<T: AsRef<str>> Json<T> {
    /// The text.
    pub fn text(&self) -> &str {
        self.0.as_ref()
    }
}

impl Default for Json<String> {
    /// The JSON value `null`.
    fn default() -> Self {
        Self("null".to_owned())
    }
}

/// A column that a row names: what it is called, what it holds, whether it may be null.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct ColumnSpec {
    /// The column's name.
    pub name: &'static str,
    /// The column's type.
    pub data_type: DataType,
    /// Whether the row can hold a null there.
    pub nullable: bool,
}
