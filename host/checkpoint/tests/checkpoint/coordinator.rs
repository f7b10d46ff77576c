//! What the coordinator does, step by step.

use std::collections::BTreeMap;

use wasmill_checkpoint::coordinator::{Coordinator, Effect, Input, Job, Outcome, Settings, SinkFacts, Start, Then};
use wasmill_checkpoint::manifest::{ManifestKind, Prepared, TopologyFacts};
use wasmill_checkpoint::{Body, Manifest};
use wasmill_core::delivery::Delivery;
use wasmill_core::fault::{Domain, Fault};
use wasmill_core::id::{Epoch, Generation, Lineage, NodeId, WorkerIndex};
use wasmill_core::time::{Micros, Timestamp};

const SECOND: i64 = 1_000_000;

struct Driven {
    coordinator: Coordinator,
    now: i64,
}

fn out() -> NodeId {
    NodeId::new("out")
}

fn prepared(writer: u32) -> Prepared {
    Prepared {
        writer,
        bytes: vec![writer as u8],
    }
}

/// Two workers, one sink with two writers, an epoch of 10 s.
fn job() -> Job {
    Job {
        lineage: Lineage(1),
        generation: Generation(1),
        topology: TopologyFacts {
            name: "t".to_owned(),
            digest: String::new(),
            key_groups: 4,
            operators: BTreeMap::new(),
        },
        workers: 2,
        sinks: BTreeMap::from([(
            out(),
            SinkFacts {
                delivery: Delivery::ExactlyOnce,
                writers: 2,
            },
        )]),
        settings: Settings {
            interval: Micros(10 * SECOND as u64),
            timeout: Micros(60 * SECOND as u64),
            timeouts_max: 3,
            uncommitted_max: 2,
        },
    }
}

fn begin(start: Start) -> (Driven, Vec<Effect>) {
    let (coordinator, effects) = Coordinator::new(job(), start, Timestamp(0));
    (Driven { coordinator, now: 0 }, effects)
}

impl Driven {
    fn tell(&mut self, input: Input) -> Vec<Effect> {
        self.coordinator.step(Timestamp(self.now), input)
    }

    fn at(&mut self, second: i64) -> Vec<Effect> {
        self.now = second * SECOND;
        self.tell(Input::Tick)
    }

    /// All that an epoch consists of comes in; the effects of the last of it.
    fn complete(&mut self, epoch: u64) -> Vec<Effect> {
        let epoch = Epoch(epoch);
        let mut effects = self.tell(Input::Cuts {
            epoch,
            sources: BTreeMap::new(),
            watermarks: BTreeMap::new(),
        });
        for number in 0..2 {
            assert_eq!(effects, [], "it is not complete");
            self.tell(Input::Snapshot {
                epoch,
                worker: WorkerIndex(number),
                file: None,
            });
            effects = self.tell(Input::Prepared {
                epoch,
                sink: out(),
                prepared: prepared(number),
            });
        }
        effects
    }

    fn committed(&mut self, epoch: u64) -> Vec<Effect> {
        self.tell(Input::Committed {
            epoch: Epoch(epoch),
            sink: out(),
        })
    }
}

fn roll(epoch: u64, then: Then) -> Effect {
    Effect::Roll {
        epoch: Epoch(epoch),
        then,
    }
}

fn commit(epoch: u64) -> Effect {
    Effect::Commit {
        epoch: Epoch(epoch),
        sink: out(),
        prepared: vec![prepared(0), prepared(1)],
    }
}

fn acknowledge(epoch: u64) -> Effect {
    Effect::Acknowledge { epoch: Epoch(epoch) }
}

fn settled(epoch: u64) -> Effect {
    Effect::Write(Body::Settled { epoch: Epoch(epoch) })
}

fn written(effects: Vec<Effect>) -> Manifest {
    match <[Effect; 1]>::try_from(effects) {
        Ok([Effect::Write(Body::Manifest(manifest))]) => *manifest,
        other => panic!("{other:?}"),
    }
}

fn pending(manifest: &Manifest) -> Vec<u64> {
    manifest.sinks[&out()].pending.keys().map(|epoch| epoch.0).collect()
}

