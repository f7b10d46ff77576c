//! The checks of sources and sinks can fail: each way in which a sink or a source may be broken is caught.

use std::collections::BTreeMap;
use std::sync::{Arc, Mutex};

use async_trait::async_trait;
use bytes::Bytes;

use wasmill_core::delivery::Delivery;
use wasmill_core::fault::{Domain, Fault};
use wasmill_core::id::{Epoch, PartitionName};

use crate::config::Folder;
use crate::sink::{Chunk, Committer, CommitterContext, Prepared, PreparedEpoch, Recovery, Sink, SinkContext, Start};
use crate::source::{Discovery, PartitionReader, Payload, Read, Resume, Source};

use super::epochs::{EpochTarget, Settings, check};
use super::source;

/// How a sink is broken.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Broken {
    None,
    VisibleWhenWritten,
    VisibleWhenPrepared,
    CommitsTwice,
    CommitsNothingAgain,
    LosesTheEpochAtTheEnd,
    WritesWhatIsNotPrepared,
    PrologueAgain,
    TakesTheDeadAtTheirWord,
}

/// A sink whose target is memory: rows, and the epoch that was committed last.
#[derive(Clone)]
struct Memory {
    broken: Broken,
    world: Arc<Mutex<World>>,
}

#[derive(Default)]
struct World {
    visible: Vec<u8>,
    committed: Option<Epoch>,
}

struct Writer {
    broken: Broken,
    world: Arc<Mutex<World>>,
    prologue: Bytes,
    rows: Vec<u8>,
}

#[async_trait]
impl Sink for Writer {
    async fn write(&mut self, chunk: Chunk) -> Result<(), Fault> {
        let rows = [std::mem::take(&mut self.prologue), chunk.bytes].concat();
        if self.broken == Broken::VisibleWhenWritten {
            self.world.lock().unwrap().visible.extend_from_slice(&rows);
        } else {
            self.rows.extend_from_slice(&rows);
        }
        Ok(())
    }

    async fn flush(&mut self) -> Result<(), Fault> {
        Ok(())
    }

    async fn prepare(&mut self, epoch: Epoch) -> Result<Prepared, Fault> {
        if self.broken == Broken::LosesTheEpochAtTheEnd && epoch == Epoch(2) {
            self.rows.clear();
        }
        if self.broken == Broken::VisibleWhenPrepared {
            self.world.lock().unwrap().visible.append(&mut self.rows);
        }
        Ok(Prepared(std::mem::take(&mut self.rows).into()))
    }

    async fn finish(&mut self) -> Result<(), Fault> {
        Ok(())
    }
}

struct Commits {
    broken: Broken,
    world: Arc<Mutex<World>>,
    commits: u32,
}

#[async_trait]
impl Committer for Commits {
    async fn recover(&mut self, _recovery: &Recovery) -> Result<(), Fault> {
        Ok(())
    }

    async fn commit(&mut self, epoch: &PreparedEpoch) -> Result<(), Fault> {
        let mut world = self.world.lock().unwrap();
        let done = world.committed >= Some(epoch.epoch);
        let again = match self.broken {
            Broken::CommitsTwice => true,
            // It trusts what it has done itself.
            Broken::TakesTheDeadAtTheirWord => self.commits > 0,
            _ => false,
        };
        self.commits += 1;
        if done && !again {
            return Ok(());
        }
        let rows: Vec<u8> = epoch.prepared.iter().flat_map(|prepared| prepared.0.to_vec()).collect();
        if self.broken != Broken::CommitsNothingAgain || self.commits > 1 {
            world.visible.extend_from_slice(&rows);
        }
        world.committed = Some(epoch.epoch);
        Ok(())
    }
}

impl EpochTarget for Memory {
    async fn clear(&mut self) -> Folder {
        *self.world.lock().unwrap() = World::default();
        Folder::new(".")
    }

    async fn open(&mut self, context: SinkContext) -> Result<Box<dyn Sink>, Fault> {
        // One file: the first writer's rows begin with the prologue, once.
        let began = match &context.start {
            Start::Fresh => false,
            Start::Resumed(prepared) => !prepared.is_empty(),
        };
        let begins = self.broken == Broken::PrologueAgain || !began && context.writer == 0;
        let mut writer = Writer {
            broken: self.broken,
            world: Arc::clone(&self.world),
            prologue: Bytes::new(),
            rows: Vec::new(),
        };
        if begins {
            writer.rows.extend_from_slice(&context.prologue);
        }
        if self.broken == Broken::WritesWhatIsNotPrepared && began {
            let mut world = self.world.lock().unwrap();
            world.visible.extend_from_slice(b"1000000,\n");
        }
        Ok(Box::new(writer))
    }

    async fn committer(&mut self, _context: CommitterContext) -> Result<Box<dyn Committer>, Fault> {
        Ok(Box::new(Commits {
            broken: self.broken,
            world: Arc::clone(&self.world),
            commits: 0,
        }))
    }

    async fn visible(&mut self) -> Vec<Vec<u8>> {
        vec![self.world.lock().unwrap().visible.clone()]
    }
}

