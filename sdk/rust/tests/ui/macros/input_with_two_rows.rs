use wasmill_sdk::prelude::*;

#[derive(InputRow)]
struct Reading {
    value: i64,
}

#[derive(Inputs)]
enum Event {
    Reading(Reading, Reading),
}

fn main() {}
