use wasmill_sdk::prelude::*;

#[derive(State, Default)]
#[state(ttl = "60")]
struct Recent {
    count: i64,
}

fn main() {}
