use wasmill_sdk::prelude::*;

#[derive(Outputs)]
struct Split {
    main: Keep,
    rest: Vec<i64>,
}

fn main() {}
