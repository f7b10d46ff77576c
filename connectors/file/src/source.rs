//! Reads files: each a partition, or all of them one.

mod files;
mod open;
mod paths;
mod reader;
mod resume;

use std::collections::BTreeSet;
use std::fs::File;
use std::sync::Arc;

use async_trait::async_trait;
use bytes::Bytes;

use wasmill_connector_api::config::{ConfigProblem, Folder};
use wasmill_connector_api::source::{
    self, Discovery, Metadata, PartitionReader, Replay, Resume, SourceConnector, SourceContext, SourceDescription,
    Yields,
};
use wasmill_core::fault::{Domain, Fault};
use wasmill_core::id::PartitionName;
use wasmill_core::schema::DataType;
use wasmill_core::time::Micros;

use crate::client::{Found, Head, canonical_name, find, find_all, identity};
use crate::config::{Files, SourceConfig};
use crate::error::Error;

use self::files::{FileList, Known};
use self::paths::{is_one_file, path_problems};
use self::reader::{Reader, Work};

/// The source connector `file`.
///
/// A partition's name is the file's path from the folder of the topology on; that of a sequence is its `path`. A
/// position is a byte of a file's content, counted from 0 after decompression; in a sequence the file's number stands
/// above the 40 bits of it. Where a followed file is replaced or cut, positions go on from the last one of the content
/// before.
///
/// # What it guarantees
/// It can be read again from any position, as long as the files are there. A checkpoint remembers of a file its name, its
/// inode and how it begins (the hash of its first 4 KiB); so a file that was copied or restored is known again, and one
/// that is gone, was changed or became shorter stops the job. Compressed files are decompressed again up to the position.
///
/// While the job is up or down, a followed file (not one of a sequence) may be
///
/// * renamed: it is read to its end, then those that had its name meanwhile, then the one that has it at present. It is
///   looked for in its folder, by its inode; those in between by names that add a number or a time (`app.log.1`,
///   `app.log-20260101`), in the order in which they were last written. A pattern must not match the names of both. What
///   a program still appends to a renamed file after the one that took its place was found is not read.
/// * cut: it is read from its beginning, with a warning, since what had not been read of it is lost. A file that was cut
///   and has grown beyond what was read of it is only known after a restart.
///
/// A renamed, replaced or cut file ends the stream of bytes: another header may follow, lines count from 1, and a last
/// line without an end counts as whole. Of a sequence, files that were read to their end may be removed; those that appear
/// must come last, as ever.
#[derive(Debug)]
pub struct Source {
    config: SourceConfig,
    context: SourceContext,
    known: Arc<Known>,
    /// The names of partitions that were reported or opened, or of the files of the sequence.
    names: BTreeSet<String>,
    /// Whether the sequence was reported or opened.
    sequence_reported: bool,
}

const METADATA: &[Metadata] = &[Metadata {
    key: "file",
    data_type: DataType::Utf8,
    nullable: false,
    about: "the path of the file, from the folder of the topology on",
}];

const DISCOVER_EVERY_DEFAULT: Micros = Micros::SECOND;

impl SourceConnector for Source {
    const NAME: &'static str = "file";
    type Config = SourceConfig;

    fn describe(config: &SourceConfig, folder: &Folder) -> Result<SourceDescription, Vec<ConfigProblem>> {
        let mut problems = path_problems(config, folder);
        if config.discover_every.is_some() && !config.follow {
            problems.push(
                ConfigProblem::at("discover-every", "does nothing: no file is looked for after the start")
                    .help("set `follow = true`, or leave the key out"),
            );
        }
        if !problems.is_empty() {
            return Err(problems);
        }
        let reads = find(folder, &config.path.0)
            .and_then(|found| found.iter().map(|file| canonical_name(folder, &file.path)).collect())
            .map_err(|error| vec![ConfigProblem::at("path", Fault::from(error).message)])?;
        let appearing = config.follow && config.files == Files::Parallel;
        Ok(SourceDescription {
            yields: Yields::Bytes,
            metadata: METADATA,
            bounded: !config.follow,
            one_partition: config.files == Files::Sequence || is_one_file(&config.path.0, folder),
            discover_every: config.discover_every.unwrap_or(DISCOVER_EVERY_DEFAULT),
            replay: Replay::Replayable,
            irreproducible: appearing.then(|| {
                "files that appear later join when they are found; `files = \"sequence\"` fixes their order".to_owned()
            }),
            reads,
        })
    }

