//! What a sink promises about rows when a job fails and goes on.

use std::fmt;

use serde::{Deserialize, Serialize};

/// How often a row may come out, whatever fails; the weakest first. A sink that can give one can give those before it.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Delivery {
    /// Once or more: after a failure, rows of the epoch that was not completed may come again.
    #[default]
    AtLeastOnce,
    /// Once or more, each time under the same id, so that whoever receives them can tell.
    EffectivelyOnce,
    /// Once: what is visible are the rows of completed epochs, in full.
    ExactlyOnce,
}

impl Delivery {
    /// The word in topologies.
    pub const fn name(self) -> &'static str {
        match self {
            Self::AtLeastOnce => "at-least-once",
            Self::EffectivelyOnce => "effectively-once",
            Self::ExactlyOnce => "exactly-once",
        }
    }
}

impl fmt::Display for Delivery {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.pad(self.name())
    }
}
