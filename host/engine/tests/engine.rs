//! The engine with scripted tasks: rows, watermarks, credits, faults and panics through real workers.

#[path = "engine/clock.rs"]
mod clock;
#[path = "engine/epochs.rs"]
mod epochs;

use std::collections::{BTreeMap, VecDeque};
use std::num::NonZeroUsize;
use std::sync::mpsc::channel;
use std::sync::{Arc, Mutex};
use std::thread;
use std::time::Duration;

use arrow_array::Int64Array;

use wasmill_core::batch::{Batch, Hidden, Slot};
use wasmill_core::clock::ManualClock;
use wasmill_core::column::{Column, Value};
use wasmill_core::fault::{Domain, Fault};
use wasmill_core::id::{Epoch, KeyGroup, WorkerIndex};
use wasmill_core::operator::{Emit, Operator, Save, Step};
use wasmill_core::time::{Micros, Timestamp};
use wasmill_core::watermark::RowWatermarks;
use wasmill_engine::{
    Abort, Alarms, Dataflow, Ending, Flow, NoSnapshots, Route, Settings, SinkState, SinkTask, SourceOutput,
    SourceState, SourceTask, Ticket, run,
};

/// After this a job that does not end has failed.
const LIMIT: Duration = Duration::from_secs(20);

fn batch(values: &[i64], watermark: i64) -> Batch {
    let column = Column::Int64(Int64Array::from(values.to_vec()));
    let hidden = Hidden {
        times: values.to_vec().into(),
        watermarks: RowWatermarks::Constant(watermark),
        order: None,
        kinds: None,
    };
    Batch::new(vec![Slot::Base(column)], hidden)
}

fn values(batch: &Batch) -> Vec<i64> {
    let column = batch.column(0).into_owned();
    let value = |row| match column.value(row) {
        Value::Int64(value) => value,
        other => panic!("{other:?}"),
    };
    (0..column.len()).map(value).collect()
}

/// What a scripted source does next.
#[derive(Clone)]
enum Act {
    Emit(Vec<i64>, i64),
    Promise(i64),
    Fail,
    Panic,
}

struct Script {
    acts: VecDeque<Act>,
    credit_seen: Arc<Mutex<Vec<bool>>>,
}

impl SourceTask for Script {
    fn poll(&mut self, out: &mut SourceOutput<'_>) -> Result<SourceState, Fault> {
        let credit = out.has_credit();
        self.credit_seen.lock().expect("no panic").push(credit);
        if !credit {
            return Ok(SourceState::Parked);
        }
        match self.acts.pop_front() {
            None => return Ok(SourceState::Ended),
            Some(Act::Emit(values, watermark)) => out.emit(0, batch(&values, watermark)),
            Some(Act::Promise(watermark)) => out.promise(Timestamp(watermark)),
            Some(Act::Fail) => return Err(Fault::fatal(Domain::User, "scripted")),
            Some(Act::Panic) => panic!("scripted panic"),
        }
        Ok(SourceState::Ready)
    }
}

/// Keeps rows by worker, and the watermarks that it was told.
#[derive(Clone, Default)]
struct Seen(Arc<Mutex<BTreeMap<u32, Vec<Event>>>>);

#[derive(Clone, Debug, PartialEq)]
enum Event {
    Rows(Vec<i64>),
    Watermark(i64),
}

struct Keep {
    worker: u32,
    seen: Seen,
    held: VecDeque<Option<Ticket>>,
    hold: usize,
    ended: bool,
}

impl Keep {
    fn note(&self, event: Event) {
        self.seen
            .0
            .lock()
            .expect("no panic")
            .entry(self.worker)
            .or_default()
            .push(event);
    }
}

impl SinkTask for Keep {
    fn end_epoch(&mut self, _: Epoch) -> Result<bool, Fault> {
        Ok(true)
    }

    fn takes_input(&self) -> bool {
        true
    }

