use wasmill_sdk::prelude::*;

#[derive(InputRow)]
struct Departure {
    #[column(rename = "dep_delay")]
    delay: i64,
}

fn main() {}
