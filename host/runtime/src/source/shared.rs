//! What the readers and the workers of one source share: partitions, their pieces, and the source's watermark.

use std::collections::{BTreeMap, VecDeque};
use std::sync::atomic::{AtomicBool, AtomicI64, AtomicU64, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, OnceLock, PoisonError, Weak};

use tokio::sync::Notify;

use wasmill_core::fault::Fault;
use wasmill_core::id::PartitionName;
use wasmill_core::order::source_origin;
use wasmill_core::plan::WatermarkStrategy;
use wasmill_core::time::Timestamp;
use wasmill_engine::Waker;

use super::block::{Data, Piece, Rows};
use super::stamping::{Carry, Plan, Stamped, stamp};
use super::watermark::PartitionWatermark;
use crate::metrics::{PartitionMetrics, PartitionState, SourceMetrics};

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
    /// No partition holds the watermark back, and one at least is idle.
    silent: AtomicBool,
    /// The sources that something reads together with this one.
    companions: OnceLock<Vec<Weak<Self>>>,
    pub(crate) metrics: Arc<SourceMetrics>,
    /// The bytes that are read and not yet taken; for the memory bound.
    undecoded_bytes: AtomicU64,
}

struct State {
    partitions: Vec<Partition>,
    /// No partition will be added.
    complete: bool,
    /// The latest processing time that was seen here. It never falls.
    clock: Timestamp,
}

struct Partition {
    carry: Carry,
    pieces: VecDeque<Piece>,
    /// When the pieces were read that are not stamped yet, in their order.
    unstamped: VecDeque<Timestamp>,
    next_read: u64,
    next_stamp: u64,
    /// Decoded before their turn.
    early: BTreeMap<u64, Rows>,
    reading: Reading,
    /// Told when a piece was taken.
    room: Arc<Notify>,
    metrics: Arc<PartitionMetrics>,
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

