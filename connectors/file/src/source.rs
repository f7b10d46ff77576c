//! Reads files: each a partition, or all of them one.

use std::collections::BTreeSet;
use std::fs::{self, File};
use std::io::{ErrorKind, Read as _};
use std::sync::{Arc, Mutex, PoisonError};

use async_trait::async_trait;
use bytes::Bytes;
use tokio::task::JoinHandle;

use wasmill_connector_api::config::{ConfigProblem, Folder, Step};
use wasmill_connector_api::source::{
    self, Discovery, Metadata, PartitionReader, Payload, Read, Replay, Resume, SourceConnector, SourceContext,
    SourceDescription, Yields,
};
use wasmill_core::column::Scalar;
use wasmill_core::fault::{Domain, Fault};
use wasmill_core::id::PartitionName;
use wasmill_core::schema::DataType;
use wasmill_core::time::Micros;

use crate::client::{Content, Found, Identity, Pattern, canonical_name, find, find_all, identity};
use crate::config::{Files, SourceConfig};
use crate::error::{Error, reason};

/// The source connector `file`.
///
/// A partition's name is the file's path from the folder of the topology on; that of a sequence is its `path`. A
/// position is a byte of a file's content, counted from 0 after decompression; in a sequence the file's number stands
/// above the 40 bits of it. The source can be read again as long as the files are there.
#[derive(Debug)]
pub struct Source {
    config: SourceConfig,
    context: SourceContext,
    /// The files of partitions that were reported, or of the sequence.
    known: Vec<Found>,
    known_names: BTreeSet<String>,
    sequence: Option<Arc<Sequence>>,
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
        let sequence = (config.files == Files::Sequence).then(Arc::default);
        Ok(Box::new(Self {
            config,
            context,
            known: Vec::new(),
            known_names: BTreeSet::new(),
            sequence,
        }))
    }
}

/// Whether the paths can never be those of several files.
fn is_one_file(paths: &[String], folder: &Folder) -> bool {
    matches!(paths, [path] if matches!(Pattern::new(folder, path), Ok(Pattern::Literal(_))))
}

fn path_problems(config: &SourceConfig, folder: &Folder) -> Vec<ConfigProblem> {
    let paths = &config.path.0;
    if paths.is_empty() {
        return vec![ConfigProblem::at("path", "the list is empty").help("path = \"input/*.csv\"")];
    }
    let problems = paths.iter().enumerate().filter_map(|(index, text)| {
        let mut problem = path_problem(config, folder, text)?;
        if paths.len() > 1 {
            problem.path.push(Step::Index(index));
        }
        Some(problem)
    });
    problems.collect()
}

fn path_problem(config: &SourceConfig, folder: &Folder, text: &str) -> Option<ConfigProblem> {
    let problem = |message: String| ConfigProblem::at("path", message);
    if text.is_empty() {
        return Some(problem("the path is empty".to_owned()));
    }
    match Pattern::new(folder, text) {
        Err(error) => Some(problem(format!("\"{text}\" is not a pattern: {}", error.msg))),
        Ok(Pattern::Literal(path)) => match fs::metadata(&path) {
            Ok(metadata) if metadata.is_dir() => {
                let all = text.trim_end_matches('/');
                Some(problem(format!("\"{text}\" is a folder")).help(format!("for the files in it: \"{all}/*\"")))
            }
            Err(error) if error.kind() == ErrorKind::NotFound && config.follow => None,
            Err(error) if error.kind() == ErrorKind::NotFound => {
                Some(problem(format!("there is no file \"{text}\"")).help(missing_help(folder, &path)))
            }
            Err(error) => Some(problem(format!("cannot look at \"{text}\": {}", reason(&error)))),
            Ok(metadata) if !metadata.is_file() => Some(
                problem(format!("\"{text}\" is not a regular file"))
                    .help("a pipe or a device cannot be read again from a position; write what it gives into a file"),
            ),
            Ok(_) => None,
        },
        Ok(Pattern::Glob(_)) if config.follow => None,
        Ok(Pattern::Glob(_)) => match find(folder, &[text.to_owned()]) {
            Ok(found) if found.is_empty() => {
                let path = folder.resolve(text);
                Some(problem(format!("no file matches \"{text}\"")).help(missing_help(folder, &path)))
            }
            Ok(_) => None,
            Err(error) => Some(problem(Fault::from(error).message)),
        },
    }
}

