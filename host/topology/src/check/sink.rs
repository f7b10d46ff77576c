//! A sink: its connector, its format, what it writes.

use serde_json::Value as Json;

use wasmill_connector_api::sink::SinkDescription;
use wasmill_core::diagnostic::Diagnostic;
use wasmill_core::id::StreamIndex;
use wasmill_core::plan::{self, ConnectorRef, FormatRef, NodeKind, SinkNode, dead_letter_schema};
use wasmill_core::schema::{Field, Schema};

use super::{Checker, Planned};
use crate::codes;
use crate::foreign::Foreign;
use crate::place::At as _;
use crate::spec::{FormatSpec, Node, Sink};

impl Checker<'_> {
    pub(super) fn sink(
        &mut self,
        at: usize,
        node: &Node,
        sink: &Sink,
        inputs: Option<Vec<StreamIndex>>,
    ) -> Option<Planned> {
        let described = self.describe_sink(node, sink);
        if let Some((_, description)) = &described {
            self.same_target(at, node, sink, description);
            self.delivery_of_connector(at, sink, description.delivery);
        }
        let format_known = self.format_exists(sink);
        let Some(inputs) = inputs else {
            if let Some(spec) = sink.format.as_ref().filter(|_| format_known) {
                self.sink_format(node, spec, None);
            }
            return None;
        };
        let takes_dead_letters = !node.has_input;
        let schema = if takes_dead_letters {
            dead_letter_schema()
        } else {
            self.common_schema(node, &inputs)?
        };
        let of = match node.inputs.as_slice() {
            [] => "a dead letter".to_owned(),
            [input, ..] => format!("`{}`", input.node),
        };
        let columns = match &sink.columns {
            None => (0..schema.len()).collect(),
            Some(words) => {
                for (i, word) in words.iter().enumerate() {
                    if words[..i].iter().any(|earlier| earlier.text == word.text) {
                        self.problems().error(
                            codes::DUPLICATE_COLUMN,
                            format!("`columns` names `{}` twice", word.text),
                            &word.place,
                            "name it once",
                        );
                    }
                }
                self.columns(&schema, words, &of)?
            }
        };
        self.takes_changelogs(node, &inputs, |_| sink.changelog.is_some());
        let mut fields: Vec<Field> = columns.iter().map(|&column| schema.fields()[column].clone()).collect();
        if let Some(word) = &sink.changelog {
            if fields.iter().any(|field| &*field.name == plan::KIND_COLUMN) {
                self.problems().error(
                    codes::DUPLICATE_COLUMN,
                    format!("{} would write two columns named `{}`", node.name, plan::KIND_COLUMN),
                    &word.place,
                    "a changelog is written with a first column of this name; list the others with `columns`",
                );
            }
            fields.insert(0, plan::kind_field());
        }
        let spec = sink.format.as_ref().filter(|_| format_known)?;
        let format = self.sink_format(node, spec, Some(&fields))?;
        let (config, _) = described?;
        // Nothing reaches it: there is a warning, or its feeders turn nothing into dead letters.
        if inputs.is_empty() {
            return None;
        }
        Some(Planned {
            inputs,
            outputs: Vec::new(),
            dead_letters: self.takes_dead_letters(at),
            kind: NodeKind::Sink(Box::new(SinkNode {
                connector: ConnectorRef {
                    name: sink.connector.text.clone(),
                    config,
                },
                format,
                columns,
                order: sink.order,
                changelog: sink.changelog.is_some(),
                delivery: self.delivery_of(sink),
            })),
        })
    }

    fn describe_sink(&self, node: &Node, sink: &Sink) -> Option<(Json, SinkDescription)> {
        let word = &sink.connector;
        if word.text.is_empty() {
            return None;
        }
        let registry = self.world.registry;
        let Some(connector) = registry.find_sink(&word.text) else {
            self.unknown_connector(
                word,
                "sink",
                registry.sink_names().collect(),
                registry.find_source(&word.text).is_some(),
            );
            return None;
        };
        let foreign = Foreign {
            table: &sink.own,
            name: &node.name,
            code: codes::CONNECTOR,
            ours: &sink.ours,
            beside: &[],
            shape_only: false,
            problems: self.problems(),
        };
        foreign.ask(|config| {
            let mut description = connector.describe(config, &self.folder)?;
            match std::mem::take(&mut description.at_fresh_start) {
                problems if problems.is_empty() => Ok(description),
                problems => Err(problems),
            }
        })
    }

    fn same_target(&mut self, at: usize, node: &Node, sink: &Sink, description: &SinkDescription) {
        let earlier = self
            .targets
            .iter()
            .find(|(connector, target, _)| *connector == sink.connector.text && *target == description.target);
        if let Some((_, target, earlier)) = earlier {
            let earlier = &self.topology.nodes[*earlier];
            self.problems().push(
                Diagnostic::error(codes::SAME_TARGET, format!("two sinks write to {target}"))
                    .at(&node.id_place, "this one")
                    .at(&earlier.id_place, "and this one")
                    .help("give each a place of its own; one sink may read several streams: `input = [\"a\", \"b\"]`"),
            );
        }
        self.targets
            .push((sink.connector.text.clone(), description.target.clone(), at));
    }

    /// Refuses sinks that would write over what a source reads.
    pub(super) fn overwritten(&self) {
        for (connector, target, sink) in &self.targets {
            let reader = self
                .read
                .iter()
                .find(|(reading, read, _)| reading == connector && read.contains(target));
            let Some((_, _, source)) = reader else { continue };
            let (sink, source) = (&self.topology.nodes[*sink], &self.topology.nodes[*source]);
            self.problems().push(
                Diagnostic::error(
                    codes::OWN_SOURCE,
                    format!("{} would write over what {} reads", sink.name, source.name),
                )
                .at(&sink.id_place, format!("this one writes to {target}"))
                .at(&source.id_place, "and this one reads it")
                .help("let the sink write to another place"),
            );
        }
    }

    fn format_exists(&self, sink: &Sink) -> bool {
        let Some(spec) = &sink.format else { return false };
        let found = self.world.registry.find_format(&spec.name.text).is_some();
        if !found {
            self.unknown_format(&spec.name);
        }
        found
    }

    /// `fields`: what is to be written, where it is known.
    fn sink_format(&self, node: &Node, spec: &FormatSpec, fields: Option<&[Field]>) -> Option<FormatRef> {
        let format = self.world.registry.find_format(&spec.name.text)?;
        let foreign = Foreign {
            table: &spec.own,
            name: &format!("the format of {}", node.name),
            code: codes::UNWRITABLE,
            ours: &["type"],
            beside: &[],
            shape_only: fields.is_none(),
            problems: self.problems(),
        };
        let (config, ()) = foreign.ask(|config| format.check_sink(config, fields.unwrap_or_default()))?;
        Some(FormatRef {
            name: spec.name.text.clone(),
            config,
        })
    }

    /// The schema of all inputs, which is one.
    pub(super) fn common_schema(&self, node: &Node, inputs: &[StreamIndex]) -> Option<Schema> {
        let first = self.schema(*inputs.first()?);
        let mut common = first.clone();
        for (input, reference) in inputs.iter().zip(&node.inputs).skip(1) {
            let schema = self.schema(*input);
            if let Some(both) = common.union(schema) {
                common = both;
            } else {
                self.problems().push(
                    Diagnostic::error(
                        codes::SCHEMAS_DIFFER,
                        format!("{} reads streams with different columns", node.name),
                    )
                    .at(&reference.place, format!("this has {schema}"))
                    .at(&node.inputs[0].place, format!("this has {first}"))
                    .help("let a sink of its own write each, or make the columns the same"),
                );
                return None;
            }
        }
        Some(common)
    }
}
