//! `wasmill inspect`: reads a plugin, and asks it what it needs and gives where its inputs are told.

mod report;

use std::error::Error;
use std::io::{self, Write as _};
use std::path::Path;

use serde_json::Value;

use wasmill_component::inspect;
use wasmill_core::aggregate::AggregateDescription;
use wasmill_core::content::ContentDescription;
use wasmill_core::keyed::KeyedDescription;
use wasmill_core::plugin::{Describer, Limits, World};
use wasmill_core::schema::{DataType, Field, Schema};
use wasmill_core::transform::{InputDescription, TransformDescription};

use crate::args::Format;
use crate::exit::Exit;
use crate::topology;

/// What a plugin is asked about.
pub(crate) struct Question {
    /// The columns of each input, as written.
    pub(crate) inputs: Vec<String>,
    /// The columns of the key, as written; an empty name alone is one key for all rows.
    pub(crate) key: Vec<String>,
    /// The configuration, as JSON.
    pub(crate) config: String,
}

/// Says what a plugin is.
pub(crate) fn execute(plugin: &Path, question: &Question, format: Format) -> Result<Exit, Box<dyn Error>> {
    let report = inspect(plugin)?;
    let described = match question.inputs.as_slice() {
        [] => None,
        _ => Some(describe(plugin, question)?),
    };
    let mut out = io::stdout().lock();
    match format {
        Format::Json => writeln!(out, "{}", report::machine(&report, described.as_ref()))?,
        Format::Human => out.write_all(report::human(&report, described.as_ref()).as_bytes())?,
    }
    Ok(if report.served.is_ok() { Exit::Ok } else { Exit::Failed })
}

/// What a plugin says of itself.
struct Described {
    inputs: Vec<InputDescription>,
    key: Vec<Field>,
    answer: Answer,
}

enum Answer {
    Transform(TransformDescription),
    Aggregate(AggregateDescription),
    Keyed(KeyedDescription),
    Content(ContentDescription),
}

fn describe(plugin: &Path, question: &Question) -> Result<Described, Box<dyn Error>> {
    let config: Value =
        serde_json::from_str(&question.config).map_err(|error| format!("--config is no JSON: {error}"))?;
    let config = config.to_string();
    let inputs: Vec<InputDescription> = question
        .inputs
        .iter()
        .enumerate()
        .map(input)
        .collect::<Result<_, _>>()?;
    let host = topology::host()?;
    let describer: &dyn Describer = &host;
    let limits = Limits::default();
    let (found, world) = describer.load(plugin)?;
    let key = key(world, &question.key, &inputs)?;
    let one = || match inputs.as_slice() {
        [input] => Ok(input),
        _ => Err(format!("a plugin of the world {} has one input", world.name())),
    };
    let answer = match world {
        World::Transform => Answer::Transform(describer.transform(&found, &config, &inputs, &limits)?),
        World::Aggregate => Answer::Aggregate(describer.aggregate(&found, &config, one()?, &limits)?),
        World::Keyed => Answer::Keyed(describer.keyed(&found, &config, &inputs, &key, &limits)?),
        World::Window => Answer::Content(describer.content(&found, &config, one()?, &key, &limits)?),
    };
    Ok(Described { inputs, key, answer })
}

/// The columns of the key, which every input has.
fn key(world: World, columns: &[String], inputs: &[InputDescription]) -> Result<Vec<Field>, String> {
    match (world, columns) {
        (World::Transform | World::Aggregate, [_, ..]) => {
            return Err(format!(
                "--key does nothing: a plugin of the world {} sees no keys",
                world.name()
            ));
        }
        (World::Keyed, []) => {
            return Err(
                "a plugin of the world keyed is asked with its key: give --key COLUMN for each key column, or \
                 --key '' for one key of all rows"
                    .to_owned(),
            );
        }
        (_, [empty]) if empty.is_empty() => return Ok(Vec::new()),
        _ => {}
    }
    columns.iter().map(|name| key_column(name, inputs)).collect()
}

fn key_column(name: &str, inputs: &[InputDescription]) -> Result<Field, String> {
    let fields = inputs.iter().map(|input| {
        let found = input.schema.fields().iter().find(|field| *field.name == *name);
        found.ok_or_else(|| format!("--key {name}: there is no such column in --input '{}'", input.schema))
    });
    let fields: Vec<&Field> = fields.collect::<Result<_, _>>()?;
    if let Some(other) = fields.iter().find(|field| field.data_type != fields[0].data_type) {
        return Err(format!(
            "--key {name}: it is {} in one input and {} in another",
            fields[0].data_type, other.data_type
        ));
    }
    Ok(fields[0].clone())
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

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_key_is_in_every_input_and_of_one_type() {
        let inputs = |texts: &[&str]| -> Vec<InputDescription> {
            let read = texts
                .iter()
                .map(|text| input((0, &(*text).to_owned())).expect("columns"));
            read.collect()
        };
        let names = |names: &[&str]| -> Vec<String> { names.iter().map(|&name| name.to_owned()).collect() };
        let one = inputs(&["host: utf8, load: float64?"]);
        let found = key(World::Keyed, &names(&["host"]), &one).expect("it has the column");
        assert_eq!(found, [Field::required("host", DataType::Utf8)]);
        assert_eq!(key(World::Keyed, &names(&[""]), &one), Ok(Vec::new()));
        assert_eq!(key(World::Window, &[], &one), Ok(Vec::new()));
        let told = key(World::Keyed, &[], &one).expect_err("it has state by key");
        assert!(told.contains("--key COLUMN"), "{told}");
        assert!(key(World::Transform, &names(&["host"]), &one).is_err());
        assert!(key(World::Keyed, &names(&["hots"]), &one).is_err());
        let two = inputs(&["host: utf8", "host: int64"]);
        assert!(key(World::Keyed, &names(&["host"]), &two).is_err());
    }

    #[test]
    fn columns_are_read_as_they_are_written() {
        let read = input((0, &"origin: utf8, dep_delay: int64?".to_owned())).expect("two columns");
        assert_eq!(read.schema.to_string(), "origin: utf8, dep_delay: int64?");
        for wrong in ["", "origin", "origin: text", ": utf8", "a: utf8, a: utf8"] {
            assert!(input((0, &wrong.to_owned())).is_err(), "{wrong}");
        }
    }
}
