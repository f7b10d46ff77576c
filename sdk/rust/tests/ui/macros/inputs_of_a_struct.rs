use wasmill_sdk::prelude::*;

#[derive(Inputs)]
struct Event {
    value: i64,
}

fn main() {}
