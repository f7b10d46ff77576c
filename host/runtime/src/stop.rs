//! Stopping a job from outside: a flag that asynchronous work can wait for.

use std::future::Future;
use std::time::Duration;

use tokio::sync::watch;

use wasmill_engine::{Abort, Ending};

/// Asks a running job to stop. Cheap to clone.
#[derive(Clone, Debug)]
pub struct Stop {
    flag: watch::Sender<bool>,
    /// Nobody waits for the sinks any more.
    given_up: watch::Sender<bool>,
    abort: Abort,
}

impl Stop {
    /// For one job.
    pub fn new() -> Self {
        Self {
            flag: watch::Sender::new(false),
            given_up: watch::Sender::new(false),
            abort: Abort::new(),
        }
    }

    /// Stops the job: sources read no more, sinks finish what they have been given.
    pub fn stop(&self) {
        self.abort.end(Ending::Stopped);
        self.flag.send_replace(true);
    }

    /// Ends the job at once: what sinks have not written is lost.
    pub fn give_up(&self) {
        self.given_up.send_replace(true);
    }

    pub(crate) async fn given_up(&self) {
        let mut flag = self.given_up.subscribe();
        // Cannot fail while `self` holds the sender.
        drop(flag.wait_for(|given_up| *given_up).await);
    }

    pub(crate) fn abort(&self) -> &Abort {
        &self.abort
    }

    /// The job has ended for another reason: asynchronous work is to end too.
    pub(crate) fn end_waiting(&self) {
        self.flag.send_replace(true);
    }

    pub(crate) fn stopping(&self) -> Stopping {
        Stopping(self.flag.subscribe())
    }
}

impl Default for Stop {
    fn default() -> Self {
        Self::new()
    }
}

/// The waiting side.
#[derive(Clone, Debug)]
pub(crate) struct Stopping(watch::Receiver<bool>);

impl Stopping {
    /// The work's result, or `None` if the job stops first.
    pub(crate) async fn or<T>(&self, work: impl Future<Output = T>) -> Option<T> {
        tokio::select! {
            biased;
            () = self.stopped() => None,
            result = work => Some(result),
        }
    }

    /// Whether the job stops within this time.
    pub(crate) async fn within(&self, time: Duration) -> bool {
        tokio::time::timeout(time, self.stopped()).await.is_ok()
    }

    /// Waits for the job to stop.
    pub(crate) async fn stopped(&self) {
        let mut flag = self.0.clone();
        // Fails where the sender is gone, and with it the job.
        drop(flag.wait_for(|stopped| *stopped).await);
    }
}
