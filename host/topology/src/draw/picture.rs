//! What a picture of a plan shows: boxes and arrows, before anyone asks where they stand.

use wasmill_core::id::StreamIndex;
use wasmill_core::plan::{Node, NodeKind, Plan, SinkOrder, SourceTime, Stream, WindowNode};
use wasmill_core::schema::Schema;
use wasmill_core::window::{Alignment, WindowSpec, Windows};

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
    let key = match &reader.kind {
        NodeKind::Window(window) if !window.frame.key.is_empty() => Some(names(&stream.schema, &window.frame.key)),
        _ => None,
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
        NodeKind::Transform(transform) => {
            let file = transform.plugin.path.file_name().unwrap_or_default();
            (Look::Transform, vec![file.to_string_lossy().into_owned()])
        }
        NodeKind::Window(window) => (Look::Window, window_about(plan, node, window)),
        NodeKind::Keyed(_)
        | NodeKind::Content(_)
        | NodeKind::Join(_)
        | NodeKind::Lookup(_)
        | NodeKind::Union
        | NodeKind::Deduplicate(_)
        | NodeKind::Top(_)
        | NodeKind::Split(_) => (Look::Transform, Vec::new()),
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
    let Windows::Aligned(spec) = &window.frame.windows else {
        return Vec::new();
    };
    let (measures, alignment) = match spec {
        WindowSpec::Cumulative { size, step, alignment } => (format!("cumulative {size} by {step}"), alignment),
        WindowSpec::Tumbling { size, alignment } => (format!("tumbling {size}"), alignment),
        WindowSpec::Sliding { size, every, alignment } => (format!("sliding {size} every {every}"), alignment),
    };
    let Alignment { offset, time_zone } = alignment;
    let mut about = vec![measures];
    if offset.0 > 0 {
        about.push(format!("offset {offset}"));
    }
    if let Some(zone) = time_zone {
        about.push(zone.to_string());
    }
    if let (Some(&input), false) = (node.inputs.first(), window.frame.key.is_empty()) {
        about.push(format!("by {}", names(&plan.stream(input).schema, &window.frame.key)));
    }
    if window.frame.allowed_lateness.0 > 0 {
        about.push(format!("late by up to {}", window.frame.allowed_lateness));
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
