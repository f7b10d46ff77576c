//! Scripted connectors and plugins, and how a checked topology is written down.

use std::fmt::Write as _;
use std::path::Path;

use serde::{Deserialize, Serialize};

use wasmill_connector_api::config::{ConfigProblem, Folder};
use wasmill_connector_api::format::{csv, json, raw, text};
use wasmill_connector_api::registry::Registry;
use wasmill_connector_api::sink::{
    Committer, CommitterContext, Sink, SinkConnector, SinkContext, SinkDescription, Writers,
};
use wasmill_connector_api::source::{
    Metadata, Replay, Source, SourceConnector, SourceContext, SourceDescription, Yields,
};
use wasmill_core::aggregate::{Accumulator, AggregateDescription};
use wasmill_core::column::Scalar;
use wasmill_core::content::ContentDescription;
use wasmill_core::delivery::Delivery;
use wasmill_core::diagnostic::{Diagnostic, Severity};
use wasmill_core::fault::{Domain, Fault};
use wasmill_core::keyed::{KeyedDescription, TableDescription, TableKind, TimeDomain, TimerKind};
use wasmill_core::plugin::{Describer, Limits, PluginError, PluginRef, World};
use wasmill_core::schema::{DataType, Field, Schema};
use wasmill_core::time::Micros;
use wasmill_core::transform::{InputDescription, OutputDescription, Requirement, Retime, TransformDescription};
use wasmill_topology::{Checked, Input};

/// Reads and checks a topology with the scripted connectors and plugins.
pub(crate) fn check(
    text: &str,
    environment: &dyn Fn(&str) -> Option<String>,
    overrides: &[(String, String)],
) -> Result<Checked, Vec<Diagnostic>> {
    let input = Input {
        text,
        name: "topology",
        folder: Path::new("/topology"),
        environment,
        overrides,
        workers: None,
    };
    wasmill_topology::plan_ahead(&input, &registry(), &Plugins)
}

/// As [`check`], without what the runtime cannot do yet.
pub(crate) fn check_built(text: &str) -> Result<Checked, Vec<Diagnostic>> {
    let input = Input {
        text,
        name: "topology",
        folder: Path::new("/topology"),
        environment: &|_| None,
        overrides: &[],
        workers: None,
    };
    wasmill_topology::plan(&input, &registry(), &Plugins)
}

/// The scripted connectors and the real formats.
pub(crate) fn registry() -> Registry {
    Registry::new()
        .source::<FileSource>()
        .source::<Generator>()
        .source::<Queue>()
        .sink::<FileSink>()
        .sink::<Stdout>()
        .sink::<Webhook>()
        .format::<csv::Csv>()
        .format::<json::Json>()
        .format::<text::Text>()
        .format::<raw::Raw>()
}

/// Files, of which only `input/` holds any.
pub(crate) struct FileSource;

#[derive(Serialize, Deserialize)]
#[serde(rename_all = "kebab-case", deny_unknown_fields)]
pub(crate) struct FileSourceConfig {
    path: String,
    #[serde(default)]
    follow: bool,
    #[serde(default)]
    files: Option<Files>,
}

#[derive(Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub(crate) enum Files {
    Parallel,
    Sequence,
}

impl SourceConnector for FileSource {
    const NAME: &'static str = "file";
    type Config = FileSourceConfig;

    fn describe(config: &FileSourceConfig, folder: &Folder) -> Result<SourceDescription, Vec<ConfigProblem>> {
        if !config.path.starts_with("input/") {
            let problem = ConfigProblem::at("path", format!("no file matches {}", config.path));
            return Err(vec![problem.help("relative paths start at the folder of the topology")]);
        }
        Ok(SourceDescription {
            yields: Yields::Bytes,
            metadata: &[Metadata {
                key: "file",
                data_type: DataType::Utf8,
                nullable: false,
                about: "the file's path",
            }],
            bounded: !config.follow,
            one_partition: !config.path.contains('*'),
            replay: Replay::Replayable,
            discover_every: Micros::SECOND,
            irreproducible: config
                .follow
                .then(|| "which files are found when depends on the run".to_owned()),
            reads: vec![folder.resolve(&config.path).display().to_string()],
        })
    }

    fn open(_config: FileSourceConfig, _context: SourceContext) -> Result<Box<dyn Source>, Fault> {
        Err(Fault::fatal(Domain::Internal, "scripted"))
    }
}

/// Yields columns by itself.
pub(crate) struct Generator;

