//! What a program written for the one record does: sonic-rs into structs, csv-core, JSON by hand. The values end up in
//! vectors by column, as Wasmill's do.

use std::borrow::Cow;

use csv_core::{ReadRecordResult, Reader};
use serde::Deserialize;
use wasmill_core::batch::Batch;
use wasmill_core::column::Column;

use crate::write;

/// Values by column.
#[derive(Debug, Default)]
pub(super) struct Columns {
    pub(super) rows: usize,
    numbers: Vec<Numbers>,
    texts: Vec<Texts>,
}

#[derive(Clone, Debug, Default)]
struct Numbers {
    values: Vec<i64>,
    valid: Vec<bool>,
}

#[derive(Clone, Debug, Default)]
struct Texts {
    offsets: Vec<u32>,
    bytes: Vec<u8>,
    valid: Vec<bool>,
}

impl Columns {
    fn new(numbers: usize, texts: usize) -> Self {
        Self {
            rows: 0,
            numbers: vec![Numbers::default(); numbers],
            texts: vec![Texts::default(); texts],
        }
    }

    #[inline]
    fn number(&mut self, column: usize, value: Option<i64>) {
        let column = &mut self.numbers[column];
        column.values.push(value.unwrap_or(0));
        column.valid.push(value.is_some());
    }

    #[inline]
    fn text(&mut self, column: usize, value: Option<&[u8]>) {
        let column = &mut self.texts[column];
        column.bytes.extend_from_slice(value.unwrap_or(b""));
        column.offsets.push(column.bytes.len() as u32);
        column.valid.push(value.is_some());
    }
}

/// A struct for the columns that are wanted.
pub(super) trait Row<'a>: Deserialize<'a> {
    const NUMBERS: usize;
    const TEXTS: usize;

    fn push(&self, columns: &mut Columns);
}

/// JSON lines.
pub(super) fn json<'a, R: Row<'a>>(block: &'a [u8]) -> Columns {
    let mut columns = Columns::new(R::NUMBERS, R::TEXTS);
    for line in block.split_inclusive(|&byte| byte == b'\n') {
        let row: R = sonic_rs::from_slice(line).expect("the blocks are valid");
        row.push(&mut columns);
        columns.rows += 1;
    }
    columns
}

/// See `decode 1 column`.
#[derive(Deserialize)]
pub(super) struct One {
    auction: Option<i64>,
}

impl Row<'_> for One {
    const NUMBERS: usize = 1;
    const TEXTS: usize = 0;

    #[inline]
    fn push(&self, columns: &mut Columns) {
        columns.number(0, self.auction);
    }
}

/// See `decode 4 columns`.
#[derive(Deserialize)]
pub(super) struct Four {
    auction: Option<i64>,
    price: Option<i64>,
    bidder: Option<i64>,
    date_time: Option<i64>,
}

impl Row<'_> for Four {
    const NUMBERS: usize = 4;
    const TEXTS: usize = 0;

    #[inline]
    fn push(&self, columns: &mut Columns) {
        for (column, value) in [self.auction, self.price, self.bidder, self.date_time]
            .into_iter()
            .enumerate()
        {
            columns.number(column, value);
        }
    }
}

/// See `decode 6 columns`.
#[derive(Deserialize)]
pub(super) struct Six<'a> {
    auction: Option<i64>,
    price: Option<i64>,
    bidder: Option<i64>,
    date_time: Option<i64>,
    #[serde(borrow)]
    channel: Option<Cow<'a, str>>,
    #[serde(borrow)]
    url: Option<Cow<'a, str>>,
}

impl<'a> Row<'a> for Six<'a> {
    const NUMBERS: usize = 4;
    const TEXTS: usize = 2;

    #[inline]
    fn push(&self, columns: &mut Columns) {
        for (column, value) in [self.auction, self.price, self.bidder, self.date_time]
            .into_iter()
            .enumerate()
        {
            columns.number(column, value);
        }
        for (column, value) in [&self.channel, &self.url].into_iter().enumerate() {
            columns.text(column, value.as_deref().map(str::as_bytes));
        }
    }
}

