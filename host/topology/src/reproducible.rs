//! Whether a topology gives the same output on every run, and if not, which parts stand in the way.
//!
//! Time that comes from a clock is harmless until something goes by it: a file copied to another by ingestion time is
//! the same file. A `deadline` never decides about data (it stops the job), so it does not count.

use wasmill_core::id::{NodeId, NodeIndex, StreamIndex};
use wasmill_core::keyed::{TableDescription, TimeDomain};
use wasmill_core::plan::{
    EarlyWhen, Irreproducible, KeyedNode, LateResults, Lateness, Node, NodeKind, Plan, RowOrder, SinkOrder, SourceTime,
    WatermarkStrategy, WindowFrame,
};
use wasmill_core::window::{Trigger, TriggerWhen, Windows};

/// What a sink of a reproducible topology gives on every run.
#[derive(Clone, Copy, Debug, PartialEq, Eq, serde::Serialize)]
#[serde(rename_all = "kebab-case")]
pub enum Sameness {
    /// The same bytes.
    Bytes,
    /// The same rows, in any order.
    Rows,
}

/// What each sink gives on every run, given that [`Plan::irreproducible`] is empty.
pub fn sinks(plan: &Plan) -> Vec<(NodeId, Sameness)> {
    let sameness = |node: &Node| match &node.kind {
        NodeKind::Sink(sink) => Some(match sink.order {
            SinkOrder::EventTime => Sameness::Bytes,
            SinkOrder::Arrival => Sameness::Rows,
        }),
        _ => None,
    };
    let nodes = plan.nodes.iter();
    nodes
        .filter_map(|node| Some((node.id.clone(), sameness(node)?)))
        .collect()
}

/// The reasons, in the order of the plan. `unsteady`: what connectors say of themselves.
pub(crate) fn judge(plan: &Plan, unsteady: Vec<Irreproducible>) -> Vec<Irreproducible> {
    let mut reasons = unsteady;
    for node in &plan.nodes {
        let mut because = |reason: String| {
            reasons.push(Irreproducible {
                node: node.id.clone(),
                reason,
            });
        };
        for reason in of_operator(&node.kind) {
            because(reason);
        }
        let NodeKind::Source(source) = &node.kind else { continue };
        let clock = match source.time {
            SourceTime::Event(_) => None,
            SourceTime::Ingestion => Some("read"),
            SourceTime::Processing => Some("processed"),
        };
        if let (Some(when), Some(reader)) = (clock, reader_of_time(plan, node, true)) {
            because(format!(
                "its event time is when a record is {when}, and {reader} goes by it; name an `event-time` column"
            ));
        }
        let by_clock = matches!(source.watermark.strategy, WatermarkStrategy::Clock { .. });
        if let (true, None, Some(reader)) = (by_clock, clock, reader_of_time(plan, node, false)) {
            because(format!(
                "its watermark follows the clock, and {reader} goes by it; use the watermark strategy \
                 `bounded-out-of-orderness`"
            ));
        }
        let idle = source.watermark.idle_after;
        if let (Some(idle), Some(reader)) = (idle, reader_of_time(plan, node, false)) {
            because(format!(
                "a partition that is quiet for {idle} no longer holds back {reader}, and how long it is quiet depends on \
                 the run; leave `idle-after` out"
            ));
        }
    }
    let place = |reason: &Irreproducible| plan.nodes.iter().position(|node| node.id == reason.node);
    reasons.sort_by_key(place);
    reasons
}

/// Why an operator may give something else on the next run, whatever its input.
fn of_operator(kind: &NodeKind) -> Vec<String> {
    let mut reasons = Vec::new();
    let mut because = |reason: &str| reasons.push(reason.to_owned());
    match kind {
        NodeKind::Keyed(keyed) => {
            if keyed.order == RowOrder::Arrival {
                because(
                    "it takes rows as they arrive, which depends on the run where a key's rows come from several \
                     partitions; leave `order` out",
                );
            }
            if by_clock(keyed, TimeDomain::Processing) {
                because("its plugin has timers or state that go by processing time; use event time");
            }
        }
        NodeKind::Window(window) => return of_frame(&window.frame),
        NodeKind::Content(content) => return of_frame(&content.frame),
        NodeKind::Lookup(lookup) if lookup.refresh.is_some() => {
            because("which rows meet which version of its table depends on the run; leave `refresh` out");
        }
        _ => {}
    }
    reasons
}

