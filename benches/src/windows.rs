//! Windows: counting by key in the operator itself, beside a loop over a hash map and arrays.

use std::collections::VecDeque;

use arrow_array::Int64Array;
use foldhash::fast::FixedState;
use hashbrown::HashMap;
use wasmill_core::aggregate::Builtin;
use wasmill_core::batch::{Batch, Hidden, Slot};
use wasmill_core::column::Column;
use wasmill_core::id::{NodeId, NodeIndex};
use wasmill_core::operator::{Emit, Operator, Step};
use wasmill_core::plan::{AggregateFunction, AggregateNode, OnFault, Stream, WindowFrame, WindowNode};
use wasmill_core::schema::{DataType, Field, Schema};
use wasmill_core::time::{Micros, Timestamp};
use wasmill_core::watermark::RowWatermarks;
use wasmill_core::window::{Alignment, WindowSpec, Windows};
use wasmill_operators::{Window, WindowLimits, WindowPorts};

use crate::Run;
use crate::failure::Failure;
use crate::random::Random;
use crate::report::Budget;
use crate::timing::{Cost, compare};

const NAME: &str = "window";
const PANES: &str = "panes";
const ROWS: usize = 3_000_000;
const BATCH_ROWS: usize = 4096;
/// Batches between two watermarks.
const WATERMARK_EVERY: usize = 64;
/// Rows come out of order by up to this.
const JITTER: i64 = 2_000_000;

/// A window that is counted.
#[derive(Clone, Copy)]
struct Shape {
    /// Rows a second of event time.
    rate: i64,
    size: Micros,
    every: Micros,
}

const TUMBLING: Shape = Shape {
    rate: 100_000,
    size: Micros::from_secs(10),
    every: Micros::from_secs(10),
};
const SLIDING: Shape = Shape {
    rate: 10_000,
    size: Micros::from_secs(60),
    every: Micros::from_secs(1),
};

/// What a row of a window of many panes may cost at most, in times of a row of a window of one.
const PANES_RATIO_MAX: f64 = 1.5;

/// A window of so many panes of a tenth of a second, each with the rows of a thousand.
fn of_panes(panes: u64) -> Shape {
    Shape {
        rate: 10_000,
        size: Micros(panes * 100_000),
        every: Micros(100_000),
    }
}

/// Runs the benches.
pub(crate) fn run(run: &mut Run<'_>) -> Result<(), Failure> {
    beside_native(run)?;
    by_panes(run)
}

/// Each row is added to one pane, however many windows it lies in: windows of many panes beside one of a single pane.
fn by_panes(run: &mut Run<'_>) -> Result<(), Failure> {
    const KEYS: u64 = 100;
    let line = |panes: u64| format!("{panes} panes a window beside 1");
    let all = [1, 10, 60, 600];
    if !all.iter().any(|&panes| run.wants(PANES, &line(panes))) {
        return Ok(());
    }
    run.report.bench(
        PANES,
        "count() by 100 integer keys, 1,000 rows a pane; on the right one pane a window",
    );
    let batches = batches(of_panes(1), KEYS);
    let expected_of_one = by_hand(of_panes(1), &batches);
    for panes in all {
        if !run.wants(PANES, &line(panes)) {
            continue;
        }
        let expected = by_hand(of_panes(panes), &batches);
        assert_eq!(operator(of_panes(panes), &batches)?, expected, "as by hand");
        let measured = compare(
            run.plan(),
            Cost::Thread,
            ROWS,
            || {
                assert_eq!(
                    operator(of_panes(panes), &batches).ok(),
                    Some(expected),
                    "the same again"
                );
            },
            || {
                assert_eq!(
                    operator(of_panes(1), &batches).ok(),
                    Some(expected_of_one),
                    "the same again"
                );
            },
        );
        run.report.add(&line(panes), &measured, Budget::Ratio(PANES_RATIO_MAX));
    }
    Ok(())
}

