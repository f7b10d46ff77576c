//! What a test expects, by type of column, and whether it came.

use std::ops::Range;

use wasmill_core::column::Value as Cell;
use wasmill_core::kind::Kind;
use wasmill_core::schema::DataType;
use wasmill_core::time::Timestamp;
use wasmill_topology::codes;
use wasmill_topology::reading::{Entry, Item, Problems, Table, Value, Word, did_you_mean, list as names};

use crate::diff::{self, Line};
use crate::kept::{KeptTable, TIMER};
use crate::rows::typed;
use crate::run::HIDDEN;
use crate::spec::{MAIN, StepSpec};
use crate::subject::{Output, Tested, unknown};
use crate::value;

/// Rows that are expected at a step.
#[derive(Debug)]
pub(crate) struct Check {
    pub(crate) span: Range<usize>,
    /// The output, or the table of a keyed operator, by number.
    pub(crate) of: usize,
    pub(crate) rows: Vec<Wanted>,
}

/// A row that is expected: a value for each column that is compared, as JSON.
pub(crate) type Wanted = Vec<Option<String>>;

/// What a step expects.
#[derive(Debug, Default)]
pub(crate) struct Checks {
    pub(crate) outputs: Vec<Check>,
    pub(crate) kept: Vec<Check>,
    /// A part of the message of the fault that the step ends with.
    pub(crate) fault: Option<(String, Range<usize>)>,
}

/// Reads what a step expects.
pub(crate) fn read(step: &StepSpec, tested: &Tested, kept: &[KeptTable], problems: &Problems) -> Checks {
    Checks {
        outputs: step
            .expect
            .as_ref()
            .map(|item| outputs(item, tested, problems))
            .unwrap_or_default(),
        kept: [(&step.state, false), (&step.timers, true)]
            .into_iter()
            .filter_map(|(item, timers)| Some((item.as_ref()?, timers)))
            .flat_map(|(item, timers)| tables(item, timers, tested, kept, problems))
            .collect(),
        fault: step
            .fault
            .as_ref()
            .map(|word| (word.text.clone(), word.place.span.clone())),
    }
}

fn outputs(item: &Item, tested: &Tested, problems: &Problems) -> Vec<Check> {
    let find = |name: &str| tested.outputs.iter().position(|output| output.name == name);
    let Value::Table(table) = &item.value else {
        let main = if tested.is_operator {
            find(MAIN)
        } else {
            (tested.outputs.len() == 1).then_some(0)
        };
        let Some(main) = main else {
            let help = did_you_mean("", "the outputs are", tested.output_names().iter().map(String::as_str));
            let message = "`expect` does not say of which output";
            problems.error(
                codes::TEST_NAME,
                message,
                &item.place,
                format!("write `expect.NAME = [...]`; {help}"),
            );
            return Vec::new();
        };
        return output(main, item, tested, problems).into_iter().collect();
    };
    let checks = table.entries.iter().filter_map(|entry| {
        let Some(of) = find(&entry.key) else {
            unknown(problems, &word(entry), "output", &tested.output_names());
            return None;
        };
        output(of, &entry.item, tested, problems)
    });
    checks.collect()
}

fn output(of: usize, item: &Item, tested: &Tested, problems: &Problems) -> Option<Check> {
    let output = &tested.outputs[of];
    let rows = list(item, "expect", problems)?;
    let rows = rows
        .iter()
        .map(|(row, item)| wanted(row, item, output, problems))
        .collect();
    Some(Check {
        span: item.place.span.clone(),
        of,
        rows,
    })
}

/// The tables of a list of rows.
fn list<'d>(item: &'d Item, key: &str, problems: &Problems) -> Option<Vec<(&'d Table, &'d Item)>> {
    let wrong = |item: &Item| {
        problems.error(
            codes::WRONG_TYPE,
            format!("`{key}` must be a list of rows"),
            &item.place,
            "write `[{ id = 1 }]`, or `[]` for none",
        );
    };
    let Value::Array(items) = &item.value else {
        wrong(item);
        return None;
    };
    let rows = items.iter().map(|item| {
        if let Value::Table(table) = &item.value {
            return Some((table, item));
        }
        wrong(item);
        None
    });
    rows.collect()
}

