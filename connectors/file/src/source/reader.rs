//! One partition: its files one after the other, and what takes a file's place while it is followed.

use std::fs::{File, Metadata};
use std::io::ErrorKind;
use std::path::Path;
use std::sync::Arc;
use std::time::SystemTime;

use async_trait::async_trait;
use bytes::Bytes;
use tokio::task::JoinHandle;

use wasmill_connector_api::config::Folder;
use wasmill_connector_api::source::{PartitionReader, Payload, Read, Resume};
use wasmill_core::fault::Fault;

use crate::client::{Found, Identity, name_of};
use crate::config::SourceConfig;
use crate::error::Error;

use super::files::{FileList, Known};
use super::open::{Growth, Open, Taken, metadata};
use super::resume::{Located, Note, locate, modified, next_after};

/// A partition that is read by one blocking thread at a time. A call that is dropped leaves its thread at work, and the
/// next call takes what it read.
pub(super) struct Reader {
    state: State,
    /// Of the last payload.
    note: Bytes,
}

enum State {
    Idle(Box<Work>),
    Busy(JoinHandle<(Box<Work>, Result<Read, Error>)>),
    /// A thread has panicked.
    Lost,
}

impl Reader {
    pub(super) fn new(work: Work, from: Option<&Resume>) -> Self {
        Self {
            state: State::Idle(Box::new(work)),
            note: from.map(|from| from.note.clone()).unwrap_or_default(),
        }
    }
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
        if let Ok(Read::Data(_)) = read {
            self.note = work.note.clone();
        }
        self.state = State::Idle(work);
        Ok(read?)
    }

    fn note(&self) -> Bytes {
        self.note.clone()
    }

    /// A file is kept by its owner.
    async fn acknowledge(&mut self, _position: u64) -> Result<(), Fault> {
        Ok(())
    }
}

/// Bits of a position in a sequence that count the bytes of a file.
const FILE_BITS: u32 = 40;
const FILE_BYTES_MAX: u64 = (1 << FILE_BITS) - 1;

/// What reads a partition.
pub(super) struct Work {
    pub(super) config: SourceConfig,
    pub(super) folder: Folder,
    /// For each metadata column that is asked for, whether it is the file's name.
    pub(super) file_column: Vec<bool>,
    pub(super) known: Arc<Known>,
    pub(super) files: FileList,
    /// Where a checkpoint goes on, until the first read has taken it up.
    pub(super) from: Option<Resume>,
    /// The number of the file that is read, in the list.
    pub(super) number: usize,
    /// Files of the sequence that were read before the list's first one, and are gone.
    pub(super) gone: u64,
    /// The position of the first byte of the file that is read; of a sequence, by its number.
    pub(super) base: u64,
    /// The file that was read to its end because another one took its place.
    pub(super) before: Option<Metadata>,
    /// All such files, by what they are and when they were last written to.
    pub(super) passed: Vec<(Identity, SystemTime)>,
    pub(super) open: Option<Open>,
    pub(super) note: Bytes,
}

impl Work {
    fn read(&mut self, bytes_max: usize) -> Result<Read, Error> {
        if let Some(from) = self.from.take() {
            self.take_up(&from)?;
        }
        if self.open.is_none() && !self.open_next()? {
            return Ok(if self.config.follow { Read::Nothing } else { Read::End });
        }
        // Asked before the read: what is appended before the next file appears belongs to this one.
        let more = self.files.get(self.number + 1, &self.known).is_some();
        let open = self.open.as_mut().expect("a file was opened");
        let position = self.base + open.byte;
        match (open.take(bytes_max)?, &self.files) {
            (Taken::Bytes(bytes), _) => self.payload(bytes, position).map(Read::Data),
            (Taken::Nothing, _) if self.config.follow && !more => Ok(Read::Nothing),
            (Taken::Nothing, _) => {
                self.number += 1;
                self.open = None;
                Ok(if more { Read::Boundary } else { Read::End })
            }
            (Taken::Replaced, FileList::One(_)) => {
                self.replace()?;
                Ok(Read::Boundary)
            }
            (Taken::Cut { from, to }, FileList::One(file)) => {
                warn_of_cut(file, from, to);
                self.base += open.byte;
                self.open = None;
                Ok(Read::Boundary)
            }
            (Taken::Replaced, FileList::Sequence) => Err(Error::Replaced {
                path: open.file.path.clone(),
            }),
            (Taken::Cut { from, to }, FileList::Sequence) => Err(Error::Cut {
                path: open.file.path.clone(),
                from,
                to,
            }),
        }
    }

    fn payload(&mut self, bytes: Bytes, position: u64) -> Result<Payload, Error> {
        let open = self.open.as_mut().expect("a file is open");
        if matches!(self.files, FileList::Sequence) && open.byte > FILE_BYTES_MAX {
            return Err(Error::TooLong {
                path: open.file.path.clone(),
                max: FILE_BYTES_MAX,
            });
        }
        if open.look_at_head()? {
            self.known.opened(open.identity, &open.file.name, open.head);
            self.note = note(open, self.base);
        }
        Ok(Payload::Stream {
            bytes,
            position,
            metadata: Arc::clone(&open.metadata),
        })
    }

