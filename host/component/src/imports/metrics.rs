//! The import `metrics`: declared in `open`, changed by calls, applied when the whole call was good.

use std::collections::BTreeMap;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use wasmill_core::id::NodeId;
use wasmtime::bail;

use crate::bindings::wasmill::operator::metrics::{Host, Kind};

/// Metrics that an operator may declare.
const METRICS_MAX: usize = 256;
/// Bytes of a metric's name or unit.
const NAME_BYTES_MAX: usize = 128;
/// Changes that one call may make.
const CHANGES_MAX: usize = 1 << 16;

/// What a metric counts as.
#[derive(Clone, Debug, PartialEq)]
pub enum MetricValue {
    /// A sum that only grows, over all subtasks.
    Counter(f64),
    /// What was said last, by any subtask.
    Gauge(f64),
    /// Observed values, over all subtasks.
    Histogram(Box<Histogram>),
}

/// Observed values in buckets that double.
#[derive(Clone, Debug, PartialEq)]
pub struct Histogram {
    /// How many.
    pub count: u64,
    /// Their sum.
    pub sum: f64,
    /// How many have the binary exponent `i - 32`: bucket i holds values up to 2^(i - 31). The first holds everything
    /// below, the last everything above.
    pub buckets: [u64; 64],
}

impl Default for Histogram {
    fn default() -> Self {
        Self {
            count: 0,
            sum: 0.0,
            buckets: [0; 64],
        }
    }
}

impl Histogram {
    fn observe(&mut self, value: f64) {
        self.count += 1;
        self.sum += value;
        let exponent = if value > 0.0 { value.log2().ceil() } else { f64::MIN };
        self.buckets[(exponent + 31.0).clamp(0.0, 63.0) as usize] += 1;
    }
}

/// A metric of an operator.
#[derive(Clone, Debug, PartialEq)]
pub struct Metric {
    /// Its unit, as the plugin wrote it.
    pub unit: String,
    /// Its value.
    pub value: MetricValue,
}

/// Metrics by operator and name.
pub type Metrics = BTreeMap<(NodeId, Arc<str>), Metric>;

/// The metrics of all operators. Shared by all subtasks.
#[derive(Clone, Debug, Default)]
pub struct MetricsRegistry(Arc<Mutex<Metrics>>);

impl MetricsRegistry {
    /// What the metrics are at this moment.
    pub fn snapshot(&self) -> Metrics {
        self.lock().clone()
    }

    fn lock(&self) -> MutexGuard<'_, Metrics> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Makes what an instance has declared known. Another kind than before is kept out: the first one stands.
    pub(crate) fn declare(&self, node: &NodeId, declared: &[Declared]) {
        let mut metrics = self.lock();
        for metric in declared {
            metrics
                .entry((node.clone(), Arc::clone(&metric.name)))
                .or_insert_with(|| metric.fresh());
        }
    }

    /// Applies the changes of a call.
    pub(crate) fn apply(&self, node: &NodeId, metrics: &mut CallMetrics) {
        if metrics.changes.is_empty() {
            return;
        }
        let mut all = self.lock();
        for (id, value) in metrics.changes.drain(..) {
            let declared = &metrics.declared[id as usize];
            let metric = all
                .entry((node.clone(), Arc::clone(&declared.name)))
                .or_insert_with(|| declared.fresh());
            match &mut metric.value {
                MetricValue::Counter(sum) => *sum += value,
                MetricValue::Gauge(last) => *last = value,
                MetricValue::Histogram(histogram) => histogram.observe(value),
            }
        }
    }
}

/// What an instance has declared.
#[derive(Debug)]
pub(crate) struct Declared {
    name: Arc<str>,
    unit: String,
    kind: Kind,
}

impl Declared {
    fn fresh(&self) -> Metric {
        Metric {
            unit: self.unit.clone(),
            value: match self.kind {
                Kind::Counter => MetricValue::Counter(0.0),
                Kind::Gauge => MetricValue::Gauge(0.0),
                Kind::Histogram => MetricValue::Histogram(Box::default()),
            },
        }
    }
}

/// What an instance may do with metrics at the moment.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(crate) enum Phase {
    /// `describe` runs: nothing.
    #[default]
    Describe,
    /// `open` runs: declare.
    Open,
    /// A call runs: update.
    Call,
}

/// The metrics of an instance, and the changes of the call that runs.
#[derive(Debug, Default)]
pub(crate) struct CallMetrics {
    pub(crate) phase: Phase,
    declared: Vec<Declared>,
    changes: Vec<(u32, f64)>,
}

