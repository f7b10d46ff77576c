//! Connectors that are asked what they are and never opened: a topology is tested without what it reads and writes.
//!
//! A connector describes itself as it would in a run. Where it cannot, because a file is not there (or is there already),
//! it is asked again about a file that is.

use std::path::{Path, PathBuf};
use std::sync::Arc;

use serde_json::Value;

use wasmill_connector_api::config::{ConfigProblem, Folder, Step};
use wasmill_connector_api::format::{DecodeSpec, Decoder, EncodeSpec, Encoder, Framer};
use wasmill_connector_api::registry::{AnyFormat, AnySink, AnySource, Registry};
use wasmill_connector_api::sink::{Committer, CommitterContext, Sink, SinkContext, SinkDescription, Writers};
use wasmill_connector_api::source::{Replay, Source, SourceContext, SourceDescription, Yields};
use wasmill_core::delivery::Delivery;
use wasmill_core::fault::{Domain, Fault};
use wasmill_core::plan::SourceColumn;
use wasmill_core::schema::Field;
use wasmill_core::time::Micros;

/// The connector and the format of an operator's inputs, which only tests have.
pub(crate) const ROWS: &str = "rows of a test";

/// Stand-ins for everything in a registry. `there` is a file that exists.
pub(crate) fn registry(real: &Arc<Registry>, there: &Path) -> Registry {
    let mut offline = Registry::new();
    for name in real.source_names() {
        offline = offline.with_source(name, Box::new(StandIn::new(real, name, there)));
    }
    for name in real.sink_names() {
        offline = offline.with_sink(name, Box::new(StandIn::new(real, name, there)));
    }
    for name in real.format_names() {
        offline = offline.with_format(name, Box::new(StandIn::new(real, name, there)));
    }
    offline
        .with_source(ROWS, Box::new(Rows))
        .with_format(ROWS, Box::new(Rows))
}

/// Something of the real registry, by name.
struct StandIn {
    real: Arc<Registry>,
    name: &'static str,
    there: PathBuf,
}

impl StandIn {
    fn new(real: &Arc<Registry>, name: &'static str, there: &Path) -> Self {
        Self {
            real: Arc::clone(real),
            name,
            there: there.to_owned(),
        }
    }

    fn format(&self) -> &dyn AnyFormat {
        self.real.find_format(self.name).expect("its name is from the registry")
    }
}

/// Whether all that is wrong is what a path leads to.
fn only_paths(problems: &[ConfigProblem]) -> bool {
    let is_path = |problem: &ConfigProblem| {
        let first = problem.path.first();
        matches!(first, Some(Step::Key(key)) if key == "path" || key == "if-exists")
    };
    problems.iter().all(is_path)
}

impl AnySource for StandIn {
    fn describe(&self, config: &Value, folder: &Folder) -> Result<SourceDescription, Vec<ConfigProblem>> {
        let real = self.real.find_source(self.name).expect("its name is from the registry");
        let problems = match real.describe(config, folder) {
            Ok(description) => return Ok(description),
            Err(problems) => problems,
        };
        let mut elsewhere = config.clone();
        match elsewhere.get_mut("path") {
            Some(path) if only_paths(&problems) => *path = Value::from(self.there.to_string_lossy()),
            _ => return Err(problems),
        }
        real.describe(&elsewhere, folder).map(|description| SourceDescription {
            reads: Vec::new(),
            ..description
        })
    }

    fn open(&self, _: &Value, _: SourceContext) -> Result<Box<dyn Source>, Fault> {
        Err(never_opened())
    }
}

impl AnySink for StandIn {
    fn describe(&self, config: &Value, folder: &Folder) -> Result<SinkDescription, Vec<ConfigProblem>> {
        let real = self.real.find_sink(self.name).expect("its name is from the registry");
        match real.describe(config, folder) {
            Err(problems) if only_paths(&problems) && config.get("path").is_some_and(Value::is_string) => {
                Ok(SinkDescription {
                    writers: Writers::One,
                    target: config.to_string(),
                    delivery: Delivery::ExactlyOnce,
                    at_fresh_start: Vec::new(),
                })
            }
            described => described.map(|description| SinkDescription {
                at_fresh_start: Vec::new(),
                ..description
            }),
        }
    }

    fn open(&self, _: &Value, _: SinkContext) -> Result<Box<dyn Sink>, Fault> {
        Err(never_opened())
    }

    fn committer(&self, _: &Value, _: CommitterContext) -> Result<Box<dyn Committer>, Fault> {
        Err(never_opened())
    }
}

impl AnyFormat for StandIn {
    fn source_columns(
        &self,
        config: &Value,
        declared: Option<&[SourceColumn]>,
    ) -> Result<Vec<SourceColumn>, Vec<ConfigProblem>> {
        self.format().source_columns(config, declared)
    }

    fn check_sink(&self, config: &Value, columns: &[Field]) -> Result<(), Vec<ConfigProblem>> {
        self.format().check_sink(config, columns)
    }

    fn framer(&self, config: &Value) -> Result<Box<dyn Framer>, Fault> {
        self.format().framer(config)
    }

    fn decoder(&self, config: &Value, spec: &DecodeSpec) -> Result<Box<dyn Decoder>, Fault> {
        self.format().decoder(config, spec)
    }

    fn encoder(&self, config: &Value, spec: &EncodeSpec) -> Result<Box<dyn Encoder>, Fault> {
        self.format().encoder(config, spec)
    }
}

/// An input of an operator: its rows are those of the test.
struct Rows;

impl AnySource for Rows {
    fn describe(&self, _: &Value, _: &Folder) -> Result<SourceDescription, Vec<ConfigProblem>> {
        Ok(SourceDescription {
            yields: Yields::Bytes,
            metadata: &[],
            bounded: true,
            one_partition: false,
            discover_every: Micros::SECOND,
            replay: Replay::Replayable,
            irreproducible: None,
            reads: Vec::new(),
        })
    }

    fn open(&self, _: &Value, _: SourceContext) -> Result<Box<dyn Source>, Fault> {
        Err(never_opened())
    }
}

impl AnyFormat for Rows {
    fn source_columns(
        &self,
        _: &Value,
        declared: Option<&[SourceColumn]>,
    ) -> Result<Vec<SourceColumn>, Vec<ConfigProblem>> {
        let columns = declared.filter(|columns| !columns.is_empty()).ok_or_else(|| {
            let problem = ConfigProblem::at("schema", "an input of a test needs a schema");
            vec![
                problem.help("schema = [{ name = \"id\", type = \"int64\" }, { name = \"ts\", type = \"timestamp\" }]"),
            ]
        })?;
        Ok(columns.to_vec())
    }

    fn check_sink(&self, _: &Value, _: &[Field]) -> Result<(), Vec<ConfigProblem>> {
        Ok(())
    }

    fn framer(&self, _: &Value) -> Result<Box<dyn Framer>, Fault> {
        Err(never_opened())
    }

    fn decoder(&self, _: &Value, _: &DecodeSpec) -> Result<Box<dyn Decoder>, Fault> {
        Err(never_opened())
    }

    fn encoder(&self, _: &Value, _: &EncodeSpec) -> Result<Box<dyn Encoder>, Fault> {
        Err(never_opened())
    }
}

fn never_opened() -> Fault {
    Fault::fatal(Domain::Internal, "a test opens no connector")
}
