//! What an operator has counted, for metrics.

/// Rows by what became of them, since the operator began.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Counters {
    /// Rows that came in.
    pub rows_in: u64,
    /// Rows that went out, over all ports but those of late rows and dead letters.
    pub rows_out: u64,
    /// Rows that became dead letters, or would have if there were a sink for them: invalid, or at fault. Late ones are
    /// counted as [`Self::late`] only.
    pub rejected: u64,
    /// Of the rejected rows, those without a sink that were skipped.
    pub skipped: u64,
    /// Rows that were late for all their windows, or for their place in event-time order, whatever became of them.
    pub late: u64,
    /// Rows that came late but within the allowed lateness of a window.
    pub corrected: u64,
    /// Rows outside all windows: where windows are shorter than the distance between them.
    pub unassigned: u64,
}
