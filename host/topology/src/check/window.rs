//! A window: its key, its aggregates, its late rows.

use wasmill_core::id::StreamIndex;
use wasmill_core::plan::{
    AggregateFunction, AggregateNode, AggregatePlugin, ContentNode, NodeKind, OnFault, WindowFrame, WindowNode,
};
use wasmill_core::plugin::World;
use wasmill_core::schema::{DataType, Field, Schema};
use wasmill_core::transform::InputDescription;
use wasmill_core::window::Late;

use super::{Checker, Fields, LATE_PORT, Planned, Port};
use crate::codes;
use crate::place::Word;
use crate::reader::not_built;
use crate::spec::{Aggregate, Computes, Function, Node, Plugin, PluginAggregate, Window};

impl Checker<'_> {
    pub(super) fn window(
        &self,
        at: usize,
        node: &Node,
        window: &Window,
        inputs: Option<Vec<StreamIndex>>,
    ) -> Option<Planned> {
        let late = self.late(at, window.late.as_ref(), &[LATE_PORT]);
        if window.on_fault == OnFault::DeadLetter {
            self.needs_dead_letters(at, "rows at fault", &node.id_place);
        }
        let has_plugins = match &window.computes {
            Computes::Content(_) => true,
            Computes::Aggregates(aggregates) => aggregates
                .iter()
                .any(|aggregate| matches!(aggregate.function, Function::Plugin(_))),
        };
        let has_dead_letters = late == Late::DeadLetter || has_plugins;
        self.pointless_dead_letter(node, has_dead_letters);
        // Plugins are looked for even where the columns are not known.
        let Some((input, schema)) = self.single_input(node, inputs, "a window") else {
            self.without_columns(window);
            return None;
        };
        let key = self.columns(&schema, &window.key, &node.called(0));
        let frame = |key: Vec<usize>| {
            Some(WindowFrame {
                key,
                windows: window.windows.clone()?,
                allowed_lateness: window.allowed_lateness,
                late,
                lateness: window.lateness,
                late_results: window.late_results,
                early: window.early,
                pane: window.pane,
            })
        };
        let (mut outputs, kind) = match &window.computes {
            Computes::Aggregates(aggregates) => {
                self.aggregated(node, window, aggregates, (input, &schema), key, frame)?
            }
            Computes::Content(plugin) => {
                self.content(node, window, plugin.as_deref()?, (input, &schema), key?, frame)?
            }
        };
        if late == Late::Port {
            outputs.push(Port::new(LATE_PORT, schema));
        }
        Some(Planned {
            inputs: vec![input],
            outputs,
            dead_letters: has_dead_letters && self.takes_dead_letters(at),
            kind,
        })
    }

    /// What can be said of a window without the columns of its input: whether plugins and functions exist.
    fn without_columns(&self, window: &Window) {
        match &window.computes {
            Computes::Content(plugin) => {
                if let Some(plugin) = plugin {
                    self.load(plugin, World::Window);
                }
            }
            Computes::Aggregates(aggregates) => {
                for aggregate in aggregates {
                    match &aggregate.function {
                        Function::Plugin(plugin) => drop(self.load(&plugin.plugin, World::Aggregate)),
                        Function::Builtin(expression) => self.function_exists(expression),
                    }
                }
            }
        }
    }

    fn aggregated(
        &self,
        node: &Node,
        window: &Window,
        specs: &[Aggregate],
        (input, schema): (StreamIndex, &Schema),
        key: Option<Vec<usize>>,
        frame: impl FnOnce(Vec<usize>) -> Option<WindowFrame>,
    ) -> Option<(Vec<Port>, NodeKind)> {
        let of = node.called(0);
        let aggregates: Vec<_> = specs
            .iter()
            .map(|aggregate| self.aggregate(node, aggregate, input, schema, &of))
            .collect();
        let key = key?;
        let mut fields = self.window_fields(node, window, &key, schema);
        for (aggregate, spec) in aggregates.iter().zip(specs) {
            for field in aggregate.iter().flat_map(|aggregate| &aggregate.outputs) {
                fields.push(field.clone(), &spec.name.place, "by this column");
            }
        }
        if window.pane {
            fields.push(
                Field::required("pane", DataType::Int64),
                &node.id_place,
                "`pane = true` gives a column of this name",
            );
        }
        let mut port = Port::new("out", fields.finish());
        port.changelog = window.early.is_some_and(|early| early.retracting);
        let kind = NodeKind::Window(Box::new(WindowNode {
            frame: frame(key)?,
            aggregates: aggregates.into_iter().collect::<Option<Vec<_>>>()?,
            on_fault: window.on_fault,
        }));
        Some((vec![port], kind))
    }

    fn content(
        &self,
        node: &Node,
        window: &Window,
        plugin: &Plugin,
        (input, schema): (StreamIndex, &Schema),
        key: Vec<usize>,
        frame: impl FnOnce(Vec<usize>) -> Option<WindowFrame>,
    ) -> Option<(Vec<Port>, NodeKind)> {
        let found = self.load(plugin, World::Window)?;
        if window.early.is_some_and(|early| early.retracting) {
            self.problems().push(not_built(
                "a retracting window whose rows go to a plugin",
                &plugin.word.place,
                "write `mode = \"accumulating\"`, or aggregate: `aggregate = { x = { plugin = \"plugins/x.wasm\" } }`",
            ));
        }
        let fields: Vec<Field> = key.iter().map(|&column| schema.fields()[column].clone()).collect();
        let described = self.described(node, plugin, &[input], |inputs| {
            let describer = self.world.describer;
            describer.content(&found, &plugin.config, &inputs[0], &fields, &plugin.limits)
        });
        let description = described?;
        let ports = description.outputs.iter().map(|output| {
            let mut fields = self.window_fields(node, window, &key, schema);
            if window.pane {
                fields.push(
                    Field::required("pane", DataType::Int64),
                    &node.id_place,
                    "`pane = true` gives a column of this name",
                );
            }
            for field in output.schema.fields() {
                fields.push(field.clone(), &plugin.word.place, "every window has it");
            }
            Port {
                name: output.name.clone(),
                schema: fields.finish(),
                changelog: false,
            }
        });
        let ports = ports.collect();
        let kind = NodeKind::Content(Box::new(ContentNode {
            frame: frame(key)?,
            plugin: found,
            config: plugin.config.clone(),
            description,
            on_fault: window.on_fault,
            limits: plugin.limits.clone(),
        }));
        Some((ports, kind))
    }

    /// The key, `window_start`, `window_end`.
    fn window_fields(&self, node: &Node, window: &Window, key: &[usize], schema: &Schema) -> Fields<'_> {
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
        fields
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
