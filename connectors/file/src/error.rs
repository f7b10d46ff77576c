//! What can go wrong with files, by what one can do about it.

use std::io;
use std::path::PathBuf;

use wasmill_core::fault::{Domain, Fault, Retry};

/// A failure of reading or writing files.
#[derive(Debug, thiserror::Error)]
pub enum Error {
    /// The system refuses: look at the path, its rights, the disk.
    #[error("cannot {action} {}", path.display())]
    Io {
        /// What was tried.
        action: &'static str,
        /// The file or folder.
        path: PathBuf,
        /// Why it failed.
        #[source]
        source: io::Error,
    },
    /// The compressed data make no sense, or end too early: fetch the file again.
    #[error("the {compression} data of {} are damaged or cut off after {position} bytes of content", path.display())]
    Damaged {
        /// How it is compressed.
        compression: &'static str,
        /// The file.
        path: PathBuf,
        /// How much could be read.
        position: u64,
        /// What is wrong.
        #[source]
        source: io::Error,
    },
    /// A file of a sequence became another one: a file of a sequence may only grow.
    #[error("{} was replaced by another file while it was followed; a file of a sequence may only grow", path.display())]
    Replaced {
        /// The file.
        path: PathBuf,
    },
    /// A file of a sequence lost what was read of it: a file of a sequence may only grow.
    #[error("{} was cut from {from} to {to} bytes while it was followed; a file of a sequence may only grow", path.display())]
    Cut {
        /// The file.
        path: PathBuf,
        /// How much of it was read.
        from: u64,
        /// Its length.
        to: u64,
    },
    /// A renamed file is found under its new name too: choose a pattern that does not match what renamed files are
    /// called, or move them out of its way.
    #[error("{found} is what {name} was before, and `path` matches both, so that it would be read twice")]
    ReadTwice {
        /// What was found.
        found: String,
        /// The name under which it was read.
        name: String,
    },
    /// The file that a checkpoint goes on in is not there: put it back, or begin anew.
    #[error("{} is gone, and the checkpoint goes on in it: put it back, or start with --fresh", path.display())]
    Gone {
        /// The file.
        path: PathBuf,
    },
    /// Another file stands where a checkpoint goes on: put the one before back, or begin anew.
    #[error("{} is another file than before the checkpoint, which goes on in it: put that one back, or start with --fresh", path.display())]
    Changed {
        /// The file.
        path: PathBuf,
    },
    /// The file that a checkpoint goes on in is too short: put back what is missing, or begin anew.
    #[error("{} holds {to} bytes, and the checkpoint goes on after {from}: put back what is missing, or start with --fresh", path.display())]
    Shorter {
        /// The file.
        path: PathBuf,
        /// Where the checkpoint goes on, in the file's content.
        from: u64,
        /// The length of the content.
        to: u64,
    },
    /// The output lost rows that were committed: put back what is missing, or begin anew.
    #[error("{} holds {to} bytes, and {from} were committed: put back what is missing, or start with --fresh", path.display())]
    OutputShorter {
        /// The file.
        path: PathBuf,
        /// How much was committed.
        from: u64,
        /// Its length.
        to: u64,
    },
    /// The output has bytes behind what was committed: remove them, or begin anew.
    #[error("{} holds {len} bytes, and {end} were committed: somebody else has written to it, or another process has taken over this job", path.display())]
    OutputLonger {
        /// The file.
        path: PathBuf,
        /// How much was committed.
        end: u64,
        /// Its length.
        len: u64,
    },
    /// The checkpoint is one of an output that was configured otherwise: set `parts` as it was, or begin anew.
    #[error("the checkpoint is one of another kind of output than {}: set `parts` back, or start with --fresh", path.display())]
    OtherOutput {
        /// The file or folder.
        path: PathBuf,
    },
    /// What the checkpoint says of a file is not what this connector writes: begin anew.
    #[error("{} has a note in the checkpoint that cannot be read", path.display())]
    Note {
        /// The file.
        path: PathBuf,
        /// What is wrong.
        #[source]
        source: serde_json::Error,
    },
    /// A file appeared too late for its place in the sequence: name it so that it comes last.
    #[error("{found} appeared after {read} was read; files of a sequence are read in the order of their names")]
    OutOfSequence {
        /// The file that appeared.
        found: String,
        /// The last file of the sequence before.
        read: String,
    },
    /// A file appeared before one that a checkpoint goes on in: name it so that it comes later.
    #[error(
        "a file appeared before {name}, in which the checkpoint goes on; files of a sequence are read in the order of their names"
    )]
    AddedBefore {
        /// The file that is read.
        name: String,
    },
    /// A file is too long for positions in a sequence.
    #[error("{} holds more than {max} bytes, the most that a file of a sequence may hold", path.display())]
    TooLong {
        /// The file.
        path: PathBuf,
        /// The limit.
        max: u64,
    },
    /// A pipe, a device or a folder stands where a file should: write what it gives into a file.
    #[error("{} is not a regular file", path.display())]
    NotRegular {
        /// What stands there.
        path: PathBuf,
    },
    /// A name cannot be shown as text: rename the file.
    #[error("the name of {} is not UTF-8", path.display())]
    NameNotUtf8 {
        /// The file.
        path: PathBuf,
    },
    /// The output is there, and the topology does not allow to replace it: move it, or change `if-exists`.
    #[error("{} is there already, and `if-exists` is \"error\"", path.display())]
    Exists {
        /// The file or folder.
        path: PathBuf,
    },
    /// A thread that read or wrote has panicked.
    #[error("a thread of the file connector has ended by a panic")]
    Panicked,
}

impl Error {
    /// Turns an error of the system into one that names the path.
    pub(crate) fn io(action: &'static str, path: impl Into<PathBuf>) -> impl FnOnce(io::Error) -> Self {
        let path = path.into();
        move |source| Self::Io { action, path, source }
    }

    fn domain(&self) -> Domain {
        match self {
            Self::Panicked => Domain::Internal,
            Self::Exists { .. }
            | Self::OtherOutput { .. }
            | Self::OutOfSequence { .. }
            | Self::ReadTwice { .. }
            | Self::AddedBefore { .. }
            | Self::NameNotUtf8 { .. }
            | Self::NotRegular { .. }
            | Self::TooLong { .. } => Domain::User,
            _ => Domain::External,
        }
    }

    /// A full disk may be freed, and an interrupted call repeated; everything else stays as it is.
    fn retry(&self) -> Retry {
        use io::ErrorKind::{Interrupted, QuotaExceeded, StaleNetworkFileHandle, StorageFull, TimedOut};
        match self {
            Self::Io { source, .. } => match source.kind() {
                StorageFull | QuotaExceeded | Interrupted | TimedOut | StaleNetworkFileHandle => Retry::Backoff,
                _ => Retry::Never,
            },
            _ => Retry::Never,
        }
    }
}

impl From<Error> for Fault {
    fn from(error: Error) -> Self {
        let message = match std::error::Error::source(&error) {
            Some(source) => format!("{error}: {}", reason(source)),
            None => error.to_string(),
        };
        let mut fault = Self::fatal(error.domain(), message);
        fault.retry = error.retry();
        fault
    }
}

/// The system's words without its number, as a fragment: `no such file or directory`.
pub(crate) fn reason(error: &(dyn std::error::Error + 'static)) -> String {
    let text = error.to_string();
    let words = text.split(" (os error").next().unwrap_or_default();
    let mut letters = words.chars();
    match (letters.next(), letters.clone().next()) {
        (Some(first), Some(second)) if second.is_lowercase() => first.to_lowercase().chain(letters).collect(),
        _ => words.to_owned(),
    }
}
