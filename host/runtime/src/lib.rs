//! Builds and runs the dataflow of a plan.
