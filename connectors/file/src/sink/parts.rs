//! Files of a bounded length in a folder, each visible when it is whole.
//!
//! A part is cut behind the row that fills it, wherever chunks end, so the parts of a writer depend on its rows alone
//! (unless time, or the end of an epoch, cuts them). With checkpoints an epoch ends the part; exactly once, a part that
//! ended keeps its temporary name until the epoch is committed.

use std::fs::{self, File};
use std::path::{Path, PathBuf};

use bytes::Bytes;
use tokio::time::Instant;

use wasmill_connector_api::sink::{Chunk, Prepared, SinkContext, Start};
use wasmill_core::delivery::Delivery;
use wasmill_core::id::Generation;

use crate::client::{create_folder, sync_folder};
use crate::config::{Compression, IfExists, Parts, SinkConfig};
use crate::error::Error;

use super::output::Output;
use super::prepared::{Staged, StagedParts, What, staged_parts};

/// Writes the parts of one writer.
pub(super) struct PartsWriter {
    folder: PathBuf,
    limits: Parts,
    compression: Compression,
    prologue: Bytes,
    writer: u32,
    /// The number of the next part.
    next: u64,
    part: Option<Part>,
    /// What keeps the temporary names of this generation apart from those of others.
    generation: Generation,
    /// Set: parts that ended in this epoch wait for its commit.
    staged: Option<Vec<Staged>>,
}

/// A part that is being written.
struct Part {
    name: String,
    temporary: PathBuf,
    output: Output<File>,
    rows: u64,
    bytes: u64,
    since: Instant,
}

impl PartsWriter {
    pub(super) fn open(
        folder: PathBuf,
        config: &SinkConfig,
        limits: &Parts,
        context: SinkContext,
    ) -> Result<Self, Error> {
        create_folder(&folder)?;
        let next = match &context.start {
            Start::Resumed(prepared) if !prepared.is_empty() => {
                let before = staged_parts(prepared, &folder)?;
                before.iter().map(|writer| writer.next).max().unwrap_or_default()
            }
            start => Self::first(&folder, config.if_exists, start, &context)?,
        };
        Ok(Self {
            folder,
            limits: limits.clone(),
            compression: config.compression,
            prologue: context.prologue,
            writer: context.writer,
            next,
            part: None,
            generation: context.generation,
            staged: (context.delivery > Delivery::AtLeastOnce).then(Vec::new),
        })
    }

    /// The number of the first part, after what `if-exists` says of those that are there.
    fn first(folder: &Path, if_exists: IfExists, start: &Start, context: &SinkContext) -> Result<u64, Error> {
        let mut next = 0;
        // What an earlier run with more writers left is the first writer's matter.
        let mine = |number: &PartNumber| {
            number.writer == context.writer || (context.writer == 0 && number.writer >= context.writers)
        };
        let mut found = numbers(folder)?;
        found.retain(|(_, number)| mine(number));
        if if_exists == IfExists::Error
            && *start == Start::Fresh
            && let Some((name, _)) = found.iter().find(|(_, number)| !number.temporary)
        {
            return Err(Error::Exists {
                path: folder.join(name),
            });
        }
        for (name, number) in found {
            if if_exists != IfExists::Overwrite && !number.temporary {
                if number.writer == context.writer {
                    next = next.max(number.part + 1);
                }
            } else {
                let path = folder.join(name);
                fs::remove_file(&path).map_err(Error::io("remove", &path))?;
            }
        }
        Ok(next)
    }

    pub(super) fn write(&mut self, chunk: &Chunk) -> Result<(), Error> {
        self.close_old()?;
        let mut first = 0;
        let mut start = 0;
        while first < chunk.ends.len() {
            if self.part.is_none() {
                self.part = Some(self.begin()?);
            }
            let part = self.part.as_mut().expect("a part was begun");
            let after = part.fill(&self.limits, &chunk.ends[first..], start) + first;
            let end = chunk.ends[after - 1];
            part.output
                .write(&chunk.bytes[start as usize..end as usize])
                .map_err(Error::io("write", &part.temporary))?;
            if part.is_full(&self.limits) {
                self.close()?;
            }
            first = after;
            start = end;
        }
        Ok(())
    }

    pub(super) fn flush(&mut self) -> Result<(), Error> {
        self.close_old()
    }

    /// Ends the epoch: its parts are durable.
    pub(super) fn prepare(&mut self) -> Result<Prepared, Error> {
        self.close()?;
        sync_folder(&self.folder.join("."))?;
        let parts = self.staged.as_mut().map(std::mem::take).unwrap_or_default();
        Ok(What::Parts(StagedParts { next: self.next, parts }).prepared())
    }

    /// With a commit to come, what is not prepared is given up; the next generation removes it.
    pub(super) fn finish(&mut self) -> Result<(), Error> {
        if self.staged.is_some() {
            self.part = None;
            return Ok(());
        }
        self.close()?;
        sync_folder(&self.folder.join("."))
    }

