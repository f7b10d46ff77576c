use wasmill_sdk::prelude::*;

#[derive(State, Default)]
struct Nothing;

fn main() {}
