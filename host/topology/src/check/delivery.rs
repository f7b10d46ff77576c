//! `delivery`: whether the parts of a topology can give what is asked of its sinks.
//!
//! More than at least once takes checkpoints, a connector that can, sources that can be read again, and, where rows are
//! told apart by their ids, rows that have the same ids when they come again.

use std::collections::BTreeSet;

use wasmill_connector_api::source::Replay;
use wasmill_core::delivery::Delivery;
use wasmill_core::diagnostic::Diagnostic;
use wasmill_core::id::{NodeIndex, StreamIndex};
use wasmill_core::plan::{Irreproducible, NodeKind, Plan};

use super::Checker;
use crate::codes;
use crate::place::{At as _, Place};
use crate::spec::{DeliverySpec, Kind, Sink};

impl Checker<'_> {
    /// What a sink is to give.
    pub(super) fn delivery_of(&self, sink: &Sink) -> Delivery {
        self.asked(sink).map_or(Delivery::default(), |spec| spec.delivery)
    }

    /// What the file says of a sink's delivery: at the sink, or at the root.
    fn asked<'s>(&'s self, sink: &'s Sink) -> Option<&'s DeliverySpec> {
        sink.delivery.as_ref().or(self.topology.delivery.as_ref())
    }

    /// Refuses deliveries that take checkpoints where there are none.
    pub(super) fn delivery_without_checkpoints(&self) {
        if self.topology.running.iter().any(|(key, _)| *key == "checkpoint") {
            return;
        }
        let nodes = self.topology.nodes.iter();
        let of_sinks = nodes.filter_map(|node| match &node.kind {
            Kind::Sink(sink) => sink.delivery.as_ref(),
            _ => None,
        });
        for spec in self.topology.delivery.iter().chain(of_sinks) {
            if spec.delivery > Delivery::AtLeastOnce {
                self.problems().error(
                    codes::DELIVERY,
                    format!("{} takes checkpoints, and the topology has none", spec.delivery),
                    &spec.place,
                    "add [checkpoint] with a `store`, as in `store = \"file:state\"`, or leave `delivery` out",
                );
            }
        }
    }

    /// Refuses a delivery that the sink's connector cannot give.
    pub(super) fn delivery_of_connector(&self, at: usize, sink: &Sink, best: Delivery) {
        let Some(spec) = self.asked(sink).filter(|spec| spec.delivery > best) else {
            return;
        };
        let node = &self.topology.nodes[at];
        let connector = &sink.connector.text;
        let here = if sink.delivery.is_some() {
            "here"
        } else {
            "at this sink"
        };
        let help = format!("write `delivery = \"{best}\"` {here}, or use another connector");
        self.problems().push(
            Diagnostic::error(codes::DELIVERY, format!("{} cannot give {}", node.name, spec.delivery))
                .at(&node.id_place, format!("\"{connector}\" gives {best} at best"))
                .at(&spec.place, "asked for here")
                .help(help),
        );
    }

    /// Refuses deliveries that what stands before a sink cannot give, and warns of rows that a failure loses.
    pub(super) fn delivery_of_inputs(&self, plan: &Plan) {
        let replay = |id: &str| {
            self.replays
                .iter()
                .find(|(at, _)| self.is(*at, id))
                .map(|(_, replay)| *replay)
        };
        for (at, node) in plan.nodes.iter().enumerate() {
            let NodeKind::Sink(sink) = &node.kind else { continue };
            if sink.delivery == Delivery::AtLeastOnce {
                continue;
            }
            let Some((place, name)) = self.delivery_place(node.id.as_str()) else {
                continue;
            };
            let before = upstream(plan, NodeIndex(at as u32));
            for index in &before {
                let source = plan.node(*index).id.as_str();
                let (why, help) = match replay(source) {
                    None | Some(Replay::Replayable) => continue,
                    Some(Replay::Lossy) => (
                        format!("what `{source}` has read since the last checkpoint is lost when the job fails"),
                        "write `delivery = \"at-least-once\"`, or put something that keeps the records before it",
                    ),
                    Some(Replay::Acknowledged) => (
                        format!("`{source}` may be given a record again, and cannot tell it from another"),
                        "write `delivery = \"at-least-once\"`",
                    ),
                };
                self.cannot_give(&name, sink.delivery, place, source, &why, help);
            }
            if sink.delivery != Delivery::EffectivelyOnce {
                continue;
            }
            for Irreproducible { node, reason } in &plan.irreproducible {
                if before.iter().any(|index| plan.node(*index).id == *node) {
                    let why = format!("rows that come again may have other ids, because of `{node}`: {reason}");
                    let help = "write \"exactly-once\" where the connector can, or \"at-least-once\"";
                    self.cannot_give(&name, sink.delivery, place, node.as_str(), &why, help);
                }
            }
        }
        if plan.checkpoint.is_some() && !self.problems().any() {
            self.lossy();
        }
    }

    fn cannot_give(&self, sink: &str, delivery: Delivery, place: &Place, because: &str, why: &str, help: &str) {
        let node = self.wiring.by_id.get(because).map(|at| &self.topology.nodes[*at]);
        let mut diagnostic = Diagnostic::error(codes::DELIVERY, format!("{sink} cannot give {delivery}: {why}"))
            .at(place, "asked for here");
        if let Some(node) = node {
            diagnostic = diagnostic.at(&node.id_place, "because of this");
        }
        self.problems().push(diagnostic.help(help));
    }

    /// Where a sink's delivery is asked for, and how diagnostics call the sink.
    fn delivery_place(&self, id: &str) -> Option<(&Place, String)> {
        let node = &self.topology.nodes[*self.wiring.by_id.get(id)?];
        let Kind::Sink(sink) = &node.kind else { return None };
        Some((&self.asked(sink)?.place, node.name.clone()))
    }

    fn is(&self, at: usize, id: &str) -> bool {
        self.wiring.by_id.get(id) == Some(&at)
    }

    /// Warns of sources whose records a failure loses although there are checkpoints.
    fn lossy(&self) {
        for (at, replay) in &self.replays {
            let node = &self.topology.nodes[*at];
            if *replay == Replay::Lossy {
                self.problems().push(
                    Diagnostic::warning(
                        codes::LOSSY,
                        format!(
                            "what {} has read since the last checkpoint is lost when the job fails",
                            node.name
                        ),
                    )
                    .at(&node.id_place, "its records cannot be read again")
                    .help("put something that keeps the records before it, or leave it so"),
                );
            }
        }
    }
}

/// The nodes whose rows or dead letters reach a node.
fn upstream(plan: &Plan, of: NodeIndex) -> BTreeSet<NodeIndex> {
    let mut reached = BTreeSet::new();
    let mut next: Vec<StreamIndex> = plan.node(of).inputs.clone();
    while let Some(stream) = next.pop() {
        let producer = plan.stream(stream).producer;
        if reached.insert(producer) {
            next.extend(&plan.node(producer).inputs);
        }
    }
    reached
}
