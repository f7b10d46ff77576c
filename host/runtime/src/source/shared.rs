//! What the readers and the workers of one source share: partitions, their pieces, and the source's watermark.

use std::collections::{BTreeMap, VecDeque};
use std::sync::atomic::{AtomicI64, AtomicU64, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use tokio::sync::Notify;

use wasmill_core::fault::Fault;
use wasmill_core::id::PartitionName;
use wasmill_core::order::source_origin;
use wasmill_core::time::Timestamp;
use wasmill_engine::Waker;

use super::block::{Data, Piece, Rows};
use super::stamping::{Carry, Plan, Stamped, stamp};
use super::watermark::PartitionWatermark;
use crate::metrics::SourceMetrics;

/// Pieces of one partition that may be read and not yet taken.
const READ_AHEAD_PIECES: usize = 2;

/// The shared side of a source.
pub(crate) struct Shared {
    pub(crate) plan: Plan,
    state: Mutex<State>,
    wakers: Mutex<Vec<Waker>>,
    /// The source's watermark: no row with a W below it is still to be stamped.
    published: AtomicI64,
    /// The watermark that all workers were woken for last.
    announced: AtomicI64,
    pub(crate) metrics: Arc<SourceMetrics>,
    /// The bytes that are read and not yet taken; for the memory bound.
    undecoded_bytes: AtomicU64,
}

struct State {
    partitions: Vec<Partition>,
    /// No partition will be added.
    complete: bool,
}

struct Partition {
    carry: Carry,
    pieces: VecDeque<Piece>,
    next_read: u64,
    next_stamp: u64,
    /// Decoded before their turn.
    early: BTreeMap<u64, Rows>,
    reading: Reading,
    /// Told when a piece was taken.
    room: Arc<Notify>,
}

/// How the reading of a partition stands.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Reading {
    /// It was found, and is not opened yet.
    Ahead,
    /// There may be more to read at once.
    Open,
    /// The last poll found nothing: it holds the watermark back, but nobody's reading.
    Quiet,
    /// Polls have found nothing for long: it does not hold the watermark back.
    Idle,
    /// Nothing is read any more.
    Ended,
}

impl Partition {
    /// Ended, and everything of it stamped.
    fn is_finished(&self) -> bool {
        self.reading == Reading::Ended && self.next_stamp == self.next_read
    }

    /// All that there is was stamped, and a poll found no more.
    fn awaits_data(&self) -> bool {
        matches!(self.reading, Reading::Quiet | Reading::Idle) && self.next_stamp == self.next_read
    }

    fn holds_back(&self) -> bool {
        let nothing_open = self.next_stamp == self.next_read;
        !(nothing_open && matches!(self.reading, Reading::Ended | Reading::Idle))
    }
}

/// A partition's number within its source.
pub(crate) type PartitionIndex = usize;

/// What a worker may do.
pub(crate) enum Taken {
    /// Decode this.
    Piece(PartitionIndex, Piece),
    /// Wait: nothing is there, or what is there is too far ahead.
    Nothing,
    /// Nothing comes any more.
    Finished,
}

impl Shared {
    pub(crate) fn new(plan: Plan, metrics: Arc<SourceMetrics>) -> Arc<Self> {
        Arc::new(Self {
            plan,
            state: Mutex::new(State {
                partitions: Vec::new(),
                complete: false,
            }),
            wakers: Mutex::new(Vec::new()),
            published: AtomicI64::new(i64::MIN),
            announced: AtomicI64::new(i64::MIN),
            metrics,
            undecoded_bytes: AtomicU64::new(0),
        })
    }

    /// The source's watermark.
    pub(crate) fn published(&self) -> Timestamp {
        Timestamp(self.published.load(Ordering::Acquire))
    }

    /// A worker takes part.
    pub(crate) fn join(&self, waker: Waker) {
        self.wakers.lock().unwrap_or_else(PoisonError::into_inner).push(waker);
    }

    /// A partition was found. It joins at the watermark that the source has now.
    pub(crate) fn add_partition(&self, name: PartitionName) -> PartitionIndex {
        let mut state = self.lock();
        // Under the lock: nothing is stamped, and published, in between.
        let floor = self.published();
        state.partitions.push(Partition {
            carry: Carry {
                origin: source_origin(&self.plan.id, &name),
                name,
                watermark: PartitionWatermark::new(&self.plan.node.watermark, floor),
                next_line: 1,
                ingested: Timestamp::MIN,
            },
            pieces: VecDeque::new(),
            next_read: 0,
            next_stamp: 0,
            early: BTreeMap::new(),
            reading: Reading::Ahead,
            room: Arc::new(Notify::new()),
        });
        state.partitions.len() - 1
    }

