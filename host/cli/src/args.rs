//! The command line.

use std::num::NonZeroUsize;
use std::path::PathBuf;

use clap::{Parser, Subcommand, ValueEnum};

/// A stream processor: topologies in TOML, operators in WebAssembly.
#[derive(Debug, Parser)]
#[command(name = "wasmill", version, propagate_version = true)]
pub(crate) struct Args {
    /// How results and diagnostics are written.
    #[arg(long, global = true, value_enum, default_value_t = Format::Human)]
    pub(crate) format: Format,
    #[command(subcommand)]
    pub(crate) command: Command,
}

/// For whom output is written.
#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
pub(crate) enum Format {
    /// For people.
    Human,
    /// One JSON value a line.
    Json,
}

#[derive(Debug, Subcommand)]
pub(crate) enum Command {
    /// Run a topology to the end of its input, or until it is stopped.
    Run {
        /// The topology file.
        topology: PathBuf,
        /// Worker threads. Default: one per core.
        #[arg(long)]
        workers: Option<NonZeroUsize>,
    },
    /// Compiles a plugin from standard input to standard output, for the process that started this one.
    #[command(name = "__compile", hide = true)]
    Compile {
        /// How calls are bounded.
        metering: String,
    },
}
