use wasmill_sdk::prelude::*;

#[derive(Timers)]
enum Timer {
    Retry(String),
}

fn main() {}