    fn open(config: SourceConfig, context: SourceContext) -> Result<Box<dyn source::Source>, Fault> {
        Ok(Box::new(Self {
            config,
            context,
            known: Arc::default(),
            names: BTreeSet::new(),
            sequence_reported: false,
        }))
    }
}

#[async_trait]
impl source::Source for Source {
    async fn discover(&mut self) -> Result<Discovery, Fault> {
        let folder = self.context.folder.clone();
        let patterns = self.config.path.0.clone();
        let all_there = !self.config.follow;
        let (known, names) = (Arc::clone(&self.known), self.names.clone());
        let look = move || {
            let mut found = if all_there {
                find_all(&folder, &patterns)?
            } else {
                find(&folder, &patterns)?
            };
            found.retain(|file| !names.contains(&file.name));
            refuse_renamed(&found, &known)?;
            Ok::<_, Error>(found)
        };
        let new = tokio::task::spawn_blocking(look).await.map_err(|_| Error::Panicked)??;
        let partitions = match self.config.files {
            Files::Parallel => {
                self.known.extend(&new);
                new.iter().map(|file| PartitionName::new(file.name.as_str())).collect()
            }
            Files::Sequence => {
                self.known.extend_sequence(&new)?;
                let there = !new.is_empty() || !self.config.follow;
                let appears = there && !self.sequence_reported;
                self.sequence_reported |= appears;
                appears.then(|| self.sequence_name()).into_iter().collect()
            }
        };
        self.names.extend(new.into_iter().map(|file| file.name));
        Ok(Discovery {
            partitions,
            complete: !self.config.follow,
        })
    }

    async fn open(
        &mut self,
        partition: &PartitionName,
        from: Option<&Resume>,
    ) -> Result<Box<dyn PartitionReader>, Fault> {
        let unknown = || Fault::fatal(Domain::Internal, format!("no partition {partition} was reported"));
        let files = match self.config.files {
            Files::Sequence if *partition == self.sequence_name() => {
                self.sequence_reported = true;
                FileList::Sequence
            }
            Files::Parallel if self.names.contains(partition.as_str()) || from.is_some() => {
                self.names.insert(partition.as_str().to_owned());
                let found = self.known.find(partition.as_str());
                FileList::One(found.and_then(|at| self.known.get(at)).unwrap_or_else(|| Found {
                    name: partition.as_str().to_owned(),
                    path: self.context.folder.resolve(partition.as_str()),
                }))
            }
            Files::Sequence | Files::Parallel => return Err(unknown()),
        };
        let work = Work {
            config: self.config.clone(),
            folder: self.context.folder.clone(),
            file_column: self.context.metadata.iter().map(|key| key == "file").collect(),
            known: Arc::clone(&self.known),
            files,
            from: from.cloned(),
            number: 0,
            gone: 0,
            base: 0,
            before: None,
            passed: Vec::new(),
            open: None,
            note: Bytes::new(),
        };
        Ok(Box::new(Reader::new(work, from)))
    }
}

/// A file that was renamed while it was followed must not be read again under its new name.
fn refuse_renamed(found: &[Found], known: &Known) -> Result<(), Error> {
    for file in found {
        // A file that is gone by now is missed by whoever opens it.
        let Ok(opened) = File::open(&file.path) else { continue };
        let Ok(metadata) = opened.metadata() else { continue };
        let Some((name, head)) = known.opened_as(identity(&metadata)) else {
            continue;
        };
        let same = Head::of(&opened, head.bytes()).map_err(Error::io("read", &file.path))? == head;
        if same && name != file.name {
            return Err(Error::ReadTwice {
                found: file.name.clone(),
                name,
            });
        }
    }
    Ok(())
}

impl Source {
    fn sequence_name(&self) -> PartitionName {
        PartitionName::new(self.config.path.0.join(" "))
    }
}
