//! Runs the real binary over real files, as a user would.
//!
//! Each test has a folder of its own. Nothing sleeps: a test waits for a line, for an exit, or for a process to come to
//! rest, each with a limit after which it fails.

#![expect(
    clippy::unwrap_used,
    clippy::print_stdout,
    reason = "all of this is tests: what goes wrong fails one, and a bound is shown beside its check"
)]

mod backpressure;
mod broken;
mod closed;
mod commands;
mod fed_back;
mod following;
mod oracle;
mod process;
mod reproducible;
mod sandbox;
mod signals;
mod state;
mod testing;
mod watermarks;
