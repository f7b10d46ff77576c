//! The stable place of a row: what decides between rows of equal time, the same on every run.
//!
//! A place is a byte string, compared as bytes. A row of a source stands at (source, partition, position); a row that
//! an operator derived at (node, key, window end, index); each flat-map on the way appends the number of the child.
//! Origins end themselves, so no place is a prefix of one from another origin.

use std::cmp::Ordering;
use std::sync::Arc;

use arrow_array::{Array, BinaryArray};
use arrow_buffer::ScalarBuffer;

use crate::column::{Column, ColumnBuilder, Value, gather_values};
use crate::id::{NodeId, PartitionName};
use crate::key::{encode_bytes, sortable_int};
use crate::schema::DataType;

/// The places of a batch's rows.
#[derive(Clone, Debug, PartialEq)]
pub enum Order {
    /// Rows of one partition: the encoded origin, and each row's position in it.
    Positions {
        /// From [`source_origin`].
        origin: Arc<[u8]>,
        /// Where each row begins in its partition.
        positions: ScalarBuffer<u64>,
    },
    /// Whole places, one per row.
    Places(BinaryArray),
}

/// The encoded origin of rows of a partition.
pub fn source_origin(source: &NodeId, partition: &PartitionName) -> Arc<[u8]> {
    let mut bytes = Vec::new();
    encode_bytes(source.as_str().as_bytes(), &mut bytes);
    encode_bytes(partition.as_str().as_bytes(), &mut bytes);
    bytes.into()
}

/// Appends the place of a derived row. `key` is canonically encoded.
pub fn derived_place(node: &NodeId, key: &[u8], window_end: i64, index: u32, out: &mut Vec<u8>) {
    encode_bytes(node.as_str().as_bytes(), out);
    encode_bytes(key, out);
    out.extend(sortable_int(window_end));
    out.extend(index.to_be_bytes());
}

/// Where a row of a source stands.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct SourcePlace {
    /// The source.
    pub source: String,
    /// Its partition.
    pub partition: String,
    /// Where the row begins in the partition.
    pub position: u64,
}

/// The source's row that a place names, children of flat-maps included; `None` for a derived row.
pub fn source_place(place: &[u8]) -> Option<SourcePlace> {
    let mut rest = place;
    let source = read_name(&mut rest)?;
    let partition = read_name(&mut rest)?;
    let (position, _children) = rest.split_first_chunk()?;
    Some(SourcePlace {
        source,
        partition,
        position: u64::from_be_bytes(*position),
    })
}

/// Reads a name. An encoded key, which begins with `00` or `01` or is empty, is none.
fn read_name(rest: &mut &[u8]) -> Option<String> {
    let mut name = Vec::new();
    loop {
        let (&byte, tail) = rest.split_first()?;
        *rest = tail;
        if byte == 0 {
            let (&end, tail) = rest.split_first()?;
            *rest = tail;
            if end != 0xff {
                break;
            }
        }
        name.push(byte);
    }
    let is_name = name.first().is_some_and(|&first| first > 1);
    String::from_utf8(name).ok().filter(|_| is_name)
}

