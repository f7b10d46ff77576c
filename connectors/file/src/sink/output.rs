//! An open output file behind its compressor.

use std::fs::File;
use std::io::{self, Write};

use flate2::write::GzEncoder;

use crate::config::Compression;

/// Takes bytes, compresses them, writes them.
pub(super) enum Output {
    Plain(File),
    Gzip(Box<GzEncoder<File>>),
    Zstd(Box<zstd::stream::write::Encoder<'static, File>>),
}

impl Output {
    /// An output to `file`, from where it stands.
    pub(super) fn new(file: File, compression: Compression) -> io::Result<Self> {
        Ok(match compression {
            Compression::Auto | Compression::None => Self::Plain(file),
            Compression::Gzip => Self::Gzip(Box::new(GzEncoder::new(file, flate2::Compression::default()))),
            Compression::Zstd => {
                let level = zstd::DEFAULT_COMPRESSION_LEVEL;
                Self::Zstd(Box::new(zstd::stream::write::Encoder::new(file, level)?))
            }
        })
    }

    pub(super) fn write(&mut self, bytes: &[u8]) -> io::Result<()> {
        match self {
            Self::Plain(file) => file.write_all(bytes),
            Self::Gzip(encoder) => encoder.write_all(bytes),
            Self::Zstd(encoder) => encoder.write_all(bytes),
        }
    }

    /// Lets readers see what was written.
    pub(super) fn flush(&mut self) -> io::Result<()> {
        match self {
            Self::Plain(file) => file.flush(),
            Self::Gzip(encoder) => encoder.flush(),
            Self::Zstd(encoder) => encoder.flush(),
        }
    }

    /// Makes what was written durable.
    pub(super) fn sync(&mut self) -> io::Result<()> {
        self.flush()?;
        match self {
            Self::Plain(file) => file.sync_all(),
            Self::Gzip(encoder) => encoder.get_ref().sync_all(),
            Self::Zstd(encoder) => encoder.get_ref().sync_all(),
        }
    }

    /// Writes what ends the compressed data, and makes all of it durable.
    pub(super) fn finish(self) -> io::Result<()> {
        let file = match self {
            Self::Plain(file) => file,
            Self::Gzip(encoder) => encoder.finish()?,
            Self::Zstd(encoder) => encoder.finish()?,
        };
        file.sync_all()
    }
}
