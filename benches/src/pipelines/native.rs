//! The pipelines by hand: threads that take blocks of lines in turns, parse them into structs and write lines.

use std::borrow::Cow;
use std::collections::BTreeMap;
use std::fs::File;
use std::io::{Read, Write};
use std::path::Path;
use std::sync::{Mutex, PoisonError};
use std::thread;

use foldhash::fast::FixedState;
use hashbrown::HashMap;
use serde::Deserialize;

use crate::failure::Failure;
use crate::write;

const BLOCK_BYTES: usize = 256 << 10;
const WINDOW_MILLIS: i64 = 10_000;

/// A bid as it stands in a line.
#[derive(Deserialize)]
struct Bid<'a> {
    auction: i64,
    bidder: i64,
    price: i64,
    #[serde(borrow)]
    channel: Cow<'a, str>,
    #[serde(borrow)]
    url: Cow<'a, str>,
    date_time: i64,
}

/// What the window reads of it.
#[derive(Deserialize)]
struct Price {
    auction: i64,
    price: i64,
    date_time: i64,
}

/// Which pipeline.
#[derive(Clone, Copy, Debug)]
pub(super) enum Program {
    PassThrough,
    Map,
    Filter,
    Window,
}

/// Count and greatest price, by window and auction.
type Counts = HashMap<(i64, i64), (i64, i64), FixedState>;

impl Program {
    pub(super) fn run(self, threads: usize, input: &Path, output: &Path) -> Result<(), Failure> {
        let reader = Mutex::new(Blocks {
            file: File::open(input)?,
            rest: Vec::new(),
        });
        let writer = Mutex::new(File::create(output)?);
        let counts: Vec<Counts> = thread::scope(|scope| {
            let threads: Vec<_> = (0..threads)
                .map(|_| scope.spawn(|| self.work(&reader, &writer)))
                .collect();
            let done: Result<_, Failure> = threads
                .into_iter()
                .map(|thread| thread.join().expect("nothing panics"))
                .collect();
            done
        })?;
        let mut all: BTreeMap<(i64, i64), (i64, i64)> = BTreeMap::new();
        for (group, (count, top)) in counts.into_iter().flatten() {
            let sum = all.entry(group).or_insert((0, i64::MIN));
            *sum = (sum.0 + count, sum.1.max(top));
        }
        let mut out = Vec::new();
        for ((window, auction), (count, top)) in all {
            let start = window * WINDOW_MILLIS * 1000;
            write::number(br#"{"auction":"#, auction, &mut out);
            write::time(br#","window_start":"#, start, &mut out);
            write::time(br#","window_end":"#, start + WINDOW_MILLIS * 1000, &mut out);
            write::number(br#","bids":"#, count, &mut out);
            write::number(br#","top":"#, top, &mut out);
            out.extend_from_slice(b"}\n");
        }
        writer
            .into_inner()
            .unwrap_or_else(PoisonError::into_inner)
            .write_all(&out)?;
        Ok(())
    }

    fn work(self, reader: &Mutex<Blocks>, writer: &Mutex<File>) -> Result<Counts, Failure> {
        let mut counts = Counts::default();
        let mut out = Vec::new();
        loop {
            let block = reader.lock().unwrap_or_else(PoisonError::into_inner).next()?;
            if block.is_empty() {
                return Ok(counts);
            }
            for line in block.split_inclusive(|&byte| byte == b'\n') {
                if matches!(self, Self::Window) {
                    let bid: Price = sonic_rs::from_slice(line).expect("the bench wrote the line");
                    let group = (bid.date_time.div_euclid(WINDOW_MILLIS), bid.auction);
                    let sum = counts.entry(group).or_insert((0, i64::MIN));
                    *sum = (sum.0 + 1, sum.1.max(bid.price));
                } else {
                    let bid: Bid<'_> = sonic_rs::from_slice(line).expect("the bench wrote the line");
                    self.line(&bid, &mut out);
                }
            }
            if !out.is_empty() {
                writer.lock().unwrap_or_else(PoisonError::into_inner).write_all(&out)?;
                out.clear();
            }
        }
    }

    #[inline]
    fn line(self, bid: &Bid<'_>, out: &mut Vec<u8>) {
        if matches!(self, Self::Filter) && bid.auction % 2 != 0 {
            return;
        }
        write::number(br#"{"auction":"#, bid.auction, out);
        write::number(br#","bidder":"#, bid.bidder, out);
        write::number(br#","price":"#, bid.price, out);
        write::text(br#","channel":"#, &bid.channel, out);
        write::text(br#","url":"#, &bid.url, out);
        write::time(br#","date_time":"#, bid.date_time * 1000, out);
        if matches!(self, Self::Map) {
            write::float(br#","euros":"#, 0.908 * bid.price as f64, out);
        }
        out.extend_from_slice(b"}\n");
    }
}

/// A file in blocks of whole lines.
struct Blocks {
    file: File,
    /// The beginning of a line.
    rest: Vec<u8>,
}

impl Blocks {
    /// The next block; empty at the end.
    fn next(&mut self) -> Result<Vec<u8>, Failure> {
        let mut block = std::mem::take(&mut self.rest);
        let kept = block.len();
        block.resize(kept + BLOCK_BYTES, 0);
        let mut filled = kept;
        while filled < block.len() {
            let read = self.file.read(&mut block[filled..])?;
            if read == 0 {
                block.truncate(filled);
                return Ok(block);
            }
            filled += read;
        }
        let whole = block
            .iter()
            .rposition(|&byte| byte == b'\n')
            .map_or(filled, |end| end + 1);
        self.rest = block.split_off(whole);
        Ok(block)
    }
}
