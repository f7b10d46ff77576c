//! Compiled components on disk, by the digest of the component and the engine's compatibility.
//!
//! Loading compiled code is running it: who can write an entry can run code as this user. So the folder has mode 0700
//! and belongs to this user, which is checked each time it is opened; an entry is a plain file of this user, written
//! under another name and renamed, with a checksum over its bytes, and is read whole before it is checked, so that what
//! was checked is what is loaded. The checksum is against accidents (a torn write, a failing disk); the folder's mode is
//! against people. An entry that does not pass is removed and made again.

use std::fs::{self, File, OpenOptions};
use std::io::{self, Read, Write};
use std::os::unix::fs::{DirBuilderExt, MetadataExt, OpenOptionsExt};
use std::path::{Path, PathBuf};
use std::sync::atomic::{AtomicU64, Ordering};

use rustix::process::geteuid;
use tracing::{debug, warn};
use xxhash_rust::xxh3::xxh3_128;

use crate::engine::Metering;

/// What an entry is of.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub(crate) struct Key {
    /// SHA-256 of the component.
    pub(crate) digest: [u8; 32],
    /// Of the engine that compiled it.
    pub(crate) compatibility: u64,
    /// How the code is metered; for people who look into the folder, since the compatibility says it too.
    pub(crate) metering: Metering,
}

impl Key {
    fn file_name(&self) -> String {
        use std::fmt::Write as _;
        let mut name = String::new();
        for byte in self.digest {
            write!(name, "{byte:02x}").expect("a string takes any text");
        }
        write!(name, "-{:016x}-{}.cwasm", self.compatibility, self.metering).expect("a string takes any text");
        name
    }
}

/// Entries begin with this; the number is the version of what follows.
const MAGIC: [u8; 16] = *b"wasmill cwasm 1\n";
const HEADER_BYTES: usize = MAGIC.len() + size_of::<u128>();
/// Bytes of all entries; the oldest go first.
const CACHE_BYTES_MAX: u64 = 2 << 30;

/// Why a folder cannot hold compiled components.
#[derive(Debug, thiserror::Error)]
pub enum CacheError {
    /// The system refused.
    #[error("the cache of compiled plugins at {path} cannot be used")]
    Io {
        /// The folder.
        path: PathBuf,
        /// Why.
        #[source]
        source: io::Error,
    },
    /// Others could have put code into it.
    #[error("the cache of compiled plugins at {path} {reason}; remove it, or name another folder")]
    Unsafe {
        /// The folder.
        path: PathBuf,
        /// What is wrong with it.
        reason: &'static str,
    },
}

/// The folder.
#[derive(Debug)]
pub(crate) struct Cache {
    folder: PathBuf,
    bytes_max: u64,
    /// Distinguishes files that this process writes at the same time.
    written: AtomicU64,
}

impl Cache {
    /// Opens the folder, and makes it where it is missing.
    ///
    /// # Errors
    /// It cannot be made, or somebody else could write into it.
    pub(crate) fn open(folder: &Path) -> Result<Self, CacheError> {
        let io = |source| CacheError::Io {
            path: folder.to_owned(),
            source,
        };
        let refuse = |reason| {
            Err(CacheError::Unsafe {
                path: folder.to_owned(),
                reason,
            })
        };
        fs::DirBuilder::new()
            .recursive(true)
            .mode(0o700)
            .create(folder)
            .map_err(io)?;
        let found = fs::symlink_metadata(folder).map_err(io)?;
        if !found.is_dir() {
            return refuse("is no folder");
        }
        if found.uid() != geteuid().as_raw() {
            return refuse("belongs to another user");
        }
        if found.mode() & 0o077 != 0 {
            return refuse("is open to other users");
        }
        Ok(Self {
            folder: folder.to_owned(),
            bytes_max: CACHE_BYTES_MAX,
            written: AtomicU64::new(0),
        })
    }