#[derive(Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub(crate) struct GeneratorConfig {
    rows: u64,
    seed: u64,
}

impl SourceConnector for Generator {
    const NAME: &'static str = "generator";
    type Config = GeneratorConfig;

    fn describe(config: &GeneratorConfig, _folder: &Folder) -> Result<SourceDescription, Vec<ConfigProblem>> {
        if config.rows == 0 {
            return Err(vec![ConfigProblem::at("rows", "a generator of no rows does nothing")]);
        }
        let fields = vec![
            Field::required("time", DataType::Timestamp),
            Field::required("value", DataType::Int64),
        ];
        Ok(SourceDescription {
            yields: Yields::Columns(Schema::new(fields).expect("the names differ")),
            metadata: &[],
            bounded: true,
            one_partition: true,
            replay: Replay::Replayable,
            discover_every: Micros::SECOND,
            irreproducible: None,
            reads: Vec::new(),
        })
    }

    fn open(_config: GeneratorConfig, _context: SourceContext) -> Result<Box<dyn Source>, Fault> {
        Err(Fault::fatal(Domain::Internal, "scripted"))
    }
}

/// Cannot be read again: hands a record out until it is acknowledged, or once.
pub(crate) struct Queue;

#[derive(Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub(crate) struct QueueConfig {
    #[serde(default)]
    acknowledged: bool,
}

impl SourceConnector for Queue {
    const NAME: &'static str = "queue";
    type Config = QueueConfig;

    fn describe(config: &QueueConfig, _folder: &Folder) -> Result<SourceDescription, Vec<ConfigProblem>> {
        Ok(SourceDescription {
            yields: Yields::Bytes,
            metadata: &[],
            bounded: false,
            one_partition: true,
            replay: if config.acknowledged {
                Replay::Acknowledged
            } else {
                Replay::Lossy
            },
            discover_every: Micros::SECOND,
            irreproducible: None,
            reads: Vec::new(),
        })
    }

    fn open(_config: QueueConfig, _context: SourceContext) -> Result<Box<dyn Source>, Fault> {
        Err(Fault::fatal(Domain::Internal, "scripted"))
    }
}

/// Writes a file.
pub(crate) struct FileSink;

#[derive(Serialize, Deserialize)]
#[serde(rename_all = "kebab-case", deny_unknown_fields)]
pub(crate) struct FileSinkConfig {
    path: String,
    #[serde(default)]
    parts: Option<Parts>,
}

#[derive(Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub(crate) struct Parts {
    rows: u64,
}

impl SinkConnector for FileSink {
    const NAME: &'static str = "file";
    type Config = FileSinkConfig;

    fn describe(config: &FileSinkConfig, folder: &Folder) -> Result<SinkDescription, Vec<ConfigProblem>> {
        Ok(SinkDescription {
            writers: Writers::One,
            target: folder.resolve(&config.path).display().to_string(),
            delivery: Delivery::ExactlyOnce,
            at_fresh_start: Vec::new(),
        })
    }

    fn open(_config: FileSinkConfig, _context: SinkContext) -> Result<Box<dyn Sink>, Fault> {
        Err(Fault::fatal(Domain::Internal, "scripted"))
    }

    fn committer(_config: FileSinkConfig, _context: CommitterContext) -> Result<Box<dyn Committer>, Fault> {
        Err(Fault::fatal(Domain::Internal, "scripted"))
    }
}

/// Writes to standard output.
pub(crate) struct Stdout;

#[derive(Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub(crate) struct StdoutConfig {}

impl SinkConnector for Stdout {
    const NAME: &'static str = "stdout";
    type Config = StdoutConfig;

    fn describe(_config: &StdoutConfig, _folder: &Folder) -> Result<SinkDescription, Vec<ConfigProblem>> {
        Ok(SinkDescription {
            writers: Writers::One,
            target: "standard output".to_owned(),
            delivery: Delivery::AtLeastOnce,
            at_fresh_start: Vec::new(),
        })
    }

    fn open(_config: StdoutConfig, _context: SinkContext) -> Result<Box<dyn Sink>, Fault> {
        Err(Fault::fatal(Domain::Internal, "scripted"))
    }

    fn committer(_config: StdoutConfig, _context: CommitterContext) -> Result<Box<dyn Committer>, Fault> {
        Err(Fault::fatal(Domain::Internal, "scripted"))
    }
}

/// Sends each row with an id.
pub(crate) struct Webhook;