/// Why a window may give something else on the next run.
fn of_frame(frame: &WindowFrame) -> Vec<String> {
    let mut reasons = Vec::new();
    let mut because = |reason: &str| reasons.push(reason.to_owned());
    match frame.early.map(|early| early.when) {
        Some(EarlyWhen::Every(_)) => {
            because("its early results come by processing time; leave `early` out");
        }
        Some(EarlyWhen::Count(_)) => {
            because("its early results depend on the order in which rows arrive; leave `early` out");
        }
        None => {}
    }
    if frame.late_results == LateResults::Immediate {
        because("how many corrections come depends on when late rows arrive; write `late-results = \"final\"`");
    }
    if frame.lateness == Lateness::BestEffort {
        because(
            "which rows are late depends on how far other partitions were read; write `lateness = \
                     \"deterministic\"`",
        );
    }
    if let Windows::Global {
        trigger: Some(Trigger {
            when: TriggerWhen::Every(_),
            ..
        }),
    } = frame.windows
    {
        because("its trigger goes by processing time; use `trigger = { count = ... }`");
    }
    reasons
}

/// Whether a plugin has timers or state that go by this clock.
fn by_clock(keyed: &KeyedNode, domain: TimeDomain) -> bool {
    let description = &keyed.description;
    let by_ttl = |table: &TableDescription| table.ttl.is_some_and(|ttl| ttl.domain == domain);
    description.timers.iter().any(|timer| timer.domain == domain) || description.tables.iter().any(by_ttl)
}

/// The first part downstream whose output depends on event time. `values`: on event times themselves too, not only on
/// the watermark.
pub(crate) fn reader_of_time(plan: &Plan, source: &Node, values: bool) -> Option<String> {
    let mut seen = vec![false; plan.nodes.len()];
    let mut next: Vec<NodeIndex> = readers(plan, &source.outputs);
    while let Some(index) = next.pop() {
        if std::mem::replace(&mut seen[index.0 as usize], true) {
            continue;
        }
        let node = plan.node(index);
        let shows_time = || {
            node.dead_letters.is_some_and(|stream| {
                let stream = plan.stream(stream);
                stream
                    .schema
                    .index_of("event_time")
                    .is_some_and(|column| stream.live[column])
            })
        };
        match &node.kind {
            NodeKind::Window(_) | NodeKind::Content(_) => return Some(format!("the window `{}`", node.id)),
            NodeKind::Join(_) => return Some(format!("the join `{}`", node.id)),
            NodeKind::Deduplicate(_) => return Some(format!("the deduplication `{}`", node.id)),
            NodeKind::Top(_) => return Some(format!("the top `{}`", node.id)),
            NodeKind::Keyed(keyed)
                if keyed.order == RowOrder::EventTime
                    || by_clock(keyed, TimeDomain::Event)
                    || (values && keyed.description.inputs.iter().any(|input| input.event_times)) =>
            {
                return Some(format!("the operator `{}`", node.id));
            }
            NodeKind::Sink(sink) if sink.order == SinkOrder::EventTime => {
                return Some(format!("the order of sink `{}`", node.id));
            }
            NodeKind::Transform(transform)
                if values
                    && (transform.description.retime.is_some()
                        || transform.description.inputs.iter().any(|input| input.event_times)) =>
            {
                return Some(format!("the operator `{}`", node.id));
            }
            _ if values && shows_time() => return Some(format!("a dead letter of `{}`", node.id)),
            _ => next.extend(readers(plan, &node.outputs)),
        }
    }
    None
}

fn readers(plan: &Plan, streams: &[StreamIndex]) -> Vec<NodeIndex> {
    let reads = |node: &Node| node.inputs.iter().any(|input| streams.contains(input));
    let nodes = plan.nodes.iter().enumerate().rev();
    nodes
        .filter(|(_, node)| reads(node))
        .map(|(at, _)| NodeIndex(at as u32))
        .collect()
}
