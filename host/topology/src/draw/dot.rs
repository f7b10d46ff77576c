//! DOT: <https://graphviz.org/doc/info/lang.html>.

use std::fmt::Write as _;

use super::picture::{Arrow, Picture, wrap};

/// The width of an arrow's label, in characters.
const LABEL_CHARACTERS: usize = 36;

pub(super) fn write(picture: &Picture) -> String {
    let mut text = format!("digraph {} {{\n", quote(&picture.name));
    text.push_str("    rankdir=LR;\n    node [shape=box, style=\"rounded,filled\", fontname=\"Helvetica\"];\n");
    text.push_str("    edge [fontname=\"Helvetica\", fontsize=10];\n");
    for (at, node) in picture.boxes.iter().enumerate() {
        let mut lines = vec![format!("{} {}", node.look.word(), node.id)];
        lines.extend(node.about.iter().cloned());
        let (fill, stroke) = super::svg::colours(node.look);
        let _ = writeln!(
            text,
            "    n{at} [label={}, fillcolor=\"{fill}\", color=\"{stroke}\"];",
            quote(&lines.join("\n"))
        );
    }
    for arrow in &picture.arrows {
        let style = if arrow.dead_letters { ", style=dashed" } else { "" };
        let label = quote(&label(arrow));
        let _ = writeln!(text, "    n{} -> n{} [label={label}{style}];", arrow.from, arrow.to);
    }
    text.push_str("}\n");
    text
}

fn label(arrow: &Arrow) -> String {
    let mut lines: Vec<String> = arrow.port.iter().cloned().collect();
    lines.extend(arrow.key.iter().map(|key| format!("exchanged by {key}")));
    // The schema of dead letters is always the same.
    if !arrow.dead_letters {
        lines.extend(wrap(&arrow.columns, LABEL_CHARACTERS));
    }
    lines.join("\n")
}

fn quote(text: &str) -> String {
    let escaped = text.replace('\\', "\\\\").replace('"', "\\\"").replace('\n', "\\n");
    format!("\"{escaped}\"")
}
