//! Which columns of each stream something reads, and where rows' places are needed: computed from the sinks back.
//!
//! * A sink reads the columns that it writes.
//! * A window reads its key and the columns of its aggregates, and whatever is read of its late rows.
//! * A transform reads what it requires. An output column may be handed through by reference, but only a required
//!   column or the input column of the same name and type: so a live output column makes the latter live too.
//! * Event times are hidden columns, not these; that a source must decode its event-time column to have them is the
//!   runtime's matter.
//!
//! Places are needed where rows are put into one order (a sink in event-time order; `first`, `last` and `array_agg`;
//! aggregates that do not commute) and for the provenance of dead letters. An operator's outputs have the places of its
//! input; a window's results have places of their own.

use wasmill_core::aggregate::Builtin;
use wasmill_core::plan::{
    AggregateFunction, AggregateNode, LATE_PORT, NodeKind, Plan, SinkOrder, Stream, TransformNode, WindowNode,
};
use wasmill_core::window::Late;

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
                    NodeKind::Keyed(_)
                    | NodeKind::Content(_)
                    | NodeKind::Join(_)
                    | NodeKind::Lookup(_)
                    | NodeKind::Union
                    | NodeKind::Deduplicate(_)
                    | NodeKind::Top(_)
                    | NodeKind::Split(_) => Need {
                        live: vec![true; stream.schema.len()],
                        order: true,
                    },
                    NodeKind::Window(window) => of_window(window, stream, &outputs, node.dead_letters.is_some()),
                    NodeKind::Sink(sink) => Need {
                        live: marked(stream, sink.columns.iter().copied()),
                        order: sink.order == SinkOrder::EventTime,
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
    let mut live = marked(stream, window.frame.key.iter().copied().chain(aggregated));
    let mut order = window
        .aggregates
        .iter()
        .any(|aggregate| goes_by_order(&aggregate.function));
    match window.frame.late {
        Late::Drop => {}
        Late::Port => {
            let late = outputs[LATE_PORT];
            order |= late.order;
            live.iter_mut().zip(&late.live).for_each(|(live, late)| *live |= late);
        }
        // A late row is shown whole.
        Late::DeadLetter => live.iter_mut().for_each(|live| *live |= has_dead_letters),
    }
    Need { live, order }
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
