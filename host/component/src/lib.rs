//! Runs operators as WebAssembly components: the only crate that names wasmtime.
//!
//! A [`Host`] loads plugins, asks them what they are ([`wasmill_core::plugin::Describer`]) and makes the instances that
//! subtasks run ([`Host::transform`], [`Host::aggregate`], [`Host::keyed`], [`Host::content`]). Guests are not trusted: they
//! get columns, `log`, `metrics` and, where they have keys, `state`; no clock, no randomness, no files, no sockets (no WASI is linked); what they return is checked before
//! Arrow or anybody else believes it; time, fuel, memory and output are bounded. Whatever a guest does becomes a result
//! or a [`wasmill_core::fault::Fault`], and the next call runs in a new instance.
//!
//! Not here: what becomes of a fault (the runtime's policy), retries, where plugins come from, which folder the cache
//! is. The contract is `wit/operator.wit`.

mod aggregate;
mod anatomy;
mod bindings;
mod blamed;
mod cache;
mod compile;
mod content;
mod describe;
mod engine;
mod host;
mod imports;
mod keyed;
mod lift;
mod lower;
mod program;
mod shape;
mod subtask;
mod transform;

pub use anatomy::{PluginReport, inspect};
pub use cache::CacheError;
pub use compile::{CompileError, Compiler, compile, compile_main};
pub use engine::{Metering, UnknownMetering};
pub use host::{Host, HostError, Placement, Settings};
pub use imports::metrics::{Histogram, Metric, MetricValue, Metrics, MetricsRegistry};
pub use wasmill_core::plugin::Isolation;
