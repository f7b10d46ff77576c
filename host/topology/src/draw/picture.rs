//! What a picture of a plan shows: boxes and arrows, before anyone asks where they stand.

use wasmill_core::id::StreamIndex;
use wasmill_core::plan::{
    JoinBound, JoinKind, JoinNode, Node, NodeKind, Plan, SinkOrder, SourceTime, Spread, Stream, WindowFrame, WindowNode,
};
use wasmill_core::plugin::PluginRef;
use wasmill_core::schema::Schema;
use wasmill_core::window::{Alignment, TriggerWhen, WindowSpec, Windows};

/// Boxes and arrows.
pub(super) struct Picture {
    pub(super) name: String,
    pub(super) boxes: Vec<NodeBox>,
    pub(super) arrows: Vec<Arrow>,
}

/// A source, an operator or a sink.
pub(super) struct NodeBox {
    pub(super) id: String,
    pub(super) look: Look,
    /// What it is, a line each.
    pub(super) about: Vec<String>,
    /// The columns of its main output, and whether something reads them.
    pub(super) columns: Vec<(String, bool)>,
}

/// What kind of box.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Look {
    Source,
    Transform,
    Window,
    Sink,
    DeadLetterSink,
}

impl Look {
    /// The kind in a word.
    pub(super) const fn word(self) -> &'static str {
        match self {
            Self::Source => "source",
            Self::Transform => "operator",
            Self::Window => "window",
            Self::Sink => "sink",
            Self::DeadLetterSink => "dead letters",
        }
    }
}

/// A stream and one of its readers.
pub(super) struct Arrow {
    pub(super) from: usize,
    pub(super) to: usize,
    /// The port, where it is not the main output.
    pub(super) port: Option<String>,
    /// The key columns by which rows are exchanged between workers.
    pub(super) key: Option<String>,
    /// Whether dead letters flow.
    pub(super) dead_letters: bool,
    /// The columns that something reads.
    pub(super) columns: Vec<String>,
}

impl Picture {
    pub(super) fn of(plan: &Plan) -> Self {
        let boxes = plan.nodes.iter().map(|node| node_box(plan, node)).collect();
        let mut arrows = Vec::new();
        for (to, node) in plan.nodes.iter().enumerate() {
            for &input in &node.inputs {
                arrows.push(arrow(plan, input, to, node));
            }
        }
        Self {
            name: plan.name.clone(),
            boxes,
            arrows,
        }
    }
}

fn arrow(plan: &Plan, input: StreamIndex, to: usize, reader: &Node) -> Arrow {
    let stream = plan.stream(input);
    let producer = plan.node(stream.producer);
    let main = producer.outputs.first() == Some(&input);
    let port = stream.name.split_once('.').map(|(_, port)| port.to_owned());
    let place = reader.inputs.iter().position(|&read| read == input).unwrap_or_default();
    let key = match reader.kind.spread(place) {
        Spread::Key(key) => Some(names(&stream.schema, key)),
        Spread::Local | Spread::One => None,
    };
    Arrow {
        from: stream.producer.0 as usize,
        to,
        port: port.filter(|_| !main),
        key,
        dead_letters: producer.dead_letters == Some(input),
        columns: columns(stream)
            .into_iter()
            .filter(|(_, live)| *live)
            .map(|(name, _)| name)
            .collect(),
    }
}

fn columns(stream: &Stream) -> Vec<(String, bool)> {
    let fields = stream.schema.fields().iter().zip(&stream.live);
    fields.map(|(field, live)| (field.to_string(), *live)).collect()
}

fn names(schema: &Schema, columns: &[usize]) -> String {
    let names: Vec<&str> = columns.iter().map(|&column| &*schema.fields()[column].name).collect();
    names.join(", ")
}

fn node_box(plan: &Plan, node: &Node) -> NodeBox {
    let (look, about) = match &node.kind {
        NodeKind::Source(source) => {
            let format = source.format.as_ref().map(|format| format.name.as_str());
            let time = match source.time {
                SourceTime::Event(column) => {
                    let stream = node.outputs.first().map(|&stream| plan.stream(stream));
                    let field = stream.and_then(|stream| stream.schema.fields().get(column));
                    format!("time: {}", field.map_or("", |field| &field.name))
                }
                SourceTime::Ingestion => "ingestion time".to_owned(),
                SourceTime::Processing => "processing time".to_owned(),
            };
            (Look::Source, vec![connector(&source.connector.name, format), time])
        }
        NodeKind::Transform(transform) => (Look::Transform, vec![file_name(&transform.plugin)]),
        NodeKind::Window(window) => (Look::Window, window_about(plan, node, window)),
        NodeKind::Keyed(keyed) => (Look::Transform, vec![file_name(&keyed.plugin), "keyed".to_owned()]),
        NodeKind::Content(content) => {
            let mut about = vec![file_name(&content.plugin)];
            about.extend(frame_about(plan, node, &content.frame));
            (Look::Window, about)
        }
        NodeKind::Join(join) => (Look::Transform, join_about(plan, node, join)),
        NodeKind::Lookup(lookup) => {
            let format = lookup.table.format.as_ref().map(|format| format.name.as_str());
            let mut about = vec!["lookup".to_owned(), connector(&lookup.table.connector.name, format)];
            about.extend(lookup.refresh.map(|every| format!("loaded each {every}")));
            (Look::Transform, about)
        }
        NodeKind::Union => (Look::Transform, vec!["union".to_owned()]),
        NodeKind::Deduplicate(deduplicate) => (
            Look::Transform,
            vec![format!("deduplicate for {}", deduplicate.horizon)],
        ),
        NodeKind::Top(top) => {
            let input = plan.stream(node.inputs[0]);
            let mut about = vec![format!("top {} by {}", top.n, input.schema.fields()[top.by].name)];
            about.extend(top.window.as_ref().map(|spec| spec_about(spec)[0].clone()));
            (Look::Transform, about)
        }
        NodeKind::Split(_) => (Look::Transform, vec!["split".to_owned()]),
        NodeKind::Sink(sink) => {
            let dead_letters = |&input: &StreamIndex| {
                let stream = plan.stream(input);
                plan.node(stream.producer).dead_letters == Some(input)
            };
            let look = if node.inputs.iter().all(dead_letters) {
                Look::DeadLetterSink
            } else {
                Look::Sink
            };
            let mut about = vec![connector(&sink.connector.name, Some(&sink.format.name))];
            if sink.order == SinkOrder::EventTime {
                about.push("in event-time order".to_owned());
            }
            (look, about)
        }
    };
    NodeBox {
        id: node.id.to_string(),
        look,
        about,
        columns: node
            .outputs
            .first()
            .map_or_else(Vec::new, |&stream| columns(plan.stream(stream))),
    }
}

