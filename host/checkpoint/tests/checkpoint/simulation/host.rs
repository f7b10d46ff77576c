//! One life of a job, over the crate's own code: recovery, epochs, snapshots, links, commits, compaction, retention.
//!
//! It counts records by key. A step of it is one step of one of the things that it does at once, in an order that the
//! dice decide; dropping it is kill -9.

use std::collections::{BTreeMap, BTreeSet};
use std::future::poll_fn;
use std::num::NonZeroUsize;
use std::pin::Pin;
use std::rc::Rc;
use std::sync::Arc;
use std::task::Poll;

use bytes::Bytes;
use wasmill_checkpoint::chain::{Chain, Found, Writer};
use wasmill_checkpoint::coordinator::{Coordinator, Effect, Input, Job, Outcome, Settings, SinkFacts, Start, Then};
use wasmill_checkpoint::manifest::{PartitionCut, PartitionState, Prepared, SourceCut, TopologyFacts};
use wasmill_checkpoint::recover::{self, Decision, Pending};
use wasmill_checkpoint::snapshot::{Collector, Restore};
use wasmill_checkpoint::store::{Store, StoreError, open_format};
use wasmill_checkpoint::{Body, Error, Link, Manifest, compaction, layout, retention};
use wasmill_core::delivery::Delivery;
use wasmill_core::fault::Fault;
use wasmill_core::id::{Epoch, Generation, Lineage, NodeId, PartitionName, WorkerIndex};
use wasmill_core::key::owner;
use wasmill_core::time::{Micros, Timestamp};

use super::world::{COUNT_MAX, KEY_GROUPS, Mutation, Row, World, group_of};

/// How a life ended by itself.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum End {
    /// All is done.
    Finished,
    /// It can be continued: stopped, fenced, or a failure.
    Again,
}

type Task = Pin<Box<dyn Future<Output = Result<Done, Error>>>>;

enum Done {
    Input(Input),
    Link(Writer, Result<(), Error>),
    CleanedUp,
}

/// Lives until it ends.
pub(crate) async fn live(world: Rc<World>, name: String) -> End {
    match begin(&world, name).await {
        Ok(Begun::Finished) => End::Finished,
        Ok(Begun::Runs(host)) => {
            world.count("generations");
            host.run().await
        }
        Err(Error::Damaged(damage)) => {
            world.violate(format!("recovery finds {damage}"));
            End::Again
        }
        // A store that failed; or a successor has removed what this one wanted to read.
        Err(_) => End::Again,
    }
}

enum Begun {
    Finished,
    Runs(Box<Host>),
}

#[expect(
    clippy::struct_excessive_bools,
    reason = "each says of another part of the host how it is"
)]
struct Host {
    world: Rc<World>,
    store: Arc<dyn Store>,
    folder: String,
    generation: Generation,
    workers: u32,
    coordinator: Coordinator,
    writer: Option<Writer>,
    tasks: Vec<Task>,
    to_do: Vec<Effect>,
    /// Where each partition goes on.
    positions: Vec<usize>,
    counts: BTreeMap<u64, u64>,
    changed: BTreeSet<u64>,
    rows: BTreeMap<WorkerIndex, Vec<Row>>,
    holds: bool,
    said_ended: bool,
    confirmed: BTreeSet<(NodeId, Epoch)>,
    unnamed: BTreeSet<String>,
    clean_up: bool,
    /// Compaction and retention come one after the other.
    in_background: bool,
    bases: u32,
    newest: Option<Epoch>,
}

fn sink() -> NodeId {
    NodeId::new("out")
}

fn operator() -> NodeId {
    NodeId::new("count")
}