    /// Tells the metrics how it stands.
    fn show(&self) {
        let state = match self.reading {
            Reading::Ended if self.is_finished() => PartitionState::Finished,
            Reading::Idle if !self.holds_back() => PartitionState::Idle,
            Reading::Quiet | Reading::Idle if self.awaits_data() => PartitionState::Quiet,
            _ => PartitionState::Reading,
        };
        self.metrics.stands(state, self.carry.watermark.current());
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
                clock: Timestamp::MIN,
            }),
            wakers: Mutex::new(Vec::new()),
            published: AtomicI64::new(i64::MIN),
            announced: AtomicI64::new(i64::MIN),
            silent: AtomicBool::new(false),
            companions: OnceLock::new(),
            metrics,
            undecoded_bytes: AtomicU64::new(0),
        })
    }

    /// The source's watermark.
    pub(crate) fn published(&self) -> Timestamp {
        Timestamp(self.published.load(Ordering::SeqCst))
    }

    /// The greatest watermark that a partition has come to: where the source ends, when all rows are stamped.
    pub(crate) fn last(&self) -> Timestamp {
        let state = self.lock();
        let reached = state.partitions.iter().map(|at| at.carry.watermark.current());
        reached.max().unwrap_or(Timestamp::MIN)
    }

    /// A worker takes part.
    pub(crate) fn join(&self, waker: Waker) {
        self.wakers.lock().unwrap_or_else(PoisonError::into_inner).push(waker);
    }

    /// Something reads these sources together with this one.
    pub(crate) fn meet(&self, companions: Vec<Weak<Self>>) {
        self.companions.get_or_init(|| companions);
    }

    fn companions(&self) -> impl Iterator<Item = Arc<Self>> {
        self.companions.get().into_iter().flatten().filter_map(Weak::upgrade)
    }

    /// A companion's watermark rose: that of a silent source follows.
    fn follow(&self) {
        if self.silent.load(Ordering::SeqCst) {
            self.publish(&self.lock());
            self.announce();
        }
    }

    /// A partition was found. It joins at the watermark that the source has now.
    pub(crate) fn add_partition(&self, name: PartitionName) -> PartitionIndex {
        let mut state = self.lock();
        // Under the lock: nothing is stamped, and published, in between.
        let floor = self.published();
        state.partitions.push(Partition {
            metrics: self.metrics.add(name.clone()),
            carry: Carry {
                origin: source_origin(&self.plan.id, &name),
                name,
                watermark: PartitionWatermark::new(&self.plan.node.watermark, floor),
                next_line: 1,
            },
            pieces: VecDeque::new(),
            unstamped: VecDeque::new(),
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
        // The clock may have been told while this piece was on its way here, and must not be ahead of it.
        let read_at = read_at.max(state.clock);
        state.clock = read_at;
        let partition = &mut state.partitions[partition];
        if std::mem::replace(&mut partition.reading, Reading::Open) == Reading::Idle {
            partition.carry.watermark.resume(floor);
        }
        let sequence = partition.next_read;
        partition.next_read += 1;
        partition.unstamped.push_back(read_at);
        partition.pieces.push_back(Piece {
            sequence,
            read_at,
            data,
        });
        partition.show();
        drop(state);
        self.wake_all();
    }

    /// The partition has ended.
    pub(crate) fn end(&self, partition: PartitionIndex) {
        let mut state = self.lock();
        let at = &mut state.partitions[partition];
        at.reading = Reading::Ended;
        at.show();
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
        at.show();
        self.publish(&state);
        drop(state);
        self.wake_all();
    }

    /// Whether the watermark follows the clock, so that it is to be told.
    pub(crate) fn goes_by_clock(&self) -> bool {
        matches!(self.plan.node.watermark.strategy, WatermarkStrategy::Clock { .. })
    }

    /// The clock has come to `now`: a watermark that follows it rises, though not beyond what was read and is not stamped.
    pub(crate) fn clock(&self, now: Timestamp) {
        let mut state = self.lock();
        state.clock = state.clock.max(now);
        let now = state.clock;
        for partition in &mut state.partitions {
            let reached = partition.unstamped.front().map_or(now, |&read_at| read_at.min(now));
            partition.carry.watermark.clock(reached);
            partition.show();
        }
        self.publish(&state);
        drop(state);
        self.announce();
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
            let done = stamp(&self.plan, &mut partition.carry, rows)?;
            partition.next_stamp += 1;
            partition.unstamped.pop_front();
            let rows = done.batches.iter().map(|batch| batch.rows() as u64).sum();
            for total in [&self.metrics.rows, &partition.metrics.rows] {
                total.fetch_add(rows, Ordering::Relaxed);
            }
            for total in [&self.metrics.invalid, &partition.metrics.invalid] {
                total.add(done.invalid);
            }
            stamped.push(done);
        }
        partition.show();
        self.publish(&state);
        Ok(stamped)
    }

    /// Wakes all workers if the watermark rose since they were woken for it last: each has to make its own promise.
    pub(crate) fn announce(&self) {
        let published = self.published.load(Ordering::Acquire);
        if self.announced.fetch_max(published, Ordering::AcqRel) < published {
            self.wake_all();
            for companion in self.companions() {
                companion.follow();
            }
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
        let silent = slowest.is_none() && state.partitions.iter().any(|at| at.reading == Reading::Idle);
        self.silent.store(silent, Ordering::SeqCst);
        let reached = match slowest {
            Some(slowest) => slowest,
            None if state.complete && state.partitions.iter().all(Partition::is_finished) => Timestamp::MAX,
            None => self.held_by_nobody(state, silent),
        };
        // One order for this and `silent`: of two sources, one sees what the other has done.
        self.published.fetch_max(reached.0, Ordering::SeqCst);
        self.metrics
            .watermark
            .store(self.published.load(Ordering::Acquire), Ordering::Relaxed);
    }

    /// The watermark where all partitions are idle or over, and more may come.
    fn held_by_nobody(&self, state: &State, silent: bool) -> Timestamp {
        if let WatermarkStrategy::Clock { delay } = self.plan.node.watermark.strategy {
            return state.clock.before(delay);
        }
        // Nothing is held back for what is behind; so the order in which they fell silent does not count.
        let own = state.partitions.iter().map(|at| at.carry.watermark.current()).max();
        if !silent {
            return own.unwrap_or(Timestamp::MIN);
        }
        let others: Vec<_> = self
            .companions()
            .map(|other| (other.silent.load(Ordering::SeqCst), other.published()))
            // Companions that have ended say nothing of the present.
            .filter(|(_, reached)| *reached < Timestamp::MAX)
            .collect();
        let of = |asked: bool| {
            others
                .iter()
                .filter(move |(silent, _)| *silent == asked)
                .map(|other| other.1)
        };
        let followed = of(false).min().or_else(|| of(true).max());
        own.max(followed).unwrap_or(Timestamp::MIN)
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
        let watermark = WatermarkSpec {
            strategy: WatermarkStrategy::BoundedOutOfOrderness { delay: Micros(delay) },
            max_ahead: max_ahead.map(Micros),
            align: align.map(Micros),
            idle_after: None,
        };
        shared_by(SourceTime::Event(0), watermark)
    }

    fn by_clock(time: SourceTime, delay: u64) -> Arc<Shared> {
        let watermark = WatermarkSpec {
            strategy: WatermarkStrategy::Clock { delay: Micros(delay) },
            max_ahead: None,
            align: None,
            idle_after: None,
        };
        shared_by(time, watermark)
    }

    fn shared_by(time: SourceTime, watermark: WatermarkSpec) -> Arc<Shared> {
        let column = |name: &str| SourceColumn {
            field: Field::nullable(name, DataType::Timestamp),
            path: vec![name.into()],
            timestamp: None,
        };
        let node = SourceNode {
            connector: ConnectorRef {
                name: "test".into(),
                config: serde_json::Value::Null,
            },
            format: None,
            columns: vec![column("t"), column("wm")],
            metadata: Vec::new(),
            time,
            watermark,
            on_invalid: OnInvalid::Skip,
            validate_all: false,
        };
        let plan = Plan {
            id: NodeId::new("s"),
            node,
            live: vec![true, false],
            order: true,
            batch_rows: 3,
        };
        Shared::new(plan, Arc::default())
    }

    fn piece(times: &[Option<i64>], first: u64) -> Data {
        let rows: Vec<_> = times.iter().map(|&time| (time, None)).collect();
        marked(&rows, first)
    }

    /// Rows with an event time and a value of the column `wm`.
    fn marked(rows: &[(Option<i64>, Option<i64>)], first: u64) -> Data {
        let (times, marks): (Vec<_>, Vec<_>) = rows.iter().copied().unzip();
        let column = |values: Vec<Option<i64>>| Some(Column::Timestamp(TimestampMicrosecondArray::from(values)));
        Data::Rows(Columns {
            columns: vec![column(times), column(marks)],
            positions: (first..first + rows.len() as u64).collect(),
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

    #[test]
    fn when_all_partitions_are_idle_the_one_behind_holds_nothing_back() {
        for order in [[0, 1], [1, 0]] {
            let shared = shared(0, None, None);
            let partitions = [add(&shared, "a"), add(&shared, "b")];
            for (partition, time) in partitions.into_iter().zip([50, 100]) {
                shared.put(partition, piece(&[Some(time)], 0), Timestamp(0));
            }
            run(&shared, &[]);
            assert_eq!(shared.published(), Timestamp(50));
            for at in order {
                shared.found_nothing(partitions[at], true);
            }
            assert_eq!(shared.published(), Timestamp(100));
        }
    }

    #[test]
    fn what_is_read_and_not_stamped_holds_back_the_watermark_however_long_nothing_more_is_found() {
        let shared = shared(0, None, None);
        let (a, b) = (add(&shared, "a"), add(&shared, "b"));
        shared.put(a, piece(&[Some(50)], 0), Timestamp(0));
        run(&shared, &[]);
        shared.put(b, piece(&[Some(20)], 0), Timestamp(0));
        shared.found_nothing(b, true);
        shared.put(a, piece(&[Some(80)], 1), Timestamp(0));
        assert_eq!(shared.published(), Timestamp::MIN);
        let rows = run(&shared, &[]);
        assert_eq!(rows, [(20, i64::MIN, 0), (80, 50, 1)], "no floor: b was not idle yet");
        assert_eq!(shared.published(), Timestamp(80));
    }

    #[test]
    fn a_row_from_the_year_2099_makes_no_other_row_late() {
        const YEAR_2099: i64 = 4_070_908_800_000_000;
        let shared = shared(0, Some(1_000), None);
        let index = add(&shared, "p");
        shared.put(
            index,
            piece(&[Some(10), Some(YEAR_2099), Some(20), Some(15)], 0),
            Timestamp(0),
        );
        assert_eq!(run(&shared, &[]), [(10, i64::MIN, 0), (20, 10, 2), (15, 20, 3)]);
        assert_eq!(shared.published(), Timestamp(20));
        let partition = &shared.metrics.partitions(1).slowest[0];
        assert_eq!((partition.rows, partition.invalid.too_far_ahead), (3, 1));
    }

    #[test]
    fn a_punctuated_watermark_counts_after_its_row_and_nothing_else_moves_it() {
        let watermark = WatermarkSpec {
            strategy: WatermarkStrategy::Column(1),
            max_ahead: Some(Micros(100)),
            align: None,
            idle_after: None,
        };
        let shared = shared_by(SourceTime::Event(0), watermark);
        let index = add(&shared, "p");
        let rows = [
            (Some(50), None),
            (Some(60), Some(40)),
            (Some(45), None),
            // Before what was said.
            (Some(70), Some(30)),
            // Of an invalid record nothing counts: no event time; an event time, a value too far ahead.
            (None, Some(65)),
            (Some(171), Some(65)),
            (Some(70), Some(171)),
            (Some(70), Some(60)),
            (Some(61), None),
        ];
        for (place, chunk) in rows.chunks(2).enumerate() {
            shared.put(index, marked(chunk, 2 * place as u64), Timestamp(0));
        }
        let min = i64::MIN;
        let expect = [
            (50, min, 0),
            (60, min, 1),
            (45, 40, 2),
            (70, 40, 3),
            (70, 40, 7),
            (61, 60, 8),
        ];
        assert_eq!(run(&shared, &[1, 2, 0]), expect);
        assert_eq!(shared.published(), Timestamp(60));
    }

    #[test]
    fn by_the_clock_the_watermark_goes_on_while_nothing_is_read() {
        for time in [SourceTime::Ingestion, SourceTime::Processing] {
            let shared = by_clock(time, 0);
            shared.clock(Timestamp(5));
            assert_eq!(shared.published(), Timestamp(5), "there is no partition yet");
            let (a, b) = (add(&shared, "a"), add(&shared, "b"));
            shared.put(a, piece(&[None, None], 0), Timestamp(10));
            shared.clock(Timestamp(30));
            assert_eq!(shared.published(), Timestamp(10), "what was read at 10 is not stamped");
            // The reader looked at the clock before it was told.
            shared.put(b, piece(&[None], 2), Timestamp(25));
            assert_eq!(run(&shared, &[]), [(10, 10, 0), (10, 10, 1), (30, 30, 2)]);
            shared.clock(Timestamp(40));
            assert_eq!(shared.published(), Timestamp(40));
            shared.clock(Timestamp(35));
            assert_eq!(
                shared.published(),
                Timestamp(40),
                "a clock that is set back moves nothing"
            );
        }
    }

    #[test]
    fn event_times_are_judged_by_the_clock_at_which_they_were_read() {
        let shared = by_clock(SourceTime::Event(0), 10);
        let index = add(&shared, "p");
        shared.put(index, piece(&[Some(95), Some(80)], 0), Timestamp(100));
        shared.put(index, piece(&[Some(120)], 2), Timestamp(150));
        // However late they are stamped.
        shared.clock(Timestamp(500));
        assert_eq!(run(&shared, &[]), [(95, 90, 0), (80, 90, 1), (120, 140, 2)]);
        shared.clock(Timestamp(500));
        assert_eq!(shared.published(), Timestamp(490));
    }

    #[test]
    fn a_source_that_is_idle_holds_back_no_source_that_is_read_together_with_it() {
        let (busy, quiet) = (shared(0, None, None), shared(0, None, None));
        busy.meet(vec![Arc::downgrade(&quiet)]);
        quiet.meet(vec![Arc::downgrade(&busy)]);
        let (a, b) = (add(&busy, "a"), add(&quiet, "b"));
        let read = |shared: &Shared, partition, time, position| {
            shared.put(partition, piece(&[Some(time)], position), Timestamp(0));
            let rows = run(shared, &[]);
            shared.announce();
            rows
        };
        read(&quiet, b, 10, 0);
        read(&busy, a, 50, 0);
        assert_eq!(quiet.published(), Timestamp(10), "it is not idle");
        quiet.found_nothing(b, true);
        assert_eq!(quiet.published(), Timestamp(50));
        read(&busy, a, 80, 1);
        assert_eq!(quiet.published(), Timestamp(80));
        assert_eq!(read(&quiet, b, 70, 1), [(70, 80, 1)], "it resumes at this floor");
        read(&busy, a, 90, 2);
        assert_eq!(quiet.published(), Timestamp(80));
        // Both idle: the one behind holds nothing back, whichever was idle first.
        busy.found_nothing(a, true);
        quiet.found_nothing(b, true);
        assert_eq!((busy.published(), quiet.published()), (Timestamp(90), Timestamp(90)));
        busy.complete();
        busy.end(a);
        busy.announce();
        assert_eq!((busy.published(), quiet.published()), (Timestamp::MAX, Timestamp(90)));
    }

    /// What happens to partitions that fall silent and come back.
    #[derive(Clone, Debug)]
    enum Happens {
        Read(PartitionIndex, Vec<i64>),
        Nothing(PartitionIndex),
        NothingForLong(PartitionIndex),
        Stamp,
    }

    fn happens() -> impl Strategy<Value = Happens> {
        let partition = 0..3_usize;
        prop_oneof![
            3 => (partition.clone(), prop::collection::vec(0..1000_i64, 1..5)).prop_map(|(p, times)| Happens::Read(p, times)),
            1 => partition.clone().prop_map(Happens::Nothing),
            2 => partition.prop_map(Happens::NothingForLong),
            4 => Just(Happens::Stamp),
        ]
    }

    /// A partition as the rules have it, without pieces and without workers.
    #[derive(Default)]
    struct Naive {
        w: Option<i64>,
        read: Vec<(i64, u64)>,
        idle: bool,
    }

    /// The merged watermark after something happened: the least of those that are not idle or have rows to come; where
    /// there is none of these, the greatest.
    fn merged(partitions: &[Naive], before: Option<i64>) -> Option<i64> {
        let holding = partitions.iter().filter(|p| !p.idle || !p.read.is_empty());
        let reached = match holding.map(|p| p.w).min() {
            Some(least) => least,
            None => partitions.iter().map(|p| p.w).max().flatten(),
        };
        reached.max(before)
    }

    proptest! {
        #[test]
        fn partitions_that_idle_and_resume_lose_no_row_but_those_behind_their_floor(
            script in prop::collection::vec(happens(), 0..60), turns in prop::collection::vec(0..4_usize, 0..20)
        ) {
            const DELAY: i64 = 10;
            let shared = shared(DELAY.unsigned_abs(), None, None);
            for name in ["a", "b", "c"] {
                add(&shared, name);
            }
            let mut naive: [Naive; 3] = Default::default();
            let mut m = None;
            let mut position = 0;
            for step in script.into_iter().chain([Happens::Stamp]) {
                match step {
                    Happens::Read(p, times) => {
                        // More would have to wait for room.
                        if shared.lock().partitions[p].pieces.len() == READ_AHEAD_PIECES {
                            continue;
                        }
                        let first = position;
                        if std::mem::take(&mut naive[p].idle) && naive[p].read.is_empty() {
                            naive[p].w = naive[p].w.max(m);
                        }
                        for &time in &times {
                            naive[p].read.push((time, position));
                            position += 1;
                        }
                        let times: Vec<_> = times.into_iter().map(Some).collect();
                        shared.put(p, piece(&times, first), Timestamp(0));
                    }
                    // One that is idle stays so until something is read.
                    Happens::Nothing(p) if naive[p].idle => {}
                    Happens::Nothing(p) => {
                        shared.found_nothing(p, false);
                    }
                    Happens::NothingForLong(p) => {
                        naive[p].idle = true;
                        shared.found_nothing(p, true);
                    }
                    Happens::Stamp => {
                        let mut expect = Vec::new();
                        for partition in &mut naive {
                            for (time, position) in std::mem::take(&mut partition.read) {
                                expect.push((time, partition.w.unwrap_or(i64::MIN), position));
                                partition.w = partition.w.max(Some(time - DELAY));
                            }
                        }
                        expect.sort_by_key(|row| row.2);
                        prop_assert_eq!(run(&shared, &turns), expect);
                    }
                }
                m = merged(&naive, m);
                prop_assert_eq!(shared.published().0, m.unwrap_or(i64::MIN));
            }
        }
    }
}