/// What stands where the file should be.
fn missing_help(folder: &Folder, path: &std::path::Path) -> String {
    const SHOWN_MAX: usize = 5;
    let parent = path.parent().unwrap_or(folder.path());
    let Ok(entries) = fs::read_dir(parent) else {
        return format!("the folder {} is not there", parent.display());
    };
    let mut names: Vec<String> = entries
        .filter_map(|entry| Some(entry.ok()?.file_name().to_string_lossy().into_owned()))
        .collect();
    names.sort_unstable();
    if names.is_empty() {
        return format!("the folder {} is empty", parent.display());
    }
    let more = names.len().saturating_sub(SHOWN_MAX);
    names.truncate(SHOWN_MAX);
    let tail = if more > 0 {
        format!(" and {more} more")
    } else {
        String::new()
    };
    format!("the folder {} has {}{tail}", parent.display(), names.join(", "))
}

#[async_trait]
impl source::Source for Source {
    async fn discover(&mut self) -> Result<Discovery, Fault> {
        let folder = self.context.folder.clone();
        let patterns = self.config.path.0.clone();
        let all_there = !self.config.follow;
        let look = move || {
            if all_there {
                find_all(&folder, &patterns)
            } else {
                find(&folder, &patterns)
            }
        };
        let found = tokio::task::spawn_blocking(look).await.map_err(|_| Error::Panicked)??;
        let new: Vec<Found> = found
            .into_iter()
            .filter(|file| !self.known_names.contains(&file.name))
            .collect();
        let first = self.known.is_empty();
        let partitions = match &self.sequence {
            None => new.iter().map(|file| PartitionName::new(file.name.as_str())).collect(),
            Some(sequence) => {
                sequence.extend(&new)?;
                let appears = first && !(new.is_empty() && self.config.follow);
                appears.then(|| self.sequence_name()).into_iter().collect()
            }
        };
        self.known_names.extend(new.iter().map(|file| file.name.clone()));
        self.known.extend(new);
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
        if from.is_some() {
            return Err(Fault::fatal(Domain::Internal, "files are not read from a position yet"));
        }
        let unknown = || Fault::fatal(Domain::Internal, format!("no partition {partition} was reported"));
        let files = match &self.sequence {
            Some(sequence) if *partition == self.sequence_name() => FileList::Sequence(Arc::clone(sequence)),
            Some(_) => return Err(unknown()),
            None => {
                let file = self.known.iter().find(|file| file.name == partition.as_str());
                FileList::One(file.ok_or_else(unknown)?.clone())
            }
        };
        let work = Work {
            config: self.config.clone(),
            file_column: self.context.metadata.iter().map(|key| key == "file").collect(),
            files,
            number: 0,
            open: None,
        };
        Ok(Box::new(Reader {
            state: State::Idle(Box::new(work)),
        }))
    }
}

impl Source {
    fn sequence_name(&self) -> PartitionName {
        PartitionName::new(self.config.path.0.join(" "))
    }
}

/// The files of a sequence; discovery adds to them while they are read.
#[derive(Debug, Default)]
struct Sequence(Mutex<Vec<Found>>);

impl Sequence {
    fn extend(&self, new: &[Found]) -> Result<(), Error> {
        let mut files = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        if let (Some(last), Some(first)) = (files.last(), new.first())
            && first.name < last.name
        {
            return Err(Error::OutOfSequence {
                found: first.name.clone(),
                read: last.name.clone(),
            });
        }
        files.extend_from_slice(new);
        Ok(())
    }

