//! Formats: what decoding and encoding a record costs, beside what a program written for the one record does.

mod native;

use std::hint::black_box;
use std::path::Path;

use bytes::Bytes;
use wasmill_connector_api::format::csv::Csv;
use wasmill_connector_api::format::json::Json;
use wasmill_connector_api::format::{Block, DecodeSpec, Decoder, EncodeSpec, Encoded, Format};
use wasmill_connector_api::registry::{AnyFormat, Registry};
use wasmill_core::plan::{SourceColumn, TimestampFormat};
use wasmill_core::schema::{DataType, Field};

use crate::Run;
use crate::events;
use crate::failure::Failure;
use crate::report::Budget;
use crate::timing::{Cost, compare};

const EVENTS: usize = 50_000;
/// As large as the pieces that a source reads.
const BLOCK_BYTES: usize = 256 << 10;

/// What a native way makes of a block.
type Native = fn(&[u8]) -> native::Columns;

/// Decoding: JSON lines, CSV.
pub(crate) fn decode(run: &mut Run<'_>) -> Result<(), Failure> {
    json(run)?;
    csv(run)
}

fn json(run: &mut Run<'_>) -> Result<(), Failure> {
    const NAME: &str = "json";
    let lines: [(usize, Native, &str, Budget); 4] = [
        (
            1,
            |block| native::json::<native::One>(block),
            "decode 1 column",
            Budget::None,
        ),
        (
            4,
            |block| native::json::<native::Four>(block),
            "decode 4 columns",
            Budget::Nanos(200.0),
        ),
        (
            6,
            |block| native::json::<native::Six<'_>>(block),
            "decode 6 columns, 2 of text",
            Budget::None,
        ),
        (
            21,
            |block| native::json::<native::All<'_>>(block),
            "decode all 21 columns",
            Budget::None,
        ),
    ];
    if !lines.iter().any(|line| run.wants(NAME, line.2)) {
        return Ok(());
    }
    let text = events::json_lines(EVENTS, None);
    let about = format!(
        "Nexmark events of {} bytes to columns; natively sonic-rs into structs",
        text.len() / EVENTS
    );
    run.report.bench(NAME, &about);
    let blocks = blocks(&Bytes::new(), text.as_bytes());
    let columns: Vec<SourceColumn> = events::EVENT
        .iter()
        .map(|&(name, data_type)| column(name, data_type, true))
        .collect();
    let registry = Registry::new().format::<Json>();
    for (live, native, line, budget) in lines {
        if run.wants(NAME, line) {
            let live = (0..columns.len()).map(|place| place < live).collect();
            let decoder = decoder::<Json>(&registry, &columns, live, "{}")?;
            compare_decoders(run, line, EVENTS, &blocks, decoder, native, budget);
        }
    }
    Ok(())
}

fn csv(run: &mut Run<'_>) -> Result<(), Failure> {
    use DataType::{Int64, Timestamp, Utf8};
    const NAME: &str = "csv";
    let lines: [(&[&str], Native, &str); 3] = [
        (&["dep_delay"], native::csv_one, "decode 1 column"),
        (
            &["carrier", "flight", "origin", "dest", "dep_delay", "distance"],
            native::csv_six,
            "decode 6 columns",
        ),
        (&[], native::csv_all, "decode all 11 columns"),
    ];
    if !lines.iter().any(|line| run.wants(NAME, line.2)) {
        return Ok(());
    }
    let columns = [
        ("reported", Timestamp),
        ("scheduled", Timestamp),
        ("carrier", Utf8),
        ("flight", Int64),
        ("tailnum", Utf8),
        ("origin", Utf8),
        ("dest", Utf8),
        ("dep_delay", Int64),
        ("arr_delay", Int64),
        ("air_time", Int64),
        ("distance", Int64),
    ];
    let path = Path::new(env!("CARGO_MANIFEST_DIR")).join("../examples/01-flights/input/flights-2013-01.csv");
    let bytes = std::fs::read(&path)?;
    let header = bytes.iter().position(|&byte| byte == b'\n').map_or(0, |end| end + 1);
    let rows = String::from_utf8_lossy(&bytes[header..]).lines().count();
    run.report.bench(
        NAME,
        "departures of 79 bytes to columns; natively csv-core and parsing by hand",
    );
    let blocks = blocks(&Bytes::copy_from_slice(&bytes[..header]), &bytes[header..]);
    let registry = Registry::new().format::<Csv>();
    for (wanted, native, line) in lines {
        if run.wants(NAME, line) {
            let live = columns
                .iter()
                .map(|(name, _)| wanted.is_empty() || wanted.contains(name))
                .collect();
            let columns: Vec<_> = columns
                .iter()
                .map(|&(name, data_type)| column(name, data_type, true))
                .collect();
            let decoder = decoder::<Csv>(&registry, &columns, live, "{}")?;
            compare_decoders(run, line, rows, &blocks, decoder, native, Budget::None);
        }
    }
    Ok(())
}

