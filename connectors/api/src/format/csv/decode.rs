//! CSV to columns. Blocks without a quote are split at delimiters and line feeds in one pass; others are walked field
//! by field.

use std::ops::Range;

use bytes::Bytes;

use wasmill_core::fault::{Domain, Fault};

use super::Config;
use super::fields::{Dialect, EndedBy, Kind, is_blank};
use crate::format::lines::{self, BYTE_ORDER_MARK};
use crate::format::slots::{Invalid, Record, Rows, quoted};
use crate::format::{Block, DecodeSpec, Decoded, Decoder, format_fault};

/// Decodes CSV.
#[derive(Debug)]
pub(super) struct CsvDecoder {
    dialect: Dialect,
    null: Vec<u8>,
    /// The names of the source's columns, where a header places them.
    names: Option<Vec<String>>,
    columns: usize,
    rows: Rows,
    layout: Layout,
    /// The fields of the record that is being read.
    fields: Vec<FieldText>,
}

/// Which field of a record goes where. Kept for the next block, which mostly has the same header.
#[derive(Debug, Default)]
struct Layout {
    prologue: Bytes,
    fields: usize,
    /// Fields that are decoded, with their slots.
    targets: Vec<(usize, usize)>,
}

#[derive(Clone, Debug)]
struct FieldText {
    at: Range<usize>,
    kind: Kind,
}

impl CsvDecoder {
    pub(super) fn new(config: &Config, spec: &DecodeSpec) -> Result<Self, Fault> {
        let rows = Rows::new(spec).map_err(format_fault)?;
        let targets = targets(rows.by_column().iter().copied().enumerate());
        Ok(Self {
            dialect: config.checked_dialect(),
            null: config.null.clone().into_bytes(),
            names: config
                .header
                .then(|| spec.columns.iter().map(|column| column.path.join(".")).collect()),
            columns: spec.columns.len(),
            layout: Layout {
                prologue: Bytes::new(),
                fields: spec.columns.len(),
                targets,
            },
            rows,
            fields: Vec::new(),
        })
    }

    /// Follows another header.
    fn turn_to(&mut self, prologue: &Bytes) -> Result<(), Fault> {
        let Some(names) = &self.names else { return Ok(()) };
        if self.layout.prologue == *prologue {
            return Ok(());
        }
        let header = read_header(self.dialect, prologue);
        let mut targets = Vec::new();
        let mut missing = Vec::new();
        for (name, slot) in names.iter().zip(self.rows.by_column()) {
            let mut places = header.iter().enumerate().filter(|(_, known)| *known == name);
            match (places.next(), places.next()) {
                (None, _) => missing.push(name.as_str()),
                (Some(_), Some(_)) => {
                    return Err(user_fault(format!("the CSV header names two columns \"{name}\"")));
                }
                (Some((field, _)), None) => targets.extend(slot.map(|slot| (field, slot))),
            }
        }
        if !missing.is_empty() {
            return Err(user_fault(format!(
                "the CSV header has no column {}; it has {}",
                list(&missing),
                list(&header)
            )));
        }
        targets.sort_unstable();
        self.layout = Layout {
            prologue: prologue.clone(),
            fields: header.len(),
            targets,
        };
        Ok(())
    }

    /// Messages have no header: their fields stand in the order of the schema.
    fn decode_messages(&mut self, block: &Block) -> Result<Decoded, Fault> {
        if self.names.is_some() {
            return Err(user_fault(
                "records that are messages have no CSV header; the format needs `header = false`".to_owned(),
            ));
        }
        let mut records = lines::records(block);
        for record in records.by_ref() {
            let bytes = &block.bytes[record.start as usize..record.end as usize];
            let end = self.split(bytes, 0);
            let read = if end < bytes.len() {
                Err(Invalid::record(None, "the message holds more than one record"))
            } else {
                self.set_fields(bytes, 0)
            };
            self.rows.end(record, read);
        }
        Ok(self.rows.take(records.line_count()))
    }

