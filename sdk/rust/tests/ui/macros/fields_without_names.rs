use wasmill_sdk::prelude::*;

#[derive(OutputRow)]
struct Classified(&'static str);

#[transform]
struct Late(i64);

fn main() {}
