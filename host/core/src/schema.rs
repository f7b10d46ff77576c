//! The schema of a stream: ordered, named, typed columns.

use std::fmt;
use std::sync::Arc;

use serde::{Deserialize, Serialize};

/// The type of a column.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum DataType {
    /// True or false.
    Boolean,
    /// 64-bit signed integer.
    Int64,
    /// 64-bit IEEE 754 number.
    Float64,
    /// Text in UTF-8.
    Utf8,
    /// Bytes.
    Binary,
    /// Microseconds since the Unix epoch, UTC.
    Timestamp,
    /// One JSON value as text.
    Json,
}

impl DataType {
    /// Every type, in the order in which documentation lists them.
    pub const ALL: [Self; 7] = [
        Self::Boolean,
        Self::Int64,
        Self::Float64,
        Self::Utf8,
        Self::Binary,
        Self::Timestamp,
        Self::Json,
    ];

    /// The name in topologies and in the operator contract.
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

    /// The type with this name.
    pub fn from_name(name: &str) -> Option<Self> {
        Self::ALL.into_iter().find(|t| t.name() == name)
    }
}

impl fmt::Display for DataType {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.name())
    }
}

/// One column of a schema.
#[derive(Clone, Debug, PartialEq, Eq, Hash, Serialize, Deserialize)]
pub struct Field {
    /// Its name, unique in the schema.
    pub name: Arc<str>,
    /// What its values are.
    #[serde(rename = "type")]
    pub data_type: DataType,
    /// Whether a value may be null.
    pub nullable: bool,
}

impl Field {
    /// A field that holds a value in every row.
    pub fn required(name: impl Into<Arc<str>>, data_type: DataType) -> Self {
        Self {
            name: name.into(),
            data_type,
            nullable: false,
        }
    }

    /// A field whose values may be null.
    pub fn nullable(name: impl Into<Arc<str>>, data_type: DataType) -> Self {
        Self {
            name: name.into(),
            data_type,
            nullable: true,
        }
    }
}

/// `dep_delay: int64?`
impl fmt::Display for Field {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(
            f,
            "{}: {}{}",
            self.name,
            self.data_type,
            if self.nullable { "?" } else { "" }
        )
    }
}

/// The columns of a stream, in order, each name once.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(transparent)]
pub struct Schema {
    fields: Vec<Field>,
}

/// Two columns of one name.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("two columns are named \"{0}\"")]
pub struct DuplicateColumn(pub Arc<str>);

impl Schema {
    /// A schema of these fields.
    ///
    /// # Errors
    /// Two fields have one name.
    pub fn new(fields: Vec<Field>) -> Result<Self, DuplicateColumn> {
        for (i, field) in fields.iter().enumerate() {
            if fields[..i].iter().any(|earlier| earlier.name == field.name) {
                return Err(DuplicateColumn(Arc::clone(&field.name)));
            }
        }
        Ok(Self { fields })
    }

    /// The schema of the rows of both: the same columns in the same order, nullable where one of them is. `None` where
    /// names or types differ.
    pub fn union(&self, other: &Self) -> Option<Self> {
        let same = |(a, b): (&Field, &Field)| (&a.name, a.data_type) == (&b.name, b.data_type);
        if self.len() != other.len() || !self.fields.iter().zip(&other.fields).all(same) {
            return None;
        }
        let fields = self.fields.iter().zip(&other.fields).map(|(a, b)| Field {
            nullable: a.nullable || b.nullable,
            ..a.clone()
        });
        Some(Self {
            fields: fields.collect(),
        })
    }

    /// The fields in order.
    pub fn fields(&self) -> &[Field] {
        &self.fields
    }

    /// The number of columns.
    pub fn len(&self) -> usize {
        self.fields.len()
    }

    /// Whether there is no column.
    pub fn is_empty(&self) -> bool {
        self.fields.is_empty()
    }

    /// The place of the column with this name.
    pub fn index_of(&self, name: &str) -> Option<usize> {
        self.fields.iter().position(|f| &*f.name == name)
    }

    /// The column with this name.
    pub fn field(&self, name: &str) -> Option<&Field> {
        self.fields.iter().find(|f| &*f.name == name)
    }
}

/// `origin: utf8, dep_delay: int64?`
impl fmt::Display for Schema {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        for (i, field) in self.fields.iter().enumerate() {
            if i > 0 {
                f.write_str(", ")?;
            }
            write!(f, "{field}")?;
        }
        Ok(())
    }
}
