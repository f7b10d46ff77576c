//! Events as columns, and as JSON lines.

use std::io::{self, Write};

use wasmill_core::column::{Column, ColumnBuilder, Value};
use wasmill_core::time::Timestamp;

use super::{Event, What, event, schema};

/// Calls `put` with the place in the schema and the value of each field of the event, in the order of the schema.
fn fields(event: &Event, mut put: impl FnMut(usize, Value<'_>)) {
    use Value::{Int64, Utf8};
    let kind = match &event.what {
        What::Person(_) => "person",
        What::Auction(_) => "auction",
        What::Bid(_) => "bid",
    };
    put(0, Utf8(kind));
    put(1, Value::Timestamp(event.time));
    match &event.what {
        What::Person(person) => {
            put(2, Int64(person.id));
            put(3, Utf8(&person.name));
            put(4, Utf8(&person.email));
            put(5, Utf8(&person.credit_card));
            put(6, Utf8(person.city));
            put(7, Utf8(person.state));
            put(8, Utf8(&person.extra));
        }
        What::Auction(auction) => {
            put(9, Int64(auction.id));
            put(10, Utf8(&auction.item));
            put(11, Utf8(&auction.description));
            put(12, Int64(auction.initial_bid));
            put(13, Int64(auction.reserve));
            put(14, Value::Timestamp(auction.expires));
            put(15, Int64(auction.seller));
            put(16, Int64(auction.category));
            put(17, Utf8(&auction.extra));
        }
        What::Bid(bid) => {
            put(18, Int64(bid.auction));
            put(19, Int64(bid.bidder));
            put(20, Int64(bid.price));
            put(21, Utf8(&bid.channel));
            put(22, Utf8(&bid.url));
            put(23, Utf8(&bid.extra));
        }
    }
}

/// The columns that something reads of the events of these numbers.
pub(crate) fn columns(
    seed: u64,
    start: i64,
    numbers: impl Iterator<Item = u64> + Clone,
    live: &[bool],
) -> Vec<Option<Column>> {
    let rows = numbers.size_hint().0;
    let mut builders: Vec<Option<ColumnBuilder>> = schema()
        .fields()
        .iter()
        .zip(live)
        .map(|(field, &live)| live.then(|| ColumnBuilder::new(field.data_type, rows)))
        .collect();
    for (row, number) in numbers.enumerate() {
        fields(&event(seed, start, number), |place, value| {
            if let Some(builder) = &mut builders[place] {
                builder.push(value);
            }
        });
        for builder in builders.iter_mut().flatten() {
            if builder.len() == row {
                builder.push_null();
            }
        }
    }
    builders
        .into_iter()
        .map(|builder| builder.map(ColumnBuilder::finish))
        .collect()
}

/// Writes the first `rows` events from 2026-01-01 on as JSON lines: of each kind its own columns of [`schema`], without
/// those of the others. A line has about 285 bytes.
///
/// # Errors
/// Those of `out`.
pub fn ndjson(seed: u64, rows: u64, out: &mut impl Write) -> io::Result<()> {
    /// 2026-01-01T00:00:00Z.
    const START: i64 = 1_767_225_600_000_000;
    let schema = schema();
    let mut line = Vec::new();
    for number in 0..rows {
        line.clear();
        fields(&event(seed, START, number), |place, value| {
            line.push(if place == 0 { b'{' } else { b',' });
            line.push(b'"');
            line.extend_from_slice(schema.fields()[place].name.as_bytes());
            line.extend_from_slice(b"\":");
            // No text of an event holds what JSON must escape.
            match value {
                Value::Int64(value) => line.extend_from_slice(value.to_string().as_bytes()),
                Value::Timestamp(micros) => line.extend_from_slice(format!("\"{}\"", Timestamp(micros)).as_bytes()),
                Value::Utf8(text) => {
                    line.push(b'"');
                    line.extend_from_slice(text.as_bytes());
                    line.push(b'"');
                }
                other => unreachable!("events hold numbers, times and text, not {other:?}"),
            }
        });
        line.extend_from_slice(b"}\n");
        out.write_all(&line)?;
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn lines_hold_what_columns_hold() {
        let mut text = Vec::new();
        ndjson(9, 200, &mut text).unwrap();
        let columns = columns(9, 1_767_225_600_000_000, 0..200, &[true; 24]);
        let text = String::from_utf8(text).unwrap();
        for (row, line) in text.lines().enumerate() {
            let line: serde_json::Value = serde_json::from_str(line).unwrap();
            let object = line.as_object().unwrap();
            let mut present = 0;
            for (field, column) in schema().fields().iter().zip(&columns) {
                let expect: serde_json::Value = match column.as_ref().unwrap().value(row) {
                    Value::Null => {
                        assert!(!object.contains_key(&*field.name));
                        continue;
                    }
                    Value::Int64(value) => value.into(),
                    Value::Timestamp(value) => Timestamp(value).to_string().into(),
                    Value::Utf8(value) => value.into(),
                    other => unreachable!("{other:?}"),
                };
                assert_eq!(object[&*field.name], expect);
                present += 1;
            }
            assert_eq!(object.len(), present);
        }
        let average = text.len() / 200;
        assert!((270..300).contains(&average), "a line has {average} bytes");
    }
}
