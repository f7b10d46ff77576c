//! What a `window` says of itself.

use wasmill_core::content::ContentDescription;
use wasmill_core::plugin::PluginError;
use wasmill_core::schema::Field;
use wasmill_core::transform::InputDescription;

use super::{Illegal, answered, illegal, ports, requirement};
use crate::bindings::exports::wasmill::operator::window_operator;
use crate::subtask::Subtask;

/// Columns that stand before the described ones, beside the key's.
const BOUNDS: [&str; 2] = ["window_start", "window_end"];

/// Asks a `window`.
pub(crate) fn content(
    subtask: &mut Subtask<window_operator::Guest>,
    config: &str,
    input: &InputDescription,
    key: &[Field],
) -> Result<ContentDescription, PluginError> {
    let names: Vec<&str> = key.iter().map(|field| &*field.name).collect();
    let inputs = std::slice::from_ref(input);
    let answer = subtask.describe(config, inputs, |guest, store, config, inputs| {
        guest.call_describe(store, config, inputs[0].clone(), &names)
    });
    check(answered(answer)?, input, key).map_err(illegal)
}

fn check(
    described: window_operator::Description,
    input: &InputDescription,
    key: &[Field],
) -> Result<ContentDescription, Illegal> {
    let input = requirement(&described.input, input)?;
    let outputs = ports(described.outputs)?;
    for port in &outputs {
        if port.changelog {
            return Err(Illegal(format!(
                "port \"{}\" as a changelog, but the results of windows are rows that are there",
                port.name
            )));
        }
        for field in port.schema.fields() {
            if BOUNDS.contains(&&*field.name) || key.iter().any(|key| key.name == field.name) {
                return Err(Illegal(format!(
                    "column \"{}\" of port \"{}\", which the host puts there itself: the key columns and the window's \
                     bounds stand before the described columns",
                    field.name, port.name
                )));
            }
        }
    }
    Ok(ContentDescription { input, outputs })
}
