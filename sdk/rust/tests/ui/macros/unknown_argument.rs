use wasmill_sdk::prelude::*;

#[transform(colums)]
struct Late {
    threshold: i64,
}

#[aggregate(comutative)]
struct Score {
    threshold: i64,
}

fn main() {}
