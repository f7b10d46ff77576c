//! The keyed exchange: rows to the worker that owns their key, beside two threads that hand rows over by hand.

use std::collections::VecDeque;
use std::hint::black_box;
use std::num::NonZeroUsize;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::mpsc::{Receiver, SyncSender, sync_channel};
use std::sync::{Arc, Mutex};
use std::thread;

use wasmill_core::batch::{Batch, OutputColumn, Slot};
use wasmill_core::clock::ManualClock;
use wasmill_core::column::Column;
use wasmill_core::fault::Fault;
use wasmill_core::id::Epoch;
use wasmill_core::key::KEY_GROUPS_DEFAULT;
use wasmill_core::operator::Emit;
use wasmill_core::time::Timestamp;
use wasmill_engine::{
    Abort, Alarms, Dataflow, Route, Settings, SinkState, SinkTask, SourceOutput, SourceState, SourceTask, Ticket,
};

use crate::Run;
use crate::events;
use crate::failure::Failure;
use crate::report::Budget;
use crate::timing::{Cost, compare};

const NAME: &str = "exchange";
const ROWS: usize = 1 << 20;
const BATCH_ROWS: usize = 4096;
/// Batches that a source sends in one turn.
const PER_TURN: usize = 4;
/// Batches between two promises.
const PER_PROMISE: usize = 64;

/// Runs the bench.
pub(crate) fn run(run: &mut Run<'_>) -> Result<(), Failure> {
    let lines = [
        (false, 1, "3 numeric columns, 1 worker", Budget::None),
        (false, 2, "3 numeric columns, 2 workers", Budget::Nanos(15.0)),
        (true, 1, "with 2 columns of text, 1 worker", Budget::None),
        (true, 2, "with 2 columns of text, 2 workers", Budget::None),
    ];
    if !lines.iter().any(|line| run.wants(NAME, line.2)) {
        return Ok(());
    }
    run.report.bench(
        NAME,
        "from source to sink by key; natively threads with channels, gathering rows",
    );
    for (text, workers, line, budget) in lines {
        if !run.wants(NAME, line) {
            continue;
        }
        let parts = shares(text, workers);
        assert_eq!(engine(&parts)?, ROWS, "every row arrives");
        let measured = compare(
            run.plan(),
            Cost::Process,
            ROWS,
            || assert_eq!(engine(&parts).ok(), Some(ROWS), "every row arrives"),
            || assert_eq!(by_hand(&parts), ROWS, "every row arrives"),
        );
        run.report.add(line, &measured, budget);
    }
    Ok(())
}

/// What each worker's source has.
fn shares(text: bool, workers: usize) -> Arc<Vec<Vec<Batch>>> {
    let mut parts = vec![Vec::new(); workers];
    for (number, batch) in events::bids(ROWS, BATCH_ROWS).into_iter().enumerate() {
        let columns = (0..batch.slots().len()).map(|place| {
            let is_text = matches!(&*batch.column(place), Column::Utf8(_));
            if is_text && !text {
                OutputColumn::Absent
            } else {
                OutputColumn::Input(place)
            }
        });
        parts[number % workers].push(batch.with_columns(columns));
    }
    Arc::new(parts)
}

/// Through the engine. Gives the number of rows that arrived.
fn engine(parts: &Arc<Vec<Vec<Batch>>>) -> Result<usize, Failure> {
    let settings = Settings {
        workers: NonZeroUsize::new(parts.len()).expect("there is a worker"),
        credit_bytes: 16 << 20,
        first_epoch: Epoch::default(),
        alarms: Alarms::new(Arc::new(ManualClock::new(Timestamp(0)))),
    };
    let arrived = Arc::new(AtomicUsize::new(0));
    let (parts, counter) = (Arc::clone(parts), Arc::clone(&arrived));
    let build = move |dataflow: &mut Dataflow<'_>| {
        let me = dataflow.worker().0 as usize;
        let batches: VecDeque<Batch> = parts[me].iter().cloned().collect();
        let source = dataflow
            .source("bids", 1, |_| Box::new(Bids { batches, sent: 0 }))
            .remove(0);
        let route = Route::Keyed {
            key: vec![events::AUCTION],
            groups: KEY_GROUPS_DEFAULT,
        };
        let arrived = Arc::clone(&counter);
        dataflow.sink("count", vec![(source, route)], 0, |_| {
            Box::new(Count {
                rows: 0,
                arrived,
                ended: false,
            })
        });
        Ok(())
    };
    wasmill_engine::run(&settings, &Abort::new(), build).map_err(|ending| Failure::new(format!("{ending:?}")))?;
    Ok(arrived.load(Ordering::Acquire))
}

struct Bids {
    batches: VecDeque<Batch>,
    sent: usize,
}

