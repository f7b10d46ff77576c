//! Yields generated rows, as fast as they are taken or at a rate.

use std::time::Duration;

use async_trait::async_trait;
use bytes::Bytes;
use tokio::time::{Instant, sleep_until};

use wasmill_connector_api::config::{ConfigProblem, Folder};
use wasmill_connector_api::source::{
    self, Columns, Discovery, PartitionReader, Payload, Read, Replay, Resume, SourceConnector, SourceContext,
    SourceDescription, Yields,
};
use wasmill_core::fault::Fault;
use wasmill_core::id::PartitionName;
use wasmill_core::schema::Schema;
use wasmill_core::time::Micros;

use crate::config::{Config, Kind};
use crate::error::Error;
use crate::{counter, nexmark};

/// The source connector `generator`.
///
/// Partitions are named `0`, `1` and so on; a position is a record's number. The source can be read again from any
/// position, as long as `partitions` is what it was. A `rate` counts from the time at which reading begins or goes on.
#[derive(Debug)]
pub struct Source {
    config: Config,
    start: i64,
    context: SourceContext,
    reported: bool,
}

impl SourceConnector for Source {
    const NAME: &'static str = "generator";
    type Config = Config;

    fn describe(config: &Config, _folder: &Folder) -> Result<SourceDescription, Vec<ConfigProblem>> {
        start_of(config)
            .map_err(|message| vec![ConfigProblem::at("start", message).help("start = \"2026-01-01T00:00:00Z\"")])?;
        Ok(SourceDescription {
            yields: Yields::Columns(schema(config.kind)),
            metadata: &[],
            bounded: config.rows.is_some(),
            one_partition: true,
            discover_every: Micros::SECOND,
            replay: Replay::Replayable,
            irreproducible: None,
            reads: Vec::new(),
        })
    }

    fn open(config: Config, context: SourceContext) -> Result<Box<dyn source::Source>, Fault> {
        let start = start_of(&config).map_err(Error::Unchecked)?;
        Ok(Box::new(Self {
            config,
            start,
            context,
            reported: false,
        }))
    }
}

fn schema(kind: Kind) -> Schema {
    match kind {
        Kind::Counter => counter::schema(),
        Kind::Nexmark => nexmark::schema(),
    }
}

fn start_of(config: &Config) -> Result<i64, String> {
    let start: jiff::Timestamp = config
        .start
        .parse()
        .map_err(|_| format!("\"{}\" is not a point in time in RFC 3339", config.start))?;
    Ok(start.as_microsecond())
}

#[async_trait]
impl source::Source for Source {
    async fn discover(&mut self) -> Result<Discovery, Fault> {
        let all = 0..self.config.partitions.get();
        let partitions = if self.reported {
            Vec::new()
        } else {
            all.map(|number| PartitionName::new(number.to_string())).collect()
        };
        self.reported = true;
        Ok(Discovery {
            partitions,
            complete: true,
        })
    }

    async fn open(
        &mut self,
        partition: &PartitionName,
        from: Option<&Resume>,
    ) -> Result<Box<dyn PartitionReader>, Fault> {
        let partitions = self.config.partitions.get();
        let number = partition.as_str().parse::<u16>().ok();
        let number = number
            .filter(|number| *number < partitions)
            .ok_or_else(|| Error::UnknownPartition(partition.clone()))?;
        let note = note(partitions);
        if let Some(from) = from
            && !from.note.is_empty()
            && from.note != note
        {
            return Err(Error::PartitionsChanged {
                before: String::from_utf8_lossy(&from.note).into_owned(),
                now: partitions,
            }
            .into());
        }
        let first = u64::from(number);
        let partitions = u64::from(partitions);
        // The first number of this partition that is not below the position.
        let done = from.map_or(0, |from| from.position.saturating_sub(first).div_ceil(partitions));
        Ok(Box::new(Reader {
            kind: self.config.kind,
            seed: self.config.seed,
            start: self.start,
            live: self.context.live.clone(),
            batch_rows: self.context.batch_rows.max(1) as u64,
            next: first.saturating_add(done.saturating_mul(partitions)),
            step: partitions,
            end: self.config.rows.map_or(u64::MAX, std::num::NonZeroU64::get),
            pace: self.config.rate.map(|rate| Pace::new(rate.get(), partitions)),
            note,
        }))
    }
}

/// What a checkpoint remembers beside a position: among how many partitions the numbers were shared out.
fn note(partitions: u16) -> Bytes {
    Bytes::from(partitions.to_string())
}

/// What a row takes of the bytes that a read may give, about.
const fn row_bytes(kind: Kind) -> usize {
    match kind {
        Kind::Counter => 16,
        Kind::Nexmark => 256,
    }
}

/// One partition.
#[derive(Debug)]
struct Reader {
    kind: Kind,
    seed: u64,
    start: i64,
    live: Vec<bool>,
    batch_rows: u64,
    /// The number of the next row.
    next: u64,
    /// From a row's number to that of the next one.
    step: u64,
    /// The first number that is too large.
    end: u64,
    pace: Option<Pace>,
    note: Bytes,
}

/// When rows are due.
#[derive(Debug)]
struct Pace {
    /// When the first read came.
    since: Option<Instant>,
    /// Rows of this partition in a second, as a fraction.
    rate: u64,
    partitions: u64,
    given: u64,
}

const NANOS_PER_SECOND: u128 = 1_000_000_000;

impl Pace {
    fn new(rate: u64, partitions: u64) -> Self {
        Self {
            since: None,
            rate,
            partitions,
            given: 0,
        }
    }

    /// Waits until a row is due, and says how many are.
    async fn due(&mut self) -> u64 {
        let since = *self.since.get_or_insert_with(Instant::now);
        let per_row = NANOS_PER_SECOND * u128::from(self.partitions);
        loop {
            let rows = since.elapsed().as_nanos() * u128::from(self.rate) / per_row;
            let due = u64::try_from(rows).unwrap_or(u64::MAX).saturating_sub(self.given);
            if due > 0 {
                return due;
            }
            let nanos = (u128::from(self.given + 1) * per_row).div_ceil(u128::from(self.rate));
            sleep_until(since + Duration::from_nanos(u64::try_from(nanos).unwrap_or(u64::MAX))).await;
        }
    }
}

#[async_trait]
impl PartitionReader for Reader {
    async fn read(&mut self, bytes_max: usize) -> Result<Read, Fault> {
        if self.next >= self.end {
            return Ok(Read::End);
        }
        let left = (self.end - self.next).div_ceil(self.step);
        let fit = (bytes_max / row_bytes(self.kind)).max(1) as u64;
        let mut rows = left.min(fit).min(self.batch_rows);
        // Nothing is taken before the last wait is over.
        if let Some(pace) = &mut self.pace {
            rows = rows.min(pace.due().await);
            pace.given += rows;
        }
        let (first, step) = (self.next, self.step);
        let numbers = (0..rows).map(move |row| first + row * step);
        self.next = first.saturating_add(rows.saturating_mul(step));
        let columns = match self.kind {
            Kind::Counter => counter::columns(self.start, &numbers, &self.live),
            Kind::Nexmark => nexmark::columns(self.seed, self.start, numbers.clone(), &self.live),
        };
        Ok(Read::Data(Payload::Columns(Columns {
            columns,
            positions: numbers.collect(),
            metadata: Vec::new(),
        })))
    }

    fn note(&self) -> Bytes {
        self.note.clone()
    }

    /// Numbers need not be given back.
    async fn acknowledge(&mut self, _position: u64) -> Result<(), Fault> {
        Ok(())
    }
}
