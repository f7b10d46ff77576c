//! Starts the workers, steps them until the graph has ended or the generation is aborted, and takes them down.

use std::num::NonZeroUsize;
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::sync::Arc;
use std::thread;
use std::time::Duration;

use timely::{CommunicationConfig, WorkerConfig};

use wasmill_core::fault::{Domain, Fault};
use wasmill_core::id::Epoch;

use crate::abort::{Abort, Ending};
use crate::alarms::Alarms;
use crate::dataflow::{Dataflow, panic_text};
use crate::stamp::Stamp;

/// How the engine runs.
#[derive(Clone, Debug)]
pub struct Settings {
    /// Worker threads.
    pub workers: NonZeroUsize,
    /// Bytes that each producer may have on the way.
    pub credit_bytes: u64,
    /// The first epoch of this generation.
    pub first_epoch: Epoch,
    /// Processing time, and who is to be woken when. Of this generation only.
    pub alarms: Alarms,
}

/// Runs one generation to its end: builds the graph on each worker with `build`, and returns when every node has ended,
/// or the reason why it was aborted.
///
/// # Errors
/// The reason of the abort, or the first fault of a node or of `build`.
pub fn run<F>(settings: &Settings, abort: &Abort, build: F) -> Result<(), Ending>
where
    F: Fn(&mut Dataflow<'_>) -> Result<(), Fault> + Send + Sync + 'static,
{
    let alarms = &settings.alarms;
    alarms.begin();
    let going_off = alarms.clone();
    let thread = thread::Builder::new()
        .name("wasmill-alarms".to_owned())
        .spawn(move || going_off.run())
        .map_err(|error| {
            Ending::Failed(Fault::fatal(
                Domain::Internal,
                format!("the thread of the alarms could not be started: {error}"),
            ))
        })?;
    let ended = run_workers(settings, abort, build);
    alarms.end();
    if thread.join().is_err() {
        abort.end(Ending::Failed(Fault::fatal(
            Domain::Internal,
            "the thread of the alarms panicked",
        )));
    }
    ended?;
    abort.ending().map_or(Ok(()), Err)
}

/// Runs the workers to their end.
fn run_workers<F>(settings: &Settings, abort: &Abort, build: F) -> Result<(), Ending>
where
    F: Fn(&mut Dataflow<'_>) -> Result<(), Fault> + Send + Sync + 'static,
{
    let credit_bytes = settings.credit_bytes;
    let first_epoch = settings.first_epoch;
    let alarms = settings.alarms.clone();
    let config = timely::Config {
        communication: match settings.workers.get() {
            1 => CommunicationConfig::Thread,
            workers => CommunicationConfig::Process(workers),
        },
        worker: WorkerConfig::default().idle_spin(Duration::ZERO),
    };
    let shared = abort.clone();
    let build = Arc::new(build);
    let workers = timely::execute(config, move |worker| {
        let abort = shared.clone();
        abort.register();
        let outcome = catch_unwind(AssertUnwindSafe(|| {
            let built = worker.dataflow::<Stamp, _, _>(|scope| {
                build(&mut Dataflow {
                    scope,
                    abort: abort.clone(),
                    credit_bytes,
                    first_epoch,
                    alarms: alarms.clone(),
                })
            });
            if let Err(fault) = built {
                abort.end(Ending::Failed(fault));
            }
            while worker.has_dataflows() && !abort.is_set() {
                worker.step_or_park(None);
            }
        }));
        if let Err(panic) = outcome {
            let fault = Fault::fatal(Domain::Internal, format!("a worker panicked: {}", panic_text(&*panic)));
            abort.end(Ending::Failed(fault));
        }
        for dataflow in worker.installed_dataflows() {
            worker.drop_dataflow(dataflow);
        }
    });
    let workers = workers.map_err(|reason| {
        Ending::Failed(Fault::fatal(
            Domain::Internal,
            format!("the workers could not be started: {reason}"),
        ))
    })?;
    for worker in workers.join() {
        if let Err(reason) = worker {
            abort.end(Ending::Failed(Fault::fatal(
                Domain::Internal,
                format!("a worker ended badly: {reason}"),
            )));
        }
    }
    Ok(())
}
