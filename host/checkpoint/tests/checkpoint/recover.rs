//! What a life begins with, case by case.

use std::collections::BTreeMap;

use wasmill_checkpoint::chain::{Chain, Found};
use wasmill_checkpoint::envelope::Checksum;
use wasmill_checkpoint::manifest::{FileSummary, LayerKind, ManifestKind, SectionSummary, State, StateFile};
use wasmill_checkpoint::recover::{Decision, Facts, decide};
use wasmill_checkpoint::{Body, Damage, Link, Manifest, Origin};
use wasmill_core::delivery::Delivery;
use wasmill_core::id::{Epoch, Generation, KeyGroup, Lineage, NodeId};

use crate::examples::{manifest, pending};

fn chain(bodies: Vec<Body>) -> Chain {
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

fn opened() -> Body {
    Body::Opened {
        origin: Origin::Fresh,
        manifest: None,
    }
}

/// An epoch whose state is one file of its own.
fn with_file(epoch: u64) -> Manifest {
    let mut state = State::default();
    state.add(&FileSummary {
        file: StateFile {
            path: format!("state/{epoch}").into(),
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
    manifest(epoch, state)
}

/// The same, where nothing of it shows outside.
fn unseen(epoch: u64) -> Manifest {
    let mut manifest = with_file(epoch);
    for sink in manifest.sinks.values_mut() {
        sink.delivery = Delivery::AtLeastOnce;
    }
    manifest
}

fn body(manifest: Manifest) -> Body {
    Body::Manifest(Box::new(manifest))
}

fn decide_on(chain: &Chain, damaged: &[&str]) -> Decision {
    let damaged: BTreeMap<String, Damage> = damaged
        .iter()
        .map(|path| ((*path).to_owned(), Damage::of(*path, "it is torn")))
        .collect();
    decide(Facts {
        chain: Some(chain),
        damaged: &damaged,
    })
}

fn check_resumes(chain: &Chain, damaged: &[&str], from: Option<u64>, epoch: u64) {
    match decide_on(chain, damaged) {
        Decision::Resume(resume) => {
            assert_eq!(resume.manifest.as_ref().map(|manifest| manifest.epoch.0), from);
            assert_eq!(resume.epoch, Epoch(epoch));
            assert_eq!(resume.passed_over.is_some(), !damaged.is_empty());
        }
        other => panic!("{other:?}"),
    }
}

fn check_refuses(chain: &Chain, damaged: &[&str], expect: &str) {
    match decide_on(chain, damaged) {
        Decision::Refuse(refusal) => assert_eq!(refusal.to_string(), expect),
        other => panic!("{other:?}"),
    }
}

#[test]
fn an_empty_store_is_begun_afresh() {
    let decision = decide(Facts {
        chain: None,
        damaged: &BTreeMap::new(),
    });
    let expect = Decision::Open {
        lineage: Lineage(1),
        origin: Origin::Fresh,
    };
    assert_eq!(decision, expect);
}

#[test]
fn the_newest_manifest_is_gone_on_from() {
    check_resumes(&chain(vec![opened()]), &[], None, 0);
    let takeover = Body::Takeover {
        generation: Generation(2),
    };
    let chain = chain(vec![opened(), body(with_file(0)), body(with_file(1)), takeover]);
    check_resumes(&chain, &[], Some(1), 2);
}

#[test]
fn an_opening_that_was_interrupted_is_finished() {
    let origin = Origin::Savepoint { path: "s".to_owned() };
    let closed = Body::Closed {
        by: Lineage(2),
        origin: origin.clone(),
    };
    let decision = decide_on(&chain(vec![opened(), body(with_file(0)), closed]), &[]);
    let expect = Decision::Open {
        lineage: Lineage(2),
        origin,
    };
    assert_eq!(decision, expect);
}

#[test]
fn what_is_pending_is_committed_unless_it_is_settled() {
    let mut last = with_file(1);
    last.sinks.insert(NodeId::new("out"), pending(&[0, 1]));
    let mut bodies = vec![opened(), body(with_file(0)), body(last)];
    let Decision::Resume(resume) = decide_on(&chain(bodies.clone()), &[]) else {
        panic!("it can be resumed");
    };
    let epochs: Vec<u64> = resume.pending[&NodeId::new("out")]
        .keys()
        .map(|epoch| epoch.0)
        .collect();
    assert_eq!(epochs, [0, 1]);
    bodies.push(Body::Settled { epoch: Epoch(1) });
    let Decision::Resume(resume) = decide_on(&chain(bodies), &[]) else {
        panic!("it can be resumed");
    };
    assert_eq!(resume.pending, BTreeMap::new());
}

#[test]
fn a_lineage_that_has_ended_says_so() {
    let mut last = with_file(1);
    last.kind = ManifestKind::Final;
    let unsettled = chain(vec![opened(), body(last.clone())]);
    let Decision::Finished { pending, .. } = decide_on(&unsettled, &[]) else {
        panic!("it is finished");
    };
    assert_eq!(pending.len(), 1);
    let settled = Body::Settled { epoch: Epoch(1) };
    let Decision::Finished { pending, .. } = decide_on(&chain(vec![opened(), body(last), settled]), &[]) else {
        panic!("it is finished");
    };
    assert_eq!(pending.len(), 0);
}

#[test]
fn a_damaged_file_whose_epoch_may_be_committed_stops_the_job() {
    let chain = chain(vec![opened(), body(with_file(0)), body(with_file(1))]);
    check_refuses(
        &chain,
        &["state/1"],
        "lineage 1 cannot be continued: `state/1` is damaged: it is torn; put the file back from a copy, or begin a new \
         lineage with `wasmill run --from 0` (output after epoch 0 is written again) or with `--fresh` (all of it)",
    );
    // Damage of what the newest manifest does not name is no matter.
    check_resumes_without_note(&chain, &["state/0"], 1);
}

fn check_resumes_without_note(chain: &Chain, damaged: &[&str], from: u64) {
    let Decision::Resume(resume) = decide_on(chain, damaged) else {
        panic!("it can be resumed");
    };
    assert_eq!(resume.manifest.unwrap().epoch, Epoch(from));
    assert_eq!(resume.passed_over, None);
}

#[test]
fn an_older_manifest_serves_where_nothing_after_it_shows_outside() {
    let bodies = vec![opened(), body(with_file(0)), body(unseen(1)), body(unseen(2))];
    let chain = chain(bodies);
    check_resumes(&chain, &["state/2"], Some(1), 3);
    check_resumes(&chain, &["state/2", "state/1"], Some(0), 3);
    check_refuses(
        &chain,
        &["state/2", "state/1", "state/0"],
        "lineage 1 cannot be continued: `state/2` is damaged: it is torn; put the file back from a copy, or begin a new \
         lineage with `wasmill run --fresh` (all output is written again)",
    );
}

#[test]
fn what_was_acknowledged_cannot_be_read_again() {
    let mut acknowledged = unseen(1);
    for source in acknowledged.sources.values_mut() {
        source.acknowledged = true;
    }
    let chain = chain(vec![opened(), body(unseen(0)), body(acknowledged)]);
    assert!(matches!(decide_on(&chain, &["state/1"]), Decision::Refuse(_)));
}

#[test]
fn a_damaged_link_after_the_newest_manifest_may_have_been_one() {
    let mut chain = chain(vec![opened(), body(unseen(0)), body(unseen(1))]);
    chain.links[2] = Found::Damaged(2, Damage::of("chain/2", "it is torn"));
    let Decision::Refuse(refusal) = decide_on(&chain, &[]) else {
        panic!("nobody knows what it said");
    };
    assert_eq!(refusal.intact, [Epoch(0)]);
    // An older one says nothing that is needed.
    chain.links.push(Found::Link(
        Box::new(Link {
            number: 3,
            previous: None,
            writer: "a".to_owned(),
            body: body(unseen(2)),
        }),
        Checksum(3),
    ));
    check_resumes(&chain, &[], Some(2), 3);
}
