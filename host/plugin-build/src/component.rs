//! Makes a core module, as a compiler leaves it, a component.

use wit_component::ComponentEncoder;

use crate::Error;

/// The component of a module that carries the description of its world.
pub(crate) fn encode(plugin: &str, module: &[u8]) -> Result<Vec<u8>, Error> {
    let encoded = ComponentEncoder::default()
        .module(module)
        .and_then(|encoder| encoder.validate(true).encode());
    encoded.map_err(|error| Error::Component {
        plugin: plugin.to_owned(),
        reason: format!("{error:#}"),
    })
}
