//! Epochs: what tasks have done and remember when they leave one is a function of the cuts, whatever the turns.

use std::collections::{BTreeMap, VecDeque};
use std::sync::{Arc, Mutex};

use proptest::prelude::*;

use wasmill_core::batch::Batch;
use wasmill_core::fault::Fault;
use wasmill_core::id::{Epoch, KeyGroup};
use wasmill_core::operator::{Emit, Operator, Save, Step};
use wasmill_core::time::{Micros, Timestamp};
use wasmill_engine::{
    Abort, Dataflow, Route, SinkState, SinkTask, Snapshots, SourceOutput, SourceState, SourceTask, Ticket, run,
};

use super::{batch, settings, values};

/// Its outputs' watermark stays this much behind, in the first of two operators.
const LAG: u64 = 3;
const FIRST_EPOCH: u64 = 7;

/// Gives its rows when it is called by the clock, one a call, and asks for that at once.
#[derive(Default)]
struct Owes(VecDeque<i64>);

impl Operator for Owes {
    fn batch(&mut self, _: usize, batch: Batch, _: &mut dyn Emit) -> Result<(), Fault> {
        self.0.extend(values(&batch));
        Ok(())
    }

    fn watermark(&mut self, _: Timestamp, _: &mut dyn Emit) -> Result<Step, Fault> {
        Ok(Step::Done)
    }

    fn wake_at(&self) -> Option<Timestamp> {
        (!self.0.is_empty()).then_some(Timestamp::MIN)
    }

    fn clock(&mut self, _: Timestamp, out: &mut dyn Emit) -> Result<Step, Fault> {
        if let Some(row) = self.0.pop_front() {
            out.emit(0, batch(&[row], 0));
        }
        Ok(Step::Done)
    }

    fn save(&mut self, _: &mut dyn Save) -> Result<(), Fault> {
        assert!(self.0.is_empty(), "it still owes rows of the epoch that it leaves");
        Ok(())
    }

    fn load(&mut self, _: KeyGroup, _: &[u8], _: &[u8]) -> Result<(), Fault> {
        unreachable!("nothing is restored here")
    }
}

#[test]
fn what_an_operator_asked_to_give_at_once_comes_before_it_leaves_the_epoch() {
    let rows: Vec<i64> = (0..50).collect();
    let part = |rows: &[i64]| {
        vec![Part {
            steps: vec![(0, rows.to_vec())],
        }]
    };
    let source = Played {
        epochs: vec![(part(&rows), 0), (part(&[90]), 0)],
    };
    let (kept, written) = (Kept::default(), Written::default());
    let (keeps, writes) = (kept.clone(), written.clone());
    let ended = run(&settings(1, 1), &Abort::new(), move |dataflow: &mut Dataflow<'_>| {
        let flow = dataflow.source("source", 1, |_| Box::new(Player::new(&source, 0)));
        let inputs = vec![(flow[0].clone(), Route::Local)];
        let keeper = Box::new(Keeper("owes", keeps.clone()));
        let given = dataflow.operator("owes", inputs, 1, Micros::ZERO, Box::new(Owes::default()), keeper);
        let task = Writes {
            epoch: 0,
            written: writes.clone(),
            ended: false,
            delays: 0,
        };
        dataflow.sink("sink", vec![(given[0].clone(), Route::Local)], 0, |_| Box::new(task));
        Ok(())
    });
    assert_eq!(ended, Ok(()));
    let written = written.lock().expect("no panic");
    assert_eq!(written[&0], rows);
}

/// What one worker's part of a source does in an epoch: steps of a promise and rows from there on; then its cut.
#[derive(Clone, Debug)]
struct Part {
    steps: Vec<(i64, Vec<i64>)>,
}

/// One source: in each epoch a part for every worker, and the cut; in the last epoch it ends.
#[derive(Clone, Debug)]
struct Played {
    epochs: Vec<(Vec<Part>, i64)>,
}

struct Player {
    acts: VecDeque<Act>,
}

enum Act {
    Promise(i64),
    Emit(Vec<i64>, i64),
    Cut(i64),
}

impl Player {
    fn new(source: &Played, worker: usize) -> Self {
        let mut acts = VecDeque::new();
        for (index, (parts, cut)) in source.epochs.iter().enumerate() {
            for (promise, rows) in &parts[worker].steps {
                acts.push_back(Act::Promise(*promise));
                acts.push_back(Act::Emit(rows.clone(), *promise));
            }
            if index + 1 < source.epochs.len() {
                acts.push_back(Act::Cut(*cut));
            }
        }
        Self { acts }
    }
}