async fn begin(world: &Rc<World>, name: String) -> Result<Begun, Error> {
    let store: Arc<dyn Store> = Arc::new(world.store.clone());
    open_format(&*store).await?;
    let chain = Chain::newest(&*store).await?;
    let damaged = BTreeMap::new();
    let facts = recover::Facts {
        chain: chain.as_ref(),
        damaged: &damaged,
    };
    let (writer, manifest, mut start) = match (recover::decide(facts), &chain) {
        (Decision::Open { lineage, origin }, _) => {
            let writer = Writer::open(store.clone(), lineage, origin, None, name).await?;
            (writer, None, Start::default())
        }
        (Decision::Resume(resume), Some(chain)) => {
            let writer = Writer::take_over(store.clone(), chain, name).await?;
            let start = resume.start();
            (writer, resume.manifest, start)
        }
        (Decision::Finished { manifest, pending }, Some(_)) => {
            commit_pending(world, &store, manifest.generation, pending).await?;
            return Ok(Begun::Finished);
        }
        (Decision::Refuse(refusal), _) => {
            world.violate(format!("recovery refuses: {refusal}"));
            return Ok(Begun::Finished);
        }
        (decision, None) => panic!("there is no chain for {decision:?}"),
    };
    let folder = layout::lineage(writer.lineage());
    store.remove_unfinished(&folder).await?;
    let workers = 1 + world.below(4) as u32;
    if world.mutation == Mutation::ForgetsPending {
        start.pending.clear();
    }
    let counts = match &manifest {
        Some(manifest) => restore(&store, &folder, manifest, workers).await?,
        None => BTreeMap::new(),
    };
    let mut positions = vec![0; world.input.len()];
    for partition in manifest
        .iter()
        .flat_map(|manifest| &manifest.sources[&NodeId::new("in")].partitions)
    {
        let number: usize = partition.name.as_str().parse().unwrap();
        positions[number] = partition.position as usize;
    }
    if world.mutation == Mutation::ReadsOn {
        positions.clone_from(&world.read_to.borrow());
    }
    let generation = writer.generation();
    let job = Job {
        lineage: writer.lineage(),
        generation,
        topology: TopologyFacts {
            name: "count".to_owned(),
            digest: String::new(),
            key_groups: KEY_GROUPS,
            operators: BTreeMap::new(),
        },
        workers,
        sinks: BTreeMap::from([(
            sink(),
            SinkFacts {
                delivery: Delivery::ExactlyOnce,
                writers: workers,
            },
        )]),
        settings: Settings {
            interval: Micros(5 + world.below(20)),
            timeout: Micros(100_000),
            timeouts_max: 3,
            uncommitted_max: world.uncommitted_max,
        },
    };
    let now = Timestamp(*world.now.borrow());
    let (coordinator, to_do) = Coordinator::new(job, start, now);
    Ok(Begun::Runs(Box::new(Host {
        world: world.clone(),
        store,
        folder,
        generation,
        workers,
        coordinator,
        writer: Some(writer),
        tasks: Vec::new(),
        to_do,
        positions,
        counts,
        changed: BTreeSet::new(),
        rows: BTreeMap::new(),
        holds: false,
        said_ended: false,
        confirmed: BTreeSet::new(),
        unnamed: BTreeSet::new(),
        clean_up: false,
        in_background: false,
        bases: 0,
        newest: manifest.map(|manifest| manifest.epoch),
    })))
}

/// Each worker restores its key groups.
async fn restore(
    store: &Arc<dyn Store>,
    folder: &str,
    manifest: &Manifest,
    workers: u32,
) -> Result<BTreeMap<u64, u64>, Error> {
    let mut counts = BTreeMap::new();
    for worker in (0..workers).map(WorkerIndex) {
        let own = |_: &NodeId, group| owner(group, KEY_GROUPS, workers) == worker;
        let mut restore = Restore::open(store, folder, &manifest.state, own).await?;
        while restore.next_group().await?.is_some() {
            while let Some(entry) = restore.next().await? {
                let number = |bytes: &[u8]| u64::from_be_bytes(bytes.try_into().unwrap());
                counts.insert(number(&entry.key), number(&entry.value));
            }
        }
    }
    Ok(counts)
}

