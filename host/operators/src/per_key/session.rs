//! Session windows, and global windows without a count: windows of one key that grow as its rows come.
//!
//! Rows less than a gap apart are in one session: one row can join two, and a batch can join many. A row at t is late
//! where t + allowed < W(r). What is not late comes before the session it belongs to is final, so the sessions depend on
//! the rows that are not late and on nothing else: not on the order in which they come, nor on cuts. A session is final
//! when the merged watermark reaches its end, the last row's time + gap, + allowed.
//!
//! A global window is a session whose gap has no end. It is final when the input has ended.
//!
//! State: an entry a session, by key and first time, with its cells; where these are large they are in parts
//! ([`super::parts`]). Sessions that become one take over each other's parts as they stand. Timers are set once for a
//! session's first end and moved on when they are due, so that rows that prolong a session do not touch them.

mod record;

use wasmill_core::batch::Batch;
use wasmill_core::fault::Fault;
use wasmill_core::key;
use wasmill_core::operator::{Emit, Step};
use wasmill_core::order::derived_place;
use wasmill_core::plan::{Early, EarlyWhen};
use wasmill_core::window::{Trigger, TriggerWhen};
use wasmill_state::Direction;

use self::record::Session;
use super::base::{Base, BatchKeys};
use super::cells::Cells;
use super::filling::Filling;
use super::parts::{Held, Names, Parts, Whole};
use super::results::{Content, Firing};
use super::rows::{Opened, Range};
use super::timers::{Timers, read_last_time};

/// The table of sessions.
const SESSIONS: u8 = 1;
/// The table of kept rows.
const ROWS: u8 = 2;
/// The table of parts.
const PARTS: u8 = 3;
/// The timers of event time, and those of processing time.
const EVENT_TIMERS: u8 = 0;
const CLOCK_TIMERS: u8 = 1;
/// When no early result is due; and when one is as soon as the time is known, and so long.
const NEVER: i64 = i64::MAX;
const UNKNOWN: i64 = i64::MIN;

/// Sessions, or global windows.
#[derive(Debug)]
pub(crate) struct Sessions {
    /// `None`: a global window.
    gap: Option<u64>,
    early: Option<EarlyWhen>,
    purge: bool,
    due: Timers,
    clock: Timers,
    next_wake: i64,
}

/// Rows of one batch and key that are together.
#[derive(Debug)]
struct Cluster {
    /// A row that has the key.
    row: u32,
    first: i64,
    last: i64,
    rows: u64,
}

impl Sessions {
    pub(crate) fn with_gap(gap: u64, early: Option<Early>) -> Self {
        Self::new(Some(gap), early.map(|early| early.when), false)
    }

    /// Global windows whose trigger, where there is one, is a time.
    pub(crate) fn global(trigger: Option<Trigger>) -> Self {
        let every = trigger.and_then(|trigger| match trigger.when {
            TriggerWhen::Every(every) => Some(EarlyWhen::Every(every)),
            TriggerWhen::Count(_) => None,
        });
        Self::new(None, every, trigger.is_some_and(|trigger| trigger.purge))
    }

    fn new(gap: Option<u64>, early: Option<EarlyWhen>, purge: bool) -> Self {
        Self {
            gap,
            early,
            purge,
            due: Timers::new(EVENT_TIMERS),
            clock: Timers::new(CLOCK_TIMERS),
            next_wake: NEVER,
        }
    }

    pub(crate) fn wake_at(&self) -> Option<i64> {
        (self.next_wake != NEVER).then_some(self.next_wake)
    }

