use wasmill_sdk::prelude::*;

#[derive(InputRow)]
struct Departure<T> {
    dep_delay: T,
}

fn main() {}
