//! Which columns of each stream something reads, and where rows' places are needed: computed from the sinks back.
//!
//! * A sink reads the columns that it writes.
//! * A window reads its key and the columns of its aggregates, and whatever is read of its late rows.
//! * A join, a lookup, a deduplication, a top and a split read their keys and conditions, and what is read of them.
//! * A plugin reads what it requires, and its key. An output column may be handed through by reference, but only a required
//!   column or the input column of the same name and type: so a live output column makes the latter live too.
//! * Event times are hidden columns, not these; that a source must decode its event-time column to have them is the
//!   runtime's matter.
//!
//! Places are needed where rows are put into one order (a sink in event-time order; `first`, `last` and `array_agg`;
//! aggregates that do not commute; operators that take rows in event-time order) and for the provenance of dead letters. An operator's outputs have the places of its
//! input; a window's results have places of their own.

use wasmill_core::aggregate::Builtin;
use wasmill_core::delivery::Delivery;
use wasmill_core::plan::{
    AggregateFunction, AggregateNode, ContentNode, JoinColumn, JoinNode, KeyedNode, LATE_PORT, LookupNode, NodeKind,
    Plan, RowOrder, SinkOrder, Stream, TopNode, TransformNode, WindowNode,
};
use wasmill_core::window::{Late, Trigger, TriggerWhen, Windows};

/// What a node needs of one of its inputs.
struct Need {
    live: Vec<bool>,
    order: bool,
}

/// Fills in `live` and `order` of every stream.
pub(crate) fn project(plan: &mut Plan) {
    // Consumers stand after their producers: going back, a node's outputs are settled before its inputs are asked for.
    for at in (0..plan.nodes.len()).rev() {
        let node = &plan.nodes[at];
        let needs: Vec<Need> = node
            .inputs
            .iter()
            .enumerate()
            .map(|(input, &stream)| {
                let stream = plan.stream(stream);
                let outputs: Vec<&Stream> = node.outputs.iter().map(|&output| plan.stream(output)).collect();
                let mut need = match &node.kind {
                    NodeKind::Source(_) => unreachable!("a source has no inputs"),
                    NodeKind::Transform(transform) => of_transform(transform, input, stream, &outputs),
                    NodeKind::Keyed(keyed) => of_keyed(keyed, input, stream, &outputs, node.dead_letters.is_some()),
                    NodeKind::Content(content) => of_content(content, stream, &outputs, node.dead_letters.is_some()),
                    NodeKind::Join(join) => of_join(join, input, stream, &outputs, node.dead_letters.is_some()),
                    NodeKind::Lookup(lookup) => of_lookup(lookup, stream, &outputs),
                    NodeKind::Union => of_same(stream, &outputs, &[], false),
                    NodeKind::Split(split) => {
                        let columns: Vec<usize> = split.ports.iter().map(|port| port.column).collect();
                        of_same(stream, &outputs, &columns, false)
                    }
                    NodeKind::Deduplicate(deduplicate) => {
                        let need = of_same(stream, &outputs, &deduplicate.key, true);
                        with_late(
                            need,
                            deduplicate.late,
                            node.dead_letters.is_some(),
                            outputs.get(LATE_PORT),
                        )
                    }
                    NodeKind::Top(top) => of_top(top, stream, &outputs, node.dead_letters.is_some()),
                    NodeKind::Window(window) => of_window(window, stream, &outputs, node.dead_letters.is_some()),
                    NodeKind::Sink(sink) => Need {
                        live: marked(stream, sink.columns.iter().copied()),
                        // Its rows' ids are their places.
                        order: sink.order == SinkOrder::EventTime || sink.delivery == Delivery::EffectivelyOnce,
                    },
                };
                need.order |= node.dead_letters.is_some();
                need
            })
            .collect();
        for (&stream, need) in plan.nodes[at].inputs.clone().iter().zip(needs) {
            let stream = &mut plan.streams[stream.0 as usize];
            for (live, needed) in stream.live.iter_mut().zip(need.live) {
                *live |= needed;
            }
            stream.order |= need.order;
        }
    }
}

fn marked(stream: &Stream, columns: impl IntoIterator<Item = usize>) -> Vec<bool> {
    let mut live = vec![false; stream.schema.len()];
    for column in columns {
        live[column] = true;
    }
    live
}

fn of_transform(transform: &TransformNode, input: usize, stream: &Stream, outputs: &[&Stream]) -> Need {
    let mut live = marked(stream, transform.description.inputs[input].columns.iter().copied());
    for (port, output) in outputs.iter().enumerate() {
        for (column, field) in output.schema.fields().iter().enumerate() {
            // The column that becomes the event time is read by the host, whoever else reads it.
            let retimes = port == 0
                && transform
                    .description
                    .retime
                    .as_ref()
                    .is_some_and(|retime| retime.column == column);
            let same = stream.schema.index_of(&field.name);
            if let Some(same) = same.filter(|_| output.live[column] || retimes) {
                live[same] |= stream.schema.fields()[same].data_type == field.data_type;
            }
        }
    }
    Need {
        live,
        order: outputs.iter().any(|output| output.order),
    }
}

fn of_window(window: &WindowNode, stream: &Stream, outputs: &[&Stream], has_dead_letters: bool) -> Need {
    let aggregated = window.aggregates.iter().flat_map(aggregate_columns);
    let goes_by_order = window
        .aggregates
        .iter()
        .any(|aggregate| goes_by_order(&aggregate.function));
    let need = Need {
        live: marked(stream, window.frame.key.iter().copied().chain(aggregated)),
        order: goes_by_order || in_order(&window.frame.windows),
    };
    with_late(need, window.frame.late, has_dead_letters, outputs.get(LATE_PORT))
}

