//! Tests of operators and of whole topologies over event time, without engine, connectors or clock.
//!
//! A test file says in the words of a topology what is tested, and in steps what happens to it and what is expected: rows,
//! watermarks, processing time, the end; rows at outputs, state, timers. [`Harness::open`] checks a file, [`Harness::run`]
//! runs a test of it: once as it is written, and then in other shapes, all of which must give the same: other batches, more
//! subtasks, state on disk, a fresh instance of the plugin for each call, everything saved and restored after a step. The
//! format is `docs/testing.md`; `wasmill test` is this crate with a command line.
//!
//! Beneath is a [`Simulation`]: it takes rows at sources, watermarks and processing time, and gives what would have reached
//! the sinks. It can be saved after any step and restored, with another number of subtasks too. It runs the operators that
//! the engine runs, in one thread and in an order that is the same on every run.
//!
//! ```
//! use std::path::Path;
//! use std::sync::Arc;
//! use wasmill_component::{Host, Settings};
//! use wasmill_connector_api::registry::Registry;
//! use wasmill_harness::Harness;
//!
//! let components = Host::new(Settings::default())?;
//! let harness = Harness {
//!     registry: Arc::new(Registry::new()),
//!     components: &components,
//!     environment: &|_| None,
//!     scratch: std::env::temp_dir().join(format!("harness-example-{}", std::process::id())),
//!     seed: None,
//! };
//! let suite = harness.read(
//!     r#"
//!     [operator]
//!     type = "window"
//!     key = ["city"]
//!     window = { type = "tumbling", size = "1m" }
//!     aggregate = { n = "count()" }
//!     late = "port"
//!
//!     [input.trips]
//!     schema = [{ name = "city", type = "utf8" }, { name = "at", type = "timestamp" }]
//!     event-time = "at"
//!
//!     [output.out]
//!     columns = ["city", "n"]
//!
//!     [[test]]
//!     name = "a row behind the watermark by more than the lateness is late"
//!
//!     [[test.step]]
//!     rows = [{ city = "Rome", at = 2024-05-01T10:00:10Z }, { city = "Rome", at = 2024-05-01T10:00:50Z }]
//!     watermark = 2024-05-01T10:01:00Z
//!     expect = [{ city = "Rome", n = 2 }]
//!
//!     [[test.step]]
//!     rows = [{ city = "Rome", at = 2024-05-01T10:00:30Z }]
//!     end = true
//!     expect.late = [{ city = "Rome", at = 2024-05-01T10:00:30Z }]
//!     "#,
//!     Path::new("trips.test.toml"),
//! )?;
//! let outcome = harness.run(&suite, &suite.tests[0], false);
//! assert!(outcome.passed(), "{:?}", outcome.failures);
//! assert!(outcome.variations > 10);
//! # Ok::<(), Box<dyn std::error::Error>>(())
//! ```

mod diff;
mod expect;
mod golden;
mod judge;
mod kept;
mod offline;
mod outcome;
mod route;
mod rows;
mod run;
mod script;
mod simulation;
mod spec;
mod subject;
mod suite;
mod value;
mod variation;

pub use diff::Line;
pub use outcome::{Failure, Outcome};
pub use simulation::{Delivered, Entry, Saved, Shape, Simulation};
pub use suite::{Broken, Harness, Suite, Test};
