//! What a life of a job begins with: a pure decision from what was found in the store.
//!
//! The newest link decides. Nothing is guessed: where the newest link or a file that the newest manifest names is damaged,
//! going back to an older manifest is done only where nothing after it can have been committed or acknowledged. Else
//! the decision is a refusal that says what a user can do.

use std::collections::{BTreeMap, BTreeSet};
use std::fmt;

use wasmill_core::id::{Epoch, Lineage, NodeId};

use crate::chain::{Chain, Found};
use crate::coordinator::Start;
use crate::manifest::{ManifestKind, Prepared};
use crate::{Body, Damage, Link, Manifest, Origin};

/// What was found.
#[derive(Clone, Copy, Debug)]
pub struct Facts<'a> {
    /// The newest lineage's chain; `None`: no lineage was opened.
    pub chain: Option<&'a Chain>,
    /// Files that are missing or damaged, by their paths within the lineage's folder, as far as they were looked at.
    pub damaged: &'a BTreeMap<String, Damage>,
}

/// What to do.
#[derive(Clone, Debug, PartialEq)]
pub enum Decision {
    /// Open this lineage. Where its origin names a checkpoint or a savepoint, that was asked for before and not finished.
    Open {
        /// The lineage.
        lineage: Lineage,
        /// What it begins with.
        origin: Origin,
    },
    /// Take the lineage over and go on.
    Resume(Box<Resume>),
    /// The lineage has come to its end. What is pending is to be committed, if anything is.
    Finished {
        /// Its last manifest.
        manifest: Box<Manifest>,
        /// What each sink has yet to commit, by epoch.
        pending: Pending,
    },
    /// A user must decide.
    Refuse(Refusal),
}

/// What each sink has yet to commit, by epoch.
pub type Pending = BTreeMap<NodeId, BTreeMap<Epoch, Vec<Prepared>>>;

/// How to go on.
#[derive(Clone, Debug, PartialEq)]
pub struct Resume {
    /// The lineage.
    pub lineage: Lineage,
    /// The manifest whose state is restored and whose cuts sources begin at; `None`: the lineage has none.
    pub manifest: Option<Manifest>,
    /// The epoch that sources begin in: no manifest has had it.
    pub epoch: Epoch,
    /// What each sink has yet to commit.
    pub pending: Pending,
    /// Damage for which a newer manifest was passed over.
    pub passed_over: Option<Damage>,
}

impl Resume {
    /// What the coordinator begins with.
    pub fn start(&self) -> Start {
        Start {
            epoch: self.epoch,
            state: self
                .manifest
                .as_ref()
                .map(|manifest| manifest.state.clone())
                .unwrap_or_default(),
            pending: self.pending.clone(),
        }
    }
}

/// Why a lineage is not gone on with, and what can be done.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Refusal {
    /// The lineage.
    pub lineage: Lineage,
    /// What is damaged.
    pub damage: Damage,
    /// The epochs, newest first, whose manifests are there and of which no damage is known.
    pub intact: Vec<Epoch>,
}

impl fmt::Display for Refusal {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(
            f,
            "lineage {} cannot be continued: {}; put the file back from a copy, or ",
            self.lineage, self.damage
        )?;
        match self.intact.first() {
            Some(epoch) => write!(
                f,
                "begin a new lineage with `wasmill run --from {epoch}` (output after epoch {epoch} is written again) or with \
                 `--fresh` (all of it)"
            ),
            None => f.write_str("begin a new lineage with `wasmill run --fresh` (all output is written again)"),
        }
    }
}

