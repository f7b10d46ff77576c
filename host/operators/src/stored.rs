//! What operators over event time keep in their stores: rows by time and by key, and indices over them.
//!
//! The key of an entry:
//!
//! | bytes | what |
//! |---|---|
//! | 1 | the table, an operator's own number; its highest bit says that a time follows |
//! | 8 | in timed tables: the time, sortable |
//! | 2 | the key group, big-endian |
//! | 4 | the lower half of the key's hash |
//! | any | the encoded key (`wasmill_core::key`) |
//! | any | what else tells the entry from others |
//!
//! Key group, hash and encoded key together are the entry's *owner*. The hash is there so that the first sixteen bytes of
//! an entry, which a store in memory compares at once, tell most owners apart. A timed table is read in the order of time, over all keys,
//! and is cut off at a time as one span. Rows of one time and place, as a diamond in the topology makes them, are told
//! apart by a serial number, which shows in no result.
//!
//! Everything here is saved as it stands, each entry in its key's group, and so is the watermark that the operator has
//! come to, once for each group.

pub(crate) mod building;
pub(crate) mod ordered;
pub(crate) mod panes;

use std::collections::BTreeSet;
use std::ops::{Bound, ControlFlow};

use wasmill_core::batch::{Batch, Slot};
use wasmill_core::column::Value;
use wasmill_core::fault::{Domain, Fault};
use wasmill_core::id::{KeyGroup, NodeId};
use wasmill_core::key::{self, sortable_int};
use wasmill_core::operator::{Emit, Save};
use wasmill_core::plan::{OnFault, Stream};
use wasmill_core::schema::{DataType, Schema};
use wasmill_core::time::Timestamp;
use wasmill_core::window::Late;
use wasmill_state::rows::{RowCodec, decode_bytes, encode_bytes};
use wasmill_state::{Direction, Span, Store};

use crate::codec::damaged;
use crate::counters::Counters;
use crate::dead_letters::DeadLetters;
use crate::waiting::judge;
use crate::waiting::late::Refusal;

/// The bit of a table's number that says that its entries stand in the order of time.
pub(crate) const TIMED: u8 = 0x80;
/// The table of rows that wait, which has its own layout; a second side's is one more.
pub(crate) const WAITING: u8 = 0x70;
/// What the watermark is saved as.
const WATERMARK: u8 = 0x7f;
/// Above all tables.
const END: [u8; 1] = [0xff];
/// Bytes before the owner in a table that is not timed.
pub(crate) const HEAD_BYTES: usize = 1;
/// Bytes before the owner in a timed table.
pub(crate) const TIMED_HEAD_BYTES: usize = 9;
/// Bytes of the key group at the start of an owner.
const GROUP_BYTES: usize = 2;
/// Bytes before the encoded key in an owner.
pub(crate) const OWNER_HEAD_BYTES: usize = 6;
/// Rows of an output batch at most, by default.
pub const SLICE_ROWS_DEFAULT: usize = 4_096;

/// What a subtask of an operator that keeps rows is given.
#[derive(Debug)]
pub struct Subtask {
    /// The operator.
    pub node: NodeId,
    /// Its state, empty.
    pub store: Store,
    /// The job's number of key groups.
    pub groups: u16,
    /// Bytes of rows that wait in memory at most; `usize::MAX` where the store is in memory.
    pub memory_bytes: usize,
    /// The port of dead letters, where the topology names a sink for them.
    pub dead_letters: Option<usize>,
    /// Rows that one call of `watermark` emits, about, and a batch has at most. Default [`SLICE_ROWS_DEFAULT`].
    pub slice_rows: usize,
}

impl Subtask {
    /// A subtask with its state in memory and every bound at its default.
    pub fn in_memory(node: NodeId, groups: u16) -> Self {
        Self {
            node,
            store: Store::memory(),
            groups,
            memory_bytes: usize::MAX,
            dead_letters: None,
            slice_rows: SLICE_ROWS_DEFAULT,
        }
    }

    /// What it does with rows that it cannot use.
    pub(crate) fn letters(&self) -> DeadLetters {
        DeadLetters {
            node: self.node.clone(),
            port: self.dead_letters,
            on_fault: OnFault::Skip,
        }
    }
}