    /// No partition will be added any more.
    pub(crate) fn complete(&self) {
        let mut state = self.lock();
        state.complete = true;
        self.publish(&state);
        drop(state);
        self.wake_all();
    }

    pub(crate) fn opened(&self, partition: PartitionIndex) {
        self.lock().partitions[partition].reading = Reading::Open;
    }

    /// Waits until another piece of the partition may be read.
    pub(crate) async fn room(&self, partition: PartitionIndex) {
        loop {
            let room = {
                let state = self.lock();
                let partition = &state.partitions[partition];
                if partition.pieces.len() < READ_AHEAD_PIECES {
                    return;
                }
                Arc::clone(&partition.room)
            };
            // A permit that was stored between the look and the wait wakes at once.
            room.notified().await;
        }
    }

    /// A piece was read.
    pub(crate) fn put(&self, partition: PartitionIndex, data: Data, read_at: Timestamp) {
        let bytes = data.size_bytes();
        self.undecoded_bytes.fetch_add(bytes, Ordering::Relaxed);
        self.metrics.read_bytes.fetch_add(bytes, Ordering::Relaxed);
        let mut state = self.lock();
        let floor = self.published();
        let partition = &mut state.partitions[partition];
        if std::mem::replace(&mut partition.reading, Reading::Open) == Reading::Idle {
            partition.carry.watermark.resume(floor);
        }
        let sequence = partition.next_read;
        partition.next_read += 1;
        partition.pieces.push_back(Piece {
            sequence,
            read_at,
            data,
        });
        drop(state);
        self.wake_all();
    }

    /// The partition has ended.
    pub(crate) fn end(&self, partition: PartitionIndex) {
        let mut state = self.lock();
        state.partitions[partition].reading = Reading::Ended;
        self.publish(&state);
        drop(state);
        self.wake_all();
    }

    /// A poll has found nothing; `idle`: for the idle timeout.
    pub(crate) fn found_nothing(&self, partition: PartitionIndex, idle: bool) {
        let mut state = self.lock();
        let at = &mut state.partitions[partition];
        let reading = if idle { Reading::Idle } else { Reading::Quiet };
        if std::mem::replace(&mut at.reading, reading) == reading {
            return;
        }
        self.publish(&state);
        drop(state);
        self.wake_all();
    }

    /// The next piece to decode: of the partition whose W is lowest, as long as it is not too far ahead of the others.
    pub(crate) fn take(&self) -> Taken {
        let mut state = self.lock();
        if state.complete && state.partitions.iter().all(Partition::is_finished) {
            return Taken::Finished;
        }
        let slowest = state
            .partitions
            .iter()
            .filter(|partition| {
                partition.reading != Reading::Ahead && partition.holds_back() && !partition.awaits_data()
            })
            .map(|partition| partition.carry.watermark.current())
            .min();
        let limit = match (slowest, self.plan.node.watermark.align) {
            (Some(slowest), Some(align)) => slowest.after(align),
            _ => Timestamp::MAX,
        };
        let next = state
            .partitions
            .iter()
            .enumerate()
            .filter(|(_, partition)| !partition.pieces.is_empty())
            .map(|(index, partition)| (partition.carry.watermark.current(), index))
            .filter(|(w, _)| *w <= limit || *w == Timestamp::MIN)
            .min();
        let Some((_, index)) = next else { return Taken::Nothing };
        let partition = &mut state.partitions[index];
        let piece = partition.pieces.pop_front().expect("it was not empty");
        partition.room.notify_one();
        self.undecoded_bytes
            .fetch_sub(piece.data.size_bytes(), Ordering::Relaxed);
        Taken::Piece(index, piece)
    }

    /// A piece was decoded: stamps it and those that waited for it.
    ///
    /// # Errors
    /// A record is invalid, and the source stops then.
    pub(crate) fn release(&self, index: PartitionIndex, sequence: u64, rows: Rows) -> Result<Vec<Stamped>, Fault> {
        let mut state = self.lock();
        let partition = &mut state.partitions[index];
        partition.early.insert(sequence, rows);
        let mut stamped = Vec::new();
        while let Some(rows) = partition.early.remove(&partition.next_stamp) {
            stamped.push(stamp(&self.plan, &mut partition.carry, rows)?);
            partition.next_stamp += 1;
        }
        self.publish(&state);
        Ok(stamped)
    }

