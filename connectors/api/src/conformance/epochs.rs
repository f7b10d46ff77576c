//! What every sink must do with checkpoints, whatever is cut off and whenever.
//!
//! A script plays the runtime's part: generations that write, prepare, get a manifest or not, commit, and end at any of
//! these steps without a further call. Calls that are cut off may go on in threads of their own, and what was taken for
//! dead may come back: so may a process.

use std::sync::{Arc, Mutex, PoisonError};

use bytes::Bytes;

use wasmill_core::delivery::Delivery;
use wasmill_core::fault::Fault;
use wasmill_core::id::{Epoch, Generation};

use crate::config::Folder;
use crate::sink::{Chunk, Committer, CommitterContext, PreparedEpoch, Recovery, Sink, SinkContext, Start};

use super::random::Random;
use super::spool::MemorySpool;

/// The real thing behind a sink, as these checks need it.
pub trait EpochTarget: Send {
    /// A new, empty target. Gives the folder of its topology.
    fn clear(&mut self) -> impl Future<Output = Folder> + Send;

    /// A writer of it.
    ///
    /// # Errors
    /// The sink refuses.
    fn open(&mut self, context: SinkContext) -> impl Future<Output = Result<Box<dyn Sink>, Fault>> + Send;

    /// A committer of it.
    ///
    /// # Errors
    /// The sink refuses.
    fn committer(
        &mut self,
        context: CommitterContext,
    ) -> impl Future<Output = Result<Box<dyn Committer>, Fault>> + Send;

    /// What a reader of the target sees at present: each file, stream or queue, in the order in which they were written.
    /// Each begins with the prologue.
    fn visible(&mut self) -> impl Future<Output = Vec<Vec<u8>>> + Send;
}

/// How a sink is checked.
#[derive(Clone, Copy, Debug)]
pub struct Settings {
    /// What it is to give.
    pub delivery: Delivery,
    /// The most writers that it takes.
    pub writers_max: u32,
    /// Random scripts beside the fixed ones.
    pub scripts: u64,
}

/// A step that is the last one of a generation.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Crash {
    Recovering,
    /// Before the pending epochs are committed, and after some.
    Recommitting,
    Opened,
    Written,
    Flushed,
    /// With the call of one writer cut off.
    Preparing,
    /// After some writers.
    PreparedSome,
    /// After all, and without a manifest.
    NoManifest,
    /// With a manifest, and nothing committed.
    NotCommitted,
    /// The call was cut off.
    Committing,
    /// The spool broke in the middle.
    CommittingHalf,
    /// All done, but not confirmed.
    Committed,
}

const CRASHES: [Crash; 12] = [
    Crash::Recovering,
    Crash::Recommitting,
    Crash::Opened,
    Crash::Written,
    Crash::Flushed,
    Crash::Preparing,
    Crash::PreparedSome,
    Crash::NoManifest,
    Crash::NotCommitted,
    Crash::Committing,
    Crash::CommittingHalf,
    Crash::Committed,
];

/// The part of a script that is one generation.
#[derive(Clone, Debug)]
struct Life {
    writers: u32,
    /// Complete epochs before the crash.
    epochs: u32,
    /// How many epochs a commit stays behind.
    behind: usize,
    /// Where it ends; `None`: at the end of the input.
    crash: Option<Crash>,
    /// How far a call that is cut off comes.
    progress: usize,
    /// What is taken for dead goes on for a while beside its successor.
    undead: bool,
}

/// Runs all scripts.
///
/// # Panics
/// The sink does not conform. The message has the script, and the seed where it was random.
pub async fn check<T: EpochTarget>(target: &mut T, settings: Settings) {
    let undisturbed = Life {
        writers: settings.writers_max,
        epochs: 3,
        behind: 0,
        crash: None,
        progress: 0,
        undead: false,
    };
    run(target, settings, std::slice::from_ref(&undisturbed), 0).await;
    for crash in CRASHES {
        for (seed, undead) in [(1, false), (2, true)] {
            let crashed = |epochs, writers, behind| Life {
                writers,
                epochs,
                behind,
                crash: Some(crash),
                progress: seed as usize,
                undead,
            };
            let script = [
                crashed(0, settings.writers_max, 0),
                crashed(2, 1, 1),
                crashed(1, settings.writers_max, 0),
                undisturbed.clone(),
            ];
            run(target, settings, &script, seed).await;
        }
    }
    for seed in 0..settings.scripts {
        let script = random_script(settings, seed);
        run(target, settings, &script, seed).await;
    }
}

