//! Which field of a record goes into which slot: a tree of names.

use wasmill_core::plan::SourceColumn;

/// The names on the way to the columns.
#[derive(Debug)]
pub(super) struct Tree {
    nodes: Vec<Node>,
}

/// An object in a record.
#[derive(Debug, Default)]
struct Node {
    fields: Vec<(Box<str>, Target)>,
    /// The slots of the columns in it and below.
    slots: Vec<usize>,
    /// The row in which the object stood last, and one.
    seen: usize,
}

/// What a field is.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Target {
    /// The value of a column.
    Slot(usize),
    /// An object with columns in it.
    Object(usize),
}

/// The record itself.
pub(super) const ROOT: usize = 0;

impl Tree {
    /// A tree of the columns with their slots. No column's path begins with another's.
    pub(super) fn new<'a>(columns: impl Iterator<Item = (&'a SourceColumn, usize)>) -> Self {
        let mut tree = Self {
            nodes: vec![Node::default()],
        };
        for (column, slot) in columns {
            let (name, way) = column.path.split_last().expect("a column has a path");
            let mut node = ROOT;
            for step in way {
                tree.nodes[node].slots.push(slot);
                node = tree.child(node, step);
            }
            tree.nodes[node].slots.push(slot);
            tree.nodes[node].fields.push((name.as_str().into(), Target::Slot(slot)));
        }
        tree
    }

    fn child(&mut self, node: usize, name: &str) -> usize {
        let known = self.nodes[node].fields.iter().find_map(|(known, target)| match target {
            Target::Object(child) if &**known == name => Some(*child),
            _ => None,
        });
        known.unwrap_or_else(|| {
            let child = self.nodes.len();
            self.nodes.push(Node::default());
            self.nodes[node].fields.push((name.into(), Target::Object(child)));
            child
        })
    }

    /// The field of this name. `after` is where the one before was found: names mostly come in the same order.
    #[inline]
    pub(super) fn field(&self, node: usize, name: &str, after: &mut usize) -> Option<Target> {
        let fields = &self.nodes[node].fields;
        let place = (*after..fields.len())
            .chain(0..(*after).min(fields.len()))
            .find(|&place| &*fields[place].0 == name)?;
        *after = place + 1;
        Some(fields[place].1)
    }

    /// Notes that the object stands in this row, and gives the slots below it if it stood there before: what was read
    /// then does not count.
    pub(super) fn enter(&mut self, node: usize, row: usize) -> &[usize] {
        let node = &mut self.nodes[node];
        let again = node.seen == row + 1;
        node.seen = row + 1;
        if again { &node.slots } else { &[] }
    }

    /// Forgets which objects the row had.
    pub(super) fn leave_record(&mut self) {
        for node in &mut self.nodes {
            node.seen = 0;
        }
    }
}
