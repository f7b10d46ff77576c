//! When epochs end, when a manifest may be written, and what comes after it: the protocol as a state machine.
//!
//! The coordinator is told what happened and says what is to be done; it does no I/O and knows no clock. One epoch is
//! being completed at a time while the next one is open. An epoch is complete when the cuts of all sources are known, each
//! worker's snapshot file is durable, and each sink's writers have prepared. Then its link is written; only when that
//! exists are its outputs committed, each sink's epochs in their order, and its sources acknowledged. An epoch whose
//! completion takes too long is not given up, since its changes are part of every later epoch: it is told of, and after a
//! number of times the generation ends.

use std::collections::{BTreeMap, BTreeSet, VecDeque};

use wasmill_core::delivery::Delivery;
use wasmill_core::fault::Fault;
use wasmill_core::id::{Epoch, Generation, Lineage, NodeId, WorkerIndex};
use wasmill_core::time::{Micros, Timestamp};

use crate::manifest::{
    FileSummary, ManifestKind, Merged, Prepared, SinkCut, SourceCut, State, Statistics, TopologyFacts,
};
use crate::{Body, Manifest};

/// How often and how patiently.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Settings {
    /// How long an epoch is. Default: 10 s.
    pub interval: Micros,
    /// How long the completion of an epoch may take before it is told of. Default: 10 min.
    pub timeout: Micros,
    /// How many times it may take as long before the generation ends. Default: 3.
    pub timeouts_max: u32,
    /// How many epochs may be complete and not committed before the next one must wait. Default: 4.
    pub uncommitted_max: usize,
}

impl Default for Settings {
    fn default() -> Self {
        Self {
            interval: Micros(10_000_000),
            timeout: Micros(600_000_000),
            timeouts_max: 3,
            uncommitted_max: 4,
        }
    }
}

/// What a generation consists of.
#[derive(Clone, Debug)]
pub struct Job {
    /// The lineage.
    pub lineage: Lineage,
    /// The generation.
    pub generation: Generation,
    /// What runs.
    pub topology: TopologyFacts,
    /// The workers, each of which writes a snapshot file an epoch.
    pub workers: u32,
    /// The sinks.
    pub sinks: BTreeMap<NodeId, SinkFacts>,
    /// How often and how patiently.
    pub settings: Settings,
}

/// What is known of a sink.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct SinkFacts {
    /// What it guarantees.
    pub delivery: Delivery,
    /// How many writers it has.
    pub writers: u32,
}

/// What a generation goes on from.
#[derive(Clone, Debug, Default)]
pub struct Start {
    /// The epoch that sources begin in.
    pub epoch: Epoch,
    /// What operators were loaded with.
    pub state: State,
    /// What each sink has yet to commit, by epoch. All of them are sinks of the job.
    pub pending: BTreeMap<NodeId, BTreeMap<Epoch, Vec<Prepared>>>,
}

/// What happened.
#[derive(Clone, Debug)]
pub enum Input {
    /// Time has passed.
    Tick,
    /// The cuts of all sources at the end of an epoch, and what watermarks nodes had come to.
    Cuts {
        /// The epoch.
        epoch: Epoch,
        /// By source.
        sources: BTreeMap<NodeId, SourceCut>,
        /// By node, where its state does not say it.
        watermarks: BTreeMap<NodeId, Timestamp>,
    },
    /// A worker's snapshot file of an epoch is durable, or there was nothing to write.
    Snapshot {
        /// The epoch.
        epoch: Epoch,
        /// The worker.
        worker: WorkerIndex,
        /// The file.
        file: Option<FileSummary>,
    },
    /// A writer has prepared an epoch.
    Prepared {
        /// The epoch.
        epoch: Epoch,
        /// The sink.
        sink: NodeId,
        /// The writer and what its committer needs.
        prepared: Prepared,
    },
    /// The link that was to be written exists.
    LinkWritten,
    /// Another generation has taken over.
    Fenced,
    /// A step failed for good: whether it took effect is not known.
    Failed(Fault),
    /// A sink has confirmed the commit of an epoch.
    Committed {
        /// The epoch.
        epoch: Epoch,
        /// The sink.
        sink: NodeId,
    },
    /// Compaction has made a base, whose file is durable.
    Compacted(Merged),
    /// A user asks for a savepoint; the number is told when it is ready.
    Savepoint(u64),
    /// The job is to stop after one more epoch, and can be continued.
    Stop {
        /// A savepoint that is to be taken from that epoch, as in [`Input::Savepoint`].
        savepoint: Option<u64>,
    },
    /// The job is to read no further, and to finish.
    Drain,
    /// All sources have ended, and have said so.
    SourcesEnded,
}

