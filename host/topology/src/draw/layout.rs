//! Where boxes and arrows stand: a layered drawing (Sugiyama, Tagawa and Toda, 1981), from left to right.
//!
//! Each box gets the layer of its longest way from a source. An arrow over several layers gets a point in each layer
//! between. Within the layers the order is improved by barycentres; then each layer's heights are set as near to the
//! neighbours' as the order and the distances allow, which is an isotonic regression with an exact solution.

/// The size of a box.
#[derive(Clone, Copy, Debug)]
pub(super) struct Size {
    pub(super) width: f64,
    pub(super) height: f64,
}

/// A box's place: its left upper corner.
#[derive(Clone, Copy, Debug, Default)]
pub(super) struct Corner {
    pub(super) x: f64,
    pub(super) y: f64,
}

/// A drawing.
pub(super) struct Layout {
    /// A corner per box.
    pub(super) corners: Vec<Corner>,
    /// Per arrow: where it leaves, the stretches that it runs through on the way (left end, right end, height), and
    /// where it arrives.
    pub(super) routes: Vec<Route>,
    pub(super) size: Size,
}

/// An arrow's way.
#[derive(Clone, Debug)]
pub(super) struct Route {
    pub(super) start: Corner,
    pub(super) between: Vec<(f64, f64, f64)>,
    pub(super) end: Corner,
}

/// The distance between boxes of a layer.
const GAP: f64 = 26.0;
/// The height of a point that an arrow runs through.
const LANE: f64 = 10.0;
/// Rounds of improvement; few pictures change after the first ones.
const ROUNDS: usize = 24;

/// A box, or a point that an arrow runs through.
struct Vertex {
    layer: usize,
    height: f64,
    /// The middle.
    y: f64,
    before: Vec<usize>,
    after: Vec<usize>,
}

/// Lays out boxes of these sizes. `arrows` go from an earlier to a later box; `labels` are the widths of their labels.
pub(super) fn lay_out(boxes: &[Size], arrows: &[(usize, usize)], labels: &[f64]) -> Layout {
    let mut vertices = layer(boxes, arrows);
    let chains = chains(&mut vertices, arrows);
    let layers = order(&vertices);
    set_heights(&mut vertices, &layers);
    place(boxes, arrows, labels, &vertices, &layers, &chains)
}

fn layer(boxes: &[Size], arrows: &[(usize, usize)]) -> Vec<Vertex> {
    let mut layers = vec![0; boxes.len()];
    // Boxes stand after those that feed them, so one pass in their order is enough.
    for to in 0..boxes.len() {
        for &(from, _) in arrows.iter().filter(|(_, reader)| *reader == to) {
            layers[to] = layers[to].max(layers[from] + 1);
        }
    }
    let vertex = |(layer, size): (usize, &Size)| Vertex {
        layer,
        height: size.height,
        y: 0.0,
        before: Vec::new(),
        after: Vec::new(),
    };
    layers.into_iter().zip(boxes).map(vertex).collect()
}

/// The points of each arrow, with the links between them.
fn chains(vertices: &mut Vec<Vertex>, arrows: &[(usize, usize)]) -> Vec<Vec<usize>> {
    let mut chains = Vec::new();
    for &(from, to) in arrows {
        let mut chain = Vec::new();
        let mut last = from;
        for layer in vertices[from].layer + 1..vertices[to].layer {
            let point = vertices.len();
            vertices.push(Vertex {
                layer,
                height: LANE,
                y: 0.0,
                before: vec![last],
                after: Vec::new(),
            });
            vertices[last].after.push(point);
            chain.push(point);
            last = point;
        }
        vertices[last].after.push(to);
        vertices[to].before.push(last);
        chains.push(chain);
    }
    chains
}

/// The vertices of each layer from top to bottom, with few crossings.
fn order(vertices: &[Vertex]) -> Vec<Vec<usize>> {
    let count = vertices.iter().map(|vertex| vertex.layer + 1).max().unwrap_or(0);
    let mut layers = vec![Vec::new(); count];
    for (at, vertex) in vertices.iter().enumerate() {
        layers[vertex.layer].push(at);
    }
    let mut best = layers.clone();
    let mut least = crossings(vertices, &best);
    for round in 0..ROUNDS {
        let forward = round % 2 == 0;
        let way: Vec<usize> = if forward {
            (1..count).collect()
        } else {
            (0..count.saturating_sub(1)).rev().collect()
        };
        for layer in way {
            let fixed = if forward { layer - 1 } else { layer + 1 };
            let place = places(vertices.len(), &layers[fixed]);
            let current = places(vertices.len(), &layers[layer]);
            let centre = |at: &usize| {
                let vertex = &vertices[*at];
                let neighbours = if forward { &vertex.before } else { &vertex.after };
                if neighbours.is_empty() {
                    return current[*at];
                }
                neighbours.iter().map(|&n| place[n]).sum::<f64>() / neighbours.len() as f64
            };
            layers[layer].sort_by(|a, b| centre(a).total_cmp(&centre(b)));
        }
        let found = crossings(vertices, &layers);
        if found < least {
            least = found;
            best.clone_from(&layers);
        }
    }
    best
}

