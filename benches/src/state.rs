//! State: the store in memory beside the standard library's ordered map, value tables beside a hash map and a vector,
//! and the store on disk beside the one in memory.

mod disk;
mod values;

use std::collections::BTreeMap;
use std::hint::black_box;
use std::ops::ControlFlow;

use wasmill_core::id::KeyGroup;
use wasmill_core::key;
use wasmill_state::{Direction, Span, Store, layout};

use crate::Run;
use crate::failure::Failure;
use crate::random::Random;
use crate::report::Budget;
use crate::timing::{Cost, compare};

const NAME: &str = "store";
/// Operations of a run.
const OPERATIONS: usize = 100_000;
/// The bytes of a value; with its key an entry has 100.
const VALUE_BYTES: usize = 80;
/// Entries that a scan of a part looks at.
const PART: usize = 10;

type Map = BTreeMap<Box<[u8]>, Box<[u8]>>;

/// Runs the benches of state.
pub(crate) fn run(run: &mut Run<'_>) -> Result<(), Failure> {
    memory(run)?;
    values::run(run);
    disk::run(run)
}

fn memory(run: &mut Run<'_>) -> Result<(), Failure> {
    let sizes = [(10_000, "10^4"), (100_000, "10^5"), (1_000_000, "10^6")];
    let tasks = ["get and put", "10 in order", "all in order"];
    let line = |task: &str, size: &str| format!("{task}, {size} entries");
    if !sizes
        .iter()
        .any(|(_, size)| tasks.iter().any(|task| run.wants(NAME, &line(task, size))))
    {
        return Ok(());
    }
    run.report.bench(
        NAME,
        "in memory, entries of 100 bytes; natively a BTreeMap of boxed bytes",
    );
    for (size, name) in sizes {
        if !tasks.iter().any(|task| run.wants(NAME, &line(task, name))) {
            continue;
        }
        let (mut store, mut map) = (Store::memory(), Map::new());
        for number in shuffled(size) {
            let (key, value) = (key_of(number), value_of(number));
            store.put(&key, &value)?;
            map.insert(key.into(), value.into());
        }
        run.report
            .note(&format!("{name} entries: {} MB", store.size_bytes() >> 20));
        let keys: Vec<Vec<u8>> = {
            let mut random = Random::new(3);
            (0..OPERATIONS).map(|_| key_of(random.below(size))).collect()
        };
        if run.wants(NAME, &line(tasks[0], name)) {
            let mut value = value_of(1);
            let mut native_value = value.clone();
            let measured = compare(
                run.plan(),
                Cost::Thread,
                OPERATIONS,
                || {
                    for key in &keys {
                        let first = store.get(key, |value| value[0]).expect("memory does not fail");
                        value[0] = first.expect("each key is there").wrapping_add(1);
                        store.put(key, &value).expect("memory does not fail");
                    }
                },
                || {
                    for key in &keys {
                        native_value[0] = map[&key[..]][0].wrapping_add(1);
                        map.insert(key.clone().into(), native_value.clone().into());
                    }
                },
            );
            run.report.add(&line(tasks[0], name), &measured, Budget::None);
        }
        if run.wants(NAME, &line(tasks[1], name)) {
            let measured = compare(
                run.plan(),
                Cost::Thread,
                OPERATIONS,
                || {
                    for key in &keys[..OPERATIONS / PART] {
                        let from = Span::Between(std::ops::Bound::Included(key), std::ops::Bound::Unbounded);
                        black_box(first_bytes(&store, from, PART));
                    }
                },
                || {
                    for key in &keys[..OPERATIONS / PART] {
                        let from =
                            map.range::<[u8], _>((std::ops::Bound::Included(&key[..]), std::ops::Bound::Unbounded));
                        black_box(from.take(PART).map(|(_, value)| u64::from(value[0])).sum::<u64>());
                    }
                },
            );
            run.report.add(&line(tasks[1], name), &measured, Budget::None);
        }
        if run.wants(NAME, &line(tasks[2], name)) {
            let measured = compare(
                run.plan(),
                Cost::Thread,
                size as usize,
                || {
                    black_box(first_bytes(&store, Span::All, usize::MAX));
                },
                || {
                    black_box(map.values().map(|value| u64::from(value[0])).sum::<u64>());
                },
            );
            run.report.add(&line(tasks[2], name), &measured, Budget::None);
        }
    }
    Ok(())
}

/// The sum of the first bytes of some values, so that each is looked at.
fn first_bytes(store: &Store, span: Span<'_>, entries: usize) -> u64 {
    let (mut sum, mut seen) = (0, 0);
    let scanned = store.scan(span, Direction::Forwards, |_, value| {
        sum += u64::from(value[0]);
        seen += 1;
        Ok(if seen < entries {
            ControlFlow::Continue(())
        } else {
            ControlFlow::Break(())
        })
    });
    scanned.expect("the store can be read");
    sum
}

/// All numbers below `size`, a multiple of nothing but 2 and 5, in an order without pattern in it for a tree.
fn shuffled(size: u64) -> impl Iterator<Item = u64> {
    const STEP: u64 = 2_654_435_761;
    (0..size).scan(0, move |at, _| {
        *at = (*at + STEP) % size;
        Some(*at)
    })
}

/// The key of an operator's entry: group, table, an integer key, a sub key of 8 bytes.
fn key_of(number: u64) -> Vec<u8> {
    let encoded = key::encode_int64(number.cast_signed());
    let KeyGroup(group) = key::group(key::hash(&encoded), key::KEY_GROUPS_DEFAULT);
    let mut key = Vec::with_capacity(20);
    layout::in_group(KeyGroup(group), 0, &encoded, &mut key);
    key.extend(number.to_be_bytes());
    key
}

/// Bytes that do not compress.
fn value_of(number: u64) -> Vec<u8> {
    let mut random = Random::new(number);
    (0..VALUE_BYTES).map(|_| random.below(256) as u8).collect()
}
