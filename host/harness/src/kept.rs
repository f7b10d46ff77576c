//! The state and the timers of keyed operators, as tables that tests compare.

use wasmill_core::column::Value as Cell;
use wasmill_core::fault::Fault;
use wasmill_core::plan::{KeyedNode, NodeKind, Plan};
use wasmill_core::schema::{DataType, Field};
use wasmill_operators::inspect::{Kept, inspect};

use crate::simulation::Saved;
use crate::value;

/// The name of the table of timers among a node's tables. A guest's table is not called so.
pub(crate) const TIMERS: &str = "timers of the operator";

/// The column of a timer's kind.
pub(crate) const TIMER: &str = "_timer";

/// What a keyed operator keeps under one name.
#[derive(Clone, Debug)]
pub(crate) struct KeptTable {
    /// The node, by its place in the plan.
    pub(crate) node: usize,
    pub(crate) name: String,
    /// The key's columns, then the table's.
    pub(crate) columns: Vec<Field>,
    /// Of a guest's table, its number.
    number: Option<usize>,
    key: usize,
    /// The names of kinds of timers.
    timers: Vec<String>,
}

/// The tables of all keyed operators.
pub(crate) fn tables(plan: &Plan) -> Vec<KeptTable> {
    let keyed = plan.nodes.iter().enumerate().filter_map(|(at, node)| match &node.kind {
        NodeKind::Keyed(keyed) => Some((at, &**keyed)),
        _ => None,
    });
    keyed.flat_map(|(at, keyed)| of_node(plan, at, keyed)).collect()
}

fn of_node(plan: &Plan, at: usize, keyed: &KeyedNode) -> Vec<KeptTable> {
    let key = key_fields(plan, at, keyed);
    let mut tables = Vec::new();
    for (number, table) in keyed.description.tables.iter().enumerate() {
        let own = table.schema.fields();
        let is_taken = |name: &str| own.iter().any(|field| &*field.name == name);
        let mut columns: Vec<Field> = key.clone();
        for field in &mut columns {
            if is_taken(&field.name) {
                field.name = format!("key.{}", field.name).into();
            }
        }
        columns.extend_from_slice(own);
        tables.push(KeptTable {
            node: at,
            name: table.name.to_string(),
            columns,
            number: Some(number),
            key: key.len(),
            timers: Vec::new(),
        });
    }
    let mut columns = key.clone();
    columns.push(Field::required(TIMER, DataType::Utf8));
    columns.push(Field::required("_time", DataType::Timestamp));
    columns.push(Field::required("_tag", DataType::Int64));
    tables.push(KeptTable {
        node: at,
        name: TIMERS.to_owned(),
        columns,
        number: None,
        key: key.len(),
        timers: keyed
            .description
            .timers
            .iter()
            .map(|kind| kind.name.to_string())
            .collect(),
    });
    tables
}

fn key_fields(plan: &Plan, at: usize, keyed: &KeyedNode) -> Vec<Field> {
    let schema = &plan.stream(plan.nodes[at].inputs[0]).schema;
    keyed.key[0]
        .iter()
        .map(|&column| schema.fields()[column].clone())
        .collect()
}

impl KeptTable {
    pub(crate) fn is_timers(&self) -> bool {
        self.number.is_none()
    }

    /// Of timers, the names of their kinds.
    pub(crate) fn timer_kinds(&self) -> &[String] {
        &self.timers
    }

    /// The rows, each with its values as JSON, sorted.
    ///
    /// # Errors
    /// The state is not of this plan.
    pub(crate) fn rows(&self, plan: &Plan, saved: &Saved) -> Result<Vec<Vec<String>>, Fault> {
        let NodeKind::Keyed(keyed) = &plan.nodes[self.node].kind else {
            return Ok(Vec::new());
        };
        let types: Vec<DataType> = self.columns[..self.key].iter().map(|field| field.data_type).collect();
        let mut rows = Vec::new();
        for (_, entry, value) in &saved.entries[self.node] {
            let cells = match inspect(keyed, &types, entry, value)? {
                Some(Kept::Row { table, key, row }) if Some(table) == self.number => key
                    .iter()
                    .chain(&row)
                    .map(|value| value::text(value.as_value()))
                    .collect(),
                Some(Kept::Timer { kind, key, tag, time }) if self.is_timers() => {
                    let mut cells: Vec<String> = key.iter().map(|value| value::text(value.as_value())).collect();
                    let name = self.timers.get(kind).map_or("", String::as_str);
                    cells.push(value::text(Cell::Utf8(name)));
                    cells.push(value::text(Cell::Timestamp(time)));
                    cells.push(value::text(Cell::Int64(tag)));
                    cells
                }
                _ => continue,
            };
            rows.push(cells);
        }
        rows.sort();
        Ok(rows)
    }
}