/// Whether rows are counted, so that their order decides.
fn in_order(windows: &Windows) -> bool {
    matches!(
        windows,
        Windows::Count { .. }
            | Windows::Global {
                trigger: Some(Trigger {
                    when: TriggerWhen::Count(_),
                    ..
                })
            }
    )
}

fn of_content(content: &ContentNode, stream: &Stream, outputs: &[&Stream], has_dead_letters: bool) -> Need {
    let described = content.description.outputs.len();
    let required = content.description.input.columns.iter().copied();
    let mut live = marked(stream, content.frame.key.iter().copied().chain(required));
    by_reference(&mut live, stream, &outputs[..described]);
    let need = Need { live, order: true };
    with_late(need, content.frame.late, has_dead_letters, outputs.get(described))
}

fn of_keyed(keyed: &KeyedNode, input: usize, stream: &Stream, outputs: &[&Stream], has_dead_letters: bool) -> Need {
    let described = keyed.description.outputs.len();
    let required = keyed.description.inputs[input].columns.iter().copied();
    let mut live = marked(stream, keyed.key[input].iter().copied().chain(required));
    by_reference(&mut live, stream, &outputs[..described]);
    let need = Need {
        live,
        order: keyed.order == RowOrder::EventTime || outputs.iter().any(|output| output.order),
    };
    with_late(need, keyed.late, has_dead_letters, outputs.get(described))
}

fn of_join(join: &JoinNode, side: usize, stream: &Stream, outputs: &[&Stream], has_dead_letters: bool) -> Need {
    let mut live = marked(stream, join.key[side].iter().copied());
    let main = outputs[0];
    let bounds = main.schema.len() - join.columns.len();
    for (column, from) in join.columns.iter().enumerate() {
        if !main.live[bounds + column] {
            continue;
        }
        match (*from, side) {
            (JoinColumn::Left(place), 0) | (JoinColumn::Right(place), 1) => live[place] = true,
            _ => {}
        }
    }
    let need = Need { live, order: true };
    with_late(need, join.late, has_dead_letters, outputs.get(1 + side))
}

fn of_lookup(lookup: &LookupNode, stream: &Stream, outputs: &[&Stream]) -> Need {
    let mut live = marked(stream, lookup.on.iter().map(|pair| pair.0));
    live.iter_mut()
        .zip(&outputs[0].live)
        .for_each(|(live, read)| *live |= read);
    Need {
        live,
        order: outputs[0].order,
    }
}

/// An operator that hands rows on as they are.
fn of_same(stream: &Stream, outputs: &[&Stream], columns: &[usize], order: bool) -> Need {
    let mut live = marked(stream, columns.iter().copied());
    for output in outputs {
        live.iter_mut().zip(&output.live).for_each(|(live, read)| *live |= read);
    }
    Need {
        live,
        order: order || outputs.iter().any(|output| output.order),
    }
}

fn of_top(top: &TopNode, stream: &Stream, outputs: &[&Stream], has_dead_letters: bool) -> Need {
    let mut live = marked(stream, top.key.iter().copied().chain([top.by]));
    let bounds = if top.window.is_some() { 2 } else { 0 };
    live.iter_mut()
        .zip(&outputs[0].live[bounds..])
        .for_each(|(live, read)| *live |= read);
    let need = Need { live, order: true };
    with_late(need, top.late, has_dead_letters, outputs.get(LATE_PORT))
}

/// Adds what late rows are read for.
fn with_late(mut need: Need, late: Late, has_dead_letters: bool, port: Option<&&Stream>) -> Need {
    match (late, port) {
        (Late::Port, Some(late)) => {
            need.order |= late.order;
            need.live
                .iter_mut()
                .zip(&late.live)
                .for_each(|(live, late)| *live |= late);
        }
        // A late row is shown whole.
        (Late::DeadLetter, _) => need.live.iter_mut().for_each(|live| *live |= has_dead_letters),
        _ => {}
    }
    need
}

/// Marks what outputs may refer to: input columns of the name and type of a live output column.
fn by_reference(live: &mut [bool], stream: &Stream, outputs: &[&Stream]) {
    for output in outputs {
        for (field, _) in output
            .schema
            .fields()
            .iter()
            .zip(&output.live)
            .filter(|(_, live)| **live)
        {
            if let Some(same) = stream.schema.index_of(&field.name) {
                live[same] |= stream.schema.fields()[same].data_type == field.data_type;
            }
        }
    }
}

fn aggregate_columns(aggregate: &AggregateNode) -> Vec<usize> {
    match &aggregate.function {
        AggregateFunction::Plugin(plugin) => {
            let required = &plugin.description.input.columns;
            required.iter().map(|&column| plugin.input[column]).collect()
        }
        AggregateFunction::Builtin(builtin) => match *builtin {
            Builtin::Count(column) => column.into_iter().collect(),
            Builtin::Sum(column)
            | Builtin::Min(column)
            | Builtin::Max(column)
            | Builtin::Avg(column)
            | Builtin::First(column)
            | Builtin::Last(column)
            | Builtin::CountDistinct(column)
            | Builtin::Quantile(column, _)
            | Builtin::TopK(column, _)
            | Builtin::Stddev(column)
            | Builtin::ArrayAgg(column) => vec![column],
        },
    }
}

fn goes_by_order(function: &AggregateFunction) -> bool {
    match function {
        AggregateFunction::Builtin(builtin) => {
            matches!(builtin, Builtin::First(_) | Builtin::Last(_) | Builtin::ArrayAgg(_))
        }
        AggregateFunction::Plugin(plugin) => !plugin.description.commutative,
    }
}
