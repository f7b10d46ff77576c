//! What is logged of failures that the operator's policy puts down to rows.
//!
//! Such a call is repeated with fewer rows until the one at fault is known, so most failures say nothing: what the guest
//! logged in them it logs again. The last one is logged, with the row's place and the guest's frames.

use wasmill_core::batch::Batch;
use wasmill_core::keyed::{KeyedCall, TIMER_SOURCE};
use wasmill_core::order;
use wasmill_core::time::Timestamp;

/// Whether a call that fails is made again with less.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(crate) enum Repeated {
    /// It is about one row, or no row may be blamed for it.
    #[default]
    No,
    /// Its lines are kept back where it fails.
    Yes,
}

impl Repeated {
    /// Of a call about so many rows or firings.
    pub(crate) const fn with_fewer(count: usize) -> Self {
        if count > 1 { Self::Yes } else { Self::No }
    }
}

/// The first row of a batch, as the log shows it.
pub(crate) fn row(batch: &Batch) -> String {
    let mut place = Vec::new();
    if let Some(order) = &batch.hidden().order {
        order.write(batch.base_row(0), &mut place);
    }
    match order::source_place(&place) {
        Some(place) => format!(
            "of source {}, partition {}, position {}",
            place.source, place.partition, place.position
        ),
        None => format!("of event time {}", Timestamp(batch.time(0))),
    }
}

/// The only event of a call.
pub(crate) fn event(call: &KeyedCall) -> String {
    match call.events.source.first() {
        Some(&TIMER_SOURCE) => {
            let due = call.timers.time.first().copied().unwrap_or_default();
            format!("a timer due at {}", Timestamp(due))
        }
        Some(&input) => row(&call.inputs[usize::from(input)]),
        None => "none".to_owned(),
    }
}