fn places(vertices: usize, layer: &[usize]) -> Vec<f64> {
    let mut places = vec![0.0; vertices];
    for (place, &at) in layer.iter().enumerate() {
        places[at] = place as f64;
    }
    places
}

fn crossings(vertices: &[Vertex], layers: &[Vec<usize>]) -> usize {
    let mut crossings = 0;
    for pair in layers.windows(2) {
        let place = places(vertices.len(), &pair[1]);
        let links: Vec<(usize, f64)> = pair[0]
            .iter()
            .enumerate()
            .flat_map(|(from, &at)| vertices[at].after.iter().map(move |&to| (from, to)))
            .map(|(from, to)| (from, place[to]))
            .collect();
        for (i, a) in links.iter().enumerate() {
            crossings += links[..i].iter().filter(|b| b.0 < a.0 && b.1 > a.1).count();
        }
    }
    crossings
}

fn set_heights(vertices: &mut [Vertex], layers: &[Vec<usize>]) {
    for layer in layers {
        let mut y = 0.0;
        for &at in layer {
            vertices[at].y = y + vertices[at].height / 2.0;
            y += vertices[at].height + GAP;
        }
    }
    for round in 0..ROUNDS {
        let forward = round % 2 == 0;
        let way: Vec<usize> = if forward {
            (0..layers.len()).collect()
        } else {
            (0..layers.len()).rev().collect()
        };
        for layer in way {
            let wanted: Vec<f64> = layers[layer]
                .iter()
                .map(|&at| {
                    let vertex = &vertices[at];
                    let side = if forward { &vertex.before } else { &vertex.after };
                    if side.is_empty() {
                        return vertex.y;
                    }
                    side.iter().map(|&n| vertices[n].y).sum::<f64>() / side.len() as f64
                })
                .collect();
            let heights: Vec<f64> = layers[layer].iter().map(|&at| vertices[at].height).collect();
            for (&at, y) in layers[layer].iter().zip(spread(&wanted, &heights)) {
                vertices[at].y = y;
            }
        }
    }
}

/// The middles that are nearest to the wanted ones (least squares), in order and at a distance.
fn spread(wanted: &[f64], heights: &[f64]) -> Vec<f64> {
    // Taking off the distance to the first turns "in order and apart" into "never falling".
    let mut offset = 0.0;
    let mut offsets = Vec::new();
    for (i, height) in heights.iter().enumerate() {
        if i > 0 {
            offset += heights[i - 1] / 2.0 + GAP + height / 2.0;
        }
        offsets.push(offset);
    }
    // Pool adjacent violators: blocks of a mean and a count.
    let mut blocks: Vec<(f64, usize)> = Vec::new();
    for (want, offset) in wanted.iter().zip(&offsets) {
        let mut block = (want - offset, 1);
        while let Some(&(mean, count)) = blocks.last() {
            if mean <= block.0 {
                break;
            }
            blocks.pop();
            let total = count + block.1;
            block = ((mean * count as f64 + block.0 * block.1 as f64) / total as f64, total);
        }
        blocks.push(block);
    }
    let flat = blocks
        .into_iter()
        .flat_map(|(mean, count)| std::iter::repeat_n(mean, count));
    flat.zip(offsets).map(|(mean, offset)| mean + offset).collect()
}

