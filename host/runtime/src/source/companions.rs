//! Which sources are read together: by a join, a union, or anything else downstream of both.
//!
//! A source of which every partition is idle has no watermark of its own to tell, and must not hold back those that it is
//! read together with: its watermark follows theirs.

use std::collections::BTreeSet;
use std::sync::Arc;

use wasmill_core::id::StreamIndex;
use wasmill_core::plan::Plan;

use super::shared::Shared;

/// Tells each source which others it is read together with. `sources`: by node; `None` for what is no source.
pub(crate) fn introduce(plan: &Plan, sources: &[Option<Arc<Shared>>]) {
    let downstream: Vec<BTreeSet<usize>> = (0..sources.len()).map(|source| downstream(plan, source)).collect();
    for (index, shared) in sources.iter().enumerate() {
        let Some(shared) = shared else { continue };
        let companions = sources.iter().enumerate().filter_map(|(other, companion)| {
            let together = other != index && !downstream[index].is_disjoint(&downstream[other]);
            companion.as_ref().filter(|_| together).map(Arc::downgrade)
        });
        shared.meet(companions.collect());
    }
}

/// The nodes that rows of a node reach. Dead letters do not count: nobody waits for their watermark.
fn downstream(plan: &Plan, from: usize) -> BTreeSet<usize> {
    let mut reached = BTreeSet::new();
    let mut streams: BTreeSet<StreamIndex> = plan.nodes[from].outputs.iter().copied().collect();
    // Nodes stand after the producers of their inputs.
    for (index, node) in plan.nodes.iter().enumerate() {
        if node.inputs.iter().any(|input| streams.contains(input)) {
            reached.insert(index);
            streams.extend(node.outputs.iter().copied());
        }
    }
    reached
}
