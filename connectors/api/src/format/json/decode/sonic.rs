//! A scanner on top of sonic-rs: its deserializer drives, and each value goes straight into its column's slot.

use serde::de::{Deserialize, DeserializeSeed, Deserializer, Error, IgnoredAny, MapAccess, SeqAccess, Visitor};
use sonic_rs::LazyValue;

use wasmill_core::schema::DataType;

use super::Scanner;
use super::paths::{ROOT, Target, Tree};
use crate::format::Block;
use crate::format::lines;
use crate::format::slots::{Invalid, Misfit, Record, Rows, Slot, quoted};

/// See the module. Where sonic-rs is not strict, this is: it takes any four bytes after `\u`, so these are checked
/// before; it loses the sign of a negative zero, so a record that may hold one is read again, its floats by the
/// standard library.
#[derive(Debug)]
pub(super) struct SonicScanner {
    tree: Tree,
    notes: Notes,
}

/// What is noted while a record is read.
#[derive(Debug, Default)]
struct Notes {
    misfit: Option<At>,
    /// A float was zero.
    zero: bool,
    /// Floats are read by the standard library.
    exact: bool,
}

/// Why a record does not fit, and the slot whose value it is.
#[derive(Debug)]
struct At {
    slot: Option<usize>,
    reason: String,
}

impl SonicScanner {
    pub(super) fn new(tree: Tree) -> Self {
        Self {
            tree,
            notes: Notes::default(),
        }
    }

    /// Reads one record.
    fn record(&mut self, text: &str, rows: &mut Rows) -> Result<(), Invalid> {
        let read = self.read(text, rows);
        if self.notes.zero {
            self.notes.zero = false;
            if read.is_ok() && memchr::memmem::find(text.as_bytes(), b"-0").is_some() {
                self.read_again(text, rows)?;
            }
        }
        read
    }

    fn read(&mut self, text: &str, rows: &mut Rows) -> Result<(), Invalid> {
        let row = rows.row();
        let mut deserializer = sonic_rs::Deserializer::from_str(text);
        let seed = ObjectSeed {
            node: ROOT,
            row,
            tree: &mut self.tree,
            slots: &mut rows.slots,
            notes: &mut self.notes,
        };
        let read = seed.deserialize(&mut deserializer).and_then(|()| deserializer.end());
        read.map_err(|error| self.invalid(text, &error, rows))
    }

    #[cold]
    fn read_again(&mut self, text: &str, rows: &mut Rows) -> Result<(), Invalid> {
        self.tree.leave_record();
        self.notes.exact = true;
        let read = self.read(text, rows);
        self.notes.exact = false;
        read
    }

    #[cold]
    fn invalid(&mut self, text: &str, error: &sonic_rs::Error, rows: &Rows) -> Invalid {
        self.tree.leave_record();
        let Some(At { slot, reason }) = self.notes.misfit.take() else {
            let message = error.to_string();
            let what = message.split(" at line ").next().unwrap_or_default();
            return Invalid::record(byte_column(text, error.offset()), format!("is not JSON: {what}"));
        };
        Invalid {
            slot,
            byte_column: byte_column(text, value_start(text.as_bytes(), error.offset() + 1)),
            reason: match slot {
                Some(slot) => format!("column \"{}\": {reason}", rows.slots[slot].field().name),
                None => reason,
            },
        }
    }
}

