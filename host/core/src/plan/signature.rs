//! What the layout of a node's saved state depends on, as a text: state is loaded only where the text is the same.
//!
//! It names what decides how saved bytes are read, and what they are about: the key's columns, the columns of kept rows,
//! windows, aggregates, tables. Columns count by name and type, so that two columns of one type that change places are
//! told apart; a column with another name is another column. What only decides what is done with state is left out:
//! limits, policies, lateness, ports, how a result is written, and which plugin it is, as long as its tables are the same.
//!
//! Kept rows hold the columns that something downstream reads. So a sink that reads one more column of a join's output
//! changes what the join keeps, and one that reads no other column does not.
//!
//! The words here are part of what is stored: a change of one is a change of format.

use std::fmt::Write as _;

use super::{
    AggregateFunction, AggregateNode, ContentNode, DeduplicateNode, JoinBound, JoinColumn, JoinKind, JoinNode,
    KeyedNode, LateResults, Node, NodeKind, Plan, RowOrder, SinkNode, SinkOrder, Stream, TopNode, WindowFrame,
    WindowNode,
};
use crate::aggregate::Builtin;
use crate::id::NodeIndex;
use crate::keyed::{TableDescription, TableKind, TimeDomain};
use crate::schema::{Field, Schema};
use crate::window::{Alignment, Trigger, TriggerWhen, WindowSpec, Windows};

impl Plan {
    /// What the layout of a node's state depends on; `None` for a node that keeps none.
    ///
    /// The state of a source is where its partitions were cut, that of a sink what its writers prepared and the rows that
    /// it holds back: both are their connector's, whose name stands here.
    pub fn state_signature(&self, index: NodeIndex) -> Option<String> {
        let node = self.node(index);
        let inputs: Vec<&Stream> = node.inputs.iter().map(|&input| self.stream(input)).collect();
        Some(match &node.kind {
            NodeKind::Transform(_) | NodeKind::Lookup(_) | NodeKind::Union | NodeKind::Split(_) => return None,
            NodeKind::Source(source) => format!("source {}", source.connector.name),
            NodeKind::Keyed(keyed) => of_keyed(keyed, &inputs),
            NodeKind::Window(window) => of_window(window, inputs[0], self.main(node)),
            NodeKind::Content(content) => of_content(content, inputs[0]),
            NodeKind::Join(join) => of_join(join, &inputs, self.main(node)),
            NodeKind::Deduplicate(deduplicate) => of_deduplicate(deduplicate, inputs[0]),
            NodeKind::Top(top) => of_top(top, inputs[0], self.main(node)),
            NodeKind::Sink(sink) => of_sink(sink, inputs[0]),
        })
    }

    fn main(&self, node: &Node) -> &Stream {
        self.stream(node.outputs[0])
    }
}

fn of_keyed(keyed: &KeyedNode, inputs: &[&Stream]) -> String {
    let order = match keyed.order {
        RowOrder::EventTime => "event-time",
        RowOrder::Arrival => "arrival",
    };
    let mut text = format!("keyed by {}; in order of {order}", keys(&keyed.key, inputs));
    if keyed.order == RowOrder::EventTime {
        for input in inputs {
            let _ = write!(text, "; {}", rows(input));
        }
    }
    for table in &keyed.description.tables {
        let _ = write!(text, "; {}", of_table(table));
    }
    // One more table says when a key's last row was, where any table asks.
    if keyed.description.tables.iter().any(|table| table.ttl.is_some()) {
        text.push_str("; last rows");
    }
    for timer in &keyed.description.timers {
        let domain = match timer.domain {
            TimeDomain::Event => "event",
            TimeDomain::Processing => "processing",
        };
        let _ = write!(text, "; timer {} in {domain} time", timer.name);
    }
    text
}

fn of_table(table: &TableDescription) -> String {
    let kind = match table.kind {
        TableKind::Value => "value",
        TableKind::ValueOnDemand => "value on demand",
        TableKind::List => "list",
        TableKind::Map => "map",
    };
    let mut text = format!(
        "{kind} {} version {} ({})",
        table.name,
        table.version,
        fields(table.schema.fields())
    );
    if table.kind == TableKind::Map {
        let _ = write!(text, " sorted by {}", table.sort_key);
    }
    text
}