#[derive(Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub(crate) struct WebhookConfig {
    url: String,
}

impl SinkConnector for Webhook {
    const NAME: &'static str = "webhook";
    type Config = WebhookConfig;

    fn describe(config: &WebhookConfig, _folder: &Folder) -> Result<SinkDescription, Vec<ConfigProblem>> {
        Ok(SinkDescription {
            writers: Writers::PerWorker,
            target: config.url.clone(),
            delivery: Delivery::EffectivelyOnce,
            at_fresh_start: Vec::new(),
        })
    }

    fn open(_config: WebhookConfig, _context: SinkContext) -> Result<Box<dyn Sink>, Fault> {
        Err(Fault::fatal(Domain::Internal, "scripted"))
    }

    fn committer(_config: WebhookConfig, _context: CommitterContext) -> Result<Box<dyn Committer>, Fault> {
        Err(Fault::fatal(Domain::Internal, "scripted"))
    }
}

/// Plugins by the names of their files.
pub(crate) struct Plugins;

impl Plugins {
    fn name(plugin: &PluginRef) -> String {
        let stem = plugin.path.file_stem().expect("a plugin has a name");
        stem.to_string_lossy().into_owned()
    }
}

/// `classify` requires `dep_delay` and adds `class`; `alarm` has a port `alarms`; `retime` moves the event time.
impl Describer for Plugins {
    fn load(&self, path: &Path) -> Result<(PluginRef, World), PluginError> {
        let stem = path.file_stem().unwrap_or_default().to_string_lossy().into_owned();
        let path = path.to_owned();
        let world = match stem.as_str() {
            "classify" | "alarm" | "retime" => World::Transform,
            "score" | "spread" => World::Aggregate,
            "sessions" => World::Keyed,
            "histogram" => World::Window,
            "rows-of-2030" => {
                return Err(PluginError::NotServed { path, world: "join" });
            }
            "picture" => {
                return Err(PluginError::NotAPlugin {
                    path,
                    reason: "it is no WebAssembly component".to_owned(),
                });
            }
            "clock" => {
                return Err(PluginError::ForbiddenImport {
                    path,
                    import: "wasi:clocks/wall-clock@0.2.0".to_owned(),
                });
            }
            _ => {
                return Err(PluginError::Unreadable {
                    path,
                    reason: "No such file or directory (os error 2)".to_owned(),
                });
            }
        };
        let digest = [7; 32];
        Ok((PluginRef { path, digest }, world))
    }

    fn transform(
        &self,
        plugin: &PluginRef,
        config: &str,
        inputs: &[InputDescription],
        _limits: &Limits,
    ) -> Result<TransformDescription, PluginError> {
        let refuse = |message: String| Err(PluginError::Refused { message });
        let schema = &inputs[0].schema;
        let requirement = |columns: Vec<usize>| Requirement {
            columns,
            event_times: false,
            changelog: false,
        };
        let output = |name: &str, schema: Schema| OutputDescription {
            name: name.into(),
            schema,
            changelog: false,
        };
        let with = |field: Field| {
            let mut fields = schema.fields().to_vec();
            fields.push(field);
            Schema::new(fields).map_err(|error| PluginError::Refused {
                message: error.to_string(),
            })
        };
        if config.contains("trap") {
            return Err(PluginError::Faulty {
                message: "describe trapped: unreachable".to_owned(),
            });
        }
        match Self::name(plugin).as_str() {
            "classify" => {
                let Some(delay) = schema.index_of("dep_delay") else {
                    return refuse("it needs the column `dep_delay`".to_owned());
                };
                if schema.fields()[delay].data_type != DataType::Int64 {
                    return refuse("`dep_delay` must be int64".to_owned());
                }
                Ok(TransformDescription {
                    inputs: inputs.iter().map(|_| requirement(vec![delay])).collect(),
                    outputs: vec![output("out", with(Field::required("class", DataType::Utf8))?)],
                    retime: None,
                })
            }
            "alarm" => Ok(TransformDescription {
                inputs: vec![requirement(vec![0])],
                outputs: vec![
                    output("out", schema.clone()),
                    output(
                        "alarms",
                        Schema::new(vec![Field::required("text", DataType::Utf8)]).expect("one name"),
                    ),
                ],
                retime: None,
            }),
            _ => {
                let column = schema
                    .fields()
                    .iter()
                    .position(|field| field.data_type == DataType::Timestamp);
                let Some(column) = column else {
                    return refuse("it needs a timestamp column".to_owned());
                };
                Ok(TransformDescription {
                    inputs: vec![requirement(Vec::new())],
                    outputs: vec![output("out", schema.clone())],
                    retime: Some(Retime {
                        column,
                        lag: Micros::SECOND,
                    }),
                })
            }
        }
    }

