//! What every source must do.

use std::collections::BTreeMap;
use std::future::Future;
use std::pin::pin;
use std::task::{Context, Poll, Waker};

use wasmill_core::column::Column;
use wasmill_core::id::PartitionName;

use crate::source::{PartitionReader, Payload, Read, Source};

/// What a partition holds, as a reader of it sees it.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Content {
    /// The records: stretches of a stream of bytes as one, cut at its boundaries; or messages; or rows.
    pub records: Vec<Vec<u8>>,
    /// The position of each record: of a stream, of its first byte.
    pub positions: Vec<u64>,
    /// Whether the records are streams of bytes, each byte of which has a position.
    pub streams: bool,
}

impl Content {
    /// What comes at `position` and behind it.
    #[must_use]
    pub fn from_position(&self, position: u64) -> Self {
        let mut rest = Self {
            streams: self.streams,
            ..Self::default()
        };
        for (record, &first) in self.records.iter().zip(&self.positions) {
            let passed = usize::try_from(position.saturating_sub(first)).unwrap_or(usize::MAX);
            let all_passed = if self.streams {
                passed >= record.len()
            } else {
                passed > 0
            };
            if !all_passed {
                rest.records.push(record[passed..].to_vec());
                rest.positions.push(first.max(position));
            }
        }
        rest
    }
}

/// By partition.
pub type Contents = BTreeMap<PartitionName, Content>;

/// How much is asked for in one call, from far too little to everything.
const BYTES_MAX: [usize; 4] = [1, 7, 4_096, 1 << 20];

/// How often a source may have nothing before it counts as stuck.
const NOTHING_MAX: usize = 1_000;

/// Runs all checks on a bounded source: `open` opens it anew, with `batch_rows` rows a payload at most. `expect` gives
/// the records of each partition without their positions.
///
/// # Panics
/// The source does not conform.
pub async fn check<Opened>(mut open: impl FnMut(usize) -> Opened, expect: &BTreeMap<&str, Vec<Vec<u8>>>)
where
    Opened: Future<Output = Box<dyn Source>>,
{
    let first = contents(open(4_096).await, 1 << 20).await;
    let records: BTreeMap<&str, &Vec<Vec<u8>>> = first
        .iter()
        .map(|(partition, content)| (partition.as_str(), &content.records))
        .collect();
    assert_eq!(
        records,
        expect.iter().map(|(name, records)| (*name, records)).collect(),
        "every record comes once, in order, in its partition"
    );
    for bytes_max in BYTES_MAX {
        for batch_rows in [1, 3, 4_096] {
            let again = contents(open(batch_rows).await, bytes_max).await;
            assert_eq!(
                again, first,
                "the same records and positions in payloads of {bytes_max} bytes and {batch_rows} rows"
            );
        }
    }
    check_discovery(open(4_096).await, first.len()).await;
    check_reopening(open(3).await, &first).await;
    check_dropped_reads(open(3).await, &first).await;
    for bytes_max in [7, 4_096, 1 << 20] {
        super::resume::check(&mut open, bytes_max, &first).await;
    }
}

/// Reads all partitions of a bounded source to their ends, in the order in which they were found.
///
/// # Panics
/// The source fails, is stuck, or gives positions that do not ascend.
pub async fn contents(mut source: Box<dyn Source>, bytes_max: usize) -> Contents {
    let discovery = source.discover().await.expect("discovery works");
    assert!(discovery.complete, "a bounded source knows all its partitions");
    let mut contents = Contents::new();
    for partition in discovery.partitions {
        let mut reader = source.open(&partition, None).await.expect("the partition opens");
        let content = read_to_end(reader.as_mut(), bytes_max).await;
        contents.insert(partition, content);
    }
    contents
}

/// Each partition is reported once, and found again under the same name.
async fn check_discovery(mut source: Box<dyn Source>, partitions: usize) {
    let first = source.discover().await.expect("discovery works");
    assert_eq!(first.partitions.len(), partitions);
    let mut names = first.partitions.clone();
    names.sort_unstable();
    names.dedup();
    assert_eq!(names.len(), partitions, "partitions have different names");
    let second = source.discover().await.expect("discovery works again");
    assert_eq!(second.partitions, [], "a partition is reported once");
}

/// Partitions that are opened twice, and read by turns, do not disturb each other.
async fn check_reopening(mut source: Box<dyn Source>, expect: &Contents) {
    let partitions = source.discover().await.expect("discovery works").partitions;
    let mut readers = Vec::new();
    for partition in partitions.iter().chain(&partitions) {
        let reader = source.open(partition, None).await.expect("the partition opens");
        readers.push((partition, reader, Collector::default()));
    }
    let mut open = readers.len();
    while open > 0 {
        for (_, reader, collector) in &mut readers {
            if !collector.ended {
                collector.take(reader.read(64).await.expect("reading works"));
                open -= usize::from(collector.ended);
            }
        }
    }
    for (partition, _, collector) in readers {
        assert_eq!(
            collector.finish(),
            expect[partition],
            "partition {partition} read beside others"
        );
    }
}

