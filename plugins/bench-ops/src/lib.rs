//! The operators that the benches run, over bids: the least work of each shape, so that what is measured is the way
//! into the guest and back.
//!
//! | `shape` | port | gives |
//! |---|---|---|
//! | `identity` | `out` | every bid |
//! | `filter` | `out` | the bids on even auctions |
//! | `map` | `converted` | every bid, with its price in euros |
//! | `convert` | `converted` | the bids on 60 of 123 auctions, with their prices in euros |

use serde::Deserialize;
use wasmill_sdk::prelude::*;

/// What it reads of a bid.
#[derive(InputColumns)]
pub struct Bids<'a> {
    auction: &'a [i64],
    price: &'a [i64],
}

/// What it adds.
#[derive(OutputColumns)]
pub struct Converted {
    euros: Values<f64>,
}

/// Its ports.
#[derive(Outputs)]
pub struct Ports {
    out: Keep,
    converted: Add<Converted>,
}

/// Which shape it has.
#[derive(Clone, Copy, Debug, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Shape {
    /// Rows as they came.
    Identity,
    /// A selection: little work, so that what is measured is the way.
    Filter,
    /// One column more.
    Map,
    /// A selection and one column more.
    Convert,
}

/// The operator.
#[transform(columns)]
pub struct BenchOps {
    shape: Shape,
}

/// Of 123 auctions, this many are kept.
const KEPT: i64 = 60;

#[inline]
#[expect(clippy::cast_precision_loss, reason = "prices stay far below 2^52")]
fn in_euros(dollars: i64) -> f64 {
    0.908 * dollars as f64
}

impl TransformColumns for BenchOps {
    type Input<'a> = Bids<'a>;
    type Output = Ports;

    fn batch(&self, batch: Batch<Bids<'_>>, out: &mut Ports) -> Result<Rejects, Failure> {
        let Bids { auction, price } = batch.columns;
        match self.shape {
            Shape::Identity => out.out.keep_rows(Rows::All),
            Shape::Filter => out.out.keep_rows(Rows::filter(batch.rows, |row| auction[row] % 2 == 0)),
            Shape::Map => {
                let euros = Values::filled(batch.rows, |euros| {
                    for (euros, &price) in euros.iter_mut().zip(price) {
                        *euros = in_euros(price);
                    }
                });
                out.converted.set(Rows::All, Converted { euros });
            }
            Shape::Convert => {
                let mut prices = vec![0; batch.rows];
                let mut kept = 0;
                let rows = Rows::filter(batch.rows, |row| {
                    let keep = auction[row] % 123 < KEPT;
                    prices[kept] = price[row];
                    kept += usize::from(keep);
                    keep
                });
                let euros = Values::filled(kept, |euros| {
                    for (euros, &price) in euros.iter_mut().zip(&prices) {
                        *euros = in_euros(price);
                    }
                });
                out.converted.set(rows, Converted { euros });
            }
        }
        Ok(Rejects::none())
    }
}

#[cfg(test)]
mod tests {
    use wasmill_sdk::testing::{Table, TransformTest};

    use super::*;

    fn bids(rows: &[(i64, i64)]) -> Table {
        let auctions = rows.iter().map(|row| row.0);
        Table::new()
            .with("auction", auctions)
            .with("price", rows.iter().map(|row| row.1))
    }

    fn check(shape: &str, port: &str, expect: &Table) {
        let input = bids(&[(0, 100), (60, 200), (59, 300), (122, 400)]);
        let config = format!(r#"{{"shape":"{shape}"}}"#);
        let mut operator = TransformTest::<BenchOps>::open(&config, &input).unwrap();
        operator.check_cuts(&input).unwrap();
        assert_eq!(operator.process(&input).unwrap().port(port), expect);
    }

    #[test]
    fn each_shape_gives_what_it_says() {
        let all = bids(&[(0, 100), (60, 200), (59, 300), (122, 400)]);
        let even = bids(&[(0, 100), (60, 200), (122, 400)]);
        let half = bids(&[(0, 100), (59, 300)]);
        check("identity", "out", &all);
        check("filter", "out", &even);
        check(
            "map",
            "converted",
            &all.with("euros", [90.8, 181.6, 272.400_000_000_000_03, 363.2]),
        );
        check(
            "convert",
            "converted",
            &half.with("euros", [90.8, 272.400_000_000_000_03]),
        );
    }
}
