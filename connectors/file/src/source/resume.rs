//! Finds the file again in which a checkpoint goes on: under its name, or, where it is followed, under the name that it
//! was given when another one took its place.
//!
//! A file is the same if it begins with the same bytes ([`Head`]) and is long enough. The inode only says where to look
//! first: a copy is as good, and an inode is given to another file when its own is removed.

use std::fs::{self, File, Metadata};
use std::io::ErrorKind;
use std::path::{Path, PathBuf};
use std::time::SystemTime;

use bytes::Bytes;
use serde::{Deserialize, Serialize};

use crate::client::{Head, Identity, identity};
use crate::error::Error;

/// What a checkpoint remembers of a file beside a position in it.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case", deny_unknown_fields)]
pub(super) struct Note {
    /// The file's name.
    pub(super) file: String,
    /// Its inode.
    pub(super) inode: u64,
    /// The position of its first byte.
    pub(super) base: u64,
    /// How it begins.
    pub(super) head: Head,
}

impl Note {
    pub(super) fn to_bytes(&self) -> Bytes {
        serde_json::to_vec(self).expect("a note is plain data").into()
    }

    /// # Errors
    /// The bytes are not a note of this connector.
    pub(super) fn from_bytes(bytes: &[u8], path: &Path) -> Result<Self, Error> {
        serde_json::from_slice(bytes).map_err(|source| Error::Note {
            path: path.to_owned(),
            source,
        })
    }
}

/// Where the content is that a checkpoint goes on in.
pub(super) enum Located {
    /// In the file of that name.
    Here(File),
    /// In a file that was renamed since.
    Renamed(PathBuf, File),
    /// Nowhere any more: the file was cut, and is read from its beginning.
    Cut(File),
}

/// Looks for the file of a note, which is known by `path`.
///
/// # Errors
/// It is not there, or what is there is another file.
pub(super) fn locate(path: &Path, note: &Note, follow: bool) -> Result<Located, Error> {
    let here = match File::open(path) {
        Ok(file) => {
            let metadata = file.metadata().map_err(Error::io("look at", path))?;
            let same = Head::of(&file, note.head.bytes()).map_err(Error::io("read", path))? == note.head;
            Some((file, identity(&metadata).inode() == note.inode, same))
        }
        Err(error) if error.kind() == ErrorKind::NotFound => None,
        Err(error) => return Err(Error::io("open", path)(error)),
    };
    let here = match here {
        Some((file, true, true)) => return Ok(Located::Here(file)),
        here => here,
    };
    if follow && let Some((renamed, file)) = find_renamed(path, note)? {
        return Ok(Located::Renamed(renamed, file));
    }
    match here {
        Some((file, false, true)) => Ok(Located::Here(file)),
        Some((file, true, false)) if follow => Ok(Located::Cut(file)),
        Some(_) => Err(Error::Changed { path: path.to_owned() }),
        None => Err(Error::Gone { path: path.to_owned() }),
    }
}

/// The file of a note under another name in the same folder.
fn find_renamed(path: &Path, note: &Note) -> Result<Option<(PathBuf, File)>, Error> {
    for (other, metadata) in neighbours(path)? {
        if identity(&metadata).inode() != note.inode {
            continue;
        }
        let file = File::open(&other).map_err(Error::io("open", &other))?;
        if Head::of(&file, note.head.bytes()).map_err(Error::io("read", &other))? == note.head {
            return Ok(Some((other, file)));
        }
    }
    Ok(None)
}

/// The file that had the name of `path` next after the one with `before`, if by now it has another one: it is called
/// like it, with a number or a time behind, and of those that were last written to later it is the first. `passed` were
/// read already.
///
/// # Errors
/// The folder cannot be read.
pub(super) fn next_after(
    path: &Path,
    before: &Metadata,
    passed: &[(Identity, SystemTime)],
) -> Result<Option<(PathBuf, File)>, Error> {
    let name = path.file_name().unwrap_or_default().to_string_lossy().into_owned();
    loop {
        let next = neighbours(path)?
            .into_iter()
            .filter(|(other, metadata)| {
                let other = other.file_name().unwrap_or_default().to_string_lossy();
                let is_later = modified(metadata) >= modified(before);
                let was_read = passed.contains(&(identity(metadata), modified(metadata)));
                other.strip_prefix(&name).is_some_and(is_number_or_time) && is_later && !was_read
            })
            .min_by_key(|(other, metadata)| (modified(metadata), other.clone()));
        let Some((other, metadata)) = next else { return Ok(None) };
        match File::open(&other) {
            Ok(file) => {
                let opened = file.metadata().map_err(Error::io("look at", &other))?;
                // If it was renamed in between, it is looked for again.
                if identity(&opened) == identity(&metadata) {
                    return Ok(Some((other, file)));
                }
            }
            Err(error) if error.kind() == ErrorKind::NotFound => {}
            Err(error) => return Err(Error::io("open", &other)(error)),
        }
    }
}

/// What a renamed file has behind its name: `.1`, `-20260101`, `.2026-01-01T10`.
fn is_number_or_time(behind: &str) -> bool {
    behind.starts_with(['.', '-', '_'])
        && behind.contains(|letter: char| letter.is_ascii_digit())
        && behind
            .chars()
            .all(|letter| letter.is_ascii_digit() || ".-_:TZ".contains(letter))
}

/// When a file was last written to.
pub(super) fn modified(metadata: &Metadata) -> SystemTime {
    metadata.modified().unwrap_or(SystemTime::UNIX_EPOCH)
}

/// The other regular files in the folder of `path`.
fn neighbours(path: &Path) -> Result<Vec<(PathBuf, Metadata)>, Error> {
    let folder = path.parent().unwrap_or(Path::new("/"));
    let entries = match fs::read_dir(folder) {
        Err(error) if error.kind() == ErrorKind::NotFound => return Ok(Vec::new()),
        entries => entries.map_err(Error::io("read the folder", folder))?,
    };
    let mut files = Vec::new();
    for entry in entries {
        let entry = entry.map_err(Error::io("read the folder", folder))?;
        // A file that is gone by now is none.
        if let Ok(metadata) = entry.metadata()
            && metadata.is_file()
            && entry.path() != path
        {
            files.push((entry.path(), metadata));
        }
    }
    Ok(files)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_renamed_file_has_a_number_or_a_time_behind_its_name() {
        for behind in [".1", ".12", "-20260101", ".2026-01-01T10:00Z", "_3"] {
            assert!(is_number_or_time(behind), "{behind}");
        }
        for behind in ["", ".", "1", ".gz", ".1.gz", ".md5", "-errors", ".swp"] {
            assert!(!is_number_or_time(behind), "{behind}");
        }
    }
}
