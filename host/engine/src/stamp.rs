//! The timestamp of the dataflow: an epoch and a watermark, ordered as a product.
//!
//! The minimum of the first coordinate over an input's frontier is the checkpoint barrier, the minimum of the second the
//! event-time watermark. A tuple would be ordered lexicographically by timely, so this is a type of its own; its `Ord`
//! only canonicalises.

use serde::{Deserialize, Serialize};
use timely::order::PartialOrder;
use timely::progress::Timestamp;
use timely::progress::frontier::AntichainRef;
use timely::progress::timestamp::{PathSummary, Refines};

use wasmill_core::time::Timestamp as EventTime;

/// When a batch may still cause work: in this epoch or later, at this watermark or later.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
pub(crate) struct Stamp {
    /// The epoch.
    pub(crate) epoch: u64,
    /// The watermark in microseconds.
    pub(crate) watermark: i64,
}

impl Stamp {
    /// The start of everything.
    pub(crate) const MIN: Self = Self {
        epoch: 0,
        watermark: i64::MIN,
    };

    /// The watermark that a task with inputs at this stamp is told. The greatest of all is for the end alone: a source may
    /// promise it and still have something on the way.
    pub(crate) fn told(self) -> EventTime {
        EventTime(self.watermark.min(i64::MAX - 1))
    }

    /// The greatest stamp that is not after either.
    pub(crate) fn meet(self, other: Self) -> Self {
        Self {
            epoch: self.epoch.min(other.epoch),
            watermark: self.watermark.min(other.watermark),
        }
    }
}

impl PartialOrder for Stamp {
    fn less_equal(&self, other: &Self) -> bool {
        self.epoch <= other.epoch && self.watermark <= other.watermark
    }
}

/// What a path adds to a stamp. The dataflow has no cycles, so only nothing is ever added.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
pub(crate) struct Unchanged;

impl PartialOrder for Unchanged {
    fn less_equal(&self, _: &Self) -> bool {
        true
    }
}

impl PathSummary<Stamp> for Unchanged {
    fn results_in(&self, stamp: &Stamp) -> Option<Stamp> {
        Some(*stamp)
    }

    fn followed_by(&self, _: &Self) -> Option<Self> {
        Some(Self)
    }
}

impl Timestamp for Stamp {
    type Summary = Unchanged;

    fn minimum() -> Self {
        Self::MIN
    }
}

impl Refines<()> for Stamp {
    fn to_inner((): ()) -> Self {
        Self::MIN
    }

    fn to_outer(self) {}

    fn summarize(_: Unchanged) {}
}

/// The meet of a frontier; `None` where nothing can come any more.
pub(crate) fn meet(frontier: &AntichainRef<'_, Stamp>) -> Option<Stamp> {
    frontier.iter().copied().reduce(Stamp::meet)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn stamps_are_ordered_as_a_product() {
        let stamp = |epoch, watermark| Stamp { epoch, watermark };
        assert!(stamp(1, 5).less_equal(&stamp(1, 5)));
        assert!(!stamp(1, 5).less_equal(&stamp(2, 4)));
        assert!(!stamp(2, 4).less_equal(&stamp(1, 5)));
        assert_eq!(stamp(2, 4).meet(stamp(1, 5)), stamp(1, 4));
    }
}
