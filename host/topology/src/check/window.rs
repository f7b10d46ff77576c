//! A window: its key, its aggregates, its late rows.

use wasmill_core::id::StreamIndex;
use wasmill_core::plan::{
    AggregateFunction, AggregateNode, AggregatePlugin, NodeKind, OnFault, WindowFrame, WindowNode,
};
use wasmill_core::plugin::World;
use wasmill_core::schema::{DataType, Field, Schema};
use wasmill_core::transform::InputDescription;
use wasmill_core::window::{Late, Windows};

use super::{Checker, Fields, LATE_PORT, Planned};
use crate::codes;
use crate::place::Word;
use crate::reader::not_built;
use crate::spec::{Aggregate, Function, Node, PluginAggregate, Window};

impl Checker<'_> {
    pub(super) fn window(
        &self,
        at: usize,
        node: &Node,
        window: &Window,
        inputs: Option<Vec<StreamIndex>>,
    ) -> Option<Planned> {
        let late = self.late(at, window);
        let by_plugin = |aggregate: &Aggregate| matches!(aggregate.function, Function::Plugin(_));
        let has_plugins = window.aggregates.iter().any(by_plugin);
        if window.on_fault == OnFault::DeadLetter {
            self.needs_dead_letters(at, "rows at fault", &node.id_place);
        }
        let has_dead_letters = late == Late::DeadLetter || has_plugins;
        if let (Some(word), false) = (&node.dead_letter, has_dead_letters) {
            self.problems().error(
                codes::POINTLESS_KEY,
                format!(
                    "`dead-letter` does nothing at {}: nothing of it becomes a dead letter",
                    node.name
                ),
                &word.place,
                "write `late = \"dead-letter\"` if late rows are to go there, or leave `dead-letter` out",
            );
        }
        if let [_, second, ..] = node.inputs.as_slice() {
            let help = "let it read one stream; a window per stream works too";
            self.problems()
                .push(not_built("a window over several inputs", &second.place, help));
            return None;
        }
        let input = inputs.and_then(|inputs| inputs.first().copied());
        let schema = input.map(|input| self.schema(input).clone());
        // Plugins are looked for even where the columns are not known.
        let Some((input, schema)) = input.zip(schema) else {
            for aggregate in &window.aggregates {
                if let Function::Plugin(plugin) = &aggregate.function {
                    self.load(&plugin.plugin, World::Aggregate);
                }
            }
            return None;
        };
        let of = match node.inputs.first() {
            Some(input) => format!("`{}`", input.node),
            None => "the input".to_owned(),
        };
        let key = self.columns(&schema, &window.key, &of);
        let aggregates: Vec<_> = window
            .aggregates
            .iter()
            .map(|aggregate| self.aggregate(node, aggregate, input, &schema, &of))
            .collect();
        let key = key?;
        let output = self.window_schema(node, window, &key, &schema, &aggregates);
        let aggregates = aggregates.into_iter().collect::<Option<Vec<_>>>()?;
        let mut outputs = vec![("out".into(), output)];
        if late == Late::Port {
            outputs.push((LATE_PORT.into(), schema));
        }
        Some(Planned {
            inputs: vec![input],
            outputs,
            dead_letters: has_dead_letters && self.takes_dead_letters(at),
            kind: NodeKind::Window(Box::new(WindowNode {
                frame: WindowFrame {
                    allowed_lateness: window.allowed_lateness,
                    late,
                    ..WindowFrame::new(key, Windows::Aligned(window.window.clone()?))
                },
                aggregates,
                on_fault: window.on_fault,
            })),
        })
    }

    fn late(&self, at: usize, window: &Window) -> Late {
        match &window.late {
            Some((Late::DeadLetter, word)) => {
                self.needs_dead_letters(at, "late rows", &word.place);
                Late::DeadLetter
            }
            Some((late, _)) => *late,
            None if self.wiring.reads(at, LATE_PORT) => Late::Port,
            None => Late::Drop,
        }
    }

    /// The places of columns; `None` where one does not exist.
    pub(super) fn columns(&self, schema: &Schema, words: &[Word], of: &str) -> Option<Vec<usize>> {
        let found: Vec<_> = words.iter().map(|word| self.column(schema, word, of)).collect();
        found.into_iter().collect()
    }

    /// The key, `window_start`, `window_end`, the aggregates.
    fn window_schema(
        &self,
        node: &Node,
        window: &Window,
        key: &[usize],
        schema: &Schema,
        aggregates: &[Option<AggregateNode>],
    ) -> Schema {
        let mut fields = Fields::new(self.problems());
        for (&column, word) in key.iter().zip(&window.key) {
            fields.push(schema.fields()[column].clone(), &word.place, "by this key column");
        }
        for name in ["window_start", "window_end"] {
            let field = Field::required(name, DataType::Timestamp);
            // A key of this name is where the trouble is.
            let key = window.key.iter().find(|word| word.text == name);
            fields.push(
                field,
                key.map_or(&node.id_place, |word| &word.place),
                "every window has it",
            );
        }
        for (aggregate, spec) in aggregates.iter().zip(&window.aggregates) {
            for field in aggregate.iter().flat_map(|aggregate| &aggregate.outputs) {
                fields.push(field.clone(), &spec.name.place, "by this column");
            }
        }
        fields.finish()
    }

    fn aggregate(
        &self,
        node: &Node,
        aggregate: &Aggregate,
        input: StreamIndex,
        schema: &Schema,
        of: &str,
    ) -> Option<AggregateNode> {
        match &aggregate.function {
            Function::Builtin(expression) => {
                let (builtin, data_type, nullable) = self.builtin(expression, schema, of)?;
                Some(AggregateNode {
                    outputs: vec![Field {
                        name: aggregate.name.text.as_str().into(),
                        data_type,
                        nullable,
                    }],
                    function: AggregateFunction::Builtin(builtin),
                })
            }
            Function::Plugin(plugin) => self.plugin_aggregate(node, &aggregate.name, plugin, input, schema, of),
        }
    }

    fn plugin_aggregate(
        &self,
        node: &Node,
        name: &Word,
        aggregate: &PluginAggregate,
        input: StreamIndex,
        schema: &Schema,
        of: &str,
    ) -> Option<AggregateNode> {
        let plugin = &aggregate.plugin;
        let found = self.load(plugin, World::Aggregate);
        let columns = match &aggregate.columns {
            None => (0..schema.len()).collect(),
            Some(words) => self.columns(schema, words, of)?,
        };
        let found = found?;
        let seen = columns.iter().map(|&column| schema.fields()[column].clone()).collect();
        let seen = match Schema::new(seen) {
            Ok(seen) => seen,
            Err(twice) => {
                self.problems().error(
                    codes::DUPLICATE_COLUMN,
                    format!("`columns` names `{}` twice", twice.0),
                    &aggregate.place,
                    "name it once",
                );
                return None;
            }
        };
        let input = InputDescription {
            schema: seen,
            ..self.input_description(input)
        };
        let described = self
            .world
            .describer
            .aggregate(&found, &plugin.config, &input, &plugin.limits);
        let description = match described {
            Ok(description) => description,
            Err(error) => {
                let place = node.inputs.first().map(|input| &input.place);
                let shown = place.map(|place| (place, format!("of this it sees the columns {}", input.schema)));
                self.refused(plugin, &error, shown);
                return None;
            }
        };
        let outputs = match description.results.as_slice() {
            [result] => vec![Field {
                name: name.text.as_str().into(),
                ..result.clone()
            }],
            results => results
                .iter()
                .map(|result| Field {
                    name: format!("{}_{}", name.text, result.name).into(),
                    ..result.clone()
                })
                .collect(),
        };
        Some(AggregateNode {
            outputs,
            function: AggregateFunction::Plugin(Box::new(AggregatePlugin {
                plugin: found,
                config: plugin.config.clone(),
                description,
                input: columns,
                limits: plugin.limits.clone(),
            })),
        })
    }
}