/// What is to be done.
#[derive(Clone, Debug, PartialEq)]
pub enum Effect {
    /// Ask every source for the cut of this epoch, and what follows.
    Roll {
        /// The epoch that ends.
        epoch: Epoch,
        /// What sources do then.
        then: Then,
    },
    /// Let all sources end where they are.
    EndSources,
    /// Append this link to the chain; then [`Input::LinkWritten`], [`Input::Fenced`] or [`Input::Failed`].
    Write(Body),
    /// Have a sink's committer commit an epoch, then [`Input::Committed`].
    Commit {
        /// The epoch.
        epoch: Epoch,
        /// The sink.
        sink: NodeId,
        /// What its writers have prepared, by writer.
        prepared: Vec<Prepared>,
    },
    /// Acknowledge to sources what they read up to the end of an epoch.
    Acknowledge {
        /// The epoch.
        epoch: Epoch,
    },
    /// The completion of an epoch takes long.
    Late {
        /// The epoch.
        epoch: Epoch,
        /// For how many times the timeout.
        times: u32,
        /// What it waits for.
        waits_for: String,
    },
    /// Files and links that nothing needs any more may be there: see [`crate::retention`].
    CleanUp,
    /// The savepoint that was asked for can be taken from the manifest of this epoch: it is committed.
    SavepointReady {
        /// As it was asked for.
        request: u64,
        /// The manifest's epoch.
        epoch: Epoch,
    },
    /// The generation ends. Nothing comes after this; a savepoint that is not ready by then was not taken.
    Finish(Outcome),
}

/// What sources do after a cut.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Then {
    /// They go on in the next epoch.
    Continue,
    /// They hold, and give nothing more: it is the last epoch of a job that stops.
    Hold,
    /// They have ended: it is the last epoch of all.
    End,
}

/// How a generation ends.
#[derive(Clone, Debug, PartialEq)]
pub enum Outcome {
    /// The input has ended, and all is committed.
    Finished,
    /// It was stopped after this epoch, and all is committed.
    Stopped(Epoch),
    /// Another generation has taken over: nothing of this one may be committed any more.
    Fenced,
    /// Something failed.
    Failed(Fault),
}

/// The state machine.
#[derive(Debug)]
pub struct Coordinator {
    job: Job,
    /// The epoch that sources stamp.
    open: Epoch,
    open_since: Timestamp,
    phase: Phase,
    /// The state of the last manifest.
    state: State,
    merged: Vec<Merged>,
    /// What is complete and not committed, by sink; the first epoch of each is being committed.
    pending: BTreeMap<NodeId, BTreeMap<Epoch, Vec<Prepared>>>,
    savepoints: VecDeque<u64>,
    /// Savepoints whose manifest exists and whose commits do not.
    ready: BTreeMap<Epoch, Vec<u64>>,
    ending: Ending,
    ended: bool,
    effects: Vec<Effect>,
}

#[derive(Debug)]
enum Phase {
    /// No epoch is being completed.
    Idle,
    /// An epoch has ended, and not all of it is here.
    Collecting(Box<Collecting>),
    /// Its link is being written.
    Linking {
        manifest: Box<Manifest>,
        savepoints: Vec<u64>,
        then: Then,
    },
    /// The last epoch is complete.
    Over(Last),
    /// The last commits are confirmed, and the link that says so is being written.
    Settling(Last),
    /// [`Effect::Finish`] was given.
    Finished,
}

#[derive(Clone, Copy, Debug)]
enum Last {
    Finished(Epoch),
    Stopped(Epoch),
}

#[derive(Debug)]
struct Collecting {
    epoch: Epoch,
    then: Then,
    since: Timestamp,
    timeouts: u32,
    cuts: Option<(BTreeMap<NodeId, SourceCut>, BTreeMap<NodeId, Timestamp>)>,
    snapshots: BTreeMap<WorkerIndex, Option<FileSummary>>,
    prepared: BTreeSet<(NodeId, Prepared)>,
    savepoints: Vec<u64>,
}

