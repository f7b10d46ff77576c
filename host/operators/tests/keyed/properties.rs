//! Random rows, cut in every way, give what the oracle says.

use proptest::collection::vec;
use proptest::prelude::*;
use wasmill_core::column::Scalar;
use wasmill_core::plan::OnFault;
use wasmill_operators::KeyedLimits;
use wasmill_testkit::Row;
use wasmill_testkit::keyed::Logic;
use wasmill_testkit::partitions::{Event, Partition, read};

use crate::harness::{Setup, Subtasks, oracle};
use crate::logic;

/// How a run is cut.
#[derive(Clone, Debug)]
struct Cuts {
    batch_rows: usize,
    slice_rows: usize,
    slice_bytes: usize,
    state_bytes: usize,
    /// Of so many watermarks one is told.
    watermark_every: usize,
    /// After so many events state is saved and loaded, and into how many subtasks.
    save_every: usize,
    subtasks: usize,
    disk: Option<u64>,
}

fn cuts() -> impl Strategy<Value = Cuts> {
    let bounds = (
        1..50_usize,
        1..40_usize,
        prop_oneof![Just(1_usize), Just(300), Just(1 << 20)],
    );
    let rest = (
        prop_oneof![Just(1_usize), Just(40), Just(1 << 20)],
        1..8_usize,
        3..60_usize,
        1..4_usize,
    );
    (
        bounds,
        rest,
        prop_oneof![3 => Just(None), 1 => Just(Some(0)), 1 => Just(Some(3_000))],
    )
        .prop_map(
            |((batch_rows, slice_rows, slice_bytes), (state_bytes, watermark_every, save_every, subtasks), disk)| {
                Cuts {
                    batch_rows,
                    slice_rows,
                    slice_bytes,
                    state_bytes,
                    watermark_every,
                    save_every,
                    subtasks,
                    disk,
                }
            },
        )
}

fn partitions(what: std::ops::Range<i64>) -> impl Strategy<Value = Vec<Partition>> {
    let keys = prop_oneof![Just(1_i64), Just(3), Just(40)];
    (keys, 1..4_usize).prop_flat_map(move |(keys, count)| {
        let what = what.clone();
        let key = (0..keys).prop_map(|key| if key == 2 { Scalar::Null } else { Scalar::Int64(key) });
        let row = (-3..12_i64, key, what, 0..60_i64);
        let partition = (vec(row, 0..60), 0..15_u64).prop_map(|(rows, delay)| {
            let mut time = 100;
            let rows = rows.into_iter().map(|(step, key, what, number)| {
                time += step;
                (time, vec![key, Scalar::Int64(what), Scalar::Int64(number)])
            });
            Partition {
                rows: rows.collect(),
                delay,
            }
        });
        vec(partition, count)
    })
}

/// Runs rows and events as cut; the last watermark before the end is told in any case.
fn run(setup: &Setup, cuts: &Cuts, rows: &[Row], events: &[Event]) -> Subtasks {
    let setup = Setup {
        limits: KeyedLimits {
            slice_rows: cuts.slice_rows,
            slice_bytes: cuts.slice_bytes,
            state_bytes: cuts.state_bytes,
            ..KeyedLimits::default()
        },
        disk: cuts.disk,
        ..setup.clone()
    };
    let inputs = setup.inputs;
    let mut subtasks = Subtasks::new(setup, cuts.subtasks);
    let mut held: Vec<Vec<&Row>> = vec![Vec::new(); inputs];
    let last = last_watermark(events);
    let mut watermarks = 0;
    for (number, event) in events.iter().enumerate() {
        match event {
            Event::Row(row) => {
                let input = rows[*row].partition % inputs;
                held[input].push(&rows[*row]);
                if held[input].len() == cuts.batch_rows {
                    subtasks
                        .rows(input, &std::mem::take(&mut held[input]))
                        .expect("no fault");
                }
            }
            Event::Watermark(to) => {
                watermarks += 1;
                if watermarks % cuts.watermark_every == 0 || *to == last || *to == i64::MAX {
                    for (input, rows) in held.iter_mut().enumerate() {
                        subtasks.rows(input, &std::mem::take(rows)).expect("no fault");
                    }
                    subtasks.watermark(*to).expect("no fault");
                }
            }
        }
        if (number + 1) % cuts.save_every == 0 {
            subtasks
                .save_and_load((number / cuts.save_every) % 3 + 1)
                .expect("saved and loaded");
        }
    }
    subtasks
}

fn last_watermark(events: &[Event]) -> i64 {
    let mut finite = events.iter().filter_map(|event| match event {
        Event::Watermark(to) if *to < i64::MAX => Some(*to),
        _ => None,
    });
    finite.next_back().unwrap_or(i64::MIN)
}

fn check(
    setup: &Setup,
    logic: Logic,
    partitions: &[Partition],
    turns: &[usize],
    cuts: &Cuts,
) -> Result<(), TestCaseError> {
    let mut turn = turns.iter().cycle();
    let (rows, events) = read(partitions, |n| turn.next().expect("it cycles") % n);
    let setup = Setup { logic, ..setup.clone() };
    let expect = oracle(last_watermark(&events)).evaluate(&rows, logic);
    let found = run(&setup, cuts, &rows, &events);
    prop_assert_eq!(found.outputs(), expect.outputs);
    let mut late: Vec<i64> = expect.late.iter().map(|&row| rows[row].time).collect();
    late.sort_unstable();
    prop_assert_eq!(found.late(), late);
    let letters: Vec<(i64, String)> = found.letters().into_iter().map(|letter| (letter.0, letter.1)).collect();
    prop_assert_eq!(letters, expect.failed);
    Ok(())
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(400))]

    #[test]
    fn every_cut_gives_what_each_key_alone_gives(
        partitions in partitions(logic::ALL), turns in vec(0..6_usize, 1..50), cuts in cuts(),
    ) {
        check(&Setup::default(), logic::logic, &partitions, &turns, &cuts)?;
    }

    #[test]
    fn events_that_fail_are_found_and_leave_nothing_behind(
        partitions in partitions(logic::ALL_AND_FAILING), turns in vec(0..6_usize, 1..50), cuts in cuts(),
    ) {
        let setup = Setup { on_fault: OnFault::DeadLetter, ..Setup::default() };
        check(&setup, logic::logic, &partitions, &turns, &cuts)?;
        check(&setup, logic::failing_timers, &partitions, &turns, &cuts)?;
    }
}
