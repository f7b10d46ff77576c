use wasmill_sdk::prelude::*;

#[transform]
#[derive(Debug, serde::Deserialize)]
struct Late {
    threshold: i64,
}

fn main() {}