impl SourceTask for Player {
    fn poll(&mut self, out: &mut SourceOutput<'_>) -> Result<SourceState, Fault> {
        match self.acts.pop_front() {
            None => return Ok(SourceState::Ended),
            Some(Act::Promise(to)) => out.promise(Timestamp(to)),
            Some(Act::Emit(rows, watermark)) if !rows.is_empty() => out.emit(0, batch(&rows, watermark)),
            Some(Act::Emit(..)) => {}
            Some(Act::Cut(cut)) => out.next_epoch(Timestamp(cut)),
        }
        Ok(SourceState::Ready)
    }
}

/// Holds rows back until the watermark has passed them.
#[derive(Default)]
struct Waits {
    rows: Vec<i64>,
    told: i64,
    lag: i64,
}

impl Operator for Waits {
    fn batch(&mut self, _: usize, batch: Batch, _: &mut dyn Emit) -> Result<(), Fault> {
        self.rows.extend(values(&batch));
        Ok(())
    }

    fn watermark(&mut self, to: Timestamp, out: &mut dyn Emit) -> Result<Step, Fault> {
        self.told = to.0;
        self.rows.sort_unstable();
        let due = self.rows.partition_point(|&row| row < to.0);
        let Some(&first) = self.rows[..due].first() else {
            return Ok(Step::Done);
        };
        // One at a time, so that firing is interrupted.
        self.rows.remove(0);
        out.emit(0, batch(&[first], first - self.lag));
        Ok(Step::More)
    }

    fn wake_at(&self) -> Option<Timestamp> {
        None
    }

    fn clock(&mut self, _: Timestamp, _: &mut dyn Emit) -> Result<Step, Fault> {
        Ok(Step::Done)
    }

    fn save(&mut self, out: &mut dyn Save) -> Result<(), Fault> {
        for row in &self.rows {
            out.entry(KeyGroup(0), b"row", &row.to_be_bytes())?;
        }
        out.entry(KeyGroup(0), b"told", &self.told.to_be_bytes())
    }

    fn load(&mut self, _: KeyGroup, _: &[u8], _: &[u8]) -> Result<(), Fault> {
        unreachable!("nothing is restored here")
    }
}

