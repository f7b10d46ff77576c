//! What is known of a plugin: for people, and as JSON.

use std::fmt::Write as _;

use serde_json::{Value, json};

use wasmill_component::PluginReport;
use wasmill_core::aggregate::AggregateDescription;
use wasmill_core::keyed::{KeyedDescription, TableDescription, TableKind, TimeDomain, TimerKind};
use wasmill_core::plugin::World;
use wasmill_core::schema::Field;
use wasmill_core::transform::{InputDescription, OutputDescription, Requirement, TransformDescription};

use super::{Answer, Described};

/// For people.
pub(super) fn human(report: &PluginReport, described: Option<&Described>) -> String {
    let mut text = format!("{}\n", report.path.display());
    let mut line = |name: &str, value: &str| {
        let _ = writeln!(text, "  {name:<14}{value}");
    };
    if let Some(name) = &report.name {
        line("name", name);
    }
    let worlds: Vec<String> = report.worlds.iter().map(|world| world.name().to_owned()).collect();
    line("world", &words(&worlds));
    line("contract", report.contract.as_deref().unwrap_or("none"));
    line("size", &format!("{} bytes", report.size_bytes));
    line("digest", &digest(report));
    line("imports", &words(&report.imports));
    line("exports", &words(&report.exports));
    for (what, tools) in &report.producers {
        let tools: Vec<String> = tools
            .iter()
            .map(|(name, version)| format!("{name} {version}").trim().to_owned())
            .collect();
        line(what, &tools.join(", "));
    }
    match &report.served {
        Ok(_) => line("runs here", "yes"),
        Err(error) => line("runs here", &format!("no: {error}")),
    }
    match described {
        Some(described) => text.push_str(&human_description(described)),
        None => line("columns", &how_to_ask(&report.worlds)),
    }
    text
}

/// What to give, so that the plugin says what it needs and gives.
fn how_to_ask(worlds: &[World]) -> String {
    let key = match worlds {
        [World::Keyed] => " and --key COLUMN",
        [World::Window] => " and, in a window by key, --key COLUMN",
        _ => "",
    };
    format!("it says what it needs and gives with --input 'NAME: TYPE, ...'{key}")
}

fn digest(report: &PluginReport) -> String {
    report.digest.iter().fold("sha256:".to_owned(), |mut text, byte| {
        let _ = write!(text, "{byte:02x}");
        text
    })
}

fn words(words: &[String]) -> String {
    if words.is_empty() {
        "none".to_owned()
    } else {
        words.join(", ")
    }
}

fn needs(requirement: &Requirement, input: &InputDescription) -> Vec<String> {
    let column = |&column: &usize| input.schema.fields()[column].to_string();
    let mut needs: Vec<String> = requirement.columns.iter().map(column).collect();
    if requirement.event_times {
        needs.push("the event time".to_owned());
    }
    needs
}

fn human_description(described: &Described) -> String {
    let mut lines = Vec::new();
    match &described.answer {
        Answer::Transform(description) => transform(&mut lines, described, description),
        Answer::Aggregate(description) => aggregate(&mut lines, &described.inputs[0], description),
        Answer::Keyed(description) => keyed(&mut lines, described, description),
        Answer::Content(description) => {
            lines.push(("needs", words(&needs(&description.input, &described.inputs[0]))));
            lines.push(("key", fields(&described.key)));
            gives(&mut lines, &description.outputs);
            lines.push(("before them", "the key, window_start and window_end".to_owned()));
        }
    }
    lines.into_iter().fold(String::new(), |mut text, (name, value)| {
        let _ = writeln!(text, "  {name:<14}{value}");
        text
    })
}

type Lines = Vec<(&'static str, String)>;

fn transform(lines: &mut Lines, described: &Described, description: &TransformDescription) {
    for (requirement, input) in description.inputs.iter().zip(&described.inputs) {
        lines.push(("needs", words(&needs(requirement, input))));
    }
    gives(lines, &description.outputs);
    if let (Some(retime), Some(main)) = (&description.retime, description.outputs.first()) {
        let column = &main.schema.fields()[retime.column].name;
        lines.push((
            "event time",
            format!("{column}, at most {} before the row's", retime.lag),
        ));
    }
}

fn aggregate(lines: &mut Lines, input: &InputDescription, description: &AggregateDescription) {
    lines.push(("needs", words(&needs(&description.input, input))));
    lines.push(("keeps", fields(description.accumulators.iter().map(|a| &a.field))));
    lines.push(("gives", fields(&description.results)));
    let order = if description.commutative {
        "any order of rows"
    } else {
        "rows in event-time order"
    };
    lines.push(("order", order.to_owned()));
}

fn keyed(lines: &mut Lines, described: &Described, description: &KeyedDescription) {
    for (requirement, input) in description.inputs.iter().zip(&described.inputs) {
        lines.push(("needs", words(&needs(requirement, input))));
    }
    lines.push(("key", fields(&described.key)));
    gives(lines, &description.outputs);
    for table in &description.tables {
        lines.push(("keeps", shown_table(table)));
    }
    for timer in &description.timers {
        lines.push(("timer", format!("{}, in {} time", timer.name, domain(timer.domain))));
    }
}

fn gives(lines: &mut Lines, outputs: &[OutputDescription]) {
    for output in outputs {
        let changelog = if output.changelog { ", a changelog" } else { "" };
        lines.push(("gives", format!("{} ({}){changelog}", output.name, output.schema)));
    }
}

fn shown_table(table: &TableDescription) -> String {
    let mut text = format!("{} ({}), {}", table.name, table.schema, kind(table.kind));
    if let Some(ttl) = &table.ttl {
        let _ = write!(
            text,
            ", for {} of {} time after the key's last row",
            ttl.after,
            domain(ttl.domain)
        );
    }
    text
}

fn kind(kind: TableKind) -> &'static str {
    match kind {
        TableKind::Value => "value",
        TableKind::ValueOnDemand => "value-on-demand",
        TableKind::List => "list",
        TableKind::Map => "map",
    }
}