/// What a user, or the input, wants to come of the job.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Ending {
    No,
    Stop,
    Drain,
}

impl Coordinator {
    /// A generation that begins at `now`. What earlier ones have not committed is committed first.
    ///
    /// # Panics
    /// Something is pending of a sink that the job does not have: its output would be lost.
    pub fn new(job: Job, start: Start, now: Timestamp) -> (Self, Vec<Effect>) {
        let mut pending = start.pending;
        pending.retain(|_, epochs| !epochs.is_empty());
        for sink in pending.keys() {
            assert!(job.sinks.contains_key(sink), "output of `{sink}` is pending");
        }
        let mut coordinator = Self {
            job,
            open: start.epoch,
            open_since: now,
            phase: Phase::Idle,
            state: start.state,
            merged: Vec::new(),
            pending,
            savepoints: VecDeque::new(),
            ready: BTreeMap::new(),
            ending: Ending::No,
            ended: false,
            effects: Vec::new(),
        };
        let sinks: Vec<NodeId> = coordinator.pending.keys().cloned().collect();
        for sink in sinks {
            coordinator.commit_first(&sink);
        }
        let effects = std::mem::take(&mut coordinator.effects);
        (coordinator, effects)
    }

    /// Takes in what happened at `now`, and says what is to be done.
    pub fn step(&mut self, now: Timestamp, input: Input) -> Vec<Effect> {
        if matches!(self.phase, Phase::Finished) {
            return Vec::new();
        }
        match input {
            Input::Tick => {}
            Input::Cuts {
                epoch,
                sources,
                watermarks,
            } => self.collect(epoch, |collecting| collecting.cuts = Some((sources, watermarks))),
            Input::Snapshot { epoch, worker, file } => self.collect(epoch, |collecting| {
                collecting.snapshots.insert(worker, file);
            }),
            Input::Prepared { epoch, sink, prepared } => self.collect(epoch, |collecting| {
                collecting.prepared.insert((sink, prepared));
            }),
            Input::LinkWritten => self.link_written(),
            Input::Fenced => self.finish(Outcome::Fenced),
            Input::Failed(fault) => self.finish(Outcome::Failed(fault)),
            Input::Committed { epoch, sink } => self.committed(epoch, &sink),
            Input::Compacted(merged) => self.merged.push(merged),
            Input::Savepoint(request) => self.savepoints.push_back(request),
            Input::Stop { savepoint } => {
                self.savepoints.extend(savepoint);
                if self.ending == Ending::No {
                    self.ending = Ending::Stop;
                }
            }
            Input::Drain => {
                if self.ending == Ending::No {
                    self.ending = Ending::Drain;
                    self.effects.push(Effect::EndSources);
                }
            }
            Input::SourcesEnded => self.ended = true,
        }
        self.advance(now);
        std::mem::take(&mut self.effects)
    }

    /// When [`Input::Tick`] is of use, as things stand. `None`: not before something else happens.
    pub fn wake_at(&self) -> Option<Timestamp> {
        match &self.phase {
            Phase::Idle if self.uncommitted() < self.job.settings.uncommitted_max => {
                Some(self.open_since.after(self.job.settings.interval))
            }
            Phase::Collecting(collecting) => Some(self.late_at(collecting)),
            _ => None,
        }
    }

    /// The state of the last manifest.
    pub const fn state(&self) -> &State {
        &self.state
    }

    /// How many epochs are complete and not committed by every sink.
    pub fn uncommitted(&self) -> usize {
        let epochs: BTreeSet<&Epoch> = self.pending.values().flat_map(BTreeMap::keys).collect();
        epochs.len()
    }

    /// The epoch that is open.
    pub const fn open_epoch(&self) -> Epoch {
        self.open
    }

    fn advance(&mut self, now: Timestamp) {
        match &self.phase {
            Phase::Idle => self.roll_if_due(now),
            Phase::Collecting(collecting) if self.is_complete(collecting) => self.write_link(now),
            Phase::Collecting(collecting) if now >= self.late_at(collecting) => self.late(),
            Phase::Over(last) if self.pending.is_empty() => self.settle(*last),
            _ => {}
        }
    }

