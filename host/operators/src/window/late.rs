//! Which windows a row counts for, by its own watermark.

use wasmill_core::time::Micros;
use wasmill_core::window::{Assigner, Pane, Span, WindowNumber};

/// From which windows of their pane on rows count. Rows of one pane and class are in the same results.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Class {
    /// The first window that the row is not late for: it is in the corrections from here on.
    pub(crate) admitted: WindowNumber,
    /// The first window that the row is on time for: it is in the results from here on. May be after the pane's last.
    pub(crate) on_time: WindowNumber,
}

impl Class {
    /// Whether rows of this class are in the result of a window of their pane, or in its correction.
    pub(crate) fn counts(self, window: WindowNumber, correction: bool) -> bool {
        let from = if correction { self.admitted } else { self.on_time };
        from <= window
    }

    /// The windows of a pane of `windows` that rows of this class make a correction of necessary.
    pub(crate) fn owed(self, windows: Span) -> impl Iterator<Item = WindowNumber> {
        self.admitted..=windows.last.min(self.on_time - 1)
    }

    /// Whether rows of this class make a correction of a window of their pane necessary.
    pub(crate) fn corrects(self, window: WindowNumber) -> bool {
        self.admitted <= window && window < self.on_time
    }
}

/// How late a row is.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Lateness {
    /// On time for every window of its pane.
    OnTime,
    /// Late, or not on time, for some of them.
    Some(Class),
    /// Late for all.
    All,
}

/// Judges a row of `pane`, whose first window ends at `first_end`, that came at watermark `watermark`.
pub(crate) fn judge(assigner: &Assigner, allowed: Micros, pane: &Pane, first_end: i64, watermark: i64) -> Lateness {
    if watermark < first_end {
        return Lateness::OnTime;
    }
    if watermark == i64::MAX {
        // Every end has passed, those that saturate at the end of time too.
        return Lateness::All;
    }
    let on_time = assigner.first_ending_after(watermark, pane.windows);
    let admitted = if allowed == Micros::ZERO {
        on_time
    } else {
        // e + allowed > w, where nothing saturates, is e > w - allowed.
        assigner.first_ending_after(watermark.saturating_sub_unsigned(allowed.0), pane.windows)
    };
    if admitted > pane.windows.last {
        Lateness::All
    } else {
        Lateness::Some(Class { admitted, on_time })
    }
}
