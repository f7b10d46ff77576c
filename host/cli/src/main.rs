//! The `wasmill` binary: reads the command line, puts the parts together, and returns an exit code.

mod args;
mod clock;
mod commands {
    pub(crate) mod run;
}
mod environment;
mod exit;
mod registry;

use std::io::Write;
use std::path::Path;
use std::process::ExitCode;
use std::sync::Arc;

use clap::Parser;

use wasmill_component::{Compiler, Host};
use wasmill_runtime::Environment;
use wasmill_topology::Input;

use crate::args::{Args, Command};
use crate::exit::Exit;

#[global_allocator]
static ALLOCATOR: mimalloc::MiMalloc = mimalloc::MiMalloc;

fn main() -> ExitCode {
    let args = Args::parse();
    tracing_subscriber::fmt().with_writer(std::io::stderr).with_target(false).init();
    let done: Result<Exit, Box<dyn std::error::Error>> = match args.command {
        Command::Run { topology, workers } => run(&topology, workers, args.format),
        Command::Compile { metering } => compile(&metering),
    };
    match done {
        Ok(exit) => exit.into(),
        Err(error) => {
            tracing::error!("{error}");
            Exit::Failed.into()
        }
    }
}

fn compile(metering: &str) -> Result<Exit, Box<dyn std::error::Error>> {
    wasmill_component::compile_main(metering.parse()?, &mut std::io::stdin().lock(), &mut std::io::stdout().lock())?;
    Ok(Exit::Ok)
}

fn run(
    path: &Path,
    workers: Option<std::num::NonZeroUsize>,
    format: args::Format,
) -> Result<Exit, Box<dyn std::error::Error>> {
    let text = std::fs::read_to_string(path)?;
    let folder = path.canonicalize()?.parent().map(Path::to_owned).unwrap_or_default();
    let name = path.file_stem().map(|name| name.to_string_lossy().into_owned()).unwrap_or_default();
    let registry = Arc::new(registry::registry());
    let host = Host::new(wasmill_component::Settings {
        cache: environment::cache().map(|cache| cache.join("components")),
        compiler: Compiler::Subprocess { program: std::env::current_exe()?, args: vec!["__compile".into()] },
        ..wasmill_component::Settings::default()
    })?;
    let input = Input {
        text: &text,
        name: &name,
        folder: &folder,
        environment: &environment::variable,
        overrides: &environment::overrides(),
        workers,
    };
    let checked = match wasmill_topology::plan(&input, &registry, &host) {
        Ok(checked) => checked,
        Err(diagnostics) => {
            for diagnostic in diagnostics {
                writeln!(std::io::stderr(), "{diagnostic:?}")?;
            }
            return Ok(Exit::Invalid);
        }
    };
    let environment = Environment { registry, components: host, clock: Arc::new(clock::SystemClock) };
    Ok(commands::run::execute(checked.plan, environment, format))
}