    /// The compiled component, where there is an intact entry.
    pub(crate) fn get(&self, key: &Key) -> Option<Vec<u8>> {
        let path = self.folder.join(key.file_name());
        match read_entry(&path) {
            Ok(compiled) => Some(compiled),
            Err(error) if error.kind() == io::ErrorKind::NotFound => None,
            Err(error) => {
                warn!(path = %path.display(), %error, "a compiled plugin in the cache is not used, and compiled again");
                remove(&path);
                None
            }
        }
    }

    /// Whether there is an entry, intact or not.
    pub(crate) fn contains(&self, key: &Key) -> bool {
        self.folder.join(key.file_name()).exists()
    }

    /// Removes an entry that an engine refused.
    pub(crate) fn forget(&self, key: &Key) {
        remove(&self.folder.join(key.file_name()));
    }

    /// Keeps a compiled component. A cache that cannot be written costs time, not the run.
    pub(crate) fn put(&self, key: &Key, compiled: &[u8]) {
        if let Err(error) = self.write_entry(key, compiled) {
            warn!(folder = %self.folder.display(), %error, "a compiled plugin could not be kept");
        }
        self.shrink(key);
    }

    fn write_entry(&self, key: &Key, compiled: &[u8]) -> io::Result<()> {
        let number = self.written.fetch_add(1, Ordering::Relaxed);
        let partial = self
            .folder
            .join(format!("{}.{}-{number}.partial", key.file_name(), std::process::id()));
        let result = write_and_rename(&partial, &self.folder.join(key.file_name()), compiled);
        if result.is_err() {
            remove(&partial);
        }
        result
    }

    /// Removes the oldest entries, and what crashes left behind, until the rest fits. `kept` stays.
    fn shrink(&self, kept: &Key) {
        let kept = self.folder.join(kept.file_name());
        let entries = match fs::read_dir(&self.folder) {
            Ok(entries) => entries,
            Err(error) => {
                warn!(folder = %self.folder.display(), %error, "the cache of compiled plugins cannot be listed");
                return;
            }
        };
        let mut files: Vec<(std::time::SystemTime, u64, PathBuf)> = entries
            .filter_map(|entry| {
                let entry = entry.ok()?;
                let found = entry.metadata().ok()?;
                Some((found.modified().ok()?, found.len(), entry.path()))
            })
            .collect();
        let mut total: u64 = files.iter().map(|file| file.1).sum();
        files.sort();
        for (_, bytes, path) in files {
            if total <= self.bytes_max {
                break;
            }
            if path != kept {
                debug!(path = %path.display(), "the cache of compiled plugins is full: its oldest entry goes");
                remove(&path);
                total -= bytes;
            }
        }
    }
}

fn remove(path: &Path) {
    match fs::remove_file(path) {
        Ok(()) => {}
        Err(error) if error.kind() == io::ErrorKind::NotFound => {}
        Err(error) => warn!(path = %path.display(), %error, "a file of the cache cannot be removed"),
    }
}

fn write_and_rename(partial: &Path, path: &Path, compiled: &[u8]) -> io::Result<()> {
    let mut file = OpenOptions::new()
        .write(true)
        .create_new(true)
        .mode(0o600)
        .open(partial)?;
    file.write_all(&MAGIC)?;
    file.write_all(&xxh3_128(compiled).to_le_bytes())?;
    file.write_all(compiled)?;
    drop(file);
    fs::rename(partial, path)
}

