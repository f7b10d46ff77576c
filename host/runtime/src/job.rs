//! Runs a job: starts the asynchronous side, runs the engine on the workers, joins both.

use std::num::NonZeroUsize;
use std::path::PathBuf;
use std::sync::{Arc, Mutex, PoisonError};
use std::thread::available_parallelism;
use std::time::Duration;

use tokio::runtime::{Builder, Handle};
use tokio::task::JoinHandle;
use tokio::time::timeout;

use wasmill_component::Host;
use wasmill_connector_api::registry::Registry;
use wasmill_core::clock::Clock;
use wasmill_core::fault::{Domain, Fault};
use wasmill_core::plan::Plan;
use wasmill_engine::Ending;

use crate::graph;
use crate::metrics::Metrics;
use crate::stop::Stop;

/// What a job needs of the binary that it runs in.
#[derive(Clone)]
pub struct Environment {
    /// The connectors and formats.
    pub registry: Arc<Registry>,
    /// Runs components.
    pub components: Host,
    /// Processing time.
    pub clock: Arc<dyn Clock>,
    /// The folder for working state on disk, where the topology names none.
    pub scratch: PathBuf,
}

/// How a job runs, beside what its plan says.
#[derive(Clone)]
pub struct Settings {
    /// Counts while the job runs.
    pub metrics: Arc<Metrics>,
    /// Stops the job.
    pub stop: Stop,
    /// Stop on SIGINT and SIGTERM.
    pub stop_on_signals: bool,
}

/// Why a job did not run to the end of its input.
#[derive(Clone, Debug, PartialEq, thiserror::Error)]
pub enum Failure {
    /// It was asked to stop. What the sinks had been given is written.
    #[error("stopped before the end of the input")]
    Stopped,
    /// Something failed.
    #[error("{0}")]
    Fault(Fault),
}

/// How long sources and sinks may take to end after the workers have.
const STOP_TIMEOUT: Duration = Duration::from_secs(30);

/// A signal counts as a second one from so long after the first.
const SECOND_SIGNAL_AFTER: Duration = Duration::from_millis(500);

/// Threads of the asynchronous side.
const IO_THREADS: usize = 2;

/// Runs a plan to the end of its input. Blocks.
///
/// # Errors
/// The job was stopped, or something failed; the sinks have flushed what they had been given.
pub fn run(plan: Plan, environment: Environment, settings: &Settings) -> Result<(), Failure> {
    let io = Builder::new_multi_thread()
        .worker_threads(IO_THREADS)
        .thread_name("wasmill-io")
        .enable_all()
        .build()
        .map_err(|error| internal(format!("the I/O threads could not be started: {error}")))?;
    let stop = settings.stop.clone();
    let tasks = Tasks::new(io.handle().clone());
    if settings.stop_on_signals {
        let stop = stop.clone();
        io.spawn(async move {
            if signalled().await {
                stop.stop();
            }
            // One request may reach the process twice: from the terminal, and from who started it.
            drop(timeout(SECOND_SIGNAL_AFTER, async { while signalled().await {} }).await);
            if signalled().await {
                stop.give_up();
            }
        });
    }
    let workers = plan
        .engine
        .workers
        .or_else(|| available_parallelism().ok())
        .unwrap_or(NonZeroUsize::MIN);
    let engine = graph::engine_settings(&plan, workers, &environment);
    let job = Arc::new(
        graph::Job::open(
            plan,
            environment,
            Arc::clone(&settings.metrics),
            stop.clone(),
            tasks.clone(),
        )
        .map_err(Failure::Fault)?,
    );
    let build = Arc::clone(&job);
    let ended = wasmill_engine::run(&engine, stop.abort(), move |dataflow| build.build(dataflow));
    // The graph is gone, and with it the writers' messages: they finish by themselves. Readers are told to.
    stop.end_waiting();
    let asynchronous = io.block_on(async {
        tokio::select! {
            joined = timeout(STOP_TIMEOUT, tasks.join()) => joined.unwrap_or_else(|_| Err(unfinished("in time"))),
            () = stop.given_up() => Err(unfinished("at the second signal")),
        }
    });
    // What still blocks, in a system outside, is left behind.
    io.shutdown_background();
    match (ended, asynchronous) {
        (Ok(()), Ok(())) => Ok(()),
        (Err(Ending::Failed(fault)), _) | (_, Err(fault)) => Err(Failure::Fault(fault)),
        (Err(Ending::Stopped), Ok(())) => Err(Failure::Stopped),
    }
}

fn internal(message: String) -> Failure {
    Failure::Fault(Fault::fatal(Domain::Internal, message))
}

fn unfinished(when: &str) -> Fault {
    Fault::fatal(
        Domain::External,
        format!("the sinks had not finished {when}; what they had not yet written is lost"),
    )
}

/// Waits for SIGINT or SIGTERM. False where signals cannot be waited for.
async fn signalled() -> bool {
    use tokio::signal::unix::{SignalKind, signal};
    let (Ok(mut interrupt), Ok(mut terminate)) = (signal(SignalKind::interrupt()), signal(SignalKind::terminate()))
    else {
        return false;
    };
    tokio::select! {
        received = interrupt.recv() => received.is_some(),
        received = terminate.recv() => received.is_some(),
    }
}

type Running = Vec<JoinHandle<Result<(), Fault>>>;

/// The asynchronous tasks of a job, joined at its end.
#[derive(Clone)]
pub(crate) struct Tasks {
    io: Handle,
    running: Arc<Mutex<Running>>,
}

impl Tasks {
    fn new(io: Handle) -> Self {
        Self {
            io,
            running: Arc::default(),
        }
    }

    /// Starts a task. Its fault ends the job.
    pub(crate) fn spawn(&self, stop: &Stop, task: impl Future<Output = Result<(), Fault>> + Send + 'static) {
        let stop = stop.clone();
        // A task of its own, so that a panic in it ends the job too.
        let inner = self.io.spawn(task);
        let handle = self.io.spawn(async move {
            let result = inner.await.unwrap_or_else(|error| {
                Err(Fault::fatal(
                    Domain::Internal,
                    format!("an I/O task ended badly: {error}"),
                ))
            });
            if let Err(fault) = &result {
                stop.abort().end(Ending::Failed(fault.clone()));
            }
            result
        });
        self.running.lock().unwrap_or_else(PoisonError::into_inner).push(handle);
    }

    /// No tasks, to be run by the same threads.
    pub(crate) fn apart(&self) -> Self {
        Self::new(self.io.clone())
    }

    /// The handle that runs them.
    pub(crate) fn io(&self) -> &Handle {
        &self.io
    }

    pub(crate) async fn join(&self) -> Result<(), Fault> {
        let running = std::mem::take(&mut *self.running.lock().unwrap_or_else(PoisonError::into_inner));
        let mut result = Ok(());
        for task in running {
            let done = task
                .await
                .map_err(|error| Fault::fatal(Domain::Internal, format!("an I/O task ended badly: {error}")))
                .and_then(|result| result);
            result = result.and(done);
        }
        result
    }
}
