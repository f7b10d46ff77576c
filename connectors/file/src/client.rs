//! Files as this connector sees them: found by patterns, opened through a decompressor, identified, made durable.

use std::collections::BTreeMap;
use std::fs::{self, File, Metadata};
use std::io::{self, BufRead, BufReader, Read, Seek, SeekFrom};
use std::path::{Component, Path, PathBuf};

use flate2::bufread::MultiGzDecoder;
use serde::{Deserialize, Serialize};
use wasmill_connector_api::config::Folder;
use xxhash_rust::xxh3::xxh3_64;

use crate::config::Compression;
use crate::error::Error;

/// A file that a pattern found.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) struct Found {
    /// Its path from the folder of the topology, where it stands in it.
    pub(crate) name: String,
    pub(crate) path: PathBuf,
}

/// What a pattern is.
#[derive(Debug)]
pub(crate) enum Pattern {
    /// The name of one file, as it stands.
    Literal(PathBuf),
    /// A glob, from the root.
    Glob(String),
}

const GLOB_CHARACTERS: &[char] = &['*', '?', '['];

impl Pattern {
    /// Reads a path of the topology.
    ///
    /// # Errors
    /// It is a glob that makes no sense.
    pub(crate) fn new(folder: &Folder, text: &str) -> Result<Self, glob::PatternError> {
        let path = folder.resolve(text);
        if !text.contains(GLOB_CHARACTERS) || path.symlink_metadata().is_ok() {
            return Ok(Self::Literal(path));
        }
        // What the topology's folder is called is no pattern.
        let base = folder.path().to_string_lossy();
        let rooted = if Path::new(text).is_absolute() {
            text.to_owned()
        } else {
            format!("{}/{text}", glob::Pattern::escape(base.trim_end_matches('/')))
        };
        glob::Pattern::new(&rooted)?;
        Ok(Self::Glob(rooted))
    }

    /// The files that are there, in no order.
    ///
    /// # Errors
    /// A folder on the way cannot be read.
    fn files(&self) -> Result<Vec<PathBuf>, Error> {
        match self {
            Self::Literal(path) => Ok(path.is_file().then(|| path.clone()).into_iter().collect()),
            Self::Glob(glob) => {
                let options = glob::MatchOptions {
                    require_literal_leading_dot: true,
                    ..glob::MatchOptions::new()
                };
                let paths = glob::glob_with(glob, options).expect("the pattern was checked");
                let mut files = Vec::new();
                for path in paths {
                    let path = path.map_err(|error| {
                        let folder = error.path().to_owned();
                        Error::io("read the folder", folder)(error.into())
                    })?;
                    if path.is_file() {
                        files.push(path);
                    }
                }
                Ok(files)
            }
        }
    }
}

/// All files of the patterns that are there, each once, in the order of their names.
///
/// # Errors
/// A pattern makes no sense, a folder cannot be read, a name is not UTF-8.
pub(crate) fn find(folder: &Folder, patterns: &[String]) -> Result<Vec<Found>, Error> {
    let mut found = BTreeMap::new();
    for pattern in patterns {
        let files = Pattern::new(folder, pattern)
            .map_err(|error| Error::io("read the pattern", pattern)(io::Error::other(error)))?
            .files()?;
        for path in files {
            found.insert(name_of(folder, &path)?, path);
        }
    }
    Ok(found.into_iter().map(|(name, path)| Found { name, path }).collect())
}

/// As [`find`], where each name that is no pattern must be that of a file.
///
/// # Errors
/// As [`find`]; such a file is not there, or is no regular file.
pub(crate) fn find_all(folder: &Folder, patterns: &[String]) -> Result<Vec<Found>, Error> {
    for text in patterns {
        if let Ok(Pattern::Literal(path)) = Pattern::new(folder, text) {
            let metadata = fs::metadata(&path).map_err(Error::io("open", &path))?;
            if !metadata.is_file() {
                return Err(Error::NotRegular { path });
            }
        }
    }
    find(folder, patterns)
}

/// The one name of a file that may have many: without links, `.` and `..`, from the folder of the topology on where it
/// stands in it. What is not there yet is named as it will be.
pub(crate) fn canonical_name(folder: &Folder, path: &Path) -> Result<String, Error> {
    let folder = Folder::new(canonical(folder.path()));
    name_of(&folder, &canonical(path))
}

/// Follows the links of the longest part of a path that is there.
fn canonical(path: &Path) -> PathBuf {
    let path = std::path::absolute(path).unwrap_or_else(|_| path.to_owned());
    for there in path.ancestors() {
        if let Ok(real) = there.canonicalize() {
            let rest = path.strip_prefix(there).expect("it is an ancestor");
            let mut named = real;
            for component in rest.components() {
                match component {
                    Component::ParentDir => {
                        named.pop();
                    }
                    other => named.push(other),
                }
            }
            return named;
        }
    }
    path
}

