//! The configuration of an operator: the topology's `config` table, which the host hands over as JSON.

use serde::{Deserialize, Deserializer, de::DeserializeOwned};

use crate::fault::Failure;

pub(crate) fn parse<T: DeserializeOwned>(config: &str) -> Result<T, Failure> {
    serde_json::from_str(config).map_err(|error| {
        let message = error.to_string();
        // The author of the topology sees TOML: a position in the JSON made of it says nothing.
        let message = message
            .rsplit_once(" at line ")
            .map_or(message.as_str(), |(message, _)| message);
        Failure::new(format!("configuration: {message}"))
    })
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct Empty {}

/// Reads the empty table, for an operator that has no options.
///
/// # Errors
///
/// When there is a key in it.
pub fn none<'de, D: Deserializer<'de>>(deserializer: D) -> Result<(), D::Error> {
    Empty::deserialize(deserializer).map(|Empty {}| ())
}
