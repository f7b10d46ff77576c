//! Who reads whom: ids, inputs, dead letters and circles.

use std::collections::{BTreeMap, BTreeSet};

use wasmill_core::diagnostic::Diagnostic;

use crate::codes;
use crate::place::{At as _, Place, Word};
use crate::problems::{Problems, did_you_mean, suggest};
use crate::spec::{Kind, Node, Topology};

/// The edges of a topology. Nodes are known by their place in the specification.
pub(super) struct Wiring {
    /// Nodes by id; the first of several.
    pub(super) by_id: BTreeMap<String, usize>,
    /// Nodes in the order in which rows flow. Those of a circle, and what follows from them, are left out.
    pub(super) order: Vec<usize>,
    /// The sink for the dead letters of a node.
    pub(super) dead_letter_sinks: BTreeMap<usize, usize>,
    /// The nodes that feed a dead-letter sink.
    pub(super) dead_letter_feeds: BTreeMap<usize, Vec<usize>>,
    reads: BTreeSet<(usize, Option<String>)>,
}

impl Wiring {
    /// Whether someone reads this port.
    pub(super) fn reads(&self, node: usize, port: &str) -> bool {
        self.reads.contains(&(node, Some(port.to_owned())))
    }

    /// Whether someone reads the main output.
    pub(super) fn reads_main(&self, node: usize) -> bool {
        self.reads.contains(&(node, None))
    }

    /// Whether someone reads any output.
    pub(super) fn reads_any(&self, node: usize) -> bool {
        self.reads.iter().any(|(read, _)| *read == node)
    }
}

/// Finds the edges and the order.
pub(super) fn wire(topology: &Topology, needs_sink: bool, problems: &Problems) -> Wiring {
    let nodes = &topology.nodes;
    empty(topology, needs_sink, problems);
    let by_id = ids(nodes, problems);
    renamed(nodes, &by_id, problems);
    let mut edges: Vec<(usize, usize)> = Vec::new();
    let mut reads = BTreeSet::new();
    for (reader, node) in nodes.iter().enumerate() {
        for input in &node.inputs {
            match by_id.get(&input.node) {
                Some(&read) if !matches!(nodes[read].kind, Kind::Sink(_)) => {
                    edges.push((read, reader));
                    reads.insert((read, input.port.clone()));
                }
                found => unknown_input(nodes, found.copied(), &input.node, &input.place, problems),
            }
        }
    }
    let dead_letter_sinks = dead_letters(topology, &by_id, problems);
    let mut dead_letter_feeds: BTreeMap<usize, Vec<usize>> = BTreeMap::new();
    for (&from, &to) in &dead_letter_sinks {
        edges.push((from, to));
        dead_letter_feeds.entry(to).or_default().push(from);
    }
    unfed(nodes, &mut dead_letter_feeds, topology, problems);
    let order = order(nodes, &edges, problems);
    Wiring {
        by_id,
        order,
        dead_letter_sinks,
        dead_letter_feeds,
        reads,
    }
}

fn empty(topology: &Topology, needs_sink: bool, problems: &Problems) {
    let has = |what: fn(&Kind) -> bool| topology.nodes.iter().any(|node| what(&node.kind));
    let example = "the smallest topology has a [[source]] and a [[sink]]; `wasmill new` writes one";
    let misspelt = |key: &str| {
        topology
            .unknown_keys
            .iter()
            .any(|unknown| suggest(unknown, [key]).is_some())
    };
    let no_source = !has(|kind| matches!(kind, Kind::Source(_))) && !misspelt("source");
    let no_sink = needs_sink && !has(|kind| matches!(kind, Kind::Sink(_))) && !misspelt("sink");
    let message = match (no_source, no_sink) {
        (true, true) => "the topology has no source and no sink",
        (true, false) => "the topology has no source",
        (false, true) => "the topology has no sink",
        (false, false) => return,
    };
    problems.push(Diagnostic::error(codes::EMPTY, message).help(example));
}

fn ids(nodes: &[Node], problems: &Problems) -> BTreeMap<String, usize> {
    let mut by_id = BTreeMap::new();
    for (at, node) in nodes.iter().enumerate() {
        let Some(id) = &node.id else { continue };
        match by_id.get(id.as_str()) {
            None => drop(by_id.insert(id.to_string(), at)),
            Some(&earlier) => {
                let earlier: &Node = &nodes[earlier];
                problems.push(
                    Diagnostic::error(codes::DUPLICATE_ID, format!("two nodes have the id `{id}`"))
                        .at(&node.id_place, "the id is taken")
                        .at(&earlier.id_place, format!("by {}", earlier.name))
                        .help("give one of them another id; sources, operators and sinks share one space of names"),
                );
            }
        }
    }
    by_id
}