    /// Takes a batch.
    pub(crate) fn batch(
        &mut self,
        batch: &Batch,
        base: &mut Base,
        filling: &mut Filling,
        out: &mut dyn Emit,
    ) -> Result<(), Fault> {
        let opened = Opened::new(batch);
        let keys = BatchKeys::of(batch, &base.key);
        let (mut late, mut on_time) = (Vec::new(), Vec::new());
        for (row, &time) in opened.times.iter().enumerate() {
            let last_chance = time.saturating_add_unsigned(base.allowed);
            let is_late = self.gap.is_some() && last_chance < base.judged(&opened, row);
            if is_late { &mut late } else { &mut on_time }.push(row as u32);
        }
        if let Some(EarlyWhen::Count(every)) = self.early {
            // Results come after every so many rows as they arrive, however they are cut.
            for row in on_time {
                for (key, first) in self.add(&opened, &keys, &[row], base, filling, out)? {
                    self.fire_counted(&key, first, every, base, filling, out)?;
                }
            }
            filling.flush(base, out)?;
        } else {
            self.add(&opened, &keys, &on_time, base, filling, out)?;
        }
        base.refuse_late(batch, &late, out)
    }

    /// Adds ascending rows. The sessions that hold them then, by key and first time.
    fn add(
        &mut self,
        opened: &Opened<'_>,
        keys: &BatchKeys,
        rows: &[u32],
        base: &mut Base,
        filling: &mut Filling,
        out: &mut dyn Emit,
    ) -> Result<Vec<(Vec<u8>, i64)>, Fault> {
        let (clusters, groups) = self.clusters(opened, keys, rows);
        let mut cells = None;
        if let Filling::Aggregates(results) = filling {
            let mut own = results.aggregates.cells();
            results.aggregates.grow(&mut own, clusters.len());
            let mut rejects = base.rejects(out);
            results
                .aggregates
                .update(&mut own, opened, rows, &groups, &mut rejects)?;
            cells = Some(own);
        }
        if filling.keep_rows() {
            let codec = base.rows.clone();
            for &row in rows {
                let start = base.at(ROWS, keys.get(row as usize));
                let judged = base.judged(opened, row as usize);
                codec.keep(&mut base.store, &start, opened, row as usize, judged)?;
            }
        }
        let mut touched = Vec::new();
        for (number, cluster) in clusters.iter().enumerate() {
            let key = keys.get(cluster.row as usize);
            let first = self.join(
                key,
                cluster,
                cells.as_mut().map(|cells| (cells, number as u32)),
                base,
                filling,
            )?;
            touched.push((key.to_vec(), first));
        }
        Ok(touched)
    }

    /// Rows that are together in a batch, and which of them each row is in.
    fn clusters(&self, opened: &Opened<'_>, keys: &BatchKeys, rows: &[u32]) -> (Vec<Cluster>, Vec<u32>) {
        let mut sorted: Vec<usize> = (0..rows.len()).collect();
        let order = |at: usize| {
            let row = rows[at] as usize;
            (keys.get(row), opened.times[row])
        };
        sorted.sort_by(|&a, &b| order(a).cmp(&order(b)));
        let mut clusters: Vec<Cluster> = Vec::new();
        let mut groups = vec![0; rows.len()];
        for at in sorted {
            let (key, time) = order(at);
            match clusters.last_mut() {
                Some(open) if keys.get(open.row as usize) == key && self.is_near(open.last, time) => {
                    open.last = time;
                    open.rows += 1;
                }
                _ => clusters.push(Cluster {
                    row: rows[at],
                    first: time,
                    last: time,
                    rows: 1,
                }),
            }
            groups[at] = clusters.len() as u32 - 1;
        }
        (clusters, groups)
    }

    /// Whether a row at `time` is together with one at `before`, which is not later.
    fn is_near(&self, before: i64, time: i64) -> bool {
        self.gap.is_none_or(|gap| time.abs_diff(before) < gap)
    }

