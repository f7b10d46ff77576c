//! Values that the host keeps for an operator: the fields of accumulators and of state.

use crate::{
    bindings::types as wit,
    column::View,
    input::InputValue,
    output::{Builder, OutputValue},
    types::{Json, Timestamp},
};

/// A value that a field of an accumulator or of a state can hold: it is read and written, so it owns what it holds.
#[diagnostic::on_unimplemented(
    message = "`{Self}` cannot be kept in an accumulator or a state",
    label = "not a type that the host keeps",
    note = "what is kept is `bool`, `i64`, `f64`, `String`, `Vec<u8>`, `Timestamp`, `Json<String>`, or an `Option` of one \
            of them"
)]
pub trait KeptValue: OutputValue + Default + 'static {
    /// What its column gives.
    type Read<'a>: InputValue<'a>;
    /// Takes what the column gave.
    fn own(read: Self::Read<'_>) -> Self;
    /// Takes what the column gave in the place of what is there, whose memory is used again.
    fn reload(&mut self, read: Self::Read<'_>);
    /// Whether it is what the column gave, bit by bit.
    fn is(&self, read: Self::Read<'_>) -> bool;
    /// Whether it is the same as another, bit by bit.
    fn same(&self, other: &Self) -> bool;
    /// Adds the value to its column.
    fn store(&self, builder: &mut Self::Builder);
    #[doc(hidden)]
    fn scalar(&self) -> wit::Scalar;
}

macro_rules! plain_value {
    ($rust:ty, $same:expr, $scalar:expr) => {
        impl KeptValue for $rust {
            type Read<'a> = $rust;

            #[inline]
            fn own(read: Self) -> Self {
                read
            }

            #[inline]
            fn reload(&mut self, read: Self) {
                *self = read;
            }

            #[inline]
            fn is(&self, read: Self) -> bool {
                $same(self, &read)
            }

            #[inline]
            fn same(&self, other: &Self) -> bool {
                $same(self, other)
            }

            #[inline]
            fn store(&self, builder: &mut Self::Builder) {
                OutputValue::push(*self, builder);
            }

            fn scalar(&self) -> wit::Scalar {
                $scalar(*self)
            }
        }
    };
}
plain_value!(bool, bool::eq, wit::Scalar::Boolean);
plain_value!(i64, i64::eq, wit::Scalar::Int64);
plain_value!(f64, |a: &f64, b: &f64| a.to_bits() == b.to_bits(), wit::Scalar::Float64);
plain_value!(Timestamp, Timestamp::eq, |time: Timestamp| wit::Scalar::Timestamp(
    time.as_micros()
));

/// Whether two values are the same. What `==` calls goes a byte at a time in Wasm.
#[inline]
fn equal(a: &[u8], b: &[u8]) -> bool {
    let ((a_words, a_rest), (b_words, b_rest)) = (a.as_chunks::<8>(), b.as_chunks::<8>());
    let word = |bytes: &[u8; 8]| u64::from_ne_bytes(*bytes);
    a.len() == b.len()
        && a_words.iter().zip(b_words).all(|(a, b)| word(a) == word(b))
        && a_rest.iter().zip(b_rest).all(|(a, b)| a == b)
}

impl KeptValue for String {
    type Read<'a> = &'a str;

    #[inline]
    fn own(read: &str) -> Self {
        read.to_owned()
    }

    #[inline]
    fn reload(&mut self, read: &str) {
        self.clear();
        self.push_str(read);
    }

    #[inline]
    fn is(&self, read: &str) -> bool {
        equal(self.as_bytes(), read.as_bytes())
    }

    #[inline]
    fn same(&self, other: &Self) -> bool {
        self == other
    }

    #[inline]
    fn store(&self, builder: &mut Self::Builder) {
        OutputValue::push(self, builder);
    }

    fn scalar(&self) -> wit::Scalar {
        wit::Scalar::Utf8(self.clone())
    }
}

impl KeptValue for Vec<u8> {
    type Read<'a> = &'a [u8];

    #[inline]
    fn own(read: &[u8]) -> Self {
        read.to_vec()
    }

    #[inline]
    fn reload(&mut self, read: &[u8]) {
        self.clear();
        self.extend_from_slice(read);
    }

    #[inline]
    fn is(&self, read: &[u8]) -> bool {
        equal(self, read)
    }

    #[inline]
    fn same(&self, other: &Self) -> bool {
        self == other
    }

    #[inline]
    fn store(&self, builder: &mut Self::Builder) {
        OutputValue::push(self, builder);
    }

    fn scalar(&self) -> wit::Scalar {
        wit::Scalar::Binary(self.clone())
    }
}

impl KeptValue for Json<String> {
    type Read<'a> = Json<&'a str>;

    #[inline]
    fn own(read: Json<&str>) -> Self {
        Self(read.0.to_owned())
    }

    #[inline]
    fn reload(&mut self, read: Json<&str>) {
        self.0.reload(read.0);
    }

    #[inline]
    fn is(&self, read: Json<&str>) -> bool {
        self.0.is(read.0)
    }

    #[inline]
    fn same(&self, other: &Self) -> bool {
        self == other
    }

    #[inline]
    fn store(&self, builder: &mut Self::Builder) {
        OutputValue::push(Json(self.text()), builder);
    }

    fn scalar(&self) -> wit::Scalar {
        wit::Scalar::Json(self.0.clone())
    }
}

impl<T: KeptValue> KeptValue for Option<T> {
    type Read<'a> = Option<T::Read<'a>>;

    #[inline]
    fn own(read: Self::Read<'_>) -> Self {
        read.map(T::own)
    }

    #[inline]
    fn reload(&mut self, read: Self::Read<'_>) {
        match (self.as_mut(), read) {
            (Some(value), Some(read)) => value.reload(read),
            (_, read) => *self = read.map(T::own),
        }
    }

    #[inline]
    fn is(&self, read: Self::Read<'_>) -> bool {
        match (self, read) {
            (Some(value), Some(read)) => value.is(read),
            (None, None) => true,
            _ => false,
        }
    }

    #[inline]
    fn same(&self, other: &Self) -> bool {
        match (self, other) {
            (Some(value), Some(other)) => value.same(other),
            (None, None) => true,
            _ => false,
        }
    }

    #[inline]
    fn store(&self, builder: &mut Self::Builder) {
        builder.push_with(self.as_ref(), T::store);
    }

    fn scalar(&self) -> wit::Scalar {
        self.as_ref().map_or(wit::Scalar::Null, T::scalar)
    }
}

/// The view of a kept value's column.
pub type ReadView<'a, T> = <<T as KeptValue>::Read<'a> as InputValue<'a>>::View;

/// Reads one kept value.
#[inline]
pub fn read<T: KeptValue>(view: &ReadView<'_, T>, row: usize) -> T {
    T::own(view.get(row))
}

/// The bit that stands for a column in what a row of state differs in; those beyond the last share it.
#[must_use]
pub const fn bit_of(column: usize) -> u32 {
    if column < 63 { column as u32 } else { 63 }
}

/// Makes room for so many rows, about as large as those of the view.
pub fn reserve<'a>(builder: &mut impl Builder, view: &impl View<'a>, rows: usize) {
    builder.reserve_bytes(view.bytes());
    builder.reserve(rows);
}

#[cfg(test)]
mod tests {
    use proptest::{collection::vec, prelude::*};

    use super::*;

    proptest! {
        #[test]
        fn values_are_equal_when_all_their_bytes_are(bytes in vec(any::<u8>(), 0..40), at in any::<prop::sample::Index>()) {
            prop_assert!(equal(&bytes, &bytes.clone()));
            if !bytes.is_empty() {
                let mut other = bytes.clone();
                other[at.index(bytes.len())] ^= 1;
                prop_assert!(!equal(&bytes, &other));
                prop_assert!(!equal(&bytes, &bytes[1..]));
            }
        }
    }
}
