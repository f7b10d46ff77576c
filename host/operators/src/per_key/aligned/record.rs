//! What is known of a key and of a window with several results, as bytes.

use wasmill_core::fault::Fault;
use wasmill_core::window::WindowNumber;

use crate::codec::{damaged, put_count, put_signed, take_count, take_int64, take_signed, take_small};

/// What is known of a key.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(super) struct Known {
    /// The next window to give a result.
    pub(super) next: Option<WindowNumber>,
    /// When rows are looked through for those that no window needs; at other times they are with the next result.
    pub(super) clean: Option<i64>,
}

/// A window of a key that may have several results.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Several {
    pub(super) results: u32,
    pub(super) since: u64,
    pub(super) wake: i64,
}

impl Known {
    pub(super) fn encode(self) -> Vec<u8> {
        let mut out = Vec::new();
        out.push(u8::from(self.next.is_some()) | u8::from(self.clean.is_some()) << 1);
        if let Some(next) = self.next {
            put_signed(next, &mut out);
        }
        if let Some(clean) = self.clean {
            put_signed(clean.into(), &mut out);
        }
        out
    }

    pub(super) fn decode(from: &[u8]) -> Result<Self, Fault> {
        let (&flags, mut from) = from.split_first().ok_or_else(|| damaged("a key without bytes"))?;
        let next = if flags & 1 == 0 {
            None
        } else {
            Some(take_signed(&mut from)?)
        };
        let clean = if flags & 2 == 0 {
            None
        } else {
            Some(take_int64(&mut from)?)
        };
        Ok(Self { next, clean })
    }
}

impl Several {
    pub(super) fn encode(self) -> Vec<u8> {
        let mut out = Vec::new();
        put_count(self.results.into(), &mut out);
        put_count(self.since, &mut out);
        put_signed(self.wake.into(), &mut out);
        out
    }

    pub(super) fn decode(mut from: &[u8]) -> Result<Self, Fault> {
        Ok(Self {
            results: take_small(&mut from)?,
            since: take_count(&mut from)?,
            wake: take_int64(&mut from)?,
        })
    }
}

/// 16 bytes that compare as the number does.
pub(super) fn number_bytes(number: WindowNumber) -> [u8; 16] {
    (number as u128 ^ 1 << 127).to_be_bytes()
}

pub(super) fn read_number(bytes: &[u8]) -> Result<(WindowNumber, &[u8]), Fault> {
    let (number, rest) = bytes
        .split_first_chunk()
        .ok_or_else(|| damaged("a number is cut off"))?;
    Ok(((u128::from_be_bytes(*number) ^ 1 << 127) as i128, rest))
}

/// Takes a window's number off the end.
pub(super) fn split_number(bytes: &[u8]) -> Result<(&[u8], WindowNumber), Fault> {
    let (key, number) = bytes
        .split_last_chunk::<16>()
        .ok_or_else(|| damaged("a number is cut off"))?;
    Ok((key, read_number(number)?.0))
}
