//! `wasmill inspect`.

use std::error::Error;
use std::fmt::Write as _;
use std::io::{self, Write as _};
use std::path::Path;

use serde_json::{Value, json};

use wasmill_component::{PluginReport, inspect};
use wasmill_core::aggregate::AggregateDescription;
use wasmill_core::plugin::{Describer, Limits, World};
use wasmill_core::schema::{DataType, Field, Schema};
use wasmill_core::transform::{InputDescription, Requirement, TransformDescription};

use crate::args::Format;
use crate::exit::Exit;
use crate::topology;

/// Says what a plugin is.
pub(crate) fn execute(plugin: &Path, inputs: &[String], config: &str, format: Format) -> Result<Exit, Box<dyn Error>> {
    let report = inspect(plugin)?;
    let described = match inputs {
        [] => None,
        _ => Some(describe(plugin, inputs, config)?),
    };
    let mut out = io::stdout().lock();
    match format {
        Format::Json => writeln!(out, "{}", machine(&report, described.as_ref()))?,
        Format::Human => out.write_all(human(&report, described.as_ref()).as_bytes())?,
    }
    Ok(if report.served.is_ok() { Exit::Ok } else { Exit::Failed })
}

/// What a plugin says of itself.
struct Described {
    inputs: Vec<InputDescription>,
    answer: Answer,
}

enum Answer {
    Transform(TransformDescription),
    Aggregate(AggregateDescription),
}

fn describe(plugin: &Path, inputs: &[String], config: &str) -> Result<Described, Box<dyn Error>> {
    let config: Value = serde_json::from_str(config).map_err(|error| format!("--config is no JSON: {error}"))?;
    let config = config.to_string();
    let inputs: Vec<InputDescription> = inputs.iter().enumerate().map(input).collect::<Result<_, _>>()?;
    let host = topology::host()?;
    let describer: &dyn Describer = &host;
    let limits = Limits::default();
    let (found, world) = describer.load(plugin)?;
    let answer = match (world, inputs.as_slice()) {
        (World::Transform, inputs) => Answer::Transform(describer.transform(&found, &config, inputs, &limits)?),
        (World::Aggregate, [input]) => Answer::Aggregate(describer.aggregate(&found, &config, input, &limits)?),
        (World::Aggregate, _) => return Err("an aggregate has one input".into()),
        (world, _) => return Err(format!("a plugin of the world {} is not asked yet", world.name()).into()),
    };
    Ok(Described { inputs, answer })
}

/// `origin: utf8, dep_delay: int64?`
fn input((at, text): (usize, &String)) -> Result<InputDescription, String> {
    let fields: Vec<Field> = text.split(',').map(field).collect::<Result<_, _>>()?;
    Ok(InputDescription {
        name: format!("input{at}").into(),
        schema: Schema::new(fields).map_err(|error| error.to_string())?,
        changelog: false,
    })
}

fn field(text: &str) -> Result<Field, String> {
    let form = || format!("\"{}\" is no column; write it as in 'origin: utf8'", text.trim());
    let (name, data_type) = text.split_once(':').ok_or_else(form)?;
    let (data_type, nullable) = match data_type.trim().strip_suffix('?') {
        Some(data_type) => (data_type.trim(), true),
        None => (data_type.trim(), false),
    };
    let known = || {
        let names: Vec<&str> = DataType::ALL.iter().map(|data_type| data_type.name()).collect();
        format!("there is no type \"{data_type}\"; the types are {}", names.join(", "))
    };
    let name = name.trim();
    if name.is_empty() {
        return Err(form());
    }
    Ok(Field {
        name: name.into(),
        data_type: DataType::from_name(data_type).ok_or_else(known)?,
        nullable,
    })
}

fn digest(report: &PluginReport) -> String {
    report.digest.iter().fold("sha256:".to_owned(), |mut text, byte| {
        let _ = write!(text, "{byte:02x}");
        text
    })
}

fn human(report: &PluginReport, described: Option<&Described>) -> String {
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
    if let Some(described) = described {
        text.push_str(&human_description(described));
    }
    text
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
    let mut text = String::new();
    let mut line = |name: &str, value: &str| {
        let _ = writeln!(text, "  {name:<14}{value}");
    };
    match &described.answer {
        Answer::Transform(description) => {
            for (requirement, input) in description.inputs.iter().zip(&described.inputs) {
                line("needs", &words(&needs(requirement, input)));
            }
            for output in &description.outputs {
                line("gives", &format!("{} ({})", output.name, output.schema));
            }
            if let (Some(retime), Some(main)) = (&description.retime, description.outputs.first()) {
                let column = &main.schema.fields()[retime.column].name;
                line(
                    "event time",
                    &format!("{column}, at most {} before the row's", retime.lag),
                );
            }
        }
        Answer::Aggregate(description) => {
            line("needs", &words(&needs(&description.input, &described.inputs[0])));
            let shown = |fields: Vec<&Field>| fields.iter().map(ToString::to_string).collect::<Vec<_>>().join(", ");
            line(
                "keeps",
                &shown(description.accumulators.iter().map(|a| &a.field).collect()),
            );
            line("gives", &shown(description.results.iter().collect()));
            line(
                "order",
                if description.commutative {
                    "any order of rows"
                } else {
                    "rows in event-time order"
                },
            );
        }
    }
    text
}

fn machine(report: &PluginReport, described: Option<&Described>) -> Value {
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
        Answer::Transform(description) => {
            let inputs = description.inputs.iter().zip(&described.inputs);
            let inputs: Vec<Value> = inputs.map(|(needed, input)| machine_needs(needed, input)).collect();
            let outputs: Vec<Value> = description
                .outputs
                .iter()
                .map(|output| json!({ "port": &*output.name, "columns": output.schema }))
                .collect();
            json!({ "inputs": inputs, "outputs": outputs })
        }
        Answer::Aggregate(description) => json!({
            "inputs": [machine_needs(&description.input, &described.inputs[0])],
            "accumulators": description.accumulators.iter().map(|a| &a.field).collect::<Vec<_>>(),
            "results": description.results,
            "commutative": description.commutative,
        }),
    }
}

fn machine_needs(requirement: &Requirement, input: &InputDescription) -> Value {
    let columns: Vec<&Field> = requirement
        .columns
        .iter()
        .map(|&column| &input.schema.fields()[column])
        .collect();
    json!({ "columns": columns, "event-times": requirement.event_times })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn columns_are_read_as_they_are_written() {
        let read = input((0, &"origin: utf8, dep_delay: int64?".to_owned())).expect("two columns");
        assert_eq!(read.schema.to_string(), "origin: utf8, dep_delay: int64?");
        for wrong in ["", "origin", "origin: text", ": utf8", "a: utf8, a: utf8"] {
            assert!(input((0, &wrong.to_owned())).is_err(), "{wrong}");
        }
    }
}
