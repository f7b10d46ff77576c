use wasmill_sdk::prelude::*;

#[derive(OutputRow)]
struct Flown {
    time: std::time::Duration,
}

fn main() {}
