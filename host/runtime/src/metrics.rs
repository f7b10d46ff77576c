//! What a running job counts, for progress lines and summaries. Counters only grow.

use std::collections::BTreeMap;
use std::sync::Arc;
use std::sync::atomic::{AtomicI64, AtomicU64, Ordering};

use wasmill_core::id::NodeId;
use wasmill_core::plan::{NodeKind, Plan};
use wasmill_core::time::Timestamp;

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
                _ => drop(metrics.operators.insert(id, Arc::default())),
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
    pub invalid: AtomicU64,
    /// The source's watermark, in microseconds.
    pub watermark: AtomicI64,
}

impl Default for SourceMetrics {
    fn default() -> Self {
        Self {
            read_bytes: AtomicU64::new(0),
            rows: AtomicU64::new(0),
            invalid: AtomicU64::new(0),
            watermark: AtomicI64::new(i64::MIN),
        }
    }
}

impl SourceMetrics {
    /// The source's watermark; `None` before the first row and after the last.
    pub fn watermark(&self) -> Option<Timestamp> {
        let watermark = self.watermark.load(Ordering::Relaxed);
        (watermark != i64::MIN && watermark != i64::MAX).then_some(Timestamp(watermark))
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
    /// Rows that were late for all their windows.
    pub late: AtomicU64,
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
