//! Writes one file, or parts.

mod committer;
mod output;
mod parts;
mod prepared;
mod single;
mod spooling;

use std::fs;
use std::path::Path;
use std::sync::Arc;

use async_trait::async_trait;

use wasmill_connector_api::config::{ConfigProblem, Folder};
use wasmill_connector_api::sink::{
    self, Chunk, Committer, CommitterContext, Prepared, SinkConnector, SinkContext, SinkDescription, Writers,
};
use wasmill_core::delivery::Delivery;
use wasmill_core::fault::Fault;
use wasmill_core::id::Epoch;

use crate::client::canonical_name;
use crate::config::{IfExists, SinkConfig};
use crate::error::{Error, reason};

use self::committer::{FileCommitter, PartsCommitter};
use self::parts::PartsWriter;
use self::single::SingleWriter;
use self::spooling::SpoolingWriter;

/// The sink connector `file`.
///
/// One file is written as rows come and can be read while it grows: after each flush it ends with a whole row. It is
/// durable when the job has ended. Parts are written under a name that begins with a dot and appear whole and durable,
/// by rename; `*` does not match what is not yet complete. Without checkpoints a job that runs again writes its output
/// again, in place of the old one unless `if-exists` says otherwise.
///
/// # What it guarantees
/// With checkpoints the best is exactly once:
///
/// * One file grows by whole epochs. An epoch's rows wait in the spool, and are written to their place in the file when
///   the epoch is complete; a reader may see the last epoch in part while it is written, and never a row that goes away.
///   Nobody else may write to the file: one that is longer or shorter than what was committed stops the job that goes on.
///   In a compressed file each epoch is a gzip member or a zstd frame.
/// * An epoch ends the part of each writer. Parts get their names when the epoch is complete; a reader may take a part
///   away as soon as it sees it. Numbers go on after a restart and may skip; one that was used does not come again.
///
/// With `delivery = "at-least-once"` rows are visible as without checkpoints, and durable with each epoch. When a job goes
/// on, one file is cut back to the end of the last complete epoch, since what followed is written again; parts that
/// appeared after it stay, so their rows come twice.
///
/// A job that goes back to an old checkpoint cuts the file back to where it ended then, and removes parts that came later.
///
/// `if-exists` counts when a job starts anew, not when it goes on.
pub struct Sink {
    /// Away while a thread works with it.
    writer: Option<Writer>,
}

enum Writer {
    Single(SingleWriter),
    Parts(Box<PartsWriter>),
}

impl SinkConnector for Sink {
    const NAME: &'static str = "file";
    type Config = SinkConfig;

    fn describe(config: &SinkConfig, folder: &Folder) -> Result<SinkDescription, Vec<ConfigProblem>> {
        let problems = problems(config, &folder.resolve(&config.path));
        if !problems.is_empty() {
            return Err(problems);
        }
        Ok(SinkDescription {
            writers: match config.parts {
                None => Writers::One,
                Some(_) => Writers::PerWorker,
            },
            target: target(config, folder),
            delivery: Delivery::ExactlyOnce,
            at_fresh_start: in_the_way(config, &folder.resolve(&config.path)),
        })
    }

    fn open(config: SinkConfig, context: SinkContext) -> Result<Box<dyn sink::Sink>, Fault> {
        let path = context.folder.resolve(&config.path);
        let writer = match (&config.parts, &context.spool) {
            (None, Some(spool)) if context.delivery > Delivery::AtLeastOnce => {
                let spool = Arc::clone(spool);
                return Ok(Box::new(SpoolingWriter::open(path, &config, context, spool)?));
            }
            (None, _) => Writer::Single(SingleWriter::open(path, &config, &context)?),
            (Some(parts), _) => Writer::Parts(Box::new(PartsWriter::open(path, &config, parts, context)?)),
        };
        Ok(Box::new(Self { writer: Some(writer) }))
    }

    fn committer(config: SinkConfig, context: CommitterContext) -> Result<Box<dyn Committer>, Fault> {
        let path = context.folder.resolve(&config.path);
        Ok(match config.parts {
            None => Box::new(FileCommitter {
                path,
                spool: context.spool,
            }),
            Some(_) => Box::new(PartsCommitter {
                folder: path,
                generation: context.generation,
                if_exists: config.if_exists,
            }),
        })
    }
}

