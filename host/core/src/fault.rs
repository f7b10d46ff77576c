//! What can go wrong while a topology runs, as data: whose fault it is, whether trying again helps, and where it was.

use std::fmt;

use crate::id::NodeId;

/// Who can mend it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Domain {
    /// The topology, the plugin or the data.
    User,
    /// A system outside: a disk, a broker, a server.
    External,
    /// Wasmill itself.
    Internal,
}

/// Whether trying again can help.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Retry {
    /// The same will happen again.
    Never,
    /// It may pass; wait a little longer each time.
    Backoff,
}

/// How a guest failed.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum GuestFault {
    /// The component trapped.
    Trap,
    /// A call ran longer than its deadline.
    Deadline,
    /// A call used up its fuel.
    Fuel,
    /// The instance asked for more memory than its limit.
    Memory,
    /// A call returned more rows or bytes than its limit.
    Output,
    /// A call returned what the contract forbids: a wrong length, type, offset or text.
    Contract,
    /// The guest said that the call failed.
    Failure,
    /// A call repeated in a fresh instance gave another result.
    Impure,
}

impl GuestFault {
    /// The word in metrics, logs and dead letters.
    pub const fn name(self) -> &'static str {
        match self {
            Self::Trap => "trap",
            Self::Deadline => "deadline",
            Self::Fuel => "fuel",
            Self::Memory => "memory",
            Self::Output => "output",
            Self::Contract => "contract",
            Self::Failure => "failure",
            Self::Impure => "impure",
        }
    }

    /// Whether the operator's policy may put it down to single rows. A deadline depends on the machine's load and an
    /// impure guest on anything, so neither may decide about data.
    pub const fn may_blame_rows(self) -> bool {
        !matches!(self, Self::Deadline | Self::Impure)
    }
}

/// A failure while the topology runs.
#[derive(Clone, Debug, PartialEq)]
pub struct Fault {
    /// Who can mend it.
    pub domain: Domain,
    /// Whether trying again can help.
    pub retry: Retry,
    /// What happened: a lowercase fragment without a full stop.
    pub message: String,
    /// The source, operator or sink.
    pub node: Option<NodeId>,
    /// What only faults of guests have.
    pub guest: Option<Box<GuestDetail>>,
}

/// Where a guest failed.
#[derive(Clone, Debug, PartialEq)]
pub struct GuestDetail {
    /// How it failed.
    pub kind: GuestFault,
    /// The plugin's file.
    pub plugin: String,
    /// The function of the contract that was called.
    pub function: &'static str,
    /// The row of the batch (logical, from 0), where the guest or a check named one.
    pub row: Option<u32>,
    /// The number of rows in the call.
    pub rows: u32,
    /// The guest's frames, innermost first, a line each.
    pub backtrace: Vec<String>,
}

impl GuestDetail {
    /// Whether the operator's policy may put it down to single rows: its kind may, and it came while rows were
    /// processed, not while an instance was being opened.
    pub const fn may_blame_rows(&self) -> bool {
        self.rows > 0 && self.kind.may_blame_rows()
    }
}

impl Fault {
    /// A fault that trying again does not mend.
    pub fn fatal(domain: Domain, message: impl Into<String>) -> Self {
        Self {
            domain,
            retry: Retry::Never,
            message: message.into(),
            node: None,
            guest: None,
        }
    }

    /// A fault of a system outside that may pass.
    pub fn transient(message: impl Into<String>) -> Self {
        Self {
            domain: Domain::External,
            retry: Retry::Backoff,
            message: message.into(),
            node: None,
            guest: None,
        }
    }

    /// The same fault, at this node unless it already names one.
    #[must_use]
    pub fn at(mut self, node: &NodeId) -> Self {
        self.node.get_or_insert_with(|| node.clone());
        self
    }
}

impl fmt::Display for Fault {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        if let Some(node) = &self.node {
            write!(f, "{node}: ")?;
        }
        f.write_str(&self.message)?;
        if let Some(guest) = &self.guest {
            write!(f, " (plugin {}, {}", guest.plugin, guest.function)?;
            match guest.row {
                Some(row) => write!(f, ", row {row} of {})", guest.rows)?,
                None => write!(f, ", {} rows)", guest.rows)?,
            }
            for frame in &guest.backtrace {
                write!(f, "\n    at {frame}")?;
            }
        }
        Ok(())
    }
}

impl std::error::Error for Fault {}
