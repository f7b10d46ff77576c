use wasmill_sdk::prelude::*;

#[derive(Tables)]
struct Memory {
    last_value: i64,
    #[table(name = "last-value")]
    other: i64,
}

fn main() {}
