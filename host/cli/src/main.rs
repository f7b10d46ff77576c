//! The wasmill binary.
fn main() {}