/// Refuses earlier ids that are not free: state under one would be that of two nodes.
fn renamed(nodes: &[Node], by_id: &BTreeMap<String, usize>, problems: &Problems) {
    let mut earlier: BTreeMap<&str, &Place> = BTreeMap::new();
    for (at, node) in nodes.iter().enumerate() {
        for word in &node.renamed_from {
            let id = word.text.as_str();
            let (message, other, what) = match (by_id.get(id), earlier.get(id)) {
                (Some(&owner), _) if owner == at => {
                    let message = format!("{} is named as an earlier id of its own", node.name);
                    (message, &node.id_place, "this is its id")
                }
                (Some(&owner), _) => {
                    let message = format!("`{id}` is no earlier id: a node of the topology has it");
                    (message, &nodes[owner].id_place, "it is the id of this")
                }
                (None, Some(first)) => {
                    let message = format!("`{id}` is named as an earlier id twice");
                    (message, *first, "the first time")
                }
                (None, None) => {
                    earlier.insert(id, &word.place);
                    continue;
                }
            };
            problems.push(
                Diagnostic::error(codes::RENAMED, message)
                    .at(&word.place, "named here")
                    .at(other, what)
                    .help("state that is kept under an id belongs to one node: leave it out here"),
            );
        }
    }
}

fn unknown_input(nodes: &[Node], found: Option<usize>, id: &str, place: &Place, problems: &Problems) {
    if let Some(sink) = found {
        problems.push(
            Diagnostic::error(codes::UNKNOWN_INPUT, format!("`{id}` is a sink, which gives no rows"))
                .at(place, "this cannot be read")
                .at(&nodes[sink].id_place, "it is defined here")
                .help("read what the sink reads"),
        );
        return;
    }
    let ids = nodes.iter().filter(|node| !matches!(node.kind, Kind::Sink(_)));
    let ids: Vec<&str> = ids.filter_map(|node| Some(node.id.as_ref()?.as_str())).collect();
    problems.push(
        Diagnostic::error(codes::UNKNOWN_INPUT, format!("there is no source or operator `{id}`"))
            .at(place, "nothing has this id")
            .help(did_you_mean(id, "there are", ids)),
    );
}

/// The sink for each node's dead letters: its own choice, or the root's.
fn dead_letters(topology: &Topology, by_id: &BTreeMap<String, usize>, problems: &Problems) -> BTreeMap<usize, usize> {
    let nodes = &topology.nodes;
    let default = topology
        .dead_letter
        .as_ref()
        .and_then(|word| dead_letter_sink(nodes, by_id, word, problems));
    let mut sinks = BTreeMap::new();
    for (at, node) in nodes.iter().enumerate() {
        let takes_dead_letters = matches!(node.kind, Kind::Sink(_)) && !node.has_input;
        match &node.dead_letter {
            Some(word) if takes_dead_letters => problems.error(
                codes::POINTLESS_KEY,
                format!(
                    "{} has no `input`, so it takes dead letters and has none of its own",
                    node.name
                ),
                &word.place,
                "leave `dead-letter` out, or give the sink an `input`",
            ),
            Some(word) => {
                if let Some(sink) = dead_letter_sink(nodes, by_id, word, problems) {
                    sinks.insert(at, sink);
                }
            }
            None if takes_dead_letters => {}
            None => {
                if let Some(sink) = default {
                    sinks.insert(at, sink);
                }
            }
        }
    }
    sinks
}

fn dead_letter_sink(
    nodes: &[Node],
    by_id: &BTreeMap<String, usize>,
    word: &Word,
    problems: &Problems,
) -> Option<usize> {
    let is_sink = |node: &Node| matches!(node.kind, Kind::Sink(_));
    match by_id.get(&word.text) {
        Some(&at) if is_sink(&nodes[at]) && !nodes[at].has_input => Some(at),
        Some(&at) => {
            let node = &nodes[at];
            let (what, help) = if is_sink(node) {
                (
                    "it has an `input`",
                    "a dead-letter sink has no `input`: leave that out, or add a sink of its own for dead letters",
                )
            } else {
                ("it is no sink", "add a sink without `input`, and name that")
            };
            problems.push(
                Diagnostic::error(codes::DEAD_LETTER, format!("{} cannot take dead letters", node.name))
                    .at(&word.place, "named here for dead letters")
                    .at(&node.id_place, what)
                    .help(help),
            );
            None
        }
        None => {
            let sinks = nodes.iter().filter(|node| is_sink(node) && !node.has_input);
            let ids: Vec<&str> = sinks.filter_map(|node| Some(node.id.as_ref()?.as_str())).collect();
            let help = if ids.is_empty() {
                format!("add a sink with `id = \"{}\"` and without `input`", word.text)
            } else {
                did_you_mean(&word.text, "the sinks without `input` are", ids)
            };
            problems.push(
                Diagnostic::error(codes::DEAD_LETTER, format!("there is no sink `{}`", word.text))
                    .at(&word.place, "nothing has this id")
                    .help(help),
            );
            None
        }
    }
}