fn of_window(window: &WindowNode, input: &Stream, output: &Stream) -> String {
    let mut text = format!("window {}", of_frame(&window.frame, input));
    let mut column = window.frame.key.len() + 2;
    let mut keeps_rows = waits(&window.frame.windows);
    for aggregate in &window.aggregates {
        let columns = column..column + aggregate.outputs.len();
        column = columns.end;
        let is_live = output.live[columns].contains(&true);
        if let Some(cells) = of_aggregate(aggregate, is_live, &input.schema) {
            let _ = write!(text, "; {cells}");
        }
        if let AggregateFunction::Plugin(plugin) = &aggregate.function {
            keeps_rows |= !plugin.description.commutative;
        }
    }
    if keeps_rows {
        let _ = write!(text, "; {}", rows(input));
    }
    if window.frame.early.is_some_and(|early| early.retracting) {
        let live = output
            .schema
            .fields()
            .iter()
            .zip(&output.live)
            .filter(|(_, live)| **live);
        let types: Vec<&str> = live.map(|(field, _)| field.data_type.name()).collect();
        let _ = write!(text, "; takes back ({})", types.join(", "));
    }
    text
}

/// What is kept of an aggregate; `None` where nothing is but the number of rows, which is always known.
fn of_aggregate(aggregate: &AggregateNode, is_live: bool, input: &Schema) -> Option<String> {
    let builtin = match &aggregate.function {
        AggregateFunction::Plugin(plugin) => {
            let description = &plugin.description;
            let cells = description.accumulators.iter().map(|accumulator| &accumulator.field);
            let what = if description.commutative {
                "cells"
            } else {
                "cells in order"
            };
            let columns = fields(cells);
            return Some(format!("{what} version {} ({columns})", description.version));
        }
        AggregateFunction::Builtin(builtin) => builtin,
    };
    // What is asked of a sketch or of counted values in the end is not kept.
    let (name, column) = match *builtin {
        Builtin::Count(None) => return None,
        Builtin::Count(Some(column)) => ("count", column),
        Builtin::Sum(column) => ("sum", column),
        Builtin::Min(column) => ("min", column),
        Builtin::Max(column) => ("max", column),
        Builtin::Avg(column) => ("avg", column),
        Builtin::First(column) => ("first", column),
        Builtin::Last(column) => ("last", column),
        Builtin::CountDistinct(column) => ("count_distinct", column),
        Builtin::Quantile(column, _) => ("quantile", column),
        Builtin::TopK(column, _) => ("top_k", column),
        Builtin::Stddev(column) => ("stddev", column),
        Builtin::ArrayAgg(column) => ("array_agg", column),
    };
    is_live.then(|| format!("{name}({})", field(&input.fields()[column])))
}

fn of_content(content: &ContentNode, input: &Stream) -> String {
    format!("content {}; {}", of_frame(&content.frame, input), rows(input))
}

fn of_frame(frame: &WindowFrame, input: &Stream) -> String {
    let mut text = format!("by {}; {}", key(&frame.key, input), of_windows(&frame.windows));
    let counts = frame.early.is_some() || frame.late_results == LateResults::Immediate;
    if counts && matches!(frame.windows, Windows::Aligned(_)) {
        text.push_str("; counts results");
    }
    text
}

/// Whether rows wait for their turn.
fn waits(windows: &Windows) -> bool {
    match windows {
        Windows::Count { .. } => true,
        Windows::Global { trigger } => {
            matches!(trigger.map(|trigger| trigger.when), Some(TriggerWhen::Count(_)))
        }
        Windows::Aligned(_) | Windows::Session { .. } => false,
    }
}

fn of_windows(windows: &Windows) -> String {
    match windows {
        Windows::Aligned(spec) => of_spec(spec),
        Windows::Session { gap } => format!("session {gap}"),
        Windows::Count { size, every } => format!("count {size} every {every}"),
        Windows::Global { trigger: None } => "global".to_owned(),
        Windows::Global {
            trigger: Some(Trigger { when, purge }),
        } => {
            let when = match when {
                TriggerWhen::Count(count) => format!("each {count} rows"),
                TriggerWhen::Every(_) => "by the clock".to_owned(),
            };
            format!("global {when}{}", if *purge { ", purged" } else { "" })
        }
    }
}

fn of_spec(spec: &WindowSpec) -> String {
    let (measures, alignment) = match spec {
        WindowSpec::Tumbling { size, alignment } => (format!("tumbling {size}"), alignment),
        WindowSpec::Sliding { size, every, alignment } => (format!("sliding {size} every {every}"), alignment),
        WindowSpec::Cumulative { size, step, alignment } => (format!("cumulative {size} step {step}"), alignment),
    };
    let Alignment { offset, time_zone } = alignment;
    format!("{measures} from {offset} in {}", time_zone.as_deref().unwrap_or("UTC"))
}

