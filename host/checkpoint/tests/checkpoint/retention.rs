//! What stays and what may go.

use std::collections::BTreeSet;

use wasmill_checkpoint::chain::{Chain, Found};
use wasmill_checkpoint::envelope::Checksum;
use wasmill_checkpoint::manifest::{FileSummary, LayerKind, SectionSummary, State, StateFile};
use wasmill_checkpoint::retention::{Facts, Policy, Removals, lineages_to_remove, plan};
use wasmill_checkpoint::{Body, Damage, Link, layout};
use wasmill_core::id::{Epoch, Generation, KeyGroup, Lineage, NodeId, WorkerIndex};
use wasmill_core::time::{Micros, Timestamp};

use crate::examples::{manifest, pending};

const ONE: Generation = Generation(1);

fn snapshot(epoch: u64) -> String {
    layout::snapshot(Epoch(epoch), ONE, WorkerIndex(0))
}

fn spool(epoch: u64) -> String {
    layout::spool(&NodeId::new("out"), Epoch(epoch), ONE, 0)
}

/// Link 0 opens; link n + 1 is the manifest of epoch n, whose state is the file of its epoch alone.
fn chain(epochs: u64) -> Chain {
    let mut bodies = vec![Body::Takeover { generation: ONE }];
    for epoch in 0..epochs {
        let mut state = State::default();
        state.add(&FileSummary {
            file: StateFile {
                path: snapshot(epoch).into(),
                length: 1,
                checksum: Checksum(1),
            },
            sections: vec![SectionSummary {
                operator: NodeId::new("count"),
                group: KeyGroup(0),
                kind: LayerKind::Base,
                entries: 1,
                bytes: 1,
            }],
        });
        let mut manifest = manifest(epoch, state);
        let last_two: Vec<u64> = (epoch.saturating_sub(1)..=epoch).collect();
        manifest.sinks.insert(NodeId::new("out"), pending(&last_two));
        bodies.push(Body::Manifest(Box::new(manifest)));
    }
    let links = (0..).zip(bodies).map(|(number, body)| {
        let link = Link {
            number,
            previous: None,
            writer: "a".to_owned(),
            body,
        };
        Found::Link(Box::new(link), Checksum(number))
    });
    Chain {
        lineage: Lineage(1),
        links: links.collect(),
    }
}

struct Known {
    generation: Generation,
    confirmed: BTreeSet<(NodeId, Epoch)>,
    unnamed: BTreeSet<String>,
    in_use: BTreeSet<Epoch>,
}

fn known() -> Known {
    Known {
        generation: ONE,
        confirmed: BTreeSet::new(),
        unnamed: BTreeSet::new(),
        in_use: BTreeSet::new(),
    }
}

fn check(chain: &Chain, files: &[String], known: &Known, policy: Policy, links: &[u64], gone: &[String]) {
    let facts = Facts {
        chain,
        files,
        generation: known.generation,
        confirmed: &known.confirmed,
        unnamed: &known.unnamed,
        in_use: &known.in_use,
    };
    let expect = Removals {
        links: links.to_vec(),
        files: gone.to_vec(),
    };
    assert_eq!(plan(&facts, policy, Timestamp(10_000_000)), expect);
}

fn retain(retain: usize) -> Policy {
    Policy {
        retain,
        retain_for: Micros(0),
    }
}

#[test]
fn the_newest_manifests_stay_with_their_files() {
    let files: Vec<String> = (0..5).map(snapshot).collect();
    check(&chain(5), &files, &known(), retain(2), &[0, 1, 2, 3], &files[..3]);
    check(&chain(5), &files, &known(), retain(9), &[0], &[]);
    check(&chain(5), &files, &known(), retain(0), &[0, 1, 2, 3, 4], &files[..4]);
    check(&chain(0), &files, &known(), retain(2), &[], &[]);
}

#[test]
fn a_young_manifest_stays_however_many_there_are() {
    let policy = Policy {
        retain: 1,
        retain_for: Micros(7_000_000),
    };
    // The manifest of epoch n was made at second n, and this is second 10: epoch 4 is young.
    check(&chain(6), &[], &known(), policy, &[0, 1, 2, 3, 4], &[]);
}

#[test]
fn a_manifest_that_a_savepoint_is_taken_from_stays() {
    let files: Vec<String> = (0..5).map(snapshot).collect();
    let mut known = known();
    known.in_use.insert(Epoch(1));
    check(&chain(5), &files, &known, retain(1), &[0, 1], &files[..1]);
}

#[test]
fn a_spool_stays_until_its_commit_is_confirmed() {
    let files: Vec<String> = (0..4).map(spool).collect();
    // Epochs 2 and 3 are pending by the newest manifest.
    check(&chain(4), &files, &known(), retain(9), &[0], &files[..2]);
    let mut confirmed = known();
    confirmed.confirmed.insert((NodeId::new("out"), Epoch(2)));
    check(&chain(4), &files, &confirmed, retain(9), &[0], &files[..3]);
}

#[test]
fn what_is_being_written_stays() {
    let base = layout::base(Epoch(3), ONE, 1);
    let files = [snapshot(4), spool(5), base.clone(), "state/readme.md".to_owned()];
    let mut known = known();
    check(&chain(4), &files, &known, retain(9), &[0], std::slice::from_ref(&base));
    known.unnamed.insert(base);
    check(&chain(4), &files, &known, retain(9), &[0], &[]);
}

#[test]
fn what_a_fenced_generation_left_goes_and_what_a_successor_writes_stays() {
    let left = layout::snapshot(Epoch(9), ONE, WorkerIndex(0));
    let newer = layout::snapshot(Epoch(2), Generation(3), WorkerIndex(0));
    let files = [left.clone(), newer];
    let successor = Known {
        generation: Generation(2),
        ..known()
    };
    check(&chain(4), &files, &successor, retain(9), &[0], &[left]);
    check(&chain(4), &files, &known(), retain(9), &[0], &[]);
}

#[test]
fn nothing_goes_where_the_chain_is_damaged() {
    let files: Vec<String> = (0..5).map(snapshot).collect();
    let mut chain = chain(5);
    chain.links[3] = Found::Damaged(3, Damage::of("chain/3", "it is torn"));
    check(&chain, &files, &known(), retain(1), &[], &[]);
}

#[test]
fn the_newest_lineage_stays() {
    let lineages = [1, 2, 3, 4].map(Lineage);
    assert_eq!(lineages_to_remove(&lineages, 1), &lineages[..2]);
    assert_eq!(lineages_to_remove(&lineages, 0), &lineages[..3]);
    assert_eq!(lineages_to_remove(&lineages[..1], 0), &[]);
    assert_eq!(lineages_to_remove(&[], 3), &[]);
}
