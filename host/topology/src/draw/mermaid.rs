//! Mermaid: <https://mermaid.js.org/syntax/flowchart.html>.

use std::fmt::Write as _;

use super::picture::{Arrow, Look, Picture, wrap};

/// The width of an arrow's label, in characters.
const LABEL_CHARACTERS: usize = 36;

pub(super) fn write(picture: &Picture) -> String {
    let mut text = format!("---\ntitle: {}\n---\nflowchart LR\n", title(&picture.name));
    for (at, node) in picture.boxes.iter().enumerate() {
        let mut lines = vec![format!("<b>{}</b>", escape(&node.id))];
        lines.extend(node.about.iter().map(|line| escape(line)));
        let label = lines.join("<br/>");
        let (open, close) = match node.look {
            Look::Source => ("([", "])"),
            Look::Transform => ("[", "]"),
            Look::Window => ("{{", "}}"),
            Look::Sink | Look::DeadLetterSink => ("[(", ")]"),
        };
        let _ = writeln!(text, "    n{at}{open}\"{label}\"{close}:::{}", class(node.look));
    }
    for arrow in &picture.arrows {
        let line = if arrow.dead_letters { "-.->" } else { "-->" };
        let label = label(arrow);
        let label = if label.is_empty() {
            label
        } else {
            format!("|\"{label}\"|")
        };
        let _ = writeln!(text, "    n{} {line}{label} n{}", arrow.from, arrow.to);
    }
    for look in [
        Look::Source,
        Look::Transform,
        Look::Window,
        Look::Sink,
        Look::DeadLetterSink,
    ] {
        let (fill, stroke) = super::svg::colours(look);
        let _ = writeln!(
            text,
            "    classDef {} fill:{fill},stroke:{stroke},color:#1f2328",
            class(look)
        );
    }
    text
}

fn class(look: Look) -> &'static str {
    match look {
        Look::Source => "source",
        Look::Transform => "operator",
        Look::Window => "window",
        Look::Sink => "sink",
        Look::DeadLetterSink => "deadletters",
    }
}

fn label(arrow: &Arrow) -> String {
    let mut lines = Vec::new();
    if let Some(port) = &arrow.port {
        lines.push(format!("<b>{}</b>", escape(port)));
    }
    if let Some(key) = &arrow.key {
        lines.push(format!("<i>exchanged by {}</i>", escape(key)));
    }
    // The schema of dead letters is always the same.
    if !arrow.dead_letters {
        lines.extend(wrap(&arrow.columns, LABEL_CHARACTERS).iter().map(|line| escape(line)));
    }
    lines.join("<br/>")
}

/// A title is YAML.
fn title(text: &str) -> String {
    serde_json::Value::from(text).to_string()
}

/// Everything that Markdown, HTML or Mermaid itself may take for its own.
fn escape(text: &str) -> String {
    let mut escaped = String::new();
    for c in text.chars() {
        match c {
            c if c.is_alphanumeric() || matches!(c, ' ' | '.' | ',' | ':' | '-' | '_' | '?' | '/') => escaped.push(c),
            c => {
                let _ = write!(escaped, "#{};", u32::from(c));
            }
        }
    }
    escaped
}
