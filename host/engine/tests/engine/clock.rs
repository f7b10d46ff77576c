//! Processing time: operators are called when a clock that is stepped by hand has come to what they asked for.

use std::collections::VecDeque;
use std::sync::{Arc, Mutex};

use wasmill_core::batch::Batch;
use wasmill_core::clock::{Clock, ManualClock};
use wasmill_core::fault::{Domain, Fault};
use wasmill_core::id::{KeyGroup, WorkerIndex};
use wasmill_core::operator::{Emit, Operator, Save, Step};
use wasmill_core::time::{Micros, Timestamp};
use wasmill_engine::{
    Abort, Alarms, Dataflow, NoSnapshots, Route, Settings, SourceOutput, SourceState, SourceTask, Waker, run,
};

use super::{Event, Keep, OneByOne, Seen, batch, rows, settings, values};

/// Far more than a test takes by the machine's clock.
const HOUR: i64 = 3_600_000_000;

/// What a scripted source does next.
#[derive(Clone)]
enum Act {
    Emit(Vec<i64>, i64),
    Promise(i64),
    /// The clock comes to this hour.
    Hour(i64),
    /// Nothing more until the operator has taken so many calls.
    Await(usize),
}

/// The calls of an operator, in their order.
#[derive(Clone, Debug, PartialEq)]
enum Call {
    Rows(Vec<i64>),
    Watermark(i64),
    /// In hours.
    Clock(i64),
}

/// What the operator tells the source.
#[derive(Clone, Default)]
struct Calls(Arc<Mutex<(Vec<Call>, Option<Waker>)>>);

impl Calls {
    fn note(&self, call: Call) {
        let mut calls = self.0.lock().expect("no panic");
        calls.0.push(call);
        if let Some(waker) = &calls.1 {
            waker.wake();
        }
    }

    fn all(&self) -> Vec<Call> {
        self.0.lock().expect("no panic").0.clone()
    }
}

struct Script {
    acts: VecDeque<Act>,
    clock: Arc<ManualClock>,
    alarms: Alarms,
    calls: Calls,
}

impl SourceTask for Script {
    fn poll(&mut self, out: &mut SourceOutput<'_>) -> Result<SourceState, Fault> {
        if !out.has_credit() {
            return Ok(SourceState::Parked);
        }
        match self.acts.pop_front() {
            None => return Ok(SourceState::Ended),
            Some(Act::Emit(values, watermark)) => out.emit(0, batch(&values, watermark)),
            Some(Act::Promise(watermark)) => out.promise(Timestamp(watermark)),
            Some(Act::Hour(hour)) => {
                let to = hour * HOUR;
                self.clock
                    .advance(Micros(u64::try_from(to - self.clock.now().0).expect("forward")));
                self.alarms.look();
            }
            Some(Act::Await(calls)) if self.calls.all().len() < calls => {
                self.acts.push_front(Act::Await(calls));
                return Ok(SourceState::Parked);
            }
            Some(Act::Await(_)) => {}
        }
        Ok(SourceState::Ready)
    }
}

/// Hands rows on, and asks to be called at given hours; then it gives the hour, so many times.
struct Hours {
    ask: VecDeque<i64>,
    slices: i64,
    left: i64,
    told: i64,
    ended: bool,
    calls: Calls,
}

impl Operator for Hours {
    fn batch(&mut self, _: usize, batch: Batch, out: &mut dyn Emit) -> Result<(), Fault> {
        assert_eq!(self.left, self.slices, "no row comes while it gives");
        self.calls.note(Call::Rows(values(&batch)));
        out.emit(0, batch);
        Ok(())
    }

    fn watermark(&mut self, to: Timestamp, _: &mut dyn Emit) -> Result<Step, Fault> {
        assert_eq!(self.left, self.slices, "no watermark comes while it gives");
        self.told = to.0;
        self.ended = to == Timestamp::MAX;
        self.calls.note(Call::Watermark(to.0));
        Ok(Step::Done)
    }

