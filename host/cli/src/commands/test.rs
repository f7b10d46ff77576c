//! `wasmill test`: finds test files, runs their tests, and says what came of each.

mod found;
mod report;

use std::error::Error;
use std::path::PathBuf;
use std::sync::Arc;

use wasmill_harness::{Broken, Harness};

use crate::args::Format;
use crate::diagnostics::{self, Source};
use crate::exit::Exit;
use crate::topology::host;
use crate::{environment, registry, terminal};

use self::report::{Report, Totals};

/// What is to be run.
#[derive(Clone, Debug)]
pub(crate) struct Settings {
    /// Files and folders.
    pub(crate) paths: Vec<PathBuf>,
    /// A part of the names of tests.
    pub(crate) filter: Option<String>,
    pub(crate) bless: bool,
    pub(crate) seed: Option<u64>,
}

/// Runs tests.
pub(crate) fn execute(settings: &Settings, format: Format) -> Result<Exit, Box<dyn Error>> {
    let files = found::files(&settings.paths)?;
    let components = host()?;
    let harness = Harness {
        registry: Arc::new(registry::registry()),
        components: &components,
        environment: &environment::variable,
        scratch: environment::scratch(),
        seed: settings.seed,
    };
    let mut report = Report::new(format);
    let mut totals = Totals::default();
    for file in &files {
        let suite = match harness.open(file) {
            Ok(suite) => suite,
            Err(broken) => {
                tell(&broken, format, &mut report)?;
                totals.broken += 1;
                continue;
            }
        };
        for test in &suite.tests {
            if settings
                .filter
                .as_ref()
                .is_some_and(|filter| !test.name.contains(filter))
            {
                totals.filtered += 1;
                continue;
            }
            let outcome = harness.run(&suite, test, settings.bless);
            totals.count(&outcome);
            report.test(&suite, test, &outcome)?;
        }
    }
    report.finish(&totals, files.len())?;
    Ok(match totals {
        Totals { broken: 1.., .. } => Exit::Invalid,
        Totals { failed: 1.., .. } => Exit::Failed,
        _ => Exit::Ok,
    })
}

/// Says what is wrong with a file.
fn tell(broken: &Broken, format: Format, report: &mut Report) -> std::io::Result<()> {
    let source = Source {
        name: &broken.file,
        text: &broken.text,
    };
    for diagnostic in &broken.diagnostics {
        report.broken(&match format {
            Format::Human => diagnostics::human(diagnostic, source, terminal::colours()),
            Format::Json => diagnostics::machine(diagnostic, source).to_string(),
        })?;
    }
    Ok(())
}
