//! The dataflow engine: the only crate that names timely.
