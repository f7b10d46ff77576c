//! SVG: <https://www.w3.org/TR/SVG11/>. Text is measured by estimate; boxes leave room for wider fonts.

use std::fmt::Write as _;

use super::layout::{Corner, Layout, Route, Size, lay_out};
use super::picture::{Arrow, Look, NodeBox, Picture};

/// Around the whole.
const MARGIN: f64 = 28.0;
/// Above the boxes, for the title.
const TITLE: f64 = 38.0;
/// Inside a box.
const PADDING: f64 = 14.0;
/// The first line of a box: its kind and id.
const HEAD: f64 = 34.0;
/// A line of what a box is.
const ABOUT: f64 = 17.0;
/// A line of a column.
const COLUMN: f64 = 16.0;
/// The columns of a box at most; the rest is counted.
const COLUMNS_MAX: usize = 14;
/// Between two arrows at one side of a box.
const ARROWS: f64 = 20.0;

/// Widths of a character, as parts of the font's size.
const SANS: f64 = 0.56;
const BOLD: f64 = 0.62;
const MONO: f64 = 0.61;

/// The fill and the stroke of a box.
pub(super) const fn colours(look: Look) -> (&'static str, &'static str) {
    match look {
        Look::Source => ("#e6f4ea", "#2e7d4f"),
        Look::Transform => ("#e8f0fe", "#3367c4"),
        Look::Window => ("#f3e8fd", "#7c4dbd"),
        Look::Sink => ("#fef3e0", "#b86e00"),
        Look::DeadLetterSink => ("#f4f1f1", "#8a6d6d"),
    }
}