/// An input of an operator that keeps its rows.
#[derive(Debug)]
pub(crate) struct Input {
    schema: Schema,
    key: Vec<usize>,
    key_types: Vec<DataType>,
    /// The columns that are kept, by place in the schema.
    pub(crate) fields: Vec<usize>,
    pub(crate) codec: RowCodec,
    groups: u16,
    late: Late,
    late_port: usize,
}

impl Input {
    /// An input whose rows belong to the key columns `key`, and of whose rows the columns `fields` are kept.
    pub(crate) fn new(
        stream: &Stream,
        key: &[usize],
        fields: Vec<usize>,
        groups: u16,
        (late, late_port): (Late, usize),
    ) -> Self {
        let type_of = |&column: &usize| stream.schema.fields()[column].data_type;
        Self {
            schema: stream.schema.clone(),
            key: key.to_vec(),
            key_types: key.iter().map(type_of).collect(),
            codec: RowCodec::new(fields.iter().map(type_of)),
            fields,
            groups,
            late,
            late_port,
        }
    }

    /// The rows of a batch that are on time. The late ones go where late rows go.
    ///
    /// # Errors
    /// The batch contradicts the merged watermark, `reached`.
    pub(crate) fn on_time(
        &self,
        batch: Batch,
        reached: i64,
        letters: &DeadLetters,
        counters: &mut Counters,
        out: &mut dyn Emit,
    ) -> Result<Batch, Fault> {
        counters.rows_in += batch.rows() as u64;
        if batch.watermark_min() < reached {
            let message = format!(
                "a batch came with watermark {} after the merged watermark reached {}",
                Timestamp(batch.watermark_min()),
                Timestamp(reached)
            );
            return Err(Fault::fatal(Domain::Internal, message));
        }
        let (mut late, mut on_time) = (Vec::new(), Vec::new());
        judge(&batch, &mut late, &mut on_time);
        if late.is_empty() {
            return Ok(batch);
        }
        let refusal = Refusal {
            late: self.late,
            port: self.late_port,
            letters,
            schema: &self.schema,
        };
        refusal.refuse(&batch, &late, counters, out)?;
        Ok(batch.select(&on_time))
    }

    /// A row's owner, into `out`. Whether no key column is null.
    pub(crate) fn owner(&self, batch: &Batch, row: usize, out: &mut Vec<u8>) -> bool {
        out.clear();
        out.extend([0; OWNER_HEAD_BYTES]);
        let mut whole = true;
        for &column in &self.key {
            let value = value_of(batch, column, row);
            whole &= value != Value::Null;
            key::encode(value, out);
        }
        let hash = key::hash(&out[OWNER_HEAD_BYTES..]);
        let group = key::group(hash, self.groups);
        out[..GROUP_BYTES].copy_from_slice(&group.0.to_be_bytes());
        out[GROUP_BYTES..OWNER_HEAD_BYTES].copy_from_slice(&(hash as u32).to_be_bytes());
        whole
    }

    /// Appends a row as it is kept: a mark of the operator's own, the place, the values.
    pub(crate) fn keep(&self, batch: &Batch, row: usize, mark: u8, place: &[u8], out: &mut Vec<u8>) {
        out.push(mark);
        encode_bytes(place, out);
        let values = self.fields.iter().map(|&column| value_of(batch, column, row));
        self.codec.encode_values(values, out);
    }

    /// Whether no column of an encoded key is null.
    ///
    /// # Errors
    /// It is no key of this input.
    pub(crate) fn is_whole_key(&self, key: &[u8]) -> Result<bool, Fault> {
        let mut rest = key;
        let mut whole = true;
        for data_type in &self.key_types {
            whole &= rest.first() != Some(&0);
            skip(*data_type, &mut rest).ok_or_else(|| damaged("a key is cut off"))?;
        }
        Ok(whole)
    }
}

