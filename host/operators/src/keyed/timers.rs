//! Timers: what is pending, by key and by time.
//!
//! A timer is known by (key, kind, tag). Its time stands at `layout` table [`BY_KEY`] under the key; so that due ones are
//! found in the order (time, key, kind, tag) without looking at all, each has an entry in [`BY_TIME`], which is in no
//! group's order and is not saved. At the end of input rows are taken with the timers of their keys, by [`OF_KEY`].

use std::ops::{Bound, ControlFlow};

use wasmill_core::fault::{Domain, Fault};
use wasmill_core::key::{self, sortable_int};
use wasmill_core::keyed::TimeDomain;
use wasmill_core::operator::Save;
use wasmill_state::{Direction, Span, Store, layout};

use super::tables::{BY_KEY, BY_TIME, NO_GROUP, OF_KEY};

/// The kind and the tag after an encoded key.
const NAME_BYTES: usize = 4 + 8;
/// What stands before the time in [`BY_TIME`].
const HEAD_BYTES: usize = 4;

/// A pending timer, without its key.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(super) struct Timer {
    pub(super) time: i64,
    pub(super) kind: u32,
    pub(super) tag: i64,
}

/// Due timers in the order (time, key, kind, tag).
#[derive(Debug, Default)]
pub(super) struct Due {
    keys: Vec<u8>,
    /// Each timer, and where its key ends.
    timers: Vec<(Timer, usize)>,
    /// The time of the last timer, where there are more at or after it.
    pub(super) cut: Option<i64>,
}

impl Due {
    pub(super) fn len(&self) -> usize {
        self.timers.len()
    }

    pub(super) fn is_empty(&self) -> bool {
        self.timers.is_empty()
    }

    pub(super) fn timer(&self, at: usize) -> Timer {
        self.timers[at].0
    }

    /// The canonical bytes of a timer's key.
    pub(super) fn key(&self, at: usize) -> &[u8] {
        let start = if at == 0 { 0 } else { self.timers[at - 1].1 };
        &self.keys[start..self.timers[at].1]
    }

    /// Drops the timers after a time.
    pub(super) fn up_to(&mut self, time: i64) {
        let len = self.timers.partition_point(|(timer, _)| timer.time <= time);
        self.timers.truncate(len);
    }
}

/// The pending timers of an operator.
#[derive(Debug)]
pub(super) struct Timers {
    /// By kind.
    domains: Vec<TimeDomain>,
    groups: u16,
    /// How many are pending, event time and processing time.
    pending: [u64; 2],
    /// Whether [`OF_KEY`] is kept.
    has_index: bool,
    name: Vec<u8>,
}

/// Timers that are read at once when the index is made.
const INDEX_TIMERS: usize = 4_096;

impl Timers {
    pub(super) fn new(domains: Vec<TimeDomain>, groups: u16) -> Self {
        Self {
            domains,
            groups,
            pending: [0; 2],
            has_index: false,
            name: Vec::new(),
        }
    }

    pub(super) fn domain(&self, kind: u32) -> Option<TimeDomain> {
        self.domains.get(kind as usize).copied()
    }

    /// Whether timers of a domain are described at all.
    pub(super) fn knows(&self, domain: TimeDomain) -> bool {
        self.domains.contains(&domain)
    }

    /// Whether none is pending.
    pub(super) fn is_empty(&self, domain: TimeDomain) -> bool {
        self.pending[domain as usize] == 0
    }

    /// Sets a timer, or replaces it.
    pub(super) fn set(&mut self, store: &mut Store, key: &[u8], timer: Timer) -> Result<(), Fault> {
        self.cancel(store, key, timer.kind, timer.tag)?;
        self.put(store, key, timer)
    }

    fn put(&mut self, store: &mut Store, key: &[u8], timer: Timer) -> Result<(), Fault> {
        let domain = self.domains[timer.kind as usize];
        self.name(key, timer.kind, timer.tag);
        store.put(&self.name, &timer.time.to_le_bytes())?;
        store.put(&by_time(domain, key, timer), &[])?;
        if self.has_index && domain == TimeDomain::Event {
            store.put(&of_key(key, timer), &[])?;
        }
        self.pending[domain as usize] += 1;
        Ok(())
    }

