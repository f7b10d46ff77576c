//! What every source must do when it goes on from a checkpoint.

use wasmill_core::id::PartitionName;

use crate::source::{Payload, Read, Resume, Source};

use super::source::{Collector, Content, Contents};

/// Cuts of a partition that are tried.
const CUTS_MAX: usize = 48;

/// Where a checkpoint could be, after a payload.
struct Cut {
    /// The end of the payload, and for a stream places in it where a record may begin.
    positions: Vec<u64>,
    note: bytes::Bytes,
}

/// Stops at each boundary of payloads and goes on from there in a source that is opened anew: what comes is exactly what
/// comes behind that position without a stop. Where it goes on it stops once more.
pub(super) async fn check<Opened>(open: &mut impl FnMut(usize) -> Opened, bytes_max: usize, expect: &Contents)
where
    Opened: Future<Output = Box<dyn Source>>,
{
    for (partition, content) in expect {
        let cuts = cuts(open(4).await, partition, bytes_max).await;
        let step = cuts.len().div_ceil(CUTS_MAX).max(1);
        for cut in cuts.iter().step_by(step) {
            for &position in &cut.positions {
                let from = Resume {
                    position,
                    note: cut.note.clone(),
                };
                let again = go_on(open(4).await, partition, &from, bytes_max).await;
                let rest = content.from_position(position);
                assert_eq!(
                    parts(&again.0),
                    parts(&rest),
                    "partition {partition} from {from:?} in pieces of {bytes_max} bytes"
                );
                let Some(second) = again.1 else { continue };
                let rest = content.from_position(second.position);
                let again = go_on(open(4).await, partition, &second, bytes_max).await;
                assert_eq!(
                    parts(&again.0),
                    parts(&rest),
                    "partition {partition} from {from:?} and then {second:?} in pieces of {bytes_max} bytes"
                );
            }
        }
    }
}

/// Reads a partition to its end, with an acknowledgement after each payload.
async fn cuts(mut source: Box<dyn Source>, partition: &PartitionName, bytes_max: usize) -> Vec<Cut> {
    source.discover().await.expect("discovery works");
    let mut reader = source.open(partition, None).await.expect("the partition opens");
    let mut cuts = Vec::new();
    let mut collector = Collector::default();
    while !collector.ended {
        let read = reader.read(bytes_max).await.expect("reading works");
        if let Read::Data(payload) = &read {
            let positions = positions(payload);
            let note = reader.note();
            reader.acknowledge(positions[0]).await.expect("acknowledging works");
            cuts.push(Cut { positions, note });
        }
        collector.take(read);
    }
    if let Some(last) = cuts.last() {
        assert_eq!(reader.note(), last.note, "the note is that of the last payload");
    }
    cuts
}

/// Where reading may go on after this payload: at its end, or, in a stream, where its last record begins.
fn positions(payload: &Payload) -> Vec<u64> {
    match payload {
        Payload::Stream { bytes, position, .. } => {
            let len = bytes.len() as u64;
            let mut positions = vec![position + len, position + len / 2, *position];
            positions.dedup();
            positions
        }
        Payload::Records(records) => vec![last(&records.positions) + 1],
        Payload::Columns(columns) => vec![last(&columns.positions) + 1],
    }
}

fn last(positions: &[u64]) -> u64 {
    *positions.last().expect("a payload holds something")
}

/// What comes from a place on, and where the first payload of it ends.
async fn go_on(
    mut source: Box<dyn Source>,
    partition: &PartitionName,
    from: &Resume,
    bytes_max: usize,
) -> (Content, Option<Resume>) {
    source.discover().await.expect("discovery works");
    let mut reader = source
        .open(partition, Some(from))
        .await
        .expect("the partition opens where it was left");
    assert_eq!(
        reader.note(),
        from.note,
        "before the first payload the note is the one before"
    );
    let mut collector = Collector::default();
    let mut second = None;
    while !collector.ended {
        let read = reader.read(bytes_max).await.expect("reading goes on");
        if let (Read::Data(payload), None) = (&read, &second) {
            second = Some(Resume {
                position: positions(payload)[0],
                note: reader.note(),
            });
        }
        collector.take(read);
    }
    (collector.finish(), second)
}

/// The records and their positions: what has none left does not say what it yields.
fn parts(content: &Content) -> (&[Vec<u8>], &[u64]) {
    (&content.records, &content.positions)
}