    fn roll_if_due(&mut self, now: Timestamp) {
        let then = if self.ended {
            Then::End
        } else if self.ending == Ending::Stop {
            Then::Hold
        } else {
            Then::Continue
        };
        let asked = !self.savepoints.is_empty() || then != Then::Continue;
        let due = now >= self.open_since.after(self.job.settings.interval);
        // A job that drains comes to its end by itself.
        let waits = self.ending == Ending::Drain && !self.ended;
        if self.uncommitted() >= self.job.settings.uncommitted_max || waits || !(asked || due) {
            return;
        }
        let epoch = self.open;
        self.open = epoch.next();
        self.open_since = now;
        self.phase = Phase::Collecting(Box::new(Collecting {
            epoch,
            then,
            since: now,
            timeouts: 0,
            cuts: None,
            snapshots: BTreeMap::new(),
            prepared: BTreeSet::new(),
            savepoints: self.savepoints.drain(..).collect(),
        }));
        self.effects.push(Effect::Roll { epoch, then });
    }

    /// What belongs to another epoch than the one that is being completed is of a generation that has ended.
    fn collect(&mut self, epoch: Epoch, take: impl FnOnce(&mut Collecting)) {
        if let Phase::Collecting(collecting) = &mut self.phase
            && collecting.epoch == epoch
        {
            take(collecting);
        }
    }

    fn is_complete(&self, collecting: &Collecting) -> bool {
        self.waits_for(collecting).is_empty()
    }

    fn waits_for(&self, collecting: &Collecting) -> Vec<String> {
        let mut waits = Vec::new();
        if collecting.cuts.is_none() {
            waits.push("the cuts of the sources".to_owned());
        }
        for worker in 0..self.job.workers {
            if !collecting.snapshots.contains_key(&WorkerIndex(worker)) {
                waits.push(format!("the snapshot of worker {worker}"));
            }
        }
        for (sink, facts) in &self.job.sinks {
            let prepared = collecting.prepared.iter().filter(|(of, _)| of == sink).count();
            if prepared < facts.writers as usize {
                waits.push(format!("{} writers of `{sink}`", facts.writers as usize - prepared));
            }
        }
        waits
    }

    fn late_at(&self, collecting: &Collecting) -> Timestamp {
        let times = u64::from(collecting.timeouts) + 1;
        collecting
            .since
            .after(Micros(self.job.settings.timeout.0.saturating_mul(times)))
    }

    fn late(&mut self) {
        let Phase::Collecting(collecting) = &mut self.phase else {
            return;
        };
        collecting.timeouts += 1;
        let (epoch, times) = (collecting.epoch, collecting.timeouts);
        let Phase::Collecting(collecting) = &self.phase else {
            return;
        };
        let waits_for = self.waits_for(collecting).join(", ");
        if times >= self.job.settings.timeouts_max {
            let fault = Fault::transient(format!(
                "epoch {epoch} was not complete in time: it waits for {waits_for}"
            ));
            self.finish(Outcome::Failed(fault));
        } else {
            self.effects.push(Effect::Late {
                epoch,
                times,
                waits_for,
            });
        }
    }

    fn write_link(&mut self, now: Timestamp) {
        let Phase::Collecting(collecting) = std::mem::replace(&mut self.phase, Phase::Idle) else {
            return;
        };
        let Collecting {
            epoch,
            then,
            since,
            cuts,
            snapshots,
            prepared,
            savepoints,
            ..
        } = *collecting;
        let (sources, watermarks) = cuts.expect("the epoch is complete");
        for merged in self.merged.drain(..) {
            self.state.replace(&merged);
        }
        let mut statistics = Statistics {
            duration_micros: now.0.abs_diff(since.0),
            ..Statistics::default()
        };
        for file in snapshots.values().flatten() {
            self.state.add(file);
            statistics.entries += file.entries();
            statistics.bytes += file.file.length;
        }
        for (sink, prepared) in prepared {
            let epochs = self.pending.entry(sink).or_default();
            epochs.entry(epoch).or_default().push(prepared);
        }
        let sinks = self.job.sinks.iter().map(|(sink, facts)| {
            let cut = SinkCut {
                delivery: facts.delivery,
                pending: self.pending.get(sink).cloned().unwrap_or_default(),
            };
            (sink.clone(), cut)
        });
        let kind = match then {
            Then::End => ManifestKind::Final,
            Then::Continue | Then::Hold if !savepoints.is_empty() => ManifestKind::Savepoint,
            Then::Continue | Then::Hold => ManifestKind::Checkpoint,
        };
        let manifest = Box::new(Manifest {
            lineage: self.job.lineage,
            generation: self.job.generation,
            epoch,
            kind,
            time: now,
            topology: self.job.topology.clone(),
            sources,
            watermarks,
            sinks: sinks.collect(),
            state: self.state.clone(),
            statistics,
        });
        self.effects.push(Effect::Write(Body::Manifest(manifest.clone())));
        self.phase = Phase::Linking {
            manifest,
            savepoints,
            then,
        };
    }