fn beside_native(run: &mut Run<'_>) -> Result<(), Failure> {
    let lines = [
        (TUMBLING, 100, "tumbling, 10^2 keys", Budget::None),
        (TUMBLING, 1_000, "tumbling, 10^3 keys", Budget::None),
        (TUMBLING, 10_000, "tumbling, 10^4 keys", Budget::None),
        (TUMBLING, 100_000, "tumbling, 10^5 keys", Budget::Nanos(20.0)),
        (TUMBLING, 1_000_000, "tumbling, 10^6 keys", Budget::None),
        (SLIDING, 1_000, "sliding, 60 panes, 10^3 keys", Budget::None),
        (SLIDING, 10_000, "sliding, 60 panes, 10^4 keys", Budget::None),
    ];
    if !lines.iter().any(|line| run.wants(NAME, line.2)) {
        return Ok(());
    }
    run.report.bench(
        NAME,
        "count() by an integer key, results in order; natively a hash map, arrays and a sort",
    );
    for (shape, keys, line, budget) in lines {
        if !run.wants(NAME, line) {
            continue;
        }
        let batches = batches(shape, keys);
        let expected = by_hand(shape, &batches);
        assert_eq!(operator(shape, &batches)?, expected, "both ways give the same");
        let measured = compare(
            run.plan(),
            Cost::Thread,
            ROWS,
            || assert_eq!(operator(shape, &batches).ok(), Some(expected), "the same again"),
            || assert_eq!(by_hand(shape, &batches), expected, "the same again"),
        );
        run.report.add(line, &measured, budget);
    }
    Ok(())
}

fn batches(shape: Shape, keys: u64) -> Vec<Batch> {
    let mut random = Random::new(77);
    let start = 1_000_000_000_000_i64;
    let mut made = 0;
    let mut batches = Vec::new();
    while made < ROWS {
        let rows = BATCH_ROWS.min(ROWS - made);
        let at = |row: usize| start + (made + row) as i64 * 1_000_000 / shape.rate;
        let times: Vec<i64> = (0..rows)
            .map(|row| at(row) - random.below(JITTER as u64) as i64)
            .collect();
        let values: Vec<i64> = (0..rows).map(|_| 1_000 + random.below(keys) as i64).collect();
        let hidden = Hidden {
            times: times.into(),
            watermarks: RowWatermarks::Constant(at(0) - JITTER),
            order: None,
            kinds: None,
        };
        let column = Column::Int64(Int64Array::new(values.into(), None));
        batches.push(Batch::new(vec![Slot::Base(column)], hidden));
        made += rows;
    }
    batches
}

/// Results of both ways: how many, and a sum over all of them.
type Results = (usize, u64);

fn mix(key: i64, end: i64, count: i64) -> u64 {
    let mixed = key.cast_unsigned().wrapping_mul(0x9e37_79b9_7f4a_7c15)
        ^ end.cast_unsigned().wrapping_mul(0xd6e8_feb8_6659_fd93)
        ^ count.cast_unsigned() << 7;
    mixed ^ mixed >> 29
}

/// Takes results and sums them.
#[derive(Default)]
struct Sum(Results);

impl Emit for Sum {
    fn emit(&mut self, _: usize, batch: Batch) {
        let (key, end, count) = (batch.column(0), batch.column(2), batch.column(3));
        let (Column::Int64(key), Column::Timestamp(end), Column::Int64(count)) = (&*key, &*end, &*count) else {
            unreachable!("the window's results are these")
        };
        self.0.0 += batch.rows();
        for row in 0..batch.rows() {
            self.0.1 = self
                .0
                .1
                .wrapping_add(mix(key.value(row), end.value(row), count.value(row)));
        }
    }
}

fn operator(shape: Shape, batches: &[Batch]) -> Result<Results, Failure> {
    let mut window = window(shape)?;
    let mut out = Sum::default();
    for (number, batch) in batches.iter().enumerate() {
        window.batch(0, batch.clone(), &mut out)?;
        if number % WATERMARK_EVERY == 0 {
            advance(&mut window, Timestamp(batch.watermark_min()), &mut out)?;
        }
    }
    advance(&mut window, Timestamp::MAX, &mut out)?;
    Ok(out.0)
}

fn advance(window: &mut Window, to: Timestamp, out: &mut Sum) -> Result<(), Failure> {
    while window.watermark(to, out)? == Step::More {}
    Ok(())
}

fn window(shape: Shape) -> Result<Window, Failure> {
    let alignment = Alignment::default();
    let node = WindowNode {
        frame: WindowFrame::new(
            vec![0],
            Windows::Aligned(if shape.size == shape.every {
                WindowSpec::Tumbling {
                    size: shape.size,
                    alignment,
                }
            } else {
                WindowSpec::Sliding {
                    size: shape.size,
                    every: shape.every,
                    alignment,
                }
            }),
        ),
        aggregates: vec![AggregateNode {
            outputs: vec![Field::required("bids", DataType::Int64)],
            function: AggregateFunction::Builtin(Builtin::Count(None)),
        }],
        on_fault: OnFault::Fail,
    };
    let input = stream("bids", &[("auction", DataType::Int64)]);
    let output = stream(
        "counts",
        &[
            ("auction", DataType::Int64),
            ("window_start", DataType::Timestamp),
            ("window_end", DataType::Timestamp),
            ("bids", DataType::Int64),
        ],
    );
    let ports = WindowPorts {
        input: &input,
        output: &output,
        dead_letters: None,
    };
    Ok(Window::new(
        NodeId::new("counts"),
        &node,
        &ports,
        Vec::new(),
        WindowLimits::default(),
    )?)
}

