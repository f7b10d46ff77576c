//! Stores of `object_store`: a local folder, a bucket of S3.
//!
//! A local object is written beside its place, synced, then renamed (or linked, where it must be new), and its folder
//! is synced, before a write returns: `LocalFileSystem::with_fsync` does that. What a killed process leaves is named
//! `object#1`; listings pass over it, and [`Store::remove_unfinished`] removes it.

use std::error::Error as _;
use std::fs;
use std::io;
use std::ops::Range;
use std::path::{Path as FilePath, PathBuf};

use async_trait::async_trait;
use bytes::{Bytes, BytesMut};
use futures_util::TryStreamExt as _;
use object_store::local::LocalFileSystem;
use object_store::path::Path;
use object_store::{
    GetOptions, GetRange, MultipartUpload, ObjectStore, ObjectStoreExt as _, PutMode, PutMultipartOptions, PutOptions,
    PutPayload,
};

use super::{Creation, Object, Store, StoreError, Upload};

/// How many bytes an upload sends at once. S3 takes 10,000 parts of at least 5 MiB each: an object may have 78 GiB.
const PART_BYTES: usize = 8 << 20;

/// A folder or a bucket.
#[derive(Debug)]
pub struct Objects {
    name: String,
    store: Box<dyn ObjectStore>,
    /// What all paths begin with in the store.
    prefix: Path,
    /// The folder of a local store.
    folder: Option<PathBuf>,
}

impl Objects {
    /// A local folder, made where it is not there. Writes are durable when they return.
    ///
    /// # Errors
    /// It cannot be made.
    pub fn in_folder(folder: &FilePath) -> Result<Self, StoreError> {
        let name = format!("file:{}", folder.display());
        create_durably(folder).map_err(|error| match error.kind() {
            io::ErrorKind::NotFound => failed(&name, "", error.into()),
            _ => StoreError::from_io(&name, "", error),
        })?;
        let store = LocalFileSystem::new_with_prefix(folder).map_err(|error| meaning(&name, "", error))?;
        Ok(Self {
            store: Box::new(store.with_fsync(true)),
            prefix: Path::default(),
            folder: Some(folder.to_owned()),
            name,
        })
    }

    /// A prefix in a bucket of S3, or of what speaks its protocol and knows `If-None-Match`.
    ///
    /// # Errors
    /// An option is not known, or one is missing.
    #[cfg(feature = "s3")]
    pub fn in_bucket(
        bucket: &str,
        prefix: &str,
        options: &std::collections::BTreeMap<String, String>,
        environment: &mut dyn Iterator<Item = (String, String)>,
    ) -> Result<Self, StoreError> {
        use object_store::aws::{AmazonS3Builder, AmazonS3ConfigKey, S3ConditionalPut};

        let name = format!("s3://{bucket}/{prefix}");
        let wrong = |reason: String| StoreError::Address {
            address: name.clone(),
            reason,
        };
        let mut builder = AmazonS3Builder::new();
        for (key, value) in environment {
            if let Some(key) = key.strip_prefix("AWS_")
                && let Ok(key) = key.to_ascii_lowercase().parse::<AmazonS3ConfigKey>()
            {
                builder = builder.with_config(key, value);
            }
        }
        for (key, value) in options {
            let known = key
                .parse::<AmazonS3ConfigKey>()
                .map_err(|_| wrong(format!("S3 has no option `{key}`")))?;
            builder = builder.with_config(known, value);
        }
        let store = builder
            .with_bucket_name(bucket)
            .with_conditional_put(S3ConditionalPut::ETagMatch)
            .with_retry(object_store::RetryConfig {
                max_retries: S3_RETRIES_MAX,
                retry_timeout: S3_RETRY_TIMEOUT,
                ..Default::default()
            })
            .build()
            .map_err(|error| wrong(super::with_causes(&error)))?;
        Ok(Self {
            store: Box::new(store),
            prefix: Path::from(prefix),
            folder: None,
            name,
        })
    }

    fn at(&self, path: &str) -> Path {
        self.prefix.parts().chain(Path::from(path).parts()).collect()
    }

    fn meaning(&self, path: &str, error: object_store::Error) -> StoreError {
        meaning(&self.name, path, error)
    }

    /// The path that a caller knows.
    fn relative(&self, location: &Path) -> String {
        let whole: &str = location.as_ref();
        let prefix: &str = self.prefix.as_ref();
        whole
            .strip_prefix(prefix)
            .unwrap_or(whole)
            .trim_start_matches('/')
            .to_owned()
    }
}

/// How often the client of S3 tries a request again by itself. What stands above ([`super::Retrying`]) tries again too.
#[cfg(feature = "s3")]
const S3_RETRIES_MAX: usize = 5;
/// For how long it does.
#[cfg(feature = "s3")]
const S3_RETRY_TIMEOUT: std::time::Duration = std::time::Duration::from_secs(30);

#[async_trait]
impl Store for Objects {
    fn name(&self) -> String {
        self.name.clone()
    }