#[test]
fn an_epoch_is_committed_after_its_link_and_not_before() {
    let (mut driven, effects) = begin(Start::default());
    assert_eq!(effects, []);
    assert_eq!(driven.at(9), []);
    assert_eq!(driven.coordinator.wake_at(), Some(Timestamp(10 * SECOND)));
    assert_eq!(driven.at(10), [roll(0, Then::Continue)]);
    driven.now = 11 * SECOND;
    let manifest = written(driven.complete(0));
    assert_eq!(manifest.kind, ManifestKind::Checkpoint);
    assert_eq!(manifest.statistics.duration_micros, SECOND as u64);
    assert_eq!(pending(&manifest), [0]);
    assert_eq!(driven.committed(0), [], "nobody was asked to");
    let effects = driven.tell(Input::LinkWritten);
    assert_eq!(effects, [commit(0), acknowledge(0), Effect::CleanUp]);
    assert_eq!(driven.committed(0), [Effect::CleanUp]);
    assert_eq!(driven.committed(0), []);
}

#[test]
fn epochs_are_committed_in_order_and_a_bounded_number_waits() {
    let (mut driven, _) = begin(Start::default());
    driven.at(10);
    driven.complete(0);
    driven.tell(Input::LinkWritten);
    assert_eq!(driven.at(20), [roll(1, Then::Continue)]);
    assert_eq!(pending(&written(driven.complete(1))), [0, 1]);
    assert_eq!(driven.tell(Input::LinkWritten), [acknowledge(1), Effect::CleanUp]);
    assert_eq!(driven.at(40), [], "two are not committed");
    assert_eq!(driven.coordinator.wake_at(), None);
    assert_eq!(driven.committed(1), [], "the other one is being committed");
    let effects = driven.committed(0);
    assert_eq!(effects, [commit(1), Effect::CleanUp, roll(2, Then::Continue)]);
}

#[test]
fn a_commit_that_is_confirmed_while_the_next_link_is_written_begins_no_other() {
    let (mut driven, _) = begin(Start::default());
    driven.at(10);
    driven.complete(0);
    driven.tell(Input::LinkWritten);
    driven.at(20);
    driven.complete(1);
    assert_eq!(driven.committed(0), [Effect::CleanUp]);
    assert_eq!(
        driven.tell(Input::LinkWritten),
        [commit(1), acknowledge(1), Effect::CleanUp]
    );
}

#[test]
fn what_an_earlier_generation_left_is_committed_first() {
    let epochs = [5, 6].map(|epoch| (Epoch(epoch), vec![prepared(0), prepared(1)]));
    let (mut driven, effects) = begin(Start {
        epoch: Epoch(7),
        pending: BTreeMap::from([(out(), BTreeMap::from(epochs))]),
        ..Start::default()
    });
    assert_eq!(effects, [commit(5)]);
    assert_eq!(driven.at(10), [], "two are not committed");
    assert_eq!(driven.committed(5)[0], commit(6));
    assert_eq!(pending(&written(driven.complete(7))), [6, 7]);
}

#[test]
fn who_is_fenced_does_nothing_more() {
    let (mut driven, _) = begin(Start::default());
    driven.at(10);
    driven.complete(0);
    assert_eq!(driven.tell(Input::Fenced), [Effect::Finish(Outcome::Fenced)]);
    assert_eq!(driven.tell(Input::LinkWritten), []);
    assert_eq!(driven.at(100), []);
}

#[test]
fn a_failure_ends_the_generation_with_its_reason() {
    let (mut driven, _) = begin(Start::default());
    let fault = Fault::fatal(Domain::External, "the disk is gone");
    let effects = driven.tell(Input::Failed(fault.clone()));
    assert_eq!(effects, [Effect::Finish(Outcome::Failed(fault))]);
}

#[test]
fn an_epoch_that_takes_too_long_is_told_of_and_ends_the_generation_at_last() {
    let (mut driven, _) = begin(Start::default());
    driven.at(10);
    driven.tell(Input::Snapshot {
        epoch: Epoch(0),
        worker: WorkerIndex(1),
        file: None,
    });
    assert_eq!(driven.at(69), []);
    let waits_for = "the cuts of the sources, the snapshot of worker 0, 2 writers of `out`".to_owned();
    let late = |times| Effect::Late {
        epoch: Epoch(0),
        times,
        waits_for: waits_for.clone(),
    };
    assert_eq!(driven.at(70), [late(1)]);
    assert_eq!(driven.at(71), []);
    assert_eq!(driven.at(130), [late(2)]);
    let fault = Fault::transient(format!("epoch 0 was not complete in time: it waits for {waits_for}"));
    assert_eq!(driven.at(190), [Effect::Finish(Outcome::Failed(fault))]);
}

