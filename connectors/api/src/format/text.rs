//! Plain text: a line a record, in one column of type utf8.
//!
//! A source gives the line without its line end (LF or CR LF) in a column named `line`, or as the topology names it;
//! empty lines are rows too. A line that is not valid UTF-8 is an invalid record. A sink has one column of text, and
//! writes it with a line feed behind it; a value that holds line feeds therefore makes several lines, and a null makes
//! none: it is an invalid record.

use bytes::Bytes;
use serde::{Deserialize, Serialize};

use wasmill_core::batch::Batch;
use wasmill_core::column::Value;
use wasmill_core::fault::Fault;
use wasmill_core::plan::SourceColumn;
use wasmill_core::schema::{DataType, Field};
use wasmill_core::transform::Reject;

use super::lines::{self, LineFramer};
use super::slots::{Invalid, Rows};
use super::{
    Block, DecodeSpec, Decoded, Decoder, EncodeSpec, Encoded, Encoder, Format, Framer, encode_rows, format_fault,
    whole_record_column,
};
use crate::config::ConfigProblem;

/// The format `text`.
#[derive(Debug)]
pub struct Text;

/// The format `text` has no keys.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case", deny_unknown_fields)]
pub struct Config {}

impl Format for Text {
    const NAME: &'static str = "text";
    type Config = Config;

    fn source_columns(
        _config: &Config,
        declared: Option<&[SourceColumn]>,
    ) -> Result<Vec<SourceColumn>, Vec<ConfigProblem>> {
        whole_record_column(Self::NAME, "line", DataType::Utf8, declared)
    }

    fn check_sink(_config: &Config, columns: &[Field]) -> Result<(), Vec<ConfigProblem>> {
        match columns {
            [field] if matches!(field.data_type, DataType::Utf8 | DataType::Json) => Ok(()),
            [field] => Err(vec![ConfigProblem::at(
                "format",
                format!("text writes a column of type utf8, not {field}"),
            )]),
            columns => Err(vec![
                ConfigProblem::at("format", format!("text writes one column, not {}", columns.len()))
                    .help("name it in the sink's `columns`, or use the format json or csv"),
            ]),
        }
    }

    fn framer(_config: &Config) -> Box<dyn Framer> {
        Box::new(LineFramer)
    }

    fn decoder(_config: &Config, spec: &DecodeSpec) -> Result<Box<dyn Decoder>, Fault> {
        let rows = Rows::new(spec).map_err(format_fault)?;
        Ok(Box::new(TextDecoder { rows }))
    }

    fn encoder(_config: &Config, spec: &EncodeSpec) -> Result<Box<dyn Encoder>, Fault> {
        Ok(Box::new(TextEncoder {
            column: spec.columns[0],
        }))
    }
}

#[derive(Debug)]
struct TextDecoder {
    rows: Rows,
}

impl Decoder for TextDecoder {
    fn decode(&mut self, block: &Block) -> Result<Decoded, Fault> {
        let mut records = lines::records(block);
        for record in records.by_ref() {
            let line = &block.bytes[record.start as usize..record.end as usize];
            let row = self.rows.row();
            let read = match self.rows.slots.first_mut() {
                None => Ok(()),
                Some(slot) => slot.set_text(row, line).map_err(|misfit| Invalid {
                    slot: Some(0),
                    byte_column: invalid_utf8_at(line),
                    reason: format!("the line {misfit}"),
                }),
            };
            self.rows.end(record, read);
        }
        Ok(self.rows.take(records.line_count()))
    }
}

#[cold]
fn invalid_utf8_at(line: &[u8]) -> Option<u32> {
    let error = std::str::from_utf8(line).err()?;
    Some(error.valid_up_to() as u32 + 1)
}

#[derive(Debug)]
struct TextEncoder {
    column: usize,
}

impl Encoder for TextEncoder {
    fn prologue(&self) -> Bytes {
        Bytes::new()
    }

    fn encode(&mut self, batch: &Batch, out: &mut Encoded) -> Vec<Reject> {
        let column = batch.column(self.column);
        encode_rows(batch.rows(), out, |row, bytes| match column.value(row) {
            Value::Utf8(text) | Value::Json(text) => {
                bytes.extend_from_slice(text.as_bytes());
                bytes.push(b'\n');
                Ok(())
            }
            _ => Err("the value is null, which is no line of text".to_owned()),
        })
    }
}

#[cfg(test)]
mod tests {
    use super::super::tests::{batch, column, decoder_rows, encoded, stream};
    use super::*;

    fn spec() -> DecodeSpec {
        DecodeSpec {
            columns: Text::source_columns(&Config {}, None).unwrap(),
            live: vec![true],
            validate_all: false,
        }
    }

    #[test]
    fn lines_are_rows_and_broken_ones_are_invalid() {
        let mut decoder = Text::decoder(&Config {}, &spec()).unwrap();
        let decoded = decoder.decode(&stream(b"a\r\n\nb\xFFc\n\xC3\xA9")).unwrap();
        assert_eq!(decoder_rows(&decoded), [["\"a\""], ["\"\""], ["\"é\""]]);
        assert_eq!(decoded.starts, [0, 3, 8]);
        assert_eq!(decoded.lines, [0, 1, 3]);
        assert_eq!(decoded.line_count, 4);
        let [invalid] = decoded.invalid.as_slice() else {
            panic!("one invalid record")
        };
        assert_eq!((invalid.rows_before, invalid.start, invalid.end), (2, 4, 7));
        assert_eq!((invalid.line, invalid.byte_column), (2, Some(2)));
        assert_eq!(invalid.reason, "the line is not valid UTF-8");
    }

    #[test]
    fn the_declared_column_may_have_any_name_but_one_type() {
        let named = [column("message", DataType::Utf8, false)];
        assert_eq!(Text::source_columns(&Config {}, Some(&named)).unwrap(), named);
        let number = [column("message", DataType::Int64, false)];
        assert!(Text::source_columns(&Config {}, Some(&number)).is_err());
    }

    #[test]
    fn a_text_is_a_line_and_a_null_is_rejected() {
        let (schema, rows) = batch(&[("a", DataType::Utf8)], &[&["x"], &["-"], &[""]]);
        let encoder = Text::encoder(
            &Config {},
            &EncodeSpec {
                schema,
                columns: vec![0],
            },
        )
        .unwrap();
        let (text, rejects) = encoded(encoder, &rows);
        assert_eq!(text, "x\n\n");
        assert_eq!(rejects.iter().map(|reject| reject.row).collect::<Vec<_>>(), [1]);
    }
}
