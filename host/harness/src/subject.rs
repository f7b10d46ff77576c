//! What is tested, as a plan: its inputs, and the outputs that a test looks at.

use std::path::{Path, PathBuf};
use std::sync::Arc;

use wasmill_connector_api::registry::Registry;
use wasmill_core::diagnostic::Diagnostic;
use wasmill_core::id::{NodeId, NodeIndex, StreamIndex};
use wasmill_core::plan::{Node, NodeKind, Plan, SourceNode};
use wasmill_core::plugin::Describer;
use wasmill_core::schema::Schema;
use wasmill_topology::reading::{Problems, Table, Value, Word, did_you_mean};
use wasmill_topology::{Observed, codes, plan_observed};

use crate::spec::{DEAD_LETTER, MAIN, OPERATOR, Spec, Subject};
use crate::suite::Broken;

/// What is tested.
#[derive(Debug)]
pub(crate) struct Tested {
    pub(crate) plan: Plan,
    /// Whether it is one operator.
    pub(crate) is_operator: bool,
    pub(crate) outputs: Vec<Output>,
}

/// Where rows come out.
#[derive(Clone, Debug)]
#[expect(
    clippy::struct_excessive_bools,
    reason = "each is a key of the file, or a property of the stream"
)]
pub(crate) struct Output {
    /// What tests call it.
    pub(crate) name: String,
    pub(crate) tap: Tap,
    /// The columns of the stream.
    pub(crate) schema: Schema,
    /// The columns that count, by place in the schema.
    pub(crate) columns: Vec<usize>,
    pub(crate) changelog: bool,
    /// Whether rows are compared in the columns that the test names only: dead letters.
    pub(crate) partial: bool,
    pub(crate) ordered: bool,
    pub(crate) ignore: bool,
}

/// Where an output's rows are seen.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) enum Tap {
    /// At a sink.
    Sink(NodeId),
    /// On a stream.
    Stream(StreamIndex),
}

/// The parts that a plan is made with.
pub(crate) struct Parts<'a> {
    pub(crate) registry: &'a Registry,
    pub(crate) describer: &'a dyn Describer,
    pub(crate) environment: &'a dyn Fn(&str) -> Option<String>,
    /// The folder of the test file, absolute.
    pub(crate) folder: &'a Path,
}

impl Tested {
    /// Makes the plan.
    ///
    /// # Errors
    /// The topology has errors: they are of another file, or of the test file's own operator.
    pub(crate) fn new(spec: &Spec, problems: &Problems, parts: &Parts<'_>) -> Result<Option<Self>, Broken> {
        let tested = match &spec.subject {
            Subject::Topology(path) => Self::topology(spec, path, problems, parts)?,
            Subject::Operator(document) => Self::operator(document, problems, parts),
        };
        Ok(tested.map(|mut tested| {
            tested.choose(spec, problems);
            tested
        }))
    }

    fn operator(document: &Table, problems: &Problems, parts: &Parts<'_>) -> Option<Self> {
        let observed = Observed {
            document,
            name: OPERATOR,
            folder: parts.folder,
            looks_at: &|stream| stream == OPERATOR || stream.starts_with("operator."),
        };
        let plan = match plan_observed(&observed, parts.registry, parts.describer) {
            Ok(checked) => checked.plan,
            Err(found) => {
                for diagnostic in errors(found) {
                    problems.push(diagnostic);
                }
                return None;
            }
        };
        let node = plan.nodes.iter().find(|node| node.id.as_str() == OPERATOR)?;
        let outputs = streams(node)
            .map(|stream| {
                let name = plan.stream(stream).name.strip_prefix("operator.");
                of_stream(&plan, stream, name.unwrap_or(MAIN))
            })
            .collect();
        Some(Self {
            outputs,
            plan,
            is_operator: true,
        })
    }

    fn topology(spec: &Spec, path: &Word, problems: &Problems, parts: &Parts<'_>) -> Result<Option<Self>, Broken> {
        let file = parts.folder.join(&path.text);
        let text = match std::fs::read_to_string(&file) {
            Ok(text) => text,
            Err(error) => {
                let message = format!("the topology {} cannot be read: {error}", path.text);
                problems.error(
                    codes::FILE,
                    message,
                    &path.place,
                    "its path starts at the folder of the test file",
                );
                return Ok(None);
            }
        };
        let broken = |found: Vec<Diagnostic>| Broken {
            file: file.clone(),
            text: text.clone(),
            diagnostics: found,
        };
        let folder: PathBuf = file.parent().map_or_else(|| parts.folder.to_owned(), Path::to_owned);
        // Connectors are not opened, so what is secret of them may be missing.
        let environment = |name: &str| (parts.environment)(name).or_else(|| Some(name.to_owned()));
        let document = wasmill_topology::document(&text, &folder, &environment).map_err(broken)?;
        let named = looked_at(spec);
        let observed = Observed {
            document: &document,
            name: &path.text,
            folder: &folder,
            looks_at: &|stream| named.iter().any(|name| name == stream),
        };
        let checked = plan_observed(&observed, parts.registry, parts.describer);
        let plan = checked.map_err(|found| broken(errors(found)))?.plan;
        let mut outputs: Vec<Output> = plan.nodes.iter().filter_map(|node| of_sink(&plan, node)).collect();
        for (at, stream) in plan.streams.iter().enumerate() {
            if named.contains(&stream.name.to_string()) {
                outputs.push(of_stream(&plan, StreamIndex(at as u32), &stream.name));
            }
        }
        Ok(Some(Self {
            outputs,
            plan,
            is_operator: false,
        }))
    }

