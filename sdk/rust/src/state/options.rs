//! What a table of state is called, how long its rows are kept, and which version it has.

use std::time::Duration;

use super::TableDescription;
use crate::{bindings::state_types as wit, fault::Failure};

/// How long a key's rows in a table are kept after the key's last row.
///
/// ```
/// use std::time::Duration;
/// use wasmill_sdk::Ttl;
/// let hour = Ttl::event(Duration::from_secs(3600));
/// assert_ne!(hour, Ttl::processing(Duration::from_secs(3600)));
/// ```
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Ttl {
    micros: u64,
    event: bool,
}

impl Ttl {
    /// Of event time.
    pub const fn event(after: Duration) -> Self {
        Self {
            micros: after.as_micros() as u64,
            event: true,
        }
    }

    /// Of the machine's time: not the same on every run.
    pub const fn processing(after: Duration) -> Self {
        Self {
            micros: after.as_micros() as u64,
            event: false,
        }
    }

    pub(super) fn into_wit(self) -> wit::Ttl {
        wit::Ttl {
            after: self.micros,
            domain: if self.event {
                wit::TimeDomain::Event
            } else {
                wit::TimeDomain::Processing
            },
        }
    }
}

/// What the attributes of a table say.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct TableOptions {
    /// Its name; else that of the field.
    pub name: Option<&'static str>,
    /// How long its rows are kept; else for ever.
    pub ttl: Option<Ttl>,
    /// The version of its columns and their meaning; else 1.
    pub version: Option<u32>,
}

impl TableOptions {
    /// Nothing is said.
    pub const NONE: Self = Self {
        name: None,
        ttl: None,
        version: None,
    };

    /// These, and where they say nothing those.
    pub(super) fn or(&self, other: &Self) -> Self {
        Self {
            name: self.name.or(other.name),
            ttl: self.ttl.or(other.ttl),
            version: self.version.or(other.version),
        }
    }
}

/// Settings of tables that follow from the configuration. See [`Keyed::tables`](crate::Keyed::tables).
///
/// ```
/// use std::time::Duration;
/// use wasmill_sdk::{TableSettings, Ttl};
/// let mut tables = TableSettings::default();
/// tables.ttl("state", Ttl::event(Duration::from_secs(60)));
/// ```
#[derive(Debug, Default)]
pub struct TableSettings {
    ttls: Vec<(String, Ttl)>,
}

impl TableSettings {
    /// The rows of the table of this name are kept so long, whatever its attributes say. The only table of an operator is
    /// called `state` unless it has another name.
    pub fn ttl(&mut self, table: impl Into<String>, ttl: Ttl) {
        self.ttls.push((table.into(), ttl));
    }

    pub(super) fn apply(&self, tables: &mut [TableDescription]) -> Result<(), Failure> {
        for (name, ttl) in &self.ttls {
            let table = tables
                .iter_mut()
                .find(|table| table.options.name.unwrap_or(table.name) == name);
            let table = table
                .ok_or_else(|| Failure::new(format!("the operator sets the TTL of `{name}`, and has no such table")))?;
            table.options.ttl = Some(*ttl);
        }
        if tables
            .iter()
            .any(|table| table.options.ttl.is_some_and(|ttl| ttl.micros == 0))
        {
            return Err(Failure::new("a TTL must be longer than zero"));
        }
        Ok(())
    }
}