    /// Puts a cluster and the sessions that it touches together. When the session begins.
    fn join(
        &mut self,
        key: &[u8],
        cluster: &Cluster,
        cells: Option<(&mut Cells, u32)>,
        base: &mut Base,
        filling: &mut Filling,
    ) -> Result<i64, Fault> {
        let start = base.at(SESSIONS, key);
        let touched = self.touched(&start, cluster, base)?;
        let mut session = Session {
            last: cluster.last,
            rows: cluster.rows,
            since: cluster.rows,
            results: 0,
            emitted: 0,
            timer: NEVER,
            wake: NEVER,
            before: Vec::new(),
            parts: Parts::default(),
            names: match touched.first() {
                Some((_, session)) => session.names.clone(),
                None => Names::of(cluster.first),
            },
        };
        let mut tails = Vec::new();
        let first = touched
            .first()
            .map_or(cluster.first, |(first, _)| cluster.first.min(*first));
        for (begin, mut other) in touched {
            let what = [key, &key::sortable_int(begin)].concat();
            session.last = session.last.max(other.last);
            session.rows += other.rows;
            session.since += other.since;
            session.results = session.results.max(other.results);
            session.emitted = session.emitted.max(other.emitted);
            session.before.extend(other.before);
            session.parts.absorb(&mut other.parts);
            tails.push(other.parts.take_tail());
            session.wake = match (session.wake, other.wake) {
                (UNKNOWN, wake) | (wake, UNKNOWN) if wake != NEVER => wake,
                (a, b) => a.min(b),
            };
            if other.wake != NEVER {
                self.clock.remove(&mut base.store, other.wake, &what)?;
            }
            if begin == first {
                session.timer = other.timer;
            } else {
                self.due.remove(&mut base.store, other.timer, &what)?;
                base.store.remove(&[&start[..], &key::sortable_int(begin)].concat())?;
            }
        }
        if let (Filling::Aggregates(results), Some((cells, group))) = (filling, cells) {
            let aggregates = &mut results.aggregates;
            for tail in tails.iter().filter(|tail| !tail.is_empty()) {
                aggregates.take_in(cells, group, false, tail)?;
            }
            let mut tail = Vec::new();
            aggregates.encode(cells, group, &mut tail);
            let (parts, at) = (&mut session.parts, base.at(PARTS, key));
            parts.put_tail(tail, &mut session.names, &at, aggregates, &mut base.store)?;
        }
        let what = [key, &key::sortable_int(first)].concat();
        if session.timer == NEVER {
            session.timer = self.due_at(&session, base);
            self.due.set(&mut base.store, session.timer, &what)?;
        }
        if let (Some(EarlyWhen::Every(_)), NEVER) = (self.early, session.wake) {
            session.wake = UNKNOWN;
        }
        self.set_wake(session.wake, &what, base)?;
        base.store
            .put(&[&start[..], &key::sortable_int(first)].concat(), &session.encode())?;
        Ok(first)
    }

    fn set_wake(&mut self, wake: i64, what: &[u8], base: &mut Base) -> Result<(), Fault> {
        if wake != NEVER {
            self.clock.set(&mut base.store, wake, what)?;
            self.next_wake = self.next_wake.min(wake);
        }
        Ok(())
    }

    /// The sessions that are less than the gap from a cluster, by time.
    fn touched(&self, start: &[u8], cluster: &Cluster, base: &Base) -> Result<Vec<(i64, Session)>, Fault> {
        let mut range = Range::all(start);
        if let Some(before) = self.gap.and_then(|gap| cluster.last.checked_add_unsigned(gap)) {
            range.to = [start, &key::sortable_int(before)].concat();
        }
        let mut touched = Vec::new();
        base.store.scan(range.span(), Direction::Backwards, |at, value| {
            let (_, first) = read_last_time(at)?;
            let session = Session::decode(value)?;
            if session.last < cluster.first && !self.is_near(session.last, cluster.first) {
                return Ok(std::ops::ControlFlow::Break(()));
            }
            touched.push((first, session));
            Ok(std::ops::ControlFlow::Continue(()))
        })?;
        touched.reverse();
        Ok(touched)
    }

    /// The first instant after a session.
    fn end(&self, session: &Session) -> i64 {
        session.last.saturating_add_unsigned(self.gap.unwrap_or(1))
    }