    fn aggregate(
        &self,
        plugin: &PluginRef,
        _config: &str,
        input: &InputDescription,
        _limits: &Limits,
    ) -> Result<AggregateDescription, PluginError> {
        let Some(column) = input
            .schema
            .fields()
            .iter()
            .position(|field| field.data_type == DataType::Int64)
        else {
            return Err(PluginError::Refused {
                message: "it needs an int64 column".to_owned(),
            });
        };
        let results = match Self::name(plugin).as_str() {
            "spread" => vec![
                Field::nullable("low", DataType::Int64),
                Field::nullable("high", DataType::Int64),
            ],
            _ => vec![Field::required("value", DataType::Float64)],
        };
        Ok(AggregateDescription {
            input: Requirement {
                columns: vec![column],
                event_times: false,
                changelog: false,
            },
            accumulators: vec![Accumulator {
                field: Field::required("sum", DataType::Int64),
                initial: Scalar::Int64(0),
            }],
            results,
            commutative: Self::name(plugin) == "spread",
            version: 1,
        })
    }

    fn keyed(
        &self,
        _plugin: &PluginRef,
        config: &str,
        inputs: &[InputDescription],
        key: &[Field],
        _limits: &Limits,
    ) -> Result<KeyedDescription, PluginError> {
        let domain = if config.contains("clock") {
            TimeDomain::Processing
        } else {
            TimeDomain::Event
        };
        let mut fields = key.to_vec();
        fields.push(Field::required("legs", DataType::Int64));
        let schema = Schema::new(fields).map_err(|error| PluginError::Refused {
            message: error.to_string(),
        })?;
        let count = Schema::new(vec![Field::required("count", DataType::Int64)]).expect("one name");
        Ok(KeyedDescription {
            inputs: inputs.iter().map(|_| Requirement::default()).collect(),
            outputs: vec![OutputDescription {
                name: "out".into(),
                schema,
                changelog: config.contains("changelog"),
            }],
            tables: vec![TableDescription {
                name: "legs".into(),
                kind: TableKind::Value,
                sort_key: 0,
                schema: count,
                initial: vec![Scalar::Int64(0)],
                ttl: None,
                version: 1,
                migrates_from: Vec::new(),
            }],
            timers: vec![TimerKind {
                name: "end".into(),
                domain,
            }],
        })
    }

    fn content(
        &self,
        _plugin: &PluginRef,
        _config: &str,
        input: &InputDescription,
        _key: &[Field],
        _limits: &Limits,
    ) -> Result<ContentDescription, PluginError> {
        let number = |field: &Field| field.data_type == DataType::Int64;
        let Some(column) = input.schema.fields().iter().position(number) else {
            return Err(PluginError::Refused {
                message: "it needs an int64 column".to_owned(),
            });
        };
        Ok(ContentDescription {
            input: Requirement {
                columns: vec![column],
                event_times: false,
                changelog: false,
            },
            outputs: vec![OutputDescription {
                name: "out".into(),
                schema: Schema::new(vec![Field::required("buckets", DataType::Json)]).expect("one name"),
                changelog: false,
            }],
        })
    }
}

/// A diagnostic as golden files hold it: every place with its line, its column and the text that stands there.
pub(crate) fn show(diagnostic: &Diagnostic, text: &str) -> String {
    let severity = match diagnostic.severity {
        Severity::Error => "error",
        Severity::Warning => "warning",
    };
    let mut shown = format!("{severity}[{}]: {}\n", diagnostic.code, diagnostic.message);
    for label in &diagnostic.labels {
        let before = &text[..label.span.start];
        let line = before.matches('\n').count() + 1;
        let column = before.chars().rev().take_while(|&c| c != '\n').count() + 1;
        let mut there = text[label.span.clone()].replace('\n', "\\n");
        if there.chars().count() > 60 {
            there = there.chars().take(57).collect::<String>() + "...";
        }
        let _ = writeln!(shown, "  at {line}:{column} `{there}`: {}", label.text);
    }
    if let Some(help) = &diagnostic.help {
        let _ = writeln!(shown, "  help: {help}");
    }
    shown
}