impl SourceTask for Bids {
    fn poll(&mut self, out: &mut SourceOutput<'_>) -> Result<SourceState, Fault> {
        for _ in 0..PER_TURN {
            if !out.has_credit() {
                return Ok(SourceState::Parked);
            }
            let Some(batch) = self.batches.pop_front() else {
                return Ok(SourceState::Ended);
            };
            let watermark = batch.watermark_min();
            out.emit(0, batch);
            self.sent += 1;
            if self.sent.is_multiple_of(PER_PROMISE) {
                out.promise(Timestamp(watermark));
            }
        }
        Ok(SourceState::Ready)
    }
}

struct Count {
    rows: usize,
    arrived: Arc<AtomicUsize>,
    ended: bool,
}

impl SinkTask for Count {
    fn takes_input(&self) -> bool {
        true
    }

    fn batch(&mut self, _: usize, batch: Batch, _: Option<Ticket>) -> Result<(), Fault> {
        self.rows += black_box(batch).rows();
        Ok(())
    }

    fn watermark(&mut self, to: Timestamp) -> Result<(), Fault> {
        self.ended = to == Timestamp::MAX;
        Ok(())
    }

    fn end_epoch(&mut self, _: Epoch) -> Result<bool, Fault> {
        Ok(true)
    }

    fn poll(&mut self, _: &mut dyn Emit) -> Result<SinkState, Fault> {
        if !self.ended {
            return Ok(SinkState::Open {
                earliest: Timestamp::MAX,
            });
        }
        self.arrived.fetch_add(self.rows, Ordering::AcqRel);
        self.rows = 0;
        Ok(SinkState::Finished)
    }
}

/// What one thread hands another.
type Numbers = Vec<Vec<i64>>;
type Texts = Vec<(Vec<u32>, Vec<u8>)>;
type Handed = (Numbers, Texts);

/// By hand: each thread splits its batches by a hash of the key and sends the others theirs.
fn by_hand(parts: &Arc<Vec<Vec<Batch>>>) -> usize {
    let workers = parts.len();
    let (senders, receivers): (Vec<_>, Vec<_>) =
        (0..workers).map(|_| sync_channel::<Handed>(ROWS / BATCH_ROWS)).unzip();
    let receivers: Vec<_> = receivers
        .into_iter()
        .map(|receiver| Mutex::new(Some(receiver)))
        .collect();
    thread::scope(|scope| {
        let threads: Vec<_> = (0..workers)
            .map(|me| {
                let mine = receivers[me].lock().ok().and_then(|mut receiver| receiver.take());
                let senders: Vec<_> = senders.clone();
                scope.spawn(move || hand_over(me, &parts[me], senders, &mine.expect("each has its own")))
            })
            .collect();
        drop(senders);
        threads
            .into_iter()
            .map(|thread| thread.join().expect("nothing panics"))
            .sum()
    })
}

fn hand_over(me: usize, batches: &[Batch], senders: Vec<SyncSender<Handed>>, receiver: &Receiver<Handed>) -> usize {
    let workers = senders.len();
    let mut rows: Vec<Vec<u32>> = vec![Vec::new(); workers];
    let mut taken = 0;
    for batch in batches {
        let Column::Int64(keys) = &*batch.column(events::AUCTION) else {
            unreachable!("auctions are integers")
        };
        if workers == 1 {
            taken += black_box(batch.clone()).rows();
            continue;
        }
        rows.iter_mut().for_each(Vec::clear);
        for (row, &key) in keys.values().iter().enumerate() {
            rows[owner(key, workers)].push(row as u32);
        }
        for (to, rows) in rows.iter().enumerate() {
            let handed = gather(batch, rows);
            if to == me {
                taken += black_box(handed).0[0].len();
            } else {
                senders[to].send(handed).expect("the other reads to the end");
            }
        }
        taken += receiver
            .try_iter()
            .map(|handed| black_box(handed).0[0].len())
            .sum::<usize>();
    }
    drop(senders);
    taken
        + receiver
            .iter()
            .map(|handed| black_box(handed).0[0].len())
            .sum::<usize>()
}

#[inline]
fn owner(key: i64, workers: usize) -> usize {
    let product = u128::from(key.cast_unsigned() ^ 0x9e37_79b9_7f4a_7c15) * 0xd6e8_feb8_6659_fd93;
    let hash = product as u64 ^ (product >> 64) as u64;
    ((u128::from(hash) * workers as u128) >> 64) as usize
}

fn gather(batch: &Batch, rows: &[u32]) -> Handed {
    let mut numbers = vec![rows.iter().map(|&row| batch.hidden().times[row as usize]).collect()];
    let mut texts = Vec::new();
    for slot in batch.slots() {
        match slot {
            Slot::Base(Column::Int64(column)) => {
                numbers.push(rows.iter().map(|&row| column.values()[row as usize]).collect());
            }
            Slot::Base(Column::Utf8(column)) => {
                let (mut ends, mut bytes) = (Vec::with_capacity(rows.len()), Vec::new());
                for &row in rows {
                    bytes.extend_from_slice(column.value(row as usize).as_bytes());
                    ends.push(bytes.len() as u32);
                }
                texts.push((ends, bytes));
            }
            _ => {}
        }
    }
    (numbers, texts)
}
