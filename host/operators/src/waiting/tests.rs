//! Waiting rows against a plain sort of all that was added.

use proptest::collection::vec;
use proptest::prelude::*;
use wasmill_core::batch::Slot;
use wasmill_core::column::{Column, Value};
use wasmill_core::id::{NodeId, NodeIndex, PartitionName};
use wasmill_core::order::source_origin;
use wasmill_core::schema::{DataType, Field, Schema};

use super::*;

const GROUPS: u16 = 8;

fn stream(number: usize, order: bool) -> Stream {
    Stream {
        name: format!("s{number}").into(),
        producer: NodeIndex(0),
        schema: Schema::new(vec![
            Field::nullable("key", DataType::Utf8),
            Field::required("unread", DataType::Int64),
            Field::required("id", DataType::Int64),
        ])
        .expect("the names differ"),
        live: vec![true, false, true],
        order,
        changelog: number == 1,
    }
}

/// A row as generated: time, key and, after its batch was made, its number among all rows.
#[derive(Clone, Debug)]
struct Made {
    input: usize,
    rows: Vec<(i64, u8)>,
    selected: bool,
}

fn batch_of(made: &Made, first: i64, order: bool) -> Batch {
    let ids: Vec<i64> = (first..).take(made.rows.len()).collect();
    let keys = made.rows.iter().map(|row| (row.1 > 0).then(|| format!("k{}", row.1)));
    let hidden = Hidden {
        times: made.rows.iter().map(|row| row.0).collect::<Vec<_>>().into(),
        watermarks: RowWatermarks::Constant(i64::MIN),
        // Positions fall, so that places matter beside arrival.
        order: order.then(|| Order::Positions {
            origin: source_origin(&NodeId::new("s"), &PartitionName::new("p")),
            positions: ids.iter().map(|id| 1_000_000 - *id as u64).collect(),
        }),
        kinds: (made.input == 1).then(|| ids.iter().map(|id| (id % 4) as u8).collect::<Vec<_>>().into()),
    };
    let slots = vec![
        Slot::Base(Column::Utf8(keys.collect())),
        Slot::Absent,
        Slot::Base(Column::Int64(ids.into())),
    ];
    let batch = Batch::new(slots, hidden);
    if made.selected {
        let some: Vec<u32> = (0..batch.rows() as u32).filter(|row| row % 3 == 0).collect();
        batch.select(&some)
    } else {
        batch
    }
}

/// Rows as they should leave: (time, place, input, arrival), and what they hold.
type Expected = (i64, i64, usize, i64);

#[derive(Clone, Debug)]
enum Act {
    Add(Made),
    /// So much of time is over; slices of so many rows.
    Release(i64, usize),
    SaveAndLoad,
}

fn acts() -> impl Strategy<Value = Vec<Act>> {
    let made = (0..2_usize, vec((0..60_i64, 0..4_u8), 1..40), any::<bool>())
        .prop_map(|(input, rows, selected)| Act::Add(Made { input, rows, selected }));
    vec(
        prop_oneof![
            5 => made,
            3 => (0..20_i64, 1..30_usize).prop_map(|(by, rows)| Act::Release(by, rows)),
            1 => Just(Act::SaveAndLoad),
        ],
        1..30,
    )
}

struct Bench {
    streams: Vec<Stream>,
    key: Vec<Vec<usize>>,
    memory_bytes: usize,
}

impl Bench {
    fn waiting(&self) -> Waiting {
        let inputs: Vec<&Stream> = self.streams.iter().collect();
        Waiting::new(&WaitingPlan {
            inputs: &inputs,
            key: &self.key,
            groups: GROUPS,
            table: 3,
            memory_bytes: self.memory_bytes,
        })
    }
}

fn id(batch: &Batch, row: usize) -> i64 {
    match batch.column(2).value(row) {
        Value::Int64(id) => id,
        value => panic!("{value:?}"),
    }
}

