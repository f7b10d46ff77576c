//! A Wasm operator. What the describer answers is held to the contract already.

use wasmill_core::id::StreamIndex;
use wasmill_core::plan::{NodeKind, OnFault, TransformNode};
use wasmill_core::plugin::{PluginRef, World};
use wasmill_core::transform::{InputDescription, TransformDescription};

use super::{Checker, Planned};
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
        match described {
            Ok(description) => Some(description),
            Err(error) => {
                let place = node.inputs.first().map(|input| &input.place);
                let columns: Vec<String> = descriptions.iter().map(|input| input.schema.to_string()).collect();
                let input = place.map(|place| (place, format!("this has the columns {}", columns.join(" | "))));
                self.refused(plugin, &error, input);
                None
            }
        }
    }

    pub(super) fn input_description(&self, stream: StreamIndex) -> InputDescription {
        let stream = &self.streams[stream.0 as usize];
        InputDescription {
            name: stream.name.clone(),
            schema: stream.schema.clone(),
            changelog: false,
        }
    }
}
