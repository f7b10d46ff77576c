use wasmill_sdk::prelude::*;

#[derive(OutputRow)]
struct Departure {
    #[column(event_time)]
    at: Timestamp,
}

fn main() {}
