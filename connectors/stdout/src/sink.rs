//! Writes rows to standard output.

use std::io::{self, Write};
use std::sync::atomic::{AtomicBool, Ordering};

use async_trait::async_trait;

use wasmill_connector_api::config::{ConfigProblem, Folder};
use wasmill_connector_api::sink::{
    self, Chunk, Committer, CommitterContext, NoCommits, Prepared, SinkConnector, SinkContext, SinkDescription, Start,
    Writers,
};
use wasmill_core::delivery::Delivery;
use wasmill_core::fault::Fault;
use wasmill_core::id::Epoch;

use crate::config::Config;
use crate::error::Error;

/// The sink connector `stdout`.
///
/// Each chunk of rows is written at once and never in part, so that rows of other writers to the same terminal stand
/// between rows, not in them. When its reader goes away (`wasmill run ... | head`) the next write is a fault that
/// [`is_closed`](crate::is_closed) knows.
///
/// # What it guarantees
/// At least once: what was written cannot be taken back, so after a failure the rows of the epoch that was not complete come
/// again. Rows are handed to the system as they come; whether they are durable is up to whatever reads them. What stands
/// before the first row comes once a process.
#[derive(Debug)]
pub struct Sink<W = io::Stdout> {
    /// Away while a thread writes.
    writer: Option<W>,
    /// Written before the first row.
    prologue: Option<bytes::Bytes>,
}

/// Whether this process has written to standard output: a job that fails and goes on in it writes to the same.
static BEGUN: AtomicBool = AtomicBool::new(false);

impl SinkConnector for Sink {
    const NAME: &'static str = "stdout";
    type Config = Config;

    fn describe(_config: &Config, _folder: &Folder) -> Result<SinkDescription, Vec<ConfigProblem>> {
        Ok(SinkDescription {
            writers: Writers::One,
            target: "standard output".to_owned(),
            delivery: Delivery::AtLeastOnce,
            at_fresh_start: Vec::new(),
        })
    }

    fn open(_config: Config, context: SinkContext) -> Result<Box<dyn sink::Sink>, Fault> {
        let begun = BEGUN.swap(true, Ordering::Relaxed);
        let goes_on = begun && matches!(context.start, Start::Resumed(_));
        let mut sink = Self::to(io::stdout(), context);
        if goes_on {
            sink.prologue = None;
        }
        Ok(Box::new(sink))
    }

    fn committer(_config: Config, _context: CommitterContext) -> Result<Box<dyn Committer>, Fault> {
        Ok(Box::new(NoCommits))
    }
}

impl<W: Write + Send + 'static> Sink<W> {
    /// A sink that writes to `writer` as to standard output.
    pub fn to(writer: W, context: SinkContext) -> Self {
        Self {
            writer: Some(writer),
            prologue: Some(context.prologue),
        }
    }

    /// Lets a blocking thread write what stands before the first row, then `bytes`.
    async fn write_out(&mut self, bytes: bytes::Bytes) -> Result<(), Fault> {
        let mut writer = self.writer.take().ok_or(Error::Panicked)?;
        let prologue = self.prologue.take().unwrap_or_default();
        let (writer, written) = tokio::task::spawn_blocking(move || {
            let written = writer
                .write_all(&prologue)
                .and_then(|()| writer.write_all(&bytes))
                .and_then(|()| writer.flush());
            (writer, written)
        })
        .await
        .map_err(|_| Error::Panicked)?;
        self.writer = Some(writer);
        Ok(written.map_err(Error::from)?)
    }
}

#[async_trait]
impl<W: Write + Send + 'static> sink::Sink for Sink<W> {
    async fn write(&mut self, chunk: Chunk) -> Result<(), Fault> {
        self.write_out(chunk.bytes).await
    }

    /// Every write is flushed already.
    async fn flush(&mut self) -> Result<(), Fault> {
        Ok(())
    }

    /// What was written is out already.
    async fn prepare(&mut self, _epoch: Epoch) -> Result<Prepared, Fault> {
        self.write_out(bytes::Bytes::new()).await?;
        Ok(Prepared::default())
    }

    async fn finish(&mut self) -> Result<(), Fault> {
        self.write_out(bytes::Bytes::new()).await
    }
}

