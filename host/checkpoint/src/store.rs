//! Where checkpoints stand: objects by path, written once, made with "create if absent".
//!
//! [`Store`] is all that the protocol needs of a place. [`Objects`] is a local folder or a bucket, [`Memory`] and
//! [`Faulty`] are for tests, and [`Retrying`] tries again what may pass. A path is relative; its parts are divided
//! by `/` and have letters, digits, `-`, `_` and `.`.
//!
//! What a successful write promises: the object is there in full, also after the machine has lost its power. What a
//! failed or interrupted write leaves is unknown: nothing, or the whole object, or the object a while later. Nothing
//! that is not named by a link of the chain is trusted, so that is enough. [`Store::put_new`] decides races: of all
//! that write one path, one is told [`Creation::Made`] at most. It is what the whole protocol stands on, so a store
//! without it is refused ([`open_format`]).

mod address;
mod faulty;
mod memory;
mod objects;
mod retry;

use std::fmt;
use std::io;
use std::ops::Range;

use async_trait::async_trait;
use bytes::Bytes;
use wasmill_core::fault::{Domain, Fault, Retry};

use crate::layout;

pub use address::Address;
pub use faulty::{Dice, Faults, Faulty, Refusal};
pub use memory::Memory;
pub use objects::Objects;
pub use retry::{Pause, RetryPolicy, Retrying};

/// The version of a store's layout.
pub const STORE_VERSION: u32 = 1;

/// A place for objects.
#[async_trait]
pub trait Store: Send + Sync + fmt::Debug {
    /// Its name in messages: `file:/data/state`, `s3://bucket/prefix`.
    fn name(&self) -> String;

    /// Writes an object if nothing stands at its path. Among all that try, one makes it.
    ///
    /// # Errors
    /// Whether the object is there is unknown.
    async fn put_new(&self, path: &str, bytes: Bytes) -> Result<Creation, StoreError>;

    /// Writes an object, in place of what stands there.
    ///
    /// # Errors
    /// Whether the object is there is unknown.
    async fn put(&self, path: &str, bytes: Bytes) -> Result<(), StoreError>;

    /// Begins an object that is written in parts. It is there when [`Upload::complete`] has returned.
    ///
    /// # Errors
    /// It cannot be begun.
    async fn upload(&self, path: &str) -> Result<Box<dyn Upload>, StoreError>;

    /// An object's bytes.
    ///
    /// # Errors
    /// [`StoreError::Missing`] where there is none.
    async fn get(&self, path: &str) -> Result<Bytes, StoreError>;

    /// Some of an object's bytes. Fewer than asked for where the object ends before.
    ///
    /// # Errors
    /// [`StoreError::Missing`] where there is none.
    async fn get_range(&self, path: &str, range: Range<u64>) -> Result<Bytes, StoreError>;

    /// An object's length in bytes.
    ///
    /// # Errors
    /// [`StoreError::Missing`] where there is none.
    async fn length(&self, path: &str) -> Result<u64, StoreError>;

    /// The objects in a folder and in those within, sorted by path. A folder that is not there is empty.
    ///
    /// # Errors
    /// It cannot be listed.
    async fn list(&self, folder: &str) -> Result<Vec<Object>, StoreError>;

    /// The names of the folders right within a folder, sorted.
    ///
    /// # Errors
    /// It cannot be listed.
    async fn folders(&self, folder: &str) -> Result<Vec<String>, StoreError>;

    /// Removes an object. One that is not there is removed already. A removal may come undone when the machine loses its
    /// power.
    ///
    /// # Errors
    /// It cannot be removed.
    async fn delete(&self, path: &str) -> Result<(), StoreError>;

    /// Copies an object, in place of what stands at `to`.
    ///
    /// # Errors
    /// [`StoreError::Missing`] where there is nothing at `from`; else whether the copy is there is unknown.
    async fn copy(&self, from: &str, to: &str) -> Result<(), StoreError>;

    /// Removes what writes into a folder left behind that never finished and that no listing shows. Writes under way
    /// fail by it, so it is for those who have taken the folder over.
    ///
    /// # Errors
    /// It cannot be removed.
    async fn remove_unfinished(&self, folder: &str) -> Result<(), StoreError>;
}

/// An object that is being written in parts.
#[async_trait]
pub trait Upload: Send {
    /// Appends bytes.
    ///
    /// # Errors
    /// The upload cannot be finished; drop it.
    async fn write(&mut self, bytes: Bytes) -> Result<(), StoreError>;

    /// Makes the object be there.
    ///
    /// # Errors
    /// Whether the object is there is unknown.
    async fn complete(self: Box<Self>) -> Result<(), StoreError>;
}

/// What came of [`Store::put_new`].
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Creation {
    /// The object was not there, and is.
    Made,
    /// Something stands there. After a call that failed it may be this one's own.
    Taken,
}

/// An object in a listing.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Object {
    /// Its path in the store.
    pub path: String,
    /// Its length in bytes.
    pub length: u64,
}

