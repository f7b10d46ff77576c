//! Arrow buffers as bytes and as numbers.
//!
//! Incoming buffers are read in place: the host writes them where the guest's allocator says, which is 8-aligned for
//! all but the smallest requests; a buffer that is not is copied once. Outgoing buffers are `Vec<u8>` from the start, so
//! that they are freed with the layout they were allocated with; numbers are written into them through a view.
//! This module is the only one of the SDK with `unsafe` of its own.

#![expect(unsafe_code, reason = "views of byte buffers as numbers")]

use crate::types::Timestamp;

#[cfg(target_endian = "big")]
compile_error!("the buffers of the contract are little-endian, and this crate reads them in place");

mod sealed {
    pub trait Sealed {}
    impl Sealed for i64 {}
    impl Sealed for f64 {}
    impl Sealed for super::Timestamp {}
    impl Sealed for u32 {}
}

/// A number that stands in a buffer as its own little-endian bytes: `i64`, `f64`, [`Timestamp`], and `u32` for row
/// numbers. It is sealed: any bytes must make a valid value.
pub trait Plain: sealed::Sealed + Copy + Default + 'static {}
impl Plain for i64 {}
impl Plain for f64 {}
impl Plain for Timestamp {}
impl Plain for u32 {}

/// The bytes as numbers, when they are aligned and a whole number of them.
fn view<T: Plain>(bytes: &[u8]) -> Option<&[T]> {
    // SAFETY: `Plain` is sealed to types without padding for which all bit patterns are valid.
    let (head, values, tail) = unsafe { bytes.align_to::<T>() };
    (head.is_empty() && tail.is_empty()).then_some(values)
}

fn view_mut<T: Plain>(bytes: &mut [u8]) -> Option<&mut [T]> {
    // SAFETY: as in `view`; and what is written through the view are initialised bytes without padding.
    let (head, values, tail) = unsafe { bytes.align_to_mut::<T>() };
    (head.is_empty() && tail.is_empty()).then_some(values)
}

fn to_bytes<T: Plain>(values: &[T]) -> &[u8] {
    // SAFETY: `Plain` types have no padding, so all their bytes are initialised, and `u8` has no alignment.
    unsafe { std::slice::from_raw_parts(values.as_ptr().cast::<u8>(), size_of_val(values)) }
}

/// The bytes as aligned words, the last filled up with zeros.
fn words(bytes: &[u8]) -> Vec<i64> {
    let word = |chunk: &[u8]| {
        let mut eight = [0; 8];
        eight[..chunk.len()].copy_from_slice(chunk);
        i64::from_le_bytes(eight)
    };
    bytes.chunks(8).map(word).collect()
}

/// A buffer as it came from the host, aligned for numbers of 8 bytes.
#[derive(Debug)]
pub(crate) enum Buffer {
    /// In place.
    Bytes(Vec<u8>),
    /// Copied, because it was not aligned: the words, and how many bytes of them count.
    Words(Vec<i64>, usize),
}

impl Buffer {
    pub(crate) fn new(bytes: Vec<u8>) -> Self {
        if bytes.as_ptr().addr().is_multiple_of(align_of::<i64>()) {
            return Self::Bytes(bytes);
        }
        Self::Words(words(&bytes), bytes.len())
    }

    pub(crate) fn bytes(&self) -> &[u8] {
        match self {
            Self::Bytes(bytes) => bytes,
            Self::Words(words, len) => &to_bytes(words)[..*len],
        }
    }

    /// The buffer as numbers; `None` when its length is no multiple of theirs.
    pub(crate) fn values<T: Plain>(&self) -> Option<&[T]> {
        let bytes = self.bytes();
        // An empty vector's pointer need not be aligned.
        if bytes.is_empty() { Some(&[]) } else { view(bytes) }
    }
}

/// The numbers as a buffer: one copy.
pub(crate) fn encode<T: Plain>(values: &[T]) -> Vec<u8> {
    to_bytes(values).to_vec()
}

