//! A store in memory: a B+ tree of three levels, whose leaves hold their entries' bytes in one piece each.
//!
//! Compared with the standard library's `BTreeMap` of boxed bytes, an entry is no allocation of its own, a search
//! compares the first 16 bytes of keys as numbers that stand next to each other, and a scan reads memory in order
//! (`docs/adr/0009-state.md` has figures). Three levels are enough: the top one is a vector of nodes, and grows by one in
//! some ten thousand entries.

mod leaf;

use std::cmp::Ordering;
use std::ops::{Bound, ControlFlow};

use wasmill_core::fault::Fault;

use super::{Bounds, Direction, Visit};
use leaf::{Leaf, Probe};

/// A node has at most this many leaves.
const NODE_LEAVES_MAX: usize = 256;

/// The entries, in order.
#[derive(Debug, Default)]
pub(super) struct Memory {
    /// The least key that may be in each node; the first node takes smaller ones too.
    lows: Vec<Low>,
    nodes: Vec<Node>,
    entries: u64,
    bytes: u64,
}

#[derive(Debug)]
struct Node {
    /// The least key that may be in each leaf; the first leaf takes smaller ones too.
    lows: Vec<Low>,
    /// Never empty, and no leaf is.
    leaves: Vec<Leaf>,
}

#[derive(Clone, Debug)]
struct Low {
    head: u128,
    key: Box<[u8]>,
}

/// Where an entry is, or would be: node, leaf, place in the leaf.
type Position = (usize, usize, usize);

impl Memory {
    #[inline]
    pub(super) fn get(&self, key: &[u8]) -> Option<&[u8]> {
        let probe = Probe::new(key);
        let node = self.nodes.get(place(&self.lows, &probe))?;
        let leaf = &node.leaves[place(&node.lows, &probe)];
        leaf.find(&probe).ok().map(|slot| leaf.entry(slot).1)
    }

    #[inline]
    pub(super) fn put(&mut self, key: &[u8], value: &[u8]) {
        let probe = Probe::new(key);
        if self.nodes.is_empty() {
            self.lows.push(Low::new(key));
            self.nodes.push(Node {
                lows: vec![Low::new(key)],
                leaves: vec![Leaf::default()],
            });
        }
        let n = place(&self.lows, &probe);
        let node = &mut self.nodes[n];
        let l = place(&node.lows, &probe);
        let leaf = &mut node.leaves[l];
        match leaf.find(&probe) {
            Ok(slot) => {
                self.bytes = self.bytes + value.len() as u64 - leaf.entry(slot).1.len() as u64;
                leaf.set(slot, value);
            }
            Err(slot) => {
                self.entries += 1;
                self.bytes += (key.len() + value.len()) as u64;
                leaf.insert(slot, &probe, value);
            }
        }
        if leaf.is_full() {
            let after = leaf.divide();
            self.adopt(n, l + 1, after);
        }
    }

    /// Puts leaves into a node, which may then be too many.
    fn adopt(&mut self, n: usize, l: usize, leaves: Vec<Leaf>) {
        let node = &mut self.nodes[n];
        let lows: Vec<Low> = leaves.iter().map(|leaf| Low::new(leaf.entry(0).0)).collect();
        node.lows.splice(l..l, lows);
        node.leaves.splice(l..l, leaves);
        if node.leaves.len() > NODE_LEAVES_MAX {
            // Where keys come in ascending order nodes are left nearly full.
            let at = if l + 1 == node.leaves.len() {
                NODE_LEAVES_MAX
            } else {
                NODE_LEAVES_MAX / 2
            };
            let right = Node {
                lows: node.lows.split_off(at),
                leaves: node.leaves.split_off(at),
            };
            self.lows.insert(n + 1, right.lows[0].clone());
            self.nodes.insert(n + 1, right);
        }
    }

    pub(super) fn remove(&mut self, key: &[u8]) {
        let probe = Probe::new(key);
        let n = place(&self.lows, &probe);
        let Some(node) = self.nodes.get(n) else {
            return;
        };
        let l = place(&node.lows, &probe);
        if let Ok(slot) = node.leaves[l].find(&probe) {
            self.remove_slots((n, l, slot), slot + 1);
        }
    }

    pub(super) fn remove_range(&mut self, (from, to): Bounds<'_>) {
        loop {
            let start @ (n, l, first) = self.seek_start(from);
            if n == self.nodes.len() {
                return;
            }
            let (end_n, end_l, end) = self.seek_end(to);
            let end = match (end_n, end_l).cmp(&(n, l)) {
                Ordering::Less => return,
                Ordering::Equal => end,
                Ordering::Greater => self.nodes[n].leaves[l].len(),
            };
            if first >= end {
                return;
            }
            self.remove_slots(start, end);
        }
    }

    /// Removes entries of one leaf, from a position to before `end`.
    fn remove_slots(&mut self, (n, l, first): Position, end: usize) {
        let node = &mut self.nodes[n];
        let leaf = &mut node.leaves[l];
        self.entries -= (end - first) as u64;
        self.bytes -= leaf.remove(first, end) as u64;
        let next = l + 1;
        if leaf.is_empty() {
            node.lows.remove(l);
            node.leaves.remove(l);
            if node.leaves.is_empty() {
                self.lows.remove(n);
                self.nodes.remove(n);
            }
        } else if next < node.leaves.len() && node.leaves[l].fits(&node.leaves[next]) {
            node.lows.remove(next);
            let right = node.leaves.remove(next);
            node.leaves[l].append(&right);
        }
    }

