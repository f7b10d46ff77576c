//! Where fields and records end. The framer and the decoder walk the same way, so they cannot disagree.

use std::ops::Range;

use crate::format::lines::mark_len;
use crate::format::{Framer, Prologue};

/// What separates and what quotes.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Dialect {
    pub(super) delimiter: u8,
    pub(super) quote: Option<u8>,
}

/// One field, as it stands.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct FieldAt {
    /// Its content, without quotes around it.
    pub(super) content: Range<usize>,
    pub(super) kind: Kind,
    /// The byte after the field and what ends it.
    pub(super) next: usize,
    pub(super) ended_by: EndedBy,
}

/// How a field is written.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Kind {
    Plain,
    Quoted,
    /// Quoted, with doubled quotes inside.
    Doubled,
    /// Something stands between the closing quote and the end of the field.
    Trailing,
    /// The bytes end before the closing quote.
    Unclosed,
}

/// What ends a field.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum EndedBy {
    Delimiter,
    Line,
    /// The end of the bytes.
    Bytes,
}

impl Dialect {
    /// Whether no byte of `bytes` can be a quote.
    pub(super) fn is_unquoted(self, bytes: &[u8]) -> bool {
        self.quote.is_none_or(|quote| memchr::memchr(quote, bytes).is_none())
    }

    /// The field that begins at `start`.
    pub(super) fn field(self, bytes: &[u8], start: usize) -> FieldAt {
        match self.quote {
            Some(quote) if bytes.get(start) == Some(&quote) => self.quoted_field(bytes, start, quote),
            _ => {
                let (end, next, ended_by) = self.plain_end(bytes, start);
                FieldAt {
                    content: start..end,
                    kind: Kind::Plain,
                    next,
                    ended_by,
                }
            }
        }
    }

    /// Where unquoted text that begins at `start` ends, without the carriage return of a line end.
    fn plain_end(self, bytes: &[u8], start: usize) -> (usize, usize, EndedBy) {
        match memchr::memchr2(self.delimiter, b'\n', &bytes[start..]).map(|len| start + len) {
            Some(end) if bytes[end] == b'\n' => (without_return(bytes, start, end), end + 1, EndedBy::Line),
            Some(end) => (end, end + 1, EndedBy::Delimiter),
            None => (without_return(bytes, start, bytes.len()), bytes.len(), EndedBy::Bytes),
        }
    }

    fn quoted_field(self, bytes: &[u8], start: usize, quote: u8) -> FieldAt {
        let mut at = start + 1;
        let mut kind = Kind::Quoted;
        loop {
            let Some(len) = memchr::memchr(quote, &bytes[at..]) else {
                return FieldAt {
                    content: start + 1..bytes.len(),
                    kind: Kind::Unclosed,
                    next: bytes.len(),
                    ended_by: EndedBy::Bytes,
                };
            };
            let close = at + len;
            if bytes.get(close + 1) == Some(&quote) {
                kind = Kind::Doubled;
                at = close + 2;
                continue;
            }
            let (end, next, ended_by) = self.plain_end(bytes, close + 1);
            return FieldAt {
                content: start + 1..close,
                kind: if end == close + 1 { kind } else { Kind::Trailing },
                next,
                ended_by,
            };
        }
    }

    /// Where the record that begins at `start` ends, with its line end; `None` where the bytes end first.
    fn record_end(self, bytes: &[u8], start: usize) -> Option<usize> {
        let mut at = start;
        loop {
            let field = self.field(bytes, at);
            at = field.next;
            match field.ended_by {
                EndedBy::Delimiter => {}
                EndedBy::Line => return Some(at),
                EndedBy::Bytes => return None,
            }
        }
    }
}

fn without_return(bytes: &[u8], start: usize, end: usize) -> usize {
    if end > start && bytes[end - 1] == b'\r' {
        end - 1
    } else {
        end
    }
}

/// Finds records, and the header before them.
#[derive(Debug)]
pub(super) struct CsvFramer {
    dialect: Dialect,
    header: bool,
}

impl CsvFramer {
    pub(super) fn new(dialect: Dialect, header: bool) -> Self {
        Self { dialect, header }
    }
}

impl Framer for CsvFramer {
    fn prologue(&mut self, bytes: &[u8], end_of_partition: bool) -> Prologue {
        let Some(mut at) = mark_len(bytes, end_of_partition) else {
            return Prologue::Unknown;
        };
        if !self.header {
            return Prologue::Ends(at);
        }
        loop {
            match self.dialect.record_end(bytes, at) {
                Some(end) if is_blank(&bytes[at..end]) => at = end,
                Some(end) => return Prologue::Ends(end),
                None if end_of_partition => return Prologue::Ends(bytes.len()),
                None => return Prologue::Unknown,
            }
        }
    }

    fn whole_records(&mut self, bytes: &[u8], end_of_partition: bool) -> usize {
        if end_of_partition {
            return bytes.len();
        }
        if self.dialect.is_unquoted(bytes) {
            return memchr::memrchr(b'\n', bytes).map_or(0, |at| at + 1);
        }
        let mut whole = 0;
        while let Some(end) = self.dialect.record_end(bytes, whole) {
            whole = end;
        }
        whole
    }
}

/// Whether a record is an empty line.
pub(super) fn is_blank(record: &[u8]) -> bool {
    matches!(record, b"" | b"\n" | b"\r\n" | b"\r")
}