    /// When a session is final. All global windows are when the input has ended, in the order of their ends.
    fn due_at(&self, session: &Session, base: &Base) -> i64 {
        match self.gap {
            Some(_) => self.end(session).saturating_add_unsigned(base.allowed),
            None => self.end(session),
        }
    }

    /// Gives what is due at watermark `to`.
    pub(crate) fn watermark(
        &mut self,
        to: i64,
        slice_rows: usize,
        base: &mut Base,
        filling: &mut Filling,
        out: &mut dyn Emit,
    ) -> Result<Step, Fault> {
        if self.gap.is_none() && to < i64::MAX {
            return Ok(Step::Done);
        }
        let mut taken = 0;
        let step = loop {
            let Some(due) = self.due.first(&base.store, to)? else {
                break Step::Done;
            };
            if filling.take_full(slice_rows) || taken == slice_rows {
                break Step::More;
            }
            taken += 1;
            self.due.remove(&mut base.store, due.at, &due.what)?;
            let (key, first) = read_last_time(&due.what)?;
            let at = [&base.at(SESSIONS, key)[..], &key::sortable_int(first)].concat();
            let Some(session) = base.store.get(&at, Session::decode)?.transpose()? else {
                continue;
            };
            let really = self.due_at(&session, base);
            if really > due.at {
                self.due.set(&mut base.store, really, &due.what)?;
                let session = Session {
                    timer: really,
                    ..session
                };
                base.store.put(&at, &session.encode())?;
                continue;
            }
            // A global window that has told all it has at a trigger has nothing to add.
            let is_told = self.gap.is_none() && self.early.is_some() && session.since == 0;
            if is_told {
                self.give_up(&at, key, first, &session, base, filling)?;
            } else {
                let watermark = match (self.gap, self.early) {
                    (None, Some(_)) => really.saturating_sub(1).max(base.watermark),
                    _ => really.saturating_sub(1),
                };
                self.fire(&at, key, first, session, watermark, true, base, filling, out)?;
            }
        };
        filling.flush(base, out)?;
        Ok(step)
    }

    /// Gives early results that are due in processing time.
    pub(crate) fn clock(
        &mut self,
        now: i64,
        slice_rows: usize,
        base: &mut Base,
        filling: &mut Filling,
        out: &mut dyn Emit,
    ) -> Result<Step, Fault> {
        let mut taken = 0;
        let step = loop {
            let Some(due) = self.clock.first(&base.store, now)? else {
                break Step::Done;
            };
            if filling.take_full(slice_rows) || taken == slice_rows {
                break Step::More;
            }
            taken += 1;
            self.clock.remove(&mut base.store, due.at, &due.what)?;
            let (key, first) = read_last_time(&due.what)?;
            let at = [&base.at(SESSIONS, key)[..], &key::sortable_int(first)].concat();
            let Some(mut session) = base.store.get(&at, Session::decode)?.transpose()? else {
                continue;
            };
            if due.at == UNKNOWN {
                let Some(EarlyWhen::Every(every)) = self.early else {
                    continue;
                };
                session.wake = now.saturating_add_unsigned(every.0).min(NEVER - 1);
                self.clock.set(&mut base.store, session.wake, &due.what)?;
                base.store.put(&at, &session.encode())?;
                continue;
            }
            session.wake = NEVER;
            let watermark = self.end(&session).saturating_sub(1).max(base.watermark);
            self.fire(&at, key, first, session, watermark, self.purge, base, filling, out)?;
        };
        filling.flush(base, out)?;
        self.next_wake = self.clock.first(&base.store, i64::MAX)?.map_or(NEVER, |due| due.at);
        Ok(step)
    }