    pub(super) fn scan(&self, (from, to): Bounds<'_>, direction: Direction, visit: Visit<'_>) -> Result<(), Fault> {
        if self.nodes.is_empty() {
            return Ok(());
        }
        let (start, end) = (self.seek_start(from), self.seek_end(to));
        match direction {
            Direction::Forwards => {
                let mut at = start;
                while at < end {
                    let (n, l, first) = at;
                    let leaf = &self.nodes[n].leaves[l];
                    let last = if (n, l) == (end.0, end.1) { end.2 } else { leaf.len() };
                    for slot in first..last {
                        let (key, value) = leaf.entry(slot);
                        if let ControlFlow::Break(()) = visit(key, value)? {
                            return Ok(());
                        }
                    }
                    at = self.after_leaf(n, l);
                }
            }
            Direction::Backwards => {
                let mut at = end;
                while start < at {
                    let (n, l, last) = at;
                    let leaf = &self.nodes[n].leaves[l];
                    let first = if (n, l) == (start.0, start.1) { start.2 } else { 0 };
                    for slot in (first..last).rev() {
                        let (key, value) = leaf.entry(slot);
                        if let ControlFlow::Break(()) = visit(key, value)? {
                            return Ok(());
                        }
                    }
                    at = match (n, l) {
                        (0, 0) => return Ok(()),
                        (n, 0) => {
                            let leaves = &self.nodes[n - 1].leaves;
                            (n - 1, leaves.len() - 1, leaves[leaves.len() - 1].len())
                        }
                        (n, l) => (n, l - 1, self.nodes[n].leaves[l - 1].len()),
                    };
                }
            }
        }
        Ok(())
    }

    fn after_leaf(&self, n: usize, l: usize) -> Position {
        if l + 1 < self.nodes[n].leaves.len() {
            (n, l + 1, 0)
        } else {
            (n + 1, 0, 0)
        }
    }

    /// The first entry that is not before a lower bound, `(nodes, 0, 0)` where there is none.
    fn seek_start(&self, from: Bound<&[u8]>) -> Position {
        let (Bound::Included(key) | Bound::Excluded(key)) = from else {
            return (0, 0, 0);
        };
        let (n, l, slot) = self.seek(key, matches!(from, Bound::Excluded(_)));
        if n < self.nodes.len() && slot == self.nodes[n].leaves[l].len() {
            self.after_leaf(n, l)
        } else {
            (n, l, slot)
        }
    }

    /// After the last entry that is not behind an upper bound, in that entry's leaf.
    fn seek_end(&self, to: Bound<&[u8]>) -> Position {
        match to {
            Bound::Included(key) => self.seek(key, true),
            Bound::Excluded(key) => self.seek(key, false),
            Bound::Unbounded => {
                let Some(node) = self.nodes.last() else {
                    return (0, 0, 0);
                };
                let l = node.leaves.len() - 1;
                (self.nodes.len() - 1, l, node.leaves[l].len())
            }
        }
    }

    /// How many entries of its leaf are before `key`, `key` itself too if so asked.
    fn seek(&self, key: &[u8], past: bool) -> Position {
        let probe = Probe::new(key);
        let n = place(&self.lows, &probe);
        let Some(node) = self.nodes.get(n) else {
            return (0, 0, 0);
        };
        let l = place(&node.lows, &probe);
        let slot = match node.leaves[l].find(&probe) {
            Ok(slot) => slot + usize::from(past),
            Err(slot) => slot,
        };
        (n, l, slot)
    }

    /// The bytes of all entries, and what it takes to find them.
    pub(super) fn size_bytes(&self) -> u64 {
        self.bytes + self.entries * leaf::SLOT_BYTES
    }
}

impl Low {
    fn new(key: &[u8]) -> Self {
        Self {
            head: Probe::new(key).head,
            key: key.into(),
        }
    }
}

/// The last of `lows` that is not above the key; the first where all are.
#[inline]
fn place(lows: &[Low], probe: &Probe<'_>) -> usize {
    lows.partition_point(|low| low.head < probe.head || low.head == probe.head && *low.key <= *probe.key)
        .saturating_sub(1)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn leaves_of_several_entries_are_small_whatever_is_put_among_them() {
        let mut memory = Memory::default();
        let mut check = |key: u32, len: usize| {
            memory.put(&key.to_be_bytes(), &vec![key as u8; len]);
            for leaf in memory.nodes.iter().flat_map(|node| &node.leaves) {
                assert!(!leaf.is_empty() && !leaf.is_full(), "{key}");
            }
            assert_eq!(memory.get(&key.to_be_bytes()).map(<[u8]>::len), Some(len));
        };
        // Small ones, then large ones between any two of them.
        (0..60).for_each(|key| check(2 * key, 100));
        (0..60).rev().for_each(|key| check(2 * key + 1, 40_000));
        // Small ones grow, and large ones shrink.
        (0..60).for_each(|key| check(2 * key, 40_000));
        (0..120).for_each(|key| check(key, 7));
        let mut last = None;
        let all = (Bound::Unbounded, Bound::Unbounded);
        memory
            .scan(all, Direction::Forwards, &mut |key, _| {
                assert!(last.as_deref() < Some(key), "in order");
                last = Some(key.to_vec());
                Ok(ControlFlow::Continue(()))
            })
            .expect("memory does not fail");
        assert_eq!((memory.entries, memory.bytes), (120, 120 * 11));
    }
}
