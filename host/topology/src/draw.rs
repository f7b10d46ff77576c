//! Pictures of a plan: as Mermaid and DOT text for other programs, and as SVG.

mod dot;
mod layout;
mod mermaid;
mod picture;
mod svg;

use wasmill_core::plan::Plan;

use picture::Picture;

/// A flowchart in Mermaid's language, which many Markdown viewers draw.
pub fn mermaid(plan: &Plan) -> String {
    mermaid::write(&Picture::of(plan))
}

/// A graph in the language of Graphviz.
pub fn dot(plan: &Plan) -> String {
    dot::write(&Picture::of(plan))
}

/// A drawing that any browser shows.
pub fn svg(plan: &Plan) -> String {
    svg::write(&Picture::of(plan))
}