fn stream(name: &str, columns: &[(&str, DataType)]) -> Stream {
    let fields = columns
        .iter()
        .map(|&(name, data_type)| Field::required(name, data_type))
        .collect();
    Stream {
        name: name.into(),
        producer: NodeIndex(0),
        schema: Schema::new(fields).expect("the names differ"),
        live: vec![true; columns.len()],
        order: false,
        changelog: false,
    }
}

/// Counts of panes by key id, a running total over the panes of the window, results in the order of keys.
struct ByHand {
    shape: Shape,
    ids: HashMap<i64, u32, FixedState>,
    keys: Vec<i64>,
    sorted: Vec<u32>,
    open: VecDeque<(i64, Vec<u32>)>,
    closed: VecDeque<(i64, Vec<u32>)>,
    total: Vec<u32>,
    next: Option<i64>,
    results: Results,
}

fn by_hand(shape: Shape, batches: &[Batch]) -> Results {
    let mut state = ByHand {
        shape,
        ids: HashMap::default(),
        keys: Vec::new(),
        sorted: Vec::new(),
        open: VecDeque::new(),
        closed: VecDeque::new(),
        total: Vec::new(),
        next: None,
        results: (0, 0),
    };
    for (number, batch) in batches.iter().enumerate() {
        state.add(batch);
        if number % WATERMARK_EVERY == 0 {
            state.fire(batch.watermark_min(), false);
        }
    }
    state.fire(i64::MAX, true);
    state.results
}

impl ByHand {
    fn add(&mut self, batch: &Batch) {
        let Slot::Base(Column::Int64(keys)) = &batch.slots()[0] else {
            unreachable!("the key is an integer")
        };
        let every = self.shape.every.0.cast_signed();
        let mut at = (i64::MIN, 0);
        for (&key, &time) in keys.values().iter().zip(&batch.hidden().times) {
            let id = *self.ids.entry(key).or_insert_with(|| {
                self.keys.push(key);
                self.keys.len() as u32 - 1
            });
            let pane = time.div_euclid(every);
            if at.0 != pane {
                at = (pane, self.pane(pane));
            }
            let counts = &mut self.open[at.1].1;
            if counts.len() <= id as usize {
                counts.resize(self.keys.len() * 2, 0);
            }
            counts[id as usize] += 1;
        }
    }

    fn pane(&mut self, pane: i64) -> usize {
        let place = self.open.partition_point(|open| open.0 < pane);
        if self.open.get(place).is_none_or(|open| open.0 != pane) {
            self.open.insert(place, (pane, Vec::new()));
        }
        if self.closed.is_empty() {
            self.next = Some(self.next.map_or(pane, |next| next.min(pane)));
        }
        place
    }

    fn fire(&mut self, watermark: i64, ended: bool) {
        let every = self.shape.every.0.cast_signed();
        let panes = self.shape.size.0.cast_signed() / every;
        while let Some(pane) = self.next {
            let end = (pane + 1).saturating_mul(every);
            if end > watermark || ended && self.open.is_empty() && self.closed.is_empty() {
                return;
            }
            self.total.resize(self.keys.len(), 0);
            if let Some((_, counts)) = self.open.pop_front_if(|open| open.0 == pane) {
                for (total, count) in self.total.iter_mut().zip(&counts) {
                    *total += count;
                }
                self.closed.push_back((pane, counts));
            }
            self.emit(end);
            if let Some((_, counts)) = self.closed.pop_front_if(|closed| closed.0 <= pane - panes + 1) {
                for (total, count) in self.total.iter_mut().zip(&counts) {
                    *total -= count;
                }
            }
            self.next = Some(pane + 1);
        }
    }

    fn emit(&mut self, end: i64) {
        if self.sorted.len() < self.keys.len() {
            self.sorted.extend(self.sorted.len() as u32..self.keys.len() as u32);
            self.sorted.sort_by_key(|&id| self.keys[id as usize]);
        }
        let (mut keys, mut counts) = (Vec::new(), Vec::new());
        for &id in &self.sorted {
            let count = self.total[id as usize];
            if count > 0 {
                keys.push(self.keys[id as usize]);
                counts.push(i64::from(count));
            }
        }
        self.results.0 += keys.len();
        for (key, count) in keys.iter().zip(&counts) {
            self.results.1 = self.results.1.wrapping_add(mix(*key, end, *count));
        }
    }
}