fn place(
    boxes: &[Size],
    arrows: &[(usize, usize)],
    labels: &[f64],
    vertices: &[Vertex],
    layers: &[Vec<usize>],
    chains: &[Vec<usize>],
) -> Layout {
    let (lefts, widths, width) = columns(boxes, arrows, labels, vertices, layers.len());
    let top = vertices
        .iter()
        .map(|v| v.y - v.height / 2.0)
        .fold(f64::INFINITY, f64::min);
    let bottom = vertices.iter().map(|v| v.y + v.height / 2.0).fold(0.0, f64::max);
    let top = if top.is_finite() { top } else { 0.0 };
    let corners: Vec<Corner> = boxes
        .iter()
        .zip(vertices)
        .map(|(size, vertex)| Corner {
            // Boxes of a layer stand in its middle.
            x: lefts[vertex.layer] + (widths[vertex.layer] - size.width) / 2.0,
            y: vertex.y - size.height / 2.0 - top,
        })
        .collect();
    let next = |arrow: usize| chains[arrow].first().copied().unwrap_or(arrows[arrow].1);
    let last = |arrow: usize| chains[arrow].last().copied().unwrap_or(arrows[arrow].0);
    let height = |vertex: usize| vertices[vertex].y;
    let routes = (0..arrows.len())
        .map(|arrow| {
            let (from, to) = arrows[arrow];
            let leaving: Vec<usize> = (0..arrows.len()).filter(|&other| arrows[other].0 == from).collect();
            let arriving: Vec<usize> = (0..arrows.len()).filter(|&other| arrows[other].1 == to).collect();
            let start = share(arrow, leaving, |other| height(next(other)));
            let end = share(arrow, arriving, |other| height(last(other)));
            Route {
                start: Corner {
                    x: corners[from].x + boxes[from].width,
                    y: corners[from].y + boxes[from].height * start,
                },
                between: chains[arrow]
                    .iter()
                    .map(|&point| {
                        let layer = vertices[point].layer;
                        (lefts[layer], lefts[layer] + widths[layer], vertices[point].y - top)
                    })
                    .collect(),
                end: Corner {
                    x: corners[to].x,
                    y: corners[to].y + boxes[to].height * end,
                },
            }
        })
        .collect();
    Layout {
        corners,
        routes,
        size: Size {
            width,
            height: bottom - top,
        },
    }
}

/// Where on a side of a box an arrow stands among the others there, from 0 to 1.
fn share(arrow: usize, mut others: Vec<usize>, height: impl Fn(usize) -> f64) -> f64 {
    others.sort_by(|&a, &b| height(a).total_cmp(&height(b)).then(a.cmp(&b)));
    let place = others.iter().position(|&other| other == arrow).unwrap_or(0);
    (place + 1) as f64 / (others.len() + 1) as f64
}

/// Each layer's left end and width, and the whole width.
fn columns(
    boxes: &[Size],
    arrows: &[(usize, usize)],
    labels: &[f64],
    vertices: &[Vertex],
    count: usize,
) -> (Vec<f64>, Vec<f64>, f64) {
    const SPACE: f64 = 64.0;
    let mut widths = vec![0.0_f64; count];
    for (size, vertex) in boxes.iter().zip(vertices) {
        widths[vertex.layer] = widths[vertex.layer].max(size.width);
    }
    // The label stands where the arrow leaves.
    let mut spaces = vec![SPACE; count];
    for ((from, _), label) in arrows.iter().zip(labels) {
        let layer = vertices[*from].layer;
        spaces[layer] = spaces[layer].max(label + SPACE / 2.0);
    }
    let mut lefts = Vec::new();
    let mut x = 0.0;
    for layer in 0..count {
        lefts.push(x);
        x += widths[layer] + if layer + 1 < count { spaces[layer] } else { 0.0 };
    }
    (lefts, widths, x)
}

#[cfg(test)]
mod tests {
    use super::*;

    const BOX: Size = Size {
        width: 100.0,
        height: 40.0,
    };

    fn overlaps(layout: &Layout, boxes: &[Size]) -> bool {
        let apart = |a: usize, b: usize| {
            let (p, q) = (layout.corners[a], layout.corners[b]);
            p.x + boxes[a].width <= q.x
                || q.x + boxes[b].width <= p.x
                || p.y + boxes[a].height <= q.y
                || q.y + boxes[b].height <= p.y
        };
        (0..boxes.len()).any(|a| (0..a).any(|b| !apart(a, b)))
    }

    #[test]
    fn boxes_stand_apart_and_arrows_go_right() {
        let boxes = vec![BOX; 7];
        let arrows = [(0, 2), (1, 2), (2, 3), (2, 4), (0, 5), (3, 5), (4, 6), (0, 6)];
        let layout = lay_out(&boxes, &arrows, &[0.0; 8]);
        assert!(!overlaps(&layout, &boxes));
        assert!(layout.routes.iter().all(|route| route.start.x < route.end.x));
    }

    #[test]
    fn two_chains_do_not_cross() {
        let arrows = [(0, 3), (1, 2)];
        let layout = lay_out(&[BOX; 4], &arrows, &[0.0; 2]);
        assert_eq!(
            layout.corners[0].y < layout.corners[1].y,
            layout.corners[3].y < layout.corners[2].y
        );
    }

    #[test]
    fn wanted_heights_are_kept_where_there_is_room() {
        assert_eq!(spread(&[0.0, 100.0], &[10.0, 10.0]), [0.0, 100.0]);
        assert_eq!(spread(&[50.0, 50.0], &[10.0, 10.0]), [32.0, 68.0]);
    }
}