    /// One pass over a block that has no quotes.
    fn decode_unquoted(&mut self, bytes: &[u8]) -> u32 {
        let mut line = 0;
        let mut start = 0;
        self.fields.clear();
        let mut field = 0;
        for at in memchr::memchr2_iter(self.dialect.delimiter, b'\n', bytes) {
            self.fields.push(FieldText {
                at: field..at,
                kind: Kind::Plain,
            });
            field = at + 1;
            if bytes[at] == b'\n' {
                self.end_unquoted(bytes, start, line);
                start = field;
                line += 1;
            }
        }
        if start < bytes.len() {
            self.fields.push(FieldText {
                at: field..bytes.len(),
                kind: Kind::Plain,
            });
            self.end_unquoted(bytes, start, line);
            line += 1;
        }
        line
    }

    #[inline]
    fn end_unquoted(&mut self, bytes: &[u8], start: usize, line: u32) {
        let last = self.fields.last_mut().expect("a line has a field");
        if last.at.end > last.at.start && bytes[last.at.end - 1] == b'\r' {
            last.at.end -= 1;
        }
        let end = last.at.end;
        if end > start {
            let read = self.set_fields(bytes, start);
            let record = Record {
                start: start as u32,
                end: end as u32,
                line,
            };
            self.rows.end(record, read);
        }
        self.fields.clear();
    }

    fn decode_quoted(&mut self, bytes: &[u8]) -> u32 {
        let mut line = 0;
        let mut start = 0;
        while start < bytes.len() {
            let next = self.split(bytes, start);
            let whole = &bytes[start..next];
            if !is_blank(whole) {
                let content = whole.strip_suffix(b"\n").unwrap_or(whole);
                let content = content.strip_suffix(b"\r").unwrap_or(content);
                let read = self.set_fields(bytes, start);
                let record = Record {
                    start: start as u32,
                    end: (start + content.len()) as u32,
                    line,
                };
                self.rows.end(record, read);
            }
            line += memchr::memchr_iter(b'\n', whole).count() as u32;
            if next == bytes.len() && !whole.ends_with(b"\n") {
                line += 1;
            }
            start = next;
        }
        line
    }

    /// Notes the fields of the record at `start`, and says where the next one begins.
    fn split(&mut self, bytes: &[u8], start: usize) -> usize {
        self.fields.clear();
        let mut at = start;
        loop {
            let field = self.dialect.field(bytes, at);
            at = field.next;
            self.fields.push(FieldText {
                at: field.content,
                kind: field.kind,
            });
            if field.ended_by != EndedBy::Delimiter {
                return at;
            }
        }
    }

    /// Sets the row's values from the noted fields.
    #[inline]
    fn set_fields(&mut self, bytes: &[u8], start: usize) -> Result<(), Invalid> {
        if self.fields.len() != self.layout.fields {
            return Err(self.wrong_count());
        }
        let row = self.rows.row();
        for &(field, slot) in &self.layout.targets {
            let FieldText { at, kind } = &self.fields[field];
            let text = &bytes[at.clone()];
            let target = &mut self.rows.slots[slot];
            let set = match kind {
                Kind::Plain if text == self.null.as_slice() => {
                    target.set_null(row);
                    Ok(())
                }
                Kind::Quoted if text == self.null.as_slice() && !target.holds_text() => {
                    target.set_null(row);
                    Ok(())
                }
                Kind::Plain | Kind::Quoted => target.set_text(row, text),
                Kind::Doubled => target.set_text(row, &self.dialect.undouble(text)),
                Kind::Trailing => Err("is followed by more than a delimiter after its closing quote".to_owned()),
                Kind::Unclosed => Err("has no closing quote".to_owned()),
            };
            if let Err(misfit) = set {
                return Err(Invalid {
                    slot: Some(slot),
                    byte_column: byte_column(bytes, start, at.start),
                    reason: format!("column \"{}\": {} {misfit}", target.field().name, quoted(text)),
                });
            }
        }
        self.check_quotes(bytes, start)
    }

