//! What is due when, in the store.
//!
//! Timers stand in the order of what is due first; what they are for follows from the rest of their keys. They are an
//! index over other entries, so they are not saved: whoever loads those sets them again. No key group has the highest
//! number, under which they stand.

use std::ops::Bound;

use wasmill_core::fault::Fault;
use wasmill_core::id::KeyGroup;
use wasmill_core::key;
use wasmill_state::{Direction, Span, Store, layout};

use crate::codec::damaged;

/// Where the entries that are no state begin.
const INDEX: [u8; 2] = [0xff, 0xff];

/// Timers of one kind of time.
#[derive(Debug)]
pub(crate) struct Timers {
    table: u8,
}

/// A timer that is due.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Due {
    pub(crate) at: i64,
    /// What it is for.
    pub(crate) what: Vec<u8>,
}

impl Timers {
    pub(crate) fn new(table: u8) -> Self {
        Self { table }
    }

    fn key(&self, at: i64, what: &[u8]) -> Vec<u8> {
        let head = layout::of_table(KeyGroup(u16::from_be_bytes(INDEX)), self.table);
        [&head[..], &key::sortable_int(at), what].concat()
    }

    pub(crate) fn set(&self, store: &mut Store, at: i64, what: &[u8]) -> Result<(), Fault> {
        store.put(&self.key(at, what), &[])
    }

    pub(crate) fn remove(&self, store: &mut Store, at: i64, what: &[u8]) -> Result<(), Fault> {
        store.remove(&self.key(at, what))
    }

    /// The timer that is due first, where that is by `to`.
    pub(crate) fn first(&self, store: &Store, to: i64) -> Result<Option<Due>, Fault> {
        let head = layout::of_table(KeyGroup(u16::from_be_bytes(INDEX)), self.table);
        let mut due = None;
        store.scan(Span::Prefix(&head), Direction::Forwards, |key, _| {
            let (at, what) = read_time(&key[layout::HEAD_BYTES..])?;
            if at <= to {
                due = Some(Due {
                    at,
                    what: what.to_vec(),
                });
            }
            Ok(std::ops::ControlFlow::Break(()))
        })?;
        Ok(due)
    }
}

/// All entries that are state; waiting rows are none of them.
pub(crate) fn saved() -> Span<'static> {
    Span::Between(Bound::Unbounded, Bound::Excluded(&INDEX))
}

/// Reads a time that compares as bytes, and what follows it.
pub(crate) fn read_time(bytes: &[u8]) -> Result<(i64, &[u8]), Fault> {
    let (time, rest) = bytes.split_first_chunk().ok_or_else(|| damaged("a time is cut off"))?;
    Ok(((u64::from_be_bytes(*time) ^ 1 << 63) as i64, rest))
}

/// Takes a time that compares as bytes off the end.
pub(crate) fn read_last_time(bytes: &[u8]) -> Result<(&[u8], i64), Fault> {
    let (rest, time) = bytes
        .split_last_chunk::<8>()
        .ok_or_else(|| damaged("a time is cut off"))?;
    Ok((rest, read_time(time)?.0))
}