/// A path from the folder of the topology on, where it stands in it; without `.` in it.
pub(crate) fn name_of(folder: &Folder, path: &Path) -> Result<String, Error> {
    let plain = normalized(path);
    let short = plain.strip_prefix(normalized(folder.path())).unwrap_or(&plain);
    let name = short
        .to_str()
        .ok_or_else(|| Error::NameNotUtf8 { path: path.to_owned() })?;
    Ok(name.to_owned())
}

/// A path without `.`; `..` stays, since a folder before it may be a link.
fn normalized(path: &Path) -> PathBuf {
    path.components()
        .filter(|component| *component != Component::CurDir)
        .collect()
}

/// What tells a file from another one of the same name.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) struct Identity(u64, u64);

impl Identity {
    /// The file's number in its file system.
    pub(crate) fn inode(self) -> u64 {
        self.1
    }
}

#[cfg(unix)]
pub(crate) fn identity(metadata: &Metadata) -> Identity {
    use std::os::unix::fs::MetadataExt;
    Identity(metadata.dev(), metadata.ino())
}

/// Elsewhere a replaced file is not told from the one before.
#[cfg(not(unix))]
pub(crate) fn identity(_metadata: &Metadata) -> Identity {
    Identity(0, 0)
}

/// How much of a file's beginning tells it from another.
pub(crate) const HEAD_BYTES_MAX: u64 = 4 << 10;

/// How a file begins: the length and the XXH3-64 of its first bytes, as they stand, compressed or not.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case", deny_unknown_fields)]
pub(crate) struct Head {
    bytes: u64,
    hash: u64,
}

impl Head {
    /// Of a file's first `bytes_max` bytes, or as many as there are. The file's place does not move.
    pub(crate) fn of(file: &File, bytes_max: u64) -> io::Result<Self> {
        let mut bytes = vec![0; bytes_max as usize];
        let mut len = 0;
        while len < bytes.len() {
            match read_at(file, &mut bytes[len..], len as u64)? {
                0 => break,
                read => len += read,
            }
        }
        Ok(Self {
            bytes: len as u64,
            hash: xxh3_64(&bytes[..len]),
        })
    }

    /// How many bytes it is of.
    pub(crate) fn bytes(&self) -> u64 {
        self.bytes
    }
}

#[cfg(unix)]
fn read_at(file: &File, into: &mut [u8], at: u64) -> io::Result<usize> {
    std::os::unix::fs::FileExt::read_at(file, into, at)
}

/// Elsewhere the beginning of a file tells nothing.
#[cfg(not(unix))]
fn read_at(_file: &File, _into: &mut [u8], _at: u64) -> io::Result<usize> {
    Ok(0)
}

/// Writes all bytes at a place of a file.
#[cfg(unix)]
pub(crate) fn write_at(file: &File, bytes: &[u8], at: u64) -> io::Result<()> {
    std::os::unix::fs::FileExt::write_all_at(file, bytes, at)
}

/// Writes all bytes at a place of a file.
#[cfg(not(unix))]
pub(crate) fn write_at(mut file: &File, bytes: &[u8], at: u64) -> io::Result<()> {
    file.seek(SeekFrom::Start(at))?;
    io::Write::write_all(&mut file, bytes)
}

/// A file's bytes on their way to a decompressor. At the end of a followed file there is nothing *at present*
/// ([`io::ErrorKind::WouldBlock`]), which decompressors hand on without losing their place.
#[derive(Debug)]
pub(crate) struct Tail {
    file: BufReader<File>,
    follow: bool,
}

impl Tail {
    fn wait_at_end(&self, len: usize) -> io::Result<usize> {
        if len == 0 && self.follow {
            return Err(io::ErrorKind::WouldBlock.into());
        }
        Ok(len)
    }
}

impl Read for Tail {
    fn read(&mut self, into: &mut [u8]) -> io::Result<usize> {
        let len = self.file.read(into)?;
        if into.is_empty() { Ok(0) } else { self.wait_at_end(len) }
    }
}

impl BufRead for Tail {
    fn fill_buf(&mut self) -> io::Result<&[u8]> {
        let len = self.file.fill_buf()?.len();
        self.wait_at_end(len)?;
        Ok(self.file.buffer())
    }

    fn consume(&mut self, amount: usize) {
        self.file.consume(amount);
    }
}

