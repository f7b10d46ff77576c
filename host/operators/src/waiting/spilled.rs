//! Waiting rows in a store, and where they are saved: an entry a row.
//!
//! | key | |
//! |---|---|
//! | `ff ff` | in the store only: no key group |
//! | 1 | the table |
//! | 8 | t, sortable |
//! | any | the place as an encoded value, null where rows have none |
//! | 1 | the input |
//! | 8 + 4 | the batch in which the row came, and its place there by (t, place) |
//! | 2 | in the store only: the key group, which tells apart what several subtasks have saved |
//!
//! The value is the row's kind, a byte, then the columns that something reads, by the codec of the state.

use std::ops::{Bound, ControlFlow};

use wasmill_core::batch::{Batch, Hidden, Slot};
use wasmill_core::column::{Column, ColumnBuilder, Value};
use wasmill_core::fault::{Domain, Fault};
use wasmill_core::id::KeyGroup;
use wasmill_core::key::{self, sortable_int};
use wasmill_core::kind::Kind;
use wasmill_core::operator::Save;
use wasmill_core::order::Order;
use wasmill_core::schema::DataType;
use wasmill_core::watermark::RowWatermarks;
use wasmill_state::rows::RowCodec;
use wasmill_state::{Direction, Page, Span, Store};

use super::{SliceBounds, View, WaitingPlan};

/// What no key group is: the start of what is in no group's order.
const NO_GROUP: [u8; 2] = [0xff, 0xff];
/// The bytes before the time in a store's key.
const HEAD_BYTES: usize = 3;
const TIME_BYTES: usize = 8;
/// The input, the batch and the row, after the place.
const TAIL_BYTES: usize = 1 + 8 + 4;
const GROUP_BYTES: usize = 2;

/// How rows become entries.
#[derive(Debug)]
pub(super) struct Layout {
    table: u8,
    groups: u16,
    inputs: Vec<Input>,
}

#[derive(Debug)]
struct Input {
    key: Vec<usize>,
    /// Which columns something reads.
    live: Vec<bool>,
    codec: RowCodec,
    order: bool,
    changelog: bool,
}

/// Some entries of the store, in order.
#[derive(Debug, Default)]
pub(super) struct Spilled {
    page: Page,
    /// The time of the first entry after the page, below the same bound.
    pub(super) next: Option<i64>,
}

impl Spilled {
    pub(super) fn key(&self, at: usize) -> &[u8] {
        self.page.entry(at).0
    }

    /// The time of an entry; `None` after the last.
    pub(super) fn time(&self, at: usize) -> Option<i64> {
        (at < self.page.len()).then(|| time_of(self.key(at)))
    }

    pub(super) fn len(&self, at: usize) -> usize {
        let (key, value) = self.page.entry(at);
        key.len() + value.len()
    }

    pub(super) fn input(&self, at: usize) -> usize {
        let key = self.key(at);
        usize::from(key[key.len() - TAIL_BYTES - GROUP_BYTES])
    }
}

impl Layout {
    pub(super) fn new(plan: &WaitingPlan<'_>) -> Self {
        let inputs = plan.inputs.iter().zip(plan.key).map(|(stream, key)| {
            let fields = stream.schema.fields().iter().zip(&stream.live);
            Input {
                key: key.clone(),
                live: stream.live.clone(),
                codec: RowCodec::new(fields.filter(|(_, live)| **live).map(|(field, _)| field.data_type)),
                order: stream.order,
                changelog: stream.changelog,
            }
        });
        Self {
            table: plan.table,
            groups: plan.groups,
            inputs: inputs.collect(),
        }
    }

    pub(super) fn inputs(&self) -> usize {
        self.inputs.len()
    }

    pub(super) fn table(&self) -> u8 {
        self.table
    }

    fn start(&self) -> [u8; HEAD_BYTES] {
        [NO_GROUP[0], NO_GROUP[1], self.table]
    }

