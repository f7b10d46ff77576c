//! The repository: where it is, and what files it has.

use std::{
    fs,
    path::{Path, PathBuf},
};

use crate::{Failure, command::Program, tidy::File};

/// Beyond this a file is data, which the rules do not speak of.
const TEXT_BYTES_MAX: u64 = 1 << 20;

/// A clone of the repository.
pub(crate) struct Repository {
    root: PathBuf,
}

impl Repository {
    /// The one that the working directory lies in.
    pub(crate) fn find() -> Result<Self, Failure> {
        let here = std::env::current_dir().map_err(Failure::io("find", Path::new("the working directory")))?;
        let root = here
            .ancestors()
            .find(|folder| folder.join("xtask/Cargo.toml").is_file());
        let root =
            root.ok_or_else(|| Failure::new("the working directory is outside of the repository: change into it"))?;
        Ok(Self { root: root.to_owned() })
    }

    /// A path in it.
    pub(crate) fn path(&self, relative: &str) -> PathBuf {
        self.root.join(relative)
    }

    /// A program that runs in its root.
    pub(crate) fn program(&self, name: &str) -> Program {
        Program::new(name).within(&self.root)
    }

    /// Cargo in its root.
    pub(crate) fn cargo<const N: usize>(&self, arguments: [&str; N]) -> Program {
        self.program("cargo").with(arguments)
    }

    /// The files that are, or would be, under version control, with their texts.
    pub(crate) fn files(&self) -> Result<Vec<File>, Failure> {
        let listed = self
            .program("git")
            .with(["ls-files", "--cached", "--others", "--exclude-standard", "-z"])
            .output()?;
        let mut files = Vec::new();
        for path in listed.split('\0').filter(|path| !path.is_empty()) {
            let place = self.path(path);
            // A file may be listed and deleted, and a link is checked where it leads.
            let Ok(metadata) = fs::symlink_metadata(&place) else {
                continue;
            };
            let readable = metadata.is_file() && metadata.len() <= TEXT_BYTES_MAX;
            let bytes = if readable {
                fs::read(&place).map_err(Failure::io("read", &place))?
            } else {
                Vec::new()
            };
            files.push(File {
                path: path.to_owned(),
                text: String::from_utf8(bytes).unwrap_or_default(),
            });
        }
        files.sort_by(|a, b| a.path.cmp(&b.path));
        Ok(files)
    }
}