/// What is there and must not be replaced.
fn in_the_way(config: &SinkConfig, path: &Path) -> Vec<ConfigProblem> {
    if config.if_exists != IfExists::Error {
        return Vec::new();
    }
    let found = match &config.parts {
        None if path.exists() => Ok(Some("is there already")),
        None => Ok(None),
        Some(_) => parts::numbers(path).map(|numbers| {
            numbers
                .iter()
                .any(|(_, number)| !number.temporary)
                .then_some("has parts already")
        }),
    };
    match found {
        Ok(None) => Vec::new(),
        Ok(Some(what)) => vec![
            ConfigProblem::at("path", format!("\"{}\" {what}", config.path))
                .help("move it away, or set `if-exists` to \"overwrite\" or \"append\""),
        ],
        Err(error) => vec![ConfigProblem::at("path", Fault::from(error).message)],
    }
}

fn problems(config: &SinkConfig, path: &Path) -> Vec<ConfigProblem> {
    if config.path.is_empty() {
        return vec![ConfigProblem::at("path", "the path is empty").help("path = \"output/rows.jsonl\"")];
    }
    let mut problems = Vec::new();
    let existing = fs::metadata(path).ok();
    match (&config.parts, &existing) {
        (None, Some(metadata)) if metadata.is_dir() => problems.push(
            ConfigProblem::at("path", format!("\"{}\" is a folder", config.path))
                .help("name a file, or set `parts` to write files into the folder"),
        ),
        (Some(_), Some(metadata)) if !metadata.is_dir() => problems.push(
            ConfigProblem::at("path", format!("\"{}\" is not a folder", config.path))
                .help("with `parts`, `path` is the folder of the parts"),
        ),
        _ => {}
    }
    // The nearest folder on the way that is there decides whether the others can be made.
    if let Some(blocking) = path
        .ancestors()
        .skip(1)
        .find(|folder| folder.symlink_metadata().is_ok())
        && let Err(error) = fs::read_dir(blocking)
    {
        let message = format!("cannot write into {}: {}", blocking.display(), reason(&error));
        problems.push(ConfigProblem::at("path", message));
    }
    if let Some(parts) = &config.parts {
        let extension = parts.extension.as_deref().unwrap_or("x");
        if extension.is_empty() || extension.starts_with('.') || extension.contains(['/', '\0']) {
            problems.push(
                ConfigProblem::at("parts", format!("\"{extension}\" cannot end a file's name"))
                    .help("write it without the dot: extension = \"jsonl\""),
            );
        }
    }
    problems
}

/// The path by the one name that the file has, also where links lead to it.
fn target(config: &SinkConfig, folder: &Folder) -> String {
    let path = folder.resolve(&config.path);
    canonical_name(folder, &path).unwrap_or_else(|_| path.display().to_string())
}

impl Sink {
    /// Lets a blocking thread work with the writer.
    async fn work<T: Send + 'static>(
        &mut self,
        job: impl FnOnce(&mut Writer) -> Result<T, Error> + Send + 'static,
    ) -> Result<T, Fault> {
        let mut writer = self.writer.take().ok_or(Error::Panicked)?;
        let (writer, done) = tokio::task::spawn_blocking(move || {
            let done = job(&mut writer);
            (writer, done)
        })
        .await
        .map_err(|_| Error::Panicked)?;
        self.writer = Some(writer);
        Ok(done?)
    }
}

#[async_trait]
impl sink::Sink for Sink {
    async fn write(&mut self, chunk: Chunk) -> Result<(), Fault> {
        self.work(move |writer| match writer {
            Writer::Single(writer) => writer.write(&chunk.bytes),
            Writer::Parts(writer) => writer.write(&chunk),
        })
        .await
    }

    async fn flush(&mut self) -> Result<(), Fault> {
        self.work(|writer| match writer {
            Writer::Single(writer) => writer.flush(),
            Writer::Parts(writer) => writer.flush(),
        })
        .await
    }

    async fn prepare(&mut self, _epoch: Epoch) -> Result<Prepared, Fault> {
        self.work(|writer| match writer {
            Writer::Single(writer) => writer.prepare(),
            Writer::Parts(writer) => writer.prepare(),
        })
        .await
    }

    async fn finish(&mut self) -> Result<(), Fault> {
        self.work(|writer| match writer {
            Writer::Single(writer) => writer.finish(),
            Writer::Parts(writer) => writer.finish(),
        })
        .await
    }
}