async fn commit_pending(
    world: &Rc<World>,
    store: &Arc<dyn Store>,
    generation: Generation,
    pending: Pending,
) -> Result<(), Error> {
    for (sink, epochs) in pending {
        for (epoch, prepared) in epochs {
            commit(world.clone(), store.clone(), generation, epoch, sink.clone(), prepared).await?;
        }
    }
    Ok(())
}

/// The sink's committer: what is committed already is passed over; else the spools are read and committed.
async fn commit(
    world: Rc<World>,
    store: Arc<dyn Store>,
    generation: Generation,
    epoch: Epoch,
    sink: NodeId,
    prepared: Vec<Prepared>,
) -> Result<(), Error> {
    let mut rows = Vec::new();
    for writer in prepared.iter().filter(|prepared| !prepared.bytes.is_empty()) {
        if world.is_committed(epoch) {
            return Ok(());
        }
        let path = layout::within(Lineage(1), str::from_utf8(&writer.bytes).unwrap());
        match store.get(&path).await {
            Ok(bytes) => rows.extend(read_rows(&bytes)),
            Err(error) if error.is_missing() && world.is_committed(epoch) => return Ok(()),
            Err(error) if error.is_missing() => {
                world.violate(format!("`{path}` is gone, and epoch {epoch} is not committed"));
                return Err(error.into());
            }
            Err(error) => return Err(error.into()),
        }
    }
    rows.sort_unstable();
    pause(world.below(3)).await;
    world.commit(generation, epoch, &sink, &prepared, rows);
    pause(world.below(3)).await;
    // The answer may be lost.
    if world.below(100) == 0 {
        return Err(transient("the commit's answer was lost"));
    }
    Ok(())
}

fn transient(what: &str) -> Error {
    StoreError::Transient {
        store: "external:".to_owned(),
        path: String::new(),
        source: what.into(),
    }
    .into()
}

pub(crate) async fn pause(mut points: u64) {
    poll_fn(|context| {
        if points == 0 {
            return Poll::Ready(());
        }
        points -= 1;
        context.waker().wake_by_ref();
        Poll::Pending
    })
    .await;
}

fn write_rows(rows: &[Row]) -> Bytes {
    let numbers = rows
        .iter()
        .flat_map(|((partition, number, key), count)| [*partition, *number, *key, *count]);
    numbers.flat_map(u64::to_be_bytes).collect()
}

fn read_rows(bytes: &[u8]) -> impl Iterator<Item = Row> {
    bytes.chunks(32).map(|row| {
        let number = |at: usize| u64::from_be_bytes(row[at..at + 8].try_into().unwrap());
        ((number(0), number(8), number(16)), number(24))
    })
}

impl Host {
    async fn run(mut self) -> End {
        loop {
            pause(1).await;
            for effect in std::mem::take(&mut self.to_do) {
                if let Effect::Finish(outcome) = effect {
                    self.world.count(match outcome {
                        Outcome::Finished => return End::Finished,
                        Outcome::Stopped(_) => "stops",
                        Outcome::Fenced => "hosts that were fenced",
                        Outcome::Failed(_) => "failures",
                    });
                    return End::Again;
                }
                self.take_up(effect);
            }
            self.work_in_background();
            let choice = self.world.below(6);
            if choice < 3 && !self.tasks.is_empty() {
                self.step_a_task().await;
            } else if choice < 5 {
                self.read_a_record();
            } else {
                let input = match self.world.below(80) {
                    0 => Input::Savepoint(7),
                    1 => Input::Stop { savepoint: None },
                    2 => Input::Stop { savepoint: Some(8) },
                    _ => Input::Tick,
                };
                self.tell(input);
            }
        }
    }

    fn tell(&mut self, input: Input) {
        let now = Timestamp(*self.world.now.borrow());
        let effects = self.coordinator.step(now, input);
        self.to_do.extend(effects);
    }

