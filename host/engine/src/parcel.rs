//! What travels on an edge: a batch with the ticket for its bytes, or where a producer leaves an epoch or ends. The container type of the dataflow.

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
    /// A producer leaves the epoch of this parcel's stamp at this watermark: to the worker of this number.
    Cut(Timestamp, u32),
    /// A producer has sent its last, with its watermark then, to the worker of this number. The frontier alone does not
    /// tell that watermark: it may pass it and be gone in one step.
    End(Timestamp, u32),
}

impl Parcel {
    pub(crate) fn new(batch: Batch, ticket: Option<Ticket>) -> Self {
        if batch.is_empty() {
            Self::Nothing
        } else {
            Self::Batch(batch, ticket)
        }
    }
}

impl Accountable for Parcel {
    fn record_count(&self) -> i64 {
        match self {
            Self::Nothing => 0,
            Self::Batch(batch, _) => i64::try_from(batch.rows()).unwrap_or(i64::MAX),
            Self::Cut(..) | Self::End(..) => 1,
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