/// Decides.
pub fn decide(facts: Facts<'_>) -> Decision {
    let Some(chain) = facts.chain else {
        return Decision::Open {
            lineage: Lineage(1),
            origin: Origin::Fresh,
        };
    };
    if let Some((lineage, origin)) = chain.closed() {
        return Decision::Open {
            lineage,
            origin: origin.clone(),
        };
    }
    let candidates: Vec<&Manifest> = chain.manifests().collect();
    if let Some(damage) = damage_after_newest(chain) {
        return refuse(chain, damage.clone(), &candidates, facts.damaged);
    }
    let Some(newest) = candidates.first() else {
        return Decision::Resume(Box::new(Resume {
            lineage: chain.lineage,
            manifest: None,
            epoch: Epoch(0),
            pending: Pending::new(),
            passed_over: None,
        }));
    };
    let pending = pending(newest, chain);
    if newest.kind == ManifestKind::Final && newest.lineage == chain.lineage {
        return Decision::Finished {
            manifest: Box::new((*newest).clone()),
            pending,
        };
    }
    let mut passed_over: Option<&Damage> = None;
    for manifest in &candidates {
        let Some(damage) = damage_of(manifest, facts.damaged) else {
            return Decision::Resume(Box::new(Resume {
                lineage: chain.lineage,
                epoch: newest.next_epoch(),
                pending: still_pending(pending, manifest),
                manifest: Some((*manifest).clone()),
                passed_over: passed_over.cloned(),
            }));
        };
        passed_over.get_or_insert(damage);
        if manifest.shows_outside() || is_start(manifest, chain) {
            break;
        }
    }
    let damage = passed_over.expect("the newest manifest is damaged").clone();
    refuse(chain, damage, &candidates, facts.damaged)
}

/// Damage of a link that may have been a manifest after the newest one that is readable.
fn damage_after_newest(chain: &Chain) -> Option<&Damage> {
    chain.links.iter().rev().find_map(|found| match found {
        Found::Damaged(_, damage) => Some(Some(damage)),
        Found::Link(link, _) => link.manifest().map(|_| None),
    })?
}

fn damage_of<'d>(manifest: &Manifest, damaged: &'d BTreeMap<String, Damage>) -> Option<&'d Damage> {
    manifest.state.files().find_map(|file| damaged.get(&*file.path))
}

/// Whether a manifest is what the lineage was opened with: before it there is nothing to go back to.
fn is_start(manifest: &Manifest, chain: &Chain) -> bool {
    let opened = chain.links.iter().find_map(|found| match found.link() {
        Some(Link {
            body: Body::Opened { manifest, .. },
            ..
        }) => manifest.as_deref(),
        _ => None,
    });
    opened == Some(manifest)
}

/// What the newest manifest names and no link says to be settled.
fn pending(newest: &Manifest, chain: &Chain) -> Pending {
    let settled = chain.newest_first().find_map(|link| match &link.body {
        Body::Settled { epoch } => Some(*epoch),
        _ => None,
    });
    newest
        .sinks
        .iter()
        .map(|(sink, cut)| {
            let open = cut.pending.iter().filter(|(epoch, _)| Some(**epoch) > settled);
            (
                sink.clone(),
                open.map(|(epoch, prepared)| (*epoch, prepared.clone())).collect(),
            )
        })
        .filter(|(_, epochs): &(NodeId, BTreeMap<_, _>)| !epochs.is_empty())
        .collect()
}

/// Without the epochs after `manifest`: nothing of them was to be committed.
fn still_pending(mut pending: Pending, manifest: &Manifest) -> Pending {
    for epochs in pending.values_mut() {
        epochs.retain(|epoch, _| *epoch <= manifest.epoch);
    }
    pending.retain(|_, epochs| !epochs.is_empty());
    pending
}

fn refuse(chain: &Chain, damage: Damage, candidates: &[&Manifest], damaged: &BTreeMap<String, Damage>) -> Decision {
    let intact: BTreeSet<Epoch> = candidates
        .iter()
        .filter(|manifest| damage_of(manifest, damaged).is_none())
        .map(|manifest| manifest.epoch)
        .collect();
    Decision::Refuse(Refusal {
        lineage: chain.lineage,
        damage,
        intact: intact.into_iter().rev().collect(),
    })
}
