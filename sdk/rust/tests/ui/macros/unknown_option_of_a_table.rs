use wasmill_sdk::prelude::*;

#[derive(Tables)]
struct Memory {
    #[table(on_demand)]
    count: i64,
}

fn main() {}