fn random_script(settings: Settings, seed: u64) -> Vec<Life> {
    let mut random = Random::new(seed);
    let lives = 1 + random.below(6);
    (0..=lives)
        .map(|life| Life {
            writers: 1 + random.below(u64::from(settings.writers_max)) as u32,
            epochs: random.below(4) as u32,
            behind: random.below(3) as usize,
            crash: (life < lives).then(|| CRASHES[random.below(CRASHES.len() as u64) as usize]),
            progress: random.below(6) as usize,
            undead: random.below(3) == 0,
        })
        .collect()
}

const PROLOGUE: &[u8] = b"number,text\n";
/// Rows of an epoch.
const ROWS_MAX: u64 = 12;

async fn run<T: EpochTarget>(target: &mut T, settings: Settings, script: &[Life], seed: u64) {
    let folder = target.clear().await;
    let mut job = Job {
        told: format!("{settings:?}, seed {seed}, script {script:#?}"),
        settings,
        folder,
        spool: MemorySpool::new(),
        random: Random::new(seed),
        chain: Vec::new(),
        ends: Vec::new(),
        confirmed: 0,
        one_writer: script.iter().all(|life| life.writers == 1),
        undead: Mutex::default(),
    };
    for (number, life) in script.iter().enumerate() {
        job.live(target, Generation(number as u64 + 1), life).await;
    }
}

/// What is durable, and what only a supervisor knows.
struct Job {
    /// What went before, for whoever reads that it failed.
    told: String,
    settings: Settings,
    folder: Folder,
    spool: Arc<MemorySpool>,
    random: Random,
    /// The manifests.
    chain: Vec<PreparedEpoch>,
    /// How many rows there are with each.
    ends: Vec<u64>,
    /// How many of them are confirmed.
    confirmed: usize,
    one_writer: bool,
    undead: Mutex<Vec<Undead>>,
}

/// A generation that was taken for dead.
struct Undead {
    committer: Box<dyn Committer>,
    sinks: Vec<Box<dyn Sink>>,
    epoch: Epoch,
    /// What it knows to have a manifest.
    chain: Vec<PreparedEpoch>,
}

impl Job {
    async fn live<T: EpochTarget>(&mut self, target: &mut T, generation: Generation, life: &Life) {
        let context = CommitterContext {
            folder: self.folder.clone(),
            delivery: self.settings.delivery,
            generation,
            spool: self.spool.reader(),
        };
        let mut committer = target.committer(context).await.expect("the committer is made");
        let recovery = Recovery {
            last: self.chain.last().cloned(),
            pending: self.chain[self.confirmed..].to_vec(),
            rewound: false,
        };
        if life.crash == Some(Crash::Recovering) {
            cut_off(committer.recover(&recovery), self.progress(life)).await;
            return;
        }
        self.ok("recovering", committer.recover(&recovery).await);
        for (number, epoch) in recovery.pending.iter().enumerate() {
            if life.crash == Some(Crash::Recommitting) && number >= life.progress % 2 {
                cut_off(committer.commit(epoch), self.progress(life)).await;
                return;
            }
            self.ok("committing again", committer.commit(epoch).await);
            self.confirm();
        }
        self.see(target, "after recovery").await;

        let mut sinks = self.open(target, generation, life).await;
        if matches!(life.crash, Some(Crash::Opened | Crash::Recommitting)) {
            self.leave(life, committer, sinks);
            return;
        }
        self.haunt(target).await;
        for round in 0..=life.epochs {
            let crash = life.crash.filter(|_| round == life.epochs);
            let ended = self.epoch(target, committer.as_mut(), &mut sinks, life, crash).await;
            if ended == Ended::Crashed {
                self.leave(life, committer, sinks);
                return;
            }
        }
        while self.confirmed < self.chain.len() {
            self.commit_next(committer.as_mut()).await;
        }
        for sink in &mut sinks {
            let finished = sink.finish().await;
            self.ok("finishing", finished);
        }
        drop((sinks, committer));
        self.haunt(target).await;
        self.see(target, "at the end").await;
    }

    async fn open<T: EpochTarget>(
        &mut self,
        target: &mut T,
        generation: Generation,
        life: &Life,
    ) -> Vec<Box<dyn Sink>> {
        let start = match self.chain.last() {
            _ if generation == Generation(1) => Start::Fresh,
            None => Start::Resumed(Vec::new()),
            Some(last) => Start::Resumed(last.prepared.clone()),
        };
        let mut sinks = Vec::new();
        for writer in 0..life.writers {
            let context = SinkContext {
                folder: self.folder.clone(),
                writer,
                writers: life.writers,
                prologue: Bytes::from_static(PROLOGUE),
                delivery: self.settings.delivery,
                start: start.clone(),
                generation,
                epoch: self.next_epoch(),
                spool: Some(self.spool.reader()),
            };
            let opened = target.open(context).await;
            sinks.push(self.ok("opening", opened));
        }
        sinks
    }

