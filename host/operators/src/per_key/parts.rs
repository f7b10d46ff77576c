//! Cells that grow, as parts in the store.
//!
//! The cells of some aggregates grow with their rows, `array_agg`'s without end. Were they one value, each batch would
//! write all of them again. So what came last is the *tail*, which stands in the entry of whoever owns the cells, and what
//! was too much for a tail is an entry of its own, a *stored* part. Parts are put together when a result is due.
//!
//! Between results parts are put together in tiers, as runs of a log-structured tree are (O'Neil et al., "The log-structured
//! merge-tree", Acta Informatica 33, 1996): the youngest ones below a bound, when they come to it together, and bounds
//! are powers of [`FAN`]. So cells that grow are written once a tier, and of cells that do not, as those of a sketch are
//! not, there are few copies. The order of parts is that of their rows, where their owner adds them in that order.

use wasmill_core::fault::Fault;
use wasmill_core::key;
use wasmill_state::Store;

use super::cells::{Aggregates, Cells};
use crate::codec::{
    damaged, put_bytes, put_count, put_signed, take_bytes, take_count, take_flag, take_int64, take_length,
};

/// Up to so many bytes stand in the entry of their owner. Default 4 KiB.
pub(crate) const INLINE_BYTES_MAX: usize = 4 << 10;
/// A tier's parts are so many times as long as those of the tier below.
const FAN: u64 = 8;
/// Parts are put together to one of so many bytes at most, until a result is due. Default 256 MiB.
const PART_BYTES_MAX: u64 = 256 << 20;

/// An entry of a key's parts.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Stored {
    home: i64,
    number: u64,
    len: u64,
}

/// Names of a key's parts that were not given out.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(crate) struct Names {
    home: i64,
    next: u64,
}

/// The parts of cells, the earliest first.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(crate) struct Parts {
    stored: Vec<Stored>,
    /// Empty where there is none.
    tail: Vec<u8>,
}

/// Bytes that are written seldom and may be many.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) enum Held {
    Inline(Vec<u8>),
    Stored(Stored),
}

/// All cells of a result.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Whole<'p> {
    /// Those of the earliest rows; empty where all are in parts.
    pub(crate) first: &'p [u8],
    pub(crate) parts: &'p Parts,
    /// Where the key's parts stand.
    pub(crate) at: &'p [u8],
}

impl Stored {
    fn key(&self, at: &[u8]) -> Vec<u8> {
        [at, &key::sortable_int(self.home), &self.number.to_be_bytes()].concat()
    }

    fn read<T>(&self, at: &[u8], store: &Store, read: impl FnOnce(&[u8]) -> T) -> Result<T, Fault> {
        let found = store.get(&self.key(at), read)?;
        found.ok_or_else(|| damaged("a part of an aggregate is not there"))
    }

    fn remove(&self, at: &[u8], store: &mut Store) -> Result<(), Fault> {
        store.remove(&self.key(at))
    }

    fn encode(&self, out: &mut Vec<u8>) {
        put_signed(self.home.into(), out);
        put_count(self.number, out);
        put_count(self.len, out);
    }

    fn decode(from: &mut &[u8]) -> Result<Self, Fault> {
        Ok(Self {
            home: take_int64(from)?,
            number: take_count(from)?,
            len: take_count(from)?,
        })
    }
}

impl Names {
    /// Names that no other owner of the key's parts gives out.
    pub(crate) fn of(home: i64) -> Self {
        Self { home, next: 0 }
    }

    fn store(&mut self, bytes: &[u8], at: &[u8], store: &mut Store) -> Result<Stored, Fault> {
        let stored = Stored {
            home: self.home,
            number: self.next,
            len: bytes.len() as u64,
        };
        self.next += 1;
        store.put(&stored.key(at), bytes)?;
        Ok(stored)
    }

    pub(crate) fn encode(&self, out: &mut Vec<u8>) {
        put_signed(self.home.into(), out);
        put_count(self.next, out);
    }

    pub(crate) fn decode(from: &mut &[u8]) -> Result<Self, Fault> {
        Ok(Self {
            home: take_int64(from)?,
            next: take_count(from)?,
        })
    }
}

impl Parts {
    /// Cells that are in no store yet.
    pub(crate) fn of(tail: Vec<u8>) -> Self {
        Self {
            stored: Vec::new(),
            tail,
        }
    }

    pub(crate) fn is_empty(&self) -> bool {
        self.stored.is_empty() && self.tail.is_empty()
    }

    /// Takes the tail out, to be put back with more rows.
    pub(crate) fn take_tail(&mut self) -> Vec<u8> {
        std::mem::take(&mut self.tail)
    }

    /// Puts a tail of any length back, for as long as the parts are in memory only.
    pub(crate) fn set_tail(&mut self, tail: Vec<u8>) {
        self.tail = tail;
    }

    /// Puts a tail back, which was taken out before.
    pub(crate) fn put_tail(
        &mut self,
        tail: Vec<u8>,
        names: &mut Names,
        at: &[u8],
        aggregates: &mut Aggregates,
        store: &mut Store,
    ) -> Result<(), Fault> {
        if tail.len() <= INLINE_BYTES_MAX {
            self.tail = tail;
            return Ok(());
        }
        self.stored.push(names.store(&tail, at, store)?);
        self.settle(names, at, aggregates, store)
    }

    /// Takes in the stored parts of other cells, in any order. Their tail is left.
    pub(crate) fn absorb(&mut self, other: &mut Self) {
        self.stored.append(&mut other.stored);
        self.stored.sort_by_key(|part| std::cmp::Reverse(part.len));
    }