fn compare_decoders(
    run: &mut Run<'_>,
    line: &str,
    records: usize,
    blocks: &[Block],
    mut decoder: Box<dyn Decoder>,
    native: Native,
    budget: Budget,
) {
    let decoded: usize = blocks
        .iter()
        .map(|block| decoder.decode(block).map_or(0, |decoded| decoded.rows))
        .sum();
    assert_eq!(decoded, records, "every record is valid");
    let by_hand: usize = blocks.iter().map(|block| native(&block.bytes).rows).sum();
    assert_eq!(by_hand, records, "both ways see the same records");
    let measured = compare(
        run.plan(),
        Cost::Thread,
        records,
        || {
            for block in blocks {
                black_box(decoder.decode(block).expect("the blocks are valid"));
            }
        },
        || {
            for block in blocks {
                black_box(native(&block.bytes));
            }
        },
    );
    run.report.add(line, &measured, budget);
}

/// Encoding: JSON lines.
pub(crate) fn encode(run: &mut Run<'_>) -> Result<(), Failure> {
    const NAME: &str = "json";
    const LINE: &str = "encode 6 columns, 2 of text";
    if !run.wants(NAME, LINE) {
        return Ok(());
    }
    run.report.bench(NAME, "bids to JSON lines; natively by hand with itoa");
    let batches = events::bids(EVENTS, 4096);
    let records = batches.iter().map(wasmill_core::batch::Batch::rows).sum();
    let registry = Registry::new().format::<Json>();
    let spec = EncodeSpec {
        schema: events::bid_schema(),
        columns: (0..events::bid_schema_len()).collect(),
    };
    let mut encoder = find::<Json>(&registry)?.encoder(&config("{}"), &spec)?;
    let mut ours = Encoded::default();
    assert!(encoder.encode(&batches[0], &mut ours).is_empty(), "bids can be written");
    assert_eq!(
        ours.bytes,
        native::encode(&batches[0]),
        "both ways write the same bytes"
    );
    let measured = compare(
        run.plan(),
        Cost::Thread,
        records,
        || {
            for batch in &batches {
                let mut encoded = Encoded::default();
                encoder.encode(batch, &mut encoded);
                black_box(encoded);
            }
        },
        || {
            for batch in &batches {
                black_box(native::encode(batch));
            }
        },
    );
    run.report.add(LINE, &measured, Budget::Nanos(60.0));
    Ok(())
}

fn column(name: &str, data_type: DataType, nullable: bool) -> SourceColumn {
    SourceColumn {
        field: Field {
            name: name.into(),
            data_type,
            nullable,
        },
        path: vec![name.to_owned()],
        timestamp: (data_type == DataType::Timestamp).then_some(TimestampFormat::Rfc3339),
    }
}

fn decoder<F: Format>(
    registry: &Registry,
    columns: &[SourceColumn],
    live: Vec<bool>,
    text: &str,
) -> Result<Box<dyn Decoder>, Failure> {
    let spec = DecodeSpec {
        columns: columns.to_vec(),
        live,
        validate_all: false,
    };
    Ok(find::<F>(registry)?.decoder(&config(text), &spec)?)
}

fn find<F: Format>(registry: &Registry) -> Result<&dyn AnyFormat, Failure> {
    registry
        .find_format(F::NAME)
        .ok_or_else(|| Failure::new(format!("no format {}", F::NAME)))
}

fn config(text: &str) -> serde_json::Value {
    serde_json::from_str(text).expect("the bench's own text is JSON")
}

/// Whole lines in blocks as a source makes them.
fn blocks(prologue: &Bytes, text: &[u8]) -> Vec<Block> {
    let mut blocks = Vec::new();
    let mut rest = text;
    while !rest.is_empty() {
        let until = rest.len().min(BLOCK_BYTES);
        let whole = rest[..until]
            .iter()
            .rposition(|&byte| byte == b'\n')
            .map_or(until, |end| end + 1);
        let (block, after) = rest.split_at(whole);
        blocks.push(Block {
            prologue: prologue.clone(),
            bytes: Bytes::copy_from_slice(block),
            ends: None,
        });
        rest = after;
    }
    blocks
}
