//! `quantile(column, q)`: a value within 1 % of the q-quantile, by `DDSketch`.
//!
//! Masson, Rim, Lee, "`DDSketch`: a fast and fully-mergeable quantile sketch with relative-error guarantees", VLDB 2019.
//! Positive and negative values are counted in buckets whose bounds grow by less than 1.01/0.99. A bucket's number comes
//! from the float's exponent and a cubic of its mantissa instead of a logarithm, which platforms round differently. Above
//! 4,096 buckets a sign (more than 100 octaves) those nearest to zero become one. That leaves the 4,096 farthest numbers
//! that were seen, whatever the order and the merges.

use wasmill_core::column::{Column, ColumnBuilder, Value};
use wasmill_core::fault::Fault;

use super::{Function, Rows, as_float};
use crate::codec::{damaged, put_count, put_signed, take_count, take_length, take_signed};

/// Buckets an octave. The cubic's slope against the logarithm is at least 1/0.7, and 0.7/35 < ln(1.01/0.99).
const BUCKETS_PER_OCTAVE: i32 = 35;
/// Buckets a sign at most.
const BUCKETS_MAX: usize = 4_096;
/// No float has a bucket from here on, nor from here down below zero.
const BUCKET_BOUND: i32 = 1_075 * BUCKETS_PER_OCTAVE;

#[derive(Clone, Debug)]
pub(super) struct Quantile {
    pub(super) column: usize,
    pub(super) q: f64,
}

/// Counts by bucket. Infinities and NaN, which stands above all, are counted apart.
#[derive(Clone, Debug, Default)]
pub(super) struct Sketch {
    negative: Buckets,
    positive: Buckets,
    zeros: u64,
    negative_infinities: u64,
    positive_infinities: u64,
    nans: u64,
}

/// Ascending bucket numbers with their counts.
#[derive(Clone, Debug, Default)]
struct Buckets(Vec<(i32, u64)>);

impl Buckets {
    fn add(&mut self, bucket: i32, count: u64) {
        let buckets = &mut self.0;
        match buckets.binary_search_by_key(&bucket, |b| b.0) {
            Ok(at) => buckets[at].1 += count,
            Err(at) => {
                buckets.insert(at, (bucket, count));
                if buckets.len() > BUCKETS_MAX {
                    buckets[1].1 += buckets[0].1;
                    buckets.remove(0);
                }
            }
        }
    }

    fn merge(&mut self, other: &Self) {
        for &(bucket, count) in &other.0 {
            self.add(bucket, count);
        }
    }

    fn count(&self) -> u64 {
        self.0.iter().map(|b| b.1).sum()
    }

    /// Appends the buckets, each by its distance from the one before.
    fn encode(&self, out: &mut Vec<u8>) {
        put_count(self.0.len() as u64, out);
        let mut before = 0;
        for &(bucket, count) in &self.0 {
            put_signed((bucket - before).into(), out);
            put_count(count, out);
            before = bucket;
        }
    }

    fn decode(from: &mut &[u8]) -> Result<Self, Fault> {
        let length = take_length(from)?;
        if length > BUCKETS_MAX {
            return Err(damaged("a sketch of quantiles has too many buckets"));
        }
        let mut buckets: Vec<(i32, u64)> = Vec::with_capacity(length);
        for _ in 0..length {
            let before = buckets.last().map_or(0, |b| b.0);
            let bucket = take_signed(from)?.saturating_add(before.into());
            let ascends = buckets.is_empty() || bucket > before.into();
            if !ascends || bucket.unsigned_abs() >= BUCKET_BOUND as u128 {
                return Err(damaged("a sketch of quantiles has a bucket out of bounds"));
            }
            buckets.push((bucket as i32, take_count(from)?));
        }
        Ok(Self(buckets))
    }
}