    fn fire_counted(
        &mut self,
        key: &[u8],
        first: i64,
        every: u64,
        base: &mut Base,
        filling: &mut Filling,
        out: &mut dyn Emit,
    ) -> Result<(), Fault> {
        let at = [&base.at(SESSIONS, key)[..], &key::sortable_int(first)].concat();
        let Some(session) = base.store.get(&at, Session::decode)?.transpose()? else {
            return Ok(());
        };
        if session.since < every {
            return Ok(());
        }
        let watermark = self.end(&session).saturating_sub(1).max(base.watermark);
        self.fire(&at, key, first, session, watermark, false, base, filling, out)
    }

    /// Gives a result; the last one of a session that is over then.
    #[expect(clippy::too_many_arguments, reason = "a result of a session depends on all of it")]
    fn fire(
        &mut self,
        at: &[u8],
        key: &[u8],
        first: i64,
        mut session: Session,
        watermark: i64,
        is_last: bool,
        base: &mut Base,
        filling: &mut Filling,
        out: &mut dyn Emit,
    ) -> Result<(), Fault> {
        let end = self.end(&session);
        let node = base.node().clone();
        let place = |index: u32| {
            let mut place = Vec::new();
            derived_place(&node, key, end, index, &mut place);
            place
        };
        let firing = Firing {
            key: key.to_vec(),
            start: first,
            end,
            time: end.saturating_sub(1),
            watermark,
            pane: session.results,
            place: place(session.results),
            rows: session.rows,
        };
        let content = Content {
            range: Range::of_times(&base.at(ROWS, key), first, session.last),
            before: None,
            stay: !is_last,
        };
        let parts_at = base.at(PARTS, key);
        let whole = Whole {
            first: &[],
            parts: &session.parts,
            at: &parts_at,
        };
        filling.fire(firing, Some(whole), content, base, out)?;
        if filling.retracting()
            && let Filling::Aggregates(results) = filling
        {
            let mut next = || {
                session.emitted += 1;
                place(session.emitted - 1)
            };
            let before = session.before.iter().map(|before| before.read(&parts_at, &base.store));
            let before: Vec<Vec<u8>> = before.collect::<Result<_, _>>()?;
            let bytes = results.retract(&before, &mut next, base, out)?;
            for before in std::mem::take(&mut session.before) {
                before.remove(&parts_at, &mut base.store)?;
            }
            let held = Held::new(bytes, &mut session.names, &parts_at, &mut base.store)?;
            session.before.push(held);
        }
        if is_last {
            return self.give_up(at, key, first, &session, base, filling);
        }
        session.results += 1;
        session.since = 0;
        let what = [key, &key::sortable_int(first)].concat();
        if session.wake != NEVER {
            self.clock.remove(&mut base.store, session.wake, &what)?;
            session.wake = NEVER;
        }
        base.store.put(at, &session.encode())
    }

    /// Forgets a session.
    fn give_up(
        &mut self,
        at: &[u8],
        key: &[u8],
        first: i64,
        session: &Session,
        base: &mut Base,
        filling: &mut Filling,
    ) -> Result<(), Fault> {
        let what = [key, &key::sortable_int(first)].concat();
        self.due.remove(&mut base.store, session.timer, &what)?;
        if session.wake != NEVER {
            self.clock.remove(&mut base.store, session.wake, &what)?;
        }
        base.store.remove(at)?;
        let parts_at = base.at(PARTS, key);
        session.parts.remove(&parts_at, &mut base.store)?;
        for before in &session.before {
            before.remove(&parts_at, &mut base.store)?;
        }
        if filling.keep_rows() {
            let range = Range::of_times(&base.at(ROWS, key), first, session.last);
            filling.forget(range, base)?;
        }
        Ok(())
    }

    /// Takes an entry that was saved: `entry` begins with its table.
    pub(crate) fn load(&mut self, entry: &[u8], value: &[u8], base: &mut Base) -> Result<(), Fault> {
        if entry.first() != Some(&SESSIONS) {
            return Ok(());
        }
        let session = Session::decode(value)?;
        let what = &entry[1..];
        self.due.set(&mut base.store, session.timer, what)?;
        self.set_wake(session.wake, what, base)
    }
}
