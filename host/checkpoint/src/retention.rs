//! Which links and files may go.
//!
//! What stays: the newest manifests, savepoints that are still needed, every link after the oldest of them, the files that
//! they name, spools whose commit is not confirmed, and whatever the generation at work is writing. A host that
//! does not know that it was taken over may ask for removals, too: it removes only what generations up to its own wrote,
//! and a successor needs of that only what the newest manifest names, which every one of them keeps.

use std::collections::BTreeSet;

use wasmill_core::id::{Epoch, Generation, Lineage, NodeId};
use wasmill_core::time::{Micros, Timestamp};

use crate::chain::{Chain, Found};
use crate::{Body, Link, Manifest, layout};

/// What is kept.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Policy {
    /// How many manifests, at least one. Default: 5.
    pub retain: usize,
    /// For how long a manifest stays, however many there are. Default: not at all.
    pub retain_for: Micros,
}

impl Default for Policy {
    fn default() -> Self {
        Self {
            retain: 5,
            retain_for: Micros(0),
        }
    }
}

/// What was found, and what is known. What is known is noted first, then the chain is read, then the files are listed;
/// and no compaction runs meanwhile. So a file that is listed and needed is named by one of them.
#[derive(Clone, Copy, Debug)]
pub struct Facts<'a> {
    /// The lineage's chain.
    pub chain: &'a Chain,
    /// The paths of all files of the lineage, within its folder: state and spools.
    pub files: &'a [String],
    /// The generation that asks.
    pub generation: Generation,
    /// The epochs of each sink whose commit is confirmed although the newest manifest says that it is not.
    pub confirmed: &'a BTreeSet<(NodeId, Epoch)>,
    /// Bases that compaction has made and that no link names that is known to be written.
    pub unnamed: &'a BTreeSet<String>,
    /// Epochs whose manifests are in use: a savepoint is being taken from them.
    pub in_use: &'a BTreeSet<Epoch>,
}

/// What may go. Links go before files, in this order: a manifest never names what is gone.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Removals {
    /// Links, from the front.
    pub links: Vec<u64>,
    /// Files, by their paths within the lineage's folder.
    pub files: Vec<String>,
}

/// Which manifests stay, newest first.
pub fn retained<'c>(chain: &'c Chain, policy: Policy, now: Timestamp, in_use: &BTreeSet<Epoch>) -> Vec<&'c Manifest> {
    let young = now.before(policy.retain_for);
    let mut retained: Vec<&Manifest> = Vec::new();
    for manifest in chain.manifests() {
        let new = retained.len() < policy.retain.max(1);
        if new || manifest.time > young && policy.retain_for.0 > 0 || in_use.contains(&manifest.epoch) {
            retained.push(manifest);
        }
    }
    retained
}

/// What may go at `now`.
pub fn plan(facts: &Facts<'_>, policy: Policy, now: Timestamp) -> Removals {
    let retained = retained(facts.chain, policy, now, facts.in_use);
    // Where the chain is damaged, nobody knows what is needed.
    let damaged = facts
        .chain
        .links
        .iter()
        .any(|found| matches!(found, Found::Damaged(..)));
    let Some(oldest) = retained.last().filter(|_| !damaged) else {
        return Removals::default();
    };
    let first_kept = facts
        .chain
        .links
        .iter()
        .filter_map(Found::link)
        .find(|link| link.manifest() == Some(oldest))
        .map_or(0, |link| link.number);
    let links = facts.chain.links.iter().map(Found::number);
    let newest_epoch = retained[0].epoch;
    // All manifests after the oldest that is retained can be read still, so their files stay.
    let named: BTreeSet<&str> = facts
        .chain
        .links
        .iter()
        .filter(|found| found.number() >= first_kept)
        .filter_map(Found::link)
        .filter_map(Link::manifest)
        .flat_map(|manifest| manifest.state.files())
        .map(|file| &*file.path)
        .collect();
    let files = facts.files.iter().filter(|path| {
        let Some(written) = layout::written(path) else {
            return false;
        };
        if written.generation > facts.generation || facts.unnamed.contains(*path) {
            return false;
        }
        // The generation at work is writing the epoch after its last manifest, and the one after that.
        if written.generation == facts.generation && written.epoch > newest_epoch {
            return false;
        }
        match spool_sink(path) {
            Some(sink) => !awaits_commit(retained[0], &NodeId::new(sink), written.epoch, facts),
            None => !named.contains(&***path),
        }
    });
    Removals {
        links: links.filter(|number| *number < first_kept).collect(),
        files: files.cloned().collect(),
    }
}

fn awaits_commit(newest: &Manifest, sink: &NodeId, epoch: Epoch, facts: &Facts<'_>) -> bool {
    let settled = facts.chain.newest_first().any(|link| match &link.body {
        Body::Settled { epoch: settled } => epoch <= *settled,
        _ => false,
    });
    let pending = newest
        .sinks
        .get(sink)
        .is_some_and(|cut| cut.pending.contains_key(&epoch));
    pending && !settled && !facts.confirmed.contains(&(sink.clone(), epoch))
}

/// The sink whose spool a path is.
fn spool_sink(path: &str) -> Option<&str> {
    path.strip_prefix("spool/")?.rsplit_once('/').map(|(sink, _)| sink)
}

/// Lineages before the newest that are closed may go as wholes, when they are not kept for time travel: all but the
/// newest `retain` of them. The newest lineage always stays, so that numbers are never used again.
pub fn lineages_to_remove(lineages: &[Lineage], retain: usize) -> &[Lineage] {
    let kept = (retain + 1).min(lineages.len());
    &lineages[..lineages.len() - kept]
}