/// Takes an encoded value off the front.
fn skip(data_type: DataType, bytes: &mut &[u8]) -> Option<()> {
    let (there, mut rest) = bytes.split_first()?;
    if *there != 0 {
        let len = match data_type {
            DataType::Boolean => 1,
            DataType::Int64 | DataType::Timestamp | DataType::Float64 => 8,
            DataType::Utf8 | DataType::Binary | DataType::Json => {
                let mut at = 0;
                loop {
                    at += rest.get(at..)?.iter().position(|&byte| byte == 0)? + 2;
                    if *rest.get(at - 1)? != 0xff {
                        break at;
                    }
                }
            }
        };
        rest = rest.get(len..)?;
    }
    *bytes = rest;
    Some(())
}

/// A row's place, into `out`; nothing where the stream carries none.
pub(crate) fn place_of(batch: &Batch, row: usize, out: &mut Vec<u8>) {
    out.clear();
    if let Some(order) = &batch.hidden().order {
        order.write(batch.base_row(row), out);
    }
}

/// The value of a logical row in a column that the plan asked for.
pub(crate) fn value_of(batch: &Batch, column: usize, row: usize) -> Value<'_> {
    match &batch.slots()[column] {
        Slot::Base(values) => values.value(batch.base_row(row)),
        Slot::Dense(values) => values.value(row),
        Slot::Absent => panic!("column {column} was not asked for by the plan"),
    }
}

/// A row as it is kept.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Kept<'a> {
    pub(crate) mark: u8,
    pub(crate) place: &'a [u8],
    /// By the input's codec.
    pub(crate) values: &'a [u8],
}

impl<'a> Kept<'a> {
    /// Reads what [`Input::keep`] wrote.
    pub(crate) fn read(bytes: &'a [u8]) -> Result<Self, Fault> {
        let (&mark, mut rest) = bytes.split_first().ok_or_else(|| damaged("a row is empty"))?;
        let place = decode_bytes(&mut rest)?;
        Ok(Self {
            mark,
            place,
            values: rest,
        })
    }
}

/// The start of an entry's key in a table that is not timed: into `out`, which is emptied first.
pub(crate) fn keyed(table: u8, owner: &[u8], out: &mut Vec<u8>) {
    out.clear();
    out.push(table);
    out.extend_from_slice(owner);
}

/// The start of an entry's key in a timed table: into `out`, which is emptied first.
pub(crate) fn timed(table: u8, time: i64, owner: &[u8], out: &mut Vec<u8>) {
    out.clear();
    out.push(table | TIMED);
    out.extend(sortable_int(time));
    out.extend_from_slice(owner);
}

/// The time of an entry of a timed table.
pub(crate) fn time_of(entry: &[u8]) -> Result<i64, Fault> {
    read_time(entry.get(HEAD_BYTES..).unwrap_or_default())
}

/// The time at the start of bytes.
pub(crate) fn read_time(bytes: &[u8]) -> Result<i64, Fault> {
    let bytes = bytes.first_chunk().ok_or_else(|| damaged("a time is cut off"))?;
    Ok((u64::from_be_bytes(*bytes) ^ 1 << 63) as i64)
}

/// The span of the entries of a timed table before `limit`, which may be beyond the ends of time.
#[derive(Debug)]
pub(crate) struct Before {
    from: [u8; HEAD_BYTES],
    to: Vec<u8>,
}

impl Before {
    pub(crate) fn new(table: u8, limit: i128) -> Self {
        let from = [table | TIMED];
        let mut to = from.to_vec();
        match i64::try_from(limit) {
            Ok(limit) => to.extend(sortable_int(limit)),
            Err(_) if limit < 0 => {}
            Err(_) => to[0] += 1,
        }
        Self { from, to }
    }

    pub(crate) fn span(&self) -> Span<'_> {
        Span::Between(Bound::Included(&self.from), Bound::Excluded(&self.to))
    }
}

/// The bounds of the entries under `start` whose next eight bytes are times from `first` to `last`: the first key of
/// them, and a key after all of them.
pub(crate) fn between_times(start: &[u8], first: i64, last: i64, [from, to]: &mut [Vec<u8>; 2]) {
    for bound in [&mut *from, &mut *to] {
        bound.clear();
        bound.extend_from_slice(start);
    }
    from.extend(sortable_int(first));
    if let Some(after) = last.checked_add(1) {
        to.extend(sortable_int(after));
        return;
    }
    while to.last() == Some(&0xff) {
        to.pop();
    }
    if let Some(end) = to.last_mut() {
        *end += 1;
    }
}