    fn wake_at(&self) -> Option<Timestamp> {
        self.ask.front().map(|hour| Timestamp(hour * HOUR))
    }

    fn clock(&mut self, now: Timestamp, out: &mut dyn Emit) -> Result<Step, Fault> {
        assert!(!self.ended, "the input has ended");
        assert!(Some(now) >= self.wake_at(), "it asked for later");
        out.emit(0, batch(&[now.0 / HOUR; 100], self.told));
        self.left -= 1;
        if self.left > 0 {
            return Ok(Step::More);
        }
        self.left = self.slices;
        self.ask.pop_front();
        self.calls.note(Call::Clock(now.0 / HOUR));
        Ok(Step::Done)
    }

    fn save(&mut self, _: &mut dyn Save) -> Result<(), Fault> {
        Ok(())
    }

    fn load(&mut self, _: KeyGroup, _: &[u8], _: &[u8]) -> Result<(), Fault> {
        Err(Fault::fatal(Domain::Internal, "this operator has no state"))
    }
}

struct Case {
    acts: Vec<Act>,
    ask: Vec<i64>,
    slices: i64,
    workers: usize,
    credit_bytes: u64,
    slow_sink: bool,
}

impl Case {
    fn of(ask: &[i64], acts: Vec<Act>) -> Self {
        Self {
            acts,
            ask: ask.to_vec(),
            slices: 1,
            workers: 1,
            credit_bytes: 1 << 20,
            slow_sink: false,
        }
    }

    /// Runs the script and the operator on worker 0. The calls, and the rows of the sink there.
    fn run(self) -> (Vec<Call>, Vec<i64>) {
        let clock = Arc::new(ManualClock::new(Timestamp(0)));
        let alarms = Alarms::new(Arc::clone(&clock) as Arc<dyn Clock>);
        let settings = Settings {
            alarms: alarms.clone(),
            ..settings(self.workers, self.credit_bytes)
        };
        let calls = Calls::default();
        let seen = Seen::default();
        let slow = Arc::new(Mutex::new(0));
        let (noted, kept, counted) = (calls.clone(), seen.clone(), Arc::clone(&slow));
        let slow_sink = self.slow_sink;
        let ended = run(&settings, &Abort::new(), move |dataflow: &mut Dataflow<'_>| {
            let here = dataflow.worker() == WorkerIndex(0);
            let script = Script {
                acts: if here {
                    self.acts.clone().into()
                } else {
                    VecDeque::new()
                },
                clock: Arc::clone(&clock),
                alarms: alarms.clone(),
                calls: noted.clone(),
            };
            let source = |waker| -> Box<dyn SourceTask> {
                if here {
                    noted.0.lock().expect("no panic").1 = Some(waker);
                }
                Box::new(script)
            };
            let flow = dataflow.source("script", 1, source).remove(0);
            let operator = Hours {
                ask: if here { self.ask.clone().into() } else { VecDeque::new() },
                slices: self.slices,
                left: self.slices,
                told: i64::MIN,
                ended: false,
                calls: if here { noted.clone() } else { Calls::default() },
            };
            let flow = dataflow
                .operator(
                    "hours",
                    vec![(flow, Route::Local)],
                    1,
                    Micros::ZERO,
                    Box::new(operator),
                    Box::new(NoSnapshots),
                )
                .remove(0);
            let keep = Keep {
                worker: dataflow.worker().0,
                seen: kept.clone(),
                held: VecDeque::new(),
                hold: 0,
                ended: false,
            };
            let rows = Arc::clone(&counted);
            dataflow.sink("keep", vec![(flow, Route::Local)], 0, |waker| {
                if slow_sink {
                    Box::new(OneByOne {
                        waker,
                        held: VecDeque::new(),
                        rows,
                        ended: false,
                    })
                } else {
                    Box::new(keep)
                }
            });
            Ok(())
        });
        assert_eq!(ended, Ok(()));
        let seen = seen.0.lock().expect("no panic");
        let events: &[Event] = seen.get(&0).map_or(&[], |events| events);
        let given = if slow_sink {
            vec![0; *slow.lock().expect("no panic")]
        } else {
            rows(events)
        };
        (calls.all(), given)
    }
}

