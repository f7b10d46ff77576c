//! What travels on an edge: a batch with the ticket for its bytes. The container type of the dataflow.

use timely::container::Accountable;
use timely::dataflow::channels::ContainerBytes;

use wasmill_core::batch::Batch;

use crate::credit::Ticket;

/// A batch on its way; empty only where timely wants a placeholder.
#[derive(Clone, Debug, Default)]
pub(crate) struct Parcel(Option<(Batch, Option<Ticket>)>);

impl Parcel {
    pub(crate) fn new(batch: Batch, ticket: Option<Ticket>) -> Self {
        Self((!batch.is_empty()).then_some((batch, ticket)))
    }

    pub(crate) fn open(self) -> Option<(Batch, Option<Ticket>)> {
        self.0
    }

    pub(crate) fn take(&mut self) -> Option<(Batch, Option<Ticket>)> {
        self.0.take()
    }
}

impl Accountable for Parcel {
    fn record_count(&self) -> i64 {
        self.0
            .as_ref()
            .map_or(0, |(batch, _)| i64::try_from(batch.rows()).unwrap_or(i64::MAX))
    }
}

/// Parcels cross threads by reference. All workers share one process, so none is ever written as bytes.
impl ContainerBytes for Parcel {
    fn from_bytes(_: timely::bytes::arc::Bytes) -> Self {
        unreachable!("all workers share one process")
    }

    fn length_in_bytes(&self) -> usize {
        unreachable!("all workers share one process")
    }

    fn into_bytes<W: std::io::Write>(&self, _: &mut W) {
        unreachable!("all workers share one process")
    }
}
