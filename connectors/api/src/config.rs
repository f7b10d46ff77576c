//! Configuration of connectors and formats: typed by serde, with problems that say where they are.

use std::path::{Path, PathBuf};

use serde::de::DeserializeOwned;
use serde_json::Value;

/// One step on the way to a value inside a configuration.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Step {
    /// A key of a table.
    Key(String),
    /// A place in an array, from 0.
    Index(usize),
}

/// A problem of a configuration.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ConfigProblem {
    /// The way to the value; empty for the table as a whole.
    pub path: Vec<Step>,
    /// What is wrong: a lowercase fragment.
    pub message: String,
    /// How to mend it.
    pub help: Option<String>,
}

impl ConfigProblem {
    /// A problem of the value under a key.
    pub fn at(key: &str, message: impl Into<String>) -> Self {
        Self {
            path: vec![Step::Key(key.to_owned())],
            message: message.into(),
            help: None,
        }
    }

    /// Says how to mend it.
    #[must_use]
    pub fn help(mut self, help: impl Into<String>) -> Self {
        self.help = Some(help.into());
        self
    }
}

/// Makes a connector's or format's own type of its table.
///
/// # Errors
/// The first thing in the table that does not fit, with the way to it. `unknown field` and `missing field` messages are
/// serde's; the topology turns them into diagnostics with suggestions.
pub fn decode<C: DeserializeOwned>(config: &Value) -> Result<C, ConfigProblem> {
    serde_path_to_error::deserialize(config).map_err(|error| {
        let path = error
            .path()
            .iter()
            .filter_map(|segment| match segment {
                serde_path_to_error::Segment::Seq { index } => Some(Step::Index(*index)),
                serde_path_to_error::Segment::Map { key } => Some(Step::Key(key.clone())),
                serde_path_to_error::Segment::Enum { variant } => Some(Step::Key(variant.clone())),
                serde_path_to_error::Segment::Unknown => None,
            })
            .collect();
        ConfigProblem {
            path,
            message: error.into_inner().to_string(),
            help: None,
        }
    })
}

/// What a connector may know when it is checked or opened.
#[derive(Clone, Debug)]
pub struct Folder(PathBuf);

impl Folder {
    /// The folder of the topology file.
    pub fn new(path: impl Into<PathBuf>) -> Self {
        Self(path.into())
    }

    /// A path of the topology: relative ones start at the topology's folder.
    pub fn resolve(&self, path: impl AsRef<Path>) -> PathBuf {
        self.0.join(path)
    }
}
