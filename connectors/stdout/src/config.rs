//! The keys of the connector `stdout`.

use serde::{Deserialize, Serialize};

/// A sink with `connector = "stdout"` has no keys of its own.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case", deny_unknown_fields)]
pub struct Config {}
