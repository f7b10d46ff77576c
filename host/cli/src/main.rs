//! The `wasmill` binary: reads the command line, puts the parts together, and returns an exit code.

mod args;
mod clock;
mod commands;
mod diagnostics;
mod environment;
mod exit;
mod registry;
mod summary;
mod terminal;
mod topology;

use std::error::Error;
use std::io;
use std::process::ExitCode;
use std::sync::Arc;

use clap::Parser;
use wasmill_runtime::Environment;

use crate::args::{Args, Command, Format, Topology};
use crate::exit::Exit;
use crate::topology::{Report, load};

#[global_allocator]
static ALLOCATOR: mimalloc::MiMalloc = mimalloc::MiMalloc;

fn main() -> ExitCode {
    let args = Args::parse();
    tracing_subscriber::fmt()
        .with_writer(io::stderr)
        .with_ansi(terminal::colours())
        .with_target(false)
        .init();
    match execute(args.command, args.format) {
        Ok(exit) => exit.into(),
        Err(error) => {
            // Nobody reads on, as behind `| head`: there is no one to tell.
            let closed = |error: &io::Error| error.kind() == io::ErrorKind::BrokenPipe;
            if !error.downcast_ref().is_some_and(closed) {
                terminal::failed(&*error, args.format);
            }
            Exit::Failed.into()
        }
    }
}

fn execute(command: Command, format: Format) -> Result<Exit, Box<dyn Error>> {
    match command {
        Command::Check { topology } => commands::check::execute(&topology, format),
        Command::Graph {
            topology,
            picture,
            output,
        } => commands::graph::execute(&topology, picture, output, format),
        Command::Run { topology } => run(&topology, format),
        Command::Inspect {
            plugin,
            inputs,
            key,
            config,
        } => {
            let question = commands::inspect::Question { inputs, key, config };
            commands::inspect::execute(&plugin, &question, format)
        }
        Command::New { name, world, folder } => commands::new::execute(&name, world, folder, format),
        Command::Build { project, output } => commands::build::execute(&project, output, format),
        Command::Test {
            paths,
            filter,
            bless,
            seed,
        } => {
            let settings = commands::test::Settings {
                paths,
                filter,
                bless,
                seed,
            };
            commands::test::execute(&settings, format)
        }
        Command::Completions { shell } => Ok(commands::completions::execute(shell)?),
        Command::Compile { metering } => {
            wasmill_component::compile_main(metering.parse()?, &mut io::stdin().lock(), &mut io::stdout().lock())?;
            Ok(Exit::Ok)
        }
    }
}

fn run(topology: &Topology, format: Format) -> Result<Exit, Box<dyn Error>> {
    let Some(loaded) = load(topology, format, Report::Beside)? else {
        return Ok(Exit::Invalid);
    };
    let environment = Environment {
        registry: loaded.registry,
        components: loaded.host,
        clock: Arc::new(clock::SystemClock),
        scratch: environment::scratch(),
    };
    Ok(commands::run::execute(loaded.plan, environment, format))
}
