//! Merges the layers of key groups into bases, so that a restore reads a bounded number of files and what was
//! overwritten or removed can go.

use std::collections::BTreeSet;
use std::num::NonZeroUsize;
use std::sync::Arc;

use wasmill_core::id::{KeyGroup, NodeId};

use crate::Error;
use crate::manifest::{LayerKind, Merged, State};
use crate::snapshot::{Output, Restore};
use crate::store::Store;

/// When layers are merged, and how much at once.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Limits {
    /// A key group with more deltas over its base is merged. Default: 10. It bounds the files that a restore has open,
    /// to this number for each worker that wrote.
    pub deltas_max: NonZeroUsize,
    /// A key group whose deltas together have more than this many hundredths of its base's bytes is merged, if it has
    /// at least two layers. Default: 50. It bounds what is stored to one and a half times the state, and what is written
    /// to three times the changes.
    pub share_percent: u64,
    /// No more bytes of layers are merged at once, but at least one key group. Default: 256 MiB.
    pub bytes_max: u64,
}

impl Default for Limits {
    fn default() -> Self {
        Self {
            deltas_max: NonZeroUsize::new(10).expect("10 is not 0"),
            share_percent: 50,
            bytes_max: 256 << 20,
        }
    }
}

/// Key groups to be merged.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Plan {
    /// Which, ascending.
    pub groups: BTreeSet<(NodeId, KeyGroup)>,
}

/// Which key groups are to be merged: those over the limits, those with the most layers first.
pub fn plan(state: &State, limits: Limits) -> Plan {
    let mut due: Vec<(usize, u64, NodeId, KeyGroup)> = Vec::new();
    for operator in state.operators() {
        for (group, layers) in state.groups(operator) {
            let based = layers.first().is_some_and(|layer| layer.kind == LayerKind::Base);
            let base_bytes = if based { layers[0].bytes } else { 0 };
            let deltas = layers.len() - usize::from(based);
            let bytes: u64 = layers.iter().map(|layer| layer.bytes).sum();
            let share = (bytes - base_bytes) * 100 > base_bytes.saturating_mul(limits.share_percent);
            // Without a base the first delta is as good as one.
            let over = deltas > limits.deltas_max.get() || based && deltas > 1 && share;
            if over {
                due.push((layers.len(), bytes, operator.clone(), group));
            }
        }
    }
    due.sort_by(|a, b| (b.0, &a.2, a.3).cmp(&(a.0, &b.2, b.3)));
    let mut plan = Plan::default();
    let mut planned_bytes = 0;
    for (_, bytes, operator, group) in due {
        if !plan.groups.is_empty() && planned_bytes + bytes > limits.bytes_max {
            break;
        }
        planned_bytes += bytes;
        plan.groups.insert((operator, group));
    }
    plan
}

/// Merges the planned key groups of a state into a file at `path`. Both stand in `folder`. The file is durable when this
/// returns, and is named by the next manifest.
///
/// # Errors
/// A layer is missing or damaged, or the store's.
pub async fn merge(
    store: &Arc<dyn Store>,
    folder: &str,
    state: &State,
    plan: &Plan,
    path: &str,
) -> Result<Merged, Error> {
    let wanted = |operator: &NodeId, group| plan.groups.contains(&(operator.clone(), group));
    let mut restore = Restore::open(store, folder, state, wanted).await?;
    let mut output = Output::new(&**store, folder, path);
    let mut replaces = Vec::new();
    while let Some((operator, group)) = restore.next_group().await? {
        output.writer.section(&operator, group, LayerKind::Base);
        let layers = state.layers(&operator, group);
        replaces.push(layers.iter().map(|layer| layer.path.clone()).collect());
        while let Some(entry) = restore.next().await? {
            output.writer.entry(&entry.key, Some(&entry.value));
            output.send().await?;
        }
    }
    Ok(Merged {
        file: output.finish().await?,
        replaces,
    })
}
