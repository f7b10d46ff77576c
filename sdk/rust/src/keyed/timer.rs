//! Timers: what an operator can set, and what is set while a call runs.

use std::collections::{BTreeMap, BTreeSet};

use crate::{
    bindings::state_types as wit,
    buffer::{self, BitBuilder},
};

/// The timers of an operator: an enum with [`#[derive(Timers)]`](macro@crate::Timers), or [`NoTimers`].
///
/// Each variant is a kind of timer. A key has at most one of a kind, or, where the variant holds an `i64`, one for each
/// number.
///
/// ```
/// use wasmill_sdk::prelude::*;
///
/// #[derive(Timers)]
/// enum Timer {
///     /// Of event time.
///     Silence,
///     /// One for each number.
///     Retry(i64),
///     /// Of the machine's time: not the same on every run.
///     #[timer(processing)]
///     Flush,
/// }
/// ```
#[diagnostic::on_unimplemented(
    message = "`{Self}` does not say which timers there are",
    label = "not a set of timers",
    note = "put `#[derive(Timers)]` on an enum with a variant for each kind of timer, or write `NoTimers`"
)]
pub trait Timers: Sized + 'static {
    /// The kinds, in the order of the variants.
    const KINDS: &'static [TimerSpec];
    /// The place of the kind, and the tag.
    fn id(&self) -> (u32, i64);
    /// The timer of an id.
    fn from_id(kind: u32, tag: i64) -> Option<Self>;
}

/// A kind of timer.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct TimerSpec {
    /// Its name.
    pub name: &'static str,
    /// Whether event time fires it; else the machine's.
    pub event: bool,
}

/// An operator without timers.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum NoTimers {}

impl Timers for NoTimers {
    const KINDS: &'static [TimerSpec] = &[];

    fn id(&self) -> (u32, i64) {
        match *self {}
    }

    fn from_id(_kind: u32, _tag: i64) -> Option<Self> {
        None
    }
}

/// The place of a kind, and a tag.
pub(super) type Id = (u32, i64);

/// A timer at its time. Timers of one time fire in the order of kind and tag.
pub(super) type Due = (i64, Id);

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Change {
    /// The host keeps it until then.
    Set(i64),
    /// It fires within the call; what the host has of it is void.
    Here(i64),
    Cancel,
}

/// What becomes of the timers of one key in a call.
#[derive(Debug, Default)]
pub(super) struct KeyTimers {
    until: i64,
    changes: BTreeMap<Id, Change>,
    pending: BTreeSet<Due>,
}

impl KeyTimers {
    /// Begins with another key.
    pub(super) fn begin(&mut self, until: i64) {
        self.until = until;
        debug_assert!(
            self.changes.is_empty() && self.pending.is_empty(),
            "the key before was ended"
        );
    }

    /// Sets a timer. One of event time is not due before `now`, and where it is due by `until` it fires within the call.
    pub(super) fn set(&mut self, id: Id, event: bool, at: i64, now: i64) {
        let at = if event { at.max(now) } else { at };
        let change = if event && at <= self.until {
            Change::Here(at)
        } else {
            Change::Set(at)
        };
        self.change(id, change);
        if let Change::Here(at) = change {
            self.pending.insert((at, id));
        }
    }

    pub(super) fn cancel(&mut self, id: Id) {
        self.change(id, Change::Cancel);
    }

    fn change(&mut self, id: Id, change: Change) {
        if let Some(Change::Here(at)) = self.changes.insert(id, change) {
            self.pending.remove(&(at, id));
        }
    }

    /// Whether a timer that the host gave as due was set or cancelled in this call before its turn came.
    #[inline]
    pub(super) fn is_void(&self, id: Id) -> bool {
        !self.changes.is_empty() && self.changes.contains_key(&id)
    }

    /// The next timer to fire within the call, if it comes before the bound.
    #[inline]
    pub(super) fn next_before(&mut self, before: impl FnOnce(Due) -> bool) -> Option<Due> {
        let due = *self.pending.first()?;
        if !before(due) {
            return None;
        }
        self.pending.pop_first();
        self.changes.insert(due.1, Change::Cancel);
        Some(due)
    }

    /// Ends the key: what the host has to know.
    pub(super) fn end(&mut self, key: u32, to: &mut Changes) {
        while let Some((id, change)) = self.changes.pop_first() {
            match change {
                Change::Set(at) => to.push(key, id, Some(at)),
                Change::Here(_) | Change::Cancel => to.push(key, id, None),
            }
        }
        self.pending.clear();
    }
}

/// What a call changes in timers, as columns.
#[derive(Debug, Default)]
pub(super) struct Changes {
    key: Vec<u8>,
    kind: Vec<u8>,
    tag: Vec<u8>,
    time: Vec<u8>,
    cancel: BitBuilder,
}

impl Changes {
    fn push(&mut self, key: u32, (kind, tag): Id, at: Option<i64>) {
        buffer::push(&mut self.key, key);
        buffer::push(&mut self.kind, kind);
        buffer::push(&mut self.tag, tag);
        buffer::push(&mut self.time, at.unwrap_or_default());
        self.cancel.push(at.is_none());
    }

    pub(super) fn into_wit(self) -> wit::TimerChanges {
        wit::TimerChanges {
            key: self.key,
            kind: self.kind,
            tag: self.tag,
            time: self.time,
            cancel: self.cancel.into_bytes(),
        }
    }
}
