//! What a plugin says of itself, held to the contract: a plan can then take it as it is.

mod content;
mod keyed;

use std::collections::HashSet;
use std::fmt;
use std::sync::Arc;

use wasmill_core::aggregate::{Accumulator, AggregateDescription};
use wasmill_core::fault::Fault;
use wasmill_core::plugin::PluginError;
use wasmill_core::schema::{DataType, Field, Schema};
use wasmill_core::time::Micros;
use wasmill_core::transform::{InputDescription, OutputDescription, Requirement, Retime, TransformDescription};

use crate::bindings::exports::wasmill::operator::{aggregator, transformer};
use crate::bindings::wasmill::operator::types;
use crate::lift;
use crate::subtask::{Failure, Subtask};

/// Ports that the host feeds itself.
const RESERVED_PORTS: [&str; 2] = ["late", "dead-letter"];
/// Ports, columns and accumulators that one description may name.
const NAMES_MAX: usize = 4096;
/// Bytes of a name.
const NAME_BYTES_MAX: usize = 256;

/// Asks a `transform`.
pub(crate) fn transform(
    subtask: &mut Subtask<transformer::Guest>,
    config: &str,
    inputs: &[InputDescription],
) -> Result<TransformDescription, PluginError> {
    let answer = subtask.describe(config, inputs, |guest, store, config, inputs| {
        guest.call_describe(store, config, inputs)
    });
    check_transform(answered(answer)?, inputs).map_err(illegal)
}

/// Asks an `aggregate`.
pub(crate) fn aggregate(
    subtask: &mut Subtask<aggregator::Guest>,
    config: &str,
    input: &InputDescription,
) -> Result<AggregateDescription, PluginError> {
    let inputs = std::slice::from_ref(input);
    let answer = subtask.describe(config, inputs, |guest, store, config, inputs| {
        guest.call_describe(store, config, inputs[0].clone())
    });
    let described = answered(answer)?;
    check_migration(
        &described.migrates_from,
        described.version,
        subtask.migrates(),
        "accumulators",
    )
    .map_err(illegal)?;
    check_aggregate(described, input).map_err(illegal)
}

pub(crate) use content::content;
pub(crate) use keyed::keyed;

fn answered<T>(answer: Result<Result<T, Failure>, Fault>) -> Result<T, PluginError> {
    match answer {
        Ok(Ok(description)) => Ok(description),
        Ok(Err(Failure { message, .. })) => Err(PluginError::Refused { message }),
        Err(fault) => Err(PluginError::Faulty {
            message: fault.to_string(),
        }),
    }
}

fn illegal(Illegal(message): Illegal) -> PluginError {
    PluginError::Faulty {
        message: format!("the plugin described {message}"),
    }
}

/// What was described and must not be.
#[derive(Debug)]
struct Illegal(String);

fn check_transform(
    described: transformer::Description,
    inputs: &[InputDescription],
) -> Result<TransformDescription, Illegal> {
    let inputs = requirements(&described.inputs, inputs)?;
    let outputs = ports(described.outputs)?;
    let retime = match described.event_time {
        Some(retime) => Some(check_retime(&retime, &outputs[0].schema)?),
        None => None,
    };
    Ok(TransformDescription {
        inputs,
        outputs,
        retime,
    })
}

fn check_aggregate(
    described: aggregator::Description,
    input: &InputDescription,
) -> Result<AggregateDescription, Illegal> {
    if described.accumulators.is_empty() {
        return Err(Illegal("no accumulator".to_owned()));
    }
    if described.results.is_empty() {
        return Err(Illegal("no result".to_owned()));
    }
    distinct(
        "accumulator",
        described.accumulators.iter().map(|a| a.field.name.as_str()),
    )?;
    distinct("result", described.results.iter().map(|field| field.name.as_str()))?;
    Ok(AggregateDescription {
        input: requirement(&described.input, input)?,
        accumulators: described
            .accumulators
            .into_iter()
            .map(accumulator)
            .collect::<Result<_, _>>()?,
        results: described.results.into_iter().map(field).collect::<Result<_, _>>()?,
        commutative: described.commutative,
        version: described.version,
    })
}

/// One requirement per input.
fn requirements(described: &[types::Requirement], inputs: &[InputDescription]) -> Result<Vec<Requirement>, Illegal> {
    if described.len() != inputs.len() {
        return Err(Illegal(format!(
            "{} inputs, but the topology gives it {}",
            described.len(),
            inputs.len()
        )));
    }
    let requirements = described.iter().zip(inputs);
    requirements
        .map(|(required, input)| requirement(required, input))
        .collect()
}

/// Ports, of which there is one at least.
fn ports(described: Vec<types::Port>) -> Result<Vec<OutputDescription>, Illegal> {
    if described.is_empty() {
        return Err(Illegal("no output".to_owned()));
    }
    distinct("port", described.iter().map(|port| port.name.as_str()))?;
    described.into_iter().map(port).collect()
}

