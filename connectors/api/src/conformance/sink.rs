//! What every sink must do.

use std::future::Future;

use bytes::Bytes;

use crate::sink::{Chunk, Sink};

/// The real thing behind a sink, as the checks need it.
pub trait Target: Send {
    /// A new, empty target, and a sink that writes to it. Each file or stream of it begins with `prologue`.
    fn open(&mut self, prologue: &'static [u8]) -> impl Future<Output = Box<dyn Sink>> + Send;

    /// What a reader of the target sees at present: each file, stream or queue, in the order in which they were written.
    fn visible(&mut self) -> impl Future<Output = Vec<Vec<u8>>> + Send;

    /// Whether what was flushed is visible before the end.
    const VISIBLE_WHEN_FLUSHED: bool;
}

/// A prologue such as a CSV header.
const PROLOGUE: &[u8] = b"number,text\n";

/// Runs all checks.
///
/// # Panics
/// The sink does not conform.
pub async fn check(target: &mut impl Target) {
    check_rows(target, b"").await;
    check_rows(target, PROLOGUE).await;
    check_empty(target, b"").await;
    check_empty(target, PROLOGUE).await;
}

/// Rows of very different lengths, in chunks of very different lengths.
fn chunks() -> Vec<Chunk> {
    let mut row = 0;
    [1, 0, 2, 100, 1, 1_000, 3]
        .into_iter()
        .map(|rows| {
            let mut bytes = Vec::new();
            let mut ends = Vec::new();
            for _ in 0..rows {
                bytes.extend_from_slice(format!("{row},{}\n", "x".repeat(row * 37 % 301)).as_bytes());
                ends.push(bytes.len() as u32);
                row += 1;
            }
            Chunk {
                bytes: Bytes::from(bytes),
                ends,
            }
        })
        .collect()
}

async fn check_rows<T: Target>(target: &mut T, prologue: &'static [u8]) {
    let mut sink = target.open(prologue).await;
    let mut written = Vec::new();
    for (number, chunk) in chunks().into_iter().enumerate() {
        written.extend_from_slice(&chunk.bytes);
        sink.write(chunk).await.expect("writing works");
        if number % 2 == 0 {
            sink.flush().await.expect("flushing works");
            if T::VISIBLE_WHEN_FLUSHED {
                let seen = rows(&target.visible().await, prologue);
                assert!(seen == written, "what was flushed is visible");
            }
        }
    }
    sink.finish().await.expect("finishing works");
    drop(sink);
    let seen = rows(&target.visible().await, prologue);
    assert_eq!(
        String::from_utf8_lossy(&seen),
        String::from_utf8_lossy(&written),
        "at the end every row is visible once, in order"
    );
}

/// A run without rows leaves something valid: nothing at all, or the prologue.
async fn check_empty(target: &mut impl Target, prologue: &'static [u8]) {
    let mut sink = target.open(prologue).await;
    sink.flush().await.expect("flushing works");
    sink.finish().await.expect("finishing works");
    drop(sink);
    let seen = target.visible().await;
    assert_eq!(rows(&seen, prologue), b"", "without rows there are none");
}

/// The rows of all files, each of which begins with the prologue.
fn rows(files: &[Vec<u8>], prologue: &[u8]) -> Vec<u8> {
    let rows = files.iter().map(|file| {
        let rows = file
            .strip_prefix(prologue)
            .expect("every file begins with the prologue");
        let last = rows.last().copied().unwrap_or(b'\n');
        assert_eq!(last, b'\n', "every file ends with a whole row");
        rows
    });
    rows.collect::<Vec<_>>().concat()
}
