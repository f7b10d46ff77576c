//! Lines: the records of every format but CSV, and the byte order mark that may stand before the first one.

use super::slots::Record;
use super::{Block, Framer, Prologue};

/// U+FEFF in UTF-8.
pub(crate) const BYTE_ORDER_MARK: &[u8] = b"\xEF\xBB\xBF";

/// The length of the byte order mark at the partition's start; `None` where more bytes are needed to say.
pub(crate) fn mark_len(bytes: &[u8], end_of_partition: bool) -> Option<usize> {
    if bytes.starts_with(BYTE_ORDER_MARK) {
        Some(BYTE_ORDER_MARK.len())
    } else if BYTE_ORDER_MARK.starts_with(bytes) && !end_of_partition {
        None
    } else {
        Some(0)
    }
}

/// Records that end with a line feed.
#[derive(Debug)]
pub(crate) struct LineFramer;

impl Framer for LineFramer {
    fn prologue(&mut self, bytes: &[u8], end_of_partition: bool) -> Prologue {
        mark_len(bytes, end_of_partition).map_or(Prologue::Unknown, Prologue::Ends)
    }

    fn whole_records(&mut self, bytes: &[u8], end_of_partition: bool) -> usize {
        if end_of_partition {
            return bytes.len();
        }
        memchr::memrchr(b'\n', bytes).map_or(0, |at| at + 1)
    }
}

/// The records of a block: its messages, or its lines without their ends. A message loses one line end too.
pub(crate) fn records(block: &Block) -> Records<'_> {
    Records {
        bytes: &block.bytes,
        ends: block.ends.as_deref(),
        at: 0,
        number: 0,
    }
}

/// See [`records`].
#[derive(Debug)]
pub(crate) struct Records<'a> {
    bytes: &'a [u8],
    ends: Option<&'a [u32]>,
    at: usize,
    number: u32,
}

impl Records<'_> {
    /// The number of lines so far.
    pub(crate) fn line_count(&self) -> u32 {
        self.number
    }
}

impl Iterator for Records<'_> {
    type Item = Record;

    #[inline]
    fn next(&mut self) -> Option<Record> {
        let start = self.at;
        let next = match self.ends {
            Some(ends) => *ends.get(self.number as usize)? as usize,
            None if start == self.bytes.len() => return None,
            None => memchr::memchr(b'\n', &self.bytes[start..]).map_or(self.bytes.len(), |len| start + len + 1),
        };
        let record = &self.bytes[start..next];
        let record = record.strip_suffix(b"\n").unwrap_or(record);
        let record = record.strip_suffix(b"\r").unwrap_or(record);
        let line = self.number;
        self.at = next;
        self.number += 1;
        Some(Record {
            start: start as u32,
            end: (start + record.len()) as u32,
            line,
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use bytes::Bytes;

    fn check(bytes: &'static str, ends: Option<Vec<u32>>, expect: &[(&str, u32)]) {
        let block = Block {
            prologue: Bytes::new(),
            bytes: Bytes::from_static(bytes.as_bytes()),
            ends,
        };
        let found: Vec<(&str, u32)> = records(&block)
            .map(|record| (&bytes[record.start as usize..record.end as usize], record.line))
            .collect();
        assert_eq!(found, expect);
    }

    #[test]
    fn lines_lose_their_ends_and_the_last_may_have_none() {
        check("", None, &[]);
        check("a\r\n\nb\n", None, &[("a", 0), ("", 1), ("b", 2)]);
        check("a\rb", None, &[("a\rb", 0)]);
        check("a\nb\nc", Some(vec![4, 4, 5]), &[("a\nb", 0), ("", 1), ("c", 2)]);
    }

    #[test]
    fn a_byte_order_mark_is_found_when_enough_has_come() {
        let mut framer = LineFramer;
        assert_eq!(framer.prologue(b"", false), Prologue::Unknown);
        assert_eq!(framer.prologue(b"\xEF\xBB", false), Prologue::Unknown);
        assert_eq!(framer.prologue(b"\xEF\xBB", true), Prologue::Ends(0));
        assert_eq!(framer.prologue(b"\xEF\xBB\xBFx", false), Prologue::Ends(3));
        assert_eq!(framer.prologue(b"x", false), Prologue::Ends(0));
        assert_eq!(framer.whole_records(b"a\nb\nc", false), 4);
        assert_eq!(framer.whole_records(b"a\nb\nc", true), 5);
    }
}
