use wasmill_sdk::prelude::*;

#[derive(State, Default)]
struct Recent {
    count: u32,
}

fn main() {}
