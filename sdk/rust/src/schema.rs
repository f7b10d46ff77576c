//! Compares what an operator reads with what an input has, in messages that say what to do.

use crate::{
    bindings::types as wit,
    column::RawBatch,
    fault::Failure,
    types::{ColumnSpec, DataType},
};

/// A message names at most so many columns.
const NAMES_MAX: usize = 20;

pub(crate) fn field(spec: &ColumnSpec) -> wit::Field {
    wit::Field {
        name: spec.name.to_owned(),
        data_type: spec.data_type.name().to_owned(),
        nullable: spec.nullable,
    }
}

pub(crate) fn requirement(columns: &[ColumnSpec], event_times: bool) -> wit::Requirement {
    wit::Requirement {
        columns: columns.iter().map(|column| column.name.to_owned()).collect(),
        event_times,
        changelog: false,
    }
}

/// Whether the input has the columns.
pub(crate) fn require(input: &wit::Input, columns: &[ColumnSpec]) -> Result<(), Failure> {
    columns.iter().try_for_each(|spec| require_column(input, spec))
}

fn require_column(input: &wit::Input, spec: &ColumnSpec) -> Result<(), Failure> {
    let Some(field) = input.schema.fields.iter().find(|field| field.name == spec.name) else {
        return Err(Failure::new(format!(
            "input `{}` has no column `{}`, which the operator reads as {}; it has {}. Add the column to the schema of \
             the source, or to the outputs of the operator before",
            input.name,
            spec.name,
            spec.data_type,
            names(&input.schema),
        )));
    };
    fits(&format!("input `{}`", input.name), field, spec.data_type, spec.nullable)
}

/// Whether a column that `owner` has can be read in this way.
pub(crate) fn fits(owner: &str, field: &wit::Field, data_type: DataType, nullable: bool) -> Result<(), Failure> {
    if field.data_type != data_type.name() {
        let mend = match DataType::from_name(&field.data_type) {
            Some(found) => format!(
                "or read it as `{}` in the operator",
                optional(found.rust(), field.nullable)
            ),
            None => "or leave it out: the operator's SDK does not know that type".to_owned(),
        };
        return Err(Failure::new(format!(
            "column `{}` of {owner} is {}, and the operator reads it as {data_type}. Change its type in the topology, {mend}",
            field.name, field.data_type,
        )));
    }
    if field.nullable && !nullable {
        return Err(Failure::new(format!(
            "column `{}` of {owner} may be null, and the operator reads it as never null. Drop `nullable = true` \
             from the column, or read it as `{}` in the operator",
            field.name,
            optional(data_type.rust(), true),
        )));
    }
    Ok(())
}

/// The columns of a key, as an input has them.
pub(crate) fn key(input: &wit::Input, key: &[String]) -> Result<wit::Schema, Failure> {
    let field = |name: &String| {
        let field = input.schema.fields.iter().find(|field| field.name == *name);
        field
            .cloned()
            .ok_or_else(|| Failure::new(format!("input `{}` has no key column `{name}`", input.name)))
    };
    Ok(wit::Schema {
        fields: key.iter().map(field).collect::<Result<_, _>>()?,
    })
}

/// Those of the key columns of a call that an operator reads, in its order.
pub(crate) fn key_columns(read: &[usize], columns: Vec<wit::Column>, rows: usize) -> Result<RawBatch, Failure> {
    let given = columns.len();
    let mut columns: Vec<_> = columns.into_iter().map(Some).collect();
    let take = |&at: &usize| {
        let column = columns.get_mut(at).and_then(Option::take);
        column.ok_or_else(|| {
            Failure::new(format!(
                "the call has {given} key columns, and column {at} is needed once"
            ))
        })
    };
    Ok(RawBatch::new(wit::Batch {
        rows: rows as u32,
        event_times: Vec::new(),
        kinds: Vec::new(),
        columns: read.iter().map(take).collect::<Result<_, _>>()?,
    }))
}

fn optional(rust: &str, nullable: bool) -> String {
    if nullable {
        format!("Option<{rust}>")
    } else {
        rust.to_owned()
    }
}

pub(crate) fn names(schema: &wit::Schema) -> String {
    if schema.fields.is_empty() {
        return "no columns".to_owned();
    }
    let names: Vec<String> = schema
        .fields
        .iter()
        .take(NAMES_MAX)
        .map(|field| format!("`{}` {}", field.name, field.data_type))
        .collect();
    let more = schema.fields.len().saturating_sub(NAMES_MAX);
    if more == 0 {
        names.join(", ")
    } else {
        format!("{}, and {more} more", names.join(", "))
    }
}

/// Whether two inputs of an operator that passes columns through have one schema.
pub(crate) fn same(first: &wit::Input, other: &wit::Input) -> Result<(), Failure> {
    if first.schema == other.schema {
        return Ok(());
    }
    Err(Failure::new(format!(
        "inputs `{}` and `{}` have different columns, and the operator passes them on: {} against {}. Give both the \
         same schema",
        first.name,
        other.name,
        names(&first.schema),
        names(&other.schema),
    )))
}

pub(crate) fn describe_type(field: &wit::Field) -> String {
    format!(
        "`{}`{}",
        field.data_type,
        if field.nullable { " that may be null" } else { "" }
    )
}
