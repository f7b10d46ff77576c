//! How the entries of spilled windows stand in the store.
//!
//! | key | value |
//! |---|---|
//! | `01`, the first microsecond of a pane, the class of rows, the key | the rows' aggregates, without rows that are kept |
//! | `02`, the same, a number that ascends | kept rows |
//! | `03`, the window, the key | which results it has given |
//! | `04`, the window, the key | nothing: an early result is due so long after the clock's next tick |
//! | `05`, a processing time, the window, the key | nothing: when an early result is due |
//!
//! So what ends together stands together, in the order in which results come out. Values are those of saved entries
//! (`window::saved`). The last two are an index over the third: what that does not say is out of date.

use wasmill_core::fault::Fault;
use wasmill_core::key::sortable_int;
use wasmill_core::window::{Pane, WindowNumber};

use crate::codec::{damaged, put_signed};
use crate::window::late::Class;

pub(super) const CELLS: u8 = 1;
pub(super) const ROWS: u8 = 2;
pub(super) const RESULTS: u8 = 3;
pub(super) const ASKED: u8 = 4;
pub(super) const TIMERS: u8 = 5;

/// The bytes before the window in a timer.
pub(super) const TIMER_HEAD_BYTES: usize = 9;

/// The start of a pane's entries in a table.
pub(super) fn of_pane(table: u8, first: i64) -> Vec<u8> {
    [&[table][..], &sortable_int(first)].concat()
}

/// The start of the entries of a pane's rows of one class, into `out`. No class: those on time for each window.
/// How many bytes these are.
pub(super) fn of_class(table: u8, bounds: &Pane, class: Option<Class>, out: &mut Vec<u8>) -> usize {
    out.clear();
    out.push(table);
    out.extend(sortable_int(bounds.first));
    out.push(class.is_some().into());
    if let Some(class) = class {
        put_signed(class.admitted - bounds.windows.first, out);
        put_signed(class.on_time - bounds.windows.first, out);
    }
    out.len()
}

/// The start of a window's entries in a table.
pub(super) fn of_window(table: u8, window: WindowNumber) -> Vec<u8> {
    [&[table][..], &window_bytes(window)].concat()
}

/// A timer of processing time.
pub(super) fn timer(at: i64, window: WindowNumber, key: &[u8]) -> Vec<u8> {
    [&[TIMERS][..], &sortable_int(at), &window_bytes(window), key].concat()
}

/// The time of a timer.
pub(super) fn time_of(timer: &[u8]) -> Result<i64, Fault> {
    let bytes = timer.get(1..TIMER_HEAD_BYTES).and_then(|bytes| bytes.try_into().ok());
    let bytes = bytes.ok_or_else(|| damaged("a timer is cut off"))?;
    Ok((u64::from_be_bytes(bytes) ^ 1 << 63).cast_signed())
}

/// Reads a window, and the key after it.
pub(super) fn read_window(bytes: &[u8]) -> Result<(WindowNumber, &[u8]), Fault> {
    let (window, key) = bytes
        .split_first_chunk()
        .ok_or_else(|| damaged("a window is cut off"))?;
    Ok(((u128::from_be_bytes(*window) ^ 1 << 127).cast_signed(), key))
}

/// 16 bytes that compare as the window does.
fn window_bytes(window: WindowNumber) -> [u8; 16] {
    (window.cast_unsigned() ^ 1 << 127).to_be_bytes()
}