/// Why a store did not do what it was asked.
#[derive(Debug, thiserror::Error)]
pub enum StoreError {
    /// There is no such object.
    #[error("`{path}` is not in {store}")]
    Missing {
        /// The store's name.
        store: String,
        /// The object's path.
        path: String,
    },
    /// No space is left. It may be freed.
    #[error("{store} is full: `{path}` cannot be written")]
    Full {
        /// The store's name.
        store: String,
        /// The object's path.
        path: String,
        /// What was said.
        #[source]
        source: Source,
    },
    /// Nothing may be written.
    #[error("{store} is read-only: `{path}` cannot be written")]
    ReadOnly {
        /// The store's name.
        store: String,
        /// The object's path.
        path: String,
        /// What was said.
        #[source]
        source: Source,
    },
    /// The user or the credentials may not do this.
    #[error("access to `{path}` in {store} is denied")]
    Denied {
        /// The store's name.
        store: String,
        /// The object's path.
        path: String,
        /// What was said.
        #[source]
        source: Source,
    },
    /// It may pass.
    #[error("{store} does not answer as it should at `{path}`")]
    Transient {
        /// The store's name.
        store: String,
        /// The object's path.
        path: String,
        /// What was said.
        #[source]
        source: Source,
    },
    /// Of all that create one object, more than one may succeed.
    #[error(
        "{store} cannot create an object only where there is none, so two jobs could write one checkpoint; use a store that can"
    )]
    NoConditionalCreate {
        /// The store's name.
        store: String,
    },
    /// The address or its options mean no store.
    #[error("`{address}` is no checkpoint store: {reason}")]
    Address {
        /// As it was given.
        address: String,
        /// Why.
        reason: String,
    },
    /// It failed in a way that trying again does not mend: after a failed sync nobody knows what is on the disk.
    #[error("{store} failed at `{path}`")]
    Failed {
        /// The store's name.
        store: String,
        /// The object's path.
        path: String,
        /// What was said.
        #[source]
        source: Source,
    },
}

/// What lies below a [`StoreError`].
pub type Source = Box<dyn std::error::Error + Send + Sync + 'static>;

impl StoreError {
    /// Whether trying again may help.
    pub const fn may_pass(&self) -> bool {
        matches!(self, Self::Transient { .. })
    }

    /// Whether the object is not there.
    pub const fn is_missing(&self) -> bool {
        matches!(self, Self::Missing { .. })
    }

    /// What an [`io::Error`] at a path means.
    pub(crate) fn from_io(store: &str, path: &str, error: io::Error) -> Self {
        let kind = error.kind();
        Self::of_kind(store, path, kind, error.into())
    }

    pub(crate) fn of_kind(store: &str, path: &str, kind: io::ErrorKind, source: Source) -> Self {
        let (store, path) = (store.to_owned(), path.to_owned());
        match kind {
            io::ErrorKind::NotFound => Self::Missing { store, path },
            io::ErrorKind::StorageFull | io::ErrorKind::QuotaExceeded | io::ErrorKind::FileTooLarge => {
                Self::Full { store, path, source }
            }
            io::ErrorKind::ReadOnlyFilesystem => Self::ReadOnly { store, path, source },
            io::ErrorKind::PermissionDenied => Self::Denied { store, path, source },
            io::ErrorKind::Interrupted
            | io::ErrorKind::TimedOut
            | io::ErrorKind::WouldBlock
            | io::ErrorKind::ResourceBusy
            | io::ErrorKind::ConnectionRefused
            | io::ErrorKind::ConnectionReset
            | io::ErrorKind::ConnectionAborted
            | io::ErrorKind::NotConnected
            | io::ErrorKind::BrokenPipe
            | io::ErrorKind::HostUnreachable
            | io::ErrorKind::NetworkUnreachable
            | io::ErrorKind::NetworkDown => Self::Transient { store, path, source },
            _ => Self::Failed { store, path, source },
        }
    }
}

/// The whole chain of causes stands in the fault's message. A full store can be retried by a new generation, since
/// space may be freed; the rest of what does not pass is for the user.
impl From<StoreError> for Fault {
    fn from(error: StoreError) -> Self {
        let (domain, retry) = match &error {
            StoreError::Transient { .. } | StoreError::Full { .. } => (Domain::External, Retry::Backoff),
            StoreError::Missing { .. }
            | StoreError::ReadOnly { .. }
            | StoreError::Denied { .. }
            | StoreError::Failed { .. } => (Domain::External, Retry::Never),
            StoreError::NoConditionalCreate { .. } | StoreError::Address { .. } => (Domain::User, Retry::Never),
        };
        Self {
            retry,
            ..Self::fatal(domain, with_causes(&error))
        }
    }
}

/// An error's text with those of its causes, without what is said twice.
pub(crate) fn with_causes(error: &dyn std::error::Error) -> String {
    let mut text = error.to_string();
    let mut cause = error.source();
    while let Some(error) = cause {
        let said = error.to_string();
        if !text.contains(&said) {
            text.push_str(": ");
            text.push_str(&said);
        }
        cause = error.source();
    }
    text
}

/// Makes a store one for checkpoints, or checks that it is one that this version reads, and that it can create
/// objects only where there are none.
///
/// # Errors
/// It cannot, or its layout is of a later version, or it does not answer.
pub async fn open_format(store: &dyn Store) -> Result<(), crate::Error> {
    let said = Bytes::from(format!("{{\"wasmill-checkpoints\": {STORE_VERSION}}}\n"));
    if store.put_new(layout::STORE, said.clone()).await? == Creation::Made
        && store.put_new(layout::STORE, said).await? == Creation::Made
    {
        return Err(StoreError::NoConditionalCreate { store: store.name() }.into());
    }
    check_format(store).await
}

/// As [`open_format`], for those who only read: nothing is written.
///
/// # Errors
/// It is no store of checkpoints, or of a later version, or it does not answer.
pub async fn check_format(store: &dyn Store) -> Result<(), crate::Error> {
    #[derive(serde::Deserialize)]
    struct Format {
        #[serde(rename = "wasmill-checkpoints")]
        version: u32,
    }
    let bytes = store.get(layout::STORE).await?;
    match serde_json::from_slice(&bytes) {
        Ok(Format { version }) if version <= STORE_VERSION => Ok(()),
        Ok(Format { version }) => Err(crate::Error::Version {
            path: layout::STORE.to_owned(),
            found: version,
            known: STORE_VERSION,
        }),
        Err(error) => Err(crate::Damage::of(layout::STORE, error.to_string()).into()),
    }
}
