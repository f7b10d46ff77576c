//! The one list of the connectors and formats of this binary.

use wasmill_connector_api::format;
use wasmill_connector_api::registry::Registry;
use wasmill_connector_file as file;
use wasmill_connector_generator as generator;
use wasmill_connector_stdout as stdout;

/// All connectors and formats.
pub(crate) fn registry() -> Registry {
    Registry::new()
        .source::<file::Source>()
        .source::<generator::Source>()
        .sink::<file::Sink>()
        .sink::<stdout::Sink>()
        .format::<format::csv::Csv>()
        .format::<format::json::Json>()
        .format::<format::raw::Raw>()
        .format::<format::text::Text>()
}
