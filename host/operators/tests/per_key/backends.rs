//! State on disk gives what state in memory gives, and columns that nobody reads change nothing.

use proptest::prelude::*;
use wasmill_core::column::Scalar;
use wasmill_core::plan::{Early, EarlyWhen};
use wasmill_core::time::Micros;
use wasmill_core::window::{Alignment, Trigger, TriggerWhen, WindowSpec, Windows};

use super::aggregates::builtins;
use super::guests::{plugins, tell};
use super::harness::{Backend, Case, Cuts, Filling, cuts, meet, partitions, run};

fn windows() -> impl Strategy<Value = (Windows, Option<Early>)> {
    let retracting = Early {
        when: EarlyWhen::Count(2),
        retracting: true,
    };
    prop_oneof![
        (1..9_u64).prop_map(|gap| (Windows::Session { gap: Micros(gap) }, None)),
        (1..9_u64).prop_map(move |gap| (Windows::Session { gap: Micros(gap) }, Some(retracting))),
        (1..9_u64, 1..9_u64).prop_map(|(size, every)| (Windows::Count { size, every }, None)),
        (1..9_u64, any::<bool>()).prop_map(|(every, purge)| {
            let when = TriggerWhen::Count(every);
            let trigger = Some(Trigger { when, purge });
            (Windows::Global { trigger }, None)
        }),
        Just((Windows::Global { trigger: None }, None)),
    ]
}

fn aligned() -> impl Strategy<Value = Windows> {
    (1..14_u64, 1..9_u64).prop_map(|(size, every)| {
        Windows::Aligned(WindowSpec::Sliding {
            size: Micros(size),
            every: Micros(every),
            alignment: Alignment::default(),
        })
    })
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(80))]

    #[test]
    fn both_backends_give_the_same_bytes(
        parts in partitions(), (windows, early) in windows(), aligned in aligned(), allowed in 0..6_i64,
        order in proptest::collection::vec(0..8_usize, 1..60), cuts in cuts(),
    ) {
        let aggregates = Filling::Aggregates(builtins(), plugins());
        // One move between subtasks, so that few stores are made.
        let cuts = Cuts { moves: [vec![0; 40], vec![2], vec![0; 400]].concat(), ..cuts };
        let (rows, events) = meet(&parts, &order);
        for (windows, filling, early) in [(windows, aggregates, early), (aligned, tell(), None)] {
            let mut case = Case::new(windows, &[1], allowed, filling);
            case.frame.early = early;
            let memory = run(&case, &rows, &events, &cuts).expect("no fault");
            case.backend = Backend::Disk;
            let disk = run(&case, &rows, &events, &cuts).expect("no fault");
            prop_assert_eq!(disk, memory);
        }
    }
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(60))]

    #[test]
    fn a_column_that_nobody_reads_is_absent_and_the_others_are_the_same(
        parts in partitions(), (windows, early) in windows(), aligned in aligned(), unread in 0..6_usize,
        order in proptest::collection::vec(0..8_usize, 1..60), cuts in cuts(),
    ) {
        let aggregates = Filling::Aggregates(builtins(), plugins());
        let (rows, events) = meet(&parts, &order);
        for (windows, filling, early) in [(windows, aggregates, early), (aligned, tell(), None)] {
            let mut case = Case::new(windows, &[1], 0, filling);
            case.frame.early = early;
            let (mut whole, _) = run(&case, &rows, &events, &cuts).expect("no fault");
            case.unread = Some(unread);
            let (found, _) = run(&case, &rows, &events, &cuts).expect("no fault");
            for row in &mut whole.results {
                row.values[unread] = Scalar::Null;
            }
            prop_assert_eq!(found, whole);
        }
    }
}