/// See `decode all columns`.
#[derive(Deserialize)]
pub(super) struct All<'a> {
    auction: Option<i64>,
    price: Option<i64>,
    bidder: Option<i64>,
    date_time: Option<i64>,
    id: Option<i64>,
    initial_bid: Option<i64>,
    reserve: Option<i64>,
    expires: Option<i64>,
    seller: Option<i64>,
    category: Option<i64>,
    #[serde(borrow)]
    channel: Option<Cow<'a, str>>,
    #[serde(borrow)]
    url: Option<Cow<'a, str>>,
    #[serde(borrow)]
    extra: Option<Cow<'a, str>>,
    #[serde(borrow)]
    kind: Option<Cow<'a, str>>,
    #[serde(borrow)]
    name: Option<Cow<'a, str>>,
    #[serde(borrow)]
    email_address: Option<Cow<'a, str>>,
    #[serde(borrow)]
    credit_card: Option<Cow<'a, str>>,
    #[serde(borrow)]
    city: Option<Cow<'a, str>>,
    #[serde(borrow)]
    state: Option<Cow<'a, str>>,
    #[serde(borrow)]
    item_name: Option<Cow<'a, str>>,
    #[serde(borrow)]
    description: Option<Cow<'a, str>>,
}

impl<'a> Row<'a> for All<'a> {
    const NUMBERS: usize = 10;
    const TEXTS: usize = 11;

    #[inline]
    fn push(&self, columns: &mut Columns) {
        let numbers = [
            self.auction,
            self.price,
            self.bidder,
            self.date_time,
            self.id,
            self.initial_bid,
            self.reserve,
            self.expires,
            self.seller,
            self.category,
        ];
        for (column, value) in numbers.into_iter().enumerate() {
            columns.number(column, value);
        }
        let texts = [
            &self.channel,
            &self.url,
            &self.extra,
            &self.kind,
            &self.name,
            &self.email_address,
            &self.credit_card,
            &self.city,
            &self.state,
            &self.item_name,
            &self.description,
        ];
        for (column, value) in texts.into_iter().enumerate() {
            columns.text(column, value.as_deref().map(str::as_bytes));
        }
    }
}

/// Fields of the departures, by place.
mod departure {
    pub(super) const TIMES: [usize; 2] = [0, 1];
    pub(super) const CARRIER: usize = 2;
    pub(super) const FLIGHT: usize = 3;
    pub(super) const TAILNUM: usize = 4;
    pub(super) const ORIGIN: usize = 5;
    pub(super) const DEST: usize = 6;
    pub(super) const DEP_DELAY: usize = 7;
    pub(super) const ARR_DELAY: usize = 8;
    pub(super) const AIR_TIME: usize = 9;
    pub(super) const DISTANCE: usize = 10;
    pub(super) const FIELDS: usize = 11;
}

/// The departures' delay.
pub(super) fn csv_one(block: &[u8]) -> Columns {
    csv(block, Columns::new(1, 0), |record, columns| {
        columns.number(0, integer(record.get(departure::DEP_DELAY)));
    })
}

/// Three numbers and three texts.
pub(super) fn csv_six(block: &[u8]) -> Columns {
    use departure::{CARRIER, DEP_DELAY, DEST, DISTANCE, FLIGHT, ORIGIN};
    csv(block, Columns::new(3, 3), |record, columns| {
        for (column, field) in [FLIGHT, DEP_DELAY, DISTANCE].into_iter().enumerate() {
            columns.number(column, integer(record.get(field)));
        }
        for (column, field) in [CARRIER, ORIGIN, DEST].into_iter().enumerate() {
            columns.text(column, Some(record.get(field)));
        }
    })
}

/// Everything.
pub(super) fn csv_all(block: &[u8]) -> Columns {
    use departure::{AIR_TIME, ARR_DELAY, CARRIER, DEP_DELAY, DEST, DISTANCE, FLIGHT, ORIGIN, TAILNUM, TIMES};
    csv(block, Columns::new(7, 4), |record, columns| {
        for (column, field) in TIMES.into_iter().enumerate() {
            columns.number(column, time(record.get(field)));
        }
        for (column, field) in [FLIGHT, DEP_DELAY, ARR_DELAY, AIR_TIME, DISTANCE]
            .into_iter()
            .enumerate()
        {
            columns.number(TIMES.len() + column, integer(record.get(field)));
        }
        for (column, field) in [CARRIER, TAILNUM, ORIGIN, DEST].into_iter().enumerate() {
            columns.text(column, Some(record.get(field)));
        }
    })
}

