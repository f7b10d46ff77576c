//! A plan in words, and as JSON. Configurations are left out: they hold what secrets stand for.

use std::fmt::Write as _;

use serde_json::{Value, json};

use wasmill_core::id::StreamIndex;
use wasmill_core::plan::{Node, NodeKind, Plan};
use wasmill_topology::reproducible::{Sameness, sinks};

/// What a plan is, and whether it is reproducible.
pub(crate) fn human(plan: &Plan) -> String {
    let mut text = format!("{}: no errors\n\n", plan.name);
    let id_width = plan
        .nodes
        .iter()
        .map(|node| node.id.as_str().chars().count())
        .max()
        .unwrap_or(0);
    let kind_width = plan.nodes.iter().map(|node| kind(node).len()).max().unwrap_or(0);
    for node in &plan.nodes {
        let _ = match node.inputs.as_slice() {
            [] => writeln!(text, "  {:id_width$}  {}", node.id.as_str(), kind(node)),
            inputs => writeln!(
                text,
                "  {:id_width$}  {:kind_width$}  reads {}",
                node.id.as_str(),
                kind(node),
                names(plan, inputs)
            ),
        };
        for &output in &node.outputs {
            let stream = plan.stream(output);
            let _ = writeln!(
                text,
                "  {:id_width$}  {:kind_width$}  gives {}({})",
                "",
                "",
                stream
                    .name
                    .split_once('.')
                    .map_or_else(String::new, |(_, port)| format!("{port} ")),
                stream.schema
            );
        }
    }
    text.push('\n');
    text.push_str(&reproducibility(plan));
    text
}

fn reproducibility(plan: &Plan) -> String {
    let mut text = String::new();
    if !plan.irreproducible.is_empty() {
        text.push_str("not reproducible: another run may give another output, because\n");
        for reason in &plan.irreproducible {
            let _ = writeln!(text, "  {}: {}", reason.node, reason.reason);
        }
        return text;
    }
    text.push_str("reproducible: every run over the same input gives\n");
    let mut any_order = false;
    for (sink, sameness) in sinks(plan) {
        let what = match sameness {
            Sameness::Bytes => "the same bytes",
            Sameness::Rows => {
                any_order = true;
                "the same rows, in any order"
            }
        };
        let _ = writeln!(text, "  {sink}: {what}");
    }
    if any_order {
        text.push_str("  (with `order = \"event-time\"` a sink gives the same bytes)\n");
    }
    text
}

/// A plan for programs.
pub(crate) fn json(plan: &Plan) -> Value {
    let nodes: Vec<Value> = plan
        .nodes
        .iter()
        .map(|node| {
            json!({
                "id": node.id.as_str(),
                "kind": kind(node),
                "connector": connector(node),
                "inputs": list(plan, &node.inputs),
                "outputs": list(plan, &node.outputs),
                "dead-letters": node.dead_letters.map(|stream| &*plan.stream(stream).name),
            })
        })
        .collect();
    let streams: Vec<Value> = plan
        .streams
        .iter()
        .map(|stream| {
            let fields = stream.schema.fields().iter().zip(&stream.live);
            let columns: Vec<Value> = fields
                .map(|(field, live)| {
                    json!({
                        "name": field.name,
                        "type": field.data_type,
                        "nullable": field.nullable,
                        "read": live,
                    })
                })
                .collect();
            json!({ "name": &*stream.name, "columns": columns })
        })
        .collect();
    let irreproducible: Vec<Value> = plan
        .irreproducible
        .iter()
        .map(|reason| json!({ "node": reason.node.as_str(), "reason": reason.reason }))
        .collect();
    let sameness: serde_json::Map<String, Value> = sinks(plan)
        .into_iter()
        .map(|(sink, sameness)| (sink.to_string(), json!(sameness)))
        .collect();
    json!({
        "kind": "topology",
        "name": plan.name,
        "nodes": nodes,
        "streams": streams,
        "reproducible": irreproducible.is_empty(),
        "irreproducible": irreproducible,
        "same": if irreproducible.is_empty() { Value::Object(sameness) } else { Value::Null },
    })
}

fn kind(node: &Node) -> &'static str {
    match &node.kind {
        NodeKind::Source(_) => "source",
        NodeKind::Transform(_) | NodeKind::Keyed(_) => "operator",
        NodeKind::Window(_) | NodeKind::Content(_) => "window",
        NodeKind::Join(_) => "join",
        NodeKind::Lookup(_) => "lookup",
        NodeKind::Union => "union",
        NodeKind::Deduplicate(_) => "deduplicate",
        NodeKind::Top(_) => "top",
        NodeKind::Split(_) => "split",
        NodeKind::Sink(_) => "sink",
    }
}

fn connector(node: &Node) -> Option<&str> {
    match &node.kind {
        NodeKind::Source(source) => Some(&source.connector.name),
        NodeKind::Sink(sink) => Some(&sink.connector.name),
        _ => None,
    }
}

fn list<'a>(plan: &'a Plan, streams: &[StreamIndex]) -> Vec<&'a str> {
    streams.iter().map(|&stream| &*plan.stream(stream).name).collect()
}

fn names(plan: &Plan, streams: &[StreamIndex]) -> String {
    list(plan, streams).join(", ")
}
