//! Joins: rows of two streams against each other by an integer key, beside a loop over a hash map.
//!
//! Rows are in order already, so natively nothing has to wait and be sorted; the operator does both all the same.

use std::collections::VecDeque;

use arrow_array::Int64Array;
use foldhash::fast::FixedState;
use hashbrown::HashMap;
use wasmill_core::batch::{Batch, Hidden, Slot};
use wasmill_core::column::Column;
use wasmill_core::id::{NodeId, NodeIndex};
use wasmill_core::key::KEY_GROUPS_DEFAULT;
use wasmill_core::operator::{Emit, Operator, Step};
use wasmill_core::plan::{JoinBound, JoinColumn, JoinKind, JoinNode, Stream};
use wasmill_core::schema::{DataType, Field, Schema};
use wasmill_core::time::{Micros, Timestamp};
use wasmill_core::watermark::RowWatermarks;
use wasmill_core::window::Late;
use wasmill_operators::{Join, Subtask};

use crate::Run;
use crate::failure::Failure;
use crate::random::Random;
use crate::report::Budget;
use crate::timing::{Cost, compare};

const NAME: &str = "join";
/// Rows of each side.
const ROWS: usize = 400_000;
const BATCH_ROWS: usize = 4096;
/// Pairs of batches between two watermarks.
const WATERMARK_EVERY: usize = 8;
/// Rows a second of event time, of each side.
const RATE: i64 = 100_000;
/// How much earlier the right row of an interval may be.
const BEFORE: i64 = 1_000_000;

/// Runs the bench.
pub(crate) fn run(run: &mut Run<'_>) -> Result<(), Failure> {
    let interval = JoinBound::Within {
        before: Micros(BEFORE.unsigned_abs()),
        after: Micros::ZERO,
    };
    let as_of = JoinBound::AsOf { within: None };
    let lines = [
        (&interval, 10_000, "interval of 1 s, 10 partners a row"),
        (&interval, 100_000, "interval of 1 s, 1 partner a row"),
        (&as_of, 10_000, "as-of, 10^4 keys"),
        (&as_of, 100_000, "as-of, 10^5 keys"),
    ];
    if !lines.iter().any(|line| run.wants(NAME, line.2)) {
        return Ok(());
    }
    run.report.bench(
        NAME,
        "rows of both sides, by an integer key; natively a hash map of queues, or of the last values",
    );
    for (bound, keys, line) in lines {
        if !run.wants(NAME, line) {
            continue;
        }
        let sides = [batches(1, keys), batches(2, keys)];
        let by_hand = || match bound {
            JoinBound::Within { .. } => interval_by_hand(&sides),
            _ => as_of_by_hand(&sides),
        };
        let expected = by_hand();
        assert_eq!(operator(bound, &sides)?, expected, "both ways give the same");
        let measured = compare(
            run.plan(),
            Cost::Thread,
            2 * ROWS,
            || assert_eq!(operator(bound, &sides).ok(), Some(expected), "the same again"),
            || assert_eq!(by_hand(), expected, "the same again"),
        );
        run.report.add(line, &measured, Budget::None);
    }
    Ok(())
}

fn batches(seed: u64, keys: u64) -> Vec<Batch> {
    let mut random = Random::new(seed);
    let start = 1_000_000_000_000_i64;
    let mut made = 0;
    let mut batches = Vec::new();
    while made < ROWS {
        let rows = BATCH_ROWS.min(ROWS - made);
        let at = |row: usize| start + (made + row) as i64 * 1_000_000 / RATE;
        let times: Vec<i64> = (0..rows).map(at).collect();
        let key: Vec<i64> = (0..rows).map(|_| random.below(keys) as i64).collect();
        let value: Vec<i64> = (0..rows).map(|_| random.below(1 << 40) as i64).collect();
        let hidden = Hidden {
            times: times.into(),
            watermarks: RowWatermarks::Constant(at(0)),
            order: None,
            kinds: None,
        };
        let column = |values: Vec<i64>| Slot::Base(Column::Int64(Int64Array::new(values.into(), None)));
        batches.push(Batch::new(vec![column(key), column(value)], hidden));
        made += rows;
    }
    batches
}

/// Pairs: how many, and a sum over all of them.
type Results = (usize, u64);