/// Adds one number to a buffer.
#[inline]
pub(crate) fn push<T: Plain>(buffer: &mut Vec<u8>, value: T) {
    buffer.extend_from_slice(to_bytes(std::slice::from_ref(&value)));
}

/// A buffer of `len` numbers, written in place by `fill`.
pub(crate) fn filled<T: Plain>(len: usize, fill: impl FnOnce(&mut [T])) -> Vec<u8> {
    let mut bytes = vec![0; len * size_of::<T>()];
    if let Some(values) = view_mut(&mut bytes) {
        fill(values);
        return bytes;
    }
    let mut values = vec![T::default(); len];
    fill(&mut values);
    encode(&values)
}

/// The bit of this row.
#[inline]
pub(crate) fn bit(bits: &[u8], row: usize) -> bool {
    bits[row / 8] >> (row % 8) & 1 == 1
}

/// Bits that grow by one at a time, least significant first.
#[derive(Debug, Clone, Default)]
pub(crate) struct BitBuilder {
    bytes: Vec<u8>,
    len: usize,
}

impl BitBuilder {
    #[inline]
    pub(crate) fn push(&mut self, bit: bool) {
        if self.len.is_multiple_of(8) {
            self.bytes.push(u8::from(bit));
        } else if let Some(last) = self.bytes.last_mut() {
            *last |= u8::from(bit) << (self.len % 8);
        }
        self.len += 1;
    }

    pub(crate) fn reserve(&mut self, bits: usize) {
        self.bytes.reserve(bits.div_ceil(8));
    }

    pub(crate) fn push_ones(&mut self, count: usize) {
        for _ in 0..count {
            self.push(true);
        }
    }

    pub(crate) fn into_bytes(self) -> Vec<u8> {
        self.bytes
    }
}

#[cfg(test)]
mod tests {
    use proptest::{collection::vec, prelude::*};

    use super::*;

    fn copied(bytes: &[u8]) -> Buffer {
        Buffer::Words(words(bytes), bytes.len())
    }

    proptest! {
        #[test]
        fn numbers_are_read_alike_in_place_and_copied(values in vec(any::<i64>(), 0..50)) {
            let bytes: Vec<u8> = values.iter().flat_map(|value| value.to_le_bytes()).collect();
            prop_assert_eq!(&encode(&values), &bytes);
            for buffer in [Buffer::new(bytes.clone()), copied(&bytes)] {
                prop_assert_eq!(buffer.bytes(), &bytes);
                prop_assert_eq!(buffer.values::<i64>(), Some(&*values));
                prop_assert_eq!(buffer.values::<u32>().map(<[u32]>::len), Some(values.len() * 2));
            }
        }

        #[test]
        fn a_buffer_that_is_no_whole_number_of_values_is_none(len in 0_usize..100) {
            let bytes = vec![1; len];
            for buffer in [Buffer::new(bytes.clone()), copied(&bytes)] {
                prop_assert_eq!(buffer.values::<i64>().is_some(), len.is_multiple_of(8));
                prop_assert_eq!(buffer.values::<u32>().is_some(), len.is_multiple_of(4));
            }
        }

        #[test]
        fn bits_stand_in_order_and_spare_ones_are_zero(bits in vec(any::<bool>(), 0..70), ones in 0_usize..20) {
            let mut builder = BitBuilder::default();
            builder.push_ones(ones);
            for bit in &bits {
                builder.push(*bit);
            }
            let bytes = builder.into_bytes();
            let expect: Vec<bool> = std::iter::repeat_n(true, ones).chain(bits).collect();
            prop_assert_eq!(bytes.len(), expect.len().div_ceil(8));
            let read: Vec<bool> = (0..bytes.len() * 8).map(|row| bit(&bytes, row)).collect();
            prop_assert_eq!(&read[..expect.len()], &*expect);
            prop_assert!(!read[expect.len()..].contains(&true));
        }

        #[test]
        fn a_filled_buffer_holds_what_was_written(values in vec(any::<u32>(), 0..50)) {
            prop_assert_eq!(filled(values.len(), |slots: &mut [u32]| slots.copy_from_slice(&values)), encode(&values));
        }
    }
}