/// The bucket of a value above zero.
fn bucket(value: f64) -> i32 {
    let (value, lowered) = if value < f64::MIN_POSITIVE {
        (value * 2_f64.powi(64), 64)
    } else {
        (value, 0)
    };
    let bits = value.to_bits();
    let exponent = (bits >> 52) as i32 - 1023 - lowered;
    let mantissa = f64::from_bits(bits & ((1 << 52) - 1) | 1023 << 52);
    exponent * BUCKETS_PER_OCTAVE + cubic(mantissa - 1.0) as i32
}

/// 35 log2(1 + s) about, exact at 0 and 1.
fn cubic(s: f64) -> f64 {
    ((6.0 * s - 21.0) * s + 50.0) * s
}

/// The least s whose cubic is at least `at`.
fn inverse(at: i32) -> f64 {
    let (mut low, mut high) = (0.0, 1.0);
    for _ in 0..52 {
        let middle = 0.5 * (low + high);
        if cubic(middle) >= f64::from(at) {
            high = middle;
        } else {
            low = middle;
        }
    }
    if at == 0 { 0.0 } else { high }
}

/// The value that stands for a bucket: no value of the bucket is further from it than 1 %.
fn representative(bucket: i32) -> f64 {
    let (octave, at) = (
        bucket.div_euclid(BUCKETS_PER_OCTAVE),
        bucket.rem_euclid(BUCKETS_PER_OCTAVE),
    );
    let (low, high) = (1.0 + inverse(at), 1.0 + inverse(at + 1));
    let middle = 2.0 * low * high / (low + high);
    // In two steps, each of which is a power of two that a float can hold.
    let half = octave / 2;
    middle * power_of_two(half) * power_of_two(octave - half)
}

fn power_of_two(exponent: i32) -> f64 {
    f64::from_bits(((exponent + 1023) as u64) << 52)
}

impl Sketch {
    fn add(&mut self, value: f64) {
        if value.is_nan() {
            self.nans += 1;
        } else if value == f64::INFINITY {
            self.positive_infinities += 1;
        } else if value == f64::NEG_INFINITY {
            self.negative_infinities += 1;
        } else if value == 0.0 {
            self.zeros += 1;
        } else if value > 0.0 {
            self.positive.add(bucket(value), 1);
        } else {
            self.negative.add(bucket(-value), 1);
        }
    }

    fn merge(&mut self, other: &Self) {
        self.negative.merge(&other.negative);
        self.positive.merge(&other.positive);
        self.zeros += other.zeros;
        self.negative_infinities += other.negative_infinities;
        self.positive_infinities += other.positive_infinities;
        self.nans += other.nans;
    }

    fn count(&self) -> u64 {
        let apart = self.zeros + self.negative_infinities + self.positive_infinities + self.nans;
        apart + self.negative.count() + self.positive.count()
    }

    /// The value of rank floor(q (n - 1)); `None` where there is no value.
    fn quantile(&self, q: f64) -> Option<f64> {
        let count = self.count();
        let mut rank = (q * count.checked_sub(1)? as f64) as u64;
        let negative = self
            .negative
            .0
            .iter()
            .rev()
            .map(|&(b, n)| (Some(-representative(b)), n));
        let positive = self.positive.0.iter().map(|&(b, n)| (Some(representative(b)), n));
        let ascending = std::iter::once((Some(f64::NEG_INFINITY), self.negative_infinities))
            .chain(negative)
            .chain(std::iter::once((Some(0.0), self.zeros)))
            .chain(positive)
            .chain(std::iter::once((Some(f64::INFINITY), self.positive_infinities)));
        for (value, n) in ascending {
            if rank < n {
                return value;
            }
            rank -= n;
        }
        Some(f64::NAN)
    }
}

impl Function for Quantile {
    type Cell = Sketch;

    fn empty(&self) -> Sketch {
        Sketch::default()
    }

    fn update(&self, cells: &mut [Sketch], rows: &Rows<'_>) {
        let column: &Column = rows.column(self.column);
        rows.each(|row, group| {
            if let Some(value) = as_float(column.value(row)) {
                cells[group].add(value);
            }
        });
    }

    fn merge(&self, into: &mut Sketch, from: &Sketch) {
        into.merge(from);
    }