fn run(acts: &[Act], memory_bytes: usize, order: bool) -> (Vec<i64>, Vec<i64>) {
    let bench = Bench {
        streams: vec![stream(0, order), stream(1, order)],
        key: vec![vec![0], vec![0]],
        memory_bytes,
    };
    let mut waiting = bench.waiting();
    let mut store = Store::memory();
    let mut below = 0;
    let mut first = 0;
    let (mut held, mut expect, mut found): (Vec<Expected>, Vec<i64>, Vec<i64>) = (Vec::new(), Vec::new(), Vec::new());
    let last = [Act::Release(i64::MAX, 7)];
    for act in acts.iter().chain(&last) {
        match act {
            Act::Add(made) => {
                let mut made = made.clone();
                for row in &mut made.rows {
                    row.0 += below;
                }
                let batch = batch_of(&made, first, order);
                first += made.rows.len() as i64;
                for row in 0..batch.rows() {
                    let id = id(&batch, row);
                    held.push((batch.time(row), if order { -id } else { 0 }, made.input, id));
                }
                waiting.add(made.input, batch, &mut store).expect("in memory");
            }
            &Act::Release(by, rows) => {
                below = i64::saturating_add(below, by);
                held.sort_unstable();
                let due = held.partition_point(|row| row.0 < below);
                expect.extend(held.drain(..due).map(|row| row.3));
                loop {
                    let bounds = SliceBounds { rows, bytes: 300 };
                    let released = waiting.release(below, bounds, &mut store).expect("in memory");
                    assert!(released.sequence.len() <= rows);
                    for at in 0..released.sequence.len() {
                        let (input, row) = released.sequence[at];
                        let batch = released.batches[usize::from(input)]
                            .as_ref()
                            .expect("a batch of the input");
                        let id = id(batch, row as usize);
                        found.push(id);
                        assert_eq!(
                            batch.kind(row as usize).byte(),
                            if input == 1 { (id % 4) as u8 } else { 0 }
                        );
                        assert_eq!(batch.watermarks().at(row as usize), batch.time(row as usize));
                        assert_eq!(batch.order().is_some(), order);
                    }
                    if released.next.is_none() {
                        break;
                    }
                    assert!(!released.sequence.is_empty(), "each slice has a row");
                }
            }
            Act::SaveAndLoad => {
                let mut saved: Vec<(KeyGroup, Vec<u8>, Vec<u8>)> = Vec::new();
                waiting.save(&store, &mut saved).expect("in memory");
                waiting = bench.waiting();
                store = Store::memory();
                for (group, key, value) in saved.iter().rev() {
                    assert!(waiting.owns(key));
                    waiting.load(*group, key, value, &mut store).expect("it was saved");
                }
            }
        }
    }
    assert!(waiting.is_empty() && store.is_empty().expect("in memory") && waiting.size_bytes() == 0);
    (found, expect)
}

proptest! {
    #[test]
    fn rows_leave_by_time_place_and_input_whatever_brought_them(acts in acts(), order: bool) {
        for memory_bytes in [usize::MAX, 2_000, 0] {
            let (found, expect) = run(&acts, memory_bytes, order);
            prop_assert_eq!(found, expect, "{} bytes of memory", memory_bytes);
        }
    }
}

#[test]
fn a_row_is_late_by_its_own_watermark() {
    let hidden = Hidden {
        times: vec![10, 20, 15, 30].into(),
        watermarks: RowWatermarks::from_values(&[5, 21, 15, 15]),
        order: None,
        kinds: None,
    };
    let batch = Batch::new(Vec::new(), hidden);
    let (mut late, mut on_time) = (vec![9], vec![9]);
    judge(&batch, &mut late, &mut on_time);
    assert_eq!((&late[..], &on_time[..]), (&[1][..], &[0, 2, 3][..]));
    judge(&batch.select(&[0, 2]), &mut late, &mut on_time);
    assert_eq!((late.len(), on_time.len()), (0, 0), "none is late: the whole batch");
}

