//! What a running job counts, for progress lines and summaries. Counters only grow.

use std::collections::BTreeMap;
use std::sync::atomic::{AtomicI64, AtomicU8, AtomicU64, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use wasmill_core::id::{NodeId, PartitionName};
use wasmill_core::plan::{NodeKind, Plan};
use wasmill_core::time::{Micros, Timestamp};

/// The counters of a job, by node.
#[derive(Debug, Default)]
pub struct Metrics {
    /// Sources.
    pub sources: BTreeMap<NodeId, Arc<SourceMetrics>>,
    /// Operators.
    pub operators: BTreeMap<NodeId, Arc<OperatorMetrics>>,
    /// Sinks.
    pub sinks: BTreeMap<NodeId, Arc<SinkMetrics>>,
}

impl Metrics {
    /// Zeros for every node of a plan.
    pub fn of(plan: &Plan) -> Arc<Self> {
        let mut metrics = Self::default();
        for node in &plan.nodes {
            let id = node.id.clone();
            match node.kind {
                NodeKind::Source(_) => drop(metrics.sources.insert(id, Arc::default())),
                NodeKind::Sink(_) => drop(metrics.sinks.insert(id, Arc::default())),
                _ => drop(metrics.operators.insert(id, Arc::new(OperatorMetrics::of(&node.kind)))),
            }
        }
        Arc::new(metrics)
    }
}

/// The counters of a source.
#[derive(Debug)]
pub struct SourceMetrics {
    /// Bytes read, decompressed.
    pub read_bytes: AtomicU64,
    /// Valid rows.
    pub rows: AtomicU64,
    /// Invalid records.
    pub invalid: InvalidCounters,
    /// The source's watermark, in microseconds.
    pub watermark: AtomicI64,
    partitions: Mutex<Vec<Arc<PartitionMetrics>>>,
}

impl Default for SourceMetrics {
    fn default() -> Self {
        Self {
            read_bytes: AtomicU64::new(0),
            rows: AtomicU64::new(0),
            invalid: InvalidCounters::default(),
            watermark: AtomicI64::new(i64::MIN),
            partitions: Mutex::default(),
        }
    }
}

impl SourceMetrics {
    /// The source's watermark; `None` before the first row and after the last.
    pub fn watermark(&self) -> Option<Timestamp> {
        shown(self.watermark.load(Ordering::Relaxed))
    }

    /// How its partitions stand: all of them in numbers, and the `most` slowest one by one.
    pub fn partitions(&self, most: usize) -> Partitions {
        let partitions = self.lock();
        let mut standing: Vec<(PartitionState, i64, &PartitionMetrics)> = partitions
            .iter()
            .map(|partition| {
                let watermark = partition.watermark.load(Ordering::Relaxed);
                (partition.state(), watermark, &**partition)
            })
            .collect();
        let greatest = standing.iter().map(|(_, watermark, _)| *watermark).max();
        let count = |state| standing.iter().filter(|(other, _, _)| *other == state).count();
        let (idle, finished) = (count(PartitionState::Idle), count(PartitionState::Finished));
        // Those first that hold back the watermark.
        standing.sort_unstable_by_key(|(state, watermark, partition)| {
            let holds_back = matches!(state, PartitionState::Reading | PartitionState::Quiet);
            (!holds_back, *watermark, &partition.name)
        });
        let slowest = standing
            .iter()
            .take(most)
            .map(|&(state, watermark, partition)| Standing {
                name: partition.name.clone(),
                state,
                watermark: shown(watermark),
                behind: shown(watermark)
                    .zip(greatest)
                    .map(|(own, greatest)| Micros(greatest.abs_diff(own.0))),
                rows: partition.rows.load(Ordering::Relaxed),
                invalid: partition.invalid.counts(),
            });
        Partitions {
            slowest: slowest.collect(),
            count: standing.len(),
            idle,
            finished,
        }
    }

    /// A partition was found.
    pub(crate) fn add(&self, name: PartitionName) -> Arc<PartitionMetrics> {
        let partition = Arc::new(PartitionMetrics {
            name,
            state: AtomicU8::new(PartitionState::Reading as u8),
            watermark: AtomicI64::new(i64::MIN),
            rows: AtomicU64::new(0),
            invalid: InvalidCounters::default(),
        });
        self.lock().push(Arc::clone(&partition));
        partition
    }

    fn lock(&self) -> MutexGuard<'_, Vec<Arc<PartitionMetrics>>> {
        self.partitions.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

fn shown(watermark: i64) -> Option<Timestamp> {
    (watermark != i64::MIN && watermark != i64::MAX).then_some(Timestamp(watermark))
}

/// Invalid records by reason, while they are counted.
#[derive(Debug, Default)]
pub struct InvalidCounters {
    undecodable: AtomicU64,
    without_event_time: AtomicU64,
    too_far_ahead: AtomicU64,
}

impl InvalidCounters {
    /// The counts so far.
    pub fn counts(&self) -> InvalidCounts {
        InvalidCounts {
            undecodable: self.undecodable.load(Ordering::Relaxed),
            without_event_time: self.without_event_time.load(Ordering::Relaxed),
            too_far_ahead: self.too_far_ahead.load(Ordering::Relaxed),
        }
    }

    pub(crate) fn add(&self, more: InvalidCounts) {
        if more == InvalidCounts::default() {
            return;
        }
        for (total, more) in [
            (&self.undecodable, more.undecodable),
            (&self.without_event_time, more.without_event_time),
            (&self.too_far_ahead, more.too_far_ahead),
        ] {
            total.fetch_add(more, Ordering::Relaxed);
        }
    }
}

/// Invalid records by reason.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct InvalidCounts {
    /// Those that their format cannot decode.
    pub undecodable: u64,
    /// Those whose event time is null.
    pub without_event_time: u64,
    /// Those further after the greatest event time of their partition than `max-ahead` allows.
    pub too_far_ahead: u64,
}

impl InvalidCounts {
    /// All of them.
    pub fn total(self) -> u64 {
        self.undecodable + self.without_event_time + self.too_far_ahead
    }
}

/// The partitions of a source.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Partitions {
    /// Those whose watermark is lowest: first those that hold back the source's, then the others.
    pub slowest: Vec<Standing>,
    /// How many there are.
    pub count: usize,
    /// How many of them are idle.
    pub idle: usize,
    /// How many of them are finished.
    pub finished: usize,
}

