//! A Wasm operator: a `transform`, or a `keyed`. What the describer answers is held to the contract already.

use wasmill_core::diagnostic::Diagnostic;
use wasmill_core::id::StreamIndex;
use wasmill_core::plan::{KeyedNode, NodeKind, OnFault, RowOrder, TransformNode};
use wasmill_core::plugin::{PluginError, PluginRef, World};
use wasmill_core::schema::Field;
use wasmill_core::transform::{InputDescription, OutputDescription};
use wasmill_core::window::Late;

use super::{Checker, LATE_PORT, Planned, Port};
use crate::codes;
use crate::place::At as _;
use crate::spec::{Node, Plugin, Wasm};

impl Checker<'_> {
    pub(super) fn wasm(
        &self,
        at: usize,
        node: &Node,
        wasm: &Wasm,
        inputs: Option<Vec<StreamIndex>>,
    ) -> Option<Planned> {
        if wasm.on_fault == OnFault::DeadLetter {
            self.needs_dead_letters(at, "rows at fault", &node.id_place);
        }
        let plugin = wasm.plugin.as_ref()?;
        let (found, world) = self.load_any(plugin, &[World::Transform, World::Keyed])?;
        match world {
            World::Keyed => self.keyed(at, node, wasm, plugin, found, inputs),
            _ => self.transform(at, node, wasm, plugin, found, inputs),
        }
    }

    fn transform(
        &self,
        at: usize,
        node: &Node,
        wasm: &Wasm,
        plugin: &Plugin,
        found: PluginRef,
        inputs: Option<Vec<StreamIndex>>,
    ) -> Option<Planned> {
        let places = [
            ("key", wasm.key.as_ref().map(|key| &key.place)),
            ("order", wasm.order.as_ref().map(|(_, word)| &word.place)),
            ("late", wasm.late.as_ref().map(|late| &late.word.place)),
        ];
        for (key, place) in places {
            if let Some(place) = place {
                self.problems().push(
                    Diagnostic::error(codes::POINTLESS_KEY, format!("`{key}` does nothing at {}", node.name))
                        .at(place, "")
                        .at(
                            &plugin.word.place,
                            "this plugin is of the world `transform`, which sees no keys",
                        )
                        .help("leave it out; state, timers and order belong to plugins of the world `keyed`"),
                );
            }
        }
        let inputs = inputs?;
        let described = self.described(node, plugin, &inputs, |inputs| {
            let describer = self.world.describer;
            describer.transform(&found, &plugin.config, inputs, &plugin.limits)
        });
        let description = described?;
        self.takes_changelogs(node, &inputs, |input| description.inputs[input].changelog);
        Some(Planned {
            outputs: ports(&description.outputs),
            inputs,
            dead_letters: self.takes_dead_letters(at),
            kind: NodeKind::Transform(Box::new(TransformNode {
                plugin: found,
                config: plugin.config.clone(),
                description,
                on_fault: wasm.on_fault,
                limits: plugin.limits.clone(),
            })),
        })
    }

    fn keyed(
        &self,
        at: usize,
        node: &Node,
        wasm: &Wasm,
        plugin: &Plugin,
        found: PluginRef,
        inputs: Option<Vec<StreamIndex>>,
    ) -> Option<Planned> {
        let order = wasm.order.as_ref().map_or(RowOrder::EventTime, |(order, _)| *order);
        let late = self.late(at, wasm.late.as_ref(), &[LATE_PORT]);
        if let (RowOrder::Arrival, Some(spec)) = (order, &wasm.late) {
            self.problems().error(
                codes::POINTLESS_KEY,
                format!("`late` does nothing at {}: rows are taken as they arrive", node.name),
                &spec.word.place,
                "leave it out, or leave `order` out for rows in event-time order",
            );
        }
        let Some(spec) = &wasm.key else {
            self.problems().push(
                Diagnostic::error(codes::MISSING_KEY, format!("{} has no `key`", node.name))
                    .at(&node.place, "`key` is missing here")
                    .at(
                        &plugin.word.place,
                        "this plugin is of the world `keyed`: its state and timers belong to keys",
                    )
                    .help("name the key's columns, as in `key = [\"host\"]`; `key = []` is one key for all rows"),
            );
            return None;
        };
        let inputs = inputs?;
        let keys = self.keys(node, &inputs, |_| &spec.columns)?;
        let fields: Vec<Field> = keys[0]
            .iter()
            .map(|&column| self.schema(inputs[0]).fields()[column].clone())
            .collect();
        let described = self.described(node, plugin, &inputs, |inputs| {
            let describer = self.world.describer;
            describer.keyed(&found, &plugin.config, inputs, &fields, &plugin.limits)
        });
        let description = described?;
        self.takes_changelogs(node, &inputs, |input| description.inputs[input].changelog);
        let mut outputs = ports(&description.outputs);
        if late == Late::Port && order == RowOrder::EventTime {
            let first = self.schema(inputs[0]);
            let mut schema = first.clone();
            let mut other = None;
            for &input in &inputs[1..] {
                match schema.union(self.schema(input)) {
                    Some(both) => schema = both,
                    None => other = other.or(Some(input)),
                }
            }
            if let (Some(other), Some(reference)) = (other, node.inputs.get(1)) {
                self.problems().push(
                    Diagnostic::error(
                        codes::SCHEMAS_DIFFER,
                        format!("the late rows of {} cannot go to one port", node.name),
                    )
                    .at(&reference.place, format!("this has {}", self.schema(other)))
                    .at(&node.inputs[0].place, format!("this has {first}"))
                    .help("write `late = \"dead-letter\"` or `late = \"drop\"`"),
                );
            }
            outputs.push(Port::new(LATE_PORT, schema).like(self.stream_at(inputs[0])));
        }
        Some(Planned {
            outputs,
            inputs,
            dead_letters: self.takes_dead_letters(at),
            kind: NodeKind::Keyed(Box::new(KeyedNode {
                plugin: found,
                config: plugin.config.clone(),
                description,
                key: keys,
                order,
                late: if order == RowOrder::Arrival { Late::Drop } else { late },
                on_fault: wasm.on_fault,
                limits: plugin.limits.clone(),
            })),
        })
    }

    /// Asks a plugin about inputs, and reports its refusal.
    pub(super) fn described<T>(
        &self,
        node: &Node,
        plugin: &Plugin,
        inputs: &[StreamIndex],
        ask: impl FnOnce(&[InputDescription]) -> Result<T, PluginError>,
    ) -> Option<T> {
        let descriptions: Vec<InputDescription> = inputs.iter().map(|&stream| self.input_description(stream)).collect();
        if descriptions.is_empty() {
            return None;
        }
        match ask(&descriptions) {
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
        let stream = self.stream_at(stream);
        InputDescription {
            name: stream.name.clone(),
            schema: stream.schema.clone(),
            changelog: stream.changelog,
        }
    }
}

/// The ports that a plugin described.
fn ports(outputs: &[OutputDescription]) -> Vec<Port> {
    let port = |output: &OutputDescription| Port {
        name: output.name.clone(),
        schema: output.schema.clone(),
        changelog: output.changelog,
    };
    outputs.iter().map(port).collect()
}
