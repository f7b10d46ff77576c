use wasmill_sdk::prelude::*;

#[derive(InputRow)]
enum Departure {
    Late,
}

#[transform]
enum Late {
    Very,
}

fn main() {}