/// A read that is dropped before it is ready has taken nothing.
async fn check_dropped_reads(mut source: Box<dyn Source>, expect: &Contents) {
    for partition in source.discover().await.expect("discovery works").partitions {
        let mut reader = source.open(&partition, None).await.expect("the partition opens");
        let mut collector = Collector::default();
        while !collector.ended {
            let early = {
                let call = pin!(reader.read(16));
                poll_once(call)
            };
            let read = match early {
                Some(read) => read,
                None => reader.read(16).await,
            };
            collector.take(read.expect("reading works"));
        }
        assert_eq!(
            collector.finish(),
            expect[&partition],
            "partition {partition} with dropped reads"
        );
    }
}

fn poll_once<T>(future: std::pin::Pin<&mut (impl Future<Output = T> + ?Sized)>) -> Option<T> {
    match future.poll(&mut Context::from_waker(Waker::noop())) {
        Poll::Ready(value) => Some(value),
        Poll::Pending => None,
    }
}

/// Reads a partition to its end.
///
/// # Panics
/// The reader fails, is stuck, or gives positions that do not ascend.
pub async fn read_to_end(reader: &mut dyn PartitionReader, bytes_max: usize) -> Content {
    let mut collector = Collector::default();
    while !collector.ended {
        collector.take(reader.read(bytes_max).await.expect("reading works"));
    }
    collector.finish()
}

/// Reads what a partition that does not end has at present: until it has nothing, `quiet` times in a row.
///
/// # Panics
/// The reader fails, ends, or gives positions that do not ascend.
pub async fn read_what_is_there(reader: &mut dyn PartitionReader, quiet: usize) -> Content {
    let mut collector = Collector::default();
    while collector.nothing < quiet {
        collector.take(reader.read(64).await.expect("reading works"));
        assert!(!collector.ended, "the partition does not end");
    }
    collector.finish()
}

/// Puts payloads together.
#[derive(Debug, Default)]
pub(super) struct Collector {
    content: Content,
    /// Where the stream goes on; `None` before its first stretch.
    next: Option<u64>,
    nothing: usize,
    pub(super) ended: bool,
}

impl Collector {
    pub(super) fn take(&mut self, read: Read) {
        if matches!(read, Read::Nothing) {
            self.nothing += 1;
            assert!(self.nothing < NOTHING_MAX, "the source has nothing and does not end");
            return;
        }
        self.nothing = 0;
        match read {
            Read::Nothing => {}
            Read::End => self.ended = true,
            Read::Boundary => self.next = None,
            Read::Data(Payload::Stream { bytes, position, .. }) => {
                assert!(!bytes.is_empty(), "a payload holds something");
                self.content.streams = true;
                if let Some(next) = self.next {
                    assert_eq!(position, next, "positions of a stream count its bytes");
                } else {
                    self.content.records.push(Vec::new());
                    self.content.positions.push(position);
                }
                self.next = Some(position + bytes.len() as u64);
                let record = self.content.records.last_mut().expect("a stream was begun");
                record.extend_from_slice(&bytes);
            }
            Read::Data(Payload::Records(records)) => {
                assert_eq!(records.ends.len(), records.positions.len(), "a position per record");
                assert!(!records.ends.is_empty(), "a payload holds something");
                let mut start = 0;
                for end in records.ends {
                    self.content.records.push(records.bytes[start..end as usize].to_vec());
                    start = end as usize;
                }
                self.content.positions.extend(records.positions);
            }
            Read::Data(Payload::Columns(columns)) => {
                assert!(!columns.positions.is_empty(), "a payload holds something");
                for row in 0..columns.positions.len() {
                    self.content.records.push(show_row(&columns.columns, row));
                }
                self.content.positions.extend(columns.positions);
            }
        }
    }

    pub(super) fn finish(self) -> Content {
        assert!(
            self.content.positions.is_sorted_by(|a, b| a < b),
            "positions ascend: {:?}",
            self.content.positions
        );
        self.content
    }
}

/// A row as text: its values, one after the other.
fn show_row(columns: &[Option<Column>], row: usize) -> Vec<u8> {
    let values: Vec<String> = columns
        .iter()
        .map(|column| match column {
            None => "-".to_owned(),
            Some(column) => format!("{:?}", column.value(row)),
        })
        .collect();
    values.join(" ").into_bytes()
}
