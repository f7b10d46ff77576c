use wasmill_sdk::prelude::*;

#[transform]
struct Late<T> {
    threshold: T,
}

fn main() {}
