//! A source: its connector, its format, its columns.

use serde_json::Value as Json;

use wasmill_connector_api::source::{Metadata, SourceDescription, Yields};
use wasmill_core::diagnostic::Diagnostic;
use wasmill_core::plan::{
    ConnectorRef, FormatRef, Irreproducible, MetadataColumn, NodeKind, OnInvalid, SourceColumn, SourceNode, SourceTime,
};
use wasmill_core::schema::{DataType, Field, Schema};

use super::{Checker, Fields, Planned, Port};
use crate::codes;
use crate::foreign::Foreign;
use crate::place::{At as _, Word};
use crate::problems::{did_you_mean, list};
use crate::reader::not_built;
use crate::spec::{Node, Source, TimeSpec};

/// Connectors that are designed and not built.
const CONNECTORS_TO_COME: [&str; 9] = [
    "kafka",
    "rabbitmq",
    "http",
    "websocket",
    "postgres",
    "postgresql",
    "sqlite",
    "sql",
    "s3",
];

/// Formats that are designed and not built.
const FORMATS_TO_COME: [&str; 4] = ["avro", "protobuf", "parquet", "json-schema"];

/// Metadata that every source has, because the driver knows it.
const POSITION: Metadata = Metadata {
    key: "position",
    data_type: DataType::Int64,
    nullable: false,
    about: "where the record stands in its partition",
};
const PARTITION: Metadata = Metadata {
    key: "partition",
    data_type: DataType::Utf8,
    nullable: false,
    about: "the name of the record's partition",
};
/// Metadata of sources of bytes.
const LINE: Metadata = Metadata {
    key: "line",
    data_type: DataType::Int64,
    nullable: false,
    about: "the line at which the record begins, from 1",
};

