//! Raw bytes, in one column of type binary: a message of a broker, a whole file, or pieces of a fixed length.
//!
//! A source gives each record in a column named `bytes`, or as the topology names it. A file as a whole is one record
//! unless `record-bytes` cuts it; it must then fit into memory. A sink has one column of bytes or text, and writes its
//! values one after the other with nothing between them.

use std::num::NonZeroU32;

use bytes::Bytes;
use serde::{Deserialize, Serialize};

use wasmill_core::batch::Batch;
use wasmill_core::column::Value;
use wasmill_core::fault::Fault;
use wasmill_core::plan::SourceColumn;
use wasmill_core::schema::{DataType, Field};
use wasmill_core::transform::Reject;

use super::slots::{Invalid, Record, Rows};
use super::{
    Block, DecodeSpec, Decoded, Decoder, EncodeSpec, Encoded, Encoder, Format, Framer, Prologue, encode_rows,
    format_fault, whole_record_column,
};
use crate::config::ConfigProblem;

/// The format `raw`.
#[derive(Debug)]
pub struct Raw;

/// The keys of the format `raw`.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case", deny_unknown_fields, default)]
pub struct Config {
    /// The length of each record in bytes. A last one that is shorter is an invalid record. Default: none, a file is one
    /// record; messages always are records of their own. Sinks do not look at it. Example: `record-bytes = 188`.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub record_bytes: Option<NonZeroU32>,
}

impl Config {
    fn record_len(&self) -> Option<usize> {
        self.record_bytes.map(|len| len.get() as usize)
    }
}

impl Format for Raw {
    const NAME: &'static str = "raw";
    type Config = Config;

    fn source_columns(
        _config: &Config,
        declared: Option<&[SourceColumn]>,
    ) -> Result<Vec<SourceColumn>, Vec<ConfigProblem>> {
        whole_record_column(Self::NAME, "bytes", DataType::Binary, declared)
    }

    fn check_sink(_config: &Config, columns: &[Field]) -> Result<(), Vec<ConfigProblem>> {
        match columns {
            [field] if matches!(field.data_type, DataType::Binary | DataType::Utf8 | DataType::Json) => Ok(()),
            [field] => Err(vec![ConfigProblem::at(
                "format",
                format!("raw writes a column of type binary or utf8, not {field}"),
            )]),
            columns => Err(vec![
                ConfigProblem::at("format", format!("raw writes one column, not {}", columns.len()))
                    .help("name it in the sink's `columns`"),
            ]),
        }
    }

    fn framer(config: &Config) -> Box<dyn Framer> {
        Box::new(RawFramer {
            record_len: config.record_len(),
        })
    }

    fn decoder(config: &Config, spec: &DecodeSpec) -> Result<Box<dyn Decoder>, Fault> {
        Ok(Box::new(RawDecoder {
            record_len: config.record_len(),
            rows: Rows::new(spec).map_err(format_fault)?,
        }))
    }

    fn encoder(_config: &Config, spec: &EncodeSpec) -> Result<Box<dyn Encoder>, Fault> {
        Ok(Box::new(RawEncoder {
            column: spec.columns[0],
        }))
    }
}

#[derive(Debug)]
struct RawFramer {
    record_len: Option<usize>,
}

impl Framer for RawFramer {
    fn prologue(&mut self, _bytes: &[u8], _end_of_partition: bool) -> Prologue {
        Prologue::Ends(0)
    }

    fn whole_records(&mut self, bytes: &[u8], end_of_partition: bool) -> usize {
        match self.record_len {
            _ if end_of_partition => bytes.len(),
            Some(len) => bytes.len() / len * len,
            None => 0,
        }
    }
}

#[derive(Debug)]
struct RawDecoder {
    record_len: Option<usize>,
    rows: Rows,
}

impl RawDecoder {
    fn record(&mut self, bytes: &[u8], start: usize, end: usize, number: u32) {
        let record = Record {
            start: start as u32,
            end: end as u32,
            line: number,
        };
        let row = self.rows.row();
        let read = match self.record_len {
            Some(len) if len != end - start => Err(Invalid::record(
                None,
                format!("the last record has {} bytes, not {len}", end - start),
            )),
            _ => {
                if let Some(slot) = self.rows.slots.first_mut() {
                    slot.set_bytes(row, &bytes[start..end]);
                }
                Ok(())
            }
        };
        self.rows.end(record, read);
    }
}