fn read_entry(path: &Path) -> io::Result<Vec<u8>> {
    let refuse = |reason| Err(io::Error::new(io::ErrorKind::InvalidData, reason));
    if !fs::symlink_metadata(path)?.is_file() {
        return refuse("it is no plain file");
    }
    let mut file = File::open(path)?;
    let found = file.metadata()?;
    if found.uid() != geteuid().as_raw() || found.mode() & 0o022 != 0 {
        return refuse("others could have written it");
    }
    let mut bytes = Vec::with_capacity(usize::try_from(found.len()).unwrap_or(0));
    file.read_to_end(&mut bytes)?;
    let Some((header, compiled)) = bytes.split_at_checked(HEADER_BYTES) else {
        return refuse("it is torn");
    };
    let (magic, checksum) = header.split_at(MAGIC.len());
    if magic != MAGIC {
        return refuse("it is of another format");
    }
    if checksum != xxh3_128(compiled).to_le_bytes() {
        return refuse("its checksum is wrong");
    }
    bytes.drain(..HEADER_BYTES);
    Ok(bytes)
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::os::unix::fs::{PermissionsExt, symlink};

    const KEY: Key = Key {
        digest: [7; 32],
        compatibility: 1,
        metering: Metering::Deadline,
    };

    fn cache() -> (tempfile::TempDir, Cache) {
        let folder = tempfile::tempdir().unwrap();
        let cache = Cache::open(&folder.path().join("compiled")).unwrap();
        (folder, cache)
    }

    #[test]
    fn what_was_put_is_got_by_the_same_key_only() {
        let (_folder, cache) = cache();
        cache.put(&KEY, b"code");
        assert_eq!(cache.get(&KEY).as_deref(), Some(&b"code"[..]));
        for other in [
            Key { digest: [8; 32], ..KEY },
            Key {
                compatibility: 2,
                ..KEY
            },
            Key {
                metering: Metering::Fuel,
                ..KEY
            },
        ] {
            assert_eq!(cache.get(&other), None);
        }
        let names: Vec<_> = fs::read_dir(&cache.folder).unwrap().collect();
        assert_eq!(names.len(), 1, "nothing partial is left");
    }

    #[test]
    fn an_entry_that_is_torn_changed_or_foreign_is_removed_and_not_loaded() {
        let (_folder, cache) = cache();
        let path = cache.folder.join(KEY.file_name());
        cache.put(&KEY, b"code");
        let intact = fs::read(&path).unwrap();
        let mut flipped = intact.clone();
        *flipped.last_mut().unwrap() ^= 1;
        let spoiled: [&[u8]; 5] = [
            b"",
            &intact[..10],
            &intact[..intact.len() - 1],
            &flipped,
            b"\x7fELF code",
        ];
        for bytes in spoiled {
            fs::write(&path, bytes).unwrap();
            assert_eq!(cache.get(&KEY), None);
            assert!(!path.exists(), "it is removed");
        }

        fs::write(&path, &intact).unwrap();
        fs::set_permissions(&path, fs::Permissions::from_mode(0o666)).unwrap();
        assert_eq!(cache.get(&KEY), None, "others could have written it");

        let elsewhere = cache.folder.join("elsewhere");
        fs::write(&elsewhere, &intact).unwrap();
        symlink(&elsewhere, &path).unwrap();
        assert_eq!(cache.get(&KEY), None, "a link is not followed");
        assert!(elsewhere.exists());
    }

    #[test]
    fn a_folder_that_others_may_enter_is_refused() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("open");
        fs::create_dir(&path).unwrap();
        fs::set_permissions(&path, fs::Permissions::from_mode(0o755)).unwrap();
        assert!(matches!(Cache::open(&path), Err(CacheError::Unsafe { .. })));
        let link = folder.path().join("link");
        fs::set_permissions(&path, fs::Permissions::from_mode(0o700)).unwrap();
        symlink(&path, &link).unwrap();
        assert!(matches!(Cache::open(&link), Err(CacheError::Unsafe { .. })));
        Cache::open(&path).unwrap();
    }

    #[test]
    fn the_oldest_entries_go_when_the_cache_is_full() {
        let (_folder, mut cache) = cache();
        cache.bytes_max = 2 * (HEADER_BYTES as u64 + 4);
        let keys: Vec<Key> = (0..3).map(|i| Key { digest: [i; 32], ..KEY }).collect();
        for (age, key) in keys.iter().enumerate() {
            cache.put(key, b"code");
            let file = File::open(cache.folder.join(key.file_name())).unwrap();
            let modified = std::time::UNIX_EPOCH + std::time::Duration::from_secs(age as u64 + 1);
            file.set_modified(modified).unwrap();
        }
        let there: Vec<bool> = keys.iter().map(|key| cache.contains(key)).collect();
        assert_eq!(there, [false, true, true]);
    }
}
