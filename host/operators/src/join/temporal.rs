//! The temporal join: each left row with the version of the right side that was valid at its time.
//!
//! Rows come in event-time order, right rows before left rows of the same time, so the version of a key that is valid is
//! the one that came last, and only that is kept. In a changelog a row that takes another back ends the key's version.
//! Where versions may not be older than `within`, those that are leave.
//!
//! | table | key | value |
//! |---|---|---|
//! | versions | the owner | mark, t as the place's first eight bytes, place, values |
//! | versions by t, with `within` | t, the owner | |

use wasmill_core::fault::Fault;
use wasmill_core::key::sortable_int;
use wasmill_core::plan::JoinKind;
use wasmill_core::time::Micros;
use wasmill_state::{Direction, Page, Span};

use super::pairs::When;
use super::{Context, LEFT, RIGHT, Row};
use crate::stored::{Before, Kept, TIMED, TIMED_HEAD_BYTES, keyed, read_time, timed};

/// The table of versions.
const VERSIONS: u8 = 1;
/// The table of versions by their time.
const AGES: u8 = 2;
/// The first bytes of its entries.
pub(super) const TABLES: [u8; 2] = [VERSIONS, AGES | TIMED];
/// The bytes of a version's time before its place.
const TIME_BYTES: usize = 8;
/// Bytes of versions' keys that are read at once.
const PAGE_BYTES: usize = 1 << 20;

/// What a temporal join knows between calls, beside its store.
#[derive(Debug)]
pub(super) struct Temporal {
    kind: JoinKind,
    within: Option<Micros>,
    /// So many versions' keys are held at most while they are let go of.
    slice_rows: usize,
    page: Page,
    key: Vec<u8>,
    place: Vec<u8>,
    value: Vec<u8>,
}

impl Temporal {
    pub(super) fn new(kind: JoinKind, within: Option<Micros>, slice_rows: usize) -> Self {
        Self {
            kind,
            within,
            slice_rows,
            page: Page::default(),
            key: Vec::new(),
            place: Vec::new(),
            value: Vec::new(),
        }
    }

    /// Takes a row.
    pub(super) fn take(&mut self, row: Row<'_>, cx: &mut Context<'_>) -> Result<(), Fault> {
        match row.side {
            LEFT => self.join(&row, cx),
            _ if row.has_key => self.turn(&row, cx),
            _ => Ok(()),
        }
    }

    /// A left row meets the version of its key.
    fn join(&mut self, row: &Row<'_>, cx: &mut Context<'_>) -> Result<(), Fault> {
        let has_version = row.has_key && {
            keyed(VERSIONS, row.owner, &mut self.key);
            self.value.clear();
            let value = &mut self.value;
            cx.store
                .get(&self.key, |bytes| value.extend_from_slice(bytes))?
                .is_some()
        };
        let version = if has_version {
            Some(Kept::read(&self.value)?)
        } else {
            None
        };
        let version = match version {
            Some(version) => {
                let since = read_time(version.place)?;
                let age = row.time.abs_diff(since);
                self.within.is_none_or(|within| age <= within.0).then_some(version)
            }
            None => None,
        };
        let when = When {
            time: row.time,
            watermark: row.time,
            window: None,
        };
        match (self.kind, version) {
            (JoinKind::Inner | JoinKind::Left, Some(version)) => {
                let version = Kept {
                    place: &version.place[TIME_BYTES..],
                    ..version
                };
                cx.push_pair(LEFT, (*row).into(), version.into(), when)
            }
            (JoinKind::Semi, Some(_)) | (JoinKind::Left | JoinKind::Anti, None) => {
                cx.push_alone(LEFT, (*row).into(), when)
            }
            _ => Ok(()),
        }
    }

    /// A right row begins a version, or ends one.
    fn turn(&mut self, row: &Row<'_>, cx: &mut Context<'_>) -> Result<(), Fault> {
        if self.within.is_some() {
            keyed(VERSIONS, row.owner, &mut self.key);
            let since = cx.store.get(&self.key, |bytes| read_time(Kept::read(bytes)?.place))?;
            if let Some(since) = since {
                timed(AGES, since?, row.owner, &mut self.key);
                cx.store.remove(&self.key)?;
            }
        }
        keyed(VERSIONS, row.owner, &mut self.key);
        if !row.batch.kind(row.row).adds() {
            return cx.store.remove(&self.key);
        }
        self.place.clear();
        self.place.extend(sortable_int(row.time));
        self.place.extend_from_slice(row.place);
        self.value.clear();
        cx.inputs[RIGHT].keep(row.batch, row.row, 0, &self.place, &mut self.value);
        cx.store.put(&self.key, &self.value)?;
        if self.within.is_some() {
            timed(AGES, row.time, row.owner, &mut self.key);
            cx.store.put(&self.key, b"")?;
        }
        Ok(())
    }

    /// Lets go of versions that are too old for every row at or after `to`, and at the end of all.
    pub(super) fn expire(&mut self, to: i64, cx: &mut Context<'_>) -> Result<(), Fault> {
        if to == i64::MAX {
            cx.store.remove_range(Span::Prefix(&[VERSIONS]))?;
            return cx.store.remove_range(Before::new(AGES, i128::MAX).span());
        }
        let Some(within) = self.within else {
            return Ok(());
        };
        let old = Before::new(AGES, i128::from(to) - i128::from(within.0));
        let Self {
            page, key, slice_rows, ..
        } = self;
        loop {
            let more = cx
                .store
                .page(old.span(), Direction::Forwards, *slice_rows, PAGE_BYTES, page)?;
            for (age, _) in page.iter() {
                keyed(VERSIONS, &age[TIMED_HEAD_BYTES..], key);
                cx.store.remove(key)?;
                cx.store.remove(age)?;
            }
            if !more {
                return Ok(());
            }
        }
    }
}