    fn read_a_record(&mut self) {
        if self.holds {
            return;
        }
        let partitions = self.positions.len() as u64;
        let first = self.world.below(partitions) as usize;
        let world = self.world.clone();
        let unread = (0..self.positions.len())
            .map(|offset| (first + offset) % self.positions.len())
            .find(|partition| self.positions[*partition] < world.input[*partition].len());
        let Some(partition) = unread else {
            if !self.said_ended {
                self.said_ended = true;
                self.tell(Input::SourcesEnded);
            }
            return;
        };
        let number = self.positions[partition];
        self.positions[partition] += 1;
        let mut read_to = world.read_to.borrow_mut();
        read_to[partition] = read_to[partition].max(number + 1);
        let key = world.input[partition][number];
        let count = self.counts.entry(key).or_default();
        *count += 1;
        let row = ((partition as u64, number as u64, key), *count);
        if *count == COUNT_MAX {
            self.counts.remove(&key);
        }
        self.changed.insert(key);
        let worker = owner(group_of(key), KEY_GROUPS, self.workers);
        self.rows.entry(worker).or_default().push(row);
    }

    async fn step_a_task(&mut self) {
        let chosen = self.world.below(self.tasks.len() as u64) as usize;
        let task = &mut self.tasks[chosen];
        let Poll::Ready(done) = poll_fn(|context| Poll::Ready(task.as_mut().poll(context))).await else {
            return;
        };
        drop(self.tasks.swap_remove(chosen));
        match done {
            Ok(Done::Input(input)) => {
                match &input {
                    Input::Committed { epoch, sink } => {
                        self.confirmed.insert((sink.clone(), *epoch));
                    }
                    Input::Compacted(merged) => {
                        self.unnamed.insert(merged.file.file.path.to_string());
                        self.in_background = false;
                    }
                    _ => {}
                }
                self.tell(input);
            }
            Ok(Done::Link(writer, written)) => {
                self.writer = Some(writer);
                match written {
                    Ok(()) => {
                        self.newest = Some(self.newest.map_or(Epoch(0), Epoch::next));
                        let state = self.coordinator.state();
                        self.unnamed.retain(|path| state.file(path).is_none());
                        self.tell(Input::LinkWritten);
                    }
                    Err(Error::Fenced { .. }) if self.world.mutation == Mutation::IgnoresFences => {
                        self.tell(Input::LinkWritten);
                    }
                    Err(Error::Fenced { .. }) => self.tell(Input::Fenced),
                    Err(error) => self.tell(Input::Failed(error.into())),
                }
            }
            Ok(Done::CleanedUp) => self.in_background = false,
            Err(Error::Damaged(damage)) => {
                self.world
                    .violate(format!("generation {} reads: {damage}", self.generation));
                self.tell(Input::Failed(Fault::transient("damage")));
            }
            Err(error) => self.tell(Input::Failed(error.into())),
        }
    }

    fn take_up(&mut self, effect: Effect) {
        match effect {
            Effect::Roll { epoch, then } => self.roll(epoch, then),
            Effect::Write(body) => self.write(body),
            Effect::Commit { epoch, sink, prepared } => {
                let committed = commit(
                    self.world.clone(),
                    self.store.clone(),
                    self.generation,
                    epoch,
                    sink.clone(),
                    prepared,
                );
                self.start(async move {
                    committed.await?;
                    Ok(Done::Input(Input::Committed { epoch, sink }))
                });
            }
            Effect::Acknowledge { epoch } => self.world.acknowledge(epoch),
            Effect::CleanUp => self.clean_up = true,
            Effect::SavepointReady { epoch, .. } => {
                self.world.count("savepoints");
                if !self.world.is_committed(epoch) {
                    self.world
                        .violate(format!("the savepoint of epoch {epoch} is ready and not committed"));
                }
            }
            Effect::EndSources | Effect::Late { .. } | Effect::Finish(_) => {}
        }
    }

    fn start(&mut self, task: impl Future<Output = Result<Done, Error>> + 'static) {
        self.tasks.push(Box::pin(task));
    }

