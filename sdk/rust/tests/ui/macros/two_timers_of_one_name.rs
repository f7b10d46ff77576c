use wasmill_sdk::prelude::*;

#[derive(Timers)]
enum Timer {
    Clear,
    #[timer(name = "clear", processing)]
    Flush,
}

fn main() {}
