//! The asynchronous side of a source: finds partitions, reads them, and hands over pieces while there is room.

use std::sync::Arc;
use std::time::Duration;

use tokio::sync::Semaphore;
use tokio::task::JoinSet;
use tokio::time::Instant;

use wasmill_connector_api::format::Framer;
use wasmill_connector_api::source::{PartitionReader, Payload, Read, Source};
use wasmill_core::clock::Clock;
use wasmill_core::fault::{Domain, Fault};

use super::block::Data;
use super::framing::Framing;
use super::shared::{PartitionIndex, Shared};
use crate::stop::Stopping;

/// Partitions that are open at a time. Others wait, and hold the watermark back.
const OPEN_PARTITIONS_MAX: usize = 512;
/// The undecoded bytes of a source, divided among its open partitions.
const UNDECODED_BYTES: usize = 16 << 20;
const PIECE_BYTES: std::ops::RangeInclusive<usize> = (16 << 10)..=(256 << 10);
/// How often a watermark that follows the clock is moved; Flink's default for its periodic watermarks.
const CLOCK_EVERY: Duration = Duration::from_millis(200);
/// How long a partition that had nothing is left alone.
const POLL_INTERVAL: Duration = Duration::from_millis(20);

/// Makes a framer for a stream of bytes; `None` for a source that yields columns.
pub(crate) type MakeFramer = Arc<dyn Fn() -> Box<dyn Framer> + Send + Sync>;

/// What reading needs beside the source itself.
#[derive(Clone)]
pub(crate) struct Reading {
    pub(crate) shared: Arc<Shared>,
    pub(crate) framer: Option<MakeFramer>,
    /// How often new partitions are looked for.
    pub(crate) discover_every: Duration,
    pub(crate) clock: Arc<dyn Clock>,
    pub(crate) stopping: Stopping,
}

/// Reads a source to its end, or until the job stops. Meanwhile a watermark that follows the clock is told of it.
///
/// # Errors
/// The source failed.
pub(crate) async fn read(source: Box<dyn Source>, reading: Reading) -> Result<(), Fault> {
    let Reading {
        shared,
        clock,
        stopping,
        ..
    } = reading.clone();
    if !shared.goes_by_clock() {
        return read_partitions(source, reading).await;
    }
    let follow = async {
        loop {
            shared.clock(clock.now());
            if stopping.within(CLOCK_EVERY).await {
                // Reading ends by itself.
                std::future::pending::<()>().await;
            }
        }
    };
    tokio::select! {
        result = read_partitions(source, reading) => result,
        () = follow => unreachable!("the clock goes on"),
    }
}

async fn read_partitions(mut source: Box<dyn Source>, reading: Reading) -> Result<(), Fault> {
    let open = Arc::new(Semaphore::new(OPEN_PARTITIONS_MAX));
    let mut partitions = JoinSet::new();
    let mut complete = false;
    let node = reading.shared.plan.id.clone();
    while !complete {
        let found = source.discover().await.map_err(|fault| fault.at(&node))?;
        complete = found.complete;
        let piece_bytes = piece_bytes(partitions.len() + found.partitions.len());
        let found: Vec<_> = found
            .partitions
            .into_iter()
            .map(|name| (reading.shared.add_partition(name.clone()), name))
            .collect();
        if complete {
            reading.shared.complete();
        }
        for (index, name) in found {
            let slot = Arc::clone(&open).acquire_owned();
            let Some(slot) = reading.stopping.or(slot).await else {
                return Ok(());
            };
            let slot = slot.map_err(|_| Fault::fatal(Domain::Internal, "the limit of open partitions is gone"))?;
            let reader = source.open(&name, None).await.map_err(|fault| fault.at(&node))?;
            reading.shared.opened(index);
            let reading = reading.clone();
            let node = node.clone();
            partitions.spawn(async move {
                let result = read_partition(reader, index, piece_bytes, &reading).await;
                drop(slot);
                result.map_err(|fault| {
                    let message = format!("{name}: {}", fault.message);
                    Fault { message, ..fault }.at(&node)
                })
            });
        }
        while let Some(done) = partitions.try_join_next() {
            joined(done)?;
        }
        if !complete && reading.stopping.within(reading.discover_every).await {
            return Ok(());
        }
    }
    while let Some(done) = partitions.join_next().await {
        joined(done)?;
    }
    Ok(())
}

fn joined(done: Result<Result<(), Fault>, tokio::task::JoinError>) -> Result<(), Fault> {
    done.map_err(|error| Fault::fatal(Domain::Internal, format!("a reader ended badly: {error}")))?
}

/// Few partitions are read in large pieces, many in small ones, so that the sum is bounded.
fn piece_bytes(partitions: usize) -> usize {
    (UNDECODED_BYTES / partitions.clamp(1, OPEN_PARTITIONS_MAX) / 2).clamp(*PIECE_BYTES.start(), *PIECE_BYTES.end())
}

async fn read_partition(
    mut reader: Box<dyn PartitionReader>,
    index: PartitionIndex,
    piece_bytes: usize,
    reading: &Reading,
) -> Result<(), Fault> {
    let Reading {
        shared,
        clock,
        stopping,
        ..
    } = reading;
    let mut framing = reading
        .framer
        .clone()
        .map(|make| Framing::new(Box::new(move || make())));
    let idle_after = shared
        .plan
        .node
        .watermark
        .idle_after
        .map(wasmill_core::time::Micros::to_std);
    let mut nothing_since: Option<Instant> = None;
    loop {
        let next = async {
            shared.room(index).await;
            reader.read(piece_bytes).await
        };
        let Some(read) = stopping.or(next).await else {
            return Ok(());
        };
        let data = match read? {
            Read::Nothing => {
                let since = *nothing_since.get_or_insert_with(Instant::now);
                shared.found_nothing(
                    index,
                    idle_after.is_some_and(|idle_after| since.elapsed() >= idle_after),
                );
                if stopping.within(POLL_INTERVAL).await {
                    return Ok(());
                }
                continue;
            }
            Read::End => {
                if let Some(stretch) = framing.as_mut().map_or(Ok(None), Framing::end)? {
                    shared.put(index, Data::from_stretch(stretch), clock.now());
                }
                shared.end(index);
                return Ok(());
            }
            Read::Boundary => framing.as_mut().map_or(Ok(None), Framing::end)?.map(Data::from_stretch),
            Read::Data(Payload::Stream {
                bytes,
                position,
                metadata,
            }) => {
                let framing = framing.as_mut().ok_or_else(no_format)?;
                framing.push(bytes, position, metadata)?.map(Data::from_stretch)
            }
            Read::Data(Payload::Records(records)) => Some(Data::from_records(records)),
            Read::Data(Payload::Columns(columns)) => Some(Data::Rows(columns)),
        };
        nothing_since = None;
        if let Some(data) = data {
            shared.put(index, data, clock.now());
        }
    }
}

fn no_format() -> Fault {
    Fault::fatal(
        Domain::Internal,
        "the source yields bytes, but its plan names no format",
    )
}