    /// Cancels a timer. Whether it was pending.
    pub(super) fn cancel(&mut self, store: &mut Store, key: &[u8], kind: u32, tag: i64) -> Result<bool, Fault> {
        let domain = self.domains[kind as usize];
        if self.pending[domain as usize] == 0 {
            return Ok(false);
        }
        self.name(key, kind, tag);
        let Some(time) = store.get(&self.name, read_time)? else {
            return Ok(false);
        };
        let time = time?;
        store.remove(&self.name)?;
        let timer = Timer { time, kind, tag };
        store.remove(&by_time(domain, key, timer))?;
        if self.has_index && domain == TimeDomain::Event {
            store.remove(&of_key(key, timer))?;
        }
        self.pending[domain as usize] -= 1;
        Ok(true)
    }

    fn name(&mut self, key: &[u8], kind: u32, tag: i64) {
        layout::of_key(self.groups, BY_KEY, key, &mut self.name);
        self.name.extend(kind.to_be_bytes());
        self.name.extend(sortable_int(tag));
    }

    /// The first timers at or before a time, about `max` of them: those of one key and time stay together.
    pub(super) fn due(&self, store: &Store, domain: TimeDomain, to: i64, max: usize) -> Result<Due, Fault> {
        let mut due = Due::default();
        if self.is_empty(domain) {
            return Ok(due);
        }
        let start = head(domain);
        store.scan(Span::Prefix(&start), Direction::Forwards, |entry, _| {
            let (timer, key) = read_by_time(entry)?;
            if timer.time > to {
                return Ok(ControlFlow::Break(()));
            }
            if due.len() >= max {
                let last = due.len() - 1;
                if due.timer(last).time != timer.time || due.key(last) != key {
                    due.cut = Some(due.timer(last).time);
                    return Ok(ControlFlow::Break(()));
                }
            }
            due.keys.extend_from_slice(key);
            due.timers.push((timer, due.keys.len()));
            Ok(ControlFlow::Continue(()))
        })?;
        Ok(due)
    }

    /// Makes the index that [`Self::of_key`] reads. It is kept from then on.
    pub(super) fn index(&mut self, store: &mut Store) -> Result<(), Fault> {
        if std::mem::replace(&mut self.has_index, true) || self.is_empty(TimeDomain::Event) {
            return Ok(());
        }
        let start = head(TimeDomain::Event);
        let mut last = start.to_vec();
        loop {
            let mut entries: Vec<Vec<u8>> = Vec::new();
            let after = Span::Between(Bound::Excluded(&last), Bound::Unbounded);
            store.scan(after, Direction::Forwards, |entry, _| {
                if entries.len() == INDEX_TIMERS || !entry.starts_with(&start) {
                    return Ok(ControlFlow::Break(()));
                }
                entries.push(entry.to_vec());
                Ok(ControlFlow::Continue(()))
            })?;
            for entry in &entries {
                let (timer, key) = read_by_time(entry)?;
                store.put(&of_key(key, timer), &[])?;
            }
            match entries.pop() {
                Some(entry) => last = entry,
                None => return Ok(()),
            }
        }
    }

    /// A key's timers of event time at or before a time, in order. Only with an index.
    pub(super) fn of_key(&self, store: &Store, key: &[u8], to: i64) -> Result<Vec<Timer>, Fault> {
        debug_assert!(self.has_index, "the index was made before");
        let mut timers = Vec::new();
        if self.is_empty(TimeDomain::Event) {
            return Ok(timers);
        }
        let start = start_of_key(key);
        store.scan(Span::Prefix(&start), Direction::Forwards, |entry, _| {
            let (time, name) = entry[start.len()..].split_first_chunk::<8>().ok_or_else(damaged)?;
            let (kind, tag) = read_name(name)?;
            let time = unsortable(*time);
            if time > to {
                return Ok(ControlFlow::Break(()));
            }
            timers.push(Timer { time, kind, tag });
            Ok(ControlFlow::Continue(()))
        })?;
        Ok(timers)
    }