fn domain(domain: TimeDomain) -> &'static str {
    match domain {
        TimeDomain::Event => "event",
        TimeDomain::Processing => "processing",
    }
}

fn fields<'a>(fields: impl IntoIterator<Item = &'a Field>) -> String {
    let shown: Vec<String> = fields.into_iter().map(ToString::to_string).collect();
    words(&shown)
}

/// For programs.
pub(super) fn machine(report: &PluginReport, described: Option<&Described>) -> Value {
    let producers: serde_json::Map<String, Value> = report
        .producers
        .iter()
        .map(|(what, tools)| {
            let tools: serde_json::Map<String, Value> = tools
                .iter()
                .map(|(name, version)| (name.clone(), json!(version)))
                .collect();
            (what.clone(), Value::Object(tools))
        })
        .collect();
    json!({
        "kind": "plugin",
        "file": report.path,
        "name": report.name,
        "worlds": report.worlds.iter().map(|world| world.name()).collect::<Vec<_>>(),
        "contract": report.contract,
        "size-bytes": report.size_bytes,
        "digest": digest(report),
        "imports": report.imports,
        "exports": report.exports,
        "producers": producers,
        "runs": report.served.is_ok(),
        "reason": report.served.as_ref().err().map(ToString::to_string),
        "description": described.map(machine_description),
    })
}

fn machine_description(described: &Described) -> Value {
    match &described.answer {
        Answer::Transform(description) => json!({
            "inputs": machine_inputs(&description.inputs, described),
            "outputs": machine_outputs(&description.outputs),
        }),
        Answer::Aggregate(description) => json!({
            "inputs": [machine_needs(&description.input, &described.inputs[0])],
            "accumulators": description.accumulators.iter().map(|a| &a.field).collect::<Vec<_>>(),
            "results": description.results,
            "commutative": description.commutative,
        }),
        Answer::Keyed(description) => json!({
            "inputs": machine_inputs(&description.inputs, described),
            "key": described.key,
            "outputs": machine_outputs(&description.outputs),
            "tables": description.tables.iter().map(machine_table).collect::<Vec<_>>(),
            "timers": description.timers.iter().map(machine_timer).collect::<Vec<_>>(),
        }),
        Answer::Content(description) => json!({
            "inputs": [machine_needs(&description.input, &described.inputs[0])],
            "key": described.key,
            "outputs": machine_outputs(&description.outputs),
        }),
    }
}

fn machine_inputs(needed: &[Requirement], described: &Described) -> Vec<Value> {
    let inputs = needed.iter().zip(&described.inputs);
    inputs.map(|(needed, input)| machine_needs(needed, input)).collect()
}

fn machine_outputs(outputs: &[OutputDescription]) -> Vec<Value> {
    let outputs = outputs
        .iter()
        .map(|output| json!({ "port": &*output.name, "columns": output.schema, "changelog": output.changelog }));
    outputs.collect()
}

fn machine_table(table: &TableDescription) -> Value {
    json!({
        "name": &*table.name,
        "kind": kind(table.kind),
        "columns": table.schema,
        "sort-key": table.sort_key,
        "version": table.version,
        "ttl": table.ttl.map(|ttl| json!({ "after": ttl.after.to_string(), "time": domain(ttl.domain) })),
    })
}

fn machine_timer(timer: &TimerKind) -> Value {
    json!({ "name": &*timer.name, "time": domain(timer.domain) })
}

fn machine_needs(requirement: &Requirement, input: &InputDescription) -> Value {
    let columns: Vec<&Field> = requirement
        .columns
        .iter()
        .map(|&column| &input.schema.fields()[column])
        .collect();
    json!({ "columns": columns, "event-times": requirement.event_times })
}
