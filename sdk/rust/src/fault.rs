//! The two ways in which an operator says no: a [`Reject`] for a row, a [`Failure`] for a whole call.

use std::fmt;

use crate::bindings::types as wit;

/// A row that is invalid. Where the topology names a sink for dead letters it becomes one with this message, and the other
/// rows' results stand; else it stops the job, or is skipped with `on-fault = "skip"`.
///
/// ```
/// use wasmill_sdk::Reject;
/// let refused: Result<(), Reject> = Err(Reject::new("a price cannot be negative"));
/// assert_eq!(refused.unwrap_err().to_string(), "a price cannot be negative");
/// ```
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Reject {
    message: String,
}

impl Reject {
    /// A reject with a message for the person who reads the dead letters.
    pub fn new(message: impl Into<String>) -> Self {
        Self {
            message: message.into(),
        }
    }

    pub(crate) fn into_wit(self, row: u32) -> wit::Reject {
        wit::Reject {
            row,
            message: self.message,
        }
    }
}

impl fmt::Display for Reject {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.message)
    }
}

impl std::error::Error for Reject {}

/// A call that could not be done. Nothing of it takes effect; the topology's `on-fault` says what happens then.
///
/// ```
/// use wasmill_sdk::Failure;
/// assert_eq!(Failure::new("the table is empty").to_string(), "the table is empty");
/// ```
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Failure {
    message: String,
    row: Option<u32>,
}

impl Failure {
    /// A failure with a message for the person who runs the topology.
    pub fn new(message: impl Into<String>) -> Self {
        Self {
            message: message.into(),
            row: None,
        }
    }

    /// The same failure with a hint at the row that caused it.
    pub fn at_row(self, row: u32) -> Self {
        Self { row: Some(row), ..self }
    }

    pub(crate) fn into_wit(self) -> wit::Failure {
        wit::Failure {
            message: self.message,
            row: self.row,
        }
    }

    #[cfg(not(target_arch = "wasm32"))]
    pub(crate) fn from_wit(failure: wit::Failure) -> Self {
        Self {
            message: failure.message,
            row: failure.row,
        }
    }
}

impl fmt::Display for Failure {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.message)
    }
}

impl std::error::Error for Failure {}

/// The invalid rows of a batch, for operators that work on whole columns.
///
/// ```
/// use wasmill_sdk::Rejects;
/// let mut rejects = Rejects::none();
/// rejects.push(3, "a price cannot be negative");
/// assert_eq!(rejects.len(), 1);
/// ```
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Rejects {
    rows: Vec<(u32, Reject)>,
}

impl Rejects {
    /// All rows are valid.
    pub const fn none() -> Self {
        Self { rows: Vec::new() }
    }

    /// Rejects the row of this number. Leave it out of the outputs.
    pub fn push(&mut self, row: u32, message: impl Into<String>) {
        self.rows.push((row, Reject::new(message)));
    }

    /// How many rows were rejected.
    pub fn len(&self) -> usize {
        self.rows.len()
    }

    /// Whether no row was rejected.
    pub fn is_empty(&self) -> bool {
        self.rows.is_empty()
    }

    pub(crate) fn add(&mut self, row: u32, reject: Reject) {
        self.rows.push((row, reject));
    }

    pub(crate) fn into_wit(self) -> Vec<wit::Reject> {
        self.rows
            .into_iter()
            .map(|(row, reject)| reject.into_wit(row))
            .collect()
    }
}