    async fn put_new(&self, path: &str, bytes: Bytes) -> Result<Creation, StoreError> {
        let options = PutOptions::from(PutMode::Create);
        match self
            .store
            .put_opts(&self.at(path), PutPayload::from_bytes(bytes), options)
            .await
        {
            Ok(_) => Ok(Creation::Made),
            Err(object_store::Error::AlreadyExists { .. } | object_store::Error::Precondition { .. }) => {
                Ok(Creation::Taken)
            }
            Err(object_store::Error::NotImplemented { .. } | object_store::Error::NotSupported { .. }) => {
                Err(StoreError::NoConditionalCreate { store: self.name() })
            }
            Err(error)
                if cause(&error)
                    .and_then(io::Error::raw_os_error)
                    .is_some_and(has_no_links) =>
            {
                Err(StoreError::NoConditionalCreate { store: self.name() })
            }
            Err(error) => Err(self.meaning(path, error)),
        }
    }

    async fn put(&self, path: &str, bytes: Bytes) -> Result<(), StoreError> {
        let put = self.store.put(&self.at(path), PutPayload::from_bytes(bytes)).await;
        put.map(drop).map_err(|error| self.meaning(path, error))
    }

    async fn upload(&self, path: &str) -> Result<Box<dyn Upload>, StoreError> {
        let upload = self
            .store
            .put_multipart_opts(&self.at(path), PutMultipartOptions::default())
            .await;
        Ok(Box::new(Parts {
            store: self.name(),
            path: path.to_owned(),
            upload: upload.map_err(|error| self.meaning(path, error))?,
            waiting: BytesMut::new(),
        }))
    }

    async fn get(&self, path: &str) -> Result<Bytes, StoreError> {
        let got = async { self.store.get(&self.at(path)).await?.bytes().await }.await;
        got.map_err(|error| self.meaning(path, error))
    }

    async fn get_range(&self, path: &str, range: Range<u64>) -> Result<Bytes, StoreError> {
        if range.is_empty() {
            return Ok(Bytes::new());
        }
        let options = GetOptions {
            range: Some(GetRange::Bounded(range)),
            ..GetOptions::default()
        };
        let got = async { self.store.get_opts(&self.at(path), options).await?.bytes().await }.await;
        got.map_err(|error| self.meaning(path, error))
    }

    async fn length(&self, path: &str) -> Result<u64, StoreError> {
        let head = self.store.head(&self.at(path)).await;
        head.map(|meta| meta.size).map_err(|error| self.meaning(path, error))
    }

    async fn list(&self, folder: &str) -> Result<Vec<Object>, StoreError> {
        let at = self.at(folder);
        let listed: Result<Vec<_>, _> = self.store.list(Some(&at)).try_collect().await;
        let mut objects: Vec<Object> = listed
            .map_err(|error| self.meaning(folder, error))?
            .into_iter()
            .map(|meta| Object {
                path: self.relative(&meta.location),
                length: meta.size,
            })
            .collect();
        objects.sort_by(|a, b| a.path.cmp(&b.path));
        Ok(objects)
    }

    async fn folders(&self, folder: &str) -> Result<Vec<String>, StoreError> {
        // A local folder that is not there is an error of this listing, and empty for the other.
        if self.folder.as_ref().is_some_and(|root| !root.join(folder).exists()) {
            return Ok(Vec::new());
        }
        let listed = self.store.list_with_delimiter(Some(&self.at(folder))).await;
        let mut names: Vec<String> = listed
            .map_err(|error| self.meaning(folder, error))?
            .common_prefixes
            .iter()
            .filter_map(|prefix| prefix.filename().map(str::to_owned))
            .collect();
        names.sort();
        Ok(names)
    }

    async fn delete(&self, path: &str) -> Result<(), StoreError> {
        match self.store.delete(&self.at(path)).await {
            Ok(()) | Err(object_store::Error::NotFound { .. }) => Ok(()),
            Err(error) => Err(self.meaning(path, error)),
        }
    }

    async fn copy(&self, from: &str, to: &str) -> Result<(), StoreError> {
        let copied = self.store.copy(&self.at(from), &self.at(to)).await;
        copied.map_err(|error| self.meaning(from, error))
    }

    /// A bucket's unfinished uploads are none of ours to list: a lifecycle rule of the bucket removes them.
    async fn remove_unfinished(&self, folder: &str) -> Result<(), StoreError> {
        match &self.folder {
            Some(root) => {
                remove_staged(&root.join(folder)).map_err(|error| StoreError::from_io(&self.name, folder, error))
            }
            None => Ok(()),
        }
    }
}

/// Makes a folder and those above it, so that they are there after the machine has lost its power, too.
fn create_durably(folder: &FilePath) -> io::Result<()> {
    let made: Vec<&FilePath> = folder.ancestors().take_while(|ancestor| !ancestor.exists()).collect();
    fs::create_dir_all(folder)?;
    for parent in made.iter().filter_map(|folder| folder.parent()) {
        let parent = if parent.as_os_str().is_empty() {
            FilePath::new(".")
        } else {
            parent
        };
        fs::File::open(parent)?.sync_all()?;
    }
    Ok(())
}