impl Decoder for RawDecoder {
    fn decode(&mut self, block: &Block) -> Result<Decoded, Fault> {
        let bytes = &block.bytes;
        let mut start = 0;
        let mut number = 0;
        if let Some(ends) = &block.ends {
            let cut = self.record_len.take();
            for &end in ends {
                self.record(bytes, start, end as usize, number);
                start = end as usize;
                number += 1;
            }
            self.record_len = cut;
        } else {
            while start < bytes.len() {
                let end = self
                    .record_len
                    .map_or(bytes.len(), |len| (start + len).min(bytes.len()));
                self.record(bytes, start, end, number);
                start = end;
                number += 1;
            }
        }
        Ok(self.rows.take(number))
    }
}

#[derive(Debug)]
struct RawEncoder {
    column: usize,
}

impl Encoder for RawEncoder {
    fn prologue(&self) -> Bytes {
        Bytes::new()
    }

    fn encode(&mut self, batch: &Batch, out: &mut Encoded) -> Vec<Reject> {
        let column = batch.column(self.column);
        encode_rows(batch.rows(), out, |row, bytes| {
            match column.value(row) {
                Value::Binary(value) => bytes.extend_from_slice(value),
                Value::Utf8(text) | Value::Json(text) => bytes.extend_from_slice(text.as_bytes()),
                _ => return Err("the value is null, which is no bytes".to_owned()),
            }
            Ok(())
        })
    }
}

#[cfg(test)]
mod tests {
    use super::super::tests::{batch, decoder_rows, encoded, messages, stream};
    use super::*;

    fn decoder(record_bytes: Option<u32>) -> Box<dyn Decoder> {
        let config = Config {
            record_bytes: record_bytes.and_then(NonZeroU32::new),
        };
        let spec = DecodeSpec {
            columns: Raw::source_columns(&config, None).unwrap(),
            live: vec![true],
            validate_all: false,
        };
        Raw::decoder(&config, &spec).unwrap()
    }

    #[test]
    fn a_stream_is_one_record_or_pieces_of_a_length() {
        let decoded = decoder(None).decode(&stream(b"a\n\xFF")).unwrap();
        assert_eq!(decoder_rows(&decoded), [["0x610aff"]]);
        let decoded = decoder(Some(2)).decode(&stream(b"abcde")).unwrap();
        assert_eq!(decoder_rows(&decoded), [["0x6162"], ["0x6364"]]);
        assert_eq!(decoded.invalid[0].reason, "the last record has 1 bytes, not 2");
        assert_eq!(decoder(None).decode(&stream(b"")).unwrap().rows, 0);
    }

    #[test]
    fn messages_are_records_of_any_length() {
        let decoded = decoder(Some(2)).decode(&messages(&[b"abc", b""])).unwrap();
        assert_eq!(decoder_rows(&decoded), [["0x616263"], ["0x"]]);
    }

    #[test]
    fn the_framer_waits_for_whole_records() {
        let framer = |record_bytes: Option<u32>| {
            Raw::framer(&Config {
                record_bytes: record_bytes.and_then(NonZeroU32::new),
            })
        };
        assert_eq!(framer(Some(2)).whole_records(b"abc", false), 2);
        assert_eq!(framer(None).whole_records(b"abc", false), 0);
        assert_eq!(framer(None).whole_records(b"abc", true), 3);
    }

    #[test]
    fn values_are_written_one_after_the_other() {
        let (schema, rows) = batch(&[("a", DataType::Utf8)], &[&["x"], &["-"], &["y"]]);
        let encoder = Raw::encoder(
            &Config::default(),
            &EncodeSpec {
                schema,
                columns: vec![0],
            },
        )
        .unwrap();
        let (text, rejects) = encoded(encoder, &rows);
        assert_eq!((text.as_str(), rejects.len()), ("xy", 1));
    }
}
