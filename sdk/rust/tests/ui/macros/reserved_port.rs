use wasmill_sdk::prelude::*;

#[derive(Outputs)]
struct Split {
    main: Keep,
    dead_letter: Keep,
}

fn main() {}