    fn batch(&mut self, _: usize, batch: Batch, ticket: Option<Ticket>) -> Result<(), Fault> {
        self.note(Event::Rows(values(&batch)));
        self.held.push_back(ticket);
        while self.held.len() > self.hold {
            self.held.pop_front();
        }
        Ok(())
    }

    fn watermark(&mut self, to: Timestamp) -> Result<(), Fault> {
        self.note(Event::Watermark(to.0));
        self.ended = to == Timestamp::MAX;
        Ok(())
    }

    fn poll(&mut self, _: &mut dyn Emit) -> Result<SinkState, Fault> {
        Ok(if self.ended {
            SinkState::Finished
        } else {
            SinkState::Open {
                earliest: Timestamp::MAX,
            }
        })
    }
}

/// Sums its rows; gives the sum when the watermark reaches each multiple of ten.
#[derive(Default)]
struct SumByTen {
    sums: BTreeMap<i64, i64>,
}

impl Operator for SumByTen {
    fn batch(&mut self, _: usize, batch: Batch, _: &mut dyn Emit) -> Result<(), Fault> {
        for value in values(&batch) {
            *self.sums.entry(value.div_euclid(10) * 10 + 10).or_default() += value;
        }
        Ok(())
    }

    fn watermark(&mut self, to: Timestamp, out: &mut dyn Emit) -> Result<Step, Fault> {
        match self.sums.first_key_value() {
            Some((&end, &sum)) if end <= to.0 => {
                self.sums.remove(&end);
                out.emit(0, batch(&[sum], end - 1));
                Ok(Step::More)
            }
            _ => Ok(Step::Done),
        }
    }

    fn wake_at(&self) -> Option<Timestamp> {
        None
    }

    fn clock(&mut self, _: Timestamp, _: &mut dyn Emit) -> Result<Step, Fault> {
        Ok(Step::Done)
    }

    fn save(&mut self, _: &mut dyn Save) -> Result<(), Fault> {
        Ok(())
    }

    fn load(&mut self, _: KeyGroup, _: &[u8], _: &[u8]) -> Result<(), Fault> {
        Err(Fault::fatal(
            Domain::Internal,
            "this operator has no state, so there is none to load",
        ))
    }
}

fn settings(workers: usize, credit_bytes: u64) -> Settings {
    Settings {
        workers: NonZeroUsize::new(workers).expect("workers"),
        credit_bytes,
        first_epoch: Epoch::default(),
        alarms: Alarms::new(Arc::new(ManualClock::new(Timestamp(0)))),
    }
}

struct Case {
    workers: usize,
    credit_bytes: u64,
    hold: usize,
    acts: Vec<Act>,
    route: Route,
    sum: bool,
}

struct Outcome {
    ended: Result<(), Ending>,
    /// What the sinks saw, by worker.
    seen: BTreeMap<u32, Vec<Event>>,
}

impl Case {
    fn of(acts: Vec<Act>) -> Self {
        Self {
            workers: 1,
            credit_bytes: 1 << 20,
            hold: 0,
            acts,
            route: Route::Local,
            sum: false,
        }
    }

    /// Runs the script on worker 0.
    fn run(self) -> Outcome {
        let seen = Seen::default();
        let kept = seen.clone();
        let Self {
            workers,
            credit_bytes,
            hold,
            acts,
            route,
            sum,
        } = self;
        let ended = run(
            &settings(workers, credit_bytes),
            &Abort::new(),
            move |dataflow: &mut Dataflow<'_>| {
                let worker = dataflow.worker();
                let acts = if worker == WorkerIndex(0) {
                    acts.clone().into()
                } else {
                    VecDeque::new()
                };
                let credit_seen = Arc::default();
                let mut flow = dataflow
                    .source("script", 1, |_| Box::new(Script { acts, credit_seen }))
                    .remove(0);
                let mut route = route.clone();
                if sum {
                    let input = vec![(flow, std::mem::replace(&mut route, Route::Local))];
                    let operator = Box::new(SumByTen::default());
                    flow = dataflow
                        .operator("sum", input, 1, Micros::ZERO, operator, Box::new(NoSnapshots))
                        .remove(0);
                }
                let keep = Keep {
                    worker: worker.0,
                    seen: kept.clone(),
                    held: VecDeque::new(),
                    hold,
                    ended: false,
                };
                dataflow.sink("keep", vec![(flow, route)], 0, |_| Box::new(keep));
                Ok(())
            },
        );
        let seen = seen.0.lock().expect("no panic").clone();
        Outcome { ended, seen }
    }
}

