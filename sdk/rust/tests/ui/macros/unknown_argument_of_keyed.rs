use wasmill_sdk::prelude::*;

#[keyed(columns)]
struct Count;

#[window(columns)]
struct Median;

fn main() {}
