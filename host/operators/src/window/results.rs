//! Which results each key's window has given, where results come at other times than when windows end.
//!
//! Early results and corrections at once count their results by key and window, so that a result says which it is, and
//! one that takes back another gives exactly the values given before. Plain windows keep none of this.

use std::collections::BTreeMap;

use foldhash::fast::FixedState;
use hashbrown::HashMap;
use wasmill_core::column::Scalar;
use wasmill_core::fault::Fault;
use wasmill_core::plan::{Early, EarlyWhen};
use wasmill_core::schema::DataType;
use wasmill_core::window::WindowNumber;

use crate::codec::{put_count, put_signed, put_value, take_count, take_flag, take_int64, take_value};
use crate::keys::KeyId;

/// A key's window.
pub(super) type KeyWindow = (WindowNumber, KeyId);

/// The results given so far.
#[derive(Debug)]
pub(crate) struct Results {
    pub(super) early: Option<Early>,
    /// Whether rows that come after their window's result correct it at once.
    pub(super) immediate: bool,
    by_window: BTreeMap<WindowNumber, HashMap<KeyId, Record, FixedState>>,
    /// Those whose processing time begins at the next tick of the clock.
    asked: Vec<KeyWindow>,
    /// When early results are due. What a record does not say any more is out of date.
    timers: BTreeMap<i64, Vec<KeyWindow>>,
}

/// What is known of one key's window.
#[derive(Clone, Debug, Default)]
pub(super) struct Record {
    /// How many results it has given.
    pub(super) results: u32,
    /// Rows since the last early one.
    rows: u64,
    pub(super) wake: Wake,
    /// The aggregates' columns of the last one, where it may be taken back.
    pub(super) last: Option<Box<[Scalar]>>,
}

/// When processing time asks for an early result.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(super) enum Wake {
    #[default]
    Never,
    /// So long after the next tick of the clock.
    Asked,
    At(i64),
}

impl Results {
    pub(super) fn new(early: Option<Early>, immediate: bool) -> Self {
        Self {
            early,
            immediate,
            by_window: BTreeMap::new(),
            asked: Vec::new(),
            timers: BTreeMap::new(),
        }
    }

    /// Whether anything is to be known of results.
    pub(super) fn tracks(&self) -> bool {
        self.early.is_some() || self.immediate
    }

    /// Whether a result takes the one before it back.
    pub(super) fn retracts(&self) -> bool {
        self.early.is_some_and(|early| early.retracting)
    }

    pub(super) fn record(&mut self, (window, id): KeyWindow) -> &mut Record {
        self.by_window.entry(window).or_default().entry(id).or_default()
    }

    /// One more row of an open window. Whether an early result is due.
    pub(super) fn count(&mut self, of: KeyWindow) -> bool {
        let Some(early) = self.early else {
            return false;
        };
        let record = self.record(of);
        match early.when {
            EarlyWhen::Count(rows) => {
                record.rows += 1;
                let due = record.rows >= rows;
                if due {
                    record.rows = 0;
                }
                due
            }
            EarlyWhen::Every(_) => {
                if record.wake == Wake::Never {
                    record.wake = Wake::Asked;
                    self.asked.push(of);
                }
                false
            }
        }
    }

    /// When the clock is to tick.
    pub(super) fn wake_at(&self) -> Option<i64> {
        if self.asked.is_empty() {
            self.timers.keys().next().copied()
        } else {
            Some(i64::MIN)
        }
    }

    /// The clock ticked: rows since the last tick came at `now`.
    pub(super) fn tick(&mut self, now: i64) {
        let Some(EarlyWhen::Every(every)) = self.early.map(|early| early.when) else {
            return;
        };
        let due = now.saturating_add_unsigned(every.0);
        for of in std::mem::take(&mut self.asked) {
            let record = self.by_window.get_mut(&of.0).and_then(|keys| keys.get_mut(&of.1));
            if let Some(record) = record
                && record.wake == Wake::Asked
            {
                record.wake = Wake::At(due);
                self.timers.entry(due).or_default().push(of);
            }
        }
    }

