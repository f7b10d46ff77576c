//! JSON lines (NDJSON): a JSON object a line (RFC 8259), or a message.
//!
//! Reading is strict: 1.5 is no int64, `"12"` is not 12, a number that does not fit is an error, nothing may follow the
//! object, and every byte of the line is checked, also what no column reads. A missing field is null; of a name that
//! comes twice the last value counts, but each must fit. Lines of white space are skipped.
//!
//! | column | read from | written as |
//! |---|---|---|
//! | `boolean` | `true`, `false` | the same |
//! | `int64` | a number without fraction and exponent | the same |
//! | `float64` | any number; the nearest double | the shortest digits that give it back; NaN and infinities are invalid |
//! | `utf8` | a string | the same |
//! | `binary` | a string in base64 | the same |
//! | `timestamp` | a string, or a number where the column has a `unit` | RFC 3339 in UTC, with the digits that it needs |
//! | `json` | any value, kept as it is written | the same |

mod decode;
mod encode;

use serde::{Deserialize, Serialize};

use wasmill_core::fault::Fault;
use wasmill_core::plan::SourceColumn;
use wasmill_core::schema::Field;

use super::lines::LineFramer;
use super::{DecodeSpec, Decoder, EncodeSpec, Encoder, Format, Framer, at_column, declared_columns};
use crate::config::ConfigProblem;

/// The format `json`.
#[derive(Debug)]
pub struct Json;

/// The format `json` has no keys.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case", deny_unknown_fields)]
pub struct Config {}

impl Format for Json {
    const NAME: &'static str = "json";
    type Config = Config;

    fn source_columns(
        _config: &Config,
        declared: Option<&[SourceColumn]>,
    ) -> Result<Vec<SourceColumn>, Vec<ConfigProblem>> {
        let columns = declared_columns(Self::NAME, declared)?;
        let problems = decode::conflicts(columns)
            .map(|(index, message)| at_column(index, Some("path"), message))
            .collect::<Vec<_>>();
        if problems.is_empty() {
            Ok(columns.to_vec())
        } else {
            Err(problems)
        }
    }

    fn check_sink(_config: &Config, _columns: &[Field]) -> Result<(), Vec<ConfigProblem>> {
        Ok(())
    }

    fn framer(_config: &Config) -> Box<dyn Framer> {
        Box::new(LineFramer)
    }

    fn decoder(_config: &Config, spec: &DecodeSpec) -> Result<Box<dyn Decoder>, Fault> {
        Ok(Box::new(decode::JsonDecoder::new(spec)?))
    }

    fn encoder(_config: &Config, spec: &EncodeSpec) -> Result<Box<dyn Encoder>, Fault> {
        Ok(Box::new(encode::JsonEncoder::new(spec)))
    }
}

#[cfg(test)]
mod tests;