fn rows(events: &[Event]) -> Vec<i64> {
    let rows = events.iter().filter_map(|event| match event {
        Event::Rows(rows) => Some(rows.clone()),
        Event::Watermark(_) => None,
    });
    rows.flatten().collect()
}

#[test]
fn a_watermark_comes_after_the_rows_below_it() {
    let acts = vec![
        Act::Emit(vec![1, 2], 0),
        Act::Promise(5),
        Act::Emit(vec![7], 5),
        Act::Promise(8),
    ];
    let Outcome { ended, seen } = Case::of(acts).run();
    assert_eq!(ended, Ok(()));
    let events = &seen[&0];
    assert_eq!(rows(events), [1, 2, 7]);
    let place = |event: &Event| events.iter().position(|other| other == event).expect("seen");
    assert!(
        place(&Event::Rows(vec![1, 2]))
            < events
                .iter()
                .position(|e| matches!(e, Event::Watermark(w) if *w >= 5))
                .expect("seen")
    );
    assert_eq!(events.last(), Some(&Event::Watermark(i64::MAX)));
}

#[test]
fn a_promise_of_the_last_moment_is_not_the_end() {
    let last = i64::MAX;
    let acts = vec![
        Act::Emit(vec![1], 0),
        Act::Promise(last),
        Act::Promise(last),
        Act::Emit(vec![7], last),
    ];
    let (send, outcome) = channel();
    thread::spawn(move || send.send(Case::of(acts).run()));
    let Outcome { ended, seen } = outcome.recv_timeout(LIMIT).expect("a job that ends");
    assert_eq!(ended, Ok(()));
    let events = &seen[&0];
    assert_eq!(rows(events), [1, 7]);
    let ends = events.iter().filter(|event| **event == Event::Watermark(i64::MAX));
    assert_eq!(ends.count(), 1);
    assert_eq!(events.last(), Some(&Event::Watermark(i64::MAX)));
}

#[test]
fn rows_of_one_key_meet_on_one_worker_and_none_is_lost() {
    let all: Vec<i64> = (0..5000).collect();
    for workers in 1..=4 {
        let acts = all
            .chunks(100)
            .map(|chunk| Act::Emit(chunk.to_vec(), 0))
            .chain([Act::Emit(all.clone(), 0)])
            .collect();
        let route = Route::Keyed {
            key: vec![0],
            groups: 256,
        };
        let Outcome { ended, seen } = Case {
            workers,
            route,
            ..Case::of(acts)
        }
        .run();
        assert_eq!(ended, Ok(()));
        let mut total = Vec::new();
        for events in seen.values() {
            let mut rows = rows(events);
            rows.sort_unstable();
            assert!(
                rows.chunks(2).all(|pair| pair[0] == pair[1]),
                "both rows of a key are here"
            );
            total.extend(rows);
        }
        assert_eq!(total.len(), 2 * all.len());
        assert!(workers == 1 || seen.values().filter(|events| !rows(events).is_empty()).count() > 1);
    }
}

#[test]
fn an_operator_fires_between_the_rows_before_and_after_a_watermark() {
    let acts = vec![
        Act::Emit(vec![1, 12, 3], 0),
        Act::Promise(10),
        Act::Emit(vec![15, 21], 10),
        Act::Promise(20),
        Act::Emit(vec![22], 20),
    ];
    for workers in 1..=3 {
        let Outcome { ended, seen } = Case {
            workers,
            route: Route::One(WorkerIndex(0)),
            sum: true,
            ..Case::of(acts.clone())
        }
        .run();
        assert_eq!(ended, Ok(()));
        assert_eq!(rows(&seen[&0]), [4, 27, 43]);
    }
}