/// Numbers that tell apart entries of one time and place.
#[derive(Debug, Default)]
pub(crate) struct Serials(u64);

impl Serials {
    /// The bytes of a serial number at the end of a key.
    pub(crate) const BYTES: usize = 8;

    /// One that was not given out.
    pub(crate) fn next(&mut self) -> [u8; Self::BYTES] {
        self.0 += 1;
        self.0.to_be_bytes()
    }

    /// Gives out none up to that at the end of a loaded key.
    pub(crate) fn pass(&mut self, key: &[u8]) {
        if let Some(serial) = key.last_chunk() {
            self.0 = self.0.max(u64::from_be_bytes(*serial));
        }
    }
}

/// Hands out every entry, and the watermark.
pub(crate) fn save(store: &Store, watermark: i64, out: &mut dyn Save) -> Result<(), Fault> {
    let mut groups = BTreeSet::new();
    let all = Span::Between(Bound::Unbounded, Bound::Excluded(&END));
    store.scan(all, Direction::Forwards, |key, value| {
        let group = group_of(key)?;
        groups.insert(group);
        out.entry(group, key, value)?;
        Ok(ControlFlow::Continue(()))
    })?;
    for group in groups {
        out.entry(group, &[WATERMARK], &sortable_int(watermark))?;
    }
    Ok(())
}

/// The key group of an entry.
fn group_of(key: &[u8]) -> Result<KeyGroup, Fault> {
    let is_timed = key.first().is_some_and(|table| table & TIMED != 0);
    let head = if is_timed { TIMED_HEAD_BYTES } else { HEAD_BYTES };
    let group = key.get(head..).and_then(<[u8]>::first_chunk);
    Ok(KeyGroup(u16::from_be_bytes(
        *group.ok_or_else(|| damaged("a key is cut off"))?,
    )))
}

/// Takes an entry that [`save`] handed out. `tables` are the operator's own.
pub(crate) fn load(
    store: &mut Store,
    watermark: &mut i64,
    tables: &[u8],
    key: &[u8],
    value: &[u8],
) -> Result<(), Fault> {
    match key.first() {
        Some(&WATERMARK) => {
            *watermark = (*watermark).max(read_time(value)?);
            Ok(())
        }
        Some(table) if tables.contains(table) => {
            group_of(key)?;
            store.put(key, value)
        }
        _ => Err(damaged("an entry is of no table of the operator")),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_encoded_value_tells_where_it_ends() {
        let values = [
            (DataType::Utf8, Value::Utf8("a\0b\0\0")),
            (DataType::Utf8, Value::Utf8("")),
            (DataType::Int64, Value::Int64(7)),
            (DataType::Boolean, Value::Boolean(true)),
            (DataType::Binary, Value::Null),
        ];
        for (data_type, value) in values {
            let mut bytes = Vec::new();
            key::encode(value, &mut bytes);
            for cut in 0..bytes.len() {
                assert_eq!(skip(data_type, &mut &bytes[..cut]), None, "{value:?} {cut}");
            }
            bytes.extend([0, 1, 0xff]);
            let mut rest = &bytes[..];
            assert_eq!(
                (skip(data_type, &mut rest), rest),
                (Some(()), &[0, 1, 0xff][..]),
                "{value:?}"
            );
        }
    }

    #[test]
    fn a_timed_table_is_cut_off_at_a_time() -> Result<(), Fault> {
        let mut store = Store::memory();
        let mut key = Vec::new();
        for time in [i64::MIN, -1, 0, 5, i64::MAX] {
            timed(3, time, b"owner", &mut key);
            store.put(&key, b"")?;
        }
        let count = |limit: i128| -> Result<usize, Fault> {
            let mut count = 0;
            store.scan(Before::new(3, limit).span(), Direction::Forwards, |_, _| {
                count += 1;
                Ok(ControlFlow::Continue(()))
            })?;
            Ok(count)
        };
        assert_eq!(count(i128::MIN)?, 0);
        assert_eq!(count(i64::MIN.into())?, 0);
        assert_eq!(count(5)?, 3);
        assert_eq!(count(i64::MAX.into())?, 4);
        assert_eq!(count(i128::MAX)?, 5);
        Ok(())
    }
}
