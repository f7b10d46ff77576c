use wasmill_sdk::prelude::*;

#[derive(InputColumns)]
struct Departures<'a> {
    #[column(event_time)]
    at: &'a [i64],
}

fn main() {}
