use wasmill_sdk::prelude::*;

#[derive(InputRow)]
struct Departure {
    #[column(event_time)]
    at: Timestamp,
    #[column(event_time)]
    also_at: Timestamp,
}

fn main() {}