#[test]
fn the_end_of_the_input_is_the_last_epoch() {
    let (mut driven, _) = begin(Start::default());
    assert_eq!(driven.tell(Input::SourcesEnded), [roll(0, Then::End)]);
    assert_eq!(written(driven.complete(0)).kind, ManifestKind::Final);
    driven.tell(Input::LinkWritten);
    assert_eq!(driven.at(100), []);
    assert_eq!(driven.committed(0), [Effect::CleanUp, settled(0)]);
    assert_eq!(driven.tell(Input::LinkWritten), [Effect::Finish(Outcome::Finished)]);
}

#[test]
fn an_epoch_under_way_is_completed_before_the_last_one() {
    let (mut driven, _) = begin(Start::default());
    driven.at(10);
    assert_eq!(driven.tell(Input::SourcesEnded), []);
    assert_eq!(written(driven.complete(0)).kind, ManifestKind::Checkpoint);
    let effects = driven.tell(Input::LinkWritten);
    assert_eq!(effects.last(), Some(&roll(1, Then::End)));
}

#[test]
fn a_stop_is_one_more_epoch_that_can_be_gone_on_from() {
    let (mut driven, _) = begin(Start::default());
    assert_eq!(driven.tell(Input::Stop { savepoint: None }), [roll(0, Then::Hold)]);
    assert_eq!(written(driven.complete(0)).kind, ManifestKind::Checkpoint);
    driven.tell(Input::LinkWritten);
    assert_eq!(driven.committed(0), [Effect::CleanUp, settled(0)]);
    let stopped = Effect::Finish(Outcome::Stopped(Epoch(0)));
    assert_eq!(driven.tell(Input::LinkWritten), [stopped]);
}

#[test]
fn a_drain_ends_the_sources_first() {
    let (mut driven, _) = begin(Start::default());
    assert_eq!(driven.tell(Input::Drain), [Effect::EndSources]);
    assert_eq!(driven.tell(Input::Drain), []);
    assert_eq!(driven.at(100), []);
    assert_eq!(driven.tell(Input::SourcesEnded), [roll(0, Then::End)]);
}

#[test]
fn a_savepoint_is_ready_when_its_epoch_is_committed() {
    let (mut driven, _) = begin(Start::default());
    assert_eq!(driven.tell(Input::Savepoint(3)), [roll(0, Then::Continue)]);
    assert_eq!(driven.tell(Input::Savepoint(4)), []);
    assert_eq!(written(driven.complete(0)).kind, ManifestKind::Savepoint);
    let effects = driven.tell(Input::LinkWritten);
    // The second one was asked for after the cut, so it takes the next epoch.
    assert_eq!(
        effects,
        [commit(0), acknowledge(0), Effect::CleanUp, roll(1, Then::Continue)]
    );
    let ready = Effect::SavepointReady {
        request: 3,
        epoch: Epoch(0),
    };
    assert_eq!(driven.committed(0), [ready, Effect::CleanUp]);
}

#[test]
fn a_stop_with_a_savepoint_is_one_epoch() {
    let (mut driven, _) = begin(Start::default());
    let effects = driven.tell(Input::Stop { savepoint: Some(5) });
    assert_eq!(effects, [roll(0, Then::Hold)]);
    assert_eq!(written(driven.complete(0)).kind, ManifestKind::Savepoint);
    driven.tell(Input::LinkWritten);
    let ready = Effect::SavepointReady {
        request: 5,
        epoch: Epoch(0),
    };
    assert_eq!(driven.committed(0), [ready, Effect::CleanUp, settled(0)]);
}

#[test]
#[should_panic(expected = "output of `gone` is pending")]
fn output_of_a_sink_that_is_gone_is_not_forgotten() {
    let epochs = BTreeMap::from([(Epoch(5), vec![prepared(0)])]);
    begin(Start {
        epoch: Epoch(6),
        pending: BTreeMap::from([(NodeId::new("gone"), epochs)]),
        ..Start::default()
    });
}