impl Scanner for SonicScanner {
    fn scan(&mut self, block: &Block, rows: &mut Rows) -> u32 {
        let text = simdutf8::basic::from_utf8(&block.bytes).ok();
        let escapes = memchr::memmem::find(&block.bytes, b"\\u").is_some();
        let mut records = lines::records(block);
        for record in records.by_ref() {
            let Record { start, end, .. } = record;
            let range = start as usize..end as usize;
            let bytes = &block.bytes[range.clone()];
            if bytes.first() != Some(&b'{') && bytes.trim_ascii().is_empty() {
                continue;
            }
            // Messages may be cut within a character, so that only all of them together are text.
            let known = text.and_then(|text| text.get(range));
            let read = match known.map_or_else(|| simdutf8::compat::from_utf8(bytes), Ok) {
                Ok(text) => {
                    if let Some(at) = escapes.then(|| wrong_escape(text)).flatten() {
                        let reason = "is not JSON: \\u stands before four hexadecimal digits";
                        Err(Invalid::record(byte_column(text, at), reason))
                    } else if let Some(at) = too_deep(bytes) {
                        let reason = format!("is nested deeper than {DEPTH_MAX} arrays and objects");
                        Err(Invalid::record(byte_column(text, at), reason))
                    } else {
                        self.record(text, rows)
                    }
                }
                Err(error) => {
                    let at = error.valid_up_to() as u32 + 1;
                    Err(Invalid::record(Some(at), "is not JSON: a byte is not valid UTF-8"))
                }
            };
            rows.end(record, read);
        }
        // Row numbers begin anew with the next block.
        self.tree.leave_record();
        records.line_count()
    }
}

/// The first `\u` that is not before four hexadecimal digits. In JSON a backslash stands in strings only, and decides
/// what the next byte means.
fn wrong_escape(text: &str) -> Option<usize> {
    const DIGITS: usize = 4;
    let bytes = text.as_bytes();
    let mut at = 0;
    while let Some(len) = memchr::memchr(b'\\', bytes.get(at..)?) {
        let escape = at + len;
        at = escape + 2;
        if bytes.get(escape + 1) == Some(&b'u') {
            let digits = bytes.get(at..at + DIGITS).unwrap_or_default();
            if digits.len() < DIGITS || !digits.iter().all(u8::is_ascii_hexdigit) {
                return Some(escape);
            }
        }
    }
    None
}

/// How deep arrays and objects may stand in each other: sonic-rs skips a value with a call for each, and the stack ends
/// somewhere.
const DEPTH_MAX: usize = 128;

/// The first bracket that opens more than [`DEPTH_MAX`].
#[inline]
fn too_deep(record: &[u8]) -> Option<usize> {
    if record.len() <= DEPTH_MAX {
        return None;
    }
    let count = |bracket| memchr::memchr_iter(bracket, record).count();
    if count(b'{') + count(b'[') <= DEPTH_MAX {
        return None;
    }
    find_too_deep(record)
}

/// Reads a text that may be no JSON as a parser does up to what is wrong with it.
#[cold]
fn find_too_deep(record: &[u8]) -> Option<usize> {
    let mut depth = 0_usize;
    let mut at = 0;
    while let Some(byte) = record.get(at) {
        match byte {
            b'"' => at = string_end(record, at + 1)?,
            b'[' | b'{' if depth == DEPTH_MAX => return Some(at),
            b'[' | b'{' => depth += 1,
            b']' | b'}' => depth = depth.saturating_sub(1),
            _ => {}
        }
        at += 1;
    }
    None
}

/// The quote that ends the string whose content begins at `at`.
fn string_end(text: &[u8], mut at: usize) -> Option<usize> {
    loop {
        at += memchr::memchr2(b'"', b'\\', text.get(at..)?)?;
        if text[at] == b'"' {
            return Some(at);
        }
        at += 2;
    }
}

/// The byte of the line, from 1; `None` in a later line of a message.
fn byte_column(text: &str, at: usize) -> Option<u32> {
    let at = at.min(text.len());
    let one_line = memchr::memchr(b'\n', &text.as_bytes()[..at]).is_none();
    one_line.then_some(at as u32 + 1)
}

/// Where the value begins that ends before `end`, as far as that can be said backwards.
fn value_start(text: &[u8], end: usize) -> usize {
    let end = end.min(text.len());
    match text[..end].last() {
        Some(b'"') => {
            let mut before = end - 1;
            while let Some(quote) = memchr::memrchr(b'"', &text[..before]) {
                let escapes = text[..quote].iter().rev().take_while(|byte| **byte == b'\\').count();
                if escapes % 2 == 0 {
                    return quote;
                }
                before = quote - escapes;
            }
            0
        }
        Some(byte) if is_plain(*byte) => end - text[..end].iter().rev().take_while(|byte| is_plain(**byte)).count(),
        _ => end.saturating_sub(1),
    }
}

