//! `count_distinct(column)`: about how many different values, by `HyperLogLog` with a standard error of 0.8 %.
//!
//! The 2^14 registers are a function of the set of values alone, so is the estimate, and the merge of two sketches is
//! that of their sets. Few values are kept as a list of register entries. The estimator is the one of Ertl, "New
//! cardinality estimation algorithms for `HyperLogLog` sketches", 2017, which needs no tables and no case distinctions;
//! it uses basic arithmetic and square roots only, which every processor rounds alike.

use wasmill_core::column::{ColumnBuilder, Value};
use wasmill_core::fault::Fault;
use wasmill_core::key;

use super::{Function, Rows};
use crate::codec::{damaged, put_count, take_array, take_flag, take_length};

const PRECISION: u32 = 14;
const REGISTERS: usize = 1 << PRECISION;
/// The greatest value of a register.
const RANK_MAX: usize = 64 - PRECISION as usize + 1;
/// Above so many entries all registers are kept: half the bytes.
const ENTRIES_MAX: usize = REGISTERS / 8;

#[derive(Clone, Debug)]
pub(super) struct CountDistinct {
    pub(super) column: usize,
}

/// The registers that are not zero.
#[derive(Clone, Debug)]
pub(super) enum Sketch {
    /// Ascending entries: the register's number, then 8 bits of value.
    Few(Vec<u32>),
    /// All registers.
    Many(Box<[u8]>),
}

impl Sketch {
    fn add(&mut self, hash: u64) {
        let register = (hash >> (64 - PRECISION)) as usize;
        let rank = (hash << PRECISION | 1 << (PRECISION - 1)).leading_zeros() + 1;
        self.raise(register, rank as u8);
    }

    fn raise(&mut self, register: usize, rank: u8) {
        match self {
            Self::Many(registers) => registers[register] = registers[register].max(rank),
            Self::Few(entries) => {
                let entry = (register as u32) << 8 | u32::from(rank);
                match entries.binary_search_by_key(&(register as u32), |e| e >> 8) {
                    Ok(at) => entries[at] = entries[at].max(entry),
                    Err(at) => {
                        entries.insert(at, entry);
                        if entries.len() > ENTRIES_MAX {
                            self.keep_all();
                        }
                    }
                }
            }
        }
    }

    fn keep_all(&mut self) {
        if let Self::Few(entries) = self {
            let mut registers = vec![0; REGISTERS];
            for &entry in &*entries {
                registers[(entry >> 8) as usize] = entry as u8;
            }
            *self = Self::Many(registers.into());
        }
    }

    fn merge(&mut self, other: &Self) {
        match other {
            Self::Few(entries) => {
                for &entry in entries {
                    self.raise((entry >> 8) as usize, entry as u8);
                }
            }
            Self::Many(registers) => {
                self.keep_all();
                if let Self::Many(own) = self {
                    for (a, &b) in own.iter_mut().zip(registers) {
                        *a = (*a).max(b);
                    }
                }
            }
        }
    }

    fn estimate(&self) -> i64 {
        let mut counts = [0_u32; RANK_MAX + 1];
        match self {
            Self::Few(entries) => {
                counts[0] = (REGISTERS - entries.len()) as u32;
                for &entry in entries {
                    counts[(entry & 0xff) as usize] += 1;
                }
            }
            Self::Many(registers) => {
                for &register in registers {
                    counts[register as usize] += 1;
                }
            }
        }
        let registers = REGISTERS as f64;
        let share = |rank: usize| f64::from(counts[rank]) / registers;
        let mut z = registers * tau(1.0 - share(RANK_MAX));
        for rank in (1..RANK_MAX).rev() {
            z = 0.5 * (z + f64::from(counts[rank]));
        }
        z += registers * sigma(share(0));
        let alpha = 0.5 / std::f64::consts::LN_2;
        (alpha * registers * registers / z).round() as i64
    }
}

/// x + Σ x^(2^k) 2^(k-1)
#[expect(clippy::float_cmp, reason = "the series ends when a term no longer changes the sum")]
fn sigma(mut x: f64) -> f64 {
    if x == 1.0 {
        return f64::INFINITY;
    }
    let (mut y, mut z) = (1.0, x);
    loop {
        x *= x;
        let before = z;
        z += x * y;
        y += y;
        if z == before {
            return z;
        }
    }
}

