use wasmill_sdk::prelude::*;

#[derive(OutputRow)]
struct Classified {
    class: &'static str,
    #[column(name = "class")]
    number: i64,
}

fn main() {}
