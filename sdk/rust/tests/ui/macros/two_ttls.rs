use wasmill_sdk::prelude::*;

#[derive(Tables)]
struct Memory {
    #[table(ttl = "1h", processing_ttl = "1h")]
    count: i64,
}

fn main() {}