/// (1 - x - Σ (1 - x^(2^-k))² 2^-k) / 3
#[expect(clippy::float_cmp, reason = "the series ends when a term no longer changes the sum")]
fn tau(mut x: f64) -> f64 {
    if x == 0.0 || x == 1.0 {
        return 0.0;
    }
    let (mut y, mut z) = (1.0, 1.0 - x);
    loop {
        x = x.sqrt();
        let before = z;
        y *= 0.5;
        z -= (1.0 - x) * (1.0 - x) * y;
        if z == before {
            return z / 3.0;
        }
    }
}

impl Function for CountDistinct {
    type Cell = Sketch;

    fn empty(&self) -> Sketch {
        Sketch::Few(Vec::new())
    }

    fn update(&self, cells: &mut [Sketch], rows: &Rows<'_>) {
        let column = rows.column(self.column);
        let mut encoded = Vec::new();
        rows.each_valid(column.nulls(), |row, group| {
            encoded.clear();
            key::encode(column.value(row), &mut encoded);
            cells[group].add(key::hash(&encoded));
        });
    }

    fn merge(&self, into: &mut Sketch, from: &Sketch) {
        into.merge(from);
    }

    fn finish(&self, cell: &Sketch, out: &mut ColumnBuilder) -> Result<(), Fault> {
        out.push(Value::Int64(cell.estimate()));
        Ok(())
    }

    fn encode(&self, cell: &Sketch, out: &mut Vec<u8>) {
        match cell {
            Sketch::Few(entries) => {
                out.push(0);
                put_count(entries.len() as u64, out);
                for entry in entries {
                    out.extend(entry.to_le_bytes());
                }
            }
            Sketch::Many(registers) => {
                out.push(1);
                out.extend_from_slice(registers);
            }
        }
    }

    fn decode(&self, from: &mut &[u8]) -> Result<Sketch, Fault> {
        let is_rank = |rank: u8| usize::from(rank) <= RANK_MAX;
        if take_flag(from)? {
            let registers: [u8; REGISTERS] = take_array(from)?;
            return if registers.iter().all(|&rank| is_rank(rank)) {
                Ok(Sketch::Many(registers.into()))
            } else {
                Err(damaged("a sketch of distinct values has a register out of bounds"))
            };
        }
        let count = take_length(from)?;
        let entries = (0..count).map(|_| take_array(from).map(u32::from_le_bytes));
        let entries = entries.collect::<Result<Vec<u32>, Fault>>()?;
        let valid = entries.len() <= ENTRIES_MAX
            && entries.is_sorted_by(|a, b| a >> 8 < b >> 8)
            && entries
                .iter()
                .all(|&entry| (entry >> 8) < REGISTERS as u32 && is_rank(entry as u8) && entry as u8 > 0);
        if valid {
            Ok(Sketch::Few(entries))
        } else {
            Err(damaged("a sketch of distinct values has a register out of bounds"))
        }
    }

    fn heap_bytes(&self, cell: &Sketch) -> usize {
        match cell {
            Sketch::Few(entries) => entries.capacity() * 4,
            Sketch::Many(_) => REGISTERS,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn sketch(values: std::ops::Range<u64>) -> Sketch {
        let mut sketch = Sketch::Few(Vec::new());
        for value in values {
            sketch.add(key::hash(&value.to_le_bytes()));
        }
        sketch
    }

    #[test]
    fn the_estimate_is_within_four_standard_errors() {
        for count in [0, 1, 2, 10, 100, 1_000, 2_000, 3_000, 10_000, 100_000, 1_000_000] {
            let estimate = sketch(0..count).estimate();
            let error = (estimate as f64 - count as f64).abs();
            assert!(error <= 4.0 * 0.0081 * count as f64, "{estimate} for {count}");
        }
    }

    #[test]
    fn merged_sketches_are_the_sketch_of_all_values() {
        for (a, b) in [
            (0..100, 50..150),
            (0..5_000, 10..20),
            (0..10, 5..9_000),
            (0..9_000, 5_000..20_000),
        ] {
            let whole = sketch(a.start..b.end.max(a.end)).estimate();
            let (first, second) = (sketch(a), sketch(b));
            let (mut one, mut other) = (first.clone(), second.clone());
            one.merge(&second);
            other.merge(&first);
            assert_eq!((one.estimate(), other.estimate()), (whole, whole));
        }
    }
}