/// Removes the files `name#1` in a folder and in those within.
fn remove_staged(folder: &FilePath) -> io::Result<()> {
    let entries = match fs::read_dir(folder) {
        Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(()),
        entries => entries?,
    };
    for entry in entries {
        let entry = entry?;
        if entry.file_type()?.is_dir() {
            remove_staged(&entry.path())?;
        } else if is_staged(&entry.file_name().to_string_lossy()) {
            match fs::remove_file(entry.path()) {
                Err(error) if error.kind() != io::ErrorKind::NotFound => return Err(error),
                _ => {}
            }
        }
    }
    Ok(())
}

fn is_staged(name: &str) -> bool {
    name.split_once('#')
        .is_some_and(|(_, number)| !number.is_empty() && number.bytes().all(|byte| byte.is_ascii_digit()))
}

/// An upload whose parts are of one size, as stores want them. Dropped before it is complete it leaves nothing in a local folder.
struct Parts {
    store: String,
    path: String,
    upload: Box<dyn MultipartUpload>,
    waiting: BytesMut,
}

impl Parts {
    async fn send(&mut self, part: Bytes) -> Result<(), StoreError> {
        let sent = self.upload.put_part(PutPayload::from_bytes(part)).await;
        sent.map_err(|error| meaning(&self.store, &self.path, error))
    }
}

#[async_trait]
impl Upload for Parts {
    async fn write(&mut self, bytes: Bytes) -> Result<(), StoreError> {
        self.waiting.extend_from_slice(&bytes);
        while self.waiting.len() >= PART_BYTES {
            let part = self.waiting.split_to(PART_BYTES).freeze();
            self.send(part).await?;
        }
        Ok(())
    }

    async fn complete(mut self: Box<Self>) -> Result<(), StoreError> {
        let rest = self.waiting.split().freeze();
        if !rest.is_empty() {
            self.send(rest).await?;
        }
        let completed = self.upload.complete().await;
        completed.map_err(|error| meaning(&self.store, &self.path, error))?;
        Ok(())
    }
}

/// What an error of `object_store` means. Its local errors hold the system's; anything else of a local folder is final,
/// above all a failed sync. What a bucket says and is not named here may pass.
fn meaning(store: &str, path: &str, error: object_store::Error) -> StoreError {
    if let Some(kind) = cause(&error).map(io::Error::kind)
        && !matches!(error, object_store::Error::NotFound { .. })
    {
        return StoreError::of_kind(store, path, kind, error.into());
    }
    let (store, path) = (store.to_owned(), path.to_owned());
    match error {
        object_store::Error::NotFound { .. } => StoreError::Missing { store, path },
        object_store::Error::PermissionDenied { .. } | object_store::Error::Unauthenticated { .. } => {
            StoreError::Denied {
                store,
                path,
                source: error.into(),
            }
        }
        object_store::Error::Generic { store: kind, .. } if kind != "LocalFileSystem" => StoreError::Transient {
            store,
            path,
            source: error.into(),
        },
        _ => failed(&store, &path, error.into()),
    }
}

fn failed(store: &str, path: &str, source: super::Source) -> StoreError {
    StoreError::Failed {
        store: store.to_owned(),
        path: path.to_owned(),
        source,
    }
}

/// The system's error below one of `object_store`.
fn cause(error: &object_store::Error) -> Option<&io::Error> {
    let mut cause = error.source();
    while let Some(error) = cause {
        if let Some(error) = error.downcast_ref::<io::Error>() {
            return Some(error);
        }
        cause = error.source();
    }
    None
}

/// Whether the system says that the file system knows no hard links: EPERM, ENOSYS, EOPNOTSUPP. (A folder that may not
/// be written is EACCES.)
const fn has_no_links(code: i32) -> bool {
    matches!(code, 1 | 38 | 95)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn staged_files_are_told_from_objects() {
        assert!(is_staged("7-g1-w0.snap#1"));
        assert!(is_staged("x#42"));
        assert!(!is_staged("x"));
        assert!(!is_staged("x#"));
        assert!(!is_staged("x#1a"));
    }

    #[test]
    fn errors_of_the_system_keep_their_meaning() {
        let local = |kind: io::ErrorKind| object_store::Error::Generic {
            store: "LocalFileSystem",
            source: Box::new(io::Error::from(kind)),
        };
        let said = |kind| meaning("file:x", "a/b", local(kind));
        assert!(matches!(said(io::ErrorKind::StorageFull), StoreError::Full { .. }));
        assert!(matches!(
            said(io::ErrorKind::ReadOnlyFilesystem),
            StoreError::ReadOnly { .. }
        ));
        assert!(matches!(
            said(io::ErrorKind::PermissionDenied),
            StoreError::Denied { .. }
        ));
        assert!(matches!(said(io::ErrorKind::Other), StoreError::Failed { .. }));
        assert!(said(io::ErrorKind::TimedOut).may_pass());
    }
}