    fn get(&self, number: usize) -> Option<Found> {
        let files = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        files.get(number).cloned()
    }
}

#[derive(Debug)]
enum FileList {
    One(Found),
    Sequence(Arc<Sequence>),
}

impl FileList {
    fn get(&self, number: usize) -> Option<Found> {
        match self {
            Self::One(file) => (number == 0).then(|| file.clone()),
            Self::Sequence(sequence) => sequence.get(number),
        }
    }
}

/// A partition that is read by one blocking thread at a time. A call that is dropped leaves its thread at work, and the
/// next call takes what it read.
struct Reader {
    state: State,
}

enum State {
    Idle(Box<Work>),
    Busy(JoinHandle<(Box<Work>, Result<Read, Error>)>),
    /// A thread has panicked.
    Lost,
}

#[async_trait]
impl PartitionReader for Reader {
    async fn read(&mut self, bytes_max: usize) -> Result<Read, Fault> {
        if let State::Idle(_) = self.state
            && let State::Idle(mut work) = std::mem::replace(&mut self.state, State::Lost)
        {
            self.state = State::Busy(tokio::task::spawn_blocking(move || {
                let read = work.read(bytes_max);
                (work, read)
            }));
        }
        let State::Busy(thread) = &mut self.state else {
            return Err(Error::Panicked.into());
        };
        let ended = thread.await;
        self.state = State::Lost;
        let (work, read) = ended.map_err(|_| Error::Panicked)?;
        self.state = State::Idle(work);
        Ok(read?)
    }

    fn note(&self) -> Bytes {
        Bytes::new()
    }

    async fn acknowledge(&mut self, _position: u64) -> Result<(), Fault> {
        Ok(())
    }
}

/// Bits of a position in a sequence that count the bytes of a file.
const FILE_BITS: u32 = 40;

/// What reads a partition.
struct Work {
    config: SourceConfig,
    /// For each metadata column that is asked for, whether it is the file's name.
    file_column: Vec<bool>,
    files: FileList,
    /// The number of the file that is read.
    number: usize,
    open: Option<Open>,
}

/// A file that is being read.
struct Open {
    file: Found,
    content: Content,
    identity: Identity,
    position: u64,
    metadata: Arc<[Scalar]>,
    /// What went wrong behind bytes that were handed on.
    failed: Option<Error>,
}

impl Work {
    fn read(&mut self, bytes_max: usize) -> Result<Read, Error> {
        if self.open.is_none() && !self.open_next()? {
            return Ok(if self.config.follow { Read::Nothing } else { Read::End });
        }
        // Asked before the read: what is appended before the next file appears belongs to this one.
        let more = self.files.get(self.number + 1).is_some();
        let open = self.open.as_mut().expect("a file was opened");
        let start = open.position;
        let bytes = open.read(bytes_max, self.config.follow)?;
        if !bytes.is_empty() {
            let position = self.position(start + bytes.len() as u64)? - bytes.len() as u64;
            let open = self.open.as_ref().expect("a file is open");
            return Ok(Read::Data(Payload::Stream {
                bytes,
                position,
                metadata: Arc::clone(&open.metadata),
            }));
        }
        if self.config.follow && !more {
            return Ok(Read::Nothing);
        }
        self.number += 1;
        self.open = None;
        Ok(if more { Read::Boundary } else { Read::End })
    }

    /// A byte's position in the partition.
    fn position(&self, byte: u64) -> Result<u64, Error> {
        const MAX: u64 = (1 << FILE_BITS) - 1;
        match &self.files {
            FileList::One(_) => Ok(byte),
            FileList::Sequence(_) if byte > MAX => Err(Error::TooLong {
                path: self
                    .open
                    .as_ref()
                    .map(|open| open.file.path.clone())
                    .unwrap_or_default(),
                max: MAX,
            }),
            FileList::Sequence(_) => Ok((self.number as u64) << FILE_BITS | byte),
        }
    }