#[cfg(test)]
mod tests {
    use std::io::{PipeReader, PipeWriter, Read};
    use std::sync::{Arc, Mutex};
    use std::thread::JoinHandle;

    use bytes::Bytes;

    use wasmill_connector_api::conformance::epochs::{self, EpochTarget, Settings};
    use wasmill_connector_api::conformance::sink::{Target, check};

    use super::*;
    use crate::error::is_closed;

    fn context(prologue: &'static [u8]) -> SinkContext {
        SinkContext::without_checkpoints(Folder::new("."), Bytes::from_static(prologue))
    }

    fn pipe(prologue: &'static [u8]) -> (PipeReader, Sink<PipeWriter>) {
        let (reader, writer) = io::pipe().unwrap();
        (reader, Sink::to(writer, context(prologue)))
    }

    /// A pipe with a thread at its other end, which reads until the sink is dropped.
    #[derive(Default)]
    struct Pipe {
        reader: Option<JoinHandle<Vec<u8>>>,
    }

    impl Target for Pipe {
        const VISIBLE_WHEN_FLUSHED: bool = false;

        async fn open(&mut self, prologue: &'static [u8]) -> Box<dyn sink::Sink> {
            let (mut reader, sink) = pipe(prologue);
            self.reader = Some(std::thread::spawn(move || {
                let mut bytes = Vec::new();
                reader.read_to_end(&mut bytes).unwrap();
                bytes
            }));
            Box::new(sink)
        }

        async fn visible(&mut self) -> Vec<Vec<u8>> {
            vec![self.reader.take().unwrap().join().unwrap()]
        }
    }

    #[tokio::test]
    async fn standard_output_conforms() {
        check(&mut Pipe::default()).await;
    }

    /// What a process wrote.
    #[derive(Clone, Default)]
    struct Written(Arc<Mutex<Vec<u8>>>);

    impl Write for Written {
        fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
            self.0.lock().unwrap().extend_from_slice(bytes);
            Ok(bytes.len())
        }

        fn flush(&mut self) -> io::Result<()> {
            Ok(())
        }
    }

    /// One after the other, each with a standard output of its own.
    #[derive(Default)]
    struct Processes(Vec<Written>);

    impl EpochTarget for Processes {
        async fn clear(&mut self) -> Folder {
            self.0.clear();
            Folder::new(".")
        }

        async fn open(&mut self, context: SinkContext) -> Result<Box<dyn sink::Sink>, Fault> {
            let written = Written::default();
            self.0.push(written.clone());
            Ok(Box::new(Sink::to(written, context)))
        }

        async fn committer(&mut self, context: CommitterContext) -> Result<Box<dyn Committer>, Fault> {
            <Sink as SinkConnector>::committer(Config::default(), context)
        }

        async fn visible(&mut self) -> Vec<Vec<u8>> {
            self.0.iter().map(|written| written.0.lock().unwrap().clone()).collect()
        }
    }

    #[tokio::test]
    async fn rows_come_at_least_once_whatever_is_cut_off() {
        let settings = Settings {
            delivery: Delivery::AtLeastOnce,
            writers_max: 1,
            scripts: 200,
        };
        epochs::check(&mut Processes::default(), settings).await;
    }

    #[tokio::test]
    async fn rows_are_there_as_soon_as_they_are_written() {
        let (mut reader, mut sink) = pipe(b"h\n");
        let chunk = Chunk {
            bytes: Bytes::from_static(b"1\n"),
            ends: vec![2],
        };
        sink::Sink::write(&mut sink, chunk).await.unwrap();
        let mut bytes = [0; 4];
        reader.read_exact(&mut bytes).unwrap();
        assert_eq!(&bytes, b"h\n1\n");
    }

    #[tokio::test]
    async fn a_reader_that_has_read_enough_ends_the_job_quietly() {
        let (reader, mut sink) = pipe(b"");
        drop(reader);
        let chunk = Chunk {
            bytes: Bytes::from_static(b"1\n"),
            ends: vec![2],
        };
        let fault = sink::Sink::write(&mut sink, chunk).await.unwrap_err();
        assert!(is_closed(&fault));
        assert!(!is_closed(&Error::Panicked.into()));
    }
}
