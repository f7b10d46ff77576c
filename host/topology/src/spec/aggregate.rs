//! `aggregate`: what a window computes.

use super::{Expression, Plugin, expression, plugin};
use crate::codes;
use crate::document::{Entry, Table, Value};
use crate::place::{Place, Word};
use crate::reader::Reader;

/// One aggregate as written.
pub(crate) struct Aggregate {
    /// The output column.
    pub(crate) name: Word,
    pub(crate) function: Function,
}

/// What computes it.
pub(crate) enum Function {
    Builtin(Expression),
    Plugin(Box<PluginAggregate>),
}

/// A Wasm aggregate as written.
pub(crate) struct PluginAggregate {
    pub(crate) plugin: Plugin,
    /// The columns that it sees; `None`: all.
    pub(crate) columns: Option<Vec<Word>>,
    pub(crate) place: Place,
}

/// Reads `aggregate`.
pub(super) fn read(operator: &Reader<'_>) -> Vec<Aggregate> {
    let help = "name what is computed, as in `aggregate = { flights = \"count()\" }`";
    let Some(item) = operator.get("aggregate") else {
        operator.missing(
            "aggregate",
            "name what is computed, as in `aggregate = { flights = \"count()\" }`, or a `plugin` of the world `window`, \
             which gets all rows of each window",
        );
        return Vec::new();
    };
    let Some(table) = operator.table("aggregate") else {
        return Vec::new();
    };
    if table.entries.is_empty() {
        operator.invalid(item, "`aggregate` is empty", help);
    }
    table.entries.iter().filter_map(|entry| one(operator, entry)).collect()
}

fn one(operator: &Reader<'_>, entry: &Entry) -> Option<Aggregate> {
    let name = Word {
        text: entry.key.clone(),
        place: entry.place.clone(),
    };
    if name.text.trim().is_empty() {
        operator.problems.error(
            codes::INVALID_VALUE,
            "an aggregate has no name",
            &entry.place,
            "the key before the `=` is the name of the output column",
        );
        return None;
    }
    let function = match &entry.item.value {
        Value::String(text) => Function::Builtin(expression::parse(text, &entry.item.place, operator.problems)?),
        Value::Table(table) => Function::Plugin(Box::new(of_plugin(operator, &name.text, table)?)),
        _ => {
            operator.wrong_type(
                &format!("aggregate.{}", entry.key),
                &entry.item,
                "an expression such as \"avg(delay)\", or a table with a `plugin`",
            );
            return None;
        }
    };
    Some(Aggregate { name, function })
}

fn of_plugin(operator: &Reader<'_>, name: &str, table: &Table) -> Option<PluginAggregate> {
    let called = format!("aggregate `{name}` of {}", operator.name());
    let reader = Reader::new(table, called, operator.problems);
    let columns = reader.words("columns");
    let plugin = plugin::read(&reader);
    reader.finish();
    Some(PluginAggregate {
        plugin: plugin?,
        columns,
        place: table.place.clone(),
    })
}
