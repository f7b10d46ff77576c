//! One file, exactly once: an epoch's bytes, compressed already, go to the spool; the committer puts them at their place
//! in the file when the epoch has a manifest.

use std::path::PathBuf;
use std::sync::Arc;

use async_trait::async_trait;
use bytes::Bytes;

use wasmill_connector_api::sink::{Chunk, Prepared, Sink, SinkContext, Start};
use wasmill_connector_api::spool::{Spool, SpoolWriter};
use wasmill_core::fault::Fault;
use wasmill_core::id::Epoch;

use crate::config::{Compression, IfExists, SinkConfig};
use crate::error::Error;

use super::output::Output;
use super::prepared::{FileEnd, What, file_end};
use super::single::{by_name, open_output};

/// Writes the epochs of one file to the spool.
pub(super) struct SpoolingWriter {
    path: PathBuf,
    compression: Compression,
    spool: Arc<dyn Spool>,
    epoch: Epoch,
    /// Where the epoch begins in the file.
    offset: u64,
    /// What the file begins with; nothing if it has begun.
    prologue: Bytes,
    /// Begun with the first bytes of an epoch.
    spooled: Option<Spooling>,
}

struct Spooling {
    /// Away while a thread compresses.
    output: Option<Output<Vec<u8>>>,
    writer: Box<dyn SpoolWriter>,
}

impl SpoolingWriter {
    pub(super) fn open(
        path: PathBuf,
        config: &SinkConfig,
        context: SinkContext,
        spool: Arc<dyn Spool>,
    ) -> Result<Self, Error> {
        let offset = match &context.start {
            Start::Resumed(prepared) if !prepared.is_empty() => file_end(prepared, &path)?.end(),
            // The file is made with the first commit: one that is there is somebody else's.
            Start::Fresh if config.if_exists == IfExists::Error => {
                if path.symlink_metadata().is_ok() {
                    return Err(Error::Exists { path });
                }
                0
            }
            start => {
                let file = open_output(&path, config.if_exists, start)?;
                file.metadata().map_err(Error::io("look at", &path))?.len()
            }
        };
        Ok(Self {
            compression: by_name(config.compression, &path),
            path,
            spool,
            epoch: context.epoch,
            offset,
            prologue: if offset == 0 { context.prologue } else { Bytes::new() },
            spooled: None,
        })
    }

    async fn put(&mut self, bytes: Bytes) -> Result<(), Fault> {
        if bytes.is_empty() {
            return Ok(());
        }
        let mut spooled = match self.spooled.take() {
            Some(spooled) => spooled,
            None => Spooling {
                output: Some(Output::new(Vec::new(), self.compression).map_err(Error::io("write", &self.path))?),
                // There is one writer.
                writer: self.spool.create(self.epoch, 0).await?,
            },
        };
        let compressed = if self.compression == Compression::None {
            bytes
        } else {
            let mut output = spooled.output.take().ok_or(Error::Panicked)?;
            let (output, written) = tokio::task::spawn_blocking(move || {
                let written = output.write(&bytes);
                (output, written)
            })
            .await
            .map_err(|_| Error::Panicked)?;
            written.map_err(Error::io("write", &self.path))?;
            let output = spooled.output.insert(output);
            Bytes::from(std::mem::take(output.get_mut()))
        };
        if !compressed.is_empty() {
            spooled.writer.write(compressed).await?;
        }
        self.spooled = Some(spooled);
        Ok(())
    }
}

#[async_trait]
impl Sink for SpoolingWriter {
    async fn write(&mut self, chunk: Chunk) -> Result<(), Fault> {
        let prologue = std::mem::take(&mut self.prologue);
        self.put(prologue).await?;
        self.put(chunk.bytes).await
    }

    /// Nothing is visible before its epoch is complete.
    async fn flush(&mut self) -> Result<(), Fault> {
        Ok(())
    }

    async fn prepare(&mut self, epoch: Epoch) -> Result<Prepared, Fault> {
        let prologue = std::mem::take(&mut self.prologue);
        self.put(prologue).await?;
        let spooled = match self.spooled.take() {
            None => None,
            Some(Spooling { output, mut writer }) => {
                let output = output.ok_or(Error::Panicked)?;
                let last = output.finish().map_err(Error::io("finish", &self.path))?;
                if !last.is_empty() {
                    writer.write(last.into()).await?;
                }
                Some(writer.finish().await?)
            }
        };
        let end = FileEnd {
            offset: self.offset,
            spooled,
            direct: false,
        };
        self.offset = end.end();
        self.epoch = epoch.next();
        Ok(What::File(end).prepared())
    }

    /// What is not prepared is given up.
    async fn finish(&mut self) -> Result<(), Fault> {
        self.spooled = None;
        Ok(())
    }
}
