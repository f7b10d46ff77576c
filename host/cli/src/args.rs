//! The command line.

use std::num::NonZeroUsize;
use std::path::PathBuf;

use clap::{Parser, Subcommand, ValueEnum};
use clap_complete::Shell;
use wasmill_topology::WORKERS_MAX;

/// A stream processor: topologies in TOML, operators in WebAssembly.
///
/// A topology is a TOML file that names sources, operators and sinks. Operators are WebAssembly components, written in
/// any language that compiles to them, and run in a sandbox.
#[derive(Debug, Parser)]
#[command(
    name = "wasmill",
    version,
    propagate_version = true,
    disable_help_subcommand = true,
    after_long_help = AFTER_HELP
)]
pub(crate) struct Args {
    /// How results and diagnostics are written.
    #[arg(long, global = true, value_enum, default_value_t = Format::Human)]
    pub(crate) format: Format,
    #[command(subcommand)]
    pub(crate) command: Command,
}

const AFTER_HELP: &str = "\
Examples:
  wasmill check topology.toml                 say everything that is wrong with a topology
  wasmill graph topology.toml -o graph.svg    draw it
  wasmill run topology.toml                   run it to the end of its input
  wasmill new my-operator                     write a plugin to start from
  wasmill build my-operator                   make a component of it
  wasmill test                                run the tests in this folder

Environment:
  WASMILL__SECTION__KEY       overrides a key of a topology, as in WASMILL__ENGINE__WORKERS=4
  WASMILL__SOURCE__ID__KEY    overrides a key of a source (or OPERATOR, or SINK), as in
                              WASMILL__SOURCE__FLIGHTS__PATH=other.csv
  NO_COLOR                    no colours, on a terminal too
  Flags come before the environment, the environment before the file, the file before the defaults.

Exit codes:
  0    it did what was asked
  1    it failed
  2    the command line is wrong
  3    the topology, or a test file, has errors
  130  it was stopped by a signal; what sinks had been given is written";

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
    /// Check a topology without running it
    ///
    /// Reads the file, asks connectors, formats and plugins, and says everything that is wrong with it at once. Nothing
    /// is read from or written to the outside, but plugins and the existence of files are looked at. Of a topology
    /// without errors it says what every node gives and whether another run gives the same output.
    #[command(after_long_help = "\
Examples:
  wasmill check topology.toml
  wasmill check topology.toml --format json | jq .code

With --format json each diagnostic is a line on standard output, and the last line sums the topology up.
Every code is explained in docs/diagnostics.md.")]
    Check {
        #[command(flatten)]
        topology: Topology,
    },
    /// Draw a topology
    ///
    /// Checks the topology and draws its nodes, the columns that flow between them (those that nobody reads are grey),
    /// and where rows are exchanged between workers by key.
    #[command(after_long_help = "\
Examples:
  wasmill graph topology.toml -o topology.svg
  wasmill graph topology.toml --type dot | dot -Tpng -o topology.png
  wasmill graph topology.toml              # Mermaid, for Markdown

With --format json the nodes and streams are written as one JSON value.")]
    Graph {
        #[command(flatten)]
        topology: Topology,
        /// The language of the picture. Default: by the ending of --output, else Mermaid.
        #[arg(long = "type", value_enum)]
        picture: Option<PictureType>,
        /// The file to write. Default: standard output.
        #[arg(long, short)]
        output: Option<PathBuf>,
    },
    /// Run a topology to the end of its input, or until it is stopped
    ///
    /// Stops at Ctrl-C or SIGTERM, when what the sinks were given is written. Progress and the summary go to standard
    /// error.
    #[command(after_long_help = "\
Examples:
  wasmill run topology.toml
  wasmill run topology.toml --workers 2
  WASMILL__SOURCE__FLIGHTS__PATH=other.csv wasmill run topology.toml")]
    Run {
        #[command(flatten)]
        topology: Topology,
    },
    /// Say what a plugin is: its world, its imports, its size
    ///
    /// With --input the plugin is also asked which columns it needs and gives; a keyed one also needs --key.
    #[command(after_long_help = "\
Examples:
  wasmill inspect plugins/delay-class.wasm
  wasmill inspect plugins/delay-class.wasm --input 'origin: utf8, dep_delay: int64?' --config '{\"threshold\": 30}'
  wasmill inspect plugins/sessions.wasm --input 'host: utf8, load: float64' --key host

