//! Files of a bounded length in a folder, each visible when it is whole.
//!
//! A part is cut behind the row that fills it, wherever chunks end, so the parts of a writer depend on its rows alone
//! (unless time cuts them).

use std::fs::{self, File};
use std::path::{Path, PathBuf};

use bytes::Bytes;
use tokio::time::Instant;

use wasmill_connector_api::sink::{Chunk, SinkContext};

use crate::client::{create_folder, sync_folder};
use crate::config::{Compression, IfExists, Parts, SinkConfig};
use crate::error::Error;

use super::output::Output;

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
}

/// A part that is being written.
struct Part {
    name: String,
    temporary: PathBuf,
    output: Output,
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
        let mut next = 0;
        // What an earlier run with more writers left is the first writer's matter.
        let mine = |number: &PartNumber| {
            number.writer == context.writer || (context.writer == 0 && number.writer >= context.writers)
        };
        let mut found = numbers(&folder)?;
        found.retain(|(_, number)| mine(number));
        if config.if_exists == IfExists::Error
            && let Some((name, _)) = found.iter().find(|(_, number)| !number.temporary)
        {
            return Err(Error::Exists {
                path: folder.join(name),
            });
        }
        for (name, number) in found {
            if config.if_exists == IfExists::Append && !number.temporary {
                if number.writer == context.writer {
                    next = next.max(number.part + 1);
                }
            } else {
                let path = folder.join(name);
                fs::remove_file(&path).map_err(Error::io("remove", &path))?;
            }
        }
        Ok(Self {
            folder,
            limits: limits.clone(),
            compression: config.compression,
            prologue: context.prologue,
            writer: context.writer,
            next,
            part: None,
        })
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

    pub(super) fn finish(&mut self) -> Result<(), Error> {
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
        let name = format!("part-{:04}-{:06}{extension}{ending}", self.writer, self.next);
        let temporary = self.folder.join(format!(".{name}.tmp"));
        let file = File::create(&temporary).map_err(Error::io("create", &temporary))?;
        let mut output = Output::new(file, self.compression).map_err(Error::io("write", &temporary))?;
        output.write(&self.prologue).map_err(Error::io("write", &temporary))?;
        self.next += 1;
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

    /// Ends the part, if there is one, and makes it visible and durable.
    fn close(&mut self) -> Result<(), Error> {
        let Some(part) = self.part.take() else { return Ok(()) };
        part.output.finish().map_err(Error::io("finish", &part.temporary))?;
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
    writer: u32,
    part: u64,
    /// It was never completed.
    temporary: bool,
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

/// `part-0003-000012.jsonl`, or with `.` before and `.tmp` behind it.
fn read_name(name: &str) -> Option<PartNumber> {
    let hidden = name.strip_prefix('.').and_then(|name| name.strip_suffix(".tmp"));
    let (writer, rest) = hidden.unwrap_or(name).strip_prefix("part-")?.split_once('-')?;
    let part = rest.split('.').next()?;
    let number = |text: &str| {
        text.bytes()
            .all(|byte| byte.is_ascii_digit())
            .then(|| text.parse().ok())
            .flatten()
    };
    Some(PartNumber {
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
        let check = |name: &str, expect: Option<(u32, u64, bool)>| {
            let number = read_name(name).map(|number| (number.writer, number.part, number.temporary));
            assert_eq!(number, expect, "{name}");
        };
        check("part-0003-000012.jsonl", Some((3, 12, false)));
        check("part-0003-000012", Some((3, 12, false)));
        check(".part-0000-000000.csv.gz.tmp", Some((0, 0, true)));
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