#[test]
fn rows_of_one_time_leave_together_unless_they_are_more_than_a_slice() {
    let bench = Bench {
        streams: vec![stream(0, true), stream(1, true)],
        key: vec![vec![0], vec![0]],
        memory_bytes: usize::MAX,
    };
    let (mut waiting, mut store) = (bench.waiting(), Store::memory());
    let made = Made {
        input: 0,
        rows: [1, 2, 2, 3, 3, 3].map(|time| (time, 1)).to_vec(),
        selected: false,
    };
    waiting.add(0, batch_of(&made, 0, true), &mut store).expect("in memory");
    let bounds = SliceBounds {
        rows: 2,
        bytes: usize::MAX,
    };
    let mut sizes = Vec::new();
    loop {
        let released = waiting.release(10, bounds, &mut store).expect("in memory");
        sizes.push((released.sequence.len(), released.next));
        if released.next.is_none() {
            break;
        }
    }
    assert_eq!(sizes, [(1, Some(2)), (2, Some(3)), (2, Some(3)), (1, None)]);
}

fn one_row(time: i64, id: i64) -> Batch {
    let made = Made {
        input: 0,
        rows: vec![(time, 1)],
        selected: false,
    };
    batch_of(&made, id, true)
}

fn of_one_input(memory_bytes: usize) -> Waiting {
    let bench = Bench {
        streams: vec![stream(0, true)],
        key: vec![vec![0]],
        memory_bytes,
    };
    bench.waiting()
}

const ALL: SliceBounds = SliceBounds {
    rows: usize::MAX,
    bytes: usize::MAX,
};

#[test]
fn a_watermark_looks_at_no_batch_without_a_row_that_became_due() {
    let (mut waiting, mut store) = (of_one_input(usize::MAX), Store::memory());
    let mut looked_at = 0;
    for time in 0..1_000 {
        // One row leaves with the next watermark, the other stays.
        waiting.add(0, one_row(time, time), &mut store).expect("in memory");
        waiting.add(0, one_row(1_000_000, time), &mut store).expect("in memory");
        looked_at += waiting.prepare(time + 1);
        let released = waiting.release(time + 1, ALL, &mut store).expect("in memory");
        assert_eq!((released.sequence.len(), released.next), (1, None));
    }
    assert_eq!(looked_at, 1_000);
    assert_eq!(
        waiting.runs.len(),
        1_001,
        "the place of a batch that has left is taken again"
    );
    assert_eq!(waiting.prepare(i64::MAX), 1_000);
}

#[test]
fn what_a_batch_takes_however_few_rows_it_has_is_in_the_budget() {
    const BUDGET: usize = 64 << 10;
    let (mut waiting, mut store) = (of_one_input(BUDGET), Store::memory());
    for time in 0..2_000 {
        waiting.add(0, one_row(time, time), &mut store).expect("in memory");
        assert!(waiting.size_bytes() <= BUDGET);
        let runs = waiting.runs.iter().filter(|run| run.left > 0).count();
        assert!(runs * size_of::<Run>() <= BUDGET, "{runs} batches");
    }
}

#[test]
fn a_row_that_stays_behind_does_not_keep_its_batch() {
    let (mut waiting, mut store) = (of_one_input(usize::MAX), Store::memory());
    let mut rows: Vec<(i64, u8)> = (0..1_000).map(|time| (time, 1)).collect();
    rows[500].0 = 5_000;
    let made = Made {
        input: 0,
        rows,
        selected: false,
    };
    waiting.add(0, batch_of(&made, 0, true), &mut store).expect("in memory");
    let released = waiting.release(2_000, ALL, &mut store).expect("in memory");
    assert_eq!(released.sequence.len(), 999);
    let held: Vec<usize> = waiting
        .runs
        .iter()
        .map(|run| run.view().batch.hidden().times.len())
        .collect();
    assert_eq!(held, [1]);
    let released = waiting.release(6_000, ALL, &mut store).expect("in memory");
    let batch = released.batches[0].as_ref().expect("a row is left");
    assert_eq!((batch.rows(), batch.time(0), id(batch, 0)), (1, 5_000, 500));
    assert!(waiting.is_empty());
}