fn wanted(row: &Table, item: &Item, output: &Output, problems: &Problems) -> Wanted {
    let mut wanted: Wanted = vec![None; HIDDEN.len() + output.columns.len()];
    if output.changelog {
        wanted[0] = Some(format!("\"{}\"", Kind::Insert.name()));
    }
    let mut named = vec![false; output.columns.len()];
    let mut misspelt = false;
    for entry in &row.entries {
        let column = output
            .columns
            .iter()
            .position(|&column| *output.schema.fields()[column].name == *entry.key);
        if let Some(column) = column {
            named[column] = true;
            let data_type = output.schema.fields()[output.columns[column]].data_type;
            let value = typed(entry, data_type, None, problems);
            wanted[HIDDEN.len() + column] = value.map(|value| value::text(value.as_value()));
            continue;
        }
        match HIDDEN.iter().position(|hidden| *hidden == entry.key) {
            Some(0) => wanted[0] = kind(entry, problems),
            Some(hidden) => wanted[hidden] = hidden_time(entry, problems),
            None => {
                misspelt = true;
                let fields = output
                    .columns
                    .iter()
                    .map(|&column| &*output.schema.fields()[column].name);
                let names = fields.chain(HIDDEN);
                let message = format!("output `{}` has no column `{}`", output.name, entry.key);
                let help = did_you_mean(&entry.key, "the columns are", names);
                problems.error(codes::UNKNOWN_COLUMN, message, &entry.place, help);
            }
        }
    }
    if output.partial {
        return wanted;
    }
    let mut missing: Vec<&str> = Vec::new();
    for (column, _) in named.iter().enumerate().filter(|(_, named)| !**named) {
        let field = &output.schema.fields()[output.columns[column]];
        if !field.nullable {
            missing.push(&field.name);
        }
        wanted[HIDDEN.len() + column] = Some("null".to_owned());
    }
    if !missing.is_empty() && !misspelt {
        problems.error(
            codes::TEST_ROW,
            format!("a row of output `{}` has no {}", output.name, names(&missing)),
            &item.place,
            format!(
                "to leave columns out, name those that count: `columns` in [output.{}]",
                output.name
            ),
        );
    }
    wanted
}

fn kind(entry: &Entry, problems: &Problems) -> Option<String> {
    let names = || Kind::ALL.into_iter().map(Kind::name);
    let text = match &entry.item.value {
        Value::String(text) => text.value.as_str(),
        _ => "",
    };
    if names().any(|name| name == text) {
        return Some(format!("\"{text}\""));
    }
    let help = did_you_mean(text, "the kinds are", names());
    problems.error(codes::INVALID_VALUE, "this is no kind of row", &entry.item.place, help);
    None
}

fn hidden_time(entry: &Entry, problems: &Problems) -> Option<String> {
    let words = matches!(&entry.item.value, Value::String(text) if text.value == "none" || text.value == "end");
    match (&entry.item.value, value::time(&entry.item)) {
        (Value::String(text), _) if words && entry.key == HIDDEN[2] => Some(format!("\"{}\"", text.value)),
        (_, Some(Timestamp(micros))) => Some(value::text(Cell::Timestamp(micros))),
        _ => {
            let message = format!("`{}` must be a time", entry.key);
            let help = "write it as in \"2013-01-01T10:15:00Z\"";
            problems.error(codes::WRONG_TYPE, message, &entry.item.place, help);
            None
        }
    }
}

/// Expectations of tables or timers: of the one operator, or by node.
fn tables(item: &Item, timers: bool, tested: &Tested, kept: &[KeptTable], problems: &Problems) -> Vec<Check> {
    let node_name = |table: &KeptTable| tested.plan.nodes[table.node].id.to_string();
    if tested.is_operator {
        return of_node(item, timers, None, tested, kept, problems);
    }
    let Value::Table(nodes) = &item.value else {
        let message = "a topology has several operators: say of which one";
        let help = "write `expect-state.NODE.TABLE = [...]` or `expect-timers.NODE = [...]`";
        problems.error(codes::WRONG_TYPE, message, &item.place, help);
        return Vec::new();
    };
    let mut checks = Vec::new();
    for entry in &nodes.entries {
        let node = kept
            .iter()
            .find(|table| node_name(table) == entry.key)
            .map(|table| table.node);
        if node.is_none() {
            let mut names: Vec<String> = kept.iter().map(node_name).collect();
            names.dedup();
            unknown(problems, &word(entry), "keyed operator", &names);
            continue;
        }
        checks.extend(of_node(&entry.item, timers, node, tested, kept, problems));
    }
    checks
}

