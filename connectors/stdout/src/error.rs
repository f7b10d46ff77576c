//! What can go wrong with standard output.

use std::io;

use wasmill_core::fault::{Domain, Fault};

/// A failure of writing to standard output.
#[derive(Debug, thiserror::Error)]
pub enum Error {
    /// Whoever read it has read enough, as `head` does: the job ends, and nobody needs to be told.
    #[error("the reader of standard output has closed it")]
    Closed,
    /// It cannot be written: look at where it leads.
    #[error("cannot write to standard output")]
    Io(#[source] io::Error),
    /// The thread that wrote has panicked.
    #[error("the thread of the stdout connector has ended by a panic")]
    Panicked,
}

impl From<io::Error> for Error {
    fn from(error: io::Error) -> Self {
        match error.kind() {
            io::ErrorKind::BrokenPipe => Self::Closed,
            _ => Self::Io(error),
        }
    }
}

impl From<Error> for Fault {
    fn from(error: Error) -> Self {
        let domain = match &error {
            Error::Closed => Domain::User,
            Error::Io(_) => Domain::External,
            Error::Panicked => Domain::Internal,
        };
        let message = match std::error::Error::source(&error) {
            Some(source) => format!("{error}: {source}"),
            None => error.to_string(),
        };
        Self::fatal(domain, message)
    }
}

/// Whether a fault only says that the reader of standard output has read enough. The job has then ended as its user
/// wanted; the binary ends in silence.
pub fn is_closed(fault: &Fault) -> bool {
    fault.domain == Domain::User && fault.message == Error::Closed.to_string()
}
