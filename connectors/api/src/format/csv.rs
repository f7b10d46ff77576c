//! CSV (RFC 4180): a record a line, fields between delimiters, quotes around what holds a delimiter or a line end.
//!
//! A quote has a meaning only at the start of a field; within quotes a doubled quote stands for one. What the RFC leaves
//! open: empty lines are skipped; a record with another number of fields than the header is invalid; an unquoted field
//! that equals `null` is null, and a quoted one is too in a column that is not of text. Numbers and booleans are written as in JSON (and `NaN`, `inf`,
//! `-inf`), timestamps in the way that their column says, bytes in base64. Spaces belong to their field.

mod decode;
mod encode;
mod fields;

use serde::{Deserialize, Serialize};

use wasmill_core::fault::Fault;
use wasmill_core::plan::SourceColumn;
use wasmill_core::schema::Field;

use self::fields::Dialect;
use super::{DecodeSpec, Decoder, EncodeSpec, Encoder, Format, Framer, at_column, declared_columns};
use crate::config::ConfigProblem;

/// The format `csv`.
#[derive(Debug)]
pub struct Csv;

/// The keys of the format `csv`.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case", deny_unknown_fields, default)]
pub struct Config {
    /// Whether the first record of each file names the columns. A source then finds its columns by name, in any order,
    /// among others that it does not have; without a header, by their place in the schema. A sink writes one at the
    /// start of each file. Default `true`; records that are messages (of a broker) have none. Example: `header = false`.
    pub header: bool,
    /// What stands between two fields: one ASCII character. Default `","`. Example: `delimiter = "\t"`.
    pub delimiter: String,
    /// What stands around a field that holds a delimiter, a quote or a line end: one ASCII character, or `""` where
    /// nothing is quoted and every quote is a part of its field. Default `"\""`. Example: `quote = "'"`.
    pub quote: String,
    /// The text, without quotes, of a null. Default `""`: an empty field. Example: `null = "NA"`.
    pub null: String,
}

impl Default for Config {
    fn default() -> Self {
        Self {
            header: true,
            delimiter: ",".to_owned(),
            quote: "\"".to_owned(),
            null: String::new(),
        }
    }
}

impl Config {
    fn dialect(&self) -> Result<Dialect, Vec<ConfigProblem>> {
        let delimiter = one_byte("delimiter", &self.delimiter);
        let quote = match self.quote.as_str() {
            "" => Ok(None),
            quote => one_byte("quote", quote).map(Some),
        };
        match (delimiter, quote) {
            (Ok(delimiter), Ok(quote)) if quote == Some(delimiter) => {
                Err(vec![ConfigProblem::at("quote", "the quote is the delimiter too")])
            }
            (Ok(delimiter), Ok(quote)) => Ok(Dialect { delimiter, quote }),
            (delimiter, quote) => Err(delimiter.err().into_iter().chain(quote.err()).collect()),
        }
    }

    /// The dialect of a configuration that was checked.
    fn checked_dialect(&self) -> Dialect {
        self.dialect().expect("the configuration was checked")
    }
}

fn one_byte(key: &str, text: &str) -> Result<u8, ConfigProblem> {
    match text.as_bytes() {
        [b'\n' | b'\r'] => Err(ConfigProblem::at(key, "a line end cannot be the ".to_owned() + key)),
        [byte] if byte.is_ascii() => Ok(*byte),
        _ => {
            Err(ConfigProblem::at(key, format!("the {key} is one ASCII character"))
                .help("for example \",\" or \"\\t\""))
        }
    }
}

impl Format for Csv {
    const NAME: &'static str = "csv";
    type Config = Config;

    fn source_columns(
        config: &Config,
        declared: Option<&[SourceColumn]>,
    ) -> Result<Vec<SourceColumn>, Vec<ConfigProblem>> {
        let mut problems = config.dialect().err().unwrap_or_default();
        match declared_columns(Self::NAME, declared) {
            Ok(columns) => problems.extend(columns.iter().enumerate().filter(|(_, c)| c.path.len() != 1).map(
                |(index, _)| {
                    at_column(
                        index,
                        Some("path"),
                        "a CSV record has no fields within fields".to_owned(),
                    )
                },
            )),
            Err(found) => problems.extend(found),
        }
        if problems.is_empty() {
            Ok(declared.unwrap_or_default().to_vec())
        } else {
            Err(problems)
        }
    }

    fn check_sink(config: &Config, columns: &[Field]) -> Result<(), Vec<ConfigProblem>> {
        let dialect = config.dialect()?;
        let unwritable = |field: &&Field| dialect.quote.is_none() && dialect.needs_quotes(field.name.as_bytes());
        match columns.iter().find(unwritable) {
            Some(field) if config.header => Err(vec![ConfigProblem::at(
                "quote",
                format!("the header cannot name \"{}\" without quotes", field.name),
            )]),
            _ => Ok(()),
        }
    }

    fn framer(config: &Config) -> Box<dyn Framer> {
        Box::new(fields::CsvFramer::new(config.checked_dialect(), config.header))
    }

    fn decoder(config: &Config, spec: &DecodeSpec) -> Result<Box<dyn Decoder>, Fault> {
        Ok(Box::new(decode::CsvDecoder::new(config, spec)?))
    }

    fn encoder(config: &Config, spec: &EncodeSpec) -> Result<Box<dyn Encoder>, Fault> {
        Ok(Box::new(encode::CsvEncoder::new(config, spec)))
    }
}

#[cfg(test)]
mod tests;