fn connector(name: &str, format: Option<&str>) -> String {
    match format {
        Some(format) => format!("{name}, {format}"),
        None => name.to_owned(),
    }
}

fn window_about(plan: &Plan, node: &Node, window: &WindowNode) -> Vec<String> {
    frame_about(plan, node, &window.frame)
}

fn file_name(plugin: &PluginRef) -> String {
    let file = plugin.path.file_name().unwrap_or_default();
    file.to_string_lossy().into_owned()
}

fn spec_about(spec: &WindowSpec) -> Vec<String> {
    let (measures, alignment) = match spec {
        WindowSpec::Tumbling { size, alignment } => (format!("tumbling {size}"), alignment),
        WindowSpec::Sliding { size, every, alignment } => (format!("sliding {size} every {every}"), alignment),
        WindowSpec::Cumulative { size, step, alignment } => (format!("cumulative {size} by {step}"), alignment),
    };
    let Alignment { offset, time_zone } = alignment;
    let mut about = vec![measures];
    if offset.0 > 0 {
        about.push(format!("offset {offset}"));
    }
    if let Some(zone) = time_zone {
        about.push(zone.to_string());
    }
    about
}

fn windows_about(windows: &Windows) -> Vec<String> {
    match windows {
        Windows::Aligned(spec) => spec_about(spec),
        Windows::Session { gap } => vec![format!("sessions, gap {gap}")],
        Windows::Count { size, every } if size == every => vec![format!("each {size} rows")],
        Windows::Count { size, every } => vec![format!("{size} rows every {every}")],
        Windows::Global { trigger: None } => vec!["all rows".to_owned()],
        Windows::Global { trigger: Some(trigger) } => vec![match trigger.when {
            TriggerWhen::Count(rows) => format!("all rows, each {rows}"),
            TriggerWhen::Every(every) => format!("all rows, each {every}"),
        }],
    }
}

fn join_about(plan: &Plan, node: &Node, join: &JoinNode) -> Vec<String> {
    let kind = match join.kind {
        JoinKind::Inner => "inner join",
        JoinKind::Left => "left join",
        JoinKind::Right => "right join",
        JoinKind::Full => "full join",
        JoinKind::Semi => "semi join",
        JoinKind::Anti => "anti join",
    };
    let mut about = vec![format!(
        "{kind} on {}",
        names(&plan.stream(node.inputs[0]).schema, &join.key[0])
    )];
    match &join.bound {
        JoinBound::Within { before, after } => about.push(format!("within {before} before, {after} after")),
        JoinBound::AsOf { within: None } => about.push("as of the left time".to_owned()),
        JoinBound::AsOf { within: Some(within) } => about.push(format!("as of the left time, at most {within} old")),
        JoinBound::Window(windows) => about.extend(windows_about(windows)),
    }
    about
}

fn frame_about(plan: &Plan, node: &Node, frame: &WindowFrame) -> Vec<String> {
    let mut about = windows_about(&frame.windows);
    if let (Some(&input), false) = (node.inputs.first(), frame.key.is_empty()) {
        about.push(format!("by {}", names(&plan.stream(input).schema, &frame.key)));
    }
    if frame.allowed_lateness.0 > 0 {
        about.push(format!("late by up to {}", frame.allowed_lateness));
    }
    about
}

/// Words in lines of about this many characters.
pub(super) fn wrap(words: &[String], width: usize) -> Vec<String> {
    let mut lines: Vec<String> = Vec::new();
    for (i, word) in words.iter().enumerate() {
        let word = if i + 1 < words.len() {
            format!("{word},")
        } else {
            word.clone()
        };
        match lines.last_mut() {
            Some(line) if line.chars().count() + word.chars().count() < width => {
                line.push(' ');
                line.push_str(&word);
            }
            _ => lines.push(word),
        }
    }
    lines
}
