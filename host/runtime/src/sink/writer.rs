//! The asynchronous side of a sink: one chunk after the other.

use std::sync::Arc;
use std::sync::atomic::Ordering;
use std::time::Duration;

use tokio::sync::mpsc;
use tokio::time::MissedTickBehavior;

use wasmill_connector_api::sink::{Chunk, Sink};
use wasmill_core::fault::Fault;
use wasmill_core::id::NodeId;
use wasmill_engine::{Ticket, Waker};

use crate::metrics::SinkMetrics;

/// Chunks on the way from a worker to its writer.
pub(crate) const CHUNKS_MAX: usize = 4;
/// How often what was written becomes visible, as far as the sink can show it.
const FLUSH_INTERVAL: Duration = Duration::from_secs(1);

/// What a worker tells its writer.
pub(crate) enum Message {
    /// Rows, and the tickets of the batches that they come from.
    Chunk(Chunk, Vec<Ticket>),
    /// The input has ended.
    Finish,
}

/// The worker's end.
pub(crate) type Messages = mpsc::Sender<Message>;

/// How a writer is told that the job ends early.
pub(crate) enum Early {
    /// Somebody stopped it: what was written is to be complete.
    Stopped,
    /// Something failed.
    Failed,
}

/// Writes what comes until the worker has finished, or is gone.
///
/// # Errors
/// The sink failed.
pub(crate) async fn write(
    node: NodeId,
    mut sink: Box<dyn Sink>,
    mut messages: mpsc::Receiver<Message>,
    waker: Waker,
    metrics: Arc<SinkMetrics>,
    early: impl Fn() -> Early,
) -> Result<(), Fault> {
    let mut flushes = tokio::time::interval(FLUSH_INTERVAL);
    flushes.set_missed_tick_behavior(MissedTickBehavior::Delay);
    let outcome = loop {
        let message = tokio::select! {
            message = messages.recv() => message,
            // Also while nothing comes: a part may be due by its age.
            _ = flushes.tick() => match sink.flush().await {
                Ok(()) => continue,
                Err(fault) => break Err(fault),
            },
        };
        match message {
            Some(Message::Chunk(chunk, tickets)) => {
                let (rows, bytes) = (chunk.ends.len() as u64, chunk.bytes.len() as u64);
                if let Err(fault) = sink.write(chunk).await {
                    break Err(fault);
                }
                metrics.rows.fetch_add(rows, Ordering::Relaxed);
                metrics.bytes.fetch_add(bytes, Ordering::Relaxed);
                drop(tickets);
                waker.wake();
            }
            Some(Message::Finish) => break sink.finish().await,
            None => {
                break match early() {
                    Early::Stopped => sink.finish().await,
                    Early::Failed => sink.flush().await,
                };
            }
        }
    };
    drop(messages);
    waker.wake();
    outcome.map_err(|fault| fault.at(&node))
}