/// How a partition stands.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Standing {
    /// Its name.
    pub name: PartitionName,
    /// What it is doing.
    pub state: PartitionState,
    /// Its watermark; `None` before it has one.
    pub watermark: Option<Timestamp>,
    /// How far its watermark is behind the greatest of the source's partitions; `None` before it has one.
    pub behind: Option<Micros>,
    /// Its valid rows.
    pub rows: u64,
    /// Its invalid records.
    pub invalid: InvalidCounts,
}

/// What a partition is doing.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[repr(u8)]
pub enum PartitionState {
    /// There is something to read, or it is not opened yet.
    Reading,
    /// The last poll found nothing; it holds the watermark back.
    Quiet,
    /// Polls have found nothing for so long that it does not hold the watermark back.
    Idle,
    /// Nothing comes of it any more.
    Finished,
}

impl PartitionState {
    /// The state in one word.
    pub fn name(self) -> &'static str {
        match self {
            Self::Reading => "reading",
            Self::Quiet => "quiet",
            Self::Idle => "idle",
            Self::Finished => "finished",
        }
    }
}

/// The counters of a partition.
#[derive(Debug)]
pub(crate) struct PartitionMetrics {
    name: PartitionName,
    /// A [`PartitionState`].
    state: AtomicU8,
    watermark: AtomicI64,
    pub(crate) rows: AtomicU64,
    pub(crate) invalid: InvalidCounters,
}

impl PartitionMetrics {
    pub(crate) fn stands(&self, state: PartitionState, watermark: Timestamp) {
        self.state.store(state as u8, Ordering::Relaxed);
        self.watermark.store(watermark.0, Ordering::Relaxed);
    }

    fn state(&self) -> PartitionState {
        use PartitionState::{Finished, Idle, Quiet, Reading};
        let stored = self.state.load(Ordering::Relaxed);
        [Reading, Quiet, Idle, Finished]
            .into_iter()
            .find(|state| *state as u8 == stored)
            .expect("only states are stored")
    }
}

/// The counters of an operator.
#[derive(Debug, Default)]
pub struct OperatorMetrics {
    /// Rows taken.
    pub rows_in: AtomicU64,
    /// Rows given, on all ports but dead letters.
    pub rows_out: AtomicU64,
    /// Rows that became dead letters or were skipped.
    pub rejected: AtomicU64,
    /// Of these, rows that were skipped.
    pub skipped: AtomicU64,
    /// Rows that were late for all their windows, or for their place in event-time order.
    pub late: AtomicU64,
    /// Rows that came late, but within the allowed lateness of a window.
    pub corrected: AtomicU64,
    /// Rows outside all windows.
    pub unassigned: AtomicU64,
    /// Of a join, the late rows of its left and its right side.
    pub late_sides: Option<[AtomicU64; 2]>,
    /// Whether it holds back what rows give until others have come: when a run ends before its input does, what it holds
    /// gives nothing.
    pub holds_rows: bool,
}

impl OperatorMetrics {
    /// Zeros for an operator.
    fn of(kind: &NodeKind) -> Self {
        let holds_rows = match kind {
            NodeKind::Window(_)
            | NodeKind::Content(_)
            | NodeKind::Keyed(_)
            | NodeKind::Join(_)
            | NodeKind::Deduplicate(_)
            | NodeKind::Top(_) => true,
            NodeKind::Source(_)
            | NodeKind::Transform(_)
            | NodeKind::Lookup(_)
            | NodeKind::Union
            | NodeKind::Split(_)
            | NodeKind::Sink(_) => false,
        };
        Self {
            late_sides: matches!(kind, NodeKind::Join(_)).then(<[AtomicU64; 2]>::default),
            holds_rows,
            ..Self::default()
        }
    }
}

/// The counters of a sink.
#[derive(Debug, Default)]
pub struct SinkMetrics {
    /// Rows written.
    pub rows: AtomicU64,
    /// Bytes written, before compression.
    pub bytes: AtomicU64,
    /// Rows that the format cannot express.
    pub rejected: AtomicU64,
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_slowest_of_thousands_of_partitions_are_those_that_hold_the_watermark_back() {
        let source = SourceMetrics::default();
        for number in 0..3000_i64 {
            let partition = source.add(PartitionName::new(format!("p{number:04}")));
            let state = match number {
                0..10 => PartitionState::Finished,
                10..30 => PartitionState::Idle,
                _ => PartitionState::Reading,
            };
            partition.stands(state, Timestamp(1_000 * number));
        }
        source.add(PartitionName::new("unopened"));
        let Partitions {
            slowest,
            count,
            idle,
            finished,
        } = source.partitions(3);
        assert_eq!((count, idle, finished), (3001, 20, 10));
        let shown: Vec<_> = slowest
            .iter()
            .map(|standing| (standing.name.as_str(), standing.watermark, standing.behind))
            .collect();
        let expect = [
            ("unopened", None, None),
            ("p0030", Some(Timestamp(30_000)), Some(Micros(2_969_000))),
            ("p0031", Some(Timestamp(31_000)), Some(Micros(2_968_000))),
        ];
        assert_eq!(shown, expect);
    }
}
