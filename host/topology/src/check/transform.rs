//! A Wasm operator.

use wasmill_core::id::StreamIndex;
use wasmill_core::plan::{NodeKind, OnFault, TransformNode};
use wasmill_core::plugin::{PluginRef, World};
use wasmill_core::schema::DataType;
use wasmill_core::transform::{InputDescription, TransformDescription};

use super::{Checker, DEAD_LETTER_PORT, LATE_PORT, Planned};
use crate::reader::not_built;
use crate::spec::{Node, Plugin, Transform};

impl Checker<'_> {
    pub(super) fn transform(
        &self,
        at: usize,
        node: &Node,
        transform: &Transform,
        inputs: Option<Vec<StreamIndex>>,
    ) -> Option<Planned> {
        if transform.on_fault == OnFault::DeadLetter {
            self.needs_dead_letters(at, "rows at fault", &node.id_place);
        }
        let plugin = transform.plugin.as_ref()?;
        let found = self.load(plugin, World::Transform)?;
        let inputs = inputs?;
        let description = self.describe_transform(node, plugin, &found, &inputs)?;
        Some(Planned {
            inputs,
            outputs: description
                .outputs
                .iter()
                .map(|output| (output.name.clone(), output.schema.clone()))
                .collect(),
            dead_letters: self.takes_dead_letters(at),
            kind: NodeKind::Transform(Box::new(TransformNode {
                plugin: found,
                config: plugin.config.clone(),
                description,
                on_fault: transform.on_fault,
                limits: plugin.limits.clone(),
            })),
        })
    }

    fn describe_transform(
        &self,
        node: &Node,
        plugin: &Plugin,
        found: &PluginRef,
        inputs: &[StreamIndex],
    ) -> Option<TransformDescription> {
        let descriptions: Vec<InputDescription> = inputs.iter().map(|&stream| self.input_description(stream)).collect();
        if descriptions.is_empty() {
            return None;
        }
        let described = self
            .world
            .describer
            .transform(found, &plugin.config, &descriptions, &plugin.limits);
        let description = match described {
            Ok(description) => description,
            Err(error) => {
                let place = node.inputs.first().map(|input| &input.place);
                let columns: Vec<String> = descriptions.iter().map(|input| input.schema.to_string()).collect();
                let input = place.map(|place| (place, format!("this has the columns {}", columns.join(" | "))));
                self.refused(plugin, &error, input);
                return None;
            }
        };
        self.check_description(plugin, &description, &descriptions)?;
        Some(description)
    }

    pub(super) fn input_description(&self, stream: StreamIndex) -> InputDescription {
        let stream = &self.streams[stream.0 as usize];
        InputDescription {
            name: stream.name.clone(),
            schema: stream.schema.clone(),
            changelog: false,
        }
    }

    /// What a description may hold that this version cannot do, or that nobody can.
    fn check_description(
        &self,
        plugin: &Plugin,
        description: &TransformDescription,
        inputs: &[InputDescription],
    ) -> Option<()> {
        if description.inputs.len() != inputs.len() {
            let (has, given) = (description.inputs.len(), inputs.len());
            self.faulty(plugin, format!("it describes {has} inputs and was given {given}"));
            return None;
        }
        for (requirement, input) in description.inputs.iter().zip(inputs) {
            if requirement.columns.iter().any(|&column| column >= input.schema.len()) {
                self.faulty(plugin, "it requires a column that its input does not have");
                return None;
            }
        }
        let Some(main) = description.outputs.first() else {
            self.faulty(plugin, "it describes no output");
            return None;
        };
        for (at, output) in description.outputs.iter().enumerate() {
            if output.changelog {
                let what = "a plugin whose output is a changelog";
                let help = "use a plugin that only adds rows";
                self.problems().push(not_built(what, &plugin.word.place, help));
                return None;
            }
            if at > 0 && (&*output.name == LATE_PORT || &*output.name == DEAD_LETTER_PORT) {
                self.faulty(plugin, format!("it calls a port `{}`, which is reserved", output.name));
                return None;
            }
            if output.name.contains('.') || description.outputs[..at].iter().any(|other| other.name == output.name) {
                self.faulty(
                    plugin,
                    format!("it calls a port `{}`, twice or with a dot", output.name),
                );
                return None;
            }
        }
        if let Some(retime) = &description.retime {
            let field = main.schema.fields().get(retime.column);
            if !field.is_some_and(|field| matches!(field.data_type, DataType::Int64 | DataType::Timestamp)) {
                self.faulty(plugin, "its event time is no timestamp column of its main output");
                return None;
            }
        }
        Some(())
    }
}
