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

/// An operator whose counters are published after each call.
pub(crate) struct Metered<O> {
    operator: O,
    counters: fn(&O) -> Counters,
    published: Counters,
    metrics: Arc<OperatorMetrics>,
}

impl<O: Operator> Metered<O> {
    pub(crate) fn new(operator: O, counters: fn(&O) -> Counters, metrics: Arc<OperatorMetrics>) -> Self {
        Self {
            operator,
            counters,
            published: Counters::default(),
            metrics,
        }
    }

    fn publish(&mut self) {
        let now = (self.counters)(&self.operator);
        let before = std::mem::replace(&mut self.published, now);
        let OperatorMetrics {
            rows_in,
            rows_out,
            rejected,
            late,
        } = &*self.metrics;
        for (total, now, before) in [
            (rows_in, now.rows_in, before.rows_in),
            (rows_out, now.rows_out, before.rows_out),
            (rejected, now.rejected, before.rejected),
            (late, now.late, before.late),
        ] {
            if now != before {
                total.fetch_add(now - before, Ordering::Relaxed);
            }
        }
    }
}

impl<O: Operator> Operator for Metered<O> {
    fn batch(&mut self, input: usize, batch: Batch, out: &mut dyn Emit) -> Result<(), Fault> {
        let result = self.operator.batch(input, batch, out);
        self.publish();
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
