//! What a `keyed` says of itself: its inputs and ports, its tables of state, its timers.

use std::sync::Arc;

use wasmill_core::column::Scalar;
use wasmill_core::keyed::{KeyedDescription, TIMER_SOURCE, TableDescription, TableKind, TimeDomain, TimerKind, Ttl};
use wasmill_core::plugin::PluginError;
use wasmill_core::schema::{Field, Schema};
use wasmill_core::time::Micros;
use wasmill_core::transform::InputDescription;

use super::{Illegal, answered, check_migration, distinct, fields, illegal, ports, requirements, word};
use crate::bindings::exports::wasmill::operator::keyed_operator;
use crate::bindings::wasmill::operator::{state_types, types};
use crate::imports::state::kind_name;
use crate::lift;
use crate::subtask::Subtask;

/// Inputs that can be told apart in the events of a call.
const INPUTS_MAX: usize = TIMER_SOURCE as usize;

/// Asks a `keyed`.
pub(crate) fn keyed(
    subtask: &mut Subtask<keyed_operator::Guest>,
    config: &str,
    inputs: &[InputDescription],
    key: &[Field],
) -> Result<KeyedDescription, PluginError> {
    let names: Vec<&str> = key.iter().map(|field| &*field.name).collect();
    if inputs.len() > INPUTS_MAX {
        return Err(PluginError::Refused {
            message: format!(
                "{} inputs; an operator with keys has at most {INPUTS_MAX}",
                inputs.len()
            ),
        });
    }
    let answer = subtask.describe(config, inputs, |guest, store, config, inputs| {
        guest.call_describe(store, config, inputs, &names)
    });
    check(answered(answer)?, inputs, subtask.migrates()).map_err(illegal)
}

fn check(
    described: keyed_operator::Description,
    inputs: &[InputDescription],
    migrates: bool,
) -> Result<KeyedDescription, Illegal> {
    let inputs = requirements(&described.inputs, inputs)?;
    let outputs = ports(described.outputs)?;
    distinct("table", described.tables.iter().map(|table| table.name.as_str()))?;
    distinct("timer", described.timers.iter().map(|timer| timer.name.as_str()))?;
    let tables = described.tables.into_iter().map(|table| check_table(table, migrates));
    let timers = described.timers.into_iter().map(|timer| {
        word("timer", &timer.name)?;
        Ok(TimerKind {
            name: Arc::from(timer.name),
            domain: domain(timer.domain),
        })
    });
    Ok(KeyedDescription {
        inputs,
        outputs,
        tables: tables.collect::<Result<_, _>>()?,
        timers: timers.collect::<Result<_, _>>()?,
    })
}

fn domain(domain: state_types::TimeDomain) -> TimeDomain {
    match domain {
        state_types::TimeDomain::Event => TimeDomain::Event,
        state_types::TimeDomain::Processing => TimeDomain::Processing,
    }
}

fn check_table(described: state_types::StateTable, migrates: bool) -> Result<TableDescription, Illegal> {
    let name = described.name;
    word("table", &name)?;
    let of = |illegal: Illegal| Illegal(format!("table \"{name}\" with {}", illegal.0));
    let kind = match described.kind {
        state_types::TableKind::Value => TableKind::Value,
        state_types::TableKind::ValueOnDemand => TableKind::ValueOnDemand,
        state_types::TableKind::Appended => TableKind::List,
        state_types::TableKind::Ordered => TableKind::Map,
    };
    let fields = fields(described.fields).map_err(of)?;
    if fields.is_empty() {
        return Err(of(Illegal("no column".to_owned())));
    }
    let sort_key = described.sort_key as usize;
    match kind {
        TableKind::Map if sort_key == 0 || sort_key > fields.len() => {
            return Err(of(Illegal(format!(
                "a sort key of {sort_key} columns; an ordered table has one of 1 to {}, all of its columns",
                fields.len()
            ))));
        }
        TableKind::Value | TableKind::ValueOnDemand | TableKind::List if sort_key != 0 => {
            return Err(of(Illegal(format!(
                "a sort key, which a table of the kind `{}` does not have",
                kind_name(kind)
            ))));
        }
        _ => {}
    }
    let initial = initial(described.initial, kind, &fields).map_err(of)?;
    let ttl = match described.ttl {
        Some(state_types::Ttl { after: 0, .. }) => {
            return Err(of(Illegal(
                "a TTL of no time, after which nothing would be kept".to_owned(),
            )));
        }
        Some(ttl) => Some(Ttl {
            after: Micros(ttl.after),
            domain: domain(ttl.domain),
        }),
        None => None,
    };
    check_migration(
        &described.migrates_from,
        described.version,
        migrates,
        format_args!("the rows of table \"{name}\""),
    )?;
    Ok(TableDescription {
        kind,
        sort_key,
        schema: Schema::new(fields).map_err(|error| Illegal(error.to_string()))?,
        initial,
        ttl,
        version: described.version,
        migrates_from: described.migrates_from,
        name: Arc::from(name),
    })
}

/// What a new key has: a value for each column that it can hold, for the kinds of tables with one row a key.
fn initial(described: Vec<types::Scalar>, kind: TableKind, fields: &[Field]) -> Result<Vec<Scalar>, Illegal> {
    let expected = match kind {
        TableKind::Value | TableKind::ValueOnDemand => fields.len(),
        TableKind::List | TableKind::Map => 0,
    };
    if described.len() != expected {
        return Err(Illegal(format!(
            "{} initial values; one of the kind `{}` and {} columns has {expected}",
            described.len(),
            kind_name(kind),
            fields.len()
        )));
    }
    let values = described.into_iter().zip(fields).map(|(value, field)| {
        lift::scalar(value, field)
            .ok_or_else(|| Illegal(format!("an initial value that its column \"{field}\" cannot hold")))
    });
    values.collect()
}
