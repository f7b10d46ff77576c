use wasmill_sdk::prelude::*;

#[transform]
struct Late {
    threshold: i64,
}

fn main() {}