#[test]
fn a_source_without_credit_waits_until_its_bytes_return() {
    let acts: Vec<Act> = (0..100).map(|value| Act::Emit(vec![value; 100], 0)).collect();
    // A batch is 2,400 bytes: the source may have two on the way, and the sink lets go of all but one.
    let Outcome { ended, seen } = Case {
        credit_bytes: 4000,
        hold: 1,
        ..Case::of(acts)
    }
    .run();
    assert_eq!(ended, Ok(()));
    assert_eq!(rows(&seen[&0]).len(), 10_000);

    let acts: Vec<Act> = (0..3).map(|value| Act::Emit(vec![value; 100], 0)).collect();
    let abort = Abort::new();
    let stop = abort.clone();
    let polls = Arc::new(Mutex::new(Vec::new()));
    let noted = Arc::clone(&polls);
    let ended = run(&settings(1, 2000), &abort, move |dataflow: &mut Dataflow<'_>| {
        let script = Script {
            acts: acts.clone().into(),
            credit_seen: Arc::clone(&noted),
        };
        let flow = dataflow.source("script", 1, |_| Box::new(script)).remove(0);
        dataflow.sink("hoard", vec![(flow, Route::Local)], 0, |_| {
            Box::new(Hoard {
                held: Vec::new(),
                stop: stop.clone(),
            })
        });
        Ok(())
    });
    assert_eq!(ended, Err(Ending::Stopped));
    assert!(
        !polls.lock().expect("no panic").iter().skip(1).any(|&credit| credit),
        "the first batch spent the credit"
    );
}

/// Keeps every ticket, and stops the job as soon as it has a batch.
struct Hoard {
    held: Vec<Option<Ticket>>,
    stop: Abort,
}

impl SinkTask for Hoard {
    fn end_epoch(&mut self, _: Epoch) -> Result<bool, Fault> {
        Ok(true)
    }

    fn takes_input(&self) -> bool {
        true
    }

    fn batch(&mut self, _: usize, _: Batch, ticket: Option<Ticket>) -> Result<(), Fault> {
        self.held.push(ticket);
        assert_eq!(self.held.len(), 1, "the source had no credit for more");
        self.stop.end(Ending::Stopped);
        Ok(())
    }

    fn watermark(&mut self, _: Timestamp) -> Result<(), Fault> {
        Ok(())
    }

    fn poll(&mut self, _: &mut dyn Emit) -> Result<SinkState, Fault> {
        Ok(SinkState::Open {
            earliest: Timestamp::MAX,
        })
    }
}

#[test]
fn a_fault_on_one_worker_ends_all() {
    for workers in [1, 3] {
        let Outcome { ended, .. } = Case {
            workers,
            ..Case::of(vec![Act::Emit(vec![1], 0), Act::Fail])
        }
        .run();
        assert_eq!(ended, Err(Ending::Failed(Fault::fatal(Domain::User, "scripted"))));
    }
}

#[test]
fn a_panic_on_one_worker_ends_all() {
    for workers in [1, 3] {
        let Outcome { ended, .. } = Case {
            workers,
            ..Case::of(vec![Act::Emit(vec![1], 0), Act::Panic])
        }
        .run();
        let Err(Ending::Failed(fault)) = ended else {
            panic!("{ended:?}")
        };
        assert_eq!(fault.domain, Domain::Internal);
        assert!(fault.message.contains("scripted panic"), "{}", fault.message);
    }
}

/// Emits `slices` batches when the watermark rises above 0; passes rows on.
struct Burst {
    slices: usize,
}

impl Operator for Burst {
    fn batch(&mut self, _: usize, batch: Batch, out: &mut dyn Emit) -> Result<(), Fault> {
        out.emit(0, batch);
        Ok(())
    }