A `?` behind a type means that a value may be null.")]
    Inspect {
        /// The component's file.
        plugin: PathBuf,
        /// The columns of an input, as in 'origin: utf8, delay: int64?'. More than once for several inputs.
        #[arg(long = "input", value_name = "COLUMNS")]
        inputs: Vec<String>,
        /// A column of the key, for keyed and window plugins; '' for one key of all rows. More than once for several.
        #[arg(long = "key", value_name = "COLUMN", requires = "inputs")]
        key: Vec<String>,
        /// The configuration, as JSON.
        #[arg(long, value_name = "JSON", default_value = "{}", requires = "inputs")]
        config: String,
    },
    /// Write a plugin to start from
    ///
    /// The folder is a complete project with a test; `wasmill build` makes a component of it.
    #[command(after_long_help = "\
Examples:
  wasmill new delay-class
  wasmill new mean-delay --world aggregate --folder plugins/mean-delay")]
    New {
        /// The plugin's name: lower-case letters, digits and hyphens.
        name: String,
        /// What it is to be.
        #[arg(long, value_enum, default_value_t = World::Transform)]
        world: World,
        /// The folder to write. Default: the name.
        #[arg(long)]
        folder: Option<PathBuf>,
    },
    /// Make a component of a plugin's sources
    ///
    /// Finds a compiler for wasm32, or fetches one into the user's cache. What was built before is taken from the cache.
    #[command(after_long_help = "\
Examples:
  wasmill build delay-class
  wasmill build plugins/delay-class --output plugins/delay-class.wasm")]
    Build {
        /// The plugin's project.
        #[arg(default_value = ".")]
        project: PathBuf,
        /// The file to write. Default: NAME.wasm in the project's folder.
        #[arg(long, short)]
        output: Option<PathBuf>,
    },
    /// Run tests of operators and topologies
    ///
    /// A test file, named *.test.toml, says what is tested, what happens to it step by step (rows, watermarks, processing
    /// time) and what is expected. Every test is run again in other shapes (batches, subtasks, state on disk, restored
    /// after a step), which must give the same. No connector is opened. See docs/testing.md.
    #[command(after_long_help = "\
Examples:
  wasmill test                              the test files in this folder and the folders in it
  wasmill test score.test.toml --filter late
  wasmill test --bless                      write what came to the files that tests expect

With --format json each test is a line, and the last line sums them up.
Exit codes: 0 all tests passed, 1 one failed or there is no test file, 3 a test file or its topology has errors.")]
    Test {
        /// Test files, and folders with test files. Default: the current folder.
        #[arg(value_name = "PATH")]
        paths: Vec<PathBuf>,
        /// Run the tests whose names hold this text.
        #[arg(long, value_name = "TEXT")]
        filter: Option<String>,
        /// Write what came to the files that tests expect, instead of comparing.
        #[arg(long)]
        bless: bool,
        /// With what points of restoring are drawn, for tests of many steps. Default: one that follows from the test's name.
        #[arg(long, value_name = "NUMBER")]
        seed: Option<u64>,
    },
    /// Write completions for a shell
    #[command(after_long_help = "\
Examples:
  wasmill completions bash > ~/.local/share/bash-completion/completions/wasmill
  wasmill completions fish > ~/.config/fish/completions/wasmill.fish")]
    Completions {
        /// The shell.
        #[arg(value_enum)]
        shell: Shell,
    },
    /// Compiles a plugin from standard input to standard output, for the process that started this one.
    #[command(name = "__compile", hide = true)]
    Compile {
        /// How calls are bounded.
        metering: String,
    },
}

/// A topology file and what overrides it.
#[derive(Clone, Debug, clap::Args)]
pub(crate) struct Topology {
    /// The topology file.
    #[arg(id = "topology", value_name = "TOPOLOGY")]
    pub(crate) file: PathBuf,
    /// Worker threads. Default: one per core.
    #[arg(long, value_parser = workers)]
    pub(crate) workers: Option<NonZeroUsize>,
}

/// Worker threads: as many as a topology may ask for.
fn workers(text: &str) -> Result<NonZeroUsize, String> {
    let count = text
        .parse()
        .ok()
        .filter(|count: &NonZeroUsize| count.get() <= WORKERS_MAX);
    count.ok_or_else(|| format!("it is a whole number, at least 1 and at most {WORKERS_MAX}"))
}

/// The language of a picture.
#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
pub(crate) enum PictureType {
    /// A flowchart in Mermaid's language.
    Mermaid,
    /// A graph for Graphviz.
    Dot,
    /// A drawing for browsers.
    Svg,
}

/// What a new plugin is to be.
#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
pub(crate) enum World {
    /// An operator: map, filter, flat-map, split.
    Transform,
    /// An aggregate of a window.
    Aggregate,
    /// An operator with state and timers for each key.
    Keyed,
    /// An operator over all rows of a window.
    Window,
}
