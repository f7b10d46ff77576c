//! A file that is being read: its content, what it is known by, and what happens to it meanwhile.

use std::fs::{self, File, Metadata};
use std::io::{ErrorKind, Read as _};
use std::sync::Arc;

use bytes::Bytes;

use wasmill_core::column::Scalar;

use crate::client::{Content, Found, HEAD_BYTES_MAX, Head, Identity, identity};
use crate::config::Compression;
use crate::error::Error;

/// The first room for the content of a compressed file.
const ROOM_BYTES: usize = 64 << 10;

/// An open file.
pub(super) struct Open {
    pub(super) file: Found,
    content: Content,
    /// The file itself, beside its decompressor.
    raw: File,
    pub(super) identity: Identity,
    pub(super) head: Head,
    /// How much of the content was read.
    pub(super) byte: u64,
    pub(super) metadata: Arc<[Scalar]>,
    /// What went wrong behind bytes that were handed on.
    failed: Option<Error>,
    growth: Growth,
}

/// What is still expected of a file.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Growth {
    /// It is read as far as it goes.
    Bounded,
    /// More may be appended at any time.
    Followed,
    /// Another file has its name; what is there is all.
    Replaced,
}

/// What a file has to give.
pub(super) enum Taken {
    Bytes(Bytes),
    /// All of it was read. Of a followed file: at present.
    Nothing,
    /// All of it was read, and another file has its name.
    Replaced,
    /// It is shorter than what was read of it.
    Cut {
        from: u64,
        to: u64,
    },
}

impl Open {
    /// Takes an open file, from its beginning. `None`: too little of a followed file is there to say how it is compressed.
    pub(super) fn new(
        found: Found,
        file: File,
        compression: Compression,
        growth: Growth,
        metadata: Arc<[Scalar]>,
    ) -> Result<Option<Self>, Error> {
        let path = &found.path;
        let identity = identity(&file.metadata().map_err(Error::io("look at", path))?);
        let head = Head::of(&file, HEAD_BYTES_MAX).map_err(Error::io("read", path))?;
        let raw = file.try_clone().map_err(Error::io("open", path))?;
        let content = Content::open(file, compression, growth == Growth::Followed).map_err(Error::io("read", path))?;
        Ok(content.map(|content| Self {
            file: found,
            content,
            raw,
            identity,
            head,
            byte: 0,
            metadata,
            failed: None,
            growth,
        }))
    }

    /// Passes over content. False: there is less.
    pub(super) fn skip(&mut self, bytes: u64) -> Result<bool, Error> {
        let skipped = self.content.skip(bytes).map_err(|source| self.error(source))?;
        self.byte = skipped;
        Ok(skipped == bytes)
    }

    /// What the system knows of it.
    pub(super) fn system_metadata(&self) -> Result<Metadata, Error> {
        self.raw.metadata().map_err(Error::io("look at", &self.file.path))
    }

    /// Looks again at how the file begins, while it is short. True: more of it is known.
    pub(super) fn look_at_head(&mut self) -> Result<bool, Error> {
        if self.head.bytes() >= HEAD_BYTES_MAX {
            return Ok(false);
        }
        let head = Head::of(&self.raw, HEAD_BYTES_MAX).map_err(Error::io("read", &self.file.path))?;
        let more = head.bytes() > self.head.bytes();
        if more {
            self.head = head;
        }
        Ok(more)
    }

    /// The next bytes, or why there are none.
    pub(super) fn take(&mut self, bytes_max: usize) -> Result<Taken, Error> {
        if let Some(error) = self.failed.take() {
            return Err(error);
        }
        let bytes = self.read(bytes_max)?;
        if !bytes.is_empty() {
            return Ok(Taken::Bytes(bytes));
        }
        match self.growth {
            Growth::Followed => {}
            Growth::Bounded => return Ok(Taken::Nothing),
            Growth::Replaced => return Ok(Taken::Replaced),
        }
        // What was appended just before the file was replaced comes first.
        let growth = self.look_at_growth()?;
        if let Some(Taken::Replaced) = growth {
            self.growth = Growth::Replaced;
            self.content.complete();
        }
        let bytes = self.read(bytes_max)?;
        Ok(match growth {
            _ if !bytes.is_empty() => Taken::Bytes(bytes),
            Some(growth) => growth,
            None => Taken::Nothing,
        })
    }

    fn read(&mut self, bytes_max: usize) -> Result<Bytes, Error> {
        let bytes_max = bytes_max.max(1);
        let mut bytes = Vec::with_capacity(self.room(bytes_max));
        let read = self.content.by_ref().take(bytes_max as u64).read_to_end(&mut bytes);
        self.byte += bytes.len() as u64;
        if let Err(source) = read
            && source.kind() != ErrorKind::WouldBlock
        {
            let error = self.error(source);
            if bytes.is_empty() {
                return Err(error);
            }
            self.failed = Some(error);
        }
        Ok(bytes.into())
    }

    fn error(&self, source: std::io::Error) -> Error {
        match self.content.compression() {
            Some(compression) => Error::Damaged {
                compression,
                path: self.file.path.clone(),
                position: self.byte,
                source,
            },
            None => Error::io("read", &self.file.path)(source),
        }
    }

    /// How many bytes to make room for: not more than there are.
    fn room(&self, bytes_max: usize) -> usize {
        match &self.content {
            Content::Plain(file) => {
                let len = file.metadata().map_or(0, |metadata| metadata.len());
                let left = len.saturating_sub(self.byte);
                bytes_max.min(usize::try_from(left).unwrap_or(bytes_max))
            }
            _ => bytes_max.min(ROOM_BYTES),
        }
    }

    /// Looks whether the followed file was cut, or another file has its name. A name that is gone may come back.
    fn look_at_growth(&mut self) -> Result<Option<Taken>, Error> {
        let path = &self.file.path;
        let metadata = match fs::metadata(path) {
            Ok(metadata) => metadata,
            Err(error) if error.kind() == ErrorKind::NotFound => return Ok(None),
            Err(error) => return Err(Error::io("look at", path)(error)),
        };
        if identity(&metadata) != self.identity {
            return Ok(Some(Taken::Replaced));
        }
        let from = self.content.consumed().map_err(Error::io("read", path))?;
        let to = metadata.len();
        Ok((to < from).then_some(Taken::Cut { from, to }))
    }
}

/// The values of the metadata columns for a file.
pub(super) fn metadata(file_column: &[bool], found: &Found) -> Arc<[Scalar]> {
    let values = file_column.iter().map(|&is_file| {
        if is_file {
            Scalar::Utf8(found.name.clone())
        } else {
            Scalar::Null
        }
    });
    values.collect()
}