    /// Takes over what `[output.NAME]` says.
    fn choose(&mut self, spec: &Spec, problems: &Problems) {
        for chosen in &spec.outputs {
            let Some(output) = self.outputs.iter_mut().find(|output| output.name == chosen.name.text) else {
                unknown(problems, &chosen.name, "output", &self.output_names());
                continue;
            };
            output.ordered = chosen.ordered;
            output.ignore = chosen.ignore;
            let Some(words) = &chosen.columns else { continue };
            let mut columns = Vec::new();
            for word in words {
                match output.schema.index_of(&word.text) {
                    Some(column) => columns.push(column),
                    None => unknown_column(problems, word, &format!("output `{}`", output.name), &output.schema),
                }
            }
            output.columns = columns;
        }
    }

    pub(crate) fn output_names(&self) -> Vec<String> {
        self.outputs.iter().map(|output| output.name.clone()).collect()
    }

    /// The sources, with their ids.
    pub(crate) fn sources(&self) -> impl Iterator<Item = (NodeIndex, &Node, &SourceNode)> {
        self.plan
            .nodes
            .iter()
            .enumerate()
            .filter_map(|(at, node)| match &node.kind {
                NodeKind::Source(source) => Some((NodeIndex(at as u32), node, &**source)),
                _ => None,
            })
    }
}

fn errors(found: Vec<Diagnostic>) -> Vec<Diagnostic> {
    let is_error = |found: &Diagnostic| found.severity == wasmill_core::diagnostic::Severity::Error;
    found.into_iter().filter(is_error).collect()
}

fn streams(node: &Node) -> impl Iterator<Item = StreamIndex> {
    node.outputs.iter().copied().chain(node.dead_letters)
}

fn of_stream(plan: &Plan, index: StreamIndex, name: &str) -> Output {
    let stream = plan.stream(index);
    Output {
        name: name.to_owned(),
        tap: Tap::Stream(index),
        columns: (0..stream.schema.len()).collect(),
        schema: stream.schema.clone(),
        changelog: stream.changelog,
        partial: stream.name.ends_with(DEAD_LETTER),
        ordered: false,
        ignore: false,
    }
}

fn of_sink(plan: &Plan, node: &Node) -> Option<Output> {
    let NodeKind::Sink(sink) = &node.kind else { return None };
    let first = plan.stream(*node.inputs.first()?);
    let is_dead_letters = |input: &StreamIndex| plan.stream(*input).name.ends_with(DEAD_LETTER);
    Some(Output {
        name: node.id.to_string(),
        tap: Tap::Sink(node.id.clone()),
        columns: sink.columns.clone(),
        schema: first.schema.clone(),
        changelog: node.inputs.iter().any(|&input| plan.stream(input).changelog),
        partial: node.inputs.iter().all(is_dead_letters),
        ordered: false,
        ignore: false,
    })
}

/// The names that expectations of a topology use: sinks, and streams.
fn looked_at(spec: &Spec) -> Vec<String> {
    let mut names: Vec<String> = spec.outputs.iter().map(|output| output.name.text.clone()).collect();
    let steps = spec.tests.iter().flat_map(|test| &test.steps);
    for expect in steps.filter_map(|step| step.expect.as_ref()) {
        if let Value::Table(table) = &expect.value {
            names.extend(table.entries.iter().map(|entry| entry.key.clone()));
        }
    }
    names
}

/// Reports a name that is not there.
pub(crate) fn unknown(problems: &Problems, word: &Word, what: &str, names: &[String]) {
    let help = did_you_mean(
        &word.text,
        &format!("the {what}s are"),
        names.iter().map(String::as_str),
    );
    let message = format!("there is no {what} `{}`", word.text);
    problems.error(codes::TEST_NAME, message, &word.place, help);
}

/// Reports a column that is not there.
pub(crate) fn unknown_column(problems: &Problems, word: &Word, of: &str, schema: &Schema) {
    let names = schema.fields().iter().map(|field| &*field.name);
    let help = did_you_mean(&word.text, "the columns are", names);
    let message = format!("{of} has no column `{}`", word.text);
    problems.error(codes::UNKNOWN_COLUMN, message, &word.place, help);
}

/// The plugins that a plan runs: whether there is any.
pub(crate) fn has_plugins(plan: &Plan) -> bool {
    plan.nodes.iter().any(|node| match &node.kind {
        NodeKind::Transform(_) | NodeKind::Keyed(_) | NodeKind::Content(_) => true,
        NodeKind::Window(window) => window
            .aggregates
            .iter()
            .any(|aggregate| matches!(aggregate.function, wasmill_core::plan::AggregateFunction::Plugin(_))),
        _ => false,
    })
}

/// The registry of stand-ins.
pub(crate) fn offline(real: &Arc<Registry>, there: &Path) -> Registry {
    crate::offline::registry(real, there)
}