    fn finish(&self, cell: &Sketch, out: &mut ColumnBuilder) -> Result<(), Fault> {
        out.push(cell.quantile(self.q).map_or(Value::Null, Value::Float64));
        Ok(())
    }

    fn encode(&self, cell: &Sketch, out: &mut Vec<u8>) {
        cell.negative.encode(out);
        cell.positive.encode(out);
        for count in [
            cell.zeros,
            cell.negative_infinities,
            cell.positive_infinities,
            cell.nans,
        ] {
            put_count(count, out);
        }
    }

    fn decode(&self, from: &mut &[u8]) -> Result<Sketch, Fault> {
        Ok(Sketch {
            negative: Buckets::decode(from)?,
            positive: Buckets::decode(from)?,
            zeros: take_count(from)?,
            negative_infinities: take_count(from)?,
            positive_infinities: take_count(from)?,
            nans: take_count(from)?,
        })
    }

    fn heap_bytes(&self, cell: &Sketch) -> usize {
        (cell.negative.0.capacity() + cell.positive.0.capacity()) * 16
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    fn sketch(values: &[f64]) -> Sketch {
        let mut sketch = Sketch::default();
        for &value in values {
            sketch.add(value);
        }
        sketch
    }

    #[test]
    fn the_ends_of_the_floats_have_buckets() {
        for value in [f64::from_bits(1), f64::MIN_POSITIVE, 1.0, f64::MAX] {
            let found = sketch(&[value]).quantile(0.5).expect("a value");
            assert!((found - value).abs() <= value * 0.01, "{found} for {value}");
        }
        let all = sketch(&[f64::NAN, f64::INFINITY, f64::NEG_INFINITY, 0.0, -0.0]);
        assert_eq!(all.quantile(0.0), Some(f64::NEG_INFINITY));
        assert_eq!(all.quantile(0.5), Some(0.0));
        assert_eq!(all.quantile(0.75), Some(f64::INFINITY));
        assert!(all.quantile(1.0).expect("a value").is_nan());
        assert_eq!(sketch(&[]).quantile(0.5), None);
    }

    #[test]
    fn buckets_near_zero_collapse_alike_in_any_order() {
        let values: Vec<f64> = (0..9_000)
            .map(|i| power_of_two(i / 8 - 600) * (1.0 + f64::from(i % 8) / 8.0))
            .collect();
        let reversed: Vec<f64> = values.iter().rev().copied().collect();
        let (front, back) = values.split_at(5_000);
        let (mut ab, mut ba) = (sketch(front), sketch(back));
        ab.merge(&sketch(back));
        ba.merge(&sketch(front));
        for q in [0.0, 0.3, 0.6, 0.9, 1.0] {
            let expect = sketch(&values).quantile(q);
            assert_eq!(sketch(&reversed).quantile(q), expect);
            assert_eq!(ab.quantile(q), expect);
            assert_eq!(ba.quantile(q), expect);
        }
        assert_eq!(sketch(&values).positive.0.len(), BUCKETS_MAX);
        assert_eq!(sketch(&values).count(), 9_000);
    }

    proptest! {
        #[test]
        fn a_quantile_is_within_one_percent_and_merges_do_not_matter(
            values in proptest::collection::vec(any::<f64>().prop_filter("a number", |v| v.is_finite()), 1..50),
            q in 0.0..=1.0_f64, cut in 0..50_usize,
        ) {
            let mut sorted = values.clone();
            sorted.sort_by(f64::total_cmp);
            let exact = sorted[(q * (values.len() - 1) as f64) as usize];
            let found = sketch(&values).quantile(q).expect("a value");
            prop_assert!((found - exact).abs() <= exact.abs() * 0.01, "{} for {}", found, exact);
            let (a, b) = values.split_at(cut.min(values.len()));
            let (mut ab, mut ba) = (sketch(a), sketch(b));
            ab.merge(&sketch(b));
            ba.merge(&sketch(a));
            prop_assert_eq!(ab.quantile(q), Some(found));
            prop_assert_eq!(ba.quantile(q), Some(found));
        }
    }
}
