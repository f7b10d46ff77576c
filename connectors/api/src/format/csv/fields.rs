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
}

fn without_return(bytes: &[u8], start: usize, end: usize) -> usize {
    if end > start && bytes[end - 1] == b'\r' {
        end - 1
    } else {
        end
    }
}

/// How far a record was walked, so that no byte is looked at again when more of them come.
#[derive(Debug, Default)]
struct Walk {
    at: usize,
    inside: Inside,
}

/// What stands before the place that a walk has reached.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
enum Inside {
    /// The end of a field, or nothing.
    #[default]
    Between,
    /// The beginning of text without quotes around it.
    Plain,
    /// The beginning of quoted text.
    Quoted,
}

impl Walk {
    /// Goes on to the end of the record, with its line end; `None` where the bytes end first. The same bytes must come
    /// again, with more behind them.
    fn record_end(&mut self, dialect: Dialect, bytes: &[u8]) -> Option<usize> {
        loop {
            match (self.inside, dialect.quote) {
                (Inside::Between, quote) => {
                    let first = *bytes.get(self.at)?;
                    if Some(first) == quote {
                        self.at += 1;
                        self.inside = Inside::Quoted;
                    } else {
                        self.inside = Inside::Plain;
                    }
                }
                (Inside::Quoted, Some(quote)) => {
                    let close = memchr::memchr(quote, &bytes[self.at..]).map(|len| self.at + len);
                    self.at = close.unwrap_or(bytes.len());
                    // Only the next byte says whether this is a doubled quote.
                    if *bytes.get(self.at + 1)? == quote {
                        self.at += 2;
                    } else {
                        self.at += 1;
                        self.inside = Inside::Plain;
                    }
                }
                (Inside::Plain | Inside::Quoted, _) => {
                    let end = memchr::memchr2(dialect.delimiter, b'\n', &bytes[self.at..]).map(|len| self.at + len);
                    self.at = end.unwrap_or(bytes.len());
                    let end = *bytes.get(self.at)?;
                    self.at += 1;
                    self.inside = Inside::Between;
                    if end == b'\n' {
                        return Some(self.at);
                    }
                }
            }
        }
    }
}

/// Finds records, and the header before them.
#[derive(Debug)]
pub(super) struct CsvFramer {
    dialect: Dialect,
    header: bool,
    walk: Walk,
    /// Where the header begins, as far as is known.
    header_start: usize,
}

impl CsvFramer {
    pub(super) fn new(dialect: Dialect, header: bool) -> Self {
        Self {
            dialect,
            header,
            walk: Walk::default(),
            header_start: 0,
        }
    }
}

impl Framer for CsvFramer {
    fn prologue(&mut self, bytes: &[u8], end_of_partition: bool) -> Prologue {
        let Some(mark) = mark_len(bytes, end_of_partition) else {
            return Prologue::Unknown;
        };
        if !self.header {
            return Prologue::Ends(mark);
        }
        if self.header_start == 0 && self.walk.at == 0 {
            self.header_start = mark;
            self.walk.at = mark;
        }
        loop {
            let end = match self.walk.record_end(self.dialect, bytes) {
                Some(end) if is_blank(&bytes[self.header_start..end]) => {
                    self.header_start = end;
                    continue;
                }
                Some(end) => end,
                None if end_of_partition => bytes.len(),
                None => return Prologue::Unknown,
            };
            self.walk = Walk::default();
            return Prologue::Ends(end);
        }
    }

    fn whole_records(&mut self, bytes: &[u8], end_of_partition: bool) -> usize {
        if end_of_partition {
            self.walk = Walk::default();
            return bytes.len();
        }
        let walked = self.walk.at;
        if self.walk.inside != Inside::Quoted
            && self.dialect.is_unquoted(&bytes[walked..])
            && let Some(len) = memchr::memrchr(b'\n', &bytes[walked..])
        {
            self.walk = Walk::default();
            return walked + len + 1;
        }
        let mut whole = 0;
        while let Some(end) = self.walk.record_end(self.dialect, bytes) {
            whole = end;
        }
        self.walk.at -= whole;
        whole
    }
}

/// Whether a record is an empty line.
pub(super) fn is_blank(record: &[u8]) -> bool {
    matches!(record, b"" | b"\n" | b"\r\n" | b"\r")
}
