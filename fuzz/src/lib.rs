//! What the fuzz targets of the decoders share: any bytes are decoded, as a stream cut anywhere and as messages, and
//! what comes out must make sense and must not depend on the cuts.
//!
//! ```text
//! cargo +nightly fuzz run json_decode
//! ```

use bytes::Bytes;

use wasmill_connector_api::format::{Block, DecodeSpec, Decoded, Format, Framer, Prologue};
use wasmill_core::plan::{SourceColumn, TimestampFormat, TimestampUnit};
use wasmill_core::schema::{DataType, Field};

/// A column of each type, by name.
pub fn columns() -> Vec<SourceColumn> {
    let mut columns: Vec<SourceColumn> = [
        ("b", DataType::Boolean),
        ("i", DataType::Int64),
        ("f", DataType::Float64),
        ("s", DataType::Utf8),
        ("x", DataType::Binary),
        ("t", DataType::Timestamp),
        ("u", DataType::Timestamp),
        ("j", DataType::Json),
    ]
    .into_iter()
    .map(|(name, data_type)| SourceColumn {
        field: Field::nullable(name, data_type),
        path: vec![name.to_owned()],
        timestamp: (data_type == DataType::Timestamp).then_some(TimestampFormat::Rfc3339),
    })
    .collect();
    columns[6].timestamp = Some(TimestampFormat::Unit(TimestampUnit::Ms));
    columns
}

/// Decodes the bytes as a partition, whole and cut in pieces, and as messages.
pub fn check<F: Format>(config: &F::Config, columns: &[SourceColumn], bytes: &[u8]) {
    let Some((&piece, bytes)) = bytes.split_first() else {
        return;
    };
    let spec = DecodeSpec {
        columns: columns.to_vec(),
        live: vec![true; columns.len()],
        validate_all: false,
    };
    let mut decoder = F::decoder(config, &spec).expect("the columns fit");
    let whole = blocks(F::framer(config), bytes, usize::MAX);
    let pieces = blocks(F::framer(config), bytes, usize::from(piece) + 1);
    let mut decode = |blocks: Vec<Block>| {
        let mut all = Vec::new();
        for block in blocks {
            let Ok(decoded) = decoder.decode(&block) else {
                return None;
            };
            all.extend(rows(&block, &decoded));
        }
        Some(all)
    };
    assert_eq!(decode(whole), decode(pieces), "cuts change nothing");
    let cut = (usize::from(piece)).min(bytes.len());
    let messages = Block {
        prologue: Bytes::new(),
        bytes: Bytes::copy_from_slice(bytes),
        ends: Some(vec![cut as u32, bytes.len() as u32]),
    };
    if let Ok(decoded) = decoder.decode(&messages) {
        assert!(
            decoded.rows + decoded.invalid.len() <= 2,
            "a message is one record at most"
        );
        rows(&messages, &decoded);
    }
}

/// The blocks that a framer makes of a partition that comes in pieces.
fn blocks(mut framer: Box<dyn Framer>, bytes: &[u8], piece: usize) -> Vec<Block> {
    let mut prologue = None;
    let mut held = Vec::new();
    let mut blocks = Vec::new();
    let mut rest = bytes;
    loop {
        let (next, after) = rest.split_at(piece.min(rest.len()));
        held.extend_from_slice(next);
        rest = after;
        let end = rest.is_empty();
        if prologue.is_none()
            && let Prologue::Ends(len) = framer.prologue(&held, end)
        {
            prologue = Some(Bytes::from(held.drain(..len).collect::<Vec<u8>>()));
        }
        if let Some(prologue) = &prologue {
            let whole = framer.whole_records(&held, end);
            if whole > 0 {
                blocks.push(Block {
                    prologue: prologue.clone(),
                    bytes: held.drain(..whole).collect::<Vec<u8>>().into(),
                    ends: None,
                });
            }
        }
        if end {
            assert!(
                held.is_empty() && prologue.is_some(),
                "at the end everything is a record"
            );
            return blocks;
        }
    }
}

/// The rows and invalid records in their order, as text, after checks of what a block must hold.
fn rows(block: &Block, decoded: &Decoded) -> Vec<String> {
    assert_eq!(
        (decoded.starts.len(), decoded.lines.len()),
        (decoded.rows, decoded.rows)
    );
    assert!(decoded.starts.is_sorted() && decoded.lines.is_sorted());
    assert!(decoded.lines.last().is_none_or(|line| *line < decoded.line_count));
    let mut all = Vec::new();
    let mut invalid = decoded.invalid.iter().peekable();
    for row in 0..=decoded.rows {
        while let Some(bad) = invalid.next_if(|bad| bad.rows_before as usize == row) {
            assert!(bad.start <= bad.end && bad.end as usize <= block.bytes.len());
            let record = &block.bytes[bad.start as usize..bad.end as usize];
            all.push(format!("{:?} {record:?} {}", bad.column, bad.reason));
        }
        if row < decoded.rows {
            let values = decoded.columns.iter().flatten().map(|column| column.value(row));
            all.push(format!("{:?}", values.collect::<Vec<_>>()));
        }
    }
    assert!(
        invalid.next().is_none(),
        "every invalid record stands before, between or after rows"
    );
    all
}