    /// The first entries below a bound, enough for a slice.
    pub(super) fn page(&self, below: i64, bounds: SliceBounds, store: &Store) -> Result<Spilled, Fault> {
        let start = self.start();
        let mut end = start.to_vec();
        if below == i64::MAX {
            end[HEAD_BYTES - 1] += 1;
        } else {
            end.extend(sortable_int(below));
        }
        let mut spilled = Spilled::default();
        let span = Span::Between(Bound::Included(&start), Bound::Excluded(&end));
        if store.page(span, Direction::Forwards, bounds.rows, bounds.bytes, &mut spilled.page)? {
            let last = spilled.key(spilled.page.len() - 1);
            let rest = Span::Between(Bound::Excluded(last), Bound::Excluded(&end));
            spilled.next = store.first(rest, Direction::Forwards)?.map(|(key, _)| time_of(&key));
        }
        Ok(spilled)
    }

    /// The store's key of a row of a run, by its place among the run's rows, into `out`, which is emptied first.
    pub(super) fn key(&self, run: View<'_>, at: u32, group: KeyGroup, out: &mut Vec<u8>) {
        out.clear();
        out.extend(self.start());
        let row = run.rows[at as usize] as usize;
        out.extend(sortable_int(run.batch.time(row)));
        match &run.batch.hidden().order {
            Some(order) => {
                let mut place = Vec::new();
                order.write(run.batch.base_row(row), &mut place);
                key::encode(Value::Binary(&place), out);
            }
            None => key::encode(Value::Null, out),
        }
        out.push(run.input);
        out.extend(run.number.to_be_bytes());
        out.extend(at.to_be_bytes());
        out.extend(group.0.to_be_bytes());
    }

    /// Shows the store's key and the value of each row of a run from a place on.
    fn each(
        &self,
        run: View<'_>,
        from: usize,
        mut visit: impl FnMut(KeyGroup, &[u8], &[u8]) -> Result<(), Fault>,
    ) -> Result<(), Fault> {
        let input = &self.inputs[usize::from(run.input)];
        let mut hashes = Vec::new();
        key::hashes(run.batch, &input.key, &mut hashes);
        let live = run.batch.slots().iter().zip(&input.live).filter(|(_, live)| **live);
        let slots: Vec<&Slot> = live.map(|(slot, _)| slot).collect();
        let (mut key, mut value) = (Vec::new(), Vec::new());
        for (at, &row) in run.rows.iter().enumerate().skip(from) {
            let row = row as usize;
            let group = if input.key.is_empty() {
                KeyGroup(0)
            } else {
                key::group(hashes[row], self.groups)
            };
            self.key(run, at as u32, group, &mut key);
            value.clear();
            value.push(run.batch.kind(row).byte());
            let values = slots.iter().map(|slot| match slot {
                Slot::Absent => Value::Null,
                Slot::Base(column) => column.value(run.batch.base_row(row)),
                Slot::Dense(column) => column.value(row),
            });
            input.codec.encode_values(values, &mut value);
            visit(group, &key, &value)?;
        }
        Ok(())
    }

    /// Puts the rows of a run from a place on into the store; how many they are.
    pub(super) fn put(&self, run: View<'_>, from: usize, store: &mut Store) -> Result<u64, Fault> {
        self.each(run, from, |_, key, value| store.put(key, value))?;
        Ok((run.rows.len() - from) as u64)
    }

    /// Hands out the rows of a run from a place on.
    pub(super) fn save(&self, run: View<'_>, from: usize, out: &mut dyn Save) -> Result<(), Fault> {
        self.each(run, from, |group, key, value| {
            out.entry(group, &key[NO_GROUP.len()..key.len() - GROUP_BYTES], value)
        })
    }

    /// Hands out all rows in the store.
    pub(super) fn save_spilled(&self, store: &Store, out: &mut dyn Save) -> Result<(), Fault> {
        store.scan(Span::Prefix(&self.start()), Direction::Forwards, |key, value| {
            let (key, group) = key.split_last_chunk::<GROUP_BYTES>().ok_or_else(damaged)?;
            out.entry(KeyGroup(u16::from_be_bytes(*group)), &key[NO_GROUP.len()..], value)?;
            Ok(ControlFlow::Continue(()))
        })
    }