    fn watermark(&mut self, to: Timestamp, out: &mut dyn Emit) -> Result<Step, Fault> {
        if to.0 <= 0 || self.slices == 0 {
            return Ok(Step::Done);
        }
        self.slices -= 1;
        // The last slice is small: it leaves credit, so that no return of credit wakes the operator after it.
        let rows = if self.slices == 0 { 1 } else { 100 };
        out.emit(0, batch(&[-1; 100][..rows], to.0.min(1)));
        Ok(if self.slices == 0 { Step::Done } else { Step::More })
    }

    fn wake_at(&self) -> Option<Timestamp> {
        None
    }

    fn clock(&mut self, _: Timestamp, _: &mut dyn Emit) -> Result<Step, Fault> {
        Ok(Step::Done)
    }

    fn save(&mut self, _: &mut dyn Save) -> Result<(), Fault> {
        Ok(())
    }

    fn load(&mut self, _: KeyGroup, _: &[u8], _: &[u8]) -> Result<(), Fault> {
        Err(Fault::fatal(
            Domain::Internal,
            "this operator has no state, so there is none to load",
        ))
    }
}

/// Lets go of one ticket each time that it is polled, and asks to be polled again.
struct OneByOne {
    waker: wasmill_engine::Waker,
    held: VecDeque<Option<Ticket>>,
    rows: Arc<Mutex<usize>>,
    ended: bool,
}

impl SinkTask for OneByOne {
    fn end_epoch(&mut self, _: Epoch) -> Result<bool, Fault> {
        Ok(true)
    }

    fn takes_input(&self) -> bool {
        self.held.len() < 3
    }

    fn batch(&mut self, _: usize, batch: Batch, ticket: Option<Ticket>) -> Result<(), Fault> {
        *self.rows.lock().expect("no panic") += batch.rows();
        self.held.push_back(ticket);
        Ok(())
    }

    fn watermark(&mut self, to: Timestamp) -> Result<(), Fault> {
        self.ended = to == Timestamp::MAX;
        Ok(())
    }

    fn poll(&mut self, _: &mut dyn Emit) -> Result<SinkState, Fault> {
        if self.held.pop_front().is_some() {
            self.waker.wake();
        } else if self.ended {
            return Ok(SinkState::Finished);
        }
        Ok(SinkState::Open {
            earliest: Timestamp::MAX,
        })
    }
}

#[test]
fn what_comes_while_an_operator_fires_is_taken_afterwards() {
    // Credit for about one batch, and for all slices but the last: the firing stops again and again, rows come meanwhile.
    for credit_bytes in [3000, 6000, 12_000] {
        let acts = vec![Act::Emit(vec![1; 10], 0), Act::Promise(1)];
        let acts: Vec<Act> = acts
            .into_iter()
            .chain((0..50).map(|_| Act::Emit(vec![5; 10], 1)))
            .collect();
        let rows = Arc::new(Mutex::new(0));
        let counted = Arc::clone(&rows);
        let ended = run(
            &settings(1, credit_bytes),
            &Abort::new(),
            move |dataflow: &mut Dataflow<'_>| {
                let script = Script {
                    acts: acts.clone().into(),
                    credit_seen: Arc::default(),
                };
                let flow = dataflow.source("script", 1, |_| Box::new(script)).remove(0);
                let burst = Box::new(Burst { slices: 60 });
                let flow = dataflow
                    .operator(
                        "burst",
                        vec![(flow, Route::Local)],
                        1,
                        Micros::ZERO,
                        burst,
                        Box::new(NoSnapshots),
                    )
                    .remove(0);
                let rows = Arc::clone(&counted);
                dataflow.sink("slow", vec![(flow, Route::Local)], 0, |waker| {
                    Box::new(OneByOne {
                        waker,
                        held: VecDeque::new(),
                        rows,
                        ended: false,
                    })
                });
                Ok(())
            },
        );
        assert_eq!(ended, Ok(()));
        assert_eq!(*rows.lock().expect("no panic"), 10 + 59 * 100 + 1 + 50 * 10);
    }
}

