use wasmill_sdk::prelude::*;

#[derive(Accumulator, Default)]
struct Seen {
    any: bool,
}

fn main() {}
