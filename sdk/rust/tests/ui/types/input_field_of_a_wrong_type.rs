use wasmill_sdk::prelude::*;

#[derive(InputRow)]
struct Departure {
    dep_delay: Option<u64>,
}

fn main() {}
