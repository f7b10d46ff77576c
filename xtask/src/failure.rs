//! Why a task cannot go on: one line, with what to do about it.

use std::{fmt, io, path::Path};

/// A task cannot go on.
#[derive(Debug)]
pub(crate) struct Failure(String);

impl Failure {
    pub(crate) fn new(message: impl Into<String>) -> Self {
        Self(message.into())
    }

    /// For `map_err`: what could not be done with a file.
    pub(crate) fn io<'a>(what: &'a str, path: &'a Path) -> impl FnOnce(io::Error) -> Self + 'a {
        move |error| Self(format!("cannot {what} {}: {error}", path.display()))
    }
}

impl fmt::Display for Failure {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

impl From<wasmill_plugin_build::Error> for Failure {
    fn from(error: wasmill_plugin_build::Error) -> Self {
        Self(error.to_string())
    }
}
