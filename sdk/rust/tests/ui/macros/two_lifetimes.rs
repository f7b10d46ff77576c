use wasmill_sdk::prelude::*;

#[derive(InputRow)]
struct Departure<'a, 'b> {
    carrier: &'a str,
    origin: &'b str,
}

fn main() {}
