//! The keys of the connector `file`.

use std::fmt;
use std::num::NonZeroU64;

use serde::de::{self, Deserializer, SeqAccess};
use serde::{Deserialize, Serialize, Serializer};

use wasmill_connector_api::config::{ByteSize, duration};
use wasmill_core::time::Micros;

/// The keys of a source with `connector = "file"`.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case", deny_unknown_fields)]
pub struct SourceConfig {
    /// The files: a path, a glob (`*`, `?`, `[a-z]`, `**` for folders at any depth), or a list of them. Relative paths
    /// start at the folder of the topology. A path that is a file's name as it stands is taken literally. `*` does not
    /// match names that begin with a dot; folders that match are passed over. Without `follow` each entry must find a
    /// file. Required. Example: `path = "input/flights-*.csv"`.
    pub path: Paths,
    /// Whether the files are followed for ever: what is appended is read, and files that appear later are found. A
    /// followed file may be renamed, and another may take its place (log rotation); one that is cut is read from its
    /// beginning, with a warning. A file of a sequence may only grow. Default `false`: the stream ends with the files
    /// that are there at the start. Example: `follow = true`.
    #[serde(default, skip_serializing_if = "is_default")]
    pub follow: bool,
    /// Whether each file is a partition with a watermark of its own (`"parallel"`), or all files are one partition, read
    /// in the order of their names (`"sequence"`). In a sequence that is followed, a file counts as complete when a
    /// later one is there, and a file that appears must come last. Default `"parallel"`. Example: `files = "sequence"`.
    #[serde(default, skip_serializing_if = "is_default")]
    pub files: Files,
    /// How the files are compressed. `"auto"` looks at the first bytes of each, not at its name; gzip files may have
    /// many members and zstd files many frames. Default `"auto"`. Example: `compression = "none"`.
    #[serde(default, skip_serializing_if = "is_default")]
    pub compression: Compression,
    /// How often to look for files that appear later. Only with `follow`. Default `"1s"`. Example:
    /// `discover-every = "10s"`.
    #[serde(default, with = "optional_duration", skip_serializing_if = "Option::is_none")]
    pub discover_every: Option<Micros>,
}

/// The keys of a sink with `connector = "file"`.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case", deny_unknown_fields)]
pub struct SinkConfig {
    /// The file, or with `parts` the folder. Relative paths start at the folder of the topology; folders on the way are
    /// made. Required. Example: `path = "output/hourly.jsonl"`.
    pub path: String,
    /// Writes files of a bounded length into the folder `path` instead of one file. Each worker writes its own. Default:
    /// none, one file. Example: `parts = { rows = 100_000, every = "5m" }`.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub parts: Option<Parts>,
    /// How the output is compressed. `"auto"` goes by the ending of `path` (`.gz`, `.zst`), and does not compress parts.
    /// Default `"auto"`. Example: `compression = "zstd"`.
    #[serde(default, skip_serializing_if = "is_default")]
    pub compression: Compression,
    /// What becomes of an output that is there when the job starts. Default `"overwrite"`: running a topology again
    /// gives what the first run gave. Example: `if-exists = "error"`.
    #[serde(default, skip_serializing_if = "is_default")]
    pub if_exists: IfExists,
}

/// When a part ends and the next one begins: at whichever comes first. Without any of them a part ends with the job.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case", deny_unknown_fields, default)]
pub struct Parts {
    /// So many rows. Default: no limit. Example: `rows = 100_000`.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub rows: Option<NonZeroU64>,
    /// At least so many bytes, before compression. Default: no limit. Example: `size = "64MiB"`.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub size: Option<ByteSize>,
    /// So long after its first row. Default: no limit. Example: `every = "5m"`.
    #[serde(with = "optional_duration", skip_serializing_if = "Option::is_none")]
    pub every: Option<Micros>,
    /// What the parts' names end with, after `part-0000-000000.` (writer and number); `.gz` or `.zst` follows where they
    /// are compressed. Default: nothing. Example: `extension = "jsonl"`.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub extension: Option<String>,
}

/// Whether files are partitions.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Files {
    /// Each file is a partition.
    #[default]
    Parallel,
    /// All files are one partition, in the order of their names.
    Sequence,
}

/// How files are compressed.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Compression {
    /// As the content (source) or the name (sink) says.
    #[default]
    Auto,
    /// Not at all.
    None,
    /// Gzip (RFC 1952).
    Gzip,
    /// Zstandard (RFC 8878).
    Zstd,
}

/// What becomes of an output that is there already.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum IfExists {
    /// It is replaced when the job starts; of a folder, the parts in it are, nothing else.
    #[default]
    Overwrite,
    /// The job does not start.
    Error,
    /// Rows are written behind those that are there; parts are numbered on.
    Append,
}

/// One path or glob, or many.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Paths(pub Vec<String>);

impl Serialize for Paths {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        match self.0.as_slice() {
            [one] => one.serialize(serializer),
            many => many.serialize(serializer),
        }
    }
}

impl<'de> Deserialize<'de> for Paths {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        struct Visitor;
        impl<'de> de::Visitor<'de> for Visitor {
            type Value = Paths;

            fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                f.write_str("a path or a list of paths")
            }

            fn visit_str<E: de::Error>(self, path: &str) -> Result<Paths, E> {
                Ok(Paths(vec![path.to_owned()]))
            }

            fn visit_seq<A: SeqAccess<'de>>(self, mut list: A) -> Result<Paths, A::Error> {
                let mut paths = Vec::new();
                while let Some(path) = list.next_element()? {
                    paths.push(path);
                }
                Ok(Paths(paths))
            }
        }
        deserializer.deserialize_any(Visitor)
    }
}

/// A span of time that may be missing.
mod optional_duration {
    use super::{Deserialize, Deserializer, Micros, Serialize, Serializer, duration};

    #[derive(Serialize, Deserialize)]
    #[serde(transparent)]
    struct Span(#[serde(with = "duration")] Micros);

    #[expect(clippy::ref_option, reason = "the signature that serde calls")]
    pub(super) fn serialize<S: Serializer>(span: &Option<Micros>, serializer: S) -> Result<S::Ok, S::Error> {
        span.map(Span).serialize(serializer)
    }

    pub(super) fn deserialize<'de, D: Deserializer<'de>>(deserializer: D) -> Result<Option<Micros>, D::Error> {
        Ok(Option::<Span>::deserialize(deserializer)?.map(|span| span.0))
    }
}

fn is_default<T: Default + PartialEq>(value: &T) -> bool {
    *value == T::default()
}