/// Warns of sinks that nothing reaches, and gives them no place in the order.
fn unfed(nodes: &[Node], feeds: &mut BTreeMap<usize, Vec<usize>>, topology: &Topology, problems: &Problems) {
    for (at, node) in nodes.iter().enumerate() {
        if !matches!(node.kind, Kind::Sink(_)) || node.has_input {
            continue;
        }
        let named = topology
            .dead_letter
            .iter()
            .chain(nodes.iter().filter_map(|node| node.dead_letter.as_ref()));
        let is_named = node
            .id
            .as_ref()
            .is_some_and(|id| named.into_iter().any(|word| word.text == id.as_str()));
        feeds.entry(at).or_default();
        if !is_named && node.sound {
            problems.push(
                Diagnostic::warning(codes::UNFED, format!("nothing reaches {}", node.name))
                    .at(
                        &node.id_place,
                        "it has no `input`, and nobody names it for dead letters",
                    )
                    .help("give it an `input`, or name it with `dead-letter`; as it is, it is left out"),
            );
        }
    }
}

/// The nodes in the order of the flow; within it, in that of the file.
fn order(nodes: &[Node], edges: &[(usize, usize)], problems: &Problems) -> Vec<usize> {
    let mut waits: Vec<usize> = vec![0; nodes.len()];
    for &(_, to) in edges {
        waits[to] += 1;
    }
    let mut ready: BTreeSet<usize> = (0..nodes.len()).filter(|&at| waits[at] == 0).collect();
    let mut order = Vec::new();
    while let Some(at) = ready.pop_first() {
        order.push(at);
        for &(from, to) in edges {
            if from == at {
                waits[to] -= 1;
                if waits[to] == 0 {
                    ready.insert(to);
                }
            }
        }
    }
    let mut left: BTreeSet<usize> = (0..nodes.len()).filter(|at| !order.contains(at)).collect();
    while let Some(&start) = left.first() {
        match circle(start, edges, &left) {
            Ok(circle) => {
                report_circle(nodes, &circle, problems);
                left.retain(|at| !circle.contains(at));
            }
            Err(dead_end) => drop(left.remove(&dead_end)),
        }
    }
    order
}

/// A circle that rows run through before they reach `start`, walking against the flow, or a node that only waits for
/// circles that are known.
fn circle(start: usize, edges: &[(usize, usize)], within: &BTreeSet<usize>) -> Result<Vec<usize>, usize> {
    let mut way = vec![start];
    let mut last = start;
    loop {
        let before = edges
            .iter()
            .find(|(from, to)| *to == last && within.contains(from))
            .map(|(from, _)| *from)
            .ok_or(last)?;
        if let Some(at) = way.iter().position(|&seen| seen == before) {
            let mut circle = way.split_off(at);
            circle.reverse();
            let least = circle
                .iter()
                .enumerate()
                .min_by_key(|(_, node)| **node)
                .map_or(0, |(at, _)| at);
            circle.rotate_left(least);
            return Ok(circle);
        }
        way.push(before);
        last = before;
    }
}

fn report_circle(nodes: &[Node], circle: &[usize], problems: &Problems) {
    let id = |at: usize| nodes[at].id.as_ref().map_or("?", |id| id.as_str());
    let mut way: Vec<&str> = circle.iter().map(|&at| id(at)).collect();
    way.push(id(circle[0]));
    let mut diagnostic = Diagnostic::error(
        codes::CYCLE,
        format!("rows would run in a circle: {}", way.join(" -> ")),
    );
    for (i, &reader) in circle.iter().enumerate() {
        let read = circle[(i + circle.len() - 1) % circle.len()];
        let input = nodes[reader].inputs.iter().find(|input| input.node == id(read));
        if let Some(input) = input {
            diagnostic = diagnostic.at(&input.place, format!("`{}` reads `{}`", id(reader), id(read)));
        }
    }
    problems.push(diagnostic.help("rows flow from sources to sinks; let one of these read something else"));
}
