use wasmill_sdk::prelude::*;

#[derive(Outputs)]
struct Split {
    on_time: Keep,
    #[port(name = "on-time")]
    early: Keep,
}

fn main() {}
