//! What is known of a session, as bytes, and how its cells are put together.

use std::borrow::Cow;

use wasmill_core::fault::Fault;

use crate::codec::{put_bytes, put_count, put_signed, take_bytes, take_count, take_int64, take_length};
use crate::per_key::cells::{Aggregates, Cells};
use crate::per_key::filling::Filling;

/// Cells up to this size are put together at once.
const SMALL_CELLS_BYTES: usize = 1_024;

/// The rows of one key that are together.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(super) struct Session {
    pub(super) last: i64,
    pub(super) rows: u64,
    /// Rows since the last result.
    pub(super) since: u64,
    /// How many results there were.
    pub(super) results: u32,
    /// How many rows have come out, those that took earlier ones back included.
    pub(super) emitted: u32,
    /// When the timer of event time is due: not after the session is final.
    pub(super) timer: i64,
    /// When an early result is due in processing time, or [`super::NEVER`], or [`super::UNKNOWN`].
    pub(super) wake: i64,
    /// The results that the next one takes back.
    pub(super) before: Vec<Vec<u8>>,
    /// The cells, those of most rows first.
    pub(super) parts: Vec<Part>,
}

/// The cells of some rows of a session.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Part {
    rows: u64,
    cells: Vec<u8>,
}

impl Part {
    /// Whether it is put together with cells of so many rows that come to it.
    fn takes(&self, rows: u64) -> bool {
        self.cells.len() <= SMALL_CELLS_BYTES || self.rows / 2 <= rows
    }
}

impl Session {
    pub(super) fn encode(&self) -> Vec<u8> {
        let mut out = Vec::new();
        put_signed(self.last.into(), &mut out);
        put_count(self.rows, &mut out);
        put_count(self.since, &mut out);
        put_count(self.results.into(), &mut out);
        put_count(self.emitted.into(), &mut out);
        put_signed(self.timer.into(), &mut out);
        put_signed(self.wake.into(), &mut out);
        put_count(self.before.len() as u64, &mut out);
        for before in &self.before {
            put_bytes(before, &mut out);
        }
        put_count(self.parts.len() as u64, &mut out);
        for part in &self.parts {
            put_count(part.rows, &mut out);
            put_bytes(&part.cells, &mut out);
        }
        out
    }

    pub(super) fn decode(mut from: &[u8]) -> Result<Self, Fault> {
        let from = &mut from;
        let last = take_int64(from)?;
        let (rows, since) = (take_count(from)?, take_count(from)?);
        let (results, emitted) = (take_count(from)? as u32, take_count(from)? as u32);
        let (timer, wake) = (take_int64(from)?, take_int64(from)?);
        let mut before = Vec::new();
        for _ in 0..take_length(from)? {
            before.push(take_bytes(from)?.to_vec());
        }
        let mut parts = Vec::new();
        for _ in 0..take_length(from)? {
            parts.push(Part {
                rows: take_count(from)?,
                cells: take_bytes(from)?.to_vec(),
            });
        }
        Ok(Self {
            last,
            rows,
            since,
            results,
            emitted,
            timer,
            wake,
            before,
            parts,
        })
    }
}

/// Puts a group's cells, of so many rows, to the parts of a session.
pub(super) fn add_cells(
    parts: &mut Vec<Part>,
    aggregates: &mut Aggregates,
    cells: &mut Cells,
    group: u32,
    mut rows: u64,
) -> Result<(), Fault> {
    parts.sort_by_key(|part| std::cmp::Reverse(part.rows));
    while let Some(part) = parts.pop_if(|part| part.takes(rows)) {
        let mut other = aggregates.cells();
        aggregates.grow(&mut other, 1);
        aggregates.decode(&mut other, 0, &mut &part.cells[..])?;
        aggregates.merge(cells, group, &other, 0)?;
        rows += part.rows;
    }
    let mut bytes = Vec::new();
    aggregates.encode(cells, group, &mut bytes);
    parts.push(Part { rows, cells: bytes });
    Ok(())
}

/// The cells of all parts together; nothing where there are none.
pub(super) fn whole<'p>(parts: &'p [Part], filling: &mut Filling) -> Result<Cow<'p, [u8]>, Fault> {
    let mut parts = parts.iter().rev();
    let first = parts.next().map_or(&[][..], |part| &part.cells);
    let mut whole = Cow::Borrowed(first);
    if let Filling::Aggregates(results) = filling {
        for part in parts {
            whole = Cow::Owned(results.aggregates.merge_bytes(&part.cells, &whole)?);
        }
    }
    Ok(whole)
}
