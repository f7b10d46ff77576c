//! One file that grows.

use std::fs::OpenOptions;
use std::io::ErrorKind;
use std::path::{Path, PathBuf};

use crate::client::{create_folder, sync_folder};
use crate::config::{Compression, IfExists, SinkConfig};
use crate::error::Error;

use super::output::Output;

/// Writes one file.
pub(super) struct SingleWriter {
    path: PathBuf,
    /// Gone once the file is finished.
    output: Option<Output>,
}

impl SingleWriter {
    pub(super) fn open(path: PathBuf, config: &SinkConfig, prologue: &[u8]) -> Result<Self, Error> {
        if let Some(folder) = path.parent() {
            create_folder(folder)?;
        }
        let mut options = OpenOptions::new();
        match config.if_exists {
            IfExists::Overwrite => options.write(true).create(true).truncate(true),
            IfExists::Append => options.append(true).create(true),
            IfExists::Error => options.write(true).create_new(true),
        };
        let file = options.open(&path).map_err(|source| match source.kind() {
            ErrorKind::AlreadyExists if config.if_exists == IfExists::Error => Error::Exists { path: path.clone() },
            _ => Error::io("create", &path)(source),
        })?;
        let empty = file.metadata().map_err(Error::io("look at", &path))?.len() == 0;
        let output = Output::new(file, by_name(config.compression, &path)).map_err(Error::io("write", &path))?;
        let mut writer = Self {
            path,
            output: Some(output),
        };
        if empty {
            writer.write(prologue)?;
        }
        Ok(writer)
    }

    pub(super) fn write(&mut self, bytes: &[u8]) -> Result<(), Error> {
        let output = self.output.as_mut().expect("nothing is written after the end");
        output.write(bytes).map_err(Error::io("write", &self.path))
    }

    pub(super) fn flush(&mut self) -> Result<(), Error> {
        let output = self.output.as_mut().expect("nothing is flushed after the end");
        output.flush().map_err(Error::io("write", &self.path))
    }

    /// Makes what was written durable.
    pub(super) fn sync(&mut self) -> Result<(), Error> {
        let output = self.output.as_mut().expect("nothing is prepared after the end");
        output.sync().map_err(Error::io("sync", &self.path))?;
        sync_folder(&self.path)
    }

    pub(super) fn finish(&mut self) -> Result<(), Error> {
        let output = self.output.take().expect("a file ends once");
        output.finish().map_err(Error::io("finish", &self.path))?;
        sync_folder(&self.path)
    }
}

/// The compression that a file's name asks for.
fn by_name(compression: Compression, path: &Path) -> Compression {
    let extension = path.extension().and_then(|extension| extension.to_str());
    match (compression, extension) {
        (Compression::Auto, Some("gz")) => Compression::Gzip,
        (Compression::Auto, Some("zst")) => Compression::Zstd,
        (Compression::Auto, _) => Compression::None,
        (known, _) => known,
    }
}