fn of_node(
    item: &Item,
    timers: bool,
    node: Option<usize>,
    tested: &Tested,
    kept: &[KeptTable],
    problems: &Problems,
) -> Vec<Check> {
    let here = |table: &KeptTable| node.is_none_or(|node| table.node == node);
    let one = |of: usize, item: &Item| {
        let rows = list(item, if timers { "expect-timers" } else { "expect-state" }, problems)?;
        let rows = rows
            .iter()
            .map(|(row, item)| wanted_kept(row, item, &kept[of], problems));
        Some(Check {
            span: item.place.span.clone(),
            of,
            rows: rows.collect(),
        })
    };
    let position = |matches: &dyn Fn(&KeptTable) -> bool| kept.iter().position(|table| here(table) && matches(table));
    if timers {
        let Some(of) = position(&|table| table.is_timers()) else {
            not_keyed(item, tested, problems);
            return Vec::new();
        };
        return one(of, item).into_iter().collect();
    }
    let Value::Table(tables) = &item.value else {
        problems.error(
            codes::WRONG_TYPE,
            "`expect-state` must say which table",
            &item.place,
            "write `expect-state.TABLE = [{ ... }]`, with the key's columns and the table's",
        );
        return Vec::new();
    };
    if position(&|_| true).is_none() {
        not_keyed(item, tested, problems);
        return Vec::new();
    }
    let checks = tables.entries.iter().filter_map(|entry| {
        let found = position(&|table| !table.is_timers() && table.name == entry.key);
        if found.is_none() {
            let names = kept.iter().filter(|table| here(table) && !table.is_timers());
            let names: Vec<String> = names.map(|table| table.name.clone()).collect();
            unknown(problems, &word(entry), "table", &names);
        }
        one(found?, &entry.item)
    });
    checks.collect()
}

fn not_keyed(item: &Item, tested: &Tested, problems: &Problems) {
    let what = if tested.is_operator {
        "the operator"
    } else {
        "the topology"
    };
    problems.error(
        codes::TEST_NAME,
        format!("{what} has no tables and no timers of its own"),
        &item.place,
        "only plugins of the world `keyed` have them; leave this out",
    );
}

fn wanted_kept(row: &Table, item: &Item, table: &KeptTable, problems: &Problems) -> Wanted {
    let mut wanted: Wanted = vec![None; table.columns.len()];
    let mut named = vec![false; table.columns.len()];
    let mut misspelt = false;
    let what = if table.is_timers() {
        "a timer".to_owned()
    } else {
        format!("a row of the table `{}`", table.name)
    };
    for entry in &row.entries {
        let Some(column) = table.columns.iter().position(|field| *field.name == *entry.key) else {
            misspelt = true;
            let names = table.columns.iter().map(|field| &*field.name);
            let message = format!("{what} has no column `{}`", entry.key);
            let help = did_you_mean(&entry.key, "the columns are", names);
            problems.error(codes::UNKNOWN_COLUMN, message, &entry.place, help);
            continue;
        };
        named[column] = true;
        if table.is_timers() && &*table.columns[column].name == TIMER {
            timer_exists(entry, table, problems);
        }
        let value = typed(entry, table.columns[column].data_type, None, problems);
        wanted[column] = value.map(|value| value::text(value.as_value()));
    }
    for (column, field) in table.columns.iter().enumerate().filter(|(column, _)| !named[*column]) {
        let is_tag = table.is_timers() && &*field.name == "_tag";
        if is_tag {
            wanted[column] = Some("0".to_owned());
        } else if field.nullable {
            wanted[column] = Some("null".to_owned());
        } else if !misspelt {
            let message = format!("{what} has no `{}`", field.name);
            let help = format!("the columns are {}", columns_of(table, DataType::name));
            problems.error(codes::TEST_ROW, message, &item.place, help);
        }
    }
    wanted
}

/// Reports a kind of timer that the plugin does not have.
fn timer_exists(entry: &Entry, table: &KeptTable, problems: &Problems) {
    let Value::String(text) = &entry.item.value else {
        return;
    };
    let kinds = table.timer_kinds();
    if !kinds.contains(&text.value) {
        let message = format!("the plugin has no timer `{}`", text.value);
        let help = did_you_mean(&text.value, "its timers are", kinds.iter().map(String::as_str));
        problems.error(codes::TEST_NAME, message, &entry.item.place, help);
    }
}

fn columns_of(table: &KeptTable, name: fn(DataType) -> &'static str) -> String {
    let columns = table
        .columns
        .iter()
        .map(|field| format!("`{}` ({})", field.name, name(field.data_type)));
    columns.collect::<Vec<_>>().join(", ")
}

fn word(entry: &Entry) -> Word {
    Word {
        text: entry.key.clone(),
        place: entry.place.clone(),
    }
}

