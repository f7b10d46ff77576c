//! Where test files are.

use std::io;
use std::path::{Path, PathBuf};

/// What the name of a test file ends with.
const ENDING: &str = ".test.toml";
/// A name of a test file.
const EXAMPLE: &str = "topology.test.toml";
/// Folders in which nobody keeps tests.
const SKIPPED: [&str; 2] = ["target", "node_modules"];

/// The test files that are named, and those in the folders that are named, by path; of the current folder where none is.
///
/// # Errors
/// Something that is named is not there, a folder cannot be read, or no test file is there.
pub(crate) fn files(paths: &[PathBuf]) -> io::Result<Vec<PathBuf>> {
    let here = [PathBuf::from(".")];
    let paths = if paths.is_empty() { &here } else { paths };
    let mut files = Vec::new();
    for path in paths {
        let named = |error: io::Error| io::Error::new(error.kind(), format!("{}: {error}", path.display()));
        if path.metadata().map_err(named)?.is_dir() {
            let shown = path.strip_prefix(".").unwrap_or(path);
            search(shown, &mut files).map_err(named)?;
        } else {
            files.push(path.clone());
        }
    }
    if files.is_empty() {
        let folders: Vec<String> = paths.iter().map(|path| path.display().to_string()).collect();
        let message = format!(
            "no test file was found in {}: the name of a test file ends with {ENDING}, as in {EXAMPLE}",
            folders.join(", ")
        );
        return Err(io::Error::new(io::ErrorKind::NotFound, message));
    }
    files.sort();
    files.dedup();
    Ok(files)
}

fn search(folder: &Path, files: &mut Vec<PathBuf>) -> io::Result<()> {
    let read = if folder.as_os_str().is_empty() {
        Path::new(".")
    } else {
        folder
    };
    for entry in std::fs::read_dir(read)? {
        let entry = entry?;
        let name = entry.file_name();
        let name = name.to_string_lossy();
        let path = folder.join(&*name);
        // A link to a folder may lead in a circle.
        if entry.file_type()?.is_dir() {
            if !name.starts_with('.') && !SKIPPED.contains(&&*name) {
                search(&path, files)?;
            }
        } else if name.ends_with(ENDING) {
            files.push(path);
        }
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn files_are_found_in_folders_but_not_in_those_of_builds() {
        let folder = tempfile::tempdir().unwrap();
        for file in [
            "a.test.toml",
            "b/c.test.toml",
            "b/topology.toml",
            "target/d.test.toml",
            ".git/e.test.toml",
        ] {
            let path = folder.path().join(file);
            std::fs::create_dir_all(path.parent().unwrap()).unwrap();
            std::fs::write(path, "").unwrap();
        }
        let found = files(&[folder.path().to_owned()]).unwrap();
        let found: Vec<_> = found
            .iter()
            .map(|file| file.strip_prefix(folder.path()).unwrap())
            .collect();
        assert_eq!(found, [Path::new("a.test.toml"), Path::new("b/c.test.toml")]);
        assert!(files(&[folder.path().join("none")]).is_err());
        std::fs::create_dir(folder.path().join("empty")).unwrap();
        let empty = files(&[folder.path().join("empty")]).unwrap_err();
        assert!(empty.to_string().contains("ends with .test.toml"), "{empty}");
    }
}
