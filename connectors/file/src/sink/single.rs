//! One file that grows as rows come.
//!
//! With checkpoints (at least once) each epoch ends with its rows durable, and a compressed file gets a gzip member or a
//! zstd frame for each; where the file ended then is what a checkpoint remembers.

use std::fs::{File, OpenOptions};
use std::io::ErrorKind;
use std::path::{Path, PathBuf};

use bytes::Bytes;

use wasmill_connector_api::sink::{Prepared, SinkContext, Start};

use crate::client::{create_folder, sync_folder};
use crate::config::{Compression, IfExists, SinkConfig};
use crate::error::Error;

use super::output::Output;
use super::prepared::{FileEnd, What};

/// Writes one file.
pub(super) struct SingleWriter {
    path: PathBuf,
    compression: Compression,
    file: File,
    /// Begun with the first bytes of an epoch.
    output: Option<Output<File>>,
}

impl SingleWriter {
    pub(super) fn open(path: PathBuf, config: &SinkConfig, context: &SinkContext) -> Result<Self, Error> {
        let file = open_output(&path, config.if_exists, &context.start)?;
        let empty = file.metadata().map_err(Error::io("look at", &path))?.len() == 0;
        let mut writer = Self {
            compression: by_name(config.compression, &path),
            path,
            file,
            output: None,
        };
        writer.output()?;
        if empty {
            writer.write(&context.prologue)?;
        }
        Ok(writer)
    }

    pub(super) fn write(&mut self, bytes: &Bytes) -> Result<(), Error> {
        if bytes.is_empty() {
            return Ok(());
        }
        let written = self.output()?.write(bytes);
        written.map_err(Error::io("write", &self.path))
    }

    pub(super) fn flush(&mut self) -> Result<(), Error> {
        match &mut self.output {
            Some(output) => output.flush().map_err(Error::io("write", &self.path)),
            None => Ok(()),
        }
    }

    /// Makes the epoch's rows durable.
    pub(super) fn prepare(&mut self) -> Result<Prepared, Error> {
        self.finish()?;
        let offset = self.file.metadata().map_err(Error::io("look at", &self.path))?.len();
        let end = FileEnd {
            offset,
            spooled: None,
            direct: true,
        };
        Ok(What::File(end).prepared())
    }

    pub(super) fn finish(&mut self) -> Result<(), Error> {
        if let Some(output) = self.output.take() {
            output.finish().map_err(Error::io("finish", &self.path))?;
        }
        self.file.sync_all().map_err(Error::io("finish", &self.path))?;
        sync_folder(&self.path)
    }

    fn output(&mut self) -> Result<&mut Output<File>, Error> {
        if self.output.is_none() {
            let file = self.file.try_clone().map_err(Error::io("open", &self.path))?;
            self.output = Some(Output::new(file, self.compression).map_err(Error::io("write", &self.path))?);
        }
        Ok(self.output.as_mut().expect("it was begun"))
    }
}

/// Opens the file so that it is appended to, after what `if-exists` says of one that is there at a fresh start.
///
/// # Errors
/// The file is there and must not be, or cannot be made or opened.
pub(super) fn open_output(path: &Path, if_exists: IfExists, start: &Start) -> Result<File, Error> {
    if let Some(folder) = path.parent() {
        create_folder(folder)?;
    }
    let mut options = OpenOptions::new();
    match (if_exists, start) {
        (_, Start::Resumed(prepared)) if !prepared.is_empty() => {}
        (IfExists::Overwrite, _) => {
            // Appending and emptying cannot be asked for at once.
            let emptied = OpenOptions::new().write(true).create(true).truncate(true).open(path);
            emptied.map_err(Error::io("create", path))?;
        }
        (IfExists::Error, Start::Fresh) => {
            options.create_new(true);
        }
        (IfExists::Append | IfExists::Error, _) => {}
    }
    options
        .append(true)
        .create(true)
        .open(path)
        .map_err(|source| match source.kind() {
            ErrorKind::AlreadyExists => Error::Exists { path: path.to_owned() },
            _ => Error::io("create", path)(source),
        })
}

/// The compression that a file's name asks for.
pub(super) fn by_name(compression: Compression, path: &Path) -> Compression {
    let extension = path.extension().and_then(|extension| extension.to_str());
    match (compression, extension) {
        (Compression::Auto, Some("gz")) => Compression::Gzip,
        (Compression::Auto, Some("zst")) => Compression::Zstd,
        (Compression::Auto, _) => Compression::None,
        (known, _) => known,
    }
}
