//! The numbers of the format, and its index. See FORMAT.md.

use wasmill_core::id::{KeyGroup, NodeId};
use xxhash_rust::xxh3::xxh3_64;

use crate::Damage;
use crate::manifest::LayerKind;

/// The version that is written. All versions up to it are read.
pub const VERSION: u16 = 1;

/// What a file begins and ends with: six letters and the version.
pub(super) const MAGIC: &[u8; 6] = b"WMSNAP";
pub(super) const HEAD_BYTES: u64 = 8;
pub(super) const FOOTER_BYTES: u64 = 32;
/// A block's length and checksum.
pub(super) const BLOCK_HEAD_BYTES: u64 = 12;
/// A block is closed when it has come to this size, so a larger one holds one entry that is as large.
pub(super) const BLOCK_BYTES: usize = 64 << 10;

pub(super) fn head() -> [u8; HEAD_BYTES as usize] {
    let mut head = [0; HEAD_BYTES as usize];
    head[..6].copy_from_slice(MAGIC);
    head[6..].copy_from_slice(&VERSION.to_le_bytes());
    head
}

/// What the index says of a section.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Section {
    pub(super) operator: NodeId,
    pub(super) group: KeyGroup,
    pub(super) kind: LayerKind,
    pub(super) offset: u64,
    pub(super) length: u64,
    pub(super) entries: u64,
    /// Over the checksums of its blocks.
    pub(super) checksum: u64,
}

impl Section {
    /// Its name in messages.
    pub(super) fn name(&self) -> String {
        section_name(&self.operator, self.group)
    }
}

pub(super) fn section_name(operator: &NodeId, group: KeyGroup) -> String {
    format!("`{operator}`, key group {}", group.0)
}

pub(super) fn write_index(sections: &[Section]) -> Vec<u8> {
    let mut index = Vec::new();
    index.extend_from_slice(&(sections.len() as u32).to_le_bytes());
    for section in sections {
        let operator = section.operator.as_str().as_bytes();
        index.extend_from_slice(&(operator.len() as u16).to_le_bytes());
        index.extend_from_slice(operator);
        index.extend_from_slice(&section.group.0.to_le_bytes());
        index.push(match section.kind {
            LayerKind::Base => 0,
            LayerKind::Delta => 1,
        });
        for number in [section.offset, section.length, section.entries, section.checksum] {
            index.extend_from_slice(&number.to_le_bytes());
        }
    }
    index
}

/// Reads an index whose checksum was right: what is wrong in it was written so.
pub(super) fn read_index(path: &str, index: &[u8], sections_end: u64) -> Result<Vec<Section>, Damage> {
    let wrong = |what: &str| Damage::of(path, format!("its index {what}"));
    let mut rest = index;
    let short = || wrong("ends too early");
    let count = u32::from_le_bytes(take(&mut rest).ok_or_else(short)?);
    let mut sections: Vec<Section> = Vec::new();
    let mut end = HEAD_BYTES;
    for _ in 0..count {
        let length = u16::from_le_bytes(take(&mut rest).ok_or_else(short)?);
        let (operator, after) = rest.split_at_checked(length.into()).ok_or_else(short)?;
        rest = after;
        let operator = str::from_utf8(operator).map_err(|_| wrong("has a name that is no text"))?;
        let group = KeyGroup(u16::from_le_bytes(take(&mut rest).ok_or_else(short)?));
        let kind = match take::<1>(&mut rest).ok_or_else(short)? {
            [0] => LayerKind::Base,
            [1] => LayerKind::Delta,
            _ => return Err(wrong("has a section of an unknown kind")),
        };
        let [offset, length, entries, checksum] = read_numbers(&mut rest).ok_or_else(short)?;
        let section = Section {
            operator: NodeId::new(operator),
            group,
            kind,
            offset,
            length,
            entries,
            checksum,
        };
        if section.offset != end || section.length > sections_end.saturating_sub(end) {
            return Err(wrong("has sections that are not one after another"));
        }
        end += section.length;
        if let Some(last) = sections.last()
            && (&last.operator, last.group) >= (&section.operator, section.group)
        {
            return Err(wrong("is not sorted"));
        }
        sections.push(section);
    }
    if end != sections_end || !rest.is_empty() {
        return Err(wrong("does not say what all of the file is"));
    }
    Ok(sections)
}

fn read_numbers(rest: &mut &[u8]) -> Option<[u64; 4]> {
    let mut numbers = [0; 4];
    for number in &mut numbers {
        *number = u64::from_le_bytes(take(rest)?);
    }
    Some(numbers)
}

pub(super) fn take<const N: usize>(rest: &mut &[u8]) -> Option<[u8; N]> {
    let (first, after) = rest.split_first_chunk::<N>()?;
    *rest = after;
    Some(*first)
}

/// The end of a file: where its index is.
pub(super) struct Footer {
    pub(super) index_offset: u64,
    pub(super) index_length: u64,
    pub(super) index_checksum: u64,
}

impl Footer {
    pub(super) fn of(index: &[u8], index_offset: u64) -> Self {
        Self {
            index_offset,
            index_length: index.len() as u64,
            index_checksum: xxh3_64(index),
        }
    }

    pub(super) fn write(&self) -> [u8; FOOTER_BYTES as usize] {
        let mut bytes = [0; FOOTER_BYTES as usize];
        bytes[..8].copy_from_slice(&self.index_offset.to_le_bytes());
        bytes[8..16].copy_from_slice(&self.index_length.to_le_bytes());
        bytes[16..24].copy_from_slice(&self.index_checksum.to_le_bytes());
        bytes[24..].copy_from_slice(&head());
        bytes
    }

    /// `None` where the magic is another. The version is looked at by the caller.
    pub(super) fn read(bytes: &[u8]) -> Option<(Self, u16)> {
        let mut rest = bytes;
        let footer = Self {
            index_offset: u64::from_le_bytes(take(&mut rest)?),
            index_length: u64::from_le_bytes(take(&mut rest)?),
            index_checksum: u64::from_le_bytes(take(&mut rest)?),
        };
        let magic: [u8; 6] = take(&mut rest)?;
        let version = u16::from_le_bytes(take(&mut rest)?);
        (rest.is_empty() && magic == *MAGIC).then_some((footer, version))
    }
}

/// LEB128: seven bits a byte, the lowest first.
pub(super) fn write_length(mut length: u64, out: &mut Vec<u8>) {
    while length >= 0x80 {
        out.push(length as u8 | 0x80);
        length >>= 7;
    }
    out.push(length as u8);
}

/// `None` where it does not end, or is no number of 35 bits.
pub(super) fn read_length(bytes: &[u8], at: &mut usize) -> Option<u64> {
    let mut length = 0;
    for shift in (0..35).step_by(7) {
        let byte = *bytes.get(*at)?;
        *at += 1;
        length |= u64::from(byte & 0x7f) << shift;
        if byte < 0x80 {
            return Some(length);
        }
    }
    None
}