async fn passes(broken: Broken, delivery: Delivery, writers_max: u32) -> bool {
    let mut target = Memory {
        broken,
        world: Arc::default(),
    };
    let settings = Settings {
        delivery,
        writers_max,
        scripts: 64,
    };
    tokio::spawn(async move { check(&mut target, settings).await })
        .await
        .is_ok()
}

#[tokio::test]
async fn a_sink_that_is_exact_passes() {
    for writers in [1, 3] {
        assert!(passes(Broken::None, Delivery::ExactlyOnce, writers).await);
        assert!(passes(Broken::None, Delivery::AtLeastOnce, writers).await);
    }
}

#[tokio::test]
async fn a_broken_sink_is_caught() {
    for broken in [
        Broken::VisibleWhenWritten,
        Broken::VisibleWhenPrepared,
        Broken::CommitsTwice,
        Broken::CommitsNothingAgain,
        Broken::LosesTheEpochAtTheEnd,
        Broken::WritesWhatIsNotPrepared,
        Broken::PrologueAgain,
        Broken::TakesTheDeadAtTheirWord,
    ] {
        assert!(!passes(broken, Delivery::ExactlyOnce, 1).await, "{broken:?}");
    }
    // With at least once, only what is lost counts.
    for broken in [Broken::CommitsNothingAgain, Broken::LosesTheEpochAtTheEnd] {
        assert!(!passes(broken, Delivery::AtLeastOnce, 2).await, "{broken:?}");
    }
}

/// How a source is broken.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Flaw {
    None,
    BeginsAnew,
    OneTooFar,
    ForgetsItsNote,
    NoteAhead,
    NeedsItsOwnNote,
}

/// Ten bytes, and ten more as another stream.
struct Bytes20 {
    flaw: Flaw,
    reported: bool,
}

struct Reader {
    flaw: Flaw,
    at: u64,
    /// In the middle: whether the boundary was given.
    boundary: bool,
    note: Bytes,
}

const TEXT: &[u8] = b"0123456789abcdefghij";

#[async_trait]
impl Source for Bytes20 {
    async fn discover(&mut self) -> Result<Discovery, Fault> {
        let new = !std::mem::replace(&mut self.reported, true);
        Ok(Discovery {
            partitions: new.then(|| PartitionName::new("p")).into_iter().collect(),
            complete: true,
        })
    }

    async fn open(
        &mut self,
        _partition: &PartitionName,
        from: Option<&Resume>,
    ) -> Result<Box<dyn PartitionReader>, Fault> {
        let mut reader = Reader {
            flaw: self.flaw,
            at: 0,
            boundary: false,
            note: Bytes::new(),
        };
        if let Some(from) = from {
            reader.at = from.position;
            // The note says in which stream the position is.
            reader.boundary = match &from.note[..] {
                b"first" => false,
                b"second" => true,
                note if self.flaw == Flaw::NeedsItsOwnNote && note == from.position.to_string().as_bytes() => {
                    from.position > 10
                }
                _ => return Err(Fault::fatal(Domain::Internal, "an unknown note")),
            };
            reader.note = from.note.clone();
            match self.flaw {
                Flaw::BeginsAnew => reader.at = 0,
                Flaw::OneTooFar => reader.at += 1,
                _ => {}
            }
        }
        Ok(Box::new(reader))
    }
}

#[async_trait]
impl PartitionReader for Reader {
    async fn read(&mut self, bytes_max: usize) -> Result<Read, Fault> {
        let end = if self.boundary { 20 } else { 10 };
        if self.at >= end && self.boundary {
            return Ok(Read::End);
        }
        if self.at >= end {
            self.boundary = true;
            return Ok(Read::Boundary);
        }
        let first = self.at as usize;
        let last = (first + bytes_max).min(end as usize);
        self.at = last as u64;
        self.note = match self.flaw {
            Flaw::ForgetsItsNote => Bytes::new(),
            Flaw::NoteAhead => Bytes::from_static(b"second"),
            Flaw::NeedsItsOwnNote => Bytes::from(self.at.to_string()),
            _ if self.boundary => Bytes::from_static(b"second"),
            _ => Bytes::from_static(b"first"),
        };
        Ok(Read::Data(Payload::Stream {
            bytes: Bytes::from_static(&TEXT[first..last]),
            position: first as u64,
            metadata: Arc::from([]),
        }))
    }

    fn note(&self) -> Bytes {
        self.note.clone()
    }

    async fn acknowledge(&mut self, _position: u64) -> Result<(), Fault> {
        Ok(())
    }
}

#[tokio::test]
async fn a_source_that_does_not_go_on_where_it_was_left_is_caught() {
    for flaw in [
        Flaw::None,
        Flaw::BeginsAnew,
        Flaw::OneTooFar,
        Flaw::ForgetsItsNote,
        Flaw::NoteAhead,
        Flaw::NeedsItsOwnNote,
    ] {
        let checked = tokio::spawn(async move {
            let records = vec![TEXT[..10].to_vec(), TEXT[10..].to_vec()];
            let expect = BTreeMap::from([("p", records)]);
            source::check(
                |_| async move {
                    let source: Box<dyn Source> = Box::new(Bytes20 { flaw, reported: false });
                    source
                },
                &expect,
            )
            .await;
        });
        assert_eq!(checked.await.is_ok(), flaw == Flaw::None, "{flaw:?}");
    }
}