/// The content of an open file.
pub(crate) enum Content {
    Plain(File),
    Gzip(Box<MultiGzDecoder<Tail>>),
    Zstd(Box<zstd::stream::read::Decoder<'static, Tail>>),
}

impl Content {
    /// Reads a file's content from its beginning. `None`: too little of a followed file is there to say how it is
    /// compressed.
    pub(crate) fn open(mut file: File, compression: Compression, follow: bool) -> io::Result<Option<Self>> {
        let compression = match compression {
            Compression::Auto => match sniff(&mut file)? {
                Sniffed::Known(compression) => compression,
                Sniffed::Unknown if follow => return Ok(None),
                Sniffed::Unknown => Compression::None,
            },
            known => known,
        };
        let tail = |file| Tail {
            file: BufReader::with_capacity(READ_BYTES, file),
            follow,
        };
        Ok(Some(match compression {
            Compression::Auto | Compression::None => Self::Plain(file),
            Compression::Gzip => Self::Gzip(Box::new(MultiGzDecoder::new(tail(file)))),
            Compression::Zstd => Self::Zstd(Box::new(zstd::stream::read::Decoder::with_buffer(tail(file))?)),
        }))
    }

    /// Passes over content, and says how much: less if the file has no more at present.
    pub(crate) fn skip(&mut self, bytes: u64) -> io::Result<u64> {
        if let Self::Plain(file) = self {
            let bytes = bytes.min(file.metadata()?.len());
            return file.seek(SeekFrom::Start(bytes));
        }
        let mut skipped = 0;
        let mut passed = vec![0; READ_BYTES];
        while skipped < bytes {
            let most = usize::try_from(bytes - skipped).map_or(READ_BYTES, |left| left.min(READ_BYTES));
            match self.read(&mut passed[..most]) {
                Ok(0) => break,
                Ok(read) => skipped += read as u64,
                Err(error) if error.kind() == io::ErrorKind::WouldBlock => break,
                Err(error) if error.kind() == io::ErrorKind::Interrupted => {}
                Err(error) => return Err(error),
            }
        }
        Ok(skipped)
    }

    /// Nothing will be appended any more: the end of the file is the end of its content.
    pub(crate) fn complete(&mut self) {
        match self {
            Self::Plain(_) => {}
            Self::Gzip(decoder) => decoder.get_mut().follow = false,
            Self::Zstd(decoder) => decoder.get_mut().follow = false,
        }
    }

    /// The compression's name, where there is one.
    pub(crate) fn compression(&self) -> Option<&'static str> {
        match self {
            Self::Plain(_) => None,
            Self::Gzip(_) => Some("gzip"),
            Self::Zstd(_) => Some("zstd"),
        }
    }

    /// How many bytes of the file were read, decompressed or not.
    pub(crate) fn consumed(&mut self) -> io::Result<u64> {
        match self {
            Self::Plain(file) => file.stream_position(),
            Self::Gzip(decoder) => decoder.get_mut().file.stream_position(),
            Self::Zstd(decoder) => decoder.get_mut().file.stream_position(),
        }
    }
}

impl Read for Content {
    fn read(&mut self, into: &mut [u8]) -> io::Result<usize> {
        match self {
            Self::Plain(file) => file.read(into),
            Self::Gzip(decoder) => decoder.read(into),
            Self::Zstd(decoder) => decoder.read(into),
        }
    }
}

/// How many compressed bytes are read at once.
const READ_BYTES: usize = 64 << 10;

const GZIP_MAGIC: &[u8] = &[0x1F, 0x8B];
const ZSTD_MAGIC: &[u8] = &[0x28, 0xB5, 0x2F, 0xFD];

enum Sniffed {
    Known(Compression),
    /// So far it could be anything.
    Unknown,
}

/// Looks at a file's first bytes, and goes back to its beginning.
fn sniff(file: &mut File) -> io::Result<Sniffed> {
    let mut head = Vec::with_capacity(ZSTD_MAGIC.len());
    Read::by_ref(file)
        .take(ZSTD_MAGIC.len() as u64)
        .read_to_end(&mut head)?;
    file.rewind()?;
    Ok(if head.starts_with(GZIP_MAGIC) {
        Sniffed::Known(Compression::Gzip)
    } else if head.starts_with(ZSTD_MAGIC) {
        Sniffed::Known(Compression::Zstd)
    } else if GZIP_MAGIC.starts_with(&head) || ZSTD_MAGIC.starts_with(&head) {
        Sniffed::Unknown
    } else {
        Sniffed::Known(Compression::None)
    })
}

/// Makes the names in the folder of `path` durable.
pub(crate) fn sync_folder(path: &Path) -> Result<(), Error> {
    let folder = match path.parent() {
        Some(folder) if !folder.as_os_str().is_empty() => folder,
        _ => Path::new("."),
    };
    let handle = File::open(folder).map_err(Error::io("open the folder", folder))?;
    handle.sync_all().map_err(Error::io("sync the folder", folder))
}

/// Makes the folder of `path`, and those on the way to it.
pub(crate) fn create_folder(folder: &Path) -> Result<(), Error> {
    fs::create_dir_all(folder).map_err(Error::io("make the folder", folder))
}
