use wasmill_sdk::prelude::*;

#[derive(Accumulator, Default)]
struct Worst {
    carriers: Vec<String>,
}

fn main() {}
