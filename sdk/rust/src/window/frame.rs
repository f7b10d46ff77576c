//! Batches as bytes: what goes from one part of a window to the next. Only this SDK reads what it wrote.

use crate::{bindings::types as wit, fault::Failure};

/// Adds a batch to what is carried.
pub(super) fn encode(batch: &wit::Batch, to: &mut Vec<u8>) {
    to.extend_from_slice(&batch.rows.to_le_bytes());
    to.extend_from_slice(&(batch.columns.len() as u32).to_le_bytes());
    buffer(&batch.event_times, to);
    for column in &batch.columns {
        to.push(u8::from(column.validity.is_some()));
        buffer(column.validity.as_deref().unwrap_or_default(), to);
        buffer(&column.offsets, to);
        buffer(&column.data, to);
    }
}

fn buffer(bytes: &[u8], to: &mut Vec<u8>) {
    to.extend_from_slice(&(bytes.len() as u64).to_le_bytes());
    to.extend_from_slice(bytes);
}

/// The batches of what was carried.
///
/// # Errors
///
/// When it is not what `encode` wrote.
pub(super) fn decode(bytes: &[u8]) -> Result<Vec<wit::Batch>, Failure> {
    let mut reader = Reader { rest: bytes };
    let mut batches = Vec::new();
    while !reader.rest.is_empty() {
        let batch = reader
            .batch()
            .ok_or_else(|| Failure::new("what was carried from the part before is not what this operator wrote"))?;
        batches.push(batch);
    }
    Ok(batches)
}

struct Reader<'a> {
    rest: &'a [u8],
}

impl<'a> Reader<'a> {
    fn batch(&mut self) -> Option<wit::Batch> {
        let rows = self.number()?;
        let columns = self.number()?;
        let event_times = self.buffer()?;
        let columns = (0..columns).map(|_| self.column()).collect::<Option<_>>()?;
        Some(wit::Batch {
            rows,
            event_times,
            kinds: Vec::new(),
            columns,
        })
    }

    fn column(&mut self) -> Option<wit::Column> {
        let nullable = self.bytes(1)?[0] != 0;
        let validity = self.buffer()?;
        Some(wit::Column {
            validity: nullable.then_some(validity),
            offsets: self.buffer()?,
            data: self.buffer()?,
        })
    }

    fn number(&mut self) -> Option<u32> {
        self.bytes(4)?.try_into().ok().map(u32::from_le_bytes)
    }

    fn buffer(&mut self) -> Option<Vec<u8>> {
        let len = self.bytes(8)?.try_into().ok().map(u64::from_le_bytes)?;
        self.bytes(usize::try_from(len).ok()?).map(<[u8]>::to_vec)
    }

    fn bytes(&mut self, len: usize) -> Option<&'a [u8]> {
        let (bytes, rest) = self.rest.split_at_checked(len)?;
        self.rest = rest;
        Some(bytes)
    }
}

#[cfg(test)]
mod tests {
    use proptest::{collection::vec, option, prelude::*};

    use super::*;

    fn batches() -> impl Strategy<Value = Vec<wit::Batch>> {
        let bytes = || vec(any::<u8>(), 0..20);
        let column = (option::of(bytes()), bytes(), bytes()).prop_map(|(validity, offsets, data)| wit::Column {
            validity,
            offsets,
            data,
        });
        let batch = (any::<u32>(), bytes(), vec(column, 0..4)).prop_map(|(rows, event_times, columns)| wit::Batch {
            rows,
            event_times,
            kinds: Vec::new(),
            columns,
        });
        vec(batch, 0..4)
    }

    proptest! {
        #[test]
        fn what_is_carried_is_read_as_it_was_written(batches in batches()) {
            let mut bytes = Vec::new();
            for batch in &batches {
                encode(batch, &mut bytes);
            }
            prop_assert_eq!(decode(&bytes).unwrap(), batches);
        }

        #[test]
        fn other_bytes_are_refused_or_read_without_a_panic(bytes in vec(any::<u8>(), 0..200)) {
            let _ = decode(&bytes);
        }
    }
}
