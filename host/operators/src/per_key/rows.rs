//! Rows that windows keep: as bytes in the store, by key, in event-time order or by number.
//!
//! A kept row is one entry. Its sub key puts it among its key's rows: (event time, place), or a number that the operator
//! counts. Rows of one time and place, as a diamond in the topology makes them, are told apart by their values, so their
//! order is the same on every run. The value tells the rest: W, what the row was judged by, kind, and the live columns.

use std::borrow::Cow;
use std::ops::Bound;

use wasmill_core::batch::{Batch, Hidden, Slot};
use wasmill_core::column::{Column, ColumnBuilder, Value};
use wasmill_core::fault::Fault;
use wasmill_core::key;
use wasmill_core::kind::Kind;
use wasmill_core::order::Order;
use wasmill_core::plan::Stream;
use wasmill_core::schema::DataType;
use wasmill_core::watermark::RowWatermarks;
use wasmill_state::{Direction, Page, RowCodec, Span, Store};

use crate::codec::{damaged, put_bytes, take_array, take_byte, take_bytes};

/// The bits of a kept row's first byte that hold its kind.
const KIND: u8 = 0b11;
/// The bit that says that the row became a dead letter.
const TOLD: u8 = 0b100;
/// Entries that are read at once.
const PAGE_ENTRIES: usize = 1_024;
/// Bytes that are read at once.
const PAGE_BYTES: usize = 1 << 20;

/// How rows of a stream stand in bytes.
#[derive(Clone, Debug)]
pub(crate) struct Rows {
    codec: RowCodec,
    /// Which columns are live, by place in the schema.
    live: Vec<bool>,
    order: bool,
    changelog: bool,
}

/// A batch whose rows are about to be kept.
#[derive(Debug)]
pub(crate) struct Opened<'b> {
    pub(crate) batch: &'b Batch,
    pub(crate) columns: Vec<Option<Cow<'b, Column>>>,
    pub(crate) times: Cow<'b, [i64]>,
    pub(crate) order: Option<Cow<'b, Order>>,
    watermarks: Cow<'b, RowWatermarks>,
}

/// What is known of a kept row without its columns.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Head<'a> {
    pub(crate) kind: u8,
    pub(crate) watermark: i64,
    /// The watermark that decides for which windows the row comes too late.
    pub(crate) judged: i64,
    pub(crate) time: i64,
    pub(crate) place: &'a [u8],
    columns: &'a [u8],
}

impl<'b> Opened<'b> {
    pub(crate) fn new(batch: &'b Batch) -> Self {
        let column = |(place, slot): (usize, &Slot)| match slot {
            Slot::Absent => None,
            _ => Some(batch.column(place)),
        };
        Self {
            batch,
            columns: batch.slots().iter().enumerate().map(column).collect(),
            times: batch.times(),
            order: batch.order(),
            watermarks: batch.watermarks(),
        }
    }

    pub(crate) fn watermark(&self, row: usize) -> i64 {
        self.watermarks.at(row)
    }

    pub(crate) fn place(&self, row: usize, out: &mut Vec<u8>) {
        if let Some(order) = &self.order {
            order.write(row, out);
        }
    }
}

impl Rows {
    pub(crate) fn new(stream: &Stream) -> Self {
        let fields = stream.schema.fields().iter().zip(&stream.live);
        Self {
            codec: RowCodec::new(fields.filter(|(_, live)| **live).map(|(field, _)| field.data_type)),
            live: stream.live.clone(),
            order: stream.order,
            changelog: stream.changelog,
        }
    }

    /// Appends a row's bytes.
    pub(crate) fn encode(&self, opened: &Opened<'_>, row: usize, judged: i64, out: &mut Vec<u8>) {
        out.push(opened.batch.kind(row).byte());
        out.extend(opened.watermark(row).to_le_bytes());
        out.extend(judged.to_le_bytes());
        out.extend(opened.times[row].to_le_bytes());
        let mut place = Vec::new();
        opened.place(row, &mut place);
        put_bytes(&place, out);
        let live = opened.columns.iter().zip(&self.live).filter(|(_, live)| **live);
        let values = live.map(|(column, _)| column.as_ref().map_or(Value::Null, |column| column.value(row)));
        self.codec.encode_values(values, out);
    }

    /// Keeps a row among those under `start` by (event time, place).
    pub(crate) fn keep(
        &self,
        store: &mut Store,
        start: &[u8],
        opened: &Opened<'_>,
        row: usize,
        judged: i64,
    ) -> Result<(), Fault> {
        let (mut at, mut value) = (start.to_vec(), Vec::new());
        self.encode(opened, row, judged, &mut value);
        at.extend(key::sortable_int(opened.times[row]));
        let mut place = Vec::new();
        opened.place(row, &mut place);
        key::encode(Value::Binary(&place), &mut at);
        at.extend(key::hash(&value).to_be_bytes());
        let without_number = at.len();
        for number in 0_u32.. {
            at.truncate(without_number);
            at.extend(number.to_be_bytes());
            if store.get(&at, |_| ())?.is_none() {
                break;
            }
        }
        store.put(&at, &value)
    }

    /// Keeps a row among those under `start` by number.
    pub(crate) fn keep_numbered(
        &self,
        store: &mut Store,
        start: &[u8],
        number: u64,
        opened: &Opened<'_>,
        row: usize,
    ) -> Result<(), Fault> {
        let (mut at, mut value) = (start.to_vec(), Vec::new());
        self.encode(opened, row, opened.watermark(row), &mut value);
        at.extend(number.to_be_bytes());
        store.put(&at, &value)
    }