    /// One epoch, up to a crash in it.
    async fn epoch<T: EpochTarget>(
        &mut self,
        target: &mut T,
        committer: &mut dyn Committer,
        sinks: &mut [Box<dyn Sink>],
        life: &Life,
        crash: Option<Crash>,
    ) -> Ended {
        let first = self.ends.last().copied().unwrap_or(0);
        let end = first + self.random.below(ROWS_MAX);
        for row in first..end {
            let writer = self.random.below(sinks.len() as u64) as usize;
            let written = sinks[writer].write(chunk(row)).await;
            self.ok("writing", written);
            if self.random.below(4) == 0 {
                let flushed = sinks[writer].flush().await;
                self.ok("flushing", flushed);
            }
        }
        if crash == Some(Crash::Written) {
            return Ended::Crashed;
        }
        for sink in &mut *sinks {
            let flushed = sink.flush().await;
            self.ok("flushing", flushed);
        }
        self.see(target, "after a flush").await;
        if crash == Some(Crash::Flushed) {
            return Ended::Crashed;
        }
        let epoch = self.next_epoch();
        let mut prepared = Vec::new();
        for (number, sink) in sinks.iter_mut().enumerate() {
            match crash {
                Some(Crash::Preparing) if number == life.progress % 2 => {
                    cut_off(sink.prepare(epoch), self.progress(life)).await;
                    return Ended::Crashed;
                }
                Some(Crash::PreparedSome) if number > 0 => return Ended::Crashed,
                _ => {}
            }
            let done = sink.prepare(epoch).await;
            prepared.push(self.ok("preparing", done));
        }
        self.see(target, "before the manifest").await;
        if matches!(crash, Some(Crash::Preparing | Crash::PreparedSome | Crash::NoManifest)) {
            return Ended::Crashed;
        }
        self.chain.push(PreparedEpoch { epoch, prepared });
        self.ends.push(end);
        match crash {
            Some(Crash::NotCommitted) => return Ended::Crashed,
            Some(Crash::Committing) => {
                let next = self.chain[self.confirmed].clone();
                cut_off(committer.commit(&next), self.progress(life)).await;
                return Ended::Crashed;
            }
            Some(Crash::CommittingHalf) => {
                let next = self.chain[self.confirmed].clone();
                self.spool.break_after(life.progress);
                // It fails where it reads so far.
                drop(committer.commit(&next).await);
                self.spool.mend();
                return Ended::Crashed;
            }
            Some(Crash::Committed) => {
                let next = self.chain[self.confirmed].clone();
                let done = committer.commit(&next).await;
                self.ok("committing", done);
                return Ended::Crashed;
            }
            _ => {}
        }
        while self.chain.len() - self.confirmed > life.behind {
            self.commit_next(committer).await;
            self.see(target, "after a commit").await;
        }
        Ended::Complete
    }

    async fn commit_next(&mut self, committer: &mut dyn Committer) {
        let epoch = self.chain[self.confirmed].clone();
        let done = committer.commit(&epoch).await;
        self.ok("committing", done);
        self.confirm();
    }

    fn confirm(&mut self) {
        self.spool.remove(self.chain[self.confirmed].epoch);
        self.confirmed += 1;
    }

    fn next_epoch(&self) -> Epoch {
        self.chain.last().map_or(Epoch(0), |last| last.epoch.next())
    }

    /// Ends a generation without a further call, or lets it go on unseen.
    fn leave(&mut self, life: &Life, committer: Box<dyn Committer>, sinks: Vec<Box<dyn Sink>>) {
        if life.undead && self.settings.delivery > Delivery::AtLeastOnce {
            let next = self.next_epoch();
            let chain = self.chain.clone();
            let undead = self.undead.get_mut().unwrap_or_else(PoisonError::into_inner);
            undead.push(Undead {
                committer,
                sinks,
                epoch: next,
                chain,
            });
        }
    }