/// Notes each watermark that it is told on a worker.
struct Told {
    name: &'static str,
    worker: u32,
    told: ToldBy,
}

/// By operator and worker.
type ToldBy = Arc<Mutex<BTreeMap<(&'static str, u32), Vec<i64>>>>;

impl Operator for Told {
    fn batch(&mut self, _: usize, _: Batch, _: &mut dyn Emit) -> Result<(), Fault> {
        Ok(())
    }

    fn watermark(&mut self, to: Timestamp, _: &mut dyn Emit) -> Result<Step, Fault> {
        let mut told = self.told.lock().expect("no panic");
        told.entry((self.name, self.worker)).or_default().push(to.0);
        Ok(Step::Done)
    }

    fn wake_at(&self) -> Option<Timestamp> {
        None
    }

    fn clock(&mut self, _: Timestamp, _: &mut dyn Emit) -> Result<Step, Fault> {
        Ok(Step::Done)
    }

    fn save(&mut self, _: &mut dyn Save) -> Result<(), Fault> {
        Ok(())
    }

    fn load(&mut self, _: KeyGroup, _: &[u8], _: &[u8]) -> Result<(), Fault> {
        Err(Fault::fatal(Domain::Internal, "no state"))
    }
}

/// A source on one worker that has three rows and ends at a watermark.
fn ending_at<'scope>(dataflow: &mut Dataflow<'scope>, name: &str, home: u32, last: i64) -> Flow<'scope> {
    let acts = vec![Act::Emit(vec![1, 2, 3], 0), Act::Promise(last)];
    let here = dataflow.worker() == WorkerIndex(home);
    let script = Script {
        acts: if here { acts.into() } else { VecDeque::new() },
        credit_seen: Arc::default(),
    };
    dataflow.source(name, 1, |_| Box::new(script)).remove(0)
}

#[test]
fn every_operator_is_told_the_greatest_last_watermark_of_its_inputs_before_the_end() {
    for workers in [1, 2, 3] {
        let told = ToldBy::default();
        let noting = Arc::clone(&told);
        let ended = run(
            &settings(workers, 1 << 20),
            &Abort::new(),
            move |dataflow: &mut Dataflow<'_>| {
                let worker = dataflow.worker();
                let by_key = Route::Keyed {
                    key: vec![0],
                    groups: 16,
                };
                let early = ending_at(dataflow, "early", 0, 25);
                let late = ending_at(dataflow, "late", workers as u32 - 1, 40);
                let note = |name| {
                    Box::new(Told {
                        name,
                        worker: worker.0,
                        told: Arc::clone(&noting),
                    })
                };
                let inputs = vec![(early, by_key.clone()), (late, Route::One(WorkerIndex(0)))];
                let both = dataflow
                    .operator("both", inputs, 1, Micros(10), note("both"), Box::new(NoSnapshots))
                    .remove(0);
                let after = dataflow
                    .operator(
                        "after",
                        vec![(both, Route::Local)],
                        1,
                        Micros::ZERO,
                        note("after"),
                        Box::new(NoSnapshots),
                    )
                    .remove(0);
                let keep = Keep {
                    worker: worker.0,
                    seen: Seen::default(),
                    held: VecDeque::new(),
                    hold: 0,
                    ended: false,
                };
                dataflow.sink("keep", vec![(after, Route::Local)], 0, |_| Box::new(keep));
                Ok(())
            },
        );
        assert_eq!(ended, Ok(()));
        for (by, told) in &*told.lock().expect("no panic") {
            let last = if by.0 == "both" { 40 } else { 30 };
            assert!(told.ends_with(&[last, i64::MAX]), "{by:?} of {workers}: {told:?}");
            assert!(told.is_sorted_by(|a, b| a < b), "{by:?} of {workers}: {told:?}");
        }
    }
}
