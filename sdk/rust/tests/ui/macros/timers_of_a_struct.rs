use wasmill_sdk::prelude::*;

#[derive(Timers)]
struct Timer;

fn main() {}