fn mix(left: i64, right: i64) -> u64 {
    let mixed = left.cast_unsigned().wrapping_mul(0x9e37_79b9_7f4a_7c15)
        ^ right.cast_unsigned().wrapping_mul(0xd6e8_feb8_6659_fd93);
    mixed ^ mixed >> 29
}

/// Takes pairs and sums them.
#[derive(Default)]
struct Sum(Results);

impl Sum {
    fn add(&mut self, left: i64, right: i64) {
        self.0.0 += 1;
        self.0.1 = self.0.1.wrapping_add(mix(left, right));
    }
}

impl Emit for Sum {
    fn emit(&mut self, _: usize, batch: Batch) {
        let (left, right) = (batch.column(0), batch.column(1));
        let (Column::Int64(left), Column::Int64(right)) = (&*left, &*right) else {
            unreachable!("the join's columns are these")
        };
        for row in 0..batch.rows() {
            self.add(left.value(row), right.value(row));
        }
    }
}

fn operator(bound: &JoinBound, sides: &[Vec<Batch>; 2]) -> Result<Results, Failure> {
    let plan = JoinNode {
        key: [vec![0], vec![0]],
        kind: JoinKind::Inner,
        bound: bound.clone(),
        late: Late::Drop,
        columns: vec![JoinColumn::Left(1), JoinColumn::Right(1)],
    };
    let input = stream(&["key", "value"]);
    let output = stream(&["left", "right"]);
    let subtask = Subtask::in_memory(NodeId::new("join"), KEY_GROUPS_DEFAULT);
    let mut join = Join::new(subtask, &plan, [&input, &input], &output)?;
    let mut out = Sum::default();
    for (number, (left, right)) in sides[0].iter().zip(&sides[1]).enumerate() {
        join.batch(0, left.clone(), &mut out)?;
        join.batch(1, right.clone(), &mut out)?;
        if number % WATERMARK_EVERY == 0 {
            advance(&mut join, Timestamp(left.watermark_min()), &mut out)?;
        }
    }
    advance(&mut join, Timestamp::MAX, &mut out)?;
    Ok(out.0)
}

fn advance(join: &mut Join, to: Timestamp, out: &mut Sum) -> Result<(), Failure> {
    while join.watermark(to, out)? == Step::More {}
    Ok(())
}

fn stream(columns: &[&str]) -> Stream {
    let fields = columns
        .iter()
        .map(|&name| Field::required(name, DataType::Int64))
        .collect();
    Stream {
        name: "s".into(),
        producer: NodeIndex(0),
        schema: Schema::new(fields).expect("the names differ"),
        live: vec![true; columns.len()],
        order: false,
        changelog: false,
    }
}

/// Event time, key and value of each row, right rows before left rows of the same time.
fn in_order(sides: &[Vec<Batch>; 2], mut visit: impl FnMut(usize, i64, i64, i64)) {
    for (left, right) in sides[0].iter().zip(&sides[1]) {
        let [left, right] = [left, right].map(|batch| {
            let (Slot::Base(Column::Int64(key)), Slot::Base(Column::Int64(value))) =
                (&batch.slots()[0], &batch.slots()[1])
            else {
                unreachable!("both columns are integers")
            };
            (&batch.hidden().times, key.values(), value.values())
        });
        for row in 0..left.0.len() {
            visit(1, right.0[row], right.1[row], right.2[row]);
            visit(0, left.0[row], left.1[row], left.2[row]);
        }
    }
}

fn interval_by_hand(sides: &[Vec<Batch>; 2]) -> Results {
    let mut out = Sum::default();
    let mut held: HashMap<i64, VecDeque<(i64, i64)>, FixedState> = HashMap::default();
    in_order(sides, |side, time, key, value| {
        let rows = held.entry(key).or_default();
        while rows.front().is_some_and(|row| row.0 < time - BEFORE) {
            rows.pop_front();
        }
        if side == 1 {
            rows.push_back((time, value));
        } else {
            for row in &*rows {
                out.add(value, row.1);
            }
        }
    });
    out.0
}

fn as_of_by_hand(sides: &[Vec<Batch>; 2]) -> Results {
    let mut out = Sum::default();
    let mut last: HashMap<i64, i64, FixedState> = HashMap::default();
    in_order(sides, |side, _, key, value| {
        if side == 1 {
            last.insert(key, value);
        } else if let Some(&right) = last.get(&key) {
            out.add(value, right);
        }
    });
    out.0
}
