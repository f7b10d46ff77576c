//! Writes one file, or parts.

mod output;
mod parts;
mod single;

use std::fs;
use std::path::Path;

use async_trait::async_trait;

use wasmill_connector_api::config::{ConfigProblem, Folder};
use wasmill_connector_api::sink::{
    self, Chunk, Committer, CommitterContext, NoCommits, Prepared, SinkConnector, SinkContext, SinkDescription, Writers,
};
use wasmill_core::delivery::Delivery;
use wasmill_core::fault::Fault;
use wasmill_core::id::Epoch;

use crate::client::canonical_name;
use crate::config::{IfExists, SinkConfig};
use crate::error::{Error, reason};

use self::parts::PartsWriter;
use self::single::SingleWriter;

/// The sink connector `file`.
///
/// One file is written as rows come and can be read while it grows: after each flush it ends with a whole row. It is
/// durable when the job has ended. Parts are written under a name that begins with a dot and appear whole and durable,
/// by rename; `*` does not match what is not yet complete. Delivery is at least once: a job that runs again writes its
/// output again, in place of the old one unless `if-exists` says otherwise.
pub struct Sink {
    /// Away while a thread works with it.
    writer: Option<Writer>,
}

enum Writer {
    Single(SingleWriter),
    Parts(PartsWriter),
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
            delivery: Delivery::AtLeastOnce,
        })
    }

    fn open(config: SinkConfig, context: SinkContext) -> Result<Box<dyn sink::Sink>, Fault> {
        let path = context.folder.resolve(&config.path);
        let writer = match &config.parts {
            None => Writer::Single(SingleWriter::open(path, &config, &context.prologue)?),
            Some(parts) => Writer::Parts(PartsWriter::open(path, &config, parts, context)?),
        };
        Ok(Box::new(Self { writer: Some(writer) }))
    }

    fn committer(_config: SinkConfig, _context: CommitterContext) -> Result<Box<dyn Committer>, Fault> {
        Ok(Box::new(NoCommits))
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
        (None, Some(_)) if config.if_exists == IfExists::Error => problems.push(
            ConfigProblem::at("path", format!("\"{}\" is there already", config.path))
                .help("move it away, or set `if-exists` to \"overwrite\" or \"append\""),
        ),
        (Some(_), Some(_)) if config.if_exists == IfExists::Error => match parts::numbers(path) {
            Ok(numbers) if numbers.is_empty() => {}
            Ok(_) => problems.push(
                ConfigProblem::at("path", format!("\"{}\" has parts already", config.path))
                    .help("move them away, or set `if-exists` to \"overwrite\" or \"append\""),
            ),
            Err(error) => problems.push(ConfigProblem::at("path", Fault::from(error).message)),
        },
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
    async fn work(&mut self, job: impl FnOnce(&mut Writer) -> Result<(), Error> + Send + 'static) -> Result<(), Fault> {
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
            Writer::Single(writer) => writer.sync(),
            Writer::Parts(writer) => writer.finish(),
        })
        .await?;
        Ok(Prepared::default())
    }

    async fn finish(&mut self) -> Result<(), Fault> {
        self.work(|writer| match writer {
            Writer::Single(writer) => writer.finish(),
            Writer::Parts(writer) => writer.finish(),
        })
        .await
    }
}
