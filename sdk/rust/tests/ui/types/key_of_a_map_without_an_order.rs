use wasmill_sdk::prelude::*;

#[derive(Tables)]
struct Memory {
    by_price: Map<f64, i64>,
}

fn main() {}