    /// Opens the file whose turn it is. False: there is none, or nothing to be read of it at present.
    fn open_next(&mut self) -> Result<bool, Error> {
        let Some(found) = self.files.get(self.number) else {
            return Ok(false);
        };
        let path = &found.path;
        let file = File::open(path).map_err(Error::io("open", path))?;
        let metadata = file.metadata().map_err(Error::io("look at", path))?;
        let content =
            Content::open(file, self.config.compression, self.config.follow).map_err(Error::io("read", path))?;
        let Some(content) = content else { return Ok(false) };
        let values = self.file_column.iter().map(|&is_file| {
            if is_file {
                Scalar::Utf8(found.name.clone())
            } else {
                Scalar::Null
            }
        });
        self.open = Some(Open {
            metadata: values.collect(),
            identity: identity(&metadata),
            content,
            position: 0,
            failed: None,
            file: found,
        });
        Ok(true)
    }
}

/// The first room for the content of a compressed file.
const ROOM_BYTES: usize = 64 << 10;

impl Open {
    /// The next bytes; none at the end.
    fn read(&mut self, bytes_max: usize, follow: bool) -> Result<Bytes, Error> {
        if let Some(error) = self.failed.take() {
            return Err(error);
        }
        let bytes = self.take(bytes_max)?;
        if !bytes.is_empty() || !follow {
            return Ok(bytes);
        }
        // What was appended just before the file was replaced comes first.
        let replaced = self.check_growth()?;
        let bytes = self.take(bytes_max)?;
        if bytes.is_empty() && replaced {
            return Err(Error::Replaced {
                path: self.file.path.clone(),
            });
        }
        Ok(bytes)
    }

    fn take(&mut self, bytes_max: usize) -> Result<Bytes, Error> {
        let bytes_max = bytes_max.max(1);
        let mut bytes = Vec::with_capacity(self.room(bytes_max));
        let read = self.content.by_ref().take(bytes_max as u64).read_to_end(&mut bytes);
        self.position += bytes.len() as u64;
        if let Err(source) = read
            && source.kind() != ErrorKind::WouldBlock
        {
            let error = match self.content.compression() {
                Some(compression) => Error::Damaged {
                    compression,
                    path: self.file.path.clone(),
                    position: self.position,
                    source,
                },
                None => Error::io("read", &self.file.path)(source),
            };
            if bytes.is_empty() {
                return Err(error);
            }
            self.failed = Some(error);
        }
        Ok(bytes.into())
    }

    /// How many bytes to make room for: not more than there are.
    fn room(&self, bytes_max: usize) -> usize {
        match &self.content {
            Content::Plain(file) => {
                let len = file.metadata().map_or(0, |metadata| metadata.len());
                let left = len.saturating_sub(self.position);
                bytes_max.min(usize::try_from(left).unwrap_or(bytes_max))
            }
            _ => bytes_max.min(ROOM_BYTES),
        }
    }

    /// Looks whether the followed file was cut, and says whether another file has its name. A name that is gone may
    /// come back.
    fn check_growth(&mut self) -> Result<bool, Error> {
        let path = &self.file.path;
        let metadata = match fs::metadata(path) {
            Ok(metadata) => metadata,
            Err(error) if error.kind() == ErrorKind::NotFound => return Ok(false),
            Err(error) => return Err(Error::io("look at", path)(error)),
        };
        if identity(&metadata) != self.identity {
            return Ok(true);
        }
        let from = self.content.consumed().map_err(Error::io("read", path))?;
        if metadata.len() < from {
            return Err(Error::Truncated {
                path: path.clone(),
                from,
                to: metadata.len(),
            });
        }
        Ok(false)
    }
}
