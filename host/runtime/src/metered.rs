//! Carries an operator's counters over to the job's metrics, which all its subtasks share.

use std::sync::Arc;
use std::sync::atomic::Ordering;

use wasmill_core::batch::Batch;
use wasmill_core::fault::Fault;
use wasmill_core::id::KeyGroup;
use wasmill_core::operator::{Emit, Operator, Save, Step};
use wasmill_core::time::Timestamp;
use wasmill_operators::Counters;

use crate::metrics::OperatorMetrics;
use crate::operators::Counting;

/// An operator whose counters are published after each call.
pub(crate) struct Metered {
    operator: Box<dyn Counting>,
    published: Counters,
    metrics: Arc<OperatorMetrics>,
}

impl Metered {
    pub(crate) fn new(operator: Box<dyn Counting>, metrics: Arc<OperatorMetrics>) -> Self {
        Self {
            operator,
            published: Counters::default(),
            metrics,
        }
    }

    fn publish(&mut self) {
        let now = self.operator.counters();
        let before = std::mem::replace(&mut self.published, now);
        let OperatorMetrics {
            rows_in,
            rows_out,
            rejected,
            skipped,
            late,
            corrected,
            unassigned,
            late_sides: _,
            holds_rows: _,
        } = &*self.metrics;
        for (total, now, before) in [
            (rows_in, now.rows_in, before.rows_in),
            (rows_out, now.rows_out, before.rows_out),
            (rejected, now.rejected, before.rejected),
            (skipped, now.skipped, before.skipped),
            (late, now.late, before.late),
            (corrected, now.corrected, before.corrected),
            (unassigned, now.unassigned, before.unassigned),
        ] {
            if now != before {
                total.fetch_add(now - before, Ordering::Relaxed);
            }
        }
    }
}

impl Operator for Metered {
    fn batch(&mut self, input: usize, batch: Batch, out: &mut dyn Emit) -> Result<(), Fault> {
        let late = self.published.late;
        let result = self.operator.batch(input, batch, out);
        self.publish();
        // A row is judged when it comes.
        if let Some(sides) = &self.metrics.late_sides {
            sides[input].fetch_add(self.published.late - late, Ordering::Relaxed);
        }
        result
    }

    fn watermark(&mut self, to: Timestamp, out: &mut dyn Emit) -> Result<Step, Fault> {
        let result = self.operator.watermark(to, out);
        self.publish();
        result
    }

    fn wake_at(&self) -> Option<Timestamp> {
        self.operator.wake_at()
    }

    fn clock(&mut self, now: Timestamp, out: &mut dyn Emit) -> Result<Step, Fault> {
        let result = self.operator.clock(now, out);
        self.publish();
        result
    }

    fn save(&mut self, out: &mut dyn Save) -> Result<(), Fault> {
        self.operator.save(out)
    }

    fn load(&mut self, group: KeyGroup, key: &[u8], value: &[u8]) -> Result<(), Fault> {
        self.operator.load(group, key, value)
    }
}