/// Versions that state can be carried from: older ones, each once, by a plugin that carries.
fn check_migration(from: &[u32], version: u32, migrates: bool, what: impl fmt::Display) -> Result<(), Illegal> {
    for (i, &old) in from.iter().enumerate() {
        if old >= version {
            return Err(Illegal(format!(
                "that {what} of version {version} migrate from version {old}, which is not older"
            )));
        }
        if from[..i].contains(&old) {
            return Err(Illegal(format!("that {what} migrate from version {old} twice")));
        }
    }
    match from.first() {
        Some(old) if !migrates => Err(Illegal(format!(
            "that {what} migrate from version {old}, but does not export `migration`"
        ))),
        _ => Ok(()),
    }
}

fn requirement(required: &types::Requirement, input: &InputDescription) -> Result<Requirement, Illegal> {
    distinct("needed column", required.columns.iter().map(String::as_str))?;
    let place = |name: &String| {
        input.schema.index_of(name).ok_or_else(|| {
            Illegal(format!(
                "that it needs column \"{name}\", which \"{}\" does not have ({})",
                input.name, input.schema
            ))
        })
    };
    Ok(Requirement {
        columns: required.columns.iter().map(place).collect::<Result<_, _>>()?,
        event_times: required.event_times,
        changelog: required.changelog,
    })
}

fn port(described: types::Port) -> Result<OutputDescription, Illegal> {
    let types::Port {
        name,
        schema,
        changelog,
    } = described;
    if RESERVED_PORTS.contains(&name.as_str()) {
        return Err(Illegal(format!(
            "port \"{name}\", whose name the host keeps for itself"
        )));
    }
    word("port", &name)?;
    Ok(OutputDescription {
        name: name.into(),
        schema: Schema::new(fields(schema.fields)?).map_err(|error| Illegal(error.to_string()))?,
        changelog,
    })
}

/// A name that people write into topologies and commands.
fn word(what: &str, name: &str) -> Result<(), Illegal> {
    let legal = |c: char| c.is_ascii_alphanumeric() || c == '-' || c == '_';
    if name.chars().all(legal) {
        return Ok(());
    }
    Err(Illegal(format!(
        "{what} \"{name}\", whose name has other signs than letters, digits, - and _"
    )))
}

fn fields(described: Vec<types::FieldResult>) -> Result<Vec<Field>, Illegal> {
    distinct("column", described.iter().map(|field| field.name.as_str()))?;
    described.into_iter().map(field).collect()
}

fn field(described: types::FieldResult) -> Result<Field, Illegal> {
    let types::FieldResult {
        name,
        data_type,
        nullable,
    } = described;
    let Some(known) = DataType::from_name(&data_type) else {
        let types = DataType::ALL.map(DataType::name).join(", ");
        return Err(Illegal(format!(
            "column \"{name}\" of type \"{data_type}\"; this host knows {types}"
        )));
    };
    Ok(Field {
        name: Arc::from(name),
        data_type: known,
        nullable,
    })
}

fn accumulator(described: aggregator::Accumulator) -> Result<Accumulator, Illegal> {
    let field = field(described.field)?;
    let Some(initial) = lift::scalar(described.initial, &field) else {
        return Err(Illegal(format!(
            "accumulator \"{field}\" with an initial value that it cannot hold"
        )));
    };
    Ok(Accumulator { field, initial })
}

fn check_retime(described: &transformer::Retime, schema: &Schema) -> Result<Retime, Illegal> {
    let name = &described.column;
    let Some(column) = schema.index_of(name) else {
        return Err(Illegal(format!(
            "column \"{name}\" as the event time, but the main output has no such column ({schema})"
        )));
    };
    let field = &schema.fields()[column];
    if !matches!(field.data_type, DataType::Int64 | DataType::Timestamp) || field.nullable {
        return Err(Illegal(format!(
            "column \"{field}\" as the event time, which must be a timestamp or int64 that is not nullable"
        )));
    }
    Ok(Retime {
        column,
        lag: Micros(described.lag),
    })
}

/// Names that are there, not too long, not too many, and each once.
fn distinct<'a>(what: &str, names: impl ExactSizeIterator<Item = &'a str>) -> Result<(), Illegal> {
    if names.len() > NAMES_MAX {
        return Err(Illegal(format!(
            "{} of \"{what}\"; there may be {NAMES_MAX}",
            names.len()
        )));
    }
    let mut seen = HashSet::with_capacity(names.len());
    for name in names {
        if name.is_empty() || name.len() > NAME_BYTES_MAX {
            return Err(Illegal(format!(
                "a {what} whose name has {} bytes; a name has 1 to {NAME_BYTES_MAX}",
                name.len()
            )));
        }
        if !seen.insert(name) {
            return Err(Illegal(format!("{what} \"{name}\" twice")));
        }
    }
    Ok(())
}