impl CallMetrics {
    /// How many changes wait to be applied.
    pub(crate) fn changes(&self) -> usize {
        self.changes.len()
    }

    /// Drops the changes after the first so many.
    pub(crate) fn forget_after(&mut self, changes: usize) {
        self.changes.truncate(changes);
    }

    /// The changes, for another instance of the plugin.
    pub(crate) fn take_changes(&mut self) -> Vec<(u32, f64)> {
        std::mem::take(&mut self.changes)
    }

    /// Takes over the changes that another instance of the plugin made.
    pub(crate) fn adopt(&mut self, mut changes: Vec<(u32, f64)>) {
        changes.retain(|&(id, _)| (id as usize) < self.declared.len());
        self.changes = changes;
    }

    /// What `open` has declared.
    pub(crate) fn declared(&self) -> &[Declared] {
        &self.declared
    }
}

impl Host for CallMetrics {
    fn declare(&mut self, name: String, kind: Kind, unit: String) -> wasmtime::Result<u32> {
        if self.phase != Phase::Open {
            bail!("metrics are declared in `open` only");
        }
        if name.is_empty() || name.len() > NAME_BYTES_MAX || unit.len() > NAME_BYTES_MAX {
            bail!("a metric's name has 1 to {NAME_BYTES_MAX} bytes, its unit at most {NAME_BYTES_MAX}");
        }
        if self.declared.iter().any(|metric| *metric.name == *name) {
            bail!("metric \"{name}\" is declared twice");
        }
        if self.declared.len() == METRICS_MAX {
            bail!("more than {METRICS_MAX} metrics");
        }
        self.declared.push(Declared {
            name: name.into(),
            unit,
            kind,
        });
        Ok(self.declared.len() as u32 - 1)
    }

    fn update(&mut self, changes: Vec<(u32, f64)>) -> wasmtime::Result<()> {
        if self.phase != Phase::Call {
            bail!("metrics are updated while rows are processed only");
        }
        if self.changes.len() + changes.len() > CHANGES_MAX {
            bail!("more than {CHANGES_MAX} changes of metrics in one call");
        }
        for &(id, value) in &changes {
            let Some(metric) = self.declared.get(id as usize) else {
                bail!("metric {id} was not declared");
            };
            if !value.is_finite() || (matches!(metric.kind, Kind::Counter) && value < 0.0) {
                bail!("metric \"{}\" cannot take {value}", metric.name);
            }
        }
        self.changes.extend(changes);
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn opened() -> CallMetrics {
        let mut metrics = CallMetrics {
            phase: Phase::Open,
            ..CallMetrics::default()
        };
        for (name, kind) in [("c", Kind::Counter), ("g", Kind::Gauge), ("h", Kind::Histogram)] {
            metrics.declare(name.to_owned(), kind, "rows".to_owned()).unwrap();
        }
        metrics.phase = Phase::Call;
        metrics
    }

    #[test]
    fn changes_take_effect_when_they_are_applied() {
        let (registry, node) = (MetricsRegistry::default(), NodeId::new("n"));
        let mut metrics = opened();
        registry.declare(&node, metrics.declared());
        metrics
            .update(vec![(0, 2.0), (0, 3.0), (1, 7.0), (2, 3.0), (2, 0.0)])
            .unwrap();
        registry.apply(&node, &mut metrics);
        metrics.update(vec![(0, 100.0)]).unwrap();
        drop(metrics);

        let value = |name: &str| registry.snapshot()[&(node.clone(), name.into())].value.clone();
        assert_eq!(value("c"), MetricValue::Counter(5.0));
        assert_eq!(value("g"), MetricValue::Gauge(7.0));
        let MetricValue::Histogram(histogram) = value("h") else {
            panic!("a histogram")
        };
        assert_eq!((histogram.count, histogram.sum), (2, 3.0));
        assert_eq!((histogram.buckets[33], histogram.buckets[0]), (1, 1), "2 < 3 <= 4");
    }

    #[test]
    fn what_the_contract_forbids_is_an_error() {
        let mut metrics = opened();
        assert!(metrics.update(vec![(9, 1.0)]).is_err(), "not declared");
        assert!(metrics.update(vec![(0, -1.0)]).is_err(), "a counter falls");
        assert!(metrics.update(vec![(1, f64::NAN)]).is_err(), "no number");
        assert!(metrics.declare("x".into(), Kind::Gauge, String::new()).is_err(), "late");
        metrics.phase = Phase::Open;
        assert!(
            metrics.declare("c".into(), Kind::Gauge, String::new()).is_err(),
            "twice"
        );
        assert!(metrics.update(vec![(0, 1.0)]).is_err(), "too early");
    }
}