    /// The time of the first timer.
    pub(super) fn first_time(&self, store: &Store, domain: TimeDomain) -> Result<Option<i64>, Fault> {
        if self.is_empty(domain) {
            return Ok(None);
        }
        let start = head(domain);
        let first = store.first(
            Span::Between(Bound::Included(&start), Bound::Unbounded),
            Direction::Forwards,
        )?;
        first
            .filter(|(entry, _)| entry.starts_with(&start))
            .map(|(entry, _)| read_by_time(&entry).map(|(timer, _)| timer.time))
            .transpose()
    }

    /// Hands out all timers.
    pub(super) fn save(&self, store: &Store, out: &mut dyn Save) -> Result<(), Fault> {
        if self.pending == [0; 2] {
            return Ok(());
        }
        for domain in [TimeDomain::Event, TimeDomain::Processing] {
            store.scan(Span::Prefix(&head(domain)), Direction::Forwards, |entry, _| {
                let (timer, key) = read_by_time(entry)?;
                let group = key::group(key::hash(key), self.groups);
                let mut name = vec![BY_KEY];
                name.extend_from_slice(key);
                name.extend(timer.kind.to_be_bytes());
                name.extend(sortable_int(timer.tag));
                out.entry(group, &name, &timer.time.to_le_bytes())?;
                Ok(ControlFlow::Continue(()))
            })?;
        }
        Ok(())
    }

    /// Takes an entry that [`Self::save`] handed out, without its first byte.
    pub(super) fn load(&mut self, store: &mut Store, entry: &[u8], value: &[u8]) -> Result<(), Fault> {
        let (key, name) = entry.split_last_chunk::<NAME_BYTES>().ok_or_else(damaged)?;
        let (kind, tag) = read_name(name)?;
        if self.domain(kind).is_none() {
            return Err(damaged());
        }
        let time = read_time(value)?;
        self.put(store, key, Timer { time, kind, tag })
    }
}

fn head(domain: TimeDomain) -> [u8; HEAD_BYTES] {
    [NO_GROUP[0], NO_GROUP[1], BY_TIME, domain as u8]
}

fn by_time(domain: TimeDomain, key: &[u8], timer: Timer) -> Vec<u8> {
    let mut entry = Vec::with_capacity(HEAD_BYTES + 8 + key.len() + NAME_BYTES);
    entry.extend(head(domain));
    entry.extend(sortable_int(timer.time));
    entry.extend_from_slice(key);
    entry.extend(timer.kind.to_be_bytes());
    entry.extend(sortable_int(timer.tag));
    entry
}

fn start_of_key(key: &[u8]) -> Vec<u8> {
    [&NO_GROUP[..], &[OF_KEY], key].concat()
}

fn of_key(key: &[u8], timer: Timer) -> Vec<u8> {
    let mut entry = start_of_key(key);
    entry.extend(sortable_int(timer.time));
    entry.extend(timer.kind.to_be_bytes());
    entry.extend(sortable_int(timer.tag));
    entry
}

fn read_by_time(entry: &[u8]) -> Result<(Timer, &[u8]), Fault> {
    let (time, rest) = entry[HEAD_BYTES..].split_first_chunk::<8>().ok_or_else(damaged)?;
    let (key, name) = rest.split_last_chunk::<NAME_BYTES>().ok_or_else(damaged)?;
    let (kind, tag) = read_name(name)?;
    let time = unsortable(*time);
    Ok((Timer { time, kind, tag }, key))
}

fn read_name(name: &[u8]) -> Result<(u32, i64), Fault> {
    let (kind, tag) = name.split_first_chunk::<4>().ok_or_else(damaged)?;
    let tag: [u8; 8] = tag.try_into().map_err(|_| damaged())?;
    Ok((u32::from_be_bytes(*kind), unsortable(tag)))
}

fn read_time(value: &[u8]) -> Result<i64, Fault> {
    Ok(i64::from_le_bytes(value.try_into().map_err(|_| damaged())?))
}

/// The number of [`sortable_int`].
pub(super) fn unsortable(bytes: [u8; 8]) -> i64 {
    (u64::from_be_bytes(bytes) ^ 1 << 63) as i64
}

fn damaged() -> Fault {
    Fault::fatal(Domain::External, "a timer of the state is damaged")
}