    fn roll(&mut self, epoch: Epoch, then: Then) {
        self.holds = then != Then::Continue;
        let partitions = (0..)
            .zip(&self.positions)
            .map(|(number, position): (u64, _)| PartitionCut {
                name: PartitionName::new(number.to_string()),
                position: *position as u64,
                note: Vec::new(),
                prologue: Vec::new(),
                next_line: 1,
                watermark: Timestamp::MIN,
                greatest: None,
                floor: Timestamp::MIN,
                state: PartitionState::Active,
            });
        let cut = SourceCut {
            published: Timestamp::MIN,
            acknowledged: false,
            partitions: partitions.collect(),
        };
        let sources = BTreeMap::from([(NodeId::new("in"), cut)]);
        self.tell(Input::Cuts {
            epoch,
            sources,
            watermarks: BTreeMap::new(),
        });
        let changed = std::mem::take(&mut self.changed);
        let mut rows = std::mem::take(&mut self.rows);
        for worker in (0..self.workers).map(WorkerIndex) {
            let mut collector = Collector::new();
            let own = changed
                .iter()
                .filter(|key| owner(group_of(**key), KEY_GROUPS, self.workers) == worker);
            for key in own {
                let value = self.counts.get(key).map(|count| count.to_be_bytes());
                if value.is_none() && self.world.mutation == Mutation::ForgetsRemovals {
                    continue;
                }
                let value = value.as_ref().map(|value| &value[..]);
                collector.entry(&operator(), group_of(*key), &key.to_be_bytes(), value);
            }
            self.snapshot(epoch, worker, collector);
            let mut own = rows.remove(&worker).unwrap_or_default();
            own.sort_unstable();
            self.prepare(epoch, worker, own);
        }
    }

    fn snapshot(&mut self, epoch: Epoch, worker: WorkerIndex, collector: Collector) {
        let (store, folder) = (self.store.clone(), self.folder.clone());
        let path = layout::snapshot(epoch, self.generation, worker);
        if collector.is_empty() {
            self.tell(Input::Snapshot {
                epoch,
                worker,
                file: None,
            });
        } else if self.world.mutation == Mutation::DoesNotAwaitSnapshots {
            let dry = wasmill_checkpoint::store::Memory::new();
            let file = crate::block_on::block_on(collector.write(&dry, &folder, &path)).unwrap();
            let path = format!("{folder}/{path}");
            let bytes = dry.objects().values().next().cloned().unwrap();
            self.start(async move {
                store.put(&path, bytes).await?;
                Ok(Done::Input(Input::Tick))
            });
            self.tell(Input::Snapshot {
                epoch,
                worker,
                file: Some(file),
            });
        } else {
            self.start(async move {
                let file = Some(collector.write(&*store, &folder, &path).await?);
                Ok(Done::Input(Input::Snapshot { epoch, worker, file }))
            });
        }
    }

    fn prepare(&mut self, epoch: Epoch, worker: WorkerIndex, rows: Vec<Row>) {
        let relative = layout::spool(&sink(), epoch, self.generation, worker.0);
        let path = format!("{}/{relative}", self.folder);
        let store = self.store.clone();
        self.start(async move {
            let mut prepared = Prepared {
                writer: worker.0,
                bytes: Vec::new(),
            };
            if !rows.is_empty() {
                store.put(&path, write_rows(&rows)).await?;
                prepared.bytes = relative.into_bytes();
            }
            Ok(Done::Input(Input::Prepared {
                epoch,
                sink: sink(),
                prepared,
            }))
        });
    }

    fn write(&mut self, body: Body) {
        if self.world.mutation == Mutation::CommitsBeforeTheManifest
            && let Body::Manifest(manifest) = &body
        {
            let prepared = manifest.prepared(&sink()).to_vec();
            let epoch = manifest.epoch;
            let early = commit(
                self.world.clone(),
                self.store.clone(),
                self.generation,
                epoch,
                sink(),
                prepared,
            );
            self.start(async move {
                early.await?;
                Ok(Done::Input(Input::Tick))
            });
        }
        let mut writer = self.writer.take().expect("one link is written at a time");
        let trusts = self.world.mutation == Mutation::TrustsCreation;
        let store = self.store.clone();
        self.start(async move {
            let mut written = writer.append(body.clone()).await;
            // As if the writer had not looked for higher links.
            if let Err(Error::Fenced { number, .. }) = &written
                && trusts
                && was_created(&*store, &body, *number).await
            {
                written = Ok(());
            }
            Ok(Done::Link(writer, written))
        });
    }