    /// Takes at most `count` windows, from `open` on, of which early results are due by `now`.
    pub(super) fn take_due(&mut self, now: i64, count: usize, open: WindowNumber) -> Vec<KeyWindow> {
        let mut due = Vec::new();
        while due.len() < count {
            let Some(mut entry) = self.timers.first_entry().filter(|entry| *entry.key() <= now) else {
                break;
            };
            let at = *entry.key();
            let Some(of) = entry.get_mut().pop() else {
                entry.remove();
                continue;
            };
            let record = self.by_window.get_mut(&of.0).and_then(|keys| keys.get_mut(&of.1));
            if let Some(record) = record
                && record.wake == Wake::At(at)
                && of.0 >= open
            {
                record.wake = Wake::Never;
                due.push(of);
            }
        }
        due
    }

    /// The first window that something is known of.
    pub(super) fn first_window(&self) -> Option<WindowNumber> {
        self.by_window.keys().next().copied()
    }

    /// Forgets a window, which gives no result any more.
    pub(super) fn forget(&mut self, window: WindowNumber) {
        self.by_window.remove(&window);
        self.asked.retain(|of| of.0 != window);
    }

    pub(super) fn size_bytes(&self) -> usize {
        let records: usize = self
            .by_window
            .values()
            .map(|keys| keys.capacity() * (size_of::<Record>() + 9))
            .sum();
        records
            + self
                .timers
                .values()
                .map(|due| due.capacity() * size_of::<KeyWindow>())
                .sum::<usize>()
    }

    /// Whether there is a record.
    pub(super) fn holds(&self, (window, id): KeyWindow) -> bool {
        self.by_window.get(&window).is_some_and(|keys| keys.contains_key(&id))
    }

    /// Takes all records out.
    pub(super) fn take_all(&mut self) -> impl Iterator<Item = (KeyWindow, Record)> {
        self.asked.clear();
        self.timers.clear();
        let by_window = std::mem::take(&mut self.by_window);
        by_window
            .into_iter()
            .flat_map(|(window, keys)| keys.into_iter().map(move |(id, record)| ((window, id), record)))
    }

    /// All records.
    pub(super) fn each(&self) -> impl Iterator<Item = (KeyWindow, &Record)> {
        self.by_window
            .iter()
            .flat_map(|(&window, keys)| keys.iter().map(move |(&id, record)| ((window, id), record)))
    }

    /// Takes a record that was saved.
    pub(super) fn put(&mut self, of: KeyWindow, record: Record) {
        match record.wake {
            Wake::Never => {}
            Wake::Asked => self.asked.push(of),
            Wake::At(due) => self.timers.entry(due).or_default().push(of),
        }
        *self.record(of) = record;
    }
}

impl Record {
    pub(super) fn encode(&self, out: &mut Vec<u8>) {
        put_count(self.results.into(), out);
        put_count(self.rows, out);
        match self.wake {
            Wake::Never => out.push(0),
            Wake::Asked => out.extend([1, 0]),
            Wake::At(due) => {
                out.extend([1, 1]);
                put_signed(due.into(), out);
            }
        }
        out.push(self.last.is_some().into());
        for value in self.last.iter().flatten() {
            put_value(value.as_value(), out);
        }
    }

    /// Reads a record whose result has columns of these types.
    pub(super) fn decode(types: &[DataType], from: &mut &[u8]) -> Result<Self, Fault> {
        let results = take_count(from)? as u32;
        let rows = take_count(from)?;
        let wake = if !take_flag(from)? {
            Wake::Never
        } else if take_flag(from)? {
            Wake::At(take_int64(from)?)
        } else {
            Wake::Asked
        };
        let last = if take_flag(from)? {
            Some(
                types
                    .iter()
                    .map(|&data_type| take_value(data_type, from))
                    .collect::<Result<_, _>>()?,
            )
        } else {
            None
        };
        Ok(Self {
            results,
            rows,
            wake,
            last,
        })
    }
}
