//! Why a bench could not be run.

use wasmill_core::diagnostic::Diagnostic;

/// Why a bench could not be run. Nobody acts on the kind: the message is all there is.
#[derive(Debug, thiserror::Error)]
#[error("{0}")]
pub(crate) struct Failure(String);

impl Failure {
    pub(crate) fn new(message: impl Into<String>) -> Self {
        Self(message.into())
    }
}

macro_rules! from {
    ($($error:ty),*) => {$(
        impl From<$error> for Failure {
            fn from(error: $error) -> Self {
                Self(error.to_string())
            }
        }
    )*};
}
from!(
    std::io::Error,
    wasmill_core::fault::Fault,
    wasmill_core::plugin::PluginError,
    wasmill_component::HostError,
    wasmill_plugin_build::Error,
    wasmill_core::window::UnknownTimeZone
);

impl From<Vec<Diagnostic>> for Failure {
    fn from(problems: Vec<Diagnostic>) -> Self {
        let problems: Vec<String> = problems.iter().map(|problem| problem.message.clone()).collect();
        Self(problems.join("; "))
    }
}