fn of_join(join: &JoinNode, inputs: &[&Stream], output: &Stream) -> String {
    let kind = match join.kind {
        JoinKind::Inner => "inner",
        JoinKind::Left => "left",
        JoinKind::Right => "right",
        JoinKind::Full => "full",
        JoinKind::Semi => "semi",
        JoinKind::Anti => "anti",
    };
    let bound = match &join.bound {
        JoinBound::Window(windows) => of_windows(windows),
        JoinBound::Within { before, after } => format!("within {before} before and {after} after"),
        JoinBound::AsOf { within: None } => "as of".to_owned(),
        JoinBound::AsOf { within: Some(_) } => "as of, let go of by age".to_owned(),
    };
    let mut text = format!("join {kind} by {}; {bound}", keys(&join.key, inputs));
    for (side, kept) in kept_by_join(join, output).iter().enumerate() {
        let columns = kept.iter().map(|&column| &inputs[side].schema.fields()[column]);
        let _ = write!(text, "; keeps ({})", fields(columns));
    }
    if !matches!(join.bound, JoinBound::Window(_)) {
        for input in inputs {
            let _ = write!(text, "; {}", rows(input));
        }
    }
    text
}

/// The columns that a join keeps of either side: those that come out, in the order in which they do.
fn kept_by_join(join: &JoinNode, output: &Stream) -> [Vec<usize>; 2] {
    let before = output.schema.len() - join.columns.len();
    let mut kept = [Vec::new(), Vec::new()];
    let mut add = |side: usize, column: usize| {
        if !kept[side].contains(&column) {
            kept[side].push(column);
        }
    };
    let live = join
        .columns
        .iter()
        .zip(&output.live[before..])
        .filter(|(_, live)| **live);
    for (column, _) in live {
        match *column {
            JoinColumn::Left(column) => add(0, column),
            JoinColumn::Right(column) => add(1, column),
            JoinColumn::On(pair) => {
                add(0, join.key[0][pair]);
                add(1, join.key[1][pair]);
            }
        }
    }
    kept
}

fn of_deduplicate(deduplicate: &DeduplicateNode, input: &Stream) -> String {
    format!("deduplicate by {}; {}", key(&deduplicate.key, input), rows(input))
}

fn of_top(top: &TopNode, input: &Stream, output: &Stream) -> String {
    let order = if top.descending { "greatest" } else { "least" };
    let by = field(&input.schema.fields()[top.by]);
    let mut text = format!("top {} by {}; {order} {by}", top.n, key(&top.key, input));
    let before = if top.window.is_some() { 2 } else { 0 };
    let kept = input.schema.fields().iter().zip(&output.live[before..]);
    let kept = kept.filter(|(_, live)| **live).map(|(field, _)| field);
    let _ = write!(text, "; keeps ({})", fields(kept));
    match &top.window {
        Some(spec) => {
            let _ = write!(text, "; {}", of_spec(spec));
        }
        None => {
            let _ = write!(text, "; {}", rows(input));
        }
    }
    text
}

fn of_sink(sink: &SinkNode, input: &Stream) -> String {
    let mut text = format!("sink {}", sink.connector.name);
    if sink.order == SinkOrder::EventTime {
        let columns = sink.columns.iter().map(|&column| &input.schema.fields()[column]);
        let kinds = if sink.changelog { " with kinds" } else { "" };
        let _ = write!(text, "; in order of event-time ({}){kinds}", fields(columns));
    }
    text
}

/// Rows of a stream as they are kept: the columns that are read, with places and kinds where there are any.
fn rows(stream: &Stream) -> String {
    let live = stream
        .schema
        .fields()
        .iter()
        .zip(&stream.live)
        .filter(|(_, live)| **live);
    let places = if stream.order { " with places" } else { "" };
    let kinds = if stream.changelog { " with kinds" } else { "" };
    format!("rows ({}){places}{kinds}", fields(live.map(|(field, _)| field)))
}

fn keys<K: AsRef<[usize]>>(of_inputs: &[K], inputs: &[&Stream]) -> String {
    let keys = of_inputs.iter().zip(inputs);
    let keys: Vec<String> = keys.map(|(columns, input)| key(columns.as_ref(), input)).collect();
    keys.join(" and ")
}

fn key(columns: &[usize], input: &Stream) -> String {
    format!(
        "({})",
        fields(columns.iter().map(|&column| &input.schema.fields()[column]))
    )
}

fn fields<'f>(of: impl IntoIterator<Item = &'f Field>) -> String {
    of.into_iter().map(field).collect::<Vec<_>>().join(", ")
}

/// A name may hold any character, so it is quoted.
fn field(field: &Field) -> String {
    format!("{:?} {}", &*field.name, field.data_type)
}
