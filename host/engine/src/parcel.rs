//! What travels on an edge: a batch with the ticket for its bytes, or the end. The container type of the dataflow.

use timely::container::Accountable;
use timely::dataflow::channels::ContainerBytes;

use wasmill_core::batch::Batch;
use wasmill_core::time::Timestamp;

use crate::credit::Ticket;

/// What is on its way on an edge.
#[derive(Clone, Debug, Default)]
#[expect(clippy::large_enum_variant, reason = "all but a few are batches")]
pub(crate) enum Parcel {
    /// Where timely wants a placeholder.
    #[default]
    Nothing,
    /// A batch.
    Batch(Batch, Option<Ticket>),
    /// A producer has sent its last, with its watermark then, to the worker of this number. The frontier alone does not
    /// tell that watermark: it may pass it and be gone in one step.
    End(Timestamp, u32),
}

/// What a reader finds in a parcel.
#[expect(clippy::large_enum_variant, reason = "all but a few are batches")]
pub(crate) enum Opened {
    /// A batch.
    Batch(Batch, Option<Ticket>),
    /// The last watermark of one of the producers.
    End(Timestamp),
}

impl Parcel {
    pub(crate) fn new(batch: Batch, ticket: Option<Ticket>) -> Self {
        if batch.is_empty() {
            Self::Nothing
        } else {
            Self::Batch(batch, ticket)
        }
    }

    pub(crate) fn open(self) -> Option<Opened> {
        match self {
            Self::Nothing => None,
            Self::Batch(batch, ticket) => Some(Opened::Batch(batch, ticket)),
            Self::End(last, _) => Some(Opened::End(last)),
        }
    }
}

impl Accountable for Parcel {
    fn record_count(&self) -> i64 {
        match self {
            Self::Nothing => 0,
            Self::Batch(batch, _) => i64::try_from(batch.rows()).unwrap_or(i64::MAX),
            Self::End(..) => 1,
        }
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
