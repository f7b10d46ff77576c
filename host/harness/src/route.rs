//! Which subtask takes which rows: as the engine spreads them.

use wasmill_core::batch::Batch;
use wasmill_core::id::NodeId;
use wasmill_core::key;
use wasmill_core::plan::Spread;

/// The parts of a batch, each with the subtask that takes it.
pub(crate) fn parts(
    batch: Batch,
    spread: Spread<'_>,
    node: &NodeId,
    from: usize,
    workers: usize,
    groups: u16,
) -> Vec<(usize, Batch)> {
    let columns = match spread {
        Spread::Local => return vec![(from, batch)],
        Spread::One => return vec![(home(node, workers), batch)],
        Spread::Key(columns) => columns,
    };
    if workers == 1 {
        return vec![(0, batch)];
    }
    let mut hashes = Vec::new();
    key::hashes(&batch, columns, &mut hashes);
    let mut rows: Vec<Vec<u32>> = vec![Vec::new(); workers];
    for (row, &hash) in hashes.iter().enumerate() {
        let owner = key::owner(key::group(hash, groups), groups, workers as u32);
        rows[owner.0 as usize].push(row as u32);
    }
    let parts = rows.into_iter().enumerate().filter(|(_, rows)| !rows.is_empty());
    parts.map(|(worker, rows)| (worker, batch.select(&rows))).collect()
}

/// The subtask of a node that has only one.
pub(crate) fn home(node: &NodeId, workers: usize) -> usize {
    (key::hash(node.as_str().as_bytes()) % workers as u64) as usize
}