    fn work_in_background(&mut self) {
        if self.in_background {
            return;
        }
        let world = self.world.clone();
        let (store, folder, generation) = (self.store.clone(), self.folder.clone(), self.generation);
        if std::mem::take(&mut self.clean_up) {
            self.in_background = true;
            let (confirmed, unnamed) = (self.confirmed.clone(), self.unnamed.clone());
            self.start(async move {
                remove(&world, &store, &folder, generation, &confirmed, &unnamed).await?;
                Ok(Done::CleanedUp)
            });
            return;
        }
        let limits = compaction::Limits {
            deltas_max: NonZeroUsize::new(world.deltas_max).unwrap(),
            ..compaction::Limits::default()
        };
        // What is being linked may not come to exist, so what it brings is left alone.
        let state = self.coordinator.state().clone();
        let plan = compaction::plan(&state, limits);
        if !plan.groups.is_empty() && self.writer.is_some() && self.unnamed.is_empty() && world.below(4) == 0 {
            self.in_background = true;
            self.bases += 1;
            let epoch = self.newest.map_or(Epoch(0), Epoch::next);
            let path = layout::base(epoch, generation, self.bases);
            self.start(async move {
                let merged = compaction::merge(&store, &folder, &state, &plan, &path).await?;
                Ok(Done::Input(Input::Compacted(merged)))
            });
        }
    }
}

/// Whether the manifest's link stands where a link was removed long ago.
async fn was_created(store: &dyn Store, body: &Body, below: u64) -> bool {
    for number in 0..below {
        let path = layout::link(Lineage(1), number);
        if let Ok(bytes) = store.get(&path).await
            && let Ok((link, _)) = Link::open(&path, &bytes)
            && link.body == *body
        {
            return true;
        }
    }
    false
}

async fn remove(
    world: &World,
    store: &Arc<dyn Store>,
    folder: &str,
    generation: Generation,
    confirmed: &BTreeSet<(NodeId, Epoch)>,
    unnamed: &BTreeSet<String>,
) -> Result<(), Error> {
    let Some(chain) = Chain::read(&**store, Lineage(1)).await? else {
        return Ok(());
    };
    let mut files = Vec::new();
    for within in [layout::STATE, "spool"] {
        for object in store.list(&format!("{folder}/{within}")).await? {
            files.push(object.path[folder.len() + 1..].to_owned());
        }
    }
    let facts = retention::Facts {
        chain: &chain,
        files: &files,
        generation,
        confirmed,
        unnamed,
        in_use: &BTreeSet::new(),
    };
    let policy = retention::Policy {
        retain: world.retain,
        retain_for: Micros(0),
    };
    let mut removals = retention::plan(&facts, policy, Timestamp(*world.now.borrow()));
    match world.mutation {
        Mutation::RemovesSpoolsEarly => {
            let newest = chain.manifests().next().map(|manifest| manifest.epoch);
            let spools = files.iter().filter(|path| path.starts_with("spool/"));
            let early = spools.filter(|path| layout::written(path).map(|written| written.epoch) <= newest);
            removals.files.extend(early.cloned());
        }
        Mutation::RemovesNamedFiles => {
            let state = files.iter().filter(|path| path.starts_with("state/"));
            removals.files.extend(state.take(1).cloned());
        }
        _ => {}
    }
    world.note(|| {
        let seen: Vec<u64> = chain.links.iter().map(Found::number).collect();
        format!("generation {generation} sees links {seen:?} and removes {removals:?}")
    });
    for number in removals.links {
        world.count("removed links");
        store.delete(&layout::link(Lineage(1), number)).await?;
    }
    for path in removals.files {
        store.delete(&format!("{folder}/{path}")).await?;
    }
    Ok(())
}