/// Whether a byte may stand in a number or a literal.
fn is_plain(byte: u8) -> bool {
    byte.is_ascii_alphanumeric() || matches!(byte, b'+' | b'-' | b'.')
}

/// Reads an object into the slots of the columns in it.
struct ObjectSeed<'a> {
    node: usize,
    row: usize,
    tree: &'a mut Tree,
    slots: &'a mut [Slot],
    notes: &'a mut Notes,
}

impl ObjectSeed<'_> {
    /// What stood at this name before in the same record does not count.
    #[inline]
    fn enter(&mut self) {
        for &slot in self.tree.enter(self.node, self.row) {
            self.slots[slot].clear(self.row);
        }
    }

    #[cold]
    fn no_object<E: Error>(self, kind: &str) -> E {
        let what = if self.node == ROOT { "the record" } else { "the field" };
        self.notes.misfit = Some(At {
            slot: None,
            reason: format!("{what} is {kind}, not an object"),
        });
        E::custom("a misfit")
    }
}

impl<'de> DeserializeSeed<'de> for ObjectSeed<'_> {
    type Value = ();

    #[inline]
    fn deserialize<D: Deserializer<'de>>(self, deserializer: D) -> Result<(), D::Error> {
        deserializer.deserialize_any(self)
    }
}

impl<'de> Visitor<'de> for ObjectSeed<'_> {
    type Value = ();

    fn expecting(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str("an object")
    }

    #[inline]
    fn visit_map<A: MapAccess<'de>>(mut self, mut map: A) -> Result<(), A::Error> {
        self.enter();
        let mut after = 0;
        loop {
            let name = NameSeed {
                tree: self.tree,
                node: self.node,
                after: &mut after,
            };
            match map.next_key_seed(name)? {
                None => return Ok(()),
                Some(None) => {
                    map.next_value::<IgnoredAny>()?;
                }
                Some(Some(Target::Slot(slot))) => map.next_value_seed(ValueSeed {
                    slot,
                    row: self.row,
                    slots: self.slots,
                    notes: self.notes,
                })?,
                Some(Some(Target::Object(node))) => map.next_value_seed(ObjectSeed {
                    node,
                    row: self.row,
                    tree: self.tree,
                    slots: self.slots,
                    notes: self.notes,
                })?,
            }
        }
    }

    /// A null where an object could be: everything in it is null.
    fn visit_unit<E: Error>(mut self) -> Result<(), E> {
        if self.node == ROOT {
            return Err(self.no_object("null"));
        }
        self.enter();
        Ok(())
    }

    fn visit_bool<E: Error>(self, _: bool) -> Result<(), E> {
        Err(self.no_object("a boolean"))
    }

    fn visit_i64<E: Error>(self, _: i64) -> Result<(), E> {
        Err(self.no_object("a number"))
    }

    fn visit_u64<E: Error>(self, _: u64) -> Result<(), E> {
        Err(self.no_object("a number"))
    }

    fn visit_f64<E: Error>(self, _: f64) -> Result<(), E> {
        Err(self.no_object("a number"))
    }

    fn visit_str<E: Error>(self, _: &str) -> Result<(), E> {
        Err(self.no_object("a string"))
    }

    fn visit_seq<A: SeqAccess<'de>>(self, _: A) -> Result<(), A::Error> {
        Err(self.no_object("an array"))
    }
}

/// Looks a name up. `None`: no column reads the field.
struct NameSeed<'a> {
    tree: &'a Tree,
    node: usize,
    after: &'a mut usize,
}

impl<'de> DeserializeSeed<'de> for NameSeed<'_> {
    type Value = Option<Target>;

    #[inline]
    fn deserialize<D: Deserializer<'de>>(self, deserializer: D) -> Result<Self::Value, D::Error> {
        deserializer.deserialize_str(self)
    }
}

impl Visitor<'_> for NameSeed<'_> {
    type Value = Option<Target>;