    fn link_written(&mut self) {
        match std::mem::replace(&mut self.phase, Phase::Idle) {
            Phase::Linking {
                manifest,
                savepoints,
                then,
            } => {
                let epoch = manifest.epoch;
                for sink in manifest.sinks.keys() {
                    // With earlier ones before it, it is committed after them.
                    if self.first_pending(sink) == Some(epoch) {
                        self.commit_first(sink);
                    }
                }
                self.effects.push(Effect::Acknowledge { epoch });
                self.effects.push(Effect::CleanUp);
                if !savepoints.is_empty() {
                    self.ready.insert(epoch, savepoints);
                }
                self.phase = match then {
                    Then::Continue => Phase::Idle,
                    Then::Hold => Phase::Over(Last::Stopped(epoch)),
                    Then::End => Phase::Over(Last::Finished(epoch)),
                };
                self.tell_savepoints();
            }
            Phase::Settling(last) => self.finish(match last {
                Last::Finished(_) => Outcome::Finished,
                Last::Stopped(epoch) => Outcome::Stopped(epoch),
            }),
            other => self.phase = other,
        }
    }

    fn first_pending(&self, sink: &NodeId) -> Option<Epoch> {
        self.pending.get(sink)?.keys().next().copied()
    }

    fn commit_first(&mut self, sink: &NodeId) {
        let first = self.pending.get(sink).and_then(BTreeMap::first_key_value);
        if let Some((epoch, prepared)) = first {
            self.effects.push(Effect::Commit {
                epoch: *epoch,
                sink: sink.clone(),
                prepared: prepared.clone(),
            });
        }
    }

    fn committed(&mut self, epoch: Epoch, sink: &NodeId) {
        // Only the first is being committed; and an epoch without its link is none that could be.
        let linking = match &self.phase {
            Phase::Linking { manifest, .. } => Some(manifest.epoch),
            _ => None,
        };
        if self.first_pending(sink) != Some(epoch) || linking == Some(epoch) {
            return;
        }
        let epochs = self.pending.get_mut(sink).expect("it has a first");
        epochs.remove(&epoch);
        if epochs.is_empty() {
            self.pending.remove(sink);
        }
        if self.first_pending(sink) != linking {
            self.commit_first(sink);
        }
        self.tell_savepoints();
        self.effects.push(Effect::CleanUp);
    }

    fn tell_savepoints(&mut self) {
        let least = self
            .pending
            .values()
            .filter_map(|epochs| epochs.keys().next())
            .min()
            .copied();
        while let Some(entry) = self.ready.first_entry()
            && least.is_none_or(|least| *entry.key() < least)
        {
            let (epoch, requests) = entry.remove_entry();
            self.effects.extend(
                requests
                    .into_iter()
                    .map(|request| Effect::SavepointReady { request, epoch }),
            );
        }
    }

    fn settle(&mut self, last: Last) {
        let (Last::Finished(epoch) | Last::Stopped(epoch)) = last;
        self.phase = Phase::Settling(last);
        self.effects.push(Effect::Write(Body::Settled { epoch }));
    }

    fn finish(&mut self, outcome: Outcome) {
        // What was said in the same step and could still be done is not to be done.
        self.effects.clear();
        self.phase = Phase::Finished;
        self.effects.push(Effect::Finish(outcome));
    }
}