#[test]
fn an_operator_is_called_when_the_clock_has_come_to_what_it_asked_for() {
    for workers in 1..=3 {
        let acts = vec![
            Act::Emit(vec![1], 0),
            Act::Await(1),
            Act::Hour(1),
            Act::Emit(vec![2], 0),
            Act::Await(2),
            Act::Hour(2),
            Act::Await(3),
            Act::Emit(vec![3], 0),
            Act::Await(4),
            Act::Hour(9),
            Act::Await(5),
        ];
        let (calls, given) = Case {
            workers,
            ..Case::of(&[2, 5], acts)
        }
        .run();
        let expect = [
            Call::Rows(vec![1]),
            Call::Rows(vec![2]),
            Call::Clock(2),
            Call::Rows(vec![3]),
            Call::Clock(9),
            Call::Watermark(i64::MAX),
        ];
        assert_eq!(calls, expect);
        let hours = |hour| [hour; 100];
        assert_eq!(
            given,
            [&[1, 2][..], &hours(2), &[3], &hours(9)].concat(),
            "what it gives is sent at once"
        );
    }
}

#[test]
fn an_operator_that_asks_for_the_time_from_the_start_knows_it_before_its_first_row() {
    for workers in 1..=3 {
        let (calls, _) = Case {
            workers,
            ..Case::of(&[0], vec![Act::Emit(vec![1], 0), Act::Promise(5)])
        }
        .run();
        assert_eq!(calls[..2], [Call::Clock(0), Call::Rows(vec![1])]);
    }
}

#[test]
fn what_a_clock_call_gives_comes_after_the_watermark_that_was_told_before() {
    let acts = vec![
        Act::Emit(vec![1], 0),
        Act::Promise(10),
        Act::Await(2),
        Act::Hour(1),
        Act::Await(3),
        Act::Promise(20),
        Act::Await(4),
        Act::Hour(2),
        Act::Await(5),
    ];
    let (calls, given) = Case::of(&[1, 2], acts).run();
    let expect = [
        Call::Rows(vec![1]),
        Call::Watermark(10),
        Call::Clock(1),
        Call::Watermark(20),
        Call::Clock(2),
        Call::Watermark(i64::MAX),
    ];
    assert_eq!(calls, expect);
    assert_eq!(given.len(), 201);
}

#[test]
fn after_the_input_has_ended_no_clock_call_comes() {
    // It asks for what has come already, more often than it can be told before the end.
    let ask = vec![0; 1000];
    let (calls, _) = Case::of(&ask, vec![Act::Emit(vec![1], 0), Act::Promise(5)]).run();
    assert_eq!(calls.last(), Some(&Call::Watermark(i64::MAX)));
    assert!(calls.contains(&Call::Rows(vec![1])), "rows get their turn in between");
}

#[test]
fn a_clock_call_gives_no_faster_than_its_credit_returns() {
    for credit_bytes in [3000, 12_000] {
        let mut acts = vec![Act::Emit(vec![7], 0), Act::Await(1), Act::Hour(1)];
        acts.extend((0..50).map(|_| Act::Emit(vec![5; 10], 0)));
        acts.push(Act::Await(2));
        let (calls, given) = Case {
            slices: 60,
            credit_bytes,
            slow_sink: true,
            ..Case::of(&[1], acts)
        }
        .run();
        assert!(calls.contains(&Call::Clock(1)));
        assert_eq!(given.len(), 1 + 60 * 100 + 50 * 10);
    }
}
