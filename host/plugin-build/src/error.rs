//! What can go wrong when a plugin is built or a project is written; each message is one line and says what to do.

use std::{
    io,
    path::{Path, PathBuf},
};

/// A plugin could not be built, or a project not be written.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum Error {
    /// The folder holds no project that makes a component.
    #[error("{} is no plugin project: {reason}", path.display())]
    NotAPlugin {
        /// The folder or file.
        path: PathBuf,
        /// What is missing or wrong.
        reason: String,
    },
    /// No compiler for `wasm32-unknown-unknown` is there, and none could be fetched.
    #[error("no compiler for wasm32-unknown-unknown: {tried}. {mend}")]
    NoToolchain {
        /// What was tried, and why it did not do.
        tried: String,
        /// What the user can do.
        mend: String,
    },
    /// The project does not compile.
    #[error("plugin `{plugin}` does not compile:\n{output}")]
    Compile {
        /// The plugin's name.
        plugin: String,
        /// What the compiler said.
        output: String,
    },
    /// The module is not one of an operator.
    #[error("the module of plugin `{plugin}` cannot be made a component: {reason}")]
    Component {
        /// The plugin's name.
        plugin: String,
        /// The encoder's reason.
        reason: String,
    },
    /// The name of a project is not one that a package and a plugin can have.
    #[error("`{name}` cannot be the name of a plugin: {reason}")]
    Name {
        /// The name.
        name: String,
        /// What is wrong with it.
        reason: &'static str,
    },
    /// The folder of a new project is in use.
    #[error("{} is there already: choose another name or folder, or remove it", path.display())]
    Exists {
        /// The folder.
        path: PathBuf,
    },
    /// A program could not be run, or failed.
    #[error("{program}: {reason}")]
    Program {
        /// The program and its arguments.
        program: String,
        /// What happened.
        reason: String,
    },
    /// No folder of the user's for caches can be told.
    #[error("no cache folder: set HOME or XDG_CACHE_HOME")]
    NoCache,
    /// The file system.
    #[error("cannot {action} {}", path.display())]
    Io {
        /// What was to be done.
        action: &'static str,
        /// To what.
        path: PathBuf,
        /// Why not.
        #[source]
        source: io::Error,
    },
}

impl Error {
    pub(crate) fn io(action: &'static str, path: &Path) -> impl FnOnce(io::Error) -> Self {
        move |source| Self::Io {
            action,
            path: path.to_owned(),
            source,
        }
    }

    pub(crate) fn not_a_plugin(path: &Path, reason: impl Into<String>) -> Self {
        Self::NotAPlugin {
            path: path.to_owned(),
            reason: reason.into(),
        }
    }
}
