//! What a keyed operator has saved, value by value: for tests and for people.
//!
//! Only what the guest knows of is shown: the rows of its tables and its timers. Rows that wait for the watermark, the
//! numbering of outputs and the like are the operator's own.

use wasmill_core::column::Scalar;
use wasmill_core::fault::{Domain, Fault};
use wasmill_core::key;
use wasmill_core::keyed::TableKind;
use wasmill_core::plan::KeyedNode;
use wasmill_core::schema::DataType;
use wasmill_state::RowCodec;

use super::tables::{BY_KEY, FIRST_TABLE, VALUES};
use super::timers::unsortable;

/// Something that the guest keeps for a key.
#[derive(Clone, Debug, PartialEq)]
pub enum Kept {
    /// A row of a table.
    Row {
        /// The table, by its place in the description.
        table: usize,
        /// The values of the key columns.
        key: Vec<Scalar>,
        /// The row.
        row: Vec<Scalar>,
    },
    /// A timer that is set.
    Timer {
        /// Its kind, by its place in the description.
        kind: usize,
        /// The values of the key columns.
        key: Vec<Scalar>,
        /// Its tag.
        tag: i64,
        /// When it is due, in microseconds.
        time: i64,
    },
}

/// Reads an entry that [`Operator::save`](wasmill_core::operator::Operator::save) of a keyed operator handed out; `None`
/// for one of the operator's own.
///
/// # Errors
/// The entry is none of such an operator.
pub fn inspect(plan: &KeyedNode, key_types: &[DataType], entry: &[u8], value: &[u8]) -> Result<Option<Kept>, Fault> {
    let (&table, rest) = entry.split_first().ok_or_else(damaged)?;
    let tables = &plan.description.tables;
    if table == BY_KEY {
        let (mut encoded, tag) = rest.split_last_chunk::<8>().ok_or_else(damaged)?;
        let (key, kind) = encoded.split_last_chunk::<4>().ok_or_else(damaged)?;
        encoded = key;
        return Ok(Some(Kept::Timer {
            kind: u32::from_be_bytes(*kind) as usize,
            key: read_key(key_types, &mut encoded),
            tag: unsortable(*tag),
            time: i64::from_le_bytes(value.try_into().map_err(|_| damaged())?),
        }));
    }
    let (number, mut encoded) = if table == VALUES {
        let (&number, encoded) = rest.split_first().ok_or_else(damaged)?;
        let mut values = (0..tables.len()).filter(|&table| tables[table].kind == TableKind::Value);
        // Behind the guest's value tables stands what is known of keys' last rows.
        let Some(number) = values.nth(usize::from(number)) else {
            return Ok(None);
        };
        (number, encoded)
    } else if table >= FIRST_TABLE {
        (usize::from(table - FIRST_TABLE), rest)
    } else {
        return Ok(None);
    };
    let description = tables.get(number).ok_or_else(damaged)?;
    let key = read_key(key_types, &mut encoded);
    let codec = RowCodec::new(description.schema.fields().iter().map(|field| field.data_type));
    let mut row = Vec::new();
    codec.decode(&mut &value[..], |_, value| row.push(value.into()))?;
    Ok(Some(Kept::Row {
        table: number,
        key,
        row,
    }))
}

/// The values of a key off the front of its bytes.
fn read_key(types: &[DataType], encoded: &mut &[u8]) -> Vec<Scalar> {
    let mut values = Vec::with_capacity(types.len());
    for &data_type in types {
        key::decode(data_type, encoded, |value| values.push(value.into()));
    }
    values
}

fn damaged() -> Fault {
    Fault::fatal(Domain::External, "an entry of the state is damaged")
}