    /// Quotes belong to a record's structure, which is checked in every field.
    fn check_quotes(&self, bytes: &[u8], start: usize) -> Result<(), Invalid> {
        let broken = self
            .fields
            .iter()
            .find(|field| matches!(field.kind, Kind::Trailing | Kind::Unclosed));
        match broken {
            None => Ok(()),
            Some(field) => Err(Invalid::record(
                byte_column(bytes, start, field.at.start),
                match field.kind {
                    Kind::Unclosed => "a quoted field has no closing quote",
                    _ => "a quoted field is followed by more than a delimiter",
                },
            )),
        }
    }

    #[cold]
    fn wrong_count(&self) -> Invalid {
        let wanted = if self.names.is_some() {
            "the header"
        } else {
            "the schema"
        };
        let unclosed = self.fields.last().is_some_and(|field| field.kind == Kind::Unclosed);
        let plural = if self.fields.len() == 1 { "" } else { "s" };
        let hint = if unclosed {
            ": a quoted field has no closing quote"
        } else {
            ""
        };
        Invalid::record(
            None,
            format!(
                "{} field{plural} where {wanted} has {}{hint}",
                self.fields.len(),
                self.layout.fields
            ),
        )
    }
}

impl Decoder for CsvDecoder {
    fn decode(&mut self, block: &Block) -> Result<Decoded, Fault> {
        if block.ends.is_some() {
            return self.decode_messages(block);
        }
        if block.bytes.is_empty() {
            return Ok(self.rows.take(0));
        }
        self.turn_to(&block.prologue)?;
        debug_assert!(
            self.names.is_some() || self.layout.fields == self.columns,
            "by position"
        );
        let lines = if self.dialect.is_unquoted(&block.bytes) {
            self.decode_unquoted(&block.bytes)
        } else {
            self.decode_quoted(&block.bytes)
        };
        Ok(self.rows.take(lines))
    }
}

impl Dialect {
    /// A quoted field's text: each doubled quote is one.
    fn undouble(self, text: &[u8]) -> Vec<u8> {
        let quote = self.quote.expect("a field with doubled quotes is quoted");
        let mut out = Vec::with_capacity(text.len());
        let mut rest = text;
        while let Some(at) = memchr::memchr(quote, rest) {
            out.extend_from_slice(&rest[..=at]);
            rest = &rest[at + 2..];
        }
        out.extend_from_slice(rest);
        out
    }
}

fn targets(slots: impl Iterator<Item = (usize, Option<usize>)>) -> Vec<(usize, usize)> {
    slots.filter_map(|(field, slot)| Some((field, slot?))).collect()
}

/// The byte of the record's line, from 1; `None` where it stands in a later line of the record.
#[cold]
fn byte_column(bytes: &[u8], start: usize, at: usize) -> Option<u32> {
    let before = &bytes[start..at];
    memchr::memchr(b'\n', before).is_none().then(|| before.len() as u32 + 1)
}

/// The names in a header.
fn read_header(dialect: Dialect, prologue: &[u8]) -> Vec<String> {
    let mut names = Vec::new();
    let bytes = prologue.strip_prefix(BYTE_ORDER_MARK).unwrap_or(prologue);
    let mut at = 0;
    while at < bytes.len() && matches!(bytes[at], b'\n' | b'\r') {
        at += 1;
    }
    loop {
        let field = dialect.field(bytes, at);
        let text = &bytes[field.content.clone()];
        let name = match field.kind {
            Kind::Doubled => dialect.undouble(text),
            _ => text.to_vec(),
        };
        names.push(String::from_utf8_lossy(&name).into_owned());
        at = field.next;
        if field.ended_by != EndedBy::Delimiter {
            return names;
        }
    }
}

fn list<T: AsRef<str>>(names: &[T]) -> String {
    let names: Vec<String> = names.iter().map(|name| format!("\"{}\"", name.as_ref())).collect();
    names.join(", ")
}

fn user_fault(message: String) -> Fault {
    Fault::fatal(Domain::User, message)
}