    /// What was taken for dead does what it still may: its rows get no manifest, and it commits what has one.
    async fn haunt<T: EpochTarget>(&mut self, target: &mut T) {
        let undead = self.undead.get_mut().unwrap_or_else(PoisonError::into_inner);
        for mut undead in std::mem::take(undead) {
            for sink in &mut undead.sinks {
                // It may well fail.
                drop(sink.write(chunk(1_000_000)).await);
                drop(sink.flush().await);
                drop(sink.prepare(undead.epoch).await);
            }
            for epoch in undead.chain.iter().rev().take(2).rev() {
                drop(undead.committer.commit(epoch).await);
            }
            drop(undead);
            self.see(target, "after one that was taken for dead went on").await;
        }
    }

    /// Compares what is visible with what may be, and must be.
    async fn see<T: EpochTarget>(&mut self, target: &mut T, when: &str) {
        let files = target.visible().await;
        let rows = self.rows(&files, when);
        let committed = match self.confirmed {
            0 => 0,
            confirmed => self.ends[confirmed - 1],
        };
        let mut sorted = rows.clone();
        sorted.sort_unstable();
        if self.settings.delivery == Delivery::AtLeastOnce {
            sorted.dedup();
            let all = (0..committed).all(|row| sorted.binary_search(&row).is_ok());
            assert!(
                all,
                "{when}: not each row of 0..{committed} is visible: {rows:?}\n{}",
                self.told
            );
            return;
        }
        // What has a manifest and is not confirmed may be visible, but not otherwise than in full or not yet.
        let expect: Vec<u64> = (0..committed).collect();
        let unconfirmed = self.confirmed < self.chain.len();
        if unconfirmed {
            let end = *self.ends.last().expect("there is a manifest");
            let twice = sorted.windows(2).any(|pair| pair[0] == pair[1]);
            let foreign = sorted.last().is_some_and(|&row| row >= end);
            let lacking = expect.iter().any(|row| sorted.binary_search(row).is_err());
            assert!(
                !twice && !foreign && !lacking,
                "{when}: rows 0..{committed} must be visible and those up to {end} may be, once: {rows:?}\n{}",
                self.told
            );
            return;
        }
        assert_eq!(
            sorted, expect,
            "{when}: what is visible are the committed rows\n{}",
            self.told
        );
        if self.one_writer {
            assert_eq!(rows, expect, "{when}: one writer's rows are in order\n{}", self.told);
        }
    }

    /// The numbers of all visible rows.
    fn rows(&self, files: &[Vec<u8>], when: &str) -> Vec<u64> {
        let mut rows = Vec::new();
        for file in files.iter().filter(|file| !file.is_empty()) {
            let Some(text) = file.strip_prefix(PROLOGUE) else {
                if self.may_be_torn() && PROLOGUE.starts_with(file) {
                    continue;
                }
                panic!("{when}: a file does not begin with the prologue\n{}", self.told)
            };
            for line in text.split_inclusive(|&byte| byte == b'\n') {
                let number = line.split(|&byte| byte == b',').next();
                let number = number.and_then(|digits| std::str::from_utf8(digits).ok()?.parse().ok());
                match number {
                    Some(number) if line == &chunk(number).bytes[..] => rows.push(number),
                    // The last row may be on its way while nothing is confirmed.
                    _ if !line.ends_with(b"\n") && self.may_be_torn() => {}
                    _ => panic!("{when}: {:?} is no row\n{}", String::from_utf8_lossy(line), self.told),
                }
            }
        }
        rows
    }

    /// How far a call comes that is cut off. With at least once nothing of the generation before goes on.
    fn progress(&self, life: &Life) -> usize {
        if self.settings.delivery == Delivery::AtLeastOnce {
            0
        } else {
            life.progress
        }
    }

    fn may_be_torn(&self) -> bool {
        self.confirmed < self.chain.len()
    }

    fn ok<R>(&self, what: &str, done: Result<R, Fault>) -> R {
        match done {
            Ok(done) => done,
            Err(fault) => panic!("{what} works, but: {fault}\n{}", self.told),
        }
    }
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Ended {
    Complete,
    Crashed,
}

fn chunk(row: u64) -> Chunk {
    let bytes = format!("{row},{}\n", "x".repeat((row * 37 % 53) as usize));
    Chunk {
        ends: vec![bytes.len() as u32],
        bytes: Bytes::from(bytes),
    }
}

/// Lets a call come so far, and drops it.
async fn cut_off<R>(call: impl Future<Output = R>, polls: usize) {
    let mut call = std::pin::pin!(call);
    for _ in 0..polls {
        let done = std::future::poll_fn(|cx| std::task::Poll::Ready(call.as_mut().poll(cx).is_ready())).await;
        if done {
            return;
        }
        // Others come on meanwhile.
        tokio::task::yield_now().await;
    }
}
