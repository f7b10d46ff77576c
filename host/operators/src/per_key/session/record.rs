//! What is known of a session, as bytes.

use wasmill_core::fault::Fault;

use crate::codec::{put_count, put_signed, take_count, take_int64, take_length, take_small};
use crate::per_key::parts::{Held, Names, Parts};

/// The rows of one key that are together.
#[derive(Clone, Debug, PartialEq, Eq)]
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
    pub(super) before: Vec<Held>,
    /// The cells.
    pub(super) parts: Parts,
    /// What its parts are called. A session is at home where it began first, and no other that is open holds that time.
    pub(super) names: Names,
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
            before.encode(&mut out);
        }
        self.parts.encode(&mut out);
        self.names.encode(&mut out);
        out
    }

    pub(super) fn decode(mut from: &[u8]) -> Result<Self, Fault> {
        let from = &mut from;
        let last = take_int64(from)?;
        let (rows, since) = (take_count(from)?, take_count(from)?);
        let (results, emitted) = (take_small(from)?, take_small(from)?);
        let (timer, wake) = (take_int64(from)?, take_int64(from)?);
        let length = take_length(from)?;
        let before = (0..length).map(|_| Held::decode(from)).collect::<Result<_, _>>()?;
        Ok(Self {
            last,
            rows,
            since,
            results,
            emitted,
            timer,
            wake,
            before,
            parts: Parts::decode(from)?,
            names: Names::decode(from)?,
        })
    }
}