impl Checker<'_> {
    pub(super) fn source(&mut self, at: usize, node: &Node, source: &Source) -> Option<Planned> {
        let described = self.describe_source(node, source);
        let on_invalid = self.on_invalid(at, node, source);
        let Some((config, description)) = described else {
            // What it yields is not known; a format is looked at all the same.
            if source.format.is_some() {
                self.decoded(node, source, true);
            }
            return None;
        };
        self.read
            .push((source.connector.text.clone(), description.reads.clone(), at));
        self.replays.push((at, description.replay));
        if let (Some(reason), Some(id)) = (&description.irreproducible, &node.id) {
            self.unsteady.push(Irreproducible {
                node: id.clone(),
                reason: reason.clone(),
            });
        }
        let (format, columns) = match &description.yields {
            Yields::Bytes => {
                let (format, columns) = self.decoded(node, source, !source.schema_whole)?;
                (Some(format), columns)
            }
            Yields::Columns(schema) => (None, self.ready_made(node, source, schema)?),
        };
        let (schema, metadata) = self.source_schema(source, columns.as_slice(), &description);
        let time = self.source_time(node, source, &schema)?;
        let watermark = self.watermark(node, source, &schema, columns.len())?;
        let dead_letters = on_invalid == OnInvalid::DeadLetter && self.takes_dead_letters(at);
        Some(Planned {
            inputs: Vec::new(),
            outputs: vec![Port::new("out", schema)],
            dead_letters,
            kind: NodeKind::Source(Box::new(SourceNode {
                connector: ConnectorRef {
                    name: source.connector.text.clone(),
                    config,
                },
                format,
                columns,
                metadata,
                time,
                watermark,
                on_invalid,
                validate_all: source.validate_all,
            })),
        })
    }

    fn describe_source(&self, node: &Node, source: &Source) -> Option<(Json, SourceDescription)> {
        let word = &source.connector;
        if word.text.is_empty() {
            return None;
        }
        let registry = self.world.registry;
        let Some(connector) = registry.find_source(&word.text) else {
            self.unknown_connector(
                word,
                "source",
                registry.source_names().collect(),
                registry.find_sink(&word.text).is_some(),
            );
            return None;
        };
        let foreign = Foreign {
            table: &source.own,
            name: &node.name,
            code: codes::CONNECTOR,
            ours: &source.ours,
            beside: &[],
            shape_only: false,
            problems: self.problems(),
        };
        foreign.ask(|config| connector.describe(config, &self.folder))
    }

    pub(super) fn unknown_connector(&self, word: &Word, kind: &str, names: Vec<&str>, of_other_kind: bool) {
        if CONNECTORS_TO_COME.contains(&word.text.as_str()) {
            let what = format!("the connector \"{}\"", word.text);
            let help = format!("the {kind} connectors are {}", list(&names));
            self.problems().push(not_built(&what, &word.place, &help));
            return;
        }
        let message = if of_other_kind {
            format!("the connector \"{}\" is no {kind}", word.text)
        } else {
            format!("there is no connector \"{}\"", word.text)
        };
        self.problems().error(
            codes::UNKNOWN_CONNECTOR,
            message,
            &word.place,
            did_you_mean(&word.text, &format!("the {kind} connectors are"), names),
        );
    }

    pub(super) fn unknown_format(&self, word: &Word) {
        let names: Vec<&str> = self.world.registry.format_names().collect();
        if FORMATS_TO_COME.contains(&word.text.as_str()) {
            let what = format!("the format \"{}\"", word.text);
            self.problems().push(not_built(
                &what,
                &word.place,
                &format!("the formats are {}", list(&names)),
            ));
            return;
        }
        let help = match word.text.as_str() {
            "ndjson" | "jsonl" | "json-lines" => "`json` reads and writes one JSON object a line".to_owned(),
            "tsv" => "write `format = { type = \"csv\", delimiter = \"\\t\" }`".to_owned(),
            _ => did_you_mean(&word.text, "the formats are", names),
        };
        self.problems().error(
            codes::UNKNOWN_FORMAT,
            format!("there is no format \"{}\"", word.text),
            &word.place,
            help,
        );
    }

    /// The format and columns of a source of bytes. `shape_only`: the format is asked about columns that are not the
    /// right ones, so only the form of its configuration counts.
    fn decoded(&self, node: &Node, source: &Source, shape_only: bool) -> Option<(FormatRef, Vec<SourceColumn>)> {
        let Some(spec) = &source.format else {
            // One that could not be read was reported.
            if node.sound {
                self.problems().push(
                    Diagnostic::error(codes::FORMAT_PRESENCE, format!("{} has no `format`", node.name))
                        .at(&node.place, "`format` is missing here")
                        .at(&source.connector.place, "this connector yields bytes")
                        .help(format!(
                            "say how they are decoded: the formats are {}",
                            list(&self.world.registry.format_names().collect::<Vec<_>>())
                        )),
                );
            }
            return None;
        };
        let Some(format) = self.world.registry.find_format(&spec.name.text) else {
            self.unknown_format(&spec.name);
            return None;
        };
        let declared: Option<Vec<SourceColumn>> = source
            .schema
            .as_ref()
            .map(|columns| columns.iter().map(|spec| spec.column.clone()).collect());
        let beside: Vec<_> = source.schema_item.iter().map(|item| ("schema", item)).collect();
        let foreign = Foreign {
            table: &spec.own,
            name: &format!("the format of {}", node.name),
            code: codes::FORMAT,
            ours: &["type"],
            beside: &beside,
            shape_only,
            problems: self.problems(),
        };
        let (config, columns) = foreign.ask(|config| format.source_columns(config, declared.as_deref()))?;
        if shape_only {
            return None;
        }
        let format = FormatRef {
            name: spec.name.text.clone(),
            config,
        };
        Some((format, columns))
    }

    /// The columns of a source that needs no decoding.
    fn ready_made(&self, node: &Node, source: &Source, schema: &Schema) -> Option<Vec<SourceColumn>> {
        let connector = &source.connector.text;
        let place = match (&source.format, &source.schema_item) {
            (Some(format), _) => Some((&format.name.place, "`format`")),
            (None, Some(schema)) => Some((&schema.place, "`schema`")),
            (None, None) => None,
        };
        if let Some((place, key)) = place {
            self.problems().push(
                Diagnostic::error(codes::FORMAT_PRESENCE, format!("{} takes no {key}", node.name))
                    .at(place, format!("the connector \"{connector}\" yields columns by itself"))
                    .help(format!("leave it out; the columns are {schema}")),
            );
            return None;
        }
        Some(
            schema
                .fields()
                .iter()
                .map(|field| SourceColumn {
                    field: field.clone(),
                    path: vec![field.name.to_string()],
                    timestamp: None,
                })
                .collect(),
        )
    }

    /// The stream's schema: the data's columns, then the metadata.
    fn source_schema(
        &self,
        source: &Source,
        columns: &[SourceColumn],
        description: &SourceDescription,
    ) -> (Schema, Vec<MetadataColumn>) {
        let mut fields = Fields::new(self.problems());
        for column in columns {
            let declared = source
                .schema
                .iter()
                .flatten()
                .find(|spec| spec.column.field.name == column.field.name);
            let place = declared.map_or(&source.connector.place, |spec| &spec.name_place);
            fields.push(column.field.clone(), place, "by this column");
        }
        let of_driver: &[Metadata] = match description.yields {
            Yields::Bytes => &[LINE, POSITION, PARTITION],
            Yields::Columns(_) => &[POSITION, PARTITION],
        };
        let mut metadata = Vec::new();
        for spec in &source.metadata {
            let offered = || description.metadata.iter().chain(of_driver);
            let Some(found) = offered().find(|offered| offered.key == spec.key.text) else {
                self.problems().error(
                    codes::UNKNOWN_METADATA,
                    format!(
                        "the connector \"{}\" has no metadata `{}`",
                        source.connector.text, spec.key.text
                    ),
                    &spec.key.place,
                    did_you_mean(&spec.key.text, "it has", offered().map(|offered| offered.key)),
                );
                continue;
            };
            let field = Field {
                name: spec.name.text.as_str().into(),
                data_type: found.data_type,
                nullable: found.nullable,
            };
            fields.push(field.clone(), &spec.name.place, "by this column");
            metadata.push(MetadataColumn {
                key: found.key.to_owned(),
                field,
            });
        }
        (fields.finish(), metadata)
    }

    fn source_time(&self, node: &Node, source: &Source, schema: &Schema) -> Option<SourceTime> {
        match source.time {
            TimeSpec::Ingestion => return Some(SourceTime::Ingestion),
            TimeSpec::Processing => return Some(SourceTime::Processing),
            TimeSpec::Event => {}
        }
        let word = source.event_time.as_ref()?;
        let at = self.column(schema, word, &node.name)?;
        let field = &schema.fields()[at];
        if field.data_type != DataType::Timestamp {
            let mut diagnostic = Diagnostic::error(
                codes::COLUMN_TYPE,
                format!(
                    "the event time must be a timestamp, and `{}` is {}",
                    field.name, field.data_type
                ),
            )
            .at(&word.place, "named here as event time");
            let declared = source
                .schema
                .iter()
                .flatten()
                .find(|spec| spec.column.field.name == field.name);
            let help = match (declared, field.data_type) {
                (Some(_), DataType::Int64) => {
                    "declare it as `type = \"timestamp\"` with a `unit`, as in `unit = \"ms\"`"
                }
                (Some(_), _) => "declare it as `type = \"timestamp\"`, with a `format` if it is not RFC 3339",
                (None, _) => "name a timestamp column",
            };
            if let Some(spec) = declared {
                diagnostic = diagnostic.at(&spec.name_place, "the column is declared here");
            }
            self.problems().push(diagnostic.help(help));
            return None;
        }
        Some(SourceTime::Event(at))
    }

    fn on_invalid(&self, at: usize, node: &Node, source: &Source) -> OnInvalid {
        match (source.on_invalid, &node.dead_letter) {
            (Some(OnInvalid::DeadLetter), _) => {
                self.needs_dead_letters(at, "invalid records", &node.id_place);
                OnInvalid::DeadLetter
            }
            (Some(other), Some(word)) => {
                let what = if other == OnInvalid::Fail {
                    "stop the job"
                } else {
                    "are skipped"
                };
                self.problems().error(
                    codes::POINTLESS_KEY,
                    format!(
                        "`dead-letter` does nothing at {}, because its invalid records {what}",
                        node.name
                    ),
                    &word.place,
                    "write `on-invalid = \"dead-letter\"`, or leave `dead-letter` out",
                );
                other
            }
            (Some(other), None) => other,
            (None, _) if self.takes_dead_letters(at) => OnInvalid::DeadLetter,
            (None, _) => OnInvalid::Fail,
        }
    }
}