/// Columns and rows as they are shown.
pub(crate) struct Shown<'a> {
    pub(crate) names: Vec<&'a str>,
    /// Which columns are shown of rows that nobody expected.
    pub(crate) shown: Vec<bool>,
}

impl<'a> Shown<'a> {
    /// The columns of an output; hidden ones where an expectation names them, or the output is a changelog.
    pub(crate) fn of_output(output: &'a Output, wanted: &[Wanted]) -> Self {
        let fields = output
            .columns
            .iter()
            .map(|&column| &*output.schema.fields()[column].name);
        let names: Vec<&str> = HIDDEN.into_iter().chain(fields).collect();
        let named = |column: usize| wanted.iter().any(|row| row[column].is_some());
        let shown = (0..names.len()).map(|column| match column {
            0 => output.changelog || named(0),
            1 | 2 => named(column),
            _ => !output.partial || wanted.is_empty() || named(column),
        });
        Self {
            shown: shown.collect(),
            names,
        }
    }

    /// The columns of a table.
    pub(crate) fn of_table(table: &'a KeptTable) -> Self {
        let names: Vec<&str> = table.columns.iter().map(|field| &*field.name).collect();
        Self {
            shown: vec![true; names.len()],
            names,
        }
    }

    /// All columns.
    pub(crate) fn all(mut self) -> Self {
        self.shown.fill(true);
        self
    }

    pub(crate) fn came(&self, row: &[String]) -> String {
        let cells = self.names.iter().zip(row).zip(&self.shown);
        value::object(
            cells
                .filter(|(_, shown)| **shown)
                .map(|((name, cell), _)| (*name, cell.as_str())),
        )
    }

    fn wanted(&self, row: &Wanted) -> String {
        let cells = self.names.iter().zip(row);
        value::object(cells.filter_map(|(name, cell)| Some((*name, cell.as_deref()?))))
    }
}

fn fits(wanted: &Wanted, came: &[String]) -> bool {
    wanted
        .iter()
        .zip(came)
        .all(|(wanted, came)| wanted.as_ref().is_none_or(|wanted| wanted == came))
}

/// Compares rows. `None`: they are what was expected.
pub(crate) fn compare(shown: &Shown<'_>, wanted: &[Wanted], came: &[Vec<String>], ordered: bool) -> Option<Vec<Line>> {
    let lines = if ordered {
        in_order(shown, wanted, came)
    } else {
        in_any_order(shown, wanted, came)
    };
    lines.iter().any(|line| !matches!(line, Line::Same(_))).then_some(lines)
}

fn in_order(shown: &Shown<'_>, wanted: &[Wanted], came: &[Vec<String>]) -> Vec<Line> {
    let expected: Vec<String> = wanted.iter().map(|row| shown.wanted(row)).collect();
    let came = came
        .iter()
        .map(|row| match wanted.iter().position(|wanted| fits(wanted, row)) {
            Some(at) => expected[at].clone(),
            None => shown.came(row),
        });
    diff::of_sequences(&expected, &came.collect::<Vec<_>>())
}

/// Rows that came stand in their order; each missing one behind what was expected before it.
fn in_any_order(shown: &Shown<'_>, wanted: &[Wanted], came: &[Vec<String>]) -> Vec<Line> {
    let mut taken: Vec<Option<usize>> = vec![None; wanted.len()];
    // What names more columns chooses first.
    let mut by_columns: Vec<usize> = (0..wanted.len()).collect();
    by_columns.sort_by_key(|&at| std::cmp::Reverse(wanted[at].iter().flatten().count()));
    let mut free = vec![true; came.len()];
    for at in by_columns {
        if let Some(found) = (0..came.len()).find(|&row| free[row] && fits(&wanted[at], &came[row])) {
            free[found] = false;
            taken[at] = Some(found);
        }
    }
    let mut behind: Vec<Vec<usize>> = vec![Vec::new(); came.len() + 1];
    let mut last = 0;
    for (at, found) in taken.iter().enumerate() {
        match found {
            Some(found) => last = found + 1,
            None => behind[last].push(at),
        }
    }
    let missing = |at: &usize| Line::Missing(shown.wanted(&wanted[*at]));
    let mut lines: Vec<Line> = behind[0].iter().map(missing).collect();
    for (row, free) in free.iter().enumerate() {
        let text = shown.came(&came[row]);
        lines.push(if *free {
            Line::Unexpected(text)
        } else {
            Line::Same(text)
        });
        lines.extend(behind[row + 1].iter().map(missing));
    }
    lines
}