    /// Wakes all workers if the watermark rose since they were woken for it last: each has to make its own promise.
    pub(crate) fn announce(&self) {
        let published = self.published.load(Ordering::Acquire);
        if self.announced.fetch_max(published, Ordering::AcqRel) < published {
            self.wake_all();
        }
    }

    pub(crate) fn wake_all(&self) {
        for waker in &*self.wakers.lock().unwrap_or_else(PoisonError::into_inner) {
            waker.wake();
        }
    }

    fn publish(&self, state: &State) {
        let holding = state.partitions.iter().filter(|partition| partition.holds_back());
        let slowest = holding.map(|partition| partition.carry.watermark.current()).min();
        let reached = match slowest {
            Some(slowest) => slowest,
            None if state.complete && state.partitions.iter().all(Partition::is_finished) => Timestamp::MAX,
            // All partitions are idle or over, and more may come: the watermark stays.
            None => return,
        };
        self.published.fetch_max(reached.0, Ordering::AcqRel);
        self.metrics
            .watermark
            .store(self.published.load(Ordering::Acquire), Ordering::Relaxed);
    }

    fn lock(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use arrow_array::TimestampMicrosecondArray;
    use proptest::prelude::*;
    use wasmill_connector_api::source::Columns;
    use wasmill_core::batch::Batch;
    use wasmill_core::column::Column;
    use wasmill_core::id::NodeId;
    use wasmill_core::plan::{ConnectorRef, OnInvalid, SourceColumn, SourceNode, SourceTime, WatermarkSpec};
    use wasmill_core::schema::{DataType, Field};
    use wasmill_core::time::Micros;

    use super::super::block::decode;

    fn shared(delay: u64, max_ahead: Option<u64>, align: Option<u64>) -> Arc<Shared> {
        let column = SourceColumn {
            field: Field::nullable("t", DataType::Timestamp),
            path: vec!["t".into()],
            timestamp: None,
        };
        let node = SourceNode {
            connector: ConnectorRef {
                name: "test".into(),
                config: serde_json::Value::Null,
            },
            format: None,
            columns: vec![column],
            metadata: Vec::new(),
            time: SourceTime::Event(0),
            watermark: WatermarkSpec {
                delay: Micros(delay),
                max_ahead: max_ahead.map(Micros),
                align: align.map(Micros),
                idle_after: None,
            },
            on_invalid: OnInvalid::Skip,
            validate_all: false,
        };
        let plan = Plan {
            id: NodeId::new("s"),
            node,
            live: vec![true],
            order: true,
            batch_rows: 3,
        };
        Shared::new(plan, Arc::default())
    }

    fn piece(times: &[Option<i64>], first: u64) -> Data {
        Data::Rows(Columns {
            columns: vec![Some(Column::Timestamp(TimestampMicrosecondArray::from(times.to_vec())))],
            positions: (first..first + times.len() as u64).collect(),
            metadata: Vec::new(),
        })
    }

    fn add(shared: &Shared, name: &str) -> PartitionIndex {
        let index = shared.add_partition(PartitionName::new(name));
        shared.opened(index);
        index
    }

    /// Takes and stamps everything; `turns` says how many pieces are decoded before one is given back, and which.
    fn run(shared: &Shared, turns: &[usize]) -> Vec<(i64, i64, u64)> {
        let mut decoded = Vec::new();
        let mut batches: Vec<Batch> = Vec::new();
        let mut turns = turns.iter().copied().chain(std::iter::repeat(0));
        loop {
            let turn = turns.next().unwrap_or(0);
            if decoded.len() <= turn
                && let Taken::Piece(index, piece) = shared.take()
            {
                let sequence = piece.sequence;
                decoded.push((index, sequence, decode(piece, None).expect("columns")));
                continue;
            }
            if decoded.is_empty() {
                break;
            }
            let (index, sequence, rows) = decoded.swap_remove(turn % decoded.len());
            for stamped in shared.release(index, sequence, rows).expect("invalid rows are skipped") {
                batches.extend(stamped.batches);
            }
        }
        let mut rows: Vec<_> = batches
            .iter()
            .flat_map(|batch| {
                (0..batch.rows()).map(|row| {
                    let mut place = Vec::new();
                    batch.order().expect("places").write(row, &mut place);
                    let position = u64::from_be_bytes(place[place.len() - 8..].try_into().expect("8 bytes"));
                    (batch.time(row), batch.watermarks().at(row), position)
                })
            })
            .collect();
        rows.sort_by_key(|row| row.2);
        rows
    }

    proptest! {
        #[test]
        fn w_of_each_row_does_not_depend_on_who_decoded_what_when(
            times in prop::collection::vec(prop::option::weighted(0.9, 0..1000_i64), 1..80),
            cut in 1..7_usize, turns in prop::collection::vec(0..4_usize, 0..60)
        ) {
            // The expectation: one pass over the partition.
            let (delay, max_ahead) = (10, 400);
            let mut greatest: Option<i64> = None;
            let mut expect = Vec::new();
            for (position, time) in times.iter().enumerate() {
                let w = greatest.map_or(i64::MIN, |greatest| greatest - delay);
                match *time {
                    Some(time) if greatest.is_none_or(|greatest| time <= greatest + max_ahead) => {
                        expect.push((time, w, position as u64));
                        greatest = greatest.max(Some(time));
                    }
                    _ => {}
                }
            }
            let shared = shared(10, Some(400), None);
            let index = add(&shared, "p");
            for (piece_number, chunk) in times.chunks(cut).enumerate() {
                shared.put(index, piece(chunk, (piece_number * cut) as u64), Timestamp(0));
            }
            shared.end(index);
            shared.complete();
            prop_assert_eq!(run(&shared, &turns), expect);
            prop_assert_eq!(shared.published(), Timestamp::MAX);
            prop_assert!(matches!(shared.take(), Taken::Finished));
        }
    }

    #[test]
    fn the_source_watermark_is_that_of_the_slowest_partition() {
        let shared = shared(0, None, None);
        let (a, b) = (add(&shared, "a"), add(&shared, "b"));
        shared.complete();
        shared.put(a, piece(&[Some(50)], 0), Timestamp(0));
        run(&shared, &[]);
        assert_eq!(shared.published(), Timestamp::MIN, "nothing of b was read");
        shared.put(b, piece(&[Some(30)], 0), Timestamp(0));
        run(&shared, &[]);
        assert_eq!(shared.published(), Timestamp(30));
        shared.end(b);
        assert_eq!(shared.published(), Timestamp(50));
    }

    #[test]
    fn a_partition_that_is_far_ahead_waits_for_the_others() {
        let shared = shared(0, None, Some(100));
        let (a, b) = (add(&shared, "a"), add(&shared, "b"));
        shared.complete();
        shared.put(a, piece(&[Some(500)], 0), Timestamp(0));
        shared.put(b, piece(&[Some(10)], 0), Timestamp(0));
        run(&shared, &[]);
        shared.put(a, piece(&[Some(501)], 1), Timestamp(0));
        assert!(matches!(shared.take(), Taken::Nothing), "a is 490 ahead of b");
        shared.put(b, piece(&[Some(450)], 1), Timestamp(0));
        assert!(matches!(shared.take(), Taken::Piece(index, _) if index == b));
    }

    #[test]
    fn a_quiet_partition_holds_back_the_watermark_but_no_reader() {
        let shared = shared(0, None, Some(100));
        let (a, b) = (add(&shared, "a"), add(&shared, "b"));
        shared.complete();
        shared.put(a, piece(&[Some(10), Some(500)], 0), Timestamp(0));
        shared.put(b, piece(&[Some(10)], 0), Timestamp(0));
        run(&shared, &[]);
        shared.put(a, piece(&[Some(501)], 2), Timestamp(0));
        assert!(matches!(shared.take(), Taken::Nothing), "b may have more to read");
        shared.found_nothing(b, false);
        assert!(matches!(shared.take(), Taken::Piece(index, _) if index == a));
        assert_eq!(shared.published(), Timestamp(10));
    }

    #[test]
    fn an_idle_partition_holds_nothing_back_and_resumes_at_its_floor() {
        let shared = shared(0, None, None);
        let (a, b) = (add(&shared, "a"), add(&shared, "b"));
        shared.complete();
        shared.found_nothing(b, true);
        shared.put(a, piece(&[Some(50)], 0), Timestamp(0));
        run(&shared, &[]);
        assert_eq!(shared.published(), Timestamp(50));
        shared.put(b, piece(&[Some(20), Some(60)], 0), Timestamp(0));
        let resumed = run(&shared, &[]);
        assert_eq!(resumed, [(20, 50, 0), (60, 50, 1)], "W starts at the floor");
    }
}
