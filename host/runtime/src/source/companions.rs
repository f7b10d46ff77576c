//! Which sources are read together: by a join, a union, or anything else downstream of both.
//!
//! A source of which every partition is idle has no watermark of its own to tell, and must not hold back those that it is
//! read together with: its watermark follows theirs.

use std::sync::Arc;

use wasmill_core::id::NodeIndex;
use wasmill_core::plan::Plan;

use super::shared::Shared;

/// Tells each source which others it is read together with. `sources`: by node; `None` for what is no source.
pub(crate) fn introduce(plan: &Plan, sources: &[Option<Arc<Shared>>]) {
    let opened = || {
        let numbered = sources.iter().enumerate();
        numbered.filter_map(|(index, shared)| Some((NodeIndex(index as u32), shared.as_ref()?)))
    };
    for (index, shared) in opened() {
        let downstream = plan.downstream(index);
        let companions = opened().filter(|(other, _)| {
            let together = || !plan.downstream(*other).is_disjoint(&downstream);
            *other != index && together()
        });
        shared.meet(companions.map(|(_, companion)| Arc::downgrade(companion)).collect());
    }
}
