//! Runs the operators of a plan step by step, without engine, connectors or clock: the harness for tests of operators and
//! whole topologies over event time.
//!
//! A [`Simulation`] takes rows at sources, watermarks and processing time, and gives what would have reached the sinks. It
//! can be saved after any step and restored, with another number of subtasks too. It runs the operators that the engine
//! runs, in one thread and in an order that is the same on every run.

mod route;
mod simulation;

pub use simulation::{Delivered, Entry, Saved, Shape, Simulation};