impl Order {
    /// Places from whole byte strings.
    pub fn from_places<'a>(places: impl ExactSizeIterator<Item = &'a [u8]>) -> Self {
        let mut builder = ColumnBuilder::new(DataType::Binary, places.len());
        for place in places {
            builder.push(Value::Binary(place));
        }
        match builder.finish() {
            Column::Binary(places) => Self::Places(places),
            _ => unreachable!("a builder of binary values makes a binary column"),
        }
    }

    /// The number of rows.
    pub fn len(&self) -> usize {
        match self {
            Self::Positions { positions, .. } => positions.len(),
            Self::Places(places) => places.len(),
        }
    }

    /// Whether there is no row.
    pub fn is_empty(&self) -> bool {
        self.len() == 0
    }

    /// Appends a row's place.
    pub fn write(&self, row: usize, out: &mut Vec<u8>) {
        match self {
            Self::Positions { origin, positions } => {
                out.extend_from_slice(origin);
                out.extend(positions[row].to_be_bytes());
            }
            Self::Places(places) => out.extend_from_slice(places.value(row)),
        }
    }

    /// Compares a row's place with that of a row of another batch.
    pub fn compare(&self, row: usize, other: &Self, other_row: usize) -> Ordering {
        match (self, other) {
            (
                Self::Positions {
                    origin: a,
                    positions: p,
                },
                Self::Positions {
                    origin: b,
                    positions: q,
                },
            ) => {
                let same = Arc::ptr_eq(a, b) || a == b;
                if same { p[row].cmp(&q[other_row]) } else { a.cmp(b) }
            }
            (Self::Places(a), Self::Places(b)) => a.value(row).cmp(b.value(other_row)),
            (Self::Positions { origin, positions }, Self::Places(places)) => {
                compare_position(origin, positions[row], places.value(other_row))
            }
            (Self::Places(places), Self::Positions { origin, positions }) => {
                compare_position(origin, positions[other_row], places.value(row)).reverse()
            }
        }
    }

    /// The places of `rows`, in that order.
    #[must_use]
    pub fn gather(&self, rows: &[u32]) -> Self {
        match self {
            Self::Positions { origin, positions } => Self::Positions {
                origin: Arc::clone(origin),
                positions: gather_values(positions, rows).into(),
            },
            Self::Places(places) => match Column::Binary(places.clone()).gather(rows) {
                Column::Binary(places) => Self::Places(places),
                _ => unreachable!("gather keeps the type"),
            },
        }
    }

    /// The places of a flat-map's children: child i comes from `rows[i]`, and the children of a row are numbered in
    /// the order in which they stand.
    #[must_use]
    pub fn children(&self, rows: &[u32]) -> Self {
        let mut born = vec![0_u32; self.len()];
        let mut bytes = Vec::new();
        let mut ends = Vec::with_capacity(rows.len());
        for &row in rows {
            self.write(row as usize, &mut bytes);
            bytes.extend(born[row as usize].to_be_bytes());
            born[row as usize] += 1;
            ends.push(bytes.len());
        }
        let starts = std::iter::once(0).chain(ends.iter().copied());
        let places: Vec<&[u8]> = starts.zip(&ends).map(|(start, &end)| &bytes[start..end]).collect();
        Self::from_places(places.into_iter())
    }

    /// The places of one child of each row, all of which have this number.
    #[must_use]
    pub fn child(&self, number: u32) -> Self {
        let mut builder = ColumnBuilder::new(DataType::Binary, self.len());
        let mut place = Vec::new();
        for row in 0..self.len() {
            place.clear();
            self.write(row, &mut place);
            place.extend(number.to_be_bytes());
            builder.push(Value::Binary(&place));
        }
        match builder.finish() {
            Column::Binary(places) => Self::Places(places),
            _ => unreachable!("a builder of binary values makes a binary column"),
        }
    }
}

fn compare_position(origin: &[u8], position: u64, place: &[u8]) -> Ordering {
    let (head, tail) = place.split_at(origin.len().min(place.len()));
    origin
        .cmp(head)
        .then_with(|| position.to_be_bytes().as_slice().cmp(tail))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn positions(source: &str, partition: &str, positions: &[u64]) -> Order {
        let origin = source_origin(&NodeId::new(source), &PartitionName::new(partition));
        Order::Positions {
            origin,
            positions: positions.to_vec().into(),
        }
    }

    fn bytes(order: &Order, row: usize) -> Vec<u8> {
        let mut out = Vec::new();
        order.write(row, &mut out);
        out
    }

    #[test]
    fn rows_compare_as_their_bytes_do_in_every_form() {
        let a = positions("s", "p1", &[0, 300, 70_000]);
        let b = positions("s", "p2", &[5]);
        let c = a.children(&[1, 1, 2]);
        for x in [&a, &b, &c] {
            for y in [&a, &b, &c] {
                for i in 0..x.len() {
                    for j in 0..y.len() {
                        assert_eq!(x.compare(i, y, j), bytes(x, i).cmp(&bytes(y, j)), "{x:?} {i} {y:?} {j}");
                    }
                }
            }
        }
    }

    #[test]
    fn a_place_tells_the_source_row_it_came_from() {
        let children = positions("s", "a/b\0c.csv", &[10, 20]).children(&[1]);
        let expect = SourcePlace {
            source: "s".into(),
            partition: "a/b\0c.csv".into(),
            position: 20,
        };
        assert_eq!(source_place(&bytes(&children, 0)), Some(expect));
        let mut derived = Vec::new();
        for key in [&b""[..], &[0], &[1, b'x', 0, 1]] {
            derived.clear();
            derived_place(&NodeId::new("w"), key, 7, 0, &mut derived);
            assert_eq!(source_place(&derived), None);
        }
    }

    #[test]
    fn a_child_of_a_number_is_the_one_that_a_flat_map_gives_that_number() {
        let parents = positions("s", "p", &[10, 20]);
        let both = parents.children(&[0, 0, 1, 1]);
        for number in 0..2 {
            let child = parents.child(number);
            assert_eq!(child.len(), 2);
            for row in 0..2 {
                assert_eq!(bytes(&child, row), bytes(&both, 2 * row + number as usize));
            }
        }
    }

    #[test]
    fn children_stand_after_their_parent_and_before_the_next_row() {
        let parents = positions("s", "p", &[10, 20]);
        let children = parents.children(&[0, 0, 1]);
        assert_eq!(children.compare(0, &children, 1), Ordering::Less);
        assert_eq!(children.compare(1, &parents, 1), Ordering::Less);
        assert_eq!(children.compare(0, &parents, 0), Ordering::Greater);
    }
}
