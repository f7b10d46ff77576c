use wasmill_sdk::prelude::*;

#[derive(Timers)]
enum Timer {}

fn main() {}
