//! What a row of a changelog does: the hidden column `kind`.
//!
//! A stream is append-only, or a changelog in which rows take earlier ones back. The four kinds are those of Flink's
//! `RowKind` and of most change data capture.

use arrow_buffer::ScalarBuffer;

/// What a row does.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord, Hash)]
#[repr(u8)]
pub enum Kind {
    /// A row is there.
    #[default]
    Insert = 0,
    /// A row as it was before an update; the next row of its key is what became of it.
    UpdateBefore = 1,
    /// A row as it is after an update.
    UpdateAfter = 2,
    /// A row is gone.
    Delete = 3,
}

impl Kind {
    /// Every kind, by its byte.
    pub const ALL: [Self; 4] = [Self::Insert, Self::UpdateBefore, Self::UpdateAfter, Self::Delete];

    /// The byte in batches and in the operator contract.
    pub const fn byte(self) -> u8 {
        self as u8
    }

    /// The kind of a byte.
    pub fn from_byte(byte: u8) -> Option<Self> {
        Self::ALL.get(usize::from(byte)).copied()
    }

    /// The word that sinks write.
    pub const fn name(self) -> &'static str {
        match self {
            Self::Insert => "insert",
            Self::UpdateBefore => "update-before",
            Self::UpdateAfter => "update-after",
            Self::Delete => "delete",
        }
    }

    /// Whether the row adds to what it is part of (otherwise it takes away).
    pub const fn adds(self) -> bool {
        matches!(self, Self::Insert | Self::UpdateAfter)
    }
}

/// A byte a row, each that of a [`Kind`].
pub type Kinds = ScalarBuffer<u8>;

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn bytes_are_those_of_the_contract() {
        for (byte, kind) in Kind::ALL.into_iter().enumerate() {
            assert_eq!((kind.byte() as usize, Kind::from_byte(byte as u8)), (byte, Some(kind)));
        }
        assert_eq!(Kind::from_byte(4), None);
    }
}
