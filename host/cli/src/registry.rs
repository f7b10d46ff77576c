//! The one list of the connectors and formats of this binary.

use wasmill_connector_api::format;
use wasmill_connector_api::registry::Registry;
use wasmill_connector_file as file;

/// All connectors and formats.
pub(crate) fn registry() -> Registry {
    Registry::new()
        .source::<file::Source>()
        .sink::<file::Sink>()
        .format::<format::csv::Csv>()
        .format::<format::json::Json>()
        .format::<format::raw::Raw>()
        .format::<format::text::Text>()
}