    /// Puts an entry that was saved into the store; the number of the batch in which the row came.
    pub(super) fn load(&self, group: KeyGroup, key: &[u8], value: &[u8], store: &mut Store) -> Result<u64, Fault> {
        if key.len() < 1 + TIME_BYTES + 1 + TAIL_BYTES {
            return Err(damaged());
        }
        let tail = &key[key.len() - TAIL_BYTES..];
        let input = self.inputs.get(usize::from(tail[0])).ok_or_else(damaged)?;
        let (&kind, mut row) = value.split_first().ok_or_else(damaged)?;
        Kind::from_byte(kind).ok_or_else(damaged)?;
        input.codec.split(&mut row)?;
        if !row.is_empty() {
            return Err(damaged());
        }
        let (number, _) = tail[1..].split_first_chunk().ok_or_else(damaged)?;
        let whole = [&NO_GROUP[..], key, &group.0.to_be_bytes()].concat();
        store.put(&whole, value)?;
        Ok(u64::from_be_bytes(*number))
    }

    /// Some entries of a page as a batch per input, in their order.
    pub(super) fn decode(
        &self,
        spilled: &Spilled,
        entries: impl Iterator<Item = usize>,
    ) -> Result<Vec<Option<Batch>>, Fault> {
        let mut restored: Vec<Option<Restored>> = self.inputs.iter().map(|_| None).collect();
        for at in entries {
            let number = spilled.input(at);
            let input = &self.inputs[number];
            let rows = restored[number].get_or_insert_with(|| Restored::new(input));
            let (key, value) = spilled.page.entry(at);
            rows.push(key, value, input)?;
        }
        let batches = restored.into_iter().zip(&self.inputs);
        Ok(batches
            .map(|(rows, input)| rows.map(|rows| rows.finish(input)))
            .collect())
    }
}

/// Rows of one input, read back.
struct Restored {
    times: Vec<i64>,
    places: ColumnBuilder,
    kinds: Vec<u8>,
    columns: Vec<ColumnBuilder>,
}

impl Restored {
    fn new(input: &Input) -> Self {
        Self {
            times: Vec::new(),
            places: ColumnBuilder::new(DataType::Binary, 0),
            kinds: Vec::new(),
            columns: input.codec.builders(0),
        }
    }

    fn push(&mut self, key: &[u8], value: &[u8], input: &Input) -> Result<(), Fault> {
        self.times.push(time_of(key));
        let mut rest = &key[HEAD_BYTES + TIME_BYTES..];
        let places = &mut self.places;
        key::decode(DataType::Binary, &mut rest, |place| match place {
            Value::Null => places.push(Value::Binary(&[])),
            place => places.push(place),
        });
        let (&kind, mut row) = value.split_first().ok_or_else(damaged)?;
        self.kinds.push(kind);
        input.codec.decode_into(&mut row, &mut self.columns)?;
        Ok(())
    }

    fn finish(self, input: &Input) -> Batch {
        let mut columns = self.columns.into_iter();
        let slots = input.live.iter().map(|live| match live {
            true => Slot::Base(columns.next().expect("a builder for each live column").finish()),
            false => Slot::Absent,
        });
        let order = match self.places.finish() {
            Column::Binary(places) if input.order => Some(Order::Places(places)),
            _ => None,
        };
        let hidden = Hidden {
            watermarks: RowWatermarks::Constant(i64::MIN),
            times: self.times.into(),
            order,
            kinds: input.changelog.then(|| self.kinds.into()),
        };
        Batch::new(slots.collect(), hidden)
    }
}

fn time_of(key: &[u8]) -> i64 {
    let (bytes, _) = key[HEAD_BYTES..].split_first_chunk().expect("a key has a time");
    (u64::from_be_bytes(*bytes) ^ 1 << 63) as i64
}

fn damaged() -> Fault {
    Fault::fatal(Domain::External, "a waiting row of the state is damaged")
}