    /// Another file has the name of the one that was read to its end.
    fn replace(&mut self) -> Result<(), Error> {
        let open = self.open.take().expect("a file is open");
        self.base += open.byte;
        let metadata = open.system_metadata()?;
        self.passed.push((open.identity, modified(&metadata)));
        self.before = Some(metadata);
        Ok(())
    }

    fn growth(&self) -> Growth {
        if self.config.follow {
            Growth::Followed
        } else {
            Growth::Bounded
        }
    }

    /// A renamed file must not be a partition of its own.
    fn refuse_twice(&self, path: &Path, file: &Found) -> Result<(), Error> {
        let found = name_of(&self.folder, path)?;
        if self.known.find(&found).is_some() {
            return Err(Error::ReadTwice {
                found,
                name: file.name.clone(),
            });
        }
        Ok(())
    }

    /// Opens the file whose turn it is. False: there is none, or nothing to be read of it at present.
    fn open_next(&mut self) -> Result<bool, Error> {
        let Some(mut found) = self.files.get(self.number, &self.known) else {
            return Ok(false);
        };
        let mut growth = self.growth();
        let mut file = match File::open(&found.path) {
            // After it was replaced, or cut: the name may come back.
            Err(error) if error.kind() == ErrorKind::NotFound && self.base > 0 && self.config.follow => {
                return Ok(false);
            }
            file => file.map_err(Error::io("open", &found.path))?,
        };
        // Looked for while the present one is open: whatever had the name before it has another one by now.
        if let Some(before) = &self.before
            && let Some((path, earlier)) = next_after(&found.path, before, &self.passed)?
        {
            self.refuse_twice(&path, &found)?;
            found.path = path;
            file = earlier;
            growth = Growth::Replaced;
        }
        self.before = None;
        if let FileList::Sequence = self.files {
            self.base = (self.number as u64 + self.gone) << FILE_BITS;
        }
        self.open_file(found, file, growth)
    }

    fn open_file(&mut self, found: Found, file: File, growth: Growth) -> Result<bool, Error> {
        let metadata = metadata(&self.file_column, &found);
        self.open = Open::new(found, file, self.config.compression, growth, metadata)?;
        if let Some(open) = &self.open {
            self.known.opened(open.identity, &open.file.name, open.head);
            self.note = note(open, self.base);
        }
        Ok(self.open.is_some())
    }

    /// Goes on where a checkpoint says.
    fn take_up(&mut self, from: &Resume) -> Result<(), Error> {
        if from.note.is_empty() {
            return Ok(());
        }
        let known_as = match &self.files {
            FileList::One(file) => file.path.clone(),
            FileList::Sequence => self.folder.path().to_owned(),
        };
        let before = Note::from_bytes(&from.note, &known_as)?;
        let file = match &self.files {
            FileList::One(file) => file.clone(),
            FileList::Sequence => self.take_up_sequence(&before)?,
        };
        self.base = before.base;
        let follows_one = self.config.follow && matches!(self.files, FileList::One(_));
        let growth = self.growth();
        let opened = match locate(&file.path, &before, follows_one)? {
            Located::Here(opened) => opened,
            Located::Renamed(path, opened) => {
                self.refuse_twice(&path, &file)?;
                opened
            }
            Located::Cut(opened) => {
                let to = opened.metadata().map_err(Error::io("look at", &file.path))?.len();
                warn_of_cut(&file, from.position.saturating_sub(self.base), to);
                self.base = from.position;
                return self.open_file(file, opened, growth).map(|_| ());
            }
        };
        let byte = from.position.saturating_sub(self.base);
        let shorter = |to| Error::Shorter {
            path: file.path.clone(),
            from: byte,
            to,
        };
        if !self.open_file(file.clone(), opened, growth)? {
            return if byte == 0 { Ok(()) } else { Err(shorter(0)) };
        }
        let open = self.open.as_mut().expect("the file was opened");
        if open.skip(byte)? {
            return Ok(());
        }
        if !follows_one || open.identity.inode() != before.inode {
            return Err(shorter(open.byte));
        }
        warn_of_cut(&file, byte, open.byte);
        self.base = from.position;
        self.open = None;
        Ok(())
    }

    /// Finds the place of a note's file in the sequence as it is at present.
    fn take_up_sequence(&mut self, before: &Note) -> Result<Found, Error> {
        let path = self.folder.resolve(&before.file);
        let number = self.known.find(&before.file).ok_or(Error::Gone { path })?;
        let file = self.known.get(number).expect("the file is in the list");
        // Files that were read may be gone, but none may have come before this one.
        let gone = (before.base >> FILE_BITS).checked_sub(number as u64);
        self.gone = gone.ok_or_else(|| Error::AddedBefore {
            name: before.file.clone(),
        })?;
        self.number = number;
        Ok(file)
    }
}

fn note(open: &Open, base: u64) -> Bytes {
    let note = Note {
        file: open.file.name.clone(),
        inode: open.identity.inode(),
        base,
        head: open.head,
    };
    note.to_bytes()
}

fn warn_of_cut(file: &Found, from: u64, to: u64) {
    let path = file.path.display();
    tracing::warn!(%path, from, to, "a followed file was cut, and is read from its beginning; what was not read of it is lost");
}