    fn expecting(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str("a name")
    }

    #[inline]
    fn visit_str<E>(self, name: &str) -> Result<Self::Value, E> {
        Ok(self.tree.field(self.node, name, self.after))
    }
}

/// Reads a value into a slot.
struct ValueSeed<'a> {
    slot: usize,
    row: usize,
    slots: &'a mut [Slot],
    notes: &'a mut Notes,
}

impl ValueSeed<'_> {
    fn slot(&mut self) -> &mut Slot {
        &mut self.slots[self.slot]
    }

    #[cold]
    fn misfit<E: Error>(self, value: &str, misfit: &Misfit) -> E {
        self.notes.misfit = Some(At {
            slot: Some(self.slot),
            reason: format!("{value} {misfit}"),
        });
        E::custom("a misfit")
    }
}

impl<'de> DeserializeSeed<'de> for ValueSeed<'_> {
    type Value = ();

    #[inline]
    fn deserialize<D: Deserializer<'de>>(mut self, deserializer: D) -> Result<(), D::Error> {
        let row = self.row;
        let data_type = self.slot().field().data_type;
        match data_type {
            DataType::Json => {
                let value = LazyValue::deserialize(deserializer)?;
                match value.as_raw_str().trim_ascii() {
                    "null" => self.slot().set_null(row),
                    text => self.slot().set_json_raw(row, text),
                }
                Ok(())
            }
            DataType::Float64 if self.notes.exact => {
                let value = LazyValue::deserialize(deserializer)?;
                match value.as_raw_str().trim_ascii() {
                    "null" => self.visit_unit(),
                    text => self.visit_f64(text.parse().map_err(D::Error::custom)?),
                }
            }
            _ => deserializer.deserialize_any(self),
        }
    }
}

impl<'de> Visitor<'de> for ValueSeed<'_> {
    type Value = ();

    fn expecting(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str("a value")
    }

    #[inline]
    fn visit_unit<E>(mut self) -> Result<(), E> {
        let row = self.row;
        self.slot().set_null(row);
        Ok(())
    }

    #[inline]
    fn visit_bool<E: Error>(mut self, value: bool) -> Result<(), E> {
        let row = self.row;
        let set = self.slot().set_json_boolean(row, value);
        set.map_err(|misfit| self.misfit(&value.to_string(), &misfit))
    }

    #[inline]
    fn visit_i64<E: Error>(mut self, value: i64) -> Result<(), E> {
        let row = self.row;
        self.notes.zero |= value == 0;
        let set = self.slot().set_json_integer(row, value);
        set.map_err(|misfit| self.misfit(&value.to_string(), &misfit))
    }

    #[inline]
    fn visit_u64<E: Error>(mut self, value: u64) -> Result<(), E> {
        if let Ok(value) = i64::try_from(value) {
            return self.visit_i64(value);
        }
        let row = self.row;
        let set = self.slot().set_json_float(row, value as f64);
        set.map_err(|misfit| self.misfit(&value.to_string(), &misfit))
    }

    #[inline]
    fn visit_f64<E: Error>(mut self, value: f64) -> Result<(), E> {
        let row = self.row;
        self.notes.zero |= value == 0.0;
        let set = self.slot().set_json_float(row, value);
        set.map_err(|misfit| self.misfit(zmij::Buffer::new().format(value), &misfit))
    }

    #[inline]
    fn visit_str<E: Error>(mut self, text: &str) -> Result<(), E> {
        let row = self.row;
        let set = self.slot().set_json_string(row, text);
        set.map_err(|misfit| self.misfit(&quoted(text.as_bytes()), &misfit))
    }

    fn visit_map<A: MapAccess<'de>>(mut self, _: A) -> Result<(), A::Error> {
        let misfit = self.slot().is_not("an object");
        Err(self.misfit("the value", &misfit))
    }

    fn visit_seq<A: SeqAccess<'de>>(mut self, _: A) -> Result<(), A::Error> {
        let misfit = self.slot().is_not("an array");
        Err(self.misfit("the value", &misfit))
    }
}