    pub(crate) fn building(&self) -> Building {
        Building {
            rows: self.clone(),
            columns: self.codec.builders(0),
            times: Vec::new(),
            watermarks: Vec::new(),
            places: ColumnBuilder::new(DataType::Binary, 0),
            kinds: Vec::new(),
        }
    }
}

/// What is known of a kept row without its columns.
pub(crate) fn head(value: &[u8]) -> Result<Head<'_>, Fault> {
    let from = &mut &value[..];
    let flags = take_byte(from)?;
    let kind = flags & KIND;
    let [watermark, judged, time] = [take_array(from)?, take_array(from)?, take_array(from)?].map(i64::from_le_bytes);
    let place = take_bytes(from)?;
    Ok(Head {
        kind,
        watermark,
        judged,
        time,
        place,
        columns: from,
    })
}

/// Whether the row at `at` has not become a dead letter yet; from now on it has.
pub(crate) fn tell(store: &mut Store, at: &[u8]) -> Result<bool, Fault> {
    let Some(mut value) = store.get(at, <[u8]>::to_vec)? else {
        return Ok(true);
    };
    let flags = value.first_mut().ok_or_else(|| damaged("a row without bytes"))?;
    if *flags & TOLD != 0 {
        return Ok(false);
    }
    *flags |= TOLD;
    store.put(at, &value)?;
    Ok(true)
}

/// Kept rows on their way into a batch.
#[derive(Debug)]
pub(crate) struct Building {
    rows: Rows,
    /// Of the live columns.
    columns: Vec<ColumnBuilder>,
    times: Vec<i64>,
    watermarks: Vec<i64>,
    places: ColumnBuilder,
    kinds: Vec<u8>,
}

impl Building {
    pub(crate) fn len(&self) -> usize {
        self.times.len()
    }

    pub(crate) fn push(&mut self, row: &Head<'_>) -> Result<(), Fault> {
        let mut columns = row.columns;
        self.rows.codec.decode_into(&mut columns, &mut self.columns)?;
        self.times.push(row.time);
        self.watermarks.push(row.watermark);
        self.kinds.push(Kind::from_byte(row.kind).map_or(0, Kind::byte));
        if self.rows.order {
            self.places.push(Value::Binary(row.place));
        }
        Ok(())
    }

    /// The batch of what was pushed.
    pub(crate) fn finish(&mut self) -> Batch {
        let done = std::mem::replace(self, self.rows.building());
        let mut columns = done.columns.into_iter();
        let slots = self
            .rows
            .live
            .iter()
            .map(|live| match live.then(|| columns.next()).flatten() {
                None => Slot::Absent,
                Some(column) => Slot::Base(column.finish()),
            });
        let order = self.rows.order.then(|| match done.places.finish() {
            Column::Binary(places) => Order::Places(places),
            _ => unreachable!("a builder of binary values makes a binary column"),
        });
        let hidden = Hidden {
            times: done.times.into(),
            watermarks: RowWatermarks::from_values(&done.watermarks),
            order,
            kinds: self.rows.changelog.then(|| done.kinds.into()),
        };
        Batch::new(slots.collect(), hidden)
    }
}

/// Neighbouring entries of the store: from a key on, up to another that is not among them.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Range {
    pub(crate) from: Vec<u8>,
    pub(crate) to: Vec<u8>,
}

impl Range {
    /// The rows under `start` with times from `first` to `last`, both included.
    pub(crate) fn of_times(start: &[u8], first: i64, last: i64) -> Self {
        let bound = |time: i64| [start, &key::sortable_int(time)].concat();
        let mut to = bound(last);
        increment(&mut to);
        Self { from: bound(first), to }
    }

    /// The rows under `start` with numbers from `first` up to `end`, which is not among them.
    pub(crate) fn of_numbers(start: &[u8], first: u64, end: u64) -> Self {
        let bound = |number: u64| [start, &number.to_be_bytes()].concat();
        Self {
            from: bound(first),
            to: bound(end),
        }
    }

    /// All rows under `start`.
    pub(crate) fn all(start: &[u8]) -> Self {
        let mut to = start.to_vec();
        increment(&mut to);
        Self {
            from: start.to_vec(),
            to,
        }
    }

    pub(crate) fn span(&self) -> Span<'_> {
        Span::Between(Bound::Included(&self.from), Bound::Excluded(&self.to))
    }

    /// Reads the next entries. Whether there may be more: then the range begins after them.
    pub(crate) fn next(&mut self, store: &Store, page: &mut Page) -> Result<bool, Fault> {
        let more = store.page(self.span(), Direction::Forwards, PAGE_ENTRIES, PAGE_BYTES, page)?;
        if page.is_empty() {
            return Ok(false);
        }
        self.from = page.entry(page.len() - 1).0.to_vec();
        self.from.push(0);
        Ok(more)
    }
}

/// Makes of bytes the least that are greater than all that begin with them. The layout of keys begins with a key group,
/// and no group has the highest number, so there are some.
fn increment(bytes: &mut Vec<u8>) {
    while let Some(last) = bytes.pop() {
        if last < u8::MAX {
            bytes.push(last + 1);
            return;
        }
    }
}