/// By node and epoch: the rows that all workers remember, and the watermark that they were told.
type Kept = Arc<Mutex<BTreeMap<(&'static str, u64), (Vec<i64>, Vec<i64>)>>>;

struct Keeper(&'static str, Kept);

impl Snapshots for Keeper {
    fn take(&mut self, epoch: Epoch, operator: &mut dyn Operator) -> Result<(), Fault> {
        let mut entries = Vec::new();
        operator.save(&mut entries)?;
        let mut kept = self.1.lock().expect("no panic");
        let (rows, told) = kept.entry((self.0, epoch.0)).or_default();
        for (_, key, value) in entries {
            let value = i64::from_be_bytes(value.try_into().expect("eight bytes"));
            if key == b"row" {
                rows.push(value);
            } else {
                told.push(value);
            }
        }
        rows.sort_unstable();
        Ok(())
    }

    fn ended(&mut self, _: Epoch) {}
}

/// Rows that came to the sinks, by epoch.
type Written = Arc<Mutex<BTreeMap<u64, Vec<i64>>>>;

struct Writes {
    epoch: u64,
    written: Written,
    ended: bool,
    /// How often it says that it is not done yet.
    delays: usize,
}

impl SinkTask for Writes {
    fn takes_input(&self) -> bool {
        true
    }

    fn batch(&mut self, _: usize, batch: Batch, _: Option<Ticket>) -> Result<(), Fault> {
        let mut written = self.written.lock().expect("no panic");
        written.entry(self.epoch).or_default().extend(values(&batch));
        Ok(())
    }

    fn watermark(&mut self, to: Timestamp) -> Result<(), Fault> {
        self.ended = to == Timestamp::MAX;
        Ok(())
    }

    fn end_epoch(&mut self, epoch: Epoch) -> Result<bool, Fault> {
        assert_eq!(epoch.0, self.epoch, "epochs are left one after the other");
        self.epoch += 1;
        Ok(true)
    }

    fn poll(&mut self, _: &mut dyn Emit) -> Result<SinkState, Fault> {
        self.delays += 1;
        Ok(if self.ended {
            SinkState::Finished
        } else {
            SinkState::Open {
                earliest: Timestamp::MAX,
            }
        })
    }
}

fn play(sources: &[Played], workers: usize, credit_bytes: u64) -> (Kept, Written) {
    let (kept, written) = (Kept::default(), Written::default());
    let (keeps, writes, sources) = (kept.clone(), written.clone(), sources.to_vec());
    let mut settings = settings(workers, credit_bytes);
    settings.first_epoch = Epoch(FIRST_EPOCH);
    let ended = run(&settings, &Abort::new(), move |dataflow: &mut Dataflow<'_>| {
        let worker = dataflow.worker().0 as usize;
        let keyed = || Route::Keyed {
            key: vec![0],
            groups: 16,
        };
        let inputs = sources.iter().map(|source| {
            let flow = dataflow.source("source", 1, |_| Box::new(Player::new(source, worker)));
            (flow[0].clone(), keyed())
        });
        let inputs: Vec<_> = inputs.collect();
        let waits = |lag| {
            Box::new(Waits {
                lag,
                ..Waits::default()
            })
        };
        let keeper = |name| Box::new(Keeper(name, keeps.clone()));
        let first = dataflow.operator("first", inputs, 1, Micros(LAG), waits(LAG as i64), keeper("first"));
        let inputs = vec![(first[0].clone(), keyed())];
        let second = dataflow.operator("second", inputs, 1, Micros::ZERO, waits(0), keeper("second"));
        let task = Writes {
            epoch: FIRST_EPOCH,
            written: writes.clone(),
            ended: false,
            delays: 0,
        };
        dataflow.sink("sink", vec![(second[0].clone(), Route::Local)], 0, |_| Box::new(task));
        Ok(())
    });
    assert_eq!(ended, Ok(()));
    (kept, written)
}

fn parts(workers: usize, from: i64, to: i64) -> impl Strategy<Value = Vec<Part>> {
    let step = (from..=to, prop::collection::vec(0..40_i64, 0..4));
    let part = prop::collection::vec(step, 0..4).prop_map(|mut steps| {
        steps.sort_by_key(|step| step.0);
        let steps = steps.into_iter();
        let steps = steps.map(|(promise, rows)| (promise, rows.into_iter().map(|row| promise + row).collect()));
        Part { steps: steps.collect() }
    });
    prop::collection::vec(part, workers)
}

fn source(workers: usize, epochs: usize) -> impl Strategy<Value = Played> {
    let cuts = prop::collection::vec(0..30_i64, epochs);
    cuts.prop_flat_map(move |rises| {
        let mut from = 0;
        let mut all = Vec::new();
        for rise in rises {
            let to = from + rise;
            all.push((parts(workers, from, to), Just(to)));
            from = to;
        }
        all
    })
    .prop_map(|epochs| Played { epochs })
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(60))]

    #[test]
    fn what_is_remembered_at_the_end_of_an_epoch_is_a_function_of_the_cuts(
        (sources, workers) in (1..4_usize, 1..5_usize).prop_flat_map(|(workers, epochs)| {
            (prop::collection::vec(source(workers, epochs), 2), Just(workers))
        }),
        credit_bytes in prop_oneof![Just(1_u64), Just(1 << 20)],
    ) {
        let (kept, written) = play(&sources, workers, credit_bytes);
        let (kept, written) = (kept.lock().expect("no panic"), written.lock().expect("no panic"));
        let epochs = sources[0].epochs.len();
        prop_assert_eq!(kept.len(), 2 * (epochs - 1));
        let mut arrived: Vec<i64> = Vec::new();
        let mut given = 0;
        for epoch in 0..epochs {
            for source in &sources {
                for part in &source.epochs[epoch].0 {
                    arrived.extend(part.steps.iter().flat_map(|step| &step.1));
                }
            }
            arrived.sort_unstable();
            let last = epoch + 1 == epochs;
            let cut = sources.iter().map(|source| source.epochs[epoch].1).min().expect("two sources");
            let beyond = |cut: i64| arrived.partition_point(|&row| row < cut);
            let (first, second) = if last {
                (arrived.len(), arrived.len())
            } else {
                (beyond(cut), beyond(cut - LAG as i64))
            };
            let mut of_epoch = written.get(&(FIRST_EPOCH + epoch as u64)).cloned().unwrap_or_default();
            of_epoch.sort_unstable();
            prop_assert_eq!(&of_epoch, &arrived[given..second], "rows at the sinks in epoch {}", epoch);
            given = second;
            if !last {
                let number = FIRST_EPOCH + epoch as u64;
                let (rows, told) = &kept[&("first", number)];
                prop_assert_eq!(rows, &arrived[first..]);
                prop_assert!(cut == 0 || told.iter().all(|told| *told == cut), "{:?} and not {}", told, cut);
                let (rows, told) = &kept[&("second", number)];
                prop_assert_eq!(rows, &arrived[second..first]);
                let cut = cut - LAG as i64;
                prop_assert!(cut <= 0 || told.iter().all(|told| *told == cut), "{:?} and not {}", told, cut);
            }
        }
    }
}
