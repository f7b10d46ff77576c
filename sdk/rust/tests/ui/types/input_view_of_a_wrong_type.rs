use wasmill_sdk::prelude::*;

#[derive(InputColumns)]
struct Departures {
    dep_delay: Vec<i64>,
}

fn main() {}
