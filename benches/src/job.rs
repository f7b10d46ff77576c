//! Whole jobs, as `wasmill run` runs them: topology text, plan, runtime.

use std::num::NonZeroUsize;
use std::path::Path;
use std::sync::Arc;
use std::sync::atomic::Ordering;

use wasmill_component::Host;
use wasmill_connector_api::format::json::Json;
use wasmill_connector_api::registry::Registry;
use wasmill_connector_file as file;
use wasmill_core::clock::ManualClock;
use wasmill_core::plan::Plan;
use wasmill_core::time::Timestamp;
use wasmill_runtime::metrics::Metrics;
use wasmill_runtime::{Environment, Settings, Stop};

use crate::bids;
use crate::failure::Failure;
use crate::null;

/// A job that can be run again and again.
pub(crate) struct Job {
    plan: Plan,
    environment: Environment,
}

impl Job {
    /// Reads and checks a topology.
    pub(crate) fn new(text: &str, folder: &Path, workers: usize, components: Host) -> Result<Self, Failure> {
        let registry = Registry::new()
            .source::<file::Source>()
            .source::<bids::Source>()
            .sink::<file::Sink>()
            .sink::<null::Null>()
            .format::<Json>();
        let input = wasmill_topology::Input {
            text,
            name: "bench",
            folder,
            environment: &|_| None,
            overrides: &[],
            workers: NonZeroUsize::new(workers),
        };
        let checked = wasmill_topology::plan(&input, &registry, &components)?;
        Ok(Self {
            plan: checked.plan,
            environment: Environment {
                registry: Arc::new(registry),
                components,
                clock: Arc::new(ManualClock::new(Timestamp(0))),
                scratch: std::env::temp_dir().join(format!("wasmill-bench-{}", std::process::id())),
            },
        })
    }

    /// Runs it, and gives the number of rows that its sinks wrote.
    pub(crate) fn run(&self) -> u64 {
        let metrics = Metrics::of(&self.plan);
        let settings = Settings {
            metrics: Arc::clone(&metrics),
            stop: Stop::new(),
            stop_on_signals: false,
        };
        wasmill_runtime::run(self.plan.clone(), self.environment.clone(), &settings).expect("the job runs to its end");
        metrics
            .sinks
            .values()
            .map(|sink| sink.rows.load(Ordering::Relaxed))
            .sum()
    }
}
