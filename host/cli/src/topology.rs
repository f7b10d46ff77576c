//! Reads a topology file and asks the parts of this binary about it.

use std::fs::File;
use std::io::{self, Read, Write};
use std::path::{Path, PathBuf};
use std::sync::Arc;

use wasmill_component::{Compiler, Host};
use wasmill_connector_api::registry::Registry;
use wasmill_core::diagnostic::{Diagnostic, Severity};
use wasmill_core::plan::Plan;
use wasmill_topology::{Checked, Input, codes};

use crate::args::{Format, Topology};
use crate::diagnostics::{self, Source};
use crate::{environment, registry, terminal};

/// The longest topology, in bytes.
const TOPOLOGY_BYTES_MAX: u64 = 4 << 20;

/// A topology without errors, and the parts that it was checked against.
pub(crate) struct Loaded {
    pub(crate) plan: Plan,
    pub(crate) registry: Arc<Registry>,
    pub(crate) host: Host,
}

/// Where diagnostics go.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Report {
    /// They are the result: as JSON to standard output.
    Result,
    /// They stand beside the result.
    Beside,
}

/// Reads and checks a topology. `None`: it has errors, which were told.
///
/// # Errors
/// This binary cannot work here, or cannot write.
pub(crate) fn load(
    topology: &Topology,
    format: Format,
    report: Report,
) -> Result<Option<Loaded>, Box<dyn std::error::Error>> {
    let registry = Arc::new(registry::registry());
    let host = host()?;
    let (text, outcome) = match read(&topology.file) {
        Ok(text) => {
            let outcome = check(topology, &text, &registry, &host)?;
            (text, outcome)
        }
        Err(error) => (String::new(), Err(vec![unreadable(&topology.file, &error)])),
    };
    let (found, plan) = match outcome {
        Ok(checked) => (checked.warnings, Some(checked.plan)),
        Err(found) => (found, None),
    };
    let source = Source {
        name: &topology.file,
        text: &text,
    };
    tell(&found, source, format, report)?;
    Ok(plan.map(|plan| Loaded { plan, registry, host }))
}

fn check(
    topology: &Topology,
    text: &str,
    registry: &Registry,
    host: &Host,
) -> io::Result<Result<Checked, Vec<Diagnostic>>> {
    let file = topology.file.canonicalize()?;
    let name = file.file_stem().unwrap_or_default().to_string_lossy().into_owned();
    let input = Input {
        text,
        name: &name,
        folder: file.parent().unwrap_or(Path::new("/")),
        environment: &environment::variable,
        overrides: &environment::overrides(),
        workers: topology.workers,
    };
    Ok(wasmill_topology::plan(&input, registry, host))
}

/// The host of plugins, which compiles in a process of its own: this binary under another name.
///
/// # Errors
/// The engine cannot be started here.
pub(crate) fn host() -> Result<Host, Box<dyn std::error::Error>> {
    let settings = wasmill_component::Settings {
        cache: environment::cache().map(|cache| cache.join("components")),
        compiler: Compiler::Subprocess {
            program: std::env::current_exe()?,
            args: vec!["__compile".into()],
        },
        ..wasmill_component::Settings::default()
    };
    Ok(Host::new(settings)?)
}

fn read(path: &PathBuf) -> io::Result<String> {
    let mut text = String::new();
    let read = File::open(path)?
        .take(TOPOLOGY_BYTES_MAX + 1)
        .read_to_string(&mut text)?;
    if read as u64 > TOPOLOGY_BYTES_MAX {
        let message = format!("it is longer than {TOPOLOGY_BYTES_MAX} bytes");
        return Err(io::Error::new(io::ErrorKind::FileTooLarge, message));
    }
    Ok(text)
}

fn unreadable(path: &Path, error: &io::Error) -> Diagnostic {
    let message = format!("the topology {} cannot be read: {error}", path.display());
    let diagnostic = Diagnostic::error(codes::FILE, message);
    match error.kind() {
        io::ErrorKind::NotFound => diagnostic.help("paths on the command line start at the current folder"),
        io::ErrorKind::InvalidData => diagnostic.help("a topology is a text in UTF-8"),
        _ => diagnostic,
    }
}

fn tell(found: &[Diagnostic], source: Source<'_>, format: Format, report: Report) -> io::Result<()> {
    match (format, report) {
        (Format::Human, _) => {
            let mut err = io::stderr().lock();
            for diagnostic in found {
                writeln!(err, "{}", diagnostics::human(diagnostic, source, terminal::colours()))?;
            }
            let errors = found.iter().filter(|found| found.severity == Severity::Error).count();
            match errors {
                0 => Ok(()),
                1 => writeln!(err, "{} has an error", source.name.display()),
                _ => writeln!(err, "{} has {errors} errors", source.name.display()),
            }
        }
        (Format::Json, Report::Result) => write_json(&mut io::stdout().lock(), found, source),
        (Format::Json, Report::Beside) => write_json(&mut io::stderr().lock(), found, source),
    }
}

fn write_json(out: &mut dyn Write, found: &[Diagnostic], source: Source<'_>) -> io::Result<()> {
    for diagnostic in found {
        writeln!(out, "{}", diagnostics::machine(diagnostic, source))?;
    }
    Ok(())
}
