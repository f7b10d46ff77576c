//! A plan in words, and as JSON. Configurations are left out: they hold what secrets stand for.

use std::fmt::Write as _;

use serde_json::{Value, json};

use wasmill_core::delivery::Delivery;
use wasmill_core::id::StreamIndex;
use wasmill_core::plan::{CheckpointSettings, Node, NodeKind, Plan};
use wasmill_core::time::Micros;
use wasmill_topology::reproducible::{Sameness, sinks};

/// What a plan is, what it keeps, and whether it is reproducible.
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
    text.push_str(&checkpoints(plan.checkpoint.as_ref(), &deliveries(plan)));
    text.push('\n');
    text.push_str(&reproducibility(plan));
    text
}

/// What each sink gives.
fn deliveries(plan: &Plan) -> Vec<(&str, Delivery)> {
    let delivery = |node: &'_ Node| match &node.kind {
        NodeKind::Sink(sink) => Some(sink.delivery),
        _ => None,
    };
    let nodes = plan.nodes.iter();
    nodes
        .filter_map(|node| Some((node.id.as_str(), delivery(node)?)))
        .collect()
}

fn checkpoints(settings: Option<&CheckpointSettings>, deliveries: &[(&str, Delivery)]) -> String {
    let Some(settings) = settings else {
        return "no checkpoints: a failure ends the run, and a start reads its sources from the beginning\n".to_owned();
    };
    let younger = match settings.retain_for {
        Micros::ZERO => String::new(),
        young => format!(" and those younger than {young}"),
    };
    let mut text = format!(
        "checkpoints: every {} to {}, of which the newest {}{younger} stay; after a failure\n",
        settings.interval, settings.written, settings.retain
    );
    for (sink, delivery) in deliveries {
        let what = match delivery {
            Delivery::AtLeastOnce => "rows may come again",
            Delivery::EffectivelyOnce => "rows may come again, under the same ids",
            Delivery::ExactlyOnce => "no row is lost, none comes again",
        };
        let _ = writeln!(text, "  {sink}: {delivery}: {what}");
    }
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
    let delivery: serde_json::Map<String, Value> = deliveries(plan)
        .into_iter()
        .map(|(sink, delivery)| (sink.to_owned(), json!(delivery)))
        .collect();
    json!({
        "kind": "topology",
        "name": plan.name,
        "nodes": nodes,
        "streams": streams,
        "checkpoint": plan.checkpoint.as_ref().map(|settings| {
            json!({
                "store": settings.written,
                "interval": settings.interval.to_string(),
                "retain": settings.retain,
                "retain-for": settings.retain_for.to_string(),
            })
        }),
        "delivery": delivery,
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

#[cfg(test)]
mod tests {
    use super::*;
    use wasmill_core::plan::StoreAddress;

    #[test]
    fn a_summary_says_where_checkpoints_are_and_what_each_sink_gives() {
        let mut settings = CheckpointSettings::new(StoreAddress::Folder("/jobs/state".into()), "file:state".to_owned());
        let deliveries = [
            ("out", Delivery::ExactlyOnce),
            ("hook", Delivery::EffectivelyOnce),
            ("rejected", Delivery::AtLeastOnce),
        ];
        let first = |settings: &CheckpointSettings| {
            let text = checkpoints(Some(settings), &deliveries);
            text.lines().map(str::to_owned).collect::<Vec<_>>()
        };
        assert_eq!(
            first(&settings),
            [
                "checkpoints: every 10s to file:state, of which the newest 5 stay; after a failure",
                "  out: exactly-once: no row is lost, none comes again",
                "  hook: effectively-once: rows may come again, under the same ids",
                "  rejected: at-least-once: rows may come again",
            ]
        );
        settings.retain_for = Micros::from_secs(86_400);
        assert_eq!(
            first(&settings)[0],
            "checkpoints: every 10s to file:state, of which the newest 5 and those younger than 1d stay; after a failure"
        );
        assert!(checkpoints(None, &deliveries).starts_with("no checkpoints: "));
    }
}