    /// Adds later cells of the same key, whose tail may have any length.
    pub(crate) fn append(
        &mut self,
        later: Self,
        names: &mut Names,
        at: &[u8],
        aggregates: &mut Aggregates,
        store: &mut Store,
    ) -> Result<(), Fault> {
        let tail = self.take_tail();
        if later.stored.is_empty() {
            let tail = if tail.is_empty() {
                later.tail
            } else {
                aggregates.merge_bytes(&tail, &later.tail)?
            };
            return self.put_tail(tail, names, at, aggregates, store);
        }
        if !tail.is_empty() {
            self.stored.push(names.store(&tail, at, store)?);
        }
        self.stored.extend(later.stored);
        self.settle(names, at, aggregates, store)?;
        self.put_tail(later.tail, names, at, aggregates, store)
    }

    /// Puts the youngest parts together where they have come to the next tier.
    fn settle(
        &mut self,
        names: &mut Names,
        at: &[u8],
        aggregates: &mut Aggregates,
        store: &mut Store,
    ) -> Result<(), Fault> {
        let mut bound = INLINE_BYTES_MAX as u64 * FAN;
        while bound <= PART_BYTES_MAX {
            let older = self.stored.iter().rposition(|part| part.len >= bound);
            let from = older.map_or(0, |last| last + 1);
            let young = &self.stored[from..];
            let bytes: u64 = young.iter().map(|part| part.len).sum();
            if young.len() > 1 && (bound..=PART_BYTES_MAX).contains(&bytes) {
                let mut cells = aggregates.cells();
                aggregates.grow(&mut cells, 1);
                let mut whole = Vec::new();
                for (number, part) in young.iter().enumerate() {
                    part.read(at, store, |bytes| aggregates.take_in(&mut cells, 0, number == 0, bytes))??;
                }
                aggregates.encode(&cells, 0, &mut whole);
                for part in self.stored.drain(from..) {
                    part.remove(at, store)?;
                }
                self.stored.push(names.store(&whole, at, store)?);
            }
            bound *= FAN;
        }
        Ok(())
    }

    /// Removes what is stored.
    pub(crate) fn remove(&self, at: &[u8], store: &mut Store) -> Result<(), Fault> {
        self.stored.iter().try_for_each(|part| part.remove(at, store))
    }

    pub(crate) fn encode(&self, out: &mut Vec<u8>) {
        put_count(self.stored.len() as u64, out);
        for part in &self.stored {
            part.encode(out);
        }
        put_bytes(&self.tail, out);
    }

    pub(crate) fn decode(from: &mut &[u8]) -> Result<Self, Fault> {
        let length = take_length(from)?;
        Ok(Self {
            stored: (0..length).map(|_| Stored::decode(from)).collect::<Result<_, _>>()?,
            tail: take_bytes(from)?.to_vec(),
        })
    }
}

impl Held {
    pub(crate) fn new(bytes: Vec<u8>, names: &mut Names, at: &[u8], store: &mut Store) -> Result<Self, Fault> {
        if bytes.len() <= INLINE_BYTES_MAX {
            return Ok(Self::Inline(bytes));
        }
        names.store(&bytes, at, store).map(Self::Stored)
    }

    pub(crate) fn read(&self, at: &[u8], store: &Store) -> Result<Vec<u8>, Fault> {
        match self {
            Self::Inline(bytes) => Ok(bytes.clone()),
            Self::Stored(stored) => stored.read(at, store, <[u8]>::to_vec),
        }
    }

    pub(crate) fn remove(&self, at: &[u8], store: &mut Store) -> Result<(), Fault> {
        match self {
            Self::Inline(_) => Ok(()),
            Self::Stored(stored) => stored.remove(at, store),
        }
    }

    pub(crate) fn encode(&self, out: &mut Vec<u8>) {
        match self {
            Self::Inline(bytes) => {
                out.push(0);
                put_bytes(bytes, out);
            }
            Self::Stored(stored) => {
                out.push(1);
                stored.encode(out);
            }
        }
    }

    pub(crate) fn decode(from: &mut &[u8]) -> Result<Self, Fault> {
        Ok(if take_flag(from)? {
            Self::Stored(Stored::decode(from)?)
        } else {
            Self::Inline(take_bytes(from)?.to_vec())
        })
    }
}

impl Whole<'_> {
    /// Puts all cells into an empty group, for which there is room.
    pub(crate) fn put_into(
        &self,
        aggregates: &mut Aggregates,
        cells: &mut Cells,
        group: u32,
        store: &Store,
    ) -> Result<(), Fault> {
        let mut is_first = true;
        let mut take_in = |bytes: &[u8]| {
            let done = aggregates.take_in(cells, group, is_first, bytes);
            is_first = false;
            done
        };
        if !self.first.is_empty() {
            take_in(self.first)?;
        }
        for part in &self.parts.stored {
            part.read(self.at, store, &mut take_in)??;
        }
        if !self.parts.tail.is_empty() {
            take_in(&self.parts.tail)?;
        }
        Ok(())
    }

    /// All cells as bytes.
    pub(crate) fn bytes(&self, aggregates: &mut Aggregates, store: &Store) -> Result<Vec<u8>, Fault> {
        let mut cells = aggregates.cells();
        aggregates.grow(&mut cells, 1);
        self.put_into(aggregates, &mut cells, 0, store)?;
        let mut bytes = Vec::new();
        aggregates.encode(&cells, 0, &mut bytes);
        Ok(bytes)
    }
}
