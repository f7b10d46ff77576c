use wasmill_sdk::prelude::*;

#[derive(Timers)]
enum Timer {
    Retry(i64, i64),
}

fn main() {}
