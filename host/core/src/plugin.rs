//! Plugins as the topology sees them: what a component is, asked when a topology is checked.

use std::path::{Path, PathBuf};

use crate::aggregate::AggregateDescription;
use crate::content::ContentDescription;
use crate::keyed::KeyedDescription;
use crate::schema::Field;
use crate::transform::{InputDescription, TransformDescription};

/// A plugin's file and what was found in it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct PluginRef {
    /// The file, resolved against the topology's folder.
    pub path: PathBuf,
    /// SHA-256 of the file's bytes.
    pub digest: [u8; 32],
}

/// What a component exports.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum World {
    /// Rows in, rows out.
    Transform,
    /// Incremental aggregation.
    Aggregate,
    /// Rows with the state of their keys.
    Keyed,
    /// The whole content of windows.
    Window,
}

impl World {
    /// The world's name in the contract.
    pub const fn name(self) -> &'static str {
        match self {
            Self::Transform => "transform",
            Self::Aggregate => "aggregate",
            Self::Keyed => "keyed",
            Self::Window => "window",
        }
    }
}

/// Bounds on what an operator may use. Every bound has a default.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Limits {
    /// Linear memory of one instance, in bytes. Default 64 MiB.
    pub memory_bytes: u64,
    /// Wall time of one call, in microseconds. Default 1 s.
    pub deadline: crate::time::Micros,
    /// Fuel (about one unit an instruction) per row of a call; counted only where the fault policy may blame rows.
    /// Default 1,000,000.
    pub fuel_per_row: u64,
    /// Rows that one call may return. Default 1,048,576.
    pub output_rows: u32,
    /// Bytes that one call may return. Default 64 MiB.
    pub output_bytes: u64,
}

impl Default for Limits {
    fn default() -> Self {
        Self {
            memory_bytes: 64 << 20,
            deadline: crate::time::Micros::SECOND,
            fuel_per_row: 1_000_000,
            output_rows: 1 << 20,
            output_bytes: 64 << 20,
        }
    }
}

/// How long an instance of a plugin lives.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Hash)]
pub enum Isolation {
    /// As long as its subtask, unless a call fails or it has grown too large. The default.
    #[default]
    Instance,
    /// For one call: nothing that a call leaves in memory is there in the next. A call costs an instance more: some
    /// microseconds for C and Rust, some milliseconds for Python.
    Call,
}

/// Why a plugin cannot be used.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum PluginError {
    /// The file cannot be read.
    #[error("{path}: {reason}")]
    Unreadable {
        /// The file.
        path: PathBuf,
        /// What the system said.
        reason: String,
    },
    /// The file is no component of ours.
    #[error("{path} is not a Wasmill plugin: {reason}")]
    NotAPlugin {
        /// The file.
        path: PathBuf,
        /// What was found, and what was expected.
        reason: String,
    },
    /// The component asks for an import that the host does not give.
    #[error("{path} imports {import}, which the host does not give to plugins")]
    ForbiddenImport {
        /// The file.
        path: PathBuf,
        /// The import's name.
        import: String,
    },
    /// The component is of a world that this host does not run.
    #[error("{path} is of the world \"{world}\", which is not served yet")]
    NotServed {
        /// The file.
        path: PathBuf,
        /// The world's name in the contract.
        world: &'static str,
    },
    /// The guest refused its configuration or its inputs.
    #[error("{message}")]
    Refused {
        /// What the guest said.
        message: String,
    },
    /// The guest trapped, or described what the contract forbids.
    #[error("{message}")]
    Faulty {
        /// What went wrong.
        message: String,
    },
}

/// Asks plugins what they are, without running a topology.
pub trait Describer {
    /// Reads a plugin and says which world it is of.
    ///
    /// # Errors
    /// It is no plugin, or needs more than the host gives.
    fn load(&self, path: &Path) -> Result<(PluginRef, World), PluginError>;

    /// Asks a `transform` what it needs and gives. `config` is canonical JSON.
    ///
    /// # Errors
    /// It refused, or is faulty.
    fn transform(
        &self,
        plugin: &PluginRef,
        config: &str,
        inputs: &[InputDescription],
        limits: &Limits,
    ) -> Result<TransformDescription, PluginError>;

    /// Asks an `aggregate` what it needs and gives. `config` is canonical JSON.
    ///
    /// # Errors
    /// It refused, or is faulty.
    fn aggregate(
        &self,
        plugin: &PluginRef,
        config: &str,
        input: &InputDescription,
        limits: &Limits,
    ) -> Result<AggregateDescription, PluginError>;

    /// Asks a `keyed` what it needs and gives. `key` names the key columns, which every input has; `config` is canonical
    /// JSON.
    ///
    /// # Errors
    /// It refused, or is faulty.
    fn keyed(
        &self,
        plugin: &PluginRef,
        config: &str,
        inputs: &[InputDescription],
        key: &[Field],
        limits: &Limits,
    ) -> Result<KeyedDescription, PluginError>;

    /// Asks a `window` what it needs and gives. `key` names the key columns; `config` is canonical JSON.
    ///
    /// # Errors
    /// It refused, or is faulty.
    fn content(
        &self,
        plugin: &PluginRef,
        config: &str,
        input: &InputDescription,
        key: &[Field],
        limits: &Limits,
    ) -> Result<ContentDescription, PluginError>;
}
