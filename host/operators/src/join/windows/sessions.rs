//! Sessions over the rows of both sides: per key, rows less than a gap apart are together.
//!
//! A row that comes may lengthen a session, begin one, or join two that were apart. A session is looked at when it would
//! have ended as it was at first; if it has grown since, it is looked at again when it ends now.

use std::ops::Bound;

use wasmill_core::fault::Fault;
use wasmill_core::key::sortable_int;
use wasmill_core::time::Micros;
use wasmill_state::{Direction, Span, Store};

use crate::codec::damaged;
use crate::stored::{Before, TIMED_HEAD_BYTES, between_times, keyed, read_time, time_of, timed};

/// The bytes of a session's first time at the end of its keys.
const FIRST_BYTES: usize = 8;

/// The sessions of all keys.
#[derive(Debug)]
pub(super) struct Sessions {
    table: u8,
    due: u8,
    gap: Micros,
}

/// A session that is due.
#[derive(Debug)]
pub(super) struct Session {
    pub(super) owner: Vec<u8>,
    pub(super) first: i64,
    pub(super) last: i64,
    /// The last row's time and the gap.
    pub(super) end: i64,
    /// The entry that tells of it.
    due_key: Vec<u8>,
}

impl Sessions {
    pub(super) fn new([table, due]: [u8; 2], gap: Micros) -> Self {
        Self { table, due, gap }
    }

    fn end(&self, last: i64) -> i64 {
        last.saturating_add_unsigned(self.gap.0)
    }

    /// A row of an owner is at `time`.
    pub(super) fn add(&self, time: i64, owner: &[u8], store: &mut Store) -> Result<(), Fault> {
        let mut start = Vec::new();
        keyed(self.table, owner, &mut start);
        let near = |a: i64, b: i64| a >= b || a.abs_diff(b) < self.gap.0;
        let before = find(&start, i64::MIN, time, Direction::Backwards, store)?;
        let after = match time.checked_add(1) {
            Some(next) => find(&start, next, i64::MAX, Direction::Forwards, store)?,
            None => None,
        };
        let (first, mut last) = match before {
            Some((first, last)) if near(last, time) => (first, last.max(time)),
            _ => (time, time),
        };
        if let Some((next, next_last)) = after
            && near(last, next)
        {
            last = last.max(next_last);
            store.remove(&[&start[..], &sortable_int(next)].concat())?;
        }
        if before.is_some_and(|known| known == (first, last)) {
            return Ok(());
        }
        store.put(&[&start[..], &sortable_int(first)].concat(), &sortable_int(last))?;
        if first == time {
            store.put(&self.due_key(self.end(time), owner, first), b"")?;
        }
        Ok(())
    }

    fn due_key(&self, at: i64, owner: &[u8], first: i64) -> Vec<u8> {
        let mut key = Vec::new();
        timed(self.due, at, owner, &mut key);
        key.extend(sortable_int(first));
        key
    }

    /// The session that ends first, where that is at or before `to`.
    pub(super) fn due(&self, to: i64, store: &mut Store) -> Result<Option<Session>, Fault> {
        let until = Before::new(self.due, i128::from(to) + 1);
        while let Some((due_key, _)) = store.first(until.span(), Direction::Forwards)? {
            let rest = &due_key[TIMED_HEAD_BYTES..];
            let (owner, first) = rest
                .split_last_chunk::<FIRST_BYTES>()
                .ok_or_else(|| damaged("a key is cut off"))?;
            let (at, first) = (time_of(&due_key)?, read_time(first)?);
            let mut key = Vec::new();
            keyed(self.table, owner, &mut key);
            key.extend(sortable_int(first));
            // Nothing is there where the session has become part of an earlier one.
            if let Some(last) = store.get(&key, read_time)? {
                let last = last?;
                let end = self.end(last);
                if end == at {
                    let owner = owner.to_vec();
                    return Ok(Some(Session {
                        owner,
                        first,
                        last,
                        end,
                        due_key,
                    }));
                }
                store.put(&self.due_key(end, owner, first), b"")?;
            }
            store.remove(&due_key)?;
        }
        Ok(None)
    }

    /// A session is done with.
    pub(super) fn remove(&self, session: &Session, store: &mut Store) -> Result<(), Fault> {
        let mut key = Vec::new();
        keyed(self.table, &session.owner, &mut key);
        key.extend(sortable_int(session.first));
        store.remove(&key)?;
        store.remove(&session.due_key)
    }
}

/// A session of an owner whose first row is between two times, both included: its first and its last row's time.
fn find(start: &[u8], least: i64, most: i64, direction: Direction, store: &Store) -> Result<Option<(i64, i64)>, Fault> {
    let mut bounds = [Vec::new(), Vec::new()];
    between_times(start, least, most, &mut bounds);
    let span = Span::Between(Bound::Included(&bounds[0]), Bound::Excluded(&bounds[1]));
    match store.first(span, direction)? {
        None => Ok(None),
        Some((key, value)) => Ok(Some((read_time(&key[start.len()..])?, read_time(&value)?))),
    }
}