/// One record as csv-core leaves it.
struct Record<'a> {
    text: &'a [u8],
    ends: &'a [usize],
}

impl Record<'_> {
    #[inline]
    fn get(&self, field: usize) -> &[u8] {
        let start = if field == 0 { 0 } else { self.ends[field - 1] };
        &self.text[start..self.ends[field]]
    }
}

#[inline]
fn csv(block: &[u8], mut columns: Columns, push: impl Fn(&Record<'_>, &mut Columns)) -> Columns {
    let mut reader = Reader::new();
    let mut text = vec![0; 4096];
    let mut ends = [0; departure::FIELDS + 1];
    let mut rest = block;
    loop {
        let (result, read, _, fields) = reader.read_record(rest, &mut text, &mut ends);
        rest = &rest[read..];
        match result {
            ReadRecordResult::Record => {
                assert_eq!(fields, departure::FIELDS, "the blocks are valid");
                let record = Record {
                    text: &text,
                    ends: &ends[..fields],
                };
                push(&record, &mut columns);
                columns.rows += 1;
            }
            ReadRecordResult::InputEmpty => {}
            ReadRecordResult::OutputFull | ReadRecordResult::OutputEndsFull => panic!("a record is short"),
            ReadRecordResult::End => return columns,
        }
    }
}

/// An integer; an empty field has none.
#[inline]
fn integer(text: &[u8]) -> Option<i64> {
    let (negative, digits) = match text {
        [] => return None,
        [b'-', digits @ ..] => (true, digits),
        digits => (false, digits),
    };
    let value = digits
        .iter()
        .fold(0, |value, digit| value * 10 + i64::from(digit - b'0'));
    Some(if negative { -value } else { value })
}

/// `2013-01-01T10:17:00Z` in microseconds since 1970.
#[inline]
fn time(text: &[u8]) -> Option<i64> {
    let number = |range: std::ops::Range<usize>| integer(&text[range]);
    let days = days_from_civil(number(0..4)?, number(5..7)?, number(8..10)?);
    let seconds = ((days * 24 + number(11..13)?) * 60 + number(14..16)?) * 60 + number(17..19)?;
    Some(seconds * 1_000_000)
}

/// Days since 1970-01-01: <https://howardhinnant.github.io/date_algorithms.html>.
fn days_from_civil(year: i64, month: i64, day: i64) -> i64 {
    let year = if month <= 2 { year - 1 } else { year };
    let era = year.div_euclid(400);
    let of_era = year - era * 400;
    let of_year = (153 * ((month + 9) % 12) + 2) / 5 + day - 1;
    era * 146_097 + of_era * 365 + of_era / 4 - of_era / 100 + of_year - 719_468
}

/// Bids as JSON lines.
pub(super) fn encode(batch: &Batch) -> Vec<u8> {
    let columns: Vec<_> = (0..batch.slots().len()).map(|place| batch.column(place)).collect();
    let [auction, bidder, price, channel, url, date_time] = &columns[..] else {
        unreachable!("bids have six columns")
    };
    let (Column::Int64(auction), Column::Int64(bidder), Column::Int64(price)) = (&**auction, &**bidder, &**price)
    else {
        unreachable!("three are integers")
    };
    let (Column::Utf8(channel), Column::Utf8(url), Column::Timestamp(date_time)) = (&**channel, &**url, &**date_time)
    else {
        unreachable!("two are text, one is a time")
    };
    let mut out = Vec::new();
    for row in 0..batch.rows() {
        write::number(br#"{"auction":"#, auction.value(row), &mut out);
        write::number(br#","bidder":"#, bidder.value(row), &mut out);
        write::number(br#","price":"#, price.value(row), &mut out);
        write::text(br#","channel":"#, channel.value(row), &mut out);
        write::text(br#","url":"#, url.value(row), &mut out);
        write::time(br#","date_time":"#, date_time.value(row), &mut out);
        out.extend_from_slice(b"}\n");
    }
    out
}