    fn begin(&mut self) -> Result<Part, Error> {
        let ending = match self.compression {
            Compression::Auto | Compression::None => "",
            Compression::Gzip => ".gz",
            Compression::Zstd => ".zst",
        };
        let extension = self
            .limits
            .extension
            .as_ref()
            .map(|text| format!(".{text}"))
            .unwrap_or_default();
        let name = loop {
            let name = format!("part-{:04}-{:06}{extension}{ending}", self.writer, self.next);
            self.next += 1;
            // A part of a history that was given up may be there.
            if self.folder.join(&name).symlink_metadata().is_err() {
                break name;
            }
        };
        let temporary = self.folder.join(format!(".{name}.g{}.tmp", self.generation));
        let file = File::create(&temporary).map_err(Error::io("create", &temporary))?;
        let mut output = Output::new(file, self.compression).map_err(Error::io("write", &temporary))?;
        output.write(&self.prologue).map_err(Error::io("write", &temporary))?;
        Ok(Part {
            name,
            temporary,
            output,
            rows: 0,
            bytes: 0,
            since: Instant::now(),
        })
    }

    /// Ends the part if its time is over.
    fn close_old(&mut self) -> Result<(), Error> {
        match (&self.part, self.limits.every) {
            (Some(part), Some(every)) if part.since.elapsed() >= every.to_std() => self.close(),
            _ => Ok(()),
        }
    }

    /// Ends the part, if there is one, and makes it durable, and visible unless that waits for a commit.
    fn close(&mut self) -> Result<(), Error> {
        let Some(part) = self.part.take() else { return Ok(()) };
        let finished = part.output.finish().and_then(|file| file.sync_all());
        finished.map_err(Error::io("finish", &part.temporary))?;
        if let Some(staged) = &mut self.staged {
            let temporary = part.temporary.file_name().expect("it was given a name");
            staged.push(Staged {
                staged: temporary.to_string_lossy().into_owned(),
                name: part.name,
            });
            return Ok(());
        }
        let path = self.folder.join(&part.name);
        fs::rename(&part.temporary, &path).map_err(Error::io("rename to", &path))?;
        sync_folder(&path)
    }
}

impl Part {
    /// Counts in the rows that the part still takes, at least one, and says how many.
    fn fill(&mut self, limits: &Parts, ends: &[u32], start: u32) -> usize {
        let mut taken = 0;
        let before = self.bytes;
        while taken < ends.len() && (taken == 0 || !self.is_full(limits)) {
            self.bytes = before + u64::from(ends[taken] - start);
            self.rows += 1;
            taken += 1;
        }
        taken
    }

    fn is_full(&self, limits: &Parts) -> bool {
        limits.rows.is_some_and(|rows| self.rows >= rows.get()) || limits.size.is_some_and(|size| self.bytes >= size.0)
    }
}

/// What a part's name says.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct PartNumber {
    pub(super) writer: u32,
    pub(super) part: u64,
    /// Of a temporary name, where it says so.
    pub(super) generation: Option<Generation>,
    /// It was never completed, or waits for its commit.
    pub(super) temporary: bool,
}

/// The parts in a folder, by name; nothing where the folder is not there.
pub(super) fn numbers(folder: &Path) -> Result<Vec<(String, PartNumber)>, Error> {
    let entries = match fs::read_dir(folder) {
        Err(error) if error.kind() == std::io::ErrorKind::NotFound => return Ok(Vec::new()),
        entries => entries.map_err(Error::io("read the folder", folder))?,
    };
    let mut found = Vec::new();
    for entry in entries {
        let entry = entry.map_err(Error::io("read the folder", folder))?;
        let name = entry.file_name().to_string_lossy().into_owned();
        if let Some(number) = read_name(&name) {
            found.push((name, number));
        }
    }
    Ok(found)
}

/// `part-0003-000012.jsonl`, or with `.` before and `.g1.tmp` behind it.
fn read_name(name: &str) -> Option<PartNumber> {
    let hidden = name.strip_prefix('.').and_then(|name| name.strip_suffix(".tmp"));
    let (writer, rest) = hidden.unwrap_or(name).strip_prefix("part-")?.split_once('-')?;
    let part = rest.split('.').next()?;
    let number = |text: &str| {
        text.bytes()
            .all(|byte| byte.is_ascii_digit())
            .then(|| text.parse::<u64>().ok())
            .flatten()
    };
    let generation = hidden.and_then(|name| number(name.rsplit_once(".g")?.1));
    Some(PartNumber {
        generation: generation.map(Generation),
        writer: u32::try_from(number(writer)?).ok()?,
        part: number(part)?,
        temporary: hidden.is_some(),
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_names_of_parts_are_parts() {
        let check = |name: &str, expect: Option<(u32, u64, bool, Option<u64>)>| {
            let number = read_name(name).map(|number| {
                let generation = number.generation.map(|generation| generation.0);
                (number.writer, number.part, number.temporary, generation)
            });
            assert_eq!(number, expect, "{name}");
        };
        check("part-0003-000012.jsonl", Some((3, 12, false, None)));
        check("part-0003-000012", Some((3, 12, false, None)));
        check("part-0003-000012.g1", Some((3, 12, false, None)));
        check(".part-0000-000000.csv.gz.tmp", Some((0, 0, true, None)));
        check(".part-0000-000000.csv.gz.g12.tmp", Some((0, 0, true, Some(12))));
        for other in [
            "part-1.csv",
            "part-a-1",
            "part-1-x.csv",
            "apart-1-1",
            ".part-1-1",
            "part--1",
        ] {
            check(other, None);
        }
    }
}