const STYLE: &str = "\
text { font-family: system-ui, -apple-system, 'Segoe UI', Roboto, 'Helvetica Neue', Arial, sans-serif; fill: #1f2328; }
.title { font-size: 17px; font-weight: 600; }
.id { font-size: 14px; font-weight: 600; }
.kind { font-size: 11px; }
.about { font-size: 12px; fill: #3d444d; }
.column { font-family: ui-monospace, 'SF Mono', Menlo, Consolas, 'DejaVu Sans Mono', monospace; font-size: 11px; }
.unread { fill: #9aa1a9; }
.label { font-size: 11px; fill: #57606a; paint-order: stroke; stroke: #ffffff; stroke-width: 4px; }
.arrow { fill: none; stroke: #6e7781; stroke-width: 1.5; }
.dead { stroke: #a58b8b; stroke-dasharray: 5 4; }
";

pub(super) fn write(picture: &Picture) -> String {
    let sizes: Vec<Size> = (0..picture.boxes.len()).map(|at| size(picture, at)).collect();
    let arrows: Vec<(usize, usize)> = picture.arrows.iter().map(|arrow| (arrow.from, arrow.to)).collect();
    let labels: Vec<f64> = picture
        .arrows
        .iter()
        .map(|arrow| label(arrow).map_or(0.0, |label| width(&label, 11.0, SANS)))
        .collect();
    let layout = lay_out(&sizes, &arrows, &labels);
    let title = width(&picture.name, 17.0, BOLD);
    let (w, h) = (
        layout.size.width.max(title) + 2.0 * MARGIN,
        layout.size.height + 2.0 * MARGIN + TITLE,
    );
    let mut svg = format!(
        "<svg xmlns=\"http://www.w3.org/2000/svg\" width=\"{w:.0}\" height=\"{h:.0}\" viewBox=\"0 0 {w:.0} {h:.0}\" \
         role=\"img\" aria-label=\"{}\">\n<style>\n{STYLE}</style>\n",
        escape(&format!("Topology {}", picture.name))
    );
    svg.push_str("<defs>\n");
    for (id, colour) in [("head", "#6e7781"), ("dead-head", "#a58b8b")] {
        let _ = writeln!(
            svg,
            "<marker id=\"{id}\" viewBox=\"0 0 10 10\" refX=\"9\" refY=\"5\" markerWidth=\"7\" markerHeight=\"7\" \
             orient=\"auto\"><path d=\"M0 1 L9 5 L0 9 z\" fill=\"{colour}\"/></marker>"
        );
    }
    svg.push_str("</defs>\n");
    let _ = writeln!(
        svg,
        "<rect width=\"{w:.0}\" height=\"{h:.0}\" rx=\"10\" fill=\"#ffffff\"/>"
    );
    let _ = writeln!(
        svg,
        "<text class=\"title\" x=\"{MARGIN}\" y=\"{:.0}\">{}</text>",
        MARGIN + 14.0,
        escape(&picture.name)
    );
    let _ = writeln!(svg, "<g transform=\"translate({MARGIN} {:.0})\">", MARGIN + TITLE);
    draw(picture, &sizes, &layout, &mut svg);
    svg.push_str("</g>\n</svg>\n");
    svg
}

fn draw(picture: &Picture, sizes: &[Size], layout: &Layout, svg: &mut String) {
    for (arrow, route) in picture.arrows.iter().zip(&layout.routes) {
        draw_arrow(arrow, route, svg);
    }
    for ((node, size), corner) in picture.boxes.iter().zip(sizes).zip(&layout.corners) {
        draw_box(node, *size, *corner, svg);
    }
    // Labels last: nothing may cover them.
    for (arrow, route) in picture.arrows.iter().zip(&layout.routes) {
        if let Some(label) = label(arrow) {
            let next = route.between.first().map_or(route.end.y, |&(_, _, y)| y);
            // At the side of the arrow to which it does not bend.
            let shift = if next < route.start.y - 1.0 { 14.0 } else { -5.0 };
            let _ = writeln!(
                svg,
                "<text class=\"label\" x=\"{:.1}\" y=\"{:.1}\">{}</text>",
                route.start.x + 8.0,
                route.start.y + shift,
                escape(&label)
            );
        }
    }
}

/// What stands at an arrow: the port, and by which key rows are exchanged.
fn label(arrow: &Arrow) -> Option<String> {
    if arrow.dead_letters {
        return Some("dead letters".to_owned());
    }
    let key = arrow.key.as_ref().map(|key| format!("by {key}"));
    match (&arrow.port, key) {
        (Some(port), Some(key)) => Some(format!("{port}, {key}")),
        (Some(port), None) => Some(port.clone()),
        (None, key) => key,
    }
}

fn width(text: &str, font: f64, character: f64) -> f64 {
    text.chars().count() as f64 * font * character
}

/// The lines of columns: those that there is room for, and how many there are besides.
fn column_lines(node: &NodeBox) -> Vec<(String, bool)> {
    if node.columns.len() <= COLUMNS_MAX {
        return node.columns.clone();
    }
    // What is read is shown first where not all can be.
    let (live, unread): (Vec<_>, Vec<_>) = node.columns.iter().cloned().partition(|(_, live)| *live);
    let mut lines: Vec<(String, bool)> = live.into_iter().chain(unread).take(COLUMNS_MAX - 1).collect();
    lines.push((format!("and {} more", node.columns.len() - lines.len()), false));
    lines
}

fn size(picture: &Picture, at: usize) -> Size {
    let node = &picture.boxes[at];
    let head = width(&node.id, 14.0, BOLD) + 24.0 + width(node.look.word(), 11.0, SANS);
    let about = node.about.iter().map(|line| width(line, 12.0, SANS));
    let lines = column_lines(node);
    let columns = lines.iter().map(|(column, _)| width(column, 11.0, MONO));
    let widest = about.chain(columns).fold(head, f64::max);
    let mut height = HEAD + node.about.len() as f64 * ABOUT + 6.0;
    if !lines.is_empty() {
        height += lines.len() as f64 * COLUMN + 14.0;
    }
    let leaving = picture.arrows.iter().filter(|arrow| arrow.from == at).count();
    let arriving = picture.arrows.iter().filter(|arrow| arrow.to == at).count();
    let arrows = (leaving.max(arriving) + 1) as f64 * ARROWS;
    Size {
        width: (widest + 2.0 * PADDING).max(120.0),
        height: height.max(arrows),
    }
}

fn draw_box(node: &NodeBox, size: Size, corner: Corner, svg: &mut String) {
    let (fill, stroke) = colours(node.look);
    let Corner { x, y } = corner;
    let _ = writeln!(
        svg,
        "<rect x=\"{x:.1}\" y=\"{y:.1}\" width=\"{:.1}\" height=\"{:.1}\" rx=\"8\" fill=\"{fill}\" stroke=\"{stroke}\" \
         stroke-width=\"1.3\"/>",
        size.width, size.height
    );
    let left = x + PADDING;
    let _ = writeln!(
        svg,
        "<text class=\"id\" x=\"{left:.1}\" y=\"{:.1}\">{}</text>",
        y + 22.0,
        escape(&node.id)
    );
    let _ = writeln!(
        svg,
        "<text class=\"kind\" x=\"{:.1}\" y=\"{:.1}\" text-anchor=\"end\" style=\"fill:{stroke}\">{}</text>",
        x + size.width - PADDING,
        y + 21.0,
        node.look.word()
    );
    let mut line = y + HEAD + 6.0;
    for about in &node.about {
        let _ = writeln!(
            svg,
            "<text class=\"about\" x=\"{left:.1}\" y=\"{line:.1}\">{}</text>",
            escape(about)
        );
        line += ABOUT;
    }
    let columns = column_lines(node);
    if columns.is_empty() {
        return;
    }
    let rule = line - 7.0;
    let _ = writeln!(
        svg,
        "<line x1=\"{x:.1}\" y1=\"{rule:.1}\" x2=\"{:.1}\" y2=\"{rule:.1}\" stroke=\"{stroke}\" stroke-opacity=\"0.35\"/>",
        x + size.width
    );
    line += 10.0;
    for (column, live) in columns {
        let class = if live { "column" } else { "column unread" };
        let _ = writeln!(
            svg,
            "<text class=\"{class}\" x=\"{left:.1}\" y=\"{line:.1}\">{}</text>",
            escape(&column)
        );
        line += COLUMN;
    }
}

fn draw_arrow(arrow: &Arrow, route: &Route, svg: &mut String) {
    let mut path = format!("M{:.1} {:.1}", route.start.x, route.start.y);
    let mut at = route.start;
    for &(left, right, y) in &route.between {
        bend(&mut path, at, Corner { x: left, y });
        let _ = write!(path, " L{right:.1} {y:.1}");
        at = Corner { x: right, y };
    }
    bend(&mut path, at, route.end);
    let (class, head) = if arrow.dead_letters {
        ("arrow dead", "dead-head")
    } else {
        ("arrow", "head")
    };
    let _ = writeln!(
        svg,
        "<path class=\"{class}\" marker-end=\"url(#{head})\" d=\"{path}\"/>"
    );
}

/// A curve that leaves and arrives level.
fn bend(path: &mut String, from: Corner, to: Corner) {
    let half = (to.x - from.x) / 2.0;
    let _ = write!(
        path,
        " C{:.1} {:.1} {:.1} {:.1} {:.1} {:.1}",
        from.x + half,
        from.y,
        to.x - half,
        to.y,
        to.x,
        to.y
    );
}

fn escape(text: &str) -> String {
    text.replace('&', "&amp;")
        .replace('<', "&lt;")
        .replace('>', "&gt;")
        .replace('"', "&quot;")
}
