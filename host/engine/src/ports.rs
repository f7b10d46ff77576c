//! The outputs of a task, and the capability to send at a stamp.

use timely::dataflow::channels::pushers;
use timely::dataflow::operators::Capability;

use wasmill_core::batch::Batch;
use wasmill_core::time::Timestamp;

use crate::credit::Ticket;
use crate::parcel::Parcel;
use crate::stamp::Stamp;

/// The output ports of one task. All share one stamp: the earliest at which the task may still send.
pub(crate) struct Ports {
    outputs: Vec<pushers::Output<Stamp, Parcel>>,
    /// One per output; `None` when the task has sent its last.
    capabilities: Option<Vec<Capability<Stamp>>>,
    at: Stamp,
    /// The number of workers of the job: each is told of the end.
    workers: u32,
}

impl Ports {
    pub(crate) fn new(
        outputs: Vec<pushers::Output<Stamp, Parcel>>,
        capabilities: Vec<Capability<Stamp>>,
        workers: u32,
    ) -> Self {
        Self {
            workers,
            outputs,
            capabilities: Some(capabilities),
            at: Stamp::MIN,
        }
    }

    /// Sends a batch at the stamp that is held.
    pub(crate) fn send(&mut self, port: usize, batch: Batch, ticket: Option<Ticket>) {
        debug_assert!(
            batch.is_empty() || batch.watermark_min() >= self.at.watermark,
            "a batch's stamp is never above the W of its rows: {} < {}",
            batch.watermark_min(),
            self.at.watermark
        );
        let capabilities = self.capabilities.as_ref().expect("a task that has ended sends nothing");
        let mut parcel = Parcel::new(batch, ticket);
        self.outputs[port].activate().give(&capabilities[port], &mut parcel);
    }

    /// Promises to send nothing before `to` any more.
    pub(crate) fn advance(&mut self, to: Stamp) {
        if to == self.at {
            return;
        }
        self.at = to;
        for capability in self.capabilities.iter_mut().flatten() {
            capability.downgrade(&to);
        }
    }

    /// Leaves the epoch at this watermark, and tells every reader on every worker.
    pub(crate) fn leave_epoch(&mut self, cut: Timestamp) {
        let watermark = cut.0.max(self.at.watermark);
        self.advance(Stamp { watermark, ..self.at });
        let capabilities = self
            .capabilities
            .as_ref()
            .expect("a task that has ended leaves nothing");
        for (output, capability) in self.outputs.iter_mut().zip(capabilities) {
            for worker in 0..self.workers {
                let mut parcel = Parcel::Cut(Timestamp(watermark), worker);
                output.activate().give(capability, &mut parcel);
            }
        }
        let epoch = self.at.epoch + 1;
        self.advance(Stamp { epoch, watermark });
    }

    /// Sends to every reader on every worker that this task has ended, at the watermark that it holds, and nothing more.
    pub(crate) fn close(&mut self) {
        let Some(capabilities) = self.capabilities.take() else {
            return;
        };
        let last = Timestamp(self.at.watermark);
        for (output, capability) in self.outputs.iter_mut().zip(&capabilities) {
            for worker in 0..self.workers {
                output.activate().give(capability, &mut Parcel::End(last, worker));
            }
        }
    }

    pub(crate) fn is_closed(&self) -> bool {
        self.capabilities.is_none()
    }

    /// The earliest stamp at which the task may still send.
    pub(crate) fn at(&self) -> Stamp {
        self.at
    }
}
