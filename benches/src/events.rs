//! Nexmark events, as decoded bids and as JSON lines: <https://datalab.cs.pdx.edu/niagaraST/NEXMark/>.

use std::fmt::Write;

use nexmark::EventGenerator;
use nexmark::config::NexmarkConfig;
use nexmark::event::{Event, EventType};
use wasmill_core::batch::{Batch, Hidden, Slot};
use wasmill_core::column::{Column, ColumnBuilder, Value};
use wasmill_core::schema::{DataType, Field, Schema};
use wasmill_core::watermark::RowWatermarks;

/// Places of a bid's columns.
pub(crate) const AUCTION: usize = 0;
pub(crate) const PRICE: usize = 2;

/// A bid's columns.
const BID: [(&str, DataType); 6] = [
    ("auction", DataType::Int64),
    ("bidder", DataType::Int64),
    ("price", DataType::Int64),
    ("channel", DataType::Utf8),
    ("url", DataType::Utf8),
    ("date_time", DataType::Timestamp),
];

/// The schema of [`bids`].
pub(crate) fn bid_schema() -> Schema {
    let fields = BID.map(|(name, data_type)| Field::required(name, data_type));
    Schema::new(fields.to_vec()).expect("the names differ")
}

/// The number of a bid's columns.
pub(crate) const fn bid_schema_len() -> usize {
    BID.len()
}

/// So many bids, in batches of `rows`.
pub(crate) fn bids(total: usize, rows: usize) -> Vec<Batch> {
    let mut events = EventGenerator::new(NexmarkConfig::default()).with_type_filter(EventType::Bid);
    let mut batches = Vec::new();
    for _ in 0..total / rows {
        let mut builders = BID.map(|(_, data_type)| ColumnBuilder::new(data_type, rows));
        let mut times = Vec::with_capacity(rows);
        while times.len() < rows {
            let Some(Event::Bid(bid)) = events.next() else { continue };
            let time = bid.date_time as i64 * 1000;
            let values = [
                Value::Int64(bid.auction as i64),
                Value::Int64(bid.bidder as i64),
                Value::Int64(bid.price as i64),
                Value::Utf8(&bid.channel),
                Value::Utf8(&bid.url),
                Value::Timestamp(time),
            ];
            for (builder, value) in builders.iter_mut().zip(values) {
                builder.push(value);
            }
            times.push(time);
        }
        let watermark = times.iter().copied().min().unwrap_or(i64::MIN);
        let hidden = Hidden {
            times: times.into(),
            watermarks: RowWatermarks::Constant(watermark),
            order: None,
            kinds: None,
        };
        let columns: Vec<Column> = builders.map(ColumnBuilder::finish).into();
        batches.push(Batch::new(columns.into_iter().map(Slot::Base).collect(), hidden));
    }
    batches
}

/// The columns of [`json_lines`] of all kinds of events; what a kind does not have is null.
pub(crate) const EVENT: [(&str, DataType); 21] = [
    ("auction", DataType::Int64),
    ("price", DataType::Int64),
    ("bidder", DataType::Int64),
    ("date_time", DataType::Int64),
    ("channel", DataType::Utf8),
    ("url", DataType::Utf8),
    ("extra", DataType::Utf8),
    ("kind", DataType::Utf8),
    ("id", DataType::Int64),
    ("name", DataType::Utf8),
    ("email_address", DataType::Utf8),
    ("credit_card", DataType::Utf8),
    ("city", DataType::Utf8),
    ("state", DataType::Utf8),
    ("item_name", DataType::Utf8),
    ("description", DataType::Utf8),
    ("initial_bid", DataType::Int64),
    ("reserve", DataType::Int64),
    ("expires", DataType::Int64),
    ("seller", DataType::Int64),
    ("category", DataType::Int64),
];

/// So many events, a flat JSON object a line: of all kinds, or of one.
pub(crate) fn json_lines(events: usize, kind: Option<EventType>) -> String {
    // Bids as long as those of the common harnesses: about 283 bytes a line.
    let config = NexmarkConfig {
        avg_bid_byte_size: 130,
        ..NexmarkConfig::default()
    };
    let generator = EventGenerator::new(config);
    let generator = match kind {
        None => generator,
        Some(kind) => generator.with_type_filter(kind),
    };
    let mut out = String::with_capacity(events * 300);
    for event in generator.take(events) {
        line(&event, &mut out).expect("a string takes all that is written");
    }
    out
}

/// The texts of Nexmark hold nothing that JSON escapes.
fn line(event: &Event, out: &mut String) -> std::fmt::Result {
    match event {
        Event::Bid(bid) => writeln!(
            out,
            r#"{{"kind":"bid","auction":{},"bidder":{},"price":{},"channel":"{}","url":"{}","date_time":{},"extra":"{}"}}"#,
            bid.auction, bid.bidder, bid.price, bid.channel, bid.url, bid.date_time, bid.extra
        ),
        Event::Auction(auction) => writeln!(
            out,
            r#"{{"kind":"auction","id":{},"item_name":"{}","description":"{}","initial_bid":{},"reserve":{},"date_time":{},"expires":{},"seller":{},"category":{},"extra":"{}"}}"#,
            auction.id,
            auction.item_name,
            auction.description,
            auction.initial_bid,
            auction.reserve,
            auction.date_time,
            auction.expires,
            auction.seller,
            auction.category,
            auction.extra
        ),
        Event::Person(person) => writeln!(
            out,
            r#"{{"kind":"person","id":{},"name":"{}","email_address":"{}","credit_card":"{}","city":"{}","state":"{}","date_time":{},"extra":"{}"}}"#,
            person.id,
            person.name,
            person.email_address,
            person.credit_card,
            person.city,
            person.state,
            person.date_time,
            person.extra
        ),
    }
}
