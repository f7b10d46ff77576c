use wasmill_sdk::prelude::*;

#[keyed]
struct Count;

fn main() {}
